"""States of an alert: each pair of state and step is allowed or refused as documented."""

import re
from itertools import product
from pathlib import Path

import pytest

from monitor.alerts.records import AlertState
from monitor.alerts.states import OPEN, PUT_ASIDE, TRANSITIONS, AlertStep, find_next_state
from monitor.errors import RefusedError
from monitor.text.rendering import translate
from tests.tables import tabulated

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "alert-states.md"
STATES = (None, *OPEN, AlertState.CLOSED)
BY_SERVICE = {AlertStep[name] for name in "RAISE WORSEN CHANGE CLEAR ANSWER SHELF_ENDS SUPPRESS RESUME".split()}


@tabulated(("state", "step"), [*product(STATES, AlertStep)])
def test_each_pair_is_allowed_or_refused_with_one_line(state, step):
    next_state = TRANSITIONS.get((state, step))
    if next_state is not None:
        assert find_next_state(state, step, 7) is next_state
        return
    with pytest.raises(RefusedError) as refused:
        find_next_state(state, step, 7)
    text = refused.value.message
    assert text.startswith("alert 7 is ")
    assert "\n" not in text
    for language in ("it", "zh", "es"):
        assert translate(text, language) != text


def test_every_state_can_be_reached_and_every_open_alert_can_be_closed():
    assert set(STATES) == {None, *AlertState}
    assert {s for s, _ in TRANSITIONS} == set(STATES)
    reached = {None}
    while more := {after for (s, _), after in TRANSITIONS.items() if s in reached} - reached:
        reached |= more
    assert reached == set(STATES), "a state that nothing leads to"
    # Every open alert can be closed, and an alert that gets worse is shown again.
    for state in OPEN:
        assert TRANSITIONS[state, AlertStep.WORSEN] is AlertState.UNACKNOWLEDGED
        assert TRANSITIONS[state, AlertStep.CLOSE] is AlertState.CLOSED
    assert {w for s, w in TRANSITIONS if s is AlertState.CLOSED} == {AlertStep.NOTE}
    # Only a person, or maintenance that a person declared, puts an alert aside; and it can come back.
    for state in PUT_ASIDE:
        steps = {w for (s, w), after in TRANSITIONS.items() if after is state and s is not state}
        assert steps <= {AlertStep.SHELVE, AlertStep.SUPPRESS, AlertStep.TAKE_OUT}
        assert AlertState.UNACKNOWLEDGED in {after for (s, _), after in TRANSITIONS.items() if s is state}


def test_the_documentation_shows_the_same_table():
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
