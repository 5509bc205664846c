"""Verify a database, and prove a copy by restoring it into a scratch database: nothing of that stays."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, Double, String, Table, case, func, select, text, type_coerce
from sqlalchemy.exc import DBAPIError

from monitor.errors import SlopewardError, StoreError
from monitor.plugins import hooks
from monitor.storage import audit, backup, migrate
from monitor.storage.audit import verify_chain
from monitor.storage.branches import list_tables
from monitor.storage.column_types import INSTANT_WIDTH, Instant
from monitor.storage.engine import Database
from monitor.storage.seals import find_unsealed

NO_SCRATCH: Final = 3  # status of the process of `prove_apart`
SCRATCH: Final = "slopeward_proof_"
URL: Final = "SLOPEWARD_DATABASE__URL"


class NoScratchError(StoreError):
    """There is no room or no right for a scratch database: nothing is known of the copy."""


@dataclass(frozen=True, slots=True)
class BackupProof:
    """What a restored copy holds: rows by table, its newest audit hash, and what is not as it was written."""

    rows: dict[str, int]
    audit_head: str
    findings: tuple[str, ...]


def prove(db: Database, copy: Path, audit_head: str | None = None) -> BackupProof:
    """Restore a copy into a database of its own, count, verify, and remove it.

    Args:
        db: of the kind that the copy is of; on PostgreSQL the scratch database lies on its server.
        copy: a file of `backup.back_up`.
        audit_head: a head of the audit log that the copy must hold.

    Raises:
        StoreError: the copy is damaged, of a newer program, or there is no room or right for a scratch database.
    """
    require_restorable(db, copy)
    with _scratch(db, copy) as scratch:
        backup.restore(scratch, copy)
        migrate.upgrade(scratch)
        with scratch.read() as c:
            rows = backup.count_rows(c)
            return BackupProof(rows, audit.find_head(c)[1], tuple(verify(c, audit_head)))


def prove_apart(
    db: Database, copy: Path, audit_head: str | None, begin: Callable[[], None] | None = None
) -> BackupProof:
    """`prove` in a process of its own with low priority: the caller's threads are not held up.

    Args:
        begin: called in that process before its program; one that is asked to end takes `pg_restore` along.

    Raises:
        StoreError: as `prove`, or the process was ended.
    """
    url = db.url.render_as_string(hide_password=False)
    done = backup.run_program(
        [sys.executable, "-P", "-m", __name__, str(copy), audit_head or ""],
        env={**os.environ, URL: url},
        preexec_fn=begin,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it was ended with status {done.returncode}"])[-1]
        raise (NoScratchError if done.returncode == NO_SCRATCH else StoreError)(f"not proven: {last}")
    proven = json.loads(done.stdout)
    return BackupProof(proven["rows"], proven["audit_head"], tuple(proven["findings"]))


def require_restorable(db: Database, copy: Path) -> None:
    """Make sure that a copy is whole and of a version that this program can read, before anything is replaced.

    Raises:
        StoreError: it is not.
    """
    if not copy.is_file():
        raise StoreError(f"{copy} is no file")
    backup.check_sum(copy)
    found = _read_revision(db, copy)
    if not migrate.is_known(found):
        raise StoreError(f"{copy} is at revision {found}, made by a newer Slopeward; upgrade Slopeward first")


def _read_revision(db: Database, copy: Path) -> str:
    if db.is_sqlite:
        backup.check_sqlite(copy)
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    try:
        done = backup.run_program(["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(copy)])
    except FileNotFoundError:
        raise StoreError("pg_restore is not installed; install the PostgreSQL client programs") from None
    lines = done.stdout.splitlines()
    start = next((k for k, line in enumerate(lines) if line.startswith("COPY ")), None)
    if done.returncode or start is None:
        why = (done.stderr.strip().splitlines() or ["it holds no schema"])[0]
        raise StoreError(f"{copy} is no archive of a database of Slopeward: {why}")
    return lines[start + 1]


@contextmanager
def _scratch(db: Database, copy: Path) -> Iterator[Database]:
    name = f"{SCRATCH}{secrets.token_hex(4)}"
    if db.is_sqlite:
        file = copy.with_name(f".{name}.db")
        if shutil.disk_usage(copy.parent).free < 1.2 * copy.stat().st_size:
            raise NoScratchError(f"{copy.parent} has no room to restore {copy.name} beside it")
        scratch = Database(f"sqlite:///{file}")
        try:
            yield scratch
        finally:
            scratch.close()
            for left in file.parent.glob(f"{file.name}*"):
                left.unlink(missing_ok=True)
        return
    server = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as c:
        every = c.execute(text("SELECT datname FROM pg_database")).scalars().all()
        for left in (one for one in every if one.startswith(SCRATCH)):  # by a killed proof; one in use stays
            with contextlib.suppress(DBAPIError):
                c.execute(text(f'DROP DATABASE "{left}"'))
        _require_room(c)
        try:
            c.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        except DBAPIError as error:
            why = str(error.orig).splitlines()[0]
            raise NoScratchError(f"no scratch database: {why} (ALTER ROLE {db.url.username} CREATEDB)") from error
    scratch = Database(db.url.set(database=name).render_as_string(hide_password=False))
    try:
        yield scratch
    finally:
        scratch.close()
        with server.connect() as c:
            c.execute(text(f"DROP DATABASE IF EXISTS {name}"))


def _require_room(c: Connection) -> None:
    """Look at the disk of a server on this machine, as far as it says where it lies.

    Raises:
        NoScratchError: the restored copy would fill it.
    """
    needed = int(c.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    try:
        place = Path(str(c.execute(text("SHOW data_directory")).scalar_one()))
        free = shutil.disk_usage(place).free
    except (DBAPIError, OSError):  # for some roles alone, or another machine
        return
    if free < 1.2 * needed:
        raise NoScratchError(f"the disk of the server has no room to restore {needed // 10**6} MB beside the database")


def main(words: list[str]) -> int:
    """The process of `prove_apart`: one JSON object on stdout, or one line on stderr and 1."""
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is running here is killed on the way out
    copy, head = words
    try:
        with Database(os.environ[URL]) as db:
            found = prove(db, Path(copy), head or None)
    except (SlopewardError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  the answer of this process
        return NO_SCRATCH if isinstance(error, NoScratchError) else 1
    print(json.dumps({"rows": found.rows, "audit_head": found.audit_head, "findings": found.findings}))  # noqa: T201
    return 0


def verify(
    connection: Connection, audit_head: str | None = None, note: Callable[[int, int], None] = lambda *_: None
) -> list[str]:
    """Read the whole database and name everything that is not as it was written.

    Args:
        audit_head: a head of the audit log noted earlier; it must still be in the chain.
        note: called with how many decisions were compared with their readings, and of how many.

    Returns:
        One line per finding; empty when all is well.
    """
    tables = list_tables(connection)
    return [
        *verify_chain(connection, audit_head),
        *(finding for table in tables for finding in _verify_hashes(connection, table)),
        *(
            finding
            for findings in hooks().verify_database(connection=connection, report_progress=note)
            for finding in findings
        ),
        *find_unsealed(connection),
        *_verify_file(connection),
        *(finding for table in tables for finding in _verify_references(connection, table, tables)),
        *(finding for table in tables for finding in _verify_values(connection, table)),
    ]


def _verify_hashes(connection: Connection, table: Table) -> Iterator[str]:
    keys = list(table.primary_key.columns)
    for column in table.c:
        if "sha256" not in column.info:
            continue
        digest = table.c[column.info["sha256"]]
        query = select(*keys, column, digest).where(column.is_not(None))
        rows = connection.execute(query.execution_options(yield_per=50))
        for *key, content, sha256 in rows:
            if hashlib.sha256(content.encode()).hexdigest() != sha256:
                row = " ".join([table.name, *map(str, key)])
                yield f"{row}: the column {column.name} does not match its hash in {digest.name}"


def _verify_file(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    if (state := connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()) != "ok":
        yield f"file: {state}"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{row[0]} row {row[1]}: refers to a row of {row[2]} that is not there"


def _verify_references(connection: Connection, table: Table, tables: Sequence[Table]) -> Iterator[str]:
    """Verify references that are no foreign keys, because tables with millions of rows would become slow."""
    for column in table.c:
        if "refers_to" not in column.info:
            continue
        parent_table, _, parent_column = column.info["refers_to"].partition(".")
        parent = next(one for one in tables if one.name == parent_table).c[parent_column]
        is_lost = column.is_not(None) & ~select(parent).where(parent == column).exists()
        lost = connection.execute(select(func.count()).select_from(table).where(is_lost)).scalar_one()
        if lost:
            yield f"{table.name}: {lost} rows refer to a {parent_table} that is not there"


def _verify_values(connection: Connection, table: Table) -> Iterator[str]:
    checks: dict[str, ColumnElement[bool]] = {}
    for column in table.columns:
        if isinstance(column.type, Double):
            checks[f"{column.name}: {{}} values are not finite"] = ~column.between(-1e300, 1e300)
        elif isinstance(column.type, Instant):
            spelled = type_coerce(column, String)
            checks[f"{column.name}: {{}} times are not in the one spelling"] = (
                func.length(spelled) != INSTANT_WIDTH
            ) | (func.substr(spelled, INSTANT_WIDTH, 1) != "Z")
    if not checks:
        return
    counts = connection.execute(select(*(func.count(case((bad, 1))) for bad in checks.values()))).one()
    for name, count in zip(checks, counts, strict=True):
        if count:
            yield f"{table.name}.{name.format(count)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
