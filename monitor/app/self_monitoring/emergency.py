"""Notify people without the database that the service cannot decide, and notify them again when it can.

The outbox is in the database, so it cannot be used when the database is the problem.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from monitor.alerts.notification import Notification
from monitor.app.heartbeats import CANNOT_DECIDE
from monitor.app.self_monitoring.state_file import ChannelAddress, NoticeState, StateFile
from monitor.decision.alert_texts import join_lines
from monitor.decision.changes import AlertCategory
from monitor.delivery.message import deliver_in
from monitor.delivery.notifier import open_notifier
from monitor.errors import DeliveryError, SlopewardError
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_SITE
from monitor.text.catalogue import ENGLISH, LANGUAGES, open_catalogue
from monitor.text.local_time import open_zone
from monitor.text.message import Template, Timestamp

_CANNOT: Final = Template("service.notice.cannot_decide", "Slopeward cannot decide: {text}.")
_WAITS: Final = Template(
    "service.notice.waits", "Readings wait with the broker. No level rises and no alert is sent until this is over."
)
_OTHER_MEANS: Final = Template(
    "service.notice.other_means",
    "Watch the slope by other means. Check the machine, its disk and its database now.",
)
_ONE_MORE: Final = Template("service.notice.one_more", "One more message follows when it is over.")
_AGAIN: Final = Template("service.notice.again", "Slopeward has been deciding again since {at}. It was: {text}.")
_BEING_READ: Final = Template(
    "service.notice.being_read",
    "The readings of that time are being read from the broker; alerts follow in the usual way.",
)
_OVER_SUBJECT: Final = Template("service.notice.over", "over: decides again")

log: Final = logging.getLogger(__name__)

# A core reports trouble after 15 s without a write, and counts as silent after 10 s without a heartbeat. With this
# pause, people are notified well within a minute.
NOTIFY_AFTER_S: Final = 20.0
# Trouble that has been absent for a shorter time may return, so its end is not reported yet.
OVER_AFTER_S: Final = 5.0
RETRY_S: Final = 5.0
MOST_ATTEMPTS: Final = 60
URGENT: Final = 2
DELIVERY_THREAD: Final = "emergency-delivery"


def list_addresses(sites: Iterable[Site]) -> list[ChannelAddress]:
    """Return every channel of the people who receive the top level of a site, each once.

    If nobody receives the top level of a site, all its recipients are included, because somebody must be notified. A
    service that cannot decide is no message of a site, so shadow mode of a site changes nothing here.
    """
    addresses: dict[ChannelAddress, None] = {}
    for site in sites:
        top = site.levels[-1].number
        reachable = [
            recipient for recipient in site.all_recipients if any(person.readable for person in recipient.everybody)
        ]
        chosen = [recipient for recipient in reachable if top in recipient.levels] or reachable
        for recipient in chosen:
            for person in recipient.everybody:
                addresses |= {ChannelAddress(person.name, channel): None for channel in person.readable}
    return list(addresses)


class EmergencyNotifier:
    """Send one message when the service cannot decide, and one when it can again.

    One thread calls `update` regularly. Each delivery runs in a thread of its own and is repeated until the channel has
    accepted the message or the trouble is over. After a restart the deliveries of the process before are continued.

    Args:
        find_addresses: Returns who to notify.
        describe_levels: Returns one line per site about the last known levels.
        on_over: Called as on_over(trouble, accepted, addressed) when the trouble is over, with the numbers of channels.
        state_file: Stores over a restart who was notified.
        find_language: Returns the language of a recipient.
    """

    def __init__(
        self,
        find_addresses: Callable[[], list[ChannelAddress]],
        describe_levels: Callable[[], list[str]],
        environ: Mapping[str, str],
        clock: Callable[[], datetime],
        on_over: Callable[[str, int, int], None],
        state_file: StateFile,
        find_language: Callable[[str], str] = lambda _recipient: ENGLISH,
        zone: str = "UTC",
    ) -> None:
        self._find_addresses = find_addresses
        self._describe_levels = describe_levels
        self._environ = environ
        self._clock = clock
        self._on_over = on_over
        self._state_file = state_file
        self._find_language = find_language
        self._zone = zone
        self._trouble = ""
        self._trouble_since_s: float | None = None
        self._gone_since_s: float | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._notice = state_file.read_notice()
        # The outage that ended last. A channel may still accept a message about it after all others have ended.
        self._last_notice: NoticeState | None = None
        self._must_continue = self._notice is not None

    def load_texts(self) -> None:
        """Load time zone and translations, because a disk that hangs later must not prevent a message."""
        open_zone(self._zone)
        for code in LANGUAGES:
            open_catalogue(code)

    def update(self, trouble: str, now_s: float, *, has_decided: bool = True) -> None:
        """Notify people if the trouble has lasted long enough, or if it is over.

        Args:
            trouble: Why nothing can be decided; empty if decisions are made.
            now_s: Monotonic time in seconds.
            has_decided: Whether a core has stored an evaluation since its start. Only then does the absence of trouble
                mean that the trouble is over: a core that has just started has none, but may not be able to decide.
        """
        if self._must_continue:
            self._must_continue = False
            self._continue_notice()
        if trouble:
            self._trouble = trouble
            self._gone_since_s = None
            if self._trouble_since_s is None:
                self._trouble_since_s = now_s
        elif has_decided:
            self._check_end(now_s)
            return
        is_long = self._trouble_since_s is not None and now_s - self._trouble_since_s >= NOTIFY_AFTER_S
        if is_long and not self._is_outage_open:
            self._notify_trouble(self._trouble)

    def notify(self, subject: str, lines: Iterable[str], key: str) -> None:
        """Deliver one message to everybody. `key` identifies it, so that receivers can drop a repeated message."""
        self._send(self._find_addresses(), subject, join_lines(lines), key, threading.Event())

    @property
    def _is_outage_open(self) -> bool:
        return self._notice is not None and self._notice.over_at is None

    def _check_end(self, now_s: float) -> None:
        if self._trouble_since_s is None and not self._is_outage_open:
            return
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        if now_s - self._gone_since_s >= OVER_AFTER_S:
            self._trouble_since_s = None
            self._gone_since_s = None
            if self._is_outage_open:
                self._notify_over()

    # ---- beginning -----------------------------------------------------------------------------------------------
    def _notify_trouble(self, trouble: str) -> None:
        log.critical("cannot decide: %s; notifying the recipients of the top level without the outbox", trouble)
        lines = [_CANNOT(text=trouble), _WAITS(), *self._describe_levels(), _OTHER_MEANS(), _ONE_MORE()]
        notice = NoticeState(trouble, self._clock(), join_lines(lines), tuple(self._find_addresses()))
        if not notice.addressees:
            log.critical("nobody can be notified: no site file contains a recipient")
        with self._lock:
            self._notice = notice
            self._over = threading.Event()
        self._state_file.store_notice(notice)
        self._send_trouble(notice)

    def _continue_notice(self) -> None:
        """Deliver the messages that the process before this one could not deliver."""
        notice = self._notice
        assert notice is not None
        log.warning("people were notified before this start: %s", notice.trouble)
        if notice.over_at is None:
            self._send_trouble(notice)
        else:
            self._over.set()
            self._send_over(notice, notice.accepted - notice.finished)

    def _send_trouble(self, notice: NoticeState) -> None:
        self._send(
            [address for address in notice.addressees if address not in notice.accepted],
            CANNOT_DECIDE(text=notice.trouble),
            notice.body,
            f"decide:{notice.at}",
            self._over,
            on_end=lambda address, is_accepted: self._note_accepted(notice, address) if is_accepted else None,
        )

    def _note_accepted(self, notice: NoticeState, address: ChannelAddress) -> None:
        """Record that a channel accepted the message about the outage."""
        with self._lock:
            # The outage may have been forgotten already, because all other channels had ended.
            current = self._notice or self._last_notice
            if current is None or current.at != notice.at:
                # Another outage has started since. Its own messages are sent.
                return
            updated = replace(current, accepted=current.accepted | {address})
            self._notice = updated
        self._state_file.store_notice(updated)
        if updated.over_at is not None:
            # The channel accepted the message only after the end had been sent to the others.
            self._send_over(updated, [address])

    # ---- end -----------------------------------------------------------------------------------------------------
    def _notify_over(self) -> None:
        with self._lock:
            assert self._notice is not None
            notice = replace(self._notice, over_at=self._clock())
            self._notice = notice
            self._over.set()
        log.warning("over: %s", notice.trouble)
        self._state_file.store_notice(notice)
        self._send_over(notice, notice.accepted)
        self._on_over(notice.trouble, len(notice.accepted), len(notice.addressees))

    def _send_over(self, notice: NoticeState, addresses: Collection[ChannelAddress]) -> None:
        over_at = Timestamp.of(notice.over_at or self._clock(), "second")
        if not addresses:
            self._note_finished(notice, ())
        self._send(
            addresses,
            _OVER_SUBJECT(),
            join_lines([_AGAIN(at=over_at, text=notice.trouble), _BEING_READ()]),
            f"over:{notice.at}",
            threading.Event(),
            on_end=lambda address, _: self._note_finished(notice, (address,)),
        )

    def _note_finished(self, notice: NoticeState, addresses: Iterable[ChannelAddress]) -> None:
        """Record that no further message is sent to these addresses. Forget the outage after the last one."""
        with self._lock:
            if self._notice is None or self._notice.at != notice.at:
                return
            updated = replace(self._notice, finished=self._notice.finished.union(addresses))
            if updated.finished >= updated.accepted:
                self._notice = None
                self._last_notice = updated
            else:
                self._notice = updated
            remaining = self._notice
        self._state_file.store_notice(remaining)

    # ---- delivery ------------------------------------------------------------------------------------------------
    def _send(
        self,
        addresses: Collection[ChannelAddress],
        subject: str,
        body: str,
        key: str,
        cancelled: threading.Event,
        on_end: Callable[[ChannelAddress, bool], None] = lambda *_: None,
    ) -> None:
        def deliver(address: ChannelAddress) -> None:
            on_end(address, self._deliver(address, subject, body, key, cancelled))

        for address in addresses:
            threading.Thread(target=deliver, args=(address,), name=DELIVERY_THREAD, daemon=True).start()

    def _deliver(self, address: ChannelAddress, subject: str, body: str, key: str, cancelled: threading.Event) -> bool:
        """Try until the channel accepts the message. Return whether it did.

        There is no further attempt after a permanent error, after `MOST_ATTEMPTS`, or when `cancelled` is set.
        """
        # The address of a channel may contain a secret, so the log names only its kind.
        kind = address.channel.partition(":")[0]
        idempotency_key = hashlib.sha256(f"{key}|{address.recipient}|{address.channel}".encode()).hexdigest()
        for attempt in range(1, MOST_ATTEMPTS + 1):
            notification = Notification(
                id=0,
                alert_id=0,
                event_id=0,
                site=SERVICE_SITE,
                ledger=str(AlertCategory.HEALTH),
                level=URGENT,
                level_name="urgent",
                recipient=address.recipient,
                channel=address.channel,
                exercise=False,
                subject=subject,
                body=body,
                idempotency_key=idempotency_key,
                attempts=attempt,
                queued_at=self._clock(),
            )
            try:
                language = self._find_language(address.recipient)
                notifier = open_notifier(address.channel, self._environ)
                deliver_in(language, notifier, notification, zone=self._zone)
            except DeliveryError as error:
                log.error("%s was not notified by %s: %s", address.recipient, kind, error)  # noqa: TRY400
                if error.permanent or cancelled.wait(RETRY_S):
                    return False
            except (SlopewardError, OSError) as error:
                log.critical("%s cannot be notified by %s: %s", address.recipient, kind, error)
                return False
            except Exception:  # The deliveries to other channels go on.
                log.exception("%s cannot be notified by %s", address.recipient, kind)
                return False
            else:
                return True
        return False
