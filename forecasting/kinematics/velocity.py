"""Velocity of a displacement series with its error, in plain float64 Python: decisions rest on it bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from operator import mul

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
    worst = max(sigmas)
    known = worst > 0.0
    alike = not known or min(sigmas) == worst
    weights = [1.0] * n if alike else [1.0 / (s * s) if s > 1e-9 else 1e18 for s in sigmas]
    origin = times_s[0]
    days = [(t - origin) / DAY_S for t in times_s]
    # sums are exact before they are rounded once: the same on every Python, in whatever order they are made
    total = float(n) if alike else fsum(weights)
    mean_t = fsum(days if alike else map(mul, weights, days)) / total
    mean_y = fsum(values if alike else map(mul, weights, values)) / total
    x = [t - mean_t for t in days]
    y = [v - mean_y for v in values]
    wx = x if alike else list(map(mul, weights, x))
    spread = fsum(map(mul, wx, x))
    if spread <= 0.0:
        return None
    rate = fsum(map(mul, wx, y)) / spread
    residual = [b - rate * a for a, b in zip(x, y, strict=True)]
    square = fsum(map(mul, residual, residual))
    weighed = square if alike else fsum(w * e * e for w, e in zip(weights, residual, strict=True))
    error = _error(residual, square, weighed / (n - 2) / spread)
    if known:
        error = max(error, sqrt((worst * worst if alike else 1.0) / spread))
    changes = _leave_out(weights, total, wx, x, residual, spread, rate)
    low, high = rate - max(0.0, *changes), rate - min(0.0, *changes)
    return Velocity(rate, error, low, high, n, (origin + times_s[-1]) / 2.0, times_s[-1])


def _error(residual: Sequence[float], square: float, variance: float) -> float:
    """One standard error of the slope; neighbouring residuals that go together are fewer facts than they look."""
    shared = fsum(map(mul, residual, residual[1:]))
    alike = min(0.9, max(0.0, shared / square)) if square > 0.0 else 0.0
    return sqrt(variance * (1.0 + alike) / (1.0 - alike))


def _leave_out(
    weights: Sequence[float], total: float, wx: Sequence[float], x: Sequence[float], residual: Sequence[float],
    spread: float, rate: float,
) -> list[float]:  # fmt: skip
    """What each epoch adds to the slope; one that the slope hangs on alone adds all of it."""
    if weights[0] == 1.0 and total == len(x):
        room = spread - spread / total
        rests = [room - a * a for a in x]
    else:
        rests = [spread - spread * w / total - b * a for w, b, a in zip(weights, wx, x, strict=True)]
    least = 1e-9 * spread
    if min(rests) > least:
        return [a * e / r for a, e, r in zip(wx, residual, rests, strict=True)]
    return [a * e / r if r > least else rate for a, e, r in zip(wx, residual, rests, strict=True)]
