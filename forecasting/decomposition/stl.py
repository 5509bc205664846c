"""Seasonal-trend decomposition by loess (Cleveland et al. 1990); below two years the trailing mean stands in."""

from typing import Any

import numpy as np

from forecasting.data.series import Floats
from forecasting.decomposition import trailing


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


def split_known(values: Floats, period: int) -> tuple[tuple[str, ...], Floats]:
    """Trend, season and rest, parts of shape (3, n)."""
    if period < 2 or values.size < 2 * period:
        _, (trend, rest) = trailing.split_known(values, period)
        return ("trend", "season", "rest"), np.stack([trend, np.zeros(values.size), rest])
    made = configure(values, period).fit()
    return ("trend", "season", "rest"), np.stack([made.trend, made.seasonal, made.resid])
