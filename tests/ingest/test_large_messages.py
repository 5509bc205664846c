"""A message that is too large gives a row of the quarantine, and a backlog waits at the broker, not in memory."""

import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import text

from monitor.broker.access import Access
from monitor.ingest import message as message_module
from monitor.ingest.broker_process import DemoBroker
from monitor.ingest.message import Inbox
from monitor.ingest.mqtt import BrokerSession, MqttSession
from monitor.ingest.payload_limits import BEGINNING_BYTES, PAYLOAD_LIMIT
from monitor.ingest.service import Ingest, IngestContext
from tests.data.store_rows import ask
from tests.fixtures.waiting import free_port, wait_for
from tests.ingest.test_mosquitto import OBS, make_site

pytestmark = pytest.mark.server
READING = b'{"time": "2026-03-01T06:00:00Z", "rain_mm": 1}'
LARGE = READING + b" " * (4 * PAYLOAD_LIMIT)


@pytest.fixture
def demo(tmp_path):
    """The demonstration broker, which supports MQTT 3.1.1 and has no limit."""
    pytest.importorskip("amqtt")
    broker = DemoBroker(tmp_path / "demo", free_port())
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def port(request):
    return request.getfixturevalue(request.param).port


def publish(port, payloads):
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for info in [client.publish(OBS, payload, qos=1) for payload in payloads]:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize(("port", "mode"), [("mosquitto", "external"), ("demo", "demo")], indirect=["port"])
def test_too_large_message_is_stored_in_quarantine(port, mode, database):
    broker = SimpleNamespace(
        mode=mode, host="127.0.0.1", port=port, client_id="slopeward", username="", password="", tls=False, ca_file=""
    )
    context = IngestContext(
        database,
        SimpleNamespace(broker=broker),
        {"north": make_site()},
        lambda _: None,
        lambda _: None,
        lambda: datetime.now(UTC),
    )
    ingest = Ingest(context)
    ingest.start()
    try:
        wait_for(lambda: all(ingest.status()["connected"].values()))
        publish(port, [LARGE, READING])
        wait_for(lambda: ingest.status()["messages"] == 2)
    finally:
        ingest.stop()
    query = text("SELECT code, payload_bytes, length(payload) FROM rejected_message")
    assert ask(database, lambda c: [tuple(row) for row in c.execute(query)]) == [
        ("too_large", len(LARGE), BEGINNING_BYTES)
    ]
    assert ask(database, lambda c: c.execute(text("SELECT count(*) FROM observation")).scalar()) == 1


def test_a_backlog_waits_at_the_broker_while_the_queue_is_full(mosquitto, monkeypatch):
    monkeypatch.setattr(message_module, "QUEUE_MESSAGES", 500)
    monkeypatch.setattr("monitor.broker.message_socket.RECEIVE_BYTES", 1 << 14)
    session = BrokerSession("live", "reader", (OBS,))
    inbox = Inbox()

    def connect():
        connected = threading.Event()
        made = MqttSession(
            session,
            Access(port=mosquitto.port),
            inbox.put,
            lambda _: connected.set(),
            lambda: datetime.now(UTC),
            has_room=lambda: inbox.has_room("live"),
        )
        made.start()
        wait_for(lambda: made.listening)
        return made

    connect().stop()
    publish(mosquitto.port, [b"%04d" % n for n in range(5000)])
    reader = connect()
    try:
        wait_for(lambda: not inbox.has_room("live"))
        cpu_s = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - cpu_s < 0.5, "the network thread does not wait"
        assert len(inbox) < 1500
        received = []
        while len(received) < 5000:
            batch = inbox.take(10.0)
            assert batch, "no more messages"
            reader.acknowledge(batch)
            received += [int(message.payload) for message in batch]
        assert received == list(range(5000))
        assert reader.connected
    finally:
        reader.stop()
