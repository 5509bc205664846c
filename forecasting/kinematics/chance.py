"""The chance that a forecast with quantiles gives to a value above a bound."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

QUANTILES: Final = (("q025", 0.025), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q975", 0.975))
"""Names of the quantiles of a forecast, with the share of the future values below each."""
NORMAL: Final = NormalDist()
DISTRIBUTION: Final = "lines between the quantiles in normal scores, nothing beyond the outer ones"


@dataclass(frozen=True, slots=True)
class Chance:
    """A chance between 0 and 1. `low` and `high` differ if the bound lies beyond the outer quantiles."""

    low: float
    high: float


def chance_over(shares: Sequence[float], values: Sequence[float], bound: float) -> Chance:
    """Return the chance of a value above a bound.

    Two neighbouring quantiles are joined by a line in normal scores, as in the scores of forecasts
    (`evaluation.distribution`). So quantiles of a normal distribution give exactly that distribution. Beyond the outer
    quantiles nothing is known, and the result is the interval that they leave.

    Args:
        shares: Share below each quantile, ascending, shape (n,).
        values: The quantiles, ascending, shape (n,).
        bound: The bound, in the unit of the values.

    >>> quantiles = (0.1, 0.5, 0.9), (-1.281552, 0.0, 1.281552)
    >>> chance_over(*quantiles, 0.0)
    Chance(low=0.5, high=0.5)
    >>> round(chance_over(*quantiles, 1.0).low, 4)  # of a standard normal distribution
    0.1587
    >>> chance_over(*quantiles, 5.0), chance_over(*quantiles, -5.0)
    (Chance(low=0.0, high=0.1), Chance(low=0.9, high=1.0))
    """
    if bound >= values[-1]:
        return Chance(0.0, round(1.0 - shares[-1], 12))
    if bound < values[0]:
        return Chance(round(1.0 - shares[0], 12), 1.0)
    upper = bisect_right(values, bound)
    lower = upper - 1
    if bound == values[lower]:
        chance = 1.0 - shares[lower]
        return Chance(chance, chance)
    lower_score, upper_score = NORMAL.inv_cdf(shares[lower]), NORMAL.inv_cdf(shares[upper])
    position = (bound - values[lower]) / (values[upper] - values[lower])
    chance = NORMAL.cdf(-(lower_score + position * (upper_score - lower_score)))
    return Chance(chance, chance)
