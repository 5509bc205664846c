"""Load readings as they were known at an instant.

Of the revisions of an epoch that were known at an instant, the one with the highest solution (`rapid` < none or `final`
< `corrected`) counts, and of those the one that arrived last. A rapid solution that arrives after the final one is
stored and does not replace it. Corrections that wait for two people are left out, see
`monitor.readings.queries.corrections`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    TextClause,
    bindparam,
    func,
    select,
    text,
    type_coerce,
)

from monitor.readings.records import UNSIGNED, Reading
from monitor.readings.tables import observation, observation_flag, offset_entry, series, series_latest
from monitor.readings.views import ReadingRow
from monitor.sites.quantities import convert_difference
from monitor.storage.views import ColumnSpan, stream_view
from monitor.text.instants import format_iso

SeriesKey = tuple[str, str, str]
SeriesIds = MutableMapping[SeriesKey, tuple[int, str]]
SOLUTION_RANK: Final[Mapping[str | None, int]] = {"rapid": 0, None: 1, "final": 1, "corrected": 2}
RANK_SQL: Final = "CASE {0}.solution WHEN 'rapid' THEN 0 WHEN 'corrected' THEN 2 ELSE 1 END"
# Instants are loaded as text. An evaluation reads tens of thousands of rows, and parsing takes longer than the query.
STORED_COLUMNS: Final = (
    *(type_coerce(column, String) for column in (observation.c.observed_at, observation.c.received_at)),
    *(observation.c[name] for name in ("revision", "value_raw", "sigma", "solution", "flags", "extra")),
)
_CHUNK: Final = 2000
# Rows of a stream that are in memory at the same time.
STREAM_ROWS: Final = 500
# An instant before every epoch, and an instant after every epoch and reception.
_BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
END: Final = datetime(9999, 12, 30, tzinfo=UTC)
_T = TypeVar("_T")


# Statements are built once. An evaluation loads dozens of series, and building the statements takes as long as loading.
@cache
def _select_known_rows() -> Select[Any]:
    """Return the statement for all revisions of (from_at, to_at] that were known at an instant.

    They are ordered by epoch and revision.
    """
    o = observation.c
    return (
        select(*STORED_COLUMNS)
        .where(
            o.series_id == bindparam("series_id"),
            o.received_at <= bindparam("known_at"),
            o.observed_at > bindparam("from_at"),
            o.observed_at <= bindparam("to_at"),
        )
        .order_by(o.observed_at, o.revision)
    )


@cache
def _select_counting_offsets() -> Select[Any]:
    e = offset_entry.c
    return (
        select(offset_entry, series.c.unit.label("stored"))
        .join(series, series.c.id == e.series_id)
        .where(
            e.series_id == bindparam("series_id"),
            e.counts_from <= bindparam("known_at"),
            e.revoked_at.is_(None) | (e.revoked_at > bindparam("known_at")),
        )
        .order_by(e.at, e.id)
    )


@cache
def _select_known_flags() -> Select[Any]:
    f = observation_flag.c
    return (
        select(f.observed_at, f.revision, f.flag)
        .where(
            f.series_id == bindparam("series_id"),
            f.observed_at > bindparam("from_at"),
            f.observed_at <= bindparam("to_at"),
            f.known_from <= bindparam("known_at"),
        )
        .order_by(f.known_from, f.id)
    )


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series that has at least one reading."""

    id: int
    site: str
    station: str
    quantity: str
    unit: str

    @property
    def name(self) -> str:
        """`station.quantity`."""
        return f"{self.station}.{self.quantity}"


def rank(solution: str | None) -> int:
    """Return the rank of a solution. A solution replaces those of lower rank at its epoch, in any order of arrival.

    >>> rank("rapid") < rank("final") == rank(None) < rank("corrected")
    True
    """
    return SOLUTION_RANK.get(solution, 1)


def load_stations(connection: Connection) -> dict[str, set[str]]:
    """Return the stations that have a series, by site."""
    stations: dict[str, set[str]] = {}
    for site, station in connection.execute(select(series.c.site, series.c.station).distinct()):
        stations.setdefault(site, set()).add(station)
    return stations


def in_chunks(items: Sequence[_T], size: int = _CHUNK) -> Iterable[Sequence[_T]]:
    """Split a list into parts that fit into one SQL statement."""
    return (items[i : i + size] for i in range(0, len(items), size))


