"""SQL of gaps in series, which late readings fill, and of outages with the readings that they cost."""

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

# Late readings fill gaps that ended within this time.
WATCHED_FOR: Final = timedelta(days=400)
# Gaps that are written in one transaction. Urgent writers wait no longer than that.
GAPS_PER_TRANSACTION: Final = 500
# Stations may send readings again for this time after the messages that waited were read.
LATE_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class GapCandidate:
    """A time in which a series may have no reading.

    Attributes:
        from_at: Time of the last reading before.
        to_at: Time of the first reading after.
        interval_s: Interval of the series.
    """

    series_id: int
    from_at: datetime
    to_at: datetime
    interval_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A stored gap of a series.

    Attributes:
        from_at: Time of the last reading before.
        to_at: Time of the first reading after.
        missing: Number of missing readings.
    """

    station: str
    quantity: str
    from_at: datetime
    to_at: datetime
    missing: int


def add_gaps(c: Connection, candidates: Sequence[GapCandidate], now: datetime) -> int:
    """Store the gaps that remain of candidates, after any readings within them.

    A gap that is stored already is not stored again, so that an interrupted call can be repeated.

    Returns:
        How many gaps are new.
    """
    spans = [(candidate.series_id, candidate.from_at, candidate.to_at) for candidate in candidates]
    epochs = load_epochs(c, spans, now)
    found_at = format_iso(now)
    rows = []
    for candidate, inside in zip(candidates, epochs, strict=True):
        for begin, end in pairwise([candidate.from_at, *inside]):
            steps = (end - begin).total_seconds() / candidate.interval_s
            if steps > HOLE:
                rows.append((candidate.series_id, format_iso(end), format_iso(begin), round(steps) - 1, found_at))
    return insert_rows(c, reading_gap, rows, unless_there=True)


def find_filled(c: Connection, site: Site, now: datetime) -> list[GapCandidate]:
    """Return the gaps of a site in which readings have arrived."""
    g, s, o = reading_gap.c, series.c, observation.c
    late = select(o.series_id).where(
        o.series_id == g.series_id, o.observed_at > g.from_at, o.observed_at < g.to_at, o.received_at <= now
    )
    query = (
        select(g.series_id, s.station, s.quantity, g.from_at, g.to_at)
        .join(series, s.id == g.series_id)
        .where(s.site == site.id, g.filled_at.is_(None), g.to_at > now - WATCHED_FOR, late.exists())
    )
    candidates = []
    for row in c.execute(query):
        spec = site.series(row.station, row.quantity)
        if spec is not None:
            candidates.append(GapCandidate(row.series_id, row.from_at, row.to_at, spec.interval_s))
    return candidates


def fill_gaps(c: Connection, candidates: Sequence[GapCandidate], now: datetime) -> None:
    """Mark gaps as filled, and store the parts that are still without readings.

    Args:
        c: Connection.
        candidates: At least one gap.
        now: When it is filled.
    """
    g = reading_gap.c
    is_gap = (g.series_id == bindparam("id"), g.from_at == bindparam("begin"), g.to_at == bindparam("end"))
    keys = [{"id": gap.series_id, "begin": gap.from_at, "end": gap.to_at} for gap in candidates]
    c.execute(update(reading_gap).where(*is_gap).values(filled_at=now), keys)
    add_gaps(c, candidates, now)


def load_gaps(c: Connection, site: str, since: datetime, now: datetime) -> list[Gap]:
    """Return the gaps of a site that ended in a time span, as known at its end, oldest first."""
    g, s = reading_gap.c, series.c
    query = (
        select(s.station, s.quantity, g.from_at, g.to_at, g.missing)
        .join(series, s.id == g.series_id)
        .where(s.site == site, g.to_at > since, g.to_at <= now, g.found_at <= now)
        .where(g.filled_at.is_(None) | (g.filled_at > now))
        .order_by(g.to_at, s.station, s.quantity)
    )
    return [Gap(*row) for row in c.execute(query)]


class Outage(NamedTuple):
    """A time in which messages were not read.

    Attributes:
        cause: `service`, `broker` or `database`.
        from_at: Last instant at which everything was read.
        back_at: When messages were read again.
        drained_at: When the messages that had waited were read.
    """

    cause: str
    from_at: datetime
    back_at: datetime
    drained_at: datetime


def add_outage(c: Connection, ended: Outage) -> None:
    """Store an outage. `save_count` stores the readings that it cost."""
    c.execute(insert(outage).values(**ended._asdict(), counts_until=ended.drained_at + LATE_FOR))


def load_open_outages(c: Connection) -> dict[int, Outage]:
    """Return the outages for which late readings may still arrive, or whose readings were never counted, by id."""
    o = outage.c
    is_due = o.counted_at.is_(None) | (o.counted_at < o.counts_until)
    rows = c.execute(select(o.id, o.cause, o.from_at, o.back_at, o.drained_at).where(is_due)).all()
    return {row[0]: Outage(*row[1:]) for row in rows}


class OutageCount(NamedTuple):
    """Epochs of a station in an outage.

    Attributes:
        expected: Number by the interval of the station; None if it has none.
        received: Number of stored epochs.
        missing: Number of expected epochs that are not stored.
        late: Number of stored epochs that were received after the outage.
        last_late_at: When the last of these was received.
    """

    site: str
    station: str
    expected: int | None
    received: int
    missing: int | None
    late: int
    last_late_at: datetime | None


def save_count(c: Connection, outage_id: int, counts: Sequence[OutageCount], now: datetime) -> None:
    """Store the counts of an outage and delete earlier ones."""
    c.execute(delete(outage_station).where(outage_station.c.outage_id == outage_id))
    if counts:
        c.execute(insert(outage_station), [{"outage_id": outage_id, **count._asdict()} for count in counts])
    c.execute(update(outage).where(outage.c.id == outage_id).values(counted_at=now))


def count_readings(c: Connection, from_at: datetime, back_at: datetime) -> list[OutageCount]:
    """Count the epochs of each station in an outage."""
    o, s = observation.c, series.c
    epochs = (
        select(s.site, s.station, o.observed_at, func.min(o.received_at).label("first_at"))
        .join(observation, o.series_id == s.id)
        .where(o.observed_at > from_at, o.observed_at <= back_at)
        .group_by(s.site, s.station, o.observed_at)
        .subquery()
    )
    e = epochs.c
    late_at = case((e.first_at >= back_at, e.first_at))  # null for an epoch that was received in time
    query = select(e.site, e.station, func.count(), func.count(late_at), func.max(late_at)).group_by(e.site, e.station)
    received_by_place = {(site, station): figures for site, station, *figures in c.execute(query)}
    k = station_state.c
    span_s = (back_at - from_at).total_seconds()
    expected_by_place = {
        (site, station): int(span_s // interval_s)
        for site, station, interval_s in c.execute(select(k.site, k.station, k.expected_interval_s))
        if interval_s
    }
    counts = []
    for place in sorted({*received_by_place, *(place for place, count in expected_by_place.items() if count)}):
        expected = expected_by_place.get(place)
        received, late, last_late_at = received_by_place.get(place, (0, 0, None))
        missing = None if expected is None else max(0, expected - received)
        counts.append(OutageCount(*place, expected, received, missing, late, last_late_at))
    return counts
