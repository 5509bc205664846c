"""Rules without training. Each maps a series to one score for each cell, in robust standard deviations.

A score depends only on cells up to its own. It is NaN where it is unknown.
"""

import numpy as np

from detection.anomaly.stages import (
    Array,
    RollingRms,
    SmoothedMean,
    Standardise,
    beyond_last,
    beyond_line,
    divide_by_scale,
    line_before,
)
from detection.anomaly.windows import Series, as_row, compute_scaled_residuals, long_scale, pad


def persistence_z(series: Series) -> Array:
    """Return the distance from the median of the previous 7 days, in its robust scale of 90 days; shape (n,)."""
    return np.abs(compute_scaled_residuals(series))


def robust_z(series: Series) -> Array:
    """Return the size of the increment since the last cell, in its robust scale; shape (n,)."""
    return np.abs(_standardise(as_row(beyond_last(pad(series.values, 1), len(series.values))), series))


def ewma(series: Series) -> Array:
    """Return the exponentially weighted mean of the distance from the line of 60 days; shape (n,).

    It is divided by its standard deviation for white noise.
    """
    width = series.steps(60.0, at_least=15)
    residual = _standardise(as_row(beyond_line(pad(series.values, width), len(series.values), width)), series)
    return as_row(SmoothedMean(1).feed(residual[None], series.first_cell, 0))


def slope_change(series: Series) -> Array:
    """Return the slope of the last 21 days minus that of the 60 days before them, in its robust scale; shape (n,)."""
    short, long = series.steps(21.0, at_least=6), series.steps(60.0, at_least=15)
    n = len(series.values)
    # A line ends one cell before its cell. One more cell at the end makes it contain the newest reading.
    recent = line_before(pad(np.append(series.values, np.nan), short), n + 1, short)[0][0]
    before = line_before(pad(series.values, long), n, long)[0][0]
    older = np.full(n, np.nan)
    older[short:] = before[: n - short] if n > short else older[short:]
    change = np.where(series.observed, recent[1:] - older, np.nan)
    return np.abs(_standardise(change, series))


def variance(series: Series) -> Array:
    """Return the root mean square of the increments of the last 8 days, in their robust scale; shape (n,).

    Increments are clipped at four scales, so that one spike is no burst of noise.
    """
    steps = as_row(beyond_last(pad(series.values, 1), len(series.values)))
    width = series.steps(8.0, at_least=6)
    scale = long_scale(steps, series)
    scale = np.concatenate([np.full(min(width, len(scale)), np.nan), scale[: max(len(scale) - width, 0)]])
    return as_row(RollingRms(1, width).feed(divide_by_scale(steps, scale)[None], series.first_cell, 0))


def _standardise(values: Array, series: Series) -> Array:
    return as_row(Standardise(1, series.step_s).feed(values[None], series.first_cell, 0))
