"""Upgrade the database to the schema of this version, and check that a database has it.

Alembic is imported only by the functions that need it. Every command checks the schema, and the import would be a
seventh of the time that a command takes to start.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
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
from monitor.storage.locks import create_core_locks, find_blockers, take_named_lock
from monitor.storage.tables import load_metadata

# How long an upgrade waits for other processes.
PATIENCE_S: Final = 120.0
# What to do when the database lacks a table or a column of its revision.
RESTORE: Final = (
    "restore a backup (slopeward db restore FILE --yes); during development, delete the database and run slopeward db "
    "upgrade"
)
# Name of the lock of the process that upgrades.
_LOCK: Final = "upgrade"
# Alembic has its context in module globals, so only one thread may use it.
_ALEMBIC: Final = threading.Lock()


def upgrade(db: Database, now: datetime | None = None, on_begin: Callable[[], None] = lambda: None) -> Path | None:
    """Upgrade the tables, the views, and the tables of plugins, if they are outdated.

    The upgrade is one exclusive transaction: a second process waits and then finds nothing to do. A SQLite file that
    has a schema is copied to a file beside it first.

    Args:
        db: the database.
        now: The current time, which is part of the name of the copy.
        on_begin: called before the first change, if there is something to upgrade. No other process holds the database
            then.

    Returns:
        The copy, or None if none was made.

    Raises:
        StoreError: the database was made by a newer version.
        StoreBusyError: another process held the database too long.
    """
    with _begin_upgrade(db) as connection:
        revision = load_revision(connection)
        needed = find_newest_revision()
        outdated = list_outdated_branches(connection)
        if revision == needed and not outdated and views.has_current_views(connection):
            return None
        require_known(revision)
        on_begin()
        copy = None
        if revision and (revision != needed or outdated) and db.is_sqlite:
            source = sqlite_file(db)
            copied_at = (now or datetime.now(UTC)).astimezone(UTC)
            copy = source.with_name(f"{source.name}.{revision}.{copied_at:%Y%m%dT%H%M%SZ}.bak")
            copy_sqlite(source, copy)
        grants = views.load_grants(connection)
        views.end_readers(connection)
        views.drop_views(connection)
        if revision != needed:
            _run_migrations(connection)
        for branch in outdated:
            try:
                with connection.begin_nested():
                    _run_migrations(connection, branch)
            except Exception as error:
                # The service starts without the tables of the plugin, and `slopeward doctor` names it.
                note_fault(branch.name, "migrations", error)
        views.create_views(connection)
        views.grant_views(connection, grants)
        return copy


def load_current_revision(db: Database) -> str:
    """Return the revision of the database, or an empty text if it has no schema."""
    if is_missing(db):
        return ""
    with db.read() as connection:
        return load_revision(connection)


def find_newest_revision() -> str:
    """Return the newest revision, which this version needs."""
    revisions, followed = read_revisions(find_folder() / "versions")
    (revision,) = revisions - followed
    return revision


def require_current(db: Database) -> None:
    """Check that the schema is that of this version.

    Raises:
        StoreError: it is not. The text names the command to run.
    """
    if is_missing(db):
        raise StoreError(
            f"there is no database {db.url.database}: it was never created, or its file was removed; "
            "`slopeward db upgrade` creates an empty one, `slopeward db restore FILE --yes` restores a backup"
        )
    needed = find_newest_revision()
    with db.read() as connection:
        revision = load_revision(connection)
        is_current = revision == needed and views.has_own_views(connection)
    if is_current:
        return
    if not revision:
        raise StoreError("the database has no schema yet; run `slopeward db upgrade`")
    if revision != needed:
        require_known(revision)
        raise StoreError(f"the database is at revision {revision}, {needed} is needed; run `slopeward db upgrade`")
    raise StoreError("the views of the database are of another version; run `slopeward db upgrade`")


def is_missing(db: Database) -> bool:
    """Return whether the file of a SQLite database does not exist. Opening it would create an empty file."""
    name = db.url.database or ""
    is_file = db.is_sqlite and name not in {"", ":memory:"} and not name.startswith("file:")
    return is_file and not Path(name).exists()


def make_config(connection: Connection | None = None, branch: Migrations | None = None) -> Any:
    """Return the configuration of alembic (`alembic.config.Config`), which needs no file and no working directory.

    Args:
        connection: the connection that alembic uses.
        branch: the branch of a plugin, whose revision has a table of its own. None for the built-in tables.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(find_folder()).replace("%", "%%"))
    if branch is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(branch.folder).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=name_versions_table(branch) if branch else VERSIONS)
    return config


