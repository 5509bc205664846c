"""One core on a database: a lock file beside a SQLite file, a turn on PostgreSQL."""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import IO, Final, NoReturn

from monitor.errors import ConfigError, StoreBusyError
from monitor.settings.service import ServiceConfig
from monitor.storage.core_turn import CoreLease
from monitor.storage.engine import Database, open_lock

log = logging.getLogger(__name__)
PREDECESSOR_S: Final = 10.0  # longer than that: one that waits for a database has ended by itself


@contextlib.contextmanager
def hold_alone(config: ServiceConfig, session: str = "slopeward") -> Iterator[CoreLease | None]:
    """Make sure that one core runs on a database; two would fight for the broker's session.

    Args:
        session: what PostgreSQL calls the sessions of this core.

    Yields:
        The turn on PostgreSQL, which must be kept; it is not taken yet where the database does not answer, or where
        this service stands by. None on SQLite, where the lock ends with this process and not before.

    Raises:
        ConfigError: another one runs.
    """
    db = Database(config.database.url, session)
    if not db.is_sqlite:
        with _hold_core_turn(db, config) as turn:
            yield turn
        return
    database = db.url.database
    db.close()
    if not database or database == ":memory:":
        yield None
        return
    with open_lock(database) as file:
        if not _wait_for(lambda: _take_lock(file)):
            file.seek(0)
            refuse_second(database, f" (pid {file.read().strip()})")
        with contextlib.suppress(OSError):  # a full disk does not keep a service from starting
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield None


def refuse_second(database: str, who: str = "") -> NoReturn:
    """Raise what a second core says before it ends."""
    raise ConfigError(f"{database}: another service runs on this database{who}")


def _take_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for(condition: Callable[[], bool]) -> bool:
    """True as soon as it is; a predecessor that is just ending gets a little time."""
    deadline = time.monotonic() + PREDECESSOR_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextlib.contextmanager
def _hold_core_turn(db: Database, config: ServiceConfig) -> Iterator[CoreLease]:
    """The same on PostgreSQL: a lock of the session, which ends with this process however it ends."""
    turn = CoreLease(db, config.service_name)
    try:
        try:
            is_refused = not config.standby.enabled and not _wait_for(turn.take)
        except StoreBusyError as error:
            log.warning("the database does not answer yet, nothing is written before we know to be alone: %s", error)
            is_refused = False
        if is_refused:
            refuse_second(str(db.url.database))
        yield turn
    finally:
        turn.give_up()
        db.close()
