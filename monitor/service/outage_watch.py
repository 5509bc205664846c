"""Notes each time in which readings did not come in, until what had waited was read."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.store.database.engine import Database
from monitor.store.readings.gaps import Outage, add_outage
from monitor.store.service_state import find_stamp, stamp

GOOD: Final = "ingest.good"  # stamp: the last instant at which all was read
STAMP_S: Final = 15.0
SHORTEST_S: Final = 30.0  # a shorter one is the time of a restart
SERVICE, BROKER, DATABASE = "service", "broker", "database"


class OutageWatch:
    """Follows `Ingest.status`; one thread calls `follow`."""

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock
        self._good_at: datetime | None = None
        self._stamped_at: datetime | None = None
        self._back_at: datetime | None = None
        self._has_looked = False  # since all was read
        self._cause = SERVICE  # or a machine that was asleep
        self._has_begun = False

    def follow(self, status: Mapping[str, Any]) -> None:
        """Look once.

        Raises:
            StoreBusyError: the database is away for the moment; the same is written at the next look.
        """
        now = self._clock()
        if not self._has_begun:
            known = self._db.run_read(find_stamp, GOOD)
            self._good_at, self._has_begun = None if known is None else known[0], True
        is_long = self._good_at is not None and (now - self._good_at).total_seconds() >= SHORTEST_S
        if is_long and not self._has_looked:
            self._back_at = None  # the machine was asleep
        self._has_looked = True
        live = [there for name, there in status["connected"].items() if name.startswith("live")]
        is_here = all(live) and status["database_busy_since"] is None
        if not is_here:
            self._back_at = None
            if self._stamped_at is not None:  # it ran, and all was read, before this
                self._cause = DATABASE if status["database_busy_since"] is not None else BROKER
        elif self._back_at is None:
            self._back_at = now
        if not (is_here and status["drained"]):
            return
        ended = self._find_ended(now) if is_long else None
        if ended or self._stamped_at is None or (now - self._stamped_at).total_seconds() >= STAMP_S:
            with self._db.write() as c:
                if ended:
                    add_outage(c, ended)
                stamp(c, GOOD, {}, now)
            self._stamped_at = now
        self._good_at, self._cause, self._has_looked = now, SERVICE, False

    def _find_ended(self, now: datetime) -> Outage | None:
        """The outage that is over now; None where all was there throughout, and there only was much to read."""
        back_at = self._back_at or now
        if self._good_at is None or back_at <= self._good_at:
            return None
        return Outage(self._cause, self._good_at, back_at, now)
