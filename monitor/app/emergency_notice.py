"""Tells the people of the top level, past the outbox, that the service cannot decide, and when it can again."""

import hashlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from monitor.alerts.notification import Notification
from monitor.app.checks.health import CANNOT_DECIDE
from monitor.app.notice_record import ChannelAddress, NoticeState, NoticeStateFile
from monitor.decision.alert_texts import join_lines
from monitor.decision.changes import AlertCategory
from monitor.delivery.message import deliver_in
from monitor.delivery.notifier import open_notifier
from monitor.errors import DeliveryError, SlopewardError
from monitor.sites.records import Site
from monitor.text.catalogue import ENGLISH, LANGUAGES, open_catalogue
from monitor.text.local_time import open_zone
from monitor.text.message import Template, Timestamp

_CANNOT: Final = Template("service.notice.cannot_decide", "Slopeward cannot decide: {text}.")
_WAITS: Final = Template(
    "service.notice.waits", "Readings wait with the broker. No level rises and no alert is sent until this is over."
)
_OTHER_MEANS: Final = Template(
    "service.notice.other_means", "Watch the slope by other means. Look at the machine, its disk and its database now."
)
_ONE_MORE: Final = Template("service.notice.one_more", "One more message follows when it is over.")
_AGAIN: Final = Template("service.notice.again", "Slopeward decides again since {at}. It was: {text}.")
_BEING_READ: Final = Template(
    "service.notice.being_read",
    "What was measured meanwhile is being read from the broker; alerts follow in the usual way.",
)
_OVER_SUBJECT: Final = Template("service.notice.over", "over: decides again")

log: Final = logging.getLogger(__name__)
NOTIFY_AFTER_S: Final = 20.0  # core has waited before it says that it is in trouble: together well below a minute
OVER_AFTER_S: Final = 5.0  # trouble that is away for less comes and goes
AGAIN_S: Final = 5.0
TRIES: Final = 60
URGENT: Final = 2


def list_addresses(sites: Iterable[Site]) -> list[ChannelAddress]:
    """Every channel of everybody who hears the top level of a site, each once.

    A site whose top level nobody hears gives all its recipients: somebody must hear that nobody decides.
    """
    found: dict[ChannelAddress, None] = {}
    for site in sites:
        top = site.levels[-1].number
        people = [r for r in site.recipients if any(one.readable for one in r.everybody)]
        chosen = [r for r in people if top in r.levels] or people
        for one in (member for recipient in chosen for member in recipient.everybody):
            found |= {ChannelAddress(one.name, channel): None for channel in one.readable}
    return list(found)


