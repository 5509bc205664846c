"""Text messages and calls: what happened, what to do, how to respond, in less than 400 characters."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.alert_texts import OF_LEVEL, ChangeNotice, write_message
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.subjects import mark_delayed, mark_open
from monitor.delivery.message import translate
from monitor.features.telephony.telephone import LONGEST, format_sms
from monitor.sites.records import Level
from monitor.text.catalogue import LANGUAGES, use_language
from monitor.text.local_time import use_zone
from monitor.text.message import Term, join
from tests.delivery.test_message import AT, MOVING, PARTS, SITE, make

NAMES = st.text(st.sampled_from("abcdefgh ÄéñØ路坡山-'.,;()"), min_size=1, max_size=120).map(
    lambda text: " ".join(text.split()) or "x"
)
ACTIONS = st.one_of(st.just(""), NAMES.map(lambda name: f"Close {name}, call {name}"), st.just("Close the road"))
REASONS = st.one_of(
    st.just(join(PARTS)), NAMES, st.lists(NAMES, min_size=1, max_size=20).map("; ".join), st.just("x" * 900)
)


def write(name, action, reason, ledger, level, *, exercise=False, frozen=MOVING):
    levels = tuple(Level(n, label, False, action) for n, label in enumerate(("green", "yellow", "orange", "red")))
    site = replace(SITE, name=name, levels=levels)
    label = levels[level].name if ledger == "hazard" else ("clear", "notice", "urgent")[min(level, 2)]
    if ledger == "hazard":
        reason = OF_LEVEL(level=Term(label), text=reason)
    change = AlertChange(AlertCategory(ledger), "k", level, level > 0, reason, AT - timedelta(minutes=12), "{}")
    subject, body = write_message(
        ChangeNotice(
            site_id=site.id,
            site=site,
            alert_id=12,
            change=change,
            level=level,
            name=label,
            before=2,
            now=AT,
            frozen=frozen,
            recipients=["duty", name],
            exercise=exercise,
        )
    )
    return replace(make(), ledger=ledger, level=level, level_name=label, exercise=exercise, subject=subject, body=body)


@given(
    NAMES,
    ACTIONS,
    REASONS,
    st.sampled_from(["hazard", "health", "advice"]),
    st.integers(0, 3),
    st.sampled_from(sorted(LANGUAGES)),
    st.booleans(),
    st.sampled_from([None, mark_delayed, lambda subject: mark_open(subject, 7200.0)]),
    st.sampled_from(["", "https://slopes.example.org/alerts/12", f"https://{'a' * 230}.example.org/alerts/12"]),
    st.sampled_from([0, 1, 250]),
)
def test_text_message_is_shorter_than_400_characters(
    name, action, reason, ledger, level, language, exercise, mark, link, others
):
    message = write(name, action, reason, ledger, level, exercise=exercise)
    if mark is not None:
        message = replace(message, subject=mark(message.subject))
    with use_language(language), use_zone("Europe/Zurich"):
        text = format_sms(replace(translate(message), code="0412", link=link, others=others))
    assert len(text) <= LONGEST < 400
    assert "0412" in text
    assert link in text or len(link) > 200
    lines = text.splitlines()
    assert lines[0], "the subject comes first"
    assert len(set(lines)) == len(lines)


def test_text_message_states_what_happened_then_what_to_do_then_how_to_respond():
    message = write("Nordhang", "Close the road, call the manager and stop the trains", join(PARTS), "hazard", 2)
    with use_zone("Europe/Zurich"):
        text = format_sms(replace(translate(message), code="0412", link="https://s.example.org/alerts/12"))
    assert text.splitlines() == [
        "ORANGE Nordhang: Close the road. 81.2 mm/day, 2 stations. 07:00",
        "Rate of crack opening is 81.2 mm/day over 6 h at 2 of 2 stations, orange from 24 mm/day",
        "To do: Close the road, call the manager and stop the trains",
        "Reply ACK 0412 to acknowledge alert 7.",
        "https://s.example.org/alerts/12",
    ]


def test_text_message_without_reply_code_names_the_page():
    message = write("Nordhang", "Close the road", join(PARTS), "hazard", 2)
    assert format_sms(translate(message)).splitlines()[-1] == "Acknowledge alert 7 on the page."
    message = write("Nordhang", "Close the road", join(PARTS), "hazard", 0)
    assert "Acknowledge" not in format_sms(translate(message))


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_message_names_its_level_once(level, language):
    """The subject names the level. No line of the body begins with the name again."""
    message = write("Nordhang", "", join(PARTS), "hazard", level, frozen={})
    with use_language(language):
        read = translate(message)
    name = read.subject.split()[0].lower()
    assert not any(line.lower().startswith((f"{name}:", f"why: {name}:")) for line in read.body.splitlines())
    assert f"{name}: " not in read.subject.lower().partition(" ")[2]
