"""The managed broker keeps acknowledged messages while the core is stopped: at its first start and over restarts."""

import json
import os
import signal
import threading
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from monitor.broker.access import Access
from monitor.ingest.broker_process import DATABASE, ManagedBroker, find_mosquitto
from monitor.ingest.queue_saver import QueueSaver
from monitor.ingest.service import SESSION_LOST, Ingest, IngestContext, list_sessions
from monitor.ingest.session_setup import SESSIONS_FILE
from monitor.sites.records import Binding
from tests.data.store_rows import ask
from tests.fixtures.waiting import free_port, skip_missing, wait_for
from tests.ingest.test_mosquitto import OBS, T0, make_site

pytestmark = pytest.mark.server
SESSION = "slopeward"


class Sites:
    """The site files that the broker and the core read."""

    def __init__(self):
        self.by_id = {"north": make_site()}

    def add_decoder(self, topic):
        site = self.by_id["north"]
        self.by_id["north"] = replace(site, decoders=(*site.decoders, Binding(topic, "senml")))


class Instrument:
    """Publish numbered readings with QoS 1, and record which of them the broker acknowledged.

    The instrument tries to connect all the time, so it publishes as soon as the broker accepts connections.
    """

    def __init__(self, port):
        self._numbers = {}  # of readings, by message identifier
        self._acknowledgements = deque()  # message identifier and monotonic time
        self._acknowledged = {}
        self._client = Access(port=port).open_client("G1", mqtt5=True)
        self._client.max_inflight_messages_set(2000)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._on_publish
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def _on_publish(self, _client, _data, mid, *_):
        self._acknowledgements.append((mid, time.monotonic()))

    @property
    def acknowledged(self):
        """Return the monotonic time of the acknowledgement by number of the reading.

        An acknowledgement can arrive before `send` has noted the identifier of the message. It is counted later.
        """
        while self._acknowledgements and self._acknowledgements[0][0] in self._numbers:
            mid, acknowledged_at = self._acknowledgements.popleft()
            self._acknowledged.setdefault(self._numbers[mid], acknowledged_at)
        return self._acknowledged

    def send(self, number, topic=OBS, body=None):
        reading = body or {"time": format_time(number), "rain_mm": float(number)}
        info = self._client.publish(topic, json.dumps(reading), qos=1)
        self._numbers[info.mid] = number

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def format_time(number):
    return (T0 + timedelta(seconds=number)).isoformat()


@pytest.fixture
def sites():
    return Sites()


@pytest.fixture
def broker(tmp_path, sites):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    made = ManagedBroker(
        tmp_path / "broker",
        free_port(),
        anonymous=True,
        find_sites=lambda: [*sites.by_id.values()],
        find_sessions=lambda: list_sessions(SESSION, sites.by_id.values()),
    )
    yield made
    made.stop()


@pytest.fixture
def instrument(broker):
    made = Instrument(broker.port)
    yield made
    made.close()


@pytest.fixture
def start_ingest(broker, sites, database):
    running = []

    def start():
        section = SimpleNamespace(mode="managed", data=broker.folder, client_id=SESSION)
        alarms = []
        context = IngestContext(
            database,
            SimpleNamespace(broker=section),
            sites.by_id,
            lambda _: None,
            alarms.append,
            lambda: datetime.now(UTC),
        )
        ingest = Ingest(context)
        ingest.alarms = alarms
        ingest.start()
        running.append(ingest)
        return ingest

    yield start
    for ingest in running:
        ingest.stop()


def load_numbers(database):
    query = text("select cast(value_raw as integer) from observation")
    return ask(database, lambda c: {*c.execute(query).scalars()})


def wait_for_acknowledgements(instrument, count):
    wait_for(lambda: len(instrument.acknowledged) == count, description=f"{count} acknowledgements")


def find_open_alarms(ingest):
    return {alarm.key for alarm in ingest.alarms if alarm.open}


def test_readings_acknowledged_before_the_core_ever_connected_are_stored(broker, instrument, start_ingest, database):
    for number in range(54):
        instrument.send(number)
    broker.start()
    wait_for_acknowledgements(instrument, 54)
    ingest = start_ingest()
    wait_for(lambda: load_numbers(database) == set(range(54)))
    assert not find_open_alarms(ingest), "nothing is lost at the first start"


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_no_acknowledged_reading_is_lost_at_600_per_second_over_restarts(broker, instrument, start_ingest, database):
    ended = threading.Event()

    def send_readings():
        started = time.monotonic()
        for number in range(3000):
            if ended.wait(max(0.0, started + number / 600 - time.monotonic())):
                return
            instrument.send(number)

    sender = threading.Thread(target=send_readings)
    sender.start()
    try:
        broker.start()
        wait_for(lambda: len(instrument.acknowledged) > 600)
        broker.stop()
        broker.start()
        wait_for(lambda: len(instrument.acknowledged) > 1200)
        start_ingest()
        wait_for(lambda: len(instrument.acknowledged) > 1800)
        broker.stop()
        broker.start()
        sender.join()
        wait_for(lambda: load_numbers(database) >= set(instrument.acknowledged) >= set(range(2900, 3000)))
    finally:
        ended.set()
        sender.join()


