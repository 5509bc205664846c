"""The turn of the one core of a PostgreSQL database: taken, kept over a restart of the server, and found lost."""

import contextlib
import logging
import uuid
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from monitor.errors import StoreBusyError
from monitor.store.database.engine import Database, translated
from monitor.store.database.locks import ROWS, lock_core, make_turns

log = logging.getLogger(__name__)
_MARK: Final = "core:"  # before the mark of the core that took the turn last, one of the rows
_FIND_MARK: Final = text(f"SELECT 1 FROM {ROWS} WHERE name = :name")  # noqa: S608 - our name
_HOLD_MARK: Final = text(f"SELECT 1 FROM {ROWS} WHERE name = :name FOR KEY SHARE")  # noqa: S608 - our name


class CoreTurn:
    """The turn of the one core of a PostgreSQL database.

    It is a lock, which ends with the session that holds it: with this process, and with a restart of the server. So the
    core that took it last also leaves its mark in a row, and each of its transactions asks for that row first
    (`guard`): between a restart and the next look at the lock, and whatever ends the session, one core alone writes.

    Args:
        db: its engine gives the session that holds the lock.
    """

    def __init__(self, db: Database) -> None:
        self._engine = db.engine
        self._mark = f"{_MARK}{uuid.uuid4().hex}"
        self._held: Connection | None = None
        self._was_ours = False
        self.is_lost = False  # another core has had it since

    @property
    def is_ours(self) -> bool:
        """Whether we hold it, as far as was seen."""
        return self._held is not None

    def take(self) -> bool:
        """Take it and leave our mark; False where another core has it.

        Raises:
            StoreBusyError: the database is away for the moment.
        """
        if self._held is not None:
            return True
        with translated():
            make_turns(self._engine)
            held = lock_core(self._engine)
            if held is None:
                return False
            try:
                with self._engine.begin() as c:  # waits for what a core before us is writing
                    c.execute(text(f"DELETE FROM {ROWS} WHERE name LIKE '{_MARK}%'"))  # noqa: S608 - our names
                    c.execute(text(f"INSERT INTO {ROWS} VALUES (:name)"), {"name": self._mark})  # noqa: S608 - our name
            except BaseException:
                held.close()
                raise
        self._held, self._was_ours = held, True
        return True

    def keep(self) -> None:
        """See whether the lock is still held, and take it again where its session ended; notes where it is lost.

        Raises:
            StoreBusyError: the database is away for the moment; nobody can say.
        """
        if self.is_lost:
            return
        if self._held is not None:
            try:
                self._held.exec_driver_sql("SELECT 1")
            except DBAPIError as error:
                log.warning("the session that holds the turn of the core ended: %s", error.orig)
                self.give_up()
            else:
                return
        with translated():
            self._held = lock_core(self._engine)
            if self._held is None:
                self.is_lost = True
                return
            with self._engine.connect() as c:
                # one that came and went meanwhile has written what we do not know in memory
                is_ours = c.execute(_FIND_MARK, {"name": self._mark}).first() is not None
        if is_ours:
            log.warning("the turn of the core is taken anew")
        else:
            self.give_up()
            self.is_lost = True

    def guard(self, c: Connection) -> None:
        """Hold our mark to the end of this transaction.

        Raises:
            StoreBusyError: another core has taken over, or we never had the turn.
        """
        if c.execute(_HOLD_MARK, {"name": self._mark}).first() is None:
            self.is_lost = self.is_lost or self._was_ours
            raise StoreBusyError("another core has taken this database over; this one writes nothing")

    def give_up(self) -> None:
        """Let it go; nothing where it is not held."""
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(DBAPIError):  # a session that is gone holds nothing
                held.close()
