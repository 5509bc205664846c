"""The result of a criterion at one witness, and the context in which criteria are evaluated.

Every criterion returns `Assessment` objects. `DecisionContext` contains the readings, facts and memory of one
evaluation, and caches the tracks.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from monitor.decision.headline import rank_bound
from monitor.decision.keys import VoteKey
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.intervals import (
    RARITY_INTERVALS,
    add_remembered,
    find_silence_s,
    list_receptions,
    shows_pace,
)
from monitor.readings.cleaned.coverage import WHOLE, Coverage
from monitor.readings.cleaned.tracks import Track, Tracker, list_rain
from monitor.readings.cleaned.vectors import Vector
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold, find_recovery_limit
from monitor.text.instants import epoch_s
from monitor.text.message import Message, Template

if TYPE_CHECKING:
    from monitor.decision.prepared_site import PreparedSite

_NO_DATA: Final = Template("criterion.no_data", "no usable data")()
REPEATS: Final = Template("health.stuck", "the instrument repeats one value")
RARE_SUFFIX: Final = ":rare"
# Suffix of a station in the key of a cached tracker for readings with unsigned corrections. No station has this suffix.
_UNSIGNED: Final = "~unsigned"
# Rate per day by component, and its standard error.
Measured = tuple[Vector | None, float]


def measure_nothing() -> Measured:
    """Return no motion, for a criterion that does not measure any."""
    return None, 0.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """The result of one criterion at one station.

    Attributes:
        station: The witness; `observers` for reports.
        raise_level: Highest level whose bound is crossed with its dwell.
        hold_level: Highest level that has not recovered. An older vote falls no lower than this level.
        has_data: Whether there is any evidence. Without evidence an older vote is not changed and expires.
        fresh: Whether the evidence is recent and sound enough to lower a vote.
        newest_s: Newest reading that it depends on, epoch seconds. The age of the vote is counted from it.
        facts: Values that explain the result, JSON-ready.
        measure: Return the motion and its error, if the criterion measures motion. It is called only when needed.
        undecided: By level, why a value above the bound does not count: only its own error is too large. People must
            decide.
        coverage: How much of its window is known. If a part is unknown, the result may be too low.
        has_failed: Whether the rule could not be applied, because it failed or its facts could not be loaded. A site
            with such a criterion does not report "full" sight.
    """

    criterion: str
    station: str
    raise_level: int = 0
    hold_level: int = 0
    has_data: bool = False
    fresh: bool = False
    newest_s: float | None = None
    reason: Message = _NO_DATA
    facts: Mapping[str, Any] = field(default_factory=dict)
    measure: Callable[[], Measured] = field(default=measure_nothing, compare=False, repr=False)
    undecided: Mapping[int, Message] = field(default_factory=dict)
    coverage: Coverage = WHOLE
    has_failed: bool = False

    @property
    def motion(self) -> Vector | None:
        """Rate per day by component; None if nothing is measured."""
        return self.measure()[0]

    @property
    def motion_error(self) -> float:
        """Standard error of the motion, of all components together."""
        return self.measure()[1]

    @property
    def key(self) -> VoteKey:
        """Key of the vote of this witness."""
        return VoteKey(self.criterion, self.station)


Assessments = Sequence[Assessment]


@dataclass(slots=True)
class EvaluationCache:
    """Intermediate results that the next evaluation of a site can use. They save time and change no result.

    Attributes:
        trackers: Trackers by criterion and station.
        rain: Readings of a rain gauge and the result of `list_rain` for them, by series.
    """

    trackers: dict[tuple[str, str], Tracker] = field(default_factory=dict)
    rain: dict[str, tuple[tuple[Reading, ...], list[tuple[float, float]]]] = field(default_factory=dict)


def group_names_by_station(names: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Return names of series by station, each with its quantity: (quantity, name).

    Args:
        names: Names of series, `STATION.quantity`.
    """
    by_station: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        station, _, quantity = name.partition(".")
        by_station.setdefault(station, []).append((quantity, name))
    return by_station


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """Site, inputs and memory of one evaluation. Tracks are built once for each station and criterion.

    Attributes:
        prepared: The site, and values derived from its file.
        inputs: Readings and facts.
        memory: The memory of the previous decision, with the start filled in, and without answers that the motion has
            exceeded since.
        now_s: The instant of the evaluation, in epoch seconds.
        cache: Intermediate results of earlier evaluations of this site.
        signed: In a context with unsigned corrections, the context with the values that count. None otherwise.
        unsigned_stations: Stations whose readings differ from `signed`.
    """

    prepared: "PreparedSite"
    inputs: DecisionInputs
    memory: Memory
    now_s: float
    cache: EvaluationCache = field(default_factory=EvaluationCache)
    signed: "DecisionContext | None" = None
    unsigned_stations: frozenset[str] = frozenset()
    _tracks: dict[tuple[str, str], Track] = field(default_factory=dict)
    # Quantity and name of the series in `inputs.newest` and `inputs.readings`, by station.
    _newest: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _readings: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _silences: dict[tuple[str, str], float] = field(default_factory=dict)
    _receptions: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """The site."""
        return self.prepared.site

    def track(self, criterion: Criterion, station_id: str) -> Track:
        """Return the track of a station for a criterion."""
        if self.signed is not None and station_id not in self.unsigned_stations:
            return self.signed.track(criterion, station_id)
        key = (criterion.id, station_id)
        if key not in self._tracks:
            station = self.site.station(station_id)
            if station is None:
                self._tracks[key] = Track(station_id, criterion.quantity)
            else:
                tracker_key = key if self.signed is None else (criterion.id, f"{station_id}{_UNSIGNED}")
                tracker = self.cache.trackers.get(tracker_key)
                if tracker is None or (tracker.criterion is not criterion and tracker.criterion != criterion):
                    tracker = Tracker(self.site, station, criterion)
                    self.cache.trackers[tracker_key] = tracker
                self._tracks[key] = self._keep_stuck(tracker.track(self.inputs.readings, self.now_s))
        return self._tracks[key]

    def _keep_stuck(self, track: Track) -> Track:
        """Mark a track as stuck if it was stuck before and its value has not changed since.

        The readings that showed the noise of the instrument may no longer be loaded.
        """
        conditions = self.memory.conditions
        if track.is_stuck or not conditions:
            return track
        spec = self.site.series(track.station, track.quantity.partition("+")[0])
        if spec is None:
            return track
        condition = conditions.get(f"health:{track.station}.{spec.quantity}:stuck")
        if condition is None:
            return track
        first_since = bisect_left(track.times_s, condition.since_s)
        values_since = set(track.values[first_since:])
        if len(values_since) != 1:
            return track
        first = len(track.values) - 1
        while first > 0 and track.values[first - 1] == track.values[-1]:
            first -= 1
        return replace(track, is_stuck=True, repeats=(*track.repeats, (track.times_s[first], track.times_s[-1])))

    def list_newest(self, station_id: str) -> Sequence[tuple[str, NewestEpoch]]:
        """Return quantity and newest epoch of each series of a station, including components."""
        if not self._newest:
            self._newest.update(group_names_by_station(self.inputs.newest))
        return [(quantity, self.inputs.newest[name]) for quantity, name in self._newest.get(station_id, ())]

    def list_readings(self, station_id: str) -> Sequence[tuple[str, tuple[Reading, ...]]]:
        """Return quantity and readings of each series of a station, including components."""
        if not self._readings:
            self._readings.update(group_names_by_station(self.inputs.readings))
        return [(quantity, self.inputs.readings[name]) for quantity, name in self._readings.get(station_id, ())]

    def find_silence_s(self, spec: SeriesSpec) -> float:
        """Return how long a series may be silent, in seconds: as declared, or derived from its readings."""
        if not spec.learns_silence:
            return spec.max_silence_s
        key = (spec.station, spec.quantity)
        if key not in self._silences:
            epochs_s = [epoch_s(r.observed_at) for r in self.find_longest_component(spec)[-RARITY_INTERVALS - 1 :]]
            was_rare = rare_key(key) in self.memory.conditions
            self._silences[key] = find_silence_s(spec, epochs_s, self.list_receptions(spec), was_rare=was_rare)
        return self._silences[key]

    def list_receptions(self, spec: SeriesSpec) -> tuple[float, ...]:
        """Return the newest instants at which readings of a series were received, in epoch seconds, oldest first."""
        remembered_s = self.memory.receptions.get(f"{spec.station}.{spec.quantity}", ())
        return add_remembered(self._list_loaded_receptions(spec), remembered_s, spec.interval_s)

    def list_remembered_receptions(self) -> dict[str, tuple[float, ...]]:
        """Return the receptions that the next evaluation needs and may not have in its readings, by series."""
        remembered = {}
        for spec in self.prepared.series_with_remembered_receptions:
            if shows_pace(self._list_loaded_receptions(spec)):
                continue
            receptions_s = self.list_receptions(spec)
            if receptions_s:
                remembered[f"{spec.station}.{spec.quantity}"] = receptions_s
        return remembered

    def _list_loaded_receptions(self, spec: SeriesSpec) -> tuple[float, ...]:
        key = (spec.station, spec.quantity)
        if key not in self._receptions:
            received_s = (epoch_s((r.first or r).received_at) for r in reversed(self.find_longest_component(spec)))
            self._receptions[key] = list_receptions(received_s, spec.interval_s)
        return self._receptions[key]

    def find_longest_component(self, spec: SeriesSpec) -> Sequence[Reading]:
        """Return the readings of a series; of the component with most readings if it has several components."""
        components = [
            readings
            for quantity, readings in self.list_readings(spec.station)
            if belongs_to_series(self.site, spec, quantity)
        ]
        return max(components, key=len, default=())

    def list_cached_rain(self, station_id: str, quantity: str, spec: SeriesSpec) -> list[tuple[float, float]]:
        """Return epochs and values of the sound readings of a gauge.

        Process only the readings that were added since the last call.
        """
        name = f"{station_id}.{quantity}"
        readings = self.inputs.readings.get(name, ())
        processed, rows = self.cache.rain.get(name, ((), []))
        if readings[: len(processed)] != processed:
            processed = ()
            rows = []
        added = readings[len(processed) :]
        has_totals = any(reading.first is not None for reading in added)
        has_future = bool(readings) and epoch_s(readings[-1].observed_at) > self.now_s
        if has_totals or has_future:
            # A total depends on the readings before it, and a reading from the future counts later.
            return list_rain(readings, spec, self.now_s)
        if added:
            rows = [*rows, *list_rain(added, spec, self.now_s)]
        self.cache.rain[name] = readings, rows
        return rows

    def is_fresh(self, at_s: float | None, spec: SeriesSpec | None) -> bool:
        """Return whether a reading is within the allowed silence of its series.

        While a backlog of readings is stored, no reading is fresh.
        """
        if at_s is None or spec is None or self.inputs.draining:
            return False
        return self.now_s - at_s <= self.find_silence_s(spec)

    def find_answered_until_s(self, key: VoteKey) -> float:
        """Return the instant up to which a person who lowered the level has answered for the readings of a vote.

        Epoch seconds; minus infinity if nobody has.
        """
        return self.memory.answered.get(key, float("-inf"))


