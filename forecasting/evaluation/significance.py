"""Whether one forecast is better than another by more than chance."""

import math

import numpy as np

from forecasting.data.series import Floats
from forecasting.metrics import sum_lags

MINIMUM_ROWS = 10


def diebold_mariano(loss: Floats, reference: Floats, steps: int) -> tuple[float, float]:
    """Test of equal accuracy: statistic (negative = `loss` is the smaller) and two-sided p.

    Diebold and Mariano 1995 with the small-sample correction of Harvey, Leybourne and Newbold 1997. Stations are
    averaged per issue time first: they move together and are no independent witnesses. The long-run variance takes the
    h - 1 lags over which forecasts overlap, with Bartlett weights, so that it is never negative. `loss`: losses, shape
    (N, S), rows in order of time, NaN where not scored. Returns (statistic, p); NaN where there are fewer than 10
    issue times or the two never differ.
    """
    both = np.isfinite(loss) & np.isfinite(reference)
    count = both.sum(axis=1)
    rows = count > 0
    apart = np.where(both, loss - reference, 0.0).sum(axis=1)[rows] / count[rows]
    n = apart.size
    if n < MINIMUM_ROWS or not np.any(apart):
        return math.nan, math.nan
    centred = apart - apart.mean()
    lags = min(steps - 1, n // 2)
    variance = sum_lags(centred, lags) / n
    if variance <= 0:
        return math.nan, math.nan
    correction = max(n + 1 - 2 * (lags + 1) + (lags + 1) * lags / n, 1.0) / n
    statistic = float(apart.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    from scipy.special import stdtr  # Student's t; scipy.stats would take longer to load than all of this

    return statistic, float(2.0 * stdtr(n - 1, -abs(statistic)))
