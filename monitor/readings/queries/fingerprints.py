"""Determine whether cached readings are still valid, and load the readings that were added since then."""

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

# Station and quantity.
Place = tuple[str, str]
# Id of a series, and the span (from, to] of its epochs.
Stretch = tuple[int, datetime, datetime]


@dataclass(frozen=True, slots=True)
class StretchFingerprint:
    """Figures about the rows of a stretch. At least one of them changes when a row is added or deleted.

    Rows are only added, and deleted from the oldest on. Late rows and revisions change the number of rows, the sum of
    revisions or the newest reception. Deleted rows change the first epoch.

    Attributes:
        rows: Number of rows: all revisions of all epochs.
        first: The first epoch, ISO 8601.
        revisions: Sum of the revision numbers.
        received: The newest reception, ISO 8601.
        flags: Number of later flags, and the id of the newest.
        offsets: Ids of the offsets that count.
    """

    rows: int = 0
    first: str = ""
    revisions: int = 0
    received: str = ""
    flags: tuple[int, int] = (0, 0)
    offsets: tuple[int, ...] = ()


_UNTOUCHED: Final = StretchFingerprint()


def load_fingerprints(c: Connection, stretches: Sequence[Stretch], known_at: datetime) -> list[StretchFingerprint]:
    """Return the fingerprints of stretches as known at an instant, in the same order."""
    if not stretches:
        return []
    # One text for each stretch, so that the database does not sort rows. It is NULL for a stretch without rows.
    columns = "count(*) || ',' || min(o.observed_at) || ',' || sum(o.revision) || ',' || max(o.received_at)"
    totals = {i: (text or "0,,0,").split(",") for i, text in _query(c, stretches, columns, "", known_at, each=True)}
    rows = {i: (int(t[0]), t[1], int(t[2]), t[3]) for i, t in totals.items()}
    ids = [series_id for series_id, _, _ in stretches]
    since = min(from_at for _, from_at, _ in stretches)
    entries = _load_entries(c, {"known_at": known_at, "ids": ids, "since": since}, of_site=False)
    fingerprints = []
    for series_id in ids:
        entry = entries.get(series_id, _UNTOUCHED)
        fingerprints.append(StretchFingerprint(*rows[series_id], entry.flags, entry.offsets))
    return fingerprints


def load_later_entries(c: Connection, site: str, known_at: datetime) -> dict[int, StretchFingerprint]:
    """Return the later flags and counting offsets of a site, by series; series without any are left out."""
    return _load_entries(c, {"known_at": known_at, "of_site": site}, of_site=True)


# The statements are built once. Building them takes longer than executing them.
@cache
def _select_entries(of_site: bool) -> tuple[Select[Any], Select[Any]]:
    """Return statements for the later flags and counting offsets of a site, or of some series since an epoch."""
    f, e = observation_flag.c, offset_entry.c
    known_at: Any = bindparam("known_at")
    ids: Any = bindparam("ids", expanding=True)
    if of_site:
        ids = select(series.c.id).where(series.c.site == bindparam("of_site"))
    flags = select(f.series_id, func.count(), func.max(f.id)).where(f.series_id.in_(ids), f.known_from <= known_at)
    counts = (e.counts_from <= known_at, e.revoked_at.is_(None) | (e.revoked_at > known_at))
    offsets = select(e.series_id, e.id).where(e.series_id.in_(ids), *counts).order_by(e.id)
    return (flags if of_site else flags.where(f.observed_at > bindparam("since"))).group_by(f.series_id), offsets


def _load_entries(c: Connection, given: Mapping[str, Any], *, of_site: bool) -> dict[int, StretchFingerprint]:
    """Return the fingerprints of later flags and counting offsets, by series with any."""
    flags, counting_offsets = _select_entries(of_site)
    entries = {
        series_id: StretchFingerprint(flags=(int(count), int(newest_id)))
        for series_id, count, newest_id in c.execute(flags, given)
    }
    for series_id, offset_id in c.execute(counting_offsets, given):
        entry = entries.get(series_id, _UNTOUCHED)
        entries[series_id] = replace(entry, offsets=(*entry.offsets, offset_id))
    return entries


