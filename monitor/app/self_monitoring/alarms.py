"""Alarms of the service about itself, kept in memory until the database has stored them."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alerts, unshelve_due
from monitor.canonical import code_version
from monitor.decision.changes import AlertChange, health_alarm
from monitor.errors import StoreBusyError
from monitor.sites.records import Site, gather_recipients
from monitor.storage.actor import SERVICE_ACTOR, SERVICE_SITE
from monitor.storage.engine import Database

log = logging.getLogger(__name__)
KEY_PREFIX = "health:"


def make_alarm(key: str, level: int, reason: str, *, is_open: bool) -> AlertChange:
    """Return a change of an alarm of the service; its evidence is its reason.

    Args:
        key: Without the prefix `health:`.
        level: 1 for a notice, 2 for an urgent message.
    """
    return health_alarm(f"{KEY_PREFIX}{key}", level, reason, is_open=is_open)


def remove_needless_ends(changes: Iterable[AlertChange], open_keys: Iterable[str]) -> list[AlertChange]:
    """Return the changes without the ends of alarms that are not open.

    After its start, a process reports the end of every alarm whose condition does not hold. Nearly all of these alarms
    are not open, and a query for each of them would delay the start.
    """
    open_now = set(open_keys)
    remaining = []
    for change in changes:
        if change.open:
            open_now.add(change.key)
        elif change.key not in open_now:
            continue
        remaining.append(change)
    return remaining


class AlarmQueue:
    """Changes of alarms that are not stored yet. Thread-safe."""

    def __init__(self) -> None:
        self._pending: list[AlertChange] = []
        self._lock = threading.Lock()

    def put(self, change: AlertChange) -> None:
        """Add a change."""
        with self._lock:
            self._pending.append(change)

    def open(self, key: str, reason: str, level: int) -> None:
        """Add the beginning of an alarm: level 1 for a notice, 2 for an urgent message."""
        self.put(make_alarm(key, level, reason, is_open=True))

    def clear(self, key: str, reason: str) -> None:
        """Add the end of an alarm. It has no effect if there is no open alarm with this key."""
        self.put(make_alarm(key, 0, reason, is_open=False))

    def pending(self) -> list[AlertChange]:
        """Return the changes that are not stored yet, oldest first."""
        with self._lock:
            return list(self._pending)

    def forget(self, stored: list[AlertChange]) -> None:
        """Remove changes that are stored."""
        ids = {id(change) for change in stored}
        with self._lock:
            self._pending = [change for change in self._pending if id(change) not in ids]

    def store_pending(self, store: Callable[[list[AlertChange]], None]) -> bool:
        """Store all pending changes. A change that the database rejects stays pending, without delaying other keys.

        Args:
            store: Stores changes in one transaction.

        Returns:
            Whether the database rejected no change.

        Raises:
            StoreBusyError: The database is busy or unreachable. All changes stay pending.
        """
        changes = self.pending()
        if not changes:
            return True
        try:
            store(changes)
            self.forget(changes)
        except StoreBusyError:
            raise
        except Exception:
            log.exception("%d alarms of the service were rejected together and are stored one by one", len(changes))
            return self._store_one_by_one(changes, store)
        return True

    def _store_one_by_one(self, changes: list[AlertChange], store: Callable[[list[AlertChange]], None]) -> bool:
        rejected_keys: set[str] = set()
        for change in changes:
            # The end of an alarm must not be stored before its beginning.
            if change.key in rejected_keys:
                continue
            try:
                store([change])
                self.forget([change])
            except StoreBusyError:
                raise
            except Exception:
                rejected_keys.add(change.key)
                log.exception("alarm %s (%s) cannot be stored and stays pending", change.key, change.reason)
        return not rejected_keys


class ServiceAlarms(AlarmQueue):
    """Alarms of the site id `status`, for the recipients of all sites.

    `write` returns after the commit. The methods of `AlarmQueue` return at once, and `write_pending` stores what they
    added, in order.

    Args:
        sites: The sites by id.
        on_written: Called after a commit; must return at once.
    """

    def __init__(
        self, db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime], on_written: Callable[[], None]
    ) -> None:
        super().__init__()
        self._db = db
        self._sites = sites
        self._clock = clock
        self._on_written = on_written

    def list_open(self) -> list[str]:
        """Return the keys of open alarms, without the prefix `health:`."""
        with self._db.read() as c:
            return [alert.key.removeprefix(KEY_PREFIX) for alert in load_alerts(c, SERVICE_SITE, open_only=True)]

    def write(self, change: AlertChange) -> None:
        """Store one change now.

        Raises:
            StoreBusyError: Nothing was stored; call again.
        """
        self._write([change])

    def write_pending(self) -> None:
        """Store all pending changes; see `store_pending`.

        Raises:
            StoreBusyError: The database is busy or unreachable. All changes stay pending.
        """
        self.store_pending(self._write)

    def _write(self, changes: list[AlertChange]) -> None:
        recipients = gather_recipients(self._sites.values())
        context = ChangeContext(SERVICE_SITE, None, recipients, SERVICE_ACTOR, self._clock(), code_version())
        with self._db.write() as c:
            open_keys = {alert.key for alert in load_alerts(c, SERVICE_SITE, open_only=True)}
            apply_changes(c, remove_needless_ends(changes, open_keys), context)
        self._on_written()

    def unshelve(self) -> None:
        """End the shelving of alarms of the service whose time is over. Evaluations do this for other alarms."""
        with self._db.write() as c:
            events = unshelve_due(c, SERVICE_SITE, SERVICE_ACTOR, self._clock())
        if events:
            self._on_written()
