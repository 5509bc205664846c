"""Forecast the motion of stations by many local linear trends, weighted by their past errors.

A local linear trend in state space (Harvey 1989) has a level and a slope, which can be damped, or also an acceleration.
Its variances are not fitted. Instead, each combination of a grid of variances is a filter of its own, called a *lane*.
All lanes run side by side, also through gaps.

The weight of a lane follows from its mean errors 1, 2, 4, ... rows ahead, up to the horizon. Errors one row ahead are
known at once. A motion that is clear over hours is therefore followed before an error days ahead could be scored.
Older errors count less, as in dynamic model averaging (Raftery et al. 2010), so that after a change of the velocity
the better lane leads within a few rows.

Some lanes restart when their errors add up to a change (cumulative sums, Page 1954; Gustafsson 2000). Such a lane uses
all rows after a bend, a stop or a step, and no row before it. The components east and north of a station are one
vector, so their lanes have the same weights.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.data.windows import last_value
from forecasting.simple.baselines import LevelDrift
from forecasting.simple.rows import sum_discounted, sum_in_order

# Variance of a level beside which the variance of a reading is negligible: the level is the newest value.
NO_NOISE: Final = 1e3
LANES: Final = np.array(
    [(level, 0.0, 0.0, 0.0, 0.0) for level in (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, NO_NOISE)]
    + [
        (level, slope * (100.0 if level == NO_NOISE else 1.0), damping, 0.0, 0.0)
        for damping, level, slope in product(
            (0.8, 0.95, 1.0), (0.0, 0.1, 1.0, NO_NOISE), (0.0, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 10.0)
        )
    ]
    + [
        (level, 0.0, 1.0, turn * (100.0 if level else 1.0), 1.0)
        for level, turn in product((0.0, NO_NOISE), (0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0))
    ]
    + 2 * [(0.0, 0.0, 0.0, 0.0, 0.0), *3 * [(0.0, 0.0, 1.0, 0.0, 0.0)], (0.0, 1e-5, 1.0, 0.0, 0.0)]
).T
"""Parameters of the lanes, shape (5, lanes): variances of level and slope per row in units of the variance of a
reading, damping of the slope, variance of the acceleration per row, and 1 if there is an acceleration. The last ten
lanes restart when the motion changes."""
RESTARTS_SLOPE: Final = np.array((False, False, True, True, True) * 2)[:, None]
"""Whether a restarting lane also estimates its slope again. A lane that does not takes a jump for a new level."""
DETECTS_STOP: Final = np.array((False, False, True, False, False) * 2)[:, None]
"""Whether a restarting lane restarts at the first reading that shows that the motion became slower."""
ALLOWANCE: Final = np.repeat((0.5, 0.25), 5)[:, None]
"""By restarting lane: only the part of an error above this enters its cumulative sum, in standard deviations."""
LIMIT: Final = np.repeat((6.0, 8.0), 5)[:, None]
"""By restarting lane: the motion has changed if a cumulative sum is larger than this, in standard deviations."""
# The usual error of a lane is an average over this many rows. Six of them are needed before a change is possible.
USUAL_ERROR_ROWS: Final = 40.0
# Largest size of a change, in standard deviations. It is enough to give earlier rows no weight.
MAX_CHANGE: Final = 1e3
HAS_ACCELERATION: Final = LANES[4] > 0
_TURN: Final = LANES[3, HAS_ACCELERATION]
MEMORY_ROWS: Final = np.where(
    _TURN > 0, ((1.0 + LANES[0, HAS_ACCELERATION]) / np.where(_TURN > 0, _TURN, 1.0)) ** (1.0 / 6.0), np.inf
)
"""Number of rows from which the filter of an acceleration estimates it (Kalata 1984). The acceleration is extrapolated
for at most as many rows."""
# Variance of a slope before two readings are known.
UNKNOWN: Final = 1e7
# Weight of an error one row ahead after one more row. k rows ahead, the weight is the k-th root.
DISCOUNT: Final = 0.95
# The same for the expected error.
EXPECTED_ERROR_DISCOUNT: Final = 0.97
# Largest effect of the errors at shorter horizons on the weight of a lane, as an exponent. The errors at the horizon
# itself are added to it.
MAX_SCORE: Final = 25.0
# A lane has no weight before it has used this many readings.
MIN_READINGS: Final = 4
# An error is a surprise if it is larger than this many usual errors. Earlier scores then lose weight in proportion.
SURPRISE: Final = 6.0
# Smallest weight of earlier scores after one surprise. A single jump therefore changes little, while a change of the
# velocity causes a surprise at each row.
MIN_KEPT: Final = 0.8
# The expected error at a horizon is that of its own scores if they cover this many horizons. Otherwise it is
# extrapolated from the next shorter one.
SCORED_SPANS: Final = 2.0
# A robust forecast that differs from the trend by this many expected errors is blended with a share of three fifths.
BLEND_WIDTH: Final = 1.5
LEAST_ERROR: Final = 1e-9
# Number of columns that are computed together. More do not fit into the cache of a processor.
MAX_COLUMNS: Final = 24
# Bound on the memory of cached results.
ROOM_BYTES: Final = 2**28


@dataclass(frozen=True, slots=True)
class TrendForecasts:
    """Forecasts of all lanes together at each row of a record.

    Attributes:
        path: Forecasts, mm, shape (T, S, H); NaN if the last 3 rows have no value.
        expected_error: Mean error to be expected, mm, shape (T, S, H); NaN before an error is known.
        surprise: Largest ratio of a newest error to the usual one over all horizons, shape (T, S); 0 if too few errors
            are known.
        scale: Expected error plus forecast motion, mm, shape (T, S, H); for a vector the mean of its columns.
    """

    path: Floats
    expected_error: Floats
    surprise: Floats
    scale: Floats


@dataclass(frozen=True, slots=True)
class Trend:
    """A forecaster that blends the trend with a robust forecast.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        groups: Columns of each station. None: each column has its own weights.
        robust: The robust forecaster; None if it could not be fitted.
    """

    name: str
    steps: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] | None
    robust: LevelDrift | None = None

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Return forecasts from the rows `origins`, mm, shape (N, S, H)."""
        if not origins.size:
            return np.empty((0, values.shape[1], len(self.steps)))
        forecasts = compute_trend(values, self.steps, self.groups)
        robust = None if self.robust is None else self.robust.predict(values, origins)
        return self.blend(forecasts.path[origins], forecasts.expected_error[origins], robust)

    def blend(self, path: Floats, expected_error: Floats, robust: Floats | None) -> Floats:
        """Return the trend, moved towards a robust forecast that is within its expected error; all shapes (N, S, H).

        >>> zero = np.zeros((1, 2, 1))
        >>> trend = Trend("trend", (1,), ((0,), (1,)))
        >>> trend.blend(zero, zero + 1.0, np.array([[[0.5], [9.0]]]))[0, :, 0].round(2).tolist()
        [0.47, 0.0]
        """
        if robust is None:
            return path
        distance = np.square((robust - path) / np.maximum(BLEND_WIDTH * expected_error, LEAST_ERROR))
        known = np.isfinite(distance)
        distance = np.where(known, distance, 0.0)
        for columns in (list(group) for group in self.groups or () if len(group) > 1):
            distance[:, columns] = np.mean(distance[:, columns], axis=1, keepdims=True)
        share = np.where(known, np.exp(-0.5 * distance), 0.0)
        blended = path + share * np.where(known, robust - path, 0.0)
        return np.where(np.isfinite(path), blended, robust)


