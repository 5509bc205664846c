"""Acceleration of a displacement series with its error, from a parabola over one window, stamped in its middle."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from operator import mul
from typing import Final

from forecasting.kinematics.velocity import DAY_S

# A parabola has three parameters. Two more readings are needed to estimate its error.
MIN_READINGS: Final = 5
# Relative sizes below which a rounded number counts as zero.
SMALLEST_SIGMA: Final = 1e-9
SMALLEST_CURVATURE: Final = 1e-12
SMALLEST_LEVERAGE: Final = 1e-9
LARGEST_AUTOCORRELATION: Final = 0.9


@dataclass(frozen=True, slots=True)
class Acceleration:
    """A fitted parabola, in units of the values and days."""

    rate: float  # acceleration, per day and day
    error: float  # one standard error of it
    velocity: float  # velocity in the middle of the window, per day
    velocity_error: float  # one standard error of it
    n: int  # readings used
    mid_s: float  # middle of the window, epoch seconds: the stamp of both
    newest_s: float  # newest reading used, epoch seconds
    low: float  # smallest acceleration when any single reading is left out
    high: float  # largest such acceleration

    @property
    def z(self) -> float:
        """Acceleration in standard errors; 0 if the error is 0."""
        return self.rate / self.error if self.error > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class _Basis:
    """Orthogonal polynomials of the first and second degree over the readings of a window."""

    weights: Sequence[float]
    total: float  # sum of the weights
    first: Sequence[float]
    second: Sequence[float]
    first_square: float  # weighted sums of squares
    second_square: float
    second_slope: float  # derivative of the second polynomial in the middle of the window


@dataclass(frozen=True, slots=True)
class _Parabola:
    basis: _Basis
    slope: float  # coefficient of the first polynomial
    curvature: float  # coefficient of the second polynomial, half of the acceleration
    residuals: Sequence[float]
    unit_error: float  # standard error of a reading of weight one


def fit_acceleration(
    times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], window_s: float
) -> Acceleration | None:
    """Fit a parabola to the newest `window_s` seconds by weighted least squares.

    Orthogonal polynomials (Forsythe 1957, J. SIAM 5) keep the three parameters apart, so that a long time axis costs no
    digits. The error comes from the residuals, widened by their lag-one autocorrelation as in `fit_velocity`, and is
    never below what the stated sigmas imply.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings, shape (n,).
        sigmas: Standard deviation of each reading, shape (n,). All zero means that it is unknown.
        window_s: Length of the window in seconds.

    Returns:
        The fit; None for fewer than 5 readings in the window or no extent in time.

    >>> fit = fit_acceleration([i * 86400.0 for i in range(9)], [0.5 * i * i for i in range(9)], [0.0] * 9, 9 * 86400.0)
    >>> round(fit.rate, 9), round(fit.velocity, 9), fit.mid_s / 86400.0
    (1.0, 4.0, 4.0)
    """
    if not times_s:
        return None
    first = bisect_right(times_s, times_s[-1] - window_s)
    times_s = times_s[first:]
    parabola = _fit_parabola(times_s, values[first:], sigmas[first:])
    if parabola is None:
        return None
    basis = parabola.basis
    low, high = _leave_out(parabola)
    return Acceleration(
        2.0 * parabola.curvature,
        2.0 * parabola.unit_error / sqrt(basis.second_square),
        parabola.slope + parabola.curvature * basis.second_slope,
        parabola.unit_error
        * sqrt(1.0 / basis.first_square + basis.second_slope * basis.second_slope / basis.second_square),
        len(times_s),
        (times_s[0] + times_s[-1]) / 2.0,
        times_s[-1],
        2.0 * low,
        2.0 * high,
    )


def measure_significance(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> float | None:
    """Return `Acceleration.z` of a fit to all readings, for half of the work; None as in `fit_acceleration`."""
    parabola = _fit_parabola(times_s, values, sigmas)
    if parabola is None:
        return None
    error = 2.0 * parabola.unit_error / sqrt(parabola.basis.second_square)
    return 2.0 * parabola.curvature / error if error > 0.0 else 0.0


def _fit_parabola(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> _Parabola | None:
    n = len(times_s)
    if n < MIN_READINGS or times_s[-1] <= times_s[0]:
        return None
    mid_s = (times_s[0] + times_s[-1]) / 2.0
    offsets_s = tuple([t - mid_s for t in times_s])
    has_sigmas = max(sigmas) > 0.0
    if not has_sigmas or sigmas.count(sigmas[0]) == n:
        basis = _build_even_basis(offsets_s, _compute_weight(sigmas[0]) if has_sigmas else 1.0)
    else:
        basis = _build_basis(offsets_s, [_compute_weight(sigma) for sigma in sigmas])
    if basis is None:
        return None
    weights = basis.weights
    mean = fsum(map(mul, weights, values)) / basis.total
    above = [y - mean for y in values]
    slope = _sum_products(weights, basis.first, above) / basis.first_square
    curvature = _sum_products(weights, basis.second, above) / basis.second_square
    residuals = [
        y - mean - slope * p - curvature * q for y, p, q in zip(values, basis.first, basis.second, strict=True)
    ]
    unit_error = _estimate_unit_error(residuals, weights)
    return _Parabola(basis, slope, curvature, residuals, max(unit_error, 1.0) if has_sigmas else unit_error)


def _compute_weight(sigma: float) -> float:
    return 1.0 / (sigma * sigma) if sigma > SMALLEST_SIGMA else 1e18


@lru_cache(maxsize=64)
def _build_even_basis(offsets_s: tuple[float, ...], weight: float) -> _Basis | None:
    """Build the basis of readings with one common weight. Series with a fixed interval use it again and again."""
    return _build_basis(offsets_s, [weight] * len(offsets_s))


def _build_basis(offsets_s: Sequence[float], weights: Sequence[float]) -> _Basis | None:
    days = [offset_s / DAY_S for offset_s in offsets_s]
    total = fsum(weights)
    mean = fsum(map(mul, weights, days)) / total
    first = [day - mean for day in days]
    first_square = _sum_products(weights, first, first)
    if first_square <= 0.0:
        return None
    shift = fsum(map(mul, map(mul, map(mul, weights, days), first), first)) / first_square
    second = [(day - shift) * p - first_square / total for day, p in zip(days, first, strict=True)]
    second_square = _sum_products(weights, second, second)
    if second_square <= first_square * SMALLEST_CURVATURE:
        return None
    return _Basis(weights, total, first, second, first_square, second_square, -shift - mean)


def _leave_out(parabola: _Parabola) -> tuple[float, float]:
    """Return the smallest and the largest curvature when any single reading is left out.

    The result is exact as in `fit_velocity`. The polynomials are orthogonal, so the leverage is a plain sum.
    """
    basis = parabola.basis
    low = high = parabola.curvature
    for weight, residual, p, q in zip(basis.weights, parabola.residuals, basis.first, basis.second, strict=True):
        remaining = (
            1.0 - weight / basis.total - weight * p * p / basis.first_square - weight * q * q / basis.second_square
        )
        without = 0.0
        if remaining > SMALLEST_LEVERAGE:
            without = parabola.curvature - weight * q * residual / (basis.second_square * remaining)
        low = min(low, without)
        high = max(high, without)
    return low, high


def _sum_products(weights: Sequence[float], left: Sequence[float], right: Sequence[float]) -> float:
    return fsum(map(mul, map(mul, weights, left), right))


def _estimate_unit_error(residuals: Sequence[float], weights: Sequence[float]) -> float:
    """Return the standard error of a reading of weight one, widened by the autocorrelation of the residuals."""
    chi_square = square = products = previous = 0.0
    for weight, residual in zip(weights, residuals, strict=True):
        chi_square += weight * residual * residual
        square += residual * residual
        products += residual * previous
        previous = residual
    correlation = min(LARGEST_AUTOCORRELATION, max(0.0, products / square)) if square > 0.0 else 0.0
    if len(residuals) <= 3:
        return 0.0
    return sqrt(chi_square / (len(residuals) - 3) * (1.0 + correlation) / (1.0 - correlation))
