"""What the readings of an undescribed gauge are: running totals, tips, and the interval of sums."""

import random

import pytest

from forecasting.hydrology.rain_amounts import adds_up, are_tips, find_interval
from tests.tables import tabulated


@tabulated("every_s", [600.0, 3600.0, 86400.0])
@tabulated("seed", range(8))
def test_running_total_is_told_from_sums_of_intervals(every_s, seed):
    chance = random.Random(seed)
    rain = [round(chance.expovariate(0.5), 1) if chance.random() < 0.35 else 0.0 for _ in range(400)]
    at = [k * every_s for k in range(1, 401)]
    assert adds_up(list(zip(at, rain, strict=True))) is False
    total, totals = 3.0, []
    for k, mm in enumerate(rain):
        total = 0.0 if k == 150 else total + mm
        totals.append(total)
    assert adds_up(list(zip(at, totals, strict=True))) is True
    assert adds_up(list(zip(at, [0.0] * 400, strict=True))) is None


def test_interval_of_sums_that_nobody_declares():
    doubled = sorted([*[k * 600.0 for k in range(20)], *[k * 600.0 + 48.0 for k in range(20)]])
    assert (find_interval(doubled), find_interval([k * 600.0 for k in range(20) if k % 7])[0]) == ((600.0, True), 600.0)
    with pytest.raises(ValueError, match="one reading"):
        find_interval([0.0])


def draw_tips(chance, tip_mm, count=60):
    at_s, rows = 0.0, []
    for _ in range(count):
        at_s += round(chance.expovariate(1.0 / chance.choice([15.0, 60.0, 900.0])), 1) + 1.0
        rows.append((at_s, round(tip_mm * chance.choice([1] * 20 + [2]), 3)))
    return rows


@tabulated("tip_mm", [0.1, 0.2, 0.254, 0.5, 1.0])
@tabulated("interval_s", [300.0, 600.0, 3600.0])
def test_tips_are_recognised(tip_mm, interval_s):
    for seed in range(20):
        chance = random.Random(seed)
        rows = draw_tips(chance, tip_mm)
        assert are_tips(rows, interval_s)
        zeros = [(k * 6 * 3600.0, 0.0) for k in range(8)]
        assert are_tips(sorted([*rows, *zeros]), interval_s), "zeros that show that the gauge works"


@tabulated("interval_s", [600.0, 3600.0])
def test_sums_are_no_tips(interval_s):
    for seed in range(20):
        chance = random.Random(seed)
        drizzle = [(k * interval_s, 0.2) for k in range(60) if chance.random() < 0.8]
        rain = [(k * interval_s, chance.choice([0.0, 0.2, 0.4, 1.4])) for k in range(60)]
        assert not are_tips(drizzle, interval_s)
        assert not are_tips(rain, interval_s)
        twice = sorted([*drizzle, *[(at_s + 0.1 * interval_s, mm) for at_s, mm in drizzle]])
        assert not are_tips(twice, interval_s), "each sum is stored twice"
        parts = [(k * interval_s / 5.0, 0.5) for k in range(60)]
        assert not are_tips(parts, interval_s), "sums of a fifth of the interval, at whole minutes"
