"""Open read and write transactions on SQLite and PostgreSQL."""

import logging
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Concatenate, Final, NamedTuple, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from monitor.errors import StoreBusyError, StoreError
from monitor.extras import require
from monitor.storage.seals import Sealing
from monitor.storage.slow_writes import SlowWrites
from monitor.storage.tables import load_metadata

P = ParamSpec("P")
R = TypeVar("R")
# How long one attempt waits for the lock of a SQLite database. Callers that an alert depends on try again themselves.
SQLITE_BUSY_S: Final = 5.0
# How long a statement waits for a lock on PostgreSQL.
LOCK_TIMEOUT_MS: Final = 10_000
# How long jobs and commands wait for the lock, because nobody repeats them at once.
PATIENCE_S: Final = 60.0
log = logging.getLogger(__name__)


class _Patience(NamedTuple):
    """How long a thread waits for the write lock of a SQLite database.

    Attributes:
        least_s: how long it waits at least.
        work_started_s: when its work started, in seconds of the monotonic clock. It waits for as long as it has worked.
    """

    least_s: float
    work_started_s: float


# Default: one attempt. Without `patient()` no start of work is known, so the waiting time is 0.
_ONE_ATTEMPT: Final = _Patience(0.0, math.inf)
_patience: ContextVar[_Patience] = ContextVar("patience", default=_ONE_ATTEMPT)


@contextmanager
def patient(seconds: float = PATIENCE_S) -> Iterator[None]:
    """Make this thread wait longer while another process holds the write lock of a SQLite database.

    It waits for `seconds`, or for as long as it has worked so far if that is longer, so that the result of half an hour
    is not lost after a minute.
    """
    token = _patience.set(_Patience(seconds, time.monotonic()))
    try:
        yield
    finally:
        _patience.reset(token)


