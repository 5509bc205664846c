"""Where a warning holds: the ground around the stations that vote, or a circle around all of a site."""

from collections.abc import Iterable, Sequence
from math import asin, cos, pi, radians, sin, sqrt
from typing import Final

REACH_M: Final = 100.0  # ground that a station stands for, in each direction
SMALLEST_KM: Final = 0.1
UNPLACED_KM: Final = 1.0  # of a site whose stations have no places
CORNERS: Final = 8
EARTH_M: Final = 6_371_000.0
WIDEST_M: Final = 100_000.0  # a station farther than that from its site is a mistake of the site file
Place = tuple[float, float]
"""Latitude and longitude, deg."""


def draw_polygon(centre: Place, stations: Sequence[Place]) -> list[Place]:
    """The hull of the ground around stations, closed: the first corner stands last again; empty without stations.

    >>> ring = draw_polygon((46.2, 8.9), [(46.2, 8.9)])
    >>> len(ring), ring[0] == ring[-1], round(max(lat for lat, _ in ring) - 46.2, 6)
    (9, True, 0.000899)
    """
    near = [one for one in stations if measure_m(centre, one) <= WIDEST_M]
    if not near:
        return []
    lat_m = radians(1.0) * EARTH_M
    lon_m = lat_m * max(cos(radians(centre[0])), 1e-6)
    corners = [
        ((lon - centre[1]) * lon_m + REACH_M * cos(turn), (lat - centre[0]) * lat_m + REACH_M * sin(turn))
        for lat, lon in near
        for turn in (2.0 * pi * k / CORNERS for k in range(CORNERS))
    ]
    ring = [(round(centre[0] + y / lat_m, 6), round(centre[1] + x / lon_m, 6)) for x, y in find_hull(corners)]
    return [*ring, ring[0]]


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


def find_radius_km(centre: Place, stations: Iterable[Place]) -> float:
    """How far a site reaches from its place, its farthest station with the ground around it included.

    >>> find_radius_km((46.2, 8.9), []), find_radius_km((46.2, 8.9), [(46.2, 8.9), (46.209, 8.9)])
    (1.0, 1.101)
    """
    far = [d for d in (measure_m(centre, one) for one in stations) if d <= WIDEST_M]
    if not far:
        return UNPLACED_KM
    return round(max((max(far) + REACH_M) / 1000.0, SMALLEST_KM), 3)


def measure_m(one: Place, other: Place) -> float:
    """Distance over the ground, m (haversine).

    >>> round(measure_m((46.0, 8.0), (47.0, 8.0)))
    111195
    """
    lat_1, lat_2 = radians(one[0]), radians(other[0])
    low = sin((lat_2 - lat_1) / 2.0) ** 2
    along = cos(lat_1) * cos(lat_2) * sin(radians(other[1] - one[1]) / 2.0) ** 2
    return 2.0 * EARTH_M * asin(min(1.0, sqrt(low + along)))
