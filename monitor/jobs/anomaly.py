"""Score the newest epochs of a site with every detector of its plan; scores are stored, advice is the ladder's work."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from detection.anomaly.records import Finding, Score, Scores, Scoring
from detection.anomaly.registry import CARRIED_OVER, COMPOSITES
from detection.anomaly.registry import CHECKS as CERTAIN
from monitor.config.service import ServiceConfig
from monitor.domain.instants import epoch_s, from_epoch_s
from monitor.domain.site import AnomalyPlan, Site
from monitor.errors import JobError
from monitor.jobs.samples import Samples, load_displacements
from monitor.jobs.worker import list_models, run_in_worker
from monitor.store.database.engine import Database
from monitor.store.models.anomalies import AnomalyRow, add_anomalies, latest_scored_at
from monitor.store.models.registry import ModelRow, find_active
from monitor.worker.records import Task

SCORE: Final = Task("detection.anomaly.jobs:score", Scoring, Scores)
HISTORY_STEPS = 2500  # a week for the median and ninety days for its scale, hourly
# faults that are certain, not scored: they are kept under the name of their check
CHECK_OF = {kind: check for check, kind in CERTAIN.items()}
FIRST_RUN_STEPS = 60  # epochs scored when a detector has never run on the site


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what is new since the last run; returns one line that says what was done."""
    plan = site.anomaly
    step = slowest_interval_s(site)
    if step is None:
        return "no displacement series declared"
    with db.read() as c:
        samples = load_displacements(c, site, now - timedelta(seconds=HISTORY_STEPS * step), now)
        last = {d: latest_scored_at(c, site.id, d) for d in plan.detectors}
        active = {d: find_active(c, task="anomaly", kind=d, site=site.id) for d in plan.detectors}
    if not samples:
        return "no readings"
    parts, failed = [], False
    for detector in plan.detectors:
        checkpoint = active[detector]
        if checkpoint is not None and why_stale(checkpoint, plan, step) is not None:
            checkpoint = None
        if checkpoint is None and needs_training(detector):
            parts.append(f"{detector}: not trained yet; `slopeward anomalies train --site {site.id}` says why")
            continue
        since = last[detector] or now - timedelta(seconds=FIRST_RUN_STEPS * step)
        path = None if checkpoint is None else checkpoint.path
        asked = Scoring(detector, {s.label: s.timed for s in samples}, step, path, epoch_s(since))
        try:
            files = list_models(config.paths.models, site.id, [path])
            answer = run_in_worker(config.compute, SCORE, asked, reads=files)
        except JobError as error:  # the detectors after it still have their turn
            failed = True
            parts.append(f"{detector}: {error}")
            continue
        rows = _read_rows(answer, samples, detector, budget_of_each(plan), checkpoint)
        with db.write() as c:
            added = add_anomalies(c, rows, now)
        parts.append(f"{detector}: {added} scores, {sum(r.alerted for r in rows)} over the threshold")
    if failed:
        raise JobError("; ".join(parts))
    return "; ".join(parts)


def needs_training(detector: str) -> bool:
    """True for a detector that cannot score before its threshold was counted on the site's own record."""
    return detector not in CARRIED_OVER and detector not in CERTAIN


def budget_of_each(plan: AnomalyPlan) -> float:
    """False alarms per sensor-month that each detector of a plan may spend; checks spend none."""
    return plan.budget_per_sensor_month / max(1, sum(d not in CERTAIN for d in plan.detectors))


def why_stale(checkpoint: ModelRow, plan: AnomalyPlan, step_s: float) -> str | None:
    """Why a checkpoint does not fit what the site file asks for now; None where it does."""
    trained_s, budget = float(checkpoint.card["step_s"]), float(checkpoint.card["budget_per_sensor_month"])
    if trained_s != step_s:
        return f"it was trained at {trained_s:g} s, the series come every {step_s:g} s"
    if not set(checkpoint.card["thresholds"]) <= {checkpoint.kind, *COMPOSITES.get(checkpoint.kind, ())}:
        return "its parts are those of an earlier version"
    if not math.isclose(budget, budget_of_each(plan), rel_tol=1e-9):
        now = f"{budget_of_each(plan):g} false alarms per sensor-month"
        return f"its budget was {budget:g} false alarms per sensor-month, now it is {now}"
    return None


def slowest_interval_s(site: Site) -> float | None:
    """The slowest declared interval of the site's displacement series: the detectors' common step."""
    intervals = [
        spec.interval_s
        for station in site.stations
        for spec in station.series
        if spec.quantity.startswith(("displacement", "crack"))
    ]
    return max(intervals, default=None)


def _read_rows(
    answer: Scores, samples: Sequence[Samples], detector: str, budget: float, checkpoint: ModelRow | None
) -> list[AnomalyRow]:
    """What a worker answered as rows; certain faults are kept under the name of their check."""
    by_label = {s.label: s for s in samples}
    if strange := {*(s.station for s in answer.scores), *(f.station for f in answer.findings)} - set(by_label):
        raise JobError(
            f"{detector}: the answer of the worker names {min(strange)[:60]!r}, which is no part of the question"
        )
    model_hash = None if checkpoint is None else checkpoint.model_hash
    rows = [_row(one, by_label, detector, budget, model_hash) for one in answer.scores]
    return rows + [_certain(one, by_label, budget) for one in answer.findings if one.kind in CHECK_OF]


def _row(one: Score, by_label: dict[str, Samples], detector: str, budget: float, model_hash: str | None) -> AnomalyRow:
    return AnomalyRow(
        by_label[one.station].series_id, from_epoch_s(one.at_s), detector, one.score,
        one.threshold, budget, one.kind, one.alerted, model_hash,
    )  # fmt: skip


def _certain(one: Finding, by_label: dict[str, Samples], budget: float) -> AnomalyRow:
    """A check either finds a fault or does not: score 1 at threshold 1."""
    return AnomalyRow(
        by_label[one.station].series_id, from_epoch_s(one.at_s), CHECK_OF[one.kind], 1.0, 1.0, budget,
        one.kind, alerted=True,
    )  # fmt: skip
