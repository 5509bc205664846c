"""From readings to the track of a station: usable epochs, jumps found, outliers set aside; nothing is judged here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, isfinite, radians, sin, sqrt
from typing import Final

from monitor.alerting.jumps import Jump, Vector, Walk
from monitor.domain.decision import View, seconds
from monitor.domain.observation import Reading
from monitor.domain.quantities import QUANTITIES
from monitor.domain.site import Criterion, SeriesSpec, Site, Station

# flags that say something about the way of a value, not against it; any other flag makes it unusable
HARMLESS: Final = frozenset({"late", "backfill", "replayed", "revised", "resent", "step_confirmed"})
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")
STUCK_EPOCHS: Final = 6
LARGEST: Final = 1e12  # beyond it squares lose all sense; no instrument of the field comes near


@dataclass(frozen=True, slots=True)
class Track:
    """What a station's series says, epoch by epoch, in rising time.

    Attributes:
        times_s: Epochs that count, shape (n,).
        values: Components with open jumps taken out, n tuples of k; the motion between jumps stays.
        sigmas: One standard deviation each, n tuples of k; 0 = unknown.
        along: Signed value along the direction of movement (or the only component), shape (n,).
        along_sigma: Its standard deviation, shape (n,).
        jumps: Steps nobody explained, oldest first.
        set_aside: (epoch, reason) of what was left out.
        newest_s: Newest epoch received whatever its quality; None when there is none.
        from_s: First epoch looked at.
        stuck: True when the newest epochs repeat one value exactly.
    """

    station: str
    quantity: str
    times_s: tuple[float, ...] = ()
    received_s: tuple[float, ...] = ()
    values: tuple[Vector, ...] = ()
    sigmas: tuple[Vector, ...] = ()
    along: tuple[float, ...] = ()
    along_sigma: tuple[float, ...] = ()
    jumps: tuple[Jump, ...] = ()
    set_aside: tuple[tuple[float, str], ...] = ()
    newest_s: float | None = None
    from_s: float | None = None
    stuck: bool = False

    @property
    def usable_s(self) -> float | None:
        """Newest epoch that counts."""
        return self.times_s[-1] if self.times_s else None


def build_track(view: View, site: Site, station: Station, criterion: Criterion, now_s: float) -> Track:
    """Gather, clean and scan what one criterion needs of one station."""
    quantities = _choose(view, station, criterion)
    spec = site.series(station.id, quantities[0]) if quantities else None
    if spec is None or spec.unit == "index":
        return Track(station.id, criterion.quantity)
    times, received, rows, aside, newest_s = _join(view, spec, station.id, quantities, now_s)
    sigmas = [tuple(_sigma(r, spec) for r in row) for row in rows]
    values = [tuple(r.value for r in row) for row in rows]
    limit = verify_step(spec, criterion)
    walk = Walk(times, received, values, sigmas, limit)
    walk.run()
    unit = direction(station, len(quantities))
    kept = walk.kept
    along = [sum(u * v for u, v in zip(unit, walk.level[i], strict=True)) for i in kept]
    return Track(
        station.id, "+".join(quantities), tuple(times[i] for i in kept), tuple(received[i] for i in kept),
        tuple(walk.level[i] for i in kept), tuple(sigmas[i] for i in kept), tuple(along),
        tuple(_along_sigma(rows[i], sigmas[i], unit, spec) for i in kept),
        tuple(j for _, j in walk.jumps), (*aside, *sorted(walk.aside.items())), newest_s, times[0] if times else None,
        _is_stuck(values, spec),
    )  # fmt: skip


def _choose(view: View, station: Station, criterion: Criterion) -> tuple[str, ...]:
    """Quantities that carry what the criterion asks for: components if they are there, else the scalar."""
    have = [q for q in (*COMPONENTS, *SCALARS, criterion.quantity) if view.readings.get(f"{station.id}.{q}")]
    if criterion.quantity != "displacement":
        return (criterion.quantity,) if criterion.quantity in have else ()
    if {COMPONENTS[0], COMPONENTS[1]} <= set(have):
        return tuple(q for q in COMPONENTS if q in have)
    return tuple(q for q in SCALARS if q in have)[:1]


def verify_step(spec: SeriesSpec, criterion: Criterion) -> float | None:
    """The jump beyond which a step must be verified: declared, else half of what would cross a bound by itself."""
    if spec.verify_step is not None:
        return spec.verify_step
    if criterion.kind not in {"velocity", "rate"}:
        return None
    bounds = [
        abs(b) * t.window_s / 86400.0
        for t in criterion.thresholds
        if t.window_s and (b := t.over if t.over is not None else t.under) is not None
    ]
    return max(0.5 * min(bounds), 6.0 * spec.noise_floor) if bounds and min(bounds) > 0 else None


def direction(station: Station, components: int) -> Vector:
    """Unit vector of downslope movement in east, north, up; (1,) for a scalar.

    Azimuth clockwise from north, plunge downwards from the horizontal.
    """
    if components == 1:
        return (1.0,)
    azimuth = radians(station.azimuth_deg or 0.0)
    plunge = radians(station.plunge_deg or 0.0) if components == 3 else 0.0
    return (sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge))[:components]


# ---- gathering -------------------------------------------------------------------------------------------------
def _join(
    view: View, spec: SeriesSpec, station: str, quantities: Sequence[str], now_s: float
) -> tuple[list[float], list[float], list[tuple[Reading, ...]], list[tuple[float, str]], float | None]:
    """Epochs at which every component is there and usable, with what was set aside."""
    usable: list[dict[float, Reading]] = []
    aside: dict[float, str] = {}
    newest_s: float | None = None
    for quantity in quantities:
        good: dict[float, Reading] = {}
        for reading in view.readings[f"{station}.{quantity}"]:
            at_s = seconds(reading.observed_at)
            reason = _fault(reading, spec, quantity, at_s, now_s)
            if at_s <= now_s and "future" not in reading.flags:
                newest_s = at_s if newest_s is None else max(newest_s, at_s)
            if reason is None:
                good[at_s] = reading
            else:
                aside[at_s] = reason
        usable.append(good)
    shared = sorted(at for at in usable[0] if all(at in other for other in usable[1:]))
    rows = [tuple(part[at] for part in usable) for at in shared]
    received = [max(seconds(r.received_at) for r in row) for row in rows]
    return shared, received, rows, sorted(aside.items()), newest_s


def _fault(reading: Reading, spec: SeriesSpec, quantity: str, at_s: float, now_s: float) -> str | None:
    if at_s > now_s:
        return "stamped in the future"
    for flag in reading.flags:
        if flag not in HARMLESS:
            return f"flag {flag}"
    if not abs(reading.value) < LARGEST or not 0.0 <= (reading.sigma or 0.0) < LARGEST:
        return "too large to reckon with"
    known = QUANTITIES.get(quantity)
    low = spec.low if spec.low is not None else known.low if known else None
    high = spec.high if spec.high is not None else known.high if known else None
    raw = reading.value_raw
    if (low is not None and raw < low) or (high is not None and raw > high):
        return "out of range"
    return None


def _sigma(reading: Reading, spec: SeriesSpec) -> float:
    return max(reading.sigma or 0.0, spec.noise_floor)


def _along_sigma(row: Sequence[Reading], sigmas: Vector, unit: Vector, spec: SeriesSpec) -> float:
    """Standard deviation along the direction, with the covariance of the solution where it came along."""
    covariance = _covariance(row[0].extra) if len(unit) == 3 else None
    if covariance is None:
        return sqrt(sum((u * s) ** 2 for u, s in zip(unit, sigmas, strict=True)))
    ee, nn, uu, en, eu, nu = covariance
    e, n, u = unit
    variance = ee * e * e + nn * n * n + uu * u * u + 2.0 * (en * e * n + eu * e * u + nu * n * u)
    return max(sqrt(max(variance, 0.0)), spec.noise_floor)


def _covariance(extra: str | None) -> tuple[float, float, float, float, float, float] | None:
    if extra is None or "cov" not in extra:
        return None
    try:
        facts = json.loads(extra)
        if not isinstance(facts, Mapping):
            return None
        ee, nn, uu, en, eu, nu = (float(v) for v in facts["cov_mm2"])
    except (ValueError, TypeError, KeyError):
        return None
    return (ee, nn, uu, en, eu, nu) if all(map(isfinite, (ee, nn, uu, en, eu, nu))) else None


def _is_stuck(values: Sequence[Vector], spec: SeriesSpec) -> bool:
    """An instrument with noise that says the same number again and again is broken."""
    tail = values[-STUCK_EPOCHS:]
    return spec.noise_floor > 0.0 and len(tail) == STUCK_EPOCHS and len(set(tail)) == 1
