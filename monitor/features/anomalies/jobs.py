"""Score the newest epochs of a site with every detector of its plan; scores are stored, advice is the ladder's work."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.budget.correction import EVERY_S
from detection.anomaly.detector import start_without_history
from detection.anomaly.records import FaultFinding, ReadingScore, Scores, ScoringRequest
from detection.anomaly.registry import CARRIED_OVER, COMPOSITES, compared_with
from detection.anomaly.registry import CHECKS as CERTAIN
from detection.anomaly.running.state import RUNNING
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.errors import JobError
from monitor.api.queries.alerts import find_state, load_newest
from monitor.api.queries.ingest import GAPS_PER_TRANSACTION, GapCandidate, add_gaps, fill_gaps, find_filled
from monitor.api.queries.models import ModelRow, SeriesSamples, find_active, load_watched
from monitor.api.queries.readings import in_chunks, load_ids, load_later_entries
from monitor.api.settings import ServiceConfig
from monitor.api.sites import MOTION_GROUP, OTHER_QUANTITIES_FACTOR, AnomalyPlan, SeriesGroup, Site
from monitor.api.text import Figure, Message, Template, convert_reason, epoch_s, format_about, from_epoch_s
from monitor.api.worker import WorkerTask, list_models, refuse_unrequested, run_in_worker
from monitor.features.anomalies.queries import budget as anomaly_budget
from monitor.features.anomalies.queries.budget import load_factors
from monitor.features.anomalies.queries.labels import load_dismissed
from monitor.features.anomalies.queries.scores import ECHO, AnomalyRow, add_anomalies, latest_by_series
from monitor.features.anomalies.state import (
    HISTORY_STEPS,
    DetectionRequest,
    DetectionResult,
    find_groups,
    forget,
    forget_others,
    score_new,
)

SCORE: Final = WorkerTask("detection.anomaly.jobs:score", ScoringRequest, Scores)
# faults that are certain, not scored: they are kept under the name of their check
CHECK_OF = {kind: check for check, kind in CERTAIN.items()}
SERIES_AT_ONCE: Final = 2000  # of several groups: what one statement takes
FIRST_RUN_STEPS = 60  # epochs scored when a detector has never run on the site
CHECKED_AGAIN: Final = timedelta(days=7)  # at least, where only checks look: the service may have stood still so long
LEFT_OUT: Final = "not scored"
_CARRIED: Final = Template("compared.carried", "{past}, at three times the thresholds of displacement")
_STAYS: Final = Template(
    "budget.stays", "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays"
)
_STAYS_FOR_LEVEL: Final = Template(
    "budget.stays_for_level",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays, for "
    "anomalies count for the warning level here",
)
_CHANGES: Final = Template(
    "budget.changes",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold is {factor} "
    "times the counted one, it was {before} times",
)
EVERY: Final = timedelta(seconds=EVERY_S)


def correct(db: Database, site: Site, now: datetime) -> list[str]:
    """Measure and correct the detectors whose turn it is; returns a line for each factor that changed."""
    due = db.run_read(_list_due, site, now)
    if not due:
        return []
    lines = []
    with db.write() as c:
        for measured in due:
            factor, reason = decide_factor(measured, is_witness=site.has_voting_anomalies)
            anomaly_budget.add_budget(
                c, site.id, measured, factor, reason, SERVICE_ACTOR, now, is_fixed=site.has_voting_anomalies
            )
            if factor != measured.factor:
                lines.append(f"{measured.detector}: {reason}")
    return lines


def _list_due(c: Connection, site: Site, now: datetime) -> list[anomaly_budget.BudgetMeasurement]:
    newest = anomaly_budget.load_newest(c, site.id)
    due = {d for d in anomaly_budget.list_counted(site) if d not in newest or now - newest[d].at >= EVERY}
    return [m for m in anomaly_budget.measure_detectors(c, site, now) if m.detector in due] if due else []


def decide_factor(measured: anomaly_budget.BudgetMeasurement, *, is_witness: bool) -> tuple[float, Message]:
    """The factor for the week to come, and why."""
    before, rate = measured.factor, measured.rate
    if rate is None:
        return before, measured.describe()
    against = {"rate": Figure(rate.value, ".2g"), "budget": Figure(measured.budget, ".2g")}
    if is_witness:
        return before, _STAYS_FOR_LEVEL(**against)
    factor = anomaly_budget.next_factor(measured.alarms, measured.sensor_months, measured.budget, before)
    if factor == before:
        return before, _STAYS(**against)
    return factor, _CHANGES(**against, factor=Figure(factor, ".3g"), before=Figure(before, ".3g"))


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what is new since the last run; returns one line that says what was done.

    Rules and checks look at new readings of every quantity (`domain.instruments.watched`) and run here. Other detectors
    see the whole window of the motion in a worker.
    """
    plan = site.anomaly
    with db.read() as c:
        groups = find_groups(db, site, load_ids(c, site.id))
        step = next((group.step_s for group in groups if group.name == MOTION_GROUP), None)
        active = {d: None if step is None or d in CERTAIN else _find_fit(c, site, d, step) for d in plan.detectors}
        factors = load_factors(c, site)
    forget_others(db, site.id, {group.name for group in groups})
    parts, failed = correct(db, site, now), list[JobError]()
    done: dict[str, str] | None = _score_all(db, site, groups, active, factors, now)
    if done is None:
        return "no readings"
    if LEFT_OUT in done:
        parts.append(f"{LEFT_OUT}: {done[LEFT_OUT]}")
    samples: list[SeriesSamples] = []
    for detector in plan.detectors:
        checkpoint = active[detector]
        if step is None and detector not in done:
            parts.append(f"{detector}: no readings of displacement")
            continue
        if _lacks_threshold(detector, checkpoint):
            parts.append(f"{detector}: not trained yet; `slopeward anomalies train --site {site.id}` says why")
            continue
        if step is not None and detector not in done:
            try:
                if not samples:
                    samples = db.run_read(load_watched, site, now - timedelta(seconds=HISTORY_STEPS * step), now)
                rows = _score_in_worker(db, config, site, detector, checkpoint, factors, samples, now)
            except JobError as error:  # the detectors after it still have their turn
                failed.append(error)
                parts.append(f"{detector}: {error}")
                continue
            with db.write() as c:
                done[detector] = _describe(add_anomalies(c, rows, now), sum(r.alerted for r in rows))
        parts.append(f"{detector}: {done[detector]}")
    if failed:
        raise _find_common_kind(failed)("; ".join(parts))
    return "; ".join(parts)


