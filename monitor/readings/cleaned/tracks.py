"""Build the track of a station from its readings.

A track contains the usable epochs of a series, the jumps that were detected in it, and the epochs that were set aside
with the reason. Whether the slope moves is decided elsewhere.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, fsum, inf, isfinite, radians, sin, sqrt
from operator import attrgetter, is_
from typing import Any, Final, TypeVar

from forecasting.hydrology.rain_sums import drop_totals
from forecasting.kinematics.direction import free_of_noise
from monitor.readings.cleaned.noise import Burst, LateBends, RepeatedValues, find_burst
from monitor.readings.cleaned.step_detector import OPENING_PATIENCE_INTERVALS, Jump, StepDetector
from monitor.readings.cleaned.vectors import Vector, norm
from monitor.readings.no_value import AT_STOP, FILL
from monitor.readings.records import DIGIT, HARMLESS, INCOMPLETE, Reading
from monitor.sites.kinds import Kind
from monitor.sites.quantities import LARGEST, LEVELS, PRESSURES, QUANTITIES, convert_difference
from monitor.sites.records import Criterion, SeriesSpec, Site, Station
from monitor.text.instants import epoch_s
from monitor.text.message import Figure, Message, Template, Term

_FUTURE: Final = Template("reading.in_the_future", "its time stamp is in the future")
_FLAG: Final = Template("reading.flagged", "it carries the flag {word}")
_TOO_LARGE: Final = Template("reading.too_large_to_use", "the value or its error is too large to compute with")
_OUT_OF_RANGE: Final = Template("reading.outside_range", "the value is outside the range of the instrument")
_INCOMPLETE: Final = Template("reading.lacks_component", "a component of this epoch is missing")()
GIVES_NONE: Final = Template(
    "reading.fill_value", "the instrument sent {value}, which is its code for a missing measurement"
)
IS_AT_STOP: Final = Template("reading.end_of_scale", "the instrument reads {value}, the end of its scale")
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")
# Number of newest epochs that a track keeps before jumps are subtracted. They show whether a step continues as motion
# or is scatter.
RECENT_EPOCHS: Final = 48
# Smallest jump of a pressure or level that is verified by default: half a metre of water.
MIN_LEVEL_STEPS: Final = {**dict.fromkeys(PRESSURES, (5.0, "kPa")), **dict.fromkeys(LEVELS, (0.5, "m"))}
_OBSERVED: Final = attrgetter("observed_at")
_PART_MISSING: Final = Template(
    "reading.lacks_input", "{value} is incomplete: a reading from which it is computed is missing"
)
_FAULT_OF_FLAG: Final = {FILL: GIVES_NONE, AT_STOP: IS_AT_STOP, INCOMPLETE: _PART_MISSING}
ItemT = TypeVar("ItemT")
Epoch = tuple[float, float, Vector]  # instants of measurement and reception in epoch seconds, and the value


@dataclass(frozen=True, slots=True)
class Track:
    """The epochs of one series of a station, in ascending time.

    Attributes:
        times_s: Epochs that count, shape (n,).
        received_s: When each of them was received, shape (n,).
        values: Components with all jumps in `jumps` subtracted, n tuples of k. Motion between jumps remains.
        sigmas: One standard deviation each, n tuples of k; 0 = unknown.
        along: Signed value along the direction of movement, or the only component, shape (n,). Without a direction: the
            horizontal or the vertical distance from zero, whichever is longer.
        along_sigma: Standard deviation of `along`, shape (n,). Without a direction: the largest horizontal one.
        jumps: Jumps above the verification limit that the detector has not identified as spike, motion or scatter,
            oldest first. The newest may be at an epoch that no epoch has followed yet. They are subtracted whatever
            people answered about them. Empty without such a limit (`find_verification_limit`): there every jump counts
            as motion. An offset that counts removes the jump from the readings themselves.
        unconfirmed_jumps: Jumps that may be steps or noise because the scatter of the series is not known yet, oldest
            first. They are not subtracted from `values`.
        set_aside: (epoch, reason) of each epoch that does not count.
        newest_s: Newest epoch received, whatever its quality; None if there is none.
        unit_vector: Declared direction of movement as a unit vector; None if none is declared.
        is_plunge_known: False if only an azimuth is declared. The vertical is then perpendicular to the direction.
        is_stuck: True if the newest epochs repeat one value for longer than chance explains.
        repeats: First and last epoch of each stretch in which a value, or one component, repeats for longer than chance
            explains. Only the first epoch of a stretch is certainly a measurement.
        recent: The newest `RECENT_EPOCHS` sound and complete epochs before jumps are subtracted, including those that
            the detector set aside.
        burst: Present and usual scatter, if the present one is unusually large.
        epochs_without_known_noise: Number of epochs of a series that is too short to measure its noise; None if the
            noise is known.
        digits: Size of the last digit by component, if the readings were received as text and it may matter.
        fits: Cache of fits to windows of this track, by (length, ...) of the window and by its end.
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
    unconfirmed_jumps: tuple[Jump, ...] = ()
    set_aside: tuple[tuple[float, Message], ...] = ()
    newest_s: float | None = None
    unit_vector: Vector | None = (1.0,)
    is_plunge_known: bool = True
    is_stuck: bool = False
    repeats: tuple[tuple[float, float], ...] = ()
    recent: tuple[Epoch, ...] = ()
    burst: Burst | None = None
    epochs_without_known_noise: int | None = None
    digits: Vector = ()
    fits: dict[tuple[Any, ...], dict[float, Any]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_directed(self) -> bool:
        """Whether a direction of movement is declared, or the series has only one component."""
        return self.unit_vector is not None

    @property
    def digit(self) -> float:
        """Size of the last digit along the direction, without a direction in the horizontal; 0 = unknown."""
        if not self.digits:
            return 0.0
        if self.unit_vector is None:
            return max(self.digits[:2], default=0.0)
        return fsum(abs(u) * step for u, step in zip(self.unit_vector, self.digits, strict=True))

    @property
    def usable_s(self) -> float | None:
        """Newest epoch that counts."""
        return self.times_s[-1] if self.times_s else None


Tracks = Mapping[str, Sequence[Track]]  # by station
# Kind of the criterion that movement, forecasts and anomaly scores use to clean a series, because they have no bound.
MOTION: Final = Kind("motion", noise_steps=True)


class Tracker:
    """Build the track of one station for one criterion, and extend it with new readings.

    The result depends only on the inputs and the instant. If the earlier readings differ from those of the last call,
    or if a new reading precedes them, the track is built again from the start.
    """

    def __init__(self, site: Site, station: Station, criterion: Criterion) -> None:
        self.criterion = criterion
        self._site = site
        self._station = station
        quantities = (*COMPONENTS, *SCALARS, criterion.quantity)
        self._series_names = {quantity: f"{station.id}.{quantity}" for quantity in quantities}
        self._quantities: tuple[str, ...] = ()
        self._track: Track | None = None
        self._last_track = Track(station.id, criterion.quantity)
        self._unit: Vector | None = None
        self._rows: dict[float, _Row] = {}
        self._newest_row: _Row | None = None
        self._limits: dict[str, tuple[float, float]] = {}
        self._reset()

    def track(self, readings_by_name: Mapping[str, tuple[Reading, ...]], now_s: float) -> Track:
        """Return the track at an instant for readings by `STATION.quantity`."""
        quantities = self._choose_quantities(readings_by_name)
        spec = self._station.find_series(quantities[0]) if quantities else None
        if spec is None or spec.unit == "index":
            return Track(self._station.id, self.criterion.quantity)
        readings = [readings_by_name[self._series_names[quantity]] for quantity in quantities]
        if quantities != self._quantities:
            self._change_quantities(quantities, spec)
            self._reset()
        elif self._has_future_readings or not self._can_continue(readings, spec):
            self._reset()
        if self._track is not None and all(map(is_, self._processed, readings)):
            return self._track
        if not self._add_readings(readings, spec, now_s):
            # A missing component of an earlier epoch was received. The detector needs all epochs in their order.
            self._reset()
            self._add_readings(readings, spec, now_s)
        self._track = self._build_track(spec)
        return self._track

    def _can_continue(self, readings: Sequence[tuple[Reading, ...]], spec: SeriesSpec) -> bool:
        return _is_continuation(self._processed, readings) or self._drop_oldest(readings, spec)

    def _change_quantities(self, quantities: tuple[str, ...], spec: SeriesSpec) -> None:
        self._quantities = quantities
        self._last_track = Track(self._station.id, self.criterion.quantity)
        self._rows = {}
        self._limits = {quantity: _find_limits(spec, quantity) for quantity in quantities}
        is_norm = self.criterion.direction == "norm"
        self._unit = None if is_norm else compute_unit_vector(self._station, len(quantities))

    def _choose_quantities(self, readings_by_name: Mapping[str, tuple[Reading, ...]]) -> tuple[str, ...]:
        """Return the series with readings that the criterion uses: components, or else one scalar."""

        def list_with_readings(names: Sequence[str]) -> tuple[str, ...]:
            return tuple([name for name in names if readings_by_name.get(self._series_names[name])])

        if self.criterion.quantity != "displacement":
            return list_with_readings((self.criterion.quantity,))
        components = list_with_readings(COMPONENTS)
        return components if components[:2] == COMPONENTS[:2] else list_with_readings(SCALARS)[:1]

    def count(self) -> int:
        """Return the number of epochs in memory: used, set aside, and incomplete."""
        incomplete = sum(len(part) for part in self._waiting)
        set_aside = sum(len(part) for part in self._set_aside)
        return len(self._rows) + incomplete + set_aside

    def _reset(self) -> None:
        """Clear the processed readings. Joined epochs stay cached in `_rows`."""
        count = len(self._quantities)
        self._processed: list[tuple[Reading, ...]] = [()] * count
        self._waiting: list[dict[float, Reading]] = [{} for _ in range(count)]
        self._set_aside: list[dict[float, Message]] = [{} for _ in range(count)]
        self._newest_s: float | None = None
        self._has_future_readings = False
        self._reset_detector()

    def _reset_detector(self) -> None:
        self._detector: StepDetector | None = None
        self._bends = LateBends()
        self._repeated: RepeatedValues | None = None
        self._recent: list[Epoch] = []
        self._errors: list[float] = []  # along the direction, one for each epoch of the detector
        self._columns = _Columns()
        self._rewrites = -1
        self._track = None

    def _drop_oldest(self, readings: Sequence[tuple[Reading, ...]], spec: SeriesSpec) -> bool:
        """Restart the detector without the readings that left the loaded window.

        What depends on a single epoch is kept. What depends on its neighbours is computed again.

        Returns:
            False if the readings differ in more than that, and the track must be built from the start.
        """
        detector = self._detector
        firsts_s = []
        remaining = []
        for processed, loaded in zip(self._processed, readings, strict=True):
            first_at = loaded[0].observed_at
            shared = processed[bisect_left(processed, first_at, key=_OBSERVED) :]
            if not shared or shared != loaded[: len(shared)]:
                return False
            firsts_s.append(epoch_s(first_at))
            remaining.append(shared)
        first_s = max(firsts_s)
        if detector is None or self._newest_s is None or self._newest_s < first_s:
            return False
        place = bisect_left(detector.times, first_s)
        is_epoch_split = place > 0 and detector.times[place - 1] >= min(firsts_s)
        if is_epoch_split:
            # One component of this epoch left the window and another did not.
            return False
        times_s = detector.times[place:]
        rows = [self._rows[at_s] for at_s in times_s]
        self._rows = dict(zip(times_s, rows, strict=True))
        self._waiting = [_drop_before(from_s, part) for from_s, part in zip(firsts_s, self._waiting, strict=True)]
        self._set_aside = [_drop_before(from_s, part) for from_s, part in zip(firsts_s, self._set_aside, strict=True)]
        self._reset_detector()
        self._processed = remaining
        self._extend_detector(list(self._rows), rows, spec)
        return True

    def _add_readings(self, readings: Sequence[tuple[Reading, ...]], spec: SeriesSpec, now_s: float) -> bool:
        """Pass the epochs that are new and complete to the detector.

        Returns:
            False if one of them precedes the newest epoch of the detector, and the track must be built again.
        """
        added = [loaded[len(processed) :] for loaded, processed in zip(readings, self._processed, strict=True)]
        if self._detector is not None and self._add_next_epoch(added, spec, now_s):
            self._processed = list(readings)
            return True
        for component, quantity in enumerate(self._quantities):
            for reading in added[component]:
                at_s = epoch_s(reading.observed_at)
                row = self._rows.get(at_s)
                if row is not None and row.parts[component] is reading and at_s <= now_s:
                    # The same reading counted before, and whether it is sound depends on the reading alone.
                    reason = None
                else:
                    reason = _find_fault(reading, spec.unit, self._limits[quantity], at_s, now_s)
                if at_s > now_s:
                    # The reading counts from its time stamp on, so the next call must not reuse this result.
                    self._has_future_readings = True
                elif "future" not in reading.flags:
                    self._newest_s = at_s if self._newest_s is None else max(self._newest_s, at_s)
                if reason is None:
                    self._waiting[component][at_s] = reading
                else:
                    self._set_aside[component][at_s] = reason
        self._processed = list(readings)
        complete_s = sorted(set(self._waiting[0]).intersection(*self._waiting[1:]))
        if self._detector is None:
            self._rows = {at_s: row for at_s, row in self._rows.items() if complete_s and at_s >= complete_s[0]}
        elif complete_s and self._detector.times and complete_s[0] <= self._detector.times[-1]:
            return False
        rows = []
        for at_s in complete_s:
            parts = tuple([part.pop(at_s) for part in self._waiting])
            rows.append(self._join_components(at_s, parts, spec))
        self._extend_detector(complete_s, rows, spec)
        return True

    def _list_incomplete(self) -> dict[float, Message]:
        """Return the epochs that lack a component although newer readings were received. They do not count."""
        newest_s = self._newest_s
        if newest_s is None or not any(self._waiting):
            return {}
        return {at_s: _INCOMPLETE for part in self._waiting for at_s in part if at_s < newest_s}

    def _add_next_epoch(self, added: Sequence[Sequence[Reading]], spec: SeriesSpec, now_s: float) -> bool:
        """Add the single new epoch if it is complete, sound and newer than all others, which is the usual case."""
        if [*map(len, added)] != [1] * len(added) or self._detector is None or not self._detector.times:
            return False
        parts = tuple([readings[0] for readings in added])
        observed_at = parts[0].observed_at
        at_s = epoch_s(observed_at)
        if not self._detector.times[-1] < at_s <= now_s or any(at_s in part for part in self._waiting):
            return False
        for quantity, reading in zip(self._quantities, parts, strict=True):
            if reading.observed_at != observed_at or reading.flags:
                return False
            if _find_fault(reading, spec.unit, self._limits[quantity], at_s, now_s) is not None:
                return False
        self._newest_s = at_s if self._newest_s is None else max(self._newest_s, at_s)
        self._extend_detector([at_s], [self._join_components(at_s, parts, spec)], spec)
        return True

    def _extend_detector(self, times_s: Sequence[float], rows: Sequence["_Row"], spec: SeriesSpec) -> None:
        if self._detector is None:
            self._detector = StepDetector(
                self._find_step_limit(spec), unit=spec.unit, patience_s=OPENING_PATIENCE_INTERVALS * spec.interval_s
            )
        self._errors += [row.error for row in rows]
        received_s = [row.received_s for row in rows]
        values = [row.values for row in rows]
        self._recent = [*self._recent, *zip(times_s, received_s, values, strict=True)][-RECENT_EPOCHS:]
        self._detector.extend(times_s, received_s, values, [row.sigmas for row in rows])

    def _find_step_limit(self, spec: SeriesSpec) -> float | None:
        """Return the jump above which a step must be verified.

        For `MOTION` it is the smallest limit of all witness criteria on this series, so that movement and forecasts
        take out every jump that the evaluation asks about.
        """
        if self.criterion.kind is not MOTION:
            return find_verification_limit(spec, self.criterion)
        limits = []
        for criterion in self._site.criteria:
            if not criterion.kind.followed or criterion.role != "witness":
                continue
            if criterion.quantity == self.criterion.quantity and self._station.id in criterion.stations:
                limits.append(find_verification_limit(spec, criterion))
        return min(
            (limit for limit in limits if limit is not None), default=find_verification_limit(spec, self.criterion)
        )

    def _join_components(self, at_s: float, parts: tuple[Reading, ...], spec: SeriesSpec) -> "_Row":
        """Return the components of an epoch as one row. The row of the same readings is taken from the cache."""
        row = self._rows.get(at_s)
        if row is not None and all(map(is_, row.parts, parts)):
            return row
        values = _read_values(parts)
        sigmas = tuple([max(reading.sigma or 0.0, spec.noise_floor) for reading in parts])
        digits = _read_digits(parts)
        if digits:
            sigmas = tuple([max(sigma, digit / sqrt(12.0)) for sigma, digit in zip(sigmas, digits, strict=True)])
        received_s = epoch_s(max([reading.received_at for reading in parts]))
        previous = self._newest_row
        error = None
        if previous is not None:
            # Most instruments state the same error at each epoch, and a batch has one reception. Sharing these objects
            # saves memory and the computation of the error.
            if previous.received_s == received_s:
                received_s = previous.received_s
            if previous.sigmas == sigmas:
                sigmas = previous.sigmas
                if previous.parts[0].extra is parts[0].extra is None:
                    error = previous.error
        if error is None:
            error = _compute_sigma_along(parts, sigmas, self._unit, spec)
        row = _Row(parts, received_s, values, sigmas, error, digits)
        self._rows[at_s] = row
        self._newest_row = row
        return row

    def _build_track(self, spec: SeriesSpec) -> Track:
        detector = self._detector
        assert detector is not None
        has_only_grown = detector.rewrites == self._rewrites
        if not has_only_grown:
            # An epoch that counted at the last call does not count any more.
            self._columns = _Columns()
            self._rewrites = detector.rewrites
        columns = self._columns
        added = detector.counting[len(columns.times_s) :]
        level = [detector.values_without_jumps[i] for i in added]
        added_sigmas = [detector.sigmas[i] for i in added]
        columns.times_s += [detector.times[i] for i in added]
        columns.received_s += [detector.received[i] for i in added]
        columns.values += level
        columns.sigmas += added_sigmas
        if self._unit is None:
            columns.along += _compute_distances(level, added_sigmas)
        else:
            columns.along += _project(level, self._unit)
        columns.along_sigma += [self._errors[i] for i in added]
        set_aside = self._list_incomplete()
        for part in self._set_aside:
            set_aside |= part
        digits = () if self._newest_row is None else self._newest_row.digits
        if self._repeated is None:
            self._repeated = RepeatedValues(spec, len(self._quantities))
        self._repeated.extend(detector.values)
        runs = self._repeated.list_runs(detector.values)
        fits: dict[tuple[Any, ...], dict[float, Any]] = {}
        if digits == self._last_track.digits:
            fits = self._last_track.fits
            if not has_only_grown:
                fits = _find_valid_fits(self._last_track, columns)
        track = Track(
            station=self._station.id,
            quantity="+".join(self._quantities),
            times_s=tuple(columns.times_s),
            received_s=tuple(columns.received_s),
            values=tuple(columns.values),
            sigmas=tuple(columns.sigmas),
            along=tuple(columns.along),
            along_sigma=tuple(columns.along_sigma),
            jumps=tuple([jump for _, jump in detector.jumps]),
            unconfirmed_jumps=tuple(detector.unconfirmed_jumps),
            set_aside=(*sorted(set_aside.items()), *sorted(detector.set_aside.items())),
            newest_s=self._newest_s,
            unit_vector=self._unit,
            is_plunge_known=len(self._quantities) < 3 or not self._station.lacks_plunge,
            epochs_without_known_noise=detector.epochs_without_known_noise,
            is_stuck=self._repeated.is_stuck(detector.values),
            repeats=tuple([(detector.times[first], detector.times[last]) for first, last in runs]),
            recent=tuple(self._recent),
            burst=find_burst(detector.values, detector.sigmas, self._bends),
            digits=digits,
            fits=fits,
        )
        self._last_track = track
        return track


@dataclass(slots=True)
class _Columns:
    """Epochs that count, as they grow. The fields are those of `Track`."""

    times_s: list[float] = field(default_factory=list)
    received_s: list[float] = field(default_factory=list)
    values: list[Vector] = field(default_factory=list)
    sigmas: list[Vector] = field(default_factory=list)
    along: list[float] = field(default_factory=list)
    along_sigma: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Row:
    """One epoch with all its components."""

    parts: tuple[Reading, ...]
    received_s: float
    values: Vector
    sigmas: Vector
    # Standard deviation along the direction.
    error: float
    digits: Vector


def make_motion_tracker(site: Site, station: Station, quantity: str) -> Tracker:
    """Return the tracker of a motion series for movement, forecasts and anomaly scores, which have no bound.

    Args:
        quantity: `displacement` for the components of a station, or the quantity of the series.
    """
    return Tracker(site, station, Criterion(MOTION.id, MOTION, (station.id,), quantity, ()))


def list_rain(readings: Sequence[Reading], spec: SeriesSpec, now_s: float) -> list[tuple[float, float]]:
    """Return epoch seconds and values of the sound readings of a gauge.

    Where a total replaced the sum of an interval, the first value of that interval counts.
    """
    rows: list[tuple[float, float, float | None]] = []
    for r in readings:
        if explain_rain_fault(r) is None:
            at_s = epoch_s(r.observed_at)
            if at_s <= now_s:
                rows.append((at_s, r.value, None if r.first is None else r.first.value))
    if spec.stamp == "interval_end" and any(first is not None for _, _, first in rows):
        return drop_totals(rows, spec.interval_s)
    return [(at_s, value) for at_s, value, _ in rows]


def list_refused_rain(readings: Sequence[Reading], spec: SeriesSpec, now_s: float) -> list[float]:
    """Return the times of tips that are not sound, in epoch seconds; empty for other gauges.

    The rain of these times is unknown, and no other reading shows it. For interval sums and counter differences, the
    coverage shows that a reading is missing.
    """
    if spec.stamp != "event":
        return []
    refused = [epoch_s(r.observed_at) for r in readings if explain_rain_fault(r) is not None]
    return [at_s for at_s in refused if at_s <= now_s]


def explain_rain_fault(reading: Reading) -> Message | None:
    """Return why a reading of a rain gauge does not count; None if it counts."""
    for flag in reading.flags:
        if flag not in HARMLESS:
            return _FLAG(word=Term(flag))
    return None if 0.0 <= reading.value < LARGEST else _OUT_OF_RANGE()


def _is_continuation(processed: Sequence[tuple[Reading, ...]], readings: Sequence[tuple[Reading, ...]]) -> bool:
    """Return whether each series starts with the readings that were processed before."""
    return all(
        before is after or before == after[: len(before)] for before, after in zip(processed, readings, strict=True)
    )


def _drop_before(from_s: float, part: Mapping[float, ItemT]) -> dict[float, ItemT]:
    return {at_s: item for at_s, item in part.items() if at_s >= from_s}


def _find_valid_fits(old: Track, new: _Columns) -> dict[tuple[Any, ...], dict[float, Any]]:
    """Return the cached fits of an older track whose windows contain the same epochs in the new track."""
    if not old.times_s:
        return {}
    # Compare both tracks backwards from the newest epoch of the old one.
    i = len(old.times_s)
    k = bisect_right(new.times_s, old.times_s[-1])
    while (
        i
        and k
        and old.times_s[i - 1] == new.times_s[k - 1]
        and old.values[i - 1] == new.values[k - 1]
        and old.sigmas[i - 1] == new.sigmas[k - 1]
        and old.along_sigma[i - 1] == new.along_sigma[k - 1]
    ):
        i -= 1
        k -= 1
    # The newest epoch that differs, or that only one of the tracks has.
    differs_s = max(old.times_s[i - 1] if i else -inf, new.times_s[k - 1] if k else -inf)
    valid = {}
    for key, fits in old.fits.items():
        length_s = key[0]
        valid[key] = {end_s: fit for end_s, fit in fits.items() if end_s - length_s >= differs_s}
    return valid


def _project(values: Sequence[Vector], unit: Vector) -> list[float]:
    if len(unit) == 1:
        return [v[0] for v in values]
    if len(unit) == 2:
        return [unit[0] * v[0] + unit[1] * v[1] for v in values]
    return [unit[0] * v[0] + unit[1] * v[1] + unit[2] * v[2] for v in values]


def _compute_distances(values: Sequence[Vector], sigmas: Sequence[Vector]) -> list[float]:
    """Return the horizontal or the vertical distance from zero, whichever is longer, less the part due to noise."""
    distances = []
    for value, sigma in zip(values, sigmas, strict=True):
        parts = [(norm(value[:2]), max(sigma[:2])), *zip(map(abs, value[2:]), sigma[2:], strict=True)]
        distances.append(max(free_of_noise(length, error, 0.0) for length, error in parts))
    return distances


def find_verification_limit(spec: SeriesSpec, criterion: Criterion) -> float | None:
    """Return the jump above which a step must be verified, in the unit of the series.

    None: no jump of this track is verified, and each counts like any other change. That is so without `verify_step` for
    values other than levels and pressures, for surveys and other kinds without a rate bound, and for accelerations and
    motion if the site file declares no `noise_floor`.

    The site file may declare it. Otherwise it is six times the noise floor for criteria on acceleration and motion
    without a bound; half of the smallest bound, and at least half a metre of water, for levels and pressures; half of
    the smallest change in a window that reaches a rate bound. It is never less than six times the noise floor.
    """
    if spec.verify_step is not None:
        return spec.verify_step
    if criterion.kind.noise_steps:
        return 6.0 * spec.noise_floor or None
    declared = [t for t in criterion.declared or criterion.thresholds if t.bound is not None]
    least_level_step = MIN_LEVEL_STEPS.get(criterion.quantity)
    if criterion.kind.is_level and least_level_step is not None and declared:
        try:
            least_step = convert_difference(*least_level_step, spec.unit)
        except ValueError:
            # The site file declares a unit of its own.
            return None
        return max(0.5 * min(abs(t.bound or 0.0) for t in declared), least_step, 6.0 * spec.noise_floor)
    if not criterion.kind.rate:
        return None
    bounds = [abs(t.bound or 0.0) * t.window_s / 86400.0 for t in declared if t.window_s]
    return max(0.5 * min(bounds), 6.0 * spec.noise_floor) if bounds and min(bounds) > 0 else None


def compute_unit_vector(station: Station, components: int) -> Vector | None:
    """Return the unit vector of downslope movement in east, north, up.

    The azimuth is clockwise from north, the plunge downwards from the horizontal.

    Returns:
        (1,) for a scalar; None if no azimuth is declared.
    """
    if components == 1:
        return (1.0,)
    if station.azimuth_deg is None:
        return None
    azimuth = radians(station.azimuth_deg)
    plunge = radians(station.plunge_deg or 0.0) if components == 3 else 0.0
    return (sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge))[:components]


