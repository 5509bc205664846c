"""Trailing mean over one year as the trend: the only split that needs no fit at all."""

import numpy as np

from forecasting.data.series import Floats


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Mean of the last year (or of what there is of it) and the rest, parts of shape (2, n)."""
    sums = np.concatenate([[0.0], np.cumsum(values - values[0])])
    ends = np.arange(1, values.size + 1)
    begins = np.maximum(0, ends - max(2, period))
    trend = values[0] + (sums[ends] - sums[begins]) / (ends - begins)
    return ("trend", "rest"), np.stack([trend, values - trend])
