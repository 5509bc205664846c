"""Readings that somebody holds in memory: whether they are still all that is known, and what came after them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, select

from monitor.readings.queries import observations
from monitor.readings.queries.observations import SeriesIds
from monitor.readings.records import Reading, is_fit
from monitor.readings.tables import observation_flag, offset_entry, series
from monitor.text.instants import epoch_s, format_iso, parse_time

Place = tuple[str, str]  # station and quantity
Stretch = tuple[int, datetime, datetime]  # series, and (from, to] of its epochs


@dataclass(frozen=True, slots=True)
class StretchFingerprint:
    """What is known of a stretch, as values of which one differs when anything else became known.

    Rows are only ever added, and pruned from the oldest on: late rows and revisions show in number, sum of revisions
    and newest reception, pruned ones in the first epoch.
    """

    rows: int = 0  # revisions of all epochs
    first: str = ""  # first epoch, spelled
    revisions: int = 0  # sum of their numbers
    received: str = ""  # newest reception, spelled
    flags: tuple[int, int] = (0, 0)  # number and newest entry of later flags
    offsets: tuple[int, ...] = ()  # entries that count


_UNTOUCHED: Final = StretchFingerprint()


def load_fingerprints(c: Connection, stretches: Sequence[Stretch], known_at: datetime) -> list[StretchFingerprint]:
    """What is known of stretches, in their order."""
    if not stretches:
        return []
    # as one text of each stretch, for which no database sorts rows; NULL where there are none
    columns = "count(*) || ',' || min(o.observed_at) || ',' || sum(o.revision) || ',' || max(o.received_at)"
    totals = {i: (text or "0,,0,").split(",") for i, text in _query(c, stretches, columns, "", known_at, each=True)}
    rows = {i: (int(t[0]), t[1], int(t[2]), t[3]) for i, t in totals.items()}
    ids, since = [s[0] for s in stretches], min(s[1] for s in stretches)
    later = _load_entries(c, {"known_at": known_at, "ids": ids, "since": since}, of_site=False)
    return [StretchFingerprint(*rows[i], one.flags, one.offsets) for i in ids for one in (later.get(i, _UNTOUCHED),)]


def load_later_entries(c: Connection, site: str, known_at: datetime) -> dict[int, StretchFingerprint]:
    """What was entered of the readings of a site after they arrived: later flags and offsets, by series with any."""
    return _load_entries(c, {"known_at": known_at, "of_site": site}, of_site=True)


@cache  # put together once: it is asked at every look
def _plan_entries(of_site: bool) -> tuple[Select[Any], Select[Any]]:
    """Later flags, and offsets that count: of a whole site, or of some series, flags since an epoch."""
    f, e = observation_flag.c, offset_entry.c
    known_at: Any = bindparam("known_at")
    ids: Any = bindparam("ids", expanding=True)
    if of_site:
        ids = select(series.c.id).where(series.c.site == bindparam("of_site"))
    flags = select(f.series_id, func.count(), func.max(f.id)).where(f.series_id.in_(ids), f.known_from <= known_at)
    holds = (e.counts_from <= known_at, e.revoked_at.is_(None) | (e.revoked_at > known_at))
    offsets = select(e.series_id, e.id).where(e.series_id.in_(ids), *holds).order_by(e.id)
    return (flags if of_site else flags.where(f.observed_at > bindparam("since"))).group_by(f.series_id), offsets


def _load_entries(c: Connection, given: Mapping[str, Any], *, of_site: bool) -> dict[int, StretchFingerprint]:
    """By series with any: number and newest entry of those later flags, and those offsets that count."""
    flags, counting_offsets = _plan_entries(of_site)
    found = {r[0]: StretchFingerprint(flags=(int(r[1]), int(r[2]))) for r in c.execute(flags, given)}
    for series_id, entry_id in c.execute(counting_offsets, given):
        before = found.get(series_id, _UNTOUCHED)
        found[series_id] = replace(before, offsets=(*before.offsets, entry_id))
    return found


def load_newer(
    c: Connection,
    held: Sequence[tuple[int, datetime, StretchFingerprint]],
    to_at: datetime,
    known_at: datetime,
    *,
    with_unsigned: bool = False,
) -> dict[int, tuple[list[Reading], StretchFingerprint]]:
    """Readings of several series with epochs after one of each, as `load_readings` gives them.

    `c`: the snapshot in which the stamps were found; `held`: series, its newest epoch that is held, and the stamp of
    the stretch up to there; `to_at`: the newest epoch to read; `with_unsigned`: corrections that wait for two people
    count, as if they were signed.

    Returns:
        Readings and the stamp of the longer stretch, for series that have any.
    """
    columns = "k.id, o.observed_at, o.received_at, o.revision, o.value_raw, o.sigma, o.solution, o.flags, o.extra"
    order = "ORDER BY k.id, o.observed_at, o.revision"
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in _query(c, [(i, after, to_at) for i, after, _ in held], columns, order, known_at):
        rows[row[0]].append(row[1:])
    found = {}
    for series_id, after, stamp in (one for one in held if one[0] in rows):
        mine = rows[series_id]
        longer = replace(
            stamp,
            rows=stamp.rows + len(mine),
            first=stamp.first or mine[0][0],
            revisions=stamp.revisions + sum(r[2] for r in mine),
            received=max(stamp.received, *(r[1] for r in mine)),
        )
        offsets = observations.load_offsets(c, series_id, known_at) if stamp.offsets else []
        later = observations.load_later_flags(c, series_id, after, to_at, known_at) if stamp.flags[0] else {}
        counting = mine if with_unsigned else observations.leave_out_unsigned(mine, later)
        readings = list(observations.iter_readings(observations.iter_speaking(counting), offsets, later))
        if with_unsigned:
            readings = [observations.as_signed(reading) for reading in readings]
        found[series_id] = readings, longer
    return found


def load_known(
    c: Connection, site: str, since: Mapping[Place, datetime], to_at: datetime, known_at: datetime, ids: SeriesIds
) -> dict[Place, list[Reading]]:
    """Readings of those series of a site that were ever stored, each after an instant, as `load_readings` gives them.

    Corrections that wait for two people are included: values are calculated from them, and wait for two people as well.
    `ids`: memory of series ids.
    """
    numbers = {one: n for one in since if (n := observations.find_series_id(c, site, *one, ids)) is not None}
    later: dict[int, StretchFingerprint] = {}
    for some in observations.in_chunks([*numbers.values()]):
        later |= _load_entries(c, {"known_at": known_at, "ids": some, "since": min(since.values())}, of_site=False)
    held = [(number, since[place], later.get(number, _UNTOUCHED)) for place, number in numbers.items()]
    read = load_newer(c, held, to_at, known_at, with_unsigned=True)
    return {place: read[number][0] if number in read else [] for place, number in numbers.items()}


def load_offset_series(c: Connection) -> frozenset[int]:
    """The series of which somebody ever entered an offset."""
    return frozenset(c.execute(select(offset_entry.c.series_id)).scalars())


def load_newer_values(
    c: Connection, held: Sequence[tuple[Stretch, StretchFingerprint]], after: datetime, known_at: datetime
) -> tuple[dict[int, list[tuple[float, float | None]]], set[int]]:
    """What came after stretches of several series, and of which series something came late.

    `c`: the snapshot in which the stamps were found; `held`: a stretch of each series, and what was entered of it since
    it arrived; `after`: a reading that arrived after it with its epoch in the stretch came late.

    Returns:
        Epochs after the stretch in seconds with their values, None for one that no model may learn from, of series that
        have any; and the series of which something came late.
    """
    found: dict[int, list[tuple[float, float | None]]] = defaultdict(list)
    columns = "k.id, o.observed_at > k.to_at, o.observed_at, o.value_raw, o.revision > 0 OR o.flags <> ''"
    rest = f"AND (o.observed_at > k.to_at OR o.received_at > '{format_iso(after)}')"
    rows = _query(c, [stretch for stretch, _ in held], columns, rest, known_at, until=known_at)
    late, changed = set[int](), {i for (i, _, _), stamp in held if stamp != _UNTOUCHED}
    seconds = {at: epoch_s(parse_time(at)) for at in {row[2] for row in rows}}  # most series have the same epochs
    for series_id, is_new, at, value, is_changed in rows:
        if not is_new:
            late.add(series_id)
        elif is_changed:
            changed.add(series_id)
        else:
            found[series_id].append((seconds[at], value))
    for of in found.values():
        of.sort()
    again = [(i, to_at, stamp) for (i, _, to_at), stamp in held if i in changed]
    for series_id, (readings, _) in load_newer(c, again, known_at, known_at).items():
        found[series_id] = [(epoch_s(r.observed_at), r.value if is_fit(r) else None) for r in readings]
    return dict(found), late


def load_epochs(c: Connection, stretches: Sequence[Stretch], known_at: datetime) -> list[list[datetime]]:
    """Epochs of each stretch at which something was read, of whatever use it is; in their order."""
    found: dict[tuple[int, str, str], list[datetime]] = defaultdict(list)
    columns, order = "k.id, k.from_at, k.to_at, o.observed_at", "AND o.revision = 0 ORDER BY k.id, o.observed_at"
    for row in _query(c, stretches, columns, order, known_at):
        found[row[0], row[1], row[2]].append(parse_time(row[3]))
    return [found[i, format_iso(begin), format_iso(end)] for i, begin, end in stretches]


def _query(
    c: Connection,
    stretches: Sequence[Stretch],
    columns: str,
    rest: str,
    known_at: datetime,
    *,
    until: datetime | None = None,
    each: bool = False,
) -> list[Any]:
    """Rows of several stretches in one statement; those after them too, up to an instant where one is given.

    With `each` one row of each stretch: its series, and the one column that sums up its rows.
    """
    sqlite = c.dialect.name == "sqlite"
    mark = "?" if sqlite else "%s"
    one, collate = ("(?,?,?)", "") if sqlite else ("(%s::bigint,%s::text,%s::text)", 'COLLATE "C"')
    end = "k.to_at" if until is None else f"'{format_iso(until)}'"
    within = f"o.series_id = k.id AND o.observed_at > k.from_at {collate} AND o.observed_at <= {end} {collate}"
    query = f"SELECT {columns} FROM k JOIN observation o ON {within} WHERE o.received_at <= {mark} {rest}"  # noqa: S608
    if each:
        of_one = f"SELECT {columns} FROM observation o WHERE {within} AND o.received_at <= {mark} {rest}"  # noqa: S608
        query = f"SELECT k.id, ({of_one}) FROM k"  # noqa: S608
    found: list[Any] = []
    spelled = {at: format_iso(at) for at in {at for _, *both in stretches for at in both}}  # most series have the same
    for chunk in observations.in_chunks(stretches):
        found += c.exec_driver_sql(
            f"WITH k(id, from_at, to_at) AS (VALUES {','.join([one] * len(chunk))}) {query}",
            (*(v for i, a, b in chunk for v in (i, spelled[a], spelled[b])), format_iso(known_at)),
        ).all()
    return found
