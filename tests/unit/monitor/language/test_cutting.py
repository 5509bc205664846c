"""Subjects that are too long lose facts, never a part of one; every language keeps site, level, figures and units."""

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.alert import Notification
from monitor.language.catalogue import LANGUAGES, use
from monitor.language.cutting import CUT, SUBJECT_LENGTH, shorten
from monitor.language.local_time import use_zone
from monitor.language.sayings import keep, say_level
from monitor.language.subjects import LONGEST
from monitor.notify.message import translate

LEVELS = ("yellow", "orange", "red")
UNITS = ("mm", "mm/day", "degrees", "kPa")
FIGURE = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?")
TITLE = st.text("ABC abc-.,;()/\u4e2d0123]", min_size=1, max_size=30).map(str.strip).filter(bool)
STATIONS = ("G1", "north-2", "Red", "Blue", "GREEN", "scene", "known", "rain", "observers", "earthquake", "level")
STATION = st.sampled_from(STATIONS)
COUNT = st.integers(1, 99)
SIZE = st.integers(0, 99_999).map(lambda n: f"{n / 100:.2f}")


@st.composite
def parts(draw):
    """One part of a reason, as criteria, steps and rules say it."""
    station = draw(STATION)
    one, other, unit, n = draw(SIZE), draw(SIZE), draw(st.sampled_from(UNITS)), draw(COUNT)
    return draw(
        st.sampled_from([
            f"{station}: velocity {one} ± 1 {unit} in 6h, over {other} {unit} in {n} of its last 3 readings, 2 needed",
            f"{station}: step of {one} mm at {station}: nobody said within the clock that it was an instrument",
            f"rule wet, {station}: rain {one} mm in 24 h is 121 % of the bound of 5 mm, known for 9 % and {n} more",
            f"{station}: displacement {one} {unit}, over {other} {unit} (sigma 0.2 mm; {n} epochs)",
        ])
    )  # fmt: skip


def make(title, level, reason, exercise):
    head = "EXERCISE " if exercise else ""
    first = f"EXERCISE: this is a drill, nothing has happened. {reason}" if exercise else reason
    body = f"{first}\nAlert 7, site pit. Why: slopeward alerts explain 7"
    return Notification(
        1, 7, 9, "pit", "hazard", 2, level, "duty", "email:duty@example.org", exercise=exercise,
        subject=f"{head}{level.upper()} {title}: {reason}. 2026-03-01T06:00Z", body=body, idempotency_key="k" * 64,
        attempts=1, queued_at=None,
    )  # fmt: skip


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@settings(max_examples=150, deadline=None)
@given(
    title=TITLE, level=st.sampled_from(LEVELS), told=st.lists(parts(), min_size=1, max_size=4), exercise=st.booleans()
)  # fmt: skip
def test_a_subject_that_is_cut_keeps_site_level_figures_and_units(language, title, level, told, exercise):
    with use(language, keep(STATIONS, [title])):
        said = translate(make(title, level, "; ".join(told), exercise))
        cut, full = said.subject, said.body.partition("\n")[0]
    head = f"{say_level(level, language).upper()} {title}: "
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
    text = "[pit] RED: red: G1: velocity 62 mm/day (3 epochs; 2 needed), over 30 mm/day; G2: step of 12 mm"
    head = "[pit] RED: "
    found = [shorten(text, n, head) for n in range(len(text) - 1, 9, -1)]
    assert list(dict.fromkeys(found)) == [
        f"{head}red: G1: velocity 62 mm/day (3 epochs; 2 needed), over 30 mm/day …",
        f"{head}red: G1: velocity 62 mm/day (3 epochs; 2 needed) …",
        f"{head}red: G1: velocity 62 mm/day …",
        f"{head}red: G1 …", f"{head}red …", "[pit] RED …", "[pit] …",
    ]  # fmt: skip
    chinese = "G1: 6h 内速率 62.3 ± 1.2 mm/day，3 个数据历元高于 30 mm/day"
    assert {shorten(chinese, n) for n in range(31, len(chinese))} == {"G1: 6h 内速率 62.3 ± 1.2 mm/day …"}
    assert shorten("a subject that fits", 30) == "a subject that fits"
    assert len(shorten("x" * 500)) <= SUBJECT_LENGTH


def test_a_cut_line_of_a_covered_message_is_translated_whole():
    """What one message stands for is listed in its body: cut in English, a part would stay English."""
    reason = "G1: velocity 81.20 ± 0.30 mm/day in 6h, over 30 mm/day in 3 of its last 3 readings, 2 needed"
    more = "; ".join(
        f"G{n}: step of 12.0 mm at G{n}: nobody said within the clock that it was an instrument" for n in range(9)
    )
    plain = make("pit", "orange", f"{reason}; {more}", exercise=False)
    body = f"{plain.body}\n\nAlso happened (not sent separately):\n- 2026-03-01 06:00 UTC: {plain.subject}"
    with use("it"), use_zone("Europe/Rome"):
        line = translate(replace(plain, body=body)).body.splitlines()[-1]
    assert line.startswith("- 2026-03-01 07:00 CET: ARANCIONE pit: G1: velocità 81.20 ± 0.30 mm/day in 6h, ")
    assert len(line) <= SUBJECT_LENGTH
    assert "step" not in line
    assert line.endswith(f"{CUT} 07:00")


def test_a_reason_of_any_length_is_cut_at_once():
    """Twenty thousand clauses: what cannot fit is not tried."""
    text = "[pit] RED: red: " + "G1: step of 12 mm at G1, a; " * 20_000
    began_s = time.process_time()
    assert len(shorten(text, head="[pit] RED: ")) <= SUBJECT_LENGTH
    assert time.process_time() - began_s < 2.0
