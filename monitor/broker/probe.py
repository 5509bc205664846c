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
PATIENCE_S: Final = 10.0
EXPIRY_S: Final = 30 * 86400


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Found facts; `session_expiry_s` is what the broker grants when it is less than what was asked."""

    session_present: bool
    session_expiry_s: float | None
    kept: int


def probe_broker(access: Access) -> BrokerFacts:
    """Subscribe, leave, let a second client publish, come back and count; cleans up after itself.

    Raises:
        OSError: the broker does not answer or refuses.
    """
    name = f"slopeward-doctor-{uuid.uuid4().hex[:8]}"
    topic = f"slopeward/doctor/{name}"
    with connected(access, name) as (client, _, properties):
        granted = getattr(properties, "SessionExpiryInterval", None)
        subscribe(client, topic)
    with connected(access, f"{name}-pub", expiry_s=0) as (client, _, _):
        infos = [client.publish(topic, b"x", qos=1) for _ in range(KEEPS)]
        infos[-1].wait_for_publish(PATIENCE_S)
    received: list[int] = []
    with connected(access, name, received=received) as (_, present, _):
        last, quiet_since = -1, time.monotonic()
        while len(received) < KEEPS and time.monotonic() - quiet_since < 1.0:
            if len(received) != last:
                last, quiet_since = len(received), time.monotonic()
            time.sleep(0.02)
    with connected(access, name, expiry_s=0, clean=True):
        pass  # takes the session away again
    return BrokerFacts(present, granted, len(received))


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
    received: list[int] | None = None,
) -> Iterator[tuple[paho.Client, bool, Any]]:
    """A connected client, whether the broker knew it, and the properties it answered with."""
    client = access.open_client(client_id, mqtt5=True)
    answer: list[tuple[Any, Any, Any]] = []
    arrived = threading.Event()

    def note(_client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        answer.append((flags, reason, properties))
        arrived.set()

    def count(_client: Any, _data: Any, _message: Any) -> None:
        if received is not None:
            received.append(1)

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
