"""What one series says now: stage and trend with their hysteresis, velocity, acceleration, angle, failure windows.

A look is taken at the first datum that is as old as the stage's cadence asks after the look before: a function of the
data alone. So looks that were missed while nothing ran are made up for, and the outcome is that of a service that
never stopped.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from math import inf
from typing import Final

from sqlalchemy import Connection

from forecasting.kinematics.acceleration import Acceleration, fit_acceleration
from forecasting.kinematics.assessment import Bound, classify_movement, find_shortest_window_s
from forecasting.kinematics.chance import cross_velocity
from forecasting.kinematics.direction import norm
from forecasting.kinematics.failure import FailureIssue, FailureSpec, Watch, watch_failure
from forecasting.kinematics.stages import Movement, MovementFacts, classify_stage, tangential_angle_deg
from forecasting.kinematics.velocity import Velocity
from monitor.api.decision import (
    COMPONENTS,
    REPEATS,
    SCALARS,
    DecisionContext,
    DecisionInputs,
    EvaluationCache,
    Memory,
    PreparedSite,
    Track,
    Tracker,
    Vector,
    make_motion_tracker,
)
from monitor.api.queries.models import ShownForecast
from monitor.api.queries.readings import find_epoch, load_readings, load_series
from monitor.api.readings import Reading
from monitor.api.sites import (
    UNKNOWN_STAGE,
    SeriesSpec,
    Site,
    Station,
    slowest_cadence_s,
    stage_cadence,
)
from monitor.api.text import (
    Duration,
    Message,
    Template,
    Timestamp,
    convert_reason,
    epoch_s,
    join,
    list_parts,
    plain_to_messages,
)
from monitor.features.movement.queries import FORECAST, INVERSE_VELOCITY, MovementMemory

LOOKS_MOST: Final = 120  # in one update of one series: what is left is looked at next time, and others come in between
WARM_S: Final = 30.0 * 86400.0  # a series that is judged for the first time is looked at over its last month
WARM_LOOKS: Final = 40
BATCH: Final = 30  # data of a backlog for which windows are found at once
ACCELERATION_WINDOWS: Final = 2.0  # velocity windows that the shown acceleration is fitted over
MOST_EPOCHS: Final = 240  # of that fit
_PASSED: Final = Template("failure.edge_passed", "its late edge has passed")()
_GONE: Final = Template("failure.gone", "no window any more")()
_UNSEEN: Final = Template("failure.unseen", "no window at this look")()
_STANDS: Final = Template("failure.stands", "it contains the present and stands, although {text}")
_JUMP: Final = Template("movement.step", "{n} jump taken out")
_JUMPS: Final = Template("movement.steps", "{n} jumps taken out")
_NOT_JOINED: Final = Template(
    "movement.not_joined", "no failure window by forecast: quantiles of single components cannot be joined"
)()
_NEVER: Final = Template("movement.never", "no usable reading")()
_SILENT: Final = Template("movement.silent", "no usable reading since {at}; {allowed} without one are allowed")
_NEWER: Final = Template("failure.newer", "a newer forecast was issued")()
_NOT_REACHED: Final = Template("failure.not_reached", "the shown forecast no longer reaches {velocity} mm/day")
_REACHES: Final = Template("failure.reaches", "forecast by {model} reaches {velocity} mm/day")
_OPEN_END: Final = Template("failure.open_end", "in its slow quantile it does not within the horizon")()
KINDS: Final = ("displacement", "crack_opening")  # what moves in mm
# Readings of history. Velocities of seven windows of eight readings show what is usual for a slow instrument, and an
# update must cost the same whatever the rate of a fast one.
FEWEST_READ: Final = 64
MOST_READ: Final = 20_000
ORIGIN_EPOCHS: Final = 10  # from which the length of a movement without a declared direction is counted


@dataclass(frozen=True, slots=True)
class MovementSeries:
    """A declared series that can be judged, and the stored series that its rows are filed under."""

    station: Station
    spec: SeriesSpec
    series_id: int
    quantities: tuple[str, ...]
    ids: tuple[int, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Its stored series, as `station.quantity`."""
        return tuple(f"{self.station.id}.{q}" for q in self.quantities)

    @property
    def label(self) -> str:
        """How people and reports name it."""
        return f"{self.station.id}.{self.spec.quantity}"


