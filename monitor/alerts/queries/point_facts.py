"""Compute the rates of zones of InSAR points around stations, as inputs of an evaluation."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import cos, fsum, radians
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from forecasting.kinematics.velocity import Velocity, fit_velocity
from monitor.decision.records import PointFact
from monitor.readings.point_tables import point as point_table
from monitor.readings.point_tables import point_observation, point_set
from monitor.readings.queries.points import METRES_PER_DEGREE, find_nearest, window_of
from monitor.sites.quantities import convert
from monitor.sites.records import Site
from monitor.text.instants import epoch_s

# The nearest points of a zone that are used. More points share the same atmosphere and add no information.
MAX_POINTS: Final = 200
# A point must have a value at this share of the dates of its zone.
MIN_DATES_SHARE: Final = 0.8
# Most iterations of the additive fit.
MAX_ITERATIONS: Final = 20
# Values in mm, by point and time.
Values = Mapping[int, Mapping[float, float]]


def load_point_facts(connection: Connection, site: Site, now: datetime) -> tuple[PointFact, ...]:
    """Return the rate of the zone around each station, as known at `now`, by station, point set and window.

    A zone consists of the points within `near_m` of their nearest station. Point sets are never mixed, because each has
    its own line of sight, reference and processing. A two-way additive fit separates the value that all points of a
    zone share at a date from the constant of each point, so that points with missing dates do not change the rate. The
    rate is the least-squares slope of the shared values, with the error of `fit_velocity`.
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
    # Distance and id of each point, by station and point set.
    placed: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row in connection.execute(_points_around(site, widest_m)):
        nearest = find_nearest([x for x in site.stations if x.latitude is not None], row.latitude, row.longitude)
        if nearest is not None and nearest[1] <= widest_m:
            units[row.name] = row.unit
            placed.setdefault((nearest[0], row.name), []).append((nearest[1], row.id))
    facts = []
    for station, window_s, near_m in sorted(zones):
        for name in sorted(n for s, n in placed if s == station):
            near = sorted(x for x in placed[station, name] if x[0] <= near_m)[:MAX_POINTS]
            fact = _measure(connection, name, station, [i for _, i in near], units[name], window_s, now)
            if fact is not None:
                facts.append(fact)
    return tuple(facts)


def _points_around(site: Site, near_m: float) -> Select[Any]:
    """Return a query for the points in the box around all stations, widened by `near_m`.

    The whole point set can be much larger.
    """
    s, p = point_set.c, point_table.c
    query = select(p.id, p.latitude, p.longitude, s.name, s.unit).join(point_set, s.id == p.point_set_id)
    places = [(x.latitude, x.longitude) for x in site.stations if x.latitude is not None and x.longitude is not None]
    if not places:
        return query.where(s.site == site.id, s.id != s.id)
    latitudes, longitudes = [a for a, _ in places], [b for _, b in places]
    north = near_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(max(map(abs, latitudes)) + north)))
    return query.where(
        s.site == site.id,
        p.latitude.between(min(latitudes) - north, max(latitudes) + north),
        p.longitude.between(min(longitudes) - east, max(longitudes) + east),
    ).order_by(p.id)


def _measure(
    connection: Connection, name: str, station: str, ids: Sequence[int], unit: str, window_s: float, now: datetime
) -> PointFact | None:
    o = point_observation.c
    within = (o.observed_at > now - timedelta(seconds=window_s), o.observed_at <= now, o.received_at <= now)
    query = select(o.point_id, o.observed_at, o.value_raw, o.received_at).where(o.point_id.in_(ids), *within)
    rows = connection.execute(query.order_by(o.point_id, o.observed_at, o.revision)).all()
    values: dict[int, dict[float, float]] = {}
    received: dict[float, float] = {}
    # The newest revision known at `now` is last.
    for r in rows:
        at_s = epoch_s(r.observed_at)
        values.setdefault(r.point_id, {})[at_s] = convert(r.value_raw, unit, "mm")
        received[at_s] = max(received.get(at_s, 0.0), epoch_s(r.received_at))
    least = MIN_DATES_SHARE * len(received)
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
    """Return the dates of the points, and their common rate; None if there are too few dates."""
    shared = separate_dates(values)
    times = sorted(shared)
    return times, fit_velocity(times, [shared[at_s] for at_s in times], [0.0] * len(times))


def separate_dates(values: Values) -> dict[float, float]:
    """Return the value that all points share at each date: `d` of the additive fit y[p, t] = a[p] + d[t].

    >>> separate_dates({1: {0.0: 5.0, 1.0: 6.0}, 2: {0.0: -3.0, 1.0: -2.0}})
    {0.0: -0.5, 1.0: 0.5}
    """
    by_date: dict[float, list[tuple[int, float]]] = {}
    for point, series in sorted(values.items()):
        for at_s, value in series.items():
            by_date.setdefault(at_s, []).append((point, value))
    dates = dict.fromkeys(sorted(by_date), 0.0)
    for _ in range(MAX_ITERATIONS):
        constants = {p: fsum(v - dates[x] for x, v in series.items()) / len(series) for p, series in values.items()}
        new_dates = {x: fsum(v - constants[p] for p, v in by_date[x]) / len(by_date[x]) for x in dates}
        has_converged = max((abs(new_dates[x] - dates[x]) for x in dates), default=0.0) < 1e-9
        dates = new_dates
        if has_converged:
            break
    return dates
