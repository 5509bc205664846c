"""Threads of their own for each channel, so that a channel that hangs delays nobody but itself."""

import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.alerts.notification import Notification
from monitor.delivery.circuit import LONGEST_S, Circuit, backoff_s
from monitor.delivery.message import deliver_in, find_language
from monitor.delivery.notifier import Notifier, open_notifier
from monitor.delivery.path import run_stages
from monitor.delivery.queries import outbox
from monitor.delivery.verdict import DeliveryContext, DeliveryLimits
from monitor.errors import ConfigError, DeliveryError, SlopewardError, StoreBusyError
from monitor.logs import redact
from monitor.sites.channels import find_channel_traits
from monitor.sites.quiet_hours import QuietHours
from monitor.sites.records import Recipient, Site, find_siren_trigger, gather_recipients
from monitor.storage.engine import Database
from monitor.text.catalogue import ENGLISH

_LOG = logging.getLogger(__name__)
LEASE_S: Final = 35.0
WHOLE_S: Final = 60.0  # what the other side has whole goes out again no sooner: it may only be slow
GIVE_UP_AFTER: Final = timedelta(hours=48)  # of a message that is not urgent
IDLE_S: Final = 30.0
CONFIG_AGAIN_S: Final = 60.0
URGENT_HELD_S: Final = 60.0  # a channel may ask to be left alone for longer; an urgent message waits no longer
URGENT_AGAIN_S: Final = 6.0  # a channel that is back is found within ten seconds while an urgent message waits


@dataclass(eq=False)
class Delivery:
    """How messages are delivered, whatever their channel.

    Args:
        sites: site id -> site; read anew on each pass, so that a reloaded mapping takes effect.
        environ: where channels find their secrets.
        jitter: source of numbers in [0, 1) for the backoff.
        lease_s: how long a worker may hold a message.
        language: of recipients who chose none.
        page_url: where people reach the page, for the link of a message; empty where they cannot.
        write_document: calls `Channel.write_document` with the database, for a hazard alert.
        zone: of times that belong to no site.
    """

    db: Database
    sites: Mapping[str, Site]
    clock: Callable[[], datetime]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    limits: DeliveryLimits = DeliveryLimits()  # noqa: RUF009  frozen
    jitter: Callable[[], float] = random.random
    lease_s: float = LEASE_S
    language: str = ENGLISH
    page_url: str = ""
    write_document: Callable[[Callable[..., str], Notification], str] = lambda _write, _notification: ""
    zone: str = "UTC"

    def list_recipients(self, site_id: str) -> tuple[Recipient, ...]:
        """Recipients of a site; for alerts of the service itself those of all sites, each name once."""
        site = self.sites.get(site_id)
        return gather_recipients(self.sites.values()) if site is None else site.recipients

    def find_zone(self, site_id: str) -> str:
        """The zone of the times in a message of a site."""
        site = self.sites.get(site_id)
        return self.zone if site is None else site.timezone


