"""Convert rows to records and records to rows by the names of their columns and fields."""

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
# A translatable text has the columns `NAME`, `NAME_id` and `NAME_values`.
_MESSAGE_SUFFIXES: Final = ("", "_id", "_values")


def row_to_record(kind: type[T], row: Any, **values: Any) -> T:
    """Return a record with the values of a row.

    Args:
        kind: the dataclass of the record.
        row: a row or a mapping. Columns without a field are ignored. A text with the columns `NAME_id` and
            `NAME_values` becomes a `Message`.
        values: values of fields, which take precedence over columns.
    """
    columns = plain_to_messages(dict(zip(row._fields, row, strict=True)) if isinstance(row, Row) else row)
    return kind(**{name: columns[name] for name in _field_names(cast("Any", kind)) if name in columns} | values)


@lru_cache(maxsize=512)
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def load_records(c: Connection, kind: type[T], query: Executable) -> list[T]:
    """Execute a query and return its rows as records."""
    return [row_to_record(kind, row) for row in c.execute(query)]


def load_objects(c: Connection, kind: type[T], query: Executable) -> list[T]:
    """Execute a query and return its rows as objects of a class that has a field for every column."""
    return [kind(**plain_to_messages(row)) for row in c.execute(query).mappings()]


def find_record(c: Connection, kind: type[T], query: Executable) -> T | None:
    """Execute a query and return its first row as a record, or None if there is no row."""
    row = c.execute(query).first()
    return None if row is None else row_to_record(kind, row)


def columns_of(kind: type[Any], table: Table) -> list[ColumnElement[Any]]:
    """Return the columns of a table for which a record has a field, with those for the id and values of messages."""
    names = {f"{field.name}{suffix}" for field in fields(kind) for suffix in _MESSAGE_SUFFIXES}
    return [column for column in table.c if column.name in names]


def record_to_dict(record: Any) -> dict[str, Any]:
    """Return the fields of a record by name. Their values are not copied."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def fill_row(table: Table, source: Any, **values: Any) -> dict[str, Any]:
    """Return the values of a row for an INSERT.

    Args:
        table: the table.
        source: an object whose attributes have the names of columns. Its `id` is not used.
        values: values of columns, which take precedence over the source.
    """
    names = [name for name in _column_names(table) if name not in values and name != "id" and hasattr(source, name)]
    return {name: getattr(source, name) for name in names} | values


@lru_cache(maxsize=512)
def _column_names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.c)


def add_row(c: Connection, table: Table, *parts: Mapping[str, Any], **values: Any) -> int:
    """Insert a row and return its id.

    Args:
        c: the connection.
        table: the table.
        parts: values by column. Earlier mappings take precedence over later ones.
        values: values of columns, which take precedence over the mappings.
    """
    # Values are passed as parameters, so that SQLAlchemy caches the compiled statement.
    key = c.execute(plain_insert(table), dict(ChainMap(values, *map(dict, parts)))).inserted_primary_key
    assert key is not None
    return int(key[0])


def save_rows(c: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns, and update the rows whose keys exist."""
    rows = list(rows)
    if not rows:
        return
    # Values are passed as parameters, so that SQLAlchemy caches the compiled statement.
    c.execute(_make_upsert(c.dialect.name, table, tuple(rows[0])), rows)


@lru_cache(maxsize=256)
def _make_upsert(dialect: str, table: Table, names: tuple[str, ...]) -> Executable:
    row = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    updated_names = {f"{name}{suffix}" for name in names for suffix in _MESSAGE_SUFFIXES}
    updates = {
        column.name: row.excluded[column.name]
        for column in table.c
        if column.name in updated_names and not column.primary_key
    }
    statement: Executable = row.on_conflict_do_update(index_elements=list(table.primary_key), set_=updates)
    return statement


def match_given(column: ColumnElement[Any], values: str | int | Iterable[Any] | None) -> Sequence[ColumnElement[bool]]:
    """Return the conditions for a column that has one of some values. None means any value and no condition."""
    return [] if values is None else [column.in_([values] if isinstance(values, str | int) else sorted(values))]


# From this number of rows on, COPY is faster than arrays.
COPY_FROM_ROWS: Final = 1000


def insert_rows(c: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, unless_there: bool = False) -> int:
    """Insert many rows quickly.

    Args:
        c: the connection.
        table: the table.
        rows: values of the first columns of the table, as the database stores them. Instants are text.
        unless_there: whether to skip rows whose key exists, instead of raising an error.

    Returns:
        The number of rows that were inserted.
    """
    if not rows:
        return 0
    columns = {column.name: _find_type(column) for column in list(table.c)[: len(rows[0])]}
    names = ", ".join(columns)
    on_conflict = " ON CONFLICT DO NOTHING" if unless_there else ""
    if c.dialect.name == "sqlite":
        marks = ",".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}){on_conflict}"  # noqa: S608
        return int(c.exec_driver_sql(statement, list(rows)).rowcount)
    if len(rows) >= COPY_FROM_ROWS and not unless_there:
        _copy(c, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", tuple(columns.values()), rows)
        return len(rows)
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    lists: list[list[Any]] = []
    for kind, values in zip(columns.values(), zip(*rows, strict=True), strict=True):
        # The driver does not accept lists in which integers and floats are mixed.
        is_double = kind == "float8"
        lists.append([float(value) if is_double and value is not None else value for value in values])
    result = c.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}){on_conflict}",  # noqa: S608
        tuple(lists),
    )
    return int(result.rowcount)


def message_to_cells(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Return the values of the three columns of a translatable text. Plain text has no id and no values.

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
    """Stream rows to PostgreSQL in the transaction of a connection. Errors are translated as those of any statement.

    The binary format needs no conversion of numbers to text and back.
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
