"""Duty plans, drills and approvals are shown only on sites with several people or several channels."""

import re
from datetime import timedelta
from html import unescape

import pytest

from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alerts
from monitor.alerts.queries.signatures import TwoPersonAct, save_first
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.delivery.several_people import has_several_people
from monitor.people.queries import users
from monitor.sites.first_site import write_first_site
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.service_state import write_heartbeat
from tests.data.accounts import add_account
from tests.data.filled import NOW, PASSWORD
from tests.data.store_rows import ask
from tests.data.watched_slope import SITE_TEXT, WatchedSlope
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

TEAM_WORDS = re.compile(
    r"\b(?:duty|duties|drills?|approv\w+|second person|two people|teams?|signatures?)\b", re.IGNORECASE
)
ONE_CHANNEL = SITE_TEXT.replace(
    'name = "duty engineer"\nchannels = ["log", "log:second"]', 'name = "ada"\nchannels = ["log"]'
)
TWO_CHANNELS = ONE_CHANNEL.replace('["log"]', '["log", "log:second"]')
BEFORE = NOW - timedelta(days=9)


@pytest.fixture
def slope(database):
    """A watched slope with one admin, one channel and an unacknowledged alert of the second highest level."""
    slope = WatchedSlope(database, ONE_CHANNEL)
    with database.write() as c:
        add_account(c, "ada", PASSWORD, "admin", BEFORE)
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, NOW)
        raised = AlertChange(
            AlertCategory.HAZARD,
            "level",
            2,
            open=True,
            reason="crack at G1 opens",
            data_time=NOW,
            evidence="{}",
            notify=True,
        )
        context = ChangeContext("bench", slope.site, slope.site.recipients, Actor("core", "service"), NOW, "x")
        apply_changes(c, [raised], context)
    return slope


def read_all_pages(browser):
    """Follow the links of the start page to every page of the service; return the visible text by address.

    PDF files are left out: they are printed from pages that are read.
    """
    texts, addresses = {}, ["/"]
    while addresses:
        address = addresses.pop()
        if address in texts:
            continue
        answer = browser.get(address)
        assert answer.status_code == 200, (address, answer.text[:300])
        is_page = answer.headers["content-type"].startswith("text/html")
        body = re.sub(r"<(script|style)\b.*?</\1>", " ", answer.text, flags=re.DOTALL) if is_page else ""
        labels = " ".join(re.findall(r'(?:aria-label|title|placeholder)="([^"]*)"', body))
        texts[address] = unescape(f"{re.sub('<[^>]+>', ' ', body)} {labels}")
        for link in re.findall(r'href="(/[^"#]*)', body):
            path = unescape(link)
            is_outside = path.startswith(
                ("/help", "/static", "/vendor", "/api", "/metrics", "/health", "/login", "/live")
            )
            if not is_outside and ".pdf" not in path:
                addresses.append(path)
    return texts


def find_team_words(texts):
    return {address: TEAM_WORDS.findall(text) for address, text in texts.items() if TEAM_WORDS.search(text)}


def list_open_alerts(slope):
    return [alert.id for alert in ask(slope.database, load_alerts, "bench", open_only=True)]


def test_pages_of_one_person_with_one_channel_mention_no_duty_drill_or_approval(slope):
    (alert_id,) = list_open_alerts(slope)
    with serving(slope.database, Clock()) as address, enter(address, "ada") as ada:
        texts = read_all_pages(ada)
    visited = {"/sites/bench", f"/alerts/{alert_id}", "/account", "/admin", "/sites/bench/thresholds"}
    assert visited | {"/sites/bench/acts"} <= texts.keys()
    assert "What you may do" in texts["/account"]
    assert find_team_words(texts) == {}


@pytest.mark.soak
def test_pages_of_two_people_with_two_channels_offer_duty_drills_and_approvals(slope):
    slope.take(parse_site(TWO_CHANNELS, "bench.toml"))
    with slope.database.write() as c:
        add_account(c, "bo", PASSWORD, "operator", BEFORE)
    with serving(slope.database, Clock()) as address, enter(address, "ada") as ada:
        texts = read_all_pages(ada)
    assert {"/sites/bench/duty", "/sites/bench/drills", "/signatures"} <= texts.keys()
    words = {word.lower() for page_words in find_team_words(texts).values() for word in page_words}
    assert {"duty", "drills", "approvals", "second person"} <= words


@pytest.mark.parametrize(
    ("role", "text", "expected"),
    [
        (None, ONE_CHANNEL, False),
        ("viewer", ONE_CHANNEL, False),
        ("operator", ONE_CHANNEL, True),
        ("admin", ONE_CHANNEL, True),
        (None, TWO_CHANNELS, True),
    ],
)
def test_site_has_several_people_with_a_second_operator_or_a_second_channel(slope, role, text, expected):
    slope.take(parse_site(text, "bench.toml"))
    if role is not None:
        with slope.database.write() as c:
            add_account(c, "bo", PASSWORD, role, BEFORE)
    assert ask(slope.database, has_several_people, "bench") is expected
    assert ask(slope.database, has_several_people) is expected


def test_second_account_of_another_site_or_locked_account_does_not_count(slope):
    other = parse_site(ONE_CHANNEL.replace('"bench"', '"lake"'), "lake.toml")
    with slope.database.write() as c:
        save_site(c, other, "test", "first version", BEFORE)
        add_account(c, "bo", PASSWORD, "operator", BEFORE, ["lake"])
    assert ask(slope.database, has_several_people, "bench") is False
    assert ask(slope.database, has_several_people, "lake") is True
    with slope.database.write() as c:
        users.disable_user(c, "bo", NOW)
    assert ask(slope.database, has_several_people) is False


def test_page_of_one_person_links_to_an_action_that_waits_and_says_who_can_do_it(slope):
    with slope.database.write() as c:
        act = TwoPersonAct("level.set", "bench", {"level": "green"}, "level")
        save_first(c, act, Actor("ada"), "it is over", 2, NOW - timedelta(minutes=1))
    with serving(slope.database, Clock()) as address, enter(address, "ada") as ada:
        assert 'href="/signatures"' in ada.get("/").text
        text = ada.get("/signatures").text
        assert "no other account has the role operator or admin for bench" in text
        assert "An admin makes an account for a second person under Admin" in text


def test_explanation_names_who_can_be_the_second_person(slope):
    def explain():
        return str(ask(slope.database, users.explain_second_person, "bench", "ada", NOW))

    assert explain().startswith("Nobody can do it yet")
    with slope.database.write() as c:
        add_account(c, "bo", PASSWORD, "operator", BEFORE)
    assert explain() == "Anyone with the role operator or admin for bench can do it, except ada."


def test_new_site_file_mentions_no_duty_drill_or_approval():
    assert TEAM_WORDS.findall(write_first_site("north-bench")) == []
