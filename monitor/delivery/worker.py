"""The worker of one channel: it leases due messages, sends them and stores the outcomes.

Each channel has its own threads, so that a slow channel delays no other.
"""

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

from sqlalchemy import Connection

from monitor.alerts.notification import Notification
from monitor.delivery.circuit import LONGEST_S, Circuit, backoff_s
from monitor.delivery.holding import HoldingContext, apply_holding_rules
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.message import deliver_in, find_language
from monitor.delivery.notifier import Notifier, open_notifier
from monitor.delivery.queries import outbox
from monitor.errors import ConfigError, DeliveryError, SlopewardError, StoreBusyError
from monitor.logs import redact
from monitor.sites.channels import find_channel_traits
from monitor.sites.quiet_hours import QuietHours
from monitor.sites.records import Recipient, Site, find_siren_trigger, gather_recipients
from monitor.sites.shadow import list_notified_people
from monitor.storage.engine import Database
from monitor.text.catalogue import ENGLISH
from monitor.text.message import Template

_LOG = logging.getLogger(__name__)
LEASE_S: Final = 35.0
# A message that the other side may have received completely (`DeliveryError.is_whole`) is sent again no sooner.
POSSIBLY_RECEIVED_PAUSE_S: Final = 60.0
# After this time a message that is not urgent has failed for good.
GIVE_UP_AFTER: Final = timedelta(hours=48)
_IDLE_S: Final = 30.0
CONFIG_RETRY_S: Final = 60.0
# The longest time that a channel may delay the next attempt of an urgent message.
MAX_URGENT_RETRY_AFTER_S: Final = 60.0
# The longest backoff of an urgent message, so that it is sent within ten seconds after its channel works again.
MAX_URGENT_BACKOFF_S: Final = 6.0
_WRITE_RETRY_S: Final = 0.5
_WITHDRAWN: Final = Template(
    "delivery.shadow", "not sent: the site is in shadow mode and notifies only the people of the trial"
)


