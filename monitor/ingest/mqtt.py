"""Paho in, nothing else: a persistent session whose messages are acknowledged by the writer, after its commit."""

import logging
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from monitor.broker.access import Access, PayloadLimits, ServiceClient
from monitor.ingest.message import BrokerMessage
from monitor.ingest.queries.messages import BEGINNING_BYTES, KEPT_BYTES
from monitor.text.message import Template

PIECE_BYTES: Final = 1 << 20  # one memory for all of them: a large message comes in few turns of the interpreter


class BufferedSocket:
    """A connected socket that is read in large pieces, as paho uses one."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped
        self._piece = memoryview(bytearray(PIECE_BYTES))
        self._at = self._end = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    @property
    def ahead(self) -> int:
        """Bytes that were read from the network and nobody has asked for yet."""
        return self._end - self._at

    def pending(self) -> int:
        """Bytes that can be read without waiting for the network."""
        inner = getattr(self._wrapped, "pending", None)
        return self.ahead + (inner() if inner is not None else 0)

    def recv(self, size: int) -> bytes | memoryview:
        """At most so many bytes, good until the next call; raises BlockingIOError where there are none now.

        They are empty where the connection ended.
        """
        if self._at == self._end:
            self._end, self._at = int(self._wrapped.recv_into(self._piece)), 0
        found = self._piece[self._at : min(self._at + size, self._end)]
        self._at += len(found)
        return found


log: Final = logging.getLogger(__name__)
RECEIVE_MAXIMUM: Final = 4000  # unacknowledged messages the broker may send: eight batches
_NOT_YET: Final = Template("broker.not_yet", "not connected yet")
_REFUSED: Final = Template("broker.refused", "the broker refused the connection: {problem}")
_NO_ANSWER: Final = Template("broker.no_answer", "the broker at {address} does not answer: {problem}")
_ENDED: Final = Template("broker.ended", "the connection ended: {problem}")
_OTHER_CLIENT: Final = Template("broker.other_client", "another client uses the id '{id}'")
_NO_TOPIC: Final = Template("broker.subscription", "the broker refused the subscription to {topic}: {problem}")
NEVER_EXPIRES: Final = 0xFFFFFFFF
NEVER_RETAINED: Final = SubscribeOptions.RETAIN_DO_NOT_SEND
_TAKEN_OVER: Final = 0x8E
_PUBACK: Final = struct.Struct("!BBH")  # type, remaining length, packet identifier: reason "success" is implied
_PUBACK_TYPE: Final = 0x40


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """One session at the broker."""

    name: str  # live or backfill
    client_id: str  # under which the broker keeps it
    filters: tuple[str, ...]  # topics that are subscribed
    # those of `filters` whose readings count from their reception, so that none may have waited
    undated: frozenset[str] = frozenset()


def list_subscriptions(session: BrokerSession, *, send_retained: bool = True) -> list[tuple[str, SubscribeOptions]]:
    """Return the topics of a session with their MQTT 5 subscription options.

    The broker does not return our own messages, and marks retained messages. Topics without a time of measurement use
    QoS 0: a message that waited would get a wrong time.

    Args:
        session: Session to subscribe.
        send_retained: Whether the broker sends retained messages after the subscription.
    """
    handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if send_retained else NEVER_RETAINED
    dated = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=handling)
    undated = SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True, retainHandling=NEVER_RETAINED)
    return [(topic, undated if topic in session.undated else dated) for topic in session.filters]


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us; `session_present` False = it keeps nothing of us."""

    name: str  # live or backfill
    client_id: str
    session_present: bool
    at: datetime


