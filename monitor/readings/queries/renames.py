"""Rename a station in all tables, so that it keeps its history.

Stored inputs of decisions keep the id that the station had then. The audit log has an entry for each renaming, from
which the present id is found (`find_present_id`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    UniqueConstraint,
    and_,
    delete,
    exists,
    func,
    select,
    update,
)

from monitor.plugins import hooks
from monitor.readings.queries.latest import join_latest
from monitor.readings.tables import observation, series
from monitor.sites.records import Site
from monitor.sites.tables import station as station_table
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.audit_tables import audit_entry
from monitor.storage.branches import list_tables
from monitor.storage.sealing import SealedColumns
from monitor.storage.service_tables import service_state
from monitor.text.message import Figure, Message, Template, Timestamp

ACTION: Final = "station.rename"
_UNIT: Final = Template(
    "rename.units",
    "{old} and {new} are two instruments, because {quantity} of {old} is in {unit} and that of {new} in {other}",
)
_CLASH: Final = Template(
    "rename.clash",
    "{old} and {new} are two instruments, because {n} readings of {quantity} at equal instants differ, first at {at}",
)
_SEALED: Final = Template(
    "rename.sealed",
    "{old} and {new} cannot be joined, because both have rows on {quantity} in the table {table}, which never change",
)
_SERIES: Final = series.c


@dataclass(frozen=True, slots=True)
class Renaming:
    """When a station of a site was renamed."""

    at: datetime
    site: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _SeriesPair:
    """The series of one quantity that is stored under the old and the new id of a station."""

    old: Any
    new: Any

    @property
    def ids(self) -> tuple[int, int]:
        """Id of the older series, which remains, and of the series whose readings it takes over."""
        return min(self.old.id, self.new.id), max(self.old.id, self.new.id)


def find_clashes(c: Connection, site: Site) -> list[Message]:
    """Return the reasons why renamed stations cannot be joined with the readings under their former ids."""
    reasons: list[Message] = []
    for old, new in site.renamed_stations.items():
        for pair in _find_pairs(c, site.id, old, new):
            reasons += _list_clashes(c, pair)
    return reasons


def apply_renames(c: Connection, site: Site, actor: Actor, now: datetime, *, merge: bool) -> Mapping[str, str]:
    """Rename the stations that the site file declares as renamed. Stations that were renamed before are left out.

    Args:
        c: An open write transaction.
        site: The site file that comes into force.
        actor: The person who puts it in force.
        now: Time of the audit entries.
        merge: Whether to join readings that are stored under both ids. This deletes a series, so no other process may
            store readings at the same time.

    Returns:
        The new id of each station that was renamed, by old id.
    """
    renamed = {}
    for old, new in site.renamed_stations.items():
        count = _rename(c, site.id, old, new, merge=merge)
        if count:
            renamed[old] = new
            detail = {"site": site.id, "old": old, "new": new, "rows": count}
            add_audit(c, actor, ACTION, f"station:{site.id}/{new}", detail, now)
    return renamed


def load_renamings(c: Connection) -> list[Renaming]:
    """Return all renamings, oldest first."""
    e = audit_entry.c
    renamings = []
    for row in c.execute(select(e.at, e.detail).where(e.action == ACTION).order_by(e.id)):
        detail = json.loads(row.detail)
        renamings.append(Renaming(row.at, detail["site"], detail["old"], detail["new"]))
    return renamings


def find_present_id(renamings: Iterable[Renaming], site: str, station: str, at: datetime) -> str:
    """Return the present id of a station, given the id that it had at an instant.

    Args:
        renamings: All renamings, oldest first.

    >>> from monitor.text.instants import parse_time
    >>> moved = [Renaming(parse_time(f"2026-0{n}-01T00:00:00Z"), "north", *ids) for n, ids in ((2, "AB"), (4, "BC"))]
    >>> [find_present_id(moved, "north", station, parse_time(f"2026-0{n}-09T00:00:00Z"))
    ...     for n, station in ((1, "A"), (3, "B"), (3, "A"), (5, "B"))]
    ['C', 'C', 'A', 'B']
    """
    for renaming in renamings:
        if renaming.site == site and renaming.old == station and renaming.at >= at:
            station = renaming.new
    return station


# ---- rows ------------------------------------------------------------------------------------------------------
def _rename(c: Connection, site: str, old: str, new: str, *, merge: bool) -> int:
    """Rename a station, and return how many rows were changed or series joined."""
    count = 0
    if merge:
        for pair in _find_pairs(c, site, old, new):
            if not list(_list_clashes(c, pair)):
                _join(c, *pair.ids)
                count += 1
    for column in _list_columns(c, "names", "station"):
        count += _rename_column(c, column, site, old, new)
    count += _rename_service_state(c, site, old, new)
    is_left = c.execute(select(func.count()).where(_SERIES.site == site, _SERIES.station == old)).scalar_one()
    if not is_left:
        c.execute(delete(station_table).where(station_table.c.site == site, station_table.c.id == old))
    return count


def _rename_service_state(c: Connection, site: str, old: str, new: str) -> int:
    """Rename the rows of `service_state` about a station. A row that exists under the new id remains."""
    s, suffix = service_state, f":{site}/{old}"
    count = 0
    names = set(c.execute(select(s.c.name)).scalars())
    for name in names:
        if not name.endswith(suffix):
            continue
        new_name = f"{name.removesuffix(suffix)}:{site}/{new}"
        if new_name in names:
            c.execute(delete(s).where(s.c.name == name))
            continue
        detail = c.execute(select(s.c.detail).where(s.c.name == name)).scalar_one()
        # The question is sent again under the new id.
        detail.pop("asked", None)
        count += c.execute(update(s).where(s.c.name == name).values(name=new_name, detail=detail)).rowcount
    return count


def _list_columns(c: Connection, key: str, value: str) -> list[Column[Any]]:
    """Return the columns of all tables, also of plugins, whose `info` has this value."""
    return [column for table in list_tables(c) for column in table.c if column.info.get(key) == value]


def _rename_column(c: Connection, column: Column[Any], site: str, old: str, new: str) -> int:
    """Rename a station in one table. A row of the old id is deleted if the new id already has the same row."""
    table = column.table
    is_old = and_(_is_of_site(table, site), column == old)
    twin = table.alias()
    for names in _list_keys(table):
        if column.name not in names:
            continue
        twin_exists = exists().where(*(twin.c[n] == (new if n == column.name else table.c[n]) for n in names))
        # A series with readings under both ids is joined by `_join`, or remains.
        if table is not series:
            c.execute(delete(table).where(is_old, twin_exists))
        is_old = and_(is_old, ~twin_exists)
    return c.execute(update(table).where(is_old).values({column.name: new})).rowcount


def _is_of_site(table: Table, site: str) -> ColumnElement[bool]:
    """Return the condition that a row belongs to a site, by its column `site` or that of the row it refers to."""
    if "site" in table.c:
        return table.c.site == site
    for foreign_key in table.foreign_keys:
        parent = foreign_key.column.table
        if "site" in parent.c:
            return foreign_key.parent.in_(select(foreign_key.column).where(parent.c.site == site))
    raise ValueError(f"rows of {table.name!r} name a station, but neither they nor their parents have a site")


def _list_keys(table: Table) -> list[list[str]]:
    unique = [u for u in table.constraints if isinstance(u, UniqueConstraint)]
    return [[k.name for k in key.columns] for key in (table.primary_key, *unique)]


def _find_pairs(c: Connection, site: str, old: str, new: str) -> list[_SeriesPair]:
    rows = c.execute(select(series).where(_SERIES.site == site, _SERIES.station.in_((old, new)))).all()
    by_key = {(row.station, row.quantity): row for row in rows}
    return [
        _SeriesPair(by_key[old, quantity], row)
        for (station, quantity), row in sorted(by_key.items())
        if station == new and (old, quantity) in by_key
    ]


def _list_clashes(c: Connection, pair: _SeriesPair) -> Iterator[Message]:
    """Yield the reasons why two series cannot be joined."""
    names = {"old": pair.old.station, "new": pair.new.station, "quantity": pair.old.quantity}
    if pair.old.unit != pair.new.unit:
        yield _UNIT(**names, unit=pair.old.unit, other=pair.new.unit)
    kept_id, removed_id = pair.ids
    o, other = observation.c, observation.alias()
    is_same_epoch, is_same_value = _match(other.c, kept_id)
    count, first = c.execute(
        select(func.count(), func.min(o.observed_at)).where(
            o.series_id == removed_id,
            exists().where(*is_same_epoch),
            ~exists().where(*is_same_epoch, *is_same_value),
        )
    ).one()
    if count:
        yield _CLASH(**names, n=Figure(count, "d"), at=Timestamp.of(first))
    for column in _list_unchangeable(c):
        owners = select(column).where(column.in_(pair.ids)).distinct()
        if len(c.execute(owners).all()) > 1:
            yield _SEALED(**names, table=column.table.name)


def _list_unchangeable(c: Connection) -> list[Column[Any]]:
    """Return the columns with ids of series in tables whose rows never change."""
    columns = _list_columns(c, "refers_to", "series.id")
    return [column for column in columns if _never_changes(column.table)]


def _never_changes(table: Table) -> bool:
    rule = table.info.get("sealed")
    return isinstance(rule, SealedColumns) and rule.only_added


def _match(other: Any, series_id: int) -> tuple[Sequence[ColumnElement[bool]], Sequence[ColumnElement[bool]]]:
    """Return the conditions that a row of another series has the same epoch, and that it has the same value."""
    o = observation.c
    return (
        (other.series_id == series_id, other.observed_at == o.observed_at),
        (other.value_raw == o.value_raw, other.sigma.is_not_distinct_from(o.sigma)),
    )


def _join(c: Connection, kept_id: int, removed_id: int) -> None:
    """Move all rows of one series to another one, and delete the empty series.

    If rows that never change refer to the series that would be deleted, that series remains and the other one is
    deleted.
    """
    for column in _list_unchangeable(c):
        if c.execute(select(func.count()).select_from(column.table).where(column == removed_id)).scalar_one():
            kept_id, removed_id = removed_id, kept_id
            break
    join_latest(c, kept_id, removed_id)
    o, other = observation.c, observation.alias()
    is_same_epoch, _ = _match(other.c, kept_id)
    c.execute(delete(observation).where(o.series_id == removed_id, exists().where(*is_same_epoch)))
    for column in _list_columns(c, "refers_to", "series.id"):
        if not _never_changes(column.table):
            _move_rows(c, column, kept_id, removed_id)
    hooks().series_joined(connection=c, kept_id=kept_id, removed_id=removed_id)
    c.execute(delete(series).where(_SERIES.id == removed_id))


def _move_rows(c: Connection, column: Column[Any], kept_id: int, removed_id: int) -> None:
    """Move the rows of one series to another one. A row that the other series already has is deleted."""
    table = column.table
    twin = table.alias()
    for names in _list_keys(table):
        if column.name not in names:
            continue
        has_equal_key = [twin.c[name] == (kept_id if name == column.name else table.c[name]) for name in names]
        is_duplicate = and_(column == removed_id, exists().where(*has_equal_key))
        for child in _list_children(c, table):
            parent_key = table.c[child.info["refers_to"].partition(".")[2]]
            c.execute(delete(child.table).where(child.in_(select(parent_key).where(is_duplicate))))
        c.execute(delete(table).where(is_duplicate))
    c.execute(update(table).where(column == removed_id).values({column.name: kept_id}))


def _list_children(c: Connection, table: Table) -> list[Column[Any]]:
    """Return the columns that refer to rows of a table."""
    return [
        column
        for key in table.primary_key.columns
        for column in _list_columns(c, "refers_to", f"{table.name}.{key.name}")
    ]
