"""Acceleration of a displacement series with its error, from a parabola over one window, stamped in its middle."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, prod, sqrt

from forecasting.kinematics.velocity import DAY_S

FEWEST = 5  # a parabola has three numbers; two more must be left to judge it by


@dataclass(frozen=True, slots=True)
class Acceleration:
    """A fitted parabola, in units of the values and days."""

    rate: float  # acceleration, per day and day
    error: float  # one standard error of it
    velocity: float  # velocity in the middle of the window, per day
    velocity_error: float  # one standard error of it
    n: int  # epochs used
    mid_s: float  # middle of the window, epoch seconds: the stamp of both
    newest_s: float  # newest epoch used, epoch seconds
    low: float  # smallest acceleration when any single epoch is left out: what no single reading can have made alone
    high: float  # largest such acceleration

    @property
    def z(self) -> float:
        """Acceleration in standard errors; 0 where neither can be told."""
        return self.rate / self.error if self.error > 0.0 else 0.0


def fit_acceleration(
    times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], window_s: float
) -> Acceleration | None:
    """Fit a parabola to the newest `window_s` seconds by weighted least squares.

    Orthogonal polynomials (Forsythe 1957, J. SIAM 5) keep the three numbers apart, so that a long time axis costs no
    digits. The error comes from the residuals, widened by their lag-one autocorrelation as in `fit_velocity`, and is
    never below what the stated sigmas imply. `sigmas`: one standard deviation each, shape (n,); all zero means that it
    is unknown. Returns the fit, or None for fewer than 5 epochs in the window or no extent in time.

    >>> fit = fit_acceleration([i * 86400.0 for i in range(9)], [0.5 * i * i for i in range(9)], [0.0] * 9, 9 * 86400.0)
    >>> round(fit.rate, 9), round(fit.velocity, 9), fit.mid_s / 86400.0
    (1.0, 4.0, 4.0)
    """
    if not times_s:
        return None
    first = bisect_right(times_s, times_s[-1] - window_s)
    times, heights, spreads = times_s[first:], values[first:], sigmas[first:]
    n = len(times)
    if n < FEWEST or times[-1] <= times[0]:
        return None
    mid_s = (times[0] + times[-1]) / 2.0
    days = [(t - mid_s) / DAY_S for t in times]
    known = max(spreads) > 0.0
    weights = [1.0 / (s * s) if s > 1e-9 else 1e18 for s in spreads] if known else [1.0] * n
    total = fsum(weights)
    mean_t = _sum(weights, days) / total
    line = [t - mean_t for t in days]
    line2 = _sum(weights, line, line)
    if line2 <= 0.0:
        return None
    cross = _sum(weights, days, line, line) / line2
    bend = [(t - cross) * p - line2 / total for t, p in zip(days, line, strict=True)]
    bend2 = _sum(weights, bend, bend)
    if bend2 <= line2 * 1e-12:
        return None
    mean_y = _sum(weights, heights) / total
    above = [y - mean_y for y in heights]
    slope, curve = _sum(weights, line, above) / line2, _sum(weights, bend, above) / bend2
    rest = [y - mean_y - slope * p - curve * q for y, p, q in zip(heights, line, bend, strict=True)]
    unit = _unit_error(rest, weights, known=known)
    low = high = curve
    for w, e, p, q in zip(weights, rest, line, bend, strict=True):
        # exact, as in `fit_velocity`: the columns are orthogonal, so the leverage is a plain sum
        kept = 1.0 - w / total - w * p * p / line2 - w * q * q / bend2
        without = curve - w * q * e / (bend2 * kept) if kept > 1e-9 else 0.0
        low, high = min(low, without), max(high, without)
    lean = -cross - mean_t  # d(bend)/dt at the middle of the window, where the velocity is stamped
    return Acceleration(
        2.0 * curve,
        2.0 * unit / sqrt(bend2),
        slope + curve * lean,
        unit * sqrt(1.0 / line2 + lean * lean / bend2),
        n,
        mid_s,
        times[-1],
        2.0 * low,
        2.0 * high,
    )


def _sum(*columns: Sequence[float]) -> float:
    return fsum(map(prod, zip(*columns, strict=True)))


def _unit_error(rest: Sequence[float], weights: Sequence[float], *, known: bool) -> float:
    """Error of an epoch of weight one: residuals that go together are fewer facts than they look."""
    chi = square = shared = before = 0.0
    for w, e in zip(weights, rest, strict=True):
        chi += w * e * e
        square += e * e
        shared += e * before
        before = e
    alike = min(0.9, max(0.0, shared / square)) if square > 0.0 else 0.0
    unit = sqrt(chi / (len(rest) - 3) * (1.0 + alike) / (1.0 - alike)) if len(rest) > 3 else 0.0
    return max(unit, 1.0) if known else unit
