"""Return period of a depth of rain, from a distribution of annual maxima or from given quantiles.

The module does not use SciPy, so that decisions can be recomputed bit for bit. It agrees with `scipy.stats.genextreme`
to 1e-9 (`test_beside_libraries.py`).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, fsum, gamma, inf, log, log1p
from typing import Final

# Annual maxima that a fit needs, by method.
LEAST_YEARS: Final = {"gumbel": 10, "gev": 20}
_EULER: Final = 0.577215664901532860
# Longest return period that a record supports, as a multiple of its length.
BEYOND_RECORD: Final = 2.0


class TooFewYearsError(ValueError):
    """The record is too short for the distribution or for the requested return period."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """Distribution of annual maxima, x(F) = location + scale * (1 - (-ln F)**shape) / shape. Shape 0 is Gumbel.

    Attributes:
        location: mm.
        scale: mm, above zero.
        shape: k with Hosking's sign: a negative shape has the heavy tail.
        years: Number of annual maxima that were fitted.
    """

    location: float
    scale: float
    shape: float
    years: int

    def depth(self, return_years: float) -> float:
        """Return the depth that is exceeded once in `return_years` on average, mm.

        >>> round(Extremes(50.0, 10.0, 0.0, 30).depth(10.0), 3)
        72.504
        """
        reduced = -log(-log1p(-1.0 / return_years))
        if self.shape == 0.0:
            return self.location + self.scale * reduced
        return self.location - self.scale * expm1(-self.shape * reduced) / self.shape

    def return_years(self, depth_mm: float) -> float:
        """Return the average number of years between exceedances of a depth, at least 1.

        It is infinite above the upper end of the distribution.

        >>> round(Extremes(50.0, 10.0, 0.0, 30).return_years(72.504), 2)
        10.0
        """
        z = (depth_mm - self.location) / self.scale
        if self.shape != 0.0:
            if 1.0 - self.shape * z <= 0.0:
                return inf if self.shape > 0.0 else 1.0
            z = -log1p(-self.shape * z) / self.shape
        if z < -6.0:  # the probability of a smaller maximum, exp(-exp(6)), is negligible
            return 1.0
        probability = -expm1(-exp(-z))
        return inf if probability <= 0.0 else 1.0 / probability


def fit_extremes(maxima_mm: Sequence[float], method: str) -> Extremes:
    """Fit annual maxima by probability-weighted moments.

    Args:
        method: `gumbel` (Landwehr et al. 1979, Water Resour. Res. 15, 1055-1064) or `gev` (Hosking, Wallis and Wood
            1985, Technometrics 27, 251-261; the approximation of the shape is good for -0.5 < k < 0.5).

    Raises:
        TooFewYearsError: There are fewer maxima than `LEAST_YEARS`.
        ValueError: The maxima are all equal or not above zero, or their shape is outside -0.5 to 0.5.
    """
    years = len(maxima_mm)
    needed = LEAST_YEARS[method]
    if years < needed:
        raise TooFewYearsError(f"{years} annual maxima are too few for {method}, which needs {needed}")
    if min(maxima_mm) <= 0.0 or min(maxima_mm) == max(maxima_mm):
        raise ValueError("annual maxima must be above zero and not all alike")
    # unbiased probability-weighted moments
    ordered = sorted(maxima_mm)
    n = years
    b0 = fsum(ordered) / n
    b1 = fsum(i * x for i, x in enumerate(ordered)) / (n * (n - 1))
    b2 = fsum(i * (i - 1) * x for i, x in enumerate(ordered)) / (n * (n - 1) * (n - 2))
    if method == "gumbel":
        scale = (2.0 * b1 - b0) / log(2.0)
        return Extremes(b0 - _EULER * scale, scale, 0.0, years)
    c = (2.0 * b1 - b0) / (3.0 * b2 - b0) - log(2.0) / log(3.0)
    shape = 7.8590 * c + 2.9554 * c * c
    if abs(shape) < 1e-9:
        return fit_extremes(maxima_mm, "gumbel")
    if abs(shape) >= 0.5:
        raise ValueError(f"the maxima give a shape of {shape:.2f}, beyond 0.5, where the fit is not to be trusted")
    scale = (2.0 * b1 - b0) * shape / (gamma(1.0 + shape) * (1.0 - 2.0**-shape))
    return Extremes(b0 + scale * (gamma(1.0 + shape) - 1.0) / shape, scale, shape, years)


def join_quantiles(quantiles: Sequence[tuple[float, float]], return_years: float) -> float:
    """Interpolate given quantiles linearly on Gumbel's reduced variate; return the depth of a return period, mm.

    Args:
        quantiles: Pairs of return period in years and depth in mm, in any order.

    Raises:
        TooFewYearsError: The return period is outside the given quantiles.

    >>> round(join_quantiles([(2.0, 50.0), (10.0, 80.0)], 5.0), 2)
    68.05
    """
    ordered = sorted(quantiles)
    if not ordered or not ordered[0][0] <= return_years <= ordered[-1][0]:
        span = f"{ordered[0][0]:g} to {ordered[-1][0]:g} years" if ordered else "none"
        raise TooFewYearsError(f"a return period of {return_years:g} years lies outside the quantiles given ({span})")
    for (t0, x0), (t1, x1) in itertools.pairwise(ordered):
        if t0 <= return_years <= t1:
            share = (_reduced(return_years) - _reduced(t0)) / (_reduced(t1) - _reduced(t0))
            return x0 + share * (x1 - x0)
    return ordered[0][1]


def years_of_depth(quantiles: Sequence[tuple[float, float]], depth_mm: float) -> float | None:
    """Return the return period of a depth between given quantiles, years; None outside them."""
    for (t0, x0), (t1, x1) in itertools.pairwise(sorted(quantiles)):
        if x0 <= depth_mm <= x1 and x1 > x0:
            reduced = _reduced(t0) + (depth_mm - x0) / (x1 - x0) * (_reduced(t1) - _reduced(t0))
            return 1.0 / -expm1(-exp(-reduced))
    return None


def require_record(extremes: Extremes, return_years: float) -> None:
    """Raise TooFewYearsError if a return period is longer than `BEYOND_RECORD` times the record."""
    if return_years > BEYOND_RECORD * extremes.years:
        raise TooFewYearsError(
            f"a return period of {return_years:g} years is more than {BEYOND_RECORD:g} times the "
            f"{extremes.years} years of the record"
        )


def _reduced(return_years: float) -> float:
    """Return Gumbel's reduced variate of a return period."""
    return -log(-log1p(-1.0 / return_years))