# Newest results, the newest last.
_CACHE: Final[dict[tuple[object, ...], TrendForecasts]] = {}


def compute_trend(values: Floats, steps: Sequence[int], groups: Sequence[Sequence[int]] | None) -> TrendForecasts:
    """Return the forecasts of all lanes at each row. The result is cached, because a training reads a record often.

    Args:
        values: Record, mm, shape (T, S).
        steps: Horizons in rows.
        groups: Columns with common weights, such as those of a station. None: each column has its own weights.
    """
    each = tuple((column,) for column in range(values.shape[1])) if groups is None else tuple(map(tuple, groups))
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
    key = (digest, values.shape, tuple(steps), each)
    forecasts = _CACHE.pop(key, None) or _run_lanes(values, steps, each)
    _CACHE[key] = forecasts
    while sum(count_bytes(cached.path.shape) for cached in _CACHE.values()) > ROOM_BYTES:
        _CACHE.pop(next(iter(_CACHE)))
    return forecasts


def count_bytes(shape: Sequence[int]) -> int:
    """Return the size of the forecasts for a record: three arrays of shape (T, S, H), and one of shape (T, S).

    >>> count_bytes((1000, 10, 3))
    800000
    """
    rows, columns, horizons = shape
    return 8 * rows * columns * (3 * horizons + 1)


