"""Read rows of a table of a database with SQLAlchemy, without being able to change anything.

Each page is read in a transaction of its own, which is declared read-only where the database can do this, and which is
always rolled back. A query of the service file is used as a subquery only, so that it can be nothing but a SELECT.
"""

import contextlib
import os
import re
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import ColumnClause, Connection, Engine, TextClause, column, create_engine, inspect, select, table, text
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from monitor.api.errors import RefusedError
from monitor.api.extras import explain_missing
from monitor.features.sources.addresses import find_addresses
from monitor.features.sources.fetching import FetchedFile, PollRequest, make_failure, require_disk_space
from monitor.features.sources.positions import to_position
from monitor.features.sources.row_query import Position, Row, RowQuery
from monitor.features.sources.rows import ROWS, read_rows

CONNECT_TIMEOUT_S: Final = 10
# A statement is cancelled after this share of the time limit of a poll, but not later than `MAX_STATEMENT_S`.
STATEMENT_SHARE: Final = 0.25
MAX_STATEMENT_S: Final = 30.0
# The connection of a server that does not even cancel the statement is closed after this time.
CANCEL_GRACE_S: Final = 5.0
# SQLite calls a function after this number of instructions of its virtual machine, a few milliseconds.
SQLITE_INSTRUCTIONS: Final = 100_000
# Bytes 18 and 19 of a SQLite file are 2 if it is written with a write-ahead log (https://sqlite.org/fileformat.html).
WRITE_AHEAD: Final = b"\x02\x02"
DRIVERS: Final = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
MYSQL: Final = frozenset({"mysql", "mariadb"})
NAMES_SHOWN: Final = 30
MAX_TEXT_LENGTH: Final = 300
# SQLite has a number for each row, which the catalogue of its columns does not list.
ROWID: Final = "rowid"
_QUERY_ALIAS: Final = "source_rows"


def fetch_rows(request: PollRequest) -> Iterator[FetchedFile]:
    """Read new rows into files, and yield the outcome."""
    assert request.rows is not None
    try:
        require_disk_space(request)
        with closing(DatabaseServer(request, request.rows)) as server:
            yield read_rows(server, request.rows, request.since, Path(request.folder))
    except Exception as error:  # a driver may raise any error, which becomes one line
        yield make_failure(error, ROWS)


@dataclass(slots=True)
class _Guard:
    """Whether the connection was closed because the server did not answer."""

    has_closed: bool = False


