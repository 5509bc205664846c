"""Two spellings of a name are one person in every operator action, so nobody can sign twice.

Spellings of the same name differ in blanks, case, Unicode normal form or invisible characters.
"""

import json
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from monitor.alerts.acts.operator_acts import completes_first_answer
from monitor.alerts.queries import alerts, offsets
from monitor.alerts.queries.evaluations import load_report_facts
from monitor.alerts.queries.reports import add_report
from monitor.decision.records import Signature
from monitor.errors import PayloadError, RefusedError
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.decoders.observer import decode_event, decode_report
from monitor.ingest.decoders.strict_json import read_person
from monitor.ingest.message import BrokerMessage, TopicPlace
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References
from monitor.people.queries import users
from monitor.readings.records import ObserverReport
from monitor.sites.records import Level, Recipient, Site
from monitor.storage.actor import Actor
from monitor.text.names import fold_name, is_same_person, tidy_name, unify_names
from tests.data.accounts import add_account
from tests.data.filled import NOW

LETTERS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=8)
UNSEEN = st.sampled_from(
    ["", " ", "  ", "\t", "\u00a0", "\u2003", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u3164", "\ufe0f"]
)
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@st.composite
def spellings(draw):
    """Draw a name and another spelling of it."""
    parts = draw(st.lists(LETTERS.filter(fold_name), min_size=1, max_size=3))
    one = " ".join(parts)
    other = "".join(draw(UNSEEN) + part for part in parts) + draw(UNSEEN)
    other = unicodedata.normalize(draw(st.sampled_from(FORMS)), other)
    return one, draw(st.sampled_from([str, str.upper, str.casefold]))(other) if one.isascii() else other


@given(spellings())
def test_spellings_of_one_name_are_one_person(pair):
    one, other = pair
    event("another spelling" if one != other else "the same spelling")
    assert is_same_person(one, other)
    assert fold_name(fold_name(one)) == fold_name(one)
    assert tidy_name(tidy_name(other)) == tidy_name(other)
    assert is_same_person(tidy_name(other), other)
    assert set(unify_names([one, other]).values()) == {one}
    assert Recipient("post", (), (), people=(one,)).is_person(other)


@given(st.lists(UNSEEN, max_size=5).map("".join))
def test_name_without_visible_characters_is_rejected(nothing):
    assert fold_name(nothing) == tidy_name(nothing) == ""
    assert not Recipient("post", (), ()).is_person(nothing)
    with pytest.raises(PayloadError):
        read_person(nothing, "by")


def test_name_is_folded_until_it_no_longer_changes():
    assert fold_name("\u0345\u0399") == fold_name(fold_name("\u0345\u0399"))
    assert not is_same_person("R. Mori", "R. Moro")


SECONDS = ["R.  Mori", "r. mori", "\uff32. Mori", "R.\u00a0Mori", "R. Mori\u200b", "\u200b"]


@pytest.mark.parametrize("other", SECONDS)
def test_second_spelling_is_no_second_person_in_any_act(database, other):
    first, second = Actor("R. Mori"), Actor(other)
    with database.write() as c:
        with pytest.raises(RefusedError):
            users.require_two(c, first, second, NOW)
        if other.strip("\u200b"):
            with pytest.raises(RefusedError, match="second person"):
                completes_first_answer(c, Signature("instrument", first.name, 3), "instrument", 3, second, NOW)
    assert not alerts._are_two_people(first, second)
    assert not offsets._is_second(first.name, other)


def test_an_account_is_not_opened_twice_under_another_spelling(database):
    with database.write() as c:
        add_account(c, "ada", "long enough 1", "operator", NOW)
        with pytest.raises(RefusedError, match="one person"):
            add_account(c, "Ada", "long enough 1", "operator", NOW)
        users.require_account(c, "ADA")


def receive(body):
    message = BrokerMessage("slopeward/v1/north-bench/report", json.dumps(body).encode(), NOW, "live")
    site = Site("north-bench", "North bench", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())
    return ReceivedMessage(message, TopicPlace("report", site.id, ""), site, Vocabulary({}), References())


def test_text_of_an_observer_cannot_begin_a_line_of_a_message():
    body = {
        "time": "2026-03-01T06:00:00Z",
        "kind": "crack\n",
        "by": "Ada",
        "text": "3 cm\r\nAll clear: level green\x1b[2J\u2028\u202ewen",
    }
    report = decode_report(receive(body)).report
    assert (report.kind, report.text) == ("crack", "3 cm All clear: level green[2J wen")
    with pytest.raises(PayloadError, match="shows no character"):
        decode_report(receive({**body, "text": "\x1b\u202e"}))
    event = {"from": body["time"], "to": body["time"], "kind": "blasting", "text": "bench 4\nAll clear"}
    assert decode_event(receive(event)).event.text == "bench 4 All clear"


def test_observers_are_named_as_people(database):
    with database.write() as c:
        for n, by in enumerate(["R. Mori", "r.  mori", "A. Rossi"]):
            item = ObserverReport("north", NOW + timedelta(minutes=n), "crack", "seen", by)
            add_report(c, item, NOW, actor=Actor(by), credential="user duty of this machine")
    with database.read() as c:
        facts = load_report_facts(c, "north", NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    assert [f.by for f in facts] == ["A. Rossi", "R. Mori", "R. Mori"]
