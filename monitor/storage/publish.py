"""Write a copy for readers: a SQLite file with each public view as a table, without accounts and sessions."""

import sqlite3
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from forecasting.whole_file import replacing
from monitor.errors import RefusedError, StoreError
from monitor.storage.audit import find_head
from monitor.storage.engine import Database
from monitor.storage.views import list_installed
from monitor.text.instants import format_iso

# The table with the time of the copy. It also marks the file as a published copy, which may be replaced.
MARK: Final = "published"
ROWS_AT_ONCE: Final = 2000


def publish(db: Database, target: Path, now: datetime) -> dict[str, int]:
    """Write all rows of all views, as one consistent state, into a file. The service may run.

    Args:
        db: the database.
        target: the file. It replaces an earlier copy; a reader that has opened the earlier copy can still read it.
        now: The current time.

    Returns:
        The number of rows by view.

    Raises:
        RefusedError: the file exists and is not a published copy.
        StoreError: the file cannot be written.
    """
    if target.exists():
        try:
            with closing(sqlite3.connect(f"{target.resolve().as_uri()}?mode=ro", uri=True)) as existing:
                existing.execute(f"SELECT published_at FROM {MARK}").fetchone()  # noqa: S608 - our name
        except sqlite3.Error:
            raise RefusedError(f"{target} exists and is not a published copy; choose another name") from None
    try:
        with replacing(target, flush=True) as partial, db.read() as c, closing(sqlite3.connect(partial)) as out:
            # A file that was not written completely is removed.
            out.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
            counts = {name: _copy(c, out, name) for name in list_installed(c)}
            out.execute(f"CREATE TABLE {MARK} (published_at, audit_head)")
            out.execute(f"INSERT INTO {MARK} VALUES (?, ?)", (format_iso(now), find_head(c)[1]))  # noqa: S608 - our name
            out.commit()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the copy could not be written to {target}: {error}") from error
    return counts


def _copy(c: Connection, out: sqlite3.Connection, view: str) -> int:
    rows = c.execution_options(yield_per=ROWS_AT_ONCE).exec_driver_sql(f"SELECT * FROM {view}")  # noqa: S608 - name of a view
    columns = list(rows.keys())
    # Without a declared type SQLite stores values unchanged. `by` and `class` are keywords, so names are quoted.
    names = ", ".join(f'"{column}"' for column in columns)
    out.execute(f"CREATE TABLE {view} ({names})")
    count = 0
    for block in rows.partitions(ROWS_AT_ONCE):
        out.executemany(
            f"INSERT INTO {view} VALUES ({', '.join('?' * len(columns))})",  # noqa: S608 - name of a view
            ([float(value) if isinstance(value, Decimal) else value for value in row] for row in block),
        )
        count += len(block)
    if "site" in columns:
        indexed = [column for column in ("site", "station", "quantity", "observed_at") if column in columns]
        out.execute(f"CREATE INDEX ix_{view} ON {view} ({', '.join(indexed)})")
    return count
