"""Extrapolate motion that keeps its velocity, its acceleration, or its law of failure.

Every shape of motion has two free parameters, level and rate, so that each fit is a closed form: constant velocity,
constant acceleration, Voight's law dv/dt = A v^alpha with a failure ahead (Fukuzono 1985; Voight 1988), and a decay
after a step with a velocity of 1 / time. Each shape is fitted to windows of several lengths. Shapes are weighted by how
well they fit their window, and windows by how well they would have predicted the newest rows. The quantiles are those
of the mixture of all fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.kinematics.noise import MAD_TO_SIGMA

Floats = NDArray[np.float64]
# Early edge, middle and late edge of a failure window, in rows from now.
Failure = tuple[float, float, float]

# Windows in rows; a window needs so many rows, and this share of its rows.
WINDOWS: Final = (4, 6, 8, 11, 16, 23, 32, 45, 64)
MIN_ROWS: Final = 4
MIN_FILLED_SHARE: Final = 0.6
# Newest rows whose predictions weight the windows, and rows from which the noise is measured.
SCORED_ROWS: Final = 28
LAGS: Final = np.arange(1, SCORED_ROWS + 1)
NOISE_ROWS: Final = 120

# Shapes. Prior belief is 1 for constant velocity.
ALPHAS: Final = ((1.5, 0.15), (2.0, 0.7), (2.5, 0.15))  # exponent of Voight's law, share of belief
LEADS: Final = (0.15, 0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0, 8.0)  # time to failure, in window lengths
AGES: Final = (1.05, 1.3, 2.0, 4.0)  # time since a step that decays, in window lengths
# Time in which a constant acceleration doubles or ends the present velocity, in window lengths.
TURNS: Final = (1.0, 1.6, 2.5, 5.0)
# If a failure window stands: positions of the failure from its early edge (-1) to its late edge (1) with the share of
# belief in each, and the belief in all of them together.
EDGES: Final = ((-1.0, 0.1), (-0.5, 0.2), (0.0, 0.4), (0.5, 0.2), (1.0, 0.1))
WINDOW_BELIEF: Final = 30.0
MIN_LEAD_ROWS: Final = 1.0
# A law of failure is followed up to so many times the present velocity. From there on the velocity is constant.
MAX_GROWTH: Final = 3.0

# Constant velocity has at least this weight in each window.
MIN_STEADY_WEIGHT: Final = 0.1
# Share of the errors of its newest predictions that is added to the spread of a window.
ERROR_SHARE: Final = 0.6
# Every fit must meet this many newest rows, whatever its window. A squared deviation there has this factor.
NEWEST_ROWS: Final = 4
NEWEST_FACTOR: Final = 0.1
# Deviation of real motion from any law, and while a failure window stands, as a share of the predicted movement.
DEVIATION: Final = 0.15
DEVIATION_WHEN_FAILING: Final = 0.3
# Deviation that no law must be more exact than, as a share of the movement of a row.
TOLERATED_DEVIATION: Final = 0.03
# Weight of a window: power of its mean error, and the smallest weight as a share of the largest.
ERROR_POWER: Final = 3.0
MIN_WINDOW_WEIGHT: Final = 0.02

SHARES: Final = np.array([0.025, 0.1, 0.5, 0.9, 0.975])
# Readings beyond this size cannot be squared and summed.
LARGEST: Final = 1e120
# The table of the normal distribution: nodes per standard deviation, and its end in standard deviations.
NODES: Final = 128
FURTHEST: Final = 9


@dataclass(frozen=True, slots=True)
class _WindowFits:
    """The fits of all K shapes to one window."""

    errors: Floats  # (SCORED_ROWS,), mean error of its newest predictions by lag, extrapolated beyond the known lags
    weight: Floats  # (K,)
    level: Floats  # (K,), value now
    rate: Floats  # (K,), per row
    newest: Floats  # (K,), sum of squared deviations of the newest rows
    variance: float  # of one reading about the best shape
    centre: Floats  # (K,), mean of the shape over the window
    room: Floats  # (K,), sum of squares of the shape about its mean
    count: float  # known rows


def extrapolate(values: Floats, steps: Sequence[int], window: Failure | None = None) -> Floats:
    """Extrapolate the motion of one series from its last row.

    Args:
        values: Rows of an even grid, shape (T,), NaN for rows without a reading; any unit.
        steps: Horizons in rows, shape (H,).
        window: Failure window, if one stands. It then decides when the slope fails, and has most of the belief.

    Returns:
        Quantiles .025, .1, .5, .9, .975 at each horizon, shape (H, 5). Their distance to the median never decreases
        with the horizon. NaN if too few rows are known, or if a reading is beyond `LARGEST`.

    >>> import numpy as np
    >>> lead = np.arange(40.0, 4.0, -1.0)
    >>> quantiles = extrapolate(-20.0 * np.log(lead), [1, 2])
    >>> np.round(quantiles[:, 2] + 20.0 * np.log([4.0, 3.0]), 1) + 0.0
    array([0., 0.])
    """
    horizons = np.asarray(steps, dtype=np.float64)
    unknown = np.full((horizons.size, len(SHARES)), np.nan)
    if is_boundless(values):
        return unknown
    sigma = measure_grid_noise(values)
    lengths: list[int] = []
    windows: list[_WindowFits] = []
    for length in WINDOWS:
        fits = _fit_window(values, length, sigma, window)
        if fits is not None:
            lengths.append(length)
            windows.append(fits)
    if not windows:
        return unknown
    deviation = DEVIATION if window is None else DEVIATION_WHEN_FAILING
    means, spreads = [], []
    for length, fits in zip(lengths, windows, strict=True):
        shape = _compute_shapes(length, horizons, window)
        moved = fits.rate[:, None] * shape
        fit_variance = fits.variance * (1.0 / fits.count + (shape - fits.centre[:, None]) ** 2 / fits.room[:, None])
        error = np.interp(horizons, LAGS, fits.errors) * np.maximum(horizons / SCORED_ROWS, 1.0)
        means.append(fits.level[:, None] + moved)
        spreads.append(np.sqrt(sigma**2 + fit_variance + (deviation * moved) ** 2 + (ERROR_SHARE * error) ** 2))
    weight = _weight_fits(windows, horizons, sigma)
    mean, spread = np.concatenate(means), np.concatenate(spreads)
    quantiles = np.stack([_find_quantiles(mean[:, h], spread[:, h], weight[:, h]) for h in range(horizons.size)])
    middle = quantiles[:, 2:3]
    distance = quantiles - middle
    distance[:, :2] = np.minimum.accumulate(distance[:, :2], axis=0)
    distance[:, 3:] = np.maximum.accumulate(distance[:, 3:], axis=0)
    result: Floats = middle + distance
    return result


def is_boundless(values: Floats) -> bool:
    """Return whether a reading is too large to be squared and summed."""
    return bool((np.abs(values) > LARGEST).any())


def measure_grid_noise(values: Floats, rows: int = NOISE_ROWS) -> float:
    """Return the white noise of the newest rows, as `noise.measure_sigma` does. Rows next to a gap are left out.

    A logger that rounds repeats its values. If half of the rows are on the line through their neighbours, the mean
    square of all distances is the noise. It is not 0, because no interval may be narrower than the rounding.

    Args:
        values: Rows of an even grid, shape (T,), NaN for rows without a reading.
        rows: Number of newest rows.

    >>> round(measure_grid_noise(np.array([0.0, 1.0, 0.0, 1.0, 0.0])), 4)
    1.2105
    >>> round(measure_grid_noise(np.repeat([0.0, 0.1, 0.2, 0.3, 0.4], 6)), 3)
    0.022
    """
    recent = values[-rows:]
    differences = np.abs(recent[:-2] - 2.0 * recent[1:-1] + recent[2:])
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return 0.0
    robust = float(MAD_TO_SIGMA * np.median(differences) / np.sqrt(6.0))
    return robust or float(np.sqrt(np.mean(differences**2) / 6.0))


def _weight_fits(windows: Sequence[_WindowFits], horizons: Floats, sigma: float) -> Floats:
    """Return the weight of each shape of each window at each horizon, shape (W K, H); the sum over the fits is 1."""
    # A window is weighted by its predictions up to twice as far ahead as the horizon.
    last_lag = np.minimum(np.ceil(2.0 * horizons), SCORED_ROWS).astype(np.int64) - 1
    loss = np.stack([(np.cumsum(fits.errors) / LAGS)[last_lag] for fits in windows]) + 0.3 * sigma
    relative_loss = np.maximum(loss, 1e-12) / np.maximum(loss.min(axis=0), 1e-12)
    window_weight = np.maximum(relative_loss**-ERROR_POWER, MIN_WINDOW_WEIGHT)
    newest = np.stack([fits.newest for fits in windows])
    scale = max(sigma**2, newest.min() / NEWEST_ROWS, 1e-18)
    newest_weight = np.exp(-NEWEST_FACTOR * (newest - newest.min()) / scale)
    weight: Floats = np.concatenate(
        [(fits.weight * newest_weight[w])[:, None] * window_weight[w] for w, fits in enumerate(windows)]
    )
    weight /= weight.sum(axis=0)
    return weight


def _fit_window(values: Floats, length: int, sigma: float, failure: Failure | None) -> _WindowFits | None:
    """Fit every shape to the newest window, and to earlier windows whose predictions can be compared with known rows.

    None if too few rows are known.
    """
    rows = values.size
    if rows < length:
        return None
    origins = np.arange(max(length - 1, rows - 1 - SCORED_ROWS), rows)
    readings = values[origins[:, None] + np.arange(1 - length, 1)[None, :]]
    is_known = np.isfinite(readings)
    count = is_known.sum(axis=1)[:, None].astype(np.float64)
    shapes = _compute_shapes(length, np.arange(1.0 - length, 1.0), failure)
    is_filled = count[:, 0] >= max(MIN_ROWS, MIN_FILLED_SHARE * length)
    if not is_filled[-1]:
        return None
    count = np.maximum(count, 1.0)
    middle = np.where(is_known, readings, 0.0).sum(axis=1)[:, None] / count
    offset = np.where(is_known, readings - middle, 0.0)
    mask = is_known.astype(np.float64)
    centre = mask @ shapes.T / count
    room = np.maximum(mask @ (shapes**2).T - centre**2 * count, 1e-12)
    product = offset @ shapes.T
    rate = product / room
    residual = np.maximum((offset**2).sum(axis=1)[:, None] - rate * product, 0.0)
    smallest = residual.min(axis=1, keepdims=True)
    floor = np.maximum(sigma, TOLERATED_DEVIATION * np.abs(rate[:, :1]))
    variance = np.maximum(np.maximum(floor**2, smallest / np.maximum(count - 2.0, 1.0)), 1e-18)
    # Neighbouring residuals are correlated, so half of them count.
    weight = _list_beliefs(failure) * np.exp(-0.25 * (residual - smallest) / variance)
    weight /= weight.sum(axis=1, keepdims=True)
    weight *= 1.0 - MIN_STEADY_WEIGHT
    weight[:, 0] += MIN_STEADY_WEIGHT
    level = middle - rate * centre
    future_shapes = _compute_shapes(length, LAGS.astype(np.float64), failure)
    predicted = (weight * level).sum(axis=1)[:, None] + (weight * rate) @ future_shapes
    targets = origins[:, None] + LAGS[None, :]
    observed = np.where(targets < rows, values[np.minimum(targets, rows - 1)], np.nan)
    errors = _average_errors(np.abs(observed - predicted)[is_filled], float(np.sqrt(variance[-1, 0])))
    deviation = values[-NEWEST_ROWS:] - level[-1][:, None] - rate[-1][:, None] * shapes[:, -NEWEST_ROWS:]
    return _WindowFits(
        errors,
        weight[-1],
        level[-1],
        rate[-1],
        np.nansum(deviation**2, axis=1),
        float(variance[-1, 0]),
        centre[-1],
        room[-1],
        float(count[-1, 0]),
    )


def _average_errors(errors: Floats, error_of_first_lag: float) -> Floats:
    """Return the mean error of the predictions of a window by lag, never smaller at a larger lag.

    Beyond the lags with enough predictions the error grows in proportion to the lag.

    Args:
        errors: Absolute errors by origin and lag, NaN if they are unknown, shape (N, SCORED_ROWS).
        error_of_first_lag: The error at the first lag if no lag has enough predictions.
    """
    counts = np.isfinite(errors).sum(axis=0)
    known = int(np.argmin(np.append(counts >= MIN_ROWS, False)))
    means = np.nanmean(errors[:, :known], axis=0) if known else np.array([error_of_first_lag])
    factors = LAGS[max(known, 1) :] / max(known, 1)
    result: Floats = np.maximum.accumulate(np.concatenate([means, means[-1] * factors]))
    return result


def _list_beliefs(failure: Failure | None) -> Floats:
    """Return the prior belief in each shape, in the order of `_compute_shapes`."""
    beliefs = [1.0, *(2 * len(TURNS) * [0.5 / len(TURNS)]), *(len(AGES) * [1.0 / len(AGES)])]
    if failure is None:
        beliefs += [share / len(LEADS) for _, share in ALPHAS for _ in LEADS]
    else:
        beliefs += [WINDOW_BELIEF * share for _, share in EDGES]
    return np.array(beliefs)


def _compute_shapes(length: int, rows: Floats, failure: Failure | None) -> Floats:
    """Return the movement of every shape with a present rate of one per row, shape (K, n).

    Args:
        length: Length of the window in rows.
        rows: Rows relative to now, shape (n,).
        failure: Failure window, if one stands.
    """
    shapes = [rows]
    for turn in TURNS:
        span = turn * length
        # An acceleration continues no longer than it was observed.
        limited = np.minimum(rows, length)
        shapes.append(limited + limited**2 / (2.0 * span) + (1.0 + length / span) * np.maximum(rows - length, 0.0))
        # A deceleration ends at rest and never turns the motion.
        limited = np.minimum(rows, span)
        shapes.append(limited - limited**2 / (2.0 * span))
    for share in AGES:
        age = share * length
        shapes.append(age * np.log1p(rows / age))
    if failure is None:
        shapes += [_compute_failing_shape(rows, share * length, alpha) for alpha, _ in ALPHAS for share in LEADS]
        return np.stack(shapes)
    early, middle, late = failure
    for position, _ in EDGES:
        half_width = middle - early if position < 0.0 else late - middle
        shapes.append(_compute_failing_shape(rows, max(middle + position * half_width, MIN_LEAD_ROWS), 2.0))
    return np.stack(shapes)


def _compute_failing_shape(rows: Floats, lead: float, alpha: float) -> Floats:
    """Return the movement by Voight's law with a failure `lead` rows from now."""
    power = 1.0 / (alpha - 1.0)  # the velocity is proportional to the lead to the power of minus this
    last_row = lead * (1.0 - MAX_GROWTH ** (-1.0 / power))
    remaining = 1.0 - np.minimum(rows, last_row) / lead
    if power == 1.0:
        shape: Floats = -lead * np.log(remaining)
    else:
        shape = lead / (power - 1.0) * (remaining ** (1.0 - power) - 1.0)
    shape += MAX_GROWTH * np.maximum(rows - last_row, 0.0)
    return shape


