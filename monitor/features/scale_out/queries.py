"""Read the lease of the active core, and end the sessions of a core that hangs."""

from typing import Any, Final

from sqlalchemy import Engine, Row, text

from monitor.api.database import CORE_VIEW, LEASE_TABLE, create_core_locks, translate_database_errors

# No core can renew its lease while the server is down, so the idle time starts at the earliest when the server started.
_READ_LEASE: Final = text(
    "SELECT fence, holder, session,"  # noqa: S608
    " extract(epoch FROM clock_timestamp() - greatest(renewed_at, pg_postmaster_start_time())) AS idle_s"
    f" FROM {LEASE_TABLE}"
)
# A role may end sessions of its own login. The server rolls back what they had not committed.
_END_SESSIONS: Final = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"  # noqa: S608
    " AND datname = current_database() AND usename = current_user AND (application_name = :session"
    f" OR pid IN (SELECT pid FROM pg_locks WHERE granted AND relation = to_regclass('{CORE_VIEW}')))"
)


def find_lease(engine: Engine) -> Row[Any] | None:
    """Return `fence`, `holder`, `session` and `idle_s` (since the last renewal) of the lease; None if there is none.

    Raises:
        StoreBusyError: The database is unavailable.
    """
    with translate_database_errors():
        create_core_locks(engine)
        with engine.connect() as c:
            return c.execute(_READ_LEASE).first()


def end_core_sessions(engine: Engine, session: str) -> int:
    """End the sessions of a core by their name, and any other session that holds its lock. Return how many.

    Raises:
        StoreBusyError: The database is unavailable.
    """
    with translate_database_errors(), engine.begin() as c:
        return int(c.execute(_END_SESSIONS, {"session": session}).scalar_one())
