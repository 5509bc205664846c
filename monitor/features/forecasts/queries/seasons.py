"""Trend, season and remainder of each series, as the newest night found them."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from monitor.api.database import fill_row, load_view, save_rows
from monitor.api.tables import series as series_table
from monitor.api.text import code_version, convert_reason, format_iso, from_epoch_s
from monitor.features.forecasts.tables import season

if TYPE_CHECKING:  # a season is found in a worker: who reads them needs no numpy
    from forecasting.decomposition.season import Season

PLACES = 6
"""Of the unit of a series: finer than any instrument."""


def save_seasons(c: Connection, found: "Mapping[int, Season]", now: datetime) -> None:
    """Keep what was found of each series in the place of what was found before."""
    for series_id, one in found.items():
        first_at, last_at = (from_epoch_s(at) if one.rows else None for at in (one.first_s, one.last_s))
        columns = (one.value, one.trend, one.season, one.remainder)
        components = [
            [format_iso(from_epoch_s(at)), *(round(v, PLACES) for v in values)]
            for at, *values in zip(one.at_s, *columns, strict=True)
        ]
        day_parts = [[k * 24 // len(one.day_parts), round(value, PLACES)] for k, value in enumerate(one.day_parts)]
        facts: dict[str, Any] = {"series_id": series_id, "computed_at": now, "first_at": first_at, "last_at": last_at}
        facts["reason"] = "" if one.reason is None else convert_reason(one.reason)
        facts |= {"code_version": code_version(), "components": components, "day_parts": day_parts}
        save_rows(c, season, [fill_row(season, one, **facts)])


def load_computed(c: Connection, site: str) -> dict[int, datetime]:
    """When each series of a site was split last."""
    found = select(season.c.series_id, season.c.computed_at).join(series_table, series_table.c.id == season.c.series_id)
    return {row.series_id: row.computed_at for row in c.execute(found.where(series_table.c.site == site))}


def load_season(c: Connection, site: str, station: str) -> list[dict[str, Any]]:
    """The splits of a station by quantity, with components and hours of the day as columns; none before a night."""
    heads = load_view(c, "series_seasons", order_by=("quantity",), site=site, station=station)
    rows = load_view(c, "season_components", order_by=("quantity", "at"), site=site, station=station)
    hours = load_view(c, "season_hours", order_by=("quantity", "hour_utc"), site=site, station=station)
    for head in heads:
        mine = [row for row in rows if row["quantity"] == head["quantity"]]
        of_day = [row for row in hours if row["quantity"] == head["quantity"]]
        head["day"] = {name: [row[name] for row in of_day] for name in ("hour_utc", "season")}
        head["components"] = {
            name: [row[name] for row in mine] for name in ("at", "value", "trend", "season", "remainder")
        }
    return heads
