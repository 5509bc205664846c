"""Score the newest epochs of a site with every detector of its plan; scores are stored, advice is the ladder's work."""

from datetime import datetime, timedelta
from typing import Any

from monitor import compute
from monitor.config import ServiceConfig
from monitor.domain.instants import epoch_s, from_epoch_s
from monitor.domain.site import Site
from monitor.jobs.samples import Samples, load_displacements
from monitor.store.anomalies import AnomalyRow, add_anomalies, latest_scored_at
from monitor.store.engine import Database
from monitor.store.models import find_active

NEEDS_CHECKPOINT = frozenset({"ae", "lstm-ae"})
HISTORY_STEPS = 2500  # a week for the median and ninety days for its scale, hourly
# faults that are certain, not scored: they are kept under the name of their check
CHECKS = {"stuck": "flatline", "replay": "replay"}
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
    by_label = {s.label: s for s in samples}
    parts = []
    for detector in plan.detectors:
        checkpoint = active[detector]
        if detector in NEEDS_CHECKPOINT and checkpoint is None:
            parts.append(f"{detector}: not trained yet")
            continue
        since = last[detector] or now - timedelta(seconds=FIRST_RUN_STEPS * step)
        payload = {
            "samples": {s.label: s.payload() for s in samples},
            "step_s": step,
            "detector": detector,
            "checkpoint": None if checkpoint is None else checkpoint.path,
            "since_s": epoch_s(since),
            "budget_per_sensor_month": plan.budget_per_sensor_month / len(plan.detectors),
        }
        answer = compute.run(
            "detection.anomaly.lane:score", payload, config.compute.job_limit_s, dask=config.compute.dask
        )
        model_hash = None if checkpoint is None else checkpoint.model_hash
        budget = plan.budget_per_sensor_month / len(plan.detectors)
        rows = [_row(one, by_label, detector, budget, model_hash) for one in answer["scores"]]
        rows += [_certain(one, by_label, budget) for one in answer["findings"] if one["kind"] in CHECKS]
        with db.write() as c:
            added = add_anomalies(c, rows, now)
        parts.append(f"{detector}: {added} scores, {sum(r.alerted for r in rows)} over the threshold")
    return "; ".join(parts)


def slowest_interval_s(site: Site) -> float | None:
    """The slowest declared interval of the site's displacement series: the detectors' common step."""
    intervals = [
        spec.interval_s
        for station in site.stations
        for spec in station.series
        if spec.quantity.startswith(("displacement", "crack"))
    ]
    return max(intervals, default=None)


def _row(
    one: dict[str, Any], by_label: dict[str, Samples], detector: str, budget: float, model_hash: str | None
) -> AnomalyRow:
    return AnomalyRow(
        by_label[one["station"]].series_id, from_epoch_s(one["at_s"]), detector, float(one["score"]),
        float(one["threshold"]), budget, one["kind"], bool(one["alerted"]), model_hash,
    )  # fmt: skip


def _certain(one: dict[str, Any], by_label: dict[str, Samples], budget: float) -> AnomalyRow:
    """A check either finds a fault or does not: score 1 at threshold 1."""
    return AnomalyRow(
        by_label[one["station"]].series_id, from_epoch_s(one["at_s"]), CHECKS[one["kind"]], 1.0, 1.0, budget,
        one["kind"], alerted=True,
    )  # fmt: skip
