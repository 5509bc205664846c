"""Issues forecasts of a site: every simple forecast it asks for, every living checkpoint, one of them shown."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.registry import count_needed, is_network, name_blend
from forecasting.serving.conformal import ConformalState, conformal_key
from forecasting.serving.promotion import explain_own, find_earliest_s
from forecasting.serving.records import JUDGED, Forecast, Lack, ScoredError, Withheld
from forecasting.simple.auto import MANY_STATIONS
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.extras import describe_missing, is_installed
from monitor.api.queries.models import SeriesSamples, SitePanel, find_history_start
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import IN_SHADOW, Figure, Template, convert_reason, epoch_s, from_epoch_s
from monitor.api.worker import list_models, refuse_unrequested, run_all_in_workers
from monitor.features.forecasts.promotion import (
    ModelStatus,
    PromotionRefusal,
    enter_shadow,
    find_refusals,
    load_standings,
    retire,
)
from monitor.features.forecasts.queries import forecasts
from monitor.features.forecasts.queries.scores import load_errors
from monitor.features.forecasts.read_site import HISTORY_STEPS, PROBE_STEPS, PanelRead, read_site
from monitor.features.forecasts.tasks import (
    FORECAST_SITE,
    UNSCORED,
    ModelRequest,
    Permit,
    SiteForecast,
    SiteForecastRequest,
    join_points,
    split_points,
)

_NOT_TRAINED: Final = Template("forecast.not_trained", "not trained yet")()
_NO_TORCH: Final = Template("forecast.no_torch", "not trained: {problem}")
_LACK_RECORD: Final = Template("lack.record", "{n} of {needed} observations of a station")
_LACK_FIRST: Final = Template("lack.first", "its first training")()
_SILENT: Final = Template("forecast.silent", "no series of this interval has a reading of the last {n} intervals")
_STORED: Final = Template("shadow.stored", "its first {n} forecasts are stored, computed in {ms} ms")
ALWAYS = ("persistence", "drift", "lld")  # whatever a site asks for, these run and are scored: what to be better than
MOST_ERRORS: Final = 200_000  # of the networks of a panel that are read at an issue
Key = tuple[int, str, float, float]


@dataclass(frozen=True, slots=True)
class _IssueInputs:
    found: list[PanelRead]
    standings: list[ModelStatus]
    states: Mapping[Key, ConformalState]
    stages: Mapping[str, str]  # by station
    scored: list[tuple[ScoredError, ...]]  # of the networks of each panel

    @property
    def by_label(self) -> dict[str, SeriesSamples]:
        """The series by the name that a worker gives them."""
        return {s.label: s for one in self.found for s in one.samples}

    def of(self, panel: SitePanel) -> list[ModelStatus]:
        """The checkpoints that speak of a panel."""
        panels = [one.panel for one in self.found]
        return [s for s in self.standings if panel.may_use(s.row, panels)]


def issue_forecasts(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Issue from what is known at `now`; returns one line that says what was done.

    A network is issued as it is, which is never shown, and as the blend that its gate makes of it. A checkpoint in the
    shadow is issued and stored like any other. A candidate whose first forecasts are stored goes into the shadow. One
    with the weights of an earlier version is retired: its training is then due.
    """
    models = name_models(site)
    with db.read() as c:
        known = _load_known(c, site, now, models)
    if not known.by_label:
        return "no recent displacement readings"
    answer, permits = _run_workers(config, site, known, [m for m in models if not is_network(m)], now)
    # a Dask worker may have what this machine lacks
    able = bool(config.compute.dask) or is_installed("torch")
    why_untrained = _NOT_TRAINED if able else _NO_TORCH(problem=describe_missing("torch"))
    withheld = _list_withheld(answer, known, site)
    held, names = {(one.series_id, one.model) for one in withheld}, dict[str, None]()
    waiting = list[forecasts.WithheldRow]()
    for one in known.found:
        mine = known.of(one.panel)
        untrained = [m for m in models if is_network(m) and m not in {s.row.kind for s in mine}]
        names |= dict.fromkeys(untrained)
        waits = [_wait_for_training(m, why_untrained, one, site, now) for m in untrained]
        waits = waits if able else [replace(r, lacking=None, earliest_at=None) for r in waits]
        waiting += _list_waiting(one, [*find_refusals(mine, site, now), *waits], models, held)
    rows = _rows(answer, known, permits, now)
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
        # the page tells the last: what keeps a simple forecast back comes after what keeps a network back
        forecasts.add_withheld(c, [*waiting, *withheld], now)
        forecasts.save_conformal(c, _flat(answer.conformal, known.by_label, known.states), now)
        _move_on(c, site, known.standings, answer, rows, now)
    parts = [f"{added} rows by {len(permits)} models", f"{len(withheld)} withheld"]
    parts += [f"{name} failed: {reason}" for name, reason in answer.failed.items()]
    parts += [
        f"{names_of_kind} {why_untrained}" for names_of_kind in (names if able else filter(None, [", ".join(names)]))
    ]
    return "; ".join(parts)


