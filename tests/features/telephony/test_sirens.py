"""Sirens by a real broker: ordered, confirmed, ended; silence is repeated and reported; forgeries do nothing."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from monitor.broker.access import parse_access
from monitor.broker.logins import Login, _list_topics, format_acl
from monitor.broker.signing import SigningKey
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.holding import HoldingContext, apply_holding_rules
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.notifier import open_notifier
from monitor.delivery.queries.outbox import OpenAlert, SentNotification
from monitor.delivery.stages import find_due_rows
from monitor.delivery.worker import ChannelWorker, DeliveryContext
from monitor.errors import ConfigError, DeliveryError
from monitor.features.telephony.queries.siren_orders import make_order
from monitor.features.telephony.sirens import Sirens, list_topics
from monitor.sites.parsing import parse_site
from monitor.sites.records import Recipient
from monitor.storage.views import load_view
from tests.contract.test_notify_channels import NOTE, SITE
from tests.data.store_rows import ask, tell
from tests.delivery.outbox import add_alert, add_message, add_site, clock, site_with
from tests.delivery.siren_device import Siren
from tests.fixtures.waiting import wait_for

TOPIC = "valley/horn"
KEY = SigningKey("k1", b"0123456789abcdef")
HORN = Recipient("horn", (f"siren:{TOPIC}",), (3,), ("hazard",))
NORTH = site_with(HORN)
VALID = timedelta(minutes=5)


@contextmanager
def device(url, siren):
    """The siren at a broker; `deaf` lets it ignore everything."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"device-{siren.name}")
    siren.deaf, ready = threading.Event(), threading.Event()

    def on_message(client, _userdata, message):
        if siren.deaf.is_set():
            return
        if (answer := siren.hear(message.payload, clock())) is not None:
            client.publish(f"{siren.topic}/confirm", answer, qos=1)

    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe(siren.topic, 1)
    client.on_subscribe = lambda *_: ready.set()
    access = parse_access(url)
    client.connect(access.host, access.port)
    client.loop_start()
    assert ready.wait(10)
    yield client
    client.disconnect()
    client.loop_stop()


@contextmanager
def service(db, url, within_s=0.4):
    environ = {"SLOPEWARD_BROKER__URL": url, "SLOPEWARD_SIGNING__KEYS": f"{KEY.id}:{KEY.secret.hex()}"}
    sites = {"north": NORTH}
    sirens = Sirens(db, parse_access(url), clock, list_topics(sites.values()), lambda: (KEY,), within_s, 300.0)
    dispatcher = Dispatcher(
        db, sites, clock, environ=environ, poll_s=0.05, jitter=lambda: 0.0, limits=DeliveryLimits(group_wait_s=0.0)
    )
    sirens.start()
    dispatcher.start()
    try:
        yield sirens
    finally:
        dispatcher.stop(3.0)
        sirens.stop(3.0)
        for worker in dispatcher._workers.values():
            next(iter(worker._notifiers.values()))._publisher.close()


def delivery(db):
    (row,) = ask(db, load_view, "deliveries")
    return row["state"], row["provider_said"]


def orders(db):
    return ask(db, load_view, "siren_orders", order_by=["order_id"])


@pytest.mark.server
def test_siren_sounds_confirms_and_stops_when_the_level_falls(database, mosquitto):
    siren = Siren(TOPIC, {KEY.id: KEY.secret}, "horn-1")
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, at=clock())
        add_message(c, alert_id, f"siren:{TOPIC}", recipient="horn", at=clock())
    with device(mosquitto.url, siren), service(database, mosquitto.url) as sirens:
        wait_for(lambda: [o["state"] for o in orders(database)] == ["confirmed"])
        assert siren.wanted == "on"
        assert siren.sounding_until == pytest.approx(clock().timestamp() + 180, abs=10)
        wait_for(lambda: delivery(database) == ("delivered", "on"))
        siren.deaf.set()
        tell(database, add_message, alert_id, f"siren:{TOPIC}", level=2, sequence=2, recipient="horn", at=clock())
        # it does not answer: said, repeated, and heard in the end
        wait_for(lambda: "has not confirmed" in sirens.find_troubles()[TOPIC])
        wait_for(lambda: orders(database)[1]["times"] > 1)
        assert siren.wanted == "on"
        siren.deaf.clear()
        wait_for(lambda: orders(database)[1]["state"] == "off")
        wait_for(lambda: sirens.find_troubles()[TOPIC] == "")
    assert (siren.wanted, orders(database)[1]["confirmed_by"]) == ("off", "horn-1")


