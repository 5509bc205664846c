"""Seal rows: chain the digests of the rows that a write changes into the audit log.

A table whose rows are sealed declares `info={"sealed": SealedColumns(...)}`. `Database.write` has one `Sealing` per
transaction. It observes every INSERT, UPDATE and DELETE of SQLAlchemy Core on such a table, and at the end of the
transaction appends one entry `rows.seal` to the audit log. `find_unsealed` compares all rows with these entries, in
both directions. Rows that another program or plain SQL writes have no entry and are reported.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    Select,
    String,
    Table,
    Update,
    bindparam,
    func,
    select,
    true,
    tuple_,
    type_coerce,
)

from monitor.domain.actor import SERVICE
from monitor.domain.canonical import canonical_json
from monitor.domain.instants import format_iso
from monitor.store.database.audit import append_entry, lock_log
from monitor.store.schema.audit import audit_entry
from monitor.store.schema.metadata import metadata
from monitor.store.schema.sealing import SealedColumns
from monitor.store.schema.types import Instant, Json

ACTION: Final = "rows.seal"
SUBJECT: Final = "database"
AT_ONCE: Final = 500  # rows in one entry
_DIGITS: Final = 32  # hexadecimal, of a SHA-256

Key = tuple[Any, ...]
Rows = dict[Key, str]


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows are sealed."""

    table: Table
    rule: SealedColumns
    left_out: frozenset[str]

    @property
    def columns(self) -> list[Any]:
        """The sealed columns. Instants and JSON are read as text, because an altered value may be neither."""
        return [
            type_coerce(column, String).label(column.name) if isinstance(column.type, Instant | Json) else column
            for column in self.table.c
            if column.name not in self.left_out
        ]

    @property
    def keys(self) -> list[Any]:
        """The columns of the primary key."""
        return list(self.table.primary_key.columns)

    def name(self, key: Sequence[Any]) -> str:
        """Return how entries and findings name a row: its table and key, such as `alert 12`."""
        return " ".join([self.table.name, *map(str, key)])


def load_sealed_tables() -> dict[str, SealedTable]:
    """Return all sealed tables by name. The modules of all tables must have been imported."""
    tables = (find_sealed_table(table.name) for table in metadata.sorted_tables)
    return {sealed.table.name: sealed for sealed in tables if sealed is not None}


def find_sealed_table(name: str) -> SealedTable | None:
    """Return a sealed table by name, or None if the rows of this table are not sealed."""
    table = metadata.tables.get(name)
    if table is None or "sealed" not in table.info:
        return None
    return _read_rule(table)


@cache
def _read_rule(table: Table) -> SealedTable:
    rule: SealedColumns = table.info["sealed"]
    names = frozenset(table.c.keys())
    if not rule.left_out | rule.only <= names:
        unknown = sorted((rule.left_out | rule.only) - names)
        raise ValueError(f"table {table.name!r} has no columns {unknown}; correct its SealedColumns")
    return SealedTable(table, rule, names - rule.only if rule.only else rule.left_out)


def _sealed(name: str) -> SealedTable:
    return _read_rule(metadata.tables[name])


