"""Replay the past of a site under one or two site files, and score the decisions."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.evaluate import rule_version
from monitor.alerts.replay.clock import ReplaySchedule, choose_coalesce_s, choose_tick_s, play
from monitor.alerts.replay.failure_windows import WindowReplay, start_window_replay
from monitor.alerts.replay.history import History, VisibilityRule
from monitor.alerts.replay.leads import make_fixed_site
from monitor.alerts.replay.matrix import EventLabel, list_labels_of_outcomes
from monitor.alerts.replay.queries import (
    AlertWithOutcome,
    find_span,
    load_past_acts,
    load_past_alerts,
    load_past_configs,
    load_past_evaluations,
    load_stored_windows,
    was_movement_assessed,
)
from monitor.alerts.replay.scorecard import BesideDecision, ReplayTotals, Run, Scorecard, score
from monitor.alerts.replay.window_table import WindowTable, list_periods
from monitor.decision.proof import find_unproven
from monitor.errors import ConfigError, RefusedError
from monitor.models.queries.proofs import load_proof_facts
from monitor.plugins import hooks
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site, rename_stations
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s
from monitor.text.message import Message, Template

_COUNTS_HERE: Final = Template(
    "criterion.counts_in_replay", "{criterion} counts in this replay; in the service it is advice: {text}"
)
_NO_UPDATES: Final = Template(
    "backtest.no_updates",
    "--as-then takes the failure windows that the service stored, and it assessed none in that time",
)
_NO_MOTION: Final = Template(
    "backtest.no_motion", "no displacement or crack opening in mm of its stations was known in that time"
)
# Share of the progress of the replay; the rest is the replay of the fixed bound.
DECISION_SHARE: Final = 0.7
# An alarm up to this long before an event belongs to it.
LEAD_S: Final = 30.0 * 86400.0
# What the last reading shows counts for this long: a level without any duration would not count at all.
AFTER_LAST_READING: Final = timedelta(seconds=1)
BY_RULE: Final = VisibilityRule()
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """Options of a backtest.

    Criteria on models count as the site file says, proven or not. With `as_then` they count only if they were proven at
    that time, as in the service.

    Attributes:
        known: From when a row of the past was known.
        lead_s: An alarm up to this long before an event belongs to it.
        as_then: Whether to use the site files that were in force at each time, instead of one for the whole time.
        acts: Whether to repeat the acts of people: levels set and questions answered.
        stored_instants: Whether to evaluate only at the times of the stored evaluations.
        coalesce_s: Arrivals within this time are evaluated once. None chooses a time that suits the series.
        tick_s: Longest time between two evaluations. None chooses the shortest interval of the series.
        fixed_bound: Whether to replay a fixed velocity as well, to compare lead times with it.
    """

    known: VisibilityRule = BY_RULE
    lead_s: float = LEAD_S
    as_then: bool = False
    acts: bool = False
    stored_instants: bool = False
    coalesce_s: float | None = None
    tick_s: float | None = None
    fixed_bound: bool = False


def find_record_span(db: Database, site: Site, known: VisibilityRule = BY_RULE) -> tuple[datetime, datetime] | None:
    """Return start and end of a replay of all stored readings of a site; None without readings.

    The end is after the last reading.
    """
    span = db.run_read(find_span, site.id)
    if span is None:
        return None
    return span[0], span[1] + timedelta(seconds=known.latency_s) + AFTER_LAST_READING


def run_backtest(
    db: Database,
    site: Site,
    from_at: datetime,
    to_at: datetime,
    *,
    other: Site | None = None,
    on_progress: Progress | None = None,
    labels: Sequence[EventLabel] = (),
    terms: BacktestOptions = BacktestOptions(),
) -> Scorecard:
    """Replay the past of a site and score the decisions. Nothing is stored.

    Args:
        other: A second site file, replayed over the same time for comparison.
        on_progress: Called with the share that is done, 0 to 1.
        labels: Labelled events. Alerts with the outcome `true` are added.

    Raises:
        RefusedError: The time is empty, or the other site file belongs to another site.
    """
    if not from_at < to_at:
        raise RefusedError("the backtest ends before it starts: --since must be before --until")
    if other is not None and other.id != site.id:
        raise RefusedError(f"the other configuration is of site {other.id!r}, not {site.id!r}")
    with db.read() as connection:
        alerts = load_past_alerts(connection, site.id, from_at, to_at)
        scored = hooks().detector_scores(connection=connection, site=site, from_at=from_at, to_at=to_at)
        detectors = tuple(detector for of_feature in scored for detector in of_feature)
        imported = hooks().other_alarms(connection=connection, site=site, from_at=from_at, to_at=to_at)
        others = tuple(alarm for of_feature in imported for alarm in of_feature)
    events = tuple(sorted((*labels, *list_labels_of_outcomes(alerts, to_at, site)), key=lambda x: (x.from_at, x.to_at)))
    task = _Task(from_at, to_at, events, tuple(alerts), terms)
    configs = [("A", site)] if other is None else [("A", site), ("B", other)]
    results: list[_Result] = []
    for number, (name, config) in enumerate(configs):

        def report(share: float, done: int = number) -> None:
            if on_progress is not None:
                on_progress((done + share) / len(configs))

        results.append(_run(db, name, config, task, report))
    if on_progress is not None:
        on_progress(1.0)
    # A level can be this much later than in a service that evaluates each arrival.
    granularity_s = choose_coalesce_s(site) if terms.coalesce_s is None else terms.coalesce_s
    known = {
        "mode": terms.known.mode,
        "latency_s": terms.known.latency_s,
        "granularity_s": 0.0 if terms.stored_instants else granularity_s,
        **results[0][1],
    }
    return Scorecard(
        site.id,
        site.name,
        from_at,
        to_at,
        known,
        terms.lead_s,
        rule_version(site),
        events,
        tuple(run for run, _ in results),
        detectors,
        () if terms.as_then else _describe_unproven(db, [site] if other is None else [site, other], to_at),
        others,
    )


def _describe_unproven(db: Database, sites: Sequence[Site], to_at: datetime) -> tuple[Message, ...]:
    """Return which criteria count in a replay, although the service treats them as advice, and why."""
    now = max(to_at, datetime.now(UTC))
    with db.read() as connection:
        lines = [
            _COUNTS_HERE(criterion=name, text=why)
            for site in sites
            for name, why in find_unproven(load_proof_facts(connection, site, now), epoch_s(now)).items()
        ]
    return tuple(dict.fromkeys(lines))


@dataclass(frozen=True, slots=True)
class _Task:
    from_at: datetime
    to_at: datetime
    labels: tuple[EventLabel, ...]
    alerts: tuple[AlertWithOutcome, ...]
    terms: BacktestOptions


_Result = tuple[Run, dict[str, Any]]


@contextmanager
def _collect_seldom() -> Iterator[None]:
    """Run the garbage collector once in 50,000 new objects, because a replay creates few reference cycles."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(db: Database, name: str, site: Site, task: _Task, report: Progress) -> _Result:
    # One read transaction gives a consistent snapshot for the whole replay.
    with _collect_seldom(), db.read() as connection:
        plan = find_plan(connection, site, task)
        fixed_site = make_fixed_site(site) if task.terms.fixed_bound else None
        share = 1.0 if fixed_site is None else DECISION_SHARE
        played = _play(connection, plan, task, lambda done: report(share * done))
        fixed = None
        if fixed_site is not None:
            fixed_plan = [(epoch_s(task.from_at), fixed_site)]
            fixed = _play(
                connection, fixed_plan, task, lambda done: report(share + (1.0 - share) * done)
            ).totals.levels.spans
        windows, not_computed = _list_windows(connection, plan[-1][1], task, played.windows)
    known = {
        "rows": played.history.rows,
        "rows_by_reception": played.history.by_reception,
        "rows_by_epoch": played.history.rows - played.history.by_reception,
    }
    comparison = BesideDecision(windows, fixed, not_computed)
    return score(name, plan[-1][1], played.totals, task.labels, task.alerts, task.terms.lead_s, comparison), known


