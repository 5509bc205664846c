"""Forecasts and networks that a site file asks for and that do not exist yet."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from monitor.api.extras import is_installed
from monitor.api.queries.models import AwaitedModel, LackingModels, SitePanel, list_panels, load_models
from monitor.api.queries.readings import load_ids
from monitor.api.sites import Site, number_declared_series
from monitor.features.forecasts.first_forecast import (
    Expectation,
    expect_forecast,
    expect_training,
    find_expectation,
)
from monitor.features.forecasts.queries.forecasts import find_forecast

FORECAST: Final = "forecast"  # the forecasts that need no training


def find_lacking_forecasts(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the forecasts and networks of a site that do not exist yet and whose series have readings."""
    ids = load_ids(connection, site.id)
    models = load_models(connection, site=site.id, kinds={*site.forecast.models})
    living = [model for model in models if model.state != "retired"]
    has_torch = is_installed("torch")
    awaited: list[AwaitedModel] = []
    without: set[int] = set()
    panels = list_panels(site, ids)
    for panel in panels:
        existing = {model.kind for model in living if panel.may_use(model, panels)}
        networks = site.forecast.models if has_torch and panel.is_motion else ()
        missing = [kind for kind in networks if kind not in existing]
        series_ids = [series.series_id for series in panel.series]
        unforecast = {*series_ids} - find_forecast(connection, series_ids)
        without |= unforecast
        awaited += _list_awaited(connection, panel, missing, unforecast, now)
    is_whole = _list_places(panels) >= _list_places(list_panels(site, number_declared_series(site)))
    return LackingModels(tuple(awaited), frozenset(without), frozenset(ids.values()), is_whole)


def _list_places(panels: Iterable[SitePanel]) -> set[tuple[str, str]]:
    """Return station and group of each series."""
    return {(series.station.id, panel.group) for panel in panels for series in panel.series}


def _list_awaited(
    connection: Connection, panel: SitePanel, missing: Sequence[str], unforecast: AbstractSet[int], now: datetime
) -> Iterator[AwaitedModel]:
    step_s = panel.cadence.step_s
    if unforecast:
        steps = round(panel.cadence.horizons_s[0] / step_s)
        expectation = find_expectation(
            connection,
            [series for series in panel.series if series.series_id in unforecast],
            step_s,
            now,
            partial(expect_forecast, steps=steps),
        )
        # A series whose readings have stopped is stale, which the self-monitoring reports.
        if expectation is not None and not expectation.has_stopped:
            yield _await(panel, FORECAST, expectation)
    for kind in missing:
        expectation = find_expectation(connection, panel.series, step_s, now, partial(expect_training, network=kind))
        if expectation is not None:
            yield _await(panel, kind, expectation)


def _await(panel: SitePanel, what: str, expectation: Expectation) -> AwaitedModel:
    is_trained = what != FORECAST
    return AwaitedModel(
        what=what,
        task="forecast",
        job="train" if is_trained else "forecast",
        used_by="forecast",
        quantity=panel.quantity,
        is_trained=is_trained,
        every_s=panel.cadence.interval_s,
        step_s=panel.cadence.step_s,
        rows=expectation.rows,
        needed=expectation.needed,
        at=expectation.at,
        measured=tuple(sorted({series.spec.quantity for series in panel.series})),
    )