def find_series_id(
    connection: Connection, site: str, station: str, quantity: str, ids: SeriesIds | None = None
) -> int | None:
    """Return the id of a series; None if no reading of it was ever stored.

    Args:
        ids: Cache of series ids.
    """
    if ids and (site, station, quantity) in ids:
        return ids[site, station, quantity][0]
    s = series.c
    query = select(s.id).where(s.site == site, s.station == station, s.quantity == quantity)
    return connection.execute(query).scalar()


def load_series(connection: Connection, site: str) -> list[SeriesRow]:
    """Return all series of a site that have readings, by station and quantity."""
    return [SeriesRow(*row) for row in connection.execute(_select_series(), {"of_site": site})]


@cache
def _select_series() -> Select[Any]:
    s = series.c
    series_of_site = select(s.id, s.site, s.station, s.quantity, s.unit).where(s.site == bindparam("of_site"))
    return series_of_site.order_by(s.station, s.quantity)


def load_ids(connection: Connection, site: str) -> dict[tuple[str, str], int]:
    """Return the ids of the series of a site that have readings, by station and quantity."""
    return {(row.station, row.quantity): row.id for row in load_series(connection, site)}


def load_newest_receptions(connection: Connection, site: str) -> dict[int, datetime]:
    """Return when the newest reading of each series of a site was received, by id of the series."""
    k, s = series_latest.c, series.c
    return dict(connection.execute(select(k.series_id, k.received_at).where(k.series_id == s.id, s.site == site)).all())


@dataclass(frozen=True, slots=True)
class Extent:
    """The number of epochs of a series in a span, with the first and the last."""

    count: int
    first: datetime
    last: datetime


def load_extents(
    connection: Connection, series_ids: Sequence[int], since: datetime, until: datetime
) -> dict[int, Extent]:
    """Return the extent of each series in (since, until]. Series without readings in this span are left out."""
    o = observation.c
    query = select(o.series_id, func.count(), func.min(o.observed_at), func.max(o.observed_at)).where(
        o.series_id.in_(series_ids), o.observed_at > since, o.observed_at <= until, o.revision == 0
    )
    return {row[0]: Extent(*row[1:]) for row in connection.execute(query.group_by(o.series_id))}


def find_epoch(connection: Connection, series_id: int, to_at: datetime, back: int) -> datetime | None:
    """Return the epoch that is followed by `back` further epochs up to an instant; None if there are too few."""
    o = observation.c
    rows = select(o.observed_at).where(o.series_id == series_id, o.observed_at <= to_at, o.revision == 0)
    epoch: datetime | None = connection.execute(rows.order_by(o.observed_at.desc()).limit(1).offset(back)).scalar()
    return epoch


def load_readings(
    connection: Connection,
    series_id: int,
    from_at: datetime | None,
    to_at: datetime,
    known_at: datetime,
    *,
    with_unsigned: bool = False,
) -> list[Reading]:
    """Load the readings of (from_at, to_at] as known at an instant, in order of epoch.

    Of each epoch the revision that counted then is returned. `value` is the raw value less the offsets that counted
    then. `flags` are the flags set at arrival, with the later changes that were known then. Corrections that wait for
    two people are left out. With `with_unsigned` they count, as if they were signed.
    """
    revisions = load_revisions(connection, series_id, from_at, to_at, known_at)
    if not revisions:
        return []
    later = load_later_flags(connection, series_id, from_at, to_at, known_at)
    offsets = load_offsets(connection, series_id, known_at)
    if with_unsigned:
        return [as_signed(reading) for reading in iter_readings(iter_counting(revisions), offsets, later)]
    return list(iter_readings(iter_counting(leave_out_unsigned(revisions, later)), offsets, later))


def load_revisions(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime
) -> Sequence[Row[Any]]:
    """Return every revision of (from_at, to_at] that was known at an instant, with the columns of `STORED_COLUMNS`."""
    return connection.execute(_select_known_rows(), _span(series_id, from_at, to_at, known_at)).all()


def unsigned_sql(row: str) -> str:
    """Return the SQL condition that a row of `observation` waits for two people at the instant `:known`."""
    return (
        f"({row}.flags LIKE '%unsigned%' AND coalesce((SELECT u.flag FROM observation_flag u "  # noqa: S608
        f"WHERE u.series_id = {row}.series_id AND u.observed_at = {row}.observed_at AND u.revision = {row}.revision "
        "AND u.flag IN ('unsigned', '-unsigned') AND u.known_from <= :known ORDER BY u.id DESC LIMIT 1), 'unsigned') "
        "= 'unsigned')"
    )