@dataclass(frozen=True, slots=True)
class _Played:
    history: History
    windows: WindowReplay
    totals: ReplayTotals


def _play(connection: Connection, plan: Sequence[tuple[float, Site]], task: _Task, report: Progress) -> _Played:
    """Replay the whole time under a plan of site files."""
    from_s, to_s = epoch_s(task.from_at), epoch_s(task.to_at)
    history = History(
        connection,
        [s for _, s in plan],
        task.from_at,
        task.to_at,
        task.terms.known,
        proofs=None if task.terms.as_then else (),
        stored_windows=task.terms.as_then,
    )
    windows = start_window_replay(history)
    tally = ReplayTotals(from_s, to_s)
    site = plan[-1][1]
    acts = load_past_acts(connection, site.id, task.from_at, task.to_at) if task.terms.acts else []
    shown = 0.0
    for step in play(history, plan, from_s, to_s, find_schedule(connection, site, task), acts=acts, windows=windows):
        tally.add(step)
        share = (epoch_s(step.at) - from_s) / (to_s - from_s)
        if share - shown >= 0.01:
            shown = share
            report(share)
    tally.finish(to_s)
    return _Played(history, windows, tally)


def _list_windows(
    connection: Connection, site: Site, task: _Task, computed: WindowReplay
) -> tuple[WindowTable, dict[str, Message]]:
    """Return the failure windows of a replay, and by criterion why there are none."""
    criteria = [criterion for criterion in site.criteria if criterion.kind.facts == "failures"]
    if not criteria:
        return WindowTable(), {}
    to_s = epoch_s(task.to_at)
    if task.terms.as_then:
        windows = load_stored_windows(connection, site.id, task.from_at, task.to_at)
        was_assessed = was_movement_assessed(connection, site.id, task.from_at, task.to_at)
        missing = {} if was_assessed else {criterion.id: _NO_UPDATES() for criterion in criteria}
        return WindowTable(list_periods(windows, task.labels, to_s)), missing
    looks = computed.looks
    table = WindowTable(
        list_periods(computed.list_issued(), task.labels, to_s),
        tuple((f"{station}.{quantity}", count) for (station, quantity), count in sorted(looks.items())),
    )
    assessed = {station for station, _ in looks}
    return table, {
        criterion.id: _NO_MOTION() for criterion in criteria if not assessed.intersection(criterion.stations)
    }


