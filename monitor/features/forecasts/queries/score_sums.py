"""What scores add up to, kept as scores come and go: sums of a month, and how many of the newest thirty lay inside.

All is counted anew for the months and rows that a change touches, never added to: no order of changes shows in it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, func, insert, select, update

from monitor.api.tables import series
from monitor.features.forecasts.tables import forecast, forecast_month, forecast_score

ROLLED: Final = 30  # forecasts in a row
_F, _K, _M, _S = forecast.c, forecast_score.c, forecast_month.c, series.c
_SCORED: Final = forecast.join(forecast_score, _K.forecast_id == _F.id)


class ScoreSpan(NamedTuple):
    """The scored forecasts of one series, model and horizon whose targets lie in a span."""

    series_id: int
    model: str
    horizon_s: float
    hindcast: bool
    first_at: datetime
    last_at: datetime


def find_spans(c: Connection, which: ColumnElement[bool]) -> list[ScoreSpan]:
    """What some scores touch; `which` is a term on `forecast_score`."""
    group = (_F.series_id, _F.model, _F.horizon_s, _F.hindcast)
    scored = _F.id.in_(select(_K.forecast_id).where(which))
    query = select(*group, func.min(_F.target_at), func.max(_F.target_at)).where(scored).group_by(*group)
    return [ScoreSpan(*row) for row in c.execute(query)]


def sum_up(c: Connection, spans: Iterable[ScoreSpan]) -> None:
    """Bring all that is added up of these spans to what their scores are now.

    Who adds scores of the same series at the same time waits: he then counts these too.
    """
    changed = list(spans)
    mine = _S.id.in_({one.series_id for one in changed})
    c.execute(select(_S.id).where(mine).order_by(_S.id).with_for_update())
    for one in changed:
        _sum_months(c, one)
        # rolled sums of each score of the span, and of those behind it that reach back into it
        at = select(_F.target_at).select_from(_SCORED).where(_mine(one)).offset(ROLLED - 2).limit(1)
        from_at = c.execute(at.where(_F.target_at < one.first_at).order_by(_F.target_at.desc())).scalar()
        until_at = c.execute(at.where(_F.target_at > one.last_at).order_by(_F.target_at)).scalar()
        row: Any = {"order_by": (_F.target_at, _F.issued_at, _F.id), "rows": (1 - ROLLED, 0)}
        inside = (func.sum(case((k, 1), else_=0)).over(**row) for k in (_K.inside_80, _K.inside_95))
        query = select(_F.id, _F.target_at, func.count().over(**row), *inside).select_from(_SCORED).where(_mine(one))
        query = query if from_at is None else query.where(_F.target_at >= from_at)
        query = query if until_at is None else query.where(_F.target_at <= until_at)
        found = query.subquery().c
        number, target_at, *rolled = found
        names = ("rolled", "rolled_80", "rolled_95")
        behind = update(forecast_score).where(_K.forecast_id == number, target_at >= one.first_at)
        c.execute(behind.values(dict(zip(names, rolled, strict=True))))


def sum_up_joined(c: Connection, stays: int, goes: int) -> None:
    """Add up a series that took the rows of another one over."""
    c.execute(delete(forecast_month).where(_M.series_id.in_((stays, goes))))
    mine = select(_F.id).where(_F.series_id == stays)
    sum_up(c, find_spans(c, _K.forecast_id.in_(mine)))


def order_scores(ids: Select[Any]) -> Select[Any]:
    """The ids of some scores, those together that are added up together."""
    order = (_F.series_id, _F.model, _F.horizon_s, _F.hindcast, _F.target_at)
    return select(_F.id).where(_F.id.in_(ids)).order_by(*order)


def delete_scores(c: Connection, which: ColumnElement[bool]) -> int:
    """Delete some scores with their part in all sums; returns how many went."""
    spans = find_spans(c, which)
    count = c.execute(delete(forecast_score).where(which)).rowcount
    sum_up(c, spans)
    return int(count)


def _mine(one: ScoreSpan) -> ColumnElement[bool]:
    group = (_F.series_id == one.series_id, _F.model == one.model, _F.horizon_s == one.horizon_s)
    return and_(*group, _F.hindcast.is_(one.hindcast))


def _sum_months(c: Connection, one: ScoreSpan) -> None:
    start = one.first_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (one.last_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    month = func.substr(_F.target_at, 1, 7)
    where = (func.coalesce(_F.stage, ""), func.coalesce(_K.situation, ""))
    key = (_F.series_id, _F.model, _F.horizon_s, month, _F.hindcast, *where)
    sums: dict[str, Any] = {"n": func.count()}
    sums |= {k: func.sum(case((_K[k], 1), else_=0)) for k in ("inside_80", "inside_95")}
    sums |= {k: func.sum(func.abs(_K[k])) for k in ("error", "baseline_error", "persistence_error")}
    sums |= {k: func.sum(_K[k]) for k in ("pinball", "winkler_80")}
    sums |= {"width_80": func.sum(_F.q90 - _F.q10), "width_95": func.sum(_F.q975 - _F.q025)}
    sums |= {"crps_n": func.count(_K.crps), "crps": func.coalesce(func.sum(_K.crps), 0.0), "pit_n": func.count(_K.pit)}
    ends = {"pit_below_10": _K.pit < 0.1, "pit_above_90": _K.pit > 0.9}
    sums |= {name: func.sum(case((lies, 1), else_=0)) for name, lies in ends.items()}
    names = ["series_id", "model", "horizon_s", "month", "hindcast", "stage", "situation", *sums]
    group = (_M.series_id == one.series_id, _M.model == one.model, _M.horizon_s == one.horizon_s)
    of = and_(*group, _M.hindcast.is_(one.hindcast), _M.month.between(f"{start:%Y-%m}", f"{one.last_at:%Y-%m}"))
    c.execute(delete(forecast_month).where(of))
    rows = select(*key, *sums.values()).select_from(_SCORED)
    rows = rows.where(_mine(one), _F.target_at >= start, _F.target_at < end).group_by(*key)
    c.execute(insert(forecast_month).from_select(names, rows))
