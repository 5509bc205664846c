"""What a foreign client can do at the running broker, found out by being one; nothing real is taken or overwritten."""

import contextlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import paho.mqtt.client as paho

from monitor.broker.access import Access
from monitor.broker.logins import DOCTOR
from monitor.broker.probe import TRIED, connected, subscribe

PATIENCE_S: Final = 3.0
SITES: Final = 20  # more are not tried


@dataclass(frozen=True, slots=True)
class BrokerProbeResult:
    """What one foreign client was let do."""

    came_in: bool
    spoke_for: tuple[str, ...] = ()  # sites
    spoke_as_service: tuple[str, ...] = ()  # kinds of topics
    took_session: bool = False


def try_anonymous(own: Access, door: Access, sites: Sequence[str], client_id: str) -> BrokerProbeResult:
    """A client without a login."""
    return _try(own, replace(door, username="", password=""), sites, client_id)


def try_foreign(own: Access, door: Access, password: str, sites: Sequence[str], client_id: str) -> BrokerProbeResult:
    """A client with a login that is right and may do nothing that counts."""
    return _try(own, replace(door, username=DOCTOR, password=password), sites, client_id)


def _try(own: Access, foreign: Access, sites: Sequence[str], client_id: str) -> BrokerProbeResult:
    mark = uuid.uuid4().hex[:8]
    try:
        with connected(foreign, f"{DOCTOR}-x{mark}", expiry_s=0) as (client, _, _):
            # readings go to sites that are: what is let through waits in the quarantine; the rest to one that is not
            readings = {site: f"slopeward/v1/{site}/doctor/obs" for site in sites[:SITES]}
            as_service = {kind: f"slopeward/v1/doctor-{mark}/{kind}" for kind in ("state", "alert", "x/backfill")}
            delivered = _find_delivered(own, client, [*readings.values(), *as_service.values()], mark)
    except ConnectionRefusedError:
        return BrokerProbeResult(came_in=False)
    return BrokerProbeResult(
        True,
        tuple(site for site, topic in readings.items() if topic in delivered),
        tuple(kind for kind, topic in as_service.items() if topic in delivered),
        _takes_session(own, foreign, client_id, mark),
    )


def _find_delivered(own: Access, client: paho.Client, topics: Sequence[str], mark: str) -> set[str]:
    """Which of the topics reach the service when the client publishes on them: an answer of the broker proves less."""
    delivered: set[str] = set()
    refused: set[int] = set()

    def note(_client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.add(mid)

    client.on_publish = note
    with connected(own, f"slopeward-doctor-{mark}", expiry_s=0) as (listener, _, _):
        listener.on_message = lambda _c, _u, message: delivered.add(message.topic)
        for topic in topics:
            subscribe(listener, topic)
        sent = {client.publish(topic, TRIED, qos=1).mid: topic for topic in topics}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and len(refused) + len(delivered) < len(sent):
            time.sleep(0.02)
    return delivered


def _takes_session(own: Access, foreign: Access, client_id: str, mark: str) -> bool:
    """Whether a foreign client ends the connection of ours by bearing its id; the id is one of the service's kind."""
    name = f"{client_id}-doctor-{mark}"
    ends: list[object] = []
    with connected(own, name, expiry_s=0) as (victim, _, _):
        victim.on_disconnect = lambda *_: ends.append(None)
        with contextlib.suppress(OSError), connected(foreign, name, expiry_s=0):
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline and not ends:
                time.sleep(0.02)
        return bool(ends)
