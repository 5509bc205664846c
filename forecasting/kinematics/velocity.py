"""Velocity of a displacement series with its error, in plain float64 Python: decisions rest on it bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Velocity:
    """A fitted rate, in units of the values per day, stamped in the middle of its window.

    Attributes:
        rate: Weighted least-squares slope.
        error: One standard error: from the residuals, never below what the stated sigmas imply.
        low: Smallest slope when any single epoch is left out: what no single reading can have made alone.
        high: Largest such slope.
        n: Epochs used.
        mid_s: Middle of the window, epoch seconds.
        newest_s: Newest epoch used, epoch seconds.
    """

    rate: float
    error: float
    low: float
    high: float
    n: int
    mid_s: float
    newest_s: float


def fit_velocity(times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float]) -> Velocity | None:
    """Fit a straight line by weighted least squares and leave each epoch out once.

    The leave-one-out slopes are exact: dropping point i changes the slope by -w x e / (S (1 - h)) with leverage h
    (Belsley, Kuh and Welsch 1980, Regression Diagnostics, chapter 2). The error counts as many independent epochs as
    the lag-one autocorrelation of the residuals leaves (Santer et al. 2000, J. Geophys. Res. 105, section 4).

    Args:
        times_s: Rising epoch seconds, shape (n,).
        values: Displacement, any unit, shape (n,).
        sigmas: One standard deviation each, same unit, shape (n,); all zero means that it is unknown.

    Returns:
        The velocity per day, or None for fewer than 4 epochs or no extent in time.

    >>> v = fit_velocity([0.0, 86400.0, 172800.0, 259200.0], [0.0, 2.0, 4.0, 6.0], [0.0] * 4)
    >>> round(v.rate, 9), round(v.low, 9), v.n
    (2.0, 2.0, 4)
    """
    n = len(times_s)
    if n < 4:
        return None
    known = max(sigmas) > 0.0
    weights = [1.0 / (s * s) if s > 1e-9 else 1e18 for s in sigmas] if known else [1.0] * n
    origin = times_s[0]
    days = [(t - origin) / DAY_S for t in times_s]
    total = sum_t = sum_y = 0.0
    for w, t, y in zip(weights, days, values, strict=True):
        total += w
        sum_t += w * t
        sum_y += w * y
    mean_t, mean_y = sum_t / total, sum_y / total
    spread = product = 0.0
    for w, t, y in zip(weights, days, values, strict=True):
        spread += w * (t - mean_t) * (t - mean_t)
        product += w * (t - mean_t) * (y - mean_y)
    if spread <= 0.0:
        return None
    rate = product / spread
    residual = [y - mean_y - rate * (t - mean_t) for t, y in zip(days, values, strict=True)]
    error = _error(residual, weights, spread, known=known)
    low = high = rate
    for w, t, e in zip(weights, days, residual, strict=True):
        x = t - mean_t
        rest = 1.0 - w / total - w * x * x / spread
        without = rate - w * x * e / (spread * rest) if rest > 1e-9 else 0.0
        low, high = min(low, without), max(high, without)
    return Velocity(rate, error, low, high, n, (times_s[0] + times_s[-1]) / 2.0, times_s[-1])


def _error(residual: Sequence[float], weights: Sequence[float], spread: float, *, known: bool) -> float:
    """One standard error of the slope; neighbouring residuals that go together are fewer facts than they look."""
    chi = square = shared = before = 0.0
    for w, e in zip(weights, residual, strict=True):
        chi += w * e * e
        square += e * e
        shared += e * before
        before = e
    alike = min(0.9, max(0.0, shared / square)) if square > 0.0 else 0.0
    error = sqrt(chi / (len(residual) - 2) / spread * (1.0 + alike) / (1.0 - alike))
    return max(error, sqrt(1.0 / spread)) if known else error
