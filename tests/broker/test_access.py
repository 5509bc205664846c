"""What the service's own client of the broker makes of paho's: the same messages, of a large one fewer copies."""

import hashlib
import socket
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from monitor.broker.access import Access, PayloadLimits, parse_access
from monitor.readings.records import PayloadSize
from tests.data.payloads.packets import publish

LARGE = 70_000
PROPERTIES = b"\x23\0\5" + b"\x26\0\1a\0\2bc" * 30  # a topic alias, and users' own: longer than one byte can tell


class Wire:
    def __init__(self, packet, piece=1 << 30):
        self._packet, self._at, self._piece = packet, 0, piece

    def recv(self, size):
        piece = self._packet[self._at : self._at + min(size, self._piece)]
        self._at += len(piece)
        return piece

    def close(self):
        pass


def read(client, packet, heard):
    client.on_message = lambda _client, _data, message: heard.append(message)
    client._sock = Wire(packet)
    result = client._packet_read()
    client._sock = None
    return result


def tell(message):
    facts = (message._topic, message.payload, type(message.payload), message.mid, message.qos, message.retain)
    return *facts, message.dup, str(message.properties)


@given(
    st.binary(max_size=400),
    st.sampled_from([0, 10, LARGE]),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from([b"", PROPERTIES]),
    st.none() | st.integers(0, 300),
)
def test_messages_are_those_of_paho(start, more, qos, retain, mqtt5, properties, cut):
    payload = start + b"x" * more
    packet = publish("slopeward/v1/alp/G1/obs", payload, qos, retain=retain, properties=properties if mqtt5 else None)
    if cut is not None:  # a broken head, with the length that the packet has
        packet = publish("", b"", qos, retain=retain, whole=bytes(range(cut % 256)) + b"\xff" * more)
    version = MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311
    ours, theirs, results = [], [], []
    for client, heard in (
        (Access().open_client("ours", mqtt5=mqtt5), ours),
        (Client(CallbackAPIVersion.VERSION2, client_id="theirs", protocol=version), theirs),
    ):
        client.manual_ack_set(on=True)
        try:
            results.append(read(client, packet, heard))
        except Exception as error:
            results.append(type(error))
    assert results[0] == results[1]
    assert [tell(m) for m in ours] == [tell(m) for m in theirs]
    assert cut is not None or qos == 2 or [m.payload for m in ours] == [payload]


@pytest.mark.parametrize("mqtt5", [True, False])
def test_a_large_payload_is_copied_once(mqtt5):
    size, heard = 4 << 20, []
    packet = bytearray(publish("slopeward/v1/alp/G1/obs", b"x" * size, 1, properties=b"" if mqtt5 else None))
    client = Access().open_client("reader", mqtt5=mqtt5)
    client.manual_ack_set(on=True)
    client.on_message = lambda _client, _data, message: heard.append(len(message.payload))
    client._in_packet |= {"command": packet[0], "packet": packet[5:]}
    tracemalloc.start()
    try:
        assert client._packet_handle() == MQTTErrorCode.MQTT_ERR_SUCCESS
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heard == [size]
    assert peak < 1.5 * size


def test_a_payload_of_a_refused_packet_is_given_to_no_other_message():
    heard = []
    client = Access().open_client("reader", mqtt5=False)
    client.manual_ack_set(on=True)
    assert read(client, publish("", b"x" * LARGE, 1, properties=None), heard) == MQTTErrorCode.MQTT_ERR_PROTOCOL
    read(client, publish("slopeward/v1/alp/G1/obs", b"1", 1, properties=None), heard)
    assert [m.payload for m in heard] == [b"1"]


KEEPING = PayloadLimits(above_bytes=200_000, beginning_bytes=1_000)
TOPIC = "slopeward/v1/alp/G1/obs"


@given(
    st.sampled_from([199_950, 200_000, 200_001, 450_000]),
    st.integers(0, 1),
    st.booleans(),
    st.sampled_from([b"", PROPERTIES, b"\x26\0\1a" + (60_000).to_bytes(2) + b"b" * 60_000]),
    st.integers(9_000, 300_000),
)
def test_of_what_nobody_reads_the_beginning_is_kept_with_its_size_and_digest(size, qos, mqtt5, properties, piece):
    payload, heard = (b"0123456" * (size // 7 + 1))[:size], []
    client = Access().open_client("reader", mqtt5=mqtt5)
    client.manual_ack_set(on=True)
    client.keeping = KEEPING
    client.on_message = lambda _client, _data, message: heard.append((message.payload, client.whole))
    told = properties if mqtt5 else None
    client._sock = Wire(
        publish(TOPIC, payload, qos, properties=told) + publish(TOPIC, b"1", qos, properties=told), piece
    )
    assert client._packet_read() == client._packet_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    client._sock = None
    whole = PayloadSize(size, hashlib.sha256(TOPIC.encode() + b"\0" + payload).hexdigest())
    first = (payload[:1_000], whole) if size > 200_000 else (payload, None)
    assert heard == [first, (b"1", None)]


def test_what_nobody_reads_takes_no_memory():
    size, heard = 8 << 20, []
    client = Access().open_client("reader", mqtt5=True)
    client.keeping = KEEPING
    client.on_message = lambda _client, _data, _message: heard.append(client.whole.payload_bytes)
    packet = publish(TOPIC, b"x" * size)
    client._sock = Wire(packet, 1 << 17)
    tracemalloc.start()
    try:
        client._packet_read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        client._sock = None
    assert heard == [size]
    assert peak < 1 << 20


def test_an_attempt_at_a_socket_where_nobody_listens_leaves_none_open(tmp_path, monkeypatch):
    """Else the collector closes it, in some later test, with a warning there."""
    made = []

    class Noted(socket.socket):
        def __init__(self, *words):
            super().__init__(*words)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    access = parse_access(f"unix://{tmp_path}/service.sock")
    with pytest.raises(FileNotFoundError):
        access.open_client("x", mqtt5=True).connect(*access.target)
    assert [one.fileno() for one in made] == [-1]
