"""The page of an alert lists who is notified next, and stops when somebody acknowledges."""

import re
from datetime import timedelta

import pytest

from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from tests.data.accounts import add_account
from tests.data.filled import NOW, PASSWORD
from tests.data.watched_slope import SITE_TEXT
from tests.markup import flatten_html
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

SITE = parse_site(
    SITE_TEXT.replace(
        '[[recipient]]\nname = "duty engineer"',
        '[[recipient]]\nname = "R. Mori"\nchannels = ["log:mori"]\nlevels = ["red"]\nescalate_after = "10m"\n\n'
        '[[recipient]]\nname = "A. Rossi"',
    ).replace('levels = ["orange", "red"]', "levels = []"),
    "bench.toml",
)


@pytest.fixture
def red(database):
    """A site at red, of which the first recipient was notified at the present moment."""
    with database.write() as c:
        save_site(c, SITE, "ada", "test", NOW - timedelta(days=9))
        add_account(c, "bo", PASSWORD, "operator", NOW - timedelta(days=9))
        raised = AlertChange(
            AlertCategory.HAZARD,
            "level",
            3,
            open=True,
            reason="crack at G1 opens",
            data_time=NOW,
            evidence="{}",
            notify=True,
        )
        apply_changes(c, [raised], ChangeContext("bench", SITE, SITE.recipients, Actor("core", "service"), NOW, "x"))
    return database


def read_notified(address):
    with enter(address, "bo") as bo:
        page = flatten_html(bo.get("/alerts/1").text)
    text = re.sub(r"<[^>]+>", " ", page[page.index("Who was notified") :])
    return re.sub(r"\s+", " ", text)


def test_alert_page_lists_next_recipient_and_time(red):
    with serving(red, Clock(NOW + timedelta(minutes=4))) as address:
        text = read_notified(address)
    assert re.search(r"If nobody acknowledges 0?\d+:\d\d ?: to A\. Rossi", text), text[:600]


def test_alert_page_of_acknowledged_alert_lists_nobody_next(red):
    with red.write() as c:
        acknowledge(c, 1, Actor("bo"), "on my way", NOW + timedelta(minutes=2))
    with serving(red, Clock(NOW + timedelta(minutes=4))) as address:
        text = read_notified(address)
    assert "bo acknowledged the alert. Nobody else is notified of it." in text
    assert "If nobody acknowledges" not in text
