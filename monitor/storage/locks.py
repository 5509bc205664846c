"""Locks between processes on PostgreSQL: on private tables and a private view, which only the service may lock.

Advisory locks are not used, because every login of the database can take them, so that a reader could stop the service.
SQLite needs none of these locks: it has one writer at a time, and a lock file shows that a core runs.
"""

from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

# A table with one row per named lock. A transaction takes the lock by locking the row.
LOCK_TABLE: Final = "service_turn"
# The running core holds a lock on this view for months. A lock on a table would keep vacuum from this table, and a lock
# on a row would need a transaction id, whose age delays vacuum in the whole database. A lock on a view does neither.
CORE_VIEW: Final = "core_turn"
# A table with one row: the current fencing number, its holder, and the last renewal by the clock of the server.
LEASE_TABLE: Final = "core_lease"
NAMES: Final = (LOCK_TABLE, CORE_VIEW, LEASE_TABLE)
_CREATE_STATEMENTS: Final = {
    LOCK_TABLE: f"CREATE TABLE {LOCK_TABLE} (name text PRIMARY KEY)",
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
        for name, statement in _CREATE_STATEMENTS.items():
            if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None:
                continue
            try:
                c.exec_driver_sql(statement)
            except (IntegrityError, ProgrammingError):
                # Another process created it at the same time.
                if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                    raise


def take_named_lock(c: Connection, name: str) -> None:
    """Take a named lock until the end of the transaction, and wait while another transaction has it.

    On SQLite nothing is done.
    """
    if c.dialect.name != "postgresql":
        return
    lock_row = text(f"SELECT 1 FROM {LOCK_TABLE} WHERE name = :name FOR UPDATE")  # noqa: S608 - our name
    if c.execute(lock_row, {"name": name}).first() is None:
        add_row = text(f"INSERT INTO {LOCK_TABLE} VALUES (:name) ON CONFLICT DO NOTHING")  # noqa: S608 - our name
        c.execute(add_row, {"name": name})
        c.execute(lock_row, {"name": name})


def lock_core(engine: Engine) -> Connection | None:
    """Take the lock of the core.

    Returns:
        The session that holds the lock until it is closed or ends, or None if another session has the lock.
    """
    c = engine.connect()
    try:
        # Timeouts of the server against forgotten transactions would end the session.
        timeouts = "'idle_in_transaction_session_timeout', 'transaction_timeout'"
        c.exec_driver_sql(f"SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ({timeouts})")  # noqa: S608
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


def has_core_lock(c: Connection) -> bool:
    """Return whether a session holds the lock of the core on PostgreSQL. Takes no lock."""
    query = text(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE granted AND locktype = 'relation' AND mode = 'ExclusiveLock'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND relation = to_regclass(:name))"
    )
    return bool(c.execute(query, {"name": CORE_VIEW}).scalar_one())


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
