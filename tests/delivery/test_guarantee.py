"""The guarantee of delivery, in simulated time with drawn faults of channels and kills of the worker.

An urgent alert reaches somebody, or somebody else is notified within a minute that it did not. A receiver that took a
message gets it again only if the worker was killed before the outcome was stored, and then under the same key.
"""

import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.delivery.dispatcher import ESCALATE_EVERY_S, Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries import outbox
from monitor.delivery.worker import LEASE_S, ChannelWorker
from monitor.errors import ConfigError, DeliveryError
from monitor.sites.records import Recipient
from monitor.storage.engine import Database
from tests.delivery.outbox import T0, add_alert, add_message, add_site, site_with

STEP_S = 5.0
WITHIN = timedelta(seconds=60.0 + ESCALATE_EVERY_S + STEP_S)
PHONE, MAIL, OTHER = "webhook:PHONE", "email:duty@example.org", "webhook:CONTROL_ROOM"
SITES = {
    "north": site_with(Recipient("duty", (PHONE, MAIL), (2, 3))),
    "south": replace(site_with(Recipient("control room", (OTHER,), (3,))), id="south", name="south"),
}
TAKES, IS_DEAD, REFUSES, IS_LATE, HAS_NO_SETTING = "takes", "is dead", "refuses", "answers late", "has no setting"
KILLED_BEFORE, KILLED_AFTER = "killed before it took", "killed after it took"
FAULTS = (TAKES, IS_DEAD, REFUSES, IS_LATE, HAS_NO_SETTING, KILLED_BEFORE, KILLED_AFTER)


class WorkerKilledError(BaseException):
    """The process of the worker ended during a delivery."""


class Story:
    """Channels with faults, and the receptions of their messages.

    Attributes:
        faults: For each channel its behaviour at each attempt. After the last one it takes messages, or fails on.
        taken: Reception time, channel and message.
    """

    def __init__(self, database, faults):
        self.now = T0
        self.faults = {channel: list(behaviours) for channel, behaviours in faults.items()}
        self.taken = []
        self.kills = 0
        limits = DeliveryLimits(group_wait_s=0.0, unconfirmed_after_s=1e9)
        self.dispatcher = Dispatcher(
            database, SITES, lambda: self.now, environ={}, jitter=lambda: 0.5, limits=limits, lease_s=LEASE_S
        )
        self.database = database
        self.workers = {}

    def open(self, channel, _environ, _db):
        if self._peek(channel) == HAS_NO_SETTING:
            self._pop(channel)
            raise ConfigError(f"channel {channel}: a variable is not set")
        return FakeChannel(self, channel)

    def _peek(self, channel):
        behaviours = self.faults.get(channel)
        return behaviours[0] if behaviours else TAKES

    def _pop(self, channel):
        behaviours = self.faults.get(channel)
        if behaviours and len(behaviours) > 1:
            return behaviours.pop(0)
        return behaviours[0] if behaviours else TAKES

    def receive(self, channel, notification):
        behaviour = self._pop(channel)
        if behaviour == HAS_NO_SETTING:
            raise ConfigError(f"channel {channel}: a variable is not set")
        if behaviour in {IS_DEAD, REFUSES, IS_LATE}:
            raise DeliveryError(behaviour, permanent=behaviour == REFUSES, is_whole=behaviour == IS_LATE)
        if behaviour in {KILLED_BEFORE, KILLED_AFTER}:
            self.kills += 1
            if behaviour == KILLED_AFTER:
                self.taken.append((self.now, channel, notification))
            raise WorkerKilledError
        self.taken.append((self.now, channel, notification))

    def run_until(self, end):
        while self.now < end:
            self.dispatcher.escalate_once(self.now)
            with self.database.write() as c:
                if outbox.has_expired_leases(c, self.now):
                    outbox.release_expired_leases(c, self.now)
                due = outbox.load_due_channels(c, self.now)
            for channel in sorted(due):
                worker = self.workers.setdefault(channel, ChannelWorker(channel, self.dispatcher))
                try:
                    while worker.work_once():
                        pass
                except WorkerKilledError:
                    # The process is started again. Its leases remain until they expire.
                    self.workers.clear()
            self.now += timedelta(seconds=STEP_S)


class FakeChannel:
    def __init__(self, story, channel):
        self.story = story
        self.channel = channel

    def deliver(self, notification):
        self.story.receive(self.channel, notification)


behaviours = st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({PHONE: behaviours, MAIL: behaviours}))
def test_urgent_alert_reaches_somebody_or_somebody_is_notified(sqlite_template, tmp_path_factory, faults):
    path = tmp_path_factory.mktemp("guarantee") / "x.db"
    shutil.copy(sqlite_template, path)
    with Database(f"sqlite:///{path}") as database, pytest.MonkeyPatch.context() as patch:
        story = Story(database, faults)
        patch.setattr("monitor.delivery.worker.open_notifier", story.open)
        patch.setattr("monitor.delivery.dispatcher.open_notifier", story.open)
        with database.write() as c:
            add_site(c)
            number = add_alert(c, at=T0)
            for channel in (PHONE, MAIL):
                add_message(c, number, channel, at=T0, next_attempt_at=T0)
        story.run_until(T0 + timedelta(minutes=4))
    reached_at = [at for at, channel, _ in story.taken if channel in {PHONE, MAIL, OTHER}]
    assert reached_at, "nobody was notified"
    # A message that is leased when the worker is killed is unknown until its lease expires.
    assert min(reached_at) <= T0 + WITHIN + timedelta(seconds=LEASE_S if story.kills else 0.0)
    receptions = Counter((channel, message.idempotency_key) for _, channel, message in story.taken)
    assert max(receptions.values()) <= 1 + story.kills
    if not story.kills:
        assert set(receptions.values()) == {1}


def test_urgent_message_to_a_channel_that_answers_late_is_reported_within_a_minute(database, monkeypatch):
    story = Story(database, {MAIL: [IS_LATE]})
    # The workers of the story have no threads.
    story.dispatcher._workers = story.workers
    story.dispatcher._find_worker = story.workers.__getitem__
    monkeypatch.setattr("monitor.delivery.worker.open_notifier", story.open)
    monkeypatch.setattr("monitor.delivery.dispatcher.open_notifier", story.open)
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c, at=T0), MAIL, at=T0, next_attempt_at=T0)
    story.run_until(T0 + timedelta(seconds=30))
    assert not story.dispatcher.find_undelivered([MAIL])
    story.run_until(T0 + timedelta(seconds=60))
    assert story.dispatcher.find_undelivered([MAIL]) == {MAIL: IS_LATE}
    story.faults[MAIL] = [TAKES]
    story.run_until(T0 + timedelta(seconds=130))
    assert not story.dispatcher.find_undelivered([MAIL])
