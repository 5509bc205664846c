"""InSAR points: thousands that share acquisition dates; kept apart from instruments, read as rates of zones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import cos, radians
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, func, select, update

from monitor.errors import RefusedError
from monitor.readings.point_tables import point as point_table
from monitor.readings.point_tables import point_delivery, point_observation, point_set
from monitor.readings.queries.observations import in_chunks
from monitor.sites.records import Criterion, Station
from monitor.storage.engine import insert as upsert
from monitor.storage.rows import add_row, fill_row, insert_rows
from monitor.text.instants import format_iso

METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on the mean sphere


@dataclass(frozen=True, slots=True)
class Point:
    """A scatterer as its processing names it."""

    pid: str
    latitude: float
    longitude: float
    height_m: float | None = None


class PlacedPoint(NamedTuple):
    """Where a point is stored."""

    id: int
    latitude: float
    longitude: float
    is_new: bool  # added in this very transaction: nothing is known of it


@dataclass(frozen=True, slots=True)
class PointValue:
    """One acquisition of one point, in the unit of its set."""

    pid: str
    observed_at: datetime
    value: float
    sigma: float | None = None


@dataclass(frozen=True, slots=True)
class PointSetRequest:
    """What a look at a set or an issue of forecasts reads of it: with this it can be made again."""

    site: str  # whose set it is
    point_set_id: int
    name: str
    unit: str
    delivery_id: int  # the newest delivery
    known_at: datetime  # when that was through; what came in later is not read
    last_point_id: int  # the newest point of the set then
    jump_mm: float | None  # by how much a wrong number of cycles changes a value; None where nobody knows it


@dataclass(frozen=True, slots=True)
class PointsAdded:
    """What became of values; `contradicted` are those for which the same delivery has said something else before."""

    stored: int = 0
    duplicates: int = 0
    revisions: int = 0
    contradicted: tuple[PointValue, ...] = ()


def open_point_set(c: Connection, site: str, name: str, direction: str, unit: str, meta: Any = None) -> int:
    """Find a set of points or make it; returns its id.

    Raises:
        RefusedError: it is there with another direction or unit: values of both cannot stand in one set.
    """
    s = point_set.c
    row = upsert(c, point_set).values(site=site, name=name, direction=direction, unit=unit, meta=meta)
    c.execute(row.on_conflict_do_nothing())
    found = c.execute(select(s.id, s.direction, s.unit, s.meta).where(s.site == site, s.name == name)).one()
    if (found.direction, found.unit) != (direction, unit):
        raise RefusedError(
            f"point set {name!r} of {site} holds {found.unit} along {found.direction}, not {unit} along {direction}: "
            "give another --set"
        )
    known = found.meta or {}
    if meta is not None and set(meta) - set(known):  # a delivery before did not say it
        c.execute(update(point_set).where(s.id == found.id).values(meta={**meta, **known}))
    return int(found.id)


def load_reference(c: Connection, set_id: int) -> tuple[datetime | None, str | None]:
    """The date from which the values of a set count, and the point against which; None where no delivery said it."""
    meta = c.execute(select(point_set.c.meta).where(point_set.c.id == set_id)).scalar_one() or {}
    at = meta.get("reference_at")
    return None if at is None else datetime.fromisoformat(at), meta.get("reference_point")


def load_day_values(c: Connection, points: Mapping[str, int], at: datetime) -> dict[str, float]:
    """What points have on the day (UTC) of an instant, newest revision, by `pid`; points without it are absent."""
    o = point_observation.c
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found: dict[int, float] = {}
    for ids in in_chunks(list(points.values())):
        rows = select(o.point_id, o.value_raw).where(
            o.point_id.in_(ids), o.observed_at >= day, o.observed_at < day + timedelta(days=1)
        )
        found |= {r.point_id: float(r.value_raw) for r in c.execute(rows.order_by(o.observed_at, o.revision))}
    return {pid: found[number] for pid, number in points.items() if number in found}


def place_points(c: Connection, set_id: int, points: Sequence[Point]) -> dict[str, PlacedPoint]:
    """Add the points that are new; returns where each of them is stored by `pid`, at the place first known."""
    if not points:
        return {}
    p = point_table.c
    rows = [
        {"point_set_id": set_id, "pid": x.pid, "latitude": x.latitude, "longitude": x.longitude, "height_m": x.height_m}
        for x in points
    ]
    added = upsert(c, point_table).on_conflict_do_nothing().returning(p.pid, p.id, p.latitude, p.longitude)
    found = {r.pid: PlacedPoint(r.id, r.latitude, r.longitude, is_new=True) for r in c.execute(added, rows)}
    mark = "?" if c.dialect.name == "sqlite" else "%s"
    for names in in_chunks([x.pid for x in points if x.pid not in found]):
        # each by its own key: of a set that has just come in, PostgreSQL has no statistics and would read all of it
        known = c.exec_driver_sql(
            f"WITH k(pid) AS (VALUES {','.join([f'({mark})'] * len(names))}) "  # noqa: S608 - marks alone
            "SELECT p.pid, p.id, p.latitude, p.longitude FROM point p WHERE p.id IN (SELECT "
            f"(SELECT x.id FROM point x WHERE x.point_set_id = {mark} AND x.pid = k.pid) FROM k)",
            (*names, set_id),
        )
        found |= {r.pid: PlacedPoint(r.id, r.latitude, r.longitude, is_new=False) for r in known}
    return found


def add_point_values(
    c: Connection,
    placed: Mapping[str, PlacedPoint],
    values: Sequence[PointValue],
    received_at: datetime,
    began_at: datetime,
) -> PointsAdded:
    """Add values of many points and acquisitions; the same again is a duplicate, another value a new revision.

    Args:
        c: the write transaction in which the points were placed.
        placed: what `place_points` gave, for this call alone: afterwards no point of it is new.
        values: no point twice at one acquisition.
        began_at: when this delivery began to come in: what came since is of this same delivery, and it cannot revise
            itself.
    """
    if not values:
        return PointsAdded()
    received, spelled = format_iso(received_at), {at: format_iso(at) for at in {v.observed_at for v in values}}
    ids = sorted({placed[v.pid].id for v in values if not placed[v.pid].is_new})
    o = point_observation.c
    query = select(o.point_id, o.observed_at, o.revision, o.value_raw, o.received_at)
    query = query.where(o.observed_at.between(min(spelled), max(spelled)))
    known = {  # the newest revision of each
        (r.point_id, r.observed_at): r
        for some in in_chunks(ids)
        for r in c.execute(query.where(o.point_id.in_(some)).order_by(o.point_id, o.observed_at, o.revision))
    }
    rows: list[tuple[Any, ...]] = []
    contradicted = []
    duplicates = revisions = 0
    for v in values:
        point_id = placed[v.pid].id
        before = known.get((point_id, v.observed_at)) if known else None
        revision = 0
        if before is not None:
            if before.value_raw == v.value:
                duplicates += 1
                continue
            if before.received_at >= began_at:
                contradicted.append(v)
                continue
            revisions += 1
            revision = before.revision + 1
        rows.append((point_id, spelled[v.observed_at], revision, received, v.value, v.sigma))
    insert_rows(c, point_observation, rows)
    return PointsAdded(len(rows), duplicates, revisions, tuple(contradicted))


def add_delivery(
    c: Connection, site: str, set_id: int, file: str, received_at: datetime, newest_at: datetime, added: PointsAdded
) -> None:
    """Write down that a file of points has come in; the site is evaluated soon after."""
    row = fill_row(point_delivery, added, site=site, point_set_id=set_id, file=file)
    add_row(c, point_delivery, row, received_at=received_at, newest_at=newest_at)


def list_newest_deliveries(c: Connection, site: str, done: Select[Any]) -> list[PointSetRequest]:
    """The newest delivery of each set of a site that is newer than what was done, by name.

    `done`: `point_set_id` and, as `id`, the newest delivery for which it was done.
    """
    d, s = point_delivery.c, point_set.c
    newest = select(d.point_set_id, func.max(d.id).label("id")).where(d.site == site).group_by(d.point_set_id)
    latest, before = newest.subquery(), done.subquery()
    rows = c.execute(
        select(s.id, s.name, s.unit, s.meta, d.id.label("delivery"), d.received_at)
        .join(latest, latest.c.point_set_id == s.id)
        .join(point_delivery, d.id == latest.c.id)
        .outerjoin(before, before.c.point_set_id == s.id)
        .where(func.coalesce(before.c.id, 0) < latest.c.id)
        .order_by(s.name)
    ).all()
    found = []
    for r in rows:
        newest_point = (
            c.execute(select(func.max(point_table.c.id)).where(point_table.c.point_set_id == r.id)).scalar() or 0
        )
        # half a wavelength, there and back one cycle
        wavelength_mm = r.meta.get("wavelength_mm") if isinstance(r.meta, dict) else None
        jump_mm = None if wavelength_mm is None else float(wavelength_mm) / 2.0
        found.append(PointSetRequest(site, r.id, r.name, r.unit, r.delivery, r.received_at, newest_point, jump_mm))
    return found


def window_of(criterion: Criterion) -> tuple[float, float]:
    """(window in seconds, radius of a zone in metres) of a criterion on InSAR."""
    params = dict(criterion.params)
    return params["window_s"], params["near_m"]


def load_places(c: Connection, ids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Latitude and longitude of points by id."""
    p = point_table.c
    query = select(p.id, p.latitude, p.longitude)
    return {r.id: (r.latitude, r.longitude) for some in in_chunks(ids) for r in c.execute(query.where(p.id.in_(some)))}


def list_point_ids(c: Connection, set_id: int, until: int) -> list[int]:
    """Ids of the points of a set up to one of them, in order."""
    p = point_table.c
    return [r[0] for r in c.execute(select(p.id).where(p.point_set_id == set_id, p.id <= until).order_by(p.id))]


def find_nearest(stations: Sequence[Station], latitude: float, longitude: float) -> tuple[str, float] | None:
    """The nearest station and how far it is, on the plane that touches the slope."""
    best: tuple[float, str] | None = None
    for station in stations:
        assert station.latitude is not None
        assert station.longitude is not None
        north = (station.latitude - latitude) * METRES_PER_DEGREE
        east = (station.longitude - longitude) * METRES_PER_DEGREE * cos(radians(latitude))
        away = (north * north + east * east) ** 0.5
        best = min(best, (away, station.id)) if best is not None else (away, station.id)
    return None if best is None else (best[1], best[0])
