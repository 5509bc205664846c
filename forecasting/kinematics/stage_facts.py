"""Measure what the stage of a movement is judged by: velocity, accelerations, and the velocities of the past."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from forecasting.kinematics.acceleration import measure_significance
from forecasting.kinematics.noise import choose_window_s, measure_sigma, median, velocity_error
from forecasting.kinematics.stages import Exceeded, MovementFacts
from forecasting.kinematics.velocity import DAY_S, Velocity, fit_slope, fit_velocity
from forecasting.kinematics.velocity import MIN_READINGS as MIN_FIT_READINGS

# Velocity windows of a steady motion.
SHORTEST_WINDOW_S: Final = 7.0 * DAY_S
LONGEST_WINDOW_S: Final = 30.0 * DAY_S
# Where the motion changed, the window may be as short as an hour, with at least eight readings.
SHORTEST_CHANGED_WINDOW_S: Final = 3600.0
MIN_READINGS: Final = 8
# Velocities of two windows agree if they differ by at most this many standard errors of each.
AGREEMENT_ERRORS: Final = 4.0
# A series is stale after this many intervals without a reading, or with fewer than this share of its readings.
STALE_INTERVALS: Final = 3.0
MIN_READINGS_SHARE: Final = 0.7
# A fit uses at most this many readings of its window, evenly thinned, so that it costs the same at any sampling rate.
MAX_READINGS: Final = 120
# A gap may leave this share of a window before its velocity says nothing about the window any more.
MIN_EXTENT: Final = 0.4
MIN_EXTENT_OF_BOUND: Final = 0.5
# Windows of the past: for the usual velocity, and for the scatter of short windows.
PAST_WINDOWS: Final = 26
MIN_PAST_WINDOWS: Final = 6
SCATTER_WINDOWS: Final = 12
MIN_SCATTER_WINDOWS: Final = 5
# Accelerations are fitted over these multiples of the velocity window.
ACCELERATION_WINDOWS: Final = (2.0, 3.0, 4.0, 6.0)
# Slopes that `WindowSlopes` keeps: those of the windows of about two years of hourly readings.
MAX_CACHED_SLOPES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Bound:
    """A velocity above which the site file warns."""

    over: float  # units of the values per day, positive
    window_s: float  # the window of this velocity, seconds
    min_sigma: float  # the velocity must exceed so many of its standard errors


@dataclass(slots=True)
class WindowSlopes:
    """Cache of the slopes of a growing record, by the numbers of the first reading of a window and of the one after it.

    A look at the newest reading uses the velocities of up to a hundred earlier windows. Later looks use the same
    windows again. Whoever changes a reading of the record starts an empty cache.
    """

    slopes: dict[tuple[int, int], "WindowSlope | None"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WindowSlope:
    """The slope of a window."""

    rate: float  # per day
    count: int  # readings used
    span_s: float  # from the first to the last of them


@dataclass(frozen=True, slots=True)
class _Record:
    """The readings of a series up to an instant."""

    times_s: Sequence[float]
    values: Sequence[float]
    sigmas: Sequence[float]
    count: int  # readings up to the instant
    cache: WindowSlopes

    @property
    def newest_s(self) -> float:
        return self.times_s[self.count - 1]

    def find_first_after(self, at_s: float) -> int:
        return bisect_right(self.times_s, at_s, 0, self.count)

    def fit_slope(self, end_s: float, window_s: float) -> WindowSlope | None:
        """Fit the slope of a window; None for too few readings, or if a gap leaves too little of the window."""
        window = self._find_window(end_s, window_s)
        slopes = self.cache.slopes
        if window not in slopes:
            if len(slopes) >= MAX_CACHED_SLOPES:
                slopes.clear()
            slopes[window] = self._fit_slope(*window)
        slope = slopes[window]
        return slope if slope is not None and slope.span_s >= MIN_EXTENT * window_s else None

    def _fit_slope(self, low: int, high: int) -> WindowSlope | None:
        times_s, values, sigmas = self.select(_thin(low, high))
        rate = fit_slope(times_s, values, sigmas)
        return None if rate is None else WindowSlope(rate, len(times_s), times_s[-1] - times_s[0])

    def fit_velocity(
        self, end_s: float, window_s: float, *, max_readings: int = MAX_READINGS, min_extent: float = MIN_EXTENT
    ) -> Velocity | None:
        """Fit the velocity of a window with its error; None as in `fit_slope`."""
        times_s, values, sigmas = self.select(_thin(*self._find_window(end_s, window_s), max_readings))
        if not times_s or times_s[-1] - times_s[0] < min_extent * window_s:
            return None
        return fit_velocity(times_s, values, sigmas)

    def _find_window(self, end_s: float, window_s: float) -> tuple[int, int]:
        """Return the numbers of the first reading of a window and of the one after it."""
        high = bisect_right(self.times_s, end_s, 0, self.count)
        return bisect_left(self.times_s, end_s - window_s, 0, high), high

    def select(self, indices: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
        """Return times, values and errors of some readings."""
        return (
            [self.times_s[i] for i in indices],
            [self.values[i] for i in indices],
            [self.sigmas[i] for i in indices],
        )


def measure_stage_facts(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    *,
    now_s: float,
    interval_s: float,
    v_eq: float | None = None,
    bounds: Sequence[Bound] = (),
    failing: bool = False,
    history_s: float = 365.0 * DAY_S,
    cache: WindowSlopes | None = None,
) -> tuple[MovementFacts, Velocity | None]:
    """Measure what `classify_stage` needs, from the readings up to `now_s` alone.

    The velocity window is the shortest of 7 to 30 days (4 to 8 intervals of an instrument that is read less often) in
    which the velocity exceeds four standard errors. If the motion changed within that window, it is the longest window
    whose velocity agrees with those of all shorter windows (`_shorten_window`). Accelerations are fitted over 2, 3, 4
    and 6 times the window. The velocities of `bounds` are fitted in their own windows.

    A series is stale without a reading in the last three intervals, or with fewer than 70 % of the expected readings in
    7 to 30 days.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings along the movement, any unit, shape (n,).
        sigmas: Standard deviation of each reading, 0 = unknown, shape (n,).
        interval_s: Declared time between two readings in seconds.
        v_eq: Reviewed velocity of uniform creep per day; None if there is none.
        failing: Whether a trusted failure window stands.
        history_s: How far back velocities of the past are fitted.
        cache: Slopes that earlier calls fitted to the same record. It changes no result.

    Returns:
        The facts, and the velocity that they contain.
    """
    count = bisect_right(times_s, now_s)
    record = _Record(times_s, values, sigmas, count, WindowSlopes() if cache is None else cache)
    if count == 0:
        return MovementFacts(now_s, None, None, v_eq=v_eq, stale=True, failing=failing), None
    sigma = _measure_noise(record, interval_s)
    steady_window_s = _choose_steady_window_s(record, sigma, interval_s)
    window_s, scatter = _shorten_window(record, sigma, steady_window_s, interval_s)
    velocity = record.fit_velocity(record.newest_s, window_s)
    steady_past = _fit_past(record, steady_window_s, history_s)
    past = steady_past
    if window_s != steady_window_s:
        past = _fit_past(record, window_s, MIN_PAST_WINDOWS * steady_window_s)
    significance = 1.0
    if velocity is not None and velocity.error < scatter:
        # A daily cycle or wandering noise bends a short window as much as it moves it.
        significance = velocity.error / scatter
        velocity = velocity._replace(error=scatter)
    recent_max = None
    if velocity is not None:
        past_of_window = past if past is not steady_past else ()
        recent_max = max(chain([velocity.rate], past_of_window, steady_past[:MIN_PAST_WINDOWS]))
    facts = MovementFacts(
        record.newest_s,
        None if velocity is None else velocity.rate,
        None if velocity is None else velocity.error,
        tuple(z * significance for z in _fit_accelerations(record, window_s)),
        window_s=None if velocity is None else window_s,
        rising=velocity is not None and bool(past) and velocity.rate > past[0],
        v_eq=v_eq,
        creep_most=min((bound.over for bound in bounds), default=None),
        exceeded=_find_exceeded_bound(record, bounds),
        usual_velocity=median(steady_past) if len(steady_past) >= MIN_PAST_WINDOWS else None,
        recent_max=recent_max,
        stale=_is_stale(record, steady_window_s, interval_s, now_s),
        failing=failing,
    )
    return facts, velocity


def find_shortest_window_s(interval_s: float) -> float:
    """Return the shortest velocity window of a steady motion: 7 days, or four intervals of a slow instrument.

    >>> find_shortest_window_s(3600.0) / DAY_S, find_shortest_window_s(14.0 * DAY_S) / DAY_S
    (7.0, 56.0)
    """
    return max(SHORTEST_WINDOW_S, MIN_FIT_READINGS * interval_s)


def find_longest_window_s(interval_s: float) -> float:
    """Return the longest velocity window of a steady motion: 30 days, or eight intervals of a slow instrument.

    >>> find_longest_window_s(3600.0) / DAY_S, find_longest_window_s(14.0 * DAY_S) / DAY_S
    (30.0, 112.0)
    """
    return max(LONGEST_WINDOW_S, MIN_READINGS * interval_s)


def _measure_noise(record: _Record, interval_s: float) -> float:
    """Return the noise of one reading: that of the longest window, or the stated one if it is larger."""
    first = record.find_first_after(record.newest_s - find_longest_window_s(interval_s))
    tail = slice(max(first, record.count - MAX_READINGS), record.count)
    stated = median(record.sigmas[tail]) if record.count > first else 0.0
    return max(measure_sigma(record.times_s[tail], record.values[tail]), stated)


def _is_stale(record: _Record, window_s: float, interval_s: float, now_s: float) -> bool:
    if record.newest_s < now_s - STALE_INTERVALS * interval_s:
        return True
    count = record.count - record.find_first_after(record.newest_s - window_s)
    elapsed = (record.newest_s - record.times_s[0]) / interval_s + 1.0
    return count < MIN_READINGS_SHARE * min(window_s / interval_s, elapsed)


def _fit_past(record: _Record, window_s: float, history_s: float) -> list[float]:
    """Return the velocities of the windows before the newest one, the newest first."""
    count = min(PAST_WINDOWS, int(history_s / window_s))
    slopes = (record.fit_slope(record.newest_s - k * window_s, window_s) for k in range(1, count + 1))
    return [slope.rate for slope in slopes if slope is not None]


def _fit_accelerations(record: _Record, window_s: float) -> list[float]:
    """Return the acceleration over each multiple of the window, in its standard errors."""
    significances = []
    for factor in ACCELERATION_WINDOWS:
        first = record.find_first_after(record.newest_s - factor * window_s)
        significance = measure_significance(*record.select(_thin(first, record.count)))
        if significance is not None:
            significances.append(significance)
    return significances


def _find_exceeded_bound(record: _Record, bounds: Sequence[Bound]) -> Exceeded | None:
    """Return the highest bound that the velocity of its window exceeds, whichever single reading is left out."""
    for bound in sorted(bounds, key=lambda bound: -bound.over):
        velocity = record.fit_velocity(
            record.newest_s, bound.window_s, max_readings=record.count, min_extent=MIN_EXTENT_OF_BOUND
        )
        if velocity is None:
            continue
        if velocity.low > bound.over and velocity.rate > bound.min_sigma * velocity.error:
            return Exceeded(velocity.rate, velocity.error, bound.over, bound.window_s)
    return None


def _choose_steady_window_s(record: _Record, sigma: float, interval_s: float) -> float:
    """Return the window of a motion that does not change."""
    shortest_s, longest_s = find_shortest_window_s(interval_s), find_longest_window_s(interval_s)
    slope = record.fit_slope(record.newest_s, shortest_s) or record.fit_slope(record.newest_s, longest_s)
    if slope is None:
        return longest_s
    needed_s = choose_window_s(sigma, interval_s, slope.rate, longest_s=longest_s)
    return min(longest_s, max(shortest_s, needed_s))


def _shorten_window(record: _Record, sigma: float, steady_window_s: float, interval_s: float) -> tuple[float, float]:
    """Return the longest window whose velocity agrees with those of all shorter windows, and the scatter of its past.

    Intersection of confidence intervals (Goldenshluger and Nemirovski 1997, Math. Methods Statist. 6, 135-170): a
    longer window errs less by noise and more by averaging over a motion that changed. So the window grows as long as
    the velocities of all windows up to it lie within their errors. The error of a window shorter than 7 days is that of
    white noise, or the scatter of the velocities of earlier windows of its length if it is larger, because daily cycles
    and wandering noise are no change of motion. Windows with fewer than eight readings or without a past are skipped.

    Returns:
        The window in seconds, and the scatter of the past per day as one standard deviation; 0 for the steady window.
    """
    lengths_s = []
    length_s = max(SHORTEST_CHANGED_WINDOW_S, MIN_READINGS * interval_s)
    while length_s < SHORTEST_WINDOW_S:
        lengths_s.append(length_s)
        length_s *= 2.0
    low, high = float("-inf"), float("inf")
    chosen = (steady_window_s, 0.0)
    for length_s in (*lengths_s, steady_window_s):
        slope = record.fit_slope(record.newest_s, length_s)
        if slope is None or slope.count < MIN_READINGS:
            continue
        scatter = 0.0
        if length_s < steady_window_s:
            past = _fit_scattered(record, length_s)
            if len(past) < MIN_SCATTER_WINDOWS:
                continue
            scatter = measure_sigma([float(k) for k in range(len(past))], past)
        error = max(scatter, velocity_error(sigma, slope.count, slope.span_s / (slope.count - 1)))
        low = max(low, slope.rate - AGREEMENT_ERRORS * error)
        high = min(high, slope.rate + AGREEMENT_ERRORS * error)
        if low > high:
            return chosen
        chosen = (length_s, scatter)
    return steady_window_s, 0.0


def _fit_scattered(record: _Record, window_s: float) -> list[float]:
    slopes = (record.fit_slope(record.newest_s - k * window_s, window_s) for k in range(1, SCATTER_WINDOWS + 1))
    return [slope.rate for slope in slopes if slope is not None and slope.count >= MIN_READINGS]


def _thin(low: int, high: int, max_readings: int = MAX_READINGS) -> range:
    """Return at most `max_readings` of the numbers `low` to `high - 1`, evenly spaced, the last one included."""
    stride = max(1, -(-(high - low) // max_readings))
    count = -(-(high - low) // stride)
    first = high - 1 - (count - 1) * stride
    return range(first, high, stride)
