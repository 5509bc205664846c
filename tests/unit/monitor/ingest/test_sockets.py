"""What the sieve leaves out, in whatever pieces the network brings it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from monitor.broker.access import Access
from monitor.ingest.sockets import BufferedSocket, FilteredSocket
from tests.data.payloads.packets import packet, publish


class Pieces:
    """A socket that brings its bytes in these pieces."""

    def __init__(self, stream: bytes, cuts: list[int]) -> None:
        bounds = [0, *sorted({min(c, len(stream)) for c in cuts}), len(stream)]
        self._pieces = [stream[a:b] for a, b in pairwise(bounds) if b > a]

    def recv_into(self, memory: memoryview) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        memory[: len(piece)] = piece
        return len(piece)


class Lively(Pieces):
    """The same, which does not end."""

    def recv_into(self, memory: memoryview) -> int:
        if count := super().recv_into(memory):
            return count
        raise BlockingIOError


topics = st.sampled_from(
    [
        "slopeward/v1/alp/G1/obs",
        "slopeward/v1/alpx/G1/obs",
        "slopeward/v1/alp",
        "app/alp/up",
        "slopeward/v1/bach/report",
    ]
)
packets = st.one_of(
    st.tuples(topics, st.binary(max_size=300), st.integers(0, 1)),
    st.sampled_from([b"\xd0\0", packet(0x90, b"\0\1\0\0")]),  # PINGRESP, SUBACK
)


@given(st.lists(packets, max_size=12), st.lists(st.integers(0, 1500), max_size=30))
def test_messages_of_named_sites_are_left_out_and_nothing_else(sent, cuts):
    stream = [one if isinstance(one, bytes) else publish(*one) for one in sent]
    out = ("slopeward/v1/alp/", "slopeward/v1/bach/")
    kept = [
        raw
        for one, raw in zip(sent, stream, strict=True)
        if isinstance(one, bytes) or one[2] or not one[0].startswith(out)
    ]
    sieved = FilteredSocket(Pieces(b"".join(stream), cuts), ["alp", "bach"])
    found = b""
    while True:
        try:
            piece = sieved.recv(7)
        except BlockingIOError:
            continue
        if not piece:
            break
        found += piece
    assert found == b"".join(kept)


@given(st.lists(packets, max_size=12), st.lists(st.integers(0, 1500), max_size=30), st.integers(1, 400))
def test_what_is_read_ahead_comes_whole_and_in_order(sent, cuts, size):
    stream = b"".join(one if isinstance(one, bytes) else publish(*one) for one in sent)
    buffered, found = BufferedSocket(Pieces(stream, cuts)), b""
    while piece := buffered.recv(size):
        found += piece
        assert buffered.pending() == buffered.ahead <= len(stream) - len(found)
    assert found == stream


def test_packets_that_lie_in_memory_are_read_without_asking_the_network():
    heard: list[MQTTMessage] = []
    client = Access().open_client("reader", mqtt5=True)
    client.on_message = lambda _c, _d, message: heard.append(message)
    stream = publish("slopeward/v1/alp/G1/obs", b"1") * 5
    client._sock = BufferedSocket(Lively(stream + stream[:7], []))
    assert client.loop_read() == 0
    assert [m.payload for m in heard] == [b"1"] * 5
    client._sock = None


def test_paho_reads_through_it():
    heard: list[MQTTMessage] = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = lambda _c, _d, message: heard.append(message)
    stream = publish("slopeward/v1/alp/G1/obs", b"x" * 500) + publish("slopeward/v1/new/G1/obs", b"1")
    client._sock = FilteredSocket(Pieces(stream, [3, 400]), ["alp"])  # type: ignore[assignment]
    for _ in range(6):
        client._packet_read()
    assert [m.topic for m in heard] == ["slopeward/v1/new/G1/obs"]
    client._sock = None