def _run_lanes(values: Floats, steps: Sequence[int], groups: Sequence[Sequence[int]]) -> TrendForecasts:
    """Run all lanes over the rows. The forecasts at a row depend only on it and on earlier rows."""
    path, expected_error = (np.full((*values.shape, len(steps)), np.nan) for _ in range(2))
    surprise = np.zeros(values.shape)
    scored_steps = _list_scored_steps(steps)
    batch: list[list[int]] = []
    for i, group in enumerate(groups):
        batch.append(list(group))
        if i + 1 == len(groups) or sum(map(len, batch)) + len(groups[i + 1]) > MAX_COLUMNS:
            columns = [column for members in batch for column in members]
            ends = np.cumsum([0, *map(len, batch)])
            paths, errors, batch_surprise = _weight_lanes(
                values[:, columns], scored_steps, list(pairwise(ends.tolist()))
            )
            for h, k in enumerate(steps):
                path[:, columns, h] = paths[k]
                expected_error[:, columns, h] = errors[k]
            surprise[:, columns] = batch_surprise
            batch = []
    level = last_value(values, np.arange(values.shape[0], dtype=np.int64))[0]
    path[np.isnan(level)] = np.nan
    scale = expected_error + np.abs(path - level[..., None])
    for columns in (list(group) for group in groups if len(group) > 1):
        mean = sum_in_order(scale[:, columns].swapaxes(0, 1))[:, None] / len(columns)
        scale[:, columns] = np.where(np.isfinite(mean), mean, scale[:, columns])
    return TrendForecasts(path, expected_error, surprise, scale)


def _list_scored_steps(steps: Sequence[int]) -> list[int]:
    """Return at how many rows ahead lanes are scored: powers of two, and the horizons.

    >>> _list_scored_steps((6, 30))
    [1, 2, 4, 6, 8, 16, 30]
    """
    return sorted({*steps, *(2**i for i in range(max(steps).bit_length()) if 2**i < max(steps))})