def as_signed(reading: Reading) -> Reading:
    """Return a reading without the flag of a correction that waits for two people."""
    if UNSIGNED not in reading.flags:
        return reading
    return replace(reading, flags=tuple(flag for flag in reading.flags if flag != UNSIGNED))


def leave_out_unsigned(rows: Iterable[Any], later: Mapping[tuple[str, int], Iterable[str]]) -> Iterator[Any]:
    """Yield the rows without corrections that wait for two people.

    Args:
        rows: Rows with the columns of `STORED_COLUMNS`.
        later: Flags that were added and withdrawn after arrival, see `load_later_flags`.
    """
    for row in rows:
        flags = row[6]
        if flags and UNSIGNED in flags:
            present_flags = change_flags(tuple(flags.split(",")), later.get((row[0], row[2]), ()))
            if UNSIGNED in present_flags:
                continue
        yield row


def stream_readings(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime
) -> Iterator[Reading]:
    """Yield the readings that `load_readings` returns, without loading a long history into memory as a whole."""
    offsets = load_offsets(connection, series_id, known_at)
    later = load_later_flags(connection, series_id, from_at, to_at, known_at)
    rows = connection.execute(
        _select_known_rows().execution_options(yield_per=STREAM_ROWS), _span(series_id, from_at, to_at, known_at)
    )
    yield from iter_readings(iter_counting(leave_out_unsigned(rows, later)), offsets, later)


def _span(series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime) -> dict[str, Any]:
    """Return the parameters of the statements on a span (from_at, to_at] of a series as known at an instant."""
    return {"series_id": series_id, "from_at": from_at or _BEGINNING, "to_at": to_at, "known_at": known_at}


def iter_readings(
    rows: Iterable[tuple[Sequence[Any], Sequence[Any]]],
    offsets: Sequence[tuple[str, float]],
    later: Mapping[tuple[str, int], Iterable[str]],
) -> Iterator[Reading]:
    """Yield readings from the pairs of rows of `iter_counting`, with offsets subtracted and later flags applied."""
    read = datetime.fromisoformat
    total_offset = 0.0
    next_offset = 0
    received_text = ""
    received_at = None
    for row, first_row in rows:
        observed, received, revision, value, sigma, _, flags, extra = row
        # Instants are stored in one format, so that they can be compared as text.
        while next_offset < len(offsets) and offsets[next_offset][0] <= observed:
            total_offset += offsets[next_offset][1]
            next_offset += 1
        present_flags = tuple(f for f in flags.split(",") if f) if flags else ()
        if later and (observed, revision) in later:
            present_flags = change_flags(present_flags, later[observed, revision])
        # The readings of a batch share their time of reception, so that it is parsed once.
        if received_at is None or received != received_text:
            received_text = received
            received_at = read(received)
        # Without an offset, both values are the same object, which saves memory.
        corrected = value - total_offset if total_offset else value
        at = read(observed)
        first = None
        if first_row is not row:
            first_flags = tuple(f for f in first_row[6].split(",") if f)
            first_flags = change_flags(first_flags, later.get((observed, first_row[2]), ()))
            if (first_row[3], first_row[4], first_flags, first_row[7]) != (value, sigma, present_flags, extra):
                first = Reading(
                    observed_at=at,
                    received_at=read(first_row[1]),
                    revision=first_row[2],
                    value_raw=first_row[3],
                    offset_applied=total_offset,
                    value=first_row[3] - total_offset,
                    sigma=first_row[4],
                    flags=first_flags,
                    extra=first_row[7],
                )
        yield Reading(at, received_at, revision, value, total_offset, corrected, sigma, present_flags, extra, first)


