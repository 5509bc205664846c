"""Store readings. Every revision of an epoch is a row.

A reading with the value, sigma and solution of any stored revision of its epoch is a duplicate and is not stored, even
if its flags differ. To withdraw a correction, send the former value with the solution `corrected`. A value that was
sent as `corrected` before cannot be sent again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    select,
)

from monitor.canonical import canonical_json
from monitor.errors import StoreError
from monitor.readings.queries import corrections
from monitor.readings.queries.latest import renew_latest
from monitor.readings.queries.observations import (
    SeriesIds,
    SeriesKey,
    in_chunks,
    rank,
)
from monitor.readings.records import BROUGHT_BY, UNSIGNED, Observation
from monitor.readings.tables import observation, series
from monitor.sites.records import Site
from monitor.sites.tables import station
from monitor.storage.engine import insert
from monitor.storage.rows import insert_rows
from monitor.text.instants import format_iso


@dataclass(frozen=True, slots=True)
class AddResult:
    """The result of storing a batch.

    Attributes:
        stored: Number of rows that were stored.
        duplicates: Number of readings that were left out as duplicates.
        sites: Ids of the sites with new rows.
        revised: The stored readings that are revisions of an epoch.
        newest: Newest epoch of each series before the batch, in ISO 8601; empty if the series had none.
    """

    stored: int
    duplicates: int
    sites: frozenset[str]
    revised: tuple[Observation, ...] = ()
    newest: Mapping[int, str] = field(default_factory=dict)

    @property
    def revisions(self) -> int:
        """Number of stored rows that are revisions of an epoch."""
        return len(self.revised)


def add_observations(
    connection: Connection,
    observations: Sequence[Observation],
    now: datetime,
    known_series: SeriesIds | None = None,
    by: str | None = None,
    sites: Mapping[str, Site] | None = None,
) -> AddResult:
    """Store observations. Duplicates are left out, and other values of a stored epoch become new revisions.

    Args:
        now: When new series are created.
        known_series: Cache of series ids between calls. The caller clears it if the transaction fails.
        by: Who imports a file; None if the values do not come from a file. The name is stored with each value of a
            series that had readings before.
        sites: Site files in force, by id; None loads them. A correction of a series that they declare is stored with
            the flag `unsigned`, because two people have to sign it first (`monitor.readings.queries.corrections`).

    Raises:
        StoreError: The unit differs from that of the stored series. The caller must not commit the batch.
    """
    if not observations:
        return AddResult(0, 0, frozenset())
    known_series = {} if known_series is None else known_series
    while True:
        ids = _find_series_ids(connection, observations, now, known_series)
        instants = {instant for item in observations for instant in (item.observed_at, item.received_at)}
        texts = {instant: format_iso(instant) for instant in instants}
        rows_of_batch = [
            (ids[item.site, item.station, item.quantity][0], texts[item.observed_at], item) for item in observations
        ]
        stored_revisions, newest = _load_stored_revisions(connection, rows_of_batch)
        if all(series_id in newest for series_id, _, _ in rows_of_batch):
            break
        # A station was renamed, so that a cached series was joined with another one.
        known_series.clear()
    new_revisions: list[corrections.NewRevision] = []
    for series_id, at, item in rows_of_batch:
        revisions = stored_revisions[series_id, at]
        content = (item.value, item.sigma, item.solution)
        if content not in revisions:
            new_revisions.append(corrections.NewRevision(series_id, at, len(revisions), item))
            revisions.append(content)
    imported_into = set() if by is None else {series_id for series_id, newest_at in newest.items() if newest_at}
    unsigned = corrections.find_unsigned(connection, new_revisions, sites, imported_into=imported_into)
    rows: list[tuple[Any, ...]] = []
    latest: dict[int, tuple[Any, ...]] = {}
    for new in new_revisions:
        item = new.item
        flags = (*item.flags, UNSIGNED) if new.key in unsigned else item.flags
        extra = item.extra
        if new.series_id in imported_into:
            extra = canonical_json({**(json.loads(extra) if extra else {}), BROUGHT_BY: by})
        content = (item.value, item.sigma, item.solution)
        rows.append((*new.key, texts[item.received_at], *content, ",".join(flags), extra))
        if "future" not in flags and UNSIGNED not in flags:
            best = latest.get(new.series_id)
            newness = (new.observed_at, rank(item.solution), new.revision)
            if best is None or newness >= (best[1], rank(best[6]), best[2]):
                latest[new.series_id] = rows[-1][:8]
    insert_rows(connection, observation, rows)
    renew_latest(connection, list(latest.values()))
    revised = tuple(new.item for new in new_revisions if new.revision)
    return AddResult(
        stored=len(rows),
        duplicates=len(rows_of_batch) - len(new_revisions),
        sites=frozenset(new.item.site for new in new_revisions),
        revised=revised,
        newest=newest,
    )


def _find_series_ids(
    connection: Connection, observations: Sequence[Observation], now: datetime, known: SeriesIds
) -> Mapping[SeriesKey, tuple[int, str]]:
    """Return the ids and units of the series of a batch. Series that do not exist are created.

    Args:
        known: Cache of ids and units. It is completed and returned.

    Raises:
        StoreError: The unit of a value differs from that of the stored series.
    """
    units = {(item.site, item.station, item.quantity): item.unit for item in observations}
    not_cached = [key for key in units if key not in known]
    if not_cached:
        _load_series_ids(connection, not_cached, known)
        absent = [key for key in not_cached if key not in known]
        if absent:
            _create_series(connection, absent, units, now)
            _load_series_ids(connection, absent, known)
    for key, unit in units.items():
        stored_unit = known[key][1]
        if stored_unit != unit:
            raise StoreError(f"series {'/'.join(key)} is stored in {stored_unit}; a value in {unit} is refused")
    return known


def _load_series_ids(connection: Connection, keys: Iterable[SeriesKey], known: SeriesIds) -> None:
    by_site = defaultdict(set)
    for site, station_id, _ in keys:
        by_site[site].add(station_id)
    for site, stations in by_site.items():
        for row in connection.execute(_select_series_ids(), {"of_site": site, "stations": sorted(stations)}):
            known[site, row.station, row.quantity] = (row.id, row.unit)


@cache
def _select_series_ids() -> Select[Any]:
    s = series.c
    stations: Any = bindparam("stations", expanding=True)
    return select(s.station, s.quantity, s.id, s.unit).where(s.site == bindparam("of_site"), s.station.in_(stations))


def _create_series(
    connection: Connection, keys: Sequence[SeriesKey], units: Mapping[SeriesKey, str], now: datetime
) -> None:
    connection.execute(
        insert(connection, series).on_conflict_do_nothing(),
        [
            {"site": site, "station": st, "quantity": q, "unit": units[site, st, q], "created_at": now}
            for site, st, q in keys
        ],
    )
    # A station that no site file declares has a row as well.
    connection.execute(
        insert(connection, station).on_conflict_do_nothing(),
        [{"site": site, "id": st, "on_slope": True, "declared": False} for site, st in {(k[0], k[1]) for k in keys}],
    )


def _load_stored_revisions(
    connection: Connection, rows_of_batch: Sequence[tuple[int, str, Observation]]
) -> tuple[defaultdict[tuple[int, str], list[tuple[float, float | None, str | None]]], dict[int, str]]:
    """Return the stored revisions of the epochs of a batch, in order, and the newest epoch of each series.

    The newest epoch is empty if a series has no readings. Epochs of the batch that are newer have no revisions, so that
    they are not searched.
    """
    placeholder = "?" if connection.dialect.name == "sqlite" else "%s"
    ids = sorted({k[0] for k in rows_of_batch})
    newest: dict[int, str] = {}
    for chunk in in_chunks(ids):
        series_rows = connection.exec_driver_sql(
            "SELECT s.id, coalesce((SELECT max(o.observed_at) FROM observation o WHERE o.series_id = s.id), '') "  # noqa: S608
            f"FROM series s WHERE s.id IN ({','.join([placeholder] * len(chunk))})",
            tuple(chunk),
        )
        newest.update(map(tuple, series_rows.all()))
    wanted = sorted({(series_id, at) for series_id, at, _ in rows_of_batch if at <= newest.get(series_id, "")})
    revisions: defaultdict[tuple[int, str], list[tuple[float, float | None, str | None]]] = defaultdict(list)
    pair, collate = ("(?,?)", "") if placeholder == "?" else ("(%s::bigint,%s::text)", 'COLLATE "C"')
    for chunk_of_pairs in in_chunks(wanted):
        stored_rows = connection.exec_driver_sql(
            f"WITH k(series_id, observed_at) AS (VALUES {','.join([pair] * len(chunk_of_pairs))}) "  # noqa: S608
            "SELECT o.series_id, o.observed_at, o.value_raw, o.sigma, o.solution FROM k JOIN observation o "
            f"ON o.series_id = k.series_id AND o.observed_at = k.observed_at {collate} "
            "ORDER BY o.series_id, o.observed_at, o.revision",
            tuple(value for key in chunk_of_pairs for value in key),
        )
        for series_id, at, value, sigma, solution in stored_rows:
            revisions[series_id, at].append((value, sigma, solution))
    return revisions, newest
