"""Seasonal-trend decomposition by loess (Cleveland et al. 1990); below two years the trailing mean stands in."""

import numpy as np

from forecasting.data.series import Floats
from forecasting.decomposition import trailing


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Trend, season and rest, parts of shape (3, n)."""
    if period < 2 or values.size < 2 * period + 1:
        _, (trend, rest) = trailing.split_known(values, period)
        return ("trend", "season", "rest"), np.stack([trend, np.zeros(values.size), rest])
    from statsmodels.tsa.seasonal import STL

    made = STL(values, period=period, robust=True).fit()
    return ("trend", "season", "rest"), np.stack([made.trend, made.seasonal, made.resid])
