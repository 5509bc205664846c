"""What stored forecasts were worth, as the life cycle of models counts it: one row per scored forecast.

A hindcast tells how good a model would have been; no verdict counts it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, distinct, func, insert, select, update

from forecasting.serving.promotion import Scored
from forecasting.serving.records import ScoredError
from monitor.domain.instants import epoch_s
from monitor.domain.site import Criterion
from monitor.store.database.rows import match_given
from monitor.store.schema import tables as t
from monitor.store.schema.tables import forecast, forecast_score, series

ROLLED: Final = 30  # forecasts in a row
_F, _K, _M, _S = t.forecast.c, t.forecast_score.c, t.forecast_month.c, t.series.c
_SCORED: Final = t.forecast.join(t.forecast_score, _K.forecast_id == _F.id)


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
        _count_rolled(c, one)


def sum_up_joined(c: Connection, stays: int, goes: int) -> None:
    """Add up a series that took the rows of another one over."""
    c.execute(delete(t.forecast_month).where(_M.series_id.in_((stays, goes))))
    mine = select(_F.id).where(_F.series_id == stays)
    sum_up(c, find_spans(c, _K.forecast_id.in_(mine)))


def order_scores(ids: Select[Any]) -> Select[Any]:
    """The ids of some scores, those together that are added up together."""
    order = (_F.series_id, _F.model, _F.horizon_s, _F.hindcast, _F.target_at)
    return select(_F.id).where(_F.id.in_(ids)).order_by(*order)


def delete_scores(c: Connection, which: ColumnElement[bool]) -> int:
    """Delete some scores with their part in all sums; returns how many went."""
    spans = find_spans(c, which)
    count = c.execute(delete(t.forecast_score).where(which)).rowcount
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
    c.execute(delete(t.forecast_month).where(of))
    rows = select(*key, *sums.values()).select_from(_SCORED)
    rows = rows.where(_mine(one), _F.target_at >= start, _F.target_at < end).group_by(*key)
    c.execute(insert(t.forecast_month).from_select(names, rows))


def _count_rolled(c: Connection, one: ScoreSpan) -> None:
    """Of each score of the span, and of those behind it that reach back into it."""
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
    behind = update(t.forecast_score).where(_K.forecast_id == number, target_at >= one.first_at)
    c.execute(behind.values(dict(zip(names, rolled, strict=True))))


NEWEST = 250  # issue times per series: more than any verdict looks back, and a bound on what is read


def load_scored(
    c: Connection,
    names: Mapping[int, str],
    horizon_s: float,
    now: datetime,
    *,
    model: str | None = None,
    model_hash: str | None = None,
    since: datetime | None = None,
    newest: int | None = NEWEST,
    hindcast: bool = False,
) -> list[Scored]:
    """Scored forecasts of some series at one horizon as known at `now`, newest `newest` of each series.

    Args:
        names: series id to the name that the rows bear as station.
        now: scores written later are left out.
        model: only of this model; None: what was shown, whichever model it was.
        model_hash: only of this checkpoint.
        newest: rows per series; None reads all.
        hindcast: what was made afterwards, in place of what was issued.
    """
    f, k = forecast.c, forecast_score.c
    auto, auto_score = forecast.alias(), forecast_score.alias()
    a = auto.c
    is_same_issue = (a.series_id == f.series_id, a.issued_at == f.issued_at, a.horizon_s == f.horizon_s)
    is_auto = (a.model == "auto", a.model_hash == "")
    query = (
        select(f.issued_at, k.error, k.baseline_error, k.inside_80, k.inside_95, f.latency_ms, k.winkler_80, f.stage)
        .add_columns(series.c.unit, k.pinball, k.crps, k.pit, k.situation, auto_score.c.crps)  # as `Scored` has them
        .join(forecast_score, k.forecast_id == f.id)
        .join(series, series.c.id == f.series_id)
        .join(auto, and_(*is_same_issue, *is_auto), isouter=True)
        .join(auto_score, auto_score.c.forecast_id == a.id, isouter=True)
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
    """Who forecast at a horizon in a span, as (model, hash), and who was shown last (the champion), or None.

    Nothing of a `hindcast` was shown: there `auto` is the champion.
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


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """What the shown forecasts of a site were worth at one horizon; None where none was scored."""

    issues: int  # distinct issue times
    mae_mm: float | None
    mae_persistence_mm: float | None
    coverage_80: float | None  # share of the observations inside the 80 % interval


def load_shown_record(
    c: Connection, site: str, criterion: Criterion, horizon_s: float, now: datetime, since: datetime | None = None
) -> ShownRecord:
    """Mean absolute error and coverage of the shown forecasts that a criterion reads, issued from `since` on."""
    f, k, q = forecast.c, forecast_score.c, series.c.quantity
    is_read = q.like("displacement%") if criterion.quantity == "displacement" else q == criterion.quantity
    query = (
        select(
            func.count(distinct(f.issued_at)),
            func.avg(func.abs(k.error)),
            func.avg(func.abs(k.persistence_error)),
            func.avg(case((k.inside_80, 1.0), else_=0.0)),
        )
        .join(forecast_score, k.forecast_id == f.id)
        .join(series, series.c.id == f.series_id)
        .where(
            series.c.site == site,
            series.c.station.in_(criterion.stations),
            f.horizon_s == horizon_s,
            f.shown,
            k.scored_at <= now,
            is_read,
        )
    )
    row = c.execute(query if since is None else query.where(f.issued_at >= since)).one()
    return ShownRecord(int(row[0]), *(None if value is None else float(value) for value in row[1:]))
