"""A publisher that remembers what the broker acknowledged, and a slope played through it at any speed."""

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
    """Publishes with QoS 1 and knows which messages the broker has taken.

    One thread publishes. The network thread only notes what was acknowledged; `settle` matches it with the keys.
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
        # 3.1.1: every broker speaks it, the demo broker nothing else
        self._client = self._access.open_client(f"slope-{uuid.uuid4().hex[:10]}", mqtt5=False)
        self._client.max_inflight_messages_set(in_flight)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._note_connect
        self._client.on_publish = self._note_publish
        self._in_flight, self._on_acknowledged = in_flight, on_acknowledged
        self._connected, self._news = threading.Event(), threading.Event()
        self._refused = ""
        self._acknowledged: deque[int] = deque()
        self._pending: dict[int, str] = {}
        self.count = 0  # acknowledged so far

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
        """Disconnect; messages that were not acknowledged are lost with this client."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, key: str = "") -> None:
        """Send one message; blocks while too many wait for their acknowledgement."""
        while len(self._pending) >= self._in_flight:
            self._news.wait(0.5)
            self._news.clear()
            self.settle()
        info = self._client.publish(topic, payload, qos=1)
        self._pending[info.mid] = key
        self.settle()

    def settle(self) -> int:
        """Take note of what was acknowledged; returns how many messages still wait."""
        while self._acknowledged:
            key = self._pending.pop(self._acknowledged.popleft(), None)
            if key is not None:
                self.count += 1
                if self._on_acknowledged is not None:
                    self._on_acknowledged(key)
        return len(self._pending)

    def wait(self, timeout_s: float) -> None:
        """Wait until everything was acknowledged; raises BrokerError: something was not, in this time."""
        deadline = time.monotonic() + timeout_s
        while self.settle():
            if time.monotonic() > deadline:
                raise BrokerError(f"{len(self._pending)} messages were not acknowledged within {timeout_s:g} s")
            self._news.wait(0.1)
            self._news.clear()

    def _note_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        else:
            self._connected.set()

    def _note_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        # paho holds its own lock here: waiting for another one could deadlock
        self._acknowledged.append(mid)
        self._news.set()


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """What was published and acknowledged."""

    history: int
    live: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send: its instant decides when."""

    at: datetime
    topic: str
    payload: bytes
    key: str


def sample_to_message(sample: SimulatedMessage) -> OutgoingMessage:
    """The message of a simulated sample; its key is `source/boot_id/seq`."""
    payload = sample.payload
    key = f"{payload['source']}/{payload['boot_id']}/{payload['seq']}"
    text = json.dumps(payload, separators=(",", ":")).encode()
    return OutgoingMessage(sample.at, f"{TOPIC_ROOT}/{SITE_ID}/{sample.station}/obs", text, key)


@dataclass(frozen=True, slots=True)
class PlayPace:
    """Up to when messages are sent at once, and how fast the later ones."""

    live_from: datetime
    speed: float  # simulated seconds per second
    follow: bool = False  # go on at the pace of the clock from the present until the messages end


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
    """Publish messages in time order; nothing is ever stamped in the future."""
    rest, first, history = iter(messages), list[OutgoingMessage](), 0
    for one in rest:  # what is older is sent at once
        if one.at >= pace.live_from or stop.is_set():
            first = [one]
            break
        publisher.publish(one.topic, one.payload, one.key)
        history += 1
    publisher.wait(120.0)
    if on_history is not None:
        on_history(history)
    live, until = 0, None
    began = time.monotonic()
    for sample in chain(first, rest):
        due = began + (sample.at - pace.live_from).total_seconds() / pace.speed
        if sample.at > clock() and on_present is not None:
            publisher.wait(60.0)
            on_present()
            on_present = None
        if sample.at > clock() and not pace.follow:
            break
        while not stop.is_set() and (time.monotonic() < due or sample.at > clock()):
            publisher.settle()
            stop.wait(0.05)
        if stop.is_set():
            break
        publisher.publish(sample.topic, sample.payload, sample.key)
        live, until = live + 1, sample.at
    publisher.wait(60.0)
    return PublishedCount(history, live, until)
