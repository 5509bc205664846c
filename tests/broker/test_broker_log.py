"""The log of the managed broker: bounded however much it writes, and read for what the broker refuses."""

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

from monitor.app.children import reject_denied
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

WRONG = [f"slopeward/v1/{place}/obs" for place in ("north/G1/", "other/G1", "north/g1")] + ["a/'b', ... (5 bytes))"]
OWN = "slopeward/v1/north/G1/obs"


@pytest.fixture
def broker(tmp_path):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    made = ManagedBroker(tmp_path / "broker", free_port())
    yield made
    made.stop()


def send(broker, password, topics, protocol=MQTTProtocolVersion.MQTTv311):
    """Publish each at QoS 1 and return the reasons in order. The broker may end the connection at what it refuses."""
    reasons = []
    for topic in topics:
        acknowledged = []
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.username_pw_set("north.G1", password)
        client.on_publish = lambda _c, _u, _m, reason, _p, to=acknowledged: to.append(str(reason))
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish(topic, b"a reading", qos=1)
        wait_for(lambda found=acknowledged: found, description=topic)
        client.disconnect()
        client.loop_stop()
        reasons += acknowledged
    return reasons


@pytest.mark.server
def test_what_the_broker_refuses_is_counted_by_login_and_topic(broker, caplog):
    _, password = broker.book.issue("north", "G1")
    broker.start()
    topics = [OWN, *WRONG, WRONG[0], "t/" + "ü" * 700]
    assert set(send(broker, password, topics)) == {"Success"}, "by MQTT 3.1.1 nobody learns it"
    assert send(broker, password, WRONG[:1], MQTTProtocolVersion.MQTTv5) == ["Not authorized"]
    broker.stop()
    counted = {(one.login, one.topic): one.times for one in broker.log.list_refused()}
    expected = dict.fromkeys((("north.G1", topic[:200]) for topic in topics[1:]), 1) | {("north.G1", WRONG[0]): 3}
    assert counted == expected
    shown = (broker.folder / "broker.log").read_text()
    assert "New client connected" in shown
    assert not [part for part in ("PUBLISH", "PINGREQ", "a reading", password) if part in shown]
    assert password not in caplog.text


@pytest.mark.server
@pytest.mark.parametrize("anonymous", [False, True])
def test_what_doctor_tries_is_not_counted(broker, tmp_path, anonymous):
    broker = ManagedBroker(tmp_path / "broker", broker.port, anonymous=anonymous)
    broker.start()
    own, door = find_access(SimpleNamespace(mode="managed", data=broker.folder)), Access(port=broker.port)
    try_anonymous(own, door, ["north"], "slopeward")
    assert try_foreign(own, door, broker.book.doctor_password(), ["north"], "slopeward").could_connect
    broker.stop()
    assert broker.log.list_refused() == []


@pytest.mark.server
def test_the_broker_goes_on_while_nobody_reads_its_log(broker, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr(BrokerLog, "_read", lambda _, reader: (held.wait(60), os.close(reader)))
    monkeypatch.setattr(broker_log, "_PIPE_BYTES", 4096)
    _, password = broker.book.issue("north", "G1")
    broker.start()
    try:
        with calling(Access(port=broker.port, username="north.G1", password=password)) as instrument:
            assert {instrument.publish(OWN, str(n)) for n in range(300)} == {"Success"}
    finally:
        held.set()


def test_the_log_has_a_bound_while_the_broker_floods(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_log, "LOG_BYTES", 1 << 20)
    monkeypatch.setattr(broker_log, "_PIPE_BYTES", 1 << 18)
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "broker.log").write_bytes(b"of an earlier version\n" * 100_000)
    log = BrokerLog(folder / "broker.log")
    largest, taken = 0, 0
    with log.open_pipe() as out:
        while taken < 6 << 20:  # the pipe holds a quarter of one: the rest was read
            try:
                taken += os.write(out, b"1795643862: New connection from 127.0.0.1\n" * 80)
            except BlockingIOError:
                time.sleep(0.002)
            with contextlib.suppress(FileNotFoundError):  # it is just being renamed
                size = sum(file.stat().st_size for file in folder.iterdir())
                largest = max(largest, size) if (folder / "broker.log.1").exists() else 0
    log.close()
    assert 1 << 20 < largest <= 2 << 20
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert log.last_line.startswith("1795643862: New connection")


def test_a_disk_without_room_costs_the_log_alone(tmp_path):
    log = BrokerLog(tmp_path / "gone" / "broker.log")
    with log.open_pipe() as out:
        os.write(out, b"1: New connection\n1: Denied PUBLISH from a (d0, q1, r0, m1, 't', ... (1 bytes))\n")
    log.close()
    assert [one.topic for one in log.list_refused()] == ["t"]


LINES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda login, topic: b"1: Denied PUBLISH from %s (d0, q1, r0, m1, '%s', ... (7 bytes))" % (login, topic),
        st.binary(max_size=20),
        st.binary(max_size=300),
    ),
)


@given(st.lists(LINES, max_size=30))
def test_whatever_senders_choose_is_read(lines):
    log = BrokerLog(None)
    log._write = lambda _: None
    log._handle_lines(b"\n".join([*lines, b""]))
    for one in log.list_refused():
        assert len(one.login) <= 200
        assert len(one.topic) <= 200
        assert one.times >= 1


