"""Scores the past of a site at once: what its models would have forecast, had the service been running then.

Each network is trained on the older part of the record, as if it ended there, and issued with the simple forecasts over
what came after, at issues spread over it. No row knows what came after its issue. Rows are marked `hindcast`: they tell
how good a model is on the day it starts, and give its networks a share in `auto` from the first day on. Nothing shows
them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from forecasting.registry import is_network
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.queries.models import change_state, find_model, keep_checkpoint
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Template, Timestamp, epoch_s, format_iso, from_epoch_s
from monitor.api.worker import list_models, refuse_unrequested, run_in_worker
from monitor.features.forecasts.checkpoints import load_checkpoints, train_network
from monitor.features.forecasts.issue import name_models, to_row
from monitor.features.forecasts.queries import forecasts
from monitor.features.forecasts.read_site import PanelRead, read_site
from monitor.features.forecasts.score import score_targets
from monitor.features.forecasts.tasks import (
    HINDCAST_SITE,
    HindcastRequest,
    ModelRequest,
    SiteForecastRequest,
    SiteRecord,
    cut_record,
)

_NO_PAST: Final = "no past to score: no series has readings enough up to now"
SHARE: Final = 0.25  # of a record: the newest part, which is forecast from what came before it
ISSUES: Final = 60  # spread over that part
MOST_ROWS: Final = 20_000  # of one hindcast; a site of very many series gets fewer issues, or none
FEWEST_ISSUES: Final = 10
GROWTH: Final = 2.0
"""Of a record since its past was scored, until it is again; what is scored then came after all that was."""
_PAST: Final = Template("model.past", "trained on the record until {at} to score what came after; it is never shown")


def run_hindcast(db: Database, config: ServiceConfig, site: Site, now: datetime, *, gives_way: bool = False) -> str:
    """Score the past with every model whose past has not been scored yet, or that of half the record; returns one line.

    The cost is one training of each network on three quarters of the record, and one pass over the rest, each time
    that the record has doubled. One that `gives_way` lets all other work of the machine come first.
    """
    with db.read() as c:
        checkpoints = load_checkpoints(c, site)
        found = read_site(c, site, now, site.forecast.models)
        done = [forecasts.load_hindcasts(c, [s.series_id for s in one.samples]) for one in found]
    panels, lines = [one.panel for one in found], list[str]()
    simple = _list_simple(site)
    for one, newest in zip(found, done, strict=True):
        kinds = dict.fromkeys(row.kind for row in checkpoints if one.panel.may_use(row, panels))
        if one.record is None:
            continue
        half_s = one.record.begin_s + (one.record.end_s - one.record.begin_s) / GROWTH
        known = {model for model, at in newest.items() if epoch_s(at) > half_s}
        left = [kind for kind in kinds if kind not in known]
        if left or {*simple} - known:
            lines += _score_past(db, config, site, one, one.record, left, now, gives_way=gives_way)
    if not lines:
        if not any(one.samples for one in found):
            return _NO_PAST
        score_targets(db, site, now, hindcast=True)  # of a run that was killed behind its forecasts, or goes on still
        return "the past is scored already"
    return "; ".join([*lines, score_targets(db, site, now, hindcast=True)])


def _list_simple(site: Site) -> list[str]:
    return [m for m in name_models(site) if not is_network(m)]


def _score_past(
    db: Database,
    config: ServiceConfig,
    site: Site,
    found: PanelRead,
    record: SiteRecord,
    kinds: Sequence[str],
    now: datetime,
    *,
    gives_way: bool,
) -> list[str]:
    cut_s = record.end_s - SHARE * (record.end_s - record.begin_s)
    models, lines = [ModelRequest(m, m) for m in _list_simple(site)], list[str]()
    horizons_s = found.panel.cadence.horizons_s
    for kind in kinds:
        made = train_network(config, site, kind, horizons_s, cut_record(record, cut_s), now, gives_way=gives_way)
        if made.refused:
            lines.append(f"{kind}: no past of it to score: {made.refused}")
            continue
        reason = _PAST(at=Timestamp(cut_s, "day"))
        with db.write() as c:
            if keep_checkpoint(c, site, "forecast", kind, made, now, reason):
                change_state(c, find_model(c, made.model_hash), "retired", reason, SERVICE_ACTOR, now)
        models.append(ModelRequest(kind, kind, made.path))
    issues = min(ISSUES, MOST_ROWS // (len(models) * len(found.samples) * len(horizons_s)))
    if issues < FEWEST_ISSUES:
        return [*lines, "too many series to score their past"]
    question = HindcastRequest(SiteForecastRequest(record, horizons_s, tuple(models), {}), cut_s, issues)
    by_label = {s.label: s for s in found.samples}
    files = list_models(config.paths.models, site.id, (one.checkpoint for one in models))
    answer = run_in_worker(config.compute, HINDCAST_SITE, question, reads=files)
    refuse_unrequested((row.station for row in answer.rows), by_label)
    rows = [
        to_row(
            one,
            by_label[one.station],
            from_epoch_s(one.issued_s),
            now,
            None,
            hindcast=True,
        )
        for one in answer.rows
        if one.target_s <= record.end_s
    ]
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
    return [*lines, f"{added} forecasts of the past from {format_iso(from_epoch_s(cut_s))[:10]} on"]
