"""How fast single radar points move: the least-squares rate of each over a window, worked out by the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import TIMESTAMP, Connection, Float, String, cast, func, select, type_coerce

from monitor.domain.quantities import convert
from monitor.store.schema import tables as t

MOST: Final = 5000  # of one answer; where there are more, an even share of them
FULL_WINDOW: Final = timedelta(days=365)  # up to which an answer holds as many
LEAST_EPOCHS: Final = 4
YEAR_DAYS: Final = 365.25
CHUNK: Final = 900
Box = tuple[float, float, float, float]  # west, south, east, north
Fit = tuple[float | None, int, datetime | None]  # rate per day, acquisitions, the newest


@dataclass(frozen=True, slots=True)
class PointRate:
    """One scatterer; the rate is missing where the window holds too few acquisitions of it."""

    pid: str
    latitude: float
    longitude: float
    rate_mm_per_year: float | None
    epochs: int
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class PointRates:
    """What a view shows: points of a set, how many of it lie there, and the sets of the site with their direction."""

    points: tuple[PointRate, ...]
    inside: int
    sets: dict[str, str]
    set: str | None


def find_most(window: timedelta) -> int:
    """How many points an answer holds: fewer where each takes more acquisitions to look at.

    >>> find_most(timedelta(days=365)), find_most(timedelta(days=3650))
    (5000, 500)
    """
    return min(MOST, int(MOST * FULL_WINDOW / window))


def load_rates(
    c: Connection, site: str, box: Box | None, at: datetime, window: timedelta, name: str | None = None
) -> PointRates:
    """Rates of the points in a box, along the direction of their set, from (at - window, at] as known at `at`.

    Args:
        c: a read transaction.
        site: site.
        box: of the map; None = everywhere.
        at: end of the window.
        window: its length.
        name: the set; None = the first one by name.
    """
    s, p = t.point_set.c, t.point.c
    sets = {
        r.name: r for r in c.execute(select(s.id, s.name, s.direction, s.unit).where(s.site == site).order_by(s.name))
    }
    directions = {n: r.direction for n, r in sets.items()}
    chosen = sets.get(name) if name is not None else next(iter(sets.values()), None)
    if chosen is None:
        return PointRates((), 0, directions, name)
    where = [p.point_set_id == chosen.id]
    if box is not None:
        where += [p.longitude.between(box[0], box[2]), p.latitude.between(box[1], box[3])]
    inside = int(c.execute(select(func.count()).where(*where)).scalar_one())
    step = max(1, ceil(inside / find_most(window)))
    places = c.execute(
        select(p.id, p.pid, p.latitude, p.longitude).where(*where, p.id % step == 0).order_by(p.id)
    ).all()
    fits: dict[int, Fit] = {}
    for begin in range(0, len(places), CHUNK):
        fits |= _fit(c, [r.id for r in places[begin : begin + CHUNK]], at - window, at)
    found = []
    for r in places:
        rate, epochs, newest_at = fits.get(r.id, (None, 0, None))
        per_year = None if rate is None else round(convert(rate * YEAR_DAYS, chosen.unit, "mm"), 2)
        found.append(PointRate(r.pid, r.latitude, r.longitude, per_year, epochs, newest_at))
    return PointRates(tuple(found), inside, directions, chosen.name)


def _fit(c: Connection, ids: Sequence[int], after: datetime, at: datetime) -> dict[int, Fit]:
    """Slope per day, number of acquisitions and the newest of each point, from the newest revision of each value."""
    o, later = t.point_observation.c, t.point_observation.alias()
    days = _days_since(c, o.observed_at, after)
    revised = select(later.c.point_id).where(
        later.c.point_id == o.point_id, later.c.observed_at == o.observed_at, later.c.revision > o.revision,
        later.c.received_at <= at,
    )  # fmt: skip
    rows = c.execute(
        select(
            o.point_id, func.count().label("n"), func.sum(days).label("x"), func.sum(o.value_raw).label("y"),
            func.sum(days * days).label("xx"), func.sum(days * o.value_raw).label("xy"),
            func.max(o.observed_at).label("newest"),
        )
        .where(o.point_id.in_(ids), o.observed_at > after, o.observed_at <= at, o.received_at <= at, ~revised.exists())
        .group_by(o.point_id)
    )  # fmt: skip
    return {r.point_id: (_slope(r), int(r.n), r.newest) for r in rows}


def _slope(r: Any) -> float | None:
    spread = r.n * r.xx - r.x * r.x
    if r.n < LEAST_EPOCHS or spread <= 0.0:
        return None
    return float((r.n * r.xy - r.x * r.y) / spread)


def _days_since(c: Connection, instant: Any, since: datetime) -> Any:
    """Days from an instant on, in the words of the database; from near by, so that squares lose nothing."""
    text = type_coerce(instant, String)
    if c.dialect.name == "sqlite":
        return type_coerce(func.julianday(text) - func.julianday(since.isoformat()), Float)
    epoch = func.extract("epoch", cast(text, TIMESTAMP(timezone=True)))
    return type_coerce((cast(epoch, Float) - since.timestamp()) / 86400.0, Float)
