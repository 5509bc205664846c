"""Checkpoints of networks: those that issue forecasts, and the training of new ones in a worker."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from forecasting.registry import is_network
from forecasting.serving.records import TrainingRequest
from monitor.api.database import SERVICE_ACTOR
from monitor.api.models import TrainingResult
from monitor.api.queries.models import SEED, ModelRow, load_models, make_folder, retire_replaced
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import format_iso
from monitor.api.worker import list_checkpoint_files, run_in_worker
from monitor.features.forecasts.tasks import TRAIN_FORECASTER, NetworkTrainingRequest, SiteRecord


def load_checkpoints(c: Connection, site: Site) -> list[ModelRow]:
    """Return the active checkpoints of the networks that a site asks for, oldest first."""
    kinds = [model for model in site.forecast.models if is_network(model)]
    rows = load_models(c, task="forecast", site=site.id, kinds=kinds)
    return [row for row in reversed(rows) if row.state == "active"]


def read_training_settings(checkpoint: ModelRow) -> Mapping[str, float]:
    """Return the settings with which a checkpoint was trained, other than the usual ones."""
    settings: Mapping[str, float] = checkpoint.card.get("training", {}).get("settings", {})
    return settings


def retire_older(c: Connection, checkpoints: Sequence[ModelRow], newer: ModelRow, now: datetime) -> None:
    """Retire the checkpoints that a newer one replaces: older ones of the same network and series."""
    for row in checkpoints:
        if row.has_same_use(newer) and row.created_at <= newer.created_at:
            retire_replaced(c, row, newer, SERVICE_ACTOR, now)


def train_network(
    config: ServiceConfig,
    site: Site,
    kind: str,
    horizons_s: tuple[float, ...],
    record: SiteRecord,
    now: datetime,
    seed: int = SEED,
    *,
    start: Path | None = None,
    replay: Sequence[SiteRecord] = (),
    settings: Mapping[str, float] | None = None,
    is_low_priority: bool = False,
) -> TrainingResult:
    """Train one network on a record in a worker, or return the reason of the refusal.

    The training continues from `start` if there is one. `settings` replaces usual settings of the training.
    """
    folder = make_folder(config, site)
    reads = list_checkpoint_files(None if start is None else str(start))
    training = TrainingRequest(
        kind,
        horizons_s,
        folder,
        seed,
        time_limit_s=config.compute.job_limit_s * 0.8,
        created_at=format_iso(now),
        start=start,
        own_start=site.forecast.start_from == site.id,
        settings=settings or {},
    )
    return run_in_worker(
        config.compute,
        TRAIN_FORECASTER,
        NetworkTrainingRequest(record, training, tuple(replay)),
        reads=reads,
        writes=(folder,),
        is_low_priority=is_low_priority,
    )