def iter_counting(rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield for each epoch the row that counts now and the first row.

    The first row is the one that arrived first. If it is a `corrected` value of a person, and a value of the instrument
    arrived later, the first value of the instrument is used instead.

    Args:
        rows: Rows with the columns of `STORED_COLUMNS`, ordered by epoch and revision.
    """
    chosen: Any = None
    first: Any = None
    for row in rows:
        if chosen is not None and row[0] == chosen[0]:
            chosen = row if rank(row[5]) >= rank(chosen[5]) else chosen
            first = row if rank(row[5]) < rank(first[5]) == rank("corrected") else first
            continue
        if chosen is not None:
            yield chosen, first
        chosen = first = row
    if chosen is not None:
        yield chosen, first


def change_flags(flags: tuple[str, ...], changes: Iterable[str]) -> tuple[str, ...]:
    """Apply later changes, in their order, to the flags set at arrival: `flag` adds and `-flag` withdraws a flag."""
    for change in changes:
        if change.startswith("-"):
            flags = tuple(f for f in flags if f != change[1:])
        elif change not in flags:
            flags = (*flags, change)
    return flags


def load_offsets(connection: Connection, series_id: int, known_at: datetime) -> list[tuple[str, float]]:
    """Return when each offset that counted at an instant begins (ISO 8601), and its size in the unit of the series."""
    offsets = connection.execute(_select_counting_offsets(), {"series_id": series_id, "known_at": known_at})
    return [(format_iso(row.at), convert_difference(row.size, row.unit, row.stored)) for row in offsets]


def load_later_flags(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime
) -> dict[tuple[str, int], list[str]]:
    """Return the flags added or withdrawn after arrival as known at an instant, by epoch (ISO 8601) and revision."""
    later: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row in connection.execute(_select_known_flags(), _span(series_id, from_at, to_at, known_at)):
        later[format_iso(row.observed_at), row.revision].append(row.flag)
    return later


def latest_reading(connection: Connection, series_id: int, known_at: datetime) -> Reading | None:
    """Return the newest reading known at an instant that is not stamped in the future; None if there is none."""
    o = observation.c
    is_signed = text(f"NOT {unsigned_sql('observation')}").bindparams(known=format_iso(known_at))
    newest = connection.execute(
        select(o.observed_at)
        .where(o.series_id == series_id, o.received_at <= known_at, o.flags.not_like("%future%"), is_signed)
        .order_by(o.observed_at.desc())
        .limit(1)
    ).scalar()
    if newest is None:
        return None
    readings = load_readings(connection, series_id, newest - timedelta(microseconds=1), newest, known_at)
    return readings[-1] if readings else None


def count_epochs(
    connection: Connection, key: SeriesKey, *, from_at: datetime | None = None, until: datetime | None = None
) -> int:
    """Return how many epochs of a series in [from_at, until) have a value that counts."""
    conditions = _list_conditions(connection, key, from_at, until)
    counted = select(func.count(observation.c.observed_at.distinct())).where(*conditions)
    return int(connection.execute(counted).scalar_one())


def load_epochs(
    connection: Connection,
    key: SeriesKey,
    *,
    from_at: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    skip: int = 0,
    limit: int = 100,
) -> list[ReadingRow]:
    """Load rows of the view `observation_history`, for each epoch in [from_at, until) the revision that counts.

    Epochs whose values all wait for two people are left out.

    Args:
        from_at: The first instant; None means from the first reading on.
        until: The instant after the span; None means to the last reading.
        skip: How many epochs are skipped at the beginning of the order.
    """
    o = observation.c
    (site, station, quantity), order = key, o.observed_at.desc() if newest_first else o.observed_at
    conditions = _list_conditions(connection, key, from_at, until)
    epochs: Sequence[datetime] = (
        connection.execute(
            select(o.observed_at).where(*conditions).distinct().order_by(order).offset(skip).limit(limit)
        )
        .scalars()
        .all()
    )
    if not epochs:
        return []
    rows: Iterator[Any] = stream_view(
        connection,
        "observation_history",
        order_by=["observed_at", "revision"],
        within=ColumnSpan("observed_at", format_iso(min(epochs) - timedelta(microseconds=1)), format_iso(max(epochs))),
        site=site,
        station=station,
        quantity=quantity,
    )
    counting = (row for row in rows if UNSIGNED not in row["flags"].split(","))
    epoch_rows: list[ReadingRow] = [
        max(revisions, key=lambda row: (rank(row["solution"]), row["revision"]))
        for _, revisions in groupby(counting, key=lambda row: row["observed_at"])
    ]
    return epoch_rows[::-1] if newest_first else epoch_rows


def _list_conditions(
    connection: Connection, key: SeriesKey, from_at: datetime | None, until: datetime | None
) -> list[ColumnElement[bool] | TextClause]:
    """Return the conditions on rows of `observation` that count now and have an epoch in [from_at, until)."""
    o = observation.c
    terms: list[ColumnElement[bool] | TextClause] = [
        o.series_id == (find_series_id(connection, *key) or 0),
        text(f"NOT {unsigned_sql('observation')}").bindparams(known=format_iso(END)),
    ]
    if from_at is not None:
        terms.append(o.observed_at >= from_at)
    if until is not None:
        terms.append(o.observed_at < until)
    return terms
