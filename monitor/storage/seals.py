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

from monitor.canonical import canonical_json
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import append_entry, lock_audit_log
from monitor.storage.audit_tables import audit_entry
from monitor.storage.column_types import Instant, Json
from monitor.storage.sealing import SealedColumns
from monitor.storage.tables import load_metadata
from monitor.text.instants import format_iso

ACTION: Final = "rows.seal"
SUBJECT: Final = "database"
# Rows in one entry of the audit log.
ROWS_PER_ENTRY: Final = 500
# Hexadecimal digits that are kept of a SHA-256.
_DIGITS: Final = 32

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
    """Return all sealed tables by name."""
    tables = (find_sealed_table(table.name) for table in load_metadata().sorted_tables)
    return {sealed.table.name: sealed for sealed in tables if sealed is not None}


def find_sealed_table(name: str) -> SealedTable | None:
    """Return a sealed table by name, or None if the rows of this table are not sealed."""
    table = load_metadata().tables.get(name)
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


def _get_sealed_table(name: str) -> SealedTable:
    return _read_rule(load_metadata().tables[name])


def digest_row(table: str, row: Mapping[str, Any]) -> str:
    """Return the digest of the sealed columns of a row.

    Columns without a value are left out, so that a column that a later version adds leaves old digests unchanged.

    Args:
        table: the name of a sealed table.
        row: values by column name. Instants are `datetime` or text.
    """
    sealed = _get_sealed_table(table)
    values: Mapping[str, Any] = {
        name: format_iso(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None and name not in sealed.left_out
    }
    if sealed.rule.select_values is not None:
        values = sealed.rule.select_values(values)
    return hashlib.sha256(canonical_json([table, values]).encode()).hexdigest()[:_DIGITS]


class Sealing:
    """Audited acts and changed rows of one write transaction.

    Attributes:
        acts: arguments of `append_entry`, collected by `add_audit`.
    """

    def __init__(self) -> None:
        self.acts: list[tuple[Any, ...]] = []
        self._before: dict[str, dict[Key, str | None]] = {}
        # The highest id of each table before the first INSERT of this transaction.
        self._floors: dict[str, int] = {}

    def note_statement(self, c: Connection, statement: Any, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Store the digests of the rows that a statement will change, before it is executed.

        Args:
            c: the connection of the transaction.
            statement: the statement. Statements that change no sealed table are ignored.
            parameters: the parameters of the statement, one mapping for each row of an INSERT.
        """
        if not isinstance(statement, Insert | Update | Delete):
            return
        sealed = find_sealed_table(getattr(statement.table, "name", ""))
        if sealed is None:
            return
        name = sealed.table.name
        if not isinstance(statement, Insert):
            which = true() if statement.whereclause is None else statement.whereclause
            self._store_before(sealed, c.execute(_select_all(name).where(which).with_for_update()), ())
        elif (key := sealed.keys[0]).name != "id":
            if not all(key.name in row for row in parameters):
                parameters = [statement.compile(dialect=c.dialect).params]
            keys = [row[key.name] for row in parameters]
            existing = c.execute(_select_by_name(name), {"keys": keys})
            self._store_before(sealed, existing, [(key_value,) for key_value in keys])
        elif name not in self._floors:
            self._floors[name] = c.execute(select(func.max(key))).scalar() or 0

    def _store_before(self, sealed: SealedTable, rows: Iterable[Any], absent: Iterable[Key]) -> None:
        before = self._before.setdefault(sealed.table.name, {})
        for key, digest in {**dict.fromkeys(absent), **_digest_all(sealed, rows)}.items():
            before.setdefault(key, digest)

    def append_entries(self, c: Connection, now: datetime) -> None:
        """Append the acts and then the seals of all changed rows to the audit log.

        Call it last in the transaction, because it serialises all transactions that write to the audit log.
        """
        changed: dict[str, dict[Key, str | None]] = {}
        for name, before in self._before.items():
            after: Rows = {}
            keys = list(before)
            for start in range(0, len(keys), ROWS_PER_ENTRY):
                rows = c.execute(_select_by_keys(name), {"keys": keys[start : start + ROWS_PER_ENTRY]})
                after |= _digest_all(_get_sealed_table(name), rows)
            changed[name] = {key: after.get(key) for key, digest in before.items() if after.get(key) != digest}
        if not self.acts and not self._floors and not any(changed.values()):
            return
        lock_audit_log(c)
        # Rows above the floor can also belong to other transactions. They are read under the lock: a row that is read
        # before another transaction changes and seals it would be sealed again with its old content.
        for name, floor in self._floors.items():
            sealed = _get_sealed_table(name)
            rows = c.execute(_select_all(name).where(sealed.keys[0] > floor))
            changed[name] = {**changed.get(name, {}), **_digest_all(sealed, rows)}
        for act in self.acts:
            append_entry(c, *act)
        seals: dict[str, str | None] = {}
        for name, digests in changed.items():
            sealed = _get_sealed_table(name)
            seals |= {sealed.name(key): digest for key, digest in digests.items()}
        write_seals(c, seals, now)


def write_seals(c: Connection, seals: Mapping[str, str | None], now: datetime, **more: str) -> None:
    """Append the seals of rows to the audit log.

    Args:
        c: an open write transaction with the lock of the audit log.
        seals: digests by name of the row. None means that the row was deleted.
        now: The current time.
        more: further details of the entries.
    """
    names = list(seals)
    for start in range(0, len(names), ROWS_PER_ENTRY):
        detail = {"rows": {name: seals[name] for name in names[start : start + ROWS_PER_ENTRY]}, **more}
        append_entry(c, SERVICE_ACTOR, ACTION, SUBJECT, detail, now)


class MissingRow(str):
    """A finding about a row that no longer exists, so that its other columns cannot be read."""

    __slots__ = ()


def load_seals(c: Connection, resealed: list[str] | None = None) -> dict[str, tuple[str | None, int]]:
    """Return the newest seal of each row by name, with the number of its audit entry.

    Args:
        c: an open connection.
        resealed: a list to which a line is appended for each row that never changes and was sealed again with another
            digest.
    """
    e = audit_entry.c
    append_only_prefixes = tuple(f"{name} " for name, sealed in load_sealed_tables().items() if sealed.rule.only_added)
    newest: dict[str, tuple[str | None, int]] = {}
    query = select(e.id, e.detail).where(e.action == ACTION).order_by(e.id).execution_options(yield_per=500)
    for entry_id, detail in c.execute(query):
        for name, digest in read_seals(detail).items():
            former_digest, _ = newest.get(name, (digest, 0))
            if resealed is not None and name.startswith(append_only_prefixes) and former_digest != digest:
                resealed.append(f"{name}: audit entry {entry_id} seals another content; such a row never changes")
            newest[name] = (digest, entry_id)
    return newest


def read_seals(detail: str) -> dict[str, str | None]:
    """Return the seals of one audit entry. An altered entry has none; `verify_chain` reports it."""
    try:
        return {str(name): digest for name, digest in json.loads(detail)["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def find_unsealed(c: Connection) -> Iterator[str]:
    """Compare every sealed row with the audit log, in both directions.

    Seals of tables that no installed feature declares are left out, because their rows cannot be read.

    Yields:
        One line for each row that was altered, that has no entry, or that no longer exists.
    """
    tables = load_sealed_tables()
    resealed: list[str] = []
    seals = load_seals(c, resealed)
    yield from resealed
    for sealed in tables.values():
        for key, digest in _digest_each(sealed, _stream_rows(c, sealed)):
            name = sealed.name(key)
            seal, entry_id = seals.pop(name, (None, 0))
            if entry_id == 0:
                yield f"{name}: the audit log has no entry for this row; it was not written by the service"
            elif seal != digest:
                yield f"{name}: the row was altered; audit entry {entry_id} sealed another content"
    for name, (seal, entry_id) in seals.items():
        if seal is not None and name.partition(" ")[0] in tables:
            yield MissingRow(f"{name}: the row is gone; audit entry {entry_id} sealed it")


# These queries are built once, because every write transaction uses them.
@cache
def _select_all(name: str) -> Select[Any]:
    return select(*_get_sealed_table(name).columns)


@cache
def _select_by_name(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _select_all(name).where(_get_sealed_table(name).keys[0].in_(keys)).with_for_update()


@cache
def _select_by_keys(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _select_all(name).where(tuple_(*_get_sealed_table(name).keys).in_(keys))


def _digest_each(sealed: SealedTable, rows: Iterable[Any]) -> Iterator[tuple[Key, str]]:
    name = sealed.table.name
    keys = [key.name for key in sealed.keys]
    for row in rows:
        values = row._mapping  # noqa: SLF001 - the public name of a row's mapping
        yield tuple(values[key] for key in keys), digest_row(name, values)


def _digest_all(sealed: SealedTable, rows: Iterable[Any]) -> Rows:
    return dict(_digest_each(sealed, rows))


def _stream_rows(c: Connection, sealed: SealedTable) -> Iterator[Any]:
    query = _select_all(sealed.table.name).order_by(*sealed.keys).execution_options(yield_per=2000)
    # Closes the cursor in the server also if the caller stops early.
    with c.execute(query) as rows:
        yield from rows
