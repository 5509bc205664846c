"""What programs hear by MQTT, from a real broker, on both databases."""

import itertools
import json
import tracemalloc
from datetime import timedelta
from functools import partial

from sqlalchemy import insert, update

from monitor.alerts.evaluation_tables import decision, site_state
from monitor.alerts.queries.overview import load_history, load_open_alerts
from monitor.alerts.tables import alert
from monitor.broker.access import parse_access
from monitor.broker.signing import is_signed, make_key
from monitor.decision.records import Memory
from monitor.delivery.state import StatePublisher
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit, find_head
from monitor.text.instants import parse_time
from tests.data.servers.mqtt_client import calling
from tests.data.store_rows import ask, tell
from tests.delivery.outbox import T0, add_alert, add_event, add_site
from tests.fixtures.waiting import wait_for


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


def find_said(ear, topic):
    return [json.loads(payload) for name, payload in ear.heard if name == f"slopeward/v1/{topic}"]


def wait_said(ear, topic, count=1, last=None):
    """What was heard under a topic: at least `count`, the last of it holding `last` where that is given."""

    def come():
        found = find_said(ear, topic)
        return found if len(found) >= count and (last or {}).items() <= found[-1].items() else None

    return wait_for(come, description=topic)


def test_state_is_retained_and_each_change_is_published_once_across_restarts(database, mosquitto):
    fill(database)
    access = parse_access(mosquitto.url)
    make = partial(StatePublisher, database, access, lambda: T0, version="1.2.3")
    with calling(access) as ear:
        ear.listen("slopeward/v1/#")
        first = make()
        first.publish_once()
        alert_id = add_change(database)
        first.publish_once()
        (told,) = wait_said(ear, "north/alert")
        assert (told["alert_id"], told["level"], told["reason"], told["exercise"]) == (alert_id, 1, "moves", False)
        assert told["evidence_url"].endswith(f"/alerts/{alert_id}")
        state = wait_said(ear, "north/state", 2)[-1]
        assert (state["observability"], state["catching_up"]) == ("degraded", True)
        assert parse_time(state["valid_until"]) == T0 + timedelta(seconds=180)
        assert [a["alert_id"] for a in state["active_alerts"]] == [alert_id]
        first.stop(5)
        wait_said(ear, "status", last={"status": "offline", "version": "1.2.3"})
        add_change(database, 2)
        tell(database, add_audit, Actor("ada"), "level.set", "site:north", {"to": 1}, T0)
        second = make()
        second.publish_once()
        assert len(wait_said(ear, "north/alert", 2)) == 2
    with calling(access) as late:  # what the broker keeps
        late.listen("slopeward/v1/#")
        status = wait_said(late, "status", last={"status": "online"})[-1]
        assert (status["audit"]["entry"], status["audit"]["head"]) == ask(database, find_head), "a cut tail is found"
        assert wait_said(late, "north/state")
        assert find_said(late, "north/alert") == []
    second.stop(5)


def test_stored_inputs_of_open_alerts_are_read_only_where_they_are_shown(database, mosquitto):
    fill(database)
    evidence = "{}".ljust(1_000_000)
    facts = {"site": "north", "at": T0, "code_version": "1", "config_sha256": "x", "evidence_sha256": "y"}
    with database.write() as c:
        for number in range(20):
            row = insert(decision).values(evidence=evidence, **facts)
            frozen = c.execute(row.returning(decision.c.id)).scalar_one()
            number = add_alert(c, f"k{number}", "advice", 1)
            c.execute(update(alert).where(alert.c.id == number).values(decision_id=frozen))
    publisher = StatePublisher(database, parse_access(mosquitto.url), lambda: T0, version="1")
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
    publisher = StatePublisher(database, parse_access(mosquitto.url), lambda: T0, version="1")
    publisher.publish_once()
    publisher._publisher._client._sock.shutdown(2)  # as if the process had died
    publisher._publisher._client.loop_stop()
    with calling(parse_access(mosquitto.url)) as ear:
        ear.listen("slopeward/v1/status")
        wait_said(ear, "status", last={"status": "offline"})
    publisher._publisher._client._sock_close()


def test_forged_state_is_reported_once_rejected_by_its_signature_and_overwritten(database, mosquitto):
    fill(database)
    key, topic = make_key(), "slopeward/v1/north/state"
    ticks = itertools.count()
    now = lambda: T0 + timedelta(microseconds=next(ticks))  # noqa: E731
    publisher = StatePublisher(database, parse_access(mosquitto.url), now, version="1", find_keys=lambda: [key])
    with calling(parse_access(mosquitto.url)) as siren, calling(parse_access(mosquitto.url)) as attacker:
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
    with calling(parse_access(mosquitto.url)) as late:
        late.listen(topic)
        late.wait(lambda: late.heard, "what the broker keeps")
        assert is_signed(*late.heard[0], [key])
        late.publish(topic, genuine)  # an old one of ours, its signature is right
        late.wait(lambda: publisher.status()["foreign"] == 21, "the service to notice")
        assert "repeated" in publisher.status()["foreign_last"]
    publisher.stop(5)


def test_unreadable_keys_stop_no_message(database, mosquitto):
    fill(database)

    def find_keys():
        raise OSError("gone")

    publisher = StatePublisher(database, parse_access(mosquitto.url), lambda: T0, version="1", find_keys=find_keys)
    with calling(parse_access(mosquitto.url)) as siren:
        siren.listen("slopeward/v1/+/state")
        publisher.publish_once()
        siren.wait(lambda: siren.heard, "the state")
    assert publisher.status()["unsigned"] == "gone"
    publisher.stop(5)
