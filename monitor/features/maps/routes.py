"""Serve what a map shows beside stations and footprints: zones, relief, tiles and layers of plugins."""

import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from math import cos, pi, radians, sin
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from detection.geojson import Feature
from monitor.api.delivery import find_declaration
from monitor.api.errors import NotFoundError
from monitor.api.plugins import hooks
from monitor.api.queries.readings import METRES_PER_DEGREE, window_of
from monitor.api.queries.sites import find_version
from monitor.api.sites import Site, find_hull
from monitor.api.text import Template
from monitor.api.web import GeoJsonResponse, context_of, make_collection, make_feature, read_site, send_range

AROUND_M: Final = 15.0  # an area reaches so far beyond its outermost stations
Place = tuple[float, float]  # longitude, latitude
PMTILES: Final = "application/vnd.pmtiles"
HOUR_S: Final = 3600
NO_TILES: Final = Template("map.no_tiles", "there are no such tiles")


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
    twice = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))
    return ring if twice > 0 else ring[::-1]


def _draw(kind: str, name: str, radius_m: float | None, ring: Sequence[Place]) -> Feature:
    facts = {"kind": kind, "name": name, "radius_m": radius_m}
    return make_feature(
        f"{kind}/{name}", {"type": "Polygon", "coordinates": [[list(place) for place in (*ring, ring[0])]]}, facts
    )


router = APIRouter(prefix="/api/v1", tags=["maps"])


@router.get("/sites/{site}/zones.geojson", response_class=GeoJsonResponse)
def map_zones(request: Request, site: str) -> GeoJsonResponse:
    """Areas of the site file as hulls of their stations, and circles within which radar points count."""
    with read_site(request, site) as seen:
        features = [] if seen.declared is None else draw_zones(seen.declared)
    for more in hooks().map_zones(paths=seen.context.config.paths, site_id=site):
        features += more
    return GeoJsonResponse(make_collection(features))


@router.get("/sites/{site}/relief.pmtiles", response_class=FileResponse)
def send_relief(request: Request, site: str) -> FileResponse:
    """Shaded relief of a site, range by range."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.relief_of(site)
    return send_range(path, NO_TILES(), PMTILES, HOUR_S)


@router.get("/sites/{site}/map")
def describe_map(request: Request, site: str) -> dict[str, Any]:
    """Return the backgrounds and layers that a map of the site can show; a layer that the site lacks is null."""
    with read_site(request, site) as seen:
        # the declared site file, not the one evaluated last: a layer appears as soon as a file is in force
        context, declared = seen.context, find_declaration(seen.c, find_version(seen.c, site) or "")
    layers: dict[str, Any] = {"susceptibility": None}
    for plugin_layers in hooks().map_layers(paths=context.config.paths, site_id=site, site=declared):
        layers |= plugin_layers
    return {
        "relief": f"/api/v1/sites/{site}/relief.pmtiles" if context.config.paths.relief_of(site).is_file() else None,
        "tiles": list_files(context.config.map.tiles),
        **layers,
    }


@router.get("/map/tiles")
def list_tiles(request: Request) -> list[dict[str, Any]]:
    """Files of tiles in the folder that `[map] tiles` names."""
    return list_files(context_of(request).config.map.tiles)


@router.get("/map/tiles/{name}", response_class=FileResponse)
def send_tiles(request: Request, name: str) -> FileResponse:
    """A file of tiles, range by range."""
    folder = context_of(request).config.map.tiles
    if not folder or not NAME.fullmatch(name):
        raise NotFoundError(NO_TILES())
    return send_range(Path(folder) / name, NO_TILES(), PMTILES, HOUR_S)


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\.pmtiles")


def list_files(folder: str | Path) -> list[dict[str, Any]]:
    """Files of tiles in a folder, by name; links and what has an odd name are left out."""
    found: list[dict[str, Any]] = []
    with suppress(OSError):
        for entry in sorted(Path(folder).iterdir()) if str(folder) else ():
            with suppress(OSError):  # it was removed meanwhile
                known = entry.lstat()
                if NAME.fullmatch(entry.name) and stat.S_ISREG(known.st_mode):
                    url = f"/api/v1/map/tiles/{entry.name}"
                    found.append({"name": entry.name, "size_bytes": known.st_size, "url": url})
    return found
