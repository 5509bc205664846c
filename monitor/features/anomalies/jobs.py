"""Score the new readings of a site with each detector of its plan and with the checks, and store the results.

Scores do not notify anybody. The evaluation reads them as advice, or as votes if the site file has such a criterion.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.detector import start_without_history
from detection.anomaly.records import FaultFinding, ReadingScore, Scores, ScoringRequest
from detection.anomaly.registry import CARRIED_OVER_THRESHOLDS, CHECKS, describe_comparison
from detection.anomaly.running.state import INCREMENTAL_DETECTORS
from detection.reasons import Explanation
from monitor.api.database import Database
from monitor.api.errors import JobError
from monitor.api.queries.alerts import find_state, load_newest
from monitor.api.queries.ingest import GAPS_PER_TRANSACTION, GapCandidate, add_gaps, fill_gaps, find_filled
from monitor.api.queries.models import ModelRow
from monitor.api.queries.readings import in_chunks, load_ids, load_later_entries
from monitor.api.settings import ServiceConfig
from monitor.api.sites import MOTION_GROUP, SeriesGroup, Site, list_groups, number_declared_series
from monitor.api.text import Figure, Template, convert_reason, epoch_s, from_epoch_s
from monitor.api.worker import WorkerTask, list_model_paths, reject_unrequested, run_in_worker
from monitor.features.anomalies.budgets import correct_thresholds, find_budget_of_each
from monitor.features.anomalies.queries.budget import load_factors
from monitor.features.anomalies.queries.labels import load_dismissed
from monitor.features.anomalies.queries.scores import ECHO, AnomalyRow, add_anomalies, load_newest_scored
from monitor.features.anomalies.samples import DetectorRecord, load_record
from monitor.features.anomalies.serving import find_fitting
from monitor.features.anomalies.state import (
    HISTORY_STEPS,
    MAX_STATE_STEPS,
    DetectionRequest,
    DetectionResult,
    find_groups,
    forget,
    forget_others,
    score_new,
)

SCORE: Final = WorkerTask("detection.anomaly.jobs:score", ScoringRequest, Scores)
# The check that finds each kind of fault. Faults are stored under the name of their check.
CHECK_OF: Final = {kind: check for check, kind in CHECKS.items()}
# Series of several groups that one statement loads together.
SERIES_AT_ONCE: Final = 2000
# Steps before now that are scored when a detector runs on the site for the first time.
FIRST_RUN_STEPS: Final = 60
# If a group has checks only, readings of this time are checked again, because the service may have been stopped.
CHECKED_AGAIN: Final = timedelta(days=7)
# The shortest pause between two runs.
SHORTEST_PAUSE_S: Final = 300.0
LEFT_OUT: Final = "not scored"
_CARRIED: Final = Template("compared.carried", "{past}, at {factor} times the thresholds of displacement")


def find_pause_s(site: Site) -> float:
    """Return the pause between two runs: `anomaly.every`, or less if a series that detectors read sends often.

    A state is too old to continue after `MAX_STATE_STEPS` steps. The run then makes it again from the newest readings,
    and does not score the readings before them. A short pause also bounds the readings that a run holds in memory.
    """
    groups = list_groups(site, number_declared_series(site))
    intervals_s = [watched.spec.interval_s for group in groups for watched in group.series]
    steps_s = MAX_STATE_STEPS / 2 * min(intervals_s, default=site.anomaly.every_s)
    return min(site.anomaly.every_s, max(SHORTEST_PAUSE_S, steps_s))


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score the readings since the last run; return one line about what was done.

    `rules` and the checks process new readings of every quantity in this process. Other detectors process the whole
    window of the motion series in a worker.
    """
    plan = site.anomaly
    with db.read() as c:
        groups = find_groups(db, site, load_ids(c, site.id))
        step_s = next((group.step_s for group in groups if group.name == MOTION_GROUP), None)
        checkpoints = {
            detector: None if step_s is None or detector in CHECKS else find_fitting(c, site, detector, step_s)
            for detector in plan.detectors
        }
        factors = load_factors(c, site)
    forget_others(db, site.id, {group.name for group in groups})
    parts = correct_thresholds(db, site, now)
    outcomes = _score_groups(db, site, groups, checkpoints, factors, now)
    if outcomes is None:
        return "no readings"
    if LEFT_OUT in outcomes:
        parts.append(f"{LEFT_OUT}: {outcomes[LEFT_OUT]}")
    failures: list[JobError] = []
    for detector in plan.detectors:
        checkpoint = checkpoints[detector]
        if detector in outcomes:
            parts.append(f"{detector}: {outcomes[detector]}")
        elif step_s is None:
            parts.append(f"{detector}: no readings of displacement")
        elif checkpoint is None and detector not in CARRIED_OVER_THRESHOLDS:
            parts.append(f"{detector}: not trained yet; `slopeward anomalies train {site.id}` says why")
        else:
            since = now - timedelta(seconds=HISTORY_STEPS * step_s)
            record = db.run_read(load_record, site, detector, since, now)
            try:
                rows = _score_in_worker(db, config, site, detector, checkpoint, factors, record, now)
            except JobError as error:  # the next detectors are still scored
                failures.append(error)
                parts.append(f"{detector}: {error}")
                continue
            with db.write() as c:
                added = add_anomalies(c, rows, now)
            parts.append(f"{detector}: {_describe(added, sum(row.alerted for row in rows))}")
    if failures:
        raise _find_common_class(failures)("; ".join(parts))
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


