"""Decompositions by trailing means, by polynomials, and by loess (STL, Cleveland et al. 1990)."""

from typing import Any

import numpy as np

from forecasting.data.series import Floats


def split_trailing(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Return the mean of the last period, or of the rows since the first, and the remainder; parts of shape (2, n)."""
    sums = np.concatenate([[0.0], np.cumsum(values - values[0])])
    ends = np.arange(1, values.size + 1)
    begins = np.maximum(0, ends - max(2, period))
    trend = values[0] + (sums[ends] - sums[begins]) / (ends - begins)
    return ("trend", "remainder"), np.stack([trend, values - trend])


def split_cubic(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Return the least-squares polynomial of third order and the remainder, parts of shape (2, n)."""
    del period
    return _split(values, 3)


def split_quintic(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Return the least-squares polynomial of fifth order and the remainder, parts of shape (2, n)."""
    del period
    return _split(values, 5)


def _split(values: Floats, order: int) -> tuple[tuple[str, ...], Floats]:
    x = np.linspace(-1.0, 1.0, values.size)
    trend = np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x, values, order))
    return ("trend", "remainder"), np.stack([trend, values - trend])


def configure(values: Floats, period: int, *, steady: bool = False) -> Any:
    """Return the robust STL of statsmodels. Loess is computed at each tenth of the period and interpolated linearly.

    Args:
        period: Rows of the season.
        steady: Whether the season is the same in every year. In a record of few years, a season that may change
            contains the noise of the first and the last year.
    """
    from statsmodels.tsa.seasonal import STL

    jump = max(1, period // 10)
    season = {"seasonal": 10 * (values.size // period + 1) + 1, "seasonal_deg": 0} if steady else {}
    return STL(values, period=period, robust=True, trend_jump=jump, low_pass_jump=jump, **season)


def configure_two(values: Floats, periods: tuple[int, int], span: int) -> tuple[Any, dict[str, Any]]:
    """Return the robust MSTL of statsmodels with its settings.

    The short season is smoothed over `span` of its periods, and the long season is the same in every period. Loess is
    computed at every 14th short period and interpolated linearly, in one iteration. Smaller steps, or two iterations,
    take up to three times as long and change simulated seasons by less than 1 %.

    Args:
        periods: Rows of the short and of the long season.
        span: Number of short periods.
    """
    from statsmodels.tsa.seasonal import MSTL

    short, long = periods
    windows = (span, 10 * (values.size // long + 1) + 1)
    stl_settings = {"robust": True, "seasonal_deg": 0, "trend_jump": 14 * short, "low_pass_jump": 14 * short}
    settings = {"periods": periods, "windows": windows, "iterate": 1}
    return MSTL(values, **settings, stl_kwargs=dict(stl_settings)), settings | stl_settings


def split_stl(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Return trend, season and remainder, parts of shape (3, n).

    Without two full periods, the season is 0 and the trend is the trailing mean.
    """
    names = ("trend", "season", "remainder")
    if period < 2 or values.size < 2 * period:
        _, (trend, remainder) = split_trailing(values, period)
        return names, np.stack([trend, np.zeros(values.size), remainder])
    fit = configure(values, period).fit()
    return names, np.stack([fit.trend, fit.seasonal, fit.resid])