def _weight_lanes(
    values: Floats, scored_steps: Sequence[int], groups: Sequence[tuple[int, int]]
) -> tuple[dict[int, Floats], dict[int, Floats], Floats]:
    """Weight the forecasts of the lanes by their past errors.

    Args:
        values: Record, mm, shape (T, S).
        scored_steps: Rows ahead, ascending.
        groups: First column and end of the columns with common weights.

    Returns:
        Forecasts and expected errors by rows ahead, and the surprise; each array has the shape (T, S).
    """
    states = _filter(values)
    is_scored = np.cumsum(np.isfinite(values), axis=0) >= MIN_READINGS
    path, expected_error = dict[int, Floats](), dict[int, Floats]()
    surprise, score = np.zeros(values.shape), np.zeros((0, 0, 0))
    usual_error = np.full(values.shape, np.nan)
    # Growth of the expected error from one horizon to its double.
    growth = np.full(values.shape, 2.0)
    previous_steps = 0
    for k in scored_steps:
        forecasts = _extrapolate(states, k)
        errors, known = _measure_errors(values, forecasts, is_scored, k)
        # After a surprise at a short horizon, earlier scores at long horizons belong to another motion.
        keep = np.maximum(SURPRISE / np.maximum(surprise, SURPRISE), MIN_KEPT)
        count = sum_discounted(known.astype(np.float64), DISCOUNT ** (1.0 / k) * keep)
        mean_error = sum_discounted(errors, (DISCOUNT ** (1.0 / k) * keep)[:, None])
        mean_error /= np.maximum(count, LEAST_ERROR)[:, None]
        evidence = np.log(np.maximum(mean_error, LEAST_ERROR, out=mean_error))
        evidence *= (count / k)[:, None]
        for first, end in groups:
            if end - first > 1:
                evidence[:, :, first:end] = sum_in_order(evidence[:, :, first:end].transpose(2, 0, 1))[..., None]
        if previous_steps:
            evidence += np.minimum(score, MAX_SCORE, out=score)
        evidence -= evidence.min(axis=1, keepdims=True)
        score = evidence
        weights = np.exp(np.negative(score))
        total = sum_in_order(weights.transpose(1, 0, 2))
        forecasts *= weights
        path[k] = sum_in_order(forecasts.transpose(1, 0, 2)) / total
        weights *= mean_error
        weighted_error = sum_in_order(weights.transpose(1, 0, 2)) / total
        path_errors, known = _measure_errors(values, path[k][:, None], is_scored, k)
        discount = np.full(values.shape, EXPECTED_ERROR_DISCOUNT ** (1.0 / k))
        path_error = path_errors[:, 0]
        error_count = sum_discounted(known.astype(np.float64), discount)
        divisor = np.maximum(error_count, LEAST_ERROR)
        mean = sum_discounted(path_error.copy(), discount) / divisor
        # The square of the mean root gives early and single large errors little weight. The errors of the lanes that
        # have the weight now limit it, because older errors are those of other lanes.
        typical = np.minimum(np.square(sum_discounted(np.sqrt(path_error), discount) / divisor), weighted_error)
        is_known_before = (error_count[:-1] >= max(3.0 * k, 8.0)) & known[1:] & (mean[:-1] > 0)
        ratio = np.where(is_known_before, path_error[1:] / np.where(mean[:-1] > 0, mean[:-1], 1.0), 0.0)
        surprise[1:] = np.maximum(surprise[1:], ratio)
        for first, end in groups:
            surprise[:, first:end] = surprise[:, first:end].max(axis=1, keepdims=True)
        has_own_scores = error_count >= max(SCORED_SPANS * k, 3.0)
        octaves = np.log2(k / max(previous_steps, 1))
        if previous_steps:
            rise = np.clip(typical / np.maximum(usual_error, LEAST_ERROR), 1.0, 2.0**octaves) ** (1.0 / octaves)
            growth = np.where(has_own_scores & np.isfinite(usual_error), rise, growth)
        usual_error = np.where(has_own_scores, typical, usual_error * growth**octaves)
        expected_error[k] = usual_error
        previous_steps = k
    return path, expected_error, surprise


