"""Issues forecasts of a site: every simple forecast it asks for, every living checkpoint, one of them shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from forecasting.message import Figure, Template
from forecasting.registry import NETWORKS
from forecasting.serving.conformal import ConformalState, conformal_key
from forecasting.serving.promotion import IN_SHADOW
from forecasting.serving.records import Forecast
from monitor.config.service import ServiceConfig
from monitor.domain.alert import SERVICE
from monitor.domain.instants import from_epoch_s
from monitor.domain.site import Site
from monitor.extras import describe_missing, is_installed
from monitor.jobs.forecasts.promotion import Standing, enter_shadow, load_standings, retire
from monitor.jobs.forecasts.read_site import PROBE_STEPS, PanelRead, read_site
from monitor.jobs.forecasts.tasks import FORECAST_SITE, AskedModel, Permit, SiteForecastAsked, join_points, split_points
from monitor.jobs.samples import Samples, SitePanel
from monitor.jobs.worker import list_models, refuse_strange, run_all_in_workers
from monitor.store.database.engine import Database
from monitor.store.models import forecasts

_NOT_TRAINED: Final = Template("forecast.not_trained", "not trained yet")()
_NO_TORCH: Final = Template("forecast.no_torch", "not trained: {problem}")
_SILENT: Final = Template("forecast.silent", "no series of this interval has a reading of the last {n} intervals")
_STORED: Final = Template("shadow.stored", "its first {n} forecasts are stored, computed in {ms} ms")
ALWAYS = ("persistence", "lld")  # whatever a site asks for, these two run and are scored
Key = tuple[int, str, float, float]


def issue_forecasts(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Issue from what is known at `now`; returns one line that says what was done.

    A checkpoint in the shadow is issued and stored like any other and never shown. A candidate whose first forecasts
    are stored goes into the shadow. One with the weights of an earlier version is retired: its training is then due.
    """
    models = tuple(dict.fromkeys((*ALWAYS, *site.forecast.models)))
    with db.read() as c:
        standings = load_standings(c, site, now)
        found = read_site(c, site, now, (*models, *(s.row.kind for s in standings)))
        states = forecasts.load_conformal(c, [s.series_id for one in found for s in one.samples])
        stages = forecasts.load_stages(c, site.id, now)
    samples = [s for one in found for s in one.samples]
    if not samples:
        return "no recent displacement readings"
    by_label = {s.label: s for s in samples}
    panels = [one.panel for one in found]
    questions = [_question(one, panels, models, standings, states) for one in found if one.record is not None]
    asked = [*{one.name: one for question in questions for one in question.models}.values()]
    files = list_models(config.paths.models, site.id, (one.checkpoint for one in asked))
    pieces = [piece for question in questions for piece in split_points(question)]
    answer = join_points(run_all_in_workers(config.compute, FORECAST_SITE, pieces, reads=files))
    refuse_strange([*(row.station for row in answer.rows), *(one.station for one in answer.withheld)], by_label)
    as_of = {s.label: max(x.newest_received_at for x in one.samples) for one in found for s in one.samples}
    # a candidate that failed in one piece of a large site is judged on none
    unfit = {
        s.row.model_hash for s in standings
        if s.row.state == "candidate" and forecasts.name_intervals(s.row.kind, s.row.model_hash) in answer.failed
    }  # fmt: skip
    rows = [
        _row(one, by_label[one.station], now, as_of[one.station], stages)
        for one in answer.rows if one.model_hash not in unfit
    ]  # fmt: skip
    # a Dask worker may have what this machine lacks
    able = bool(config.compute.dask) or is_installed("torch")
    why_untrained = _NOT_TRAINED if able else _NO_TORCH(problem=describe_missing("torch"))
    waiting: list[tuple[int, str, str]] = [
        (s.series_id, m, why_untrained) for one in found for m in models if m in NETWORKS
        if not any(x.row.kind == m and one.panel.knows(x.row, panels) for x in standings) for s in one.samples
    ]  # fmt: skip
    withheld = [(by_label[w.station].series_id, w.model, w.reason) for w in answer.withheld]
    silent = [s for one in found if one.record is None for s in one.panel.series]
    waiting += [(s.series_id, m, _SILENT(n=PROBE_STEPS)) for s in silent for m in models]
    untrained = [*dict.fromkeys(m for _, m, why in waiting if why == why_untrained)]
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
        forecasts.add_withheld(c, sorted(set(withheld + waiting)), now)
        forecasts.save_conformal(c, _flat(answer.conformal, by_label, states), now)
        for standing in standings:
            mine = [row for row in rows if row.model_hash == standing.row.model_hash]
            name = forecasts.name_intervals(standing.row.kind, standing.row.model_hash)
            if name in answer.outdated:
                retire(c, site, standing.row, answer.failed[name], SERVICE, now)
                continue
            if standing.row.state == "candidate" and mine:
                took = Figure(mine[0].latency_ms or 0.0, ".0f")
                enter_shadow(c, standing.row, IN_SHADOW(text=_STORED(n=len(mine), ms=took)), now)
    parts = [f"{added} rows by {len(asked)} models", f"{len(withheld)} withheld"]
    parts += [f"{name} failed: {reason}" for name, reason in answer.failed.items()]
    parts += [f"{model} {why_untrained}" for model in untrained] if able else []
    parts += [f"{', '.join(untrained)} {why_untrained}"] if untrained and not able else []
    return "; ".join(parts)


