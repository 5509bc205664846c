"""Running states of the groups of a site, kept between two runs of the anomaly job.

With a state, a run reads and scores new readings only. A state is made again from the database at the first run, after
a month of readings, when a reading comes after its cell was closed, and when any of these change: the site file, the
detectors, entries about earlier readings, or the steps that the evaluation has found.
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
from monitor.features.anomalies.queries.labels import DismissedAlarms
from monitor.features.anomalies.queries.scores import ECHO, UNIT_READINGS, load_newest_scored

# Steps that a state is made from. For hourly readings, the median needs a week and its scale ninety days.
HISTORY_STEPS: Final = 2500
# Steps after which a state is made again; a month of hourly readings.
MAX_STATE_STEPS: Final = 720
# Checks whose faults last until readings end them, with the kind of fault.
LASTING: Final = {"flatline": "stuck", "unit-jump": "unit"}
# Steps back in which a late reading is noticed.
LATE_STEPS: Final = 30

NewestScored = Mapping[int, datetime]
"""The newest reading of each series that a detector has scored."""
DismissedBySeries = Mapping[int, DismissedAlarms]
"""What people dismissed of each series; series without a dismissed alarm are absent."""
Built = list[tuple[SeriesSamples, Series]]
"""Readings of series, and the same on their grid."""
Value = tuple[float, float | None]
"""Time in epoch seconds and value, None for a reading that detectors must not use."""
SeriesIds = Mapping[tuple[str, str], int]
"""Ids of the series that have readings, by station and quantity."""


@dataclass(frozen=True, slots=True)
class _StateKey:
    """A state is made again if one of these changes."""

    site: Site
    group: SeriesGroup
    detectors: Mapping[str, Thresholds]
    notified_above: Mapping[str, float | None]
    entered: Mapping[int, StretchFingerprint]
    steps: frozenset[str]


@dataclass(slots=True)
class GroupState:
    """The running state of a group of a site.

    Attributes:
        key: See `_StateKey`.
        running: Scores and checks new readings.
        series: Series by label.
        made_at: When the state was made from the database.
        read_until: When readings were last read.
        dismissed: What people dismissed, by label.
        recent: The newest times of each series in which gaps are anomalies, epoch seconds.
    """

    key: _StateKey
    running: DetectorState
    series: dict[str, WatchedSeries]
    made_at: datetime
    read_until: datetime
    dismissed: Dismissed
    recent: dict[str, deque[float]]

    @property
    def series_ids(self) -> dict[str, int]:
        """Id of each series by label."""
        return {label: series.series_id for label, series in self.series.items()}


@dataclass(frozen=True, slots=True)
class DetectionRequest:
    """A group to score.

    Attributes:
        group: Its series are compared with each other.
        detectors: Detectors with their thresholds by part; empty if only checks are used.
        notified_above: See `StrongestPart`, by detector.
        find_since: From the newest scored readings of each detector to the time after which readings are new.
    """

    group: SeriesGroup
    detectors: Mapping[str, Thresholds]
    notified_above: Mapping[str, float | None]
    find_since: Callable[[Sequence[NewestScored]], datetime]


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """Results for a group.

    Attributes:
        scores: Scores by detector.
        findings: Faults that checks found.
        series_ids: Ids of all series by label.
        holes: For each gap, the series, the time of its last reading before and of its first reading after it, epoch
            seconds.
        left_out: How many readings were not scored, because they came too late or before the first run.
    """

    scores: dict[str, list[ReadingScore]]
    findings: list[FaultFinding]
    series_ids: Mapping[str, int]
    holes: Sequence[tuple[WatchedSeries, float, float]] = ()
    left_out: int = 0


# By site and group.
_STATES: Final[WeakKeyDictionary[Database, dict[str, dict[str, GroupState]]]] = WeakKeyDictionary()
# By site.
_GROUPS: Final[WeakKeyDictionary[Database, dict[str, tuple[Site, SeriesIds, list[SeriesGroup]]]]] = WeakKeyDictionary()


def find_groups(db: Database, site: Site, ids: SeriesIds) -> list[SeriesGroup]:
    """Return the groups of a site. The records stay the same while neither the site nor its series change."""
    cache = _GROUPS.setdefault(db, {})
    if site.id not in cache or cache[site.id][:2] != (site, ids):
        cache[site.id] = site, ids, list_groups(site, ids)
    return cache[site.id][2]


def score_new(
    db: Database,
    site: Site,
    requests: Sequence[DetectionRequest],
    dismissed: DismissedBySeries,
    entered: Mapping[int, StretchFingerprint],
    steps: frozenset[str],
    now: datetime,
) -> list[DetectionResult | None]:
    """Score the new readings of some groups and check them for faults; None for a group without readings.

    New readings of all groups with a state are read at once. A caller that does not store the results has to call
    `forget`.

    Args:
        entered: Entries about earlier readings, such as offsets, by series.
        steps: Keys of the steps that the evaluation has found. With a new one the states are made again from the
            cleaned series, so that the step is no anomaly of the readings after it.
    """
    states = _STATES.setdefault(db, {}).setdefault(site.id, {})
    keys = [
        _StateKey(site, request.group, request.detectors, request.notified_above, entered, steps)
        for request in requests
    ]
    usable = [
        state for key in keys if (state := states.get(key.group.name)) is not None and _is_usable(state, key, now)
    ]
    newer, current = db.run_read(_read_newer, usable, entered, now)
    results: list[DetectionResult | None] = []
    for key, request in zip(keys, requests, strict=True):
        is_current = key.group.name in current
        dismissed_of_group = _select_dismissed(dismissed, key.group)
        if is_current and states[key.group.name].key == key:
            results.append(_continue(db, states[key.group.name], newer, dismissed_of_group, now))
        else:
            # With other thresholds the state is made again, but readings that were scored before are not scored again.
            results.append(_start(db, states, key, dismissed_of_group, request.find_since, now, is_current=is_current))
    return results


def _is_usable(state: GroupState, key: _StateKey, now: datetime) -> bool:
    """Return whether a state is recent, and differs from a key in thresholds at most."""
    is_recent = state.read_until <= now < state.made_at + MAX_STATE_STEPS * timedelta(seconds=state.key.group.step_s)
    return is_recent and replace(state.key, detectors=key.detectors, notified_above=key.notified_above) == key


def _read_newer(
    c: Connection, states: Sequence[GroupState], entered: Mapping[int, StretchFingerprint], now: datetime
) -> tuple[dict[int, list[Value]], set[str]]:
    """Return the new readings of each series, and the names of the groups without late readings."""
    nothing = StretchFingerprint()
    # States that were read at the same time are read together. Only the state of a new group differs.
    stretches_by_time: dict[datetime, list[tuple[Stretch, StretchFingerprint]]] = {}
    series_of_group: dict[str, list[int]] = {}
    for state in states:
        back = LATE_STEPS * timedelta(seconds=state.key.group.step_s)
        stretches = [(series_id, at - back, at) for series_id, at in _list_open_since(state)]
        stretches_by_time.setdefault(state.read_until, []).extend(
            (stretch, entered.get(stretch[0], nothing)) for stretch in stretches
        )
        series_of_group[state.key.group.name] = [stretch[0] for stretch in stretches]
    newer: dict[int, list[Value]] = {}
    late: set[int] = set()
    for read_until, stretches_with_entries in stretches_by_time.items():
        values, late_series = load_newer_values(c, stretches_with_entries, read_until, now)
        newer |= values
        late |= late_series
    return newer, {name for name, ids in series_of_group.items() if late.isdisjoint(ids)}


def _select_dismissed(dismissed: DismissedBySeries, group: SeriesGroup) -> Dismissed:
    selected = {}
    for series in group.series:
        if series.series_id in dismissed:
            alarms = dismissed[series.series_id]
            stuck_s = -inf if alarms.stuck is None else epoch_s(alarms.stuck)
            valid_s = {detector: epoch_s(at) for detector, at in alarms.valid.items()}
            selected[series.label] = (epoch_s(alarms.alarms), stuck_s, valid_s)
    return selected


def _continue(
    db: Database, state: GroupState, newer: Mapping[int, Sequence[Value]], dismissed: Dismissed, now: datetime
) -> DetectionResult:
    """Score the new readings of a group with its state."""
    holes: list[tuple[WatchedSeries, float, float]] = []
    labels: list[str] = []
    times_s: list[float] = []
    values: list[float] = []
    for label, series in state.series.items():
        readings = newer.get(series.series_id, ())
        for at_s, value in readings:
            if value is not None:
                labels.append(label)
                times_s.append(at_s)
                values.append(value)
        recent = state.recent.get(label)
        if readings and recent is not None and readings[-1][0] > recent[-1]:
            holes += [(series, *ends) for ends in _append_times(recent, readings, series.spec.interval_s)]
    state.running.add_readings(labels, times_s, values)
    state.read_until = now
    if dismissed != state.dismissed:
        state.dismissed = dismissed
        state.running.dismiss(dismissed)
    scores, suspects = state.running.score_new()
    findings: list[FaultFinding] = []
    if suspects:
        with db.read() as c:
            findings += _check_suspects(c, state, suspects, now)
    return DetectionResult(scores, findings, state.series_ids, holes)


def _start(
    db: Database,
    states: dict[str, GroupState],
    key: _StateKey,
    dismissed: Dismissed,
    find_since: Callable[[Sequence[NewestScored]], datetime],
    now: datetime,
    *,
    is_current: bool,
) -> DetectionResult | None:
    """Make the state of a group from the database, and score its new readings.

    Args:
        is_current: Whether the former state contains all readings up to the time at which it was read.
    """
    group, former = key.group, states.get(key.group.name)
    began = now - timedelta(seconds=HISTORY_STEPS * group.step_s)
    with db.read() as c:
        scored = [load_newest_scored(c, key.site.id, detector) for detector in key.detectors]
        from_at = find_since(scored)
        if former is not None and former.read_until <= now and not is_current:
            # Readings that came too late for the former state are scored now.
            from_at = min(from_at, former.read_until - LATE_STEPS * timedelta(seconds=group.step_s))
        samples = load_samples(c, key.site, group.series, began, now, keep_spikes=True)
        notified = {
            detector: load_newest_scored(c, key.site.id, detector, alerted=(from_at - ECHO, from_at))
            for detector in key.detectors
        }
        found_of_kind = {
            kind: load_newest_scored(c, key.site.id, check, alerted=(began, now)) for check, kind in LASTING.items()
        }
    # This takes seconds, so the database is not used meanwhile.
    built = _build(samples, group.step_s)
    result = _make_state(states, key, built, notified, dismissed, from_at, now)
    if result is None:
        return None
    lasting = [fault for one in built for fault in _find_lasting(*one, group, from_at, found_of_kind)]
    left_out = sum(_count_left_out(series, scored, from_at) for series in samples)
    return replace(result, findings=[*result.findings, *lasting], left_out=left_out)


def forget(db: Database, site: str) -> None:
    """Make the states of a site again at the next run."""
    _STATES.setdefault(db, {}).pop(site, None)


def forget_others(db: Database, site: str, groups: Collection[str]) -> None:
    """Delete the states of groups that a site no longer has."""
    states = _STATES.setdefault(db, {}).get(site, {})
    for name in states.keys() - groups:
        del states[name]


def _build(samples: Sequence[SeriesSamples], step_s: float) -> Built:
    built = []
    for one in samples:
        try:
            built.append((one, build_series(one.times_s, one.values, step_s)))
        except InputError:  # times that fit no grid: the series has no scores
            continue
    return built


def _make_state(
    states: dict[str, GroupState],
    key: _StateKey,
    built: Built,
    notified: Mapping[str, Mapping[int, datetime]],
    dismissed: Dismissed,
    since: datetime,
    now: datetime,
) -> DetectionResult | None:
    states.pop(key.group.name, None)
    if not built:
        return None
    newest_notified_s = {
        detector: {one.label: epoch_s(newest[one.series_id]) for one, _ in built if one.series_id in newest}
        for detector, newest in notified.items()
    }
    on_grid = {one.label: series for one, series in built}
    running = DetectorState(on_grid, key.detectors, epoch_s(since), key.notified_above, newest_notified_s, dismissed)
    series_by_label = {series.label: series for series in key.group.series if series.label in on_grid}
    regular_times = {one.label: one.times_s for one, _ in built if series_by_label[one.label].is_regular}
    recent = {label: deque(times_s[-USUAL - 1 :], USUAL + 1) for label, times_s in regular_times.items()}
    state = GroupState(key, running, series_by_label, now, now, dismissed, recent)
    states[key.group.name] = state
    scores, _ = running.score_new()
    findings = [fault for one in built for fault in _check(*one, key.group, epoch_s(since))]
    holes = [
        (series_by_label[label], *ends)
        for label, times_s in regular_times.items()
        for ends in find_holes(times_s, series_by_label[label].spec.interval_s)
    ]
    return DetectionResult(scores, findings, state.series_ids, holes)


def _list_open_since(state: GroupState) -> list[tuple[int, datetime]]:
    """Return for each series its id and the time after which its cells are open."""
    since_s = state.running.find_open_since_s().tolist()
    instants = {at_s: from_epoch_s(at_s) for at_s in set(since_s)}  # most series have the same time
    return [
        (state.series[label].series_id, instants[at_s])
        for label, at_s in zip(state.running.names, since_s, strict=True)
    ]


def _append_times(
    recent: deque[float], readings: Iterable[tuple[float, object]], interval_s: float
) -> list[tuple[float, float]]:
    """Append the times of new readings to the recent ones, and return the holes between them."""
    holes = []
    for at_s, _ in readings:
        if at_s > recent[-1]:
            if at_s - recent[-1] > HOLE * interval_s:
                holes += find_holes([*recent, at_s], interval_s)[-1:]
            recent.append(at_s)
    return holes


def _check_suspects(
    c: Connection, state: GroupState, suspects: Mapping[str, float], now: datetime
) -> Iterable[FaultFinding]:
    since = now - timedelta(seconds=HISTORY_STEPS * state.key.group.step_s)
    for label, since_s in suspects.items():
        samples = load_series_samples(c, state.key.site, state.series[label], since, now)
        if samples is not None:
            series = build_series(samples.times_s, samples.values, state.key.group.step_s)
            yield from _check(samples, series, state.key.group, since_s)


def _check(samples: SeriesSamples, series: Series, group: SeriesGroup, since_s: float) -> Iterable[FaultFinding]:
    """Yield the faults after a time that the checks of a quantity find."""
    kinds = {CHECKS[check] for check in group.watch.checks}
    for fault in check_series(series, samples.times_s, FACTORS[group.watch.units]):
        if fault.kind in kinds and fault.at_s > since_s:
            yield FaultFinding(samples.label, fault.at_s, fault.kind, fault.detail)


def _find_lasting(
    samples: SeriesSamples,
    series: Series,
    group: SeriesGroup,
    since: datetime,
    found_of_kind: Mapping[str, Mapping[int, datetime]],
) -> Iterable[FaultFinding]:
    """Yield faults that began before the new readings, last until the newest reading, and were not found before.

    They are stored at the newest reading, because they were not known earlier. Another unit is stored at its own time
    as well, from which its factor is found again.
    """
    kinds, is_known = {CHECKS[check] for check in group.watch.checks}, series.observed
    newest = series.values[is_known][-UNIT_READINGS:].tolist()

    def is_new(kind: str, at_s: float) -> bool:
        found_at = found_of_kind[kind].get(samples.series_id)
        is_found = found_at is not None and epoch_s(found_at) >= at_s - LATE_STEPS * group.step_s
        return at_s <= epoch_s(since) and not is_found

    for fault in find_stuck(series)[-1:] if "stuck" in kinds else ():
        later_values = series.values[is_known & (series.times_s >= fault.at_s)]
        if is_new("stuck", fault.at_s) and len(set(later_values)) == 1:
            yield FaultFinding(samples.label, float(samples.times_s[-1]), "stuck", fault.detail)
    changes = find_changes(series, FACTORS[group.watch.units]) if "unit" in kinds else []
    # The last of several changes may be the change back.
    is_over = any(is_as_before(newest, change) for change in (*changes[:1], *changes[-1:]))
    if changes and not is_over and is_new("unit", changes[-1].found_s):
        for at_s in (changes[-1].found_s, float(samples.times_s[-1])):
            yield FaultFinding(samples.label, at_s, "unit", f"{changes[-1].factor:g} times as large as before")


def _count_left_out(samples: SeriesSamples, scored: Sequence[NewestScored], since: datetime) -> int:
    """Return how many readings are later than the newest scored one, but not later than `since`."""
    if not scored:
        return 0
    last_s = max((epoch_s(newest[samples.series_id]) for newest in scored if samples.series_id in newest), default=-inf)
    return sum(last_s < at_s <= epoch_s(since) for at_s in samples.times_s)
