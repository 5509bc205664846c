"""One way into the database for every process: read and write transactions, the same on SQLite and PostgreSQL."""

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
from typing import IO, Any, Concatenate, Final, ParamSpec, Self, TypeVar

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
SQLITE_BUSY_S: Final = 5.0  # of one try: what an alarm depends on tries again by itself, and says so meanwhile
LOCK_TIMEOUT_MS: Final = 10_000  # of a statement on PostgreSQL
PATIENCE_S: Final = 60.0  # for work that nobody does again at once: jobs and verbs of the command line
log = logging.getLogger(__name__)
# how long at least, and since when the work runs that would be done anew
_patience: ContextVar[tuple[float, float]] = ContextVar("patience", default=(0.0, math.inf))


@contextmanager
def patient(seconds: float = PATIENCE_S) -> Iterator[None]:
    """Have this thread wait for so long where another process holds the write lock of a SQLite database.

    It waits for as long as it has worked by then, where that is longer: what took half an hour is not thrown away
    after a minute.
    """
    before = _patience.set((seconds, time.monotonic()))
    try:
        yield
    finally:
        _patience.reset(before)


class _WriterQueue:
    """One writer at a time inside a process: an urgent one (ingest) first, the others in the order they came."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._owner: int | None = None
        self._waiting: set[tuple[bool, int]] = set()
        self._came = 0

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        me = threading.get_ident()
        with self._condition:
            if self._owner == me:
                raise StoreError("a write transaction was opened inside another one of the same thread")
            self._came += 1
            mine = (not urgent, self._came)
            self._waiting.add(mine)
            try:
                self._condition.wait_for(lambda: self._owner is None and min(self._waiting) == mine)
            finally:
                self._waiting.discard(mine)
            self._owner = me
        try:
            yield
        finally:
            with self._condition:
                self._owner = None
                self._condition.notify_all()


class Database:
    """A database by URL.

    `read()` and `write()` give a SQLAlchemy Core connection inside a transaction. On SQLite `write()` takes the
    write lock at once (BEGIN IMMEDIATE), so that a transaction never fails half-way for want of it.

    Args:
        session: what PostgreSQL calls the sessions of this object.
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
        self._turnstile = _WriterQueue()
        self.slow_writes = SlowWrites()
        self.closed_because: str | None = None  # why nothing may be written by this object (yet)
        self.guard: Callable[[Connection], None] | None = None  # raises where a transaction may not be written any more
        self.holds: Callable[[], bool] = lambda: True  # whether what goes out to people and brokers is ours to send
        self.engine: Engine = self._open_sqlite() if self.is_sqlite else self._open_postgresql()
        event.listen(self.engine, "before_execute", _watch)
        # who forgets to close it leaves no log of SQLite beside the file, also where a process ends without a look
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
        def _close_to_others(*_: Any) -> None:
            keep_private(file)

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            # a read that becomes a write would fail at once where another process wrote since, whatever it waits
            raw: Any = connection.connection.driver_connection
            raw.execute(f"PRAGMA query_only={'ON' if options.get('slopeward_read') else 'OFF'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("slopeward_write") else "BEGIN")

        return engine

    def _open_postgresql(self) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            connect_args={
                # compiling a question takes longer than most of ours take to answer
                "options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS} -c jit=off",
                "connect_timeout": 10,
                "application_name": self.session,
                "client_encoding": "utf8",  # a database without an encoding (SQL_ASCII) would answer in bytes
                # a server that went without a word is noticed in half a minute
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": 30000,
            },
        )

        @event.listens_for(engine, "checkin")
        def _obey_the_server(connection: Any, _record: Any) -> None:
            if connection is not None and not connection.closed:  # one that has read would write against its default
                connection.read_only = None

        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; one consistent snapshot on SQLite and PostgreSQL."""
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
        """A transaction that writes: committed on leaving, rolled back on any error.

        Its last act is the entry of the audit log that seals the rows it touched (`monitor.storage.seals`).

        Raises:
            StoreBusyError: the database is locked or away for the moment; nothing was written, try again. A thread
                that is `patient` has tried for so long.
            StoreError: this object may not write (`closed_because`).
        """
        if self.closed_because is not None:
            raise StoreError(self.closed_because)
        sealing = Sealing()
        with translate_database_errors(), self._begin_write(sealing, urgent=urgent) as connection:
            if self.guard is not None:
                self.guard(connection)
            yield connection
            sealing.close(connection, datetime.now(UTC))

    def measure_log(self) -> int | None:
        """Bytes of PostgreSQL's write-ahead log; None where this account may not see it."""
        try:
            with self.read() as c:
                return int(c.exec_driver_sql("SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()").scalar_one())
        except DBAPIError:
            return None

    def find_journal_mode(self) -> str:
        """How SQLite keeps its journal; `wal` on PostgreSQL, which has no other way."""
        if not self.is_sqlite:
            return "wal"
        with self.read() as c:
            return str(c.exec_driver_sql("PRAGMA journal_mode").scalar())

    def run_read(self, load: Callable[Concatenate[Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        """What one function reads, in a transaction of its own."""
        with self.read() as c:
            return load(c, *args, **named)

    def do(self, save: Callable[Concatenate[Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        """What one function writes, in a transaction of its own; raises what `write` raises."""
        with self.write() as c:
            return save(c, *args, **named)

    @contextmanager
    def _begin_write(self, sealing: Sealing, *, urgent: bool) -> Iterator[Connection]:
        """A write transaction that has begun. Between two tries the other writers of this process have their turn."""
        began_s, is_logged = time.monotonic(), False
        least_s, since_s = _patience.get()
        waits_s = max(least_s, began_s - since_s)
        while True:
            with ExitStack() as held:
                held.enter_context(self._turnstile.turn(urgent=urgent))
                try:
                    connection = held.enter_context(self.engine.connect())
                    connection = connection.execution_options(slopeward_write=True, slopeward_sealing=sealing)
                    transaction = connection.begin()
                except OperationalError as error:
                    if not _is_held(error) or time.monotonic() - began_s >= waits_s:
                        raise
                    if not is_logged:
                        log.warning("the database is locked: it is waited for, up to %.0f s", waits_s)
                        is_logged = True
                    continue
                # The lock is held from here to the end of the commit.
                with self.slow_writes.measure(), transaction:
                    yield connection
                return

    def require_writable(self) -> None:
        """Make sure that a transaction could write now, whoever may write by this object; nothing is written.

        Raises:
            StoreError: it is gone, read-only or locked, or we may not write.
        """
        names = ", ".join(f'"{name}"' for name in load_metadata().tables)
        try:
            with translate_database_errors(), self.engine.connect() as connection:
                connection = connection.execution_options(slopeward_write=True)  # noqa: PLW2901
                with connection.begin() as transaction:
                    if not self.is_sqlite:  # as each writer holds it
                        connection.exec_driver_sql(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE")
                    connection.exec_driver_sql("DELETE FROM service_state WHERE 1 = 0")  # refused where all writes are
                    transaction.rollback()
        except DBAPIError as error:
            raise StoreError(f"the database takes no writes of ours: {error.orig}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _watch(connection: Connection, statement: Any, many: Any, one: Any, _options: Any) -> None:
    sealing = connection.get_execution_options().get("slopeward_sealing")
    if sealing is not None:
        sealing.watch(connection, statement, many or [one])


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """A database that is away or locked is a StoreBusyError; one that was never set up is a StoreError."""
    try:
        yield
    except DBAPIError as error:
        if _is_refused_write(error):
            raise StoreBusyError(f"the database is read-only for us: {error.orig}") from error
        text = str(error.orig).strip().partition("\n")[0]
        if text.startswith("no such table") or getattr(error.orig, "sqlstate", None) == "42P01":
            raise StoreError(f"the database is not set up ({text}); run `slopeward db upgrade`") from error
        code = getattr(error.orig, "sqlite_errorcode", 0)
        if code & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise StoreError(
                f"the database file is torn ({text}): a disk or a copy has damaged it. Stop the service, keep the file "
                "and put a backup in its place (slopeward db restore FILE --yes)"
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreError(
                "the file that database.url names is no SQLite database: name another, or put a backup in its place "
                "(slopeward db restore FILE --yes)"
            ) from error
        if isinstance(error, OperationalError):
            raise StoreBusyError(f"the database does not answer or is locked: {error.orig}") from error
        if error.connection_invalidated:
            raise StoreBusyError(f"the connection to the database was lost: {error.orig}") from error
        raise


def _is_held(error: OperationalError) -> bool:
    """Whether another process holds the lock of a SQLite file: what is missing or read-only stays so."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_refused_write(error: DBAPIError) -> bool:
    codes = (getattr(error.orig, "sqlite_errorcode", None), getattr(error.orig, "sqlstate", None))
    return codes[0] == sqlite3.SQLITE_READONLY or codes[1] == "25006"  # read_only_sql_transaction


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT that knows `on_conflict_do_nothing` / `on_conflict_do_update` on both databases."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def add_if_absent(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key is there; True when it was added."""
    statement = insert(connection, table).values(dict(values)).on_conflict_do_nothing()
    # without this SQLAlchemy answers -1 where it fetches generated keys
    done = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return bool(done.rowcount == 1)


def add_all_absent(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows of the same columns unless their keys are there; returns how many were added.

    One statement for all of them: thousands of footprints one by one would hold the write lock for seconds.
    """
    if not rows:
        return 0
    statement = insert(connection, table).on_conflict_do_nothing()
    done = connection.execute(statement, list(rows), execution_options={"preserve_rowcount": True})
    return int(done.rowcount)


OTHERS: Final = 0o077


def keep_private(database: str | None) -> None:
    """Make the file of a SQLite database, and what lies beside it, readable by its owner alone.

    SQLite gives `-wal` and `-shm` the mode of the file, so a new file is made with its mode before SQLite opens it.
    What somebody else owns stays as it is.

    `database`: the path as the URL names it; none, memory and `file:` addresses have no file to look after.
    """
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    file = Path(database)
    if not file.exists():
        if file.parent.is_dir():  # else SQLite says what is wrong
            file.touch(mode=0o600)
        return
    files = (Path(f"{file}{end}") for end in ("", "-wal", "-shm", ".lock"))
    loosened = [path for path in files if _close(path)]
    if file in loosened:
        log.warning(
            "%s could be read by others on this machine, accounts included; now by its owner alone."
            " Readers get a copy of the views: slopeward db publish FILE",
            file,
        )


def open_lock(database: str | Path) -> IO[str]:
    """The lock file beside a SQLite database; who may open it could hold it, and so keep the service from starting."""
    return open(f"{database}.lock", "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def _close(path: Path) -> bool:
    """Take others' rights away; True where they had some."""
    try:
        status = path.stat()
        if not status.st_mode & OTHERS or os.geteuid() not in {0, status.st_uid}:
            return False
        path.chmod(status.st_mode & 0o700)
    except OSError:  # gone meanwhile, or a file system without modes
        return False
    return True
