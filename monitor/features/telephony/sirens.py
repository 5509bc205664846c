"""Sirens: signed orders by MQTT, what devices answer, the order repeated that none confirmed.

Channel `siren:TOPIC` orders; one thread listens, and says which siren does not do what it was told.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.api.alerts import Notification
from monitor.api.broker import KEYS_FILE, Access, Keyring, SigningKey, is_signed, read_access, sign
from monitor.api.database import Database
from monitor.api.delivery import MqttPublisher
from monitor.api.errors import ConfigError, DeliveryError, SlopewardError, StoreBusyError
from monitor.api.sites import Site, find_channel_traits, find_topic_fault, split_channel
from monitor.api.text import Template, Timestamp, canonical_json, format_iso
from monitor.features.telephony.queries.siren_orders import (
    SirenOrder,
    confirm_order,
    load_open_orders,
    make_order,
    repeat_order,
)

_LOG = logging.getLogger(__name__)
EVERY_S: Final = 0.5
CONFIRM: Final = "/confirm"
_ANSWERS: Final = Template("siren.answers", "siren {topic}: was ordered {wanted} and answers: {said}")
_SILENT: Final = Template("siren.silent", "siren {topic}: was ordered {wanted} and has not confirmed it since {at}")
_MOST: Final = 200  # answers that wait; more are dropped, and the order is repeated
_LARGEST: Final = 4096
SOUND_FOR_S: Final = 180.0
VALID_FOR_S: Final = 300.0
_NO_RECIPIENT: Final = Template("delivery.siren.no_recipient", "siren: the site file names no such recipient any more")


class SirenNotifier:
    """Orders at the levels that the recipient names, and ends it below them; taken is an order when the broker has it.

    Settings: the broker, the keys of the signatures, SLOPEWARD_SIREN__VALID_FOR_S and SOUND_FOR_S.
    """

    def __init__(self, address: str, environ: Mapping[str, str], db: Database | None) -> None:
        if fault := find_topic_fault(f"siren:{address}"):
            raise ConfigError(f"channel {fault}")
        self._topic, self._db = address, db
        self._publisher = MqttPublisher(read_access(environ), name="siren")
        state = Path(environ.get("SLOPEWARD_PATHS__STATE", "var"))
        self._keyring = Keyring(state / KEYS_FILE, environ.get("SLOPEWARD_SIGNING__KEYS", ""))
        self._valid_for = timedelta(seconds=float(environ.get("SLOPEWARD_SIREN__VALID_FOR_S", VALID_FOR_S)))
        self._sound_s = float(environ.get("SLOPEWARD_SIREN__SOUND_FOR_S", SOUND_FOR_S))

    def deliver(self, notification: Notification) -> str:
        """Write the order down, publish it, and wait for the broker."""
        n, now = notification, datetime.now(UTC)
        if n.id and n.ledger != "hazard":
            raise DeliveryError("siren: takes hazards alone", permanent=True)
        if n.id and n.sounds_from is None and n.level > 0:
            raise DeliveryError(_NO_RECIPIENT(), permanent=True)
        if self._db is None:
            raise DeliveryError("siren: orders are kept in the database, which is away", permanent=True)
        keys = self._keyring.known()
        if not keys:
            raise DeliveryError("siren: there is no key to sign with; see `slopeward broker keys`")
        order = self._db.do(make_order, self._topic, n, now, self._valid_for)
        content = format_order(order, self._sound_s)
        self._publisher.publish(self._topic, sign(self._topic, content, keys, now))
        return f"siren {order.sequence}"


def format_order(order: SirenOrder, sound_s: float) -> str:
    """The order as JSON, not signed yet."""
    return canonical_json(
        {
            "sequence": order.sequence,
            "wanted": order.wanted,
            "site": order.site,
            "level": order.level,
            "level_name": order.level_name,
            "exercise": order.exercise,
            "sound_s": sound_s,
            "ordered_at": format_iso(order.ordered_at),
            "valid_until": format_iso(order.valid_until),
        }
    )


def list_topics(sites: Iterable[Site]) -> tuple[str, ...]:
    """The topics of all sirens that site files name."""
    channels = (c for site in sites for r in site.recipients for one in r.everybody for c in one.channels)
    return tuple(sorted({split_channel(c)[1] for c in channels if find_channel_traits(c).orders}))


class Sirens:
    """One thread, where there are sirens.

    `find_keys`: the keys by which orders and answers are signed; `confirm_within_s`: then an order is repeated, and its
    silence is trouble; `valid_for_s`: of each order; `sound_s`: how long a device sounds at most.
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