def _question(
    found: PanelRead,
    panels: Sequence[SitePanel],
    models: Sequence[str],
    standings: Sequence[Standing],
    states: Mapping[Key, ConformalState],
) -> SiteForecastAsked:
    """What the worker is asked of one panel: simple forecasts, and each network that knows one of its series."""
    assert found.record is not None
    asked = [_ask(m, "", None) for m in models if m not in NETWORKS]
    asked += [_ask(s.row.kind, s.row.model_hash, s) for s in standings if found.panel.knows(s.row, panels)]
    horizons_s = found.panel.cadence.horizons_s
    return SiteForecastAsked(found.record, horizons_s, tuple(asked), _grouped(states, found.samples))


def _ask(model: str, model_hash: str, standing: Standing | None) -> AskedModel:
    """What the worker is told of one model."""
    name = forecasts.name_intervals(model, model_hash)
    if standing is None:
        return AskedModel(model, name)
    permits = {h: Permit(g.state == "active", g.reason, g.skill) for h, g in standing.gates.items()}
    return AskedModel(model, name, standing.row.path, permits)


def _row(
    one: Forecast, sample: Samples, now: datetime, as_of: datetime, stages: Mapping[str, str]
) -> forecasts.ForecastRow:  # fmt: skip
    return forecasts.ForecastRow(
        sample.series_id, now, from_epoch_s(one.data_until_s), as_of, from_epoch_s(one.target_s),
        one.horizon_s, one.q025, one.q10, one.q50, one.q90, one.q975, one.model,
        one.model_hash or "", one.baseline, one.baseline_q50, one.data_value, one.shown, one.reason,
        one.latency_ms, one.margins.get("0.8"), one.margins.get("0.95"),
        stages.get(sample.station.id), one.novelty, one.replaces,
    )  # fmt: skip


def _grouped(
    states: Mapping[Key, ConformalState], samples: list[Samples]
) -> dict[str, dict[str, ConformalState]]:  # fmt: skip
    """States by name of the model and the worker's own key, `label|horizon|nominal`."""
    labels = {s.series_id: s.label for s in samples}
    out: dict[str, dict[str, ConformalState]] = {}
    for (series_id, model, horizon_s, nominal), state in states.items():
        if series_id not in labels:
            continue
        out.setdefault(model, {})[conformal_key(labels[series_id], horizon_s, nominal)] = state
    return out


def _flat(
    answered: Mapping[str, Mapping[str, ConformalState]], by_label: Mapping[str, Samples],
    known: Mapping[Key, ConformalState],
) -> dict[Key, ConformalState]:  # fmt: skip
    """States that the worker started; those the database knows are changed by the score job only."""
    out = {}
    for model, states in answered.items():
        for text, state in states.items():
            label, horizon, nominal = text.rsplit("|", 2)
            key = (by_label[label].series_id, model, float(horizon), float(nominal))
            if key not in known:
                out[key] = state
    return out
