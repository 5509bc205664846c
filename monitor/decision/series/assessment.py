"""What a criterion says of one witness: the one shape that every criterion answers in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from monitor.decision.keys import VoteKey
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch, seconds
from monitor.decision.series.coverage import WHOLE, Coverage
from monitor.decision.series.intervals import (
    SETTLED,
    add_remembered,
    find_silence_s,
    list_learning,
    list_receptions,
    shows_pace,
)
from monitor.decision.series.tracks import Track, Tracker, list_rain
from monitor.decision.series.vectors import Vector
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold, once_per_record
from monitor.text.message import Message, Template

_NO_DATA: Final = Template("criterion.no_data", "no usable data")()
REPEATS: Final = Template("health.stuck", "the instrument repeats one value")
RARE: Final = ":rare"
_UNSIGNED: Final = "~unsigned"  # in the key of a cached tracker; no station has such a name
Measured = tuple[Vector | None, float]  # a rate per day by component, and its error


def measure_nothing() -> Measured:
    """What a criterion that measures no motion says of it."""
    return None, 0.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """The result of one criterion at one station.

    Attributes:
        station: The witness; `observers` for reports.
        raise_level: Highest level whose bound is crossed with its dwell.
        hold_level: Highest level whose recovery limit is not yet passed: an older vote may fall to it, not below.
        has_data: False = no evidence at all: an older vote stays as it is and ages.
        fresh: True = the evidence is recent and sound enough to lower a vote.
        newest_s: Newest datum it rests on; the age of the vote.
        facts: Figures behind it, JSON-ready.
        measure: The motion and its error, where the criterion measures motion; found when somebody asks for it.
        undecided: By level, what lies over its bound and is held back by its own error alone: for people to decide.
        coverage: How much of its window is known. With less than all of it the result may be lower than the truth.
        has_failed: Whether the rule could not be applied: it failed, or its facts could not be loaded. A site with such
            a criterion does not see "full".
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
        """Rate per day by component; None where nothing is measured."""
        return self.measure()[0]

    @property
    def motion_error(self) -> float:
        """One standard error of the motion, all components together."""
        return self.measure()[1]

    @property
    def key(self) -> VoteKey:
        """How memory names this witness."""
        return VoteKey(self.criterion, self.station)


Assessments = Sequence[Assessment]


@dataclass(slots=True)
class EvaluationCache:
    """What decisions on a declaration leave for the next one; it saves work and changes nothing.

    Attributes:
        rain: Readings of gauges and what `list_rain` made of them, by series.
    """

    trackers: dict[tuple[str, str], Tracker] = field(default_factory=dict)
    rain: dict[str, tuple[tuple[Reading, ...], list[tuple[float, float]]]] = field(default_factory=dict)


