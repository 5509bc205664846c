"""Issue the forecasts of a site: the combined forecast, which is shown, each network and the simple forecasts."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from forecasting.registry import COMBINED, is_network
from forecasting.serving.records import Checkpoint, Forecast, Withheld
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.extras import describe_missing, is_installed
from monitor.api.queries.models import ModelRow, SeriesSamples, SitePanel, change_state
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Message, Template, convert_reason, epoch_s, from_epoch_s, join
from monitor.api.worker import list_model_paths, reject_unrequested, run_all_in_workers
from monitor.features.forecasts.checkpoints import load_checkpoints, retire_older
from monitor.features.forecasts.first_forecast import LACKS_ROWS, expect_forecast, expect_training, find_expectation
from monitor.features.forecasts.open_steps import load_open_steps
from monitor.features.forecasts.queries import forecasts
from monitor.features.forecasts.queries.states import load_states, save_states
from monitor.features.forecasts.read_site import PROBE_STEPS, PanelRead, read_site
from monitor.features.forecasts.tasks import (
    FORECAST_PANEL,
    PanelForecast,
    PanelForecastRequest,
    join_points,
    split_points,
)

_NOT_TRAINED: Final = Template("forecast.not_trained", "not trained yet")()
_NO_TORCH: Final = Template("forecast.no_torch", "not trained: {problem}")
_LACK_RECORD: Final = Template("lack.record", "{n} of {needed} rows of a station")
_LACK_ROWS: Final = Template("lack.rows", "{n} of {needed} rows of {step}")
_LACK_FIRST: Final = Template("lack.first", "its first training")()
_SILENT: Final = Template("forecast.silent", "no series of this interval has a reading of the last {n} intervals")


@dataclass(frozen=True, slots=True)
class _IssueInputs:
    panels: list[PanelRead]
    checkpoints: list[ModelRow]
    stages: dict[str, str]  # stage of movement by station
    states: dict[str, bytes]  # state of the combination by name of the panel
    # late edge of the failure window by station; None: the window is not trusted. Absent: there is no window
    window_ends: dict[str, datetime | None]
    open_steps: dict[str, Message]  # note on a jump that nobody has explained, by station

    @property
    def samples_by_label(self) -> dict[str, SeriesSamples]:
        """Return the series by the name that a worker uses."""
        return {samples.label: samples for panel in self.panels for samples in panel.samples}

    def find_window_ends(self, read: PanelRead) -> dict[str, float | None]:
        """Return the late edges of the failure windows at the stations of a panel by label, epoch seconds.

        None if the window is not trusted. A label whose station has no window is absent.
        """
        ends_s: dict[str, float | None] = {}
        for samples in read.samples:
            if samples.station.id in self.window_ends:
                latest_at = self.window_ends[samples.station.id]
                ends_s[samples.label] = None if latest_at is None else epoch_s(latest_at)
        return ends_s

    def find_note(self, row: Forecast, samples: SeriesSamples) -> Message | None:
        """Return the note on an unexplained jump for a shown forecast of a series that has jumped, else None."""
        return self.open_steps.get(samples.station.id) if row.shown and samples.jumps else None

    def list_checkpoints(self, panel: SitePanel) -> list[ModelRow]:
        """Return the checkpoints that forecast a panel."""
        panels = [read.panel for read in self.panels]
        return [row for row in self.checkpoints if panel.may_use(row, panels)]


def issue_forecasts(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Issue the forecasts of a site from what is known at `now`. Return one line about what was done.

    A checkpoint whose first forecasts are stored replaces older ones of the same network. A checkpoint with the weights
    of an earlier version is retired, so that the network is trained again.
    """
    with db.read() as c:
        inputs = _load_inputs(c, site, now)
    answer, states = _run_workers(config, site, inputs)
    rows = _make_rows(answer, inputs, now)
    with db.read() as c:
        withheld = [
            *_list_untrained(c, config, site, inputs, now),
            *_list_silent(inputs),
            *_list_withheld(c, answer, inputs, now),
        ]
    with db.write() as c:
        added = forecasts.add_forecasts(c, rows)
        forecasts.add_withheld(c, withheld, now)
        save_states(c, site.id, states, [_name_panel(read.panel) for read in inputs.panels], now)
        _retire_checkpoints(c, inputs.checkpoints, answer, rows, now)
    names = {row.model_hash: row.name for row in inputs.checkpoints}
    failures = [f"{names[model_hash]} failed: {reason}" for model_hash, reason in answer.failed.items()]
    if not inputs.samples_by_label:
        return "no recent readings of a series that is forecast"
    return "; ".join([f"{added} forecasts", f"{len(withheld)} withheld", *failures])


