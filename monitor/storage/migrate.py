"""Bring the database to the schema this program needs, safely when two processes try at once.

Alembic is loaded where something migrates: every verb and every process looks whether the schema fits, and the library
with all it brings would be a seventh of what a verb takes to start.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError

from monitor.errors import StoreBusyError, StoreError
from monitor.plugin_isolation import note_fault
from monitor.plugins import hooks, list_plugins
from monitor.registration import Migrations
from monitor.storage import views
from monitor.storage.backup import copy_sqlite, sqlite_file
from monitor.storage.branches import (
    VERSIONS,
    list_outdated_branches,
    list_tables,
    load_revision,
    name_versions_table,
    read_created_tables,
    read_revisions,
)
from monitor.storage.engine import Database
from monitor.storage.locks import create_core_locks, find_blockers, take_turn
from monitor.storage.tables import load_metadata

PATIENCE_S: Final = 120.0
# What to do when the database lacks a table or a column of its revision.
RESTORE: Final = (
    "restore a copy (slopeward db restore FILE --yes); during development, delete the database and run slopeward db "
    "upgrade"
)
_TURN: Final = "upgrade"  # of the one that migrates
_ALEMBIC: Final = threading.Lock()  # alembic keeps its context in module globals


def upgrade(db: Database, now: datetime | None = None) -> Path | None:
    """Bring schema, views, and tables of plugins to what this program needs; does nothing where they are.

    One exclusive transaction (SQLite: BEGIN IMMEDIATE; PostgreSQL: its turn), so that of two processes one waits
    and then finds the work done. A SQLite file that already holds a schema is copied beside itself first.

    Returns:
        The copy that was made, or None.

    Raises:
        StoreError: the database was made by a newer program.
        StoreBusyError: somebody else held the database too long.
    """
    with _exclusive(db) as connection:
        found, needed = load_revision(connection), head()
        outdated = list_outdated_branches(connection)
        if found == needed and not outdated and views.views_are_current(connection):
            return None
        _refuse_newer(found)
        copy = None
        if found and (found != needed or outdated) and db.is_sqlite:
            source, at = sqlite_file(db), (now or datetime.now(UTC)).astimezone(UTC)
            copy = source.with_name(f"{source.name}.{found}.{at:%Y%m%dT%H%M%SZ}.bak")
            copy_sqlite(source, copy)
        grants = views.load_grants(connection)
        views.end_readers(connection)
        views.drop_views(connection)
        if found != needed:
            _run(connection)
        for branch in outdated:
            try:
                with connection.begin_nested():
                    _run(connection, branch)
            except Exception as error:  # the service starts without the plugin's tables, and `doctor` names them
                note_fault(branch.name, "migrations", error)
        views.create_views(connection)
        views.grant_views(connection, grants)
        return copy


def current(db: Database) -> str:
    """The revision the database is at; an empty text where it holds no schema."""
    if _is_missing(db):
        return ""
    with db.read() as connection:
        return load_revision(connection)


def head() -> str:
    """The revision this program needs."""
    known, followed = read_revisions(_folder() / "versions")
    (revision,) = known - followed
    return revision


def require_current(db: Database) -> None:
    """Make sure that the schema fits before anything reads or writes.

    Raises:
        StoreError: it does not; the text names the command to run.
    """
    if _is_missing(db):
        raise StoreError(
            f"there is no database {db.url.database}: it was never made, or its file is gone; `slopeward db upgrade` "
            "makes an empty one, `slopeward db restore FILE --yes` brings a copy back"
        )
    needed = head()
    with db.read() as connection:
        found = load_revision(connection)
        fits = found == needed and views.are_usable(connection)
    if fits:
        return
    if not found:
        raise StoreError("the database holds no schema yet; run `slopeward db upgrade`")
    if found != needed:
        _refuse_newer(found)
        raise StoreError(f"the database is at revision {found}, {needed} is needed; run `slopeward db upgrade`")
    raise StoreError("the views of the database are of another version; run `slopeward db upgrade`")


def _is_missing(db: Database) -> bool:
    """Whether the file of a SQLite database is not there: whoever opens it to read would leave an empty one."""
    name = db.url.database or ""
    is_file = db.is_sqlite and name not in {"", ":memory:"} and not name.startswith("file:")
    return is_file and not Path(name).exists()


def make_config(connection: Connection | None = None, of: Migrations | None = None) -> Any:
    """The alembic configuration (`alembic.config.Config`), in code: it needs no file and no working directory.

    `of`: the branch of a plugin, whose revision is stored in a table of its own; None for the core's.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    if of is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(of.folder).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=name_versions_table(of) if of else VERSIONS)
    return config


