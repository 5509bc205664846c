"""Train the networks and autoencoders a site asks for, when there is none yet or the last one is a week old."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from forecasting.registry import NETWORKS
from monitor import compute
from monitor.config import ServiceConfig
from monitor.domain.instants import epoch_s, spell
from monitor.domain.site import Site
from monitor.jobs.anomaly import NEEDS_CHECKPOINT, slowest_interval_s
from monitor.jobs.samples import history_since, load_displacements, panel_payload, step_s
from monitor.store.engine import Database
from monitor.store.models import add_model, find_active

MAXIMUM_AGE = timedelta(days=7)
HISTORY_STEPS = 2000
SEED = 7


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Train what is missing or old; returns one line with what was trained or why not."""
    wanted = [("forecast", m) for m in site.forecast.models if m in NETWORKS]
    wanted += [("anomaly", d) for d in site.anomaly.detectors if d in NEEDS_CHECKPOINT]
    parts = []
    for task, kind in wanted:
        with db.read() as c:
            active = find_active(c, task=task, kind=kind, site=site.id)
        if active is None or now - active.created_at > MAXIMUM_AGE:
            parts.append(f"{kind}: {train_one(db, config, site, task, kind, now)}")
    return "; ".join(parts) or "nothing to train"


def train_one(
    db: Database, config: ServiceConfig, site: Site, task: str, kind: str, now: datetime, seed: int = SEED
) -> str:
    """Train one network or detector in a worker and register it; returns its hash or the reason why not."""
    folder = Path(config.paths.models) / site.id
    folder.mkdir(parents=True, exist_ok=True)
    interval_s = slowest_interval_s(site)
    if interval_s is None:
        return "no displacement series declared"
    with db.read() as c:
        probe = load_displacements(c, site, history_since(now, interval_s, HISTORY_STEPS), now)
        step = step_s(probe, min(site.forecast.horizons_s)) if probe else interval_s
        if task == "anomaly":
            step = interval_s
        samples = load_displacements(c, site, history_since(now, step, HISTORY_STEPS), now)
    if not samples:
        return "no readings"
    common: dict[str, Any] = {"folder": str(folder), "seed": seed, "created_at": spell(now)}
    if task == "forecast":
        job = "monitor.jobs.in_worker:train_forecaster"
        payload = panel_payload(site, samples, step) | common
        payload |= {"model": kind, "horizons_s": list(site.forecast.horizons_s), "issue_s": epoch_s(now)}
        payload["time_limit_s"] = config.compute.job_limit_s * 0.8
    else:
        job = "monitor.jobs.in_worker:train_detector"
        payload = common | {
            "samples": {s.label: s.payload() for s in samples}, "step_s": step, "detector": kind,
            "budget_per_sensor_month": site.anomaly.budget_per_sensor_month / len(site.anomaly.detectors),
        }  # fmt: skip
    answer = compute.run(job, payload, config.compute.job_limit_s, dask=config.compute.dask)
    if "refused" in answer:
        return str(answer["refused"])
    path = answer.get("path") or str(folder / f"{answer['model_hash']}.safetensors")
    with db.write() as c:
        add_model(
            c, answer["model_hash"], kind=kind, task=task, site=site.id, path=path, card=answer["card"], now=now,
            reason="first training" if task == "forecast" else f"trained on {len(samples)} series",
        )  # fmt: skip
    return str(answer["model_hash"])[:12]
