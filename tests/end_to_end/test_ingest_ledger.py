"""Every message that the broker acknowledged is stored exactly once, also if the service or its broker is killed."""

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import text

from monitor.storage.engine import Database
from tests.bench.record import SERVICE_RESULTS
from tests.data.running import Service
from tests.data.site_text import FOUR, criterion, head, series, station, table
from tests.data.store_rows import ask
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1800)]


class RememberingPublisher(threading.Thread):
    """Publish `rate` messages per second with QoS 1 and remember which of them the broker acknowledged."""

    def __init__(self, port, start_at, rate):
        super().__init__(daemon=True)
        self._rate = rate
        self._start_at = start_at
        self.acknowledged_count = 0
        self._infos = []
        self._end = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="ledger", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(2000)
        self._client.reconnect_delay_set(0.2, 0.5)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port, clean_start=False)
        self._client.loop_start()

    @property
    def acknowledged(self):
        """Return the numbers of the messages that the broker acknowledged.

        `info.is_published()` raises for messages that were queued offline.
        """
        return {number for number, info in enumerate(self._infos) if info._published}

    @property
    def sent(self):
        return len(self._infos)

    def _on_publish(self, *_):
        self.acknowledged_count += 1

    def run(self):
        started = time.monotonic()
        while not self._end.is_set():
            for _ in range(int((time.monotonic() - started) * self._rate) - self.sent):
                n = self.sent
                at = (self._start_at + timedelta(seconds=n // 8)).isoformat()
                payload = f'{{"time":"{at}","source":"l{n % 8}","boot_id":1,"seq":{n // 8},"displacement_east_mm":{n}}}'
                self._infos.append(self._client.publish(f"slopeward/v1/north/G{n % 8 + 1}/obs", payload, qos=1))
            time.sleep(0.01)

    def finish(self):
        """Stop sending and wait until the broker has acknowledged everything."""
        self._end.set()
        self.join()
        deadline_s = time.monotonic() + 60
        while self.acknowledged_count < self.sent and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._client.disconnect()
        self._client.loop_stop()


def count_readings(database):
    return ask(database, lambda connection: connection.execute(text("select count(*) from observation")).scalar())


def lock_database(database, seconds):
    with database.engine.connect() as connection, connection.execution_options(slopeward_write=True).begin():
        if not database.is_sqlite:
            connection.execute(text("lock table observation in access exclusive mode"))
        time.sleep(seconds)


# The value of a message is its number, so that the level rises while processes are killed.
BOUNDS = {level: {"over": over} for level, over in (("yellow", 200.0), ("orange", 750.0), ("red", 1500.0))}
BOUNDS |= {"author": "test", "reason": "it climbs"}
SITE = (
    head("north", "Ledger", 46.2, 8.9, timezone="Asia/Shanghai", levels={"names": FOUR["names"]})
    + criterion("level", stations=["G*"], quantity="displacement_east", **BOUNDS, dwell={"hits": 1, "of": 1})
    + table("[fusion]", verify_within="1d")
    + table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
    + "".join(station(f"G{i}", series("displacement_east", "mm", "1s", max_silence="1d")) for i in range(1, 9))
)


@pytest.mark.parametrize(
    ("kind", "kills", "lock_s", "rate"),
    [
        ("sqlite", 1, 5.0, 300),
        pytest.param("sqlite", 3, 15.0, 600, marks=pytest.mark.soak),
        pytest.param("postgresql", 2, 15.0, 600, marks=pytest.mark.soak),
        pytest.param("sqlite", 50, 60.0, 600, marks=pytest.mark.soak),
        pytest.param("postgresql", 50, 60.0, 600, marks=pytest.mark.soak),
    ],
)
def test_acknowledged_messages_are_stored_once_and_lead_to_notifications(
    kind, kills, lock_s, rate, mosquitto, request, tmp_path
):
    """Kill the service, restart its broker and lock its database while messages arrive."""
    url = request.getfixturevalue(f"{kind}_url")
    chance = random.Random(20260301)
    database = Database(url)
    with Service(tmp_path, url, mosquitto.url, {"north": SITE}, page=False) as service:
        service.start()
        publisher = RememberingPublisher(mosquitto.port, datetime.now(UTC) - timedelta(days=1), rate)
        publisher.start()
        for kill in range(kills):
            time.sleep(chance.uniform(0.3, 2.0))
            service.kill()
            if kill == kills // 2:
                mosquitto.restart()
            time.sleep(chance.uniform(0.0, 0.5))
            service.start()
            if kill == kills - 1:
                count_before = count_readings(database)
                wait_for(lambda: count_readings(database) > count_before, 240)  # noqa: B023
                count_before = publisher.acknowledged_count
                lock_database(database, lock_s)
                assert publisher.acknowledged_count - count_before > 0.5 * rate * lock_s, "the broker took no messages"
        time.sleep(0.5)
        publisher.finish()
        assert len(publisher.acknowledged) == publisher.sent > rate * 2
        wait_for(lambda: count_readings(database) >= publisher.sent, 240)
        unnotified_query = text(
            "select count(*) from alert_event e join alert a on a.id = e.alert_id where a.ledger = 'hazard'"
            " and not exists (select 1 from notification n where n.event_id = e.id)"
        )
        undelivered_query = text(
            "select count(*) from notification where state not in ('delivered', 'superseded', 'confirmed')"
        )
        wait_for(lambda: query_number(database, text("select max(level) from alert where ledger = 'hazard'")) == 3)
        wait_for(lambda: query_number(database, undelivered_query) == 0)
        with database.read() as connection:
            stored_values = connection.execute(text("select value_raw from observation")).scalars().all()
            key_count = connection.execute(
                text("select count(*) from (select distinct series_id, observed_at from observation) as k")
            ).scalar()
            gap_count = connection.execute(text("select count(*) from sequence_gap where filled_at is null")).scalar()
            rejected_count = connection.execute(text("select count(*) from rejected_message")).scalar()
            hazard_count = connection.execute(text("select count(*) from alert where ledger = 'hazard'")).scalar()
        assert query_number(database, unnotified_query) == 0
        figures = {"database": kind, "messages_per_s": rate, "acknowledged": publisher.sent, "rows": len(stored_values)}
        figures |= {"keys": key_count, "kills": kills, "database_locked_s": lock_s, "broker_restarts": 1}
        figures |= {"hazard_alerts": hazard_count, "hazard_events_without_notification": 0}
        figures |= {"open_gaps": gap_count, "rejected": rejected_count}
        print("\nledger", json.dumps(figures))
        if kills == 50:
            SERVICE_RESULTS.store(f"ledger-{kind}", "make soak", figures)
        assert {int(value) for value in stored_values} == publisher.acknowledged
        assert len(stored_values) == key_count == publisher.sent
        assert (gap_count, rejected_count) == (0, 0)
    database.close()


def query_number(database, statement):
    return ask(database, lambda connection: connection.execute(statement).scalar())
