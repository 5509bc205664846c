"""Parts of the newest rows of a series, as a network reads them: decomposed anew at every issue."""

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.decomposition.components import decompose
from forecasting.errors import NotEnoughDataError

PARTS = 4
"""Trend and three waves: what a method finds more is added to the trend, what it finds less is nothing."""
REACH = 2
"""Windows that are decomposed. The oldest is for the method alone: its ends are where envelopes are worst."""


def cut_parts(values: Floats, origins: Ints, *, method: str, window: int) -> Floats:
    """Parts of the rows that end at each origin, slow ones first, in mm, shape (N, S, W, 4); 0 where nothing is known.

    The trend is told from its own end, so that no level goes in. A row after an origin cannot change one bit.

    Args:
        values: Shape (T, S), NaN where missing.
        origins: Rows, the last one known at each issue, shape (N,).
        method: A decomposition that knows no season.
        window: Rows W.
    """
    out = np.zeros((origins.size, values.shape[1], window, PARTS))
    for i, t in enumerate(origins):
        known = values[max(0, int(t) + 1 - REACH * window) : int(t) + 1]
        for s, series in enumerate(known.T):
            try:
                found = decompose(series, series.size, method=method, period=1).parts
            except NotEnoughDataError:
                continue
            slow = found[: max(1, found.shape[0] - PARTS + 1)].sum(axis=0)
            parts = np.vstack([slow - slow[-1], found[max(1, found.shape[0] - PARTS + 1) :]])[:, -window:]
            out[i, s, -parts.shape[1] :, : parts.shape[0]] = np.nan_to_num(parts).T
    return out
