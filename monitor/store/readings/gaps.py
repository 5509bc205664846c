"""Holes in the records of series: kept as they are found, and taken back when readings come late and fill them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from detection.anomaly.records import HOLE
from monitor.domain.instants import spell
from monitor.domain.site import Site
from monitor.store.database.bulk import insert_rows
from monitor.store.readings.reading_stamps import load_epochs
from monitor.store.schema.tables import observation, reading_gap, series

WATCHED_FOR: Final = timedelta(days=400)  # so long a late reading takes a gap back
HOLES_AT_ONCE: Final = 500  # holes in one transaction: nothing that is urgent waits longer than for these
_COLUMNS: Final = {"series_id": "bigint", "from_at": "text", "to_at": "text", "missing": "int4", "found_at": "text"}


@dataclass(frozen=True, slots=True)
class Hole:
    """A time in which a series may have no reading.

    Attributes:
        series_id: the series.
        from_at: its last reading before.
        to_at: its first reading after.
        interval_s: of the series.
    """

    series_id: int
    from_at: datetime
    to_at: datetime
    interval_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole that is kept: of which series, since when, until when, and how many readings are missing."""

    station: str
    quantity: str
    from_at: datetime
    to_at: datetime
    missing: int


def add_gaps(c: Connection, holes: Sequence[Hole], now: datetime) -> int:
    """Keep holes that no reading lies in, of whatever use it is; of one with readings, what is left of it.

    Done twice it does nothing more: what was cut off between two transactions goes on from the begin.

    Returns:
        How many were new.
    """
    epochs = load_epochs(c, [(hole.series_id, hole.from_at, hole.to_at) for hole in holes], now)
    rows, found_at = [], spell(now)
    for hole, inside in zip(holes, epochs, strict=True):
        instants = [hole.from_at, *inside]
        for begin, end in pairwise(instants):
            steps = (end - begin).total_seconds() / hole.interval_s
            if steps > HOLE:
                rows.append((hole.series_id, spell(begin), spell(end), round(steps) - 1, found_at))
    return insert_rows(c, "reading_gap", _COLUMNS, rows, unless_there=True)


def find_filled(c: Connection, site: Site, now: datetime) -> list[Hole]:
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
            found.append(Hole(row.series_id, row.from_at, row.to_at, spec.interval_s))
    return found


def fill_gaps(c: Connection, holes: Sequence[Hole], now: datetime) -> None:
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