# ---- soundness of single readings ------------------------------------------------------------------------------
def _find_limits(spec: SeriesSpec, quantity: str) -> tuple[float, float]:
    """Return the lowest and highest value that a reading may have: declared, or else physical."""
    physical = QUANTITIES.get(quantity)
    low = -inf if physical is None else physical.low
    high = inf if physical is None else physical.high
    return low if spec.low is None else spec.low, high if spec.high is None else spec.high


def _find_fault(reading: Reading, unit: str, limits: tuple[float, float], at_s: float, now_s: float) -> Message | None:
    """Return why a reading does not count by itself; None if it is sound."""
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


def _read_values(parts: Sequence[Reading]) -> Vector:
    return tuple([reading.value for reading in parts])


def _compute_sigma_along(row: Sequence[Reading], sigmas: Vector, unit: Vector | None, spec: SeriesSpec) -> float:
    """Return the standard deviation along the direction, with the covariance of the solution if there is one.

    Without a direction it is the largest horizontal standard deviation, which does not depend on the orientation of the
    axes.
    """
    covariance = _read_covariance(row[0].extra) if len(row) == 3 else None
    if unit is None:
        if covariance is None:
            return max(sigmas[:2])
        ee, nn, _, en, _, _ = covariance
        mean = (ee + nn) / 2.0
        half_difference = (ee - nn) / 2.0
        largest = mean + sqrt(half_difference * half_difference + en * en)
        return max(sqrt(max(largest, 0.0)), spec.noise_floor)
    if covariance is None:
        return sqrt(fsum((u * s) ** 2 for u, s in zip(unit, sigmas, strict=True)))
    ee, nn, uu, en, eu, nu = covariance
    e, n, u = unit
    variance = ee * e * e + nn * n * n + uu * u * u + 2.0 * (en * e * n + eu * e * u + nu * n * u)
    return max(sqrt(max(variance, 0.0)), spec.noise_floor)


def _read_digits(parts: Sequence[Reading]) -> Vector:
    """Return the size of the last digit by component from the extra of an epoch; empty if it has none."""
    extra = parts[0].extra
    if extra is None or DIGIT not in extra:
        return ()
    try:
        facts = json.loads(extra)
        digits = tuple([float(step) for step in facts[DIGIT]]) if isinstance(facts, Mapping) else ()
    except (ValueError, TypeError, KeyError):
        return ()
    return digits if len(digits) == len(parts) and all(0.0 <= step < LARGEST for step in digits) else ()


def _read_covariance(extra: str | None) -> tuple[float, float, float, float, float, float] | None:
    """Return the covariances ee, nn, uu, en, eu, nu of an epoch in mm²; None if it has none."""
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
