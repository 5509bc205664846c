"""Hears what sirens answer, repeats an order that none confirmed, and says which siren does not do what it was told."""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from forecasting.message import Template, Timestamp
from monitor.broker.access import Access
from monitor.broker.signing import SigningKey, is_signed, sign
from monitor.domain.duty.channels import split_channel, traits_of
from monitor.domain.errors import DeliveryError, SlopewardError, StoreBusyError
from monitor.domain.site import Site
from monitor.extensions.telephony.siren import SOUND_FOR_S, format_order
from monitor.extensions.telephony.store.siren_orders import SirenOrder, confirm_order, load_open_orders, repeat_order
from monitor.notify.notifiers.mqtt import MqttPublisher
from monitor.store.database.engine import Database

_LOG = logging.getLogger(__name__)
EVERY_S: Final = 0.5
CONFIRM: Final = "/confirm"
_ANSWERS: Final = Template("siren.answers", "siren {topic}: was ordered {wanted} and answers: {said}")
_SILENT: Final = Template("siren.silent", "siren {topic}: was ordered {wanted} and has not confirmed it since {at}")
_MOST: Final = 200  # answers that wait; more are dropped, and the order is repeated
_LARGEST: Final = 4096


def list_topics(sites: Iterable[Site]) -> tuple[str, ...]:
    """The topics of all sirens that site files name."""
    channels = (c for site in sites for r in site.recipients for one in r.everybody for c in one.channels)
    return tuple(sorted({split_channel(c)[1] for c in channels if traits_of(c).orders}))


class Sirens:
    """One thread, where there are sirens.

    Args:
        find_keys: the keys by which orders and answers are signed.
        confirm_within_s: then an order is repeated, and its silence is trouble.
        valid_for_s: of each order.
        sound_s: how long a device sounds at most.
    """

    def __init__(
        self,
        db: Database,
        access: Access,
        clock: Callable[[], datetime],
        topics: Sequence[str],
        find_keys: Callable[[], Sequence[SigningKey]],
        confirm_within_s: float,
        valid_for_s: float,
        sound_s: float = SOUND_FOR_S,
    ) -> None:
        self._db, self._clock, self.topics, self._find_keys = db, clock, tuple(topics), find_keys
        self._within, self._valid_for = timedelta(seconds=confirm_within_s), timedelta(seconds=valid_for_s)
        self._sound_s = sound_s
        self._received: deque[tuple[str, bytes]] = deque(maxlen=_MOST)
        self._troubles: dict[str, str] = dict.fromkeys(self.topics, "")
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._publisher = MqttPublisher(
            access, name="sirens", filters=[f"{topic}{CONFIRM}" for topic in self.topics], on_message=self._receive
        )

    def start(self) -> None:
        """Start the thread; without a siren there is none."""
        if self.topics:
            self._publisher.listen()
            self._thread = threading.Thread(target=self._run, name="sirens", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._publisher.close()

    def find_troubles(self) -> dict[str, str]:
        """For each siren why it does not do what it was told; empty text when all is well."""
        return dict(self._troubles)

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if not retained and len(payload) <= _LARGEST:
            self._received.append((topic.removesuffix(CONFIRM), payload))
            self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.follow_once()
            except (StoreBusyError, DeliveryError) as error:
                _LOG.warning("sirens: %s", error)
            except Exception:  # loop edge
                _LOG.exception("sirens")
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def follow_once(self) -> None:
        """Take what was answered, then repeat what nobody confirmed in time."""
        if not self._db.holds():
            return
        now = self._clock()
        while self._received:
            topic, payload = self._received[0]
            self._take(topic, payload, now)
            self._received.popleft()  # after it is written: a busy database loses no answer
        with self._db.read() as c:
            waiting = {order.topic: order for order in load_open_orders(c)}
        for topic in self.topics:
            order = waiting.get(topic)
            late = order is not None and now - order.ordered_at >= self._within
            self._troubles[topic] = _describe(order) if order is not None and late else ""
            if order is not None and now - order.sent_at >= self._within:
                self._repeat(order, now)

    def _take(self, topic: str, payload: bytes, now: datetime) -> None:
        """An answer counts when it bears a signature by one of our keys."""
        try:
            if not is_signed(f"{topic}{CONFIRM}", payload, self._find_keys()):
                raise ValueError("not signed")
            document = json.loads(payload)
            sequence, state, device = document["sequence"], document["state"], document.get("device", "")
            is_text = all(isinstance(one, str) and one.isprintable() for one in (state, device))
            if type(sequence) is not int or not 0 < sequence < 1 << 62 or not is_text:
                raise ValueError("not as documented")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.error("siren %s: an answer that does not count: %s", topic, str(error)[:200])
            return
        self._db.do(confirm_order, topic, sequence, state, device, now)

    def _repeat(self, order: SirenOrder, now: datetime) -> None:
        again = self._db.do(repeat_order, order.id, now, self._valid_for)
        try:
            keys = self._find_keys()
        except (SlopewardError, OSError) as error:
            raise DeliveryError(f"siren: the keys cannot be read: {error}") from error
        content = format_order(again, self._sound_s)
        self._publisher.publish(order.topic, sign(order.topic, content, keys, now), timeout_s=2.0)


def _describe(order: SirenOrder) -> str:
    if order.confirmed_at is not None:
        return _ANSWERS(topic=order.topic, wanted=order.wanted, said=str(order.said))
    return _SILENT(topic=order.topic, wanted=order.wanted, at=Timestamp.of(order.ordered_at, "minute"))
