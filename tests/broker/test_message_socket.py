"""Published messages are read in large pieces; paho gets the other packets in their order."""

import contextlib
import hashlib
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.broker.access import Access
from monitor.broker.message_socket import SIGN_OF_LIFE_S, MessageSocket, PayloadLimits, ReceivedPublish
from monitor.readings.records import PayloadSize
from tests.data.payloads.packets import packet, publish

LIMITS = PayloadLimits(above_bytes=200_000, beginning_bytes=1_000)
TOPIC = "slopeward/v1/alp/G1/obs"
# A topic alias and properties of users, whose length needs two bytes.
PROPERTIES = b"\x23\0\5" + b"\x26\0\1a\0\2bc" * 30
LONG_PROPERTIES = b"\x26\0\1a" + (60_000).to_bytes(2) + b"b" * 60_000
SUBACK = packet(0x90, b"\0\1\0\0")
PINGRESP = b"\xd0\0"


class FakeNetwork:
    """Socket that receives a stream in pieces, and then nothing or the end of the connection."""

    def __init__(self, stream, cuts=(), *, ends=False):
        bounds = [0, *sorted({min(cut, len(stream)) for cut in cuts}), len(stream)]
        self._pieces = [stream[start:end] for start, end in pairwise(bounds) if end > start]
        self._ends = ends

    def recv_into(self, memory):
        if not self._pieces:
            if self._ends:
                return 0
            raise BlockingIOError
        piece = self._pieces.pop(0)
        memory[: len(piece)] = piece
        return len(piece)

    def close(self):
        pass


def open_socket(network, events, *, has_properties=True):
    message_socket = MessageSocket(network, events.append, has_properties=has_properties, limits=LIMITS)
    message_socket._sign_of_life_at_s = float("inf")
    return message_socket


def read_events(network, *, has_properties=True, size=3):
    """Return messages and the bytes for paho in their order."""
    events = []
    message_socket = open_socket(network, events, has_properties=has_properties)
    while True:
        try:
            part = message_socket.recv(size)
        except BlockingIOError:
            if not network._pieces and not message_socket.pending():
                return events
            continue
        if events and isinstance(events[-1], bytes):
            events[-1] += part
        else:
            events.append(part)


sent_messages = st.builds(
    lambda topic, payload, qos, retain: (topic, payload, qos, retain),
    st.sampled_from([TOPIC, "app/alp/up", "ü/x"]),
    st.binary(max_size=300),
    st.integers(0, 1),
    st.booleans(),
)


@given(
    st.lists(sent_messages | st.sampled_from([SUBACK, PINGRESP]), max_size=12),
    st.lists(st.integers(0, 1500), max_size=30),
    st.sampled_from([b"", PROPERTIES, None]),
    st.integers(1, 400),
)
def test_messages_and_packets_of_paho_keep_their_order(sent, cuts, properties, size):
    stream, expected = b"", []
    for message in sent:
        if isinstance(message, bytes):
            stream += message
            if expected and isinstance(expected[-1], bytes):
                expected[-1] += message
            else:
                expected.append(message)
        else:
            topic, payload, qos, retain = message
            stream += publish(topic, payload, qos, retain=retain, properties=properties)
            expected.append(ReceivedPublish(topic.encode(), payload, 7 if qos else 0, qos, retain))
    events = read_events(FakeNetwork(stream, cuts), has_properties=properties is not None, size=size)
    assert events == expected


