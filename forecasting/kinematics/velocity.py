"""Velocity of a displacement series with its error, in plain float64 Python: decisions rest on it bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from operator import mul
from typing import Any, Final, NamedTuple

DAY_S = 86_400.0
DISTINCT: Final = 2.0  # standard errors by which a velocity differs from zero
ROUNDING: Final = 1e-11  # of a sum of products: far more than a thousand terms err
LEAST_ROOM: Final = 1e-9  # of the spread: less is left of it without an epoch that the slope hangs on alone


class Velocity(NamedTuple):
    """A fitted rate, in units of the values per day, stamped in the middle of its window."""

    rate: float  # weighted least-squares slope
    error: float  # one standard error: from the residuals, never below what the stated sigmas imply
    low: float  # smallest slope when any single epoch is left out: what no single reading can have made alone
    high: float  # largest such slope
    n: int  # epochs used
    mid_s: float  # middle of the window, epoch seconds
    newest_s: float  # newest epoch used, epoch seconds
    stated: float = 0.0  # the error that the stated sigmas alone imply; 0 = they state none


def find_inverse(velocity: Velocity | None) -> float | None:
    """Return the inverse of a velocity, in days per unit; None if the velocity cannot be distinguished from zero."""
    if velocity is None or velocity.rate <= DISTINCT * velocity.error or velocity.rate <= 0.0:
        return None
    return 1.0 / velocity.rate


def fit_velocity(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> Velocity | None:
    """Fit a straight line by weighted least squares and leave each epoch out once.

    The leave-one-out slopes are exact: dropping point i changes the slope by -w x e / (S (1 - h)) with leverage h
    (Belsley, Kuh and Welsch 1980, Regression Diagnostics, chapter 2). The error counts as many independent epochs as
    the lag-one autocorrelation of the residuals leaves (Santer et al. 2000, J. Geophys. Res. 105, section 4). `sigmas`:
    one standard deviation each, same unit, shape (n,); all zero means that it is unknown. Returns the velocity per
    day, or None for fewer than 4 epochs or no extent in time.

    >>> v = fit_velocity([0.0, 86400.0, 172800.0, 259200.0], [0.0, 2.0, 4.0, 6.0], [0.0] * 4)
    >>> round(v.rate, 9), round(v.low, 9), v.n
    (2.0, 2.0, 4)
    """
    layout = _lay_out(times_s, sigmas)
    if layout is None:
        return None
    stated = _stated_error(layout, sigmas)
    rate, error, residual = _fit_line(layout, values, stated)
    changes = _leave_out(layout, residual, rate)
    most, least = max(changes), min(changes)
    low, high = rate - max(0.0, most), rate - min(0.0, least)
    middle_s = (times_s[0] + times_s[-1]) / 2.0
    return Velocity(rate, error, low, high, len(times_s), middle_s, times_s[-1], stated)


def fit_velocities(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[float]
) -> list[Velocity | None]:
    """What `fit_velocity` gives for several series of the same epochs, each of one error, for half of the work.

    Bit for bit: array operations round each product and difference as plain ones do, and sums are exact as well.

    Args:
        values: By series, shape (k, n).
        sigmas: One standard deviation of each series, shape (k,).
    """
    count = len(times_s)
    layout = None if count < 4 else _lay_out_evenly(tuple([t - times_s[0] for t in times_s]))
    if layout is None or layout.hangs:
        return [fit_velocity(times_s, one, [sigma] * count) for one, sigma in zip(values, sigmas, strict=True)]
    import numpy as np  # a look at few stations does without

    if layout.arrays is None:
        layout.arrays = np.array(layout.x), np.array(layout.rests)
    x, rests = layout.arrays
    y = np.array(values) - np.array([[fsum(one) / layout.total] for one in values])
    rates = [fsum(one) / layout.spread for one in (y * x).tolist()]
    residuals = y - np.array(rates)[:, None] * x
    squares = map(fsum, (residuals * residuals).tolist())
    shared = map(fsum, (residuals[:, :-1] * residuals[:, 1:]).tolist())
    changes = x * residuals / rests
    spans = zip(changes.min(axis=1).tolist(), changes.max(axis=1).tolist(), strict=True)
    found: list[Velocity | None] = []
    for rate, square, product, (least, most), sigma in zip(rates, squares, shared, spans, sigmas, strict=True):
        stated = _stated_error(layout, (sigma,))
        error = _line_error(layout, count, square, square, product, stated)
        middle_s, newest_s = (times_s[0] + times_s[-1]) / 2.0, times_s[-1]
        low, high = rate - max(0.0, most), rate - min(0.0, least)
        found.append(Velocity(rate, error, low, high, count, middle_s, newest_s, stated))
    return found


def fit_rates(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """(rate per day, its error) of several components (k, n) of one series, each as `fit_velocity` gives it.

    None for fewer than 4 epochs or no extent in time.
    """
    layouts = _lay_out_each(times_s, sigmas)
    if layouts is None:
        return None
    each = zip(layouts, values, sigmas, strict=True)
    return [_fit_line(layout, column, _stated_error(layout, errors))[:2] for layout, column, errors in each]


def fit_slopes(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[float] | None:
    """The rates of `fit_rates` without their errors, for half of the work."""
    layouts = _lay_out_each(times_s, sigmas)
    if layouts is None:
        return None
    return [_fit_slope(layout, column)[0] for layout, column in zip(layouts, values, strict=True)]


def estimate_slopes(
    times_s: Sequence[float], values: Sequence[Sequence[float]], sigmas: Sequence[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """(rate of `fit_slopes`, more than rounding moves it) of each component, for a quarter of the work.

    None where there are none, or errors differ.
    """
    layout = _lay_out(times_s, sigmas[0]) if all(map(_are_alike, sigmas)) else None
    if layout is None:
        return None
    reach = ROUNDING * fsum(map(abs, layout.x)) / layout.spread
    return [(fsum(map(mul, layout.x, one)) / layout.spread, reach * max(map(abs, one))) for one in values]


@dataclass(slots=True)
class _Layout:
    """What instants and errors of a fit say before any value: weights, centred days, their spread; fits share it."""

    weights: Sequence[float] | None  # None = all alike
    total: float
    x: list[float]
    wx: list[float]
    spread: float
    rests: list[float]  # what is left of the spread without each epoch
    hangs: bool = False  # on one epoch alone
    arrays: Any = None  # of `x` and `rests`, made where several series are fitted together


def _lay_out_each(times_s: Sequence[float], sigmas: Sequence[Sequence[float]]) -> list[_Layout] | None:
    found: list[_Layout] = []
    shared: _Layout | None = None
    for deviations in sigmas:
        even = _are_alike(deviations)  # where each component has one error the instants weigh alike
        layout = shared if shared is not None and even else _lay_out(times_s, deviations)
        if layout is None:
            return None
        shared = layout if even else shared
        found.append(layout)
    return found


def _lay_out(times_s: Sequence[float], sigmas: Sequence[float]) -> _Layout | None:
    if len(times_s) < 4:
        return None
    origin = times_s[0]
    offsets = tuple([t - origin for t in times_s])
    # sums are exact before they are rounded once: the same on every Python, in whatever order they are made
    if _are_alike(sigmas):
        return _lay_out_evenly(offsets)
    days = [t / DAY_S for t in offsets]
    weights = [1.0 / (s * s) if s > 1e-9 else 1e18 for s in sigmas]
    total = fsum(weights)
    mean = fsum(map(mul, weights, days)) / total
    x = [t - mean for t in days]
    wx = list(map(mul, weights, x))
    spread = fsum(map(mul, wx, x))
    if not spread > 0.0:
        return None
    rests = [spread - spread * w / total - b * a for w, b, a in zip(weights, wx, x, strict=True)]
    return _Layout(weights, total, x, wx, spread, rests, min(rests) <= LEAST_ROOM * spread)


@lru_cache(maxsize=128)
def _lay_out_evenly(offsets_s: tuple[float, ...]) -> _Layout | None:
    days = [t / DAY_S for t in offsets_s]
    mean = fsum(days) / float(len(days))
    x = [t - mean for t in days]
    spread = fsum(map(mul, x, x))
    if not spread > 0.0:
        return None
    room = spread - spread / float(len(days))
    rests = [room - a * a for a in x]
    return _Layout(None, float(len(x)), x, x, spread, rests, min(rests) <= LEAST_ROOM * spread)


def _are_alike(sigmas: Sequence[float]) -> bool:
    return sigmas.count(sigmas[0]) == len(sigmas)


def _fit_slope(layout: _Layout, values: Sequence[float]) -> tuple[float, list[float]]:
    weights = layout.weights
    mean = fsum(values if weights is None else map(mul, weights, values)) / layout.total
    y = [v - mean for v in values]
    return fsum(map(mul, layout.wx, y)) / layout.spread, y


def _fit_line(layout: _Layout, values: Sequence[float], stated: float) -> tuple[float, float, list[float]]:
    """Rate, its error, never below the stated one, and the residuals."""
    weights = layout.weights
    rate, y = _fit_slope(layout, values)
    residual = [b - rate * a for a, b in zip(layout.x, y, strict=True)]
    square = fsum(map(mul, residual, residual))
    weighed = square if weights is None else fsum(w * e * e for w, e in zip(weights, residual, strict=True))
    shared = fsum(map(mul, residual, residual[1:]))
    return rate, _line_error(layout, len(y), square, weighed, shared, stated), residual


def _line_error(layout: _Layout, count: int, square: float, weighed: float, shared: float, stated: float) -> float:
    # neighbouring residuals that go together are fewer facts than they look
    alike = min(0.9, max(0.0, shared / square)) if square > 0.0 else 0.0
    error = sqrt(weighed / (count - 2) / layout.spread * (1.0 + alike) / (1.0 - alike))
    return max(error, stated)


def _stated_error(layout: _Layout, sigmas: Sequence[float]) -> float:
    if layout.weights is None:
        return sqrt(sigmas[0] * sigmas[0] / layout.spread) if sigmas[0] > 0.0 else 0.0
    return sqrt(1.0 / layout.spread) if max(sigmas) > 0.0 else 0.0


def _leave_out(layout: _Layout, residual: Sequence[float], rate: float) -> list[float]:
    """What each epoch adds to the slope; one that the slope hangs on alone adds all of it."""
    if not layout.hangs:
        return [a * e / r for a, e, r in zip(layout.wx, residual, layout.rests, strict=True)]
    least = LEAST_ROOM * layout.spread
    return [a * e / r if r > least else rate for a, e, r in zip(layout.wx, residual, layout.rests, strict=True)]
