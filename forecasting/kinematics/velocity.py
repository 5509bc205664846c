"""Velocity of a displacement series with its error, from a straight line over one window.

Decisions are recomputed bit for bit from these functions. So all sums are exact before they are rounded (`fsum`), and
numpy is used only where it rounds as plain Python does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from operator import mul
from typing import Any, Final, NamedTuple

DAY_S = 86_400.0
MIN_READINGS: Final = 4
# A velocity is distinguishable from zero if it exceeds this many standard errors.
DISTINCT_ERRORS: Final = 2.0
# Relative rounding error of a sum of products, far above that of a thousand terms.
ROUNDING: Final = 1e-11
# If less of the spread of the instants remains without a reading, the slope depends on that reading alone.
MIN_REMAINING_SPREAD: Final = 1e-9
SMALLEST_SIGMA: Final = 1e-9
LARGEST_AUTOCORRELATION: Final = 0.9


class Velocity(NamedTuple):
    """A fitted rate, in units of the values per day, stamped in the middle of its window."""

    rate: float  # weighted least-squares slope
    error: float  # one standard error: from the residuals, never below what the stated sigmas imply
    low: float  # smallest slope when any single reading is left out
    high: float  # largest such slope
    n: int  # readings used
    mid_s: float  # middle of the window, epoch seconds
    newest_s: float  # newest reading used, epoch seconds
    stated: float = 0.0  # the error that the stated sigmas alone imply; 0 = unknown


def find_inverse(velocity: Velocity | None) -> float | None:
    """Return the inverse of a velocity, in days per unit; None if the velocity cannot be distinguished from zero."""
    if velocity is None or velocity.rate <= DISTINCT_ERRORS * velocity.error or velocity.rate <= 0.0:
        return None
    return 1.0 / velocity.rate


def fit_velocity(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> Velocity | None:
    """Fit a straight line by weighted least squares, and the slopes without each single reading.

    The slopes without a reading are exact: dropping reading i changes the slope by -w x e / (S (1 - h)) with leverage h
    (Belsley, Kuh and Welsch 1980, Regression Diagnostics, chapter 2). The error counts as many independent readings as
    the lag-one autocorrelation of the residuals leaves (Santer et al. 2000, J. Geophys. Res. 105, section 4).

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings, shape (n,).
        sigmas: Standard deviation of each reading, same unit, shape (n,). All zero means that it is unknown.

    Returns:
        The velocity per day; None for fewer than 4 readings or no extent in time.

    >>> v = fit_velocity([0.0, 86400.0, 172800.0, 259200.0], [0.0, 2.0, 4.0, 6.0], [0.0] * 4)
    >>> round(v.rate, 9), round(v.low, 9), v.n
    (2.0, 2.0, 4)
    """
    layout = _lay_out(times_s, sigmas)
    if layout is None:
        return None
    stated = _compute_stated_error(layout, sigmas)
    rate, error, residuals = _fit_line(layout, values, stated)
    changes = _leave_out(layout, residuals, rate)
    return _make_velocity(times_s, rate, error, (min(changes), max(changes)), stated)


def fit_velocities(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[float]
) -> list[Velocity | None]:
    """Return what `fit_velocity` returns for several series with the same instants, for half of the work.

    The results are the same bit for bit: array operations round each product and difference as plain Python does, and
    the sums are exact.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings by series, shape (k, n).
        sigmas: One standard deviation of each series, shape (k,).
    """
    count = len(times_s)
    layout = None if count < MIN_READINGS else _lay_out_evenly(tuple([t - times_s[0] for t in times_s]))
    if layout is None or layout.depends_on_one_reading:
        return [fit_velocity(times_s, column, [sigma] * count) for column, sigma in zip(values, sigmas, strict=True)]
    # imported here, so that a decision on few stations does not load numpy
    import numpy as np

    if layout.arrays is None:
        layout.arrays = np.array(layout.x), np.array(layout.remaining_spreads)
    x, remaining_spreads = layout.arrays
    y = np.array(values) - np.array([[fsum(column) / layout.total] for column in values])
    rates = [fsum(column) / layout.spread for column in (y * x).tolist()]
    residuals = y - np.array(rates)[:, None] * x
    squares = map(fsum, (residuals * residuals).tolist())
    products = map(fsum, (residuals[:, :-1] * residuals[:, 1:]).tolist())
    changes = x * residuals / remaining_spreads
    extremes = zip(changes.min(axis=1).tolist(), changes.max(axis=1).tolist(), strict=True)
    velocities: list[Velocity | None] = []
    for rate, square, product, extreme, sigma in zip(rates, squares, products, extremes, sigmas, strict=True):
        stated = _compute_stated_error(layout, (sigma,))
        error = _compute_line_error(layout, count, square, square, product, stated)
        velocities.append(_make_velocity(times_s, rate, error, extreme, stated))
    return velocities


def fit_rates(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """Return the rate per day and its error of each component of a series, as `fit_velocity` does.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings by component, shape (k, n).
        sigmas: Standard deviations by component, shape (k, n).

    Returns:
        (rate, error) by component; None for fewer than 4 readings or no extent in time.
    """
    layouts = _lay_out_each(times_s, sigmas)
    if layouts is None:
        return None
    columns = zip(layouts, values, sigmas, strict=True)
    return [_fit_line(layout, column, _compute_stated_error(layout, errors))[:2] for layout, column, errors in columns]


def fit_slope(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> float | None:
    """Return the rate of `fit_velocity` without its error, for less than half of the work."""
    layout = _lay_out(times_s, sigmas)
    return None if layout is None else _fit_slope(layout, values)[0]


def fit_slopes(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[float] | None:
    """Return the rates of `fit_rates` without their errors, for half of the work."""
    layouts = _lay_out_each(times_s, sigmas)
    if layouts is None:
        return None
    return [_fit_slope(layout, column)[0] for layout, column in zip(layouts, values, strict=True)]


def estimate_slopes(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """Return an estimate of each rate of `fit_slopes` and a bound of its rounding error, for a quarter of the work.

    None for fewer than 4 readings, no extent in time, or if the errors of a component differ.
    """
    layout = _lay_out(times_s, sigmas[0]) if all(map(_are_equal, sigmas)) else None
    if layout is None:
        return None
    rounding = ROUNDING * fsum(map(abs, layout.x)) / layout.spread
    return [(fsum(map(mul, layout.x, column)) / layout.spread, rounding * max(map(abs, column))) for column in values]


@dataclass(slots=True)
class _Layout:
    """The part of a fit that depends only on instants and errors. Series with the same instants share it."""

    weights: Sequence[float] | None  # None if all are equal
    total: float  # sum of the weights
    x: list[float]  # days since the weighted mean instant
    wx: list[float]  # the same times the weights
    spread: float  # weighted sum of squares of `x`
    spreads_without: list[float] | None = None  # see `remaining_spreads`; computed on first use
    arrays: Any = None  # `x` and `remaining_spreads` as arrays, once `fit_velocities` has used them

    @property
    def remaining_spreads(self) -> list[float]:
        """What remains of the spread without each reading."""
        if self.spreads_without is None:
            if self.weights is None:
                without_mean = self.spread - self.spread / self.total
                self.spreads_without = [without_mean - a * a for a in self.x]
            else:
                self.spreads_without = [
                    self.spread - self.spread * weight / self.total - b * a
                    for weight, b, a in zip(self.weights, self.wx, self.x, strict=True)
                ]
        return self.spreads_without

    @property
    def depends_on_one_reading(self) -> bool:
        """Whether the slope depends on a single reading."""
        return min(self.remaining_spreads) <= MIN_REMAINING_SPREAD * self.spread


def _lay_out_each(times_s: Sequence[float], sigmas: Sequence[Sequence[float]]) -> list[_Layout] | None:
    """Return the layout of each component; components with one error each share a layout."""
    layouts: list[_Layout] = []
    shared: _Layout | None = None
    for deviations in sigmas:
        is_even = _are_equal(deviations)
        layout = shared if shared is not None and is_even else _lay_out(times_s, deviations)
        if layout is None:
            return None
        if is_even:
            shared = layout
        layouts.append(layout)
    return layouts


def _lay_out(times_s: Sequence[float], sigmas: Sequence[float]) -> _Layout | None:
    if len(times_s) < MIN_READINGS:
        return None
    origin_s = times_s[0]
    offsets_s = tuple([t - origin_s for t in times_s])
    if _are_equal(sigmas):
        return _lay_out_evenly(offsets_s)
    days = [t / DAY_S for t in offsets_s]
    weights = [1.0 / (sigma * sigma) if sigma > SMALLEST_SIGMA else 1e18 for sigma in sigmas]
    total = fsum(weights)
    mean = fsum(map(mul, weights, days)) / total
    x = [day - mean for day in days]
    wx = list(map(mul, weights, x))
    spread = fsum(map(mul, wx, x))
    return _Layout(weights, total, x, wx, spread) if spread > 0.0 else None


@lru_cache(maxsize=128)
def _lay_out_evenly(offsets_s: tuple[float, ...]) -> _Layout | None:
    """Return the layout of readings with equal errors. Series with a fixed interval use it again and again."""
    days = [t / DAY_S for t in offsets_s]
    mean = fsum(days) / float(len(days))
    x = [day - mean for day in days]
    spread = fsum(map(mul, x, x))
    return _Layout(None, float(len(x)), x, x, spread) if spread > 0.0 else None


def _are_equal(sigmas: Sequence[float]) -> bool:
    return sigmas.count(sigmas[0]) == len(sigmas)


def _fit_slope(layout: _Layout, values: Sequence[float]) -> tuple[float, list[float]]:
    """Return the slope per day, and the values less their mean."""
    weights = layout.weights
    mean = fsum(values if weights is None else map(mul, weights, values)) / layout.total
    y = [value - mean for value in values]
    return fsum(map(mul, layout.wx, y)) / layout.spread, y


def _fit_line(layout: _Layout, values: Sequence[float], stated: float) -> tuple[float, float, list[float]]:
    """Return the slope per day, its error, which is at least the stated one, and the residuals."""
    weights = layout.weights
    rate, y = _fit_slope(layout, values)
    residuals = [b - rate * a for a, b in zip(layout.x, y, strict=True)]
    square = fsum(map(mul, residuals, residuals))
    weighted_square = square
    if weights is not None:
        weighted_square = fsum(weight * e * e for weight, e in zip(weights, residuals, strict=True))
    product = fsum(map(mul, residuals, residuals[1:]))
    return rate, _compute_line_error(layout, len(y), square, weighted_square, product, stated), residuals


def _compute_line_error(
    layout: _Layout, count: int, square: float, weighted_square: float, product: float, stated: float
) -> float:
    """Return the standard error of a slope, widened by the autocorrelation of the residuals.

    Args:
        layout: Layout of the fit.
        count: Number of readings.
        square: Sum of squares of the residuals.
        weighted_square: The same, weighted.
        product: Sum of the products of neighbouring residuals.
        stated: The error that the stated sigmas imply, a lower bound.
    """
    correlation = min(LARGEST_AUTOCORRELATION, max(0.0, product / square)) if square > 0.0 else 0.0
    error = sqrt(weighted_square / (count - 2) / layout.spread * (1.0 + correlation) / (1.0 - correlation))
    return max(error, stated)


def _compute_stated_error(layout: _Layout, sigmas: Sequence[float]) -> float:
    if layout.weights is None:
        return sqrt(sigmas[0] * sigmas[0] / layout.spread) if sigmas[0] > 0.0 else 0.0
    return sqrt(1.0 / layout.spread) if max(sigmas) > 0.0 else 0.0


def _leave_out(layout: _Layout, residuals: Sequence[float], rate: float) -> list[float]:
    """Return by how much each reading changes the slope: by all of it where the slope depends on that reading."""
    columns = zip(layout.wx, residuals, layout.remaining_spreads, strict=True)
    if not layout.depends_on_one_reading:
        return [a * e / remaining for a, e, remaining in columns]
    smallest = MIN_REMAINING_SPREAD * layout.spread
    return [a * e / remaining if remaining > smallest else rate for a, e, remaining in columns]


def _make_velocity(
    times_s: Sequence[float], rate: float, error: float, changes: tuple[float, float], stated: float
) -> Velocity:
    """Return a velocity from the smallest and the largest change that a single reading makes."""
    smallest, largest = changes
    low, high = rate - max(0.0, largest), rate - min(0.0, smallest)
    return Velocity(rate, error, low, high, len(times_s), (times_s[0] + times_s[-1]) / 2.0, times_s[-1], stated)
