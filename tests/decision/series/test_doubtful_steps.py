"""Steps whose value returns, and steps with large stated errors or an impossible direction."""

import random
from datetime import datetime, timedelta

import pytest

from monitor.readings.records import Observation
from tests.measured.test_steps_measured import day, make_site, play

BEGIN, DAY = day("2024-01-01"), timedelta(days=1)


def say(station: str, n: int, along_mm: float, sigma: float = 2.0) -> list[Observation]:
    """A daily fix: downslope is east, the errors are of one size on all axes."""
    at = BEGIN + n * DAY
    dice = random.Random(f"{station}{n}")
    values = (along_mm, 0.0, 0.0)
    return [
        Observation("gnss", station, f"displacement_{axis}", "mm", at, at, value + dice.gauss(0, 1.0), sigma)
        for axis, value in zip(("east", "north", "up"), values, strict=True)
    ]


def story(
    station: str,
    moved: dict[int, float],
    last: int,
    *,
    sigmas: dict[int, float] | None = None,
    silent: range = range(0),
) -> list[Observation]:
    """Zero until a day that says otherwise, and so on from there."""
    rows, at_mm = [], 0.0
    for n in range(last):
        at_mm = moved.get(n, at_mm)
        if n not in silent:
            rows += say(station, n, at_mm, (sigmas or {}).get(n, 2.0))
    return rows


def states(looks, station: str) -> list[str]:
    seen: list[str] = []
    for _, decision in looks:
        for key, step in decision.memory.steps.items():
            if key.startswith(f"{station}@") and (not seen or seen[-1] != step.state):
                seen.append(step.state)
    return seen


def since(looks, when: datetime):
    return [(now, d) for now, d in looks if now >= when]


def test_step_stops_counting_only_if_the_value_returns_after_silence():
    # one fix off, fifteen days of silence, then the old place
    rows = story("A", {40: 101.0, 41: 0.0}, 100, silent=range(41, 56))
    looks = play(make_site(["A"]), rows + story("B", {}, 100))
    assert states(looks, "A") == ["pending", "counted", "movement", "returned"]
    assert max(d.level for _, d in looks) == 2
    _, back = since(looks, BEGIN + 56 * DAY)[1]
    notice = next(c for k, c in back.memory.conditions.items() if k.startswith("health:A@"))
    assert notice.level == 1
    assert "is back at its position before the jump" in notice.reason
    assert "unless the site file requires a person to lower it" in notice.reason
    assert looks[-1][1].level == 2, "the data stop asking; a person lowers"
    rows = story("A", {40: 101.0}, 100, silent=range(41, 56))
    looks = play(make_site(["A"]), rows + story("B", {}, 100))
    assert states(looks, "A") == ["pending", "counted", "movement"]


@pytest.mark.parametrize("silent", [range(0), range(41, 56)], ids=["heard", "then silent"])
def test_jump_with_eight_times_the_usual_error_opens_a_question_and_raises_no_level(silent):
    rows = story("A", {40: 101.0, 41: 0.0}, 80, sigmas={40: 16.0}, silent=silent)
    looks = play(make_site(["A"]), rows + story("B", {}, 80))
    assert states(looks, "A") == ["doubtful"]
    assert {d.level for _, d in looks} == {0}
    asked = since(looks, BEGIN + 40 * DAY)[0][1].memory.conditions["health:A:verify"]
    assert asked.level == 2
    assert "its stated error is 8.0 times the usual one" in asked.reason
    assert "It does not count, unless later readings confirm it" in asked.reason


def test_doubtful_step_gets_a_deadline_once_later_epochs_confirm_it():
    rows = story("A", {40: 101.0}, 80, sigmas={40: 16.0})
    looks = play(make_site(["A"]), rows + story("B", {}, 80))
    assert states(looks, "A") == ["doubtful", "pending", "counted"]
    assert max(d.level for _, d in looks) == 1
    rows = story("A", {40: 101.0}, 80, sigmas=dict.fromkeys(range(40, 80), 16.0))
    looks = play(make_site(["A"]), rows + story("B", {}, 80))
    assert states(looks, "A") == ["doubtful", "pending", "counted"]


def test_two_stations_that_jump_upslope_open_two_questions_and_raise_no_level():
    rows = [o for s in "AB" for o in story(s, {40: -800.0}, 80)]
    looks = play(make_site(["A", "B"]), rows)
    assert states(looks, "A") == states(looks, "B") == ["doubtful"]
    assert {d.level for _, d in looks} == {0}
    assert "mm upslope" in looks[-1][1].memory.conditions["health:A:verify"].reason
    # the same downslope is what it is
    down = play(make_site(["A", "B"]), [o for s in "AB" for o in story(s, {40: 800.0}, 80)])
    assert max(d.level for _, d in down) == 3
