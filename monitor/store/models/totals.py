"""Totals over all sites of a database: what it holds, and what forecasters and detectors were worth in it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, distinct, func, select

from monitor.domain.alert import AlertCategory
from monitor.store.schema import tables as t


def count_issues(c: Connection) -> dict[str, int]:
    """Issues of each forecasting model, hindcasts left out."""
    f = t.forecast.c
    query = select(f.model, func.count(f.issued_at.distinct())).where(~f.hindcast).group_by(f.model)
    return {str(model): int(count) for model, count in c.execute(query)}


def find_peak_level(c: Connection) -> int:
    """The highest level that a hazard alert ever reached; 0 before the first."""
    a = t.alert.c
    return int(c.execute(select(func.max(a.peak_level)).where(a.ledger == AlertCategory.HAZARD)).scalar() or 0)


def load_newest_issues(c: Connection) -> Sequence[Row[Any]]:
    """Forecasts of the newest issue of each model with station, quantity and unit, by model, series and horizon."""
    f, s = t.forecast.c, t.series.c
    newest = select(f.model, func.max(f.issued_at).label("at")).where(~f.hindcast).group_by(f.model).subquery()
    query = (
        select(t.forecast, s.station, s.quantity, s.unit)
        .join(newest, (newest.c.model == f.model) & (newest.c.at == f.issued_at))
        .join(t.series, s.id == f.series_id)
        .where(~f.hindcast)
        .order_by(f.model, f.series_id, f.horizon_s)
    )
    return c.execute(query).all()


def load_hindcast_errors(c: Connection) -> Sequence[Any]:
    """Model, series, issue, horizon and error of each scored hindcast of a series in mm."""
    f, k, s = t.forecast.c, t.forecast_score.c, t.series.c
    query = select(f.model, f.series_id, f.issued_at, f.horizon_s, k.error).where(f.hindcast, s.unit == "mm")
    return c.execute(query.join(t.forecast_score, k.forecast_id == f.id).join(t.series, s.id == f.series_id)).all()


def summarize_anomalies(c: Connection) -> Sequence[Any]:
    """Of each detector: scores, alarms, series, series with an alarm, its first alarm, and its budget."""
    a = t.anomaly.c
    alarms, places = func.sum(case((a.alerted, 1), else_=0)), func.count(distinct(case((a.alerted, a.series_id))))
    series, first_at = func.count(distinct(a.series_id)), func.min(case((a.alerted, a.at)))
    query = select(a.detector, func.count(), alarms, series, places, first_at, func.max(a.budget))
    return c.execute(query.group_by(a.detector).order_by(a.detector)).all()
