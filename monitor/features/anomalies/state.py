"""What is kept of the series of a site between two runs of the anomaly job: a run reads and scores what is new alone.

It is made again from the database at the first run, after a month of readings, and when the declaration, the detectors,
what was entered of earlier readings, or the steps that the evaluation has found change. So it is when a reading comes
after its cell was closed.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from detection.anomaly.certain.checks import USUAL, check_series, find_holes, find_stuck
from detection.anomaly.certain.unit_jump import find_changes, is_as_before
from detection.anomaly.records import FACTORS, HOLE, FaultFinding, InputError, ReadingScore
from detection.anomaly.registry import CHECKS
from detection.anomaly.running.state import DetectorState, Dismissed, Thresholds
from detection.anomaly.windows import Series, build_series
from monitor.api.database import Database
from monitor.api.queries.models import SeriesSamples, load_samples, load_series_samples
from monitor.api.queries.readings import Stretch, StretchFingerprint, load_newer_values
from monitor.api.sites import SeriesGroup, Site, WatchedSeries, list_groups
from monitor.api.text import epoch_s, from_epoch_s
from monitor.features.anomalies.queries import labels
from monitor.features.anomalies.queries.scores import ECHO, JUDGED, latest_by_series

HISTORY_STEPS: Final = 2500  # a week for the median and ninety days for its scale, hourly
KEPT_STEPS: Final = 720  # a month, hourly: so long a state is kept
LASTING: Final = {"flatline": "stuck", "unit-jump": "unit"}  # checks whose findings last until readings end them
LATE_STEPS: Final = 30  # so far back a reading that comes late is noticed


@dataclass(frozen=True, slots=True)
class _StateKey:
    site: Site
    group: SeriesGroup
    detectors: Mapping[str, Thresholds]
    shown_above: Mapping[str, float | None]
    entered: Mapping[int, StretchFingerprint]
    steps: frozenset[str]


@dataclass(slots=True)
class GroupState:
    """The running state of a group of a site."""

    key: _StateKey
    running: DetectorState
    series: dict[str, WatchedSeries]  # by label
    made_at: datetime  # when it was made from the database
    looked_at: datetime
    dismissed: Dismissed
    recent: dict[str, deque[float]]  # the newest epochs of each series in which holes are named

    @property
    def series_ids(self) -> dict[str, int]:
        """Id of each series by label."""
        return {label: one.series_id for label, one in self.series.items()}


@dataclass(frozen=True, slots=True)
class DetectionRequest:
    """What is asked of a group."""

    group: SeriesGroup  # its series are neighbours
    detectors: Mapping[str, Thresholds]  # those that are wanted; none where only checks look
    # thresholds that a score of each must have before people are told; None: nothing is held back as an echo
    shown_above: Mapping[str, float | None]
    since: "Callable[[Sequence[Scored]], datetime]"  # after what readings are new, by what each has scored


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What a run found: scores by detector, certain faults, and the ids of all series by label.

    `holes`: of each series, its last reading before and its first reading after. `left_out`: so many readings came too
    late, or before the first look, and are not scored.
    """

    scores: dict[str, list[ReadingScore]]
    findings: list[FaultFinding]
    series_ids: Mapping[str, int]
    holes: Sequence[tuple[WatchedSeries, float, float]] = ()
    left_out: int = 0


Scored = Mapping[int, datetime]  # the newest epoch of each series that a detector has scored
Words = Mapping[int, labels.DismissedAlarms]  # of each series of which something was dismissed
Built = list[tuple[SeriesSamples, Series]]  # readings of series, and the same on their grid
Value = tuple[float, float | None]  # epoch and value, None where nothing may learn from it

_STATES: Final[WeakKeyDictionary[Database, dict[str, dict[str, GroupState]]]] = WeakKeyDictionary()  # by site and group

Ids = Mapping[tuple[str, str], int]  # of series that have readings, by station and quantity
_GROUPS: Final[WeakKeyDictionary[Database, dict[str, tuple[Site, Ids, list[SeriesGroup]]]]] = (
    WeakKeyDictionary()
)  # by site


