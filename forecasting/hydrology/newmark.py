"""Sliding-block displacement of a slope under shaking: what an earthquake may have done before anybody has looked."""

from dataclasses import dataclass
from math import log10, radians, sin
from typing import Final

_CONSTANT: Final = 0.215
_EXPONENT_REST: Final = 2.341
_EXPONENT_RATIO: Final = -1.438
_SIGMA_LOG10: Final = 0.510


@dataclass(frozen=True, slots=True)
class BlockDisplacement:
    """Newmark displacement in cm: the median of the regression and one standard deviation to either side."""

    median_cm: float
    low_cm: float
    high_cm: float


def critical_acceleration_g(factor_of_safety: float, slope_deg: float) -> float:
    """Acceleration (g) at which a block begins to slide: a_c = (FS - 1) g sin(alpha).

    Args:
        factor_of_safety: static factor of safety before the shaking, above 1.

    Raises:
        ValueError: the slope is not standing (FS <= 1) or the angle lies outside 0..90 degrees.

    Source: Newmark 1965, Geotechnique 15, 139-160; in this form Jibson 1993, Transp. Res. Rec. 1411.

    >>> round(critical_acceleration_g(1.5, 30.0), 6)
    0.25
    """
    if factor_of_safety <= 1.0 or not 0.0 < slope_deg < 90.0:
        raise ValueError(
            "a critical acceleration needs a factor of safety above 1 and a slope between 0 and 90 degrees"
        )
    return (factor_of_safety - 1.0) * sin(radians(slope_deg))


def estimate_displacement(pga_g: float, critical_g: float) -> BlockDisplacement:
    """Displacement of a rigid block from peak ground acceleration and critical acceleration, both in g.

    log10 D = 0.215 + log10[(1 - ac/amax)**2.341 (ac/amax)**-1.438] +- 0.510, D in cm; none where ac >= amax. Fitted to
    2,270 records of 30 earthquakes; a regional index of damage, never a forecast of how far this slope moves.

    Source: Jibson 2007, Engineering Geology 91, 209-218, equation 6.

    >>> found = estimate_displacement(0.4, 0.1)
    >>> round(found.median_cm, 2), round(found.low_cm, 2), round(found.high_cm, 2)
    (6.14, 1.9, 19.87)
    >>> estimate_displacement(0.1, 0.2).median_cm
    0.0
    """
    if critical_g <= 0.0:
        raise ValueError("the critical acceleration must be above zero")
    if pga_g <= critical_g:
        return BlockDisplacement(0.0, 0.0, 0.0)
    ratio = critical_g / pga_g
    log = _CONSTANT + _EXPONENT_REST * log10(1.0 - ratio) + _EXPONENT_RATIO * log10(ratio)
    return BlockDisplacement(10.0**log, 10.0 ** (log - _SIGMA_LOG10), 10.0 ** (log + _SIGMA_LOG10))
