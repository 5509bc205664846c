"""InSAR points: thousands that share acquisition dates; kept apart from instruments, read as rates of zones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos, fsum, radians
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from forecasting.kinematics.velocity import fit_velocity
from monitor.domain.decision import PointFact, seconds
from monitor.domain.quantities import convert
from monitor.domain.site import Criterion, Site, Station
from monitor.domain.witnesses import INSAR
from monitor.store import tables as t
from monitor.store.engine import insert as upsert

POINTS_MOST: Final = 200  # of a zone, the nearest: more share the same atmosphere and add nothing
DATES_SHARE: Final = 0.8  # of a zone's dates that a point must have
ROUNDS: Final = 20
CHUNK: Final = 500
METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on the mean sphere
Values = Mapping[int, Mapping[float, float]]  # point -> instant -> mm


@dataclass(frozen=True, slots=True)
class Point:
    """A scatterer as its processing names it."""

    pid: str
    latitude: float
    longitude: float
    height_m: float | None = None


def add_points(
    c: Connection, site: str, name: str, direction: str, unit: str, points: Sequence[Point]
) -> dict[str, int]:
    """Add a set of points, or more points of a set that is there; returns the id of every point of the set by `pid`."""
    row = upsert(c, t.point_set).values(site=site, name=name, direction=direction, unit=unit)
    c.execute(row.on_conflict_do_nothing())
    s, p = t.point_set.c, t.point.c
    set_id = c.execute(select(s.id).where(s.site == site, s.name == name)).scalar_one()
    if points:
        rows = [
            {"point_set_id": set_id, "pid": x.pid, "latitude": x.latitude, "longitude": x.longitude,
             "height_m": x.height_m}
            for x in points
        ]  # fmt: skip
        c.execute(upsert(c, t.point).on_conflict_do_nothing(), rows)
    return {r.pid: r.id for r in c.execute(select(p.pid, p.id).where(p.point_set_id == set_id).order_by(p.id))}


def add_point_observations(
    c: Connection, values: Mapping[int, float], observed_at: datetime, received_at: datetime
) -> int:
    """Add one acquisition: displacement by point id. What differs from what is there is a new revision."""
    o = t.point_observation.c
    known: dict[int, Any] = {}
    ids = sorted(values)
    for begin in range(0, len(ids), CHUNK):
        for r in c.execute(
            select(o.point_id, o.revision, o.value_raw)
            .where(o.point_id.in_(ids[begin : begin + CHUNK]), o.observed_at == observed_at)
            .order_by(o.point_id, o.revision)
        ):
            known[r.point_id] = r
    rows = [
        {"point_id": k, "observed_at": observed_at, "received_at": received_at, "value_raw": v,
         "revision": known[k].revision + 1 if k in known else 0}
        for k, v in sorted(values.items()) if k not in known or known[k].value_raw != v
    ]  # fmt: skip
    if rows:
        c.execute(insert(t.point_observation), rows)
    return len(rows)


def load_point_facts(c: Connection, site: Site, now: datetime) -> tuple[PointFact, ...]:
    """How fast the zone around each station moves, as known at `now`: one fact per station and window asked for.

    A zone are the points within `near_m` of their nearest station. What all points of a zone share at a date is found
    apart from where each point stands (two-way additive fit), so that points that come and go bend no rate; the rate
    is the least-squares slope of those shared values, with the error of `fit_velocity`.
    """
    asked: dict[tuple[str, float, float], None] = {}
    for criterion in site.criteria:
        if criterion.kind == f"{INSAR}_rate":
            window_s, near_m = window_of(criterion)
            asked |= dict.fromkeys((s, window_s, near_m) for s in criterion.stations)
    if not asked:
        return ()
    units: dict[int, str] = {}
    placed: list[tuple[int, str, float]] = []
    s, p = t.point_set.c, t.point.c
    stations = [x for x in site.stations if x.latitude is not None and x.longitude is not None]
    for r in c.execute(
        select(p.id, p.latitude, p.longitude, s.unit).join(t.point_set, s.id == p.point_set_id).where(s.site == site.id)
    ):
        found = _nearest(stations, r.latitude, r.longitude)
        if found is not None:
            units[r.id] = r.unit
            placed.append((r.id, *found))
    facts = []
    for station, window_s, near_m in sorted(asked):
        near = sorted((away, i) for i, name, away in placed if name == station and away <= near_m)[:POINTS_MOST]
        fact = _measure(c, station, [i for _, i in near], units, window_s, now)
        if fact is not None:
            facts.append(fact)
    return tuple(facts)


def window_of(criterion: Criterion) -> tuple[float, float]:
    """(window in seconds, radius of a zone in metres) of a criterion on InSAR."""
    params = dict(criterion.params)
    return params["window_s"], params["near_m"]


def _nearest(stations: Sequence[Station], latitude: float, longitude: float) -> tuple[str, float] | None:
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
    c: Connection, station: str, ids: Sequence[int], units: Mapping[int, str], window_s: float, now: datetime
) -> PointFact | None:
    o = t.point_observation.c
    rows = c.execute(
        select(o.point_id, o.observed_at, o.value_raw, o.received_at)
        .where(
            o.point_id.in_(ids), o.observed_at > now - timedelta(seconds=window_s), o.observed_at <= now,
            o.received_at <= now,
        )
        .order_by(o.point_id, o.observed_at, o.revision)
    ).all()  # fmt: skip
    values: dict[int, dict[float, float]] = {}
    received: dict[float, float] = {}
    for r in rows:  # the newest revision known at `now` comes last
        at_s = seconds(r.observed_at)
        values.setdefault(r.point_id, {})[at_s] = convert(r.value_raw, units[r.point_id], "mm")
        received[at_s] = max(received.get(at_s, 0.0), seconds(r.received_at))
    least = DATES_SHARE * len(received)
    steady = {k: v for k, v in values.items() if len(v) >= least}
    shared = separate_dates(steady)
    times = sorted(shared)
    fit = fit_velocity(times, [shared[x] for x in times], [0.0] * len(times))
    if fit is None:
        return None
    return PointFact(
        station, station, fit.rate, fit.error, len(steady), times[-1], received[times[-1]], fit.low, fit.high, window_s,
        len(times),
    )  # fmt: skip


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
