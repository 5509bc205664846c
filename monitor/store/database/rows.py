"""Rows as records, and records as rows: fields and columns find each other by their names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Table
from sqlalchemy import insert as plain_insert

from forecasting.message import gather
from monitor.store.database.engine import insert

T = TypeVar("T")


def read_record(kind: type[T], row: Any, **more: Any) -> T:
    """A record from a row: each field that has a column, its message with id and values; `more` says other fields."""
    found = gather(getattr(row, "_mapping", row))
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: found[name] for name in names if name in found} | more)


def load_records(c: Connection, kind: type[T], query: Executable) -> list[T]:
    """All that a query finds, as records."""
    return [read_record(kind, row) for row in c.execute(query)]


def find_record(c: Connection, kind: type[T], query: Executable) -> T | None:
    """The first that a query finds, as a record."""
    row = c.execute(query).first()
    return None if row is None else read_record(kind, row)


def spell_record(record: Any) -> dict[str, Any]:
    """The fields of a record by name; what they hold is not copied."""
    return {f.name: getattr(record, f.name) for f in fields(record)}


def add_row(c: Connection, table: Table, **values: Any) -> int:
    """Insert a row; returns its number."""
    key = c.execute(plain_insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def save_rows(c: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns; those whose key is there take the new values."""
    if not (given := list(rows)):
        return
    row = insert(c, table)
    named = {*given[0], *(f"{name}{end}" for name in given[0] for end in ("_id", "_values"))}  # of messages as well
    changed = {k.name: row.excluded[k.name] for k in table.c if k.name in named and not k.primary_key}
    # values as parameters: the statement stays the same, and its key is seen without compiling it
    c.execute(row.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), given)


def of_sites(column: ColumnElement[str], sites: str | Iterable[str] | None) -> Sequence[ColumnElement[bool]]:
    """What a query asks of a column: one site, some, or any (None)."""
    return [] if sites is None else [column.in_([sites] if isinstance(sites, str) else sorted(sites))]
