"""Readings in and out: every revision is kept, the same value twice is one row, windows see what was known then.

Which revision speaks: of all revisions of an epoch that were known at an instant, the one of the highest solution
(`rapid` < none or `final` < `corrected`), of those the one that came last. So a rapid solution that arrives after the
final one is kept and does not replace it, and the order of arrival does not decide. A value, sigma and solution that
an epoch already has is a duplicate; to take back a correction, send the value as `corrected`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, String, bindparam, delete, func, select, type_coerce

from monitor.canonical import canonical_json
from monitor.errors import StoreError
from monitor.readings.records import BROUGHT_BY, Observation, Reading
from monitor.readings.tables import observation, observation_flag, offset_entry, series, series_latest
from monitor.readings.views import ReadingRow
from monitor.sites.quantities import convert_difference
from monitor.sites.tables import station
from monitor.storage.engine import insert
from monitor.storage.rows import insert_rows
from monitor.storage.views import ColumnSpan, stream_view
from monitor.text.instants import format_iso
from monitor.text.names import is_same_person

SeriesKey = tuple[str, str, str]
SeriesIds = MutableMapping[SeriesKey, tuple[int, str]]
SOLUTION_RANK: Final[Mapping[str | None, int]] = {"rapid": 0, None: 1, "final": 1, "corrected": 2}
_RANK_SQL: Final = "CASE {0}.solution WHEN 'rapid' THEN 0 WHEN 'corrected' THEN 2 ELSE 1 END"
# as text: an evaluation reads tens of thousands of rows, and reading instants cost more than the database
STORED: Final = (
    *(type_coerce(column, String) for column in (observation.c.observed_at, observation.c.received_at)),
    *(observation.c[name] for name in ("revision", "value_raw", "sigma", "solution", "flags", "extra")),
)
_CHUNK: Final = 2000
_STREAM: Final = 500  # rows of a stream in memory at once
_BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)  # before any epoch
_T = TypeVar("_T")


# Put together once, by `cache`: a look asks for dozens of series, and to build these anew cost half of its reading.
@cache
def _plan_known_rows() -> Select[Any]:
    """Every revision of (from_at, to_at] that was known at an instant, ordered by epoch and revision."""
    o = observation.c
    return (
        select(*STORED)
        .where(
            o.series_id == bindparam("series_id"),
            o.received_at <= bindparam("known_at"),
            o.observed_at > bindparam("from_at"),
            o.observed_at <= bindparam("to_at"),
        )
        .order_by(o.observed_at, o.revision)
    )


@cache
def _plan_known_offsets() -> Select[Any]:
    e = offset_entry.c
    return (
        select(offset_entry, series.c.unit.label("stored"))
        .join(series, series.c.id == e.series_id)
        .where(
            e.series_id == bindparam("series_id"),
            e.known_from <= bindparam("known_at"),
            e.revoked_at.is_(None) | (e.revoked_at > bindparam("known_at")),
        )
        .order_by(e.at, e.id)
    )


@cache
def _plan_known_flags() -> Select[Any]:
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
class AddResult:
    """What became of a batch: rows stored (revisions among them), duplicates left out, sites that have news."""

    stored: int
    duplicates: int
    revisions: int
    sites: frozenset[str]
    revised: tuple[Observation, ...] = ()  # what became those revisions
    newest: Mapping[int, str] = field(default_factory=dict)  # by series its newest epoch before, spelled; "": none


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
    """The weight of a solution: a higher one replaces a lower one of the same epoch, whenever it came.

    >>> rank("rapid") < rank("final") == rank(None) < rank("corrected")
    True
    """
    return SOLUTION_RANK.get(solution, 1)


def add_observations(
    connection: Connection,
    observations: Sequence[Observation],
    now: datetime,
    known_series: SeriesIds | None = None,
    by: str | None = None,
) -> AddResult:
    """Store observations; those already there are left out, other values become new revisions.

    Args:
        now: when series that are new here came into being.
        known_series: memory of series ids between calls; the caller clears it when the transaction fails.
        by: who brings them in a file; it stands with each value of a series that had readings before.

    Raises:
        StoreError: the unit differs from that in which the series is stored; nothing of the batch may be committed.
    """
    if not observations:
        return AddResult(0, 0, 0, frozenset())
    known_series = {} if known_series is None else known_series
    while True:
        ids = _series_ids(connection, observations, now, known_series)
        spelled = {at: format_iso(at) for at in {at for o in observations for at in (o.observed_at, o.received_at)}}
        keyed = [(ids[o.site, o.station, o.quantity][0], spelled[o.observed_at], o) for o in observations]
        there, newest = _existing(connection, keyed)
        if all(series_id in newest for series_id, _, _ in keyed):
            break
        known_series.clear()  # one that is known was joined with another: its station was renamed
    rows: list[tuple[Any, ...]] = []
    latest: dict[int, tuple[Any, ...]] = {}
    duplicates = 0
    revised: list[Observation] = []
    sites: set[str] = set()
    for series_id, at, item in keyed:
        known = there[series_id, at]
        fact = (item.value, item.sigma, item.solution)
        if fact in known:
            duplicates += 1
            continue
        revision = len(known)
        known.append(fact)
        if revision:
            revised.append(item)
        flags = ",".join(item.flags)
        extra = item.extra
        if by is not None and newest[series_id]:
            extra = canonical_json({**(json.loads(extra) if extra else {}), BROUGHT_BY: by})
        rows.append((series_id, at, revision, spelled[item.received_at], *fact, flags, extra))
        sites.add(item.site)
        if "future" not in item.flags:
            best = latest.get(series_id)
            if best is None or (at, rank(item.solution), revision) >= (best[1], rank(best[6]), best[2]):
                latest[series_id] = rows[-1][:8]
    insert_rows(connection, observation, rows)
    _renew_latest(connection, list(latest.values()))
    return AddResult(len(rows), duplicates, len(revised), frozenset(sites), tuple(revised), newest)


def load_stations(connection: Connection) -> dict[str, set[str]]:
    """The stations that have a series, by site."""
    found: dict[str, set[str]] = {}
    for site, name in connection.execute(select(series.c.site, series.c.station).distinct()):
        found.setdefault(site, set()).add(name)
    return found


def _series_ids(
    connection: Connection, observations: Sequence[Observation], now: datetime, known: SeriesIds
) -> Mapping[SeriesKey, tuple[int, str]]:
    wanted = {(o.site, o.station, o.quantity): o.unit for o in observations}
    if missing := [key for key in wanted if key not in known]:
        _learn(connection, missing, known)
        if absent := [key for key in missing if key not in known]:
            _create(connection, absent, wanted, now)
            _learn(connection, absent, known)
    for key, unit in wanted.items():
        if known[key][1] != unit:
            raise StoreError(f"series {'/'.join(key)} is stored in {known[key][1]}; a value in {unit} is refused")
    return known


def _learn(connection: Connection, keys: Iterable[SeriesKey], known: SeriesIds) -> None:
    by_site = defaultdict(set)
    for site, station_id, _ in keys:
        by_site[site].add(station_id)
    for site, stations in by_site.items():
        for row in connection.execute(_plan_known(), {"of_site": site, "stations": sorted(stations)}):
            known[site, row.station, row.quantity] = (row.id, row.unit)


@cache
def _plan_known() -> Select[Any]:
    s = series.c
    stations: Any = bindparam("stations", expanding=True)
    return select(s.station, s.quantity, s.id, s.unit).where(s.site == bindparam("of_site"), s.station.in_(stations))


def _create(connection: Connection, keys: Sequence[SeriesKey], units: Mapping[SeriesKey, str], now: datetime) -> None:
    connection.execute(
        insert(connection, series).on_conflict_do_nothing(),
        [
            {"site": site, "station": st, "quantity": q, "unit": units[site, st, q], "created_at": now}
            for site, st, q in keys
        ],
    )
    connection.execute(  # a station nobody declared is seen all the same
        insert(connection, station).on_conflict_do_nothing(),
        [{"site": site, "id": st, "on_slope": True, "declared": False} for site, st in {(k[0], k[1]) for k in keys}],
    )


def _existing(
    connection: Connection, keyed: Sequence[tuple[int, str, Observation]]
) -> tuple[defaultdict[tuple[int, str], list[tuple[float, float | None, str | None]]], dict[int, str]]:
    """The revisions that the epochs of a batch already have, in order, and the newest epoch of each series.

    Epochs newer than that are not asked; it is empty where a series has no readings.
    """
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    ids = sorted({k[0] for k in keyed})
    newest: dict[int, str] = {}
    for chunk in in_chunks(ids):
        found = connection.exec_driver_sql(
            "SELECT s.id, coalesce((SELECT max(o.observed_at) FROM observation o WHERE o.series_id = s.id), '') "  # noqa: S608
            f"FROM series s WHERE s.id IN ({','.join([mark] * len(chunk))})",
            tuple(chunk),
        )
        newest.update(map(tuple, found.all()))
    wanted = sorted({(series_id, at) for series_id, at, _ in keyed if at <= newest.get(series_id, "")})
    there: defaultdict[tuple[int, str], list[tuple[float, float | None, str | None]]] = defaultdict(list)
    pair, collate = ("(?,?)", "") if mark == "?" else ("(%s::bigint,%s::text)", 'COLLATE "C"')
    for chunk_of_pairs in in_chunks(wanted):
        found = connection.exec_driver_sql(
            f"WITH k(series_id, observed_at) AS (VALUES {','.join([pair] * len(chunk_of_pairs))}) "  # noqa: S608
            "SELECT o.series_id, o.observed_at, o.value_raw, o.sigma, o.solution FROM k JOIN observation o "
            f"ON o.series_id = k.series_id AND o.observed_at = k.observed_at {collate} "
            "ORDER BY o.series_id, o.observed_at, o.revision",
            tuple(value for key in chunk_of_pairs for value in key),
        )
        for series_id, at, value, sigma, solution in found:
            there[series_id, at].append((value, sigma, solution))
    return there, newest


def in_chunks(items: Sequence[_T], at_once: int = _CHUNK) -> Iterable[Sequence[_T]]:
    """Parts of a list, as long as one statement can take them."""
    return (items[i : i + at_once] for i in range(0, len(items), at_once))


def _renew_latest(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    names = ("series_id", "observed_at", "revision", "received_at", "value_raw", "sigma", "solution", "flags")
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    old, new = _RANK_SQL.format("series_latest"), _RANK_SQL.format("excluded")
    connection.exec_driver_sql(
        f"INSERT INTO series_latest ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))}) "  # noqa: S608
        f"ON CONFLICT (series_id) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in names[1:])} "
        "WHERE excluded.observed_at > series_latest.observed_at OR (excluded.observed_at = series_latest.observed_at "
        f"AND ({new} > {old} OR ({new} = {old} AND excluded.revision > series_latest.revision)))",
        rows,
    )


def join_latest(connection: Connection, stays: int, goes: int) -> None:
    """Let the newest epoch of one series count for another, where it is newer; in a write transaction."""
    k = series_latest.c
    raw = [type_coerce(one, String) if one.name.endswith("_at") else one for one in k if one.name != "series_id"]
    rows = [(stays, *row) for row in connection.execute(select(*raw).where(k.series_id == goes))]
    connection.execute(delete(series_latest).where(k.series_id == goes))
    _renew_latest(connection, rows)


def find_series_id(c: Connection, site: str, station: str, quantity: str, ids: SeriesIds | None = None) -> int | None:
    """The id of a series, or None when nothing of it was ever stored; `ids`: memory of them."""
    if ids and (site, station, quantity) in ids:
        return ids[site, station, quantity][0]
    s = series.c
    mine = (s.site == site, s.station == station, s.quantity == quantity)
    return c.execute(select(s.id).where(*mine)).scalar()


def load_series(connection: Connection, site: str) -> list[SeriesRow]:
    """All series of a site that have readings, ordered by station and quantity."""
    return [SeriesRow(*row) for row in connection.execute(_plan_series(), {"of_site": site})]


@cache
def _plan_series() -> Select[Any]:
    s = series.c
    found = select(s.id, s.site, s.station, s.quantity, s.unit).where(s.site == bindparam("of_site"))
    return found.order_by(s.station, s.quantity)


def load_ids(connection: Connection, site: str) -> dict[tuple[str, str], int]:
    """Ids of the series of a site that have readings, by station and quantity."""
    return {(row.station, row.quantity): row.id for row in load_series(connection, site)}


def load_newest(c: Connection, site: str) -> dict[int, datetime]:
    """By series of a site when its newest reading was received."""
    k, s = series_latest.c, series.c
    return dict(c.execute(select(k.series_id, k.received_at).where(k.series_id == s.id, s.site == site)).all())


@dataclass(frozen=True, slots=True)
class Extent:
    """How many epochs a series has in a time, the first and the last of them."""

    count: int
    first: datetime
    last: datetime


def load_extents(c: Connection, numbers: Sequence[int], since: datetime, until: datetime) -> dict[int, Extent]:
    """By series what it has in (since, until]; without those that have nothing there."""
    o = observation.c
    query = select(o.series_id, func.count(), func.min(o.observed_at), func.max(o.observed_at)).where(
        o.series_id.in_(numbers), o.observed_at > since, o.observed_at <= until, o.revision == 0
    )
    return {row[0]: Extent(*row[1:]) for row in c.execute(query.group_by(o.series_id))}


def find_epoch(connection: Connection, series_id: int, to_at: datetime, back: int) -> datetime | None:
    """The epoch that has so many epochs of its series behind it, up to an instant; None where there are fewer."""
    o = observation.c
    rows = select(o.observed_at).where(o.series_id == series_id, o.observed_at <= to_at, o.revision == 0)
    found: datetime | None = connection.execute(rows.order_by(o.observed_at.desc()).limit(1).offset(back)).scalar()
    return found


def load_readings(
    connection: Connection,
    series_id: int,
    from_at: datetime | None,
    to_at: datetime,
    known_at: datetime,
    *,
    by_two: bool = False,
) -> list[Reading]:
    """Readings of (from_at, to_at] as they were known at an instant, in order of observed_at.

    Of each epoch the revision that spoke then; `value` has the offsets subtracted that were known and not revoked then;
    `flags` are those set at arrival with later ones added and withdrawn as known then. With `by_two` only offsets count
    that two people stand behind (`is_second`).
    """
    known = connection.execute(_plan_known_rows(), _span(series_id, from_at, to_at, known_at)).all()
    rows = list(iter_speaking(known))
    if not rows:
        return []
    offsets = load_offsets(connection, series_id, known_at, by_two=by_two)
    return list(iter_readings(rows, offsets, load_later_flags(connection, series_id, from_at, to_at, known_at)))


def stream_readings(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime
) -> Iterator[Reading]:
    """What `load_readings` gives, one after the other: a long history is never in memory as a whole."""
    offsets = load_offsets(connection, series_id, known_at)
    later = load_later_flags(connection, series_id, from_at, to_at, known_at)
    rows = connection.execute(
        _plan_known_rows().execution_options(yield_per=_STREAM), _span(series_id, from_at, to_at, known_at)
    )
    yield from iter_readings(iter_speaking(rows), offsets, later)


def _span(series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime) -> dict[str, Any]:
    """What the statements below ask for: (from_at, to_at] of a series as known at an instant."""
    return {"series_id": series_id, "from_at": from_at or _BEGINNING, "to_at": to_at, "known_at": known_at}


def iter_readings(
    rows: Iterable[tuple[Sequence[Any], Sequence[Any]]],
    offsets: Sequence[tuple[str, float]],
    later: Mapping[tuple[str, int], Iterable[str]],
) -> Iterator[Reading]:
    """Readings of pairs ordered by epoch (`iter_speaking`), with what was known of offsets and later flags."""
    read = datetime.fromisoformat
    total, upcoming = 0.0, 0
    spelled, received_at = "", None
    for row, former in rows:
        observed, received, revision, value, sigma, _, flags, extra = row
        while upcoming < len(offsets) and offsets[upcoming][0] <= observed:
            total += offsets[upcoming][1]
            upcoming += 1
        flagged = tuple(f for f in flags.split(",") if f) if flags else ()
        if later and (observed, revision) in later:
            flagged = change_flags(flagged, later[observed, revision])
        if received_at is None or received != spelled:  # a batch has one instant of reception
            spelled, received_at = received, read(received)
        # an instant is stored in one spelling only, that of UTC; without an offset both values are one object
        corrected = value - total if total else value
        at, first = read(observed), None
        if former is not row:
            before = tuple(f for f in former[6].split(",") if f)
            before = change_flags(before, later.get((observed, former[2]), ()))
            if (former[3], former[4], before, former[7]) != (value, sigma, flagged, extra):
                first = Reading(
                    at, read(former[1]), former[2], former[3], total, former[3] - total, former[4], before, former[7]
                )
        yield Reading(at, received_at, revision, value, total, corrected, sigma, flagged, extra, first)


def iter_speaking(rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Of rows ordered by epoch and revision the one of each epoch that speaks, and the one that spoke first."""
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
    """The flags set at arrival after later ones were added (`flag`) and withdrawn (`-flag`), in order."""
    for change in changes:
        if change.startswith("-"):
            flags = tuple(f for f in flags if f != change[1:])
        elif change not in flags:
            flags = (*flags, change)
    return flags


