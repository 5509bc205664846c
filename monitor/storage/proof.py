"""Verify a database, and prove a backup by restoring it into a scratch database, which is removed afterwards."""

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

# Exit code of the child process of `prove_in_child` if it could not create a scratch database.
NO_SCRATCH: Final = 3
# Names of scratch databases begin with this prefix.
SCRATCH: Final = "slopeward_proof_"
# The environment variable with the URL of the database. It is not an argument, because it may contain a password.
URL_VARIABLE: Final = "SLOPEWARD_DATABASE__URL"


class NoScratchError(StoreError):
    """A scratch database could not be created for lack of space or privileges, so the backup was not checked."""


@dataclass(frozen=True, slots=True)
class BackupProof:
    """Result of restoring a backup.

    Attributes:
        rows: number of rows by table.
        audit_head: the newest hash of its audit log.
        findings: one line for everything that differs from what was written.
    """

    rows: dict[str, int]
    audit_head: str
    findings: tuple[str, ...]


def prove(db: Database, backup_file: Path, audit_head: str | None = None) -> BackupProof:
    """Restore a backup into a scratch database, count its rows, verify it, and remove it.

    Args:
        db: a database of the same kind as the backup. On PostgreSQL the scratch database is created on its server.
        backup_file: a file that `backup.back_up` wrote.
        audit_head: a hash that the audit log of the backup must contain.

    Raises:
        StoreError: the backup is damaged or was made by a newer version.
        NoScratchError: the scratch database could not be created.
    """
    require_restorable(db, backup_file)
    with _open_scratch_database(db, backup_file) as scratch:
        backup.restore(scratch, backup_file)
        migrate.upgrade(scratch)
        with scratch.read() as c:
            rows = backup.count_rows(c)
            return BackupProof(rows, audit.find_head(c)[1], tuple(verify(c, audit_head)))


def prove_in_child(
    db: Database, backup_file: Path, audit_head: str | None, prepare_child: Callable[[], None] | None = None
) -> BackupProof:
    """Run `prove` in a child process with low priority, so that the threads of the caller are not delayed.

    Args:
        db: as for `prove`.
        backup_file: as for `prove`.
        audit_head: as for `prove`.
        prepare_child: called in the child process before its program starts. If the child is terminated, it ends
            `pg_restore` too.

    Raises:
        StoreError: as for `prove`, or the process was ended.
    """
    url = db.url.render_as_string(hide_password=False)
    result = backup.run_program(
        [sys.executable, "-P", "-m", __name__, str(backup_file), audit_head or ""],
        env={**os.environ, URL_VARIABLE: url},
        preexec_fn=prepare_child,
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or [f"it was ended with status {result.returncode}"])[-1]
        raise (NoScratchError if result.returncode == NO_SCRATCH else StoreError)(f"not proven: {reason}")
    proven = json.loads(result.stdout)
    return BackupProof(proven["rows"], proven["audit_head"], tuple(proven["findings"]))


def require_restorable(db: Database, backup_file: Path) -> None:
    """Check, before anything is replaced, that a backup is intact and of a version that this program can read.

    Raises:
        StoreError: it is not.
    """
    if not backup_file.is_file():
        raise StoreError(f"{backup_file} is not a file")
    backup.require_checksum(backup_file)
    revision = _read_revision(db, backup_file)
    if not migrate.is_known(revision):
        raise StoreError(f"{backup_file} is at revision {revision}, made by a newer Slopeward; upgrade Slopeward first")


