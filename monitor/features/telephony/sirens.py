"""Channel `siren:TOPIC`: signed orders to sirens by MQTT.

A thread receives the confirmations of the devices, repeats orders that no device confirmed, and reports sirens that do
not obey.
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
_ANSWERS: Final = Template("siren.answers", "siren {topic} was ordered {wanted} and reports: {said}")
_SILENT: Final = Template("siren.silent", "siren {topic} was ordered {wanted} at {at} and has not confirmed it")
# At most this many confirmations wait to be stored. The oldest are dropped, and their orders are repeated.
_MAX_WAITING: Final = 200
# Bytes of a confirmation.
_LARGEST: Final = 4096
SOUND_FOR_S: Final = 180.0
VALID_FOR_S: Final = 300.0
_NO_RECIPIENT: Final = Template(
    "delivery.siren.no_recipient", "siren: the site file no longer has a recipient with this siren"
)


class SirenNotifier:
    """Orders a siren to sound at the levels of its recipients, and to stop below them.

    An order is delivered when the broker has acknowledged it. Settings: the broker, the keys of the signatures,
    SLOPEWARD_SIREN__VALID_FOR_S and SOUND_FOR_S.
    """

    def __init__(self, address: str, environ: Mapping[str, str], db: Database | None) -> None:
        if fault := find_topic_fault(f"siren:{address}"):
            raise ConfigError(f"channel {fault}")
        self._topic = address
        self._db = db
        self._publisher = MqttPublisher(read_access(environ), name="siren")
        state = Path(environ.get("SLOPEWARD_PATHS__STATE", "var"))
        self._keyring = Keyring(state / KEYS_FILE, environ.get("SLOPEWARD_SIGNING__KEYS", ""))
        self._valid_for = timedelta(seconds=float(environ.get("SLOPEWARD_SIREN__VALID_FOR_S", VALID_FOR_S)))
        self._sound_s = float(environ.get("SLOPEWARD_SIREN__SOUND_FOR_S", SOUND_FOR_S))

    def deliver(self, notification: Notification) -> str:
        """Store the order, publish it and return its id; wait for the acknowledgement of the broker."""
        n = notification
        now = datetime.now(UTC)
        if n.id and n.ledger != "hazard":
            raise DeliveryError("siren: only alerts about slopes can be sent to a siren", permanent=True)
        if n.id and n.sounds_from is None and n.level > 0:
            raise DeliveryError(_NO_RECIPIENT(), permanent=True)
        if self._db is None:
            raise DeliveryError("siren: orders are kept in the database, which is away", permanent=True)
        keys = self._keyring.readable_keys()
        if not keys:
            raise DeliveryError("siren: there is no key to sign with; see `slopeward broker keys`")
        order = self._db.run_write(make_order, self._topic, n, now, self._valid_for)
        content = format_order(order, self._sound_s)
        self._publisher.publish(self._topic, sign(self._topic, content, keys, now))
        return f"siren {order.sequence}"


def format_order(order: SirenOrder, sound_s: float) -> str:
    """Return an order as JSON without signatures."""
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
    """Return the topics of all sirens of site files."""
    people = (person for site in sites for recipient in site.recipients for person in recipient.everybody)
    channels = {channel for person in people for channel in person.channels}
    return tuple(sorted({split_channel(channel)[1] for channel in channels if find_channel_traits(channel).orders}))


class Sirens:
    """Receives the confirmations of sirens, and repeats orders, in one thread.

    Args:
        find_keys: Returns the keys that sign orders and confirmations.
        confirm_within_s: After this time without confirmation an order is repeated, and the siren is reported.
        valid_for_s: How long devices obey an order.
        sound_s: How long a device sounds at most.
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
        self._db = db
        self._clock = clock
        self.topics = tuple(topics)
        self._find_keys = find_keys
        self._within = timedelta(seconds=confirm_within_s)
        self._valid_for = timedelta(seconds=valid_for_s)
        self._sound_s = sound_s
        self._received: deque[tuple[str, bytes]] = deque(maxlen=_MAX_WAITING)
        self._troubles: dict[str, str] = dict.fromkeys(self.topics, "")
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._publisher = MqttPublisher(
            access, name="sirens", filters=[f"{topic}{CONFIRM}" for topic in self.topics], on_message=self._receive
        )

    def start(self) -> None:
        """Start the thread, if there are sirens."""
        if self.topics:
            self._publisher.listen()
            self._thread = threading.Thread(target=self._run, name="sirens", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop the thread and disconnect."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._publisher.close()

    def find_troubles(self) -> dict[str, str]:
        """Return for each siren why it does not obey its order; empty if it does."""
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
            except Exception:  # the next round continues
                _LOG.exception("sirens")
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def follow_once(self) -> None:
        """Store the confirmations, then repeat orders that were not confirmed in time."""
        if not self._db.can_send():
            return
        now = self._clock()
        while self._received:
            topic, payload = self._received[0]
            self._take(topic, payload, now)
            # Remove it only after it is stored, so that it is not lost if the database is busy.
            self._received.popleft()
        with self._db.read() as c:
            waiting = {order.topic: order for order in load_open_orders(c)}
        for topic in self.topics:
            order = waiting.get(topic)
            is_late = order is not None and now - order.ordered_at >= self._within
            self._troubles[topic] = _describe(order) if order is not None and is_late else ""
            if order is not None and now - order.sent_at >= self._within:
                self._repeat(order, now)

    def _take(self, topic: str, payload: bytes, now: datetime) -> None:
        """Store a confirmation if one of the keys signed it."""
        try:
            if not is_signed(f"{topic}{CONFIRM}", payload, self._find_keys()):
                raise ValueError("not signed")
            document = json.loads(payload)
            sequence, state, device = document["sequence"], document["state"], document.get("device", "")
            is_text = all(isinstance(text, str) and text.isprintable() for text in (state, device))
            if type(sequence) is not int or not 0 < sequence < 1 << 62 or not is_text:
                raise ValueError("not as documented")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.error("siren %s: an invalid confirmation is ignored: %s", topic, str(error)[:200])
            return
        self._db.run_write(confirm_order, topic, sequence, state, device, now)

    def _repeat(self, order: SirenOrder, now: datetime) -> None:
        """Publish an order again, with a new end of its validity."""
        repeated = self._db.run_write(repeat_order, order.id, now, self._valid_for)
        try:
            keys = self._find_keys()
        except (SlopewardError, OSError) as error:
            raise DeliveryError(f"siren: the keys cannot be read: {error}") from error
        content = format_order(repeated, self._sound_s)
        self._publisher.publish(order.topic, sign(order.topic, content, keys, now), timeout_s=2.0)


def _describe(order: SirenOrder) -> str:
    if order.confirmed_at is not None:
        return _ANSWERS(topic=order.topic, wanted=order.wanted, said=str(order.said))
    return _SILENT(topic=order.topic, wanted=order.wanted, at=Timestamp.of(order.ordered_at, "minute"))
