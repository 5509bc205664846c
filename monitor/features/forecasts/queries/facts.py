"""Forecasts as criteria read them."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from monitor.api.decision import ForecastFact
from monitor.api.tables import series
from monitor.api.text import epoch_s
from monitor.features.forecasts.tables import forecast


def load_forecast_facts(
    connection: Connection, site_id: str, now: datetime, stations: Collection[str], horizons_s: Collection[float]
) -> tuple[ForecastFact, ...]:
    """Return the newest shown issue of each series of these stations at these horizons, as known at `now`."""
    f, s = forecast.c, series.c
    newest = (
        select(f.series_id, func.max(f.issued_at).label("at"))
        .join(series, s.id == f.series_id)
        .where(s.site == site_id, s.station.in_(sorted(stations)), f.issued_at <= now, f.shown)
        .group_by(f.series_id)
        .subquery()
    )
    rows = connection.execute(
        select(s.station, s.quantity, f.data_until, f.target_at, f.horizon_s, f.q10, f.q50, f.q90)
        .add_columns(f.data_value, f.model, f.shown, f.q025, f.q975)  # in the order of `ForecastFact`
        .select_from(forecast)
        .join(series, s.id == f.series_id)
        .join(newest, and_(newest.c.series_id == f.series_id, newest.c.at == f.issued_at))
        .where(f.shown, f.horizon_s.in_(sorted(horizons_s)))
        .order_by(s.station, s.quantity, f.target_at, f.model)
    )
    return tuple(
        ForecastFact(station, quantity, epoch_s(data_until), epoch_s(target_at), *figures)
        for station, quantity, data_until, target_at, *figures in rows
    )
