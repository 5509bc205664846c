"""How far an outline lies from a station: plain geometry on the sphere, the same in the service and in a worker."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

EARTH_RADIUS_M: Final = 6_371_008.8
Place = tuple[float, float]  # longitude, latitude


def distance_m(geometry: Mapping[str, Any], place: Place) -> float:
    """Distance from a place to a GeoJSON polygon: 0 inside, else to the nearest point of its outer rings.

    The sphere is taken as flat around the place: within 10 km the error is below 0.1 %.

    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    >>> distance_m(square, (0.5, 0.5)), round(distance_m(square, (0.5, -0.01)))
    (0.0, 1112)
    """
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    outer = [_turn(rings[0], place[0]) for rings in polygons]
    if any(_inside(place, ring) for ring in outer):
        return 0.0
    return min(_to_segment_m(place, one, other) for ring in outer for one, other in pairwise(ring))


def list_near(
    geometry: Mapping[str, Any], places: Mapping[str, Place], reach_m: float
) -> tuple[tuple[str, float], ...]:
    """Named places within reach of an outline and how far they are, metres to the decimetre, nearest first."""
    found = sorted((distance_m(geometry, place), name) for name, place in places.items())
    return tuple((name, round(away, 1)) for away, name in found if away <= reach_m)


def nearest(geometry: Mapping[str, Any], places: Mapping[str, Place]) -> tuple[float, str] | None:
    """The nearest of named places and how far it is; None where no place is known."""
    return min(((distance_m(geometry, place), name) for name, place in places.items()), default=None)


def _turn(ring: Sequence[Sequence[float]], longitude: float) -> Sequence[Sequence[float]]:
    """The ring on the side of 180 degrees on which a place lies: one across the line is near, not round the earth."""
    turn = 360.0 * round((longitude - ring[0][0]) / 360.0)
    return [(x + turn, y) for x, y, *_ in ring] if turn else ring


def _inside(place: Place, ring: Sequence[Sequence[float]]) -> bool:
    """Even-odd rule."""
    lon, lat = place
    inside = False
    for (x1, y1, *_), (x2, y2, *_) in pairwise(ring):
        if (y1 > lat) != (y2 > lat) and lon < (x2 - x1) * (lat - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def _to_segment_m(place: Place, one: Sequence[float], other: Sequence[float]) -> float:
    """Distance to the nearest point of a side, on the plane that touches the sphere at the place."""
    east = math.radians(1.0) * EARTH_RADIUS_M * math.cos(math.radians(place[1]))
    north = math.radians(1.0) * EARTH_RADIUS_M
    ax, ay = (one[0] - place[0]) * east, (one[1] - place[1]) * north
    bx, by = (other[0] - place[0]) * east, (other[1] - place[1]) * north
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    share = 0.0 if length == 0.0 else min(1.0, max(0.0, -(ax * dx + ay * dy) / length))
    return math.hypot(ax + share * dx, ay + share * dy)
