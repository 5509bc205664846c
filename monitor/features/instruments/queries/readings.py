"""Load the readings that the job of instruments needs, and store its results."""

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

MAX_EPOCHS: Final = 400  # newest epochs of a span that are loaded
MAX_DELAYS: Final = 20_000  # newest readings of a span whose delays are loaded: two per minute for a week

# These queries run for each instrument. They are built once, because building one takes longer than running it.
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
_TIMES: Final = select(_O.observed_at, _O.received_at).where(_O.series_id == bindparam("series_id")).limit(1)
_FIRST: Final = _TIMES.order_by(_O.observed_at)
_LAST: Final = _TIMES.where(_O.observed_at > bindparam("from_at")).order_by(_O.observed_at.desc())
_EPOCHS: Final = (
    select(_O.observed_at, _O.received_at, _O.extra)
    .where(*_OF_SERIES_WITHIN, _O.revision == 0)
    .order_by(_O.observed_at.desc())
    .limit(MAX_EPOCHS)
)
_NEWEST: Final = (
    select(_O.observed_at, _O.received_at)
    .where(*_OF_SERIES_WITHIN, _O.received_at <= bindparam("to_at"), _O.revision == 0)
    .order_by(_O.observed_at.desc())
    .limit(MAX_DELAYS)
    .subquery()
)
_DELAYS: Final = select(
    _NEWEST.c.received_at, func.max(_NEWEST.c.observed_at, type_=_NEWEST.c.observed_at.type)
).group_by(_NEWEST.c.received_at)


@dataclass(frozen=True, slots=True)
class HourSummary:
    """Lowest, highest and mean value of a series within an hour."""

    hour: str  # 2026-03-01T06
    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class InstrumentAssessment:
    """The assessment of an instrument. A finding is (state, rank, since, reason, action)."""

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
    """Numbers of expected and received epochs of an instrument in a month."""

    station: str
    month: str
    expected: int
    received: int


@dataclass(frozen=True, slots=True)
class EpochHousekeeping:
    """Delay, fix and number of satellites of an epoch, and when it was received (epoch seconds)."""

    delay_s: float
    fix: str | None = None
    satellites: int | None = None
    received_s: float = 0.0


def load_hours(
    c: Connection, series_id: int, from_at: datetime, to_at: datetime, flags: Sequence[str] = ("",)
) -> list[HourSummary]:
    """Return the hours of a series, sorted by time. Only readings with one of the given flags count."""
    rows = c.execute(_HOURS, {"series_id": series_id, "from_at": from_at, "to_at": to_at, "flags": flags})
    return [HourSummary(r[0], float(r[1]), float(r[2]), float(r[3])) for r in rows]


def find_newest_reception(c: Connection, series_ids: Sequence[int], since: datetime) -> datetime | None:
    """Return when the newest of the readings observed after an instant was received, or None."""
    o = observation.c
    newest = select(func.max(o.received_at)).where(o.series_id.in_(series_ids), o.observed_at > since)
    return c.execute(newest).scalar()


def load_newest_stamps(c: Connection, site: str, station: str) -> list[Any]:
    """Return when the latest reading of each series of a station was observed and received."""
    ids = c.execute(select(series.c.id).where(series.c.site == site, series.c.station == station)).scalars().all()
    rows = [c.execute(_LAST, {"series_id": series_id, "from_at": EPOCH}).first() for series_id in ids]
    return [row for row in rows if row is not None]


