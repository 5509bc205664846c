"""Where a warning holds: the ground around the stations that vote, or a circle around all of a site."""

from collections.abc import Iterable, Sequence
from math import cos, pi, radians, sin
from typing import Final

from monitor.domain.ground import EARTH_M, Place, find_hull, measure_m

REACH_M: Final = 100.0  # ground that a station stands for, in each direction
SMALLEST_KM: Final = 0.1
UNPLACED_KM: Final = 1.0  # of a site whose stations have no places
CORNERS: Final = 8
WIDEST_M: Final = 100_000.0  # a station farther than that from its site is a mistake of the site file


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


def find_radius_km(centre: Place, stations: Iterable[Place]) -> float:
    """How far a site reaches from its place, its farthest station with the ground around it included.

    >>> find_radius_km((46.2, 8.9), []), find_radius_km((46.2, 8.9), [(46.2, 8.9), (46.209, 8.9)])
    (1.0, 1.101)
    """
    far = [d for d in (measure_m(centre, one) for one in stations) if d <= WIDEST_M]
    if not far:
        return UNPLACED_KM
    return round(max((max(far) + REACH_M) / 1000.0, SMALLEST_KM), 3)
