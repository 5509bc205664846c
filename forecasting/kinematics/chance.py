"""The chance that a forecast gives to more than a bound: as far as its quantiles say, and not beyond them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

QUANTILES: Final = (("q025", 0.025), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q975", 0.975))
"""Names of the quantiles of a forecast, and the share of what may come that lies below each."""
NORMAL: Final = NormalDist()
DISTRIBUTION: Final = "lines between the quantiles in normal scores, nothing beyond the outer ones"


@dataclass(frozen=True, slots=True)
class Chance:
    """A chance between 0 and 1; `low` and `high` differ where the quantiles end before the bound."""

    low: float
    high: float


def chance_over(shares: Sequence[float], values: Sequence[float], bound: float) -> Chance:
    """The chance of more than a bound.

    Two neighbouring quantiles are joined by a line in normal scores, as where fans are scored (`evaluation.
    distribution`): a normal fan is taken for exactly that normal, an uneven one for a two-piece normal. Beyond the
    outer quantiles nothing is claimed: there the answer is the interval that they leave.

    >>> quantiles = (0.1, 0.5, 0.9), (-1.281552, 0.0, 1.281552)
    >>> chance_over(*quantiles, 0.0)
    Chance(low=0.5, high=0.5)
    >>> round(chance_over(*quantiles, 1.0).low, 4)  # of a standard normal
    0.1587
    >>> chance_over(*quantiles, 5.0), chance_over(*quantiles, -5.0)
    (Chance(low=0.0, high=0.1), Chance(low=0.9, high=1.0))
    """
    if bound >= values[-1]:
        return Chance(0.0, round(1.0 - shares[-1], 12))
    if bound < values[0]:
        return Chance(round(1.0 - shares[0], 12), 1.0)
    k = bisect_right(values, bound)
    share, value, after = shares[k - 1], values[k - 1], values[k]
    near, far = NORMAL.inv_cdf(share), NORMAL.inv_cdf(shares[k])
    over = NORMAL.cdf(-(near + (bound - value) / (after - value) * (far - near))) if bound > value else 1.0 - share
    return Chance(over, over)
