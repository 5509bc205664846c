"""Issues forecasts of a site: every simple forecast it asks for, `auto`, which is shown, and each network's own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from forecasting.registry import is_network
from forecasting.serving.conformal import ConformalState, conformal_key
from forecasting.serving.records import Forecast, ScoredError, Withheld
from forecasting.simple.auto import MANY_STATIONS
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.extras import describe_missing, is_installed
from monitor.api.queries.models import ModelRow, SeriesSamples, SitePanel, change_state, find_history_start
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Template, convert_reason, from_epoch_s
from monitor.api.worker import list_models, refuse_unrequested, run_all_in_workers
from monitor.features.forecasts.checkpoints import load_checkpoints, retire_older
from monitor.features.forecasts.first_forecast import LACKS_ROWS, expect_forecast, expect_training, find_expectation
from monitor.features.forecasts.queries import forecasts
from monitor.features.forecasts.queries.scores import load_errors
from monitor.features.forecasts.read_site import HISTORY_STEPS, PROBE_STEPS, PanelRead, read_site
from monitor.features.forecasts.tasks import (
    FORECAST_SITE,
    ModelRequest,
    SiteForecast,
    SiteForecastRequest,
    join_points,
    split_points,
)

_NOT_TRAINED: Final = Template("forecast.not_trained", "not trained yet")()
_NO_TORCH: Final = Template("forecast.no_torch", "not trained: {problem}")
_LACK_RECORD: Final = Template("lack.record", "{n} of {needed} rows of a station")
_LACK_ROWS: Final = Template("lack.rows", "{n} of {needed} rows of {step}")
_LACK_FIRST: Final = Template("lack.first", "its first training")()
_SILENT: Final = Template("forecast.silent", "no series of this interval has a reading of the last {n} intervals")
ALWAYS: Final = ("persistence", "drift", "lld", "auto")
"""Whatever a site asks for, `auto` is what it shows, and the others are scored beside it."""
MOST_ERRORS: Final = 200_000  # of the networks of a panel that are read at an issue
Key = tuple[int, str, float, float]


@dataclass(frozen=True, slots=True)
class _IssueInputs:
    found: list[PanelRead]
    checkpoints: list[ModelRow]
    states: Mapping[Key, ConformalState]
    stages: Mapping[str, str]  # by station
    scored: list[tuple[ScoredError, ...]]  # of the networks of each panel

    @property
    def by_label(self) -> dict[str, SeriesSamples]:
        """The series by the name that a worker gives them."""
        return {s.label: s for one in self.found for s in one.samples}

    def of(self, panel: SitePanel) -> list[ModelRow]:
        """Return the checkpoints that may forecast a panel."""
        panels = [one.panel for one in self.found]
        return [row for row in self.checkpoints if panel.may_use(row, panels)]


def issue_forecasts(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Issue from what is known at `now`; returns one line that says what was done.

    A checkpoint whose first forecasts are stored replaces older ones of the same network. One with the weights of an
    earlier version is retired: its training is then due.
    """
    models = name_models(site)
    with db.read() as c:
        known = _load_known(c, site, now, models)
    if not known.by_label:
        return "no recent readings of what is forecast"
    answer, issued = _run_workers(config, site, known, [m for m in models if not is_network(m)])
    # a Dask worker may have what this machine lacks
    able = bool(config.compute.dask) or is_installed("torch")
    why_untrained = _NOT_TRAINED if able else _NO_TORCH(problem=describe_missing("torch"))
    names = dict[str, None]()
    waiting = list[forecasts.WithheldRow]()
    with db.read() as c:
        withheld = _list_withheld(c, answer, known, now)
        for one in known.found:
            untrained = _find_untrained(models, known, one.panel)
            names |= dict.fromkeys(untrained)
            for model in untrained:
                waiting += _list_untrained(c, model, why_untrained, one, now, can_train=able)
            if not one.samples:
                silent = _SILENT(n=PROBE_STEPS)
                waiting += [forecasts.WithheldRow(s.series_id, m, silent) for s in one.panel.series for m in models]
    rows = _rows(answer, known, now)
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
        # the page tells the last: what keeps a simple forecast back comes after what keeps a network back
        forecasts.add_withheld(c, [*waiting, *withheld], now)
        forecasts.save_conformal(c, _flat(answer.conformal, known.by_label, known.states), now)
        _retire_checkpoints(c, known.checkpoints, answer, rows, now)
    parts = [f"{added} rows by {issued} models", f"{len(withheld)} withheld"]
    parts += [f"{name} failed: {reason}" for name, reason in answer.failed.items()]
    parts += [
        f"{names_of_kind} {why_untrained}" for names_of_kind in (names if able else filter(None, [", ".join(names)]))
    ]
    return "; ".join(parts)


def _find_untrained(models: Sequence[str], known: _IssueInputs, panel: SitePanel) -> list[str]:
    """Return the networks that are to forecast a panel and have no checkpoint for it."""
    if not panel.is_motion:
        return []
    trained = {row.kind for row in known.of(panel)}
    return [model for model in models if is_network(model) and model not in trained]


def name_models(site: Site) -> tuple[str, ...]:
    """Return every model that runs at a site."""
    return tuple(dict.fromkeys((*ALWAYS, *site.forecast.models)))


def _load_known(c: Connection, site: Site, now: datetime, models: Sequence[str]) -> _IssueInputs:
    """What is known of a site and its models."""
    checkpoints = load_checkpoints(c, site)
    found = read_site(c, site, now, models)
    states = forecasts.load_conformal(c, [s.series_id for one in found for s in one.samples])
    scored = [_load_errors(c, one, {row.kind for row in checkpoints}, now) for one in found]
    return _IssueInputs(found, checkpoints, states, forecasts.load_stages(c, site.id, now), scored)