@dataclass(frozen=True, slots=True)
class Path:
    """Displacement along the movement in mm, cleaned, oldest first."""

    times_s: tuple[float, ...]  # usable epochs, epoch seconds, shape (n,)
    # signed downslope (or the only component), or the length where no direction is declared, shape (n,)
    values: tuple[float, ...]
    sigmas: tuple[float, ...]  # one standard deviation each, 0 = unknown, shape (n,)
    jumps: int  # number of jumps that were taken out, whatever people answered about them
    stuck: bool  # the instrument repeats one value
    silence_s: float  # that its series may keep
    ahead_s: float = 0.0  # by how much the newest epoch lies after its reception: its clock is a little ahead

    def is_fresh(self, now_s: float) -> bool:
        """Whether its newest epoch came within the silence that is allowed."""
        return bool(self.times_s) and now_s - (self.times_s[-1] - self.ahead_s) <= self.silence_s


def find_moving(c: Connection, site: Site) -> list[MovementSeries]:
    """Return every series of movement on the slope that is stored. See `list_moving`."""
    series_ids: dict[str, dict[str, int]] = {}
    for row in load_series(c, site.id):
        series_ids.setdefault(row.station, {})[row.quantity] = row.id
    return list_moving(site, series_ids)


def list_moving(site: Site, series_ids: Mapping[str, Mapping[str, int]]) -> list[MovementSeries]:
    """Return every series of movement on the slope that has readings; control stations are left out.

    Args:
        series_ids: The ids of the series that have readings, by station and quantity.
    """
    found = []
    for station in site.stations:
        have = series_ids.get(station.id, {})
        for spec in station.series:
            if not is_movement(station, spec):
                continue
            names = (*COMPONENTS, *SCALARS) if spec.quantity == "displacement" else (spec.quantity,)
            chosen = _choose([q for q in names if q in have])
            if chosen:
                found.append(MovementSeries(station, spec, have[chosen[0]], chosen, tuple(have[q] for q in chosen)))
    return found


def list_window_stations(site: Site) -> frozenset[str]:
    """Return the stations of all criteria that read failure windows; empty where the site file has none."""
    return frozenset(name for one in site.criteria if one.kind.facts == "failures" for name in one.stations)


def list_window_spans(site: Site) -> dict[tuple[str, str], float]:
    """Return how much history, in seconds, the failure windows need that criteria read, by station and quantity."""
    stations = list_window_stations(site)
    return {
        (station.id, spec.quantity): find_history_s(site, spec)
        for station in site.stations
        if station.id in stations
        for spec in station.series
        if is_movement(station, spec)
    }


def find_history_s(site: Site, spec: SeriesSpec) -> float:
    """Return how far back the movement of a series is read, in seconds.

    It is the history of the site file, but at least `FEWEST_READ` and at most `MOST_READ` intervals of the instrument.
    """
    return min(max(site.movement.history_s, FEWEST_READ * spec.interval_s), MOST_READ * spec.interval_s)


def is_movement(station: Station, spec: SeriesSpec) -> bool:
    """Return whether a series measures how the slope moves, in mm."""
    return station.on_slope and spec.quantity.startswith(KINDS) and spec.unit == "mm" and not spec.corrected_as


def _choose(names: Sequence[str]) -> tuple[str, ...]:
    if set(COMPONENTS[:2]) <= set(names):
        return tuple(q for q in COMPONENTS if q in names)
    return tuple(q for q in names if q not in COMPONENTS)[:1]


