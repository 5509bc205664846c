"""The log of the managed broker: its size is limited, and refused messages are counted."""

import contextlib
import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import text

from monitor.app.children import make_quarantine_rows
from monitor.broker import broker_log
from monitor.broker.access import Access, find_access
from monitor.broker.access_probe import try_anonymous, try_foreign
from monitor.broker.broker_log import MOST_CLIENTS, MOST_LOGINS, MOST_TOPICS, OTHERS, UNKNOWN_TOPIC, BrokerLog
from monitor.ingest.broker_process import ManagedBroker, find_mosquitto
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.queries.messages import add_rejected
from tests.data.servers.mqtt_client import calling
from tests.data.store_rows import tell
from tests.fixtures.waiting import free_port, skip_missing, wait_for

FORBIDDEN_TOPICS = [f"slopeward/v1/{place}/obs" for place in ("north/G1/", "other/G1", "north/g1")] + [
    "a/'b', ... (5 bytes))"
]
OWN_TOPIC = "slopeward/v1/north/G1/obs"


@pytest.fixture
def broker(tmp_path):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    managed = ManagedBroker(tmp_path / "broker", free_port())
    yield managed
    managed.stop()


def send(broker, password, topics, protocol=MQTTProtocolVersion.MQTTv311):
    """Publish on each topic with QoS 1 and return the reasons in order.

    Each topic has a connection of its own, because the broker may end the connection of a refused message.
    """
    reasons = []
    for topic in topics:
        acknowledged = []
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.username_pw_set("north.G1", password)
        client.on_publish = lambda _c, _u, _m, reason, _p, to=acknowledged: to.append(str(reason))
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish(topic, b"a reading", qos=1)
        wait_for(lambda reasons=acknowledged: reasons, description=topic)
        client.disconnect()
        client.loop_stop()
        reasons += acknowledged
    return reasons


@pytest.mark.server
def test_refused_messages_are_counted_by_login_and_topic(broker, caplog):
    _, password = broker.book.issue("north", "G1")
    broker.start()
    topics = [OWN_TOPIC, *FORBIDDEN_TOPICS, FORBIDDEN_TOPICS[0], "t/" + "ü" * 700]
    assert set(send(broker, password, topics)) == {"Success"}, "MQTT 3.1.1 does not report a refusal to the sender"
    assert send(broker, password, FORBIDDEN_TOPICS[:1], MQTTProtocolVersion.MQTTv5) == ["Not authorized"]
    broker.stop()
    counted = {(refused.login, refused.topic): refused.times for refused in broker.log.list_refused()}
    expected = dict.fromkeys((("north.G1", topic[:200]) for topic in topics[1:]), 1) | {
        ("north.G1", FORBIDDEN_TOPICS[0]): 3
    }
    assert counted == expected
    log_text = (broker.folder / "broker.log").read_text()
    assert "New client connected" in log_text
    assert not [text for text in ("PUBLISH", "PINGREQ", "a reading", password) if text in log_text]
    assert password not in caplog.text


@pytest.mark.server
@pytest.mark.parametrize("anonymous", [False, True])
def test_messages_of_doctor_are_not_counted(broker, tmp_path, anonymous):
    broker = ManagedBroker(tmp_path / "broker", broker.port, anonymous=anonymous)
    broker.start()
    service_access = find_access(SimpleNamespace(mode="managed", data=broker.folder))
    instrument_access = Access(port=broker.port)
    try_anonymous(service_access, instrument_access, ["north"], "slopeward")
    password = broker.book.doctor_password()
    assert try_foreign(service_access, instrument_access, password, ["north"], "slopeward").could_connect
    broker.stop()
    assert broker.log.list_refused() == []


