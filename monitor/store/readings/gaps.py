"""Holes in the records of series: kept as they are found, and taken back when readings come late and fill them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy import Connection, select, update

from detection.anomaly.records import HOLE
from monitor.domain.site import Site
from monitor.store.database.engine import add_all_absent
from monitor.store.readings.reading_stamps import load_epochs
from monitor.store.schema.tables import observation, reading_gap, series

WATCHED_FOR: Final = timedelta(days=400)  # so long a late reading takes a gap back


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

    Returns:
        How many were new.
    """
    epochs = load_epochs(c, [(hole.series_id, hole.from_at, hole.to_at) for hole in holes], now)
    rows = []
    for hole, inside in zip(holes, epochs, strict=True):
        instants = [hole.from_at, *inside]
        for begin, end in pairwise(instants):
            steps = (end - begin).total_seconds() / hole.interval_s
            if steps > HOLE:
                rows.append(
                    {"series_id": hole.series_id, "from_at": begin, "to_at": end, "missing": round(steps) - 1,
                     "found_at": now, "filled_at": None}
                )  # fmt: skip
    return add_all_absent(c, reading_gap, rows)


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
    """Take back gaps that readings lie in, and keep what is left of them."""
    g = reading_gap.c
    for hole in holes:
        mine = (g.series_id == hole.series_id, g.from_at == hole.from_at, g.to_at == hole.to_at)
        c.execute(update(reading_gap).where(*mine).values(filled_at=now))
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
