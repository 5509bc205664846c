"""From east, north and up to one number along the movement: a signed projection, or a norm freed of its bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, atan2, cos, degrees, fsum, radians, sin, sqrt


@dataclass(frozen=True, slots=True)
class Bearing:
    """Where a vector points.

    Attributes:
        azimuth_deg: Clockwise from north, 0 to 360.
        plunge_deg: Down from the horizontal, -90 to 90.
        error_deg: One standard error of the azimuth; 180 where the vector cannot be distinguished from zero.
    """

    azimuth_deg: float
    plunge_deg: float
    error_deg: float


def unit_vector(azimuth_deg: float, plunge_deg: float) -> tuple[float, float, float]:
    """East, north and up of a direction; a positive plunge points down.

    >>> [round(x, 6) + 0.0 for x in unit_vector(90.0, 30.0)]
    [0.866025, 0.0, -0.5]
    """
    level = cos(radians(plunge_deg))
    return level * sin(radians(azimuth_deg)), level * cos(radians(azimuth_deg)), -sin(radians(plunge_deg))


def project(components: Sequence[float], sigmas: Sequence[float], unit: Sequence[float]) -> tuple[float, float]:
    """Signed length along a unit vector and its standard error: unbiased, and backwards motion stays negative.

    Args:
        components: Displacement or velocity by axis, shape (k,).
        sigmas: One standard deviation by axis, shape (k,).
        unit: Direction, shape (k,).

    >>> project([3.0, 4.0], [1.0, 1.0], [0.0, 1.0])
    (4.0, 1.0)
    """
    length = fsum(c * u for c, u in zip(components, unit, strict=True))
    return length, sqrt(fsum((s * u) ** 2 for s, u in zip(sigmas, unit, strict=True)))


def norm(components: Sequence[float], sigmas: Sequence[float]) -> tuple[float, float]:
    """Length of a noisy vector with the bias of the norm removed, and its standard error.

    Noise makes every vector longer: E|x|^2 = |m|^2 + sum of variances (the length is Rice distributed: Rice 1945, Bell
    Syst. Tech. J. 24), so a still point seems to move at 1.25 sigma in the plane. The variances are taken off before
    the root, and a length below them is nothing. It has no sign: prefer `project` where the direction is known.

    Args:
        components: Displacement or velocity by axis, shape (k,).
        sigmas: One standard deviation by axis, shape (k,).

    >>> norm([3.0, 4.0], [0.0, 0.0])
    (5.0, 0.0)
    >>> norm([0.5, 0.5], [1.0, 1.0])[0]
    0.0
    """
    square = fsum(c * c for c in components)
    variance = fsum(s * s for s in sigmas)
    if square <= 0.0:
        return 0.0, sqrt(variance)
    error = sqrt(fsum((c * s) ** 2 for c, s in zip(components, sigmas, strict=True)) / square)
    return sqrt(max(0.0, square - variance)), error


def bearing(east: float, north: float, up: float, sigma: float) -> Bearing | None:
    """Where a vector points, with the error of the azimuth from the noise across it; None for a vector of length 0."""
    flat = sqrt(east * east + north * north)
    length = sqrt(flat * flat + up * up)
    if length <= 0.0:
        return None
    azimuth = degrees(atan2(east, north)) % 360.0
    error = 180.0 if flat <= sigma else degrees(asin(min(1.0, sigma / flat)))
    return Bearing(azimuth, degrees(asin(max(-1.0, min(1.0, -up / length)))), error)
