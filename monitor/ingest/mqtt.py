"""MQTT client of ingest with a persistent session. The writer acknowledges a message after its commit."""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from monitor.broker.access import Access
from monitor.broker.client import ServiceClient
from monitor.broker.message_socket import PayloadLimits, ReceivedPublish
from monitor.ingest.message import BrokerMessage
from monitor.ingest.payload_limits import BEGINNING_BYTES, PAYLOAD_LIMIT
from monitor.text.message import Template

log: Final = logging.getLogger(__name__)
RECEIVE_MAXIMUM: Final = 4000  # unacknowledged messages that the broker may send
KEEPALIVE_S: Final = 30
NEVER_EXPIRES: Final = 0xFFFFFFFF
NEVER_RETAINED: Final = SubscribeOptions.RETAIN_DO_NOT_SEND
_SESSION_TAKEN_OVER: Final = 0x8E  # reason code of MQTT 5
_NOT_YET: Final = Template("broker.not_yet", "not connected yet")
_REFUSED: Final = Template("broker.refused", "the broker refused the connection: {problem}")
_NO_ANSWER: Final = Template("broker.no_answer", "the broker at {address} does not answer: {problem}")
_ENDED: Final = Template("broker.ended", "the connection ended: {problem}")
_OTHER_CLIENT: Final = Template("broker.other_client", "another client uses the id '{id}'")
_NO_TOPIC: Final = Template("broker.subscription", "the broker refused the subscription to {topic}: {problem}")


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """A session that the broker keeps for the service.

    Attributes:
        name: `live` or `backfill`.
        client_id: Id under which the broker keeps the session.
        filters: Topic filters to subscribe to.
        undated: Those of `filters` whose readings get the time of their reception. No such message may wait at the
            broker.
    """

    name: str
    client_id: str
    filters: tuple[str, ...]
    undated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the broker was established.

    Attributes:
        name: `live` or `backfill`.
        client_id: Id of the session.
        session_present: Whether the broker had kept the session.
        at: When the connection was established.
    """

    name: str
    client_id: str
    session_present: bool
    at: datetime


def list_subscriptions(session: BrokerSession, *, send_retained: bool = True) -> list[tuple[str, SubscribeOptions]]:
    """Return the topics of a session with their MQTT 5 subscription options.

    The broker does not return messages of this client, and passes on the retain flag of the publisher. Topics without a
    time of measurement use QoS 0, because a message that waited would get a wrong time.

    Args:
        session: Session to subscribe.
        send_retained: Whether the broker sends retained messages after the subscription.
    """
    handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if send_retained else NEVER_RETAINED
    dated = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=handling)
    undated = SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True, retainHandling=NEVER_RETAINED)
    return [(topic, undated if topic in session.undated else dated) for topic in session.filters]


class MqttSession:
    """Client with a fixed id and a session that never expires.

    The client id belongs to the service and not to a machine. A client that connects with the same id takes over the
    session and its waiting messages, and the broker disconnects the client that used the id until then. Therefore this
    class connects only while `may_connect` returns True.

    Args:
        session: Session to connect to.
        access: Address and login.
        on_message: Called in the network thread for each message. Must return quickly.
        on_connected: Called in the network thread after each connection. Must return quickly.
        clock: Wall clock.
        may_retain: Whether the broker may keep the retained message of a topic. A retained message of another topic is
            read and then removed from the broker, so that a publisher cannot fill the memory of the broker with
            invented topics.
        may_connect: Whether the session belongs to this process.
        has_room: Whether more messages can be handed over. While it returns False nothing is read.
    """

    def __init__(
        self,
        session: BrokerSession,
        access: Access,
        on_message: Callable[[BrokerMessage], None],
        on_connected: Callable[[Connected], None],
        clock: Callable[[], datetime],
        may_retain: Callable[[str], bool] = lambda _: True,
        may_connect: Callable[[], bool] = lambda: True,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = session.name
        self.connected = False
        self.listening = False  # connected, and the broker has confirmed the subscriptions or sent a message
        self.problem: str = _NOT_YET()  # a message; empty if there is no problem
        self.refused = ""  # message about a refused subscription; stays until the broker grants it
        self.connection_number = 0  # increases with each connection and each disconnection
        self.dropped_acknowledgements = 0
        self.cleared = 0  # retained messages that were removed from the broker
        self._session = session
        self._access = access
        self._may_retain = may_retain
        self._may_connect = may_connect
        self._has_room = has_room
        self._on_message = on_message
        self._on_connected_event = on_connected
        self._clock = clock
        self._lock = threading.Lock()  # the number does not change while an acknowledgement is queued
        self._client = self._make_client()

    def _make_client(self) -> ServiceClient:
        access = self._access
        client = access.open_client(
            self._session.client_id,
            mqtt5=access.mqtt5,
            manual_ack=True,
            clean_session=None if access.mqtt5 else False,
        )
        client.read_messages(self._on_publish, PayloadLimits(PAYLOAD_LIMIT, BEGINNING_BYTES), self._has_room)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        # A broker that lost the session keeps no messages until the client is connected again.
        client.reconnect_delay_set(1, 5)
        return client

    def start(self) -> None:
        """Connect in the background and reconnect after each interruption. Return at once."""
        host, port = self._access.target
        if self._access.mqtt5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = NEVER_EXPIRES
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            self._client.connect_async(host, port, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)
        else:
            self._client.connect_async(host, port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect. The broker keeps the session and the messages that are not acknowledged."""
        self._client.disconnect()
        self._client.loop_stop()

    def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge messages in this order. May be called from any thread.

        Messages of an earlier connection are left out: the broker sends them again, with other packet identifiers.
        """
        with self._lock:
            with_qos = [message for message in messages if message.qos]
            current = [
                message.packet_id
                for message in with_qos
                if message.connection_number == self.connection_number and self.connected
            ]
            self.dropped_acknowledgements += len(with_qos) - len(current)
            self._client.acknowledge(current)

    def publish(self, topic: str, payload: str | bytes, qos: int = 1) -> None:
        """Send a message. With QoS 1, paho queues it while there is no connection."""
        self._client.publish(topic, payload, qos=qos)

    # The following methods are called in the network thread.

    def _on_pre_connect(self, _client: Client, _data: Any) -> None:
        if not self._may_connect():
            # Paho treats this as a failed connection and tries again later.
            raise ConnectionRefusedError("another core may have taken over the session")

    def _on_connect(
        self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.problem = _REFUSED(problem=str(reason))
            log.error("%s: %s", self.name, self.problem)
            return
        with self._lock:
            self.connection_number += 1
            self.connected = True
        self.problem = ""
        log.info("%s: connected, session %s", self.name, "present" if flags.session_present else "new")
        session = self._session
        if not session.filters:
            self.listening = True
        elif self._access.mqtt5:
            client.subscribe(list_subscriptions(session))
        else:
            client.subscribe([(topic, 0 if topic in session.undated else 1) for topic in session.filters])
        self._on_connected_event(Connected(self.name, session.client_id, flags.session_present, self._clock()))

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        # Paho calls this while it handles the exception and does not pass it on.
        cause = sys.exc_info()[1]
        self.problem = _NO_ANSWER(address=self._access.url, problem=str(cause))

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        with self._lock:
            # Paho empties its queue of outgoing packets after this call, so no acknowledgement of this connection is
            # sent on the next connection.
            self.connection_number += 1
            was_connected = self.connected
            self.connected = False
            self.listening = False
        if was_connected or not self.problem:  # the problem of a refused connection is more specific
            self.problem = _ENDED(problem=str(reason))
        if reason.value == _SESSION_TAKEN_OVER:
            self.problem = _OTHER_CLIENT(id=self._session.client_id)
            log.error("%s: %s", self.name, self.problem)

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        refused: str = ""
        for topic, reason in zip(self._session.filters, reasons, strict=False):
            if reason.is_failure:
                refused = _NO_TOPIC(topic=topic, problem=str(reason))
                self.problem = refused
                log.error("%s: %s", self.name, refused)
        self.refused = refused
        self.listening = self.connected and not any(reason.is_failure for reason in reasons)

    def _on_publish(self, received: ReceivedPublish) -> None:
        if not self.listening and self.connected and not self.refused:
            # The broker kept the session with its subscriptions. It confirms them after the messages that waited, which
            # may take an hour after a long outage.
            self.listening = True
        is_retained = received.retain
        try:
            topic = received.topic.decode()
        except UnicodeDecodeError:
            topic = repr(received.topic)
        else:
            if is_retained and not received.payload and not received.qos:
                return  # it deletes a retained message and contains no reading
            if is_retained and received.payload and not self._may_retain(topic):
                self._client.publish(topic, b"", qos=0, retain=True)
                self.cleared += 1
        self._on_message(
            BrokerMessage(
                topic,
                received.payload,
                self._clock(),
                self.name,
                received.packet_id,
                received.qos,
                self.connection_number,
                # With MQTT 5 the flag is the one that the publisher set, and does not mean that the broker kept the
                # message.
                is_retained and not self._access.mqtt5,
                full_size=received.full_size,
            )
        )