def test_topics_and_logins_beyond_a_bound_are_counted_together(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    log = BrokerLog(tmp_path / "broker.log")
    for login in range(MOST_LOGINS + 50):
        for topic in range(MOST_TOPICS + 20):
            log._handle_lines(b"1: Denied PUBLISH from L%d (d0, q1, r0, m1, 't/%d', ... (7 bytes))\n" % (login, topic))
    found = log.list_refused()
    assert len(found) == MOST_LOGINS * (MOST_TOPICS + 1) + 1 == len(caplog.records)
    assert sum(one.times for one in found) == (MOST_LOGINS + 50) * (MOST_TOPICS + 20)
    assert [one.times for one in found if one.login == OTHERS] == [50 * (MOST_TOPICS + 20)]


def test_rows_of_the_quarantine_are_of_the_login_and_count_on(database):
    log = BrokerLog(None)
    log._write = lambda _: None
    hostile = "slopeward/v1/north/G1/\udcff\0\u202e'; DROP TABLE x; --".encode("utf-8", "surrogateescape")
    for _ in range(2):
        log._handle_lines(b"1: Denied PUBLISH from s.G1 (d0, q1, r0, m1, '%s', ... (7 bytes))\n" % hostile)
        log._handle_lines(b"1: Denied PUBLISH from s.G2 (d0, q1, r0, m1, '%s', ... (7 bytes))\n" % hostile)
        denied = log.list_refused()
        tell(database, add_rejected, reject_denied(denied))
        log.note_stored(denied)
        assert not [one for one in log.list_refused() if one.times > one.stored]
    with database.read() as c:
        rows = c.execute(
            text("SELECT client, code, times, payload_bytes, reason FROM rejected_messages ORDER BY client")
        ).all()
        sources = set(c.execute(text("SELECT source FROM quarantine_sources")).scalars())
    assert [row[:4] for row in rows] == [("login:s.G1", "denied", 2, 7), ("login:s.G2", "denied", 2, 7)]
    assert rows[0].reason == "the broker refused the message: s.G1 has no right to publish on this topic"
    assert sources == {"login:s.G1", "login:s.G2"}, "nobody takes the share of another by its topics"


def write_log(log, lines):
    log._handle_lines("".join(f"{at}: {line}\n" for at, line in enumerate(lines, 1_772_000_000)).encode())


def test_client_id_that_is_taken_over_again_and_again_is_contested(tmp_path):
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


def test_counted_client_ids_are_bounded(tmp_path):
    log = BrokerLog(tmp_path / "broker.log")
    takeover = "Client {} already connected, closing old connection.".format
    write_log(log, [takeover(f"client-{number}") for number in range(3 * MOST_CLIENTS)])
    assert len(log._takeovers) == MOST_CLIENTS


def test_messages_that_are_too_large_are_counted_apart_from_forbidden_ones(tmp_path):
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
    denied = {(one.login, one.topic, one.is_too_large): one.payload_bytes for one in log.list_refused()}
    assert denied == {
        ("G1", "a/b", False): 5,
        ("G1", "a/b", True): 1048577,
        ("G1", UNKNOWN_TOPIC, True): 0,
        ("G2", UNKNOWN_TOPIC, True): 0,
    }
    now = datetime.now(UTC)
    assert [(one.client, one.times) for one in log.list_oversized(now)] == [("G1", 2), ("G2", 1)]
    assert log.list_oversized(now + timedelta(minutes=61)) == []


def test_a_message_that_is_too_large_is_a_row_of_the_quarantine(database):
    log = BrokerLog(None)
    log._write = lambda _: None
    write_log(log, ["Dropped too large PUBLISH from s.G1 (d0, q1, r0, m1, 'a/b', ... (1048577 bytes))"] * 2)
    tell(database, add_rejected, reject_denied(log.list_refused()))
    with database.read() as c:
        query = text("SELECT client, code, times, payload_bytes, topic, reason FROM rejected_messages")
        [row] = c.execute(query).all()
    assert row[:5] == ("login:s.G1", "too_large", 2, 1048577, "a/b")
    assert "a message may have 1048576 bytes. Let s.G1 send its readings in several messages" in row.reason


@pytest.mark.server
@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
@pytest.mark.parametrize("payload_bytes", [PAYLOAD_LIMIT + 1, 2 * PAYLOAD_LIMIT])
def test_the_broker_reports_who_sends_messages_that_are_too_large(broker, protocol, payload_bytes):
    _, password = broker.book.issue("north", "G1")
    broker.start()
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    client.username_pw_set("north.G1", password)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(OWN, b"x" * PAYLOAD_LIMIT, qos=1).wait_for_publish(60)
    assert broker.log.list_oversized(datetime.now(UTC)) == []
    client.publish(OWN, b"x" * payload_bytes, qos=1)
    [oversized] = wait_for(lambda: broker.log.list_oversized(datetime.now(UTC)), description="the dropped message")
    client.disconnect()
    client.loop_stop()
    assert oversized.client == "north.G1"


@pytest.mark.server
def test_two_clients_with_one_login_are_contested(broker):
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
    assert contested.client == "north.G1", "the managed broker takes the login for the client id"
