"""Pore pressure in a slope from the rain that fell on it: one-dimensional diffusion of pressure, superposed in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, erfc, exp, pi, radians, sqrt

from forecasting.hydrology.slope_stability import WATER_KN_M3


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