def find_lacking(db: Database) -> list[str]:
    """Return the plugins whose tables are not at the revision that they need."""
    with db.read() as connection:
        return [branch.name for branch in list_outdated_branches(connection)]


def find_missing(db: Database) -> list[str]:
    """Return the tables and columns that the revision promises and the database lacks, as `table` or `table.column`.

    A revision does not prove its tables: somebody may have dropped a table, or changed a migration after it was run.
    """
    with db.read() as connection:
        tables = list_tables(connection)
        stored = inspect(connection).get_multi_columns(filter_names=[table.name for table in tables])
    names = {table: {column["name"] for column in columns} for (_, table), columns in stored.items()}
    missing: list[str] = []
    for table in tables:
        if table.name in names:
            lacking = set(table.columns.keys()) - names[table.name]
            missing += [f"{table.name}.{column}" for column in lacking]
        else:
            missing.append(table.name)
    return sorted(missing)


def require_complete(db: Database) -> None:
    """Check that the database has every table and column of its revision.

    Raises:
        StoreError: one is missing. The text names it and the remedy.
    """
    if missing := find_missing(db):
        raise StoreError(f"the database is at revision {head()}, but it lacks {', '.join(missing)}; {RESTORE}")


def find_unused_tables(db: Database) -> list[str]:
    """Return the tables of built-in features that are absent: a migration created them, and no feature has them."""
    created = read_created_tables(_folder() / "versions") - load_metadata().tables.keys()
    with db.read() as connection:
        return sorted(created.intersection(inspect(connection).get_table_names()))


def find_left_over(db: Database) -> dict[str, list[str]]:
    """Return the tables of plugins that are not installed any more, by the name of the plugin."""
    known = {plugin.name for plugin in list_plugins()} | {branch.name for branch in hooks().migrations()}
    with db.read() as connection:
        names = inspect(connection).get_table_names()
    gone = {name.removeprefix(f"{VERSIONS}_") for name in names if name.startswith(f"{VERSIONS}_")} - known
    return {one: sorted(name for name in names if name.startswith(f"{one}_")) for one in sorted(gone)}


def _run(connection: Connection, of: Migrations | None = None) -> None:
    from alembic import command

    with _ALEMBIC:
        command.upgrade(make_config(connection, of), "head")


def is_known(revision: str) -> bool:
    """Whether this program knows a revision; one that it does not was made by a newer program."""
    return revision in read_revisions(_folder() / "versions")[0]


def _refuse_newer(found: str) -> None:
    if found and not is_known(found):
        raise StoreError(f"the database is at revision {found}, made by a newer Slopeward; upgrade Slopeward")


def _folder() -> Path:
    """Where the migrations lie: inside the installed package, else at the root of the checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "_migrations", here.parents[2] / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError("the migrations are missing from this installation; install Slopeward again")


@contextmanager
def _exclusive(db: Database) -> Iterator[Connection]:
    """A write transaction that nobody else upgrades beside; on SQLite with foreign keys off, for tables are rebuilt."""
    try:
        create_core_locks(db.engine)
    except OperationalError as error:
        raise StoreBusyError(f"the database is locked or does not answer: {error.orig}") from error
    with db.engine.connect() as opened:
        connection = opened.execution_options(slopeward_write=True)
        try:
            _set_foreign_keys(connection, "OFF")
            with _begin(connection):
                yield connection
                if db.is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    raise StoreError(f"the upgrade would break a reference in table {broken[0]}; nothing was changed")
        except OperationalError as error:
            who = "" if db.is_sqlite else find_blockers(db.engine)
            who = f"; these hold it up, end them (pg_terminate_backend): {who}" if who else ""
            raise StoreBusyError(f"the database is locked or does not answer: {error.orig}{who}") from error
        finally:
            _set_foreign_keys(connection, "ON")


@contextmanager
def _begin(connection: Connection) -> Iterator[Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            transaction = connection.begin()
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_S:.0f}s'"))
                take_turn(connection, _TURN)
            break
        except OperationalError:
            if connection.dialect.name == "postgresql" or time.monotonic() > deadline:
                raise
    with transaction:
        yield transaction


def _set_foreign_keys(connection: Connection, state: str) -> None:
    raw = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.execute(f"PRAGMA foreign_keys={state}")