def find_groups(db: Database, site: Site, ids: Ids) -> list[SeriesGroup]:
    """What is looked at of a site: the same records as before while neither it nor its series changed."""
    kept = _GROUPS.setdefault(db, {})
    if site.id not in kept or kept[site.id][:2] != (site, ids):
        kept[site.id] = site, ids, list_groups(site, ids)
    return kept[site.id][2]


def score_new(
    db: Database,
    site: Site,
    wanted: Sequence[DetectionRequest],
    words: Words,
    entered: Mapping[int, StretchFingerprint],
    steps: frozenset[str],
    now: datetime,
) -> list[DetectionResult | None]:
    """Score what is new of some groups and look for certain faults in it; None where there is no reading.

    What is new of all groups that have a state is read at once. Who does not store what was found must `forget`.

    Args:
        steps: Keys of the steps that the evaluation has found. With a new one the states are made again from the
            cleaned series, so that the step is no anomaly of the readings after it.
    """
    states = _STATES.setdefault(db, {}).setdefault(site.id, {})
    keys = [_StateKey(site, one.group, one.detectors, one.shown_above, entered, steps) for one in wanted]
    kept = [state for key in keys if (state := states.get(key.group.name)) is not None and _may_go_on(state, key, now)]
    newer, fresh = db.run_read(_read_open, kept, entered, now)
    return [
        _go_on(db, states[key.group.name], newer, _pick(words, key.group), now)
        if key.group.name in fresh and states[key.group.name].key == key
        # thresholds alone ask for another state: what was scored by others before is not scored again
        else _score_first(db, states, key, _pick(words, key.group), one.since, now, is_known=key.group.name in fresh)
        for key, one in zip(keys, wanted, strict=True)
    ]


def _may_go_on(state: GroupState, key: _StateKey, now: datetime) -> bool:
    """Whether a state is young enough, and differs from what is asked for in thresholds at most."""
    is_young = state.looked_at <= now < state.made_at + KEPT_STEPS * timedelta(seconds=state.key.group.step_s)
    return is_young and replace(state.key, detectors=key.detectors, shown_above=key.shown_above) == key


def _read_open(
    c: Connection, states: Sequence[GroupState], entered: Mapping[int, StretchFingerprint], now: datetime
) -> tuple[dict[int, list[Value]], set[str]]:
    opened: dict[
        datetime, list[tuple[Stretch, StretchFingerprint]]
    ] = {}  # by newest look: one, but where a group is new
    series, nothing = dict[str, list[int]](), StretchFingerprint()
    for state in states:
        back = LATE_STEPS * timedelta(seconds=state.key.group.step_s)
        stretches = [(i, at - back, at) for i, at in _list_open(state)]
        opened.setdefault(state.looked_at, []).extend((one, entered.get(one[0], nothing)) for one in stretches)
        series[state.key.group.name] = [one[0] for one in stretches]
    newer, late = dict[int, list[Value]](), set[int]()
    for looked_at, held in opened.items():
        of, too_late = load_newer_values(c, held, looked_at, now)
        newer |= of
        late |= too_late
    return newer, {name for name, ids in series.items() if late.isdisjoint(ids)}


def _pick(words: Words, group: SeriesGroup) -> Dismissed:
    return {
        one.label: (
            epoch_s(verdict.alarms),
            -inf if verdict.stuck is None else epoch_s(verdict.stuck),
            {detector: epoch_s(at) for detector, at in verdict.standing.items()},
        )
        for one in group.series
        if (verdict := words.get(one.series_id)) is not None
    }


