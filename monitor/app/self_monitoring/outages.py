"""Store outages: times in which readings could not be received or stored. The view `outages` lists them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.ingest.queries.gaps import Outage, add_outage
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat

# Name of the heartbeat whose time is the last one at which all received readings were stored.
INPUT_HEARTBEAT: Final = "ingest.good"
WRITE_HEARTBEAT_EVERY_S: Final = 15.0
# A shorter time without readings counts as a restart, not as an outage.
SHORTEST_OUTAGE_S: Final = 30.0
# Causes of an outage.
SERVICE: Final = "service"
BROKER: Final = "broker"
DATABASE: Final = "database"


class OutageWatch:
    """Detect outages from `Ingest.status`, and store each one when it is over. Call `update` from one thread.

    An outage starts at the last time at which all received readings were stored. It ends when the broker and the
    database are available again. It is stored later, when the readings that the broker kept meanwhile are stored too.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._has_started = False
        self._complete_at: datetime | None = None  # last time at which all received readings were stored
        self._heartbeat_at: datetime | None = None
        self._back_at: datetime | None = None  # time since which broker and database are available
        # Whether the next call of `update` is the first one after `_complete_at` was set.
        self._is_first_call_since_complete = True
        # Whether the service did not run, or the machine was suspended, since `_complete_at`. This is then the cause,
        # even if the connection to the broker or the database is still down at the first call.
        self._was_stopped = True
        self._cause = SERVICE

    def update(self, status: Mapping[str, Any]) -> None:
        """Process the present status, and store an outage that is over.

        Args:
            status: Result of `Ingest.status`.

        Raises:
            StoreBusyError: The database is busy. The next call stores the outage.
        """
        now = self._clock()
        if not self._has_started:
            heartbeat = self._db.run_read(find_heartbeat, INPUT_HEARTBEAT)
            self._complete_at = None if heartbeat is None else heartbeat[0]
            self._has_started = True
        is_overdue = self._complete_at is not None and (now - self._complete_at).total_seconds() >= SHORTEST_OUTAGE_S
        if is_overdue and self._is_first_call_since_complete:
            # In the last call all readings were stored, and this method was not called since: the machine was
            # suspended.
            self._back_at = None
            self._was_stopped = True
        self._is_first_call_since_complete = False
        is_available = self._update_availability(status, now)
        if not (is_available and status["drained"]):
            return
        outage = self._make_outage(now)
        is_heartbeat_due = (
            self._heartbeat_at is None or (now - self._heartbeat_at).total_seconds() >= WRITE_HEARTBEAT_EVERY_S
        )
        if outage or is_heartbeat_due:
            with self._db.write() as c:
                if outage:
                    add_outage(c, outage)
                write_heartbeat(c, INPUT_HEARTBEAT, {}, now)
            self._heartbeat_at = now
        self._complete_at = now
        self._cause = SERVICE
        self._was_stopped = False
        self._is_first_call_since_complete = True

    def _update_availability(self, status: Mapping[str, Any], now: datetime) -> bool:
        """Update the time since which broker and database are available, and the cause; return whether they are."""
        is_database_busy = status["database_busy_since"] is not None
        sessions = [is_up for name, is_up in status["connected"].items() if name.startswith("live")]
        is_available = all(sessions) and not is_database_busy
        if is_available:
            self._back_at = self._back_at or now
        else:
            self._back_at = None
            if not self._was_stopped:
                self._cause = DATABASE if is_database_busy else BROKER
        return is_available

    def _make_outage(self, now: datetime) -> Outage | None:
        """Return the outage that is over.

        None if broker and database were available again within `SHORTEST_OUTAGE_S`, or all the time. The time that it
        takes to store the readings that the broker kept does not count.
        """
        back_at = self._back_at or now
        if self._complete_at is None or (back_at - self._complete_at).total_seconds() < SHORTEST_OUTAGE_S:
            return None
        return Outage(self._cause, self._complete_at, back_at, now)