@pytest.mark.server
def test_forged_or_repeated_siren_answer_confirms_nothing(database, mosquitto):
    siren = Siren(TOPIC, {KEY.id: KEY.secret}, "horn-1")
    order = tell(database, make_order, TOPIC, replace(NOTE, sounds_from=3), clock(), VALID)
    with device(mosquitto.url, siren) as client, service(database, mosquitto.url, 60.0) as sirens:
        forger = Siren(TOPIC, {KEY.id: b"another key another"}, "forger")
        old = siren._sign({"sequence": order.sequence - 1, "state": "on", "device": "horn-1"})
        wait_for(lambda: sirens._publisher.connections)
        for payload in (
            forger._sign({"sequence": order.sequence, "state": "on", "device": "x"}),
            old,
            b"{}",
            b"\xff" * 5000,
            siren._sign({"sequence": "1", "state": "on"}),
            siren._sign({"sequence": order.sequence, "state": 7}),
        ):
            client.publish(f"{TOPIC}/confirm", payload, qos=1).wait_for_publish(5)
        refused = siren._sign({"sequence": order.sequence, "state": "no power", "device": "horn-1"})
        client.publish(f"{TOPIC}/confirm", refused, qos=1).wait_for_publish(5)
        wait_for(lambda: orders(database)[0]["state"] == "refused")
        assert orders(database)[0]["said"] == "no power"


def order(db, number, level, *, site="north", exercise=False, sounds=False):
    drill = {"exercise": exercise, "sounds_from": 3, "sounds_in_exercise": sounds}
    return tell(db, make_order, TOPIC, replace(NOTE, id=number, level=level, site=site, **drill), clock(), VALID)


def test_exercise_sounds_only_if_the_site_file_allows_it_and_silences_nothing(database):
    assert order(database, 1, 3, exercise=True).wanted == "test"
    assert order(database, 2, 3, exercise=True, sounds=True).wanted == "on"
    assert order(database, 3, 0, exercise=True, sounds=True).wanted == "off"
    assert order(database, 4, 3, exercise=True, sounds=True).wanted == "on"
    assert order(database, 5, 3).wanted == "on"  # now it is real
    assert order(database, 6, 0, exercise=True, sounds=True).wanted == "test"
    assert order(database, 7, 3, site="south").wanted == "on"
    assert order(database, 8, 0).wanted == "test"  # the other slope still needs it
    assert (order(database, 9, 0, site="south").wanted, order(database, 0, 0).wanted) == ("off", "test")
    sequences = [o["sequence"] for o in orders(database)]
    assert sequences == sorted(set(sequences))


def test_no_stage_holds_back_the_order_that_ends_a_siren(database):
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, state="shelved", level=0, at=clock())
        add_message(c, alert_id, f"siren:{TOPIC}", level=0, recipient="horn", at=clock())
        add_message(c, alert_id, "log:desk", level=0, recipient="horn", at=clock())
        view = HoldingContext(clock(), 1000)
        assert [[w.level for w in apply_holding_rules(c, one, view)] for one in (f"siren:{TOPIC}", "log:desk")] == [
            [0],
            [],
        ]


@pytest.mark.parametrize("first", [("horn", "valley"), ("valley", "horn")])
def test_lower_level_of_two_recipients_of_a_siren_counts(database, first):
    both = (HORN, Recipient("valley", HORN.channels, (2,), ("hazard",)))
    how = DeliveryContext(database, {"north": replace(parse_site(SITE, "x"), recipients=both)}, clock, {})
    worker = ChannelWorker(HORN.channels[0], how)
    wanted = []
    for number, (level, name) in enumerate([(3, first[0]), (3, first[1]), (2, first[0]), (2, first[1])], 1):
        said = replace(NOTE, id=number, site="north", level=level, recipient=name, channel=HORN.channels[0])
        wanted.append(tell(database, make_order, TOPIC, worker._complete(said, "en"), datetime.now(UTC), VALID).wanted)
    assert wanted == ["on"] * 4
    quiet = worker._complete(replace(said, exercise=True), "en")
    assert (quiet.sounds_from, quiet.sounds_in_exercise) == (2, False)


