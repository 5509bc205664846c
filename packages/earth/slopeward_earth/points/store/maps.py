"""What the map draws of satellite points: the mean velocity of each, or squares where a view holds too many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from math import floor, log2
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select

from monitor.api.database import insert_rows, load_records, record_to_dict, save_rows
from monitor.api.errors import NotFoundError
from monitor.api.queries.readings import PointSetRequest, list_newest_deliveries
from monitor.api.sites import convert
from monitor.api.tables import point as point_table
from monitor.api.tables import point_delivery, point_observation, point_set
from monitor.api.text import format_iso
from slopeward_earth.points.store.rates import Box, PointRate, PointTrend, fit_points, points_in
from slopeward_earth.points.tables import earth_map, earth_rate, earth_square

POINTS_MOST: Final = 4000  # of a view; where it holds more, squares are drawn
SQUARES_MOST: Final = 4000
SQUARES_WANTED: Final = 3000  # about 12 pixels wide on a large screen
ACQUISITIONS_MOST: Final = 2000  # of the series of one point, the newest
BLOCK: Final = 20_000


@dataclass(frozen=True, slots=True)
class PointSetMap:
    """A set of a site, and what its map was made of; `delivery_id` is None while there is none."""

    id: int
    name: str
    direction: str  # what a positive value means
    unit: str
    delivery_id: int | None  # the delivery that the map knows
    from_at: datetime | None  # oldest acquisition
    newest_at: datetime | None  # newest acquisition
    squash: float | None  # height of a square by its width, in degrees
    coarsest: int | None  # level of the largest squares; None: none are needed
    finest: int | None  # level of the smallest


@dataclass(frozen=True, slots=True)
class Square:
    """What the points of one square do; rates are empty where none of them has one."""

    level: int
    y: int
    x: int
    points: int
    rated: int
    median_mm_per_year: float | None
    least_mm_per_year: float | None
    most_mm_per_year: float | None


@dataclass(frozen=True, slots=True)
class MapView:
    """What a view shows: points or squares, never both, and how many points lie there."""

    points: tuple[PointRate, ...]
    squares: tuple[Square, ...]
    inside: int


@dataclass(frozen=True, slots=True)
class PointMap:
    """What a map was made of, beside its squares."""

    points: int
    from_at: datetime | None
    newest_at: datetime | None
    squash: float
    coarsest: int | None
    finest: int | None


def find_sides(level: int, squash: float) -> tuple[float, float]:
    """Degrees of longitude and of latitude of a square.

    >>> find_sides(2, 0.5)
    (90.0, 45.0)
    """
    width = 360.0 / 2**level
    return width, width * squash


def list_due(c: Connection, site: str) -> list[PointSetRequest]:
    """The sets of a site of which something came in since their map was made."""
    m = earth_map.c
    return list_newest_deliveries(c, site, select(m.point_set_id, m.delivery_id.label("id")))


def save_rates(c: Connection, lines: Mapping[int, PointTrend]) -> None:
    """Put the lines of some points in the place of the earlier ones."""
    c.execute(delete(earth_rate).where(earth_rate.c.point_id.in_(list(lines))))
    rows = [
        (point, *(format_iso(value) if isinstance(value, datetime) else value for value in astuple(one)))
        for point, one in lines.items()
    ]
    insert_rows(c, earth_rate, rows)


def stream_rates(c: Connection, request: PointSetRequest) -> Iterator[Sequence[tuple[float, float, float | None]]]:
    """Latitude, longitude and rate of all points that were asked for, block by block."""
    p, r = point_table.c, earth_rate.c
    last = 0
    while True:
        rows = c.execute(
            select(p.id, p.latitude, p.longitude, r.rate_mm_per_year)
            .outerjoin(earth_rate, r.point_id == p.id)
            .where(p.point_set_id == request.point_set_id, p.id > last, p.id <= request.last_point_id)
            .order_by(p.id)
            .limit(BLOCK)
        ).all()
        if not rows:
            return
        last = rows[-1][0]
        yield [(row[1], row[2], row[3]) for row in rows]


def clear_squares(c: Connection, request: PointSetRequest, *, keep: int | None) -> None:
    """Take away the squares of all deliveries of a set but one."""
    d = point_delivery.c
    ours = select(d.id).where(d.point_set_id == request.point_set_id, d.id != (keep or 0))
    c.execute(delete(earth_square).where(earth_square.c.delivery_id.in_(ours)))


def find_kept(c: Connection, set_id: int) -> int | None:
    """The delivery that the map of a set knows."""
    m = earth_map.c
    return c.execute(select(m.delivery_id).where(m.point_set_id == set_id)).scalar()


def save_squares(c: Connection, delivery_id: int, squares: Sequence[Square]) -> None:
    """Add some squares; nobody sees them before the map is saved."""
    insert_rows(c, earth_square, [(delivery_id, *astuple(one)) for one in squares])


def save_map(c: Connection, request: PointSetRequest, drawn: PointMap, now: datetime) -> None:
    """From now on the map of a set is this one."""
    of = {name: getattr(request, name) for name in ("point_set_id", "delivery_id", "known_at")}
    save_rows(c, earth_map, [{**of, **record_to_dict(drawn), "made_at": now}])


def list_sets(c: Connection, site: str) -> dict[str, PointSetMap]:
    """The sets of a site by name."""
    s, m = point_set.c, earth_map.c
    query = (
        select(s.id, s.name, s.direction, s.unit, m.delivery_id, m.from_at, m.newest_at, m.squash, m.coarsest, m.finest)
        .outerjoin(earth_map, m.point_set_id == s.id)
        .where(s.site == site)
        .order_by(s.name)
    )
    return {row.name: row for row in load_records(c, PointSetMap, query)}


def load_view(c: Connection, one: PointSetMap, box: Box) -> MapView:
    """What a map shows of a set in a box: its points, or squares where there are too many."""
    p, r = point_table.c, earth_rate.c
    if one.finest is not None and (found := _load_squares(c, one, box)) is not None:
        inside = sum(square.points for square in found)
        if inside > POINTS_MOST:
            return MapView((), tuple(found), inside)
    line = (r.rate_mm_per_year, r.error_mm_per_year, r.epochs, r.from_at, r.newest_at)
    where = points_in(one.id, box)
    rows = c.execute(
        select(p.pid, p.latitude, p.longitude, *line)
        .outerjoin(earth_rate, r.point_id == p.id)
        .where(*where)
        .limit(POINTS_MOST)
    ).all()
    points = tuple(PointRate(*row[:3], PointTrend(row[3], row[4], row[5] or 0, *row[6:])) for row in rows)
    # as many only where points came in since the squares were counted
    whole = len(points) < POINTS_MOST
    return MapView(points, (), len(points) if whole else c.execute(select(func.count()).where(*where)).scalar_one())


def _load_squares(c: Connection, one: PointSetMap, box: Box) -> list[Square] | None:
    """Squares that touch a box, as fine as their number allows; None where even the coarsest are too many."""
    assert one.finest is not None
    assert one.coarsest is not None
    assert one.squash is not None
    west, south, east, north = box
    share = max((east - west) * (north - south), 1e-12) / (360.0 * 360.0 * one.squash)
    level = min(one.finest, max(one.coarsest, floor(log2(SQUARES_WANTED / share) / 2.0)))
    q = earth_square.c
    columns = [q.level, q.y, q.x, q.points, q.rated, q.median_mm_per_year, q.least_mm_per_year, q.most_mm_per_year]
    while True:
        wide, high = find_sides(level, one.squash)
        rows = c.execute(
            select(*columns)
            .where(
                q.delivery_id == one.delivery_id,
                q.level == level,
                q.y.between(floor(south / high), floor(north / high)),
                q.x.between(floor(west / wide), floor(east / wide)),
            )
            .limit(SQUARES_MOST + 1)
        ).all()
        if len(rows) <= SQUARES_MOST or level <= one.coarsest:
            return [Square(*row) for row in rows[:SQUARES_MOST]]
        level -= 1


def load_point(c: Connection, one: PointSetMap, pid: str, at: datetime) -> dict[str, Any]:
    """A point with its line and its newest acquisitions, each in the newest revision known at an instant; mm.

    Raises NotFoundError: the set has no such point.
    """
    p, o = point_table.c, point_observation.c
    place = c.execute(
        select(p.id, p.latitude, p.longitude, p.height_m).where(p.point_set_id == one.id, p.pid == pid)
    ).first()
    if place is None:
        raise NotFoundError(f"set {one.name!r} has no point {pid!r}")
    line = fit_points(c, [place.id], one.unit, at)[place.id]
    rows = c.execute(
        select(o.observed_at, o.value_raw)
        .where(o.point_id == place.id, o.observed_at <= at, o.received_at <= at)
        .order_by(o.observed_at.desc(), o.revision.desc())
        .limit(2 * ACQUISITIONS_MOST)
    )
    values: dict[datetime, float] = {}
    for row in rows:  # the newest revision comes first
        values.setdefault(row.observed_at, row.value_raw)
    kept = sorted(values.items())[-ACQUISITIONS_MOST:]
    per_mm = convert(1.0, one.unit, "mm")
    return {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "height_m": place.height_m,
        "rate_mm_per_year": line.rate_mm_per_year,
        "error_mm_per_year": line.error_mm_per_year,
        "epochs": line.epochs,
        "at": [format_iso(at) for at, _ in kept],
        "value_mm": [round(value * per_mm, 3) for _, value in kept],
    }
