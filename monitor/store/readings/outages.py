"""Times in which readings did not come in, and what became of the readings of those times."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, case, delete, func, insert, select, update

from monitor.store.schema.tables import observation, outage, outage_station, series, station_state

LATE_FOR: Final = timedelta(days=1)  # after what waited was read, stations may still send again what they kept


class Outage(NamedTuple):
    """From the last instant at which all was read, until what had waited was read."""

    cause: str  # service, broker, database
    from_at: datetime
    back_at: datetime
    drained_at: datetime


def add_outage(c: Connection, one: Outage) -> None:
    """Write an outage down; its rows are counted by `count_open`."""
    c.execute(insert(outage).values(**one._asdict(), counts_until=one.drained_at + LATE_FOR))


def count_open(c: Connection, now: datetime) -> int:
    """Count the readings of every outage for which late ones may still come, or that was never counted; how many."""
    o = outage.c
    due = o.counted_at.is_(None) | (o.counted_at < o.counts_until)
    found = c.execute(select(o.id, o.from_at, o.back_at).where(due)).all()
    for one in found:
        _count(c, one.id, one.from_at, one.back_at)
        c.execute(update(outage).where(o.id == one.id).values(counted_at=now))
    return len(found)


def _count(c: Connection, outage_id: int, from_at: datetime, back_at: datetime) -> None:
    """Epochs of each station in the outage: expected by its cadence, there, late, missing."""
    o, s = observation.c, series.c
    epochs = (
        select(s.site, s.station, o.observed_at, func.min(o.received_at).label("first_at"))
        .join(observation, o.series_id == s.id)
        .where(o.observed_at > from_at, o.observed_at <= back_at)
        .group_by(s.site, s.station, o.observed_at)
        .subquery()
    )
    late = case((epochs.c.first_at >= back_at, 1), else_=0)
    there = {
        (row.site, row.station): row
        for row in c.execute(
            select(
                epochs.c.site, epochs.c.station, func.count().label("received"), func.sum(late).label("late"),
                func.max(case((epochs.c.first_at >= back_at, epochs.c.first_at))).label("last_late_at"),
            ).group_by(epochs.c.site, epochs.c.station)
        )
    }  # fmt: skip
    span_s = (back_at - from_at).total_seconds()
    k = station_state.c
    expected = {
        (row.site, row.station): int(span_s // row.expected_interval_s)
        for row in c.execute(select(k.site, k.station, k.expected_interval_s))
        if row.expected_interval_s
    }
    c.execute(delete(outage_station).where(outage_station.c.outage_id == outage_id))
    rows = []
    for place in sorted({*there, *(place for place, count in expected.items() if count)}):
        row, wanted = there.get(place), expected.get(place)
        received = int(row.received) if row is not None else 0
        rows.append({
            "outage_id": outage_id, "site": place[0], "station": place[1], "expected": wanted, "received": received,
            "late": int(row.late) if row is not None else 0,
            "missing": None if wanted is None else max(0, wanted - received),
            "last_late_at": None if row is None else row.last_late_at,
        })  # fmt: skip
    if rows:
        c.execute(insert(outage_station), rows)
