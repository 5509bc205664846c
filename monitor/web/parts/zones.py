"""Shapes on a map: what a landslide would reach, areas of stations, reach of radar."""

from collections.abc import Iterable, Sequence
from math import cos, pi, radians, sin
from typing import Final

from fastapi.responses import JSONResponse

from detection.geojson import Feature, FeatureCollection
from monitor.domain.ground import find_hull
from monitor.domain.site import Site
from monitor.store.readings.points import METRES_PER_DEGREE, window_of

AROUND_M: Final = 15.0  # an area reaches so far beyond its outermost stations
CORNERS: Final = 48  # of a circle
Place = tuple[float, float]  # longitude, latitude


def draw_zones(site: Site) -> list[Feature]:
    """Features of GeoJSON with `kind` (exposed, area, radar), `name` and `radius_m`."""
    placed = site.places
    found = [
        _feature("exposed", one.name, None, _wind([(lon, lat) for lat, lon in one.corners])) for one in site.exposed
    ]
    found += [
        _feature("area", one.id, None, _wind([(lon, lat) for lat, lon in one.outline]))
        for one in site.stations
        if one.outline
    ]
    areas: dict[str, list[Place]] = {}
    for station in site.stations:
        if station.area is not None and station.id in placed:
            areas.setdefault(station.area, []).extend(draw_circle(placed[station.id], AROUND_M, 12))
    for name, corners in sorted(areas.items()):
        found.append(_feature("area", name, None, find_hull(corners)))
    radar = {(s, window_of(k)[1]) for k in site.criteria if k.kind.facts == "points" for s in k.stations if s in placed}
    for name, reach_m in sorted(radar):
        found.append(_feature("radar", name, reach_m, draw_circle(placed[name], reach_m)))
    return found


def draw_circle(middle: Place, radius_m: float, corners: int = CORNERS) -> list[Place]:
    """Places around a middle, on the plane that touches the slope."""
    north = radius_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(middle[1])))
    angles = [2.0 * pi * k / corners for k in range(corners)]
    return [(round(middle[0] + east * sin(a), 7), round(middle[1] + north * cos(a), 7)) for a in angles]


def _wind(ring: list[Place]) -> list[Place]:
    """The corners counter-clockwise (RFC 7946)."""
    twice = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))
    return ring if twice > 0 else ring[::-1]


def _feature(kind: str, name: str, radius_m: float | None, ring: Sequence[Place]) -> Feature:
    around = [list(place) for place in (*ring, ring[0])]
    if kind == "radar":
        around.reverse()  # RFC 7946: outer rings run counter-clockwise
    properties = {"kind": kind, "name": name, "radius_m": radius_m}
    return {
        "type": "Feature",
        "id": f"{kind}/{name}",
        "geometry": {"type": "Polygon", "coordinates": [around]},
        "properties": properties,
    }


GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A GeoJSON object."""

    media_type = GEOJSON


def make_collection(features: Iterable[Feature]) -> FeatureCollection:
    """Features as one object."""
    return {"type": "FeatureCollection", "features": [*features]}
