"""Read published messages from the socket of a paho client.

Paho reads each packet with three or more system calls, copies a payload several times and holds a payload of any size
in memory. A backlog is read several times faster if many packets are read at once, so ingest parses PUBLISH packets
here. All other packets, the connection and everything that is sent remain with paho.

The size of a message is limited here, and not by the property Maximum Packet Size of MQTT 5, for two reasons:

* The property makes a broker acknowledge a larger message to the instrument and then drop it for this client. Mosquitto
  writes that to its debug log alone, which the service cannot read unless it started the broker. The message would be
  lost without a trace.
* MQTT 3.1.1, which the demonstration broker uses, has no such property, and that broker has no limit of its own.

Therefore a message that is too large is received, and its beginning, its size and its digest are handed over for the
quarantine. It is never held in memory as a whole. The managed broker limits the size of messages in addition
(`max_packet_size`), and `BrokerLog` counts the messages that the broker drops and the clients that it disconnects for
that reason.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from monitor.readings.records import PayloadSize

log: Final = logging.getLogger(__name__)
RECEIVE_BYTES: Final = 1 << 20  # bytes that are read from the network at once
# A topic and the length of the properties are complete this number of bytes after the fixed header.
HEAD_BYTES: Final = (1 << 16) + 16
SIGN_OF_LIFE_S: Final = 5.0
FULL_PAUSE_S: Final = 0.01
_TYPE_BITS: Final = 0xF0
_PUBLISH: Final = 0x30
_QOS_2: Final = 0x04
_RETAIN: Final = 0x01
_CONTINUES: Final = 0x80  # bit of a byte of a length: another byte follows
_LONGEST_LENGTH: Final = 4  # bytes
_SHORTEST_PACKET: Final = 2  # bytes
_PINGRESP: Final = b"\xd0\x00"
_MALFORMED: Final = "the broker sent a malformed PUBLISH packet"


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """Size above which a payload is cut, and how much of it is kept.

    Attributes:
        above_bytes: A larger payload is cut.
        beginning_bytes: Bytes that are kept of a payload that is cut.
    """

    above_bytes: int
    beginning_bytes: int


class ReceivedPublish(NamedTuple):
    """A message of the broker, of QoS 0 or 1.

    Attributes:
        packet_id: Identifier for the acknowledgement; 0 with QoS 0.
        full_size: Size and digest of a payload that was cut. `payload` is then its beginning.
    """

    topic: bytes
    payload: bytes
    packet_id: int
    qos: int
    retain: bool
    full_size: PayloadSize | None = None


class MessageSocket:
    """Connected socket that hands published messages over and gives paho the bytes of all other packets.

    Args:
        wrapped: Connected socket.
        on_publish: Called for each message in the thread that reads. Must return quickly.
        has_properties: Whether packets contain properties, as in MQTT 5.
        limits: Of a larger payload only the beginning is kept.
        has_room: Whether more messages can be handed over. While it returns False nothing is read from the network.
    """

    def __init__(
        self,
        wrapped: Any,
        on_publish: Callable[[ReceivedPublish], None],
        *,
        has_properties: bool,
        limits: PayloadLimits,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._wrapped = wrapped
        self._on_publish = on_publish
        self._has_properties = has_properties
        self._limits = limits
        self._has_room = has_room
        self._received = memoryview(bytearray(RECEIVE_BYTES))
        self._incomplete = bytearray()  # beginning of a packet
        self._needed_bytes = 0  # length that `_incomplete` must have before parsing it again makes sense
        self._large: _LargeMessage | None = None  # message that is being received in pieces
        self._for_paho = bytearray()  # one packet, or what paho has not read of it
        self._behind = b""  # bytes that follow that packet: paho handles it before they are parsed
        self._has_ended = False
        self._sign_of_life_at_s = 0.0  # monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def pending(self) -> int:
        """Return the number of bytes that can be read without waiting for the network."""
        pending_in_tls = getattr(self._wrapped, "pending", None)
        in_memory = len(self._for_paho) + len(self._behind)
        return in_memory + (0 if pending_in_tls is None else pending_in_tls())

    def recv(self, size: int) -> bytes:
        """Return bytes of a packet other than PUBLISH; b"" after the connection ended.

        Messages in front of that packet are handed over before this method returns.

        Raises:
            BlockingIOError: No such packet has arrived.
            ConnectionError: The broker sent a PUBLISH packet that is malformed.
        """
        if not self._for_paho and self._behind:
            data = self._behind
            self._behind = b""
            self._handle_bytes(data)
        if not self._for_paho and not self._has_ended:
            self._receive()
        if not self._for_paho and not self._has_ended:
            raise BlockingIOError
        part = bytes(self._for_paho[:size])
        del self._for_paho[:size]
        return part

    def _receive(self) -> None:
        """Read from the network and handle the bytes. Read nothing if there is no room for messages.

        Raises:
            BlockingIOError: Nothing has arrived.
        """
        if not self._has_room():
            # Paho calls again at once because the socket is readable. It sends what is queued in between.
            time.sleep(FULL_PAUSE_S)
            if not self._has_room():
                self._simulate_pingresp()
                return
        count = self._wrapped.recv_into(self._received)
        if not count:
            self._has_ended = True
            return
        self._handle_bytes(bytes(self._received[:count]))
        self._simulate_pingresp()

    def _simulate_pingresp(self) -> None:
        """Pass an invented PINGRESP to paho.

        Paho ends the connection if the answer of the broker is late. That answer waits behind a large message that
        arrives over a slow link, or behind messages for which there is no room. A dead connection is noticed only when
        there is room again.
        """
        now_s = time.monotonic()
        if not self._for_paho and now_s - self._sign_of_life_at_s >= SIGN_OF_LIFE_S:
            self._for_paho += _PINGRESP
            self._sign_of_life_at_s = now_s

    def _handle_bytes(self, data: bytes) -> None:
        """Handle bytes of the network in their order."""
        while data:
            if self._large is not None:
                data = self._large.add(data)
                if not self._large.is_complete:
                    return
                self._hand_over(self._large.finish())
                self._large = None
                continue
            if self._incomplete:
                self._incomplete += data
                if len(self._incomplete) < self._needed_bytes:
                    return
                data = bytes(self._incomplete)
                self._incomplete.clear()
            data = data[self._parse(data) :]
            if self._for_paho:
                self._behind = data
                return
            if self._large is None:
                self._incomplete += data
                return

    def _parse(self, data: bytes) -> int:
        """Handle the complete packets at the beginning of `data` and return the number of bytes that they take.

        Return after a packet for paho, and before the payload of a message that is too large.
        """
        start = 0
        end = len(data)
        self._needed_bytes = 0
        while end - start >= _SHORTEST_PACKET:
            first = data[start]
            length = data[start + 1]
            body_start = start + 2
            if length & _CONTINUES:
                decoded = _decode_length(data, start + 1)
                if decoded is None:
                    break
                length, body_start = decoded
            packet_end = body_start + length
            if first & _TYPE_BITS != _PUBLISH or first & _QOS_2:  # ingest does not subscribe with QoS 2
                if packet_end > end:
                    self._needed_bytes = packet_end - start
                    break
                self._for_paho += data[start:packet_end]
                return packet_end
            if length > self._limits.above_bytes:
                head_end = body_start + min(length, HEAD_BYTES)
                if head_end > end:
                    self._needed_bytes = head_end - start
                    break
                head, payload_start = self._decode_head(first, data, body_start, packet_end)
                self._large = _LargeMessage(head, packet_end - payload_start, max(0, payload_start - end), self._limits)
                return min(payload_start, end)
            if packet_end > end:
                self._needed_bytes = packet_end - start
                break
            head, payload_start = self._decode_head(first, data, body_start, packet_end)
            self._hand_over(head._replace(payload=data[payload_start:packet_end]))
            start = packet_end
        return start

    def _decode_head(self, first: int, data: bytes, body_start: int, packet_end: int) -> tuple[ReceivedPublish, int]:
        """Return the message without its payload, and where the payload starts.

        Raises:
            ConnectionError: The packet is malformed.
        """
        try:
            start = body_start + 2 + (data[body_start] << 8 | data[body_start + 1])
            topic = data[body_start + 2 : start]
            qos = first >> 1 & 3
            packet_id = 0
            if qos:
                packet_id = data[start] << 8 | data[start + 1]
                start += 2
            if self._has_properties:
                properties_bytes = data[start]
                start += 1
                if properties_bytes & _CONTINUES:
                    decoded = _decode_length(data, start - 1)
                    if decoded is None:
                        raise ConnectionError(_MALFORMED)
                    properties_bytes, start = decoded
                start += properties_bytes
        except IndexError:
            raise ConnectionError(_MALFORMED) from None
        if start > packet_end or not topic:
            raise ConnectionError(_MALFORMED)
        return ReceivedPublish(topic, b"", packet_id, qos, bool(first & _RETAIN)), start

    def _hand_over(self, message: ReceivedPublish) -> None:
        try:
            self._on_publish(message)
        except Exception:
            # The network thread must go on. A QoS 1 message stays unacknowledged, a QoS 0 message is lost.
            log.exception("a message on topic %r was not accepted", message.topic[:200])


class _LargeMessage:
    """Message that is received in pieces. A payload that is too large is hashed and never held as a whole.

    Args:
        head: The message without its payload.
        payload_bytes: Size of the payload.
        skipped_bytes: Bytes of properties that arrive before the payload.
        limits: Of a larger payload only the beginning is kept.
    """

    def __init__(self, head: ReceivedPublish, payload_bytes: int, skipped_bytes: int, limits: PayloadLimits) -> None:
        self._head = head
        self._payload_bytes = payload_bytes
        self._skipped_bytes = skipped_bytes
        self._missing_bytes = payload_bytes
        self._is_cut = payload_bytes > limits.above_bytes
        self._kept_bytes = limits.beginning_bytes if self._is_cut else payload_bytes
        self._payload = bytearray()
        self._digest = hashlib.sha256(head.topic + b"\0")

    @property
    def is_complete(self) -> bool:
        """Whether the whole packet was received."""
        return not self._missing_bytes and not self._skipped_bytes

    def add(self, data: bytes) -> bytes:
        """Take the next bytes and return those that follow behind this message."""
        skipped = min(self._skipped_bytes, len(data))
        self._skipped_bytes -= skipped
        taken = min(self._missing_bytes, len(data) - skipped)
        self._missing_bytes -= taken
        with memoryview(data)[skipped : skipped + taken] as part:
            if self._is_cut:
                self._digest.update(part)
            self._payload += part[: self._kept_bytes - len(self._payload)]
        return data[skipped + taken :]

    def finish(self) -> ReceivedPublish:
        """Return the message with its payload, or with the beginning of its payload and its size."""
        full_size = PayloadSize(self._payload_bytes, self._digest.hexdigest()) if self._is_cut else None
        return self._head._replace(payload=bytes(self._payload), full_size=full_size)


def _decode_length(data: bytes, start: int) -> tuple[int, int] | None:
    """Return a length of variable size and where it ends; None if its last byte has not arrived.

    Raises:
        ConnectionError: The length has more than four bytes.
    """
    length = 0
    for place, byte in enumerate(data[start : start + _LONGEST_LENGTH]):
        length |= (byte & ~_CONTINUES) << 7 * place
        if not byte & _CONTINUES:
            return length, start + place + 1
    if len(data) - start >= _LONGEST_LENGTH:
        raise ConnectionError("the broker sent a malformed length")
    return None
