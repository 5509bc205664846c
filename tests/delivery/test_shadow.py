"""Messages of a site in shadow mode: who gets them, what they state, and what happens when shadow mode ends."""

from datetime import timedelta

import pytest

from monitor.alerts.queries.alerts import (
    ChangeContext,
    acknowledge,
    apply_changes,
    find_alert,
    load_alert_events,
    load_alerts,
    shelve,
)
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.delivery import digest
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries import outbox
from monitor.delivery.state import StatePublisher
from monitor.delivery.trial import gather_channels
from monitor.delivery.worker import ChannelWorker
from monitor.errors import RefusedError
from monitor.features.cap.chain import compose
from monitor.features.reports.issue import list_due
from monitor.settings.service import parse_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR, Actor
from tests.delivery.outbox import PATIENT, T0, rows

SITE = """
[site]
id = "north"
name = "North"
latitude = 46.0
longitude = 8.0
shadow = {shadow}
[levels]
names = ["green", "yellow", "orange", "red"]
[[station]]
id = "G1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
[[recipient]]
name = "Ada"
channels = ["email:ada@example.org"]
trial = true
digest = "07:00"
[[recipient]]
name = "Bo"
channels = ["email:bo@example.org", "siren:valley/horn"]
levels = ["red"]
[[recipient]]
name = "Cleo"
channels = ["webhook:CLEO"]
levels = ["yellow", "orange", "red"]
"""
ADA = Actor("Ada", "person", "page")


class Slope:
    """A site, its dispatcher, and what is changed at it."""

    def __init__(self, db):
        self.db = db
        self.now = T0
        self.sites = {}
        self.dispatcher = Dispatcher(db, self.sites, lambda: self.now, environ={}, limits=PATIENT)
        self.set_shadow(shadow=True)

    def set_shadow(self, *, shadow):
        self.sites["north"] = parse_site(SITE.format(shadow=str(shadow).lower()), "north.toml")
        with self.db.write() as c:
            save_site(c, self.sites["north"], "test", "test", self.now)

    def change(self, level, ledger="hazard", key="hazard"):
        site = self.sites["north"]
        change = AlertChange(AlertCategory(ledger), key, level, level > 0, "moves", self.now, "{}")
        with self.db.write() as c:
            apply_changes(c, [change], ChangeContext("north", site, site.recipients, SERVICE_ACTOR, self.now, "v"))
            return load_alerts(c, "north", ledger=ledger)[0].id

    def escalate(self, minutes=0):
        self.now += timedelta(minutes=minutes)
        self.dispatcher.escalate_once(self.now)

    def list_addressed(self):
        return [(row.recipient, row.channel.partition(":")[0], row.level) for row in rows(self.db).values()]


@pytest.fixture
def slope(database):
    return Slope(database)


@pytest.mark.parametrize("kind", ["cap", "mqtt", "siren"])
def test_no_device_and_no_other_system_takes_part_in_a_trial(kind):
    channel = f'"{kind}:valley/horn"' if kind != "cap" else '"cap:FEED"'
    text = SITE.format(shadow="true").replace('"email:ada@example.org"', f'"email:ada@example.org", {channel}')
    (ada,) = parse_site(text.replace("trial = true", 'trial = true\nlevels = ["red"]'), "north.toml").recipients
    assert ada.channels == ("email:ada@example.org",)


def test_message_of_a_site_in_shadow_mode_is_marked_and_goes_to_the_trial_only(slope):
    slope.change(3)
    slope.escalate(60)
    assert slope.list_addressed() == [("Ada", "email", 3)]
    (row,) = rows(slope.db).values()
    assert row.subject.startswith("TRIAL RED North")
    assert "Only the people of the trial get this message" in row.body
    assert "Notified" not in row.body


def test_open_alert_is_delivered_to_everybody_when_shadow_mode_ends(slope):
    number = slope.change(3)
    with slope.db.write() as c:
        acknowledge(c, number, ADA, "seen", slope.now)
    slope.escalate(60)
    slope.set_shadow(shadow=False)
    slope.escalate(1)
    assert sorted(slope.list_addressed()[1:]) == [
        ("Ada", "email", 3),
        ("Bo", "email", 3),
        ("Bo", "siren", 3),
        ("Cleo", "webhook", 3),
    ]
    newest = list(rows(slope.db).values())[-1]
    assert newest.subject.startswith("RED North")
    assert "Raised at 2026-03-01 06:00 UTC. Until now this site was in shadow mode" in newest.body
    with slope.db.read() as c:
        assert find_alert(c, number).state == "unacknowledged", "people outside the trial have not acknowledged it"
        assert [event.shadow for event in load_alert_events(c, number)] == [True, True, False]
    before = slope.list_addressed()
    slope.escalate(1)
    assert slope.list_addressed() == before, "once"


