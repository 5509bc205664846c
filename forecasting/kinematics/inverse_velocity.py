"""Inverse velocity: the line through powers of 1/v, and when it reaches nothing (Fukuzono 1985; Voight 1988)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from forecasting.kinematics.velocity import DAY_S

FINE = 0.03  # share of a velocity that no law is held to
RELATIVE = 0.1  # how far real velocities stray from any law, as a share: keeps single fast points from ruling the fit


@dataclass(frozen=True, slots=True)
class InverseFit:
    """A line through v^-(alpha - 1)."""

    failure_s: float  # where it reaches nothing, epoch seconds; infinite where it does not fall
    error_s: float  # one standard error of that instant from the scatter about the line, seconds; infinite likewise
    r2: float  # weighted coefficient of determination
    slope: float  # per day; negative where the motion accelerates
    misfit: float  # mean squared residual in standard errors
    n: int  # points


def fit_inverse(
    stamps_s: Sequence[float], velocities: Sequence[float], errors: Sequence[float], alpha: float = 2.0
) -> InverseFit | None:
    """Fit dv/dt = A v^alpha in its linear form: v^-(alpha - 1) falls straight to nothing at failure.

    Each point weighs by the error of v carried through the power, (alpha - 1) v^-alpha se(v), with a tenth of v added:
    1/v of a slow point is mostly noise.

    Args:
        stamps_s: Mid-window instants, epoch seconds, shape (n,).
        velocities: Positive velocities, shape (n,); others must be left out before.
        errors: Their standard errors, shape (n,).
        alpha: Exponent, above 1; 2 is the classical straight line of 1/v.

    Returns:
        The fit; None for fewer than 4 points.

    >>> lead = [40.0, 30.0, 20.0, 10.0]
    >>> fit = fit_inverse([-x * 86400.0 for x in lead], [50.0 / x for x in lead], [0.1] * 4)
    >>> round(fit.failure_s, 3) + 0.0, round(fit.r2, 6)
    (0.0, 1.0)
    """
    n = len(stamps_s)
    if n < 4:
        return None
    power = 1.0 - alpha
    origin = stamps_s[-1]
    total = sum_t = sum_y = 0.0
    points = []
    for stamp, v, error in zip(stamps_s, velocities, errors, strict=True):
        y = v**power
        bound = -power * y * ((error / v) ** 2 + RELATIVE * RELATIVE) ** 0.5
        w = 1.0 / (bound * bound)
        t = (stamp - origin) / DAY_S
        points.append((w, t, y))
        total += w
        sum_t += w * t
        sum_y += w * y
    mean_t, mean_y = sum_t / total, sum_y / total
    spread = product = square = 0.0
    for w, t, y in points:
        spread += w * (t - mean_t) * (t - mean_t)
        product += w * (t - mean_t) * (y - mean_y)
        square += w * (y - mean_y) * (y - mean_y)
    if spread <= 0.0 or square <= 0.0:
        return None
    slope = product / spread
    misfit = max(0.0, square - product * slope) / (n - 2)
    r2 = product * slope / square
    if slope >= 0.0:
        return InverseFit(float("inf"), float("inf"), r2, slope, misfit, n)
    ahead = -mean_y / slope  # days from the middle of the data to failure
    error = sqrt(misfit * (1.0 / total + ahead * ahead / spread)) / -slope
    return InverseFit(origin + (mean_t + ahead) * DAY_S, error * DAY_S, r2, slope, misfit, n)


def measure_scatter(
    fit: InverseFit, stamps_s: Sequence[float], velocities: Sequence[float], errors: Sequence[float], alpha: float
) -> float:
    """Mean square of how far the velocities lie off a fitted law, in their own standard errors.

    Windows overlap, so what is noise alone stays below 1 (0.45 in the middle of drawn curves); rain that drives the
    motion, or the stairs of an interpolated record, show above.

    Args:
        stamps_s: What was fitted, shape (n,).
    """
    power = 1.0 - alpha
    square = 0.0
    for stamp, v, error in zip(stamps_s, velocities, errors, strict=True):
        y = v**power
        off = (y - fit.slope * (stamp - fit.failure_s) / DAY_S) / (power * y)
        square += off * off / ((error / v) ** 2 + FINE * FINE)
    return square / (fit.n - 2)