def _filter(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return level, slope and acceleration of each lane after each row; NaN before the first value.

    The Kalman filter of each lane and column is written out for its three states. The variances of the states are
    `p_ll`, `p_ss` and `p_tt` (level, slope, acceleration), their covariances `p_ls`, `p_lt` and `p_st`, all in units of
    the variance of a reading.

    Returns:
        mm, mm per row, and mm per row squared; each array has the shape (T, lanes, S).
    """
    rows, columns = values.shape
    q_level, q_slope, damping, q_turn, turns = (np.repeat(row[:, None], columns, axis=1) for row in LANES)
    zeros = np.zeros(q_level.shape)
    level, slope, turn = zeros + np.nan, zeros, zeros
    p_ll, p_ls, p_lt, p_ss, p_st, p_tt = (zeros for _ in range(6))
    unknown_slope = np.where(damping > 0, UNKNOWN, 0.0)
    unknown_turn = UNKNOWN * turns
    changes = _ChangeDetector(columns)
    restarting = slice(-ALLOWANCE.size, None)
    observed = np.isfinite(values)
    filled = np.where(observed, values, 0.0)
    first_rows = np.where(observed.any(axis=0), observed.argmax(axis=0), -1)
    has_started = np.zeros(columns, dtype=bool)
    states = np.empty((3, rows, *q_level.shape))
    for t in range(rows):
        # Prediction.
        turn = turns * turn
        slope = damping * slope + turn
        level = level + slope
        pull, bend = damping * p_ss + turns * p_st, turns * (damping * p_st + turns * p_tt)
        new_p_ss = damping * pull + turns * (damping * p_st + turns * p_tt)
        level_slope = damping * p_ls + turns * p_lt
        p_ll, p_ls, p_lt = (
            p_ll + 2.0 * level_slope + new_p_ss + q_level,
            level_slope + new_p_ss,
            turns * p_lt + bend,
        )
        p_ss, p_st, p_tt = new_p_ss + q_slope, bend, turns * p_tt + q_turn
        # Restart of lanes whose motion has changed.
        use = observed[t] & has_started
        miss = np.where(use, filled[t] - level, 0.0)
        of_level, of_both, of_slope = changes.find(
            miss[restarting], slope[restarting], np.sqrt(p_ll[restarting] + 1.0), use
        )
        p_ll[restarting] += of_level
        p_ls[restarting] += of_both
        p_ss[restarting] += of_slope
        # Update with the reading.
        gain = use / (p_ll + 1.0)
        gain_l, gain_s, gain_t = p_ll * gain, p_ls * gain, p_lt * gain
        level, slope, turn = level + gain_l * miss, slope + gain_s * miss, turn + gain_t * miss
        p_ss, p_st, p_tt = p_ss - gain_s * p_ls, p_st - gain_s * p_lt, p_tt - gain_t * p_lt
        p_ls, p_lt, p_ll = p_ls - gain_l * p_ls, p_lt - gain_l * p_lt, p_ll - gain_l * p_ll
        # Start of columns at their first value.
        starts = first_rows == t
        if starts.any():
            has_started = has_started | starts
            level = np.where(starts, filled[t], level)
            slope = np.where(starts, 0.0, slope)
            turn = np.where(starts, 0.0, turn)
            p_ll, p_ls, p_lt = np.where(starts, 1.0, p_ll), np.where(starts, 0.0, p_ls), np.where(starts, 0.0, p_lt)
            p_ss, p_tt = np.where(starts, unknown_slope, p_ss), np.where(starts, unknown_turn, p_tt)
            p_st = np.where(starts, 0.0, p_st)
        states[0, t], states[1, t], states[2, t] = level, slope, turn
    return states[0], states[1], states[2]


class _ChangeDetector:
    """Find the rows at which lanes restart, by cumulative sums of their errors in both directions.

    All arrays have the shape (restarting lanes, S).
    """

    def __init__(self, columns: int) -> None:
        # For positive and negative errors: the cumulative sum, and for how many rows it has been positive.
        self.sums, self.rows_since = (np.zeros((2, ALLOWANCE.size, columns)) for _ in range(2))
        self.usual_error = np.ones((ALLOWANCE.size, columns))
        self.count = np.zeros(columns)

    def find(self, miss: Floats, slope: Floats, spread: Floats, use: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Process the errors of a row, and return the variances to add to level, level and slope, and slope.

        The variances are in units of the variance of a reading. They are 0 if the motion has not changed.

        Args:
            miss: Reading minus the prediction of the lane, mm.
            slope: Slope of the lane, mm per row.
            spread: Standard deviation of the prediction, in units of the standard deviation of a reading.
            use: Columns that have a reading, shape (S,).
        """
        deviation = miss / (spread * self.usual_error)
        known = use & (self.count >= 6.0)
        both_signs = np.stack([deviation, -deviation])
        self.sums = np.where(known, np.maximum(self.sums + both_signs - ALLOWANCE, 0.0), self.sums)
        self.rows_since = np.where(self.sums > 0.0, self.rows_since + known, 0.0)
        has_changed = (self.sums > LIMIT).any(axis=0)
        rows = np.maximum(np.where(self.sums[0] > self.sums[1], *self.rows_since), 1.0)
        # One reading alone shows the change.
        rows = np.where(DETECTS_STOP & (np.abs(deviation) > LIMIT), 1.0, rows)
        jump = np.where(has_changed, np.minimum(np.abs(miss) / self.usual_error, MAX_CHANGE), 0.0)
        self.sums[:, has_changed], self.rows_since[:, has_changed] = 0.0, 0.0
        share = use / np.minimum(self.count + 1.0, USUAL_ERROR_ROWS)
        # The mean of |error| of a normal distribution is sqrt(2 / pi) standard deviations. Errors are limited, because
        # a change of the motion is no noise.
        newest = np.minimum(np.abs(deviation), np.where(known, 3.0, np.inf)) * self.usual_error * np.sqrt(np.pi / 2.0)
        self.usual_error = np.maximum((1.0 - share) * self.usual_error + share * newest, LEAST_ERROR)
        self.count = self.count + use
        # If a step were taken for a new velocity, it would be extrapolated far ahead. Therefore only a slower motion is
        # accepted at its first reading.
        is_slower = (miss * slope < 0.0) & (np.abs(miss) <= np.abs(slope) + 3.0 * self.usual_error)
        stops = DETECTS_STOP & (rows == 1.0) & is_slower
        return np.square(jump), np.where(stops, np.square(jump), 0.0), RESTARTS_SLOPE * np.square(jump / rows)


def _extrapolate(states: tuple[Floats, Floats, Floats], steps: int) -> Floats:
    """Return the forecast of each lane a number of rows ahead, mm, shape (T, lanes, S).

    An acceleration is extrapolated for at most as many rows as it was observed, and as the motion that it caused has
    lasted. A deceleration is extrapolated until the motion stops, so that a forecast never runs back.
    """
    level, slope, turn = states
    damping = LANES[2]
    rows_of_slope = np.where(
        damping < 1.0, damping * (1.0 - damping**steps) / np.where(damping < 1.0, 1.0 - damping, 1.0), steps
    )
    forecasts: Floats = level + rows_of_slope[:, None] * slope
    slope, turn = slope[:, HAS_ACCELERATION], turn[:, HAS_ACCELERATION]
    # At least one row: at the turn of a fast season, the acceleration alone determines the next row.
    rows = np.clip(_find_age(slope, turn), 1.0, np.minimum(MEMORY_ROWS, steps)[:, None])
    forecasts[:, HAS_ACCELERATION] += rows * (steps - (rows - 1.0) / 2.0) * turn
    return forecasts


def _find_age(slope: Floats, turn: Floats) -> Floats:
    """Return in how many rows an acceleration gives a station at rest its slope, or stops its motion.

    >>> _find_age(np.array([0.5, -0.5, 0.0]), np.array([0.1, 0.1, 0.1])).tolist()
    [5.0, 5.0, 0.0]
    """
    return np.asarray(np.abs(slope) / np.maximum(np.abs(turn), np.finfo(float).tiny))


def _measure_errors(values: Floats, forecasts: Floats, is_scored: np.ndarray, steps: int) -> tuple[Floats, np.ndarray]:
    """Return the absolute errors of forecasts at the rows of their targets.

    Args:
        forecasts: mm, shape (T, lanes, S).
        is_scored: Rows from which forecasts are scored, shape (T, S).
        steps: Rows from a forecast to its target.

    Returns:
        Errors in mm, shape (T, lanes, S), 0 without one; and where there is an error, shape (T, S).
    """
    errors = np.zeros(forecasts.shape)
    known = np.zeros(values.shape, dtype=bool)
    rows = values.shape[0] - steps
    if rows > 0:
        known[steps:] = np.isfinite(values[steps:]) & is_scored[:rows]
        np.subtract(values[steps:, None], forecasts[:rows], out=errors[steps:])
        np.abs(errors, out=errors)
        errors[np.repeat(~known[:, None], forecasts.shape[1], axis=1)] = 0.0
    return errors, known