def _load_confirmed_steps(c: Connection, site: Site, now: datetime) -> frozenset[str]:
    """Return the keys of the steps, found by the evaluation, after which their station has sent another reading.

    The first reading after a jump may still be a spike.
    """
    row = find_state(c, site.id)
    steps: Mapping[str, Mapping[str, float]] = {} if row is None else row.state["steps"]
    if not steps:
        return frozenset()
    newest_s: dict[str, float] = {}
    for name, epoch in load_newest(c, site.id, now).items():
        station = name.partition(".")[0]
        newest_s[station] = max(epoch.observed_s, newest_s.get(station, -math.inf))
    return frozenset(
        key for key, step in steps.items() if step["at_s"] < newest_s.get(key.rpartition("@")[0], -math.inf)
    )


def _find_common_kind(errors: Sequence[JobError]) -> type[JobError]:
    kinds = {type(error) for error in errors}
    return kinds.pop() if len(kinds) == 1 else JobError


def _lacks_threshold(detector: str, checkpoint: ModelRow | None) -> bool:
    """Whether a detector cannot score before its threshold was counted on the site's own record."""
    return checkpoint is None and detector not in CARRIED_OVER and detector not in CERTAIN


def _find_fit(c: Connection, site: Site, detector: str, step_s: float) -> ModelRow | None:
    """The checkpoint that serves, unless it does not fit what the site file asks for."""
    found = find_active(c, task="anomaly", kind=detector, site=site.id)
    return None if found is None or why_stale(found, site.anomaly, step_s) is not None else found