def _go_on(
    db: Database, state: GroupState, newer: Mapping[int, Sequence[Value]], dismissed: Dismissed, now: datetime
) -> DetectionResult:
    holes = list[tuple[WatchedSeries, float, float]]()
    names, times, values = list[str](), list[float](), list[float]()
    for name, one in state.series.items():
        came = newer.get(one.series_id, ())
        for at_s, value in came:
            if value is not None:
                names.append(name)
                times.append(at_s)
                values.append(value)
        if came and (recent := state.recent.get(name)) is not None and came[-1][0] > recent[-1]:
            holes += [(one, *ends) for ends in _push(recent, came, one.spec.interval_s)]
    state.running.add(names, times, values)
    state.looked_at = now
    if dismissed != state.dismissed:
        state.dismissed = dismissed
        state.running.forgive(dismissed)
    scores, suspects = state.running.score()
    findings = list[FaultFinding]()
    if suspects:
        with db.read() as c:
            findings += _check(c, state, suspects, now)
    return DetectionResult(scores, findings, state.series_ids, holes)


def _score_first(
    db: Database,
    states: dict[str, GroupState],
    key: _StateKey,
    dismissed: Dismissed,
    since: Callable[[Sequence[Scored]], datetime],
    now: datetime,
    *,
    is_known: bool,
) -> DetectionResult | None:
    """Make the state of a group anew from the database; `is_known`: all up to its newest look is in the old one."""
    group, state = key.group, states.get(key.group.name)
    with db.read() as c:
        scored = [latest_by_series(c, key.site.id, d) for d in key.detectors]
        from_at = since(scored)
        if state is not None and state.looked_at <= now and not is_known:
            # what came too late for the state is scored now
            from_at = min(from_at, state.looked_at - LATE_STEPS * timedelta(seconds=group.step_s))
        began = now - HISTORY_STEPS * timedelta(seconds=group.step_s)
        samples = load_samples(c, key.site, group.series, began, now, keep_spikes=True)
        reported = {d: latest_by_series(c, key.site.id, d, notified=(from_at - ECHO, from_at)) for d in key.detectors}
        found_of = {
            kind: latest_by_series(c, key.site.id, check, notified=(began, now)) for check, kind in LASTING.items()
        }
    # for seconds: the database is not held meanwhile
    built = _build(samples, group.step_s)
    found = _begin(states, key, built, reported, dismissed, from_at, now)
    if found is None:
        return None
    lasting = [f for one in built for f in _find_lasting(*one, group, from_at, found_of)]
    left_out = sum(_count_left_out(s, scored, from_at) for s in samples)
    return replace(found, findings=[*found.findings, *lasting], left_out=left_out)


def forget(db: Database, site: str) -> None:
    """Make the states of a site anew at the next run."""
    _STATES.setdefault(db, {}).pop(site, None)


def forget_others(db: Database, site: str, groups: Collection[str]) -> None:
    """Keep no state of what is no group of a site any more."""
    states = _STATES.setdefault(db, {}).get(site, {})
    for name in states.keys() - groups:
        del states[name]


def _build(samples: Sequence[SeriesSamples], step_s: float) -> Built:
    built = []
    for one in samples:
        try:
            built.append((one, build_series(one.times_s, one.values, step_s)))
        except InputError:  # a clock or interval that no grid can follow: there is nothing to score
            continue
    return built


def _begin(
    states: dict[str, GroupState],
    key: _StateKey,
    built: Built,
    reported: Mapping[str, Mapping[int, datetime]],
    dismissed: Dismissed,
    since: datetime,
    now: datetime,
) -> DetectionResult | None:
    states.pop(key.group.name, None)
    if not built:
        return None
    newest = {
        d: {s.label: epoch_s(of[s.series_id]) for s, _ in built if s.series_id in of} for d, of in reported.items()
    }
    on_grid = {one.label: series for one, series in built}
    running = DetectorState(on_grid, key.detectors, epoch_s(since), key.shown_above, newest, dismissed)
    series = {one.label: one for one in key.group.series if one.label in on_grid}
    times = {one.label: one.times_s for one, _ in built if series[one.label].is_regular}
    recent = {label: deque(of[-USUAL - 1 :], USUAL + 1) for label, of in times.items()}
    state = states[key.group.name] = GroupState(key, running, series, now, now, dismissed, recent)
    scores, _ = running.score()
    findings = [f for one in built for f in _check_one(*one, key.group, epoch_s(since))]
    holes = [
        (series[label], *ends) for label, of in times.items() for ends in find_holes(of, series[label].spec.interval_s)
    ]
    return DetectionResult(scores, findings, state.series_ids, holes)