def _find_quantiles(mean: Floats, spread: Floats, weight: Floats) -> Floats:
    """Return the quantiles `SHARES` of a mixture of normal distributions, by bisection."""
    low = np.full(SHARES.size, (mean - 6.0 * spread).min())
    high = np.full(SHARES.size, (mean + 6.0 * spread).max())
    width = np.maximum(spread, 1e-12)[:, None]
    for _ in range(50):
        half = (low + high) / 2.0
        is_below = (weight[:, None] * normal_below((half - mean[:, None]) / width)).sum(axis=0) < SHARES
        low, high = np.where(is_below, half, low), np.where(is_below, high, half)
    result: Floats = (low + high) / 2.0
    return result


def _tabulate_normal() -> Floats:
    """Return the Taylor coefficients of the normal distribution at its nodes, shape (6, n), highest power first."""
    z = np.arange(-FURTHEST * NODES, FURTHEST * NODES + 1) / NODES
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    below = np.array([0.5 * erfc(-value / sqrt(2.0)) for value in z.tolist()])
    factors = (z**4 - 6.0 * z**2 + 3.0) / 120.0, (3.0 * z - z**3) / 24.0, (z**2 - 1.0) / 6.0, -z / 2.0, 1.0
    return np.stack([*(factor * density for factor in factors), below])


_NORMAL: Final = _tabulate_normal()


def normal_below(z: Floats) -> Floats:
    """Return the share of the standard normal distribution below each value, within 1e-15. NaN remains NaN.

    `scipy.special.ndtr` returns the same, but importing it takes as long as the forecast of a site with a hundred
    stations.

    >>> normal_below(np.array([-40.0, -1.0, 0.0, 1.0, 40.0])).round(6).tolist()
    [0.0, 0.158655, 0.5, 0.841345, 1.0]
    """
    near = np.clip(z, -FURTHEST, FURTHEST)
    node = np.rint(np.fmax(near, -FURTHEST) * NODES)  # `fmax` gives NaN some node; the result is NaN all the same
    offset = near - node / NODES
    column = node.astype(np.int64) + FURTHEST * NODES
    result: Floats = _NORMAL[0][column]
    for coefficients in _NORMAL[1:]:
        result *= offset
        result += coefficients[column]
    return result
