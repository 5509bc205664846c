"""Forecasts that are shown, read from the public views `forecast_history` and `forecast_vs_observed`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Connection, Double, Text, and_, case, column, distinct, func, select, table

from monitor.readings.tables import series
from monitor.sites.records import Criterion
from monitor.storage.column_types import Instant
from monitor.storage.views import has_view

_ISSUED = table(
    "forecast_history",
    *(column(name, Text) for name in ("site", "station", "quantity", "model")),
    *(column(name, Instant) for name in ("issued_at", "data_until", "target_at")),
    *(column(name, Double) for name in ("q10", "q50", "q90", "data_value")),
    column("shown", Boolean),
)
_SCORED = table(
    "forecast_vs_observed",
    *(column(name, Text) for name in ("site", "station", "quantity")),
    *(column(name, Instant) for name in ("issued_at", "scored_at")),
    *(column(name, Double) for name in ("horizon_s", "error", "persistence_error")),
    *(column(name, Boolean) for name in ("shown", "inside_80")),
)


@dataclass(frozen=True, slots=True)
class ShownForecast:
    """The newest shown issue of a series: quantiles by rising target."""

    issued_at: datetime
    data_until: datetime
    data_value: float
    horizons_s: tuple[float, ...]  # from `data_until` to the targets
    q10: tuple[float, ...]
    q50: tuple[float, ...]
    q90: tuple[float, ...]
    model: str


def load_shown_forecasts(connection: Connection, series_ids: Sequence[int], now: datetime) -> dict[int, ShownForecast]:
    """Return the newest shown issue of each series as of `now`, by series id."""
    found: dict[int, ShownForecast] = {}
    if not has_view(_ISSUED.name):
        return found
    for series_id in series_ids:
        f, s = _ISSUED.c, series.c
        is_shown = and_(
            s.id == series_id,
            f.site == s.site,
            f.station == s.station,
            f.quantity == s.quantity,
            f.issued_at <= now,
            f.shown,
        )
        newest = connection.execute(select(func.max(f.issued_at)).where(is_shown)).scalar()
        if newest is None:
            continue
        issue = connection.execute(
            select(_ISSUED).where(is_shown, f.issued_at == newest).order_by(f.target_at, f.model)
        ).all()
        # A horizon has one shown model. Of several models for one target, the first is used.
        rows = [row for i, row in enumerate(issue) if i == 0 or row.target_at > issue[i - 1].target_at]
        found[series_id] = ShownForecast(
            rows[0].issued_at,
            rows[0].data_until,
            rows[0].data_value,
            tuple((row.target_at - row.data_until).total_seconds() for row in rows),
            tuple(row.q10 for row in rows),
            tuple(row.q50 for row in rows),
            tuple(row.q90 for row in rows),
            "+".join(sorted({row.model for row in rows})),
        )
    return found


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """How good the shown forecasts of a site were at one horizon; None where none was scored."""

    issues: int  # distinct issue times
    mae_mm: float | None
    mae_persistence_mm: float | None
    coverage_80: float | None  # share of the observations inside the 80 % interval


def load_shown_record(
    connection: Connection, site_id: str, criterion: Criterion, horizon_s: float, now: datetime
) -> ShownRecord:
    """Return error and coverage of the shown forecasts that a criterion reads.

    Scores written after `now` are left out.
    """
    if not has_view(_SCORED.name):
        return ShownRecord(0, None, None, None)
    f = _SCORED.c
    is_read = (
        f.quantity.like("displacement%") if criterion.quantity == "displacement" else f.quantity == criterion.quantity
    )
    query = select(
        func.count(distinct(f.issued_at)),
        func.avg(func.abs(f.error)),
        func.avg(func.abs(f.persistence_error)),
        func.avg(case((f.inside_80, 1.0), else_=0.0)),
    ).where(
        f.site == site_id,
        f.station.in_(criterion.stations),
        f.horizon_s == horizon_s,
        f.shown,
        f.scored_at <= now,
        is_read,
    )
    row = connection.execute(query).one()
    return ShownRecord(int(row[0]), *(None if value is None else float(value) for value in row[1:]))