def load_path(
    c: Connection, site: Site, moving: MovementSeries, now: datetime, memory: Memory, span_s: float = inf
) -> Path:
    """Return the path of a series over the site's history, or over a shorter span, from the values that count at `now`.

    A series that reports more often than it declares is bounded by the number of its epochs.
    """
    since = now - timedelta(seconds=min(find_history_s(site, moving.spec), span_s))
    since = max([since, *(find_epoch(c, i, now, MOST_READ) or since for i in moving.ids)])
    readings = {
        key: tuple(load_readings(c, i, since, now, now)) for key, i in zip(moving.keys, moving.ids, strict=True)
    }
    return build_path(site, moving, readings, memory, epoch_s(now))


def build_path(
    site: Site,
    moving: MovementSeries,
    readings: Mapping[str, tuple[Reading, ...]],
    memory: Memory,
    now_s: float,
    cache: "PathCache | None" = None,
) -> Path:
    """Build the path of a series from its readings, by `station.quantity`.

    Args:
        cache: What earlier calls for the same series and site left; it saves work and changes no result.
    """
    cache = PathCache() if cache is None else cache
    context = DecisionContext(PreparedSite(site), DecisionInputs(readings), memory, now_s, cache.evaluation)
    if cache.tracker is None:
        cache.tracker = make_motion_tracker(site, moving.station, moving.spec.quantity)
    track = cache.tracker.track(readings, now_s)
    values, sigmas = track.along, track.along_sigma
    if len(moving.quantities) > 1 and not (track.is_directed and track.is_plunge_known):
        cache.lengths = _extend_lengths(track, cache.lengths)
        values, sigmas = cache.lengths.lengths, cache.lengths.errors
    ahead_s = max(0.0, track.times_s[-1] - track.received_s[-1]) if track.times_s else 0.0
    silence_s = context.find_silence_s(moving.spec)
    return Path(track.times_s, tuple(values), tuple(sigmas), len(track.jumps), track.is_stuck, silence_s, ahead_s)


@dataclass(slots=True)
class PathCache:
    """What `build_path` keeps of one series between two calls."""

    evaluation: EvaluationCache = field(default_factory=EvaluationCache)
    tracker: Tracker | None = None
    lengths: "_Lengths | None" = None


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Lengths of a movement without a declared direction, with the values that they were computed from."""

    values: tuple[Vector, ...]
    sigmas: tuple[Vector, ...]
    lengths: tuple[float, ...]
    errors: tuple[float, ...]


def _extend_lengths(track: Track, known: _Lengths | None) -> _Lengths:
    """Compute the lengths of a track; those of epochs that have not changed are taken over."""
    n = 0 if known is None else len(known.values)
    if known is None or n < ORIGIN_EPOCHS or (track.values[:n], track.sigmas[:n]) != (known.values, known.sigmas):
        known = _Lengths((), (), (), ())
        n = 0
    lengths, errors = _lengths(track, n)
    return _Lengths(track.values, track.sigmas, known.lengths + lengths, known.errors + errors)


def _lengths(track: Track, start: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the distances from the origin and their errors, from an epoch on."""
    first = track.values[:ORIGIN_EPOCHS]
    origin = [sum(v[k] for v in first) / len(first) for k in range(len(first[0]))] if first else []
    parts = [
        norm([v - o for v, o in zip(value, origin, strict=True)], sigma)
        for value, sigma in zip(track.values[start:], track.sigmas[start:], strict=True)
    ]
    return tuple(p[0] for p in parts), tuple(p[1] for p in parts)


@dataclass(frozen=True, slots=True)
class BelievedWindow:
    """A failure window of one method that an update believes in; instants in epoch seconds."""

    method: str
    data_until_s: float
    from_s: float
    mid_s: float
    to_s: float
    trusted: bool
    reasons: Message
    velocity: float | None
    onset_s: float | None = None
    r2: float | None = None
    n_filters: int | None = None
    n_agree: int | None = None
    withdrawn: Message | None = None  # by a later look of the same update