class _WriterQueue:
    """Let one thread of a process write at a time: urgent writers (ingest) first, the others in order of arrival."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._owner: int | None = None
        # Tickets of waiting threads. The smallest is next: urgent ones are False in the first place.
        self._tickets: set[tuple[bool, int]] = set()
        self._ticket_count = 0

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        thread_id = threading.get_ident()
        with self._condition:
            if self._owner == thread_id:
                raise StoreError("a write transaction was opened inside another one of the same thread")
            self._ticket_count += 1
            ticket = (not urgent, self._ticket_count)
            self._tickets.add(ticket)
            try:
                self._condition.wait_for(lambda: self._owner is None and min(self._tickets) == ticket)
            finally:
                self._tickets.discard(ticket)
            self._owner = thread_id
        try:
            yield
        finally:
            with self._condition:
                self._owner = None
                self._condition.notify_all()


class Database:
    """A SQLite or PostgreSQL database.

    `read()` and `write()` provide a SQLAlchemy Core connection inside a transaction. On SQLite `write()` takes the
    write lock at once (BEGIN IMMEDIATE), so that a transaction cannot fail later because it lacks the lock.

    Args:
        url: the URL of the database.
        session: the application name of the sessions on PostgreSQL.

    Attributes:
        read_only_because: why this object may not write. None if it may.
        guard: called at the start of each write transaction. It raises an error if this process may no longer write.
        can_send: returns whether this process may send messages to people and brokers.
        slow_writes: write transactions that took too long.
    """

    def __init__(self, url: str, session: str = "slopeward") -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise StoreError(
                f"database.url: {parsed.get_backend_name()!r} is not supported; use sqlite:/// or postgresql+psycopg://"
            )
        if parsed.get_backend_name() == "postgresql" and "+" not in parsed.drivername:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "postgresql":
            require("psycopg", StoreError)
        self.url = parsed
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.session = session
        self._writer_queue = _WriterQueue()
        self.slow_writes = SlowWrites()
        self.read_only_because: str | None = None
        self.guard: Callable[[Connection], None] | None = None
        self.can_send: Callable[[], bool] = lambda: True
        self.engine: Engine = self._open_sqlite() if self.is_sqlite else self._open_postgresql()
        event.listen(self.engine, "before_execute", _seal_changes)
        # Closing removes the write-ahead log of SQLite, also if the caller never calls `close`.
        weakref.finalize(self, self.engine.dispose)

    def _open_sqlite(self) -> Engine:
        engine = create_engine(
            self.url,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=8,
            connect_args={"timeout": SQLITE_BUSY_S, "check_same_thread": False, "isolation_level": None},
        )

        file = self.url.database

        @event.listens_for(engine, "do_connect")
        def _protect_file(*_: Any) -> None:
            keep_private(file)

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            raw: Any = connection.connection.driver_connection
            raw.execute(f"PRAGMA query_only={'ON' if options.get('slopeward_read') else 'OFF'}")
            # IMMEDIATE takes the write lock at once. Otherwise a transaction that reads and then writes fails if
            # another process wrote in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("slopeward_write") else "BEGIN")

        return engine

    def _open_postgresql(self) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            connect_args={
                # JIT compilation takes longer than most of our queries.
                "options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS} -c jit=off",
                "connect_timeout": 10,
                "application_name": self.session,
                # Without it, psycopg returns bytes if the database has no encoding (SQL_ASCII).
                "client_encoding": "utf8",
                # A server that disappears without closing its connections is noticed in half a minute.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": 30000,
            },
        )

        @event.listens_for(engine, "checkin")
        def _reset_read_only(connection: Any, _record: Any) -> None:
            # SQLAlchemy sets `read_only` to False after a read, which would override `default_transaction_read_only`.
            if connection is not None and not connection.closed:
                connection.read_only = None

        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads, from one consistent snapshot.

        Raises:
            StoreBusyError: the database is locked or not available now.
            StoreError: the transaction tried to write, or the database is not set up.
        """
        with translate_database_errors(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection = connection.execution_options(slopeward_read=True)  # noqa: PLW2901
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)  # noqa: PLW2901
            with connection.begin():
                try:
                    yield connection
                except DBAPIError as error:
                    if _is_refused_write(error):
                        raise StoreError("a transaction that only reads tried to write") from error
                    raise

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        """Open a transaction that writes. It is committed at the end, and rolled back on any error.

        Before the commit, the changed rows are sealed by an entry of the audit log (`monitor.storage.seals`).

        Args:
            urgent: whether to go before other waiting threads of this process.

        Raises:
            StoreBusyError: the database is locked or not available now, or the time of `patient` is over. Nothing was
                written, and the caller may try again.
            StoreError: this object may not write (`read_only_because`).
        """
        if self.read_only_because is not None:
            raise StoreError(self.read_only_because)
        sealing = Sealing()
        with translate_database_errors(), self._begin_write(sealing, urgent=urgent) as connection:
            if self.guard is not None:
                self.guard(connection)
            yield connection
            sealing.append_entries(connection, datetime.now(UTC))

    def measure_write_ahead_log(self) -> int | None:
        """Return the size of PostgreSQL's write-ahead log in bytes, or None if this account may not read it."""
        try:
            with self.read() as c:
                return int(c.exec_driver_sql("SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()").scalar_one())
        except DBAPIError:
            return None

    def find_journal_mode(self) -> str:
        """Return the journal mode of SQLite. PostgreSQL always has a write-ahead log, so it is `wal` there."""
        if not self.is_sqlite:
            return "wal"
        with self.read() as c:
            return str(c.exec_driver_sql("PRAGMA journal_mode").scalar())

    def run_read(self, load: Callable[Concatenate[Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        """Call a function that reads in a transaction of its own, and return its result."""
        with self.read() as c:
            return load(c, *args, **named)

    def run_write(self, save: Callable[Concatenate[Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        """Call a function that writes in a transaction of its own, and return its result. Raises as `write` does."""
        with self.write() as c:
            return save(c, *args, **named)

    @contextmanager
    def _begin_write(self, sealing: Sealing, *, urgent: bool) -> Iterator[Connection]:
        """Begin a write transaction. Between two attempts, other threads of this process may write."""
        started_s = time.monotonic()
        is_logged = False
        patience = _patience.get()
        wait_limit_s = max(patience.least_s, started_s - patience.work_started_s)
        while True:
            with ExitStack() as stack:
                stack.enter_context(self._writer_queue.turn(urgent=urgent))
                try:
                    connection = stack.enter_context(self.engine.connect())
                    connection = connection.execution_options(slopeward_write=True, slopeward_sealing=sealing)
                    transaction = connection.begin()
                except OperationalError as error:
                    if not _is_locked(error) or time.monotonic() - started_s >= wait_limit_s:
                        raise
                    if not is_logged:
                        log.warning("the database is locked by another process; waiting up to %.0f s", wait_limit_s)
                        is_logged = True
                    continue
                # The lock is held from here to the end of the commit.
                with self.slow_writes.measure(), transaction:
                    yield connection
                return

    def require_writable(self) -> None:
        """Check that a transaction could write now. Nothing is written, and `read_only_because` is ignored.

        Raises:
            StoreError: the database is missing, read-only or locked, or this account may not write.
        """
        names = ", ".join(f'"{name}"' for name in load_metadata().tables)
        try:
            with translate_database_errors(), self.engine.connect() as connection:
                connection = connection.execution_options(slopeward_write=True)  # noqa: PLW2901
                with connection.begin() as transaction:
                    if not self.is_sqlite:
                        # Every INSERT, UPDATE and DELETE takes this lock.
                        connection.exec_driver_sql(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE")
                    connection.exec_driver_sql("DELETE FROM service_state WHERE 1 = 0")
                    transaction.rollback()
        except DBAPIError as error:
            raise StoreError(f"the database refuses to write: {error.orig}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _seal_changes(connection: Connection, statement: Any, multiparameters: Any, parameters: Any, _options: Any) -> None:
    sealing = connection.get_execution_options().get("slopeward_sealing")
    if sealing is not None:
        sealing.note_statement(connection, statement, multiparameters or [parameters])


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Translate errors of the driver.

    Raises:
        StoreBusyError: the database is locked, read-only or not available now.
        StoreError: the database was never set up, or its file is damaged.
    """
    try:
        yield
    except DBAPIError as error:
        if _is_refused_write(error):
            raise StoreBusyError(f"the database is read-only: {error.orig}") from error
        text = str(error.orig).strip().partition("\n")[0]
        if text.startswith("no such table") or getattr(error.orig, "sqlstate", None) == "42P01":
            raise StoreError(f"the database is not set up ({text}); run `slopeward db upgrade`") from error
        code = getattr(error.orig, "sqlite_errorcode", 0)
        if code & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise StoreError(
                f"the database file is damaged ({text}), by its disk or by a copy. Stop the service, keep the file "
                "and put a backup in its place (slopeward db restore FILE --yes)"
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreError(
                "the file that database.url names is not a SQLite database: name another, or put a backup in its place "
                "(slopeward db restore FILE --yes)"
            ) from error
        if isinstance(error, OperationalError):
            raise StoreBusyError(f"the database does not answer or is locked: {error.orig}") from error
        if error.connection_invalidated:
            raise StoreBusyError(f"the connection to the database was lost: {error.orig}") from error
        raise


def _is_locked(error: OperationalError) -> bool:
    """Return whether another process holds the lock of a SQLite file. Waiting helps against no other error."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_refused_write(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY:
        return True
    return getattr(error.orig, "sqlstate", None) == "25006"  # read_only_sql_transaction


def insert(connection: Connection, table: Table) -> Any:
    """Return an INSERT of the dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def add_if_absent(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key exists. Return whether it was inserted."""
    statement = insert(connection, table).values(dict(values)).on_conflict_do_nothing()
    # Without this option SQLAlchemy returns -1 if it fetches generated keys.
    result = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return bool(result.rowcount == 1)


def add_all_absent(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows with the same columns unless their keys exist, and return how many were inserted.

    All rows are inserted by one statement, because thousands of single ones would hold the write lock for seconds.
    """
    if not rows:
        return 0
    statement = insert(connection, table).on_conflict_do_nothing()
    result = connection.execute(statement, list(rows), execution_options={"preserve_rowcount": True})
    return int(result.rowcount)


# Permissions of group and others.
_OTHERS: Final = 0o077


def keep_private(database: str | None) -> None:
    """Make the file of a SQLite database and the files beside it readable by their owner only.

    SQLite gives `-wal` and `-shm` the mode of the database file. A new file is therefore created with its mode before
    SQLite opens it. Files of other users are left unchanged.

    Args:
        database: the path in the URL. Databases in memory and `file:` URIs are ignored.
    """
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    file = Path(database)
    if not file.exists():
        # Without the folder, SQLite reports the error.
        if file.parent.is_dir():
            file.touch(mode=0o600)
        return
    files = (Path(f"{file}{suffix}") for suffix in ("", "-wal", "-shm", ".lock"))
    changed_files = [path for path in files if _remove_permissions(path)]
    if file in changed_files:
        log.warning(
            "other users of this machine could read %s, including accounts; now only its owner can."
            " Readers get a copy of the views: slopeward db publish FILE",
            file,
        )


def open_lock(database: str | Path) -> IO[str]:
    """Open the lock file beside a SQLite database.

    Only its owner may open it, because another user could hold the lock and prevent the service from starting.
    """
    return open(f"{database}.lock", "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def _remove_permissions(path: Path) -> bool:
    """Remove the permissions of other users. Return whether they had any."""
    try:
        status = path.stat()
        if not status.st_mode & _OTHERS or os.geteuid() not in {0, status.st_uid}:
            return False
        path.chmod(status.st_mode & 0o700)
    except OSError:
        # The file was removed meanwhile, or the file system has no permissions.
        return False
    return True
