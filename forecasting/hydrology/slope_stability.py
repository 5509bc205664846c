"""Factor of safety of an infinite slope from pore pressure, with what the uncertainty of its parameters makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, erf, exp, log, radians, sin, sqrt, tan
from typing import Final

WATER_KN_M3: Final = 9.81
_Z90: Final = 1.6448536269514722  # 5 % and 95 % of a normal distribution


@dataclass(frozen=True, slots=True)
class InfiniteSlope:
    """A planar slip surface parallel to the ground, with effective strength; standard deviations end in `_sd`."""

    slope_deg: float  # angle of ground and slip surface
    depth_m: float  # vertical depth of the slip surface
    cohesion_kpa: float  # effective cohesion
    friction_deg: float  # effective angle of friction
    unit_weight_kn_m3: float  # of the ground above the slip surface
    depth_sd_m: float = 0.0
    cohesion_sd_kpa: float = 0.0
    friction_sd_deg: float = 0.0
    unit_weight_sd_kn_m3: float = 0.0
    pressure_sd_kpa: float = 0.0  # standard deviation of the pore pressure at the slip surface


@dataclass(frozen=True, slots=True)
class Safety:
    """Factor of safety: best estimate, standard deviation, 5 % and 95 % limits, and the share below 1.

    `low`, `high` and `below_one` take the factor for lognormal.
    """

    best: float
    sd: float
    low: float
    high: float
    below_one: float


def factor_of_safety(slope: InfiniteSlope, pressure_kpa: float) -> float:
    """FS = [c' + (gamma z cos^2 b - u) tan phi'] / (gamma z sin b cos b), never below nothing.

    Args:
        pressure_kpa: pore pressure u at the slip surface; below zero is suction. Where it exceeds the normal stress
            the frictional part is nothing (liquefied), not negative.

    Source: Skempton and DeLory 1957, 4th Int. Conf. Soil Mech. Found. Eng. 2, 378-381; in this form Iverson 2000.

    >>> dry = InfiniteSlope(30.0, 2.0, 0.0, 35.0, 20.0)
    >>> round(factor_of_safety(dry, 0.0), 4), round(factor_of_safety(dry, 14.715), 4)
    (1.2128, 0.6179)
    """
    b = radians(slope.slope_deg)
    weight = slope.unit_weight_kn_m3 * slope.depth_m
    normal = max(0.0, weight * cos(b) ** 2 - pressure_kpa)
    strength = slope.cohesion_kpa + normal * tan(radians(slope.friction_deg))
    return strength / (weight * sin(b) * cos(b))


def compute_safety(
    slope: InfiniteSlope, pressure_kpa: float, pressure_of: Callable[[float], float] | None = None
) -> Safety:
    """Factor of safety with its range by Taylor series: each parameter moved by one standard deviation to either side.

    sd = sqrt(sum(((F+ - F-) / 2)**2)), parameters taken for independent; limits and share below 1 by the lognormal of
    the same mean and variation.

    Args:
        pressure_of: pressure by depth where the depth's own uncertainty changes it; None keeps it as it is.

    Source: Duncan 2000, J. Geotech. Geoenviron. Eng. 126, 307-316.
    """
    best = factor_of_safety(slope, pressure_kpa)
    variance = 0.0
    for name, sd in (
        ("cohesion_kpa", slope.cohesion_sd_kpa),
        ("friction_deg", slope.friction_sd_deg),
        ("unit_weight_kn_m3", slope.unit_weight_sd_kn_m3),
        ("depth_m", slope.depth_sd_m),
    ):
        if sd > 0.0:
            ends = []
            for sign in (1.0, -1.0):
                value = max(getattr(slope, name) + sign * sd, 0.0 if name == "cohesion_kpa" else 1e-6)
                moved = replace(slope, **{name: value})
                u = pressure_of(value) if name == "depth_m" and pressure_of is not None else pressure_kpa
                ends.append(factor_of_safety(moved, u))
            variance += ((ends[0] - ends[1]) / 2.0) ** 2
    if slope.pressure_sd_kpa > 0.0:
        over = factor_of_safety(slope, pressure_kpa + slope.pressure_sd_kpa)
        under = factor_of_safety(slope, pressure_kpa - slope.pressure_sd_kpa)
        variance += ((over - under) / 2.0) ** 2
    return _spread(best, sqrt(variance))


def pressure_below_table(depth_m: float, table_m: float, slope_deg: float) -> float:
    """Pore pressure (kPa) at a vertical depth below ground, water flowing parallel to the slope.

    u = gamma_w (z - d) cos^2 b, negative above the water table at depth d.

    >>> round(pressure_below_table(2.0, 0.0, 30.0), 3)
    14.715
    """
    return WATER_KN_M3 * (depth_m - table_m) * cos(radians(slope_deg)) ** 2


def _spread(best: float, sd: float) -> Safety:
    if sd <= 0.0 or best <= 0.0:
        return Safety(best, sd, best, best, 1.0 if best < 1.0 else 0.0)
    spread = sqrt(log(1.0 + (sd / best) ** 2))
    middle = log(best) - 0.5 * spread * spread
    low, high = exp(middle - _Z90 * spread), exp(middle + _Z90 * spread)
    return Safety(best, sd, low, high, 0.5 * (1.0 + erf(-middle / spread / sqrt(2.0))))
