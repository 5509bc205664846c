"""Shown forecasts and how good they were, for curves and pages."""

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, func, select

from forecasting.registry import COMBINED
from monitor.api.database import load_objects
from monitor.api.tables import series
from monitor.api.text import Message
from monitor.features.forecasts.tables import forecast, forecast_score, forecast_withheld


class PastForecast(TypedDict):
    """A shown forecast and the observed value, which is None before the target."""

    issued_at: datetime
    target_at: datetime
    q10: float
    q50: float
    q90: float
    model: str
    observed: float | None
    inside_80: bool | None


def load_past_forecasts(
    c: Connection, series_id: int, horizon_s: float, from_at: datetime, to_at: datetime
) -> list[PastForecast]:
    """Return the newest 400 shown forecasts for targets in (from_at, to_at] at one horizon, oldest first."""
    f, k = forecast.c, forecast_score.c
    rows = load_objects(
        c,
        PastForecast,
        select(f.issued_at, f.target_at, f.q10, f.q50, f.q90, f.model, k.observed, k.inside_80)
        .join(forecast_score, k.forecast_id == f.id, isouter=True)
        .where(f.series_id == series_id, f.horizon_s == horizon_s, f.shown, f.target_at > from_at, f.target_at <= to_at)
        .order_by(f.target_at.desc())
        .limit(400),
    )
    return rows[::-1]


class WithheldForecast(TypedDict):
    """A forecast that was not shown."""

    issued_at: datetime
    model: str
    reason: Message


def load_withheld(c: Connection, series_id: int) -> WithheldForecast | None:
    """Return why the newest forecast of a series was withheld; None if every model was issued since.

    The reason of the combined forecast comes first.
    """
    w, f = forecast_withheld.c, forecast.c
    query = select(w.issued_at, w.model, w.reason, w.reason_id, w.reason_values).where(w.series_id == series_id)
    query = query.order_by(w.issued_at.desc(), w.model != COMBINED, w.id.desc()).limit(1)
    rows = load_objects(c, WithheldForecast, query)
    newest = c.execute(select(func.max(f.issued_at)).where(f.series_id == series_id)).scalar()
    return next((row for row in rows if newest is None or newest <= row["issued_at"]), None)


ROLLED_DAYS: Final = 90


class RolledCoverage(TypedDict):
    """Share of the observations of a series inside the 80 % interval at one horizon, over 30 forecasts in a row."""

    station: str
    quantity: str
    horizon_s: float
    newest: float
    lowest: float
    n: int  # scored forecasts of the newest 90 days


def load_rolled(c: Connection, site: str) -> list[RolledCoverage]:
    """Return the coverage of the 80 % interval over 30 shown forecasts in a row: the newest, and the lowest in 90 days.

    A series and horizon without 30 scored forecasts is left out.
    """
    # The page starts without numpy, which only this table needs.
    import numpy as np

    from forecasting.evaluation.distribution import ROLLING, roll

    f, k, s = forecast.c, forecast_score.c, series.c
    scored = (s.site == site, s.id == f.series_id, k.forecast_id == f.id, f.shown)
    newest = c.execute(select(func.max(f.target_at)).where(*scored)).scalar()
    if newest is None:
        return []
    rows = c.execute(
        select(s.station, s.quantity, f.horizon_s, k.inside_80)
        .where(*scored, f.target_at > newest - timedelta(days=ROLLED_DAYS))
        .order_by(s.station, s.quantity, f.horizon_s, f.target_at, f.id)
    )
    found: list[RolledCoverage] = []
    for (station, quantity, horizon_s), group in groupby(rows, lambda r: (r.station, r.quantity, r.horizon_s)):
        held = roll(np.array([float(r.inside_80) for r in group]))
        if held.size:
            row: Any = {"station": station, "quantity": quantity, "horizon_s": horizon_s}
            row |= {"newest": float(held[-1]), "lowest": float(held.min()), "n": int(held.size) + ROLLING - 1}
            found.append(row)
    return found