def list_outdated_plugins(db: Database) -> list[str]:
    """Return the plugins whose tables are not at the revision that they need."""
    with db.read() as connection:
        return [branch.name for branch in list_outdated_branches(connection)]


def list_missing_columns(db: Database) -> list[str]:
    """Return the tables and columns that the database lacks for its revision, as `table` or `table.column`.

    The revision alone proves no table: somebody may have dropped one, or changed a migration after it was run.
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
    if missing := list_missing_columns(db):
        raise StoreError(
            f"the database is at revision {find_newest_revision()}, but it lacks {', '.join(missing)}; {RESTORE}"
        )


def list_tables_of_absent_features(db: Database) -> list[str]:
    """Return the tables that a migration created and that belong to no installed feature."""
    created = read_created_tables(find_folder() / "versions") - load_metadata().tables.keys()
    with db.read() as connection:
        return sorted(created.intersection(inspect(connection).get_table_names()))


def list_tables_of_removed_plugins(db: Database) -> dict[str, list[str]]:
    """Return the tables of plugins that are not installed any more, by the name of the plugin."""
    installed = {plugin.name for plugin in list_plugins()} | {branch.name for branch in hooks().migrations()}
    with db.read() as connection:
        names = inspect(connection).get_table_names()
    prefix = f"{VERSIONS}_"
    removed = {name.removeprefix(prefix) for name in names if name.startswith(prefix)} - installed
    return {plugin: sorted(name for name in names if name.startswith(f"{plugin}_")) for plugin in sorted(removed)}


def _run_migrations(connection: Connection, branch: Migrations | None = None) -> None:
    from alembic import command

    with _ALEMBIC:
        command.upgrade(make_config(connection, branch), "head")


def is_known(revision: str) -> bool:
    """Return whether this version has a revision. Other revisions belong to newer versions."""
    return revision in read_revisions(find_folder() / "versions")[0]


def require_known(revision: str) -> None:
    """Check that this version has a revision, unless it is empty.

    Raises:
        StoreError: A newer version made the database.
    """
    if revision and not is_known(revision):
        raise StoreError(f"the database is at revision {revision}, made by a newer Slopeward; upgrade Slopeward")


def find_folder() -> Path:
    """Return the folder of the migrations: in the installed package, or at the root of a source checkout."""
    module = Path(__file__).resolve()
    for folder in (module.parents[1] / "_migrations", module.parents[2] / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError("the migrations are missing from this installation; install Slopeward again")


@contextmanager
def _begin_upgrade(db: Database) -> Iterator[Connection]:
    """Open a write transaction for an upgrade, while no other process can upgrade.

    On SQLite foreign keys are off, because migrations rebuild tables, and references are checked at the end.
    """
    try:
        create_core_locks(db.engine)
    except OperationalError as error:
        raise StoreBusyError(f"the database is locked or does not answer: {error.orig}") from error
    with db.engine.connect() as opened:
        connection = opened.execution_options(slopeward_write=True)
        try:
            _set_foreign_keys(connection, "OFF")
            with _begin_transaction(connection):
                yield connection
                if db.is_sqlite:
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise StoreError(
                            f"the upgrade would break a reference in table {broken[0]}; nothing was changed"
                        )
        except OperationalError as error:
            blockers = "" if db.is_sqlite else find_blockers(db.engine)
            advice = f"; end the sessions that block it (pg_terminate_backend): {blockers}" if blockers else ""
            raise StoreBusyError(f"the database is locked or does not answer: {error.orig}{advice}") from error
        finally:
            _set_foreign_keys(connection, "ON")


@contextmanager
def _begin_transaction(connection: Connection) -> Iterator[Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            transaction = connection.begin()
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_S:.0f}s'"))
                take_named_lock(connection, _LOCK)
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
