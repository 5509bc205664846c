"""Merging a repeat with the alarm that nobody confirmed an alert takes no news from anybody, on random recipients."""

import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.records import UNCONFIRMED
from monitor.alerts.tables import alert
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries import outbox
from monitor.sites.records import Recipient
from monitor.storage.engine import Database
from tests.delivery.outbox import T0, add_alert, add_message, add_site, site_with
from tests.fixtures.soak import with_soak

Merge = Callable[[Connection, str, datetime], int]
# Minute, recipient and channel of a message, and the number of the alert that it is about.
News = set[tuple[int, str, str, int]]
MINUTES = (5, 10, 15, 20)


def make_recipients(rng: random.Random) -> list[Recipient]:
    """Return a person who is notified first, and others of whom some get repeats and some get no health alarms."""
    recipients = []
    for number, name in enumerate(("duty", "chief", "owner")):
        channels = [f"email:{name}@example.org", f"webhook:{name.upper()}"][: rng.randint(1, 2)]
        ledgers = ("hazard", "health") if number == 0 or rng.random() < 0.7 else ("hazard",)
        escalate_after_s = rng.choice([None, 300.0, 600.0])
        recipients.append(
            Recipient(name, tuple(channels), (1, 2, 3), ledgers=ledgers, escalate_after_s=escalate_after_s)
        )
    return recipients


def list_news(database: Database, seed: int) -> tuple[News, int]:
    """Escalate two alerts that nobody acknowledges. Return the news of all people, and how many messages were sent."""
    rng = random.Random(seed)
    recipients = make_recipients(rng)
    with database.write() as c:
        add_site(c)
        for key in ("hazard", "second"):
            alert_id = add_alert(c, key=key)
            for recipient in recipients[: rng.randint(1, 3)]:
                for channel in recipient.channels:
                    add_message(c, alert_id, channel, recipient=recipient.name, state="delivered")
    sites = {"north": site_with(*recipients)}
    dispatcher = Dispatcher(database, sites, lambda: T0, environ={}, limits=DeliveryLimits())
    for minutes in MINUTES:
        dispatcher.escalate_once(T0 + timedelta(minutes=minutes))
    n = notification.c
    query = select(n.queued_at, n.recipient, n.channel, n.alert_id, alert.c.key).join(alert, alert.c.id == n.alert_id)
    with database.read() as c:
        rows = c.execute(query.where(n.queued_at > T0, n.state != "superseded")).all()
    news = set()
    for row in rows:
        about = int(row.key.removeprefix(UNCONFIRMED)) if row.key.startswith(UNCONFIRMED) else row.alert_id
        news.add(((row.queued_at - T0) // timedelta(minutes=1), row.recipient, row.channel, about))
    return news, len(rows)


def merge_nothing(_c: Connection, _site_id: str, _queued_at: datetime) -> int:
    return 0


def make_mutant(*ignored: str) -> Merge:
    """Return a rule that merges an alarm with a message that differs in some of recipient, channel and alert."""

    def merge(c: Connection, site_id: str, queued_at: datetime) -> int:
        n = notification.c
        query = select(n.id, n.alert_id, n.recipient, n.channel, alert.c.key).join(alert, alert.c.id == n.alert_id)
        rows = c.execute(query.where(n.site == site_id, n.queued_at == queued_at, n.state == "queued")).all()
        for row in rows:
            if not row.key.startswith(UNCONFIRMED):
                continue
            wanted = {"recipient": row.recipient, "channel": row.channel, "alert": row.key.removeprefix(UNCONFIRMED)}
            for other in rows:
                facts = {"recipient": other.recipient, "channel": other.channel, "alert": str(other.alert_id)}
                is_own = not other.key.startswith(UNCONFIRMED)
                if is_own and all(facts[name] == wanted[name] for name in wanted if name not in ignored):
                    outbox.mark_superseded(c, row.id, other.id)
        return 0

    return merge


@pytest.fixture
def run(sqlite_template, tmp_path, monkeypatch):
    """Return a function that escalates with a rule for merging, in a database of its own."""
    count = iter(range(1000))

    def run_with(merge: Merge, seed: int) -> tuple[News, int]:
        monkeypatch.setattr(outbox, "merge_alarms", merge)
        path = tmp_path / f"{next(count)}.db"
        shutil.copy(sqlite_template, path)
        with Database(f"sqlite:///{path}") as database:
            return list_news(database, seed)

    return run_with


RULE = outbox.merge_alarms
# Recipients of whom some get an alarm while others get a repeat.
SEEDS = (3, 8)


@pytest.mark.parametrize("seeds", with_soak(SEEDS, range(12)))
def test_merging_takes_no_news_from_anybody_and_saves_messages(run, seeds):
    saved = 0
    for seed in seeds:
        news, count = run(RULE, seed)
        expected, separate_count = run(merge_nothing, seed)
        assert news == expected, f"seed {seed}"
        saved += separate_count - count
    assert saved > 0


@pytest.mark.parametrize("ignored", [("recipient", "channel"), ("alert",)])
def test_law_fails_for_rules_that_merge_too_much(run, ignored):
    assert any(run(make_mutant(*ignored), seed)[0] != run(merge_nothing, seed)[0] for seed in SEEDS)