class PathWatch:
    """Failure windows of one path; what earlier looks computed is kept while the path only grows.

    A look takes 20 to 40 ms for a year of hourly data when nothing is kept, and a few milliseconds otherwise.
    """

    def __init__(self, spec: FailureSpec) -> None:
        self._spec = spec
        self._times_s: list[float] = []
        self._values: list[float] = []
        self._sigmas: list[float] = []
        self._watch = Watch(self._times_s, self._values, self._sigmas, spec)

    def find_issue(self, path: Path, k: int) -> FailureIssue:
        """Return the failure window once datum `k` of the path is known, from data up to that datum alone."""
        n = len(self._times_s)
        is_longer = (
            n <= k + 1
            and path.times_s[:n] == tuple(self._times_s)
            and path.values[:n] == tuple(self._values)
            and path.sigmas[:n] == tuple(self._sigmas)
        )
        if not is_longer:
            n = 0
            self._times_s, self._values, self._sigmas = [], [], []
            self._watch = Watch(self._times_s, self._values, self._sigmas, self._spec)
        self._times_s += path.times_s[n : k + 1]
        self._values += path.values[n : k + 1]
        self._sigmas += path.sigmas[n : k + 1]
        return self._watch.issue(k)


@dataclass(frozen=True, slots=True)
class MovementAssessment:
    """One update of one series."""

    movement: Movement  # stage, trend and chance
    reasons: tuple[Message, ...]  # the decisive one first
    data_until_s: float | None  # newest datum looked at; None when there was none
    state: MovementMemory  # what the next update starts from
    velocity: Velocity | None = None  # at the newest look; None where none could be fitted
    window_s: float | None = None  # the window it was fitted over, seconds
    acceleration: Acceleration | None = None  # over twice the window of that velocity
    angle_deg: float | None = None  # tangential angle; None without a reviewed v_eq
    issues: tuple[BelievedWindow, ...] = ()  # failure windows, oldest datum first
    withdrawn: Mapping[str, Message] = field(default_factory=dict)  # method -> why what stood before no longer does
    behind: bool = False  # more looks are due than one update takes


def assess_movement(
    site: Site,
    moving: MovementSeries,
    path: Path,
    before: MovementMemory | None,
    forecast: ShownForecast | None,
    now_s: float,
    mark: str = "",
    *,
    rose: bool = False,
    watch: PathWatch | None = None,
    with_stage: bool = True,
) -> MovementAssessment | None:
    """Take the looks that are due; None when there is nothing new to say.

    Where people said something new of the series (an offset, a flag) the newest datum is looked at once more: it
    counts for no dwell, but a window that rested on a re-zeroed instrument goes at once.

    Args:
        before: `state` of the update before; None at the first.
        mark: what people said of the series, as one word; another than before asks for that look.
        rose: the site's level rose since the last row: its newest datum is looked at now, whatever the cadence says.
        watch: what earlier calls computed for this path; None computes everything again, with the same result.
        with_stage: False computes the failure windows alone, which takes half the time. Only valid where
            `has_stage_cadence` is false: else the stage decides when the next look is due.
    """
    state: MovementMemory = plain_to_messages(before or {})  # a copy
    newest_s = path.times_s[-1] if path.times_s else None
    if newest_s is None or path.stuck or not path.is_fresh(now_s):
        return _assess_silent(path, state, newest_s)
    seen_s = state.get("looked_s")
    looks = 0
    found: list[BelievedWindow] = []
    withdrawn: dict[str, Message] = {}
    known: dict[float, FailureIssue] = {}
    movement, velocity, until_s, window_s = None, None, newest_s, None
    k = _find_first(site, moving, path.times_s, state, mark, rose=rose)
    if state.get("mark", "") != mark:
        state["window"] = None  # people took back what it may rest on
    state["mark"] = mark
    while k < len(path.times_s) and looks < LOOKS_MOST:
        issue = _watch(site, moving, path, k, known, watch, warm=seen_s is None)
        _take(issue, state, found, withdrawn)
        until_s = path.times_s[k]
        if with_stage:
            facts, velocity = classify_movement(
                path.times_s,
                path.values,
                path.sigmas,
                now_s=until_s,
                interval_s=moving.spec.interval_s,
                v_eq=v_eq_of(moving),
                bounds=bounds_of(site, moving),
                failing=issue.trusted,
                history_s=max(site.movement.history_s, FEWEST_READ * moving.spec.interval_s),
            )
            movement, state["stage"] = classify_stage(state.get("stage"), facts)
            window_s = facts.window_s
        else:
            movement = Movement(UNKNOWN_STAGE, "none", None, ())
        state["looked_s"] = until_s if seen_s is None else max(until_s, seen_s)
        looks += 1
        k = _next(site, moving, path.times_s, k, state, warm=seen_s is None)
    if movement is None:
        return None
    state["silent"] = False
    state["is_new"] = newest_s - path.times_s[0] < find_shortest_window_s(moving.spec.interval_s)
    _cross(site, moving, forecast, state, velocity, found, withdrawn)
    v_eq = v_eq_of(moving)
    angle = None if velocity is None or v_eq is None else tangential_angle_deg(velocity.rate, v_eq)
    remarks = []
    if path.jumps:
        remarks.append((_JUMPS if path.jumps > 1 else _JUMP)(n=path.jumps))
    if len(moving.ids) > 1 and site.movement.failure_velocity_mm_per_day is not None:
        remarks.append(_NOT_JOINED)
    return MovementAssessment(
        movement,
        (*map(convert_reason, movement.reasons), *remarks),
        until_s,
        state,
        velocity,
        window_s,
        _bend(path, velocity),
        angle,
        tuple(found),
        withdrawn,
        behind=k < len(path.times_s),
    )


