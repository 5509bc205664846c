"""Notes on forecasts after a jump that nobody has explained."""

import pytest

from monitor.features.forecasts.open_steps import describe_open_steps

FIRST, SECOND = "2026-01-13T00:00:00.000000Z", "2026-02-01T06:00:00.000000Z"


@pytest.mark.parametrize("state", ["pending", "counted", "doubtful"])
def test_an_open_jump_is_named_with_its_instant(state: str) -> None:
    notes = describe_open_steps({f"G2@{FIRST}": {"state": state}})
    assert list(notes) == ["G2"]
    assert "the jump at 2026-01-13" in notes["G2"]


@pytest.mark.parametrize("state", ["movement", "instrument", "event", "before", "returned"])
def test_an_explained_jump_has_no_note(state: str) -> None:
    assert not describe_open_steps({f"G2@{FIRST}": {"state": state}})


def test_the_newest_open_jump_of_a_station_is_named() -> None:
    steps = {f"G2@{SECOND}": {"state": "pending"}, f"G2@{FIRST}": {"state": "pending"}}
    assert "2026-02-01" in describe_open_steps(steps)["G2"]