def sort_names(names: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Quantity and name of series, by station."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        station, _, quantity = name.partition(".")
        found.setdefault(station, []).append((quantity, name))
    return found


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What criteria are given: site, inputs and memory at an instant, with tracks built once per station and criterion.

    Attributes:
        signed: Of a context with unsigned corrections: the one with the values that count.
        unsigned_stations: Stations whose readings differ from that one.
    """

    site: Site
    view: DecisionInputs
    memory: Memory
    now_s: float
    warm: EvaluationCache = field(default_factory=EvaluationCache)  # of this site, from evaluations before
    signed: "DecisionContext | None" = None
    unsigned_stations: frozenset[str] = frozenset()
    _tracks: dict[tuple[str, str], Track] = field(default_factory=dict)
    _newest: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # quantity and name, by station
    _readings: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _silences: dict[tuple[str, str], float] = field(default_factory=dict)
    _receptions: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)

    def track(self, criterion: Criterion, station_id: str) -> Track:
        """The cleaned track of a station for a criterion."""
        if self.signed is not None and station_id not in self.unsigned_stations:
            return self.signed.track(criterion, station_id)
        key = (criterion.id, station_id)
        if key not in self._tracks:
            station = self.site.station(station_id)
            if station is None:
                self._tracks[key] = Track(station_id, criterion.quantity)
            else:
                kept = key if self.signed is None else (criterion.id, f"{station_id}{_UNSIGNED}")
                tracker = self.warm.trackers.get(kept)
                if tracker is None or (tracker.criterion is not criterion and tracker.criterion != criterion):
                    tracker = self.warm.trackers[kept] = Tracker(self.site, station, criterion)
                self._tracks[key] = self._keep_stuck(tracker.track(self.view, self.now_s))
        return self._tracks[key]

    def _keep_stuck(self, track: Track) -> Track:
        """What was found stuck stays so while it says one value, also when its noise has left the window."""
        conditions = self.memory.conditions
        if track.stuck or not conditions:
            return track
        first, of = track.quantity.partition("+")[0], f"health:{track.station}."
        if f"{of}displacement:stuck" not in conditions and f"{of}{first}:stuck" not in conditions:
            return track
        spec = self.site.series(track.station, first)
        if spec is None or (known := conditions.get(f"health:{track.station}.{spec.quantity}:stuck")) is None:
            return track
        since = {value for at_s, value in zip(track.times_s, track.values, strict=True) if at_s >= known.since_s}
        if len(since) != 1:
            return track
        begin = len(track.values) - 1
        while begin > 0 and track.values[begin - 1] == track.values[-1]:
            begin -= 1
        return replace(track, stuck=True, repeats=(*track.repeats, (track.times_s[begin], track.times_s[-1])))

    def list_newest(self, station_id: str) -> Sequence[tuple[str, NewestEpoch]]:
        """(quantity, newest epoch) of all that a station says."""
        if not self._newest:
            self._newest.update(sort_names(self.view.newest))
        return [(quantity, self.view.newest[name]) for quantity, name in self._newest.get(station_id, ())]

    def list_readings(self, station_id: str) -> Sequence[tuple[str, tuple[Reading, ...]]]:
        """(quantity, readings) of all that a station said."""
        if not self._readings:
            self._readings.update(sort_names(self.view.readings))
        return [(quantity, self.view.readings[name]) for quantity, name in self._readings.get(station_id, ())]

    def find_silence_s(self, spec: SeriesSpec) -> float:
        """The silence that a series may keep, seconds: what stands declared, or what its readings show."""
        if not spec.learns_silence:
            return spec.max_silence_s
        key = (spec.station, spec.quantity)
        if key not in self._silences:
            epochs_s = [seconds(r.observed_at) for r in self._find_longest(spec)[-SETTLED - 1 :]]
            was_rare = rare_key(key) in self.memory.conditions
            self._silences[key] = find_silence_s(spec, epochs_s, self.list_receptions(spec), was_rare=was_rare)
        return self._silences[key]

    def list_receptions(self, spec: SeriesSpec) -> tuple[float, ...]:
        """Return the newest instants at which readings of a series were received, oldest first."""
        remembered_s = self.memory.receptions.get(f"{spec.station}.{spec.quantity}", ())
        return add_remembered(self._list_loaded_receptions(spec), remembered_s, spec.interval_s)

    def list_remembered_receptions(self) -> dict[str, tuple[float, ...]]:
        """Return by series the receptions that the next evaluation needs and may not find in its readings."""
        return {
            f"{spec.station}.{spec.quantity}": receptions_s
            for spec in list_learning(self.site)
            if not shows_pace(self._list_loaded_receptions(spec)) and (receptions_s := self.list_receptions(spec))
        }

    def _list_loaded_receptions(self, spec: SeriesSpec) -> tuple[float, ...]:
        key = (spec.station, spec.quantity)
        if key not in self._receptions:
            received_s = (seconds((r.first or r).received_at) for r in reversed(self._find_longest(spec)))
            self._receptions[key] = list_receptions(received_s, spec.interval_s)
        return self._receptions[key]

    def _find_longest(self, spec: SeriesSpec) -> Sequence[Reading]:
        """Return the readings of a series; of a displacement with components, those of the one that has most."""
        named = self.list_readings(spec.station)
        return max((readings for quantity, readings in named if is_of(self.site, spec, quantity)), key=len, default=())

    def list_rain(self, station_id: str, quantity: str, spec: SeriesSpec) -> list[tuple[float, float]]:
        """What `list_rain` makes of a gauge; of readings that grew only the new ones are looked at."""
        name = f"{station_id}.{quantity}"
        readings = self.view.readings.get(name, ())
        known, rows = self.warm.rain.get(name, ((), []))
        if readings[: len(known)] != known:
            known, rows = (), []
        news = readings[len(known) :]
        if any(r.first is not None for r in news) or (readings and seconds(readings[-1].observed_at) > self.now_s):
            return list_rain(readings, spec, self.now_s)  # totals need those before, and what is ahead counts later
        rows = [*rows, *list_rain(news, spec, self.now_s)] if news else rows
        self.warm.rain[name] = readings, rows
        return rows

    def is_unsigned(self, station_id: str) -> bool:
        """Whether corrections or an offset of a station wait for a second person."""
        return any(name.partition(".")[0] == station_id for name in self.view.unsigned) or any(
            offset.station == station_id and not offset.counts for offset in self.view.offsets
        )

    def is_fresh(self, at_s: float | None, spec: SeriesSpec | None) -> bool:
        """True for a datum within the silence that the series allows; nothing is fresh while a backlog drains."""
        if at_s is None or spec is None or self.view.draining:
            return False
        return self.now_s - at_s <= self.find_silence_s(spec)

    def answered_s(self, key: VoteKey) -> float:
        """Data up to this instant were answered by a person."""
        return self.memory.answered.get(key, float("-inf"))


def is_of(site: Site, spec: SeriesSpec, quantity: str) -> bool:
    """True for the series itself and its components, not for another one whose name begins alike.

    Issues of expected rain (`rain_next_24h`) must not hide that the gauge (`rain`) is silent.
    """
    if quantity != spec.quantity and not quantity.startswith(f"{spec.quantity}_"):
        return False
    declared = site.series(spec.station, quantity)
    return declared is None or declared.quantity == spec.quantity


def rare_key(place: tuple[str, str]) -> str:
    """The condition of a series that comes more seldom than declared."""
    return f"health:{'.'.join(place)}{RARE}"


Rule = Callable[
    [Criterion, DecisionContext], tuple[Assessment, ...]
]  # what a criterion says: one answer for each witness


def each_station(assess: Callable[[Criterion, DecisionContext, Station], Assessment]) -> Rule:
    """The rule that judges the stations of a criterion one by one."""
    return lambda criterion, context: tuple(assess(criterion, context, s) for s in stations_of(context, criterion))


def each_track(assess: Callable[[Criterion, Track, SeriesSpec, DecisionContext], Assessment]) -> Rule:
    """The same for a criterion on motion: of a station whose track says nothing, nothing is judged."""

    def assess_station(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
        found = open_track(context, criterion, station.id)
        return found if isinstance(found, Assessment) else assess(criterion, *found, context)

    return each_station(assess_station)


def open_track(context: DecisionContext, criterion: Criterion, station: str) -> tuple[Track, SeriesSpec] | Assessment:
    """The track that a criterion on motion judges, with its declaration; else the word that nothing can be said."""
    track = context.track(criterion, station)
    spec = context.site.series(station, criterion.quantity)
    if track.usable_s is None or spec is None:
        return Assessment(criterion.id, station)
    if track.stuck:
        return Assessment(criterion.id, station, newest_s=track.usable_s, reason=REPEATS())
    return track, spec


def levels_of(bounds: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """The highest level that is crossed, and the highest that is crossed or has not recovered."""
    raised = held = 0
    for bound in bounds:
        if bound["hits"] >= bound["needs"] or "fast_track" in bound:
            raised = max(raised, bound["level"])
        if not bound["recovered"]:
            held = max(held, bound["level"])
    return raised, max(raised, held)


def pick_bound(bounds: Iterable[Mapping[str, Any]], level: int, figure: str = "rate") -> Mapping[str, Any] | None:
    """The bound that people are told of: that of the level asked for, else the first; None where no figure is known."""
    known = [bound for bound in bounds if figure in bound]
    return next((bound for bound in known if bound["level"] == level), known[0] if known else None)


def bound_of(threshold: Threshold) -> tuple[float, float]:
    """(bound, sign): sign * value > sign * bound means crossed."""
    if threshold.over is not None:
        return threshold.over, 1.0
    if threshold.under is not None:
        return threshold.under, -1.0
    raise ValueError("a threshold needs over or under")


def recovery_of(threshold: Threshold, recover: float) -> float:
    """The value beyond which (on the quiet side) a level may fall.

    >>> recovery_of(Threshold(1, over=10.0), 0.6), recovery_of(Threshold(1, under=-0.5), 0.6)
    (6.0, -0.3)
    """
    bound, sign = bound_of(threshold)
    return round(bound - sign * (1.0 - recover) * abs(bound), 12)


@dataclass(frozen=True, slots=True)
class BoundInForce:
    """The bound of one level with what follows from it."""

    threshold: Threshold
    level: int
    value: float
    sign: float  # sign * rate > sign * value means crossed
    limit: float  # of recovery, times the sign
    window_s: float


@once_per_record
def list_bounds(criterion: Criterion) -> tuple[BoundInForce, ...]:
    """The bounds of a criterion in the order of its thresholds."""
    found = []
    for threshold in criterion.thresholds:
        value, sign = bound_of(threshold)
        limit = sign * recovery_of(threshold, criterion.recover)
        found.append(BoundInForce(threshold, threshold.level, value, sign, limit, threshold.effective_window_s))
    return tuple(found)


def is_hidden(digit: float, criterion: Criterion, threshold: Threshold) -> bool:
    """Whether a motion at the limit of recovery could go on for a window within one step of the last digit."""
    if not digit:
        return False
    limit = abs(recovery_of(threshold, criterion.recover))
    return digit > limit * threshold.effective_window_s / 86400.0


def stations_of(context: DecisionContext, criterion: Criterion) -> list[Station]:
    """Declared stations of a criterion, controls left out: they never vote."""
    found = (context.site.station(s) for s in criterion.stations)
    return [s for s in found if s is not None and s.on_slope]
