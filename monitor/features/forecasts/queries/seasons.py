"""Store and load trend, season and remainder of each series, which a job computes every night."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from monitor.api.database import fill_row, load_view, save_rows
from monitor.api.tables import series as series_table
from monitor.api.text import code_version, convert_reason, format_iso, from_epoch_s
from monitor.features.forecasts.tables import season

# Seasons are computed in a worker process. This process does not import numpy for them.
if TYPE_CHECKING:
    from forecasting.decomposition.season import Season

# Decimal places of stored values in the unit of the series, finer than any instrument.
PLACES = 6


def save_seasons(c: Connection, seasons: "Mapping[int, Season]", now: datetime) -> None:
    """Store the split of each series, by its id, in place of the former one."""
    for series_id, split in seasons.items():
        first_at, last_at = (from_epoch_s(at) if split.rows else None for at in (split.first_s, split.last_s))
        columns = (split.value, split.trend, split.season, split.remainder)
        components = [
            [format_iso(from_epoch_s(at)), *(round(v, PLACES) for v in values)]
            for at, *values in zip(split.at_s, *columns, strict=True)
        ]
        day_parts = [[k * 24 // len(split.day_parts), round(value, PLACES)] for k, value in enumerate(split.day_parts)]
        facts: dict[str, Any] = {"series_id": series_id, "computed_at": now, "first_at": first_at, "last_at": last_at}
        facts["reason"] = "" if split.reason is None else convert_reason(split.reason)
        facts |= {"code_version": code_version(), "components": components, "day_parts": day_parts}
        save_rows(c, season, [fill_row(season, split, **facts)])


def load_computed(c: Connection, site: str) -> dict[int, datetime]:
    """Load by the id of a series when it was split last."""
    query = select(season.c.series_id, season.c.computed_at).join(series_table, series_table.c.id == season.c.series_id)
    return {row.series_id: row.computed_at for row in c.execute(query.where(series_table.c.site == site))}


def load_season(c: Connection, site: str, station: str) -> list[dict[str, Any]]:
    """Load the splits of a station by quantity, with components and hours of the day as columns."""
    heads = load_view(c, "series_seasons", order_by=("quantity",), site=site, station=station)
    rows = load_view(c, "season_components", order_by=("quantity", "at"), site=site, station=station)
    hours = load_view(c, "season_hours", order_by=("quantity", "hour_utc"), site=site, station=station)
    for head in heads:
        components = [row for row in rows if row["quantity"] == head["quantity"]]
        day_parts = [row for row in hours if row["quantity"] == head["quantity"]]
        head["day"] = {name: [row[name] for row in day_parts] for name in ("hour_utc", "season")}
        head["components"] = {
            name: [row[name] for row in components] for name in ("at", "value", "trend", "season", "remainder")
        }
    return heads
