"""Polynomial trend of third order: the split of many papers, kept to show what it costs when fitted causally."""

import numpy as np

from forecasting.data.series import Floats

ORDER = 3


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Least-squares cubic and the rest, parts of shape (2, n)."""
    del period
    x = np.linspace(-1.0, 1.0, values.size)
    trend = np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x, values, ORDER))
    return ("trend", "rest"), np.stack([trend, values - trend])