class DatabaseServer:
    """A database that is read with SQLAlchemy. It implements `RowServer`."""

    def __init__(self, request: PollRequest, query: RowQuery) -> None:
        self._request = request
        self._query = query
        self._url = choose_driver(make_url(request.wanted[0].url))
        self._statement_s = max(1.0, min(MAX_STATEMENT_S, STATEMENT_SHARE * query.limit_s))
        self._engine = self._create_engine()
        self._source = _make_source(query)
        self._present_columns = self._check_table()
        self._wide_columns = [] if query.columns.value else self._find_wide_columns()
        names = [*list_role_columns(query), *self._wide_columns, query.position]
        self._columns: list[ColumnClause[Any]] = [column(name) for name in dict.fromkeys(names)]

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    # ---- RowServer ---------------------------------------------------------------------------------------------------
    def list_columns(self) -> Sequence[str]:
        """Return the columns of values of a table with a column for each quantity."""
        return self._wide_columns

    def find_newest(self) -> Position | None:
        """Return the largest position, or None if the table is empty."""
        position: ColumnClause[Any] = column(self._query.position)
        statement = (
            select(position).select_from(self._source).where(position.is_not(None)).order_by(position.desc()).limit(1)
        )
        with self._begin() as connection:
            value = connection.execute(statement).scalar()
        return None if value is None else to_position(value, self._query.position)

    def read_page(self, start: Position | None, rows: int) -> list[Row]:
        """Return at most `rows` rows from a position on, in its order."""
        position: ColumnClause[Any] = column(self._query.position)
        condition = position.is_not(None) if start is None else position >= start
        statement = select(*self._columns).select_from(self._source).where(condition).order_by(position).limit(rows)
        with self._begin() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    # ---- connection --------------------------------------------------------------------------------------------------
    def _create_engine(self) -> Engine:
        backend = self._url.get_backend_name()
        try:
            if backend == "sqlite":
                path = Path(self._url.database or "")
                # Each page opens the file again, because a program may begin to write it meanwhile.
                return create_engine("sqlite://", creator=lambda: self._open_sqlite(path), poolclass=NullPool)
            arguments = self._list_connect_arguments(backend)
            url = self._url.set(password=self._request.login.secret or None)
            engine = create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0, hide_parameters=True)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            missing = explain_missing(error) or f"url: the driver of {self._url.drivername!r} is not installed"
            raise RefusedError(missing) from None
        if backend in MYSQL:
            sqlalchemy_event.listen(engine, "connect", self._restrict_mysql)
        return engine

    def _list_connect_arguments(self, backend: str) -> dict[str, Any]:
        """Return the arguments of the driver: time limits, checked addresses and encryption."""
        host = self._url.host or ""
        port = self._url.port or PORTS.get(backend, 0)
        try:
            addresses = find_addresses(host, port, self._request.hosts, allow_private=self._request.allow_private)
        except OSError as error:
            raise OSError(f"{self._query.address}: host {host!r} was not found ({error})") from None
        ca_file = self._request.ca_file
        must_verify = bool(ca_file) or not self._request.allow_private
        if backend == "postgresql":
            arguments: dict[str, Any] = {
                "host": ",".join([host] * len(addresses)),
                "hostaddr": ",".join(addresses),
                "port": ",".join([str(port)] * len(addresses)),
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "slopeward",
            }
            if must_verify:
                arguments |= {"sslmode": "verify-full", "sslrootcert": ca_file or "system"}
            return arguments
        if backend in MYSQL:
            wait_s = self._statement_s + CANCEL_GRACE_S
            arguments = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": wait_s, "write_timeout": wait_s}
            if must_verify:
                arguments["ssl"] = ssl.create_default_context(cafile=ca_file or None)
            return arguments
        return {}

    def _open_sqlite(self, path: Path) -> sqlite3.Connection:
        """Open a file so that nothing can be written, not even the files beside it.

        SQLite creates files beside a database with a write-ahead log when it is opened, also to read it. If no program
        has such a database open, it is opened as a file that does not change. `_begin` checks that it did not.
        """
        options = "immutable=1" if _is_idle_with_write_ahead_log(path) else "mode=ro"
        uri = f"file:{quote(str(path.absolute()))}?{options}"
        connection = sqlite3.connect(uri, uri=True, timeout=CANCEL_GRACE_S, isolation_level=None)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _restrict_mysql(self, connection: Any, _record: object) -> None:
        """Declare all transactions of a connection to MySQL or MariaDB read-only, and limit the time of a statement."""
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            # MariaDB counts in seconds, MySQL in milliseconds. Each refuses the variable of the other.
            if "mariadb" in str(connection.get_server_info()).lower():
                cursor.execute("SET SESSION max_statement_time = %s", (self._statement_s,))
            else:
                cursor.execute("SET SESSION max_execution_time = %s", (int(self._statement_s * 1000),))

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """Yield a connection within a transaction that is read-only and always rolled back.

        Raises:
            OSError: The server is not reachable, does not answer in time, or the connection was lost.
            RefusedError: The server rejects the statement.
        """
        path = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        version = None if path is None else _describe_file(path)
        guard = _Guard()
        try:
            with self._engine.connect() as connection, self._limit_time(connection, guard):
                transaction = connection.begin()
                try:
                    self._restrict_transaction(connection)
                    yield connection
                finally:
                    transaction.rollback()
        except SQLAlchemyError as error:
            raise self._explain(error, guard) from None
        if path is not None and version is not None and _describe_file(path) != version:
            raise OSError(f"{path}: changed while it was read; the next poll reads it again")

    def _restrict_transaction(self, connection: Connection) -> None:
        backend = self._url.get_backend_name()
        if backend == "postgresql":
            connection.execute(text("SET TRANSACTION READ ONLY"))
            # SET takes no parameters. The number is computed here.
            connection.execute(text(f"SET LOCAL statement_timeout = {int(self._statement_s * 1000)}"))
        elif backend == "oracle":
            connection.execute(text("SET TRANSACTION READ ONLY"))

    @contextmanager
    def _limit_time(self, connection: Connection, guard: _Guard) -> Iterator[None]:
        """End a statement that takes too long, also if the server does not answer at all."""
        driver: Any = connection.connection.driver_connection
        backend = self._url.get_backend_name()
        if backend == "sqlite":
            ends_at_s = time.monotonic() + self._statement_s
            driver.set_progress_handler(lambda: time.monotonic() > ends_at_s, SQLITE_INSTRUCTIONS)
            yield
            return
        if backend != "postgresql":
            yield
            return
        timer = threading.Timer(self._statement_s + CANCEL_GRACE_S, _shut_down, (driver, guard))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _explain(self, error: SQLAlchemyError, guard: _Guard) -> RefusedError | OSError:
        """Return one line without secrets for an error of the database."""
        address = self._query.address
        original = error.orig if isinstance(error, DBAPIError) else error
        lines = str(original).strip().splitlines() or [type(error).__name__]
        reason = " ".join(lines[0].split())[:MAX_TEXT_LENGTH]
        if self._request.login.secret:
            reason = reason.replace(self._request.login.secret, "***")
        if guard.has_closed or _is_timeout(original, reason):
            return OSError(
                f"{address}: no answer in time ({reason}): does the server run, and is column {self._query.position!r} "
                "indexed?"
            )
        if isinstance(error, DBAPIError) and _is_connection_error(error, original, reason):
            return OSError(
                f"{address}: {reason}: check url, username, secret and private, and that the server accepts "
                "connections from this machine"
            )
        return RefusedError(f"{address}: the database rejects the request: {reason}")

    # ---- table -------------------------------------------------------------------------------------------------------
    def _check_table(self) -> list[str]:
        """Return the columns of the table, after comparing them with the keys of the source.

        Raises:
            RefusedError: The table or a column does not exist, or the column of the position has no index.
        """
        query = self._query
        with self._begin() as connection:
            if query.query:
                present = list(connection.execute(select(text("*")).select_from(self._source).limit(0)).keys())
            else:
                present = self._list_table_columns(connection)
            keys = {f"columns.{role}": name for role, name in _list_roles(query)}
            if query.position != query.columns.time:
                keys["position"] = query.position
            is_sqlite = connection.dialect.name == "sqlite"
            for key, name in keys.items():
                if name not in present and not (is_sqlite and name.lower() == ROWID):
                    what = "the result of query" if query.query else f"table {query.table}"
                    raise RefusedError(
                        f"{key}: {what} has no column {name!r}; it has: {_join(present)}. Was the column renamed?"
                    )
            if query.table and not query.unindexed:
                self._require_index(connection)
        return present

    def _list_table_columns(self, connection: Connection) -> list[str]:
        schema, name = _split_table(self._query.table)
        inspector = inspect(connection)
        try:
            return [str(entry["name"]) for entry in inspector.get_columns(name, schema)]
        except NoSuchTableError:
            present = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            raise RefusedError(f"table: no table {self._query.table!r}; there are: {_join(sorted(present))}") from None

    def _require_index(self, connection: Connection) -> None:
        """Raise RefusedError if each poll would read the whole table, because the position has no index."""
        schema, name = _split_table(self._query.table)
        position = self._query.position
        if connection.dialect.name == "sqlite" and position.lower() == ROWID:
            return
        inspector = inspect(connection)
        if name in inspector.get_view_names(schema):
            return
        indexed: list[Sequence[str | None]] = [inspector.get_pk_constraint(name, schema)["constrained_columns"]]
        indexed += [entry["column_names"] for entry in inspector.get_unique_constraints(name, schema)]
        indexed += [entry["column_names"] for entry in inspector.get_indexes(name, schema)]
        if not any(columns and columns[0] == position for columns in indexed):
            raise RefusedError(
                f"position: column {position!r} of table {self._query.table} has no index, so that each poll would "
                "read the whole table: name an indexed column, or confirm a small table with unindexed = true"
            )

    def _find_wide_columns(self) -> list[str]:
        """Return the columns that `series` names, as COLUMN or STATION/COLUMN.

        Raises:
            RefusedError: The table has no such column.
        """
        found: dict[str, None] = {}
        for key, _ in self._query.series:
            name = key if key in self._present_columns else key.rpartition("/")[2]
            if name not in self._present_columns:
                raise RefusedError(
                    f"series: no column {name or key!r}; there are: {_join(self._present_columns)}. Was the column "
                    "renamed?"
                )
            found[name] = None
        return list(found)


