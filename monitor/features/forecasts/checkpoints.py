"""Training of networks in a worker, for the present and for tests on the past."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from forecasting.serving.records import TrainingRequest
from monitor.api.models import TrainingResult
from monitor.api.queries.models import SEED, make_folder
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import format_iso
from monitor.api.worker import list_checkpoint, run_in_worker
from monitor.features.forecasts.tasks import TRAIN_FORECASTER, NetworkTrainingRequest, SiteRecord


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
    gives_way: bool = False,
) -> TrainingResult:
    """Train one network on a record in a worker, or say why not; it begins from `start` where there is one."""
    folder = make_folder(config, site)
    reads = list_checkpoint(None if start is None else str(start))
    training = TrainingRequest(
        kind,
        horizons_s,
        folder,
        seed,
        time_limit_s=config.compute.job_limit_s * 0.8,
        created_at=format_iso(now),
        start=start,
        own_start=site.forecast.start_from == site.id,
    )
    return run_in_worker(
        config.compute,
        TRAIN_FORECASTER,
        NetworkTrainingRequest(record, training, tuple(replay)),
        reads=reads,
        writes=(folder,),
        gives_way=gives_way,
    )
