"""Polynomial trends of third and fifth order: the split of many papers, kept to show what it costs when causal."""

import numpy as np

from forecasting.data.series import Floats

CUBIC, QUINTIC = 3, 5


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Least-squares cubic and the rest, parts of shape (2, n)."""
    del period
    return _split(values, CUBIC)


def split_quintic(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Least-squares polynomial of fifth order and the rest, parts of shape (2, n)."""
    del period
    return _split(values, QUINTIC)


def _split(values: Floats, order: int) -> tuple[tuple[str, ...], Floats]:
    x = np.linspace(-1.0, 1.0, values.size)
    trend = np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x, values, order))
    return ("trend", "rest"), np.stack([trend, values - trend])
