"""The page of an alert shows the reason in sentences and a timeline, and repeats the decision on request."""

import re
from html import unescape

import pytest
from sqlalchemy import update

from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.alerts import add_note
from monitor.alerts.tables import alert
from monitor.delivery.queries.outbox import claim_due, mark_confirmed, mark_delivered
from monitor.people.queries import users
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.web.parts import headline
from monitor.web.parts.collect import list_story
from tests.data.filled import PASSWORD
from tests.data.store_rows import tell
from tests.data.watched_slope import SITE_TEXT, WatchedSlope
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

ZONED = SITE_TEXT.replace("longitude = 8.9\n", 'longitude = 8.9\ntimezone = "Asia/Kathmandu"\n', 1)


def read_text(page):
    """Return the text of a page without HTML."""
    return " ".join(unescape(re.sub("<[^>]*>", "", page)).split())


def fail(database):
    """Store a slope that failed and an operator. Return the time at which its level is red."""
    slope = WatchedSlope(database, ZONED)
    slope.fail()
    tell(database, users.add_user, "bo", PASSWORD, "operator", slope.now)
    return slope.now


@pytest.fixture
def red(open_copy):
    """Return a copy of this database. Other tests check the views behind the pages on both kinds of database."""
    return open_copy("sqlite", fail)


def test_alert_page_shows_level_action_and_reason(red):
    database, now = red
    headline._headlines.clear()
    clock = Clock(now)
    with database.write() as c:
        [first, *_] = claim_due(c, now, "w", 30.0, 9, "log")
        mark_delivered(c, first.id, "w", now)
        mark_confirmed(c, first.id, now, "bo", "page")
        add_note(c, 1, Actor("bo"), "crack at the toe", now)
    assert first.subject.startswith("RED North bench: Clear the pit floor. ")
    with serving(database, clock) as address, enter(address, "bo") as bo:
        page = bo.get("/alerts/1").text
        shown = read_text(page)
        said = r"Rate of crack opening is \d+ mm/day over 8 h at 2 of 2 stations, red from 80 mm/day\."
        sentence = re.search(said, shown)
        assert sentence is not None
        rate = re.search(r"\d+ mm/day", sentence[0])
        for path in ("/", "/sites/bench"):
            said = rf"Now: .*{rate[0]}"
            assert re.search(said, read_text(bo.get(path).text)), "page, overview and message share one text"
        assert sentence[0].rstrip(".") in first.body
        assert re.search(
            r"G1: rate of crack opening \d+ mm/day over 8 h \(red from 80 mm/day\), data until \d\d:\d\d", shown
        )
        assert "2 of 2 stations agree on red." in shown
        assert "Clear the pit floor" in shown
        parts = ("Do:", "Acknowledge as bo", "Who was notified", "agree on red", "What happened")
        assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)
        assert re.search(r"not acknowledged · (\w+ → )?red", shown), "the timeline names levels"
        assert "Inputs of the decision" in read_text(bo.get("/alerts/1/evidence").text)
        assert len(page) < 40_000, "tables are loaded on opening"
        assert "crack at the toe" in shown
        assert "Sent to duty engineer (log)" in shown
        assert "Confirmed by bo" in shown
        assert "Asia/Kathmandu (UTC+05:45)" in shown
        assert 'href="/sites/bench?at=2026-03-02T' in page
        # A worker repeats the decision.
        place = send(bo, "/alerts/1/recompute").headers["location"]
        assert re.fullmatch(
            r"/alerts/1\?told=.*recomputed%3A%20equal%20bit%20for%20bit.*\.[0-9a-f]{32}#h-evidence", place
        )
        assert "recomputed: equal bit for bit</p>" in bo.get(place).text
        for forged in (place.replace("equal", "open"), "/alerts/1?told=stand%20down", "/alerts/1?told=."):
            assert 'class="told"' not in bo.get(forged).text, "a link cannot put text on the page"
        with enter(address, None) as other:
            assert 'class="told"' not in other.get(place).text, "a message is shown only in its session"
        tell(database, lambda c: c.execute(update(decision).values(evidence=decision.c.evidence + " ")))
        again = send(bo, "/alerts/1/recompute")
        assert "differs" in again.headers.get("location", ""), read_text(again.text)


def test_altered_evidence_breaks_no_page(red):
    database, _ = red
    headline._headlines.clear()
    for evidence in ("[", "[]", "{}", '{"outcome": {"evidence": {"votes": 3}}, "view": {}}', "[" * 100_000):
        with database.write() as c:
            c.execute(update(decision).values(evidence=evidence, evidence_sha256=str(len(evidence)).zfill(64)))
        with serving(database, Clock()) as address, enter(address, None) as anybody:
            assert "G1" in anybody.get("/").raise_for_status().text
            assert "G1" in anybody.get("/sites/bench").raise_for_status().text
            assert anybody.get("/alerts/1").status_code == 200


def test_repeating_a_decision_needs_a_login(red):
    with serving(red[0], Clock()) as address, enter(address, "bo") as bo:
        bo.cookies.clear()
        assert bo.post("/alerts/1/recompute", data={"csrf": "x"}).status_code == 401


def test_every_page_of_a_site_names_the_zone_of_the_site(filled_sqlite_url):
    paths = ["", "/forecasts", "/movement", "/instruments", "/proposals", "/thresholds", "/duty"]
    with Database(filled_sqlite_url) as db, serving(db, Clock()) as address, enter(address, "ada") as ada:
        for path in [*(f"/sites/north-bench{rest}" for rest in paths), "/", "/alerts", "/notifications", "/alerts/2"]:
            page = ada.get(path).text
            assert "Times in the zone Europe/Zurich (CET, UTC+01:00)" in page, path
            assert 'data-zone="Europe/Zurich"' in page, path
        assert "Times in the zone UTC" in ada.get("/account").text


def test_messages_of_one_minute_are_one_line_of_the_timeline():
    message = {"recipient": "duty", "confirmed_by": None, "confirmed_at": None, "received_at": None}
    at = "2026-03-01T06:00:{:02}.000000Z"
    rows = [{**message, "kind": kind, "sent_at": at.format(k)} for k, kind in enumerate(("email", "log"))]
    rows += [{**message, "kind": "log", "sent_at": None}]
    event = {"at": at.format(1)}
    assert [(one["kind"], one.get("names")) for one in list_story([event], rows)] == [
        ("sent", ["duty (email)", "duty (log)"]),
        ("event", None),
    ]


def test_closed_alert_has_the_same_text_on_every_page(red):
    """Ledger, list and page of the alert show one state in the same words."""
    database, now = red
    with database.write() as c:
        over = {"ledger": "health", "state": "returned_unacknowledged"}
        c.execute(update(alert).where(alert.c.id == 1).values(**over))
    clock = Clock(now)
    with serving(database, clock) as address, enter(address, "bo") as bo:
        for path in ("/", "/alerts", "/alerts/1"):
            page = read_text(bo.get(path).text)
            assert "over, not acknowledged" in page, path
            assert "returned unacknowledged" not in page, path