def digest_row(table: str, row: Mapping[str, Any]) -> str:
    """Return the digest of the sealed columns of a row.

    Columns without a value are left out, so that a column that a later version adds leaves old digests unchanged.

    Args:
        table: the name of a sealed table.
        row: values by column name. Instants are `datetime` or text.
    """
    sealed = _sealed(table)
    values: Mapping[str, Any] = {
        name: format_iso(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None and name not in sealed.left_out
    }
    if sealed.rule.select_values is not None:
        values = sealed.rule.select_values(values)
    return hashlib.sha256(canonical_json([table, values]).encode()).hexdigest()[:_DIGITS]


class Sealing:
    """The acts and the touched rows of one write transaction, until its end."""

    def __init__(self) -> None:
        self.acts: list[tuple[Any, ...]] = []
        self._before: dict[str, dict[Key, str | None]] = {}
        self._floors: dict[str, int] = {}  # highest id before the first insert

    def watch(self, c: Connection, statement: Any, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Note the rows that a statement is about to touch, as they were before it.

        Args:
            statement: what is about to be executed; nothing is noted unless it changes a sealed table.
            parameters: what is given with it, one mapping for each row of an insert.
        """
        if not isinstance(statement, Insert | Update | Delete):
            return
        sealed = find_sealed_table(getattr(statement.table, "name", ""))
        if sealed is None:
            return
        name = sealed.table.name
        if not isinstance(statement, Insert):
            some = true() if statement.whereclause is None else statement.whereclause
            self._note(sealed, c.execute(_plan_all(name).where(some).with_for_update()), ())
        elif (key := sealed.keys[0]).name != "id":
            if not all(key.name in row for row in parameters):
                parameters = [statement.compile(dialect=c.dialect).params]
            names = [row[key.name] for row in parameters]
            self._note(sealed, c.execute(_plan_by_name(name), {"keys": names}), [(one,) for one in names])
        elif name not in self._floors:
            self._floors[name] = c.execute(select(func.max(key))).scalar() or 0

    def _note(self, sealed: SealedTable, rows: Iterable[Any], absent: Iterable[Key]) -> None:
        known = self._before.setdefault(sealed.table.name, {})
        for key, digest in {**dict.fromkeys(absent), **_digest_all(sealed, rows)}.items():
            known.setdefault(key, digest)

    def close(self, c: Connection, now: datetime) -> None:
        """Write the acts into the audit log, and behind them the seals of what was touched: the last act of all."""
        changed: dict[str, dict[Key, str | None]] = {}
        for name, before in self._before.items():
            found, keys = dict[Key, str](), list(before)
            for start in range(0, len(keys), AT_ONCE):
                rows = c.execute(_plan_by_keys(name), {"keys": keys[start : start + AT_ONCE]})
                found |= _digest_all(_sealed(name), rows)
            changed[name] = {key: found.get(key) for key, digest in before.items() if found.get(key) != digest}
        if not self.acts and not self._floors and not any(changed.values()):
            return
        lock_log(c)
        # under the lock, or a row of another transaction that is not through yet would be sealed as it was
        for name, floor in self._floors.items():
            sealed = _sealed(name)
            rows = c.execute(_plan_all(name).where(sealed.keys[0] > floor))
            changed[name] = {**changed.get(name, {}), **_digest_all(sealed, rows)}
        for act in self.acts:
            append_entry(c, *act)
        seals = {_sealed(name).name(key): digest for name, rows in changed.items() for key, digest in rows.items()}
        write_seals(c, seals, now)


def write_seals(c: Connection, seals: Mapping[str, str | None], now: datetime, **more: str) -> None:
    """Append the seals of rows to the audit log; None stands for a row that was deleted."""
    names = list(seals)
    for start in range(0, len(names), AT_ONCE):
        detail = {"rows": {name: seals[name] for name in names[start : start + AT_ONCE]}, **more}
        append_entry(c, SERVICE, ACTION, SUBJECT, detail, now)


class GoneRow(str):
    """What is said of a row that is gone, and so cannot say itself what it belonged to."""

    __slots__ = ()


def load_seals(c: Connection, resealed: list[str] | None = None) -> dict[str, tuple[str | None, int]]:
    """The newest seal of each row by its name, with the number of its audit entry.

    `resealed`: takes a line for each row that never changes and was sealed again with another content.
    """
    e = audit_entry.c
    fixed = tuple(f"{name} " for name, sealed in load_sealed_tables().items() if sealed.rule.only_added)
    found: dict[str, tuple[str | None, int]] = {}
    wanted = select(e.id, e.detail).where(e.action == ACTION).order_by(e.id).execution_options(yield_per=500)
    for entry_id, detail in c.execute(wanted):
        for name, digest in read_seals(detail).items():
            if resealed is not None and name.startswith(fixed) and found.get(name, (digest, 0))[0] != digest:
                resealed.append(f"{name}: audit entry {entry_id} seals another content; such a row never changes")
            found[name] = (digest, entry_id)
    return found


def read_seals(detail: str) -> dict[str, str | None]:
    """The seals that one entry bears; none where it was altered, which the walk along the chain names."""
    try:
        return {str(name): digest for name, digest in json.loads(detail)["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def find_unsealed(c: Connection) -> Iterator[str]:
    """Compare every sealed row with the audit log, both ways.

    Yields:
        One line for each row that is altered, that no entry knows, or that is gone.
    """
    resealed: list[str] = []
    seals = load_seals(c, resealed)
    yield from resealed
    for sealed in load_sealed_tables().values():
        for key, digest in _digest_each(sealed, _stream(c, sealed)):
            name = sealed.name(key)
            seal, entry_id = seals.pop(name, (None, 0))
            if entry_id == 0:
                yield f"{name}: no entry of the audit log knows this row; it was not written by the service"
            elif seal != digest:
                yield f"{name}: the row was altered; audit entry {entry_id} has it otherwise"
    for name, (seal, entry_id) in seals.items():
        if seal is not None:
            yield GoneRow(f"{name}: the row is gone; audit entry {entry_id} has it")


@cache  # put together once, as those below: each transaction asks
def _plan_all(name: str) -> Select[Any]:
    return select(*_sealed(name).columns)


@cache
def _plan_by_name(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _plan_all(name).where(_sealed(name).keys[0].in_(keys)).with_for_update()


@cache
def _plan_by_keys(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _plan_all(name).where(tuple_(*_sealed(name).keys).in_(keys))


def _digest_each(sealed: SealedTable, rows: Iterable[Any]) -> Iterator[tuple[Key, str]]:
    name, keys = sealed.table.name, [key.name for key in sealed.keys]
    for row in rows:
        values = row._mapping  # noqa: SLF001 - the public name of a row's mapping
        yield tuple(values[key] for key in keys), digest_row(name, values)


def _digest_all(sealed: SealedTable, rows: Iterable[Any]) -> Rows:
    return dict(_digest_each(sealed, rows))


def _stream(c: Connection, sealed: SealedTable) -> Iterator[Any]:
    query = _plan_all(sealed.table.name).order_by(*sealed.keys).execution_options(yield_per=2000)
    with c.execute(query) as rows:  # who has heard enough leaves no cursor open in the server
        yield from rows
