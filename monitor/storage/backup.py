"""Copies of the whole database that can be trusted, and the way back from one."""

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

LIMIT_S: Final = 6 * 3600


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a live SQLite database through its backup API: one consistent state, readable by us alone."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it


def back_up(db: Database, target: Path, begin: Callable[[], None] | None = None) -> None:
    """Write a copy: a SQLite file, or a custom-format archive of `pg_dump`. The service may run meanwhile.

    Its SHA-256 stands beside it, in a file as `sha256sum` writes it.

    `target`: the copy; `begin`: called in the process of `pg_dump` before it begins.

    Raises:
        StoreError: the target exists, there is no room, or the copy failed; nothing half-written is left.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; choose another name")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent} is no folder; make it")
    if db.is_sqlite:
        needed = int(sqlite_file(db).stat().st_size * 1.05)
    else:  # its archive is compressed and leaves indexes out
        with db.read() as c:
            needed = int(c.execute(text("SELECT pg_database_size(current_database())")).scalar_one()) // 4
    if needed > (free := shutil.disk_usage(target.parent).free):
        room = f"{needed // 10**6} MB are needed, {free // 10**6} MB are free"
        raise StoreError(f"there is no room for a copy in {target.parent}: {room}")
    try:
        with replacing(target, flush=True, mode=0o600) as partial:
            if db.is_sqlite:
                copy_sqlite(sqlite_file(db), partial)
                check_sqlite(partial)
            else:
                _call(db, "pg_dump", "--format=custom", "--no-owner", f"--file={partial}", begin=begin)
        with replacing(sum_file(target), mode=0o600) as partial:
            partial.write_text(f"{_digest(target)}  {target.name}\n", encoding="utf-8")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the copy to {target} failed: {error}") from error


def sum_file(copy: Path) -> Path:
    """Where the SHA-256 of a copy stands."""
    return copy.with_name(f"{copy.name}.sha256")


def check_sum(copy: Path) -> None:
    """Make sure that a copy is the file that was written, where its SHA-256 stands beside it.

    Raises:
        StoreError: it was torn or changed since.
    """
    try:
        noted = sum_file(copy).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return
    if noted != _digest(copy):
        raise StoreError(f"{copy} is not as it was written: its SHA-256 differs from {sum_file(copy).name}")


def count_rows(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table of Slopeward and of plugins."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in list_tables(connection)
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(db: Database, source: Path) -> None:
    """Put a copy in the place of everything the database holds; stop the service first.

    Raises:
        RefusedError: a service runs on this database; what it holds in memory would not fit any more, and on
            PostgreSQL each would wait for the locks of the other.
        StoreError: the copy is missing or damaged, or putting it back failed; then the database is as it was.
    """
    if not source.is_file():
        raise StoreError(f"{source} is no file")
    if not db.is_sqlite and is_core_running(db.engine):
        raise RefusedError(f"a service runs on {db.url.database}; stop it first, and those that stand by")
    db.close()
    if not db.is_sqlite:
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
        _call(db, "pg_restore", *options, str(source))
        return
    check_sqlite(source)
    target = sqlite_file(db)
    keep_private(str(target))  # on a new machine nothing is there yet, and the copy holds accounts
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
    with open_lock(target) as file:  # the one that core holds while it runs
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RefusedError(f"a service runs on {target} (pid {file.read().strip()}); stop it first") from None
        yield


def check_sqlite(path: Path) -> None:
    """Make sure that a file is a whole database of ours; raises StoreError: it is not."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no database of Slopeward: {error}") from error
    if found != "ok":
        raise StoreError(f"{path} is damaged: {found}")


def sqlite_file(db: Database) -> Path:
    """The file of a SQLite database."""
    if not db.url.database:
        raise StoreError("a database in memory has no file")
    return Path(db.url.database)


def run_program(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says; raises StoreError where it takes longer than `LIMIT_S`."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, **how)
    except subprocess.TimeoutExpired:
        raise StoreError(f"{command[0]} was ended: it took longer than {LIMIT_S / 3600:g} h") from None


def _call(db: Database, program: str, *arguments: str, begin: Callable[[], None] | None = None) -> None:
    if shutil.which(program) is None:
        raise StoreError(f"{program} is not installed; install the PostgreSQL client programs")
    url = db.url
    wanted = {
        "PGHOST": url.host,
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    environment = {**os.environ, **{name: str(value) for name, value in wanted.items() if value}}
    target = ("--dbname", str(url.database)) if program == "pg_restore" else ()
    done = run_program([program, *target, *arguments], env=environment, preexec_fn=begin)
    if done.returncode:
        raise StoreError(f"{program} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