def _read_revision(db: Database, backup_file: Path) -> str:
    if db.is_sqlite:
        backup.check_sqlite(backup_file)
        with closing(sqlite3.connect(f"file:{backup_file}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    try:
        result = backup.run_program(
            ["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(backup_file)]
        )
    except FileNotFoundError:
        raise StoreError("pg_restore is not installed; install the PostgreSQL client programs") from None
    lines = result.stdout.splitlines()
    start = next((index for index, line in enumerate(lines) if line.startswith("COPY ")), None)
    if result.returncode or start is None:
        reason = (result.stderr.strip().splitlines() or ["it contains no schema"])[0]
        raise StoreError(f"{backup_file} is not an archive of a database of Slopeward: {reason}")
    return lines[start + 1]


@contextmanager
def _open_scratch_database(db: Database, backup_file: Path) -> Iterator[Database]:
    name = f"{SCRATCH}{secrets.token_hex(4)}"
    if db.is_sqlite:
        file = backup_file.with_name(f".{name}.db")
        if shutil.disk_usage(backup_file.parent).free < 1.2 * backup_file.stat().st_size:
            raise NoScratchError(f"{backup_file.parent} has no room to restore {backup_file.name} beside it")
        scratch = Database(f"sqlite:///{file}")
        try:
            yield scratch
        finally:
            scratch.close()
            for path in file.parent.glob(f"{file.name}*"):
                path.unlink(missing_ok=True)
        return
    server = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as c:
        names = c.execute(text("SELECT datname FROM pg_database")).scalars().all()
        # A killed process leaves its scratch database. PostgreSQL refuses to drop a database that is in use.
        for abandoned in [database for database in names if database.startswith(SCRATCH)]:
            with contextlib.suppress(DBAPIError):
                c.execute(text(f'DROP DATABASE "{abandoned}"'))
        _require_room(c)
        try:
            c.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        except DBAPIError as error:
            reason = str(error.orig).splitlines()[0]
            raise NoScratchError(f"no scratch database: {reason} (ALTER ROLE {db.url.username} CREATEDB)") from error
    scratch = Database(db.url.set(database=name).render_as_string(hide_password=False))
    try:
        yield scratch
    finally:
        scratch.close()
        with server.connect() as c:
            c.execute(text(f"DROP DATABASE IF EXISTS {name}"))


def _require_room(c: Connection) -> None:
    """Check the free space on the disk of a server that runs on this machine.

    Raises:
        NoScratchError: the restored backup would fill the disk.
    """
    needed = int(c.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    try:
        folder = Path(str(c.execute(text("SHOW data_directory")).scalar_one()))
        free = shutil.disk_usage(folder).free
    except (DBAPIError, OSError):
        # The role may not read the setting, or the server runs on another machine.
        return
    if free < 1.2 * needed:
        raise NoScratchError(f"the disk of the server has no room to restore {needed // 10**6} MB beside the database")


def main(arguments: list[str]) -> int:
    """Run the child process of `prove_in_child`.

    It prints a JSON object to stdout, or a line to stderr if it fails.

    Returns:
        The exit code.
    """
    os.nice(10)
    # `sys.exit` unwinds the stack, so that a running program is killed and the scratch database removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    backup_file, head = arguments
    try:
        with Database(os.environ[URL_VARIABLE]) as db:
            proof = prove(db, Path(backup_file), head or None)
    except (SlopewardError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return NO_SCRATCH if isinstance(error, NoScratchError) else 1
    print(json.dumps({"rows": proof.rows, "audit_head": proof.audit_head, "findings": proof.findings}))  # noqa: T201
    return 0


def verify(
    connection: Connection, audit_head: str | None = None, report_progress: Callable[[int, int], None] = lambda *_: None
) -> list[str]:
    """Read the whole database and list everything that differs from what was written.

    Args:
        connection: an open connection.
        audit_head: the hash of an earlier head of the audit log, which must still be in the chain.
        report_progress: called with the number of decisions that were compared with their readings, and their total.

    Returns:
        One line per finding. Empty if there is none.
    """
    tables = list_tables(connection)
    return [
        *verify_chain(connection, audit_head),
        *(finding for table in tables for finding in _verify_hashes(connection, table)),
        *(
            finding
            for findings in hooks().verify_database(connection=connection, report_progress=report_progress)
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
    state = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if state != "ok":
        yield f"file: {state}"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{row[0]} row {row[1]}: refers to a row of {row[2]} that does not exist"


def _verify_references(connection: Connection, table: Table, tables: Sequence[Table]) -> Iterator[str]:
    """Verify references that are no foreign keys, because tables with millions of rows would become slow."""
    for column in table.c:
        if "refers_to" not in column.info:
            continue
        parent_table, _, parent_column = column.info["refers_to"].partition(".")
        parent = next(other for other in tables if other.name == parent_table).c[parent_column]
        has_no_parent = column.is_not(None) & ~select(parent).where(parent == column).exists()
        count = connection.execute(select(func.count()).select_from(table).where(has_no_parent)).scalar_one()
        if count:
            yield f"{table.name}: {count} rows refer to a {parent_table} that does not exist"


def _verify_values(connection: Connection, table: Table) -> Iterator[str]:
    checks: list[tuple[str, str, ColumnElement[bool]]] = []
    for column in table.columns:
        if isinstance(column.type, Double):
            checks.append((column.name, "values are not finite", ~column.between(-1e300, 1e300)))
        elif isinstance(column.type, Instant):
            stored_text = type_coerce(column, String)
            has_other_length = func.length(stored_text) != INSTANT_WIDTH
            has_other_end = func.substr(stored_text, INSTANT_WIDTH, 1) != "Z"
            checks.append((column.name, "times are not in the stored format", has_other_length | has_other_end))
    if not checks:
        return
    counts = connection.execute(select(*(func.count(case((is_bad, 1))) for _, _, is_bad in checks))).one()
    for (name, problem, _), count in zip(checks, counts, strict=True):
        if count:
            yield f"{table.name}.{name}: {count} {problem}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
