"""Holes in the records of series, taken back when readings come late and fill them; outages and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from detection.anomaly.records import HOLE
from monitor.alerts.evaluation_tables import outage, station_state
from monitor.ingest.tables import outage_station
from monitor.readings.queries.fingerprints import load_epochs
from monitor.readings.tables import observation, reading_gap, series
from monitor.sites.records import Site
from monitor.storage.rows import insert_rows
from monitor.text.instants import format_iso

WATCHED_FOR: Final = timedelta(days=400)  # so long a late reading takes a gap back
GAPS_PER_TRANSACTION: Final = 500  # holes in one transaction: nothing that is urgent waits longer than for these


@dataclass(frozen=True, slots=True)
class GapCandidate:
    """A time in which a series may have no reading."""

    series_id: int
    from_at: datetime  # its last reading before
    to_at: datetime  # its first reading after
    interval_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole that is kept: of which series, since when, until when, and how many readings are missing."""

    station: str
    quantity: str
    from_at: datetime
    to_at: datetime
    missing: int


def add_gaps(c: Connection, holes: Sequence[GapCandidate], now: datetime) -> int:
    """Keep holes that no reading lies in, of whatever use it is; of one with readings, what is left of it.

    Done twice it does nothing more: what was cut off between two transactions goes on from the begin.

    Returns:
        How many were new.
    """
    epochs = load_epochs(c, [(hole.series_id, hole.from_at, hole.to_at) for hole in holes], now)
    rows, found_at = [], format_iso(now)
    for hole, inside in zip(holes, epochs, strict=True):
        instants = [hole.from_at, *inside]
        for begin, end in pairwise(instants):
            steps = (end - begin).total_seconds() / hole.interval_s
            if steps > HOLE:
                rows.append((hole.series_id, format_iso(end), format_iso(begin), round(steps) - 1, found_at))
    return insert_rows(c, reading_gap, rows, unless_there=True)


def find_filled(c: Connection, site: Site, now: datetime) -> list[GapCandidate]:
    """Gaps of a site in which readings lie by now."""
    g, s, o = reading_gap.c, series.c, observation.c
    late = select(o.series_id).where(
        o.series_id == g.series_id, o.observed_at > g.from_at, o.observed_at < g.to_at, o.received_at <= now
    )
    query = (
        select(g.series_id, s.station, s.quantity, g.from_at, g.to_at)
        .join(series, s.id == g.series_id)
        .where(s.site == site.id, g.filled_at.is_(None), g.to_at > now - WATCHED_FOR, late.exists())
    )
    found = []
    for row in c.execute(query):
        spec = site.series(row.station, row.quantity)
        if spec is not None:
            found.append(GapCandidate(row.series_id, row.from_at, row.to_at, spec.interval_s))
    return found


def fill_gaps(c: Connection, holes: Sequence[GapCandidate], now: datetime) -> None:
    """Take back gaps that readings lie in, and keep what is left of them; at least one."""
    g = reading_gap.c
    mine = g.series_id == bindparam("id"), g.from_at == bindparam("begin"), g.to_at == bindparam("end")
    ends = [{"id": hole.series_id, "begin": hole.from_at, "end": hole.to_at} for hole in holes]
    c.execute(update(reading_gap).where(*mine).values(filled_at=now), ends)
    add_gaps(c, holes, now)


def load_gaps(c: Connection, site: str, since: datetime, now: datetime) -> list[Gap]:
    """Gaps that ended in a time, as known at its end; oldest first."""
    g, s = reading_gap.c, series.c
    query = (
        select(s.station, s.quantity, g.from_at, g.to_at, g.missing)
        .join(series, s.id == g.series_id)
        .where(s.site == site, g.to_at > since, g.to_at <= now, g.found_at <= now)
        .where(g.filled_at.is_(None) | (g.filled_at > now))
        .order_by(g.to_at, s.station, s.quantity)
    )
    return [Gap(*row) for row in c.execute(query)]


LATE_FOR: Final = timedelta(days=1)  # after what waited was read, stations may still send again what they kept


class Outage(NamedTuple):
    """From the last instant at which all was read, until what had waited was read."""

    cause: str  # service, broker, database
    from_at: datetime
    back_at: datetime
    drained_at: datetime


def add_outage(c: Connection, one: Outage) -> None:
    """Write an outage down; its rows are written by `save_count`."""
    c.execute(insert(outage).values(**one._asdict(), counts_until=one.drained_at + LATE_FOR))


def list_open(c: Connection) -> dict[int, Outage]:
    """By id every outage for which late readings may still come, or whose readings were never counted."""
    o = outage.c
    due = o.counted_at.is_(None) | (o.counted_at < o.counts_until)
    found = c.execute(select(o.id, o.cause, o.from_at, o.back_at, o.drained_at).where(due)).all()
    return {row[0]: Outage(*row[1:]) for row in found}


class OutageCount(NamedTuple):
    """Epochs of a station in an outage: expected by its cadence, there, missing, and those that came late."""

    site: str
    station: str
    expected: int | None
    received: int
    missing: int | None
    late: int
    last_late_at: datetime | None


def save_count(c: Connection, outage_id: int, counts: Sequence[OutageCount], now: datetime) -> None:
    """Replace what was counted before of an outage."""
    c.execute(delete(outage_station).where(outage_station.c.outage_id == outage_id))
    if counts:
        c.execute(insert(outage_station), [{"outage_id": outage_id, **one._asdict()} for one in counts])
    c.execute(update(outage).where(outage.c.id == outage_id).values(counted_at=now))


def count_readings(c: Connection, from_at: datetime, back_at: datetime) -> list[OutageCount]:
    """Count the epochs of each station in the outage."""
    o, s = observation.c, series.c
    epochs = (
        select(s.site, s.station, o.observed_at, func.min(o.received_at).label("first_at"))
        .join(observation, o.series_id == s.id)
        .where(o.observed_at > from_at, o.observed_at <= back_at)
        .group_by(s.site, s.station, o.observed_at)
        .subquery()
    )
    e, k, span_s = epochs.c, station_state.c, (back_at - from_at).total_seconds()
    late_at = case((e.first_at >= back_at, e.first_at))  # null where it came in time
    counted = select(e.site, e.station, func.count(), func.count(late_at), func.max(late_at)).group_by(
        e.site, e.station
    )
    there = {(site, station): figures for site, station, *figures in c.execute(counted)}
    cadences = c.execute(select(k.site, k.station, k.expected_interval_s)).all()
    expected = {(site, station): int(span_s // step_s) for site, station, step_s in cadences if step_s}
    found = []
    for place in sorted({*there, *(place for place, count in expected.items() if count)}):
        wanted, (received, late, last_at) = expected.get(place), there.get(place, (0, 0, None))
        missing = None if wanted is None else max(0, wanted - received)
        found.append(OutageCount(*place, wanted, received, missing, late, last_at))
    return found