def _score_all(
    db: Database,
    site: Site,
    groups: Sequence[SeriesGroup],
    active: Mapping[str, ModelRow | None],
    factors: Mapping[str, float],
    now: datetime,
) -> dict[str, str] | None:
    """What the detectors that have a running state and the checks found and stored; None where there is no reading.

    A certain fault is kept whether or not the plan names its check.
    """
    added, over, is_empty, left_out = Counter[str](), Counter[str](), True, 0
    with db.read() as c:
        words, entered = load_dismissed(c, site, now - ECHO, now), load_later_entries(c, site.id, now)
        steps = _load_confirmed_steps(c, site, now)
    for together in _divide(groups):
        # a checkpoint and the labels behind a factor were counted on motion, and speak of nothing else
        behind = [(active, factors) if one.name == MOTION_GROUP else (dict.fromkeys(active), {}) for one in together]
        wanted = [_make_request(site, one, *means, now) for one, means in zip(together, behind, strict=True)]
        try:
            rows, holes = dict[str, list[AnomalyRow]](), list[GapCandidate]()
            found_of = score_new(db, site, wanted, words, entered, steps, now)
            for group, found, means in zip(together, found_of, behind, strict=True):
                if found is None:
                    continue
                is_empty, left_out = False, left_out + found.left_out
                for detector, ones in _make_rows(site, group, found, *means).items():
                    rows.setdefault(detector, []).extend(ones)
                holes += (
                    GapCandidate(one.series_id, from_epoch_s(begin_s), from_epoch_s(end_s), one.spec.interval_s)
                    for one, begin_s, end_s in found.holes
                )
            if any(rows.values()):
                with db.write() as c:
                    for detector, ones in rows.items():
                        added[detector] += add_anomalies(c, ones, now)
                        over[detector] += sum(one.alerted for one in ones)
            for some in in_chunks(holes, GAPS_PER_TRANSACTION):
                db.do(add_gaps, some, now)
        except BaseException:
            forget(db, site.id)  # what it took for stored is not
            raise
    filled = db.run_read(find_filled, site, now)
    for some in in_chunks(filled, GAPS_PER_TRANSACTION):
        db.do(fill_gaps, some, now)
    named = [*(d for d in active if d in RUNNING), *CERTAIN]
    described = {d: _describe(added[d], over[d]) for d in named}
    if left_out:
        described[LEFT_OUT] = f"{left_out} earlier readings; they were searched for what lasts: stuck, another unit"
    return None if is_empty else described


def _divide(groups: Sequence[SeriesGroup]) -> Iterator[list[SeriesGroup]]:
    """Groups that are read and stored together: the questions do not grow with their number, nor what is in memory."""
    together: list[SeriesGroup] = []
    for group in groups:
        if together and sum(len(one.series) for one in (*together, group)) > SERIES_AT_ONCE:
            yield together
            together = []
        together.append(group)
    if together:
        yield together


def _make_request(
    site: Site, group: SeriesGroup, serving: Mapping[str, ModelRow | None], factors: Mapping[str, float], now: datetime
) -> DetectionRequest:
    chosen = _choose_thresholds(group, serving)
    shown_above = {d: None if site.has_voting_anomalies else factors.get(d, 1.0) for d in chosen}
    return DetectionRequest(group, chosen, shown_above, partial(_find_first, group, now))


def _choose_thresholds(group: SeriesGroup, serving: Mapping[str, ModelRow | None]) -> dict[str, dict[str, float]]:
    found = {d: _thresholds(d, checkpoint, group.step_s) for d, checkpoint in serving.items() if d in RUNNING}
    if group.name == MOTION_GROUP:
        return found
    # `persistence-z` scores what the part `level` begins with
    parts = {*group.watch.parts, *({"persistence-z"} if "level" in group.watch.parts else ())}
    chosen = {
        d: {part: limit * OTHER_QUANTITIES_FACTOR for part, limit in limits.items() if part in parts}
        for d, limits in found.items()
    }
    return {d: limits for d, limits in chosen.items() if limits}


def _make_rows(
    site: Site,
    group: SeriesGroup,
    found: DetectionResult,
    serving: Mapping[str, ModelRow | None],
    factors: Mapping[str, float],
) -> dict[str, list[AnomalyRow]]:
    ids, budget = found.series_ids, budget_of_each(site.anomaly)
    rows = {
        d: [_row(one, ids, d, budget, serving[d], factors.get(d, 1.0)) for one in scores]
        for d, scores in found.scores.items()
    }
    if group.name != MOTION_GROUP:
        rows = {d: [_mark_carried(one, group) for one in ones] for d, ones in rows.items()}
    for check, kind in CERTAIN.items():
        rows[check] = [_certain(fault, ids, budget) for fault in found.findings if fault.kind == kind]
    return rows


def _mark_carried(row: AnomalyRow, group: SeriesGroup) -> AnomalyRow:
    """A score says where its threshold comes from; what is no motion is never called so."""
    kind = "unknown" if row.kind == "movement" and not group.watch.moves else row.kind
    return replace(row, kind=kind, compared_with=_CARRIED(past=row.compared_with or ""))


