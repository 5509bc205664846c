"""Record times in which no readings were received, for the view `outages`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.ingest.queries.gaps import Outage, add_outage
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat

# Name of the heartbeat that contains the last time at which all readings were stored.
INPUT_HEARTBEAT: Final = "ingest.good"
WRITE_HEARTBEAT_EVERY_S: Final = 15.0
# A shorter time without readings counts as a restart, not as an outage.
SHORTEST_OUTAGE_S: Final = 30.0
SERVICE: Final = "service"
BROKER: Final = "broker"
DATABASE: Final = "database"


class OutageWatch:
    """Follow `Ingest.status` and store each outage after it is over. Call `update` from one thread.

    An outage lasts from the last time at which everything was stored until the broker and the database are back. It is
    drained when the readings that waited at the broker have been stored.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._has_started = False
        self._complete_at: datetime | None = None  # the last time at which all received readings were stored
        self._heartbeat_at: datetime | None = None
        self._back_at: datetime | None = None  # since when broker and database are available
        # Whether the next call of `update` is the first one after `_complete_at` was set.
        self._is_first_call_since_complete = True
        # An outage without another known cause means that the service did not run, or the machine was suspended.
        self._cause = SERVICE

    def update(self, status: Mapping[str, Any]) -> None:
        """Compare the current status with the previous one.

        Raises:
            StoreBusyError: The database is busy; the next call writes the same.
        """
        now = self._clock()
        if not self._has_started:
            heartbeat = self._db.run_read(find_heartbeat, INPUT_HEARTBEAT)
            self._complete_at = None if heartbeat is None else heartbeat[0]
            self._has_started = True
        is_long = self._complete_at is not None and (now - self._complete_at).total_seconds() >= SHORTEST_OUTAGE_S
        if is_long and self._is_first_call_since_complete:
            # This method was not called for long, so the machine was suspended.
            self._back_at = None
        self._is_first_call_since_complete = False
        is_available = self._note_availability(status, now)
        if not (is_available and status["drained"]):
            return
        outage = self._find_outage(now) if is_long else None
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
        self._is_first_call_since_complete = True

    def _note_availability(self, status: Mapping[str, Any], now: datetime) -> bool:
        """Return whether broker and database are available."""
        is_database_busy = status["database_busy_since"] is not None
        sessions = [is_up for name, is_up in status["connected"].items() if name.startswith("live")]
        is_available = all(sessions) and not is_database_busy
        if is_available:
            self._back_at = self._back_at or now
        else:
            self._back_at = None
            # Before the first heartbeat of this process the service itself was the cause.
            if self._heartbeat_at is not None:
                self._cause = DATABASE if is_database_busy else BROKER
        return is_available

    def _find_outage(self, now: datetime) -> Outage | None:
        """Return the outage that is over; None if everything was available and there were only many readings."""
        back_at = self._back_at or now
        if self._complete_at is None or back_at <= self._complete_at:
            return None
        return Outage(self._cause, self._complete_at, back_at, now)
