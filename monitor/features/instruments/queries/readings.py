"""Readings of instruments as the board looks at them, and what it finds: findings, battery, share of each month."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, literal_column, select

from monitor.api.database import fill_row, save_rows
from monitor.api.tables import instrument, instrument_finding, instrument_month, observation, series, station_state
from monitor.api.tables import station as station_table
from monitor.api.text import EPOCH, epoch_s

EPOCHS_READ: Final = 400  # newest ones of a time, in which clock and fixes are looked at
WAYS_READ: Final = 20_000  # newest readings whose ways are looked at: of a week, two in a minute

# asked of every instrument at each look: to build such a question takes longer than to answer it, so each is built once
_O: Final = observation.c
_OF_SERIES_WITHIN: Final = (
    _O.series_id == bindparam("series_id"),
    _O.observed_at > bindparam("from_at"),
    _O.observed_at <= bindparam("to_at"),
)
_HOURS: Final = (
    select(
        func.substr(_O.observed_at, 1, 13, type_=station_table.c.id.type).label("hour"),
        func.min(_O.value_raw),
        func.max(_O.value_raw),
        func.avg(_O.value_raw),
    )
    .where(*_OF_SERIES_WITHIN, _O.flags.in_(bindparam("flags", expanding=True)))
    .group_by(literal_column("hour"))
    .order_by(literal_column("hour"))
)
_WAY: Final = select(_O.observed_at, _O.received_at).where(_O.series_id == bindparam("series_id")).limit(1)
_FIRST: Final = _WAY.order_by(_O.observed_at)
_LAST: Final = _WAY.where(_O.observed_at > bindparam("from_at")).order_by(_O.observed_at.desc())
_EPOCHS: Final = (
    select(_O.observed_at, _O.received_at, _O.extra)
    .where(*_OF_SERIES_WITHIN, _O.revision == 0)
    .order_by(_O.observed_at.desc())
    .limit(EPOCHS_READ)
)
_NEWEST: Final = (
    select(_O.observed_at, _O.received_at)
    .where(*_OF_SERIES_WITHIN, _O.received_at <= bindparam("to_at"), _O.revision == 0)
    .order_by(_O.observed_at.desc())
    .limit(WAYS_READ)
    .subquery()
)
_WAYS: Final = select(
    _NEWEST.c.received_at, func.max(_NEWEST.c.observed_at, type_=_NEWEST.c.observed_at.type)
).group_by(_NEWEST.c.received_at)


@dataclass(frozen=True, slots=True)
class HourSummary:
    """What a series said within an hour."""

    hour: str  # 2026-03-01T06
    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class InstrumentAssessment:
    """One instrument as a job found it; findings are (state, rank, since, reason, action)."""

    station: str
    findings: tuple[tuple[str, int, datetime | None, str, str], ...]
    battery_v: float | None
    battery_at: datetime | None
    battery_empty_at: datetime | None
    battery_method: str
    calibrated_on: str | None
    calibration_due_on: str | None
    spark_of: str | None
    spark: list[float | None] | None


@dataclass(frozen=True, slots=True)
class InstrumentMonth:
    """Epochs of a month that were expected of an instrument, and that came."""

    station: str
    month: str
    expected: int
    received: int


@dataclass(frozen=True, slots=True)
class EpochHousekeeping:
    """Housekeeping of one epoch: how long its readings travelled, what the receiver said of its fix, when it came."""

    delay_s: float
    fix: str | None = None
    satellites: int | None = None
    received_s: float = 0.0


def load_hours(
    c: Connection, series_id: int, from_at: datetime, to_at: datetime, flags: Sequence[str] = ("",)
) -> list[HourSummary]:
    """Hours of a series, oldest first; readings with other flags than these are left out."""
    rows = c.execute(_HOURS, {"series_id": series_id, "from_at": from_at, "to_at": to_at, "flags": flags})
    return [HourSummary(r[0], float(r[1]), float(r[2]), float(r[3])) for r in rows]


def find_newest_reception(c: Connection, series_ids: Sequence[int], since: datetime) -> datetime | None:
    """When something of a few series came last, of what was measured since an instant; None where nothing was."""
    o = observation.c
    found = c.execute(select(func.max(o.received_at)).where(o.series_id.in_(series_ids), o.observed_at > since))
    return found.scalar()


def load_newest_stamps(c: Connection, site: str, station: str) -> list[Any]:
    """The reading with the newest stamp of each series of a station, with when it came: a seek each."""
    ids = c.execute(select(series.c.id).where(series.c.site == site, series.c.station == station)).scalars().all()
    return [row for one in ids if (row := c.execute(_LAST, {"series_id": one, "from_at": EPOCH}).first()) is not None]


def load_epochs(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[EpochHousekeeping]:
    """The newest epochs of a time."""
    rows = c.execute(_EPOCHS, {"series_id": series_id, "from_at": from_at, "to_at": to_at})
    found = []
    for row in rows:
        extra, received_s = json.loads(row.extra) if row.extra else {}, epoch_s(row.received_at)
        way_s = received_s - epoch_s(row.observed_at)
        found.append(EpochHousekeeping(way_s, extra.get("fix"), extra.get("satellites"), received_s))
    return found


def load_far_ways(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[float]:
    """How long readings travelled that came within a time and whose stamps are off by more than that time, s.

    The newest stamp of the series, or the oldest, says by how much its clock went: two seeks, no scan.
    """
    span = to_at - from_at
    for query in (_LAST, _FIRST):
        row = c.execute(query, {"series_id": series_id, "from_at": to_at + span}).first()
        way = timedelta(0) if row is None else row.received_at - row.observed_at
        if abs(way) > span:
            around = {"series_id": series_id, "from_at": from_at - way, "to_at": to_at - way + timedelta(hours=1)}
            rows = [r for r in c.execute(_EPOCHS, around) if from_at < r.received_at <= to_at]
            if rows:
                return [epoch_s(r.received_at) - epoch_s(r.observed_at) for r in rows]
    return []


def load_ways(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[float]:
    """How long the readings of a time that came within it travelled: the shortest way of each hour of reception, s.

    An import or the backlog of an outage comes within an hour or two, however many readings it brings.
    """
    hours: dict[datetime, float] = {}
    for received_at, observed_at in c.execute(_WAYS, {"series_id": series_id, "from_at": from_at, "to_at": to_at}):
        hour = received_at.replace(minute=0, second=0, microsecond=0)
        way_s = epoch_s(received_at) - epoch_s(observed_at)
        hours[hour] = min(way_s, hours.get(hour, way_s))
    return list(hours.values())


def count_epochs(
    c: Connection, site: str, from_at: datetime, to_at: datetime
) -> dict[tuple[int, str], tuple[int, str]]:
    """Epochs of every series by month, with the first of them."""
    o, s = observation.c, series.c
    month = func.substr(o.observed_at, 1, 7, type_=station_table.c.id.type).label("month")
    first = func.min(o.observed_at, type_=station_table.c.id.type)
    rows = c.execute(
        select(o.series_id, month, func.count(), first)
        .join(series, s.id == o.series_id)
        .where(s.site == site, o.observed_at >= from_at, o.observed_at <= to_at, o.revision == 0)
        .group_by(o.series_id, literal_column("month"))
    )
    return {(r[0], r[1]): (int(r[2]), str(r[3])) for r in rows}


def load_begins(c: Connection, site: str) -> dict[int, datetime]:
    """Since when each series is known."""
    s = series.c
    return dict(c.execute(select(s.id, s.created_at).where(s.site == site)).all())


def save_instruments(c: Connection, site: str, judged: Sequence[InstrumentAssessment], now: datetime) -> None:
    """Write what was found; `since` of a finding that goes on stays, and what is not found any more is gone."""
    f = instrument_finding.c
    before = {(r.station, r.state): r.since for r in c.execute(select(instrument_finding).where(f.site == site))}
    c.execute(delete(instrument_finding).where(f.site == site))
    rows = [
        {"site": site, "station": one.station, "state": state, "rank": rank, "reason": reason, "action": action}
        | {"since": since or before.get((one.station, state), now)}
        for one in judged
        for state, rank, since, reason, action in one.findings
    ]
    if rows:
        c.execute(insert(instrument_finding), rows)
    kept = [one.station for one in judged]
    c.execute(delete(instrument).where(instrument.c.site == site, instrument.c.station.not_in(kept)))
    save_rows(c, instrument, [fill_row(instrument, one, site=site, judged_at=now) for one in judged])


def load_found(c: Connection, site: str, *states: str) -> dict[str, datetime]:
    """Since when the last look finds instruments in one of these states."""
    f = instrument_finding.c
    return dict(c.execute(select(f.station, f.since).where(f.site == site, f.state.in_(states))).all())


def save_months(c: Connection, site: str, months: Sequence[InstrumentMonth]) -> None:
    """Write the shares of months; earlier months stay as they were."""
    save_rows(c, instrument_month, [{"site": site, **asdict(one)} for one in months])


def load_silent(c: Connection, site: str) -> frozenset[str]:
    """Stations of which nothing is heard."""
    s = station_state.c
    return frozenset(c.execute(select(s.station).where(s.site == site, s.state == "silent")).scalars())