def test_only_recipients_of_the_level_are_notified_when_shadow_mode_ends(slope):
    slope.change(1)
    slope.set_shadow(shadow=False)
    slope.escalate(1)
    assert sorted(slope.list_addressed()[1:]) == [("Ada", "email", 1), ("Cleo", "webhook", 1)]


def test_alert_that_is_over_is_not_delivered_when_shadow_mode_ends(slope):
    slope.change(3)
    slope.change(0)
    slope.set_shadow(shadow=False)
    slope.escalate(60)
    assert {recipient for recipient, _, _ in slope.list_addressed()} == {"Ada"}


def test_alarm_that_nobody_confirmed_starts_again_when_shadow_mode_ends(slope):
    slope.dispatcher.limits = DeliveryLimits()
    slope.change(3)
    slope.escalate(30)
    keys = {row.key for row in load_open(slope)}
    assert any(key.startswith("health:unconfirmed") for key in keys), keys
    slope.set_shadow(shadow=False)
    slope.escalate(1)
    assert {row.key for row in load_open(slope)} == {"hazard"}
    slope.escalate(30)
    assert len(load_open(slope)) == 2
    names = {recipient for recipient, _, _ in slope.list_addressed()}
    assert names == {"Ada", "Bo", "Cleo"}


def load_open(slope):
    with slope.db.read() as c:
        return load_alerts(c, "north", open_only=True)


def test_shelved_hazard_is_unshelved_and_health_keeps_its_state(slope):
    hazard, health = slope.change(1), slope.change(1, "health", "health:G1.crack_opening:stale")
    with slope.db.write() as c:
        for number in (hazard, health):
            shelve(c, number, ADA, "blasting", slope.now + timedelta(hours=4), slope.now)
    slope.set_shadow(shadow=False)
    slope.escalate(1)
    assert {row.id: row.state for row in load_open(slope)} == {hazard: "unacknowledged", health: "shelved"}


def test_message_that_waits_when_shadow_mode_begins_is_withdrawn(slope):
    slope.set_shadow(shadow=False)
    slope.change(1, "health", "health:G1.crack_opening:stale")
    slope.set_shadow(shadow=True)
    slope.now += timedelta(minutes=1)
    ChannelWorker("webhook:CLEO", slope.dispatcher).work_once()
    (row,) = (row for row in rows(slope.db).values() if row.channel == "webhook:CLEO")
    assert (row.state, row.superseded_by, row.attempts) == ("superseded", row.id, 0)
    assert "shadow mode" in row.last_error
    slope.set_shadow(shadow=False)
    with slope.db.read() as c:
        assert "webhook:CLEO" not in outbox.load_due_channels(c, slope.now)


def test_programs_and_other_warning_systems_get_nothing_of_it(slope, monkeypatch):
    published = []
    monkeypatch.setattr("monitor.delivery.state.MqttPublisher", lambda *_, **__: Publisher(published))
    number = slope.change(2)
    service = parse_service("", "test")
    with slope.db.read() as c, pytest.raises(RefusedError, match="shadow mode"):
        compose(c, service, number)
    with slope.db.read() as c:
        assert "<status>Test</status>" in compose(c, service, number, is_test=True)
    publisher = StatePublisher(slope.db, None, lambda: slope.now, version="1")
    publisher.publish_once()
    assert published == ["slopeward/v1/status"]
    slope.set_shadow(shadow=False)
    slope.escalate(1)
    publisher.publish_once()
    assert published[1:3] == ["slopeward/v1/north/alert", "slopeward/v1/north/state"]
    with slope.db.read() as c:
        text = compose(c, service, number)
    assert "<msgType>Alert</msgType>" in text
    assert "<references>" not in text


class Publisher:
    """Stands in for the MQTT client."""

    connections = 1

    def __init__(self, published):
        self.published = published

    def publish(self, topic, *_args, **_more):
        self.published.append(topic)


def test_digest_and_tests_of_channels_go_to_the_trial_only(slope, monkeypatch):
    sent = []

    class Notifier:
        def deliver(self, notification):
            sent.append((notification.recipient, notification.subject, notification.body))

    monkeypatch.setattr(digest, "open_notifier", lambda *_: Notifier())
    slope.now += timedelta(hours=1, minutes=5)
    assert digest.run(slope.db, parse_service("", "test"), slope.sites["north"], slope.now) == "1 sent"
    ((recipient, subject, body),) = sent
    assert (recipient, subject.split()[0]) == ("Ada", "TRIAL")
    assert "shadow mode" in body
    assert list(gather_channels(slope.sites.values())) == ["email:ada@example.org"]


def test_report_is_mailed_to_the_trial_only(slope):
    service = parse_service('[[report]]\nkind = "daily"\nto = ["email:ada@example.org", "email:bo@example.org"]', "x")
    (due,) = list_due(slope.db, service, slope.now)
    assert {channel for channel, _ in due.mails} == {"email:ada@example.org"}
    slope.set_shadow(shadow=False)
    (due,) = list_due(slope.db, service, slope.now)
    assert len(due.mails) == 2
