"""Times in which readings did not come in, and what became of the readings of those times."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

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
    """Write an outage down; its rows are written by `save_count`."""
    c.execute(insert(outage).values(**one._asdict(), counts_until=one.drained_at + LATE_FOR))


def list_open(c: Connection) -> dict[int, Outage]:
    """By id every outage for which late readings may still come, or whose readings were never counted."""
    o = outage.c
    due = o.counted_at.is_(None) | (o.counted_at < o.counts_until)
    found = c.execute(select(o.id, o.cause, o.from_at, o.back_at, o.drained_at).where(due)).all()
    return {row[0]: Outage(*row[1:]) for row in found}


def save_count(c: Connection, outage_id: int, rows: list[dict[str, Any]], now: datetime) -> None:
    """Replace what was counted before of an outage."""
    c.execute(delete(outage_station).where(outage_station.c.outage_id == outage_id))
    if rows:
        c.execute(insert(outage_station), [{"outage_id": outage_id, **row} for row in rows])
    c.execute(update(outage).where(outage.c.id == outage_id).values(counted_at=now))


def count_readings(c: Connection, from_at: datetime, back_at: datetime) -> list[dict[str, Any]]:
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
    rows: list[dict[str, Any]] = []
    for place in sorted({*there, *(place for place, count in expected.items() if count)}):
        row, wanted = there.get(place), expected.get(place)
        received = int(row.received) if row is not None else 0
        rows.append({
            "site": place[0], "station": place[1], "expected": wanted, "received": received,
            "late": int(row.late) if row is not None else 0,
            "missing": None if wanted is None else max(0, wanted - received),
            "last_late_at": None if row is None else row.last_late_at,
        })  # fmt: skip
    return rows
