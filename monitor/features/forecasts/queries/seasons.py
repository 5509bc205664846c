"""Trend, season and remainder of each series, as the newest night found them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, case, distinct, func, select

from monitor.alerts.tables import alert
from monitor.canonical import code_version
from monitor.decision.changes import AlertCategory
from monitor.decision.records import instant
from monitor.features.anomalies.tables import anomaly
from monitor.features.forecasts.tables import forecast, forecast_score, season
from monitor.readings.tables import series as series_table
from monitor.storage.rows import fill_row, save_rows
from monitor.storage.views import load_view
from monitor.text.instants import format_iso
from monitor.text.reasons import describe


def count_issues(c: Connection) -> dict[str, int]:
    """Issues of each forecasting model, hindcasts left out."""
    f = forecast.c
    query = select(f.model, func.count(f.issued_at.distinct())).where(~f.hindcast).group_by(f.model)
    return {str(model): int(count) for model, count in c.execute(query)}


def find_peak_level(c: Connection) -> int:
    """The highest level that a hazard alert ever reached; 0 before the first."""
    a = alert.c
    return int(c.execute(select(func.max(a.peak_level)).where(a.ledger == AlertCategory.HAZARD)).scalar() or 0)


def load_newest_issues(c: Connection) -> Sequence[Row[Any]]:
    """Forecasts of the newest issue of each model with station, quantity and unit, by model, series and horizon."""
    f, s = forecast.c, series_table.c
    newest = select(f.model, func.max(f.issued_at).label("at")).where(~f.hindcast).group_by(f.model).subquery()
    query = (
        select(forecast, s.station, s.quantity, s.unit)
        .join(newest, (newest.c.model == f.model) & (newest.c.at == f.issued_at))
        .join(series_table, s.id == f.series_id)
        .where(~f.hindcast)
        .order_by(f.model, f.series_id, f.horizon_s)
    )
    return c.execute(query).all()


def load_hindcast_errors(c: Connection) -> Sequence[Any]:
    """Model, series, issue, horizon and error of each scored hindcast of a series in mm."""
    f, k, s = forecast.c, forecast_score.c, series_table.c
    query = select(f.model, f.series_id, f.issued_at, f.horizon_s, k.error).where(f.hindcast, s.unit == "mm")
    return c.execute(query.join(forecast_score, k.forecast_id == f.id).join(series_table, s.id == f.series_id)).all()


def summarize_anomalies(c: Connection) -> Sequence[Any]:
    """Of each detector: scores, alarms, series, series with an alarm, its first alarm, and its budget."""
    a = anomaly.c
    alarms, places = func.sum(case((a.alerted, 1), else_=0)), func.count(distinct(case((a.alerted, a.series_id))))
    series, first_at = func.count(distinct(a.series_id)), func.min(case((a.alerted, a.at)))
    query = select(a.detector, func.count(), alarms, series, places, first_at, func.max(a.budget))
    return c.execute(query.group_by(a.detector).order_by(a.detector)).all()


if TYPE_CHECKING:  # a season is found in a worker: who reads them needs no numpy
    from forecasting.decomposition.season import Season

PLACES = 6
"""Of the unit of a series: finer than any instrument."""


def save_seasons(c: Connection, found: "Mapping[int, Season]", now: datetime) -> None:
    """Keep what was found of each series in the place of what was found before."""
    for series_id, one in found.items():
        first_at, last_at = (instant(at) if one.rows else None for at in (one.first_s, one.last_s))
        columns = (one.value, one.trend, one.season, one.remainder)
        components = [
            [format_iso(instant(at)), *(round(v, PLACES) for v in values)]
            for at, *values in zip(one.at_s, *columns, strict=True)
        ]
        day_parts = [[k * 24 // len(one.day_parts), round(value, PLACES)] for k, value in enumerate(one.day_parts)]
        facts: dict[str, Any] = {"series_id": series_id, "computed_at": now, "first_at": first_at, "last_at": last_at}
        facts["reason"] = "" if one.reason is None else describe(one.reason)
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


def list_with_day(c: Connection, site: str) -> frozenset[str]:
    """Stations of which a series has a season of the day."""
    n, s = season.c, series_table.c
    rows = c.execute(
        select(s.station).join(season, n.series_id == s.id).where(s.site == site, n.day_range.is_not(None))
    )
    return frozenset(rows.scalars())
