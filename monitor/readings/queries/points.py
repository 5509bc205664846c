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

# Length of one degree of latitude on a sphere with the mean radius of the Earth.
METRES_PER_DEGREE: Final = 111_194.9


@dataclass(frozen=True, slots=True)
class Point:
    """A scatterer with its id (`pid`) in the InSAR processing."""

    pid: str
    latitude: float
    longitude: float
    height_m: float | None = None


class PlacedPoint(NamedTuple):
    """A stored point.

    Attributes:
        is_new: Whether the point was added in this transaction, so that it has no values yet.
    """

    id: int
    latitude: float
    longitude: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class PointValue:
    """One acquisition of one point, in the unit of its set."""

    pid: str
    observed_at: datetime
    value: float
    sigma: float | None = None


@dataclass(frozen=True, slots=True)
class PointSetRequest:
    """The state of a set of points at one delivery. Jobs read the set in this state, so that they can be repeated.

    Attributes:
        delivery_id: The newest delivery.
        known_at: When this delivery was finished. Values that arrived later are not read.
        last_point_id: The newest point of the set at that time.
        jump_mm: Change of a value if the number of phase cycles is wrong by one; None if the wavelength is unknown.
    """

    site: str
    point_set_id: int
    name: str
    unit: str
    delivery_id: int
    known_at: datetime
    last_point_id: int
    jump_mm: float | None


@dataclass(frozen=True, slots=True)
class PointsAdded:
    """The result of storing values of points.

    Attributes:
        contradicted: Values that were not stored because the same delivery already contained other values for them.
    """

    stored: int = 0
    duplicates: int = 0
    revisions: int = 0
    contradicted: tuple[PointValue, ...] = ()


def open_point_set(c: Connection, site: str, name: str, direction: str, unit: str, meta: Any = None) -> int:
    """Return the id of a set of points. Create the set if it does not exist.

    Raises:
        RefusedError: The set exists with another direction or unit.
    """
    s = point_set.c
    row = upsert(c, point_set).values(site=site, name=name, direction=direction, unit=unit, meta=meta)
    c.execute(row.on_conflict_do_nothing())
    stored = c.execute(select(s.id, s.direction, s.unit, s.meta).where(s.site == site, s.name == name)).one()
    if (stored.direction, stored.unit) != (direction, unit):
        raise RefusedError(
            f"point set {name!r} of {site} holds {stored.unit} along {stored.direction}, not {unit} along "
            f"{direction}: give another --set"
        )
    stored_meta = stored.meta or {}
    # An earlier delivery may not have contained all keys.
    if meta is not None and set(meta) - set(stored_meta):
        c.execute(update(point_set).where(s.id == stored.id).values(meta={**meta, **stored_meta}))
    return int(stored.id)


def load_reference(c: Connection, set_id: int) -> tuple[datetime | None, str | None]:
    """Return the reference date of the values of a set and its reference point; None if no delivery contained them."""
    meta = c.execute(select(point_set.c.meta).where(point_set.c.id == set_id)).scalar_one() or {}
    at = meta.get("reference_at")
    return None if at is None else datetime.fromisoformat(at), meta.get("reference_point")


def load_day_values(c: Connection, points: Mapping[str, int], at: datetime) -> dict[str, float]:
    """Return the values of points on the day (UTC) of an instant, newest revision, by `pid`.

    Points without a value on this day are left out.
    """
    o = point_observation.c
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    values: dict[int, float] = {}
    for ids in in_chunks(list(points.values())):
        rows = select(o.point_id, o.value_raw).where(
            o.point_id.in_(ids), o.observed_at >= day, o.observed_at < day + timedelta(days=1)
        )
        values |= {r.point_id: float(r.value_raw) for r in c.execute(rows.order_by(o.observed_at, o.revision))}
    return {pid: values[point_id] for pid, point_id in points.items() if point_id in values}


