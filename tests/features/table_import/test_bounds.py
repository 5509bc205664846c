"""Bounds of a first site file follow from how often a station is read and how it moved over its record."""

import random
from math import pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.features.table_import.guess.bounds import (
    DAY_S,
    FIXED,
    LONGEST_WAITS_S,
    LOWEST,
    LOWEST_BETWEEN_SURVEYS,
    choose_dwell,
    measure_noise,
    merge_bounds,
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
    assert {window.level for window in windows} == {0, 1, 2}
    for is_survey in (False, True):
        bounds = [window.over_mm_per_day for window in windows if window.is_survey == is_survey]
        assert bounds == sorted(bounds)
    for level, longest_s in enumerate(LONGEST_WAITS_S):
        in_time = [window for window in windows if window.level == level and window.window_s <= longest_s]
        surveys = [window for window in windows if window.level == level and window.is_survey]
        assert in_time or surveys
    for window in windows:
        lowest = LOWEST_BETWEEN_SURVEYS if window.is_survey else LOWEST
        assert window.over_mm_per_day >= lowest[window.level]
        by_errors = 0.0 if window.speeds is None else 11.0 * (window.speeds.noise or 0.0)
        assert window.over_mm_per_day <= max(FIXED[window.level], by_errors)
        assert window.window_s >= (2 if window.is_survey else 4) * interval_s
        assert window.is_survey or window.window_s <= LONGEST_WAITS_S[max(window.level - 1, 0)]


def test_a_quiet_station_gets_lower_bounds_than_a_fast_one_and_none_is_above_the_fixed_bounds():
    quiet = propose_bounds([make_record(400, DAY_S, 0.02, 1.0)], DAY_S)
    fast = propose_bounds([make_record(400, DAY_S, 8.0, 1.0)], DAY_S)
    assert quiet[1].over_mm_per_day < fast[1].over_mm_per_day
    for window in (*quiet, *fast):
        assert window.over_mm_per_day <= FIXED[window.level]


def test_a_record_that_accelerates_keeps_the_bounds_of_its_quiet_time():
    dice = random.Random(3)
    moved_mm, record = 0.0, []
    for day in range(240):
        moved_mm += 210.0 / (240 - day)
        record.append((day * DAY_S, moved_mm + dice.gauss(0.0, 1.5)))
    assert propose_bounds([record], DAY_S)[0].over_mm_per_day <= FIXED[0]


def test_a_short_record_that_accelerates_does_not_raise_its_own_bounds():
    moved_mm = [0.02 * day + 0.5 * max(0, day - 12) ** 2 + 0.03 * (-1) ** day for day in range(22)]
    points = [(day * 86400.0, value) for day, value in enumerate(moved_mm)]
    bounds = {(one.level, one.is_survey): one.over_mm_per_day for one in propose_bounds([points], 86400.0)}
    assert bounds[1, False] == LOWEST[1]
    assert bounds[2, True] == LOWEST_BETWEEN_SURVEYS[2]


def test_a_record_that_is_too_short_gets_the_fixed_bounds():
    windows = propose_bounds([make_record(0.1, 3600.0, 1.0, 1.0)], 3600.0)
    assert tuple(window.over_mm_per_day for window in windows) == FIXED
    assert {window.speeds for window in windows} == {None}


@pytest.mark.soak
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


def find_line(windows, level):
    return next(window for window in windows if window.level == level and not window.is_survey)


@pytest.mark.soak
@settings(max_examples=12, deadline=None)
@given(
    share=st.floats(0.6, 0.95),
    fastest=st.floats(2.0, 500.0),
    noise_mm=st.floats(0.5, 3.0),
    seed=st.integers(0, 5),
)
def test_an_acceleration_in_less_than_half_of_a_record_does_not_raise_its_bounds_much(share, fastest, noise_mm, seed):
    """The bounds are those of the time at rest, up to the next larger speed of the noise."""
    resting = make_record(365, DAY_S, 0.05, noise_mm, seed=seed)
    begin = int(share * len(resting))
    moving = [
        (at_s, value + fastest * max(0, number - begin) ** 2 / (2.0 * (len(resting) - begin)))
        for number, (at_s, value) in enumerate(resting)
    ]
    for level in (1, 2):
        usual, accelerated = (
            min(window.over_mm_per_day for window in propose_bounds([record], DAY_S) if window.level == level)
            for record in (resting, moving)
        )
        assert accelerated <= 2.0 * usual


def test_bad_weeks_of_an_antenna_raise_the_bounds_where_they_are_usual():
    """Snow that shifts an antenna by 40 mm within four days is no motion if it occurs every month."""
    quiet = make_record(730, DAY_S, 0.0, 1.0)
    shifts_mm = (0.0, 10.0, 20.0, 30.0, 40.0, 40.0, 30.0, 20.0, 10.0)

    def cover_with_snow(every_days):
        return [
            (at_s, value + (shifts_mm[day % every_days] if day % every_days < len(shifts_mm) else 0.0))
            for day, (at_s, value) in enumerate(quiet)
        ]

    usual, once_a_month, once_a_year = (
        find_line(propose_bounds([record], DAY_S), 1).over_mm_per_day
        for record in (quiet, cover_with_snow(30), cover_with_snow(365))
    )
    assert usual == once_a_year == LOWEST[1]
    assert once_a_month > 10.0


def test_a_wrong_reading_in_each_month_raises_no_bound_on_a_line():
    record = make_record(365, DAY_S, 0.0, 1.0)
    spoilt = [(at_s, value + (200.0 if day % 30 == 7 else 0.0)) for day, (at_s, value) in enumerate(record)]
    for level in (0, 1, 2):
        assert find_line(propose_bounds([spoilt], DAY_S), level).over_mm_per_day <= LOWEST[level] * 1.5


def test_daily_readings_raise_red_by_a_jump_and_by_a_line_over_days():
    windows = propose_bounds([make_record(365, DAY_S, 0.05, 2.0)], DAY_S)
    (jump,) = [window for window in windows if window.level == 2 and window.is_survey]
    line = find_line(windows, 2)
    assert line.window_s == 5 * DAY_S
    assert line.over_mm_per_day < jump.over_mm_per_day


def test_motions_judged_together_keep_the_higher_bound_of_each_kind():
    quiet = propose_bounds([make_record(365, DAY_S, 0.05, 0.5)], DAY_S)
    noisy = propose_bounds([make_record(365, DAY_S, 0.05, 6.0)], DAY_S)
    merged = merge_bounds(quiet, noisy)
    assert [(window.level, window.is_survey) for window in merged] == [
        (window.level, window.is_survey) for window in noisy
    ]
    assert [window.over_mm_per_day for window in merged] == [window.over_mm_per_day for window in noisy]


def test_errors_of_an_unreliable_station_cross_no_bound_between_two_readings():
    windows = propose_bounds([make_record(365, DAY_S, 0.05, 20.0)], DAY_S)
    (jump,) = [window for window in windows if window.is_survey]
    assert jump.over_mm_per_day >= 10.0 * 20.0 * 2**0.5 * 0.8
