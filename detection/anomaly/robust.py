"""Detectors that need no training: each maps a series to one causal score per cell, in robust standard deviations."""

import numpy as np

from detection.anomaly.windows import (
    MAD_TO_SIGMA,
    Array,
    Series,
    divide_by_scale,
    long_scale,
    previous_windows,
    scaled_residuals,
    sum_before,
)


def persistence_z(series: Series) -> Array:
    """Distance from the median of the previous seven days, in its own 90-day robust scale; shape (n,), NaN unknown."""
    return np.abs(scaled_residuals(series))


def robust_z(series: Series) -> Array:
    """Increment since the last cell over its trailing MAD scale; shape (n,)."""
    return np.abs(scaled_steps(series))


def drift_residual(series: Series, days: float = 60.0, at_least: int = 15) -> Array:
    """Value minus the line through the previous sixty days carried to now, in its trailing scale; shape (n,)."""
    width = series.steps(days, at_least)
    slope, level = line_before(series.values, width)
    return _standardise(series.values - (level + slope), series)


def ewma(series: Series) -> Array:
    """Exponentially weighted mean of the drift residual over its standard deviation under white noise; shape (n,)."""
    return smooth(drift_residual(series))


def smooth(z: Array, weight: float = 0.15) -> Array:
    """Size of the exponentially weighted mean of standardised residuals, over its own under white noise; shape (n,).

    Roberts (1959). Residuals are clipped at five so that one spike is the spike detector's business; a gap holds the
    mean.
    """
    z = np.clip(z, -5.0, 5.0)
    out = np.full(z.shape, np.nan)
    mean = 0.0
    spread = np.sqrt(weight / (2.0 - weight))
    for k in np.flatnonzero(np.isfinite(z)):
        mean += weight * (float(z[k]) - mean)
        out[k] = abs(mean) / spread
    return out


def slope_change(series: Series, short_days: float = 21.0, long_days: float = 60.0) -> Array:
    """Slope of the last 21 days minus that of the 60 before them, over its trailing robust scale; shape (n,)."""
    short, long = series.steps(short_days, at_least=6), series.steps(long_days, at_least=15)
    # The line "before" a cell ends one cell earlier: shift by one so that the newest sample counts.
    recent, _ = line_before(np.append(series.values, np.nan), short)
    before, _ = line_before(series.values, long)
    older = np.full(series.values.shape, np.nan)
    older[short:] = before[: len(before) - short] if len(before) > short else older[short:]
    change = np.where(series.observed, recent[1:] - older, np.nan)
    return np.abs(_standardise(change, series))


def variance(series: Series, days: float = 8.0) -> Array:
    """Root mean square of the last eight days' increments over their trailing robust scale; shape (n,).

    Increments are clipped at four scales: one spike is not a burst of noise.
    """
    steps = np.diff(series.values, prepend=np.nan)
    width = series.steps(days, at_least=6)
    return np.where(series.observed, root_mean_square(_standardise(steps, series, lag=width), width), np.nan)


def root_mean_square(z: Array, width: int) -> Array:
    """Of the last `width` cells, clipped at four; NaN where half of them or fewer are known; shape (n,)."""
    rows = previous_windows(np.append(np.clip(z, -4.0, 4.0), np.nan), width)[1:]
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    squares = np.where(known, rows * rows, 0.0).sum(axis=1)
    mean_square = np.divide(squares, count, out=np.full(len(rows), np.nan), where=count * 2 > width)
    size: Array = np.sqrt(mean_square)
    return size


def scaled_steps(series: Series) -> Array:
    """Increment since the last cell over its trailing scale, signed; shape (n,)."""
    return _standardise(np.diff(series.values, prepend=np.nan), series)


def line_before(values: Array, width: int) -> tuple[Array, Array]:
    """Least-squares line through the `width` cells before each cell, at least half of them known.

    Returns:
        Slope per cell and the line's value at the cell just before, both (n,); NaN where unknown. Sums run from the
        record's start, so nothing after a cell can reach its line.
    """
    n = len(values)
    known = np.isfinite(values)
    first = float(values[np.argmax(known)]) if known.any() else 0.0
    x = np.where(known, values - first, 0.0)
    m = known.astype(np.float64)
    t = np.arange(n, dtype=np.float64)

    count, st, stt, sx, stx = (sum_before(row, width) for row in (m, m * t, m * t * t, x, x * t))
    spread = count * stt - st * st
    good = (count * 2 >= width) & (spread > 0)
    slope = np.divide(count * stx - st * sx, spread, out=np.full(n, np.nan), where=good)
    mean = np.divide(sx - slope * st, count, out=np.full(n, np.nan), where=good)
    return slope, first + mean + slope * (t - 1.0)


def _standardise(values: Array, series: Series, lag: int = 0) -> Array:
    """Divide by the larger of the robust scales of the previous ninety days and two years, ending `lag` cells ago."""
    scale = long_scale(values, series)
    if lag:
        scale = np.concatenate([np.full(min(lag, len(scale)), np.nan), scale[: max(len(scale) - lag, 0)]])
    return divide_by_scale(values, scale)


def noise_sigma(values: Array) -> float:
    """White-noise size of the values from their increments: 1.4826 x MAD / sqrt 2; NaN without increments."""
    steps = np.diff(values)
    steps = steps[np.isfinite(steps)]
    return (
        float(MAD_TO_SIGMA * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else float("nan")
    )
