"""Alarms of the service about itself: kept until the database has them, whatever happens on the way there."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from monitor.checks.live import STATUS_SITE
from monitor.domain.alert import SERVICE, AlertChange, health_alarm
from monitor.domain.canonical import code_version
from monitor.domain.errors import StoreBusyError
from monitor.domain.site import Site, gather_recipients
from monitor.store.alerting.alerts import ChangeContext, apply_changes, load_alerts, unshelve_due
from monitor.store.database.engine import Database

log = logging.getLogger(__name__)


def make_alarm(key: str, level: int, reason: str, *, is_open: bool) -> AlertChange:
    """A change of an alarm of the service; its reason is its evidence."""
    return health_alarm(f"health:{key}", level, reason, is_open=is_open)


class ServiceAlarms:
    """Alarms on the site id `status`, told to everybody that any site names.

    `write` returns when the alarm is committed. `put` returns at once; what was put is written by `write_pending`, in
    order, and is kept until it is written.

    Args:
        sites: by id; their recipients are told.
        on_written: called after a commit; must be quick.
    """

    def __init__(
        self, db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime], on_written: Callable[[], None]
    ) -> None:
        self._db, self._sites, self._clock, self._on_written = db, sites, clock, on_written
        self._pending: list[AlertChange] = []
        self._lock = threading.Lock()

    def put(self, change: AlertChange) -> None:
        """Keep a change until `write_pending` has written it."""
        with self._lock:
            self._pending.append(change)

    def pending(self) -> list[AlertChange]:
        """What was put and is not written yet, oldest first."""
        with self._lock:
            return list(self._pending)

    def list_open(self) -> list[str]:
        """Keys of the alarms that stand, as `open` and `clear` take them."""
        with self._db.read() as c:
            return [one.key.removeprefix("health:") for one in load_alerts(c, STATUS_SITE, open_only=True)]

    def open(self, key: str, reason: str, level: int) -> None:
        """Put an alarm: 1 notice, 2 urgent."""
        self.put(make_alarm(key, level, reason, is_open=True))

    def clear(self, key: str, reason: str) -> None:
        """Put that a condition is gone; nothing comes of it where no alarm stood."""
        self.put(make_alarm(key, 0, reason, is_open=False))

    def write(self, change: AlertChange) -> None:
        """Write one change now; when this returns it is committed.

        Raises:
            StoreBusyError: nothing was written, call again.
        """
        self._write([change])

    def write_pending(self) -> None:
        """Write what was put. One that the database refuses keeps its place, and the other keys go on.

        Raises:
            StoreBusyError: the database is away for the moment; everything is kept.
        """
        waiting = self.pending()
        if not waiting:
            return
        try:
            self._write(waiting)
            self._forget(waiting)
        except StoreBusyError:
            raise
        except Exception:
            log.exception("%d alarms of the service were refused; writing one by one", len(waiting))
            self._write_apart(waiting)

    def _write_apart(self, waiting: list[AlertChange]) -> None:
        stuck: set[str] = set()
        for change in waiting:
            if change.key in stuck:
                continue  # the end of an alarm must not overtake its beginning
            try:
                self._write([change])
                self._forget([change])
            except StoreBusyError:
                raise
            except Exception:
                stuck.add(change.key)
                log.exception("alarm %s (%s) cannot be written yet and is kept", change.key, change.reason)

    def _write(self, changes: list[AlertChange]) -> None:
        with self._db.write() as c:
            apply_changes(
                c,
                changes,
                ChangeContext(
                    STATUS_SITE, None, gather_recipients(self._sites.values()), SERVICE, self._clock(), code_version()
                ),
            )
        self._on_written()

    def _forget(self, written: list[AlertChange]) -> None:
        gone = {id(change) for change in written}
        with self._lock:
            self._pending = [change for change in self._pending if id(change) not in gone]

    def unshelve(self) -> None:
        """Bring back alarms of the service whose time on the shelf is over; no evaluation does it for them."""
        with self._db.write() as c:
            events = unshelve_due(c, STATUS_SITE, SERVICE, self._clock())
        if events:
            self._on_written()
