"""Back up the whole database, check backups, and restore the database from a backup."""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select, text

from forecasting.whole_file import replacing
from monitor.errors import RefusedError, StoreError
from monitor.storage.branches import list_tables
from monitor.storage.engine import Database, keep_private, open_lock
from monitor.storage.locks import is_core_running

# A program that makes, restores or checks a backup is ended after this time.
PROGRAM_LIMIT_S: Final = 6 * 3600


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database that may be in use. The copy is consistent, and only its owner can read it."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)
        # Without a write-ahead log, the copy is one file.
        writer.execute("PRAGMA journal_mode=DELETE")


def back_up(db: Database, target: Path, prepare_child: Callable[[], None] | None = None) -> None:
    """Write a backup: a SQLite file, or an archive of `pg_dump` in its custom format. The service may run.

    Its SHA-256 is written to a file beside it, in the format of `sha256sum`.

    Args:
        db: the database.
        target: the path of the backup.
        prepare_child: called in the process of `pg_dump` before the program starts.

    Raises:
        StoreError: the target exists, the disk has too little space, or the backup failed. No partial file is left.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; choose another name")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent} is not a folder; create it")
    if db.is_sqlite:
        needed_bytes = int(sqlite_file(db).stat().st_size * 1.05)
    else:
        # The archive is compressed and contains no indexes.
        with db.read() as c:
            needed_bytes = int(c.execute(text("SELECT pg_database_size(current_database())")).scalar_one()) // 4
    free_bytes = shutil.disk_usage(target.parent).free
    if needed_bytes > free_bytes:
        space = f"{needed_bytes // 10**6} MB are needed, {free_bytes // 10**6} MB are free"
        raise StoreError(f"there is no room for a backup in {target.parent}: {space}")
    try:
        with replacing(target, flush=True, mode=0o600) as partial:
            if db.is_sqlite:
                copy_sqlite(sqlite_file(db), partial)
                check_sqlite(partial)
            else:
                _run_postgresql_program(
                    db, "pg_dump", "--format=custom", "--no-owner", f"--file={partial}", prepare_child=prepare_child
                )
        with replacing(checksum_file(target), mode=0o600) as partial:
            partial.write_text(f"{_hash_file(target)}  {target.name}\n", encoding="utf-8")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the backup to {target} failed: {error}") from error


def checksum_file(backup_file: Path) -> Path:
    """Return the path of the file with the SHA-256 of a backup."""
    return backup_file.with_name(f"{backup_file.name}.sha256")


def require_checksum(backup_file: Path) -> None:
    """Compare a backup with the SHA-256 beside it. A backup without such a file is accepted.

    Raises:
        StoreError: the backup is damaged or was changed.
    """
    try:
        expected = checksum_file(backup_file).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return
    if expected != _hash_file(backup_file):
        raise StoreError(
            f"{backup_file} is not as it was written: its SHA-256 differs from {checksum_file(backup_file).name}"
        )


def count_rows(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table of Slopeward and of plugins."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in list_tables(connection)
    }


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(db: Database, source: Path) -> None:
    """Replace the contents of the database by a backup. The service must not run.

    Raises:
        RefusedError: a service runs on this database. Its memory would not match the restored rows, and on PostgreSQL
            the service and the restore would wait for each other's locks.
        StoreError: the backup is missing or damaged, or the restore failed. The database is unchanged.
    """
    if not source.is_file():
        raise StoreError(f"{source} is not a file")
    if not db.is_sqlite and is_core_running(db.engine):
        raise RefusedError(f"a service runs on {db.url.database}; stop it first, and every standby service")
    db.close()
    if not db.is_sqlite:
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
        _run_postgresql_program(db, "pg_restore", *options, str(source))
        return
    check_sqlite(source)
    target = sqlite_file(db)
    # The backup contains accounts, so a new file must not be readable by others.
    keep_private(str(target))
    try:
        with (
            _keep_service_out(target),
            closing(sqlite3.connect(source)) as reader,
            closing(sqlite3.connect(target, timeout=5)) as writer,
        ):
            reader.backup(writer)
    except sqlite3.Error as error:
        raise StoreError(f"{target} could not be replaced (is the service still running?): {error}") from error


@contextmanager
def _keep_service_out(target: Path) -> Iterator[None]:
    # The core holds a lock on this file while it runs.
    with open_lock(target) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RefusedError(f"a service runs on {target} (pid {file.read().strip()}); stop it first") from None
        yield


def check_sqlite(path: Path) -> None:
    """Check that a file is an intact database of Slopeward.

    Raises:
        StoreError: it is not.
    """
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is not a database of Slopeward: {error}") from error
    if integrity != "ok":
        raise StoreError(f"{path} is damaged: {integrity}")


def sqlite_file(db: Database) -> Path:
    """Return the file of a SQLite database."""
    if not db.url.database:
        raise StoreError("a database in memory has no file")
    return Path(db.url.database)


def run_program(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program and capture its output.

    Args:
        command: the program and its arguments.
        options: further arguments of `subprocess.run`.

    Raises:
        StoreError: the program was ended after `PROGRAM_LIMIT_S`.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_LIMIT_S, check=False, **options)
    except subprocess.TimeoutExpired:
        raise StoreError(f"{command[0]} was ended: it took longer than {PROGRAM_LIMIT_S / 3600:g} h") from None


def _run_postgresql_program(
    db: Database, program: str, *arguments: str, prepare_child: Callable[[], None] | None = None
) -> None:
    """Run `pg_dump` or `pg_restore` on the database, with the password in its environment."""
    if shutil.which(program) is None:
        raise StoreError(f"{program} is not installed; install the PostgreSQL client programs")
    url = db.url
    connection_settings = {
        "PGHOST": url.host,
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    environment = {**os.environ, **{name: str(value) for name, value in connection_settings.items() if value}}
    target = ("--dbname", str(url.database)) if program == "pg_restore" else ()
    result = run_program([program, *target, *arguments], env=environment, preexec_fn=prepare_child)
    if result.returncode:
        raise StoreError(f"{program} failed: {(result.stderr.strip().splitlines() or ['no message'])[0]}")