def name_models(site: Site) -> tuple[str, ...]:
    """Every model that runs at a site: what it asks for, and what this is judged beside, `auto` of a network."""
    switch = ("auto",) if any(map(is_network, site.forecast.models)) else ()
    return tuple(dict.fromkeys((*ALWAYS, *switch, *site.forecast.models)))


def _load_known(c: Connection, site: Site, now: datetime, models: Sequence[str]) -> _IssueInputs:
    """What is known of a site and its models."""
    standings = load_standings(c, site, now)
    found = read_site(c, site, now, (*models, *(s.row.kind for s in standings)))
    states = forecasts.load_conformal(c, [s.series_id for one in found for s in one.samples])
    scored = [_load_errors(c, one, {s.row.kind for s in standings}, now) for one in found]
    return _IssueInputs(found, standings, states, forecasts.load_stages(c, site.id, now), scored)


def _load_errors(c: Connection, found: PanelRead, networks: Collection[str], now: datetime) -> tuple[ScoredError, ...]:
    cadence, labels = found.panel.cadence, {s.series_id: s.label for s in found.samples}
    rows = min(HISTORY_STEPS, MOST_ERRORS // max(1, len(labels) * len(networks) * len(cadence.horizons_s)))
    if not networks or len(labels) > MANY_STATIONS:
        return ()
    return tuple(load_errors(c, labels, networks, now, find_history_start(now, cadence.step_s, rows)))


def _list_withheld(answer: SiteForecast, known: _IssueInputs, site: Site) -> list[forecasts.WithheldRow]:
    found: dict[tuple[int, str, str], list[Withheld]] = {}
    by_label = known.by_label
    for one in answer.withheld:
        found.setdefault((by_label[one.station].series_id, one.model, convert_reason(one.reason)), []).append(one)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], not is_network(item[0][1]), item[0][1:]))
    return [
        forecasts.WithheldRow(
            series_id,
            model,
            reason,
            one.horizon_s if len(every) == 1 else None,
            None if one.lack is None else convert_reason(one.lack.reason),
            None if one.lack is None else from_epoch_s(_find_shown_s(one, one.lack, site)),
        )
        for (series_id, model, reason), every in ordered
        for one in every[:1]
    ]


def _find_shown_s(withheld: Withheld, lack: Lack, site: Site) -> float:
    """When what is withheld can be shown at the earliest: a network is in the shadow first once it was trained."""
    if not lack.is_training:
        return lack.earliest_s
    return find_earliest_s(withheld.horizon_s, begin_s=lack.earliest_s, every_s=site.forecast.every_s)


