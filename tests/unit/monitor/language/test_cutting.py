"""Subjects that are too long lose facts, never a part of one; every language keeps site, level, figures and units."""

import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.message import TEXT_OF, Figure, MessageList, Template, Term, join
from monitor.language.catalogue import LANGUAGES, use
from monitor.language.cutting import CUT, SUBJECT_LENGTH, cut_words, shorten
from monitor.language.rendering import translate, translate_level
from monitor.language.subjects import LONGEST, cut_message, find_first, make_subject, mark_exercise, translate_subject

LEVELS = ("yellow", "orange", "red")
UNITS = ("mm", "mm/day", "degrees", "kPa")
FIGURE = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?")
TITLE = st.text("ABC abc-.,;()/\u4e2d0123]", min_size=1, max_size=30).map(str.strip).filter(bool)
STATIONS = ("G1", "north-2", "Red", "Blue", "GREEN", "scene", "known", "rain", "observers", "earthquake", "level")
STATION = st.sampled_from(STATIONS)
COUNT = st.integers(1, 99)
SIZE = st.integers(0, 99_999).map(lambda n: Figure(n / 100, ".2f"))
AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
VELOCITY = Template(
    "test.cutting.velocity",
    "velocity {one} ± 1 {unit} in 6h, over {other} {unit} in {n} of its last 3 readings, 2 needed",
)
STEP = Template("test.cutting.step", "step of {one} mm: nobody said within the clock that it was an instrument")
RULE = Template("test.cutting.rule", "rain {one} mm in 24 h is 121 % of the bound of 5 mm, known for 9 % and {n} more")
SHIFT = Template("test.cutting.shift", "displacement {one} {unit}, over {other} {unit} (sigma 0.2 mm; {n} epochs)")


@st.composite
def parts(draw):
    """One part of a reason, as criteria, steps and rules say it."""
    said = draw(st.sampled_from((VELOCITY, STEP, RULE, SHIFT)))(
        one=draw(SIZE), other=draw(SIZE), unit=draw(st.sampled_from(UNITS)), n=draw(COUNT)
    )
    return TEXT_OF(name=draw(STATION), text=said)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@settings(max_examples=150, deadline=None)
@given(
    title=TITLE, level=st.sampled_from(LEVELS), told=st.lists(parts(), min_size=1, max_size=4), exercise=st.booleans()
)
def test_a_subject_that_is_cut_keeps_site_level_figures_and_units(language, title, level, told, exercise):
    essence = join(told)
    subject = make_subject(Term(level.upper()), title, "", essence, AT)
    with use(language):
        cut, full = translate_subject(mark_exercise(subject) if exercise else subject), translate(essence)
    head = f"{translate_level(level, language).upper()} {title}: "
    assert len(cut) <= LONGEST
    assert cut.endswith(f"{CUT} 06:00") or (cut.endswith(". 06:00") and not cut.endswith("…. 06:00"))
    assert head in cut, cut
    essence = cut.partition(head)[2].removesuffix(" 06:00").removesuffix(".")
    if not essence.endswith(CUT):
        return
    reason = essence.removesuffix(CUT)
    bare = re.sub(r" ?[(（][^()（）]*[)）]", "", full)
    assert reason in full or reason in bare, (reason, full)
    # behind each figure stands what stands there in the whole sentence
    at = max(full.find(reason), 0) if reason in full else bare.find(reason)
    behind = (full if reason in full else bare)[at + len(reason) :]
    assert behind == "" or not FIGURE.search(reason[-1:]) or not re.match(r"[\d.]| [a-z]", behind), (reason, behind)


def test_the_least_important_facts_go_first():
    first = "velocity 62 mm/day (3 epochs; 2 needed), over 30 mm/day"
    text = TEXT_OF(name="G1", text=join([join([first, "2 needed"], ", "), "G2: step of 12 mm"]))
    found = [cut_message(text, n) for n in range(len(text) - 1, 9, -1)]
    assert list(dict.fromkeys(found)) == [
        f"G1: {first}, 2 needed …",
        f"G1: {first} …",
        "G1: velocity 62 mm/day (3 epochs; 2 needed) …",
        "G1: velocity 62 mm/day …",
        "G1: velocity …",
        "G1: ve …",
        "G1: v …",
    ]
    assert find_first(text) == f"G1: {first}", "what is stored is the English text of fewer facts"
    assert find_first(text).values["text"].values["parts"] == MessageList((join([first], ", "),))


def test_the_text_of_a_person_loses_its_last_clauses():
    chinese = "G1: 6h 内速率 62.3 ± 1.2 mm/day，3 个数据历元高于 30 mm/day"
    assert {shorten(chinese, n) for n in range(31, len(chinese))} == {"G1: 6h 内速率 62.3 ± 1.2 mm/day …"}
    assert shorten("a subject that fits", 30) == "a subject that fits"
    assert len(shorten("x" * 500)) <= SUBJECT_LENGTH


def test_a_reason_of_any_length_is_cut_at_once():
    """Twenty thousand clauses: what cannot fit is not tried."""
    facts = ["G1: step of 12 mm at G1, a"] * 20_000
    began_s = time.process_time()
    for text in ("; ".join(facts), join(facts)):
        assert len(cut_message(text, SUBJECT_LENGTH)) <= SUBJECT_LENGTH
    assert time.process_time() - began_s < 2.0


@settings(max_examples=200, deadline=None)
@given(
    before=st.lists(st.sampled_from(["the file", "differs,", "velocity 12 mm/day", "at G1;", "看站点；"]), max_size=6),
    frame=st.sampled_from(["{}", "`{}`", "({})", "Run: {}", "see {}."]),
    command=st.sampled_from(["slopeward alerts explain 7", "slopeward sites propose a.toml --by NAME"]),
    most=st.integers(12, 160),
)
def test_no_cut_leaves_half_a_command(before, frame, command, most):
    text = " ".join([*before, frame.format(command)])
    for cut in (cut_words(text, most), shorten(text, most)):
        assert command in cut or "slopeward" not in cut, cut
        assert len(cut) <= max(most, len(CUT)), cut