class EmergencyNotifier:
    """Follows the trouble and tells it once, and once that it is over.

    `update` is called again and again by one thread; deliveries run in threads of their own, each tried again until it
    is taken or the trouble is over. What a herald before this one had told, and had not, is gone on with.

    Args:
        find_addresses: whom to tell, asked when there is something to tell.
        describe: what is known of the levels, asked with it; one line per site.
        on_over: called with what was told and how, when it is over.
        file: holds what is told over a restart.
    """

    def __init__(
        self,
        find_addresses: Callable[[], list[ChannelAddress]],
        describe: Callable[[], list[str]],
        environ: Mapping[str, str],
        clock: Callable[[], datetime],
        on_over: Callable[[str, int, int], None],
        file: NoticeStateFile,
        find_language: Callable[[str], str] = lambda _recipient: ENGLISH,
        zone: str = "UTC",
    ) -> None:
        self._find_language, self._zone = find_language, zone
        open_zone(zone)
        for code in LANGUAGES:
            open_catalogue(code)  # now: a disk that hangs later must keep nobody from being told
        self._find_addresses, self._describe, self._environ = find_addresses, describe, environ
        self._clock, self._on_over, self._file = clock, on_over, file
        self._trouble = ""  # the last that was seen
        self._since_s: float | None = None
        self._gone_s: float | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._notice = file.read()
        self._goes_on = self._notice is not None  # from before the start; not taken up yet

    def update(self, trouble: str, now_s: float, *, sure: bool = True) -> None:
        """Compare with what was told.

        Args:
            trouble: why nothing can be decided; empty when all is well.
            sure: without trouble: something was decided. A core that has just begun sees no trouble and has proven
                nothing.
        """
        if self._goes_on:
            self._goes_on = False
            self._go_on()
        if trouble:
            self._trouble, self._gone_s = trouble, None
            self._since_s = now_s if self._since_s is None else self._since_s
        elif sure:
            self._check_end(now_s)
            return
        if self._since_s is not None and not self._lasts and now_s - self._since_s >= NOTIFY_AFTER_S:
            self._notify_trouble(self._trouble)

    @property
    def _lasts(self) -> bool:
        return self._notice is not None and self._notice.over_at is None

    def _check_end(self, now_s: float) -> None:
        if self._since_s is None and not self._lasts:
            return
        self._gone_s = now_s if self._gone_s is None else self._gone_s
        if now_s - self._gone_s >= OVER_AFTER_S:
            self._since_s = self._gone_s = None
            if self._lasts:
                self._notify_over()

    def notify(self, subject: str, lines: Iterable[str], mark: str) -> None:
        """Deliver one message to everybody, once each; `mark` names it for those who drop what came twice."""
        self._send(self._find_addresses(), subject, join_lines(lines), mark, threading.Event())

    def _notify_trouble(self, trouble: str) -> None:
        log.critical("cannot decide: %s; telling the people of the top level past the outbox", trouble)
        lines = [_CANNOT(text=trouble), _WAITS(), *self._describe(), _OTHER_MEANS(), _ONE_MORE()]
        notice = NoticeState(trouble, self._clock(), join_lines(lines), tuple(self._find_addresses()))
        if not notice.addressees:
            log.critical("nobody can be notified: no site file names a recipient")
        with self._lock:
            self._notice, self._over = notice, threading.Event()
        self._file.keep(notice)
        self._send_trouble(notice)

    def _go_on(self) -> None:
        """Tell those whom the service before this one had not reached when it ended."""
        notice = self._notice
        assert notice is not None
        log.warning("reported before the start: %s", notice.trouble)
        if notice.over_at is None:
            self._send_trouble(notice)
        else:
            self._over.set()
            self._send_over(notice, notice.taken - notice.settled)

    def _notify_over(self) -> None:
        with self._lock:
            assert self._notice is not None
            notice = self._notice = replace(self._notice, over_at=self._clock())
            self._over.set()
        log.warning("over: %s", notice.trouble)
        self._file.keep(notice)
        self._send_over(notice, notice.taken)
        self._on_over(notice.trouble, len(notice.taken), len(notice.addressees))

    def _send_trouble(self, notice: NoticeState) -> None:
        waiting = [one for one in notice.addressees if one not in notice.taken]
        self._send(
            waiting,
            CANNOT_DECIDE(text=notice.trouble),
            notice.body,
            f"decide:{notice.at}",
            self._over,
            on_end=lambda address, taken: self._note_taken(notice, address) if taken else None,
        )

    def _note_taken(self, notice: NoticeState, address: ChannelAddress) -> None:
        with self._lock:
            if self._notice is None or self._notice.at != notice.at:
                return  # another outage since
            now = self._notice = replace(self._notice, taken=self._notice.taken | {address})
        self._file.keep(now)
        if now.over_at is not None:  # it was on its way when the end was told to the others
            self._send_over(now, [address])

    def _send_over(self, notice: NoticeState, addresses: Collection[ChannelAddress]) -> None:
        lines = [_AGAIN(at=Timestamp.of(notice.over_at or self._clock(), "second"), text=notice.trouble), _BEING_READ()]
        if not addresses:
            self._note_settled(notice, ())
        self._send(
            addresses,
            _OVER_SUBJECT(),
            join_lines(lines),
            f"over:{notice.at}",
            threading.Event(),
            on_end=lambda address, _: self._note_settled(notice, (address,)),
        )

    def _note_settled(self, notice: NoticeState, addresses: Iterable[ChannelAddress]) -> None:
        """Forget the outage when everybody who heard of it has heard the end, or cannot."""
        with self._lock:
            if self._notice is None or self._notice.at != notice.at:
                return
            now = replace(self._notice, settled=self._notice.settled.union(addresses))
            self._notice = None if now.settled >= now.taken else now
            kept = self._notice
        self._file.keep(kept)

    def _send(
        self,
        addresses: Collection[ChannelAddress],
        subject: str,
        body: str,
        mark: str,
        over: threading.Event,
        on_end: Callable[[ChannelAddress, bool], None] = lambda *_: None,
    ) -> None:
        for address in addresses:
            threading.Thread(
                target=lambda one=address: on_end(one, self._deliver(one, subject, body, mark, over)),
                name="herald",
                daemon=True,
            ).start()

    def _deliver(self, address: ChannelAddress, subject: str, body: str, mark: str, over: threading.Event) -> bool:
        """Try until it is taken, which it says, or until that makes no sense any more."""
        key = hashlib.sha256(f"{mark}|{address.recipient}|{address.channel}".encode()).hexdigest()
        for attempt in range(1, TRIES + 1):
            notification = Notification(
                0,
                0,
                0,
                "status",
                str(AlertCategory.HEALTH),
                URGENT,
                "urgent",
                address.recipient,
                address.channel,
                exercise=False,
                subject=subject,
                body=body,
                idempotency_key=key,
                attempts=attempt,
                queued_at=self._clock(),
            )
            try:
                language = self._find_language(address.recipient)
                notifier = open_notifier(address.channel, self._environ)
                deliver_in(language, notifier, notification, zone=self._zone)
            except DeliveryError as error:
                log.error("%s was not notified by %s: %s", address.recipient, address.channel.partition(":")[0], error)  # noqa: TRY400
                if error.permanent or over.wait(AGAIN_S):
                    return False
            except (SlopewardError, OSError) as error:
                log.critical("%s cannot be notified by %s: %s", address.recipient, address.channel, error)
                return False
            except Exception:  # loop edge: the other channels go on
                log.exception("%s cannot be notified by %s", address.recipient, address.channel)
                return False
            else:
                return True
        return False