def test_queued_readings_stay_in_order_while_sessions_are_recreated(broker, instrument, start_ingest, database):
    broker.start()
    for number in range(300):
        instrument.send(number)
    wait_for_acknowledgements(instrument, 300)
    broker.stop()
    broker.start()
    broker.reload()
    start_ingest()
    wait_for(lambda: load_numbers(database) == set(range(300)))
    query = text("select cast(value_raw as integer) from observation order by received_at, observed_at")
    assert ask(database, lambda c: [*c.execute(query).scalars()]) == [*range(300)]


@pytest.mark.parametrize("lost", [[DATABASE], [DATABASE, SESSIONS_FILE]], ids=["queue", "queue and sessions"])
def test_a_broker_that_lost_its_files_is_reported_and_loses_nothing_more(
    broker, instrument, start_ingest, database, lost
):
    broker.start()
    first = start_ingest()
    instrument.send(0)
    wait_for(lambda: load_numbers(database) == {0})
    first.stop()
    broker.stop()
    for name in lost:
        (broker.folder / name).unlink()
    broker.start()
    for number in range(1, 50):
        instrument.send(number)
    wait_for_acknowledgements(instrument, 50)
    second = start_ingest()
    wait_for(lambda: load_numbers(database) == set(range(50)))
    # The session for stored readings may connect after all readings were received.
    wait_for(lambda: all(second.status()["connected"].values()))
    assert find_open_alarms(second) == {SESSION_LOST, f"{SESSION_LOST}:backfill"}
    second.stop()
    third = start_ingest()
    wait_for(lambda: all(third.status()["connected"].values()))
    assert not find_open_alarms(third), "one loss is reported once"


def test_topics_of_a_new_decoder_are_kept_from_the_moment_they_are_allowed(
    broker, instrument, start_ingest, database, sites
):
    broker.start()
    sites.add_decoder("gateway/{station}")
    broker.reload()
    pack = [{"bn": "", "bt": T0.timestamp(), "n": "rain", "u": "mm", "v": 7.0}]
    instrument.send(7, "gateway/G1", pack)
    wait_for_acknowledgements(instrument, 1)
    ingest = start_ingest()
    wait_for(lambda: ingest.status()["messages"] == 1)


def test_a_killed_broker_loses_nothing_that_it_has_saved(broker, instrument, start_ingest, database):
    broker.start()
    for number in range(200):
        instrument.send(number)
    wait_for_acknowledgements(instrument, 200)
    wait_for(lambda: (broker.folder / DATABASE).read_bytes().count(b"rain_mm") == 200, description="the save")
    os.kill(broker.pid, signal.SIGKILL)
    wait_for(lambda: broker.pid is None)
    broker.stop()
    broker.start()
    start_ingest()
    wait_for(lambda: load_numbers(database) == set(range(200)))


class SlowDisk:
    """Stand in for a broker whose saves take a given time, and which ignores the first signals."""

    def __init__(self, path, save_s=0.0, ignored=0):
        self.path, self.save_s, self.ignored = path, save_s, ignored
        self.requests = 0

    def request_save(self):
        self.requests += 1
        if self.requests > self.ignored:
            time.sleep(self.save_s)
            fresh = self.path.with_suffix(".new")
            fresh.write_text(str(self.requests))
            fresh.replace(self.path)


@pytest.fixture
def start_saver(tmp_path):
    running = []

    def start(disk):
        saver = QueueSaver(disk.path, disk.request_save)
        saver.start()
        running.append(saver)
        return saver

    yield start
    for saver in running:
        saver.stop()


def test_nothing_is_saved_while_nothing_changes(tmp_path, start_saver):
    disk = SlowDisk(tmp_path / DATABASE)
    saver = start_saver(disk)
    saver.note_change()
    wait_for(lambda: disk.requests == 1 and saver._unsaved_since is None)
    time.sleep(1.2)
    assert disk.requests == 1
    assert saver.risk_s < 5.0


def test_a_signal_that_the_broker_ignored_is_repeated(tmp_path, start_saver, monkeypatch):
    monkeypatch.setattr("monitor.ingest.queue_saver.REPEAT_AFTER_S", 0.1)
    disk = SlowDisk(tmp_path / DATABASE, ignored=2)
    saver = start_saver(disk)
    saver.note_change()
    wait_for(lambda: saver._unsaved_since is None and disk.requests == 3)


def test_slow_saves_run_less_often_and_raise_the_reported_risk(tmp_path, start_saver):
    disk = SlowDisk(tmp_path / DATABASE, save_s=0.5)
    saver = start_saver(disk)
    saver.note_change()
    wait_for(lambda: disk.requests == 1 and saver._unsaved_since is None)
    assert saver.risk_s >= 2.0


def test_a_queue_that_cannot_be_saved_raises_the_reported_risk(tmp_path, start_saver):
    disk = SlowDisk(tmp_path / DATABASE, ignored=1000)
    saver = start_saver(disk)
    saver.note_change()
    before_s = saver.risk_s
    wait_for(lambda: saver.risk_s > before_s + 1.0)