def belongs_to_series(site: Site, spec: SeriesSpec, quantity: str) -> bool:
    """Return whether a quantity is that of a series or one of its components, not of another series.

    Forecasts of rain (`rain_next_24h`) must not hide that the gauge (`rain`) is silent.
    """
    if quantity != spec.quantity and not quantity.startswith(f"{spec.quantity}_"):
        return False
    declared = site.series(spec.station, quantity)
    return declared is None or declared.quantity == spec.quantity


def rare_key(place: tuple[str, str]) -> str:
    """Return the alert key of a series that is received less often than declared."""
    return f"health:{'.'.join(place)}{RARE_SUFFIX}"


# Function of a kind of criterion that returns one assessment for each witness.
Rule = Callable[[Criterion, DecisionContext], tuple[Assessment, ...]]
# Function of a kind of criterion that assesses one usable track.
TrackRule = Callable[[Criterion, Track, SeriesSpec, DecisionContext], Assessment]


def each_station(assess: Callable[[Criterion, DecisionContext, Station], Assessment]) -> Rule:
    """Return a rule that assesses each station of a criterion separately."""

    def assess_stations(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
        return tuple(assess(criterion, context, station) for station in stations_of(context, criterion))

    return assess_stations


def each_track(assess: TrackRule) -> Rule:
    """Return a rule that assesses each track of a criterion on motion. A station without a usable track has no data."""

    def assess_station(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
        return assess_usable_track(assess, criterion, context, station.id)

    return each_station(assess_station)


def assess_usable_track(assess: TrackRule, criterion: Criterion, context: DecisionContext, station: str) -> Assessment:
    """Assess the track of a station. Return an assessment without data if the track is unusable."""
    track = context.track(criterion, station)
    spec = context.site.series(station, criterion.quantity)
    if track.usable_s is None or spec is None:
        return Assessment(criterion.id, station)
    if track.is_stuck:
        return Assessment(criterion.id, station, newest_s=track.usable_s, reason=REPEATS())
    return assess(criterion, track, spec, context)


def find_levels(bounds: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Return the highest level whose bound is crossed, and the highest that is crossed or has not recovered.

    Args:
        bounds: Facts on each bound, as in `Assessment.facts`.
    """
    raised = 0
    held = 0
    for bound in bounds:
        if bound["hits"] >= bound["needs"] or "fast_track" in bound:
            raised = max(raised, bound["level"])
        if not bound["recovered"]:
            held = max(held, bound["level"])
    return raised, max(raised, held)


def pick_bound(bounds: Iterable[Mapping[str, Any]], level: int, figure: str = "rate") -> Mapping[str, Any] | None:
    """Return the facts on the bound to show to people: that of a level, otherwise of the lowest level.

    Of a level that is bounded in both directions, this is the bound that is crossed, otherwise the nearer one.

    Args:
        bounds: Facts on each bound, as in `Assessment.facts`.
        level: The level.
        figure: Name of the value that the facts must contain. If none of them contains it, return None.
    """
    with_figure = [bound for bound in bounds if figure in bound]
    of_level = [bound for bound in with_figure if bound["level"] == level]
    of_lowest = [bound for bound in with_figure if bound["level"] == with_figure[0]["level"]]
    return max(of_level or of_lowest, key=rank_bound, default=None)


def is_below_last_digit(digit: float, criterion: Criterion, threshold: Threshold) -> bool:
    """Return whether motion at the recovery limit changes a value within the window by less than its last digit.

    Args:
        digit: Value of the last digit of the readings; 0 if it is not known.
        criterion: The criterion.
        threshold: One of its thresholds.
    """
    if not digit:
        return False
    limit = abs(find_recovery_limit(threshold, criterion.recover))
    return digit > limit * threshold.effective_window_s / 86400.0


def stations_of(context: DecisionContext, criterion: Criterion) -> list[Station]:
    """Return the declared stations of a criterion on the slope. Control stations never vote."""
    stations = [context.site.station(name) for name in criterion.stations]
    return [station for station in stations if station is not None and station.on_slope]