@pytest.mark.server
def test_broker_works_while_its_log_is_not_read(broker, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(BrokerLog, "_read", lambda _, reader: (release.wait(60), os.close(reader)))
    monkeypatch.setattr(broker_log, "_PIPE_BYTES", 4096)
    _, password = broker.book.issue("north", "G1")
    broker.start()
    try:
        with calling(Access(port=broker.port, username="north.G1", password=password)) as instrument:
            assert {instrument.publish(OWN_TOPIC, str(number)) for number in range(300)} == {"Success"}
    finally:
        release.set()


def test_size_of_log_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_log, "LOG_BYTES", 1 << 20)
    monkeypatch.setattr(broker_log, "_PIPE_BYTES", 1 << 18)
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "broker.log").write_bytes(b"of an earlier version\n" * 100_000)
    log = BrokerLog(folder / "broker.log")
    largest_bytes = 0
    written_bytes = 0
    with log.open_pipe() as out:
        while written_bytes < 6 << 20:  # The pipe holds far less, so the reader must have read the log.
            try:
                written_bytes += os.write(out, b"1795643862: New connection from 127.0.0.1\n" * 80)
            except BlockingIOError:
                time.sleep(0.002)
            with contextlib.suppress(FileNotFoundError):  # the reader is renaming the file
                size = sum(file.stat().st_size for file in folder.iterdir())
                largest_bytes = max(largest_bytes, size) if (folder / "broker.log.1").exists() else 0
    log.close()
    assert 1 << 20 < largest_bytes <= 2 << 20
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert log.last_line.startswith("1795643862: New connection")


def test_refusals_are_counted_if_log_cannot_be_written(tmp_path):
    log = BrokerLog(tmp_path / "gone" / "broker.log")
    with log.open_pipe() as out:
        os.write(out, b"1: New connection\n1: Denied PUBLISH from a (d0, q1, r0, m1, 't', ... (1 bytes))\n")
    log.close()
    assert [refused.topic for refused in log.list_refused()] == ["t"]


LOG_LINES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda login, topic: b"1: Denied PUBLISH from %s (d0, q1, r0, m1, '%s', ... (7 bytes))" % (login, topic),
        st.binary(max_size=20),
        st.binary(max_size=300),
    ),
)


@given(st.lists(LOG_LINES, max_size=30))
def test_names_that_senders_choose_are_read(lines):
    log = BrokerLog(None)
    log._write = lambda _: None
    log._handle_lines(b"\n".join([*lines, b""]))
    for refused in log.list_refused():
        assert len(refused.login) <= 200
        assert len(refused.topic) <= 200
        assert refused.times >= 1


