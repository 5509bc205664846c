"""Bounds of a first site file: windows and speeds for each level, from how often a station is read and how it moved.

The bound of a level is a multiple of the steady speed of the station plus three standard deviations of the speeds in
the window of that level, which contain the noise of the instrument and its daily cycle. Between two surveys ten
standard deviations are added. The multiples are 1.5, 7.5 and 15: at Outang landslide the alarm values were 1, 5 and 10
times 1.5 times the mean rate. The steady speed, which four fifths of the record exceed, replaces the mean here: a
record that already accelerates must not raise its own bounds. A bound is never below the lowest that slopes have been
warned with (Crosta and Agliardi 2003: 1, 2 and 5 mm/day) and never above the fixed bounds of `FIXED`: a record that
begins while the slope moves fast must not make this speed normal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor, hypot, log10, sqrt
from statistics import median
from typing import Final

from monitor.config.first_site import INTERVALS_LEAST, LONGEST_WAIT_S

DAY_S: Final = 86_400.0
MULTIPLES: Final = (1.5, 7.5, 15.0)  # of the steady speed, for yellow, orange and red
LOWEST: Final = (1.0, 2.0, 5.0)  # mm/day
FIXED: Final = (2.0, 20.0, 100.0)  # mm/day
USUAL_WINDOWS_S: Final = (14 * DAY_S, 4 * DAY_S, DAY_S)
# A warning of a level may wait this long for the readings of its window.
LONGEST_WAITS_S: Final = tuple(reversed(LONGEST_WAIT_S))
SHORTER_WINDOWS_S: Final = tuple(h * 3600.0 for h in (1, 2, 3, 6, 12, 24, 48, 96, 168))
INTERVALS_USUAL: Final = 12
# Two surveys may be this many intervals apart: one survey may be missed.
SURVEY_INTERVALS: Final = 3
LINE_DEVIATIONS: Final = 3.0
# Errors of single readings are larger than a normal distribution allows, and no third reading shows them.
SURVEY_DEVIATIONS: Final = 10.0
# Below this number of speeds the record shows no steady speed.
LEAST_SPEEDS: Final = 6
TO_STANDARD_DEVIATION: Final = 1.4826  # of the median absolute deviation of normal noise

Point = tuple[float, float]  # epoch seconds, millimetres


@dataclass(frozen=True, slots=True)
class SpeedStatistics:
    """Speeds of a station in windows of one length over its record, in mm/day."""

    steady: float  # four fifths of the speeds are higher
    spread: float  # robust standard deviation from one window to the next, noise of the instrument included


@dataclass(frozen=True, slots=True)
class LevelWindow:
    """Window and bound of one level."""

    level: int  # 0 is the lowest level that has a bound
    window_s: float
    over_mm_per_day: float
    speeds: SpeedStatistics | None  # in that window; None if the record is too short to show it
    interval_s: float  # usual time between two readings
    is_survey: bool  # the rate between two readings, because a line through several would come too late


def propose_bounds(components: Sequence[Sequence[Point]], interval_s: float) -> tuple[LevelWindow, ...]:
    """Return window and bound of every level for a station whose readings come so often.

    Args:
        components: Readings of each component that is judged together: one line, or east and north. Rising time.
        interval_s: Usual time between two readings in seconds.
    """
    steady_mm_per_day = _find_steady_speed(components, interval_s)
    found: list[LevelWindow] = []
    for level, longest_s in enumerate(LONGEST_WAITS_S):
        is_survey = INTERVALS_LEAST * interval_s > longest_s
        if is_survey:
            window_s = DAY_S * ceil(SURVEY_INTERVALS * interval_s / DAY_S)
            speeds = measure_surveys(components)
        else:
            window_s, speeds = _choose_window(components, interval_s, level, steady_mm_per_day)
        deviations = SURVEY_DEVIATIONS if is_survey else LINE_DEVIATIONS
        bound = choose_bound(level, steady_mm_per_day, speeds, deviations)
        if found:
            bound = max(bound, found[-1].over_mm_per_day)
        found.append(LevelWindow(level, window_s, _round(bound), speeds, interval_s, is_survey))
    return tuple(found)


def choose_bound(
    level: int, steady_mm_per_day: float | None, speeds: SpeedStatistics | None, deviations: float = LINE_DEVIATIONS
) -> float:
    """Return the bound of a level in mm/day.

    Args:
        steady_mm_per_day: Steady speed of the station over its record.
        speeds: Speeds in the window of the level, or between two surveys.
        deviations: Standard deviations of these speeds that are added.
    """
    if steady_mm_per_day is None or speeds is None:
        return FIXED[level]
    alarm_value = MULTIPLES[level] * steady_mm_per_day + deviations * speeds.spread
    return min(max(LOWEST[level], alarm_value), FIXED[level])


def choose_dwell(interval_s: float, *, is_survey: bool) -> tuple[int, int]:
    """Return how many of how many newest readings must cross a bound before it counts.

    A single wrong reading raises nothing as long as the next one comes within days. Surveys that come more seldom
    count at once: a second one would come too late.
    """
    if interval_s > 2.0 * DAY_S:
        return (1, 1) if is_survey else (2, 2)
    return (2, 3) if interval_s > 6.0 * 3600.0 else (3, 4)


def merge_bounds(one: Sequence[LevelWindow], other: Sequence[LevelWindow]) -> tuple[LevelWindow, ...]:
    """Return of each level the longer window and the higher bound of two motions that are judged together."""
    merged = []
    for a, b in zip(one, other, strict=True):
        higher = max(a, b, key=lambda window: window.over_mm_per_day)
        merged.append(replace(higher, window_s=max(a.window_s, b.window_s)))
    return tuple(merged)


def _find_steady_speed(components: Sequence[Sequence[Point]], interval_s: float) -> float | None:
    """Return the steady speed in mm/day in the longest windows that the record fills several times."""
    least_s = max(INTERVALS_USUAL * interval_s, DAY_S)
    for window_s in (30 * DAY_S, 14 * DAY_S, 7 * DAY_S, 2 * DAY_S, DAY_S):
        if window_s >= least_s and (speeds := measure_speeds(components, window_s)) is not None:
            return speeds.steady
    speeds = measure_surveys(components)
    return None if speeds is None else speeds.steady


def _choose_window(
    components: Sequence[Sequence[Point]], interval_s: float, level: int, steady_mm_per_day: float | None
) -> tuple[float, SpeedStatistics | None]:
    """Return the shortest window in which noise and daily cycle do not raise the bound, and the speeds in it."""
    least_s = 3600.0 * ceil(INTERVALS_USUAL * interval_s / 3600.0)
    longest_s = min(LONGEST_WAITS_S[level], max(USUAL_WINDOWS_S[level], least_s))
    for window_s in SHORTER_WINDOWS_S if steady_mm_per_day is not None else ():
        if least_s <= window_s < longest_s:
            speeds = measure_speeds(components, window_s)
            if speeds is not None and choose_bound(level, steady_mm_per_day, speeds) <= LOWEST[level]:
                return window_s, speeds
    return longest_s, measure_speeds(components, longest_s)


def measure_speeds(components: Sequence[Sequence[Point]], window_s: float) -> SpeedStatistics | None:
    """Measure the speeds in windows that follow each other at half their length; None if there are too few."""
    if not components or not all(components):
        return None
    begin_s = max(points[0][0] for points in components)
    end_s = min(points[-1][0] for points in components)
    slopes = [_fit_slopes(points, begin_s, end_s, window_s) for points in components]
    shared = set(slopes[0]).intersection(*slopes[1:])
    return _summarise([hypot(*(one[place] for one in slopes)) for place in sorted(shared)])


def measure_surveys(components: Sequence[Sequence[Point]]) -> SpeedStatistics | None:
    """Measure the speeds between two readings that follow each other; None if there are too few."""
    by_time = [dict(points) for points in components]
    times_s = sorted(set(by_time[0]).intersection(*by_time[1:])) if by_time else []
    speeds = [
        hypot(*(values[to_s] - values[from_s] for values in by_time)) / ((to_s - from_s) / DAY_S)
        for from_s, to_s in pairwise(times_s)
    ]
    noises = [measure_noise(points) for points in components]
    known = [noise for noise in noises if noise is not None]
    if len(speeds) < LEAST_SPEEDS or len(known) < len(noises):
        return None
    usual_days = median(to_s - from_s for from_s, to_s in pairwise(times_s)) / DAY_S
    return SpeedStatistics(_pick_steady(speeds), sqrt(2.0) * max(known) / usual_days)


def measure_noise(points: Sequence[Point]) -> float | None:
    """Return the standard deviation of the white noise of a series, from its second differences; None if too short.

    Readings are assumed to come at about equal intervals. A motion that is steady over three readings adds nothing.
    """
    values = [value for _, value in points]
    bends = [abs(a - 2.0 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if len(bends) < LEAST_SPEEDS:
        return None
    return TO_STANDARD_DEVIATION * median(bends) / sqrt(6.0)


def _fit_slopes(points: Sequence[Point], begin_s: float, end_s: float, window_s: float) -> Mapping[int, float]:
    """Return the least-squares slope in mm/day of every half-overlapping window that is well filled, by its number."""
    import numpy as np

    times_s = np.array([at_s for at_s, _ in points])
    values = np.array([value for _, value in points])
    found: dict[int, float] = {}
    for number in range(int(2.0 * (end_s - begin_s) / window_s) - 1):
        from_s = begin_s + number * window_s / 2.0
        low, high = np.searchsorted(times_s, (from_s, from_s + window_s), side="right")
        days = (times_s[low:high] - from_s) / DAY_S
        if len(days) < INTERVALS_LEAST or days[-1] - days[0] < 0.5 * window_s / DAY_S:
            continue
        centred = days - days.mean()
        found[number] = float(centred @ values[low:high] / (centred @ centred))
    return found


def _summarise(speeds: Sequence[float]) -> SpeedStatistics | None:
    if len(speeds) < LEAST_SPEEDS:
        return None
    changes = [abs(after - before) for before, after in pairwise(speeds)]
    return SpeedStatistics(_pick_steady(speeds), TO_STANDARD_DEVIATION * median(changes) / sqrt(2.0))


def _pick_steady(speeds: Sequence[float]) -> float:
    return sorted(speeds)[len(speeds) // 5]


def _round(bound: float) -> float:
    """Round a bound upwards to a number that people would write; stations with about the same bound share it.

    >>> [_round(bound) for bound in (1.0, 1.03, 16.2, 103.0)]
    [1.0, 1.5, 20.0, 150.0]
    """
    decade = 10.0 ** floor(log10(bound) + 1e-9)
    return next(step * decade for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0) if bound <= step * decade * (1.0 + 1e-9))