@dataclass(eq=False)
class DeliveryContext:
    """Database, settings and limits that the workers of all channels use.

    Args:
        sites: Sites by id. The core fills the mapping after it has created the dispatcher.
        environ: Settings and secrets of channels.
        jitter: Source of numbers in [0, 1) for the backoff.
        lease_s: How long a worker may hold a message.
        language: Language of recipients without one.
        page_url: Address of the page, for links; empty if people cannot reach it.
        write_document: Calls `Channel.write_document` with the database, for an alert about a slope.
        zone: Time zone of messages that belong to no site.
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
        """Return the recipients of a site. Alerts of the service go to those of all sites, each name once."""
        site = self.sites.get(site_id)
        return gather_recipients(self.sites.values()) if site is None else site.recipients

    def may_notify(self, site_id: str, recipient: str, channel: str) -> bool:
        """Return whether a message may be sent.

        While a site is in shadow mode, only the people of the trial get messages of it. A message to anybody else was
        queued before shadow mode began.
        """
        site = self.sites.get(site_id)
        if site is None or not site.shadow:
            return True
        return channel in list_notified_people(site.recipients).get(recipient, ())

    def find_zone(self, site_id: str) -> str:
        """Return the time zone of a message about a site."""
        site = self.sites.get(site_id)
        return self.zone if site is None else site.timezone


class ChannelWorker:
    """Leases and sends the messages of one channel, and stores the outcomes, until it is stopped."""

    def __init__(self, channel: str, context: DeliveryContext) -> None:
        self._context = context
        self._db = context.db
        self._clock = context.clock
        self._environ = context.environ
        self.channel = channel
        self.owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.circuit = Circuit()
        self.last_error: str | None = None
        # When each thread started its delivery. By the monotonic clock, because the system clock may be set meanwhile.
        self._sending_since_s: dict[int, float] = {}
        # Each thread has a notifier.
        self._notifiers: dict[int, Notifier] = {}
        # Messages that the other side may have received completely, and until when (monotonic) they are not sent again.
        self._possibly_received: dict[int, float] = {}
        self._is_resumed = False
        self._resume_lock = threading.Lock()
        self._started_at = context.clock()
        # When this worker last tried each message that was not delivered.
        self._tried_at: dict[int, datetime] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"channel-{channel.partition(':')[0]}", daemon=True)
            for _ in range(find_channel_traits(channel).parallel)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Start the next round at once, because a message is due."""
        self._wake.set()

    def stop(self) -> None:
        """Let the threads end after the deliveries in progress."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the threads and return whether they ended."""
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def is_stuck(self) -> bool:
        """Return whether a delivery has taken longer than two leases."""
        since_s = min(list(self._sending_since_s.values()), default=None)
        return since_s is not None and time.monotonic() - since_s > 2 * self._context.lease_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            has_sent = False
            try:
                has_sent = self.work_once()
            except StoreBusyError as error:
                _LOG.warning("%s", error)
            except Exception:  # a fault in one row does not end the worker
                _LOG.exception("channel %s", self.channel.partition(":")[0])
            if not has_sent:
                self._wake.wait(_IDLE_S)
                self._wake.clear()

    def work_once(self) -> bool:
        """Send one due message and return whether there was one."""
        now = self._clock()
        self.resume()
        if self.circuit.is_open(now) and not self._has_due_urgent(now):
            return False
        with self._db.write() as c:
            sent_last_hour = outbox.count_sent_between(c, self.channel, now - timedelta(hours=1), now)
            context = HoldingContext(now, sent_last_hour, self._context.limits, self._find_quiet)
            # This worker has run for longer than any lease. A lease of another worker is invalid, whatever its end.
            if now - self._started_at > outbox.LONGEST_LEASE + outbox.CLOCK_MARGIN:
                outbox.release_foreign_leases(c, now, self.channel, self.owner)
            self._withdraw_in_shadow(c)
            waiting = apply_holding_rules(c, self.channel, context)
            urgent = {message.id for message in waiting if message.urgent}
            # While the channel pauses, or another thread of this worker sends, only urgent messages are sent.
            only = urgent if self.circuit.is_open(now) or self._sending_since_s else None
            untried = urgent - {message.id for message in waiting if message.attempts}
            overdue = self._find_overdue(waiting, now)
            lease_s = self._context.lease_s
            leased = outbox.claim_due(c, now, self.owner, lease_s, 1, self.channel, only, overdue, untried)
            if leased:
                self._sending_since_s[threading.get_ident()] = time.monotonic()
        if leased and len(self._threads) > 1:
            # Another thread may send the next message meanwhile.
            self.wake()
        for notification in leased:
            self._tried_at[notification.id] = now
            try:
                self._deliver(notification, urgent=notification.id in urgent)
            finally:
                del self._sending_since_s[threading.get_ident()]
        return bool(leased)

    def _withdraw_in_shadow(self, c: Connection) -> None:
        if not any(site.shadow for site in self._context.sites.values()):
            return
        for message in outbox.load_waiting(c, self.channel):
            if not self._context.may_notify(message.site, message.recipient, self.channel):
                outbox.withdraw(c, message.id, _WITHDRAWN())

    def _has_due_urgent(self, now: datetime) -> bool:
        waiting = self._db.run_read(outbox.load_waiting, self.channel)
        urgent = [message for message in waiting if message.urgent]
        return any(message.is_due(now) for message in urgent) or bool(self._find_overdue(urgent, now))

    def _find_quiet(self, site: str, name: str) -> QuietHours | None:
        recipient = self._find_recipient(site, name)
        return None if recipient is None else recipient.quiet

    def _find_recipient(self, site: str, name: str) -> Recipient | None:
        return next((recipient for recipient in self._context.list_recipients(site) if recipient.name == name), None)

    def _find_overdue(self, waiting: Sequence[outbox.QueuedMessage], now: datetime) -> set[int]:
        """Return the old messages that this worker has not tried for as long as the longest backoff.

        The time of the next attempt in their rows does not count (`outbox.LONGEST_HOLD`).
        """
        overdue = set()
        for message in waiting:
            if not message.is_old(now):
                continue
            tried_at = self._tried_at.get(message.id)
            pause_s = MAX_URGENT_BACKOFF_S if message.urgent else LONGEST_S
            if tried_at is None or abs((now - tried_at).total_seconds()) > pause_s:
                overdue.add(message.id)
        return overdue

    def resume(self) -> None:
        """Load from the outbox, once, whether the channel failed before this worker started."""
        with self._resume_lock:
            if self._is_resumed:
                return
            failure = self._db.run_read(outbox.find_channel_failure, self.channel)
            self.circuit.resume(failure.attempts, failure.since, failure.refused_at)
            self.last_error = failure.error
            self._is_resumed = True

    def _deliver(self, notification: Notification, *, urgent: bool) -> None:
        # This process was suspended or lost the lock of the database, so that another core may have taken over. That
        # core sends the message when the lease expires.
        if not self._db.can_send():
            _LOG.warning(
                "notification %d of alert %d is not sent: another core may have taken over",
                notification.id,
                notification.alert_id,
            )
            return
        thread = threading.get_ident()
        try:
            if thread not in self._notifiers:
                self._notifiers[thread] = open_notifier(self.channel, self._environ, self._db)
            write_document = find_channel_traits(self.channel).write_document
            if write_document is not None:
                document = self._context.write_document(write_document, notification)
                notification = replace(notification, document=document)
            recipients = self._context.list_recipients(notification.site)
            language = find_language(recipients, notification.recipient, self._context.language)
            provider_id = deliver_in(
                language,
                self._notifiers[thread],
                self._complete(notification, language),
                page_url=self._context.page_url,
                zone=self._context.find_zone(notification.site),
            )
        except ConfigError as error:
            # A person can correct the settings, so the message is tried again.
            wait_s = MAX_URGENT_BACKOFF_S if urgent else CONFIG_RETRY_S
            self._store_failure(notification, DeliveryError(error.message, retry_after_s=wait_s), urgent=urgent)
        except DeliveryError as error:
            self._store_failure(notification, error, urgent=urgent)
        except Exception as error:  # a fault of a notifier is a failure of this channel only
            _LOG.exception("channel %s", self.channel.partition(":")[0])
            self._store_failure(notification, DeliveryError(f"{type(error).__name__}: {error}"), urgent=urgent)
        else:
            self._store_success(notification, provider_id)

    def _complete(self, notification: Notification, language: str) -> Notification:
        """Add the levels at which a siren sounds, or the code of a reply, if the channel needs them."""
        recipients = self._context.list_recipients(notification.site)
        traits = find_channel_traits(self.channel)
        if traits.orders:
            # Several recipients may share a siren.
            exercise = notification.exercise
            sounds_from, in_exercise = find_siren_trigger(recipients, self.channel, exercise=exercise)
            return replace(notification, sounds_from=sounds_from, sounds_in_exercise=in_exercise)
        if traits.make_reply_code is None:
            return notification
        recipient = self._find_recipient(notification.site, notification.recipient)
        has_one_person = recipient is not None and len(recipient.people) == 1
        person = recipient.people[0] if recipient is not None and has_one_person else notification.recipient
        with self._db.write() as c:
            code = traits.make_reply_code(c, notification, person, language, self._environ, self._clock())
        return replace(notification, code=code)

    def _store_success(self, notification: Notification, provider_id: str | None) -> None:
        has_recovered = self.circuit.failing_since is not None
        self.circuit.succeed()
        self._tried_at.pop(notification.id, None)
        self.last_error = None
        self._store(lambda c, now: outbox.mark_delivered(c, notification.id, self.owner, now, provider_id))
        if has_recovered:
            # Messages that failed before are due at once, except those that the other side may have received.
            now_s = time.monotonic()
            self._possibly_received = {
                number: until_s for number, until_s in self._possibly_received.items() if until_s > now_s
            }
            self._store(lambda c, now: outbox.release_backoff(c, self.channel, now, [*self._possibly_received]))
            self.wake()

    def _store_failure(self, notification: Notification, error: DeliveryError, *, urgent: bool) -> None:
        thread = threading.get_ident()
        if not find_channel_traits(self.channel).holds:
            # The next notifier reads secret files again, which a person may have corrected.
            self._notifiers.pop(thread, None)
        longest_s = MAX_URGENT_BACKOFF_S if urgent else LONGEST_S
        longest_retry_after_s = MAX_URGENT_RETRY_AFTER_S if urgent else outbox.LONGEST_WAIT.total_seconds()
        wait_s = backoff_s(
            notification.attempts, self._context.jitter, error.retry_after_s, longest_s, longest_retry_after_s
        )
        if error.is_whole:
            wait_s = max(wait_s, POSSIBLY_RECEIVED_PAUSE_S + self._sending_since_s[thread] - time.monotonic())
            self._possibly_received[notification.id] = time.monotonic() + wait_s
        now = self._clock()
        permanent = error.permanent or (not urgent and now - notification.queued_at > GIVE_UP_AFTER)
        if error.permanent:
            self.circuit.refuse(now)
        else:
            self.circuit.fail(now, wait_s, requested=error.retry_after_s is not None)
        self.last_error = redact(str(error))
        _LOG.warning(
            "notification %d of alert %d by %s: %s",
            notification.id,
            notification.alert_id,
            self.channel.partition(":")[0],
            self.last_error,
        )
        wait = timedelta(seconds=wait_s)
        self._store(
            lambda c, at: outbox.mark_failed(
                c, notification.id, self.owner, error.message, permanent=permanent, next_attempt_at=at + wait
            )
        )

    def _store(self, write: Callable[..., bool]) -> None:
        """Store the outcome of a delivery. Retry while the database is busy.

        If the outcome cannot be stored, the message is sent a second time.

        Args:
            write: Called with a connection and the time. Returns whether the lease was still valid.
        """
        while True:
            try:
                with self._db.write() as c:
                    is_stored = write(c, self._clock())
            except StoreBusyError as error:
                _LOG.warning("%s", error)
                if self._stopping.wait(_WRITE_RETRY_S):
                    return
                continue
            except SlopewardError:
                _LOG.exception("the outcome of a delivery could not be stored")
                return
            if not is_stored:
                _LOG.warning("a lease expired before the outcome was stored; the message is sent again, same key")
            return
