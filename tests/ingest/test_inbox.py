"""Queue between broker and writer: order, batch sizes, limits and oversized messages."""

import contextlib
import hashlib
import socket
import threading
import time
from datetime import UTC, datetime

from monitor.broker.access import Access
from monitor.broker.message_socket import MessageSocket, PayloadLimits
from monitor.ingest.message import BATCH_MESSAGES, BATCH_MOST, BATCH_WAIT_S, PAUSE_S, BrokerMessage, Inbox
from monitor.ingest.mqtt import BrokerSession, MqttSession
from monitor.ingest.payload_limits import BEGINNING_BYTES, PAYLOAD_LIMIT
from monitor.readings.records import PayloadSize
from tests.data.payloads.packets import publish

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = "slopeward/v1/alp/G1/obs"


def message(n, client="live", qos=1, size=10):
    return BrokerMessage(str(n), b"x" * size, NOW, client, n, qos)


def test_live_messages_come_first_and_backfill_gets_a_share():
    inbox = Inbox()
    for n in range(300):
        inbox.put(message(n, "backfill"))
    for n in range(3000):
        inbox.put(message(n))
    batch = inbox.take(0.1)
    live = [m.packet_id for m in batch if m.client == "live"]
    backfill = [m.packet_id for m in batch if m.client == "backfill"]
    assert (len(batch), batch[0].client, live) == (BATCH_MOST, "live", list(range(len(live))))
    assert backfill == list(range(200))


def test_batches_have_a_maximum_size_and_contain_every_message_once():
    inbox = Inbox()
    assert inbox.take(0.01) == []
    for n in range(5000):
        inbox.put(message(n))
    packet_ids = []
    while batch := inbox.take(0.01):
        packet_ids += [m.packet_id for m in batch]
    assert packet_ids == list(range(5000))
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
    inbox._waiting_since_s = time.monotonic()
    assert not inbox.is_due()
    inbox._waiting_since_s -= BATCH_WAIT_S - PAUSE_S
    assert inbox.is_due(), "the pause of `take` is part of the wait"
    inbox._waiting_since_s += 3600
    inbox.put(message(BATCH_MESSAGES))
    assert inbox.is_due()


def test_batch_contains_at_most_one_large_backfill_message():
    inbox = Inbox()
    for n in range(3):
        inbox.put(message(n, "backfill", size=600_000))
    for n in range(2):
        inbox.put(message(n, size=700_000))
    assert [(m.client, m.packet_id) for m in inbox.take(0.1)] == [("live", 0), ("live", 1), ("backfill", 0)]
    inbox.put(message(2))
    assert [(m.client, m.packet_id) for m in inbox.take(0.1)] == [("live", 2), ("backfill", 1)]
    for n in range(3, 6):
        inbox.put(message(n, "backfill", size=800_000))
    assert [m.packet_id for m in inbox.take(0.1)] == [2, 3], "the fourth message would exceed the size of a batch"


def test_excess_qos_0_messages_are_dropped_and_counted_and_qos_1_never(monkeypatch):
    monkeypatch.setattr("monitor.ingest.message.QOS0_QUEUE_MESSAGES", 10)
    inbox = Inbox()
    for n in range(30):
        inbox.put(message(n, qos=n % 2))
    assert (inbox.dropped_qos0, len(inbox)) == (15 - 5, 20)


def test_messages_received_during_a_write_wait_only_for_the_pause():
    inbox = Inbox()

    def take():
        started_s = time.monotonic()
        return [m.packet_id for m in inbox.take(0.1)], time.monotonic() - started_s

    inbox.put(message(1))
    time.sleep(2 * BATCH_WAIT_S)  # the writer is busy meanwhile
    inbox.put(message(2))
    packet_ids, took_s = take()
    assert packet_ids == [1, 2]
    assert took_s >= PAUSE_S, "no pause for other writers"
    inbox.put(message(3))
    packet_ids, took_s = take()
    assert (packet_ids, took_s >= BATCH_WAIT_S) == ([3], True), "the first message does not wait for further ones"
    for n in range(500):
        inbox.put(message(n))
    assert take()[1] >= PAUSE_S / 5, "no pause although many messages are queued"


def test_oversized_message_is_reduced_to_its_beginning_size_and_digest():
    received = []
    session = MqttSession(BrokerSession("live", "x", (TOPIC,)), Access(), received.append, lambda _: None, lambda: NOW)
    payload = b"x" * (PAYLOAD_LIMIT + 1)
    digest = hashlib.sha256(TOPIC.encode() + b"\0" + payload).hexdigest()
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        messages = MessageSocket(
            reader, session._on_publish, has_properties=True, limits=PayloadLimits(PAYLOAD_LIMIT, BEGINNING_BYTES)
        )
        sender = threading.Thread(target=writer.sendall, args=(publish(TOPIC, payload[:-1]) + publish(TOPIC, payload),))
        sender.start()
        while len(received) < 2:
            with contextlib.suppress(BlockingIOError):
                messages.recv(1)
        sender.join()
    assert [(len(message.payload), message.full_size) for message in received] == [
        (PAYLOAD_LIMIT, None),
        (BEGINNING_BYTES, PayloadSize(PAYLOAD_LIMIT + 1, digest)),
    ]


def test_full_queue_stops_only_its_own_session(monkeypatch):
    monkeypatch.setattr("monitor.ingest.message.QUEUE_MESSAGES", 3)
    inbox = Inbox()
    for n in range(3):
        assert inbox.has_room("live")
        inbox.put(message(n))
    assert not inbox.has_room("live")
    assert inbox.has_room("backfill")
    inbox.take(0.1)
    assert inbox.has_room("live")


def test_queue_is_full_at_its_limit_in_bytes(monkeypatch):
    monkeypatch.setattr("monitor.ingest.message.QUEUE_BYTES", 1000)
    inbox = Inbox()
    inbox.put(message(0, "backfill", size=999))
    assert inbox.has_room("backfill")
    inbox.put(message(1, "backfill", size=1))
    assert not inbox.has_room("backfill")
    inbox.take(0.1)
    assert inbox.has_room("backfill")
