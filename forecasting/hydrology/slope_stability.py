"""Stability of an infinite slope: pore pressure from rain, factor of safety, and displacement in an earthquake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, erf, erfc, exp, log, log10, pi, radians, sin, sqrt, tan
from typing import Final

WATER_KN_M3: Final = 9.81
_Z90: Final = 1.6448536269514722  # 95 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class InfiniteSlope:
    """A planar slip surface parallel to the ground, with effective strength parameters.

    Standard deviations have `_sd` in their names.
    """

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
    """Factor of safety with its uncertainty.

    Attributes:
        best: Factor with the best estimate of each parameter.
        sd: Standard deviation.
        low: 5 % quantile of a lognormal distribution.
        high: 95 % quantile of the same distribution.
        below_one: Probability of a factor below 1, by the same distribution.
    """

    best: float
    sd: float
    low: float
    high: float
    below_one: float


def factor_of_safety(slope: InfiniteSlope, pressure_kpa: float) -> float:
    """Return FS = [c' + (gamma z cos^2 b - u) tan phi'] / (gamma z sin b cos b).

    Args:
        pressure_kpa: Pore pressure u at the slip surface; a negative pressure is suction. If it exceeds the normal
            stress, the frictional part is 0 (liquefaction).

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
    """Return the factor of safety with its uncertainty by the Taylor series method.

    Each parameter is changed by one standard deviation in both directions: sd = sqrt(sum(((F+ - F-) / 2)**2)). The
    parameters are taken as independent. Quantiles are those of a lognormal distribution with the same mean and standard
    deviation.

    Args:
        pressure_of: Pore pressure in kPa as a function of depth in m, if the uncertainty of the depth changes the
            pressure. None: the pressure does not depend on the depth.

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
            factors = []
            for sign in (1.0, -1.0):
                value = max(getattr(slope, name) + sign * sd, 0.0 if name == "cohesion_kpa" else 1e-6)
                changed = replace(slope, **{name: value})
                u = pressure_of(value) if name == "depth_m" and pressure_of is not None else pressure_kpa
                factors.append(factor_of_safety(changed, u))
            variance += ((factors[0] - factors[1]) / 2.0) ** 2
    if slope.pressure_sd_kpa > 0.0:
        at_high_pressure = factor_of_safety(slope, pressure_kpa + slope.pressure_sd_kpa)
        at_low_pressure = factor_of_safety(slope, pressure_kpa - slope.pressure_sd_kpa)
        variance += ((at_high_pressure - at_low_pressure) / 2.0) ** 2
    return _make_safety(best, sqrt(variance))


def pressure_below_table(depth_m: float, table_m: float, slope_deg: float) -> float:
    """Return the pore pressure at a vertical depth below ground, kPa, for seepage parallel to the slope.

    u = gamma_w (z - d) cos^2 b, which is negative above the water table at depth d.

    >>> round(pressure_below_table(2.0, 0.0, 30.0), 3)
    14.715
    """
    return WATER_KN_M3 * (depth_m - table_m) * cos(radians(slope_deg)) ** 2


def _make_safety(best: float, sd: float) -> Safety:
    """Return a factor of safety with the quantiles of its lognormal distribution."""
    if sd <= 0.0 or best <= 0.0:
        return Safety(best, sd, best, best, 1.0 if best < 1.0 else 0.0)
    log_sd = sqrt(log(1.0 + (sd / best) ** 2))
    log_mean = log(best) - 0.5 * log_sd * log_sd
    return Safety(
        best=best,
        sd=sd,
        low=exp(log_mean - _Z90 * log_sd),
        high=exp(log_mean + _Z90 * log_sd),
        below_one=0.5 * (1.0 + erf(-log_mean / log_sd / sqrt(2.0))),
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """Properties of the ground that control infiltration."""

    slope_deg: float  # angle of the slope
    conductivity_m_per_s: float  # saturated vertical hydraulic conductivity, the largest possible infiltration
    diffusivity_m2_per_s: float  # saturated hydraulic diffusivity D0
    water_table_m: float  # vertical depth of the steady water table before the rain
    steady_flux_m_per_s: float = 0.0  # steady infiltration that maintains this water table


def response(ratio: float) -> float:
    """Return the response to constant infiltration, R(t*) = sqrt(t*/pi) exp(-1/t*) - erfc(1/sqrt(t*)).

    Args:
        ratio: Dimensionless time t*; the response is 0 at t* <= 0.

    >>> response(0.0), round(response(1.0), 5), round(response(10.0), 4)
    (0.0, 0.05025, 0.9596)
    """
    if ratio <= 0.0:
        return 0.0
    return sqrt(ratio / pi) * exp(-1.0 / ratio) - erfc(1.0 / sqrt(ratio))


def pressure_head(ground: Ground, depth_m: float, rain: Sequence[tuple[float, float, float]], at_s: float) -> float:
    """Return the pressure head at a depth and an instant, m of water, for rain that varies with time.

    psi = (Z - d) beta + Z sum_i (I_i / K) [R(t_i*) - R(t_i* - T_i*)], t* = t 4 D0 cos^2 a / Z^2,
    beta = cos^2 a - I_steady / K. I_i is at most K, and psi at most Z cos^2 a (water table at the ground surface,
    seepage parallel to the slope).

    Args:
        rain: Begin and end in seconds and rain in mm of each interval.
        at_s: The instant in seconds. Later rain is ignored.

    Source: Iverson 2000, Water Resour. Res. 36, 1897-1910; superposed after Baum, Savage and Godt 2002, USGS
    Open-File Report 02-424. Valid for ground near saturation, and for times much shorter than A / D0 of the catchment.
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
    """Return the pressure of a head of water, kPa.

    >>> pore_pressure_kpa(2.0)
    19.62
    """
    return WATER_KN_M3 * head_m