def v_eq_of(moving: MovementSeries) -> float | None:
    """The reviewed velocity of uniform creep; it belongs to displacement, not to the crack beside it."""
    return moving.station.v_eq_mm_per_day if moving.spec.quantity.startswith("displacement") else None


def bounds_of(site: Site, moving: MovementSeries) -> tuple[Bound, ...]:
    """The velocities of this series that the site file warns of, each in its own window."""
    quantity = moving.spec.quantity
    return tuple(
        Bound(threshold.over, threshold.effective_window_s, criterion.min_sigma)
        for criterion in site.criteria
        if criterion.role == "witness"
        and moving.station.id in criterion.stations
        and (
            quantity.startswith("displacement")
            if criterion.kind.velocity
            else criterion.kind.rate and criterion.quantity == quantity
        )
        for threshold in criterion.thresholds
        if threshold.over is not None and threshold.over > 0.0
    )


# ---- looks ------------------------------------------------------------------------------------------------------
def is_due(
    site: Site,
    moving: MovementSeries,
    before: MovementMemory | None,
    newest_s: float | None,
    now_s: float,
    mark: str = "",
    *,
    rose: bool = False,
) -> bool:
    """True when an update could say something new of what came, whatever its quality; costs nothing to ask."""
    state = before or {}
    looked_s = state.get("looked_s")
    if looked_s is None:
        # one that was never judged and is silent has nothing to become unknown from
        return newest_s is not None and now_s - newest_s <= moving.spec.max_silence_s
    if newest_s is not None and (newest_s >= _due_s(site, moving, state) or (rose and newest_s > looked_s)):
        return True
    return state.get("mark", "") != mark and not state.get("silent")


def may_be_silent(moving: MovementSeries, before: MovementMemory | None, now_s: float) -> bool:
    """True when silence might have to be told: so long ago lies the last look; costs nothing to ask."""
    state = before or {}
    looked_s = state.get("looked_s")
    return looked_s is not None and not state.get("silent") and now_s - looked_s > moving.spec.max_silence_s


def has_stage_cadence(site: Site, moving: MovementSeries) -> bool:
    """Return whether the stage decides how often a series is assessed: not where readings come more seldom anyway."""
    return slowest_cadence_s(site) > moving.spec.interval_s


def _due_s(site: Site, moving: MovementSeries, state: MovementMemory, *, warm: bool = False) -> float:
    every_s, _ = stage_cadence(site, (state.get("stage") or {}).get("stage"))
    every_s = max(every_s, WARM_S / WARM_LOOKS) if warm else every_s
    return float(state["looked_s"]) + max(0.5 * moving.spec.interval_s, every_s - 0.5 * moving.spec.interval_s)


