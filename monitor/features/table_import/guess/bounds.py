"""Bounds of a first site file: windows and speeds for each level, from how often a station is read and how it moved.

The bound of a level is the largest of three speeds: the lowest bound of the level, a multiple of the steady speed of
the station, and a multiple of the usual largest speed of its record in windows of the same length. No speed of the
record raises a bound above the fixed bounds of `FIXED`: a record that starts while the slope moves fast must not make
this speed normal.

Between two readings, where one error makes the whole speed, ten standard deviations of the noise are added to the
multiple of the steady speed, and the usual largest speed does not count. The bound is never below these ten standard
deviations, even above `FIXED`.

* Steady speed: four fifths of the speeds of the record are higher. A record that already accelerates must not raise
  its own bounds. The multiples are 1.5, 7.5 and 15: at Outang landslide the alarm values were 1, 5 and 10 times 1.5
  times the mean rate.
* Usual largest speed: the record is cut into up to twelve parts, and the median of the largest speed of each part is
  taken. It contains what white noise does not explain, such as snow on an antenna, and neither a few bad days nor an
  acceleration in less than half of the record changes it much. Of a record with two parts the slower one is taken.
* Lowest bounds: 1, 2 and 5 mm/day are the lowest that slopes have been warned with (Crosta and Agliardi 2003). Lines
  over a few days start at 5 for orange, and every red bound starts at 8 mm/day. Lower bounds were reached on quiet
  GNSS stations and on slopes that came to rest. `make bench-warning BENCH_FLAGS=--curve` shows the trade-off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor, hypot, log10, sqrt
from statistics import median
from typing import Final

from monitor.api.sites import FEWEST_INTERVALS, LONGEST_WAIT_S

DAY_S: Final = 86_400.0
# For yellow, orange and red.
STEADY_MULTIPLES: Final = (1.5, 7.5, 15.0)
LARGEST_MULTIPLES: Final = (1.5, 2.0, 3.0)
LOWEST: Final = (1.0, 5.0, 8.0)  # mm/day, of a line through several readings
# Two surveys weeks apart average over the bad days that a line over a few days follows.
LOWEST_BETWEEN_SURVEYS: Final = (1.0, 2.0, 8.0)  # mm/day
FIXED: Final = (2.0, 20.0, 100.0)  # mm/day
USUAL_WINDOWS_S: Final = (14 * DAY_S, 4 * DAY_S, DAY_S)
# A warning of a level may wait this long for the readings of its window.
LONGEST_WAITS_S: Final = tuple(reversed(LONGEST_WAIT_S))
# If a line needs longer, a sudden motion also raises the level by the rate between two readings.
LATE_LINES_S: Final = (30 * DAY_S, *LONGEST_WAITS_S[1:])
SHORTER_WINDOWS_S: Final = tuple(h * 3600.0 for h in (1, 2, 3, 6, 12, 24, 48, 96, 168))
INTERVALS_USUAL: Final = 12
# Two surveys may be this many intervals apart: one survey may be missed.
SURVEY_INTERVALS: Final = 3
# Errors of single readings are larger than a normal distribution allows, and no third reading shows them.
SURVEY_DEVIATIONS: Final = 10.0
# Below this number of speeds the record shows no steady speed.
LEAST_SPEEDS: Final = 6
# The record is cut into so many parts, each with so many windows at least, for its usual largest speed.
RECORD_PARTS: Final = 12
LEAST_SPEEDS_IN_PART: Final = 4
TO_STANDARD_DEVIATION: Final = 1.4826  # of the median absolute deviation of normal noise

Point = tuple[float, float]  # epoch seconds, millimetres


@dataclass(frozen=True, slots=True)
class SpeedStatistics:
    """Speeds of a station over its record, in mm/day."""

    steady: float  # four fifths of the speeds are higher
    largest: float  # usual largest speed: the median over the parts of the record
    noise: float | None = None  # standard deviation of the speed between two readings; None for a line through several


@dataclass(frozen=True, slots=True)
class LevelWindow:
    """Window and bound of one level."""

    level: int  # 0 is the lowest level that has a bound
    window_s: float
    over_mm_per_day: float
    speeds: SpeedStatistics | None  # in that window; None if the record is too short to show it
    interval_s: float  # usual time between two readings
    is_survey: bool  # the rate between two readings, because a line through several comes too late


def propose_bounds(components: Sequence[Sequence[Point]], interval_s: float) -> tuple[LevelWindow, ...]:
    """Return windows and bounds of every level for a station whose readings come so often.

    A level gets the rate between two readings if a line through several comes too late for it. It gets a line as well
    if that comes in time for the level below and has a lower bound: daily readings raise red by a sudden motion within
    two readings, and by a slower one within a few days.

    Args:
        components: Readings of each component that is judged together: one line, or east and north. Rising time.
        interval_s: Usual time between two readings in seconds.
    """
    steady_mm_per_day = _find_steady_speed(components, interval_s)
    line_s = FEWEST_INTERVALS * interval_s
    proposed: list[LevelWindow] = []

    def propose(level: int, window_s: float, speeds: SpeedStatistics | None, *, is_survey: bool) -> LevelWindow:
        bound = _round(choose_bound(level, steady_mm_per_day, speeds))
        # A rate between two readings is less certain than a line, so it also stays above the lines of lower levels.
        lower = [window.over_mm_per_day for window in proposed if is_survey or not window.is_survey]
        if speeds is not None and steady_mm_per_day is not None:
            speeds = replace(speeds, steady=steady_mm_per_day)
        return LevelWindow(level, window_s, max(bound, *lower, 0.0), speeds, interval_s, is_survey)

    for level in range(len(FIXED)):
        found: list[LevelWindow] = []
        if line_s > LATE_LINES_S[level]:
            window_s = DAY_S * ceil(SURVEY_INTERVALS * interval_s / DAY_S)
            found.append(propose(level, window_s, measure_surveys(components), is_survey=True))
        if line_s <= LONGEST_WAITS_S[max(level - 1, 0)]:
            window_s, speeds = _choose_window(components, interval_s, level, steady_mm_per_day)
            line = propose(level, window_s, speeds, is_survey=False)
            if not found or line.over_mm_per_day < found[0].over_mm_per_day:
                found.append(line)
        proposed += found
    return tuple(proposed)


def choose_bound(level: int, steady_mm_per_day: float | None, speeds: SpeedStatistics | None) -> float:
    """Return the bound of a level in mm/day.

    Args:
        steady_mm_per_day: Steady speed of the station over its record.
        speeds: Speeds in the window of the level, or between two readings.
    """
    if steady_mm_per_day is None or speeds is None:
        return FIXED[level]
    by_steady_speed = STEADY_MULTIPLES[level] * steady_mm_per_day
    if speeds.noise is None:
        alarm_value = max(LOWEST[level], by_steady_speed, LARGEST_MULTIPLES[level] * speeds.largest)
        return min(alarm_value, FIXED[level])
    by_noise = SURVEY_DEVIATIONS * speeds.noise
    alarm_value = max(LOWEST_BETWEEN_SURVEYS[level], by_steady_speed + by_noise)
    # A station whose errors alone exceed the fixed bound would raise the level by them.
    return max(min(alarm_value, FIXED[level]), by_noise)


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
    merged: dict[tuple[int, bool], LevelWindow] = {}
    for window in (*one, *other):
        key = window.level, window.is_survey
        same = merged.get(key, window)
        higher = max(same, window, key=lambda window: window.over_mm_per_day)
        merged[key] = replace(higher, window_s=max(same.window_s, window.window_s))
    return tuple(merged[key] for key in sorted(merged, key=lambda key: (key[0], not key[1])))


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
    """Return the shortest window in which noise and daily cycle do not raise the bound, and the speeds in it.

    If readings come seldom, the window is the usual one of the level, or as many intervals as a line takes and one
    more, because one reading may be missing.
    """
    least_s = 3600.0 * ceil(INTERVALS_USUAL * interval_s / 3600.0)
    fewest_s = 3600.0 * ceil((FEWEST_INTERVALS + 1) * interval_s / 3600.0)
    is_in_time = FEWEST_INTERVALS * interval_s <= LONGEST_WAITS_S[level]
    longest_wait_s = LONGEST_WAITS_S[level] if is_in_time else LONGEST_WAITS_S[max(level - 1, 0)]
    longest_s = min(max(USUAL_WINDOWS_S[level], fewest_s), longest_wait_s)
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
    return SpeedStatistics(_pick_steady(speeds), _pick_largest(speeds), sqrt(2.0) * max(known) / usual_days)


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
    """Return the speed in mm/day of every half-overlapping window that is well filled, by its number.

    As in the velocity criterion, the speed is the least-squares slope that is nearest zero whichever single reading is
    left out, so that one wrong reading is no motion.
    """
    import numpy as np

    times_s = np.array([at_s for at_s, _ in points])
    values = np.array([value for _, value in points])
    found: dict[int, float] = {}
    for number in range(int(2.0 * (end_s - begin_s) / window_s) - 1):
        from_s = begin_s + number * window_s / 2.0
        low, high = np.searchsorted(times_s, (from_s, from_s + window_s), side="right")
        days = (times_s[low:high] - from_s) / DAY_S
        if len(days) < FEWEST_INTERVALS or days[-1] - days[0] < 0.5 * window_s / DAY_S:
            continue
        centred = days - days.mean()
        extent = centred @ centred
        slope = centred @ values[low:high] / extent
        residuals = values[low:high] - values[low:high].mean() - slope * centred
        leverage = 1.0 / len(days) + centred**2 / extent
        slopes = slope - centred * residuals / (extent * (1.0 - leverage))  # without one reading each
        found[number] = max(0.0, float(slopes.min()), -float(slopes.max()))
    return found


def _summarise(speeds: Sequence[float]) -> SpeedStatistics | None:
    if len(speeds) < LEAST_SPEEDS:
        return None
    return SpeedStatistics(_pick_steady(speeds), _pick_largest(speeds))


def _pick_steady(speeds: Sequence[float]) -> float:
    return sorted(speeds)[len(speeds) // 5]


def _pick_largest(speeds: Sequence[float]) -> float:
    """Return the median over the parts of a record of the largest speed in each part.

    Half of a short record may be an acceleration, which must not raise its own bounds: of two parts the slower one
    counts, and of a single part the median of its speeds.

    >>> _pick_largest([0.1, 0.2, 0.1, 0.2, 2.0, 4.0, 6.0, 8.0])
    0.2
    """
    parts = max(1, min(RECORD_PARTS, len(speeds) // LEAST_SPEEDS_IN_PART))
    if parts == 1:
        return median(speeds)
    begins = [len(speeds) * part // parts for part in range(parts + 1)]
    largest = [max(speeds[begin:end]) for begin, end in pairwise(begins)]
    return min(largest) if parts == 2 else median(largest)


def _round(bound: float) -> float:
    """Round a bound to a number that people would write; stations with about the same bound share it.

    >>> [_round(bound) for bound in (1.0, 1.03, 16.2, 103.0)]
    [1.0, 1.0, 15.0, 100.0]
    """
    decade = 10.0 ** floor(log10(bound) + 1e-9)
    steps = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)
    return min((step * decade for step in steps), key=lambda rounded: abs(rounded - bound))
