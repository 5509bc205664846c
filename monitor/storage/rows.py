"""Rows as records, and records as rows: fields and columns find each other by their names."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Connection, Double, Executable, Integer, Row, Table
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from monitor.canonical import canonical_json
from monitor.text.message import Message, plain_to_messages, values_to_json

T = TypeVar("T")


def read_record(kind: type[T], row: Any, **more: Any) -> T:
    """A record from a row: each field that has a column, its message with id and values; `more` says other fields."""
    found = plain_to_messages(dict(zip(row._fields, row, strict=True)) if isinstance(row, Row) else row)
    return kind(**{name: found[name] for name in _names_of(cast("Any", kind)) if name in found} | more)


@lru_cache(maxsize=512)
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def load_records(c: Connection, kind: type[T], query: Executable) -> list[T]:
    """All that a query finds, as records."""
    return [read_record(kind, row) for row in c.execute(query)]


def load_plain(c: Connection, kind: type[T], query: Executable) -> list[T]:
    """All that a query finds, as plain rows of a kind, messages with id and values."""
    return [kind(**plain_to_messages(row)) for row in c.execute(query).mappings()]


def find_record(c: Connection, kind: type[T], query: Executable) -> T | None:
    """The first that a query finds, as a record."""
    row = c.execute(query).first()
    return None if row is None else read_record(kind, row)


def columns_of(kind: type[Any], table: Table) -> list[ColumnElement[Any]]:
    """The columns of a table that a record has fields for; a message with its id and values."""
    named = {f"{f.name}{end}" for f in fields(kind) for end in ("", "_id", "_values")}
    return [k for k in table.c if k.name in named]


def record_to_dict(record: Any) -> dict[str, Any]:
    """The fields of a record by name; what they hold is not copied."""
    return {f.name: getattr(record, f.name) for f in fields(record)}


def fill_row(table: Table, source: Any, **values: Any) -> dict[str, Any]:
    """A row of a table: these values, and from a source what it has under the names of other columns, no number."""
    names = [name for name in _columns_of(table) if name not in values and name != "id" and hasattr(source, name)]
    return {name: getattr(source, name) for name in names} | values


@lru_cache(maxsize=512)
def _columns_of(table: Table) -> tuple[str, ...]:
    return tuple(k.name for k in table.c)


def add_row(c: Connection, table: Table, *facts: Mapping[str, Any], **values: Any) -> int:
    """Insert a row of facts and values; returns its number."""
    # values as parameters: the statement stays the same
    key = c.execute(plain_insert(table), dict(ChainMap(values, *map(dict, facts)))).inserted_primary_key
    assert key is not None
    return int(key[0])


def save_rows(c: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns; those whose key is there take the new values."""
    if not (given := list(rows)):
        return
    # values as parameters: the statement stays the same, and its key is seen without compiling it
    c.execute(_make_upsert(c.dialect.name, table, tuple(given[0])), given)


@lru_cache(maxsize=256)
def _make_upsert(dialect: str, table: Table, names: tuple[str, ...]) -> Executable:
    row = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    named = {*names, *(f"{name}{end}" for name in names for end in ("_id", "_values"))}  # of messages as well
    changed = {k.name: row.excluded[k.name] for k in table.c if k.name in named and not k.primary_key}
    statement: Executable = row.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return statement


def match_given(column: ColumnElement[Any], values: str | int | Iterable[Any] | None) -> Sequence[ColumnElement[bool]]:
    """What a query asks of a column: one value, some, or any (None)."""
    return [] if values is None else [column.in_([values] if isinstance(values, str | int) else sorted(values))]


MANY: Final = 1000  # rows from which on COPY costs less than arrays


def insert_rows(c: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, unless_there: bool = False) -> int:
    """Insert rows that hold the first columns of a table, as the database keeps them: an instant is its text.

    With `unless_there` rows whose key is there are passed by, and raise nothing. Returns how many were added.
    """
    if not rows:
        return 0
    columns = {k.name: _find_type(k) for k in list(table.c)[: len(rows[0])]}
    names, passed = ", ".join(columns), " ON CONFLICT DO NOTHING" if unless_there else ""
    if c.dialect.name == "sqlite":
        marks = ",".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}){passed}"  # noqa: S608 - names of ours
        return int(c.exec_driver_sql(statement, list(rows)).rowcount)
    if len(rows) >= MANY and not unless_there:
        _copy(c, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", tuple(columns.values()), rows)
        return len(rows)
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    of_kinds = zip(columns.values(), zip(*rows, strict=True), strict=True)
    # the driver takes no whole numbers beside others
    lists = ([None if x is None else float(x) for x in k] if kind == "float8" else list(k) for kind, k in of_kinds)
    done = c.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}){passed}",  # noqa: S608 - names of ours
        tuple(lists),
    )
    return int(done.rowcount)


def message_to_cells(text: str | None) -> tuple[str | None, str | None, str | None]:
    """A text as its three cells; two stay empty where it is no message.

    >>> message_to_cells("by hand")
    ('by hand', None, None)
    """
    if not isinstance(text, Message):
        return text, None, None
    return str(text), text.id, canonical_json(values_to_json(text.values))


def _find_type(column: Column[Any]) -> str:
    types = ((Double, "float8"), (Boolean, "bool"), (BigInteger, "bigint"), (Integer, "int4"))
    return next((name for kind, name in types if isinstance(column.type, kind)), "text")


def _copy(c: Connection, statement: str, types: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Stream rows to PostgreSQL in the transaction of `c`; errors are those that any statement raises.

    Binary, for neither side then spells a number or reads one.
    """
    import psycopg

    driver: Any = c.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, (), error, psycopg.Error, dialect=c.dialect) from error
