"""A real broker on one side, real databases on the other."""

import json
import os
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

from monitor.broker.access import Access
from monitor.broker.probe import connected
from monitor.config.service import BrokerSection, IngestSection, LimitsSection, ServiceConfig, parse_service
from monitor.domain.errors import ConfigError, StoreBusyError
from monitor.domain.site import Binding, Level, SeriesSpec, Site, Station
from monitor.ingest import pipeline
from monitor.ingest.handover import STAMP
from monitor.ingest.mqtt import MqttSession
from monitor.ingest.service import SESSION_LOST, Ingest, IngestContext
from monitor.service.alarms import ServiceAlarms
from monitor.service.intake.divided import DividedIngest, open_ingest
from monitor.service.intake.process import IngestHeartbeat
from monitor.store.database.core_turn import CoreTurn
from monitor.store.database.engine import Database
from monitor.store.service_state import find_stamp
from tests.conftest import ON_BOTH, REPOSITORY, free_port, wait_for
from tests.data.payloads import published
from tests.data.store_rows import ask
from tests.end_to_end.ingest_only import STATIONS
from tests.end_to_end.ingest_only import make_site as make_eight_stations

pytestmark = pytest.mark.server
T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
OBS = "slopeward/v1/north/G1/obs"
LAUNCHED = "from tests.end_to_end.ingest_only import main; main()"
KILLED = """
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
    """Publishes with QoS 1 and remembers what the broker acknowledged."""

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
    made = Publisher(mosquitto.port)
    yield made
    made.close()


@pytest.fixture
def start_ingest(mosquitto, database):
    running = []

    def start(sites=None):
        broker = SimpleNamespace(host="127.0.0.1", port=mosquitto.port, client_id="slopeward", username="", password="")
        seen = SimpleNamespace(stored=[], alarms=[], drained=[])
        note = lambda stored: seen.stored.append(stored.sites) or seen.drained.append(ingest.drained())  # noqa: E731
        told = (note, seen.alarms.append, lambda: datetime.now(UTC))
        config, sites = SimpleNamespace(broker=broker), sites or {"north": make_site()}
        ingest = Ingest(IngestContext(database, config, sites, *told))
        ingest.seen = seen
        ingest.start()
        running.append(ingest)
        wait_for(lambda: all(ingest.status()["connected"].values()))
        return ingest

    yield start
    for ingest in running:
        ingest.stop()


def test_a_site_whose_decoder_is_broken_is_told_and_stops_nobody(start_ingest):
    decoders = {"a": "gone", "b": "rows"}
    sites = {k: replace(make_site(k), decoders=(Binding(f"gateway/{k}", name),)) for k, name in decoders.items()}
    alarms = start_ingest(sites).seen.alarms
    wait_for(lambda: len(alarms) == 2)
    assert {a.key: a.open for a in alarms} == {"health:decoder:a": True, "health:decoder:b": False}


def count(database, sql="select count(*) from observation"):
    with database.read() as c:
        return c.execute(text(sql)).scalar()


def sample(i, value=None, **more):
    return {"time": (T0 + timedelta(minutes=i)).isoformat(), "rain_mm": float(i) if value is None else value, **more}


def test_a_site_that_is_filled_with_its_past_is_not_judged_by_the_first_reading_of_it(
    database, publisher, start_ingest
):
    """A logger that empties its memory into a new site: silence since the oldest reading is none."""
    ingest = start_ingest()
    long_ago, now = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC)
    for at, drained in ((long_ago, False), (now, True)):
        wait_for(ingest.drained)
        ingest.seen.drained.clear()
        publisher.wait(publisher.send(OBS, {"time": at.isoformat(), "rain_mm": 1.0}))
        wait_for(lambda: ingest.seen.drained)
        assert ingest.seen.drained == [drained]


def test_what_is_sent_while_we_are_away_is_kept_and_the_broker_may_restart(
    database, mosquitto, publisher, start_ingest
):
    start_ingest().stop()
    publisher.wait(*[publisher.send(OBS, sample(i)) for i in range(500)])
    mosquitto.restart()
    again = start_ingest()
    wait_for(lambda: count(database) == 500)
    assert not any(alarm.open for alarm in again.seen.alarms)


@ON_BOTH
def test_nothing_is_acknowledged_while_the_database_is_locked(mosquitto, publisher, start_ingest, database):
    ingest = start_ingest()
    publisher.wait(publisher.send(OBS, sample(0)))
    wait_for(lambda: count(database) == 1)
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
    publisher.wait(*[publisher.send(OBS, sample(i)) for i in range(1, 800)])
    before = ingest.progress()["ingest.writer"]
    time.sleep(1.0)
    assert ingest.status()["messages"] == 1
    release.set()
    holder.join()
    wait_for(lambda: count(database) == 800)
    assert ingest.progress()["ingest.writer"] > before


def test_a_broker_that_forgot_us_raises_an_alarm_and_asks_again(database, mosquitto, publisher, start_ingest):
    first = start_ingest()
    publisher.wait(publisher.send(OBS, sample(0, source="logger", boot_id=3, seq=41)))
    wait_for(lambda: count(database) == 1)
    first.stop()
    assert first.seen.alarms == []
    # another client of the same id discards the session, as a broker without its files would
    thief = Client(CallbackAPIVersion.VERSION2, client_id="slopeward", protocol=MQTTProtocolVersion.MQTTv5)
    thief.connect("127.0.0.1", mosquitto.port, clean_start=True)
    thief.loop_start()
    wait_for(thief.is_connected)
    thief.disconnect()
    thief.loop_stop()
    publisher.client.subscribe("slopeward/v1/+/+/backfill", 1)
    second = start_ingest()
    wait_for(lambda: any(a.open for a in second.seen.alarms))
    assert ("health", SESSION_LOST) in [(a.ledger, a.key) for a in second.seen.alarms if a.open]
    topic, request = wait_for(lambda: publisher.heard)[0]
    assert topic == "slopeward/v1/north/G1/backfill"
    assert (request["source"], request["boot_id"], request["from_seq"], request["to_seq"]) == ("logger", 3, 42, None)


@ON_BOTH
def test_holes_in_the_count_are_stored_asked_for_and_closed(database, publisher, start_ingest):
    start_ingest()
    publisher.client.subscribe("slopeward/v1/+/+/backfill", 1)
    publisher.wait(*[publisher.send(OBS, sample(i, source="l", boot_id=1, seq=i)) for i in (1, 2, 6, 7)])
    topic, request = wait_for(lambda: publisher.heard)[0]
    assert (topic, request["from_seq"], request["to_seq"]) == ("slopeward/v1/north/G1/backfill", 3, 5)
    assert request["from"].startswith("2026-03-01T06:02")
    back = "slopeward/v1/north/G1/backfill/obs"
    publisher.wait(publisher.send(back, sample(4, source="l", boot_id=1, seq=4)))
    wait_for(lambda: count(database, "select count(*) from sequence_gap") == 2)
    with database.read() as c:
        gaps = c.execute(text("select from_seq, to_seq from sequence_gap where filled_at is null order by 1")).all()
    assert [tuple(g) for g in gaps] == [(3, 3), (5, 5)]
    publisher.wait(*[publisher.send(back, sample(i, source="l", boot_id=1, seq=i)) for i in (3, 5)])
    wait_for(lambda: count(database, "select count(*) from sequence_gap where filled_at is null") == 0)
    assert count(database) == 7


def test_readings_do_not_wait_for_the_quarantine_and_nothing_is_acknowledged_before_it(
    database, publisher, start_ingest, monkeypatch
):
    def busy(*_):
        raise StoreBusyError("locked")

    first = start_ingest()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "add_rejected", busy)
        publisher.wait(publisher.send(OBS, sample(1)), publisher.send(OBS, b"rubbish"))
        wait_for(lambda: count(database) == 1)
        wait_for(lambda: first.seen.stored == [frozenset({"north"})])
        assert count(database, "select count(*) from rejected_message") == 0
        first.stop()  # in the middle: what is not acknowledged comes again
    start_ingest()
    wait_for(lambda: count(database, "select count(*) from rejected_message") == 1)
    assert count(database) == 1


def test_readings_go_before_the_quarantine_of_earlier_batches_and_order_is_kept(
    database, publisher, start_ingest, monkeypatch
):
    seen, acknowledged = [], []
    real, really = pipeline.add_rejected, MqttSession.acknowledge

    def slow(connection, messages, quota):
        if messages and not seen:
            publisher.wait(publisher.send(OBS, sample(1)))
            time.sleep(0.3)  # it is due now
        seen.extend([count(database)] * bool(messages))
        return real(connection, messages, quota)

    def note(session, messages):
        acknowledged.extend(len(m.payload) for m in messages)
        really(session, messages)

    monkeypatch.setattr(pipeline, "add_rejected", slow)
    monkeypatch.setattr(MqttSession, "acknowledge", note)
    ingest = start_ingest()
    rubbish = [b"x" * size for size in (400_000, 300_000, 500_000)]
    publisher.wait(*[publisher.send(OBS, payload) for payload in rubbish])
    wait_for(lambda: ingest.status()["messages"] == 4)
    assert len(seen) == 3, "each has a transaction of its own"
    assert seen[-1] == 1, "the reading did not wait for all of them"
    assert (acknowledged[:3], len(acknowledged)) == ([400_000, 300_000, 500_000], 4)


def test_killed_between_readings_and_quarantine_nothing_is_lost(sqlite_url, mosquitto, publisher, request):
    def launch(program):
        words = [sys.executable, "-c", program, sqlite_url, str(mosquitto.port), "--quiet"]
        child = subprocess.Popen(words, cwd=REPOSITORY)
        request.addfinalizer(lambda: (child.kill(), child.wait()))
        return child

    with Database(sqlite_url) as database:
        first = launch(KILLED + LAUNCHED)
        wait_for(lambda: publisher.send(OBS, sample(0)) and count(database) == 1)
        publisher.wait(*[publisher.send(OBS, b"x" * size) for size in range(200_000, 200_010)])
        publisher.wait(publisher.send(OBS, sample(1)))
        assert first.wait(60) == -signal.SIGKILL
        kept = count(database, "select count(*) from rejected_message")
        assert 0 < kept < 10
        second = launch(LAUNCHED)
        wait_for(lambda: count(database, "select count(*) from rejected_message") == 10)
        wait_for(lambda: count(database) == 2)
        second.terminate()
        assert second.wait(60) == 0


def test_reports_and_events_are_stored_once(database, publisher, start_ingest):
    ingest = start_ingest()
    report = {"time": "2026-03-01T06:00:00Z", "kind": "crack", "text": "new crack", "by": "Ada", "station": "G1"}
    event = {"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T07:00:00Z", "kind": "blasting", "text": "bench 4"}
    for topic, payload in (("report", report), ("event", event)) * 2:
        publisher.wait(publisher.send(f"slopeward/v1/north/{topic}", payload))
    wait_for(lambda: ingest.status()["messages"] == 4)
    assert count(database, "select count(*) from report") == 1
    assert count(database, "select count(*) from site_event") == 1


def test_what_was_acknowledged_never_comes_again(database, publisher, start_ingest):
    first = start_ingest()
    publisher.wait(*[publisher.send(OBS, sample(i)) for i in range(700)])
    publisher.wait(publisher.send(OBS, b"rubbish"))
    wait_for(lambda: first.status()["messages"] == 701)
    first.stop()
    second = start_ingest()
    publisher.wait(publisher.send(OBS, sample(999)))
    wait_for(lambda: count(database) == 701)
    time.sleep(0.5)
    assert second.status()["messages"] == 1


def test_an_acknowledgement_of_an_earlier_connection_is_dropped(
    database, mosquitto, publisher, start_ingest, monkeypatch
):
    ingest = start_ingest()
    release = threading.Event()
    store = ingest._pipeline.store

    def store_late(batch, **how):
        release.wait(90)
        return store(batch, **how)

    monkeypatch.setattr(ingest._pipeline, "store", store_late)
    publisher.wait(*[publisher.send(OBS, sample(i)) for i in range(100)])
    wait_for(lambda: len(ingest._inbox) or not ingest._inbox._bell.is_set())
    time.sleep(0.3)
    mosquitto.restart()
    wait_for(lambda: not ingest.status()["connected"]["live"] or ingest._live.epoch > 1)
    wait_for(lambda: all(ingest.status()["connected"].values()))
    release.set()
    wait_for(lambda: ingest.status()["messages"] >= 200)
    assert ingest.status()["dropped_acknowledgements"] == 100
    assert (count(database), ingest.status()["duplicates"], ingest.status()["revisions"]) == (100, 100, 0)
    ingest.stop()
    again = start_ingest()
    time.sleep(0.5)
    assert again.status()["messages"] == 0


def test_devices_that_tell_no_time_or_no_birth(database, publisher, start_ingest):
    """A node of Sparkplug B is asked for its birth; a value without time counts only where it comes at once."""
    asked = []
    publisher.client.on_message = lambda c, u, m: asked.append((m.topic, bytes(m.payload)))
    publisher.client.subscribe("spBv1.0/+/NCMD/#", qos=1)
    node, engine = "spBv1.0/tedge/{}/sim-cnc01", "homie/super-car/engine/temperature"
    publisher.wait(publisher.client.publish(engine, b"19.5", qos=1, retain=True))

    def look(quantity):
        query = (
            "select value_raw from observation o join series s on s.id = o.series_id"
            f" where quantity = '{quantity}' order by o.received_at"
        )
        with database.read() as c:
            return [round(value, 2) for value in c.execute(text(query)).scalars()]

    ingest = start_ingest({"north": published.SITE})
    publisher.send(node.format("NDATA"), published.NDATA)
    publisher.send(node.format("NDATA"), published.NDATA)  # a node is asked once a minute
    wait_for(lambda: asked)
    publisher.send(node.format("NBIRTH"), published.NBIRTH[:-1] + b"\x0d")
    publisher.send(node.format("NDATA"), published.NDATA)
    publisher.wait(publisher.client.publish(engine, b"21.5", qos=1, retain=True))
    publisher.wait(publisher.client.publish(engine.replace("temperature", "speed"), b"9", qos=1, retain=True))
    wait_for(lambda: len(look("temperature")) == 3 and ingest.status()["retained_cleared"])
    assert ingest.status()["retained_cleared"] == 1  # the speed, which nobody asked for
    ingest.stop()
    publisher.wait(publisher.send(engine, b"30"), publisher.send(OBS, sample(1)))  # nobody listens
    start_ingest({"north": published.SITE})
    wait_for(lambda: look("rain"))
    assert look("temperature") == [20.97, 22.26, 21.5]  # what was retained, and what waited, came without its time
    assert [topic for topic, _ in asked] == ["spBv1.0/tedge/NCMD/sim-cnc01"]
    assert asked[0][1].endswith(b"Node Control/Rebirth\x20\x0b\x70\x01")
    assert count(database, "select count(*) from rejected_message where code = 'no_birth'") == 1  # the same bytes


# ---- several processes on a real broker and PostgreSQL: divided, killed, divided otherwise; nothing is lost ----
SITES = ("alp", "bach", "cresta", "dorf")


@pytest.fixture
def place(postgresql_url, mosquitto):
    """A database, the sites, and a way to start ingest in so many processes; what runs is stopped."""
    db, running = Database(postgresql_url), []
    sites = {name: make_eight_stations(name) for name in SITES}
    broker = BrokerSection(mode="external", url=f"mqtt://127.0.0.1:{mosquitto.port}")
    limits = LimitsSection(readings_per_s=1e6, readings_at_once=10**6)
    config = ServiceConfig(broker=broker, limits=limits, database={"url": postgresql_url})
    news = []

    def now():
        return datetime.now(UTC)

    def note(stored):
        news.append(stored.sites)

    def start(processes, turn=None):
        chosen = config.model_copy(update={"ingest": IngestSection(processes=processes)})
        alarms = ServiceAlarms(db, sites, now, lambda: None)
        found = open_ingest(IngestContext(db, chosen, sites, note, alarms.write, now), alarms, lambda: None, turn)
        found.start()
        running.append(found)
        return found

    ended, keepers = threading.Event(), []

    def keep(turn):
        while not ended.wait(0.5):
            turn.keep()

    def take_turn():
        turn = CoreTurn(db)
        assert turn.take()
        keepers.append(threading.Thread(target=keep, args=(turn,)))
        keepers[-1].start()
        return turn

    access = Access(port=mosquitto.port)
    yield SimpleNamespace(take_turn=take_turn, db=db, sites=sites, start=start, news=news, access=access)
    for one in running:
        one.stop()
    ended.set()
    for keeper in keepers:
        keeper.join()
    db.close()


class Loggers:
    """Counts what each station of each site sent, as loggers do."""

    def __init__(self, publisher):
        self._publisher, self._next, self.sent = publisher, 0, 0

    def send(self, rounds=1, sites=SITES):
        infos = []
        for _ in range(rounds):
            at = (T0 + timedelta(minutes=self._next)).isoformat()
            for site in sites:
                for station in STATIONS[:2]:
                    body = {"time": at, "source": station, "boot_id": 1, "seq": self._next, "rain_mm": 0.1}
                    infos.append(self._publisher.send(f"slopeward/v1/{site}/{station}/obs", body))
            self._next += 1
        self._publisher.wait(*infos)
        self.sent += len(infos)


def is_up(ingest):
    return all(ingest.status()["connected"].values()) and ingest.drained()


def test_nothing_is_lost_or_overtaken_when_processes_come_die_and_go(place, publisher):
    db, loggers = place.db, Loggers(publisher)
    one = place.start(1)
    assert isinstance(one, Ingest)
    wait_for(lambda: is_up(one))
    one.stop()
    loggers.send(300)  # waits in the session of one
    report = {"time": T0.isoformat(), "kind": "crack", "text": "open", "by": "Ada"}
    publisher.wait(publisher.send("slopeward/v1/alp/report", report))

    place.start(3).stop()  # ended in the middle of the handover
    turn = place.take_turn()
    two = place.start(2, turn)
    wait_for(lambda: is_up(two))
    loggers.send(50)
    wait_for(lambda: count(db) == loggers.sent)
    assert count(db, "SELECT count(*) FROM report") == 1
    assert sorted(p["sites"] for p in two.status()["processes"]) == [2, 2]
    wait_for(lambda: frozenset().union(*place.news) == set(SITES))

    # one is killed: the other goes on, and what came meanwhile is stored when it is back
    division = find_division_of(db)
    first = next(p for p in two.status()["processes"] if p["process"] == 1)
    os.kill(first["pid"], signal.SIGKILL)
    loggers.send(50)
    theirs = [site for site, k in division["sites"].items() if k == 2]
    of_theirs = f"SELECT count(*) FROM observation o JOIN series s ON s.id = o.series_id WHERE site = '{theirs[0]}'"
    wait_for(lambda: count(db, of_theirs) == loggers.sent // 4)
    wait_for(lambda: count(db) == loggers.sent)
    wait_for(lambda: is_up(two))
    assert next(p for p in two.status()["processes"] if p["process"] == 1)["restarts"] == 1

    # what no file names is taken once
    publisher.wait(publisher.send("slopeward/v1/nowhere/G1/obs", {"time": T0.isoformat(), "rain_mm": 1.0}))
    wait_for(lambda: count(db, "SELECT sum(times) FROM rejected_message") == 1)

    # another core has the turn: these processes write nothing any more
    before = count(db)
    with db.write() as c:
        c.execute(text("UPDATE core_lease SET fence = fence + 1"))
    loggers.send(5)
    wait_for(lambda: not any(p["connected"] for p in two.status()["processes"]))
    assert count(db) == before
    two.stop()
    turn.give_up()

    loggers.send(100)
    one = place.start(1)
    assert isinstance(one, DividedIngest)  # it empties the sessions of two first
    wait_for(lambda: is_up(one))
    loggers.send(20)
    wait_for(lambda: count(db) == loggers.sent)
    one.stop()
    assert isinstance(place.start(1), Ingest)
    assert find_division_of(db) is None
    assert count(db, "SELECT sum(times) FROM rejected_message") == 1
    assert count(db, "SELECT count(*) FROM sequence_gap") == 0
    for client_id in ("slopeward-1of3", "slopeward-2of2-backfill", "slopeward-1of2"):
        with connected(place.access, client_id, expiry_s=0) as (_, was_there, _):
            assert not was_there, client_id


def test_after_a_suspension_nobody_is_taken_for_silent_before_the_processes_have_heard_of_it(place):
    context = IngestContext(place.db, ServiceConfig(), place.sites, print, print, lambda: T0)
    divided = DividedIngest(context, None, print)
    divided._children = [SimpleNamespace(pid=1, report=IngestHeartbeat({"drained": True}, {}, 0.0, {}))]
    assert divided.drained()
    divided.expect_more(30.0)
    assert not divided.drained()


def test_a_broker_that_is_away_is_waited_for_and_nobody_takes_it_for_a_thread_that_hangs(place):
    nobody = BrokerSection(mode="external", url=f"mqtt://127.0.0.1:{free_port()}")
    began = datetime.now(UTC)
    config = ServiceConfig(broker=nobody, ingest=IngestSection(processes=2), database={"url": "postgresql://x"})
    context = IngestContext(place.db, config, place.sites, print, print, lambda: datetime.now(UTC))
    divided = DividedIngest(context, None, print)
    divided.start()
    try:
        wait_for(lambda: divided.progress()["ingest.processes"] > began + timedelta(seconds=0.5))
        assert divided.status()["connected"] == {"live": False}
    finally:
        divided.stop()


def test_sqlite_has_one_line():
    with pytest.raises(ConfigError, match=r"ingest\.processes: expected a PostgreSQL database"):
        parse_service("[ingest]\nprocesses = 2\n", "slopeward.toml")


def find_division_of(db):
    found = ask(db, find_stamp, STAMP)
    return None if found is None else found[1]
