"""The turn of the one core of a PostgreSQL database: taken, renewed, found lost."""

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
TRUST_S: Final = 6.0  # a core that could not renew its lease for so long tells nobody anything
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


def _boot_s() -> float:
    """Seconds that also pass while the machine is suspended, as those of the lease do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class CoreLease:
    """The turn of the one core of a PostgreSQL database.

    It is a lock, which ends with the session that holds it: with this process, and with a restart of the server. So the
    core that takes it also raises the number in the one row of the lease, and each of its transactions asks for its own
    number first (`guard`): whatever ends the session, and however long this process slept, one core alone writes.

    The lease is renewed every second (`keep`). Where it was not for long, the process hangs or the network to it is
    cut: the server would not notice by itself for hours.

    Args:
        holder: how people call this service.
    """

    def __init__(self, db: Database, holder: str = "") -> None:
        self.db, self.engine, self.holder = db, db.engine, holder
        self._held: Connection | None = None
        self.renewed_s = float("-inf")
        self.fence = 0  # never ours
        self.taken_at: datetime | None = None
        self.is_lost = False  # another core has had it since

    @property
    def is_ours(self) -> bool:
        """Whether we hold it, as far as was seen."""
        return self._held is not None

    def holds(self) -> bool:
        """Whether nobody can have taken it over yet, known without asking the database: what goes out now is ours."""
        return not self.is_lost and _boot_s() - self.renewed_s < TRUST_S

    def take(self) -> bool:
        """Take it and raise its number; False where another core has it.

        Raises:
            StoreBusyError: the database is away for the moment.
        """
        if self._held is not None:
            return True
        with translate_database_errors():
            create_core_locks(self.engine)
            held = lock_core(self.engine)
            if held is None:
                return False
            began_s, given = _boot_s(), {"holder": self.holder, "session": self.db.session}
            try:
                with self.engine.begin() as c:  # waits for what a core before us is writing
                    row = c.execute(_TAKE, given).first() or c.execute(_FIRST, given).one()
            except BaseException:
                held.close()
                raise
        self._held, self.fence, self.taken_at, self.renewed_s = held, row.fence, row.taken_at, began_s
        return True

    def keep(self) -> None:
        """See whether the lock is still held, take it again where its session ended, and renew the lease.

        Notes where it is lost.

        Raises:
            StoreBusyError: the database is away for the moment; nobody can say.
        """
        if self.is_lost or not self.fence:
            return
        began_s = _boot_s()
        is_anew = not self._is_held()
        with translate_database_errors():
            if is_anew:
                self._held = lock_core(self.engine)
            # one that came and went meanwhile has written what we do not know in memory
            if self._held is None or not self._renew():
                self.is_lost = True
                self._let_go()
                return
        self.renewed_s = began_s
        if is_anew:
            log.warning("the turn of the core is taken anew")

    def _is_held(self) -> bool:
        if self._held is None:
            return False
        try:
            self._held.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            log.warning("the session that holds the turn of the core ended: %s", error.orig)
            self._let_go()
            return False
        return True

    def _renew(self) -> bool:
        with self.engine.begin() as c:
            c.exec_driver_sql("SET LOCAL synchronous_commit = off")  # what a crash loses of it says the same
            return c.execute(_RENEW, {"fence": self.fence}).rowcount == 1

    def guard(self, c: Connection) -> None:
        """Hold our number to the end of this transaction.

        Raises:
            StoreBusyError: another core has taken over, or we never had the turn.
        """
        if not self.fence or c.execute(_HOLD, {"fence": self.fence}).first() is None:
            self.is_lost = self.is_lost or bool(self.fence)
            raise StoreBusyError("another core has taken this database over; this one writes nothing")

    def give_up(self) -> None:
        """Let it go; nothing where it is not held. The lease says until when it was."""
        if self._held is not None:
            with contextlib.suppress(DBAPIError):
                self._renew()
        self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(DBAPIError):  # a session that is gone holds nothing
                held.close()
