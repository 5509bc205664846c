"""From readings to the track of a station: usable epochs, jumps found, outliers set aside; nothing is judged here."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, fsum, inf, isfinite, radians, sin, sqrt
from operator import attrgetter, is_
from typing import Any, Final, TypeVar

from forecasting.hydrology.rain_sums import drop_totals
from forecasting.kinematics.direction import free_of_noise
from monitor.decision.records import DecisionInputs, seconds
from monitor.decision.series.noise import Burst, LateBends, RepeatedValues, find_burst
from monitor.decision.series.step_detector import PATIENCE, Jump, StepDetector
from monitor.decision.series.vectors import Vector, norm
from monitor.readings.no_value import AT_STOP, FILL
from monitor.readings.records import DIGIT, HARMLESS, INCOMPLETE, Reading
from monitor.sites.quantities import LARGEST, LEVELS, PRESSURES, QUANTITIES, convert_difference
from monitor.sites.records import Criterion, SeriesSpec, Site, Station
from monitor.text.message import Figure, Message, Template, Term

_FUTURE: Final = Template("reading.future", "stamped in the future")
_FLAG: Final = Template("reading.flag", "flag {word}")
_TOO_LARGE: Final = Template("reading.too_large", "too large to reckon with")
_OUT_OF_RANGE: Final = Template("reading.out_of_range", "out of range")
_INCOMPLETE: Final = Template("reading.incomplete", "a component of the epoch is missing")()
GIVES_NONE: Final = Template("reading.fill", "it gives no value: {value} stands for none")
IS_AT_STOP: Final = Template("reading.at_stop", "it stands at {value}, the end of its scale")
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")
RECENT: Final = 48  # epochs kept as they came: by them a step is known for motion or for scatter
# of pressures and levels, half a metre of water: a smaller jump is none to ask about by default
LEAST_LEAPS: Final = {**dict.fromkeys(PRESSURES, (5.0, "kPa")), **dict.fromkeys(LEVELS, (0.5, "m"))}
_OBSERVED: Final = attrgetter("observed_at")
_PART_MISSING: Final = Template(
    "reading.part_missing", "{value} is incomplete: a part of what it is computed from is missing"
)
_FAULT_OF_FLAG: Final = {FILL: GIVES_NONE, AT_STOP: IS_AT_STOP, INCOMPLETE: _PART_MISSING}
Part = TypeVar("Part")
Epoch = tuple[float, float, Vector]  # when it was measured and received, and its value


@dataclass(frozen=True, slots=True)
class Track:
    """What a station's series says, epoch by epoch, in rising time.

    Attributes:
        times_s: Epochs that count, shape (n,).
        values: Components with open jumps taken out, n tuples of k; the motion between jumps stays.
        sigmas: One standard deviation each, n tuples of k; 0 = unknown.
        along: Signed value along the direction of movement (or the only component), shape (n,); the distance from
            zero where there is no direction, on the map or upright, whichever is longer.
        along_sigma: Its standard deviation, shape (n,); without a direction that on the map, the way it errs most.
        jumps: Steps nobody explained, oldest first.
        early: What might be steps, were the scatter of the series known: oldest first, none taken out.
        set_aside: (epoch, reason) of what was left out.
        newest_s: Newest epoch received whatever its quality; None when there is none.
        unit: Declared direction of movement, by component; None where there is none.
        is_plunge_known: False where an azimuth alone is declared: the vertical then lies across the direction.
        stuck: True when the newest epochs repeat one value for longer than chance would make it.
        repeats: First and last epoch of stretches in which one value, or one component, repeats for longer than chance
            would make it. Only the first epoch of a stretch is a measurement for certain.
        recent: The newest epochs as they came, set aside or not.
        learning: Epochs so far of a series whose noise nobody stated and which is too short to show it; None of others.
        digits: One step of the last digit by component, where the readings came as text and it may matter.
        fits: What was fitted to windows of this track, by (length, ...) of the window, and by its end; says nothing by
            itself.
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
    early: tuple[Jump, ...] = ()
    set_aside: tuple[tuple[float, Message], ...] = ()
    newest_s: float | None = None
    unit: Vector | None = (1.0,)
    is_plunge_known: bool = True
    stuck: bool = False
    repeats: tuple[tuple[float, float], ...] = ()
    recent: tuple[Epoch, ...] = ()
    burst: Burst | None = None
    learning: int | None = None
    digits: Vector = ()
    fits: dict[tuple[Any, ...], dict[float, Any]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_directed(self) -> bool:
        """Components have a declared direction, or there is one alone."""
        return self.unit is not None

    @property
    def digit(self) -> float:
        """One step of the last digit along the direction; on the map where there is none. 0 = unknown."""
        if not self.digits:
            return 0.0
        if self.unit is None:
            return max(self.digits[:2], default=0.0)
        return fsum(abs(u) * step for u, step in zip(self.unit, self.digits, strict=True))

    @property
    def usable_s(self) -> float | None:
        """Newest epoch that counts."""
        return self.times_s[-1] if self.times_s else None


Tracks = Mapping[str, Sequence[Track]]  # by station


class Tracker:
    """Builds the track of one station for one criterion; asked again, it looks only at readings that are new.

    What it gives is a function of the view and the instant alone: readings that are not the very ones it saw before,
    or that come before them, make it begin anew.
    """

    def __init__(self, site: Site, station: Station, criterion: Criterion) -> None:
        self.criterion = criterion
        self._site, self._station = site, station
        self._keys = {q: f"{station.id}.{q}" for q in (*COMPONENTS, *SCALARS, criterion.quantity)}
        self._quantities: tuple[str, ...] = ()
        self._track: Track | None = None
        self._last = Track(station.id, criterion.quantity)
        self._unit: Vector | None = None
        self._rows: dict[float, _Row] = {}
        self._joined: _Row | None = None  # the newest of them
        self._limits: dict[str, tuple[float, float]] = {}
        self._begin()

    def track(self, view: DecisionInputs, now_s: float) -> Track:
        """The track as the view shows it."""
        quantities = self._choose(view)
        spec = self._station.find_series(quantities[0]) if quantities else None
        if spec is None or spec.unit == "index":
            return Track(self._station.id, self.criterion.quantity)
        readings = [view.readings[self._keys[q]] for q in quantities]
        if (
            quantities != self._quantities
            or self._ahead
            or not (_continue(self._seen, readings) or self._drop_oldest(readings, spec))
        ):
            if quantities != self._quantities:
                self._last = Track(self._station.id, self.criterion.quantity)
                self._rows = {}
                self._limits = {q: _find_limits(spec, q) for q in quantities}
                is_norm = self.criterion.direction == "norm"
                self._unit = None if is_norm else direction(self._station, len(quantities))
            self._quantities = quantities
            self._begin()
        if self._track is not None and all(map(is_, self._seen, readings)):
            return self._track
        if not self._gather(readings, spec, now_s):  # a component of an earlier epoch came: all in its order
            self._begin()
            self._gather(readings, spec, now_s)
        self._track = self._describe(spec)
        return self._track

    def _choose(self, view: DecisionInputs) -> tuple[str, ...]:

        def have(names: Sequence[str]) -> tuple[str, ...]:
            return tuple([q for q in names if view.readings.get(self._keys[q])])

        if self.criterion.quantity != "displacement":
            return have((self.criterion.quantity,))
        components = have(COMPONENTS)
        return components if components[:2] == COMPONENTS[:2] else have(SCALARS)[:1]

    def count(self) -> int:
        """Epochs held: those that count, those that do not, and those of which a component has not come."""
        return len(self._rows) + sum(len(part) for part in self._waiting) + sum(len(part) for part in self._aside)

    def _begin(self) -> None:
        count = len(self._quantities)
        self._seen: list[tuple[Reading, ...]] = [()] * count
        self._waiting: list[dict[float, Reading]] = [{} for _ in range(count)]
        self._aside: list[dict[float, Message]] = [{} for _ in range(count)]
        self._newest_s: float | None = None
        self._ahead = False
        self._begin_walk()

    def _begin_walk(self) -> None:
        self._walk: StepDetector | None = None
        self._bends = LateBends()
        self._repeated: RepeatedValues | None = None
        self._recent: list[Epoch] = []
        self._errors: list[float] = []  # along the direction, of every epoch
        self._columns: tuple[list[float], list[float], list[Vector], list[Vector], list[float], list[float]]
        self._columns = ([], [], [], [], [], [])
        self._rewrites = -1
        self._track = None

    def _drop_oldest(self, readings: Sequence[tuple[Reading, ...]], spec: SeriesSpec) -> bool:
        """Begin the walk anew behind readings that left the window; False where more than these changed.

        What was found of each epoch by itself stays; only what is said of one beside others is found again.
        """
        walk, firsts_s, rests = self._walk, [], []
        for seen, shown in zip(self._seen, readings, strict=True):
            first_at = shown[0].observed_at
            rest = seen[bisect_left(seen, first_at, key=_OBSERVED) :]
            if not rest or rest != shown[: len(rest)]:
                return False
            firsts_s.append(seconds(first_at))
            rests.append(rest)
        first_s = max(firsts_s)
        if walk is None or self._newest_s is None or self._newest_s < first_s:
            return False
        place = bisect_left(walk.times, first_s)
        if place and walk.times[place - 1] >= min(firsts_s):  # of an epoch a part is gone
            return False
        rows = [self._rows[at_s] for at_s in walk.times[place:]]
        self._rows = dict(zip(walk.times[place:], rows, strict=True))
        self._waiting = [_drop_before(s, part) for s, part in zip(firsts_s, self._waiting, strict=True)]
        self._aside = [_drop_before(s, part) for s, part in zip(firsts_s, self._aside, strict=True)]
        self._begin_walk()
        self._seen = rests
        self._take(list(self._rows), rows, spec)
        return True

    def _gather(self, readings: Sequence[tuple[Reading, ...]], spec: SeriesSpec, now_s: float) -> bool:
        """Walk over the epochs that are new and complete; False when one of them lies before the end of the walk."""
        news = [shown[len(seen) :] for shown, seen in zip(readings, self._seen, strict=True)]
        if self._walk is not None and self._take_next(news, spec, now_s):
            self._seen = list(readings)
            return True
        for k, quantity in enumerate(self._quantities):
            for reading in news[k]:
                at_s = seconds(reading.observed_at)
                known = self._rows.get(at_s)
                if known is not None and known.parts[k] is reading and at_s <= now_s:
                    reason = None  # it counted before, and what it is by itself does not change
                else:
                    reason = _fault(reading, spec.unit, self._limits[quantity], at_s, now_s)
                if at_s > now_s:
                    self._ahead = True  # it will count one day: what is said of it now holds for now
                elif "future" not in reading.flags:
                    self._newest_s = at_s if self._newest_s is None else max(self._newest_s, at_s)
                if reason is None:
                    self._waiting[k][at_s] = reading
                else:
                    self._aside[k][at_s] = reason
        self._seen = list(readings)
        shared = sorted(set(self._waiting[0]).intersection(*self._waiting[1:]))
        if self._walk is None:
            self._rows = {at: row for at, row in self._rows.items() if shared and at >= shared[0]}
        elif shared and self._walk.times and shared[0] <= self._walk.times[-1]:
            return False
        self._take(shared, [self._join(at, tuple([p.pop(at) for p in self._waiting]), spec) for at in shared], spec)
        return True

    def _list_incomplete(self) -> dict[float, Message]:
        """Epochs of which a component has not come although newer readings have: they count for nothing."""
        newest_s = self._newest_s
        if newest_s is None or not any(self._waiting):
            return {}
        return {at_s: _INCOMPLETE for part in self._waiting for at_s in part if at_s < newest_s}

    def _take_next(self, news: Sequence[Sequence[Reading]], spec: SeriesSpec, now_s: float) -> bool:
        """Walk over one sound epoch that is newer than all others and came whole: the usual case."""
        if [*map(len, news)] != [1] * len(news) or self._walk is None or not self._walk.times:
            return False
        parts = tuple([one[0] for one in news])
        at, at_s = parts[0].observed_at, seconds(parts[0].observed_at)
        if not self._walk.times[-1] < at_s <= now_s or any(at_s in part for part in self._waiting):
            return False
        for quantity, reading in zip(self._quantities, parts, strict=True):
            if reading.observed_at != at or reading.flags:
                return False
            if _fault(reading, spec.unit, self._limits[quantity], at_s, now_s) is not None:
                return False
        self._newest_s = at_s if self._newest_s is None else max(self._newest_s, at_s)
        self._take([at_s], [self._join(at_s, parts, spec)], spec)
        return True

    def _take(self, times_s: Sequence[float], rows: Sequence["_Row"], spec: SeriesSpec) -> None:
        if self._walk is None:
            self._walk = StepDetector(
                verify_step(spec, self.criterion), unit=spec.unit, patience_s=PATIENCE * spec.interval_s
            )
        self._errors += [row.error for row in rows]
        received_s, values = [row.received_s for row in rows], [row.values for row in rows]
        self._recent = [*self._recent, *zip(times_s, received_s, values, strict=True)][-RECENT:]
        self._walk.extend(times_s, received_s, values, [row.sigmas for row in rows])

    def _join(self, at_s: float, parts: tuple[Reading, ...], spec: SeriesSpec) -> "_Row":
        """The components of an epoch together; the same readings are joined once, however often a walk begins."""
        known = self._rows.get(at_s)
        if known is not None and all(map(is_, known.parts, parts)):
            return known
        values, sigmas = _values(parts), tuple([max(r.sigma or 0.0, spec.noise_floor) for r in parts])
        if digits := _read_digits(parts):
            sigmas = tuple([max(s, digit / sqrt(12.0)) for s, digit in zip(sigmas, digits, strict=True)])
        received_s = seconds(max([r.received_at for r in parts]))
        like, error = self._joined, None
        if like is not None:  # most instruments state one error, and a batch has one reception
            received_s = like.received_s if like.received_s == received_s else received_s
            if like.sigmas == sigmas:
                sigmas = like.sigmas
                error = like.error if like.parts[0].extra is parts[0].extra is None else None
        if error is None:
            error = _along_sigma(parts, sigmas, self._unit, spec)
        row = self._rows[at_s] = self._joined = _Row(parts, received_s, values, sigmas, error, digits)
        return row

    def _describe(self, spec: SeriesSpec) -> Track:
        walk = self._walk
        assert walk is not None
        times, received, values, sigmas, along, errors = self._columns
        grew = walk.rewrites == self._rewrites
        if not grew:  # something that counted no longer does
            for column in self._columns:
                column.clear()
            self._rewrites = walk.rewrites
        kept = walk.kept[len(times) :]
        level = [walk.level[i] for i in kept]
        times += [walk.times[i] for i in kept]
        received += [walk.received[i] for i in kept]
        values += level
        sigmas += [walk.sigmas[i] for i in kept]
        along += _reach(level, sigmas[len(along) :]) if self._unit is None else _project(level, self._unit)
        errors += [self._errors[i] for i in kept]
        aside = self._list_incomplete()
        for part in self._aside:
            aside |= part
        digits = () if self._joined is None else self._joined.digits
        if self._repeated is None:
            self._repeated = RepeatedValues(spec, len(self._quantities))
        self._repeated.extend(walk.values)
        runs = self._repeated.list_runs(walk.values)
        track = Track(
            station=self._station.id,
            quantity="+".join(self._quantities),
            times_s=tuple(times),
            received_s=tuple(received),
            values=tuple(values),
            sigmas=tuple(sigmas),
            along=tuple(along),
            along_sigma=tuple(errors),
            jumps=tuple([j for _, j in walk.jumps]),
            early=tuple(walk.early),
            set_aside=(*sorted(aside.items()), *sorted(walk.aside.items())),
            newest_s=self._newest_s,
            unit=self._unit,
            is_plunge_known=len(self._quantities) < 3 or not self._station.lacks_plunge,
            learning=walk.learning,
            stuck=self._repeated.is_stuck(walk.values),
            repeats=tuple([(walk.times[first], walk.times[last]) for first, last in runs]),
            recent=tuple(self._recent),
            burst=find_burst(walk.values, walk.sigmas, self._bends),
            digits=digits,
            fits={}
            if digits != self._last.digits
            else self._last.fits
            if grew
            else _find_standing(self._last, tuple(times), values, sigmas, errors),
        )
        self._last = track
        return track


@dataclass(slots=True)
class _Row:
    parts: tuple[Reading, ...]
    received_s: float
    values: Vector
    sigmas: Vector
    error: float  # along the direction
    digits: Vector


def list_rain(readings: Sequence[Reading], spec: SeriesSpec, now_s: float) -> list[tuple[float, float]]:
    """Return epoch seconds and values of the sound readings of a gauge.

    Where a total replaced the sum of an interval, the first value of that interval counts.
    """
    rows: list[tuple[float, float, float | None]] = []
    for r in readings:
        if explain_rain_fault(r) is None:
            at_s = seconds(r.observed_at)
            if at_s <= now_s:
                rows.append((at_s, r.value, None if r.first is None else r.first.value))
    if spec.stamp == "interval_end" and any(first is not None for _, _, first in rows):
        return drop_totals(rows, spec.interval_s)
    return [(at_s, value) for at_s, value, _ in rows]


def list_refused_rain(readings: Sequence[Reading], spec: SeriesSpec, now_s: float) -> list[float]:
    """Return the times of tips that are not sound: what fell then is unknown, and no other reading shows that.

    The sums of intervals and the differences of counters show by their coverage that a reading is missing.
    """
    if spec.stamp != "event":
        return []
    refused = [seconds(r.observed_at) for r in readings if explain_rain_fault(r) is not None]
    return [at_s for at_s in refused if at_s <= now_s]


def explain_rain_fault(reading: Reading) -> Message | None:
    """Return why a reading of a rain gauge counts for nothing; None if it counts."""
    # a reading without flags is the rule: it is not asked about one by one
    for flag in reading.flags:
        if flag not in HARMLESS:
            return _FLAG(word=Term(flag))
    return None if 0.0 <= reading.value < LARGEST else _OUT_OF_RANGE()


def _continue(seen: Sequence[tuple[Reading, ...]], readings: Sequence[tuple[Reading, ...]]) -> bool:
    """True when each series begins with what was seen; what stayed the same object is compared by identity."""
    return all(a is b or a == b[: len(a)] for a, b in zip(seen, readings, strict=True))


def _drop_before(since_s: float, part: Mapping[float, Part]) -> dict[float, Part]:
    return {at_s: one for at_s, one in part.items() if at_s >= since_s}


def _find_standing(
    old: Track, times_s: Sequence[float], values: Sequence[Vector], sigmas: Sequence[Vector], errors: Sequence[float]
) -> dict[tuple[Any, ...], dict[float, Any]]:
    """Fits of an older track whose windows hold the very same epochs in a newer one."""
    if not old.times_s:
        return {}
    i, k = len(old.times_s), bisect_right(times_s, old.times_s[-1])
    while (
        i
        and k
        and old.times_s[i - 1] == times_s[k - 1]
        and old.values[i - 1] == values[k - 1]
        and old.sigmas[i - 1] == sigmas[k - 1]
        and old.along_sigma[i - 1] == errors[k - 1]
    ):
        i, k = i - 1, k - 1
    # the newest epoch that only one of them has, or that differs
    edge_s = max(old.times_s[i - 1] if i else -inf, times_s[k - 1] if k else -inf)
    return {
        key: {end_s: fit for end_s, fit in kept.items() if end_s - key[0] >= edge_s} for key, kept in old.fits.items()
    }


def _project(values: Sequence[Vector], unit: Vector) -> list[float]:
    if len(unit) == 1:
        return [v[0] for v in values]
    if len(unit) == 2:
        return [unit[0] * v[0] + unit[1] * v[1] for v in values]
    return [unit[0] * v[0] + unit[1] * v[1] + unit[2] * v[2] for v in values]


def _reach(values: Sequence[Vector], sigmas: Sequence[Vector]) -> list[float]:
    """How far from zero on the map, or upright, whichever is longer, less what noise alone makes of it."""
    found = []
    for value, sigma in zip(values, sigmas, strict=True):
        parts = [(norm(value[:2]), max(sigma[:2])), *zip(map(abs, value[2:]), sigma[2:], strict=True)]
        found.append(max(free_of_noise(length, error, 0.0) for length, error in parts))
    return found


def verify_step(spec: SeriesSpec, criterion: Criterion) -> float | None:
    """The jump beyond which a step must be verified: declared, else half of what would cross a bound by itself."""
    if spec.verify_step is not None:
        return spec.verify_step
    if criterion.kind.noise_steps:
        return 6.0 * spec.noise_floor or None
    declared = [t for t in criterion.declared or criterion.thresholds if t.bound is not None]
    if criterion.kind.is_level and (least := LEAST_LEAPS.get(criterion.quantity)) and declared:
        try:
            ripple = convert_difference(*least, spec.unit)
        except ValueError:  # a unit of the site's own
            return None
        return max(0.5 * min(abs(t.bound or 0.0) for t in declared), ripple, 6.0 * spec.noise_floor)
    if not criterion.kind.rate:
        return None
    bounds = [abs(t.bound or 0.0) * t.window_s / 86400.0 for t in declared if t.window_s]
    return max(0.5 * min(bounds), 6.0 * spec.noise_floor) if bounds and min(bounds) > 0 else None


def direction(station: Station, components: int) -> Vector | None:
    """Unit vector of downslope movement in east, north, up; (1,) for a scalar; None where no azimuth is declared.

    Azimuth clockwise from north, plunge downwards from the horizontal.
    """
    if components == 1:
        return (1.0,)
    if station.azimuth_deg is None:
        return None
    azimuth = radians(station.azimuth_deg)
    plunge = radians(station.plunge_deg or 0.0) if components == 3 else 0.0
    return (sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge))[:components]