def load_newer(
    c: Connection,
    cached: Sequence[tuple[int, datetime, StretchFingerprint]],
    to_at: datetime,
    known_at: datetime,
    *,
    with_unsigned: bool = False,
) -> dict[int, tuple[list[Reading], StretchFingerprint]]:
    """Load the readings of several series after their newest cached epoch, as `load_readings` returns them.

    Args:
        c: The transaction in which the fingerprints were loaded.
        cached: Id of a series, its newest cached epoch, and the fingerprint of the stretch up to this epoch.
        to_at: The newest epoch to load.
        with_unsigned: Whether corrections that wait for two people count, as if they were signed.

    Returns:
        By series with new readings: these readings, and the fingerprint of the longer stretch.
    """
    columns = "k.id, o.observed_at, o.received_at, o.revision, o.value_raw, o.sigma, o.solution, o.flags, o.extra"
    order = "ORDER BY k.id, o.observed_at, o.revision"
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in _query(c, [(i, after, to_at) for i, after, _ in cached], columns, order, known_at):
        rows[row[0]].append(row[1:])
    newer = {}
    for series_id, after, fingerprint in cached:
        if series_id not in rows:
            continue
        new_rows = rows[series_id]
        longer = replace(
            fingerprint,
            rows=fingerprint.rows + len(new_rows),
            first=fingerprint.first or new_rows[0][0],
            revisions=fingerprint.revisions + sum(row[2] for row in new_rows),
            received=max(fingerprint.received, *(row[1] for row in new_rows)),
        )
        offsets = observations.load_offsets(c, series_id, known_at) if fingerprint.offsets else []
        later = observations.load_later_flags(c, series_id, after, to_at, known_at) if fingerprint.flags[0] else {}
        counting = new_rows if with_unsigned else observations.leave_out_unsigned(new_rows, later)
        readings = list(observations.iter_readings(observations.iter_counting(counting), offsets, later))
        if with_unsigned:
            readings = [observations.as_signed(reading) for reading in readings]
        newer[series_id] = readings, longer
    return newer


def load_known(
    c: Connection, site: str, since: Mapping[Place, datetime], to_at: datetime, known_at: datetime, ids: SeriesIds
) -> dict[Place, list[Reading]]:
    """Load the readings of series of a site, each after an instant, as `load_readings` returns them.

    Corrections that wait for two people are included, because values are calculated from them and then wait as well.

    Args:
        since: By station and quantity, the instant after which readings are wanted. Unknown series are left out.
        ids: Cache of series ids.
    """
    series_ids: dict[Place, int] = {}
    for place in since:
        series_id = observations.find_series_id(c, site, *place, ids)
        if series_id is not None:
            series_ids[place] = series_id
    entries: dict[int, StretchFingerprint] = {}
    for chunk in observations.in_chunks([*series_ids.values()]):
        parameters = {"known_at": known_at, "ids": chunk, "since": min(since.values())}
        entries |= _load_entries(c, parameters, of_site=False)
    cached = [(series_id, since[place], entries.get(series_id, _UNTOUCHED)) for place, series_id in series_ids.items()]
    newer = load_newer(c, cached, to_at, known_at, with_unsigned=True)
    return {place: newer[series_id][0] if series_id in newer else [] for place, series_id in series_ids.items()}


def load_offset_series(c: Connection) -> frozenset[int]:
    """Return the ids of the series with a declared offset."""
    return frozenset(c.execute(select(offset_entry.c.series_id)).scalars())


