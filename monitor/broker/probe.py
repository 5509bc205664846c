"""What a broker does for a client that is away, found out by being one: does it keep the session, and how much."""

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

KEEPS: Final = 1500  # more than the 1,000 that Mosquitto keeps as it comes
USUAL_BYTES: Final = 300
PATIENCE_S: Final = 10.0  # without any progress: a link may be slow
QUIET_S: Final = 1.0  # after which it is asked whether more waits
END: Final = b"end"  # comes behind all that waited
EXPIRY_S: Final = 30 * 86400
MOST_BYTES: Final = 4096  # of a message of the trial: 1,500 of them are sent each day
TRIED: Final = b"tried by slopeward doctor"  # no alert and no state: nobody can take it for one


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Found facts; `session_expiry_s` is what the broker grants when it is less than what was asked."""

    session_present: bool
    session_expiry_s: float | None
    kept: int


def probe_broker(access: Access, size_bytes: float = USUAL_BYTES) -> BrokerFacts:
    """Subscribe, leave, let a second client publish, come back and count; cleans up after itself.

    The messages are of the given size, since a broker may count in bytes what it keeps.

    Raises:
        OSError: the broker does not answer or refuses.
    """
    name = f"slopeward-doctor-{uuid.uuid4().hex[:8]}"
    topic = f"slopeward/doctor/{name}"
    with connected(access, name) as (client, _, properties):
        granted = getattr(properties, "SessionExpiryInterval", None)
        subscribe(client, topic)
    with connected(access, f"{name}-pub", expiry_s=0) as (client, _, _):
        _publish_all(client, topic, bytes(max(1, min(MOST_BYTES, round(size_bytes)))))
    received: list[bytes] = []
    with connected(access, name, received=received) as (client, present, _):
        if present:
            _await_all(client, topic, received)
    with connected(access, name, expiry_s=0, clean=True):
        pass  # takes the session away again
    return BrokerFacts(present, granted, sum(one != END for one in received))


def _publish_all(client: paho.Client, topic: str, payload: bytes) -> None:
    """Publish what a broker should keep, and wait until it has acknowledged the last, however slow the link is."""
    infos = [client.publish(topic, payload, qos=1) for _ in range(KEEPS)]
    for info in infos:
        info.wait_for_publish(PATIENCE_S)
        if not info.is_published():
            raise TimeoutError("the broker does not acknowledge what is published")


def _await_all(client: paho.Client, topic: str, received: list[bytes]) -> None:
    """Wait for all that was kept: on a slow link a quiet second is not the end, what is published now comes behind."""
    seen, quiet_s, is_requested = 0, time.monotonic(), False
    while len(received) < KEEPS and END not in received:
        if len(received) != seen:
            seen, quiet_s = len(received), time.monotonic()
        if not is_requested and time.monotonic() - quiet_s >= QUIET_S:
            client.publish(topic, END, qos=1)
            is_requested = True
        if time.monotonic() - quiet_s >= PATIENCE_S:
            return
        time.sleep(0.02)


def subscribe(client: paho.Client, topic: str) -> None:
    """Subscribe and return when the broker has answered."""
    done = threading.Event()
    client.on_subscribe = lambda *_: done.set()
    client.subscribe(topic, qos=1)
    if not done.wait(PATIENCE_S):
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
    """A connected client, whether the broker knew it, and the properties it answered with."""
    client = access.open_client(client_id, mqtt5=True)
    answer: list[tuple[Any, Any, Any]] = []
    arrived = threading.Event()

    def note(_client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        answer.append((flags, reason, properties))
        arrived.set()

    def count(_client: Any, _data: Any, message: Any) -> None:
        if received is not None:
            received.append(bytes(message.payload))

    client.on_connect, client.on_message = note, count
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry_s
    client.connect(*access.target, keepalive=30, clean_start=clean, properties=properties)
    client.loop_start()
    try:
        if not arrived.wait(PATIENCE_S):
            raise TimeoutError("the broker does not answer a connection")
        flags, reason, answered = answer[0]
        if reason.is_failure:
            raise ConnectionRefusedError(str(reason))
        yield client, bool(flags.session_present), answered
    finally:
        client.disconnect()
        client.loop_stop()
