"""Keep sums of forecast scores up to date: sums of each month, and coverage of the newest thirty forecasts.

When scores are added or deleted, the sums of the affected months and rows are computed again from all of their scores.
Therefore the sums do not depend on the order of the changes.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, func, insert, select, update

from monitor.api.tables import series
from monitor.features.forecasts.tables import forecast, forecast_month, forecast_score

# Number of consecutive forecasts in a rolling sum.
ROLLED: Final = 30
_F, _K, _M, _S = forecast.c, forecast_score.c, forecast_month.c, series.c
_SCORED: Final = forecast.join(forecast_score, _K.forecast_id == _F.id)


class ScoreSpan(NamedTuple):
    """The scored forecasts of one series, model and horizon with targets from `first_at` to `last_at`."""

    series_id: int
    model: str
    horizon_s: float
    hindcast: bool
    first_at: datetime
    last_at: datetime


def find_spans(c: Connection, which: ColumnElement[bool]) -> list[ScoreSpan]:
    """Return the spans of scores.

    Args:
        which: Condition on `forecast_score`.
    """
    group = (_F.series_id, _F.model, _F.horizon_s, _F.hindcast)
    scored = _F.id.in_(select(_K.forecast_id).where(which))
    query = select(*group, func.min(_F.target_at), func.max(_F.target_at)).where(scored).group_by(*group)
    return [ScoreSpan(*row) for row in c.execute(query)]


def sum_up(c: Connection, spans: Iterable[ScoreSpan]) -> None:
    """Compute the sums of spans from their present scores.

    The rows of the series are locked. A transaction that adds scores of the same series waits, and then includes these
    scores in its sums.
    """
    changed = list(spans)
    is_changed = _S.id.in_({span.series_id for span in changed})
    c.execute(select(_S.id).where(is_changed).order_by(_S.id).with_for_update())
    for span in changed:
        _sum_months(c, span)
        # The rolling sums of the scores of the span change, and those of the scores after it that contain some of them.
        at = select(_F.target_at).select_from(_SCORED).where(_is_of(span)).offset(ROLLED - 2).limit(1)
        from_at = c.execute(at.where(_F.target_at < span.first_at).order_by(_F.target_at.desc())).scalar()
        until_at = c.execute(at.where(_F.target_at > span.last_at).order_by(_F.target_at)).scalar()
        row: Any = {"order_by": (_F.target_at, _F.issued_at, _F.id), "rows": (1 - ROLLED, 0)}
        inside = (func.sum(case((column, 1), else_=0)).over(**row) for column in (_K.inside_80, _K.inside_95))
        query = select(_F.id, _F.target_at, func.count().over(**row), *inside).select_from(_SCORED).where(_is_of(span))
        query = query if from_at is None else query.where(_F.target_at >= from_at)
        query = query if until_at is None else query.where(_F.target_at <= until_at)
        forecast_id, target_at, *sums = query.subquery().c
        names = ("rolled", "rolled_80", "rolled_95")
        statement = update(forecast_score).where(_K.forecast_id == forecast_id, target_at >= span.first_at)
        c.execute(statement.values(dict(zip(names, sums, strict=True))))


def sum_up_joined(c: Connection, stays: int, goes: int) -> None:
    """Compute the sums of a series that has taken over the rows of another one.

    Args:
        stays: Id of the series.
        goes: Id of the other series.
    """
    c.execute(delete(forecast_month).where(_M.series_id.in_((stays, goes))))
    forecast_ids = select(_F.id).where(_F.series_id == stays)
    sum_up(c, find_spans(c, _K.forecast_id.in_(forecast_ids)))


def order_scores(ids: Select[Any]) -> Select[Any]:
    """Return a query of ids of scores, ordered so that scores of the same sum are consecutive."""
    order = (_F.series_id, _F.model, _F.horizon_s, _F.hindcast, _F.target_at)
    return select(_F.id).where(_F.id.in_(ids)).order_by(*order)


def delete_scores(c: Connection, which: ColumnElement[bool]) -> int:
    """Delete scores and update the sums; return how many scores were deleted."""
    spans = find_spans(c, which)
    count = c.execute(delete(forecast_score).where(which)).rowcount
    sum_up(c, spans)
    return int(count)


def _is_of(span: ScoreSpan) -> ColumnElement[bool]:
    """Return the condition that a forecast has series, model, horizon and kind of a span."""
    group = (_F.series_id == span.series_id, _F.model == span.model, _F.horizon_s == span.horizon_s)
    return and_(*group, _F.hindcast.is_(span.hindcast))


def _sum_months(c: Connection, span: ScoreSpan) -> None:
    """Compute the sums of the months of a span."""
    start = span.first_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (span.last_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    month = func.substr(_F.target_at, 1, 7)
    stage_and_situation = (func.coalesce(_F.stage, ""), func.coalesce(_K.situation, ""))
    key = (_F.series_id, _F.model, _F.horizon_s, month, _F.hindcast, *stage_and_situation)
    sums: dict[str, Any] = {"n": func.count()}
    sums |= {k: func.sum(case((_K[k], 1), else_=0)) for k in ("inside_80", "inside_95")}
    sums |= {k: func.sum(func.abs(_K[k])) for k in ("error", "baseline_error", "persistence_error")}
    sums |= {k: func.sum(_K[k]) for k in ("pinball", "winkler_80")}
    sums |= {"width_80": func.sum(_F.q90 - _F.q10), "width_95": func.sum(_F.q975 - _F.q025)}
    sums |= {"crps_n": func.count(_K.crps), "crps": func.coalesce(func.sum(_K.crps), 0.0), "pit_n": func.count(_K.pit)}
    tails = {"pit_below_10": _K.pit < 0.1, "pit_above_90": _K.pit > 0.9}
    sums |= {name: func.sum(case((is_in_tail, 1), else_=0)) for name, is_in_tail in tails.items()}
    names = ["series_id", "model", "horizon_s", "month", "hindcast", "stage", "situation", *sums]
    group = (_M.series_id == span.series_id, _M.model == span.model, _M.horizon_s == span.horizon_s)
    is_in_months = _M.month.between(f"{start:%Y-%m}", f"{span.last_at:%Y-%m}")
    c.execute(delete(forecast_month).where(*group, _M.hindcast.is_(span.hindcast), is_in_months))
    rows = select(*key, *sums.values()).select_from(_SCORED)
    rows = rows.where(_is_of(span), _F.target_at >= start, _F.target_at < end).group_by(*key)
    c.execute(insert(forecast_month).from_select(names, rows))