def test_topics_and_logins_beyond_the_limit_are_counted_together(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    log = BrokerLog(tmp_path / "broker.log")
    for login in range(MOST_LOGINS + 50):
        for topic in range(MOST_TOPICS + 20):
            log._handle_lines(b"1: Denied PUBLISH from L%d (d0, q1, r0, m1, 't/%d', ... (7 bytes))\n" % (login, topic))
    refusals = log.list_refused()
    assert len(refusals) == MOST_LOGINS * (MOST_TOPICS + 1) + 1 == len(caplog.records)
    assert sum(refused.times for refused in refusals) == (MOST_LOGINS + 50) * (MOST_TOPICS + 20)
    assert [refused.times for refused in refusals if refused.login == OTHERS] == [50 * (MOST_TOPICS + 20)]


def test_refusals_are_stored_in_quarantine_by_login(database):
    log = BrokerLog(None)
    log._write = lambda _: None
    hostile = "slopeward/v1/north/G1/\udcff\0\u202e'; DROP TABLE x; --".encode("utf-8", "surrogateescape")
    for _ in range(2):
        log._handle_lines(b"1: Denied PUBLISH from s.G1 (d0, q1, r0, m1, '%s', ... (7 bytes))\n" % hostile)
        log._handle_lines(b"1: Denied PUBLISH from s.G2 (d0, q1, r0, m1, '%s', ... (7 bytes))\n" % hostile)
        denied = log.list_refused()
        tell(database, add_rejected, make_quarantine_rows(denied))
        log.note_stored(denied)
        assert not [refused for refused in log.list_refused() if refused.times > refused.stored]
    with database.read() as connection:
        rows = connection.execute(
            text("SELECT client, code, times, payload_bytes, reason FROM rejected_messages ORDER BY client")
        ).all()
        sources = set(connection.execute(text("SELECT source FROM quarantine_sources")).scalars())
    assert [row[:4] for row in rows] == [("login:s.G1", "denied", 2, 7), ("login:s.G2", "denied", 2, 7)]
    assert rows[0].reason == "the broker refused the message: s.G1 has no right to publish on this topic"
    assert sources == {"login:s.G1", "login:s.G2"}, (
        "a topic that names another station must not use its share of the quarantine"
    )


def write_log(log, lines):
    log._handle_lines("".join(f"{time_s}: {line}\n" for time_s, line in enumerate(lines, 1_772_000_000)).encode())


def test_client_id_that_is_taken_over_repeatedly_is_contested(tmp_path):
    log = BrokerLog(tmp_path / "broker.log")
    takeover = "Client {} already connected, closing old connection.".format
    write_log(
        log, [takeover("logger 7"), takeover("G1"), "New client connected from 10.0.0.7:1883 as G1 (p2, c1, k60)."]
    )
    now = datetime.now(UTC)
    assert log.list_contested(now) == [], "an instrument that reconnects takes over its own connection"
    write_log(log, [takeover("logger 7")] * 4)
    [contested] = log.list_contested(now)
    assert (contested.client, contested.times) == ("logger 7", 5)
    assert log.list_contested(now + timedelta(minutes=11)) == []
    assert "logger 7" in (tmp_path / "broker.log").read_text()


def test_number_of_counted_client_ids_is_limited(tmp_path):
    log = BrokerLog(tmp_path / "broker.log")
    takeover = "Client {} already connected, closing old connection.".format
    write_log(log, [takeover(f"client-{number}") for number in range(3 * MOST_CLIENTS)])
    assert len(log._takeovers) == MOST_CLIENTS


def test_too_large_messages_are_counted_apart_from_forbidden_ones(tmp_path):
    log = BrokerLog(tmp_path / "broker.log")
    write_log(
        log,
        [
            "Denied PUBLISH from G1 (d0, q1, r0, m1, 'a/b', ... (5 bytes))",
            "Dropped too large PUBLISH from G1 (d0, q1, r0, m1, 'a/b', ... (1048577 bytes))",
            "Client G1 disconnected due to oversize packet.",
            "Client G2 disconnected due to oversize packet.",
        ],
    )
    denied = {
        (refused.login, refused.topic, refused.is_too_large): refused.payload_bytes for refused in log.list_refused()
    }
    assert denied == {
        ("G1", "a/b", False): 5,
        ("G1", "a/b", True): 1048577,
        ("G1", UNKNOWN_TOPIC, True): 0,
        ("G2", UNKNOWN_TOPIC, True): 0,
    }
    now = datetime.now(UTC)
    assert [(oversized.client, oversized.times) for oversized in log.list_oversized(now)] == [("G1", 2), ("G2", 1)]
    assert log.list_oversized(now + timedelta(minutes=61)) == []


def test_too_large_message_is_stored_in_quarantine(database):
    log = BrokerLog(None)
    log._write = lambda _: None
    write_log(log, ["Dropped too large PUBLISH from s.G1 (d0, q1, r0, m1, 'a/b', ... (1048577 bytes))"] * 2)
    tell(database, add_rejected, make_quarantine_rows(log.list_refused()))
    with database.read() as connection:
        query = text("SELECT client, code, times, payload_bytes, topic, reason FROM rejected_messages")
        [row] = connection.execute(query).all()
    assert row[:5] == ("login:s.G1", "too_large", 2, 1048577, "a/b")
    assert "a message may have 1048576 bytes. Let s.G1 send its readings in several messages" in row.reason


@pytest.mark.server
@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
@pytest.mark.parametrize("payload_bytes", [PAYLOAD_LIMIT + 1, 2 * PAYLOAD_LIMIT])
def test_broker_log_names_sender_of_too_large_message(broker, protocol, payload_bytes):
    _, password = broker.book.issue("north", "G1")
    broker.start()
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    client.username_pw_set("north.G1", password)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(OWN_TOPIC, b"x" * PAYLOAD_LIMIT, qos=1).wait_for_publish(60)
    assert broker.log.list_oversized(datetime.now(UTC)) == []
    client.publish(OWN_TOPIC, b"x" * payload_bytes, qos=1)
    [oversized] = wait_for(lambda: broker.log.list_oversized(datetime.now(UTC)), description="the dropped message")
    client.disconnect()
    client.loop_stop()
    assert oversized.client == "north.G1"


@pytest.mark.server
def test_two_clients_with_same_login_are_contested(broker):
    _, password = broker.book.issue("north", "G1")
    broker.start()
    clients = [Client(CallbackAPIVersion.VERSION2) for _ in range(2)]
    for client in clients:
        client.username_pw_set("north.G1", password)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
    wait_for(lambda: broker.log.list_contested(datetime.now(UTC)), description="takeovers")
    for client in clients:
        client.disconnect()
        client.loop_stop()
    [contested] = broker.log.list_contested(datetime.now(UTC))
    assert contested.client == "north.G1", "the managed broker uses the login as client id"
