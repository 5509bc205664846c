"""Trailing means, polynomials, and seasonal-trend decomposition by loess (Cleveland et al. 1990)."""

from typing import Any

import numpy as np

from forecasting.data.series import Floats


def split_trailing(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Mean of the last year (or of what there is of it) and the rest, parts of shape (2, n)."""
    sums = np.concatenate([[0.0], np.cumsum(values - values[0])])
    ends = np.arange(1, values.size + 1)
    begins = np.maximum(0, ends - max(2, period))
    trend = values[0] + (sums[ends] - sums[begins]) / (ends - begins)
    return ("trend", "rest"), np.stack([trend, values - trend])


def split_cubic(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Least-squares cubic and the rest, parts of shape (2, n)."""
    del period
    return _split(values, 3)


def split_quintic(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Least-squares polynomial of fifth order and the rest, parts of shape (2, n)."""
    del period
    return _split(values, 5)


def _split(values: Floats, order: int) -> tuple[tuple[str, ...], Floats]:
    x = np.linspace(-1.0, 1.0, values.size)
    trend = np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x, values, order))
    return ("trend", "rest"), np.stack([trend, values - trend])


def configure(values: Floats, period: int, *, steady: bool = False) -> Any:
    """STL of statsmodels, robust. A long loess is computed at every tenth of the period and is straight in between.

    A `steady` season is the same every year: with few years one that may change takes the noise of the first and of the
    last year for season.
    """
    from statsmodels.tsa.seasonal import STL

    jump = max(1, period // 10)
    season = {"seasonal": 10 * (values.size // period + 1) + 1, "seasonal_deg": 0} if steady else {}
    return STL(values, period=period, robust=True, trend_jump=jump, low_pass_jump=jump, **season)


def configure_two(values: Floats, periods: tuple[int, int], span: int) -> tuple[Any, dict[str, Any]]:
    """MSTL of statsmodels, robust, with its settings: a season smoothed over `span` short periods, a steady long one.

    Loess is computed every 14 short periods and is straight in between, and each season is found once. Finer, or found
    twice, it took up to three times as long, and seasons that were drawn came out the same to a hundredth.
    """
    from statsmodels.tsa.seasonal import MSTL

    short, long = periods
    windows = span, 10 * (values.size // long + 1) + 1
    each = {"robust": True, "seasonal_deg": 0, "trend_jump": 14 * short, "low_pass_jump": 14 * short}
    settings = {"periods": periods, "windows": windows, "iterate": 1}
    return MSTL(values, **settings, stl_kwargs=dict(each)), settings | each


def split_stl(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Trend, season and rest, parts of shape (3, n)."""
    if period < 2 or values.size < 2 * period:
        _, (trend, rest) = split_trailing(values, period)
        return ("trend", "season", "rest"), np.stack([trend, np.zeros(values.size), rest])
    made = configure(values, period).fit()
    return ("trend", "season", "rest"), np.stack([made.trend, made.seasonal, made.resid])