class ChannelWorker:
    """Claims, sends and settles the messages of one channel until stopped."""

    def __init__(self, channel: str, how: Delivery) -> None:
        self._how, self._db, self._clock, self._environ = how, how.db, how.clock, how.environ
        self.channel = channel
        self.owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.circuit = Circuit()
        self.last_error: str | None = None
        # by thread; by the monotonic clock: a clock that is set makes nothing hang
        self._sending_since_s: dict[int, float] = {}
        self._notifiers: dict[int, Notifier] = {}  # by thread
        self._whole: dict[int, float] = {}  # messages that the other side has: until when it may answer
        self._resumed, self._resuming = False, threading.Lock()
        self._since = how.clock()
        self._tried: dict[int, datetime] = {}  # old messages that fail: when this worker tried them last
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"channel-{channel.partition(':')[0]}", daemon=True)
            for _ in range(find_channel_traits(channel).parallel)
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
        return since_s is not None and time.monotonic() - since_s > 2 * self._how.lease_s

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
        if self.circuit.is_open(now):
            urgent_ones = [w for w in self._db.run_read(outbox.load_waiting, self.channel) if w.urgent]
            if not any(w.is_due(now) for w in urgent_ones) and not self._find_overdue(urgent_ones, now):
                return False
        with self._db.write() as c:
            sent = outbox.count_sent_between(c, self.channel, now - timedelta(hours=1), now)
            view = DeliveryContext(now, sent, self._how.limits, self._find_quiet)
            # a worker before this one holds none any more
            if now - self._since > outbox.LONGEST_LEASE + outbox.CLOCK_MARGIN:
                outbox.release_foreign(c, now, self.channel, self.owner)
            left = run_stages(c, self.channel, view)
            urgent = {message.id for message in left if message.urgent}
            # urgent ones go beside others, where the channel takes several at a time
            only = urgent if self.circuit.is_open(now) or self._sending_since_s else None
            untried = urgent - {message.id for message in left if message.attempts}
            overdue = self._find_overdue(left, now)
            claimed = outbox.claim_due(c, now, self.owner, self._how.lease_s, 1, self.channel, only, overdue, untried)
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

    def _find_quiet(self, site: str, name: str) -> QuietHours | None:
        found = self._find_recipient(site, name)
        return None if found is None else found.quiet

    def _find_recipient(self, site: str, name: str) -> Recipient | None:
        return next((r for r in self._how.list_recipients(site) if r.name == name), None)

    def _find_overdue(self, waiting: Sequence[outbox.QueuedMessage], now: datetime) -> set[int]:
        """Old messages that this worker has not tried for a while; their rows may say what they like."""
        return {
            w.id
            for w in waiting
            if w.is_old(now)
            and (
                w.id not in self._tried
                or abs((now - self._tried[w.id]).total_seconds()) > (URGENT_AGAIN_S if w.urgent else LONGEST_S)
            )
        }

    def resume(self) -> None:
        """Read from the outbox, once, whether the channel failed before this worker began."""
        with self._resuming:
            if self._resumed:
                return
            failing = self._db.run_read(outbox.find_failing, self.channel)
            self.circuit.resume(failing.attempts, failing.since, failing.refused_at)
            self.last_error = failing.error
            self._resumed = True

    def _deliver(self, notification: Notification, *, urgent: bool) -> None:
        if not self._db.holds():  # this process slept, or is cut off: whoever took over sends it when our lease is out
            _LOG.warning("notification %d is not sent: another core may have taken over", notification.id)
            return
        me = threading.get_ident()
        try:
            if me not in self._notifiers:
                self._notifiers[me] = open_notifier(self.channel, self._environ, self._db)
            if write_document := find_channel_traits(self.channel).write_document:
                notification = replace(notification, document=self._how.write_document(write_document, notification))
            recipients = self._how.list_recipients(notification.site)
            language = find_language(recipients, notification.recipient, self._how.language)
            whole = self._complete(notification, language)
            zone = self._how.find_zone(notification.site)
            provider_id = deliver_in(language, self._notifiers[me], whole, page_url=self._how.page_url, zone=zone)
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
            self._settle(lambda c, now: outbox.mark_delivered(c, notification.id, self.owner, now, provider_id))
            if proven:  # the channel is good again: nothing waits for its own next try
                whole_s = time.monotonic()
                self._whole = {number: until_s for number, until_s in self._whole.items() if until_s > whole_s}
                self._settle(lambda c, now: outbox.release_backoff(c, self.channel, now, [*self._whole]))
                self.wake()

    def _complete(self, notification: Notification, language: str) -> Notification:
        """With what the site file says of its recipient, and the code of a reply where the channel takes one."""
        known = self._find_recipient(notification.site, notification.recipient)
        if find_channel_traits(self.channel).orders:  # whoever of the site asks most of a siren decides what it does
            people = self._how.list_recipients(notification.site)
            sounds_from, in_exercise = find_siren_trigger(people, self.channel, exercise=notification.exercise)
            return replace(notification, sounds_from=sounds_from, sounds_in_exercise=in_exercise)
        make_reply_code = find_channel_traits(self.channel).make_reply_code
        if make_reply_code is None:
            return notification
        person = notification.recipient if known is None or len(known.people) != 1 else known.people[0]
        with self._db.write() as c:
            code = make_reply_code(c, notification, person, language, self._environ, self._clock())
        return replace(notification, code=code)

    def _settle_failure(self, notification: Notification, error: DeliveryError, *, urgent: bool) -> None:
        if not find_channel_traits(self.channel).holds:
            # secret files are read anew: a person may have set them right
            self._notifiers.pop(threading.get_ident(), None)
        longest_s, most_s = (
            (URGENT_AGAIN_S, URGENT_HELD_S) if urgent else (LONGEST_S, outbox.LONGEST_WAIT.total_seconds())
        )
        wait_s = backoff_s(notification.attempts, self._how.jitter, error.retry_after_s, longest_s, most_s)
        if error.is_whole:
            wait_s = max(wait_s, WHOLE_S + self._sending_since_s[threading.get_ident()] - time.monotonic())
            self._whole[notification.id] = time.monotonic() + wait_s
        now = self._clock()
        permanent = error.permanent or (not urgent and now - notification.queued_at > GIVE_UP_AFTER)
        if error.permanent:
            self.circuit.refuse(now)
        else:
            self.circuit.fail(now, wait_s, requested=error.retry_after_s is not None)
        self.last_error = redact(str(error))
        _LOG.warning("notification %d by %s: %s", notification.id, self.channel.partition(":")[0], self.last_error)
        number, wait = notification.id, timedelta(seconds=wait_s)
        self._settle(
            lambda c, at: outbox.mark_failed(
                c, number, self.owner, error.message, permanent=permanent, next_attempt_at=at + wait
            )
        )

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