def _find_first(
    site: Site, moving: MovementSeries, times_s: Sequence[float], state: MovementMemory, mark: str, *, rose: bool
) -> int:
    """The first datum to look at; at the very first update a month back, past the end where none is due."""
    seen_s = state.get("looked_s")
    if seen_s is None:
        return bisect_left(times_s, times_s[-1] - WARM_S)
    k = bisect_left(times_s, _due_s(site, moving, state))
    if k == len(times_s) and state.get("mark", "") != mark:
        k = max(0, bisect_right(times_s, seen_s) - 1)
    if k == len(times_s) and rose and times_s[-1] > seen_s:
        k -= 1
    return k


def _next(
    site: Site, moving: MovementSeries, times_s: Sequence[float], k: int, state: MovementMemory, *, warm: bool
) -> int:
    due = bisect_left(times_s, _due_s(site, moving, state, warm=warm))
    if warm and due >= len(times_s) > k + 1:
        due = len(times_s) - 1  # the first update ends with what is known now
    return max(k + 1, due)


def make_watch(site: Site, moving: MovementSeries) -> PathWatch:
    """Return an empty cache of the failure windows of a series."""
    return PathWatch(_make_spec(site, moving))


def _make_spec(site: Site, moving: MovementSeries) -> FailureSpec:
    return FailureSpec(moving.spec.interval_s, moving.spec.noise_floor, site.movement.history_s)


def _watch(
    site: Site,
    moving: MovementSeries,
    path: Path,
    k: int,
    known: dict[float, FailureIssue],
    watch: PathWatch | None,
    *,
    warm: bool,
) -> FailureIssue:
    """The issue at a datum, from data up to it alone; of a backlog several at once, which shares most of the work."""
    if watch is not None:
        return watch.find_issue(path, k)
    if path.times_s[k] not in known:
        spec = _make_spec(site, moving)
        every_s, _ = stage_cadence(site, None)
        last = slice(0, k + (BATCH if moving.spec.interval_s >= every_s and not warm else 1))
        before_s = path.times_s[k - 1] if k > 0 else float("-inf")
        found = watch_failure(path.times_s[last], path.values[last], path.sigmas[last], spec, from_s=before_s)
        known.update((issue.data_until_s, issue) for issue in found)
    return known[path.times_s[k]]


def _take(
    issue: FailureIssue, state: MovementMemory, found: list[BelievedWindow], withdrawn: dict[str, Message]
) -> None:
    """Keep a window; where there is none any more, say what took it back, those of this update with it.

    One that contains the present is not taken back by a look that sees none: the slope may fail at any moment. It is
    issued again until a newer one takes its place or its late edge has passed. One that was not trusted goes as soon
    as the motion has slowed down.
    """
    now_s = issue.data_until_s
    held = None if (window := state.get("window")) is None else BelievedWindow(**window)
    gone = None if issue.withdrawn is None else convert_reason(issue.withdrawn)
    if issue.from_s is None and held is not None:
        if held.from_s <= now_s < held.to_s and (held.trusted or not issue.slowed):
            found.append(_hold(held, now_s, issue))
            return
        if held.to_s <= now_s:
            gone = _PASSED
    state["window"] = None
    if gone is None and issue.from_s is None:
        gone = join(map(convert_reason, issue.reasons)) if issue.reasons else _GONE
    if gone is not None:
        withdrawn.setdefault(INVERSE_VELOCITY, gone)  # what stood before this update went at the first such look
        found[:] = [i if i.withdrawn is not None else replace(i, withdrawn=gone) for i in found]
    if issue.from_s is None or issue.mid_s is None or issue.to_s is None:
        return
    taken = ("data_until_s", "from_s", "mid_s", "to_s", "trusted", "velocity", "onset_s", "r2", "n_filters", "n_agree")
    values = {name: getattr(issue, name) for name in taken}
    found.append(BelievedWindow(method=INVERSE_VELOCITY, reasons=join(map(convert_reason, issue.reasons)), **values))
    state["window"] = asdict(found[-1])


