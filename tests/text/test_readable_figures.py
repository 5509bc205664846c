"""Numbers in messages are rounded, and a message names its level once."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.alert_texts import EXERCISE, OF_LEVEL, ChangeNotice, write_message
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.text.figures import format_number
from monitor.text.instants import format_delay
from monitor.text.local_time import use_zone
from monitor.text.message import Duration, Figure, Template, Term, format_about, format_duration, format_span
from monitor.text.rendering import translate

# More digits than any instrument has, or an exponent.
RAW = re.compile(r"\d\.\d{6}|\d{7,}\.\d|\de[+-]\d")
SECONDS = st.floats(0.01, 4e7)
NAMES = ("green", "yellow", "orange", "red")
_MEASURED = Template("test.readable.measured", "{value} after {seconds}, {figure}")


@given(SECONDS)
def test_durations_are_rounded(seconds):
    for text in (format_duration(seconds), format_about(seconds), format_span(seconds), format_delay(seconds)):
        assert not RAW.search(text), text
    for form in ("unit", "about", "span"):
        assert not RAW.search(Duration(seconds, form).english())


@given(SECONDS)
def test_a_rounded_duration_is_nearly_the_duration(seconds):
    sizes = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
    text = format_duration(seconds)
    assert abs(float(text[:-1]) * sizes[text[-1]] - seconds) <= max(0.5, 0.005 * seconds)


@given(st.floats(-1e6, 1e6), st.integers(1, 4), st.sampled_from(["", "m", "mm"]))
def test_numbers_of_pages_are_rounded(value, digits, unit):
    shown = format_number(value, digits, unit)
    assert not re.search(r"\.\d{6}", shown.partition("e")[0]) or abs(value) < 1.0


@given(st.floats(0.01, 1e5), SECONDS)
def test_values_of_messages_are_rounded(value, seconds):
    message = _MEASURED(value=value, seconds=Duration(seconds), figure=Figure(value, ".3g", "mm"))
    for language in ("en", "it"):
        assert not re.search(r"\d\.\d{7}", str(translate(message, language)))


@given(SECONDS)
def test_duration_in_a_displayed_message_has_no_long_number_of_seconds(seconds):
    stored = _MEASURED(value=1.0, seconds=Duration(seconds), figure=Figure(1.0, ".3g", "mm"))
    with use_zone("UTC"):
        for language in ("en", "it"):
            assert not re.search(r"\d{4,}[smh]", str(translate(stored, language)))


def test_display_leaves_the_stored_text_of_a_duration_unchanged():
    stored = _MEASURED(value=1.0, seconds=Duration(88521.0), figure=Figure(1.0, ".3g", "mm"))
    assert "88521s" in stored
    assert translate(stored, "en") == stored, "programs read it as it is stored"
    with use_zone("UTC"):
        assert "after 1 d 0 h 35 min" in translate(stored, "en")


def test_the_duration_of_the_issue_is_readable():
    assert format_duration(4.02300000190735) == "4.02s"


@given(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.sampled_from(["R1: rain 61.5 mm in 24 h", "G1 jumped"]))
def test_a_message_names_its_level_once(level, before, exercise, fact):
    reason = OF_LEVEL(level=Term(NAMES[level]), text=fact)
    shown = EXERCISE(text=reason) if exercise else reason
    change = AlertChange(AlertCategory.HAZARD, "hazard", level, level > 0, shown, data_time=None, evidence="{}")
    notice = ChangeNotice(
        site_id="bench",
        site=None,
        alert_id=7,
        change=change,
        level=level,
        name=NAMES[level],
        before=before,
        now=datetime(2026, 3, 1, tzinfo=UTC),
        frozen={},
        recipients=(),
        exercise=exercise,
    )
    subject, body = write_message(notice)
    name = NAMES[level]
    for text in (str(subject), str(body), f"{subject}\n{body}"):
        assert f"{name}: {name}" not in text.lower(), text
        assert f"{name}: {fact}" not in text, text
    assert str(body).count(fact) == 1