def load_newer_values(
    c: Connection, cached: Sequence[tuple[Stretch, StretchFingerprint]], after: datetime, known_at: datetime
) -> tuple[dict[int, list[tuple[float, float | None]]], set[int]]:
    """Load the values after stretches of several series, and find the series with late readings.

    Args:
        c: The transaction in which the fingerprints were loaded.
        cached: A stretch of each series, with the fingerprint of its later flags and offsets.
        after: A reading inside a stretch is late if it was received after this instant.

    Returns:
        By series, the epochs after the stretch in epoch seconds with their values. A value is None if no model may
        learn from it. Series without any are left out. And the ids of the series with late readings.
    """
    values: dict[int, list[tuple[float, float | None]]] = defaultdict(list)
    columns = "k.id, o.observed_at > k.to_at, o.observed_at, o.value_raw, o.revision > 0 OR o.flags <> ''"
    is_wanted = f"AND (o.observed_at > k.to_at OR o.received_at > '{format_iso(after)}')"
    rows = _query(c, [stretch for stretch, _ in cached], columns, is_wanted, known_at, until=known_at)
    late: set[int] = set()
    changed = {series_id for (series_id, _, _), fingerprint in cached if fingerprint != _UNTOUCHED}
    # Most series have the same epochs, so each text is parsed once.
    seconds = {at: epoch_s(parse_time(at)) for at in {row[2] for row in rows}}
    for series_id, is_new, at, value, is_changed in rows:
        if not is_new:
            late.add(series_id)
        elif is_changed:
            changed.add(series_id)
        else:
            values[series_id].append((seconds[at], value))
    for rows_of_series in values.values():
        rows_of_series.sort()
    again = [(series_id, to_at, fingerprint) for (series_id, _, to_at), fingerprint in cached if series_id in changed]
    for series_id, (readings, _) in load_newer(c, again, known_at, known_at).items():
        values[series_id] = [(epoch_s(r.observed_at), r.value if is_fit(r) else None) for r in readings]
    return dict(values), late


def load_epochs(c: Connection, stretches: Sequence[Stretch], known_at: datetime) -> list[list[datetime]]:
    """Return the epochs of all readings in each stretch, usable or not, in the order of the stretches."""
    epochs: dict[tuple[int, str, str], list[datetime]] = defaultdict(list)
    columns, order = "k.id, k.from_at, k.to_at, o.observed_at", "AND o.revision = 0 ORDER BY k.id, o.observed_at"
    for row in _query(c, stretches, columns, order, known_at):
        epochs[row[0], row[1], row[2]].append(parse_time(row[3]))
    return [epochs[series_id, format_iso(begin), format_iso(end)] for series_id, begin, end in stretches]


def _query(
    c: Connection,
    stretches: Sequence[Stretch],
    columns: str,
    suffix: str,
    known_at: datetime,
    *,
    until: datetime | None = None,
    each: bool = False,
) -> list[Any]:
    """Return rows of several stretches by one statement.

    Args:
        columns: Columns of the result, in SQL.
        suffix: Further conditions and the order, in SQL.
        until: The end of all stretches; None uses the end of each.
        each: Whether to return one row for each stretch: its series, and the one column that aggregates its rows.
    """
    if c.dialect.name == "sqlite":
        placeholder, values, collate = "?", "(?,?,?)", ""
    else:
        placeholder, values, collate = "%s", "(%s::bigint,%s::text,%s::text)", 'COLLATE "C"'
    end = "k.to_at" if until is None else f"'{format_iso(until)}'"
    within = f"o.series_id = k.id AND o.observed_at > k.from_at {collate} AND o.observed_at <= {end} {collate}"
    query = f"SELECT {columns} FROM k JOIN observation o ON {within} WHERE o.received_at <= {placeholder} {suffix}"  # noqa: S608
    if each:
        of_stretch = f"SELECT {columns} FROM observation o WHERE {within} AND o.received_at <= {placeholder} {suffix}"  # noqa: S608
        query = f"SELECT k.id, ({of_stretch}) FROM k"  # noqa: S608
    rows: list[Any] = []
    texts = {at: format_iso(at) for at in {at for _, *span in stretches for at in span}}
    for chunk in observations.in_chunks(stretches):
        parameters: list[Any] = []
        for series_id, begin, end_at in chunk:
            parameters += [series_id, texts[begin], texts[end_at]]
        rows += c.exec_driver_sql(
            f"WITH k(id, from_at, to_at) AS (VALUES {','.join([values] * len(chunk))}) {query}",
            (*parameters, format_iso(known_at)),
        ).all()
    return rows