def _find_common_class(errors: Sequence[JobError]) -> type[JobError]:
    classes = {type(error) for error in errors}
    return classes.pop() if len(classes) == 1 else JobError


def _score_groups(
    db: Database,
    site: Site,
    groups: Sequence[SeriesGroup],
    checkpoints: Mapping[str, ModelRow | None],
    factors: Mapping[str, float],
    now: datetime,
) -> dict[str, str] | None:
    """Score all groups with `INCREMENTAL_DETECTORS` and all checks, and store scores, faults and gaps.

    Faults are stored whether or not the plan names their check.

    Returns:
        A description by detector; None if no group has readings.
    """
    added, over = Counter[str](), Counter[str]()
    has_readings, left_out = False, 0
    with db.read() as c:
        dismissed, entered = load_dismissed(c, site, now - ECHO, now), load_later_entries(c, site.id, now)
        steps = _load_confirmed_steps(c, site, now)
    for batch in _divide(groups):
        # Checkpoints and factors were counted on motion, so they are used for motion only.
        settings = [
            (checkpoints, factors) if group.name == MOTION_GROUP else (dict.fromkeys(checkpoints), {})
            for group in batch
        ]
        requests = [_make_request(site, group, *means, now) for group, means in zip(batch, settings, strict=True)]
        rows: dict[str, list[AnomalyRow]] = {}
        holes: list[GapCandidate] = []
        try:
            results = score_new(db, site, requests, dismissed, entered, steps, now)
            for group, result, means in zip(batch, results, settings, strict=True):
                if result is None:
                    continue
                has_readings = True
                left_out += result.left_out
                for detector, new_rows in _make_rows(site, group, result, *means).items():
                    rows.setdefault(detector, []).extend(new_rows)
                holes += (
                    GapCandidate(hole.series_id, from_epoch_s(begin_s), from_epoch_s(end_s), hole.spec.interval_s)
                    for hole, begin_s, end_s in result.holes
                )
            if any(rows.values()):
                with db.write() as c:
                    for detector, new_rows in rows.items():
                        added[detector] += add_anomalies(c, new_rows, now)
                        over[detector] += sum(row.alerted for row in new_rows)
            for some in in_chunks(holes, GAPS_PER_TRANSACTION):
                db.run_write(add_gaps, some, now)
        except BaseException:
            forget(db, site.id)  # the states assume that their results are stored
            raise
    filled = db.run_read(find_filled, site, now)
    for some in in_chunks(filled, GAPS_PER_TRANSACTION):
        db.run_write(fill_gaps, some, now)
    if not has_readings:
        return None
    detectors = [*(detector for detector in checkpoints if detector in INCREMENTAL_DETECTORS), *CHECKS]
    outcomes = {detector: _describe(added[detector], over[detector]) for detector in detectors}
    if left_out:
        outcomes[LEFT_OUT] = (
            f"{left_out} earlier readings; they were searched for faults that last: stuck, another unit"
        )
    return outcomes


def _divide(groups: Sequence[SeriesGroup]) -> Iterator[list[SeriesGroup]]:
    """Yield batches of groups that are loaded and stored together, which bounds memory and the number of statements."""
    batch: list[SeriesGroup] = []
    for group in groups:
        if batch and sum(len(member.series) for member in (*batch, group)) > SERIES_AT_ONCE:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _make_request(
    site: Site,
    group: SeriesGroup,
    checkpoints: Mapping[str, ModelRow | None],
    factors: Mapping[str, float],
    now: datetime,
) -> DetectionRequest:
    thresholds = _choose_thresholds(group, checkpoints)
    notified_above = {
        detector: None if site.has_voting_anomalies else factors.get(detector, 1.0) for detector in thresholds
    }
    return DetectionRequest(group, thresholds, notified_above, partial(_find_first, group, now))


def _choose_thresholds(group: SeriesGroup, checkpoints: Mapping[str, ModelRow | None]) -> dict[str, dict[str, float]]:
    """Return the thresholds of `INCREMENTAL_DETECTORS` by part, times the factor of the quantity."""
    thresholds = {
        detector: _list_thresholds(detector, checkpoint, group.step_s)
        for detector, checkpoint in checkpoints.items()
        if detector in INCREMENTAL_DETECTORS
    }
    if group.name == MOTION_GROUP:
        return thresholds
    watch = group.watch
    scaled = {
        detector: {part: limit * watch.factor for part, limit in limits.items() if part in watch.parts}
        for detector, limits in thresholds.items()
    }
    return {detector: limits for detector, limits in scaled.items() if limits}


