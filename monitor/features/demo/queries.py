"""Queries on the results of a demonstration."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Double, Text, case, column, distinct, func, select, table

from monitor.api.database import has_view
from monitor.api.decision import AlertCategory
from monitor.api.store import Instant
from monitor.api.tables import alert

# Public views of features, with the columns that are read here.
_FORECAST: Final = table(
    "forecast_history",
    *(column(name, Text) for name in ("site", "station", "quantity", "unit", "model", "reason")),
    column("issued_at", Instant),
    *(column(name, Double) for name in ("horizon_s", "q10", "q50", "q90", "data_value")),
    *(column(name, Boolean) for name in ("shown", "hindcast")),
)
_SCORED_FORECAST: Final = table(
    "forecast_vs_observed",
    *(column(name, Text) for name in ("site", "station", "quantity", "unit", "model")),
    column("issued_at", Instant),
    *(column(name, Double) for name in ("horizon_s", "error")),
    column("hindcast", Boolean),
)
_ANOMALY: Final = table(
    "anomalies",
    *(column(name, Text) for name in ("site", "station", "quantity", "detector")),
    column("at", Instant),
    column("budget", Double),
    column("alerted", Boolean),
)


def count_issues(connection: Connection) -> dict[str, int]:
    """Return how many times each forecasting model issued, hindcasts left out."""
    if not has_view(_FORECAST.name):
        return {}
    f = _FORECAST.c
    query = select(f.model, func.count(f.issued_at.distinct())).where(~f.hindcast).group_by(f.model)
    return {str(model): int(count) for model, count in connection.execute(query)}


def find_peak_level(connection: Connection) -> int:
    """Return the highest level that a hazard alert reached; 0 before the first one."""
    a = alert.c
    query = select(func.max(a.peak_level)).where(a.ledger == AlertCategory.HAZARD)
    return int(connection.execute(query).scalar() or 0)


def load_newest_issues(connection: Connection) -> Sequence[Any]:
    """Return the forecasts of the newest issue of each model, by model, series and horizon."""
    if not has_view(_FORECAST.name):
        return []
    f = _FORECAST.c
    newest = select(f.model, func.max(f.issued_at).label("at")).where(~f.hindcast).group_by(f.model).subquery()
    query = (
        select(_FORECAST)
        .join(newest, (newest.c.model == f.model) & (newest.c.at == f.issued_at))
        .where(~f.hindcast)
        .order_by(f.model, f.site, f.station, f.quantity, f.horizon_s)
    )
    return connection.execute(query).all()


def load_hindcast_errors(connection: Connection) -> Sequence[Any]:
    """Return model, series, issue, horizon and error of each scored hindcast of a series in mm."""
    if not has_view(_SCORED_FORECAST.name):
        return []
    f = _SCORED_FORECAST.c
    query = select(f.model, f.site, f.station, f.quantity, f.issued_at, f.horizon_s, f.error)
    return connection.execute(query.where(f.hindcast, f.unit == "mm")).all()


def summarize_anomalies(connection: Connection) -> Sequence[Any]:
    """Return for each detector: scores, alarms, series, series with an alarm, first alarm, and budget."""
    if not has_view(_ANOMALY.name):
        return []
    a = _ANOMALY.c
    series = a.site + "." + a.station + "." + a.quantity
    query = select(
        a.detector,
        func.count(),
        func.sum(case((a.alerted, 1), else_=0)),
        func.count(distinct(series)),
        func.count(distinct(case((a.alerted, series)))),
        func.min(case((a.alerted, a.at))),
        func.max(a.budget),
    )
    return connection.execute(query.group_by(a.detector).order_by(a.detector)).all()
