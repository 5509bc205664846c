"""Geometry on the ground: distances, hulls, rings, areas, and the European grid of satellite products."""

from collections.abc import Iterable, Sequence
from functools import cache
from math import asin, cos, isfinite, log, radians, sin, sqrt
from typing import Any, Final

EARTH_RADIUS_M: Final = 6_371_008.8  # mean radius
Place = tuple[float, float]
"""Latitude and longitude, deg."""

# Ellipsoid GRS 80: semi-major axis in m, flattening, squared eccentricity, eccentricity.
_A: Final = 6_378_137.0
_F: Final = 1 / 298.257222101
_E2: Final = _F * (2 - _F)
_E: Final = sqrt(_E2)


def _q(latitude: float) -> float:
    """Return q of the authalic latitude (Snyder 1987, equation 3-12), for a latitude in radians."""
    s = _E * sin(latitude)
    return (1 - _E2) * (sin(latitude) / (1 - s * s) - log((1 - s) / (1 + s)) / (2 * _E))


@cache
def _open_laea() -> Any:
    # Imported here because few files use the grid.
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:3035", "EPSG:4258")


def invert_laea_europe(easting_m: float, northing_m: float) -> tuple[float, float]:
    """Return latitude and longitude in degrees of a point on ETRS89-LAEA Europe (EPSG:3035).

    ETRS89 is used as WGS 84. They differ by less than a metre.

    Raises:
        ValueError: the point is outside the grid.

    >>> tuple(round(x, 6) for x in invert_laea_europe(4321000.0, 3210000.0))
    (52.0, 10.0)
    """
    # EPSG:3035 has the order northing, easting.
    latitude, longitude = _open_laea().transform(northing_m, easting_m)
    if not isfinite(latitude):
        raise ValueError("the point is outside the grid EPSG:3035")
    return latitude, longitude


def measure_ground_distance_m(one: Place, other: Place) -> float:
    """Return the distance between two places in metres (haversine formula).

    >>> round(measure_ground_distance_m((46.0, 8.0), (47.0, 8.0)))
    111195
    """
    north, east = radians(other[0] - one[0]), radians(other[1] - one[1])
    a = sin(north / 2) ** 2 + cos(radians(one[0])) * cos(radians(other[0])) * sin(east / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * asin(min(1.0, sqrt(a)))


def find_hull(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the convex hull of points, counter-clockwise (Andrew 1979, monotone chain).

    >>> find_hull([(0, 0), (2, 0), (1, 0.5), (2, 2), (0, 2)])
    [(0, 0), (2, 0), (2, 2), (0, 2)]
    """
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    halves = []
    for sequence in (ordered, ordered[::-1]):
        half: list[tuple[float, float]] = []
        for point in sequence:
            while len(half) > 1 and _cross_product(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves.append(half[:-1])
    return halves[0] + halves[1]


def _cross_product(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Return the cross product of b - a and c - a. It is positive for a left turn."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def crosses_itself(ring: Sequence[tuple[float, float]]) -> bool:
    """Return whether edges of a closed ring cross or touch. Adjacent edges may only share their corner.

    >>> crosses_itself([(0, 0), (0, 1), (1, 1), (1, 0)]), crosses_itself([(0, 0), (1, 1), (0, 1), (1, 0)])
    (False, True)
    >>> crosses_itself([(0, 0), (0, 2), (0, 1), (1, 1)])  # back along the same line
    True
    """
    # Imported here because few sites have outlines.
    from shapely import LinearRing

    return len(set(ring)) < len(ring) or not LinearRing(ring).is_simple


def measure_area_m2(ring: Sequence[tuple[float, float]]) -> float:
    """Return the area of a ring of (longitude, latitude) on the ellipsoid, in m².

    The corners are projected to the cylindrical equal-area projection (Snyder 1987, chapter 10).

    >>> round(measure_area_m2([(8.0, 46.0), (8.01, 46.0), (8.01, 46.01), (8.0, 46.01)]) / 1e3)  # 774.3 by 1111.6 m
    861
    """
    longitude_0, latitude_0 = ring[0]
    projected = []
    for longitude, latitude in ring:
        x_m = radians(longitude - longitude_0) * _A
        y_m = (_q(radians(latitude)) - _q(radians(latitude_0))) * _A / 2
        projected.append((x_m, y_m))
    edges = zip(projected, [*projected[1:], projected[0]], strict=True)
    return abs(sum(start[0] * end[1] - end[0] * start[1] for start, end in edges)) / 2


def wrap_longitude(degrees: Any) -> Any:
    """Convert longitudes of 0 to 360 or -360 to 0 degrees to -180 to 180. Accepts a number or an array.

    >>> wrap_longitude(241.5), wrap_longitude(-351.1) + 351.1 - 360, wrap_longitude(180.0), wrap_longitude(400.0)
    (-118.5, 0.0, 180.0, 400.0)
    """
    is_above = (degrees > 180.0) & (degrees <= 360.0)
    is_below = (degrees < -180.0) & (degrees >= -360.0)
    return degrees + 360.0 * is_below - 360.0 * is_above