def _list_open(state: GroupState) -> list[tuple[int, datetime]]:
    from_s = state.running.open_from_s().tolist()
    at = {s: from_epoch_s(s) for s in set(from_s)}  # most series have the same
    return [(state.series[n].series_id, at[s]) for n, s in zip(state.running.names, from_s, strict=True)]


def _push(recent: deque[float], came: Iterable[tuple[float, object]], interval_s: float) -> list[tuple[float, float]]:
    holes = []
    for at_s, _ in came:
        if at_s > recent[-1]:
            if at_s - recent[-1] > HOLE * interval_s:
                holes += find_holes([*recent, at_s], interval_s)[-1:]
            recent.append(at_s)
    return holes


def _check(c: Connection, state: GroupState, suspects: Mapping[str, float], now: datetime) -> Iterable[FaultFinding]:
    since = now - timedelta(seconds=HISTORY_STEPS * state.key.group.step_s)
    for name, since_s in suspects.items():
        one = load_series_samples(c, state.key.site, state.series[name], since, now)
        if one is not None:
            series = build_series(one.times_s, one.values, state.key.group.step_s)
            yield from _check_one(one, series, state.key.group, since_s)


def _check_one(one: SeriesSamples, series: Series, group: SeriesGroup, since_s: float) -> Iterable[FaultFinding]:
    kinds = {CHECKS[check] for check in group.watch.checks}
    for fault in check_series(series, one.times_s, FACTORS[group.watch.units]):
        if fault.kind in kinds and fault.at_s > since_s:
            yield FaultFinding(one.label, fault.at_s, fault.kind, fault.detail)


def _find_lasting(
    one: SeriesSamples,
    series: Series,
    group: SeriesGroup,
    since: datetime,
    found_of: Mapping[str, Mapping[int, datetime]],
) -> Iterable[FaultFinding]:
    """What began before the readings that are scored, lasts until the newest one, and was never found.

    It is said of the newest reading, for earlier nobody could know; another unit of its own instant too, from which
    its factor is recalled.
    """
    kinds, is_known = {CHECKS[check] for check in group.watch.checks}, series.observed
    newest = series.values[is_known][-JUDGED:].tolist()

    def is_new(kind: str, at_s: float) -> bool:
        reported_at = found_of[kind].get(one.series_id)
        is_reported = reported_at is not None and epoch_s(reported_at) >= at_s - LATE_STEPS * group.step_s
        return at_s <= epoch_s(since) and not is_reported

    for fault in find_stuck(series)[-1:] if "stuck" in kinds else ():
        if is_new("stuck", fault.at_s) and len(set(series.values[is_known & (series.times_s >= fault.at_s)])) == 1:
            yield FaultFinding(one.label, float(one.times_s[-1]), "stuck", fault.detail)
    changes = find_changes(series, FACTORS[group.watch.units]) if "unit" in kinds else []
    # of several changes the last one may be the way back
    is_over = any(is_as_before(newest, change) for change in (*changes[:1], *changes[-1:]))
    if changes and not is_over and is_new("unit", changes[-1].at_s):
        for at_s in (changes[-1].at_s, float(one.times_s[-1])):
            yield FaultFinding(one.label, at_s, "unit", f"{changes[-1].times:g} times as large as before")


def _count_left_out(one: SeriesSamples, scored: Sequence[Scored], since: datetime) -> int:
    if not scored:
        return 0
    last = max((epoch_s(of[one.series_id]) for of in scored if one.series_id in of), default=-inf)
    return sum(last < at_s <= epoch_s(since) for at_s in one.times_s)
