"""The life of an alert as one table: each pair of state and step is allowed or refused in one line, as documented."""

import re
from itertools import product
from pathlib import Path

import pytest

from monitor.alerts.records import AlertState
from monitor.alerts.states import OPEN, PUT_ASIDE, TRANSITIONS, AlertStep, step
from monitor.errors import RefusedError
from monitor.text.rendering import translate
from tests.tables import tabulated

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "alert-states.md"
STATES = (None, *OPEN, AlertState.CLOSED)
BY_SERVICE = {AlertStep[name] for name in "RAISE WORSEN CHANGE CLEAR ANSWER SHELF_ENDS SUPPRESS RESUME".split()}


@tabulated(("state", "what"), [*product(STATES, AlertStep)])
def test_each_pair_is_allowed_or_refused_with_one_line(state, what):
    after = TRANSITIONS.get((state, what))
    if after is not None:
        assert step(state, what, 7) is after
        return
    with pytest.raises(RefusedError) as refused:
        step(state, what, 7)
    said = refused.value.message
    assert said.startswith("alert 7 is ")
    assert "\n" not in said
    for language in ("it", "zh", "es"):
        assert translate(said, language) != said


def test_the_table_is_whole():
    assert set(STATES) == {None, *AlertState}
    assert {s for s, _ in TRANSITIONS} == set(STATES)
    reached = {None}
    while more := {after for (s, _), after in TRANSITIONS.items() if s in reached} - reached:
        reached |= more
    assert reached == set(STATES), "a state that nothing leads to"
    # every open alert can end, and nothing hides what grows worse
    for state in OPEN:
        assert TRANSITIONS[state, AlertStep.WORSEN] is AlertState.UNACKNOWLEDGED
        assert TRANSITIONS[state, AlertStep.CLOSE] is AlertState.CLOSED
    assert {w for s, w in TRANSITIONS if s is AlertState.CLOSED} == {AlertStep.NOTE}
    # what is put aside was put there by a person, or by work that a person declared; and it comes back
    for state in PUT_ASIDE:
        steps = {w for (s, w), after in TRANSITIONS.items() if after is state and s is not state}
        assert steps <= {AlertStep.SHELVE, AlertStep.SUPPRESS, AlertStep.TAKE_OUT}
        assert AlertState.UNACKNOWLEDGED in {after for (s, _), after in TRANSITIONS.items() if s is state}


def test_the_reference_shows_this_table():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(line for line in lines if line.startswith("| step | by |"))
    columns = [None if name == "normal" else AlertState(name) for name in head.strip("| ").split(" | ")[2:]]
    shown, by = {}, {}
    for line in lines[lines.index(head) + 2 :]:
        cells = [c.strip().strip("`") for c in line.strip().removeprefix("|").removesuffix("|").split("|")]
        if len(cells) != len(columns) + 2:
            break
        by[AlertStep(cells[0])] = cells[1]
        shown |= {(s, AlertStep(cells[0])): AlertState(c) for s, c in zip(columns, cells[2:], strict=True) if c}
    assert shown == TRANSITIONS
    assert by == {one: "service" if one in BY_SERVICE else "person" for one in AlertStep}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) >= set(AlertState)
