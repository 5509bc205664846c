"""Who is notified of a change, and what one person alone may do with an alert, also while the alert changes."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import alerts as store
from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alert_events, load_alerts
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.engine import Database
from tests.alerts.test_scenes import T0, make_site
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_BOTH

SITE = make_site(G1="BASE-1", G2="BASE-2")
ADA, BO = Actor("Ada"), Actor("Bo")
CANNOT_SEE = "health:site:cannot_see"


@pytest.fixture
def desk(database):
    tell(database, save_site, SITE, "test", "acts", T0)
    return database


def change(c, level, *, key="hazard", site=SITE):
    """Bring an alert to a level; returns its id."""
    ledger = AlertCategory.HAZARD if key == "hazard" else AlertCategory.HEALTH
    order = AlertChange(ledger, key, level, level > 0, f"level {level}", T0, "{}")
    apply_changes(c, [order], ChangeContext("bench", site, site.recipients, SERVICE_ACTOR, T0, "t"))
    return load_alerts(c, "bench", ledger=str(ledger))[0].id


@pytest.mark.parametrize(
    ("levels", "told"), [((1,), []), ((1, 3), [3]), ((1, 3, 0), [3, 0]), ((3, 1), [3, 1]), ((1, 0), []), ((2,), [2])]
)
def test_recipients_of_a_level_are_notified_when_it_is_passed_and_when_it_is_over(desk, levels, told):
    site = replace(SITE, recipients=(replace(SITE.recipients[0], levels=(2,), channels=("log",)),))
    with desk.write() as c:
        for level in levels:
            change(c, level, site=site)
        found = c.execute(select(notification.c.level).order_by(notification.c.id)).scalars().all()
    assert found == told


def test_shelving_stores_its_end_and_the_newest_reading(desk):
    end = T0 + timedelta(hours=2)
    with desk.write() as c:
        number = change(c, 1)
        store.shelve(c, number, ADA, "blasting", end, T0 + timedelta(minutes=5))
        store.add_note(c, number, BO, "seen", T0 + timedelta(minutes=6))  # a note ends no shelving
        assert store.unshelve_due(c, "bench", SERVICE_ACTOR, end - timedelta(seconds=1)) == []
        assert len(store.unshelve_due(c, "bench", SERVICE_ACTOR, end)) == 1
        events = load_alert_events(c, number)
    assert ([e.data_time for e in events], [e.until_at for e in events]) == ([T0] * 4, [None, end, None, None])
    assert [e.to_state for e in events] == ["unacknowledged", "shelved", "shelved", "unacknowledged"]


@pytest.fixture
def console(desk, tmp_path, monkeypatch):
    """`console("alerts", "ack", ...)`: the exit code of a command that opens the same database by itself."""
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, desk, None)))
    return lambda *words: run_command([str(w) for w in words])


@ON_BOTH
def test_acknowledgement_does_not_include_a_rise_that_commits_at_the_same_moment(desk, console, monkeypatch, capsys):
    number = tell(desk, change, 1)
    looked, codes = threading.Event(), []
    original = store.find_alert

    def find(c, alert_id):
        found = original(c, alert_id)
        looked.set()
        return found

    monkeypatch.setattr(store, "find_alert", find)
    words = ("alerts", "ack", number, "--by", "Ada", "--reason", "a yellow one, seen")
    signing = threading.Thread(target=lambda: codes.append(console(*words)))
    with Database(desk.url.render_as_string(hide_password=False)) as other, other.write() as c:
        change(c, 3)
        signing.start()
        looked.wait(2.0)
        signing.join(0.5)  # it waits for this transaction
    signing.join(60.0)
    assert (codes, "has risen to level 3" in capsys.readouterr().err) == ([1], True)
    with desk.read() as c:
        (alert,) = load_alerts(c, "bench")
        assert (alert.level, alert.state, alert.acknowledged_by) == (3, "unacknowledged", None)


def test_refused_reason_is_named_with_its_least_length(desk, console, capsys):
    number = tell(desk, change, 2)
    assert console("alerts", "ack", number, "--by", "Ada", "--reason", "ok") == 1
    assert "reason: say why in at least 3 characters" in capsys.readouterr().err


def test_acknowledgement_is_refused_if_the_level_is_higher_than_seen(desk, console):
    words = ("alerts", "ack", tell(desk, change, 2), "--by", "Ada", "--reason", "on my way")
    assert (console(*words, "--seen", 1), console(*words, "--seen", 2)) == (1, 0)
    assert ask(desk, load_alerts, "bench")[0].acknowledged_by == "Ada"