def _load_inputs(c: Connection, site: Site, now: datetime) -> _IssueInputs:
    return _IssueInputs(
        panels=read_site(c, site, now),
        checkpoints=load_checkpoints(c, site),
        stages=forecasts.load_stages(c, site.id, now),
        states=load_states(c, site.id),
        window_ends=forecasts.load_window_ends(c, site.id, now),
        open_steps=load_open_steps(c, site.id),
    )


def _run_workers(config: ServiceConfig, site: Site, inputs: _IssueInputs) -> tuple[PanelForecast, dict[str, bytes]]:
    """Return the forecasts of all panels, and the states of the combinations by name of the panel."""
    requests = {
        _name_panel(read.panel): PanelForecastRequest(
            read.record,
            read.panel.cadence.horizons_s,
            tuple(Checkpoint(row.kind, row.model_hash, row.path) for row in inputs.list_checkpoints(read.panel)),
            base64.b64encode(inputs.states.get(_name_panel(read.panel), b"")).decode(),
            inputs.find_window_ends(read) if read.panel.is_motion else {},
        )
        for read in inputs.panels
        if read.record is not None
    }
    paths = {checkpoint.path for request in requests.values() for checkpoint in request.checkpoints}
    files = list_model_paths(config.paths.models, site.id, sorted(paths))
    pieces = [(name, piece) for name, request in requests.items() for piece in split_points(request)]
    requested = [piece for _, piece in pieces]
    answers = list(run_all_in_workers(config.compute, FORECAST_PANEL, requested, reads=files))
    # a panel has one state, so that pieces of a panel have none
    states = {
        name: base64.b64decode(answer.state)
        for (name, piece), answer in zip(pieces, answers, strict=True)
        if answer.state and piece is requests[name]
    }
    answer = join_points(answers)
    named = [*(row.station for row in answer.rows), *(entry.station for entry in answer.withheld)]
    reject_unrequested(named, inputs.samples_by_label)
    return answer, states


def _name_panel(panel: SitePanel) -> str:
    return f"{panel.group} every {panel.cadence.step_s:g} s"


def _make_rows(answer: PanelForecast, inputs: _IssueInputs, now: datetime) -> list[forecasts.ForecastRow]:
    """Return the rows to store. A network that failed in one part of a large site is left out everywhere."""
    samples_by_label = inputs.samples_by_label
    newest_received = {
        samples.label: max(other.newest_received_at for other in read.samples)
        for read in inputs.panels
        for samples in read.samples
    }
    return [
        to_row(
            row,
            samples_by_label[row.station],
            now,
            newest_received[row.station],
            inputs.stages.get(samples_by_label[row.station].station.id),
            note=inputs.find_note(row, samples_by_label[row.station]),
        )
        for row in answer.rows
        if row.model_hash not in answer.failed
    ]


def to_row(
    row: Forecast,
    samples: SeriesSamples,
    issued_at: datetime,
    as_of: datetime,
    stage: str | None,
    *,
    note: Message | None = None,
    hindcast: bool = False,
) -> forecasts.ForecastRow:
    """Return a forecast as it is stored.

    Args:
        row: The forecast.
        samples: Its series.
        issued_at: Moment of issue.
        as_of: When the newest reading that the forecast could use was received.
        stage: Stage of movement of the station.
        note: A further reason.
        hindcast: Whether the forecast was made afterwards.
    """
    reason = convert_reason(row.reason)
    return forecasts.ForecastRow(
        series_id=samples.series_id,
        issued_at=issued_at,
        data_until=from_epoch_s(row.data_until_s),
        as_of_received_at=as_of,
        target_at=from_epoch_s(row.target_s),
        horizon_s=row.horizon_s,
        q025=row.q025,
        q10=row.q10,
        q50=row.q50,
        q90=row.q90,
        q975=row.q975,
        model=row.model,
        model_hash=row.model_hash or "",
        baseline=row.baseline,
        baseline_q50=row.baseline_q50,
        data_value=row.data_value,
        shown=row.shown,
        reason=reason if note is None else join([reason, note]),
        latency_ms=row.latency_ms,
        stage=stage,
        novelty=row.novelty,
        weight=row.weight,
        hindcast=hindcast,
    )