def test_raise_that_was_delayed_until_after_the_all_clear_does_not_sound(database):
    first = order(database, 1, 3)
    clear = order(database, 5, 0)
    late = order(database, 4, 3)
    assert (first.wanted, clear.wanted, late.id, late.wanted, late.times) == ("on", "off", clear.id, "off", 2)
    again = order(database, 5, 0)
    assert (again.sequence, again.times) == (clear.sequence, 3)


def test_device_ignores_forged_old_and_expired_orders():
    from monitor.broker.signing import sign
    from monitor.features.telephony.queries.siren_orders import SirenOrder
    from monitor.features.telephony.sirens import format_order

    now = datetime(2026, 3, 1, 6, tzinfo=UTC)
    made = SirenOrder(1, TOPIC, 7, None, "north", "on", 3, "red", False, now, now, now + VALID, 1, None, None, None)
    siren = Siren(TOPIC, {KEY.id: KEY.secret}, "horn-1")

    def say(order, key=KEY, topic=TOPIC, at=now):
        return siren.hear(sign(topic, format_order(order, 180.0), (key,), at).encode(), now)

    schema = json.loads((Path(__file__).parents[3] / "docs/reference/siren-order.schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema).validate
    check(json.loads(sign(TOPIC, format_order(made, 180.0), (KEY,), now)))
    check(json.loads(siren._sign({"sequence": 7, "state": "on", "device": "horn-1"})))
    assert say(made, SigningKey("k1", b"not the same key")) is None
    assert say(made, topic="other/horn") is None
    assert say(replace(made, valid_until=now - timedelta(seconds=1))) is None
    assert siren.wanted == "off"
    assert say(made) is not None
    assert say(replace(made, sequence=8, wanted="off")) is not None
    assert say(made) is None  # played again
    assert say(replace(made, sequence=9, wanted="test")) is not None
    assert siren.wanted == "off"


def test_the_login_of_a_siren_reads_its_orders_and_writes_its_answers_alone():
    topics = {"north": _list_topics(NORTH)}
    rules = format_acl([Login("north.listener", "north", listens=True)], topics, anonymous=False)
    mine = rules[rules.index("user north.listener") : rules.index("user slopeward-doctor")]
    assert f"topic read {TOPIC}\n" in mine
    assert [line for line in mine.splitlines() if "write" in line] == [f"topic write {TOPIC}/confirm"]


def test_no_siren_gets_health_or_an_escalation_and_its_levels_are_named(database):
    with pytest.raises(ConfigError, match="at which the siren sounds"):
        parse_site(SITE.replace('["log:desk", "webhook:GONE"]\nlevels = ["red"]', '["siren:valley/horn"]'), "x")
    channel = open_notifier(f"siren:{TOPIC}", {"SLOPEWARD_SIGNING__KEYS": f"k1:{KEY.secret.hex()}"}, database)
    for wrong in (replace(NOTE, ledger="health", sounds_from=3), replace(NOTE, sounds_from=None)):
        with pytest.raises(DeliveryError) as caught:
            channel.deliver(wrong)
        assert caught.value.permanent
    assert HORN.readable == ()
    told = (
        SentNotification("duty", "log:desk", clock(), "failed_final"),
        SentNotification("horn", f"siren:{TOPIC}", clock(), "delivered"),
    )
    alert = OpenAlert(1, 1, "north", "hazard", 3, "red", False, "s", "b", True, told[0].queued_at, told)
    deaf = Recipient("deaf horn", ("siren:hill/horn",), (3,), ("hazard",))
    chief = Recipient("chief", ("log:chief",), (3,), ("hazard",))
    (one,) = find_due_rows(alert, [[HORN], [deaf], [chief]], (), clock(), DeliveryLimits())
    assert (one.recipient, one.channel) == ("chief", "log:chief")


def test_an_order_that_is_repeated_sounds_as_long_as_the_service_file_says(database, monkeypatch):
    made = order(database, 1, 3)
    sirens = Sirens(database, parse_access("mqtt://127.0.0.1:1"), clock, [TOPIC], lambda: (KEY,), 0.4, 300.0, 42.0)
    sent: list[dict] = []
    monkeypatch.setattr(
        sirens._publisher, "publish", lambda topic, content, **_: sent.append(json.loads(content) | {"to": topic})
    )
    sirens._repeat(made, clock())
    assert [(one["to"], one["sequence"], one["sound_s"]) for one in sent] == [(TOPIC, made.sequence, 42.0)]