def choose_driver(url: URL) -> URL:
    """Return an address with the driver that Slopeward installs, if it names none."""
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


def find_package(url: str) -> str:
    """Return the optional package that an address needs; empty if none or an unknown one.

    >>> find_package("postgresql://db/m"), find_package("mysql+pymysql://db/m"), find_package("sqlite:///a.db")
    ('psycopg', 'pymysql', '')
    """
    driver = choose_driver(make_url(url)).drivername.partition("+")[2]
    return driver if driver in {"psycopg", "pymysql"} else ""


def list_role_columns(query: RowQuery) -> list[str]:
    """Return the names of the columns of a query, without the columns of values of a wide table."""
    return [name for _, name in _list_roles(query)]


def _list_roles(query: RowQuery) -> list[tuple[str, str]]:
    columns = query.columns
    roles = {
        "time": columns.time,
        "station": columns.station,
        "quantity": columns.quantity,
        "value": columns.value,
        "sigma": columns.sigma,
    }
    return [(role, name) for role, name in roles.items() if name]


def _split_table(name: str) -> tuple[str | None, str]:
    """Return schema and name of a table such as `monitoring.readings`."""
    schema, _, table_name = name.rpartition(".")
    return schema or None, table_name


def _make_source(query: RowQuery) -> Any:
    if not query.query:
        schema, name = _split_table(query.table)
        return table(name, schema=schema)
    # The line break ends a comment at the end of the query.
    return _escape(f"({query.query}\n) AS {_QUERY_ALIAS}")