# Coefficients of the regression of `estimate_displacement`. `_EXPONENT_REMAINDER` is that of 1 - ac/amax.
_CONSTANT: Final = 0.215
_EXPONENT_REMAINDER: Final = 2.341
_EXPONENT_RATIO: Final = -1.438
_SIGMA_LOG10: Final = 0.510


@dataclass(frozen=True, slots=True)
class BlockDisplacement:
    """Newmark displacement in cm: the median of the regression, and one standard deviation below and above it."""

    median_cm: float
    low_cm: float
    high_cm: float


def critical_acceleration_g(factor_of_safety: float, slope_deg: float) -> float:
    """Return the acceleration at which a block begins to slide, in g: a_c = (FS - 1) g sin(alpha).

    Args:
        factor_of_safety: Static factor of safety before the earthquake.

    Raises:
        ValueError: The factor of safety is not above 1, or the slope is not between 0 and 90 degrees.

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
    """Return the displacement of a rigid block for a peak ground acceleration and a critical acceleration, both in g.

    log10 D = 0.215 + log10[(1 - ac/amax)**2.341 (ac/amax)**-1.438] +- 0.510, with D in cm; D is 0 if ac >= amax. The
    regression was fitted to 2,270 records of 30 earthquakes. It is a regional index of damage and does not forecast how
    far a certain slope moves.

    Source: Jibson 2007, Engineering Geology 91, 209-218, equation 6.

    >>> displacement = estimate_displacement(0.4, 0.1)
    >>> round(displacement.median_cm, 2), round(displacement.low_cm, 2), round(displacement.high_cm, 2)
    (6.14, 1.9, 19.87)
    >>> estimate_displacement(0.1, 0.2).median_cm
    0.0
    """
    if critical_g <= 0.0:
        raise ValueError("the critical acceleration must be above zero")
    if pga_g <= critical_g:
        return BlockDisplacement(0.0, 0.0, 0.0)
    ratio = critical_g / pga_g
    log_cm = _CONSTANT + _EXPONENT_REMAINDER * log10(1.0 - ratio) + _EXPONENT_RATIO * log10(ratio)
    return BlockDisplacement(10.0**log_cm, 10.0 ** (log_cm - _SIGMA_LOG10), 10.0 ** (log_cm + _SIGMA_LOG10))
