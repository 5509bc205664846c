"""Unusual shapes by the left matrix profile: how far the newest stretch is from the most similar one before it.

The method of Yeh et al. (2016) by sums of products; stumpy, which does the same faster, brings 209 MB of compiler.
"""

from typing import Final

import numpy as np

from detection.anomaly.stages import MAD_TO_SIGMA, Array, divide_by_scale, median_of_windows
from detection.anomaly.windows import Series, as_row, pad

CELLS: Final = 24  # of a shape: a day of hourly readings
BACK: Final = 2000  # how many cells before are searched
SCALE_CELLS: Final = 360


def matrix_profile(series: Series) -> Array:
    """How much farther the newest shape is from all before than shapes usually are, in robust scales; shape (n,).

    NaN where one of its cells is unknown.
    """
    distance = find_nearest_before(series.values, CELLS)
    usual = as_row(_median_before(distance))
    return divide_by_scale(distance - usual, MAD_TO_SIGMA * as_row(_median_before(np.abs(distance - usual))))


def _median_before(values: Array) -> Array:
    return median_of_windows(pad(values, SCALE_CELLS)[:, :-1], SCALE_CELLS, SCALE_CELLS // 4, len(values))


def find_nearest_before(values: Array, cells: int, back: int = BACK) -> Array:
    """Distance of each stretch from the nearest earlier one that it does not overlap, both standardised; shape (n,).

    It stands at the last cell of the stretch; NaN where there is no complete one to compare.
    """
    n = len(values)
    out = np.full(n, np.nan)
    if n < 2 * cells:
        return out
    rows = np.lib.stride_tricks.sliding_window_view(values, cells)
    spread = rows.std(axis=1)
    known = np.isfinite(spread) & (spread > 1e-9)
    shapes = np.zeros(rows.shape)
    shapes[known] = (rows[known] - rows[known].mean(axis=1, keepdims=True)) / spread[known, None]
    for k in np.flatnonzero(known).tolist():
        before = slice(max(0, k - back), k - cells + 1)
        if k < cells or not known[before].any():
            continue
        likeness = np.where(known[before], shapes[before] @ shapes[k], -np.inf).max()
        out[k + cells - 1] = np.sqrt(max(0.0, 2.0 * (cells - likeness)))
    return out
