"""Ingest between a real Mosquitto broker and real databases: sessions, acknowledgements, gaps and restarts."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import text

from monitor.errors import StoreBusyError
from monitor.ingest import pipeline
from monitor.ingest.mqtt import MqttSession
from monitor.ingest.service import SESSION_LOST, Ingest, IngestContext
from monitor.sites.records import Binding, Level, SeriesSpec, Site, Station
from monitor.storage.engine import Database
from tests.data.payloads import published
from tests.data.store_rows import ask
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.waiting import REPOSITORY, wait_for

pytestmark = pytest.mark.server
T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
OBS = "slopeward/v1/north/G1/obs"
INGEST_PROGRAM = "from tests.end_to_end.ingest_only import main; main()"
KILL_DURING_QUARANTINE = """
import os, signal
from monitor.ingest import pipeline
real, before = pipeline.add_rejected, []
def add_rejected(*given):
    if given[1]:
        before.append(given)
    if len(before) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)
pipeline.add_rejected = add_rejected
"""


def make_site(site_id="north"):
    series = (SeriesSpec("G1", "displacement", "mm", 3600.0, 21600.0), SeriesSpec("G1", "rain", "mm", 3600.0, 21600.0))
    station = Station("G1", 46.0, 9.0, None, None, None, None, None, None, True, series)
    levels = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))
    return Site(site_id, "North", 46.0, 9.0, "Europe/Zurich", levels, (station,), ())


class Publisher:
    """Publish with QoS 1 and record which messages the broker acknowledged."""

    def __init__(self, port):
        self.acknowledged = set()
        self._tags = {}
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.heard = []
        self.client.on_publish = lambda c, u, mid, *_: self.acknowledged.add(mid)
        self.client.on_message = lambda c, u, m: self.heard.append((m.topic, json.loads(m.payload)))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic, payload, qos=1):
        payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.client.publish(topic, payload, qos=qos)

    def wait(self, *infos):
        for info in infos:
            info.wait_for_publish(20)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def publisher(mosquitto):
    publisher_client = Publisher(mosquitto.port)
    yield publisher_client
    publisher_client.close()


@pytest.fixture
def start_ingest(mosquitto, database):
    running = []

    def start(sites=None):
        broker = SimpleNamespace(host="127.0.0.1", port=mosquitto.port, client_id="slopeward", username="", password="")
        seen = SimpleNamespace(stored=[], alarms=[], drained=[])
        record_stored = lambda stored: seen.stored.append(stored.sites) or seen.drained.append(ingest.is_drained())  # noqa: E731
        callbacks = (record_stored, seen.alarms.append, lambda: datetime.now(UTC))
        config, sites = SimpleNamespace(broker=broker), sites or {"north": make_site()}
        ingest = Ingest(IngestContext(database, config, sites, *callbacks))
        ingest.seen = seen
        ingest.start()
        running.append(ingest)
        wait_for(lambda: all(ingest.status()["connected"].values()))
        return ingest

    yield start
    for ingest in running:
        ingest.stop()


def test_message_with_a_similar_topic_is_quarantined(start_ingest, publisher, database):
    start_ingest()
    suffixes = [
        "north/G1/obs/",
        "north/G1/obs/x",
        "north/obs",
        "north/G1/backfill/obs/",
        "north/report/",
        "north/event/1",
    ]
    topics = ["/" + OBS, *(f"slopeward/v1/{suffix}" for suffix in suffixes)]
    publisher.wait(*(publisher.send(topic, {"time": T0.isoformat(), "displacement_mm": 1.0}) for topic in topics))
    rows = text("SELECT topic FROM rejected_messages WHERE code = 'unknown_topic'")
    wait_for(lambda: ask(database, lambda c: {*c.scalars(rows)}) == {*topics})


def test_broken_decoder_raises_an_alarm_for_its_site_only(start_ingest):
    decoders = {"a": "gone", "b": "rows"}
    sites = {k: replace(make_site(k), decoders=(Binding(f"gateway/{k}", name),)) for k, name in decoders.items()}
    alarms = start_ingest(sites).seen.alarms
    wait_for(lambda: len(alarms) == 2)
    assert {a.key: a.open for a in alarms} == {"health:decoder:a": True, "health:decoder:b": False}


def count_rows(database, sql="select count(*) from observation"):
    return ask(database, lambda c: c.execute(text(sql)).scalar())


def make_sample(i, value=None, **more):
    return {"time": (T0 + timedelta(minutes=i)).isoformat(), "rain_mm": float(i) if value is None else value, **more}


def test_old_readings_of_a_new_site_do_not_count_as_drained(database, publisher, start_ingest):
    """A logger sends its stored readings to a new site. The old ones are no silence of its station."""
    ingest = start_ingest()
    long_ago, now = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC)
    for at, drained in ((long_ago, False), (now, True)):
        wait_for(ingest.is_drained)
        ingest.seen.drained.clear()
        publisher.wait(publisher.send(OBS, {"time": at.isoformat(), "rain_mm": 1.0}))
        wait_for(lambda: ingest.seen.drained)
        assert ingest.seen.drained == [drained]


def test_broker_keeps_messages_while_ingest_is_stopped_and_over_a_restart(database, mosquitto, publisher, start_ingest):
    start_ingest().stop()
    publisher.wait(*[publisher.send(OBS, make_sample(i)) for i in range(500)])
    mosquitto.restart()
    second = start_ingest()
    wait_for(lambda: count_rows(database) == 500)
    assert not any(alarm.open for alarm in second.seen.alarms)


@ON_BOTH
def test_nothing_is_acknowledged_while_the_database_is_locked(mosquitto, publisher, start_ingest, database):
    ingest = start_ingest()
    publisher.wait(publisher.send(OBS, make_sample(0)))
    wait_for(lambda: count_rows(database) == 1)
    locked, release = threading.Event(), threading.Event()

    def hold():
        with database.engine.connect() as c, c.execution_options(slopeward_write=True).begin():
            if not database.is_sqlite:
                c.execute(text("lock table observation in access exclusive mode"))
            locked.set()
            release.wait(90)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(60)
    publisher.wait(*[publisher.send(OBS, make_sample(i)) for i in range(1, 800)])
    before = ingest.progress()["ingest-writer"]
    time.sleep(1.0)
    assert ingest.status()["messages"] == 1
    release.set()
    holder.join()
    wait_for(lambda: count_rows(database) == 800)
    assert ingest.progress()["ingest-writer"] > before


def test_lost_session_raises_an_alarm_and_is_subscribed_again(database, mosquitto, publisher, start_ingest):
    first = start_ingest()
    publisher.wait(publisher.send(OBS, make_sample(0, source="logger", boot_id=3, seq=41)))
    wait_for(lambda: count_rows(database) == 1)
    first.stop()
    assert first.seen.alarms == []
    # Another client with the same identifier discards the session, as a broker that lost its files does.
    other_client = Client(CallbackAPIVersion.VERSION2, client_id="slopeward", protocol=MQTTProtocolVersion.MQTTv5)
    other_client.connect("127.0.0.1", mosquitto.port, clean_start=True)
    other_client.loop_start()
    wait_for(other_client.is_connected)
    other_client.disconnect()
    other_client.loop_stop()
    publisher.client.subscribe("slopeward/v1/+/+/backfill", 1)
    second = start_ingest()
    wait_for(lambda: any(a.open for a in second.seen.alarms))
    assert ("health", SESSION_LOST) in [(a.ledger, a.key) for a in second.seen.alarms if a.open]
    topic, request = wait_for(lambda: publisher.heard)[0]
    assert topic == "slopeward/v1/north/G1/backfill"
    assert (request["source"], request["boot_id"], request["from_seq"], request["to_seq"]) == ("logger", 3, 42, None)


@ON_BOTH
def test_sequence_gaps_are_stored_requested_and_closed(database, publisher, start_ingest):
    start_ingest()
    publisher.client.subscribe("slopeward/v1/+/+/backfill", 1)
    publisher.wait(*[publisher.send(OBS, make_sample(i, source="l", boot_id=1, seq=i)) for i in (1, 2, 6, 7)])
    topic, request = wait_for(lambda: publisher.heard)[0]
    assert (topic, request["from_seq"], request["to_seq"]) == ("slopeward/v1/north/G1/backfill", 3, 5)
    assert request["from"].startswith("2026-03-01T06:02")
    back = "slopeward/v1/north/G1/backfill/obs"
    publisher.wait(publisher.send(back, make_sample(4, source="l", boot_id=1, seq=4)))
    wait_for(lambda: count_rows(database, "select count(*) from sequence_gap") == 2)
    with database.read() as c:
        gaps = c.execute(text("select from_seq, to_seq from sequence_gap where filled_at is null order by 1")).all()
    assert [tuple(g) for g in gaps] == [(3, 3), (5, 5)]
    publisher.wait(*[publisher.send(back, make_sample(i, source="l", boot_id=1, seq=i)) for i in (3, 5)])
    wait_for(lambda: count_rows(database, "select count(*) from sequence_gap where filled_at is null") == 0)
    assert count_rows(database) == 7


def test_readings_are_stored_while_the_quarantine_is_locked_and_acknowledged_after_it(
    database, publisher, start_ingest, monkeypatch
):
    def busy(*_):
        raise StoreBusyError("locked")

    first = start_ingest()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "add_rejected", busy)
        publisher.wait(publisher.send(OBS, make_sample(1)), publisher.send(OBS, b"rubbish"))
        wait_for(lambda: count_rows(database) == 1)
        wait_for(lambda: first.seen.stored == [frozenset({"north"})])
        assert count_rows(database, "select count(*) from rejected_message") == 0
        first.stop()  # the broker repeats the messages that are not acknowledged
    start_ingest()
    wait_for(lambda: count_rows(database, "select count(*) from rejected_message") == 1)
    assert count_rows(database) == 1


def test_readings_are_stored_before_an_earlier_quarantine_and_acknowledged_in_order(
    database, publisher, start_ingest, monkeypatch
):
    stored_readings, acknowledged = [], []
    add_rejected, acknowledge = pipeline.add_rejected, MqttSession.acknowledge

    def slow(connection, messages, quota):
        if messages and not stored_readings:
            publisher.wait(publisher.send(OBS, make_sample(1)))
            time.sleep(0.3)  # the batch with the reading is due now
        stored_readings.extend([count_rows(database)] * bool(messages))
        return add_rejected(connection, messages, quota)

    def acknowledge_and_record(session, messages):
        acknowledged.extend(len(m.payload) for m in messages)
        acknowledge(session, messages)

    monkeypatch.setattr(pipeline, "add_rejected", slow)
    monkeypatch.setattr(MqttSession, "acknowledge", acknowledge_and_record)
    ingest = start_ingest()
    rubbish = [b"x" * size for size in (400_000, 300_000, 500_000)]
    publisher.wait(*[publisher.send(OBS, payload) for payload in rubbish])
    wait_for(lambda: ingest.status()["messages"] == 4)
    assert len(stored_readings) == 3, "the quarantine was not written in separate transactions"
    assert stored_readings[-1] == 1, "the reading waited for the whole quarantine"
    assert (acknowledged[:3], len(acknowledged)) == ([400_000, 300_000, 500_000], 4)


def test_kill_between_readings_and_quarantine_loses_nothing(sqlite_url, mosquitto, publisher, request):
    def launch(program):
        words = [sys.executable, "-c", program, sqlite_url, str(mosquitto.port), "--quiet"]
        child = subprocess.Popen(words, cwd=REPOSITORY)
        request.addfinalizer(lambda: (child.kill(), child.wait()))
        return child

    with Database(sqlite_url) as database:
        first = launch(KILL_DURING_QUARANTINE + INGEST_PROGRAM)
        wait_for(lambda: publisher.send(OBS, make_sample(0)) and count_rows(database) == 1)
        publisher.wait(*[publisher.send(OBS, b"x" * size) for size in range(200_000, 200_010)])
        publisher.wait(publisher.send(OBS, make_sample(1)))
        assert first.wait(60) == -signal.SIGKILL
        assert 0 < count_rows(database, "select count(*) from rejected_message") < 10
        second = launch(INGEST_PROGRAM)
        wait_for(lambda: count_rows(database, "select count(*) from rejected_message") == 10)
        wait_for(lambda: count_rows(database) == 2)
        second.terminate()
        assert second.wait(60) == 0


def test_reports_and_events_are_stored_once(database, publisher, start_ingest):
    ingest = start_ingest()
    report = {"time": "2026-03-01T06:00:00Z", "kind": "crack", "text": "new crack", "by": "Ada", "station": "G1"}
    event = {"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T07:00:00Z", "kind": "blasting", "text": "bench 4"}
    for topic, payload in (("report", report), ("event", event)) * 2:
        publisher.wait(publisher.send(f"slopeward/v1/north/{topic}", payload))
    wait_for(lambda: ingest.status()["messages"] == 4)
    assert count_rows(database, "select count(*) from report") == 1
    assert count_rows(database, "select count(*) from site_event") == 1


def test_acknowledged_messages_are_not_delivered_again(database, publisher, start_ingest):
    first = start_ingest()
    publisher.wait(*[publisher.send(OBS, make_sample(i)) for i in range(700)])
    publisher.wait(publisher.send(OBS, b"rubbish"))
    wait_for(lambda: first.status()["messages"] == 701)
    first.stop()
    second = start_ingest()
    publisher.wait(publisher.send(OBS, make_sample(999)))
    wait_for(lambda: count_rows(database) == 701)
    time.sleep(0.5)
    assert second.status()["messages"] == 1


def test_an_acknowledgement_of_an_earlier_connection_is_dropped(
    database, mosquitto, publisher, start_ingest, monkeypatch
):
    ingest = start_ingest()
    release = threading.Event()
    store = ingest._pipeline.store

    def store_late(batch, **options):
        release.wait(90)
        return store(batch, **options)

    monkeypatch.setattr(ingest._pipeline, "store", store_late)
    publisher.wait(*[publisher.send(OBS, make_sample(i)) for i in range(100)])
    wait_for(lambda: len(ingest._inbox) or not ingest._inbox._waiting.is_set())
    time.sleep(0.3)
    mosquitto.restart()
    wait_for(lambda: not ingest.status()["connected"]["live"] or ingest._live.connection_number > 1)
    wait_for(lambda: all(ingest.status()["connected"].values()))
    release.set()
    wait_for(lambda: ingest.status()["messages"] >= 200)
    assert ingest.status()["dropped_acknowledgements"] == 100
    assert (count_rows(database), ingest.status()["duplicates"], ingest.status()["revisions"]) == (100, 100, 0)
    ingest.stop()
    second = start_ingest()
    time.sleep(0.5)
    assert second.status()["messages"] == 0


def test_births_are_requested_and_undated_values_count_only_live(database, publisher, start_ingest):
    """Ingest requests the birth of a Sparkplug node. A value without time is stored only if it arrives live."""
    requests = []
    publisher.client.on_message = lambda c, u, m: requests.append((m.topic, bytes(m.payload)))
    publisher.client.subscribe("spBv1.0/+/NCMD/#", qos=1)
    node, engine = "spBv1.0/tedge/{}/sim-cnc01", "homie/super-car/engine/temperature"
    publisher.wait(publisher.client.publish(engine, b"19.5", qos=1, retain=True))

    def load_values(quantity):
        query = (
            "select value_raw from observation o join series s on s.id = o.series_id"
            f" where quantity = '{quantity}' order by o.received_at"
        )
        return [round(value, 2) for value in ask(database, lambda c: c.execute(text(query)).scalars())]

    ingest = start_ingest({"north": published.SITE})
    publisher.send(node.format("NDATA"), published.NDATA)
    publisher.send(node.format("NDATA"), published.NDATA)  # the birth is requested once a minute
    wait_for(lambda: requests)
    publisher.send(node.format("NBIRTH"), published.NBIRTH[:-1] + b"\x0d")
    publisher.send(node.format("NDATA"), published.NDATA)
    publisher.wait(publisher.client.publish(engine, b"21.5", qos=1, retain=True))
    publisher.wait(publisher.client.publish(engine.replace("temperature", "speed"), b"9", qos=1, retain=True))
    wait_for(lambda: len(load_values("temperature")) == 3 and ingest.status()["retained_cleared"])
    assert ingest.status()["retained_cleared"] == 1  # the speed, which the site file does not name
    ingest.stop()
    publisher.wait(publisher.send(engine, b"30"), publisher.send(OBS, make_sample(1)))  # ingest is stopped
    start_ingest({"north": published.SITE})
    wait_for(lambda: load_values("rain"))
    assert load_values("temperature") == [20.97, 22.26, 21.5]  # retained and queued values have no time
    assert [topic for topic, _ in requests] == ["spBv1.0/tedge/NCMD/sim-cnc01"]
    assert requests[0][1].endswith(b"Node Control/Rebirth\x20\x0b\x70\x01")
    assert (
        count_rows(database, "select count(*) from rejected_message where code = 'no_birth'") == 1
    )  # equal payloads are stored once