# ---- gathering -------------------------------------------------------------------------------------------------
def _find_limits(spec: SeriesSpec, quantity: str) -> tuple[float, float]:
    known = QUANTITIES.get(quantity)
    low = spec.low if spec.low is not None else known.low if known else -inf
    high = spec.high if spec.high is not None else known.high if known else inf
    return low, high


def _fault(reading: Reading, unit: str, limits: tuple[float, float], at_s: float, now_s: float) -> Message | None:
    if at_s > now_s:
        return _FUTURE()
    for flag, template in _FAULT_OF_FLAG.items() if reading.flags else ():
        if flag in reading.flags:
            return template(value=Figure(reading.value_raw, "g", unit))
    for flag in reading.flags:
        if flag not in HARMLESS:
            return _FLAG(word=Term(flag))
    if not abs(reading.value) < LARGEST or not 0.0 <= (reading.sigma or 0.0) < LARGEST:
        return _TOO_LARGE()
    if reading.value_raw < limits[0] or reading.value_raw > limits[1]:
        return _OUT_OF_RANGE()
    return None


def _values(row: Sequence[Reading]) -> Vector:
    return tuple([r.value for r in row])


def _along_sigma(row: Sequence[Reading], sigmas: Vector, unit: Vector | None, spec: SeriesSpec) -> float:
    """Standard deviation along the direction, with the covariance of the solution where it came along.

    Without a direction that on the map, the way it errs most: so it is the same however the axes lie.
    """
    covariance = _covariance(row[0].extra) if len(row) == 3 else None
    if unit is None:
        if covariance is None:
            return max(sigmas[:2])
        ee, nn, _, en, _, _ = covariance
        half, apart = (ee + nn) / 2.0, (ee - nn) / 2.0
        return max(sqrt(max(half + sqrt(apart * apart + en * en), 0.0)), spec.noise_floor)
    if covariance is None:
        return sqrt(fsum((u * s) ** 2 for u, s in zip(unit, sigmas, strict=True)))
    ee, nn, uu, en, eu, nu = covariance
    e, n, u = unit
    variance = ee * e * e + nn * n * n + uu * u * u + 2.0 * (en * e * n + eu * e * u + nu * n * u)
    return max(sqrt(max(variance, 0.0)), spec.noise_floor)


def _read_digits(parts: Sequence[Reading]) -> Vector:
    """Steps of the last digit by component, as the extra of an epoch has them; empty where it has none."""
    extra = parts[0].extra
    if extra is None or DIGIT not in extra:
        return ()
    try:
        facts = json.loads(extra)
        found = tuple([float(step) for step in facts[DIGIT]]) if isinstance(facts, Mapping) else ()
    except (ValueError, TypeError, KeyError):
        return ()
    return found if len(found) == len(parts) and all(0.0 <= step < LARGEST for step in found) else ()


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