@given(
    st.sampled_from([199_900, 200_000, 200_001, 450_000]),
    st.integers(0, 1),
    st.sampled_from([b"", PROPERTIES, LONG_PROPERTIES, None]),
    st.lists(st.integers(0, 600_000), max_size=20),
)
def test_large_payload_is_cut_and_next_message_is_read(payload_bytes, qos, properties, cuts):
    payload = (b"0123456" * (payload_bytes // 7 + 1))[:payload_bytes]
    stream = publish(TOPIC, payload, qos, properties=properties) + SUBACK
    stream += publish(TOPIC, b"1", qos, properties=properties)
    events = read_events(FakeNetwork(stream, cuts), has_properties=properties is not None, size=100)
    size = PayloadSize(payload_bytes, hashlib.sha256(TOPIC.encode() + b"\0" + payload).hexdigest())
    packet_id = 7 if qos else 0
    if payload_bytes > LIMITS.above_bytes:
        first = ReceivedPublish(TOPIC.encode(), payload[:1_000], packet_id, qos, retain=False, full_size=size)
    else:
        first = ReceivedPublish(TOPIC.encode(), payload, packet_id, qos, retain=False)
    assert events == [first, SUBACK, ReceivedPublish(TOPIC.encode(), b"1", packet_id, qos, retain=False)]


def test_cut_payload_takes_no_memory():
    stream = publish(TOPIC, b"x" * (8 << 20))
    events = []
    message_socket = open_socket(FakeNetwork(stream, range(0, len(stream), 1 << 17)), events)
    tracemalloc.start()
    try:
        while not events:
            with contextlib.suppress(BlockingIOError):
                message_socket.recv(1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert events[0].full_size.payload_bytes == 8 << 20
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "stream",
    [
        publish("", b"", whole=b"\xff\xffabc"),  # the topic is longer than the packet
        publish("", b"x", properties=None),  # no topic
        publish(TOPIC, b"", whole=b"\0\1a\xff\xff\xff\xff\xff"),  # the length of the properties is invalid
        publish("", b"", whole=b"\xff\xff" + b"\xff" * 300_000),
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
    ],
)
def test_malformed_message_ends_connection(stream):
    message_socket = open_socket(FakeNetwork(stream), [])
    with pytest.raises(ConnectionError):
        message_socket.recv(1)


def test_end_of_connection_is_reported():
    events = []
    message_socket = open_socket(FakeNetwork(publish(TOPIC, b"1") + SUBACK[:2], ends=True), events)
    with pytest.raises(BlockingIOError):
        message_socket.recv(1)
    assert message_socket.recv(1) == b""
    assert [message.payload for message in events] == [b"1"]


def test_failing_callback_does_not_end_connection():
    def fail(message):
        events.append(message.payload)
        raise ValueError

    events = []
    message_socket = MessageSocket(
        FakeNetwork(publish(TOPIC, b"1") + publish(TOPIC, b"2")), fail, has_properties=True, limits=LIMITS
    )
    assert message_socket.recv(2) == PINGRESP
    assert events == [b"1", b"2"]


def test_messages_count_as_signs_of_life(monkeypatch):
    """The answer to a PINGREQ waits behind a message that takes longer than paho waits for it."""
    now_s = [100.0]
    monkeypatch.setattr("monitor.broker.message_socket.time.monotonic", lambda: now_s[0])
    network = FakeNetwork(publish(TOPIC, b"x" * 1_000), range(0, 1_000, 100))
    message_socket = MessageSocket(network, lambda _: None, has_properties=True, limits=LIMITS)
    assert message_socket.recv(2) == PINGRESP
    with pytest.raises(BlockingIOError):
        message_socket.recv(2)
    now_s[0] += SIGN_OF_LIFE_S
    assert message_socket.recv(2) == PINGRESP


def test_client_handles_messages_in_order_of_packets():
    """A message behind a CONNACK belongs to the connection that the CONNACK opens."""
    events = []
    client = Access().open_client("reader", mqtt5=True)
    client.on_connect = lambda *_: events.append("connected")
    client.read_messages(lambda message: events.append(message.payload), LIMITS)
    stream = packet(0x20, b"\0\0\0") + publish(TOPIC, b"1") * 2 + SUBACK + publish(TOPIC, b"2")
    client.on_subscribe = lambda *_: events.append("subscribed")
    client._sock = MessageSocket(FakeNetwork(stream), client._on_publish_received, has_properties=True, limits=LIMITS)
    while client._sock.pending() or not events:
        assert client.loop_read() == 0
    client._sock = None
    assert events == ["connected", b"1", b"1", "subscribed", b"2"]


def test_nothing_is_read_without_room_for_messages():
    events = []
    has_room = [False]
    network = FakeNetwork(publish(TOPIC, b"1") + SUBACK)
    message_socket = MessageSocket(
        network, events.append, has_properties=True, limits=LIMITS, has_room=lambda: has_room[0]
    )
    message_socket._sign_of_life_at_s = float("inf")
    with pytest.raises(BlockingIOError):
        message_socket.recv(1)
    assert events == []
    message_socket._sign_of_life_at_s = 0.0
    assert message_socket.recv(2) == PINGRESP, "the answer to a PINGREQ waits behind the messages"
    assert events == []
    has_room[0] = True
    assert message_socket.recv(100) == SUBACK
    assert [message.payload for message in events] == [b"1"]