class MqttSession:
    """One client with a fixed id and a session that never expires.

    A message that is retained where none is kept is read, and cleared from the broker as it comes: whoever may publish
    under ever new names must not fill the broker's memory with them.

    Callbacks only enqueue. `acknowledge` may be called from another thread; an acknowledgement of an earlier connection
    is dropped, because the broker counts anew after each connect and sends the message again.

    The id is that of the service, not of the machine: whoever connects by it has the session with all that waits in it,
    and the client before is sent away. So it connects again only while `may_connect` says that the session is its own.
    """

    def __init__(
        self,
        one: BrokerSession,
        access: Access,
        on_message: Callable[[BrokerMessage], None],
        on_connected: Callable[[Connected], None],
        clock: Callable[[], datetime],
        keeps: Callable[[str], bool] = lambda _: True,
        may_connect: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = one.name
        self.connected = False
        self.listening = False  # connected, and the broker has confirmed the subscriptions
        self.problem: str = _NOT_YET()  # a message; empty where there is none
        self.refused = ""  # the subscription that the broker does not grant; stays until it does
        self.epoch = 0
        self.dropped_acknowledgements = 0
        self.cleared = 0
        self._session = one
        self._access, self._client_id = access, one.client_id
        self._filters, self._undated = one.filters, one.undated
        self._keeps, self._may_connect = keeps, may_connect
        self._hand_over, self._on_connected_event, self._clock = on_message, on_connected, clock
        self._lock = threading.Lock()  # an epoch does not change while an acknowledgement is queued
        self._client = self._make_client()

    def _make_client(self) -> ServiceClient:
        access = self._access
        client = access.open_client(
            self._client_id, mqtt5=access.mqtt5, manual_ack=True, clean_session=None if access.mqtt5 else False
        )
        client.wrap = BufferedSocket
        client.keeping = PayloadLimits(KEPT_BYTES, BEGINNING_BYTES)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 5)  # a broker that forgot us keeps nothing meanwhile
        return client

    # ---- life --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Connect in the background and stay connected; waits for nobody."""
        host, port = self._access.target
        if self._access.mqtt5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = NEVER_EXPIRES
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            self._client.connect_async(host, port, keepalive=30, clean_start=False, properties=properties)
        else:
            self._client.connect_async(host, port, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        """Leave; the session and what is not acknowledged stay with the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    # ---- callbacks, in the network thread ----------------------------------------------------------------------
    def _on_pre_connect(self, _client: Client, _data: Any) -> None:
        if not self._may_connect():  # paho takes it for a connection that failed, and tries again later
            raise ConnectionRefusedError("another core may have taken over, and its session with it")

    def _on_connect(
        self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.problem = _REFUSED(problem=str(reason))
            log.error("%s: %s", self.name, self.problem)
            return
        with self._lock:
            self.epoch += 1
            self.connected = True
        self.problem = ""
        log.info("%s: connected, session %s", self.name, "present" if flags.session_present else "new")
        if not self._filters:
            self.listening = True
        elif self._access.mqtt5:
            client.subscribe(list_subscriptions(self._session))
        else:
            client.subscribe([(topic, int(topic not in self._undated)) for topic in self._filters])
        self._on_connected_event(Connected(self.name, self._client_id, flags.session_present, self._clock()))

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        cause = sys.exc_info()[1]  # paho calls this while it handles the error, and tells nothing else
        self.problem = _NO_ANSWER(address=self._access.url, problem=str(cause))

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        with self._lock:
            self.epoch += 1  # before paho empties its out queue: nothing stale is sent on the next connection
            was_connected, self.connected, self.listening = self.connected, False, False
        if was_connected or not self.problem:  # a refusal has said more already
            self.problem = _ENDED(problem=str(reason))
        if reason.value == _TAKEN_OVER:
            self.problem = _OTHER_CLIENT(id=self._client_id)
            log.error("%s: %s", self.name, self.problem)

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        refused: str = ""
        for topic, reason in zip(self._filters, reasons, strict=False):
            if reason.is_failure:
                self.problem = refused = _NO_TOPIC(topic=topic, problem=str(reason))
                log.error("%s: %s", self.name, self.problem)
        self.refused = refused
        self.listening = self.connected and not any(reason.is_failure for reason in reasons)

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = repr(message._topic)  # noqa: SLF001 - only the raw bytes tell what came
        else:
            if message.retain and not message.payload and not message.qos:
                return  # our other session has cleared it
            if message.retain and message.payload and not self._keeps(topic):
                client.publish(topic, b"", qos=0, retain=True)
                self.cleared += 1
        kept = message.retain and not self._access.mqtt5  # MQTT 5 tells how it was published
        raw, at, whole = bytes(message.payload), self._clock(), self._client.whole
        self._hand_over(
            BrokerMessage(topic, raw, at, self.name, message.mid, message.qos, self.epoch, retained=kept, whole=whole)
        )

    # ---- from the writer ---------------------------------------------------------------------------------------
    def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge messages in this order; those of an earlier connection are left out."""
        with self._lock:
            current = [m.mid for m in messages if m.qos and m.epoch == self.epoch and self.connected]
            self.dropped_acknowledgements += sum(1 for m in messages if m.qos) - len(current)
            if current:
                # paho would queue, ring and write each of them apart: three system calls a message
                packets = b"".join(_PUBACK.pack(_PUBACK_TYPE, 2, mid) for mid in current)
                self._client._packet_queue(_PUBACK_TYPE, packets, current[-1], 1)  # noqa: SLF001

    def publish(self, topic: str, payload: str | bytes, qos: int = 1) -> None:
        """Send a message; with QoS 1 it waits in memory while there is no connection."""
        self._client.publish(topic, payload, qos=qos)
