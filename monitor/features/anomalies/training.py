"""Training of the detectors of a site: counting their thresholds on its record, and fitting networks."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.records import DetectorTraining
from detection.anomaly.registry import list_detectors
from forecasting.registry import TRAINING_ROWS
from monitor.api.database import Database
from monitor.api.extras import describe_missing, is_installed
from monitor.api.models import TrainingResult
from monitor.api.queries.models import (
    MAXIMUM_AGE,
    TrainingOrder,
    TrainingOutcome,
    find_active,
    find_history_start,
    keep_checkpoint,
    make_folder,
    needs_torch,
)
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import start_clock
from monitor.api.worker import WorkerTask, run_in_worker
from monitor.features.anomalies.budgets import find_budget_of_each
from monitor.features.anomalies.proof import is_untested, store_test
from monitor.features.anomalies.samples import load_record
from monitor.features.anomalies.serving import explain_mismatch

TRAIN_DETECTOR: Final = WorkerTask("monitor.features.anomalies.worker:train_detector", DetectorTraining, TrainingResult)


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Train detectors that are missing, old or no longer match the site file.

    Return one line that names what was trained, or why it was not.
    """
    clock = start_clock(now)
    wanted, lines = _list_trainings(config, site)
    for detector in wanted:
        with db.read() as c:
            reason = _find_reason(c, site, detector, now)
        if reason is not None:
            outcome = train_detector(db, config, site, TrainingOrder(detector, reason=reason), now, clock=clock)
            lines.append(f"{detector}: {outcome.line}")
    return "; ".join(lines) or "nothing to train"


def _list_trainings(config: ServiceConfig, site: Site) -> tuple[list[str], list[str]]:
    """Return the detectors that can be trained here, and a line about those that cannot."""
    wanted = [detector for detector in site.anomaly.detectors if detector in list_detectors()]
    if config.compute.dask or is_installed("torch"):
        return wanted, []
    left_out = [detector for detector in wanted if needs_torch(detector)]
    lines = [f"{', '.join(left_out)}: {describe_missing('torch')}"] if left_out else []
    return [detector for detector in wanted if not needs_torch(detector)], lines


def _find_reason(c: Connection, site: Site, detector: str, now: datetime) -> str | None:
    """Return why a detector has to be trained now. None if its checkpoint fits and is recent."""
    active = find_active(c, task="anomaly", kind=detector, site=site.id)
    if active is None:
        return "first training"
    if now - active.created_at > MAXIMUM_AGE:
        return f"the one before it is {(now - active.created_at).days} days old"
    if is_untested(c, site, detector, now):
        return "no test of the active checkpoint is stored, and anomalies count for the level here"
    return explain_mismatch(active, site.anomaly, site.watched_step_s or 0.0)


def train_detector(
    db: Database,
    config: ServiceConfig,
    site: Site,
    order: TrainingOrder,
    now: datetime,
    *,
    clock: Callable[[], datetime] | None = None,
) -> TrainingOutcome:
    """Train one detector in a worker and register its checkpoint.

    The training uses readings that were known at `now`. The checkpoint counts from the instant at which it is written.
    """
    clock = clock or start_clock(now)
    if not site.modelled_motion_series:
        return TrainingOutcome("no displacement series declared")
    step_s = site.watched_step_s or 0.0
    record = db.run_read(load_record, site, order.kind, find_history_start(now, step_s, TRAINING_ROWS), now)
    if not record.series:
        return TrainingOutcome("no readings")
    folder = make_folder(config, site)
    request = DetectorTraining(
        detector=order.kind,
        samples=record.samples,
        step_s=step_s,
        folder=folder,
        budget_per_sensor_month=find_budget_of_each(site.anomaly),
        seed=order.seed,
        rain=record.rain,
    )
    result = run_in_worker(config.compute, TRAIN_DETECTOR, request, writes=(folder,))
    if result.refused:
        return TrainingOutcome(result.refused)
    made_by = f"slopeward anomalies train {site.id}"
    with db.write() as c:
        known_at = clock()
        reason = f"trained on {len(record.series)} series"
        keep_checkpoint(c, site, "anomaly", order.kind, result, known_at, reason, order.actor)
        store_test(c, site, result.card, result.model_hash, made_by, order.actor, known_at)
    return TrainingOutcome(result.model_hash[:12], True)
