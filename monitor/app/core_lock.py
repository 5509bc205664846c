"""Ensure that one core process uses a database: by a lock file beside SQLite, by a lease on PostgreSQL."""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from monitor.errors import ConfigError, StoreBusyError
from monitor.settings.service import ServiceConfig
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database, open_lock
from monitor.storage.locks import has_core_lock

log = logging.getLogger(__name__)
# A core that is ending releases the lock within this time.
WAIT_FOR_PREDECESSOR_S: Final = 10.0


@contextlib.contextmanager
def hold_core_lock(config: ServiceConfig, session: str = "slopeward") -> Iterator[CoreLease | None]:
    """Exclude other core processes. Two of them would take the broker's session from each other.

    Args:
        session: Name of the sessions of this core on PostgreSQL.

    Yields:
        The lease on PostgreSQL, which the core has to renew. It is not taken yet if the database is unreachable, or if
        this is a standby service. None on SQLite, where the lock ends with this process.

    Raises:
        ConfigError: Another core process uses the database.
    """
    db = Database(config.database.url, session)
    if not db.is_sqlite:
        with _hold_lease(db, config) as lease:
            yield lease
        return
    database = db.url.database
    db.close()
    if not database or database == ":memory:":
        yield None
        return
    with open_lock(database) as file:
        if not _wait_for(lambda: _take_file_lock(file)):
            file.seek(0)
            refuse_second_core(database, f" (pid {file.read().strip()})")
        # A full disk must not prevent the start.
        with contextlib.suppress(OSError):
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield None


def is_core_lock_held(db: Database) -> bool | None:
    """Return whether a core uses a database now: a fact that a copy of the database does not contain.

    Returns:
        None if this is unknown, because this account may not open the lock file.
    """
    if not db.is_sqlite:
        with db.read() as c:
            return has_core_lock(c)
    try:
        with Path(f"{db.url.database}.lock").open("rb") as file:
            return not _take_file_lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        return None


def refuse_second_core(database: str, owner: str = "") -> NoReturn:
    """Raise the error for a core process that must not start, because another one uses the database."""
    raise ConfigError(f"{database}: another service runs on this database{owner}")


def _take_file_lock(file: IO[Any], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for(condition: Callable[[], bool]) -> bool:
    """Return whether the condition becomes true within `WAIT_FOR_PREDECESSOR_S`."""
    deadline_s = time.monotonic() + WAIT_FOR_PREDECESSOR_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True


@contextlib.contextmanager
def _hold_lease(db: Database, config: ServiceConfig) -> Iterator[CoreLease]:
    lease = CoreLease(db, config.service_name)
    try:
        try:
            is_refused = not config.standby.enabled and not _wait_for(lease.take)
        except StoreBusyError as error:
            log.warning("the database does not answer yet; nothing is written before the lease is taken: %s", error)
            is_refused = False
        if is_refused:
            refuse_second_core(str(db.url.database))
        yield lease
    finally:
        lease.give_up()
        db.close()
