"""What stored forecasts were worth: one row per scored forecast."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from forecasting.serving.records import ScoredError
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


def load_errors(
    c: Connection, names: Mapping[int, str], models: Iterable[str], now: datetime, since: datetime
) -> list[ScoredError]:
    """What the own forecasts of networks erred as known at `now`, beside the simple average of the same issue.

    Also those of a hindcast, which networks made of a past that they had not seen.

    `names`: series id to the name that the rows bear as station; `models`: ids of the networks; `now`: scores written
    later are left out; `since`: only forecasts issued after it.
    """
    f, k = forecast.c, forecast_score.c
    query = (
        select(f.series_id, f.model, f.horizon_s, f.issued_at, k.error, k.baseline_error)
        .join(forecast_score, k.forecast_id == f.id)
        .where(f.series_id.in_(list(names)), f.model.in_(list(models)), f.issued_at > since, k.scored_at <= now)
        .order_by(f.issued_at, f.id)
    )
    return [
        ScoredError(names[r.series_id], r.model, r.horizon_s, epoch_s(r.issued_at), r.error, r.baseline_error)
        for r in c.execute(query)
    ]


def load_forecasters(
    c: Connection, names: Mapping[int, str], horizon_s: float, now: datetime, since: datetime, *, hindcast: bool = False
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """Return who forecast at a horizon in a span, as (model, hash), and who was shown last, or None.

    Nothing of a `hindcast` was shown: there `auto` takes its place.
    """
    f = forecast.c
    of = (f.series_id.in_(list(names)), f.horizon_s == horizon_s, f.hindcast.is_(hindcast))
    at = (*of, f.issued_at >= since, f.issued_at <= now)
    found = c.execute(select(f.model, f.model_hash).where(*at).distinct().order_by(f.model, f.model_hash)).all()
    served = (f.model == "auto") if hindcast else f.shown
    last = c.execute(
        select(f.model, f.model_hash).where(*at, served).order_by(f.issued_at.desc(), f.model).limit(1)
    ).first()
    return [(r.model, r.model_hash) for r in found], None if last is None else (last.model, last.model_hash)
