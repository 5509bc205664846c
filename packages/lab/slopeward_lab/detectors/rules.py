"""Rules that need no training: each maps a series to one causal score per cell, in robust standard deviations."""

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
from detection.anomaly.windows import Series, as_row, long_scale, pad


def robust_z(series: Series) -> Array:
    """Increment since the last cell over its trailing MAD scale; shape (n,)."""
    return np.abs(_standardise(as_row(beyond_last(pad(series.values, 1), len(series.values))), series))


def ewma(series: Series) -> Array:
    """Exponentially weighted mean of the residual to the line of sixty days, over its own under white noise; (n,)."""
    width = series.steps(60.0, at_least=15)
    left = _standardise(as_row(beyond_line(pad(series.values, width), len(series.values), width)), series)
    return as_row(SmoothedMean(1).feed(left[None], series.first_cell, 0))


def slope_change(series: Series) -> Array:
    """Slope of the last 21 days minus that of the 60 before them, over its trailing robust scale; shape (n,)."""
    short, long = series.steps(21.0, at_least=6), series.steps(60.0, at_least=15)
    n = len(series.values)
    # The line "before" a cell ends one cell earlier: shift by one so that the newest sample counts.
    recent = line_before(pad(np.append(series.values, np.nan), short), n + 1, short)[0][0]
    before = line_before(pad(series.values, long), n, long)[0][0]
    older = np.full(n, np.nan)
    older[short:] = before[: n - short] if n > short else older[short:]
    change = np.where(series.observed, recent[1:] - older, np.nan)
    return np.abs(_standardise(change, series))


def variance(series: Series) -> Array:
    """Root mean square of the last eight days' increments over their trailing robust scale; shape (n,).

    Increments are clipped at four scales: one spike is not a burst of noise.
    """
    steps = as_row(beyond_last(pad(series.values, 1), len(series.values)))
    width = series.steps(8.0, at_least=6)
    scale = long_scale(steps, series)
    scale = np.concatenate([np.full(min(width, len(scale)), np.nan), scale[: max(len(scale) - width, 0)]])
    return as_row(RollingRms(1, width).feed(divide_by_scale(steps, scale)[None], series.first_cell, 0))


def _standardise(values: Array, series: Series) -> Array:
    return as_row(Standardise(1, series.step_s).feed(values[None], series.first_cell, 0))
