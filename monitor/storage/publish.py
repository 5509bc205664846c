"""A copy for readers: every public view as a table of one SQLite file, without accounts, sessions and raw tables."""

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

MARK: Final = "published"  # the table that says when, and that the file is one of ours
AT_ONCE: Final = 2000  # rows


def publish(db: Database, target: Path, now: datetime) -> dict[str, int]:
    """Write the views, as one consistent state, into a file that takes the place of the one published before.

    The service may run meanwhile. A view that holds a whole history is copied whole.

    Args:
        target: the file; who opened the one before goes on reading that.

    Returns:
        Rows by view.

    Raises:
        RefusedError: the file there is no published copy.
        StoreError: it cannot be written.
    """
    if target.exists():
        try:
            with closing(sqlite3.connect(f"{target.resolve().as_uri()}?mode=ro", uri=True)) as there:
                there.execute(f"SELECT published_at FROM {MARK}").fetchone()  # noqa: S608 - our name
        except sqlite3.Error:
            raise RefusedError(f"{target} exists and is no published copy; choose another name") from None
    try:
        with replacing(target, flush=True) as partial, db.read() as c, closing(sqlite3.connect(partial)) as out:
            out.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")  # half-written it is thrown away
            counts = {name: _copy(c, out, name) for name in list_installed(c)}
            out.execute(f"CREATE TABLE {MARK} (published_at, audit_head)")
            out.execute(f"INSERT INTO {MARK} VALUES (?, ?)", (format_iso(now), find_head(c)[1]))  # noqa: S608 - our name
            out.commit()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the copy could not be written to {target}: {error}") from error
    return counts


def _copy(c: Connection, out: sqlite3.Connection, view: str) -> int:
    rows = c.execution_options(yield_per=AT_ONCE).exec_driver_sql(f"SELECT * FROM {view}")  # noqa: S608 - name of a view
    columns = list(rows.keys())
    # without a declared type SQLite keeps each value as it comes; `by` and `class` are words of SQL
    names = ", ".join(f'"{column}"' for column in columns)
    out.execute(f"CREATE TABLE {view} ({names})")
    count = 0
    for some in rows.partitions(AT_ONCE):
        out.executemany(
            f"INSERT INTO {view} VALUES ({', '.join('?' * len(columns))})",  # noqa: S608 - name of a view
            ([float(v) if isinstance(v, Decimal) else v for v in row] for row in some),
        )
        count += len(some)
    if "site" in columns:
        by = [column for column in ("site", "station", "quantity", "observed_at") if column in columns]
        out.execute(f"CREATE INDEX ix_{view} ON {view} ({', '.join(by)})")
    return count
