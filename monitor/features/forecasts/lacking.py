"""Forecasts and networks that a site file asks for and that do not exist yet."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.registry import TRAINING_ROWS, count_needed, is_network
from forecasting.serving.conformal import MINIMUM_SCORES
from monitor.api.extras import is_installed
from monitor.api.queries.models import (
    FRESH_STEPS,
    AwaitedModel,
    LackingModels,
    SitePanel,
    await_model,
    find_history_start,
    list_panels,
    load_models,
)
from monitor.api.queries.readings import load_extents, load_ids
from monitor.api.sites import Site, number_declared_series
from monitor.api.text import epoch_s
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
        networks = [kind for kind in site.forecast.models if is_network(kind) and has_torch and panel.is_motion]
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
    if not missing and not unforecast:
        return
    step_s, interval_s = panel.cadence.step_s, panel.cadence.interval_s
    series_ids = [series.series_id for series in panel.series] if missing else sorted(unforecast)
    extents = load_extents(connection, series_ids, find_history_start(now, step_s, TRAINING_ROWS), now)
    if unforecast:
        fresh_s = epoch_s(now) - FRESH_STEPS * step_s
        current = {i: extent for i, extent in extents.items() if i in unforecast and epoch_s(extent.last) >= fresh_s}
        needed = MINIMUM_SCORES + round(panel.cadence.horizons_s[0] / step_s) + 1
        yield from await_model(
            FORECAST,
            "forecast",
            "forecast",
            "forecast",
            current,
            now,
            quantity=panel.quantity,
            is_trained=False,
            every_s=interval_s,
            step_s=step_s,
            needed=needed,
        )
    for kind in missing:
        yield from await_model(
            kind,
            "forecast",
            "train",
            "forecast",
            extents,
            now,
            quantity=panel.quantity,
            is_trained=True,
            every_s=interval_s,
            step_s=step_s,
            needed=count_needed(kind),
        )