def _list_waiting(
    found: PanelRead, refused: Sequence[PromotionRefusal], models: Sequence[str], held: Collection[tuple[int, str]]
) -> Iterator[forecasts.WithheldRow]:
    for r in refused:
        for s in found.samples:
            if (s.series_id, r.model) not in held:
                yield forecasts.WithheldRow(s.series_id, r.model, r.reason, r.horizon_s, r.lacking, r.earliest_at)
    for one in () if found.samples else found.panel.series:
        yield from (forecasts.WithheldRow(one.series_id, m, _SILENT(n=PROBE_STEPS)) for m in models)


def _wait_for_training(model: str, reason: str, found: PanelRead, site: Site, now: datetime) -> PromotionRefusal:
    """What a network lacks that was never trained here, and when it could be shown at the earliest."""
    step_s, horizon_s = found.panel.cadence.step_s, found.panel.cadence.horizons_s[0]
    needed = count_needed(model)
    seen = max((len({t // step_s for t in s.times_s}) for s in found.samples), default=0)
    lacking = _LACK_RECORD(n=seen, needed=needed) if seen < needed else _LACK_FIRST
    begin_s = epoch_s(now) + max(0, needed - seen) * step_s
    earliest_s = find_earliest_s(horizon_s, begin_s=begin_s, every_s=site.forecast.every_s)
    return PromotionRefusal(model, horizon_s, reason, lacking, from_epoch_s(earliest_s))


def list_requests(
    simple: Sequence[str], standings: Sequence[ModelStatus], site: Site, now: datetime
) -> list[ModelRequest]:
    """What the workers are asked for: simple forecasts, then of each checkpoint its own forecast and its blend."""
    requests = [ModelRequest(model, forecasts.name_intervals(model, "")) for model in simple]
    for standing in standings:
        row = standing.row
        own: dict[float, Permit] = {}
        blend: dict[float, Permit] = {}
        for h in standing.horizons_s:
            gate = standing.gates.get(h)
            if gate is not None and gate.state == "active":
                own[h] = Permit(False, convert_reason(explain_own(row.kind, standing.weight(h))), None)
                blend[h] = Permit(True, gate.reason, gate.skill)
            else:
                own[h] = blend[h] = Permit(False, standing.refuse(h, site, now).reason, None)
        requests.append(_make_request(row.kind, standing, own))
        if any(standing.weight(h) for h in standing.horizons_s):
            requests.append(_make_request(name_blend(row.kind), standing, blend))
    return requests


def _make_request(model: str, standing: ModelStatus, permits: Mapping[float, Permit]) -> ModelRequest:
    name = forecasts.name_intervals(model, standing.row.model_hash)
    return ModelRequest(model, name, standing.row.path, permits)


def _run_workers(
    config: ServiceConfig, site: Site, known: _IssueInputs, simple: Sequence[str], now: datetime
) -> tuple[SiteForecast, dict[str, Mapping[float, Permit]]]:
    """Return the answer, and of every model by its name the permits that it was asked for with."""
    questions = [
        SiteForecastRequest(
            one.record,
            one.panel.cadence.horizons_s,
            tuple(list_requests(simple, known.of(one.panel), site, now)),
            _grouped(known.states, one.samples),
            scored,
        )
        for one, scored in zip(known.found, known.scored, strict=True)
        if one.record is not None
    ]
    checkpoints = {one.name: one.checkpoint for question in questions for one in question.models}
    files = list_models(config.paths.models, site.id, checkpoints.values())
    pieces = [piece for question in questions for piece in split_points(question)]
    answer = join_points(run_all_in_workers(config.compute, FORECAST_SITE, pieces, reads=files))
    named = [*(row.station for row in answer.rows), *(one.station for one in answer.withheld)]
    refuse_unrequested(named, known.by_label)
    return answer, {one.name: one.permits or {} for question in questions for one in question.models}


def _rows(
    answer: SiteForecast, known: _IssueInputs, permits: Mapping[str, Mapping[float, Permit]], now: datetime
) -> list[forecasts.ForecastRow]:
    unfit = {
        s.row.model_hash
        for s in known.standings
        if s.row.state == "candidate" and forecasts.name_intervals(s.row.kind, s.row.model_hash) in answer.failed
    }
    by_label = known.by_label
    as_of = {s.label: max(x.newest_received_at for x in one.samples) for one in known.found for s in one.samples}
    return [
        to_row(
            one,
            by_label[one.station],
            now,
            as_of[one.station],
            known.stages.get(by_label[one.station].station.id),
            reason=_describe_shown(one, permits),
        )
        for one in answer.rows
        if one.model_hash not in unfit
    ]


def _describe_shown(one: Forecast, permits: Mapping[str, Mapping[float, Permit]]) -> str:
    """Return why a forecast is shown, or is not."""
    if one.reason != JUDGED:
        return convert_reason(one.reason)
    name = forecasts.name_intervals(one.model, one.model_hash or "")
    return permits.get(name, {}).get(one.horizon_s, UNSCORED).reason


def to_row(
    one: Forecast,
    sample: SeriesSamples,
    issued_at: datetime,
    as_of: datetime,
    stage: str | None,
    *,
    reason: str,
    hindcast: bool = False,
) -> forecasts.ForecastRow:
    """A forecast as it is stored, of readings that had been received by `as_of`."""
    return forecasts.ForecastRow(
        sample.series_id,
        issued_at,
        from_epoch_s(one.data_until_s),
        as_of,
        from_epoch_s(one.target_s),
        one.horizon_s,
        one.q025,
        one.q10,
        one.q50,
        one.q90,
        one.q975,
        one.model,
        one.model_hash or "",
        one.baseline,
        one.baseline_q50,
        one.data_value,
        one.shown,
        reason,
        one.latency_ms,
        one.margins.get("0.8"),
        one.margins.get("0.95"),
        one.stretch,
        stage,
        one.novelty,
        one.replaces,
        one.weight,
        hindcast,
    )


def _move_on(
    c: Connection,
    site: Site,
    standings: Sequence[ModelStatus],
    answer: SiteForecast,
    rows: Sequence[forecasts.ForecastRow],
    now: datetime,
) -> None:
    """Retire what only a new training can serve; a candidate whose first forecasts are stored goes into the shadow."""
    for standing in standings:
        mine = [row for row in rows if row.model_hash == standing.row.model_hash]
        name = forecasts.name_intervals(standing.row.kind, standing.row.model_hash)
        if name in answer.outdated:
            retire(c, site, standing.row, answer.failed[name], SERVICE_ACTOR, now)
        elif standing.row.state == "candidate" and mine:
            took = Figure(mine[0].latency_ms or 0.0, ".0f")
            enter_shadow(c, standing.row, IN_SHADOW(text=_STORED(n=len(mine), ms=took)), now)


def _grouped(
    states: Mapping[Key, ConformalState], samples: list[SeriesSamples]
) -> dict[str, dict[str, ConformalState]]:
    labels = {s.series_id: s.label for s in samples}
    out: dict[str, dict[str, ConformalState]] = {}
    for (series_id, model, horizon_s, nominal), state in states.items():
        if series_id in labels:
            out.setdefault(model, {})[conformal_key(labels[series_id], horizon_s, nominal)] = state
    return out


def _flat(
    answered: Mapping[str, Mapping[str, ConformalState]],
    by_label: Mapping[str, SeriesSamples],
    known: Mapping[Key, ConformalState],
) -> dict[Key, ConformalState]:
    """States that the worker started; those the database knows are changed by the score job only."""
    out = {}
    for model, states in answered.items():
        for text, state in states.items():
            label, horizon, nominal = text.rsplit("|", 2)
            key = (by_label[label].series_id, model, float(horizon), float(nominal))
            if key not in known:
                out[key] = state
    return out
