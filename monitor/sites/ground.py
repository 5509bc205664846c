"""Places on the ground: distances, hulls, rings, and the European grid that products of satellites come on."""

from collections.abc import Iterable, Sequence
from functools import cache
from math import asin, cos, isfinite, log, radians, sin, sqrt
from typing import Any, Final

EARTH_RADIUS_M: Final = 6_371_008.8  # mean radius
Place = tuple[float, float]
"""Latitude and longitude, deg."""

_A: Final = 6_378_137.0  # GRS 80, m
_F: Final = 1 / 298.257222101
_E2: Final = _F * (2 - _F)
_E: Final = sqrt(_E2)


def _q(latitude: float) -> float:
    s = _E * sin(latitude)
    return (1 - _E2) * (sin(latitude) / (1 - s * s) - log((1 - s) / (1 + s)) / (2 * _E))


@cache
def _open_laea() -> Any:
    from pyproj import Transformer  # few files come on the grid

    return Transformer.from_crs("EPSG:3035", "EPSG:4258")


def invert_laea_europe(easting_m: float, northing_m: float) -> tuple[float, float]:
    """Latitude and longitude in degrees of a place on ETRS89-LAEA Europe (EPSG:3035).

    ETRS89 stands for WGS 84: they differ by less than a metre.

    Raises:
        ValueError: no place on Earth.

    >>> tuple(round(x, 6) for x in invert_laea_europe(4321000.0, 3210000.0))
    (52.0, 10.0)
    """
    latitude, longitude = _open_laea().transform(northing_m, easting_m)  # in the order of the authority
    if not isfinite(latitude):
        raise ValueError("no place on the grid")
    return latitude, longitude


def measure_ground_distance_m(one: Place, other: Place) -> float:
    """Distance over the ground, m (haversine).

    >>> round(measure_ground_distance_m((46.0, 8.0), (47.0, 8.0)))
    111195
    """
    north, east = radians(other[0] - one[0]), radians(other[1] - one[1])
    a = sin(north / 2) ** 2 + cos(radians(one[0])) * cos(radians(other[0])) * sin(east / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * asin(min(1.0, sqrt(a)))


def find_hull(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The convex hull, counter-clockwise (Andrew 1979, monotone chain).

    >>> find_hull([(0, 0), (2, 0), (1, 0.5), (2, 2), (0, 2)])
    [(0, 0), (2, 0), (2, 2), (0, 2)]
    """
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    halves = []
    for walk in (ordered, ordered[::-1]):
        half: list[tuple[float, float]] = []
        for p in walk:
            while len(half) > 1 and _turn(half[-2], half[-1], p) <= 0:
                half.pop()
            half.append(p)
        halves.append(half[:-1])
    return halves[0] + halves[1]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def crosses_itself(ring: Sequence[tuple[float, float]]) -> bool:
    """Whether two edges of a closed ring cross or touch; neighbours may share their corner, and nothing more.

    >>> crosses_itself([(0, 0), (0, 1), (1, 1), (1, 0)]), crosses_itself([(0, 0), (1, 1), (0, 1), (1, 0)])
    (False, True)
    >>> crosses_itself([(0, 0), (0, 2), (0, 1), (1, 1)])  # back along the same line
    True
    """
    from shapely import LinearRing  # few sites draw outlines

    return len(set(ring)) < len(ring) or not LinearRing(ring).is_simple


def measure_area_m2(ring: Sequence[tuple[float, float]]) -> float:
    """Area of a ring of longitudes and latitudes, m², on the ellipsoid.

    Its corners are laid on the cylindrical equal-area projection (Snyder 1987, chapter 10).

    >>> round(measure_area_m2([(8.0, 46.0), (8.01, 46.0), (8.01, 46.01), (8.0, 46.01)]) / 1e3)  # 774.3 by 1111.6 m
    861
    """
    places = [
        (radians(lon - ring[0][0]) * _A, (_q(radians(lat)) - _q(radians(ring[0][1]))) * _A / 2) for lon, lat in ring
    ]
    pairs = zip(places, [*places[1:], places[0]], strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs)) / 2


def wrap_longitude(degrees: Any) -> Any:
    """A longitude from -180 to 180, of one that counts from 0 to 360 or from -360 to 0, or an array of them.

    >>> wrap_longitude(241.5), wrap_longitude(-351.1) + 351.1 - 360, wrap_longitude(180.0), wrap_longitude(400.0)
    (-118.5, 0.0, 180.0, 400.0)
    """
    east, west = (degrees > 180.0) & (degrees <= 360.0), (degrees < -180.0) & (degrees >= -360.0)
    return degrees + 360.0 * west - 360.0 * east
