"""A battery with a panel that was swapped: the end of the old one is gone after two readings, not after two days."""

import math
import random

import pytest

from monitor.extensions.instruments.battery import BatteryDay, expect_empty, find_new_battery, split_days

HOUR_S = 3600.0


def spell_hours(swapped_at, until, *, fall, swing, seed=3):
    """Each hour of a battery that loses `fall` V a day under changing clouds, and of the one after it."""
    draw = random.Random(seed)
    clouds = [draw.random() for _ in range(until // 24 + 1)]
    found = []
    for hour in range(until):
        sun = swing * clouds[hour // 24] * max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi))
        volts = 12.5 - fall * hour / 24 if hour < swapped_at else 12.9 - fall * (hour - swapped_at) / 24
        volts += sun + draw.gauss(0.0, 0.005)
        found.append(BatteryDay(hour * HOUR_S, volts, volts))
    return found


def expects_an_end(hours):
    now_s = hours[-1].at_s
    new = hours[find_new_battery(hours) :]
    return expect_empty(split_days(new, now_s), 11.0, now_s).empty_s is not None


@pytest.mark.parametrize("at", [0, 6, 11, 15])
@pytest.mark.parametrize("swing", [0.0, 0.3, 0.5])
def test_the_end_of_a_swapped_battery_is_gone_after_two_readings(at, swing):
    swapped_at = 24 * 13 + at
    hours = spell_hours(swapped_at, swapped_at + 48, fall=0.1, swing=swing)
    assert expects_an_end(hours[:swapped_at])
    assert not [n for n in range(2, 48) if expects_an_end(hours[: swapped_at + n])]


def test_sun_after_clouds_is_no_new_battery():
    for seed in range(10):
        hours = spell_hours(999, 24 * 14, fall=0.05, swing=0.6, seed=seed)
        assert not [n for n in range(24 * 8, len(hours), 3) if find_new_battery(hours[:n])]


def test_one_reading_of_nothing_empties_no_battery_and_two_hours_do():
    hours = spell_hours(999, 24 * 10, fall=0.02, swing=0.3)
    glitch = [*hours[:-3], BatteryDay(hours[-3].at_s, 0.0, hours[-3].high), *hours[-2:]]
    assert expect_empty(split_days(glitch, hours[-1].at_s), 11.0, hours[-1].at_s).method == (
        expect_empty(split_days(hours, hours[-1].at_s), 11.0, hours[-1].at_s).method
    )
    dead = [*hours[:-2], *(BatteryDay(h.at_s, 0.0, 0.0) for h in hours[-2:])]
    assert expect_empty(split_days(dead, hours[-1].at_s), 11.0, hours[-1].at_s).empty_s == hours[-1].at_s
    young = expect_empty(split_days(hours[:3], hours[2].at_s), 11.0, hours[2].at_s)
    assert (young.empty_s, str(young.method)) == (None, "voltages of 1 day, 5 are needed")