def load_offsets(
    connection: Connection, series_id: int, known_at: datetime, *, by_two: bool = False
) -> list[tuple[str, float]]:
    """Offsets known and not revoked at an instant, in the unit of the series, by the spelled instant they begin at."""
    found = connection.execute(_plan_known_offsets(), {"series_id": series_id, "known_at": known_at})
    return [
        (format_iso(r.at), convert_difference(r.size, r.unit, r.stored))
        for r in found
        if not by_two or is_second(r, known_at)
    ]


def is_second(offset: Row[Any], known_at: datetime) -> bool:
    """True when another person than its author had confirmed an offset by an instant."""
    return (
        offset.confirmed_by is not None
        and offset.confirmed_at <= known_at
        and not is_same_person(offset.confirmed_by, offset.author)
    )


def load_later_flags(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, known_at: datetime
) -> dict[tuple[str, int], list[str]]:
    """Flags added or withdrawn after arrival as known at an instant, in order, by (spelled epoch, revision)."""
    later: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row in connection.execute(_plan_known_flags(), _span(series_id, from_at, to_at, known_at)):
        later[format_iso(row.observed_at), row.revision].append(row.flag)
    return later


def latest_reading(connection: Connection, series_id: int, known_at: datetime) -> Reading | None:
    """The newest reading known at an instant that is not stamped in the future; None when there is none."""
    o = observation.c
    newest = connection.execute(
        select(o.observed_at)
        .where(o.series_id == series_id, o.received_at <= known_at, o.flags.not_like("%future%"))
        .order_by(o.observed_at.desc())
        .limit(1)
    ).scalar()
    if newest is None:
        return None
    found = load_readings(connection, series_id, newest - timedelta(microseconds=1), newest, known_at)
    return found[-1] if found else None


