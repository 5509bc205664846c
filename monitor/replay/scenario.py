"""A collapse made for a drill: every declared station speaks, the slope accelerates through each level and is gone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from random import Random
from typing import Final

from monitor.domain.observation import Observation
from monitor.domain.quantities import QUANTITIES
from monitor.domain.site import Criterion, SeriesSpec, Site, Station
from monitor.errors import RefusedError

DAY_S: Final = 86400.0
DENSE: Final = 500  # epochs before the end at which every interval is there
# stations of one mass move alike, not equally: equal motion on one reference would be asked about as a common fault
FACTORS: Final = (1.0, 1.35, 0.75, 1.7, 0.9, 1.2, 1.5, 0.8)
NEVER_BELOW: Final = {"pore_pressure": 20.0, "reservoir_level": 100.0, "water_level": 100.0, "groundwater_level": 100.0}


@dataclass(frozen=True, slots=True)
class Curve:
    """Displacement before a failure: x = -size * ln(days left), so that 1 / velocity falls in a line (Voight 1989)."""

    size: float  # unit of the series; velocity = size / days left
    start_days: float  # days before the failure at which it begins
    end_days: float  # days before the failure at which the instruments are gone

    def value(self, days_left: float) -> float:
        """Displacement since the beginning."""
        return self.size * (log(self.start_days) - log(max(days_left, self.end_days)))


def plan_curves(site: Site) -> dict[tuple[str, str], Curve]:
    """For each series that a velocity or rate criterion reads: a curve that crosses every level it has a bound for.

    One window before the failure it has twice the velocity of the highest bound; the record ends when the mean over
    the shortest window is well beyond that bound.

    Raises:
        RefusedError: no criterion of the site measures how something moves.
    """
    found: dict[tuple[str, str], Curve] = {}
    for criterion in site.criteria:
        if not criterion.kind.rate or criterion.role != "witness":
            continue
        for number, station_id in enumerate(criterion.stations):
            station, spec = site.station(station_id), site.series(station_id, criterion.quantity)
            if station is None or spec is None or not station.on_slope:
                continue
            curve = _plan_curve(criterion, FACTORS[number % len(FACTORS)])
            key = (station_id, spec.quantity)
            if curve is not None and (key not in found or curve.size > found[key].size):
                found[key] = curve
    if not found:
        raise RefusedError(
            f"site {site.id} has no velocity or rate criterion that a collapse could cross; give a recorded FILE"
        )
    end_days = min(c.end_days for c in found.values())
    start_days = max(c.start_days for c in found.values())
    return {k: Curve(c.size, start_days, end_days) for k, c in found.items()}


def _plan_curve(criterion: Criterion, factor: float) -> Curve | None:
    bounds = [
        (t.over, (t.window_s or DAY_S) / DAY_S) for t in criterion.thresholds if t.over is not None and t.over > 0
    ]
    if not bounds:
        return None
    top, window_days = bounds[-1]
    lowest, slowest_days = bounds[0]
    size = 2.0 * top * window_days * factor
    # from half the lowest bound on, and long enough before it to fill the widest window twice
    return Curve(size, max(2.0 * size / lowest, size / lowest + 2.0 * slowest_days), 0.6 * window_days)


def make_collapse(site: Site, start_at: datetime, seed: int = 1) -> Iterator[Observation]:
    """Readings of every declared series from `start_at` until the mass is gone; known at their epochs.

    Args:
        site: the declaration: stations, intervals, noise floors and bounds.
        start_at: first epoch.
        seed: same seed, same readings.

    Raises:
        RefusedError: nothing of the site measures movement.
    """
    curves = plan_curves(site)
    one = next(iter(curves.values()))
    lasts_s = (one.start_days - one.end_days) * DAY_S
    for station in site.stations:
        for spec in station.series:
            yield from _make_series(site, station, spec, curves, start_at, lasts_s, seed)


def _make_series(
    site: Site, station: Station, spec: SeriesSpec, curves: Mapping[tuple[str, str], Curve], start_at: datetime,
    lasts_s: float, seed: int,
) -> Iterator[Observation]:  # fmt: skip
    curve = curves.get((station.id, spec.quantity))
    luck = Random(f"{seed}|{station.id}|{spec.quantity}")
    spread = 0.5 * spec.noise_floor or 1e-3
    still = _still_value(spec)
    known = QUANTITIES.get(spec.quantity)
    i, epochs = 0, int(lasts_s // spec.interval_s) + 1
    # while little happens a fast series speaks when the slowest does, never so rarely that it seems silent
    slowest_s = max(s.interval_s for other in site.stations for s in other.series)
    stride = max(1, int(min(slowest_s, spec.max_silence_s / 2.0) // spec.interval_s))
    while i < epochs:
        at = start_at + timedelta(seconds=i * spec.interval_s)
        value = still
        if curve is not None:
            value += curve.value(curve.start_days - i * spec.interval_s / DAY_S)
        if spec.quantity != "rain":
            value += luck.gauss(0.0, spread)
        if known is not None:
            value = min(max(value, known.low), known.high)
        yield Observation(site.id, station.id, spec.quantity, spec.unit, at, at, value, None)
        i += stride if i < epochs - DENSE else 1


def _still_value(spec: SeriesSpec) -> float:
    """A value within the range of the series, for what stands still."""
    low, high = spec.low, spec.high
    if low is not None and high is not None:
        return (low + high) / 2.0
    value = NEVER_BELOW.get(spec.quantity, 0.0)
    return max(value, low) if low is not None else min(value, high) if high is not None else value
