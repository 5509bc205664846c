"""What programs hear by MQTT, from a real broker, on both databases."""

import itertools
import json
import threading
import time
import tracemalloc
from datetime import timedelta

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import insert, update

from monitor.broker.access import open_access
from monitor.broker.signing import is_signed, make_key
from monitor.domain.alert import Actor
from monitor.domain.decision import Memory
from monitor.domain.instants import parse
from monitor.notify.state import StatePublisher
from monitor.store.database.audit import add_audit, find_head
from monitor.store.pages import load_history, load_open_alerts
from monitor.store.schema.tables import alert, decision, site_state
from tests.conftest import wait_for
from tests.data.servers.mqtt_client import calling
from tests.integration.notify.outbox import T0, add_alert, add_event, add_site


class Ear:
    """Subscribes to everything and remembers it."""

    def __init__(self, port):
        self.got, self._ready = [], threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, m: self.got.append((m.topic, m.retain, json.loads(m.payload)))
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("slopeward/v1/#", qos=1)
        self._client.loop_start()
        assert self._ready.wait(60)

    def wait(self, topic, count=1, last=None):
        """What was heard under a topic: at least `count`, the last of it holding `last` where that is given."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found = [p for t, _, p in self.got if t == topic]
            if len(found) >= count and (last or {}).items() <= found[-1].items():
                return found
            time.sleep(0.02)
        pytest.fail(f"{topic}: heard {self.got}")

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def fill(database):
    with database.write() as c:
        add_site(c)
        facts = {"site": "north", "level": 1, "level_source": "auto", "since": T0, "evaluated_at": T0, "newest_at": T0}
        facts |= {"observability": "degraded", "reachable_level": 1, "witnesses_available": 1, "health": "ok"}
        facts |= {"config_sha256": "x", "state": Memory().to_json(), "catching_up": True}
        c.execute(insert(site_state).values(**facts))


def add_change(database, sequence=1):
    with database.write() as c:
        alert_id = add_alert(c, f"k{sequence}", level=1)
        add_event(c, alert_id, 1)
    return alert_id


def test_state_is_retained_and_each_change_is_told_once_over_restarts(database, mosquitto):
    fill(database)
    make = lambda: StatePublisher(database, open_access(mosquitto.url), lambda: T0, version="1.2.3", valid_s=180.0)  # noqa: E731
    ear = Ear(mosquitto.port)
    first = make()
    first.publish_once()
    alert_id = add_change(database)
    first.publish_once()
    (told,) = ear.wait("slopeward/v1/north/alert")
    assert (told["alert_id"], told["level"], told["reason"], told["exercise"]) == (alert_id, 1, "moves", False)
    assert told["evidence_url"].endswith(f"/alerts/{alert_id}")
    state = ear.wait("slopeward/v1/north/state", 2)[-1]
    assert (state["observability"], state["catching_up"]) == ("degraded", True)
    assert parse(state["valid_until"]) == T0 + timedelta(seconds=180)
    assert [a["alert_id"] for a in state["active_alerts"]] == [alert_id]
    first.stop(5)
    ear.wait("slopeward/v1/status", last={"status": "offline", "version": "1.2.3"})
    add_change(database, 2)
    with database.write() as c:
        add_audit(c, Actor("ada"), "level.set", "site:north", {"to": 1}, T0)
    second = make()
    second.publish_once()
    assert len(ear.wait("slopeward/v1/north/alert", 2)) == 2
    late = Ear(mosquitto.port)
    status = late.wait("slopeward/v1/status", last={"status": "online"})[-1]
    with database.read() as c:
        assert (status["audit"]["entry"], status["audit"]["head"]) == find_head(c), "a tail cut off later is found"
    assert [t for t, retained, _ in late.got if retained and t.endswith("alert")] == []
    for one in (late, ear):
        one.close()
    second.stop(5)


def test_the_frozen_inputs_of_open_alerts_are_not_read_by_those_who_do_not_show_them(database, mosquitto):
    fill(database)
    evidence = "{}".ljust(1_000_000)
    with database.write() as c:
        for number in range(20):
            frozen = c.execute(
                insert(decision)
                .values(
                    site="north",
                    at=T0,
                    code_version="1",
                    config_sha256="x",
                    evidence=evidence,
                    evidence_sha256="y",
                )
                .returning(decision.c.id)
            ).scalar_one()
            number = add_alert(c, f"k{number}", "advice", 1)
            c.execute(update(alert).where(alert.c.id == number).values(decision_id=frozen))
    publisher = StatePublisher(database, open_access(mosquitto.url), lambda: T0, version="1")
    publisher.publish_once()  # what is loaded once
    tracemalloc.start()
    try:
        publisher.publish_once()
        with database.read() as c:
            assert len(load_open_alerts(c)) == len(load_history(c, None, None, 100)) == 20
            assert "evidence_sha256" in load_open_alerts(c)[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        publisher.stop(5)
    assert peak < 10 * len(evidence), f"{peak / 1e6:.1f} MB to tell of alerts, of which one has 1 MB of inputs"


def test_a_broken_connection_leaves_the_last_will(database, mosquitto):
    fill(database)
    publisher = StatePublisher(database, open_access(mosquitto.url), lambda: T0, version="1")
    publisher.publish_once()
    publisher._publisher._client._sock.shutdown(2)  # as if the process had died
    publisher._publisher._client.loop_stop()
    ear = Ear(mosquitto.port)
    assert ear.wait("slopeward/v1/status")[-1]["status"] in {"offline", "online"}
    wait_for(lambda: ear.got[-1][2].get("status") == "offline", what="the last will")
    assert [p["status"] for t, _, p in ear.got if t.endswith("v1/status")][-1] == "offline"
    ear.close()
    publisher._publisher._client._sock_close()


def test_a_forged_green_is_told_once_refused_by_its_signature_and_overwritten_at_once(database, mosquitto):
    fill(database)
    key, topic = make_key(), "slopeward/v1/north/state"
    ticks = itertools.count()
    publisher = StatePublisher(
        database,
        open_access(mosquitto.url),
        lambda: T0 + timedelta(microseconds=next(ticks)),
        version="1",
        find_keys=lambda: [key],
    )
    with calling(open_access(mosquitto.url)) as siren, calling(open_access(mosquitto.url)) as attacker:
        siren.listen("slopeward/v1/+/state", "slopeward/v1/status")
        publisher.publish_once()
        siren.wait(lambda: len(siren.heard) == 2, "state and status")
        assert all(is_signed(*message, [key]) for message in siren.heard)
        assert publisher.status()["foreign"] == 0
        genuine = dict(siren.heard)[topic]
        for _ in range(20):
            attacker.publish(topic, b'{"site":"north","level":0,"level_name":"green"}', retain=True)
        siren.wait(lambda: publisher.status()["foreign"] == 20, "the service to notice")
        assert "not signed by us" in publisher.status()["foreign_last"]
        publisher.publish_once()
        states = lambda: [is_signed(*m, [key]) for m in siren.heard if m[0] == topic]  # noqa: E731
        siren.wait(lambda: len(states()) == 22, "the true state again")
        assert states() == [True, *[False] * 20, True]
    with calling(open_access(mosquitto.url)) as late:
        late.listen(topic)
        late.wait(lambda: late.heard, "what the broker keeps")
        assert is_signed(*late.heard[0], [key])
        late.publish(topic, genuine)  # an old one of ours, its signature is right
        late.wait(lambda: publisher.status()["foreign"] == 21, "the service to notice")
        assert "repeated" in publisher.status()["foreign_last"]
    publisher.stop(5)


def test_keys_that_cannot_be_read_stop_no_message(database, mosquitto):
    fill(database)

    def find_keys():
        raise OSError("gone")

    publisher = StatePublisher(database, open_access(mosquitto.url), lambda: T0, version="1", find_keys=find_keys)
    with calling(open_access(mosquitto.url)) as siren:
        siren.listen("slopeward/v1/+/state")
        publisher.publish_once()
        siren.wait(lambda: siren.heard, "the state")
    assert publisher.status()["unsigned"] == "gone"
    publisher.stop(5)
