"""The lease of the core that decides, as another one reads it, and the end of one that hangs."""

from typing import Any, Final

from sqlalchemy import Engine, Row, text

from monitor.api.database import CORE_VIEW, LEASE_TABLE, create_core_locks, translate_database_errors

_READ_LEASE: Final = text(
    "SELECT fence, holder, session,"  # noqa: S608  while the server was away nobody could renew it
    " extract(epoch FROM clock_timestamp() - greatest(renewed_at, pg_postmaster_start_time())) AS idle_s"
    f" FROM {LEASE_TABLE}"
)


def find_lease(engine: Engine) -> Row[Any] | None:
    """Who has the turn, the name of its sessions, and how long it was not renewed; None where no core has run yet.

    Raises StoreBusyError: the database is away for the moment.
    """
    with translate_database_errors():
        create_core_locks(engine)
        with engine.connect() as c:
            return c.execute(_READ_LEASE).first()


def end_core_sessions(engine: Engine, session: str) -> int:
    """End the sessions of a core that hangs, by their name, and whoever else holds its lock; returns how many.

    A role may end the sessions of its own login. What they had not committed is rolled back. Raises StoreBusyError: the
    database is away for the moment.
    """
    ends = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"  # noqa: S608
        " AND datname = current_database() AND usename = current_user AND (application_name = :session"
        f" OR pid IN (SELECT pid FROM pg_locks WHERE granted AND relation = to_regclass('{CORE_VIEW}')))"
    )
    with translate_database_errors(), engine.begin() as c:
        return int(c.execute(ends, {"session": session}).scalar_one())
