"""Absurd forecasts are named, believable ones are not."""

import random

import pytest

from tests.data.forecasts.absurdity import Fan, Present, find_absurd, see_present

DAY = 86_400.0


def present(value: float, velocity: float, *, error: float = 0.1, noise: float = 1.0, fastest: float = 0.0) -> Present:
    return Present(value, value, velocity, error, 0.0, noise, max(fastest, abs(velocity)))


def fan(days: float, low: float, mid: float, high: float) -> Fan:
    return Fan(days * DAY, low - 1.0, low, mid, high, high + 1.0)


@pytest.mark.parametrize(
    ("now", "fans", "rule"),
    [
        pytest.param(present(138.0, 70.0), [fan(7, 72.4, 76.8, 81.2)], "heals", id="crack"),
        pytest.param(
            present(118.0, 60.0), [fan(1, 450, 524, 600), fan(7, 350, 439, 700)], "turns back", id="extensometer"
        ),
        pytest.param(present(118.0, 60.0), [fan(1, 450, 524, 600)], "runs away", id="extensometer, first day"),
        pytest.param(present(-116.0, -302.0, error=5.0), [fan(0.25, -166, -140, -115)], "stops", id="GNSS"),
        pytest.param(present(80.0, 10.0), [fan(30, 82.7, 83.0, 83.4)], "stops", id="sudden"),
        pytest.param(present(80.0, 10.0), [fan(30, 82.7, 83.0, 83.4)], "below noise", id="sudden, width"),
        pytest.param(present(0.0, 0.01), [fan(7, 1.0, 3.0, 6.0)], "drifts", id="control"),
        pytest.param(present(0.0, 0.01), [fan(7, -0.5, 0.0, 3.0)], "lopsided", id="control, halves"),
        pytest.param(present(0.0, 0.01), [fan(1, -3, 0, 3), fan(7, -2, 0, 2)], "narrows", id="widths"),
    ],
)
def test_the_absurd_is_named(now: Present, fans: list[Fan], rule: str) -> None:
    found = find_absurd(fans, now)
    assert rule in found[max(found)]


def test_what_people_would_say_is_not_absurd() -> None:
    rng = random.Random(3)
    times = [i * DAY for i in range(100)]
    still = see_present(times, [rng.gauss(0.0, 1.0) for _ in times])
    moving = see_present(times, [5.0 * i + rng.gauss(0.0, 1.0) for i in range(100)])
    assert still is not None
    assert moving is not None
    assert (still.moves, moving.moves) == (False, True)
    assert moving.velocity == pytest.approx(5.0, abs=1.0)
    assert find_absurd([fan(d, still.level - 1.4, still.level, still.level + 1.4) for d in (1, 7)], still) == {}
    ahead = [fan(d, moving.value + 5 * d - 2 - d, moving.value + 5 * d, moving.value + 5 * d + 2 + d) for d in (1, 7)]
    assert find_absurd(ahead, moving) == {}
    assert see_present(times[:3], [0.0, 1.0, 2.0]) is None
