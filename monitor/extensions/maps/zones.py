"""Shapes on a map: what a landslide would reach, areas of stations, reach of radar."""

from collections.abc import Sequence
from math import cos, pi, radians, sin
from typing import Final

from detection.geojson import Feature
from monitor.domain.ground import find_hull
from monitor.domain.site import Site
from monitor.store.readings.points import METRES_PER_DEGREE, window_of
from monitor.web.parts.features import make_feature

AROUND_M: Final = 15.0  # an area reaches so far beyond its outermost stations
Place = tuple[float, float]  # longitude, latitude


def draw_zones(site: Site) -> list[Feature]:
    """Features of GeoJSON with `kind` (exposed, area, radar), `name` and `radius_m`."""
    placed = site.places
    outlined = [("exposed", one.name, one.corners) for one in site.exposed]
    outlined += [("area", one.id, one.outline) for one in site.stations if one.outline]
    found = [_draw(kind, name, None, _wind([(lon, lat) for lat, lon in ring])) for kind, name, ring in outlined]
    areas: dict[str, list[Place]] = {}
    for station in site.stations:
        if station.area is not None and station.id in placed:
            areas.setdefault(station.area, []).extend(draw_circle(placed[station.id], AROUND_M, 12))
    found += [_draw("area", name, None, find_hull(corners)) for name, corners in sorted(areas.items())]
    radar = {(s, window_of(k)[1]) for k in site.criteria if k.kind.facts == "points" for s in k.stations if s in placed}
    return found + [_draw("radar", name, m, draw_circle(placed[name], m)) for name, m in sorted(radar)]


def draw_circle(middle: Place, radius_m: float, corners: int = 48) -> list[Place]:
    """Places around a middle, counter-clockwise (RFC 7946), on the plane that touches the slope."""
    north = radius_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(middle[1])))
    angles = [-2.0 * pi * k / corners for k in range(corners)]
    return [(round(middle[0] + east * sin(a), 7), round(middle[1] + north * cos(a), 7)) for a in angles]


def _wind(ring: list[Place]) -> list[Place]:
    """The corners counter-clockwise (RFC 7946)."""
    twice = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))
    return ring if twice > 0 else ring[::-1]


def _draw(kind: str, name: str, radius_m: float | None, ring: Sequence[Place]) -> Feature:
    facts = {"kind": kind, "name": name, "radius_m": radius_m}
    return make_feature(
        f"{kind}/{name}", {"type": "Polygon", "coordinates": [[list(place) for place in (*ring, ring[0])]]}, facts
    )