def _describe(added: int, over: int) -> str:
    return f"{added} scores, {over} over the threshold"


def _thresholds(detector: str, checkpoint: ModelRow | None, step_s: float) -> dict[str, float]:
    if checkpoint is not None:
        return {part: float(t["value"]) for part, t in checkpoint.card["thresholds"].items()}
    return {part: t.value for part, t in start_without_history(detector, step_s).thresholds.items()}


def _find_first(group: SeriesGroup, now: datetime, scored: Sequence[Mapping[int, datetime]]) -> datetime:
    first = now - timedelta(seconds=FIRST_RUN_STEPS * group.step_s)
    if not scored:
        return min(first, now - CHECKED_AGAIN)
    ids = {one.series_id for one in group.series}
    return min(max((at for i, at in of.items() if i in ids), default=first) for of in scored)


def _score_in_worker(
    db: Database,
    config: ServiceConfig,
    site: Site,
    detector: str,
    checkpoint: ModelRow | None,
    factors: Mapping[str, float],
    samples: Sequence[SeriesSamples],
    now: datetime,
) -> list[AnomalyRow]:
    step_s = site.watched_step_s
    assert step_s is not None
    with db.read() as c:
        # readings after it are new to the detector
        since = max(latest_by_series(c, site.id, detector).values(), default=None) or now - timedelta(
            seconds=FIRST_RUN_STEPS * step_s
        )
    path = None if checkpoint is None else checkpoint.path
    request = ScoringRequest(detector, {s.label: s.timed for s in samples}, step_s, path, epoch_s(since))
    answer = run_in_worker(config.compute, SCORE, request, reads=list_models(config.paths.models, site.id, [path]))
    ids = {s.label: s.series_id for s in samples}
    refuse_unrequested((s.station for s in answer.scores), ids, f"{detector}: the answer of the worker")
    budget, factor = budget_of_each(site.anomaly), factors.get(detector, 1.0)
    return [_row(one, ids, detector, budget, checkpoint, factor) for one in answer.scores]


def budget_of_each(plan: AnomalyPlan) -> float:
    """False alarms per sensor-month that each detector of a plan may spend; checks spend none."""
    return plan.budget_per_sensor_month / max(1, sum(d not in CERTAIN for d in plan.detectors))


def why_stale(checkpoint: ModelRow, plan: AnomalyPlan, step_s: float) -> str | None:
    """Why a checkpoint does not fit what the site file asks for now; None where it does."""
    trained_s, budget = float(checkpoint.card["step_s"]), float(checkpoint.card["budget_per_sensor_month"])
    if trained_s != step_s:
        return f"it was trained at {format_about(trained_s)}, the series come every {format_about(step_s)}"
    if not set(checkpoint.card["thresholds"]) <= {checkpoint.kind, *COMPOSITES.get(checkpoint.kind, ())}:
        return "its parts are those of an earlier version"
    if not math.isclose(budget, budget_of_each(plan), rel_tol=1e-9):
        now = f"{budget_of_each(plan):g} false alarms per sensor-month"
        return f"its budget was {budget:g} false alarms per sensor-month, now it is {now}"
    return None


def _row(
    one: ReadingScore, ids: Mapping[str, int], detector: str, budget: float, checkpoint: ModelRow | None, factor: float
) -> AnomalyRow:
    """A score beside its threshold: the counted one, times the factor that labels put on it.

    What is above it and not alerted is held back as an echo of what was reported.
    """
    threshold = one.threshold * factor
    return AnomalyRow(
        ids[one.station],
        from_epoch_s(one.at_s),
        detector,
        one.score,
        threshold,
        budget,
        one.kind,
        one.alerted and one.score > threshold,
        None if checkpoint is None else checkpoint.model_hash,
        factor,
        convert_reason(one.compared_with),
    )


def _certain(one: FaultFinding, ids: Mapping[str, int], budget: float) -> AnomalyRow:
    """A check either finds a fault or does not: score 1 at threshold 1."""
    return AnomalyRow(
        ids[one.station],
        from_epoch_s(one.at_s),
        CHECK_OF[one.kind],
        1.0,
        1.0,
        budget,
        one.kind,
        alerted=True,
        compared_with=convert_reason(compared_with(CHECK_OF[one.kind], one.kind)),
    )