def _hold(held: BelievedWindow, now_s: float, issue: FailureIssue) -> BelievedWindow:
    """The window that stands, as of a later datum; what this look says against it stands among the reasons.

    It is not trusted any more: it holds a warning level that was reached, and raises none.
    """
    if issue.withdrawn is not None:
        text = convert_reason(issue.withdrawn)
    else:
        text = join(map(convert_reason, issue.reasons)) if issue.reasons else _UNSEEN
    stands = _STANDS(text=text)
    reasons = join([*list_parts(held.reasons), stands]) if held.reasons else stands
    return replace(
        held,
        data_until_s=now_s,
        from_s=max(now_s, held.from_s),
        mid_s=max(now_s, held.mid_s),
        trusted=False,
        reasons=reasons,
        velocity=issue.velocity,
    )


def _bend(path: Path, velocity: Velocity | None) -> Acceleration | None:
    if velocity is None:
        return None
    window_s = ACCELERATION_WINDOWS * 2.0 * (velocity.newest_s - velocity.mid_s)
    last = bisect_right(path.times_s, velocity.newest_s)
    first = bisect_right(path.times_s, velocity.newest_s - window_s, 0, last)
    stride = max(1, -(-(last - first) // MOST_EPOCHS))
    chosen = list(range(last - 1, first - 1, -stride))[::-1]
    return fit_acceleration(
        [path.times_s[i] for i in chosen], [path.values[i] for i in chosen], [path.sigmas[i] for i in chosen], window_s
    )


def _assess_silent(path: Path, state: MovementMemory, newest_s: float | None) -> MovementAssessment | None:
    """Silence or a stuck instrument: the stage is unknown, said once; no window is withdrawn by it."""
    if state.get("silent"):
        return None
    if newest_s is None:
        why = _NEVER
    elif path.stuck:
        why = REPEATS()
    else:
        why = _SILENT(at=Timestamp(newest_s), allowed=Duration(path.silence_s))
    blind = MovementFacts(newest_s or 0.0, None, None, stale=True)
    movement, state["stage"] = classify_stage(state.get("stage"), blind)
    state["silent"] = True
    state["is_new"] = False
    return MovementAssessment(replace(movement, probability=None, reasons=()), (why,), newest_s, state)


# ---- the second estimator ----------------------------------------------------------------------------------------
def _cross(
    site: Site,
    moving: MovementSeries,
    forecast: ShownForecast | None,
    state: MovementMemory,
    velocity: Velocity | None,
    found: list[BelievedWindow],
    withdrawn: dict[str, Message],
) -> None:
    """Where the shown forecast crosses the failure velocity: asked once of every issue, of a single series only."""
    limit = site.movement.failure_velocity_mm_per_day
    if forecast is None or limit is None or len(moving.ids) > 1:
        return
    issued_s = epoch_s(forecast.issued_at)
    if issued_s <= state.get("forecast_issued_s", float("-inf")):
        return
    state["forecast_issued_s"] = issued_s
    crossed = cross_velocity(forecast.horizons_s, forecast.q10, forecast.q50, forecast.q90, forecast.data_value, limit)
    withdrawn[FORECAST] = _NEWER if crossed else _NOT_REACHED(velocity=limit)
    if crossed is None:
        return
    until_s = epoch_s(forecast.data_until)
    reasons = [_REACHES(model=forecast.model, velocity=limit)]
    open_end = crossed[2] >= forecast.horizons_s[-1]
    if open_end:
        reasons.append(_OPEN_END)
    found.append(
        BelievedWindow(
            method=FORECAST,
            data_until_s=until_s,
            from_s=until_s + crossed[0],
            mid_s=until_s + crossed[1],
            to_s=until_s + crossed[2],
            trusted=not open_end,
            reasons=join(reasons),
            velocity=None if velocity is None else velocity.rate,
        )
    )
