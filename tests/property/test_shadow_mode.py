"""In shadow mode no channel delivers to anybody outside the trial, on random sites and histories."""

import random
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest

from monitor.alerts.acts.loosening import find_loosening
from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes, find_alert, load_alerts
from monitor.alerts.records import AlertState
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.delivery import digest
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.queries import outbox
from monitor.delivery.worker import ChannelWorker
from monitor.features.cap.routes import _list_entries
from monitor.settings.service import parse_service
from monitor.sites.channels import find_channel_traits, list_channel_kinds
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.views import load_view
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import START

NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eva")
# Written out, so that the expectation does not depend on the tested rule.
FOR_PEOPLE = {"apprise", "email", "log", "push", "sms", "voice", "webhook"}
LEDGERS = ("hazard", "health", "advice")
HEAD = """
[site]
id = "{site}"
name = "{site}"
latitude = 46.0
longitude = 8.0
{shadow}
[levels]
names = ["green", "yellow", "orange", "red"]
[[station]]
id = "G1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
"""


class Plan:
    """A site file with random recipients, and who may be notified in shadow mode."""

    def __init__(self, rng):
        lines = []
        self.people = {}
        members = rng.sample(NAMES, 2) if rng.random() < 0.4 else []
        team_is_of_trial = bool(members) and rng.random() < 0.5
        for number, name in enumerate(NAMES):
            kinds = rng.sample(sorted(list_channel_kinds()), rng.randint(1, 3))
            channels = [f"{kind}:{_address(kind, number)}" for kind in kinds]
            levels = rng.sample(["yellow", "orange", "red"], rng.randint(1, 3))
            ledgers = rng.sample(LEDGERS, rng.randint(1, 3))
            is_of_trial = rng.random() < 0.4
            lines += ["[[recipient]]", f'name = "{name}"', f"channels = {channels}", f"ledgers = {ledgers}"]
            lines += [f"levels = {levels}", f"trial = {str(is_of_trial).lower()}"]
            lines += ['escalate_after = "5m"'] if rng.random() < 0.5 else []
            lines += ['digest = "07:00"'] if rng.random() < 0.3 else []
            if is_of_trial or (team_is_of_trial and name in members):
                self.people[name] = {channel for channel in channels if channel.partition(":")[0] in FOR_PEOPLE}
        if members:
            lines += ["[[recipient]]", 'name = "team:watch"', f"trial = {str(team_is_of_trial).lower()}"]
            lines += ["[[team]]", 'name = "watch"', f"members = {members}"]
        self._recipients = "\n".join(lines).replace("'", '"')

    def read(self, *, shadow, site="north"):
        head = HEAD.format(shadow="shadow = true" if shadow else "", site=site)
        return parse_site(head + self._recipients, f"{site}.toml")


def _address(kind, number):
    return f"alarms/{kind}{number}" if find_channel_traits(f"{kind}:x").of_broker else f"NAME{number}"