def _list_thresholds(detector: str, checkpoint: ModelRow | None, step_s: float) -> dict[str, float]:
    if checkpoint is not None:
        return {part: float(one["value"]) for part, one in checkpoint.card["thresholds"].items()}
    return {part: one.value for part, one in start_without_history(detector, step_s).thresholds.items()}


def _make_rows(
    site: Site,
    group: SeriesGroup,
    result: DetectionResult,
    checkpoints: Mapping[str, ModelRow | None],
    factors: Mapping[str, float],
) -> dict[str, list[AnomalyRow]]:
    ids, budget = result.series_ids, find_budget_of_each(site.anomaly)
    rows = {
        detector: [
            _make_row(score, ids, detector, budget, checkpoints[detector], factors.get(detector, 1.0))
            for score in scores
        ]
        for detector, scores in result.scores.items()
    }
    if group.name != MOTION_GROUP:
        rows = {detector: [_mark_carried(row, group) for row in some] for detector, some in rows.items()}
    for check, kind in CHECKS.items():
        rows[check] = [_make_fault_row(fault, ids, budget) for fault in result.findings if fault.kind == kind]
    return rows


def _mark_carried(row: AnomalyRow, group: SeriesGroup) -> AnomalyRow:
    """Add to a score the factor on its threshold. A quantity that is no motion has no movement."""
    kind = "unknown" if row.kind == "movement" and not group.watch.moves else row.kind
    if group.watch.factor == 1.0:
        return replace(row, kind=kind)
    return replace(
        row, kind=kind, compared_with=_CARRIED(past=row.compared_with or "", factor=Figure(group.watch.factor))
    )


def _describe(added: int, over: int) -> str:
    return f"{added} scores, {over} over the threshold"


def _find_first(group: SeriesGroup, now: datetime, scored: Sequence[Mapping[int, datetime]]) -> datetime:
    """Return the time after which the readings of a group are new.

    Args:
        scored: For each detector, the newest reading of each series that was scored.
    """
    first = now - timedelta(seconds=FIRST_RUN_STEPS * group.step_s)
    if not scored:
        return min(first, now - CHECKED_AGAIN)
    ids = {series.series_id for series in group.series}
    return min(max((at for i, at in newest.items() if i in ids), default=first) for newest in scored)


def _score_in_worker(
    db: Database,
    config: ServiceConfig,
    site: Site,
    detector: str,
    checkpoint: ModelRow | None,
    factors: Mapping[str, float],
    record: DetectorRecord,
    now: datetime,
) -> list[AnomalyRow]:
    step_s = site.watched_step_s
    assert step_s is not None
    with db.read() as c:
        newest = load_newest_scored(c, site.id, detector)
    since = max(newest.values(), default=None) or now - timedelta(seconds=FIRST_RUN_STEPS * step_s)
    path = None if checkpoint is None else checkpoint.path
    request = ScoringRequest(detector, record.samples, step_s, path, epoch_s(since), record.rain)
    result = run_in_worker(config.compute, SCORE, request, reads=list_model_paths(config.paths.models, site.id, [path]))
    ids = {series.label: series.series_id for series in record.series}
    reject_unrequested((score.station for score in result.scores), ids, f"{detector}: the answer of the worker")
    budget, factor = find_budget_of_each(site.anomaly), factors.get(detector, 1.0)
    return [_make_row(score, ids, detector, budget, checkpoint, factor) for score in result.scores]


def _make_row(
    score: ReadingScore,
    ids: Mapping[str, int],
    detector: str,
    budget: float,
    checkpoint: ModelRow | None,
    factor: float,
) -> AnomalyRow:
    """Return the row of a score. Its threshold is the counted one times the factor from labels.

    A score above its threshold that is not alerted is an echo of an earlier alarm.
    """
    threshold = score.threshold * factor
    return AnomalyRow(
        series_id=ids[score.station],
        at=from_epoch_s(score.at_s),
        detector=detector,
        score=score.score,
        threshold=threshold,
        budget=budget,
        kind=score.kind,
        alerted=score.alerted and score.score > threshold,
        model_hash=None if checkpoint is None else checkpoint.model_hash,
        factor=factor,
        compared_with=_describe_comparison(score.compared_with),
    )


@lru_cache(maxsize=1000)
def _describe_comparison(explanation: Explanation) -> str:
    """Return the text of an explanation, as one object for all rows that share it."""
    return convert_reason(explanation)


def _make_fault_row(fault: FaultFinding, ids: Mapping[str, int], budget: float) -> AnomalyRow:
    """Return the row of a fault that a check found. Score and threshold are 1."""
    check = CHECK_OF[fault.kind]
    return AnomalyRow(
        series_id=ids[fault.station],
        at=from_epoch_s(fault.at_s),
        detector=check,
        score=1.0,
        threshold=1.0,
        budget=budget,
        kind=fault.kind,
        alerted=True,
        compared_with=convert_reason(describe_comparison(check, fault.kind)),
    )