def load_epochs(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[EpochHousekeeping]:
    """Return the newest `MAX_EPOCHS` epochs of a span. The newest is first."""
    rows = c.execute(_EPOCHS, {"series_id": series_id, "from_at": from_at, "to_at": to_at})
    epochs = []
    for row in rows:
        extra = json.loads(row.extra) if row.extra else {}
        received_s = epoch_s(row.received_at)
        delay_s = received_s - epoch_s(row.observed_at)
        epochs.append(EpochHousekeeping(delay_s, extra.get("fix"), extra.get("satellites"), received_s))
    return epochs


def load_far_delays(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[float]:
    """Return the delays, seconds, of readings received in a span whose times are off by more than the span.

    The latest or the earliest reading of the series gives the error of the clock, so that no scan is needed.
    """
    span = to_at - from_at
    for query in (_LAST, _FIRST):
        row = c.execute(query, {"series_id": series_id, "from_at": to_at + span}).first()
        delay = timedelta(0) if row is None else row.received_at - row.observed_at
        if abs(delay) <= span:
            continue
        shifted_span = {"from_at": from_at - delay, "to_at": to_at - delay + timedelta(hours=1)}
        epochs = c.execute(_EPOCHS, {"series_id": series_id, **shifted_span})
        received = [epoch for epoch in epochs if from_at < epoch.received_at <= to_at]
        if received:
            return [epoch_s(epoch.received_at) - epoch_s(epoch.observed_at) for epoch in received]
    return []


def load_delays(c: Connection, series_id: int, from_at: datetime, to_at: datetime) -> list[float]:
    """Return the shortest delay of each hour of reception in a span, seconds.

    The readings of an import or a backlog are received within an hour or two, so that they add only few values.
    """
    hours: dict[datetime, float] = {}
    for received_at, observed_at in c.execute(_DELAYS, {"series_id": series_id, "from_at": from_at, "to_at": to_at}):
        hour = received_at.replace(minute=0, second=0, microsecond=0)
        delay_s = epoch_s(received_at) - epoch_s(observed_at)
        hours[hour] = min(delay_s, hours.get(hour, delay_s))
    return list(hours.values())


def count_epochs(
    c: Connection, site: str, from_at: datetime, to_at: datetime
) -> dict[tuple[int, str], tuple[int, str]]:
    """Return the number of epochs and the first epoch of each series and month."""
    o = observation.c
    s = series.c
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
    """Return when each series was created, by id."""
    s = series.c
    return dict(c.execute(select(s.id, s.created_at).where(s.site == site)).all())


def save_instruments(c: Connection, site: str, assessments: Sequence[InstrumentAssessment], now: datetime) -> None:
    """Replace the stored assessments of a site. A finding that existed before keeps its begin."""
    f = instrument_finding.c
    before = {(r.station, r.state): r.since for r in c.execute(select(instrument_finding).where(f.site == site))}
    c.execute(delete(instrument_finding).where(f.site == site))
    rows = [
        {
            "site": site,
            "station": assessment.station,
            "state": state,
            "rank": rank,
            "reason": reason,
            "action": action,
            "since": since or before.get((assessment.station, state), now),
        }
        for assessment in assessments
        for state, rank, since, reason, action in assessment.findings
    ]
    if rows:
        c.execute(insert(instrument_finding), rows)
    stations = [assessment.station for assessment in assessments]
    c.execute(delete(instrument).where(instrument.c.site == site, instrument.c.station.not_in(stations)))
    save_rows(c, instrument, [fill_row(instrument, assessment, site=site, judged_at=now) for assessment in assessments])


def load_finding_begins(c: Connection, site: str, *states: str) -> dict[str, datetime]:
    """Return since when each station has had a finding of one of these states."""
    f = instrument_finding.c
    return dict(c.execute(select(f.station, f.since).where(f.site == site, f.state.in_(states))).all())


def save_months(c: Connection, site: str, months: Sequence[InstrumentMonth]) -> None:
    """Store the numbers of epochs of some months. Other months stay as they are."""
    save_rows(c, instrument_month, [{"site": site, **asdict(month)} for month in months])


def load_silent(c: Connection, site: str) -> frozenset[str]:
    """Return the stations that are silent according to the last decision."""
    s = station_state.c
    return frozenset(c.execute(select(s.station).where(s.site == site, s.state == "silent")).scalars())
