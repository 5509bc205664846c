"""Rename a station in all tables, so that it keeps its history.

Frozen inputs of decisions keep the id of their time. The audit log has an entry for each renaming, so that the rows for
frozen inputs can still be found.
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
from monitor.sites.records import Site, find_renamed
from monitor.sites.tables import station as station_table
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.audit_tables import audit_entry
from monitor.storage.branches import list_tables
from monitor.storage.sealing import SealedColumns
from monitor.storage.service_tables import service_state
from monitor.text.message import Figure, Message, Template, Timestamp

ACTION: Final = "station.rename"
_UNIT: Final = Template("rename.unit", "{old} was {unit} and {new} is {other}: two instruments, {quantity} of both")
_CLASH: Final = Template(
    "rename.clash",
    "{old} and {new} are two instruments: {n} readings of {quantity} differ at common instants, the first of {at}",
)
_SEALED: Final = Template(
    "rename.sealed", "{old} and {new} both have rows on {quantity} in the table {table}, whose rows never change"
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
class _Pair:
    old: Any
    new: Any

    @property
    def ids(self) -> tuple[int, int]:
        """The older series, which is kept, and the series whose readings it takes over."""
        return min(self.old.id, self.new.id), max(self.old.id, self.new.id)


def find_clashes(c: Connection, site: Site) -> list[Message]:
    """Return why renamed stations cannot be joined with their former ids: both have readings, and these differ."""
    return [
        line
        for old, new in find_renamed(site).items()
        for pair in _find_pairs(c, site.id, old, new)
        for line in _compare(c, pair)
    ]


def apply_renames(c: Connection, site: Site, actor: Actor, now: datetime, *, merge: bool) -> Mapping[str, str]:
    """Rename the stations that the site file declares as renamed. Stations that were renamed before are left out.

    Args:
        c: an open write transaction.
        site: the declaration that is put in force.
        actor: who puts it in force.
        now: the present.
        merge: also join readings that were stored under both ids. This deletes a series, so that no other process may
            store readings at the same time.

    Returns:
        The new id of each station that was renamed, by old id.
    """
    done = {}
    for old, new in find_renamed(site).items():
        if count := _rename(c, site.id, old, new, merge=merge):
            done[old] = new
            detail = {"site": site.id, "old": old, "new": new, "rows": count}
            add_audit(c, actor, ACTION, f"station:{site.id}/{new}", detail, now)
    return done


def load_renamings(c: Connection) -> list[Renaming]:
    """Return all renamings, oldest first."""
    e = audit_entry.c
    found = []
    for row in c.execute(select(e.at, e.detail).where(e.action == ACTION).order_by(e.id)):
        detail = json.loads(row.detail)
        found.append(Renaming(row.at, detail["site"], detail["old"], detail["new"]))
    return found


def call_today(renamings: Iterable[Renaming], site: str, station: str, at: datetime) -> str:
    """Return the present id of a station that had another id at an instant.

    >>> from monitor.text.instants import parse_time
    >>> moved = [Renaming(parse_time(f"2026-0{n}-01T00:00:00Z"), "north", *ids) for n, ids in ((2, "AB"), (4, "BC"))]
    >>> [call_today(moved, "north", station, parse_time(f"2026-0{n}-09T00:00:00Z"))
    ...     for n, station in ((1, "A"), (3, "B"), (3, "A"), (5, "B"))]
    ['C', 'C', 'A', 'B']
    """
    for one in renamings:
        if one.site == site and one.old == station and one.at >= at:
            station = one.new
    return station


# ---- rows ------------------------------------------------------------------------------------------------------
def _rename(c: Connection, site: str, old: str, new: str, *, merge: bool) -> int:
    count = 0
    for pair in _find_pairs(c, site, old, new) if merge else ():
        if not list(_compare(c, pair)):
            _join(c, *pair.ids)
            count += 1
    for column in _list_columns(c, "names", "station"):
        count += _rename_column(c, column, site, old, new)
    s, end = service_state, f":{site}/{old}"
    stamps = set(c.execute(select(s.c.name)).scalars())
    for name in (one for one in stamps if one.endswith(end)):
        fresh = f"{name.removesuffix(end)}:{site}/{new}"
        # A stamp that the new id has already is kept.
        if fresh in stamps:
            c.execute(delete(s).where(s.c.name == name))
            continue
        detail = c.execute(select(s.c.detail).where(s.c.name == name)).scalar_one()
        # The question is asked again under the new id.
        detail.pop("asked", None)
        count += c.execute(update(s).where(s.c.name == name).values(name=fresh, detail=detail)).rowcount
    is_left = c.execute(select(func.count()).where(_SERIES.site == site, _SERIES.station == old)).scalar_one()
    if not is_left:
        c.execute(delete(station_table).where(station_table.c.site == site, station_table.c.id == old))
    return count


def _list_columns(c: Connection, key: str, value: str) -> list[Column[Any]]:
    """Return the columns of all tables, also of plugins, whose `info` has this value."""
    return [column for table in list_tables(c) for column in table.c if column.info.get(key) == value]


def _rename_column(c: Connection, column: Column[Any], site: str, old: str, new: str) -> int:
    """Rename a station in one table. Rows that the new id has already are deleted under the old id."""
    table = column.table
    is_old = and_(_is_of_site(table, site), column == old)
    twin = table.alias()
    for names in _list_keys(table):
        if column.name not in names:
            continue
        twin_exists = exists().where(*(twin.c[n] == (new if n == column.name else table.c[n]) for n in names))
        # A series that has readings under both ids is joined by `_join`, or stays.
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


def _find_pairs(c: Connection, site: str, old: str, new: str) -> list[_Pair]:
    rows = c.execute(select(series).where(_SERIES.site == site, _SERIES.station.in_((old, new)))).all()
    mine = {(row.station, row.quantity): row for row in rows}
    return [
        _Pair(mine[old, quantity], row)
        for (station, quantity), row in sorted(mine.items())
        if station == new and (old, quantity) in mine
    ]


def _compare(c: Connection, pair: _Pair) -> Iterator[Message]:
    names = {"old": pair.old.station, "new": pair.new.station, "quantity": pair.old.quantity}
    if pair.old.unit != pair.new.unit:
        yield _UNIT(**names, unit=pair.old.unit, other=pair.new.unit)
    stays, goes = pair.ids
    o, other = observation.c, observation.alias()
    at_once, same = _match(other.c, stays)
    count, first = c.execute(
        select(func.count(), func.min(o.observed_at)).where(
            o.series_id == goes, exists().where(*at_once), ~exists().where(*at_once, *same)
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
    o = observation.c
    return (
        (other.series_id == series_id, other.observed_at == o.observed_at),
        (other.value_raw == o.value_raw, other.sigma.is_not_distinct_from(o.sigma)),
    )


def _join(c: Connection, kept_id: int, removed_id: int) -> None:
    """Let one series take over all rows of another one, and delete that series.

    The series that rows refer to that never change is kept.
    """
    for column in _list_unchangeable(c):
        if c.execute(select(func.count()).select_from(column.table).where(column == removed_id)).scalar_one():
            kept_id, removed_id = removed_id, kept_id
            break
    join_latest(c, kept_id, removed_id)
    o, other = observation.c, observation.alias()
    at_once, _ = _match(other.c, kept_id)
    c.execute(delete(observation).where(o.series_id == removed_id, exists().where(*at_once)))
    for column in _list_columns(c, "refers_to", "series.id"):
        if not _never_changes(column.table):
            _take_over(c, column, kept_id, removed_id)
    hooks().series_joined(connection=c, kept_id=kept_id, removed_id=removed_id)
    c.execute(delete(series).where(_SERIES.id == removed_id))


def _take_over(c: Connection, column: Column[Any], kept_id: int, removed_id: int) -> None:
    """Move the rows of one series to another one. Rows that the kept series has already are deleted."""
    table = column.table
    twin = table.alias()
    for names in _list_keys(table):
        if column.name not in names:
            continue
        same = [twin.c[n] == (kept_id if n == column.name else table.c[n]) for n in names]
        is_double = and_(column == removed_id, exists().where(*same))
        for child in _list_children(c, table):
            parent_key = table.c[child.info["refers_to"].partition(".")[2]]
            c.execute(delete(child.table).where(child.in_(select(parent_key).where(is_double))))
        c.execute(delete(table).where(is_double))
    c.execute(update(table).where(column == removed_id).values({column.name: kept_id}))


def _list_children(c: Connection, table: Table) -> list[Column[Any]]:
    """Return the columns that refer to rows of a table."""
    return [
        column
        for key in table.primary_key.columns
        for column in _list_columns(c, "refers_to", f"{table.name}.{key.name}")
    ]
