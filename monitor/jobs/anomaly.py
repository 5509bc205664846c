"""Score the newest epochs of a site with every detector of its plan; scores are stored, advice is the ladder's work."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.detector import start_without_history
from detection.anomaly.records import Finding, Score, Scores, Scoring
from detection.anomaly.registry import CARRIED_OVER, COMPOSITES, FANS, compared_with
from detection.anomaly.registry import CHECKS as CERTAIN
from detection.anomaly.running.state import RUNNING
from monitor.config.service import ServiceConfig
from monitor.domain.instants import epoch_s, from_epoch_s, spell_about
from monitor.domain.site import AnomalyPlan, Site
from monitor.errors import JobError
from monitor.jobs.anomaly_budget import correct
from monitor.jobs.anomaly_fan import score_fans
from monitor.jobs.anomaly_state import HISTORY_STEPS, forget, score_new
from monitor.jobs.samples import Samples, load_displacements
from monitor.jobs.worker import list_models, run_in_worker
from monitor.store.database.engine import Database
from monitor.store.models.anomalies import AnomalyRow, add_anomalies, latest_scored_at
from monitor.store.models.anomaly_budget import load_factors
from monitor.store.models.registry import ModelRow, find_active
from monitor.worker.records import Task

SCORE: Final = Task("detection.anomaly.jobs:score", Scoring, Scores)
# faults that are certain, not scored: they are kept under the name of their check
CHECK_OF = {kind: check for check, kind in CERTAIN.items()}
FIRST_RUN_STEPS = 60  # epochs scored when a detector has never run on the site


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what is new since the last run; returns one line that says what was done.

    Rules and checks look at new readings alone and run here; other detectors see the whole window in a worker.
    """
    plan = site.anomaly
    step = site.slowest_motion_s
    if step is None:
        return "no displacement series declared"
    parts, failed = correct(db, site, now), False
    with db.read() as c:
        active = {d: _find_fit(c, site, d, step) for d in plan.detectors}
        factors = load_factors(c, site)
    done = _score_here(db, site, step, active, factors, now)
    if done is None:
        return "no readings"
    samples: list[Samples] = []
    for detector in plan.detectors:
        if detector in FANS:
            with db.read() as c:
                rows = score_fans(c, site, detector, budget_of_each(plan), factors.get(detector, 1.0), now)
            with db.write() as c:
                parts.append(f"{detector}: {_describe(add_anomalies(c, rows, now), rows)}")
            continue
        checkpoint = active[detector]
        if checkpoint is None and needs_training(detector):
            parts.append(f"{detector}: not trained yet; `slopeward anomalies train --site {site.id}` says why")
            continue
        if detector not in done:
            try:
                samples = samples or _load_window(db, site, step, now)
                rows = _score_in_worker(db, config, site, detector, checkpoint, factors, samples, now)
            except JobError as error:  # the detectors after it still have their turn
                failed = True
                parts.append(f"{detector}: {error}")
                continue
            with db.write() as c:
                done[detector] = _describe(add_anomalies(c, rows, now), rows)
        parts.append(f"{detector}: {done[detector]}")
    if failed:
        raise JobError("; ".join(parts))
    return "; ".join(parts)


def _find_fit(c: Connection, site: Site, detector: str, step_s: float) -> ModelRow | None:
    """The checkpoint that serves, unless it does not fit what the site file asks for."""
    found = find_active(c, task="anomaly", kind=detector, site=site.id)
    return None if found is None or why_stale(found, site.anomaly, step_s) is not None else found


def _score_here(
    db: Database, site: Site, step_s: float, active: Mapping[str, ModelRow | None], factors: Mapping[str, float],
    now: datetime,
) -> dict[str, str] | None:  # fmt: skip
    """What the detectors that have a running state and the checks found and stored; None where there is no reading.

    A certain fault is kept whether or not the plan names its check.
    """
    wanted = {d: _thresholds(d, checkpoint, step_s) for d, checkpoint in active.items() if d in RUNNING}

    def since(c: Connection) -> datetime:
        return min(_find_since(c, site, d, step_s, now) for d in wanted or ("",))

    shown_above = {d: None if site.anomalies_vote else factors.get(d, 1.0) for d in wanted}
    found = score_new(db, site, step_s, wanted, shown_above, since, now)
    if found is None:
        return None
    ids, budget = found.series_ids, budget_of_each(site.anomaly)
    rows = {
        d: [_row(one, ids, d, budget, active[d], factors.get(d, 1.0)) for one in scores]
        for d, scores in found.scores.items()
    }
    for check, kind in CERTAIN.items():
        rows[check] = [_certain(fault, ids, budget) for fault in found.findings if fault.kind == kind]
    try:
        with db.write() as c:
            return {d: _describe(add_anomalies(c, ones, now), ones) for d, ones in rows.items()}
    except BaseException:
        forget(db, site.id)  # what it took for stored is not
        raise


