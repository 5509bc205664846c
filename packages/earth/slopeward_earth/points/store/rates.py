"""How fast single radar points move: the least-squares rate of each over a window, worked out by the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, sqrt
from typing import Any, Final

from sqlalchemy import TIMESTAMP, ColumnElement, Connection, Float, String, cast, func, select, type_coerce

from monitor.api.sites import convert
from monitor.api.tables import point, point_observation

MOST: Final = 5000  # of one answer; where there are more, an even share of them
FULL_WINDOW: Final = timedelta(days=365)  # up to which an answer holds as many
LEAST_EPOCHS: Final = 4
YEAR_DAYS: Final = 365.25
CHUNK: Final = 900
Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True, slots=True)
class PointTrend:
    """The line of least squares through the acquisitions of a point."""

    rate_mm_per_year: float | None = None  # along the direction of the set; None with too few acquisitions
    error_mm_per_year: float | None = None  # its standard error, were the errors of acquisitions independent
    epochs: int = 0  # acquisitions
    from_at: datetime | None = None  # the oldest
    newest_at: datetime | None = None  # the newest


@dataclass(frozen=True, slots=True)
class PointRate:
    """One scatterer and its line."""

    pid: str
    latitude: float
    longitude: float
    line: PointTrend


def find_most(window: timedelta) -> int:
    """How many points an answer holds: fewer where each takes more acquisitions to look at.

    >>> find_most(timedelta(days=365)), find_most(timedelta(days=3650))
    (5000, 500)
    """
    return min(MOST, int(MOST * FULL_WINDOW / window))


def load_rates(
    c: Connection, set_id: int, unit: str, box: Box | None, at: datetime, window: timedelta | None = None
) -> tuple[tuple[PointRate, ...], int]:
    """Rates of the points in a box, from (at - window, at] as known at `at`, and how many lie there.

    Of very many there is an even share.
    """
    p = point.c
    where = points_in(set_id, box)
    inside = int(c.execute(select(func.count()).where(*where)).scalar_one())
    step = max(1, ceil(inside / find_most(window or at - _find_oldest(c, set_id, at))))
    places = c.execute(
        select(p.id, p.pid, p.latitude, p.longitude).where(*where, p.id % step == 0).order_by(p.id)
    ).all()
    lines = fit_points(c, [r.id for r in places], unit, at, window)
    return tuple(PointRate(r.pid, r.latitude, r.longitude, lines[r.id]) for r in places), inside


def points_in(set_id: int, box: Box | None) -> list[ColumnElement[bool]]:
    """What holds of the points of a set in a box."""
    p = point.c
    where = [p.point_set_id == set_id]
    if box is not None:
        where += [p.latitude.between(box[1], box[3]), p.longitude.between(box[0], box[2])]
    return where


def _find_oldest(c: Connection, set_id: int, at: datetime) -> datetime:
    """The oldest acquisition of the first point of a set: all share their dates."""
    p, o = point.c, point_observation.c
    first = select(p.id).where(p.point_set_id == set_id).order_by(p.id).limit(1).scalar_subquery()
    oldest = select(o.observed_at).where(o.point_id == first, o.observed_at < at).order_by(o.observed_at).limit(1)
    return c.execute(oldest).scalar() or at - FULL_WINDOW


def fit_points(
    c: Connection, ids: Sequence[int], unit: str, at: datetime, window: timedelta | None = None
) -> dict[int, PointTrend]:
    """The line of each point, from the newest revision of each value that was known at an instant."""
    o, later = point_observation.c, point_observation.alias()
    days = _days_since(c, o.observed_at, at)
    revised = select(later.c.point_id).where(
        later.c.point_id == o.point_id,
        later.c.observed_at == o.observed_at,
        later.c.revision > o.revision,
        later.c.received_at <= at,
    )
    query = (
        select(
            o.point_id,
            func.count().label("n"),
            func.sum(days).label("x"),
            func.sum(o.value_raw).label("y"),
            func.sum(days * days).label("xx"),
            func.sum(days * o.value_raw).label("xy"),
            func.sum(o.value_raw * o.value_raw).label("yy"),
            func.min(o.observed_at).label("oldest"),
            func.max(o.observed_at).label("newest"),
        )
        .where(o.observed_at <= at, o.received_at <= at, ~revised.exists())
        .group_by(o.point_id)
    )
    if window is not None:
        query = query.where(o.observed_at > at - window)
    per_year = convert(YEAR_DAYS, unit, "mm")
    lines = dict.fromkeys(ids, PointTrend())
    for begin in range(0, len(ids), CHUNK):
        rows = c.execute(query.where(o.point_id.in_(ids[begin : begin + CHUNK])))
        lines |= {r.point_id: _fit(r, per_year) for r in rows}
    return lines


def _fit(r: Any, per_year: float) -> PointTrend:
    spread = r.xx - r.x * r.x / r.n
    if r.n < LEAST_EPOCHS or spread <= 0.0:
        return PointTrend(None, None, int(r.n), r.oldest, r.newest)
    along = r.xy - r.x * r.y / r.n
    left = max(0.0, r.yy - r.y * r.y / r.n - along * along / spread)
    error = sqrt(left / (r.n - 2) / spread)
    return PointTrend(along / spread * per_year, error * per_year, int(r.n), r.oldest, r.newest)


def _days_since(c: Connection, instant: Any, since: datetime) -> Any:
    """Days from an instant on, in the words of the database; from near by, so that squares lose nothing."""
    text = type_coerce(instant, String)
    if c.dialect.name == "sqlite":
        return type_coerce(func.julianday(text) - func.julianday(since.isoformat()), Float)
    epoch = func.extract("epoch", cast(text, TIMESTAMP(timezone=True)))
    return type_coerce((cast(epoch, Float) - since.timestamp()) / 86400.0, Float)
