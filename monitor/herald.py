"""Tells the people of the top level, past the outbox, that the service cannot decide, and when it can again."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from monitor.domain.alert import Ledger, Notification
from monitor.domain.site import Site
from monitor.errors import DeliveryError, SlopewardError
from monitor.notify.notifier import open_notifier

log = logging.getLogger(__name__)
TELL_AFTER_S: Final = 20.0  # core has waited before it says that it is in trouble: together well below a minute
OVER_AFTER_S: Final = 5.0  # trouble that is away for less comes and goes
AGAIN_S: Final = 5.0
TRIES: Final = 60
URGENT: Final = 2


class Address(NamedTuple):
    """One channel of one person."""

    recipient: str
    channel: str


def list_addresses(sites: Iterable[Site]) -> list[Address]:
    """Every channel of everybody who hears the top level of a site, each once.

    A site whose top level nobody hears gives all its recipients: somebody must hear that nobody decides.
    """
    found: dict[Address, None] = {}
    for site in sites:
        top = site.levels[-1].number
        chosen = [r for r in site.recipients if top in r.levels] or list(site.recipients)
        for one in chosen:
            found |= {Address(one.name, channel): None for channel in one.channels}
    return list(found)


class Herald:
    """Follows the trouble and tells it once, and once that it is over.

    `look` is called again and again by one thread; deliveries run in threads of their own, each tried again until it
    is taken or the trouble is over.

    Args:
        find_addresses: whom to tell, asked when there is something to tell.
        describe: what is known of the levels, asked with it; one line per site.
        environ: where channels find their secrets.
        clock: gives the present, aware UTC.
        on_over: called with what was told and how, when it is over.
    """

    def __init__(
        self,
        find_addresses: Callable[[], list[Address]],
        describe: Callable[[], list[str]],
        environ: Mapping[str, str],
        clock: Callable[[], datetime],
        on_over: Callable[[str, int, int], None],
    ) -> None:
        self._find_addresses, self._describe, self._environ = find_addresses, describe, environ
        self._clock, self._on_over = clock, on_over
        self._since_s: float | None = None
        self._gone_s: float | None = None
        self._told: str | None = None
        self._told_at: datetime | None = None
        self._over = threading.Event()
        self._taken: set[Address] = set()
        self._asked: list[Address] = []

    def look(self, trouble: str, now_s: float) -> None:
        """Compare with what was told.

        Args:
            trouble: why nothing can be decided; empty when all is well.
            now_s: monotonic seconds.
        """
        if trouble:
            self._gone_s = None
            self._since_s = now_s if self._since_s is None else self._since_s
            if self._told is None and now_s - self._since_s >= TELL_AFTER_S:
                self._tell(trouble)
            return
        if self._since_s is None:
            return
        self._gone_s = now_s if self._gone_s is None else self._gone_s
        if now_s - self._gone_s >= OVER_AFTER_S:
            self._since_s = self._gone_s = None
            if self._told is not None:
                self._tell_over()

    def say(self, subject: str, lines: Iterable[str], mark: str) -> None:
        """Deliver one message to everybody, once each; `mark` names it for those who drop what came twice."""
        self._send(subject, "\n".join(lines), mark, threading.Event())

    def _tell(self, trouble: str) -> None:
        self._told, self._told_at, self._over = trouble, self._clock(), threading.Event()
        log.critical("cannot decide: %s; telling the people of the top level past the outbox", trouble)
        lines = [
            f"Slopeward cannot decide: {trouble}.",
            "Readings wait with the broker. No level rises and no alert is sent until this is over.",
            *self._describe(),
            "Watch the slope by other means. Look at the machine, its disk and its database now.",
            "One more message follows when it is over.",
        ]
        self._send(f"cannot decide: {trouble}"[:150], "\n".join(lines), f"decide:{self._told_at}", self._over)

    def _tell_over(self) -> None:
        told, at = self._told, self._told_at
        self._told = None
        self._over.set()
        assert told is not None
        assert at is not None
        log.warning("over: %s", told)
        lines = [
            f"Slopeward decides again since {self._clock():%Y-%m-%d %H:%M:%S} UTC. It was: {told}.",
            "What was measured meanwhile is being read from the broker; alerts follow in the usual way.",
        ]
        self._send("over: decides again", "\n".join(lines), f"over:{at}", threading.Event(), only=self._taken)
        self._on_over(told, len(self._taken), len(self._asked))

    def _send(
        self, subject: str, body: str, mark: str, over: threading.Event, only: set[Address] | None = None
    ) -> None:
        asked = [a for a in self._find_addresses() if only is None or a in only]
        if only is None:
            self._asked, self._taken = asked, set()
        if not asked:
            log.critical("nobody can be told: no site file names a recipient")
        for address in asked:
            threading.Thread(
                target=self._deliver, args=(address, subject, body, mark, over), name="herald", daemon=True
            ).start()

    def _deliver(self, address: Address, subject: str, body: str, mark: str, over: threading.Event) -> None:
        key = hashlib.sha256(f"{mark}|{address.recipient}|{address.channel}".encode()).hexdigest()
        for attempt in range(1, TRIES + 1):
            notification = Notification(
                0, 0, 0, "status", str(Ledger.HEALTH), URGENT, "urgent", address.recipient, address.channel,
                exercise=False, subject=subject, body=body, idempotency_key=key, attempts=attempt,
                queued_at=self._clock(),
            )  # fmt: skip
            try:
                open_notifier(address.channel, self._environ).deliver(notification)
            except DeliveryError as error:
                log.error("%s was not told by %s: %s", address.recipient, address.channel.partition(":")[0], error)  # noqa: TRY400
                if error.permanent or over.wait(AGAIN_S):
                    return
            except (SlopewardError, OSError) as error:
                log.critical("%s cannot be told by %s: %s", address.recipient, address.channel, error)
                return
            except Exception:  # loop edge: the other channels go on
                log.exception("%s cannot be told by %s", address.recipient, address.channel)
                return
            else:
                self._taken.add(address)
                return
