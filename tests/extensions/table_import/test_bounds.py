"""Bounds of a first site file follow from how often a station is read and how it moved over its record."""

import random
from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.extensions.table_import.guess.bounds import (
    DAY_S,
    FIXED,
    LONGEST_WAITS_S,
    LOWEST,
    choose_dwell,
    measure_noise,
    propose_bounds,
)


def make_record(days, interval_s, mm_per_day, noise_mm, *, daily_mm=0.0, seed=1):
    dice = random.Random(seed)
    times_s = [number * interval_s for number in range(int(days * DAY_S / interval_s))]
    return [
        (at_s, mm_per_day * at_s / DAY_S + daily_mm * sin(2 * pi * at_s / DAY_S) + dice.gauss(0.0, noise_mm))
        for at_s in times_s
    ]


@given(
    interval_s=st.sampled_from([10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, DAY_S, 7 * DAY_S, 31 * DAY_S, 90 * DAY_S]),
    mm_per_day=st.floats(0.0, 30.0),
    noise_mm=st.floats(0.1, 5.0),
)
def test_every_level_has_a_bound_that_comes_in_time_at_every_interval(interval_s, mm_per_day, noise_mm):
    record = make_record(min(400 * interval_s / DAY_S, 3000), interval_s, mm_per_day, noise_mm)
    windows = propose_bounds([record], interval_s)
    assert [window.level for window in windows] == [0, 1, 2]
    bounds = [window.over_mm_per_day for window in windows]
    assert bounds == sorted(bounds)
    for window, longest_s, lowest in zip(windows, LONGEST_WAITS_S, LOWEST, strict=True):
        assert window.over_mm_per_day >= lowest
        assert window.is_survey or (4 * interval_s <= window.window_s <= longest_s)
        assert not window.is_survey or window.window_s >= 2 * interval_s


def test_a_quiet_station_gets_lower_bounds_than_a_fast_one_and_none_is_above_the_fixed_bounds():
    quiet = propose_bounds([make_record(400, DAY_S, 0.02, 1.0)], DAY_S)
    fast = propose_bounds([make_record(400, DAY_S, 8.0, 1.0)], DAY_S)
    assert quiet[1].over_mm_per_day < fast[1].over_mm_per_day
    for windows in (quiet, fast):
        assert all(window.over_mm_per_day <= fixed for window, fixed in zip(windows, FIXED, strict=True))


def test_a_record_that_accelerates_keeps_the_bounds_of_its_quiet_time():
    dice = random.Random(3)
    moved_mm, record = 0.0, []
    for day in range(240):
        moved_mm += 210.0 / (240 - day)
        record.append((day * DAY_S, moved_mm + dice.gauss(0.0, 1.5)))
    assert propose_bounds([record], DAY_S)[0].over_mm_per_day <= FIXED[0]


def test_a_record_that_is_too_short_gets_the_fixed_bounds():
    windows = propose_bounds([make_record(0.1, 3600.0, 1.0, 1.0)], 3600.0)
    assert tuple(window.over_mm_per_day for window in windows) == FIXED
    assert {window.speeds for window in windows} == {None}


def test_a_daily_cycle_lengthens_the_windows():
    calm = propose_bounds([make_record(60, 600.0, 0.1, 0.3)], 600.0)
    cyclic = propose_bounds([make_record(60, 600.0, 0.1, 0.3, daily_mm=5.0)], 600.0)
    assert cyclic[2].window_s >= calm[2].window_s
    assert cyclic[2].over_mm_per_day >= calm[2].over_mm_per_day


@pytest.mark.parametrize("interval_s", [60.0, DAY_S, 31 * DAY_S])
def test_noise_is_measured_beside_steady_motion(interval_s):
    record = make_record(400 * interval_s / DAY_S, interval_s, 0.5, 2.0)
    assert measure_noise(record) == pytest.approx(2.0, rel=0.2)


def test_surveys_that_come_seldom_count_at_once_and_all_other_readings_wait_for_a_second_one():
    assert choose_dwell(31 * DAY_S, is_survey=True) == (1, 1)
    assert all(choose_dwell(interval_s, is_survey=True)[0] >= 2 for interval_s in (60.0, 3600.0, DAY_S))
