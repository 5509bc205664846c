"""Train the networks of a site that are missing or a week old, and score their past."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from forecasting.data.cadence import LIKE, Cadence
from forecasting.data.kinds import describe_drivers, format_span
from forecasting.reasons import reason_from_json
from forecasting.registry import PRETRAINED, TRAINING_ROWS, is_network
from monitor.api.database import Database
from monitor.api.errors import ConfigError, JobError, NotFoundError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.models import TrainingResult
from monitor.api.queries.models import (
    MAXIMUM_AGE,
    ModelRow,
    SitePanel,
    TrainingOrder,
    TrainingOutcome,
    find_history_start,
    keep_checkpoint,
    list_panels,
    load_models,
    load_samples,
    needs_torch,
)
from monitor.api.queries.readings import load_ids
from monitor.api.queries.sites import find_version, load_site_source
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site, parse_site
from monitor.api.text import convert_reason, start_clock
from monitor.features.forecasts.checkpoints import load_checkpoints, read_training_settings, train_network
from monitor.features.forecasts.drivers import Driving
from monitor.features.forecasts.hindcast import run_hindcast
from monitor.features.forecasts.read_site import make_record, read_panel
from monitor.features.forecasts.tasks import SiteRecord


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Train networks that are missing or old. Return one line that names what was trained, or why it was not."""
    clock, trained, panels = start_clock(now), False, db.run_read(_list_panels, site)
    wanted, parts = _list_trainings(config, site, panels)
    for kind, panel in wanted:
        with db.read() as c:
            reason = _why_train(c, site, kind, panel, panels, now)
            settings = _find_settings(c, site, kind, panel, panels)
        if reason is not None:
            order = TrainingOrder(kind, reason=reason, settings=settings)
            result = train_one(db, config, site, order, now, clock=clock, panel=panel)
            parts.append(f"{kind}{_describe_panel(panel, panels)}: {result.line}")
            trained = True
    if trained:
        try:
            parts.append(run_hindcast(db, config, site, clock(), is_low_priority=True))
        except JobError as error:  # what was trained serves all the same
            parts.append(f"the past was not scored: {error}")
    return "; ".join(parts) or "nothing to train"


def _list_trainings(
    config: ServiceConfig, site: Site, panels: Sequence[SitePanel]
) -> tuple[list[tuple[str, SitePanel]], list[str]]:
    networks = [m for m in site.forecast.models if is_network(m)]
    parts = [f"{', '.join(networks)}: no readings"] if networks and not panels else []
    wanted = [(model, panel) for model in networks for panel in panels]
    if config.compute.dask or is_installed("torch"):
        return wanted, parts
    left = [*dict.fromkeys(kind for kind, _ in wanted if needs_torch(kind))]
    parts += [f"{', '.join(left)}: {describe_missing('torch')}"] if left else []
    return [one for one in wanted if not needs_torch(one[0])], parts


def _list_panels(c: Connection, site: Site) -> list[SitePanel]:
    """Return the panels that networks are trained on."""
    return [panel for panel in list_panels(site, load_ids(c, site.id)) if panel.is_motion]


def _describe_panel(panel: SitePanel, panels: Sequence[SitePanel]) -> str:
    return f" every {format_span(panel.cadence.interval_s)}" if len(panels) > 1 else ""


def _why_train(
    c: Connection, site: Site, kind: str, panel: SitePanel, panels: Sequence[SitePanel], now: datetime
) -> str | None:
    """Return why a network is to be trained now; None where the newest is young."""
    newest = _find_newest(c, site, kind, panel, panels)
    if newest is None:
        return "first training"
    age = now - newest.created_at
    if age <= MAXIMUM_AGE:
        return None
    return f"the newest before it is {age.days} days old"


def _find_newest(
    c: Connection, site: Site, kind: str, panel: SitePanel, panels: Sequence[SitePanel]
) -> ModelRow | None:
    mine = [row for row in load_checkpoints(c, site) if row.kind == kind and panel.may_use(row, panels)]
    return max(mine, key=lambda row: row.created_at, default=None)


def _find_settings(
    c: Connection, site: Site, kind: str, panel: SitePanel, panels: Sequence[SitePanel]
) -> Mapping[str, float]:
    """Return the settings of the newest checkpoint, which the next training of the service uses again.

    A network that continues another one has the settings of that one.
    """
    if site.forecast.start_from:
        return {}
    newest = _find_newest(c, site, kind, panel, panels)
    return {} if newest is None else read_training_settings(newest)