def _load_errors(c: Connection, found: PanelRead, networks: Collection[str], now: datetime) -> tuple[ScoredError, ...]:
    cadence, labels = found.panel.cadence, {s.series_id: s.label for s in found.samples}
    rows = min(HISTORY_STEPS, MOST_ERRORS // max(1, len(labels) * len(networks) * len(cadence.horizons_s)))
    if not networks or len(labels) > MANY_STATIONS:
        return ()
    return tuple(load_errors(c, labels, networks, now, find_history_start(now, cadence.step_s, rows)))


def _list_withheld(
    c: Connection, answer: SiteForecast, known: _IssueInputs, now: datetime
) -> list[forecasts.WithheldRow]:
    found: dict[tuple[int, str, str], list[Withheld]] = {}
    by_label = known.by_label
    panel_by_label = {s.label: one.panel for one in known.found for s in one.samples}
    for one in answer.withheld:
        found.setdefault((by_label[one.station].series_id, one.model, convert_reason(one.reason)), []).append(one)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], not is_network(item[0][1]), item[0][1:]))
    return [
        forecasts.WithheldRow(
            series_id,
            model,
            reason,
            one.horizon_s if len(every) == 1 else None,
            *_describe_lack(c, one, panel_by_label[one.station], now),
        )
        for (series_id, model, reason), every in ordered
        for one in every[:1]
    ]


def _describe_lack(
    c: Connection, withheld: Withheld, panel: SitePanel, now: datetime
) -> tuple[str | None, datetime | None]:
    """Return what a withheld forecast lacks, and when it is expected."""
    if withheld.lack is None:
        return None, None
    if withheld.lack.reason.code not in LACKS_ROWS:
        return convert_reason(withheld.lack.reason), from_epoch_s(withheld.lack.earliest_s)
    steps = round(withheld.horizon_s / panel.cadence.step_s)
    series = [watched for watched in panel.series if watched.label == withheld.station]
    expectation = find_expectation(c, series, panel.cadence.step_s, now, partial(expect_forecast, steps=steps))
    if expectation is None:
        return None, None
    step = format_span(panel.cadence.step_s)
    return _LACK_ROWS(n=expectation.rows, needed=expectation.needed, step=step), expectation.at


def _list_untrained(
    c: Connection, model: str, reason: str, found: PanelRead, now: datetime, *, can_train: bool
) -> Iterator[forecasts.WithheldRow]:
    """Yield for each series of a panel what a network lacks that was never trained, and when it can be trained."""
    lacking, earliest_at = None, None
    if can_train:
        expectation = find_expectation(
            c, found.panel.series, found.panel.cadence.step_s, now, partial(expect_training, network=model)
        )
        if expectation is not None:
            is_short = expectation.rows < expectation.needed
            lacking = _LACK_RECORD(n=expectation.rows, needed=expectation.needed) if is_short else _LACK_FIRST
            earliest_at = expectation.at
    for sample in found.samples:
        yield forecasts.WithheldRow(sample.series_id, model, reason, lacking=lacking, earliest_at=earliest_at)


def list_requests(simple: Sequence[str], checkpoints: Sequence[ModelRow]) -> list[ModelRequest]:
    """Return what the workers are asked for: the simple forecasts, then each checkpoint's own."""
    return [
        *(ModelRequest(model, forecasts.name_intervals(model, "")) for model in simple),
        *(ModelRequest(row.kind, _name(row), row.path) for row in checkpoints),
    ]


def _run_workers(
    config: ServiceConfig, site: Site, known: _IssueInputs, simple: Sequence[str]
) -> tuple[SiteForecast, int]:
    """Return the answer, and how many models were asked."""
    questions = [
        SiteForecastRequest(
            one.record,
            one.panel.cadence.horizons_s,
            tuple(list_requests(simple, known.of(one.panel))),
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
    return answer, len(checkpoints)


def _rows(answer: SiteForecast, known: _IssueInputs, now: datetime) -> list[forecasts.ForecastRow]:
    # A checkpoint that failed in one part of a large site is left out as a whole.
    failed = {row.model_hash for row in known.checkpoints if _name(row) in answer.failed}
    by_label = known.by_label
    as_of = {s.label: max(x.newest_received_at for x in one.samples) for one in known.found for s in one.samples}
    return [
        to_row(
            one,
            by_label[one.station],
            now,
            as_of[one.station],
            known.stages.get(by_label[one.station].station.id),
        )
        for one in answer.rows
        if one.model_hash not in failed
    ]


def _name(row: ModelRow) -> str:
    return forecasts.name_intervals(row.kind, row.model_hash)


def to_row(
    one: Forecast,
    sample: SeriesSamples,
    issued_at: datetime,
    as_of: datetime,
    stage: str | None,
    *,
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
        convert_reason(one.reason),
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


def _retire_checkpoints(
    c: Connection,
    checkpoints: Sequence[ModelRow],
    answer: SiteForecast,
    rows: Sequence[forecasts.ForecastRow],
    now: datetime,
) -> None:
    """Retire what only a new training can serve, and what a newer checkpoint that issued replaces."""
    issued = {row.model_hash for row in rows}
    for row in checkpoints:
        if _name(row) in answer.outdated:
            change_state(c, row, "retired", answer.failed[_name(row)], SERVICE_ACTOR, now)
        elif row.model_hash in issued:
            retire_older(c, checkpoints, row, now)


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
