"""Test as a client whether a broker keeps the session of an absent client, and how many messages."""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from monitor.broker.access import Access

# Number of messages that are published for the absent client. By default Mosquitto keeps 1,000 messages.
PROBE_MESSAGES: Final = 1500
DEFAULT_MESSAGE_BYTES: Final = 300
# Largest size of these messages, which are sent every day.
MAX_MESSAGE_BYTES: Final = 4096
# How long to wait without any progress, since a connection may be slow.
TIMEOUT_S: Final = 10.0
# Pause in the delivery after which the end marker is published.
QUIET_S: Final = 1.0
# Marker that the broker delivers after all messages that waited.
END: Final = b"end"
EXPIRY_S: Final = 30 * 86400
# Payload that cannot be mistaken for an alert or a state.
PROBE_PAYLOAD: Final = b"tried by slopeward doctor"


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Result of a test.

    Attributes:
        session_present: Whether the broker kept the session.
        session_expiry_s: Session expiry that the broker grants; None if it grants what was requested.
        kept_messages: Number of messages that it kept, of `PROBE_MESSAGES`.
    """

    session_present: bool
    session_expiry_s: float | None
    kept_messages: int


def probe_broker(access: Access, size_bytes: float = DEFAULT_MESSAGE_BYTES) -> BrokerFacts:
    """Subscribe and disconnect, let a second client publish, then reconnect and count the messages.

    The session is deleted at the end.

    Args:
        access: How to reach the broker.
        size_bytes: Size of the messages. A broker may limit its queue in bytes.

    Raises:
        OSError: The broker does not answer or refuses the connection.
    """
    name = f"slopeward-doctor-{uuid.uuid4().hex[:8]}"
    topic = f"slopeward/doctor/{name}"
    with connected(access, name) as (client, _, properties):
        granted = getattr(properties, "SessionExpiryInterval", None)
        subscribe(client, topic)
    with connected(access, f"{name}-pub", expiry_s=0) as (client, _, _):
        _publish_all(client, topic, bytes(max(1, min(MAX_MESSAGE_BYTES, round(size_bytes)))))
    received: list[bytes] = []
    with connected(access, name, received=received) as (client, present, _):
        if present:
            _await_all(client, topic, received)
    with connected(access, name, expiry_s=0, clean=True):
        pass  # a clean start without expiry deletes the session
    return BrokerFacts(present, granted, sum(payload != END for payload in received))


def _publish_all(client: paho.Client, topic: str, payload: bytes) -> None:
    """Publish the messages that the broker should keep, and wait until it has acknowledged all of them."""
    infos = [client.publish(topic, payload, qos=1) for _ in range(PROBE_MESSAGES)]
    for info in infos:
        info.wait_for_publish(TIMEOUT_S)
        if not info.is_published():
            raise TimeoutError("the broker does not acknowledge what is published")


def _await_all(client: paho.Client, topic: str, received: list[bytes]) -> None:
    """Wait for the messages that the broker kept.

    A pause is not the end on a slow connection. Therefore a marker is published after a pause, which the broker
    delivers last.
    """
    count = 0
    quiet_since_s = time.monotonic()
    is_marked = False
    while len(received) < PROBE_MESSAGES and END not in received:
        if len(received) != count:
            count = len(received)
            quiet_since_s = time.monotonic()
        if not is_marked and time.monotonic() - quiet_since_s >= QUIET_S:
            client.publish(topic, END, qos=1)
            is_marked = True
        if time.monotonic() - quiet_since_s >= TIMEOUT_S:
            return
        time.sleep(0.02)


def subscribe(client: paho.Client, topic: str) -> None:
    """Subscribe and wait for the answer of the broker.

    Raises:
        TimeoutError: The broker does not answer.
    """
    done = threading.Event()
    client.on_subscribe = lambda *_: done.set()
    client.subscribe(topic, qos=1)
    if not done.wait(TIMEOUT_S):
        raise TimeoutError("the broker does not answer a subscription")


@contextlib.contextmanager
def connected(
    access: Access,
    client_id: str,
    *,
    expiry_s: int = EXPIRY_S,
    clean: bool = False,
    received: list[bytes] | None = None,
) -> Iterator[tuple[paho.Client, bool, Any]]:
    """Yield a connected client, whether the broker had kept its session, and the properties of the answer.

    Args:
        access: How to reach the broker.
        client_id: Client id.
        expiry_s: Session expiry to request.
        clean: Whether to discard an existing session.
        received: List to which payloads of received messages are added.

    Raises:
        OSError: The broker does not answer or refuses the connection.
    """
    client = access.open_client(client_id, mqtt5=True)
    answer: list[tuple[Any, Any, Any]] = []
    arrived = threading.Event()

    def note_answer(_client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        answer.append((flags, reason, properties))
        arrived.set()

    def add_message(_client: Any, _data: Any, message: Any) -> None:
        if received is not None:
            received.append(bytes(message.payload))

    client.on_connect = note_answer
    client.on_message = add_message
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry_s
    client.connect(*access.target, keepalive=30, clean_start=clean, properties=properties)
    client.loop_start()
    try:
        if not arrived.wait(TIMEOUT_S):
            raise TimeoutError("the broker does not answer a connection")
        flags, reason, answered = answer[0]
        if reason.is_failure:
            raise ConnectionRefusedError(str(reason))
        yield client, bool(flags.session_present), answered
    finally:
        client.disconnect()
        client.loop_stop()
