"""The chance that a forecast gives to more than a bound, and when it would reach the failure velocity."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from forecasting.kinematics.velocity import DAY_S

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


def cross_velocity(
    horizons_s: Sequence[float],
    q10: Sequence[float],
    q50: Sequence[float],
    q90: Sequence[float],
    value: float,
    failure_velocity: float,
) -> tuple[float, float, float] | None:
    """Where the quantiles of a displacement forecast grow as fast as the velocity at which the slope is held to fail.

    The velocity of a quantile between two targets is its increment by the time between them, stamped in the middle;
    between stamps it is linear. The 90 % quantile crosses first (the early edge), the median next, the 10 % quantile
    last; one that never crosses gives the end of the forecast, which then only says "not before". Quantiles of one
    forecast are not paths, so this is a coarse second estimator, never the only one. `failure_velocity`: positive
    velocity, unit of the values per day. Returns seconds after the newest datum (from, mid, to), ascending; None where
    the median never crosses.

    >>> cross_velocity([86400.0, 172800.0], [1.0, 2.0], [1.0, 5.0], [2.0, 10.0], 0.0, 2.0)
    (43200.0, 72000.0, 172800.0)
    """
    if not horizons_s or failure_velocity <= 0.0 or horizons_s[0] <= 0.0:
        return None
    early, mid, late = (_cross(horizons_s, q, value, failure_velocity) for q in (q90, q50, q10))
    if mid is None:
        return None
    end = horizons_s[-1]
    return min(mid, early if early is not None else mid), mid, max(mid, late if late is not None else end)


def _cross(horizons_s: Sequence[float], quantiles: Sequence[float], value: float, limit: float) -> float | None:
    before_s, before, stamp, speed = 0.0, value, 0.0, None
    for at_s, q in zip(horizons_s, quantiles, strict=True):
        if at_s <= before_s:
            continue
        now = (q - before) / (at_s - before_s) * DAY_S
        middle = (before_s + at_s) / 2.0
        if now >= limit:
            if speed is None or now == speed:
                return middle
            return stamp + (middle - stamp) * (limit - speed) / (now - speed)
        before_s, before, stamp, speed = at_s, q, middle, now
    return None