def _describe(added: int, rows: Sequence[AnomalyRow]) -> str:
    return f"{added} scores, {sum(r.alerted for r in rows)} over the threshold"


def _thresholds(detector: str, checkpoint: ModelRow | None, step_s: float) -> dict[str, float]:
    if checkpoint is not None:
        return {part: float(t["value"]) for part, t in checkpoint.card["thresholds"].items()}
    return {part: t.value for part, t in start_without_history(detector, step_s).thresholds.items()}


def _find_since(c: Connection, site: Site, detector: str, step_s: float, now: datetime) -> datetime:
    """Readings after it are new to a detector."""
    return latest_scored_at(c, site.id, detector) or now - timedelta(seconds=FIRST_RUN_STEPS * step_s)


def _load_window(db: Database, site: Site, step_s: float, now: datetime) -> list[Samples]:
    with db.read() as c:
        return load_displacements(c, site, now - timedelta(seconds=HISTORY_STEPS * step_s), now)


def _score_in_worker(
    db: Database, config: ServiceConfig, site: Site, detector: str, checkpoint: ModelRow | None,
    factors: Mapping[str, float], samples: Sequence[Samples], now: datetime,
) -> list[AnomalyRow]:  # fmt: skip
    step_s = site.slowest_motion_s
    assert step_s is not None
    with db.read() as c:
        since = _find_since(c, site, detector, step_s, now)
    path = None if checkpoint is None else checkpoint.path
    asked = Scoring(detector, {s.label: s.timed for s in samples}, step_s, path, epoch_s(since))
    answer = run_in_worker(config.compute, SCORE, asked, reads=list_models(config.paths.models, site.id, [path]))
    ids = {s.label: s.series_id for s in samples}
    if strange := {s.station for s in answer.scores} - set(ids):
        raise JobError(
            f"{detector}: the answer of the worker names {min(strange)[:60]!r}, which is no part of the question"
        )
    budget, factor = budget_of_each(site.anomaly), factors.get(detector, 1.0)
    return [_row(one, ids, detector, budget, checkpoint, factor) for one in answer.scores]


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
        return f"it was trained at {spell_about(trained_s)}, the series come every {spell_about(step_s)}"
    if not set(checkpoint.card["thresholds"]) <= {checkpoint.kind, *COMPOSITES.get(checkpoint.kind, ())}:
        return "its parts are those of an earlier version"
    if not math.isclose(budget, budget_of_each(plan), rel_tol=1e-9):
        now = f"{budget_of_each(plan):g} false alarms per sensor-month"
        return f"its budget was {budget:g} false alarms per sensor-month, now it is {now}"
    return None


def _row(
    one: Score, ids: Mapping[str, int], detector: str, budget: float, checkpoint: ModelRow | None, factor: float
) -> AnomalyRow:
    """A score beside its threshold: the counted one, times the factor that labels put on it.

    What is above it and not alerted is held back as an echo of what was reported.
    """
    threshold = one.threshold * factor
    return AnomalyRow(
        ids[one.station], from_epoch_s(one.at_s), detector, one.score, threshold, budget, one.kind,
        one.alerted and one.score > threshold, None if checkpoint is None else checkpoint.model_hash, factor,
        one.compared_with,
    )  # fmt: skip


def _certain(one: Finding, ids: Mapping[str, int], budget: float) -> AnomalyRow:
    """A check either finds a fault or does not: score 1 at threshold 1."""
    return AnomalyRow(
        ids[one.station], from_epoch_s(one.at_s), CHECK_OF[one.kind], 1.0, 1.0, budget, one.kind, alerted=True,
        compared_with=compared_with(CHECK_OF[one.kind], one.kind),
    )  # fmt: skip