class Story:
    """A site whose shadow mode starts and ends, while alerts come and go and messages are sent."""

    def __init__(self, db, seed):
        self.db = db
        self.rng = random.Random(seed)
        self.plan = Plan(self.rng)
        self.now = START
        self.violations = []
        self.sent = []
        self.site_id = f"slope{seed}"
        self.sites = {}
        numbers = {f"NAME{number}": f"+4179000000{number}" for number in range(len(NAMES))}
        self.dispatcher = Dispatcher(db, self.sites, lambda: self.now, environ=numbers)
        self.set_shadow(shadow=self.rng.random() < 0.7)

    def set_shadow(self, *, shadow):
        site = self.plan.read(shadow=shadow, site=self.site_id)
        self.sites[self.site_id] = site
        with self.db.write() as c:
            save_site(c, site, "test", "test", self.now)

    def deliver(self, notification):
        if notification.site != self.site_id:
            return
        self.sent.append((notification.recipient, notification.channel))
        if self.site.shadow and notification.channel not in self.plan.people.get(notification.recipient, ()):
            self.violations.append(f"{notification.recipient} got {notification.subject!r} by {notification.channel}")

    @property
    def site(self):
        return self.sites[self.site_id]

    def change_alert(self):
        ledger = self.rng.choice(LEDGERS)
        level = self.rng.randint(0, 3 if ledger == "hazard" else 2)
        key = "hazard" if ledger == "hazard" else f"{ledger}:G1.x"
        change = AlertChange(AlertCategory(ledger), key, level, level > 0, "moves", self.now, "{}")
        context = ChangeContext(self.site_id, self.site, self.site.recipients, SERVICE_ACTOR, self.now, "v")
        with self.db.write() as c:
            apply_changes(c, [change], context)

    def acknowledge(self):
        with self.db.write() as c:
            for alert in load_alerts(c, self.site_id, open_only=True):
                # The acknowledgement of an alarm that nobody confirmed an alert includes that alert.
                state = find_alert(c, alert.id).state
                if self.rng.random() < 0.5 and state == AlertState.UNACKNOWLEDGED:
                    acknowledge(c, alert.id, Actor("Ada", "person", "page"), "seen", self.now)

    def send_digests(self):
        with patch.object(digest, "open_notifier", lambda *_: self):
            digest.run(self.db, parse_service("", "test"), self.site, self.now)

    def send(self):
        self.dispatcher.escalate_once(self.now)
        with self.db.read() as c:
            channels = outbox.load_due_channels(c, self.now)
        for channel in sorted(channels):
            worker = ChannelWorker(channel, self.dispatcher)
            while worker.work_once():
                pass

    def check_exports(self):
        """Events in shadow mode are published neither by CAP nor by MQTT."""
        with self.db.read() as c:
            events = load_view(c, "alert_events", order_by=["alert_id", "sequence"])
            shadow = {(event["alert_id"], event["sequence"]) for event in events if event["shadow"]}
            entries = _list_entries(c, frozenset({self.site_id}), exercises=False)
            published = outbox.load_alert_events(c, 0)
        for entry in entries:
            if entry.number != "cancel" and (entry.alert_id, int(entry.number)) in shadow:
                self.violations.append(f"CAP feed: event {entry.number} of alert {entry.alert_id}")
        self.violations += [f"MQTT: event {e.id}" for e in published if (e.alert_id, e.sequence) in shadow]

    def check_end(self):
        """After shadow mode, each open alert was sent to everybody whose level or ledger it has."""
        with self.db.read() as c:
            alerts = [a for a in load_alerts(c, self.site_id, open_only=True) if a.level > 0]
        for alert in alerts:
            with self.db.read() as c:
                rows = load_view(c, "notification_status", order_by=["notification_id"], alert_id=alert.id)
            notified = {row["recipient"] for row in rows}
            for recipient in self.site.recipients:
                if self.wants(recipient, alert) and recipient.name not in notified:
                    self.violations.append(f"{recipient.name} does not know of {alert.ledger} {alert.level}")

    def wants(self, recipient, alert):
        """Whether the site file names a recipient for an alert, and a channel that carries it."""
        is_over = alert.state == AlertState.RETURNED_UNACKNOWLEDGED
        if is_over or recipient.team is not None or recipient.by_team or alert.ledger not in recipient.ledgers:
            return False
        if alert.ledger == "hazard":
            return any(level <= alert.level for level in recipient.levels)
        channels = [c for c in recipient.readable if alert.ledger == "health" or not find_channel_traits(c).rings]
        return bool(channels)

    def run(self, steps=20):
        for _ in range(steps):
            self.now += timedelta(minutes=self.rng.choice((1, 7, 70)))
            self.rng.choice((self.change_alert, self.change_alert, self.acknowledge, self.send, self.send_digests))()
            if self.rng.random() < 0.15:
                self.set_shadow(shadow=not self.site.shadow)
            self.send()
            self.check_exports()
        self.set_shadow(shadow=False)
        self.send()
        self.check_exports()
        self.check_end()
        return self.violations


@contextmanager
def recording(story):
    """Send nothing: the story is the notifier of every channel."""
    with patch("monitor.delivery.worker.open_notifier", lambda *_: story):
        yield story


def tell(db, seed):
    story = Story(db, seed)
    with recording(story):
        return story.run(), story.sent


@ON_SQLITE
@pytest.mark.parametrize("seeds", with_soak(range(2), range(2, 20)))
def test_nobody_outside_the_trial_is_notified_in_shadow_mode(database, seeds):
    messages = 0
    for seed in seeds:
        violations, sent = tell(database, seed)
        assert violations == [], seed
        messages += len(sent)
    assert messages > 0


MUTANTS = {
    "everybody takes part in the trial": ("monitor.sites.parsing.select_trial_recipients", tuple),
    "sirens sound": ("monitor.sites.shadow.is_channel_for_trial", lambda _: True),
    "messages queued before are sent": ("monitor.delivery.worker.DeliveryContext.may_notify", lambda *_: True),
    "open alerts are forgotten": ("monitor.delivery.dispatcher.deliver_after_shadow", lambda *_: 0),
}


@ON_SQLITE
@pytest.mark.parametrize("name", MUTANTS)
def test_law_of_shadow_mode_fails_for_rules_that_forget(database, name):
    with patch(*MUTANTS[name]):
        assert any(tell(database, seed)[0] for seed in range(12))


def test_shadow_mode_of_random_sites_begins_only_with_two_people():
    for seed in range(20):
        plan = Plan(random.Random(seed))
        live, shadow = plan.read(shadow=False), plan.read(shadow=True)
        assert find_loosening(live, shadow)
        assert not find_loosening(shadow, live)
