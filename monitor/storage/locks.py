"""Locks between processes on PostgreSQL: on private tables and a private view, which only the service may lock.

Advisory locks are not used, because every login of the database can take them, so that a reader could stop the service.
SQLite needs none of these locks: it has one writer at a time, and a lock file shows that a core runs.
"""

from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

# A table with a row for each act that only one transaction at a time may do.
ROWS: Final = "service_turn"
# The running core holds a lock on this view for months. A view has no storage from which the lock would keep vacuum,
# and a lock on a whole relation needs no transaction id that would delay vacuum elsewhere, as a lock on a row would.
CORE_VIEW: Final = "core_turn"
# A table with one row: the present fencing number, its holder, and the last renewal by the clock of the server.
LEASE_TABLE: Final = "core_lease"
NAMES: Final = (ROWS, CORE_VIEW, LEASE_TABLE)
_MAKE: Final = {
    ROWS: f"CREATE TABLE {ROWS} (name text PRIMARY KEY)",
    CORE_VIEW: f"CREATE VIEW {CORE_VIEW} AS SELECT 'the core that runs holds a lock on this view' AS why",
    LEASE_TABLE: f"CREATE TABLE {LEASE_TABLE} (fence bigint PRIMARY KEY, holder text NOT NULL, session text NOT NULL,"
    " taken_at timestamptz NOT NULL, renewed_at timestamptz NOT NULL)",
}
_BUSY: Final = "55P03"  # lock_not_available


def create_core_locks(engine: Engine) -> None:
    """Create the private tables and the view if they are missing. Migrations cannot, because they need these locks."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        for name, statement in _MAKE.items():
            if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None:
                continue
            try:
                c.exec_driver_sql(statement)
            except (IntegrityError, ProgrammingError):
                # Another process created it at the same time.
                if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                    raise


def take_turn(c: Connection, name: str) -> None:
    """Take a named lock until the end of the transaction, and wait while another one has it. No-op on SQLite."""
    if c.dialect.name != "postgresql":
        return
    row = text(f"SELECT 1 FROM {ROWS} WHERE name = :name FOR UPDATE")  # noqa: S608 - our name
    if c.execute(row, {"name": name}).first() is None:
        add = f"INSERT INTO {ROWS} VALUES (:name) ON CONFLICT DO NOTHING"  # noqa: S608 - our name
        c.execute(text(add), {"name": name})
        c.execute(row, {"name": name})


def lock_core(engine: Engine) -> Connection | None:
    """Take the lock of the core.

    Returns:
        The session that holds the lock until it is closed or ends, or None if another session has the lock.
    """
    c = engine.connect()
    try:
        # Timeouts of the server against forgotten transactions would end the session.
        guards = "'idle_in_transaction_session_timeout', 'transaction_timeout'"
        c.exec_driver_sql(f"SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ({guards})")  # noqa: S608
        c.exec_driver_sql(f"LOCK TABLE {CORE_VIEW} IN EXCLUSIVE MODE NOWAIT")
    except BaseException as error:
        c.close()
        if isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", "") == _BUSY:
            return None
        raise
    return c


def is_core_running(engine: Engine) -> bool:
    """Return whether a core holds the lock now. False on a database on which no core ever ran."""
    with engine.connect() as c:
        if c.execute(text("SELECT to_regclass(:name)"), {"name": CORE_VIEW}).scalar() is None:
            return False
    session = lock_core(engine)
    if session is None:
        return True
    session.close()
    return False


def find_blockers(engine: Engine) -> str:
    """Return the users and process ids that hold locks on tables or views, as one line. Empty if unknown."""
    query = text(
        "SELECT DISTINCT a.usename, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " JOIN pg_class k ON k.oid = l.relation WHERE l.granted AND a.usename <> current_user"
        " AND k.relnamespace = CAST(current_schema() AS regnamespace) ORDER BY a.usename, a.pid"
    )
    try:
        with engine.connect() as c:
            rows = c.execute(query).all()
    except DBAPIError:
        return ""
    return ", ".join(f"{name} (pid {pid})" for name, pid in rows)
