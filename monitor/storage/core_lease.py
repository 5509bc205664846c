"""The lease that lets only one core write to a PostgreSQL database."""

import contextlib
import logging
import time
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from monitor.errors import StoreBusyError
from monitor.storage.engine import Database, translate_database_errors
from monitor.storage.locks import LEASE_TABLE, create_core_locks, lock_core

log = logging.getLogger(__name__)
# A core that could not renew its lease for this long sends nothing to people and brokers.
TRUST_S: Final = 6.0
_TAKE: Final = text(
    f"UPDATE {LEASE_TABLE} SET fence = fence + 1, holder = :holder, session = :session, taken_at = clock_timestamp(),"  # noqa: S608
    " renewed_at = clock_timestamp() RETURNING fence, taken_at"
)
_FIRST: Final = text(
    f"INSERT INTO {LEASE_TABLE} VALUES (1, :holder, :session, clock_timestamp(), clock_timestamp())"  # noqa: S608
    " RETURNING fence, taken_at"
)
_RENEW: Final = text(f"UPDATE {LEASE_TABLE} SET renewed_at = clock_timestamp() WHERE fence = :fence")  # noqa: S608
_HOLD: Final = text(f"SELECT 1 FROM {LEASE_TABLE} WHERE fence = :fence FOR KEY SHARE")  # noqa: S608


def _read_boot_clock_s() -> float:
    """Return seconds of a clock that, like the lease, also advances while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class CoreLease:
    """The right of one core to write to a PostgreSQL database.

    The right is a lock and a fencing number. The lock ends with the session that holds it, for example when this
    process ends or the server restarts. A core that takes the lock therefore also increases the number in the only row
    of the lease table, and each of its transactions first checks that its number is still the current one (`guard`).
    So only one core writes, whatever ended the session and however long this process was suspended.

    The lease is renewed every second (`renew`). A lease that was not renewed for long shows that the process hangs or
    that its network is cut, which the server alone would not notice for hours.

    Args:
        db: the database.
        holder: the name of this service, shown to people.

    Attributes:
        fence: the number of this core. 0 before `take`.
        renewed_s: when the lease was renewed last, in seconds of `_read_boot_clock_s`.
        is_lost: whether another core has taken the lease since.
    """

    def __init__(self, db: Database, holder: str = "") -> None:
        self.db = db
        self.engine = db.engine
        self.holder = holder
        self.renewed_s = float("-inf")
        self.fence = 0
        self.taken_at: datetime | None = None
        self.is_lost = False
        self._session: Connection | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this core held the lock when it was last checked."""
        return self._session is not None

    def can_send(self) -> bool:
        """Return whether this core may send, because no other core can have taken the lease. Makes no query."""
        return not self.is_lost and _read_boot_clock_s() - self.renewed_s < TRUST_S

    def take(self) -> bool:
        """Take the lock and increase the fencing number.

        Returns:
            False if another core has the lock.

        Raises:
            StoreBusyError: the database is not available now.
        """
        if self._session is not None:
            return True
        with translate_database_errors():
            create_core_locks(self.engine)
            session = lock_core(self.engine)
            if session is None:
                return False
            started_s = _read_boot_clock_s()
            values = {"holder": self.holder, "session": self.db.session}
            try:
                # The update waits for transactions of the previous core, which hold the row by `guard`.
                with self.engine.begin() as c:
                    row = c.execute(_TAKE, values).first() or c.execute(_FIRST, values).one()
            except BaseException:
                session.close()
                raise
        self._session = session
        self.fence = row.fence
        self.taken_at = row.taken_at
        self.renewed_s = started_s
        return True

    def renew(self) -> None:
        """Check the lock, take it again if its session ended, and renew the lease. Set `is_lost` if it is lost.

        Raises:
            StoreBusyError: the database is not available now, so that the state of the lease is unknown.
        """
        if self.is_lost or not self.fence:
            return
        started_s = _read_boot_clock_s()
        needs_lock = not self._is_locked()
        with translate_database_errors():
            if needs_lock:
                self._session = lock_core(self.engine)
            # Another core may have taken and released the lock meanwhile, and written rows that this core does not
            # have in memory. Then the fencing number has changed, and the renewal fails.
            if self._session is None or not self._store_renewal():
                self.is_lost = True
                self._release()
                return
        self.renewed_s = started_s
        if needs_lock:
            log.warning("the lock of the core was taken again")

    def _is_locked(self) -> bool:
        if self._session is None:
            return False
        try:
            self._session.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            log.warning("the session with the lock of the core ended: %s", error.orig)
            self._release()
            return False
        return True

    def _store_renewal(self) -> bool:
        with self.engine.begin() as c:
            # A crash of the server may lose a renewal, which the next one replaces.
            c.exec_driver_sql("SET LOCAL synchronous_commit = off")
            return c.execute(_RENEW, {"fence": self.fence}).rowcount == 1

    def guard(self, c: Connection) -> None:
        """Check the fencing number and prevent another core from changing it until the end of this transaction.

        Raises:
            StoreBusyError: another core has taken the lease, or this core never had it.
        """
        if not self.fence or c.execute(_HOLD, {"fence": self.fence}).first() is None:
            self.is_lost = self.is_lost or bool(self.fence)
            raise StoreBusyError("another core has taken this database over; this one writes nothing")

    def give_up(self) -> None:
        """Renew the lease once more, so that the database contains when this core gave it up, and release the lock."""
        if self._session is not None:
            with contextlib.suppress(DBAPIError):
                self._store_renewal()
        self._release()

    def _release(self) -> None:
        session = self._session
        self._session = None
        if session is not None:
            # Closing fails if the session has ended. Then it holds no lock any more.
            with contextlib.suppress(DBAPIError):
                session.close()
