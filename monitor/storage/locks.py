"""Whose turn it is, on PostgreSQL: locks on a private table and view, which nobody can take but who may write there.

An advisory lock is a number that every login of the database can see and take: a reader could stop the service with it.
SQLite has one writer at a time anyway; the one core is told by a lock file there.
"""

from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

ROWS: Final = "service_turn"  # a row for each thing that one transaction at a time may do
# Held for months by the core that runs. A view: it has no storage that the lock would keep vacuum from, and a lock on
# a whole relation needs no transaction number that would hold up vacuum elsewhere, as one on a row would.
CORE_VIEW: Final = "core_turn"
# One row: the number of the turn that runs, who has it, and when it was renewed last, all by the clock of the server.
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
    """Make the private table and view where they are missing; migrations, which take turns too, do not."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        for name, statement in _MAKE.items():
            if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None:
                continue
            try:
                c.exec_driver_sql(statement)
            except (IntegrityError, ProgrammingError):  # another process made it at the same moment
                if c.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                    raise


def take_turn(c: Connection, name: str) -> None:
    """Wait until no other transaction has this turn; it is ours to the end of this one. Nothing to do on SQLite."""
    if c.dialect.name != "postgresql":
        return
    row = text(f"SELECT 1 FROM {ROWS} WHERE name = :name FOR UPDATE")  # noqa: S608 - our name
    if c.execute(row, {"name": name}).first() is None:
        add = f"INSERT INTO {ROWS} VALUES (:name) ON CONFLICT DO NOTHING"  # noqa: S608 - our name
        c.execute(text(add), {"name": name})
        c.execute(row, {"name": name})


def lock_core(engine: Engine) -> Connection | None:
    """The session that holds the lock until it is closed, or ends in any way; None where another one holds it."""
    c = engine.connect()
    try:
        # a guard of the server against forgotten transactions would take the turn away
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
    """Whether a core holds the lock now; False on a database where none ever ran."""
    with engine.connect() as c:
        if c.execute(text("SELECT to_regclass(:name)"), {"name": CORE_VIEW}).scalar() is None:
            return False
    mine = lock_core(engine)
    if mine is None:
        return True
    mine.close()
    return False


def find_blockers(engine: Engine) -> str:
    """Who keeps others from changing the views, as one line; empty where nobody can be named."""
    found = text(
        "SELECT DISTINCT a.usename, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " JOIN pg_class k ON k.oid = l.relation WHERE l.granted AND a.usename <> current_user"
        " AND k.relnamespace = CAST(current_schema() AS regnamespace) ORDER BY a.usename, a.pid"
    )
    try:
        with engine.connect() as c:
            rows = c.execute(found).all()
    except DBAPIError:
        return ""
    return ", ".join(f"{name} (pid {pid})" for name, pid in rows)
