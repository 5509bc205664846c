"""Create the service's sessions at a broker before instruments can connect to it.

Mosquitto acknowledges a message of QoS 1 even if no session subscribes to its topic, and then drops it. The sessions
of the service must therefore exist before the broker accepts instruments.
"""

import json
import logging
import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from forecasting.whole_file import write_private
from monitor.broker.access import Access
from monitor.errors import BrokerError
from monitor.ingest.mqtt import NEVER_EXPIRES, BrokerSession, list_subscriptions

log: Final = logging.getLogger(__name__)
SESSIONS_FILE: Final = "sessions.json"
TIMEOUT_S: Final = 10.0


def create_sessions(access: Access, sessions: Iterable[BrokerSession], folder: Path) -> None:
    """Create each session that the broker does not hold, and subscribe each session to its topics.

    Messages that wait in a session stay there. No other client may use the sessions meanwhile.

    Args:
        access: How to reach the broker. It must support MQTT 5.
        sessions: Sessions to create.
        folder: Folder of the broker. The identity of each new session is stored there.

    Raises:
        BrokerError: The broker does not answer, or refuses a connection or all subscriptions of a session. A single
            refused subscription is logged.
    """
    for session in sessions:
        _create_session(access, session, folder)


def load_identity(folder: Path, client_id: str) -> str:
    """Return the random identity of a session, which changes when the session had to be created again.

    A broker that lost its files answers the first connection of the core as if the session had always existed, because
    `create_sessions` has just created it. A new identity shows the core that messages may be lost. It is empty if this
    module did not create the session.
    """
    return str(_load_identities(folder).get(client_id, ""))


def _load_identities(folder: Path) -> dict[str, Any]:
    try:
        identities = json.loads((folder / SESSIONS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return identities if isinstance(identities, dict) else {}


def _create_session(access: Access, session: BrokerSession, folder: Path) -> None:
    answers: list[tuple[Any, Any]] = []
    connected = threading.Event()
    granted: list[Any] = []
    subscribed = threading.Event()

    def on_connect(_client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        answers.append((flags, reason))
        connected.set()

    def on_subscribe(_client: Any, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any) -> None:
        granted.extend(reasons)
        subscribed.set()

    def on_message(_client: Any, _data: Any, _message: MQTTMessage) -> None:
        """Leave the message unacknowledged, so that the broker delivers it to the core."""

    client = access.open_client(session.client_id, mqtt5=True, manual_ack=True)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = NEVER_EXPIRES
    # Mosquitto sends waiting messages at once. They are for the core, so request as few as possible.
    properties.ReceiveMaximum = 1
    try:
        client.connect(*access.target, keepalive=30, clean_start=False, properties=properties)
    except OSError as error:
        raise BrokerError(f"session {session.client_id}: cannot connect to {access.url}: {error}") from error
    client.loop_start()
    try:
        if not connected.wait(TIMEOUT_S):
            raise BrokerError(f"session {session.client_id}: the broker did not answer within {TIMEOUT_S:g} s")
        flags, reason = answers[0]
        if reason.is_failure:
            raise BrokerError(f"session {session.client_id}: the broker refused the connection: {reason}")
        if not flags.session_present:
            # Store the identity before the broker can save the session. A crash in between creates a new identity,
            # which at worst reports a loss that did not happen.
            identities = _load_identities(folder)
            identities[session.client_id] = secrets.token_hex(8)
            write_private(folder / SESSIONS_FILE, json.dumps(identities, indent=1))
            log.info("created session %s at the broker", session.client_id)
        client.subscribe(list_subscriptions(session, send_retained=False))
        if not subscribed.wait(TIMEOUT_S):
            raise BrokerError(f"session {session.client_id}: the broker did not confirm the subscriptions")
        if all(result.is_failure for result in granted):
            raise BrokerError(f"session {session.client_id}: the broker refused all subscriptions: {granted[0]}")
        for topic, result in zip(session.filters, granted, strict=False):
            if result.is_failure:
                log.error("session %s: the broker refused the subscription to %s: %s", session.client_id, topic, result)
    finally:
        client.disconnect()
        client.loop_stop()
