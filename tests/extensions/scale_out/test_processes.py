"""Several processes of ingest on a real broker and PostgreSQL: divided, killed, divided otherwise; nothing is lost."""

import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from monitor.broker.access import Access
from monitor.broker.probe import connected
from monitor.config.service import BrokerSection, IngestSection, LimitsSection, ServiceConfig, parse_service
from monitor.domain.errors import ConfigError
from monitor.extensions.scale_out.divided import DividedIngest, open_ingest
from monitor.extensions.scale_out.handover import STAMP
from monitor.extensions.scale_out.process import IngestHeartbeat
from monitor.ingest.service import Ingest, IngestContext
from monitor.service.alarms import ServiceAlarms
from monitor.store.database.core_turn import CoreTurn
from monitor.store.database.engine import Database
from monitor.store.service_state import find_stamp
from tests.data.store_rows import ask, tell
from tests.end_to_end.ingest_only import STATIONS
from tests.end_to_end.ingest_only import make_site as make_eight_stations
from tests.fixtures.waiting import free_port, wait_for
from tests.integration.ingest.test_mosquitto import T0, count, publisher

__all__ = ["publisher"]
pytestmark = pytest.mark.server
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
    os.kill(next(p for p in two.status()["processes"] if p["process"] == 1)["pid"], signal.SIGKILL)
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
    tell(db, lambda c: c.execute(text("UPDATE core_lease SET fence = fence + 1")))
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