def place_points(c: Connection, set_id: int, points: Sequence[Point]) -> dict[str, PlacedPoint]:
    """Store the points that are new. Return all points by `pid`, each at the place that was stored first."""
    if not points:
        return {}
    p = point_table.c
    rows = [
        {"point_set_id": set_id, "pid": x.pid, "latitude": x.latitude, "longitude": x.longitude, "height_m": x.height_m}
        for x in points
    ]
    added = upsert(c, point_table).on_conflict_do_nothing().returning(p.pid, p.id, p.latitude, p.longitude)
    placed = {r.pid: PlacedPoint(r.id, r.latitude, r.longitude, is_new=True) for r in c.execute(added, rows)}
    placeholder = "?" if c.dialect.name == "sqlite" else "%s"
    for names in in_chunks([x.pid for x in points if x.pid not in placed]):
        # Each point is looked up by its key. PostgreSQL has no statistics of a new set and would scan the whole set.
        stored = c.exec_driver_sql(
            f"WITH k(pid) AS (VALUES {','.join([f'({placeholder})'] * len(names))}) "  # noqa: S608
            "SELECT p.pid, p.id, p.latitude, p.longitude FROM point p WHERE p.id IN (SELECT "
            f"(SELECT x.id FROM point x WHERE x.point_set_id = {placeholder} AND x.pid = k.pid) FROM k)",
            (*names, set_id),
        )
        placed |= {r.pid: PlacedPoint(r.id, r.latitude, r.longitude, is_new=False) for r in stored}
    return placed


def add_point_values(
    c: Connection,
    placed: Mapping[str, PlacedPoint],
    values: Sequence[PointValue],
    received_at: datetime,
    began_at: datetime,
) -> PointsAdded:
    """Store values of many points and acquisitions. An equal value is a duplicate, another value is a new revision.

    Args:
        c: The write transaction in which the points were stored.
        placed: The result of `place_points`. It must not be used for a second call, because then no point is new.
        values: At most one value of each point and acquisition.
        began_at: Start of this delivery. A value that was stored since then belongs to the same delivery, which cannot
            revise itself.
    """
    if not values:
        return PointsAdded()
    received, spelled = format_iso(received_at), {at: format_iso(at) for at in {v.observed_at for v in values}}
    ids = sorted({placed[v.pid].id for v in values if not placed[v.pid].is_new})
    o = point_observation.c
    query = select(o.point_id, o.observed_at, o.revision, o.value_raw, o.received_at)
    query = query.where(o.observed_at.between(min(spelled), max(spelled)))
    # The newest revision of each value.
    known = {
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
    """Record that a file of points was read. The site is then evaluated."""
    row = fill_row(point_delivery, added, site=site, point_set_id=set_id, file=file)
    add_row(c, point_delivery, row, received_at=received_at, newest_at=newest_at)


def list_newest_deliveries(c: Connection, site: str, done: Select[Any]) -> list[PointSetRequest]:
    """Return the newest delivery of each set of a site for which a job has not run yet, by name of the set.

    Args:
        done: Statement that selects `point_set_id` and, as `id`, the newest delivery for which the job has run.
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
    requests = []
    for r in rows:
        newest_point = (
            c.execute(select(func.max(point_table.c.id)).where(point_table.c.point_set_id == r.id)).scalar() or 0
        )
        # The path is travelled twice, so one cycle of the phase is half a wavelength.
        wavelength_mm = r.meta.get("wavelength_mm") if isinstance(r.meta, dict) else None
        jump_mm = None if wavelength_mm is None else float(wavelength_mm) / 2.0
        requests.append(PointSetRequest(site, r.id, r.name, r.unit, r.delivery, r.received_at, newest_point, jump_mm))
    return requests


def window_of(criterion: Criterion) -> tuple[float, float]:
    """Return the window in seconds and the radius of a zone in metres of a criterion on InSAR."""
    params = dict(criterion.params)
    return params["window_s"], params["near_m"]


def load_places(c: Connection, ids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Return latitude and longitude of points, by id."""
    p = point_table.c
    query = select(p.id, p.latitude, p.longitude)
    return {r.id: (r.latitude, r.longitude) for some in in_chunks(ids) for r in c.execute(query.where(p.id.in_(some)))}


def list_point_ids(c: Connection, set_id: int, until: int) -> list[int]:
    """Return the ids of the points of a set up to the id `until`, in rising order."""
    p = point_table.c
    return [r[0] for r in c.execute(select(p.id).where(p.point_set_id == set_id, p.id <= until).order_by(p.id))]


def find_nearest(stations: Sequence[Station], latitude: float, longitude: float) -> tuple[str, float] | None:
    """Return the nearest station and its horizontal distance in metres; None if there are no stations."""
    best: tuple[float, str] | None = None
    for station in stations:
        assert station.latitude is not None
        assert station.longitude is not None
        north = (station.latitude - latitude) * METRES_PER_DEGREE
        east = (station.longitude - longitude) * METRES_PER_DEGREE * cos(radians(latitude))
        distance_m = (north * north + east * east) ** 0.5
        if best is None or (distance_m, station.id) < best:
            best = (distance_m, station.id)
    return None if best is None else (best[1], best[0])
