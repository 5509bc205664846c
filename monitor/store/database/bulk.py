"""Many rows into one table by the driver itself: spelled once, one statement whatever their number."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from forecasting.message import Message, values_to_json
from monitor.domain.canonical import canonical_json

MANY: Final = 1000  # rows from which on COPY costs less than arrays


def insert_rows(
    c: Connection, table: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]], *,
    unless_there: bool = False,
) -> int:  # fmt: skip
    """Insert rows whose values are spelled as the database keeps them; none is nothing. Returns how many were added.

    Args:
        c: a write transaction.
        table: name of the table, of our own code.
        columns: their names and PostgreSQL types (bigint, int4, text, float8, bool), in the order of a row.
        rows: what goes in; an instant is its text.
        unless_there: rows whose key is there are passed by, and raise nothing.
    """
    if not rows:
        return 0
    names, passed = ", ".join(columns), " ON CONFLICT DO NOTHING" if unless_there else ""
    if c.dialect.name == "sqlite":
        marks = ",".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks}){passed}"  # noqa: S608 - names of ours
        return int(c.exec_driver_sql(statement, list(rows)).rowcount)
    if len(rows) >= MANY and not unless_there:
        _copy(c, f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)", tuple(columns.values()), rows)
        return len(rows)
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    done = c.exec_driver_sql(
        f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){passed}",  # noqa: S608 - names of ours
        tuple(_spell(kind, column) for kind, column in zip(columns.values(), zip(*rows, strict=True), strict=True)),
    )
    return int(done.rowcount)


def spell_message(text: str | None) -> tuple[str | None, str | None, str | None]:
    """A text as its three cells; two stay empty where it is no message.

    >>> spell_message("by hand")
    ('by hand', None, None)
    """
    if not isinstance(text, Message):
        return text, None, None
    return str(text), text.id, canonical_json(values_to_json(text.values))


def _spell(kind: str, column: tuple[Any, ...]) -> list[Any]:
    """One column as a list of the driver, which takes no whole numbers beside others."""
    return [None if x is None else float(x) for x in column] if kind == "float8" else list(column)


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
