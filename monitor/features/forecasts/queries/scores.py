"""What stored forecasts were worth: one row per scored forecast."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from forecasting.registry import COMBINED
from monitor.api.database import match_given
from monitor.api.tables import series
from monitor.api.text import epoch_s
from monitor.features.forecasts.scored import Scored
from monitor.features.forecasts.tables import forecast, forecast_score


def load_scored(
    c: Connection,
    names: Mapping[int, str],
    horizon_s: float,
    now: datetime,
    *,
    model: str | None = None,
    model_hash: str | None = None,
    since: datetime | None = None,
    newest: int | None = None,
    hindcast: bool = False,
) -> list[Scored]:
    """Return scored forecasts of some series at one horizon as known at `now`.

    Args:
        names: series id to the name that the rows bear as station.
        now: scores written later are left out.
        model: only of this model; None: what was shown, whichever model it was.
        model_hash: only of this checkpoint.
        newest: only so many of each series, the newest; None: all.
        hindcast: what was made afterwards, in place of what was issued.
    """
    f, k = forecast.c, forecast_score.c
    query = (
        select(f.issued_at, k.error, k.baseline_error, k.inside_80, k.inside_95, f.latency_ms, f.stage)
        .add_columns(series.c.unit, k.crps, k.situation)  # in the order of `Scored`
        .join(forecast_score, k.forecast_id == f.id)
        .join(series, series.c.id == f.series_id)
        .where(f.horizon_s == horizon_s, k.scored_at <= now, f.hindcast.is_(hindcast))
        .order_by(f.issued_at.desc())
        .limit(newest)
    )
    query = query.where(f.shown) if model is None else query.where(f.model == model)
    query = query.where(*match_given(f.model_hash, model_hash))
    if since is not None:
        query = query.where(f.issued_at >= since)
    return [
        Scored(epoch_s(issued_at), name, *figures)
        for series_id, name in names.items()
        for issued_at, *figures in c.execute(query.where(f.series_id == series_id))
    ]


def load_forecasters(
    c: Connection, names: Mapping[int, str], horizon_s: float, now: datetime, since: datetime, *, hindcast: bool = False
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """Return who forecast at a horizon in a span, as (model, hash), and who was shown last, or None.

    No forecast of a `hindcast` was shown; the combined forecast is returned for it.
    """
    f = forecast.c
    of = (f.series_id.in_(list(names)), f.horizon_s == horizon_s, f.hindcast.is_(hindcast))
    at = (*of, f.issued_at >= since, f.issued_at <= now)
    found = c.execute(select(f.model, f.model_hash).where(*at).distinct().order_by(f.model, f.model_hash)).all()
    served = (f.model == COMBINED) if hindcast else f.shown
    last = c.execute(
        select(f.model, f.model_hash).where(*at, served).order_by(f.issued_at.desc(), f.model).limit(1)
    ).first()
    return [(r.model, r.model_hash) for r in found], None if last is None else (last.model, last.model_hash)
