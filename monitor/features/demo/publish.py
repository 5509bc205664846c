"""Publish messages with acknowledgements, at once or at the pace of a clock."""

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final, Self

from monitor.api.broker import parse_access
from monitor.api.errors import BrokerError, ConfigError
from monitor.api.sites import TOPIC_ROOT
from monitor.features.demo.slope import SITE_ID, SimulatedMessage

IN_FLIGHT: Final = 500
PATIENCE_S: Final = 10.0


class Publisher:
    """Publisher with QoS 1 that counts acknowledged messages.

    One thread publishes. The network thread only records acknowledged message ids; `settle` matches them with the keys.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        ca_file: str = "",
        *,
        in_flight: int = IN_FLIGHT,
        on_acknowledged: Callable[[str], None] | None = None,
    ) -> None:
        try:
            self._access = parse_access(url, username, password, ca_file)
        except ConfigError:
            raise BrokerError(f"expected mqtt://host:port or mqtts://host:port, got {url!r}") from None
        # MQTT 3.1.1, because the demo broker supports no other version.
        self._client = self._access.open_client(f"slope-{uuid.uuid4().hex[:10]}", mqtt5=False)
        self._client.max_inflight_messages_set(in_flight)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._note_connect
        self._client.on_publish = self._note_publish
        self._in_flight = in_flight
        self._on_acknowledged = on_acknowledged
        self._connected = threading.Event()
        self._has_acknowledged = threading.Event()
        self._refused = ""
        self._acknowledged: deque[int] = deque()
        self._pending: dict[int, str] = {}
        self.count = 0  # number of acknowledged messages

    def __enter__(self) -> Self:
        try:
            self._client.connect(*self._access.target, keepalive=30)
        except OSError as error:
            raise BrokerError(f"the broker at {self._access.url} does not answer: {error}") from error
        self._client.loop_start()
        if not self._connected.wait(PATIENCE_S):
            self._client.loop_stop()
            raise BrokerError(f"the broker at {self._access.url} refused: {self._refused or 'no answer'}")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect. Messages without an acknowledgement are lost."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, key: str = "") -> None:
        """Send a message. Block while too many messages are not acknowledged."""
        while len(self._pending) >= self._in_flight:
            self._has_acknowledged.wait(0.5)
            self._has_acknowledged.clear()
            self.settle()
        info = self._client.publish(topic, payload, qos=1)
        self._pending[info.mid] = key
        self.settle()

    def settle(self) -> int:
        """Count acknowledged messages. Return how many are not acknowledged yet."""
        while self._acknowledged:
            key = self._pending.pop(self._acknowledged.popleft(), None)
            if key is not None:
                self.count += 1
                if self._on_acknowledged is not None:
                    self._on_acknowledged(key)
        return len(self._pending)

    def wait(self, timeout_s: float) -> None:
        """Wait until all messages are acknowledged. Raises BrokerError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.settle():
            if time.monotonic() > deadline:
                raise BrokerError(f"{len(self._pending)} messages were not acknowledged within {timeout_s:g} s")
            self._has_acknowledged.wait(0.1)
            self._has_acknowledged.clear()

    def _note_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        else:
            self._connected.set()

    def _note_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        # Paho holds a lock here. Waiting for another lock could deadlock.
        self._acknowledged.append(mid)
        self._has_acknowledged.set()


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """Number of published and acknowledged messages."""

    history: int
    live: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message and the time at which it is sent."""

    at: datetime
    topic: str
    payload: bytes
    key: str


def sample_to_message(sample: SimulatedMessage) -> OutgoingMessage:
    """Return the message of a simulated sample. Its key is `source/boot_id/seq`."""
    payload = sample.payload
    key = f"{payload['source']}/{payload['boot_id']}/{payload['seq']}"
    text = json.dumps(payload, separators=(",", ":")).encode()
    return OutgoingMessage(sample.at, f"{TOPIC_ROOT}/{SITE_ID}/{sample.station}/obs", text, key)


@dataclass(frozen=True, slots=True)
class PlayPace:
    """When and how fast messages are sent. Messages before `live_from` are sent at once."""

    live_from: datetime
    speed: float  # simulated seconds per second
    follow: bool = False  # continue in real time after the present until the messages end


def play(
    messages: Iterable[OutgoingMessage],
    publisher: Publisher,
    pace: PlayPace,
    *,
    clock: Callable[[], datetime],
    stop: threading.Event,
    on_history: Callable[[int], None] | None = None,
    on_present: Callable[[], None] | None = None,
) -> PublishedCount:
    """Publish messages in time order, none before its time.

    Args:
        messages: The messages in time order.
        publisher: The publisher.
        pace: When and how fast messages are sent.
        clock: Returns the present time.
        stop: Ends the publishing when set.
        on_history: Called with the number of messages before `pace.live_from` when they are acknowledged.
        on_present: Called when the messages have reached the present.
    """
    remaining = iter(messages)
    first_live: list[OutgoingMessage] = []
    history = 0
    for message in remaining:
        if message.at >= pace.live_from or stop.is_set():
            first_live = [message]
            break
        publisher.publish(message.topic, message.payload, message.key)
        history += 1
    publisher.wait(120.0)
    if on_history is not None:
        on_history(history)
    live = 0
    until = None
    started_s = time.monotonic()
    for message in chain(first_live, remaining):
        due_s = started_s + (message.at - pace.live_from).total_seconds() / pace.speed
        if message.at > clock() and on_present is not None:
            publisher.wait(60.0)
            on_present()
            on_present = None
        if message.at > clock() and not pace.follow:
            break
        while not stop.is_set() and (time.monotonic() < due_s or message.at > clock()):
            publisher.settle()
            stop.wait(0.05)
        if stop.is_set():
            break
        publisher.publish(message.topic, message.payload, message.key)
        live += 1
        until = message.at
    publisher.wait(60.0)
    return PublishedCount(history, live, until)
