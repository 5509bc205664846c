"""Time of failure by inverse velocity (Fukuzono 1985) and Voight's law (Voight 1988), from one series of velocities.

Near failure the velocity follows dv/dt = A v^alpha, so that v^-(alpha - 1) falls on a straight line to zero. With the
classical exponent of 2 this is the inverse velocity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

from forecasting.kinematics.velocity import DAY_S
from forecasting.kinematics.velocity_windows import WindowVelocity

MIN_VELOCITIES: Final = 4
# Relative deviation of real velocities from any law. It keeps single fast points from dominating the fit.
RELATIVE_DEVIATION: Final = 0.1
# Relative deviation that is never counted as scatter.
TOLERATED_DEVIATION: Final = 0.03


@dataclass(frozen=True, slots=True)
class InverseVelocityFit:
    """A line through v^-(alpha - 1)."""

    alpha: float
    failure_s: float  # where the line reaches zero, epoch seconds; infinite if the line does not fall
    error_s: float  # one standard error of that instant from the scatter about the line, seconds; infinite likewise
    r2: float  # weighted coefficient of determination
    slope: float  # per day; negative if the motion accelerates
    misfit: float  # mean squared residual in standard errors
    n: int  # number of velocities


def fit_inverse_velocity(velocities: Sequence[WindowVelocity], alpha: float = 2.0) -> InverseVelocityFit | None:
    """Fit dv/dt = A v^alpha in its linear form.

    The weight of a velocity follows from its error in v^-(alpha - 1), which is (alpha - 1) v^-alpha times its standard
    error, with a tenth of v added. So the inverse of a slow velocity, which is mostly noise, has little weight.

    Args:
        velocities: Positive velocities, oldest first.
        alpha: Exponent, above 1.

    Returns:
        The fit; None for fewer than 4 velocities.

    >>> from forecasting.kinematics.velocity_windows import WindowVelocity
    >>> lead_days = [40.0, 30.0, 20.0, 10.0]
    >>> fit = fit_inverse_velocity([WindowVelocity(50.0 / lead, 0.1, -lead * 86400.0) for lead in lead_days])
    >>> round(fit.failure_s, 3) + 0.0, round(fit.r2, 6)
    (0.0, 1.0)
    """
    return fit_exponents(velocities, [alpha])[0]


def fit_exponents(velocities: Sequence[WindowVelocity], alphas: Sequence[float]) -> list[InverseVelocityFit | None]:
    """Return `fit_inverse_velocity` for several exponents."""
    if len(velocities) < MIN_VELOCITIES:
        return [None] * len(alphas)
    origin_s = velocities[-1].stamp_s
    readings = [
        (
            (velocity.stamp_s - origin_s) / DAY_S,
            velocity.rate,
            ((velocity.error / velocity.rate) ** 2 + RELATIVE_DEVIATION * RELATIVE_DEVIATION) ** 0.5,
        )
        for velocity in velocities
    ]
    return [_fit_exponent(readings, alpha, origin_s) for alpha in alphas]


def _fit_exponent(
    readings: Sequence[tuple[float, float, float]], alpha: float, origin_s: float
) -> InverseVelocityFit | None:
    """Fit one exponent.

    Args:
        readings: Days since the newest velocity, velocity, and its relative error.
        alpha: Exponent.
        origin_s: Instant of the newest velocity in epoch seconds.
    """
    n = len(readings)
    power = 1.0 - alpha
    total = sum_t = sum_y = 0.0
    points = []
    for t, velocity, relative_error in readings:
        y = velocity**power
        error = -power * y * relative_error
        weight = 1.0 / (error * error)
        points.append((weight, t, y))
        total += weight
        sum_t += weight * t
        sum_y += weight * y
    mean_t = sum_t / total
    mean_y = sum_y / total
    spread = product = square = 0.0
    for weight, t, y in points:
        offset_t = t - mean_t
        offset_y = y - mean_y
        weighted_t = weight * offset_t
        spread += weighted_t * offset_t
        product += weighted_t * offset_y
        square += weight * offset_y * offset_y
    if spread <= 0.0 or square <= 0.0:
        return None
    slope = product / spread
    misfit = max(0.0, square - product * slope) / (n - 2)
    r2 = product * slope / square
    if slope >= 0.0:
        return InverseVelocityFit(alpha, inf, inf, r2, slope, misfit, n)
    lead_days = -mean_y / slope  # from the weighted middle of the velocities to failure
    error_days = sqrt(misfit * (1.0 / total + lead_days * lead_days / spread)) / -slope
    failure_s = origin_s + (mean_t + lead_days) * DAY_S
    return InverseVelocityFit(alpha, failure_s, error_days * DAY_S, r2, slope, misfit, n)


def measure_scatter(fit: InverseVelocityFit, velocities: Sequence[WindowVelocity]) -> float:
    """Return the mean squared deviation of velocities from a fitted law, in their own standard errors.

    Infinite for a line that does not fall, because it is no law of failure.
    """
    if fit.slope >= 0.0:
        return inf
    power = 1.0 - fit.alpha
    total = 0.0
    for velocity in velocities:
        y = velocity.rate**power
        deviation = (y - fit.slope * (velocity.stamp_s - fit.failure_s) / DAY_S) / (power * y)
        total += deviation * deviation / ((velocity.error / velocity.rate) ** 2 + TOLERATED_DEVIATION**2)
    return total / (fit.n - 2)
