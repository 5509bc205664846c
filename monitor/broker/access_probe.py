"""Test what a client without rights can do at the running broker.

The tests use topics, sites and sessions of their own where success would change something.
"""

import contextlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import paho.mqtt.client as paho

from monitor.broker.access import Access
from monitor.broker.logins import DOCTOR
from monitor.broker.probe import PROBE_PAYLOAD, connected, subscribe

TIMEOUT_S: Final = 3.0
SITES: Final = 20  # that are tested at most


@dataclass(frozen=True, slots=True)
class BrokerProbeResult:
    """What a client without rights could do.

    Attributes:
        could_connect: Whether it could connect.
        writable_sites: Sites for which it could publish readings.
        writable_service_topics: Kinds of topics of the service on which it could publish.
        could_take_session: Whether it could take over a session of the service.
    """

    could_connect: bool
    writable_sites: tuple[str, ...] = ()
    writable_service_topics: tuple[str, ...] = ()
    could_take_session: bool = False


def try_anonymous(
    service_access: Access, instrument_access: Access, sites: Sequence[str], client_id: str
) -> BrokerProbeResult:
    """Test a client without a login.

    Args:
        service_access: How the service reaches the broker.
        instrument_access: Address for instruments.
        sites: Ids of sites.
        client_id: Client id of the service.
    """
    return _try(service_access, replace(instrument_access, username="", password=""), sites, client_id)


def try_foreign(
    service_access: Access, instrument_access: Access, password: str, sites: Sequence[str], client_id: str
) -> BrokerProbeResult:
    """Test a client with a valid login that has no right that matters. See `try_anonymous`."""
    return _try(service_access, replace(instrument_access, username=DOCTOR, password=password), sites, client_id)


def _try(service_access: Access, foreign: Access, sites: Sequence[str], client_id: str) -> BrokerProbeResult:
    mark = uuid.uuid4().hex[:8]
    try:
        with connected(foreign, f"{DOCTOR}-x{mark}", expiry_s=0) as (client, _, _):
            # Readings are published for existing sites, where they would go to the quarantine. Messages of the service
            # are published for a site that does not exist.
            readings = {site: f"slopeward/v1/{site}/doctor/obs" for site in sites[:SITES]}
            as_service = {kind: f"slopeward/v1/doctor-{mark}/{kind}" for kind in ("state", "alert", "x/backfill")}
            delivered = _find_delivered(service_access, client, [*readings.values(), *as_service.values()], mark)
    except ConnectionRefusedError:
        return BrokerProbeResult(could_connect=False)
    return BrokerProbeResult(
        True,
        tuple(site for site, topic in readings.items() if topic in delivered),
        tuple(kind for kind, topic in as_service.items() if topic in delivered),
        _takes_session(service_access, foreign, client_id, mark),
    )


def _find_delivered(service_access: Access, client: paho.Client, topics: Sequence[str], mark: str) -> set[str]:
    """Return the topics on which the client can publish. A topic counts if a second client receives the message.

    The answer of the broker to the client is not reliable: by MQTT 3.1.1 it is the same for a refused message.
    """
    delivered: set[str] = set()
    refused: set[int] = set()

    def note(_client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.add(mid)

    client.on_publish = note
    with connected(service_access, f"slopeward-doctor-{mark}", expiry_s=0) as (listener, _, _):
        listener.on_message = lambda _c, _u, message: delivered.add(message.topic)
        for topic in topics:
            subscribe(listener, topic)
        sent = {client.publish(topic, PROBE_PAYLOAD, qos=1).mid: topic for topic in topics}
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and len(refused) + len(delivered) < len(sent):
            time.sleep(0.02)
    return delivered


def _takes_session(service_access: Access, foreign: Access, client_id: str, mark: str) -> bool:
    """Return whether a client can end the connection of another client by connecting with its client id.

    The client id resembles one of the service, so that the test does not disturb the service.
    """
    name = f"{client_id}-doctor-{mark}"
    ends: list[object] = []
    with connected(service_access, name, expiry_s=0) as (victim, _, _):
        victim.on_disconnect = lambda *_: ends.append(None)
        with contextlib.suppress(OSError), connected(foreign, name, expiry_s=0):
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline and not ends:
                time.sleep(0.02)
        return bool(ends)