def _escape(statement: str) -> TextClause:
    """Return a text of SQL in which a colon begins no parameter."""
    return text(re.sub(r":", r"\\:", statement))


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) or "none") + more


# ---- SQLite files ----------------------------------------------------------------------------------------------------


def _is_idle_with_write_ahead_log(path: Path) -> bool:
    """Return whether a SQLite file has a write-ahead log that no program uses at this moment.

    Raises:
        OSError: There is no such file.
    """
    with path.open("rb") as file:
        file.seek(18)
        has_log = file.read(2) == WRITE_AHEAD
    return has_log and not path.with_name(f"{path.name}-wal").exists()


def _describe_file(path: Path) -> Mapping[str, int] | None:
    """Return what changes if another program writes a file that was opened as one that does not change.

    Raises:
        OSError: There is no such file.
    """
    if not _is_idle_with_write_ahead_log(path):
        return None
    status = path.stat()
    return {"size": status.st_size, "changed_at_ns": status.st_mtime_ns}


# ---- errors of drivers -----------------------------------------------------------------------------------------------


def _shut_down(driver_connection: Any, guard: _Guard) -> None:
    """Close the socket of a connection of psycopg, so that the thread that waits for the server continues."""
    guard.has_closed = True
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(driver_connection.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _is_timeout(error: BaseException | None, reason: str) -> bool:
    """Return whether a server or driver ended a statement because of its time limit."""
    if isinstance(error, TimeoutError):
        return True
    # psycopg and libpq, MariaDB and MySQL, PyMySQL, SQLite
    words = ("timeout", "timed out", "max_statement_time", "maximum statement execution time", "interrupted")
    return any(word in reason.lower() for word in words)


def _is_connection_error(error: DBAPIError, original: BaseException | None, reason: str) -> bool:
    """Return whether the connection could not be made or was lost."""
    if error.connection_invalidated or isinstance(original, OSError):
        return True
    words = ("connect", "password", "access denied", "authentication", "closed", "unable to open", "ssl", "is locked")
    return any(word in reason.lower() for word in words)
