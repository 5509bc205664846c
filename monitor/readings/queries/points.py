"""InSAR points: thousands that share acquisition dates; kept apart from instruments, read as rates of zones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import cos, fsum, radians
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, func, select, update

from forecasting.kinematics.velocity import Velocity, fit_velocity
from monitor.decision.records import PointFact, seconds
from monitor.errors import RefusedError
from monitor.readings.point_tables import point as point_table
from monitor.readings.point_tables import point_delivery, point_observation, point_set
from monitor.readings.queries.observations import in_chunks
from monitor.sites.quantities import convert
from monitor.sites.records import Criterion, Site, Station
from monitor.storage.engine import insert as upsert
from monitor.storage.rows import add_row, fill_row, insert_rows
from monitor.text.instants import format_iso

POINTS_MOST: Final = 200  # of a zone, the nearest: more share the same atmosphere and add nothing
DATES_SHARE: Final = 0.8  # of a zone's dates that a point must have
ROUNDS: Final = 20
METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on the mean sphere
Values = Mapping[int, Mapping[float, float]]  # point -> instant -> mm


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


def load_point_facts(c: Connection, site: Site, now: datetime) -> tuple[PointFact, ...]:
    """How fast the zone around each station moves, as known at `now`: one fact per station, point set and window.

    A zone are the points within `near_m` of their nearest station; sets are never mixed, for each has its own line of
    sight, reference and processing. What all points of a zone share at a date is found
    apart from where each point stands (two-way additive fit), so that points that come and go bend no rate; the rate
    is the least-squares slope of those shared values, with the error of `fit_velocity`.
    """
    zones: dict[tuple[str, float, float], None] = {}
    for criterion in site.criteria:
        if criterion.kind.facts == "points":
            window_s, near_m = window_of(criterion)
            zones |= dict.fromkeys((s, window_s, near_m) for s in criterion.stations)
    if not zones:
        return ()
    widest_m = max(near_m for _, _, near_m in zones)
    units: dict[str, str] = {}
    placed: dict[tuple[str, str], list[tuple[float, int]]] = {}  # (station, set) -> how far away, which point
    for r in c.execute(_points_around(site, widest_m)):
        found = find_nearest([x for x in site.stations if x.latitude is not None], r.latitude, r.longitude)
        if found is not None and found[1] <= widest_m:
            units[r.name] = r.unit
            placed.setdefault((found[0], r.name), []).append((found[1], r.id))
    facts = []
    for station, window_s, near_m in sorted(zones):
        for name in sorted(n for s, n in placed if s == station):
            near = sorted(x for x in placed[station, name] if x[0] <= near_m)[:POINTS_MOST]
            fact = _measure(c, name, station, [i for _, i in near], units[name], window_s, now)
            if fact is not None:
                facts.append(fact)
    return tuple(facts)


def _points_around(site: Site, near_m: float) -> Select[Any]:
    """Points in the box around all stations, `near_m` wider: a burst has many thousands more."""
    s, p = point_set.c, point_table.c
    found = select(p.id, p.latitude, p.longitude, s.name, s.unit).join(point_set, s.id == p.point_set_id)
    places = [(x.latitude, x.longitude) for x in site.stations if x.latitude is not None and x.longitude is not None]
    if not places:
        return found.where(s.site == site.id, s.id != s.id)
    latitudes, longitudes = [a for a, _ in places], [b for _, b in places]
    north = near_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(max(map(abs, latitudes)) + north)))
    return found.where(
        s.site == site.id,
        p.latitude.between(min(latitudes) - north, max(latitudes) + north),
        p.longitude.between(min(longitudes) - east, max(longitudes) + east),
    ).order_by(p.id)


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


def _measure(
    c: Connection, name: str, station: str, ids: Sequence[int], unit: str, window_s: float, now: datetime
) -> PointFact | None:
    o = point_observation.c
    within = (o.observed_at > now - timedelta(seconds=window_s), o.observed_at <= now, o.received_at <= now)
    query = select(o.point_id, o.observed_at, o.value_raw, o.received_at).where(o.point_id.in_(ids), *within)
    rows = c.execute(query.order_by(o.point_id, o.observed_at, o.revision)).all()
    values: dict[int, dict[float, float]] = {}
    received: dict[float, float] = {}
    for r in rows:  # the newest revision known at `now` comes last
        at_s = seconds(r.observed_at)
        values.setdefault(r.point_id, {})[at_s] = convert(r.value_raw, unit, "mm")
        received[at_s] = max(received.get(at_s, 0.0), seconds(r.received_at))
    least = DATES_SHARE * len(received)
    steady = {k: v for k, v in values.items() if len(v) >= least}
    times, fit = _fit_shared(steady)
    used = sum(len(v) for v in steady.values())
    known_share = used / (len(ids) * len(received)) if received else 1.0
    _, lost_fit = _fit_shared({k: v for k, v in values.items() if k not in steady})
    lost_rate = None if lost_fit is None else lost_fit.rate
    if fit is None:
        if known_share >= 1.0:
            return None
        newest_s = max(received)
        return PointFact(
            name,
            station,
            0.0,
            0.0,
            0,
            newest_s=newest_s,
            received_s=received[newest_s],
            low_mm_per_day=0.0,
            high_mm_per_day=0.0,
            window_s=window_s,
            epochs=len(received),
            known_share=known_share,
            lost_mm_per_day=lost_rate,
        )
    return PointFact(
        name,
        station,
        fit.rate,
        fit.error,
        len(steady),
        newest_s=times[-1],
        received_s=received[times[-1]],
        low_mm_per_day=fit.low,
        high_mm_per_day=fit.high,
        window_s=window_s,
        epochs=len(times),
        known_share=known_share,
        lost_mm_per_day=lost_rate,
    )


def _fit_shared(values: Values) -> tuple[list[float], Velocity | None]:
    """Return the acquisitions of the points, and the rate that they share; None where too few acquisitions are left."""
    shared = separate_dates(values)
    times = sorted(shared)
    return times, fit_velocity(times, [shared[at_s] for at_s in times], [0.0] * len(times))


def separate_dates(values: Values) -> dict[float, float]:
    """What all points share at each date, apart from where each point stands: y[p, t] = a[p] + d[t] by turns.

    >>> separate_dates({1: {0.0: 5.0, 1.0: 6.0}, 2: {0.0: -3.0, 1.0: -2.0}})
    {0.0: -0.5, 1.0: 0.5}
    """
    by_date: dict[float, list[tuple[int, float]]] = {}
    for point, series in sorted(values.items()):
        for at_s, value in series.items():
            by_date.setdefault(at_s, []).append((point, value))
    dates = dict.fromkeys(sorted(by_date), 0.0)
    for _ in range(ROUNDS):
        stands = {p: fsum(v - dates[x] for x, v in series.items()) / len(series) for p, series in values.items()}
        fresh = {x: fsum(v - stands[p] for p, v in by_date[x]) / len(by_date[x]) for x in dates}
        done = max((abs(fresh[x] - dates[x]) for x in dates), default=0.0) < 1e-9
        dates = fresh
        if done:
            break
    return dates
