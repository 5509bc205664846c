import hashlib
import time
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage

from monitor.broker.access import Access
from monitor.ingest.message import BATCH_MESSAGES, BATCH_MOST, BATCH_WAIT_S, PAUSE_S, BrokerMessage, Inbox
from monitor.ingest.mqtt import BrokerSession, BufferedSocket, MqttSession
from monitor.ingest.queries.messages import BEGINNING_BYTES, KEPT_BYTES
from monitor.readings.records import PayloadSize
from tests.data.payloads.packets import packet, publish

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def message(n, client="live", qos=1, size=10):
    return BrokerMessage(str(n), b"x" * size, NOW, client, n, qos)


def test_live_goes_first_in_order_and_backfill_never_stands_still():
    inbox = Inbox()
    for n in range(300):
        inbox.put(message(n, "backfill"))
    for n in range(3000):
        inbox.put(message(n))
    batch = inbox.take(0.1)
    live = [m.mid for m in batch if m.client == "live"]
    back = [m.mid for m in batch if m.client == "backfill"]
    assert (len(batch), batch[0].client, live) == (BATCH_MOST, "live", list(range(len(live))))
    assert back == list(range(200))


def test_batches_are_bounded_in_bytes_and_nothing_is_forgotten_between_them():
    inbox = Inbox()
    assert inbox.take(0.01) == []
    for n in range(5000):
        inbox.put(message(n))
    got = []
    while batch := inbox.take(0.01):
        got += [m.mid for m in batch]
    assert got == list(range(5000))
    inbox = Inbox()
    for n in range(20):
        inbox.put(message(n, size=1 << 20))
    assert len(inbox.take(0.1)) == 4
    assert len(inbox) == 16


def test_a_batch_is_due_after_its_wait_or_when_it_is_full():
    inbox = Inbox()
    assert not inbox.is_due()
    for n in range(BATCH_MESSAGES - 1):
        inbox.put(message(n))
    inbox._rung_at_s = time.monotonic()
    assert not inbox.is_due()
    inbox._rung_at_s -= BATCH_WAIT_S - PAUSE_S
    assert inbox.is_due(), "to take it lasts as long again as the pause"
    inbox._rung_at_s += 3600
    inbox.put(message(BATCH_MESSAGES))
    assert inbox.is_due()


def test_live_data_wait_for_one_large_message_of_backfill_at_most():
    inbox = Inbox()
    for n in range(3):
        inbox.put(message(n, "backfill", size=600_000))
    for n in range(2):
        inbox.put(message(n, size=700_000))
    assert [(m.client, m.mid) for m in inbox.take(0.1)] == [("live", 0), ("live", 1), ("backfill", 0)]
    inbox.put(message(2))
    assert [(m.client, m.mid) for m in inbox.take(0.1)] == [("live", 2), ("backfill", 1)]
    for n in range(3, 6):
        inbox.put(message(n, "backfill", size=800_000))
    assert [m.mid for m in inbox.take(0.1)] == [2, 3], "alone it is 1.25 MiB"


def test_qos_0_is_bounded_and_counted_and_qos_1_is_never_dropped(monkeypatch):
    monkeypatch.setattr("monitor.ingest.message.UNBOUNDED_MOST", 10)
    inbox = Inbox()
    for n in range(30):
        inbox.put(message(n, qos=n % 2))
    assert (inbox.dropped_qos0, len(inbox)) == (15 - 5, 20)


def test_what_came_while_the_last_batch_was_written_waits_for_other_writers_alone():
    inbox = Inbox()

    def take():
        began_s = time.monotonic()
        return [m.mid for m in inbox.take(0.1)], time.monotonic() - began_s

    inbox.put(message(1))
    time.sleep(2 * BATCH_WAIT_S)  # the writer is busy
    inbox.put(message(2))
    got, took_s = take()
    assert got == [1, 2]
    assert took_s >= PAUSE_S, "the database was left to others"
    inbox.put(message(3))
    got, took_s = take()
    assert (got, took_s >= BATCH_WAIT_S) == ([3], True), "the first waits for others"
    for n in range(500):
        inbox.put(message(n))
    assert take()[1] >= PAUSE_S / 5, "for a moment, however much waits"


class Pieces:
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


places = ("slopeward/v1/alp/G1/obs", "slopeward/v1/alpx/G1/obs", "slopeward/v1/alp", "slopeward/v1/bach/report")
topics = st.sampled_from([*places, "app/alp/up"])
packets = st.one_of(
    st.tuples(topics, st.binary(max_size=300), st.integers(0, 1)),
    st.sampled_from([b"\xd0\0", packet(0x90, b"\0\1\0\0")]),  # PINGRESP, SUBACK
)


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


def test_of_what_nobody_reads_the_beginning_waits_with_its_size_and_digest():
    heard, topic = [], "slopeward/v1/alp/G1/obs"
    one = BrokerSession("live", "x", (topic,))
    session = MqttSession(one, Access(), heard.append, lambda _: None, lambda: NOW)
    for size in (KEPT_BYTES, KEPT_BYTES + 1):
        session._client._sock = BufferedSocket(Lively(publish(topic, b"x" * size), [300, 70_000]))
        while len(heard) <= size - KEPT_BYTES:
            session._client._packet_read()
    session._client._sock = None
    digest = hashlib.sha256(topic.encode() + b"\0" + b"x" * (KEPT_BYTES + 1)).hexdigest()
    assert [(len(m.payload), m.whole) for m in heard] == [
        (KEPT_BYTES, None),
        (BEGINNING_BYTES, PayloadSize(KEPT_BYTES + 1, digest)),
    ]