def count_epochs(c: Connection, key: SeriesKey, *, after: datetime | None = None, until: datetime | None = None) -> int:
    """How many epochs a series has in [after, until)."""
    which = _plan(c, key, after, until)
    return int(c.execute(select(func.count(observation.c.observed_at.distinct())).where(*which)).scalar_one())


def load_epochs(
    c: Connection,
    key: SeriesKey,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    skip: int = 0,
    limit: int = 100,
) -> list[ReadingRow]:
    """Rows of `observation_history`, one for each epoch in [after, until): the revision that speaks.

    Args:
        after: first instant; None: from the first reading.
        until: instant before which epochs lie; None: to the last.
    """
    o = observation.c
    (site, station, quantity), order = key, o.observed_at.desc() if newest_first else o.observed_at
    which = _plan(c, key, after, until)
    epochs: Sequence[datetime] = (
        c.execute(select(o.observed_at).where(*which).distinct().order_by(order).offset(skip).limit(limit))
        .scalars()
        .all()
    )
    if not epochs:
        return []
    rows: Iterator[Any] = stream_view(
        c,
        "observation_history",
        order_by=["observed_at", "revision"],
        within=ColumnSpan("observed_at", format_iso(min(epochs) - timedelta(microseconds=1)), format_iso(max(epochs))),
        site=site,
        station=station,
        quantity=quantity,
    )
    found: list[ReadingRow] = [
        max(revisions, key=lambda row: (rank(row["solution"]), row["revision"]))
        for _, revisions in groupby(rows, key=lambda row: row["observed_at"])
    ]
    return found[::-1] if newest_first else found


def _plan(c: Connection, key: SeriesKey, after: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    o = observation.c
    terms: list[ColumnElement[bool]] = [o.series_id == (find_series_id(c, *key) or 0)]
    if after is not None:
        terms.append(o.observed_at >= after)
    if until is not None:
        terms.append(o.observed_at < until)
    return terms
