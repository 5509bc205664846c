"""Threads of their own for each channel, so that a channel that hangs delays nobody but itself."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.alert import Notification
from monitor.domain.duty.channels import split_channel, traits_of
from monitor.domain.duty.quiet import Quiet
from monitor.domain.site import Recipient, find_sounding
from monitor.errors import ConfigError, DeliveryError, SlopewardError, StoreBusyError
from monitor.language.catalogue import ENGLISH
from monitor.logs import redact
from monitor.notify.circuit import LONGEST_S, Circuit, backoff_s
from monitor.notify.message import deliver_in
from monitor.notify.notifier import Notifier, open_notifier, read_number
from monitor.notify.path import run_stages
from monitor.notify.verdict import Limits, View
from monitor.store.alerting.outbox import (
    CLOCK_MARGIN,
    LONGEST_LEASE,
    LONGEST_WAIT,
    Waiting,
    claim_due,
    count_sent_between,
    find_failing,
    load_waiting,
    mark_delivered,
    mark_failed,
    release_backoff,
    release_foreign,
)
from monitor.store.database.engine import Database
from monitor.store.delivery.replies import GOOD_FOR_S, make_code

_LOG = logging.getLogger(__name__)
LEASE_S: Final = 35.0
WHOLE_S: Final = 60.0  # what the other side has whole goes out again no sooner: it may only be slow
GIVE_UP_AFTER: Final = timedelta(hours=48)  # of a message that is not urgent
IDLE_S: Final = 30.0
CONFIG_AGAIN_S: Final = 60.0
URGENT_HELD_S: Final = 60.0  # a channel may ask to be left alone for longer; an urgent message waits no longer
URGENT_AGAIN_S: Final = 6.0  # a channel that is back is found within ten seconds while an urgent message waits


class ChannelWorker:
    """Claims, sends and settles the messages of one channel until stopped."""

    def __init__(
        self,
        db: Database,
        channel: str,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        environ: Mapping[str, str],
        limits: Limits,
        lease_s: float = LEASE_S,
        find_language: Callable[[str, str], str] = lambda _site, _recipient: ENGLISH,
        page_url: str = "",
        write_document: Callable[[Notification], str] = lambda _notification: "",
        list_recipients: Callable[[str], Sequence[Recipient]] = lambda _site: (),
        find_zone: Callable[[str], str] = lambda _site: "UTC",
    ) -> None:
        self._page_url, self._write_document, self._list_recipients = page_url, write_document, list_recipients
        self._find_zone = find_zone
        self._find_language = find_language
        self.channel = channel
        self.owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.circuit = Circuit()
        self.last_error: str | None = None
        # by thread; by the monotonic clock: a clock that is set makes nothing hang
        self._sending_since_s: dict[int, float] = {}
        self._db, self._clock, self._jitter, self._environ = db, clock, jitter, environ
        self._limits, self._lease_s = limits, lease_s
        self._notifiers: dict[int, Notifier] = {}  # by thread
        self._whole: dict[int, float] = {}  # messages that the other side has: until when it may answer
        self._resumed, self._resuming = False, threading.Lock()
        self._since = clock()
        self._tried: dict[int, datetime] = {}  # old messages that fail: when this worker tried them last
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"channel-{channel.partition(':')[0]}", daemon=True)
            for _ in range(traits_of(channel).parallel)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something is due."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end after the message in hand."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came: a channel that hangs keeps its message until its lease runs out."""
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def is_stuck(self) -> bool:
        """Whether one delivery has outlived two leases."""
        since_s = min(list(self._sending_since_s.values()), default=None)
        return since_s is not None and time.monotonic() - since_s > 2 * self._lease_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.work_once()
            except StoreBusyError as error:
                _LOG.warning("%s", error)
                busy = False
            except Exception:  # loop edge: one bad row must not end the channel
                _LOG.exception("channel %s", self.channel.partition(":")[0])
                busy = False
            if not busy:
                self._wake.wait(IDLE_S)
                self._wake.clear()

    def work_once(self) -> bool:
        """Send one due message; returns whether there was one."""
        now = self._clock()
        self.resume()
        if self.circuit.is_open(now) and not self._has_urgent(now):
            return False
        with self._db.write() as c:
            sent = count_sent_between(c, self.channel, now - timedelta(hours=1), now)
            view = View(now, sent, self._limits, self._find_quiet)
            if now - self._since > LONGEST_LEASE + CLOCK_MARGIN:  # a worker before this one holds none any more
                release_foreign(c, now, self.channel, self.owner)
            left = run_stages(c, self.channel, view)
            urgent = {message.id for message in left if message.urgent}
            # urgent ones go beside others, where the channel takes several at a time
            only = urgent if self.circuit.is_open(now) or self._sending_since_s else None
            untried = urgent - {message.id for message in left if message.attempts}
            overdue = self._find_overdue(left, now)
            claimed = claim_due(c, now, self.owner, self._lease_s, 1, self.channel, only, overdue, untried)
            if claimed:
                self._sending_since_s[threading.get_ident()] = time.monotonic()
        if claimed and len(self._threads) > 1:
            self.wake()  # another thread looks for the next one
        for notification in claimed:
            self._tried[notification.id] = now
            try:
                self._deliver(notification, urgent=notification.id in urgent)
            finally:
                del self._sending_since_s[threading.get_ident()]
        return bool(claimed)

    def _find_quiet(self, site: str, name: str) -> Quiet | None:
        found = self._find_recipient(site, name)
        return None if found is None else found.quiet

    def _find_recipient(self, site: str, name: str) -> Recipient | None:
        return next((r for r in self._list_recipients(site) if r.name == name), None)

    def _find_overdue(self, waiting: Sequence[Waiting], now: datetime) -> set[int]:
        """Old messages that this worker has not tried for a while; their rows may say what they like."""
        return {
            w.id for w in waiting if w.is_old(now) and (
                w.id not in self._tried
                or abs((now - self._tried[w.id]).total_seconds()) > (URGENT_AGAIN_S if w.urgent else LONGEST_S)
            )
        }  # fmt: skip

    def resume(self) -> None:
        """Read from the outbox, once, whether the channel failed before this worker began."""
        with self._resuming:
            if self._resumed:
                return
            with self._db.read() as c:
                failing = find_failing(c, self.channel)
            self.circuit.resume(failing.attempts, failing.since, failing.refused_at)
            self.last_error = failing.error
            self._resumed = True

    def _has_urgent(self, now: datetime) -> bool:
        with self._db.read() as c:
            waiting = load_waiting(c, self.channel)
        urgent = [w for w in waiting if w.urgent]
        return any(w.is_due(now) for w in urgent) or bool(self._find_overdue(urgent, now))

    def _deliver(self, notification: Notification, *, urgent: bool) -> None:
        if not self._db.holds():  # this process slept, or is cut off: whoever took over sends it when our lease is out
            _LOG.warning("notification %d is not sent: another core may have taken over", notification.id)
            return
        me = threading.get_ident()
        try:
            if me not in self._notifiers:
                self._notifiers[me] = open_notifier(self.channel, self._environ, self._db)
            if traits_of(self.channel).sends_document:
                notification = replace(notification, document=self._write_document(notification))
            language = self._find_language(notification.site, notification.recipient)
            whole = self._complete(notification, language)
            zone = self._find_zone(notification.site)
            provider_id = deliver_in(language, self._notifiers[me], whole, page_url=self._page_url, zone=zone)
        except ConfigError as error:  # a person can mend it: wait, and read the settings again
            wait_s = URGENT_AGAIN_S if urgent else CONFIG_AGAIN_S
            self._settle_failure(notification, DeliveryError(error.message, retry_after_s=wait_s), urgent=urgent)
        except DeliveryError as error:
            self._settle_failure(notification, error, urgent=urgent)
        except Exception as error:  # a notifier's bug is a failure of this channel only
            _LOG.exception("channel %s", self.channel.partition(":")[0])
            self._settle_failure(notification, DeliveryError(f"{type(error).__name__}: {error}"), urgent=urgent)
        else:
            proven = self.circuit.failing_since is not None
            self.circuit.succeed()
            self._tried.pop(notification.id, None)
            self.last_error = None
            self._settle(lambda c, now: mark_delivered(c, notification.id, self.owner, now, provider_id))
            if proven:  # the channel is good again: nothing waits for its own next try
                whole_s = time.monotonic()
                self._whole = {number: until_s for number, until_s in self._whole.items() if until_s > whole_s}
                self._settle(lambda c, now: release_backoff(c, self.channel, now, [*self._whole]))
                self.wake()

    def _complete(self, notification: Notification, language: str) -> Notification:
        """With what the site file says of its recipient, and the code of a reply where the channel takes one."""
        known = self._find_recipient(notification.site, notification.recipient)
        kind, address = split_channel(self.channel)
        if traits_of(self.channel).orders:  # whoever of the site asks most of a siren decides what it does
            sounds_from, in_exercise = find_sounding(
                self._list_recipients(notification.site), self.channel, exercise=notification.exercise
            )
            return replace(notification, sounds_from=sounds_from, sounds_in_exercise=in_exercise)
        if not traits_of(self.channel).is_replied:
            return notification
        number = read_number(self._environ, address, kind)
        person = notification.recipient if known is None or len(known.people) != 1 else known.people[0]
        with self._db.write() as c:
            good_for = timedelta(seconds=float(self._environ.get("SLOPEWARD_SMS__REPLY_FOR_S", GOOD_FOR_S)))
            code = make_code(c, notification, number, person, language, self._clock(), good_for)
        return replace(notification, code=code)

    def _settle_failure(self, notification: Notification, error: DeliveryError, *, urgent: bool) -> None:
        if not traits_of(self.channel).holds:
            # secret files are read anew: a person may have set them right
            self._notifiers.pop(threading.get_ident(), None)
        longest_s, most_s = (URGENT_AGAIN_S, URGENT_HELD_S) if urgent else (LONGEST_S, LONGEST_WAIT.total_seconds())
        wait_s = backoff_s(notification.attempts, self._jitter, error.retry_after_s, longest_s, most_s)
        if error.is_whole:
            wait_s = max(wait_s, WHOLE_S + self._sending_since_s[threading.get_ident()] - time.monotonic())
            self._whole[notification.id] = time.monotonic() + wait_s
        now = self._clock()
        permanent = error.permanent or (not urgent and now - notification.queued_at > GIVE_UP_AFTER)
        if error.permanent:
            self.circuit.refuse(now)
        else:
            self.circuit.fail(now, wait_s, asked=error.retry_after_s is not None)
        self.last_error = redact(str(error))
        _LOG.warning("notification %d by %s: %s", notification.id, self.channel.partition(":")[0], self.last_error)
        self._settle(
            lambda c, at: mark_failed(
                c, notification.id, self.owner, error.message, permanent=permanent,
                next_attempt_at=at + timedelta(seconds=wait_s),
            )
        )  # fmt: skip

    def _settle(self, write: Callable[..., bool]) -> None:
        """Write the outcome, patiently while the database is busy: unwritten, the message is sent a second time."""
        while True:
            try:
                with self._db.write() as c:
                    settled = write(c, self._clock())
            except StoreBusyError as error:
                _LOG.warning("%s", error)
                if self._stopping.wait(0.5):
                    return
                continue
            except SlopewardError:
                _LOG.exception("the outcome of a delivery could not be written")
                return
            if not settled:
                _LOG.warning("a lease was lost before the outcome was written; the message goes out again, same key")
            return
