"""How rare a depth of rain is: extreme-value distributions from annual maxima, or between quantiles that were given.

Ours because decisions recompute bit for bit without SciPy; it is `scipy.stats.genextreme` to 1e-9
(`test_beside_libraries.py`).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, fsum, gamma, inf, log, log1p
from typing import Final

LEAST_YEARS: Final = {"gumbel": 10, "gev": 20}
_EULER: Final = 0.577215664901532860
BEYOND_RECORD: Final = 2.0  # no return period longer than so many times the record is read from it


class TooFewYearsError(ValueError):
    """The record is too short for the distribution, or for the return period that is asked."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """Distribution of annual maxima, x(F) = location + scale * (1 - (-ln F)**shape) / shape; shape 0 is Gumbel's."""

    location: float  # mm
    scale: float  # mm, above zero
    shape: float  # k in Hosking's sign: below zero has the heavy tail
    years: int  # annual maxima behind it; 0 when it joins given quantiles

    def depth(self, return_years: float) -> float:
        """Depth (mm) that is exceeded once in so many years on average.

        >>> round(Extremes(50.0, 10.0, 0.0, 30).depth(10.0), 3)
        72.504
        """
        reduced = -log(-log1p(-1.0 / return_years))
        if self.shape == 0.0:
            return self.location + self.scale * reduced
        return self.location - self.scale * expm1(-self.shape * reduced) / self.shape

    def return_years(self, depth_mm: float) -> float:
        """Years between exceedances of a depth on average, at least 1; infinite beyond the upper end of the tail.

        >>> round(Extremes(50.0, 10.0, 0.0, 30).return_years(72.504), 2)
        10.0
        """
        z = (depth_mm - self.location) / self.scale
        if self.shape != 0.0:
            if 1.0 - self.shape * z <= 0.0:
                return inf if self.shape > 0.0 else 1.0
            z = -log1p(-self.shape * z) / self.shape
        if z < -6.0:  # exp(-exp(6)) is nothing: exceeded every year
            return 1.0
        exceeded = -expm1(-exp(-z))
        return inf if exceeded <= 0.0 else 1.0 / exceeded


def fit_extremes(maxima_mm: Sequence[float], method: str) -> Extremes:
    """Fit annual maxima by probability-weighted moments.

    `method`: `gumbel` (Landwehr et al. 1979, Water Resour. Res. 15, 1055-1064) or `gev` (Hosking, Wallis and Wood 1985,
    Technometrics 27, 251-261; the approximation of the shape is good for -0.5 < k < 0.5).
    """
    years, needed = len(maxima_mm), LEAST_YEARS[method]
    if years < needed:
        raise TooFewYearsError(f"{years} annual maxima are too few for {method}, which needs {needed}")
    if min(maxima_mm) <= 0.0 or min(maxima_mm) == max(maxima_mm):
        raise ValueError("annual maxima must be above zero and not all alike")
    ordered, n = sorted(maxima_mm), years  # unbiased probability-weighted moments
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
    """Depth between given (return period in years, depth in mm), straight lines on Gumbel's reduced variate.

    >>> round(join_quantiles([(2.0, 50.0), (10.0, 80.0)], 5.0), 2)
    68.05
    """
    known = sorted(quantiles)
    if not known or not known[0][0] <= return_years <= known[-1][0]:
        span = f"{known[0][0]:g} to {known[-1][0]:g} years" if known else "none"
        raise TooFewYearsError(f"a return period of {return_years:g} years lies outside the quantiles given ({span})")
    for (t0, x0), (t1, x1) in itertools.pairwise(known):
        if t0 <= return_years <= t1:
            share = (_reduced(return_years) - _reduced(t0)) / (_reduced(t1) - _reduced(t0))
            return x0 + share * (x1 - x0)
    return known[0][1]


def years_of_depth(quantiles: Sequence[tuple[float, float]], depth_mm: float) -> float | None:
    """Return period of a depth between given quantiles; None outside them."""
    known = sorted(quantiles)
    for (t0, x0), (t1, x1) in itertools.pairwise(known):
        if x0 <= depth_mm <= x1 and x1 > x0:
            reduced = _reduced(t0) + (depth_mm - x0) / (x1 - x0) * (_reduced(t1) - _reduced(t0))
            return 1.0 / -expm1(-exp(-reduced))
    return None


def require_record(extremes: Extremes, return_years: float) -> None:
    """Refuse a return period far beyond the record."""
    if return_years > BEYOND_RECORD * extremes.years:
        raise TooFewYearsError(
            f"a return period of {return_years:g} years is more than {BEYOND_RECORD:g} times the "
            f"{extremes.years} years of the record"
        )


def _reduced(return_years: float) -> float:
    return -log(-log1p(-1.0 / return_years))