def find_plan(connection: Connection, site: Site, task: _Task) -> list[tuple[float, Site]]:
    """Return the site files with the instants from which they are in force, by rising instant."""
    if not task.terms.as_then:
        return [(epoch_s(task.from_at), site)]
    plan = []
    for loaded_at, source in load_past_configs(connection, site.id):
        try:
            plan.append((epoch_s(loaded_at), parse_site(source, f"the site file of {loaded_at:%Y-%m-%d}")))
        except ConfigError as error:
            raise RefusedError(f"this version cannot read it: {error}") from None
    if not plan:
        return [(epoch_s(task.from_at), site)]
    return [(at_s, rename_stations(site_then, plan[-1][1].renamed_stations)) for at_s, site_then in plan]


def find_schedule(connection: Connection, site: Site, task: _Task) -> ReplaySchedule:
    """Return when to evaluate."""
    terms = task.terms
    instants = None
    if terms.stored_instants:
        stored = load_past_evaluations(connection, site.id, task.from_at, task.to_at)
        if not stored:
            raise RefusedError(f"no evaluation of {site.id} is stored in that time")
        instants = tuple(sorted({epoch_s(at) for at, _ in stored}))
    coalesce_s = choose_coalesce_s(site) if terms.coalesce_s is None else terms.coalesce_s
    return ReplaySchedule(coalesce_s, terms.tick_s or choose_tick_s(site), instants)