def _list_withheld(
    c: Connection, answer: PanelForecast, inputs: _IssueInputs, now: datetime
) -> Iterator[forecasts.WithheldRow]:
    """Yield one row per series, model and reason; the horizon is stored if the reason concerns only one."""
    samples_by_label = inputs.samples_by_label
    panel_by_label = {samples.label: read.panel for read in inputs.panels for samples in read.samples}

    def key(entry: Withheld) -> tuple[int, bool, str, str]:
        series_id = samples_by_label[entry.station].series_id
        return series_id, not is_network(entry.model), entry.model, convert_reason(entry.reason)

    for (series_id, _, model, reason), group in groupby(sorted(answer.withheld, key=key), key):
        entries = list(group)
        first = min(entries, key=lambda entry: entry.horizon_s)
        lacking, earliest_at = _describe_lack(c, first, panel_by_label[first.station], now)
        yield forecasts.WithheldRow(
            series_id,
            model,
            reason,
            horizon_s=first.horizon_s if len(entries) == 1 else None,
            lacking=lacking,
            earliest_at=earliest_at,
        )


def _describe_lack(
    c: Connection, withheld: Withheld, panel: SitePanel, now: datetime
) -> tuple[str | None, datetime | None]:
    """Return what a withheld forecast lacks, and when it is expected."""
    if withheld.lack is None:
        return None, None
    if withheld.lack.reason.code not in LACKS_ROWS:
        return convert_reason(withheld.lack.reason), from_epoch_s(withheld.lack.earliest_s)
    step_s = panel.cadence.step_s
    series = [watched for watched in panel.series if watched.label == withheld.station]
    steps = round(withheld.horizon_s / step_s)
    expectation = find_expectation(c, series, step_s, now, partial(expect_forecast, steps=steps))
    if expectation is None:
        return None, None
    lacking = _LACK_ROWS(n=expectation.rows, needed=expectation.needed, step=format_span(step_s))
    return lacking, expectation.at


def _list_untrained(
    c: Connection, config: ServiceConfig, site: Site, inputs: _IssueInputs, now: datetime
) -> Iterator[forecasts.WithheldRow]:
    """Yield for each series the networks of the site file that were never trained, and when they can be."""
    # a Dask worker may have PyTorch if this machine has not
    can_train = bool(config.compute.dask) or is_installed("torch")
    reason = _NOT_TRAINED if can_train else _NO_TORCH(problem=describe_missing("torch"))
    for read in inputs.panels:
        if not read.panel.is_motion:
            continue
        trained = {row.kind for row in inputs.list_checkpoints(read.panel)}
        for model in site.forecast.models:
            if model in trained:
                continue
            lacking, earliest_at = _find_training(c, model, read.panel, now) if can_train else (None, None)
            for samples in read.samples:
                yield forecasts.WithheldRow(samples.series_id, model, reason, lacking=lacking, earliest_at=earliest_at)


def _find_training(c: Connection, model: str, panel: SitePanel, now: datetime) -> tuple[str | None, datetime | None]:
    """Return what a network needs for its first training, and when it can be trained at the earliest."""
    expectation = find_expectation(c, panel.series, panel.cadence.step_s, now, partial(expect_training, network=model))
    if expectation is None:
        return None, None
    is_short = expectation.rows < expectation.needed
    lacking = _LACK_RECORD(n=expectation.rows, needed=expectation.needed) if is_short else _LACK_FIRST
    return lacking, expectation.at


def _list_silent(inputs: _IssueInputs) -> Iterator[forecasts.WithheldRow]:
    """Yield the series of panels without a recent reading."""
    reason = _SILENT(n=PROBE_STEPS)
    for read in inputs.panels:
        if not read.samples:
            yield from (forecasts.WithheldRow(series.series_id, COMBINED, reason) for series in read.panel.series)


def _retire_checkpoints(
    c: Connection,
    checkpoints: Sequence[ModelRow],
    answer: PanelForecast,
    rows: Iterable[forecasts.ForecastRow],
    now: datetime,
) -> None:
    """Retire checkpoints that only a new training can replace, and those that a newer checkpoint replaces."""
    issued = {row.model_hash for row in rows}
    for row in checkpoints:
        if row.model_hash in answer.outdated:
            change_state(c, row, "retired", answer.failed[row.model_hash], SERVICE_ACTOR, now)
        elif row.model_hash in issued:
            retire_older(c, checkpoints, row, now)