def train_one(
    db: Database,
    config: ServiceConfig,
    site: Site,
    order: TrainingOrder,
    now: datetime,
    *,
    clock: Callable[[], datetime] | None = None,
    panel: SitePanel | None = None,
) -> TrainingOutcome:
    """Train one network in a worker and register it.

    It replaces its predecessor when its first forecasts are stored. The training reads readings that were
    received up to `now`; the checkpoint is registered with the time at which it was written. Without a `panel`, a
    network is trained for each panel.
    """
    clock = clock or start_clock(now)
    if not site.modelled_motion_series:
        return TrainingOutcome("no displacement series declared")
    panels = db.run_read(_list_panels, site)
    lines: list[str] = []
    results: list[TrainingResult] = []
    refusals: list[str] = []
    for one in panels if panel is None else [panel]:
        begin = f"{_describe_panel(one, panels).lstrip()}: " if panel is None and len(panels) > 1 else ""
        outcome = _train_forecaster(db, config, site, order, one, now, clock)
        lines.append(begin + outcome.line)
        results += outcome.results
        if not outcome.trained:
            refusals.append(begin + outcome.line)
    return TrainingOutcome("; ".join(lines) or "no readings", bool(results), tuple(results), tuple(refusals))


def _train_forecaster(
    db: Database,
    config: ServiceConfig,
    site: Site,
    order: TrainingOrder,
    panel: SitePanel,
    now: datetime,
    clock: Callable[[], datetime],
) -> TrainingOutcome:
    kind = order.kind
    start, missing = db.run_read(_find_start, site, kind, panel)
    if missing:
        return TrainingOutcome(missing)
    if start is not None and order.settings:
        return TrainingOutcome(
            f"the training continues a network of {site.forecast.start_from}, whose settings are fixed: remove "
            f"start_from from [forecast] of the site file of {site.id}, or train without --settings"
        )
    with db.read() as c:
        record = read_panel(c, site, panel, now, TRAINING_ROWS).record
        replay = list(_read_others(c, site, kind, panel.cadence, now))
    if record is None:
        return TrainingOutcome("no readings")
    answer = train_network(
        config,
        site,
        kind,
        panel.cadence.horizons_s,
        record,
        now,
        order.seed,
        start=start,
        replay=replay,
        settings=order.settings,
    )
    if answer.refused:
        return TrainingOutcome(answer.refused)
    with db.write() as c:
        keep_checkpoint(c, site, "forecast", kind, answer, clock(), order.reason, order.actor)
    return TrainingOutcome(_describe(answer), True, (answer,))


def _describe(answer: TrainingResult) -> str:
    read = answer.card.get("explanation", {}).get("drivers", ())
    begun_from = answer.card.get("training", {}).get("begun_from", "")
    begun = [f"begun {convert_reason(reason_from_json(begun_from))}"] if isinstance(begun_from, Mapping) else []
    parts = [answer.model_hash[:12], *begun]
    return "; ".join([*parts, *([f"reads {describe_drivers(read)}"] if read else [])])


def _find_start(c: Connection, site: Site, kind: str, panel: SitePanel) -> tuple[Path | None, str]:
    """Return the checkpoint of `start_from` to continue from, or why there is none.

    A checkpoint of the same interval comes first, then the one with the most horizons, then the newest. A site that
    continues its own networks starts the first one with random weights.
    """
    start_from, cadence = site.forecast.start_from, panel.cadence
    if not start_from or not is_network(kind) or kind in PRETRAINED:
        return None, ""
    alive = [
        m
        for m in load_models(c, task="forecast", site=start_from, kinds=[kind])
        if m.state != "retired"
        and {*m.card.get("config", {}).get("horizons_s", ())} <= {*cadence.horizons_s}
        and (start_from != site.id or not m.series.isdisjoint(one.label for one in panel.series))
    ]
    if not alive:
        return None, "" if start_from == site.id else f"{start_from} has no {kind} of these horizons to start from"

    def rank(m: ModelRow) -> tuple[bool, int]:
        config = m.card["config"]
        return config.get("step_s") == cadence.step_s, len(config["horizons_s"])

    return Path(max(alive, key=rank).path), ""


def _read_others(c: Connection, site: Site, kind: str, cadence: Cadence, now: datetime) -> Iterator[SiteRecord]:
    if not is_network(kind) or not (site.forecast.start_from or kind in PRETRAINED):
        return
    for name in site.forecast.replay:
        other, version = None, find_version(c, name)
        with contextlib.suppress(ConfigError, NotFoundError):  # a file of an earlier version that is no more read
            other = None if version is None else parse_site(load_site_source(c, version), name)
        if other is None:
            continue
        for panel in _list_panels(c, other):
            if panel.cadence.interval_s > LIKE * cadence.interval_s:
                continue
            step_s = max(cadence.step_s, panel.cadence.interval_s)
            samples = load_samples(c, other, panel.series, find_history_start(now, step_s, TRAINING_ROWS), now, step_s)
            if samples:
                yield make_record(other, samples, step_s, now, Driving())
