"""Score the past of a site at once: what its models would have forecast if the service had been running then.

Each network is trained on the older part of the record, as if the record ended there, and takes part in forecasts of
the newer part. No forecast reads a row after its moment of issue. Rows are marked `hindcast`: they show how good the
forecasts of a site are on the day it starts. They are never shown as a forecast.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from forecasting.registry import COMBINED
from forecasting.serving.records import Checkpoint
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.queries.models import change_state, find_model, keep_checkpoint
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Template, Timestamp, epoch_s, format_iso, from_epoch_s
from monitor.api.worker import list_model_paths, reject_unrequested, run_in_worker
from monitor.features.forecasts.checkpoints import load_checkpoints, read_training_settings, train_network
from monitor.features.forecasts.issue import to_row
from monitor.features.forecasts.queries import forecasts
from monitor.features.forecasts.read_site import PanelRead, read_site
from monitor.features.forecasts.score import score_targets
from monitor.features.forecasts.tasks import (
    HINDCAST_PANEL,
    HindcastRequest,
    PanelForecastRequest,
    SiteRecord,
    cut_record,
)

_NO_PAST: Final = "no past to score: no series has enough recent readings"
SHARE: Final = 0.25  # newest share of a record, which is forecast from the readings before
ISSUES: Final = 60  # moments of issue, spread over that share
MOST_ROWS: Final = 20_000  # of one hindcast; a site with very many series gets fewer issues, or none
FEWEST_ISSUES: Final = 10
GROWTH: Final = 2.0  # factor by which a record must grow before its past is scored again
_PAST: Final = Template("model.past", "trained on the record until {at} to score what came after; it is never shown")


def run_hindcast(
    db: Database, config: ServiceConfig, site: Site, now: datetime, *, is_low_priority: bool = False
) -> str:
    """Score the past of each panel whose models have none, or whose record has doubled. Return one line.

    The cost is one training of each network on three quarters of the record, and one pass over the record.

    Args:
        is_low_priority: Let all other work of the machine come first.
    """
    with db.read() as c:
        checkpoints = load_checkpoints(c, site)
        reads = read_site(c, site, now)
        scored = [forecasts.load_hindcasts(c, [samples.series_id for samples in read.samples]) for read in reads]
    panels = [read.panel for read in reads]
    lines: list[str] = []
    for read, newest_by_model in zip(reads, scored, strict=True):
        if read.record is None:
            continue
        half_s = read.record.begin_s + (read.record.end_s - read.record.begin_s) / GROWTH
        current = {model for model, newest_at in newest_by_model.items() if epoch_s(newest_at) > half_s}
        # Of several checkpoints of a network, the newest is the last one.
        networks = {row.kind: read_training_settings(row) for row in checkpoints if read.panel.may_use(row, panels)}
        if {COMBINED, *networks} - current:
            lines += _score_past(db, config, site, read, read.record, networks, now, is_low_priority=is_low_priority)
    if not lines and not any(read.samples for read in reads):
        return _NO_PAST
    # also scores the forecasts of a hindcast that was killed before they were scored
    scores = score_targets(db, site, now, hindcast=True)
    return "; ".join([*lines, scores]) if lines else "the past is scored already"


def _score_past(
    db: Database,
    config: ServiceConfig,
    site: Site,
    read: PanelRead,
    record: SiteRecord,
    networks: Mapping[str, Mapping[str, float]],
    now: datetime,
    *,
    is_low_priority: bool,
) -> list[str]:
    cut_s = record.end_s - SHARE * (record.end_s - record.begin_s)
    horizons_s = read.panel.cadence.horizons_s
    checkpoints: list[Checkpoint] = []
    lines: list[str] = []
    for kind, settings in networks.items():
        trained = train_network(
            config,
            site,
            kind,
            horizons_s,
            cut_record(record, cut_s),
            now,
            settings=settings,
            is_low_priority=is_low_priority,
        )
        if trained.refused:
            lines.append(f"{kind}: its past cannot be scored: {trained.refused}")
            continue
        reason = _PAST(at=Timestamp(cut_s, "day"))
        with db.write() as c:
            if keep_checkpoint(c, site, "forecast", kind, trained, now, reason):
                change_state(c, find_model(c, trained.model_hash), "retired", reason, SERVICE_ACTOR, now)
        checkpoints.append(Checkpoint(kind, trained.model_hash, trained.path))
    models = 3 + len(checkpoints)  # combined, persistence and line
    issues = min(ISSUES, MOST_ROWS // (models * len(read.samples) * len(horizons_s)))
    if issues < FEWEST_ISSUES:
        return [*lines, "too many series to score their past"]
    request = HindcastRequest(PanelForecastRequest(record, horizons_s, tuple(checkpoints)), cut_s, issues)
    samples_by_label = {samples.label: samples for samples in read.samples}
    files = list_model_paths(config.paths.models, site.id, [checkpoint.path for checkpoint in checkpoints])
    answer = run_in_worker(config.compute, HINDCAST_PANEL, request, reads=files)
    reject_unrequested((row.station for row in answer.rows), samples_by_label)
    rows = [
        to_row(row, samples_by_label[row.station], from_epoch_s(row.issued_s), now, None, hindcast=True)
        for row in answer.rows
        if row.target_s <= record.end_s
    ]
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
    return [*lines, f"{added} forecasts of the past from {format_iso(from_epoch_s(cut_s))[:10]} on"]
