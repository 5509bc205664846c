"""Alarms of the service about itself: what the table of checks finds, kept until the database has it."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alerts, unshelve_due
from monitor.app.checks.live import STATUS_SITE
from monitor.canonical import code_version
from monitor.decision.changes import RESOLVED, AlertChange, health_alarm
from monitor.errors import StoreBusyError
from monitor.sites.records import Site, gather_recipients
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.check import Check, CheckFinding
from monitor.storage.engine import Database
from monitor.text.message import Template, join

FOUND_BEFORE: Final = Template("service.found_before", "what was found before the service was started")()


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
                    STATUS_SITE,
                    None,
                    gather_recipients(self._sites.values()),
                    SERVICE_ACTOR,
                    self._clock(),
                    code_version(),
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
            events = unshelve_due(c, STATUS_SITE, SERVICE_ACTOR, self._clock())
        if events:
            self._on_written()


class AlarmConditions:
    """Follows findings and puts an alarm where one begins or ends; what a process before us left open is ended.

    What is found is an alarm when it is so for `Check.after_s`, until it was not for `hold_s`. All that is found under
    one key is one alarm.
    """

    def __init__(self, alarms: ServiceAlarms) -> None:
        self._alarms = alarms
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._reported: dict[str, str] = {}  # key -> what is wrong; "" = it is over
        self._counts: dict[str, int] = {}
        self._wrong: dict[str, CurrentFaults] = {}
        self._left: set[str] = set()  # keys of alarms of a process before us, until their check is looked at

    def recall(self, left_open: Iterable[str]) -> None:
        """Take over the alarms that a process before us left open, by their keys."""
        self._left |= {*left_open}

    def follow(self, findings: Iterable[CheckFinding], monotonic_s: float) -> None:
        """Compare with what was told; of a check that found others, a subject that is gone is over."""
        found: dict[str, list[CheckFinding]] = {}
        for one in findings:
            if one.check.alarm or one.check.degrades:
                found.setdefault(one.key, []).append(one)
        looked = {ones[0].check.id: ones[0].check for ones in found.values()}
        gone = {key: one.check for key, one in self._wrong.items() if one.check.id in looked}
        gone |= {key: one for one in looked.values() for key in self._left if one.is_key(key)}
        self._left -= gone.keys()
        for key, ones in found.items():
            self._follow(key, ones[0].check, [one for one in ones if one.counts], monotonic_s)
        for key in gone.keys() - found.keys():
            self._follow(key, gone[key], [], monotonic_s)

    def _follow(self, key: str, check: Check, wrong: list[CheckFinding], monotonic_s: float) -> None:
        if wrong:
            texts = [*dict.fromkeys(one.text for one in wrong)]
            reason = wrong[0]._replace(text=join(texts) if len(texts) > 1 else texts[0]).reason
            self._wrong[key] = CurrentFaults(check, reason, wrong[0].level)
            self._last[key] = monotonic_s
            since = self._since.setdefault(key, monotonic_s)
            if check.alarm and monotonic_s - since >= check.after_s and not self._reported.get(key):
                self._reported[key] = reason
                self._alarms.open(key, reason, check.alarm)
            return
        self._since.pop(key, None)
        if monotonic_s - self._last.get(key, float("-inf")) < check.hold_s:
            return
        self._wrong.pop(key, None)
        if check.alarm and self._reported.get(key) != "":
            # what was wrong, as it was told: by now the figures of the reason are those of nothing
            reported, self._reported[key] = self._reported.get(key), ""
            self._alarms.clear(key, RESOLVED(text=reported or FOUND_BEFORE))

    def degraded(self) -> dict[str, str]:
        """What is wrong now of what `status` says, one line each with its level."""
        return {one.reason: one.level for one in self._wrong.values() if one.check.degrades}

    def grew(self, key: str, count: int) -> bool:
        """Whether a count grew since the last look."""
        before = self._counts.get(key, 0)
        self._counts[key] = count
        return count > before


class CurrentFaults(NamedTuple):
    """What is wrong now."""

    check: Check
    reason: str
    level: str
