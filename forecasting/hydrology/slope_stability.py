"""Safety of an infinite slope: pore pressure from rain, factor of safety with its uncertainty, movement by shaking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, erf, erfc, exp, log, log10, pi, radians, sin, sqrt, tan
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

    `pressure_kpa`: pore pressure u at the slip surface; below zero is suction. Where it exceeds the normal stress the
    frictional part is nothing (liquefied), not negative.

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

    `pressure_of`: pressure by depth where the depth's own uncertainty changes it; None keeps it as it is.

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


@dataclass(frozen=True, slots=True)
class Ground:
    """What infiltration needs of the ground."""

    slope_deg: float  # angle of the slope
    conductivity_m_per_s: float  # saturated hydraulic conductivity in the vertical: no more than this infiltrates
    diffusivity_m2_per_s: float  # saturated hydraulic diffusivity D0
    water_table_m: float  # vertical depth of the steady water table before the rain
    steady_flux_m_per_s: float = 0.0  # steady infiltration that keeps that water table


def response(ratio: float) -> float:
    """R(t*) = sqrt(t*/pi) exp(-1/t*) - erfc(1/sqrt(t*)), the response to constant infiltration; 0 at t* <= 0.

    >>> response(0.0), round(response(1.0), 5), round(response(10.0), 4)
    (0.0, 0.05025, 0.9596)
    """
    if ratio <= 0.0:
        return 0.0
    return sqrt(ratio / pi) * exp(-1.0 / ratio) - erfc(1.0 / sqrt(ratio))


def pressure_head(ground: Ground, depth_m: float, rain: Sequence[tuple[float, float, float]], at_s: float) -> float:
    """Pressure head (m of water) at a depth and an instant after rain that changes with time.

    psi = (Z - d) beta + Z sum_i (I_i / K) [R(t_i*) - R(t_i* - T_i*)], t* = t 4 D0 cos^2 a / Z^2,
    beta = cos^2 a - I_steady / K; I_i is at most K, and psi at most Z cos^2 a (the water table at the ground, flow
    parallel to the slope).

    Args:
        rain: (begin in s, end in s, mm that fell) of each interval.
        at_s: the instant, on the same clock; later rain does not count.

    Source: Iverson 2000, Water Resour. Res. 36, 1897-1910; superposed after Baum, Savage and Godt 2002, USGS
    Open-File Report 02-424. Valid for ground near saturation, and times short against A / D0 of the catchment.
    """
    cosine2 = cos(radians(ground.slope_deg)) ** 2
    k = ground.conductivity_m_per_s
    scale = 4.0 * ground.diffusivity_m2_per_s * cosine2 / depth_m**2
    transient = 0.0
    for begin_s, end_s, amount_mm in rain:
        if amount_mm <= 0.0 or begin_s >= at_s or end_s <= begin_s:
            continue
        intensity = min(1.0, amount_mm / 1000.0 / (end_s - begin_s) / k)
        transient += intensity * (response((at_s - begin_s) * scale) - response((at_s - end_s) * scale))
    beta = cosine2 - min(1.0, ground.steady_flux_m_per_s / k)
    steady = (depth_m - ground.water_table_m) * beta
    return min(steady + depth_m * transient, depth_m * cosine2)


def pore_pressure_kpa(head_m: float) -> float:
    """Pressure of a head of water.

    >>> pore_pressure_kpa(2.0)
    19.62
    """
    return WATER_KN_M3 * head_m


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

    `factor_of_safety`: static factor of safety before the shaking, above 1.

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
