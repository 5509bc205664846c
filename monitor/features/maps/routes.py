"""Serve zones, shaded relief, map tiles and the layers of plugins for maps."""

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

AREA_MARGIN_M: Final = 15.0  # an area extends this far beyond its outermost stations
AREA_CORNERS: Final = 12  # of the circle around each station of an area
Position = tuple[float, float]  # longitude, latitude
PMTILES: Final = "application/vnd.pmtiles"
CACHE_S: Final = 3600
NO_TILES: Final = Template("map.no_tiles", "these map tiles do not exist")


def draw_zones(site: Site) -> list[Feature]:
    """Return the zones of a site as GeoJSON features with the properties `kind`, `name` and `radius_m`.

    Kinds:
        exposed: What a landslide would hit, as declared.
        area: The outline of a station, or the hull of all stations of an area.
        radar: The circle around a station in which satellite points count for a criterion.
    """
    positions = site.places
    outlined = [("exposed", exposed.name, exposed.corners) for exposed in site.exposed]
    outlined += [("area", station.id, station.outline) for station in site.stations if station.outline]
    zones = []
    for kind, name, outline in outlined:
        ring = orient_counter_clockwise([(longitude, latitude) for latitude, longitude in outline])
        zones.append(_make_zone(kind, name, None, ring))
    areas: dict[str, list[Position]] = {}
    for station in site.stations:
        if station.area is not None and station.id in positions:
            circle = draw_circle(positions[station.id], AREA_MARGIN_M, AREA_CORNERS)
            areas.setdefault(station.area, []).extend(circle)
    zones += [_make_zone("area", name, None, find_hull(corners)) for name, corners in sorted(areas.items())]
    radar_circles: set[tuple[str, float]] = set()
    for criterion in site.criteria:
        if criterion.kind.facts == "points":
            _, radius_m = window_of(criterion)
            radar_circles |= {(name, radius_m) for name in criterion.stations if name in positions}
    for name, radius_m in sorted(radar_circles):
        zones.append(_make_zone("radar", name, radius_m, draw_circle(positions[name], radius_m)))
    return zones


def draw_circle(centre: Position, radius_m: float, corners: int = 48) -> list[Position]:
    """Return the corners of a circle, counter-clockwise (RFC 7946). Degrees of longitude are scaled at the centre."""
    north = radius_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(centre[1])))
    angles = [-2.0 * pi * k / corners for k in range(corners)]
    return [(round(centre[0] + east * sin(angle), 7), round(centre[1] + north * cos(angle), 7)) for angle in angles]


def orient_counter_clockwise(ring: list[Position]) -> list[Position]:
    """Return the ring in the direction that RFC 7946 requires."""
    # Twice the signed area, by the shoelace formula.
    doubled_area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))
    return ring if doubled_area > 0 else ring[::-1]


def _make_zone(kind: str, name: str, radius_m: float | None, ring: Sequence[Position]) -> Feature:
    properties = {"kind": kind, "name": name, "radius_m": radius_m}
    closed_ring = [list(position) for position in (*ring, ring[0])]
    return make_feature(f"{kind}/{name}", {"type": "Polygon", "coordinates": [closed_ring]}, properties)


router = APIRouter(prefix="/api/v1", tags=["maps"])


@router.get("/sites/{site}/zones.geojson", response_class=GeoJsonResponse)
def map_zones(request: Request, site: str) -> GeoJsonResponse:
    """Return the zones of a site: exposed objects, areas, and circles in which satellite points count."""
    with read_site(request, site) as seen:
        features = [] if seen.declared is None else draw_zones(seen.declared)
    for plugin_zones in hooks().map_zones(paths=seen.context.config.paths, site_id=site):
        features += plugin_zones
    return GeoJsonResponse(make_collection(features))


@router.get("/sites/{site}/relief.pmtiles", response_class=FileResponse)
def send_relief(request: Request, site: str) -> FileResponse:
    """Return the shaded relief of a site. Browsers request it in ranges."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.relief_path(site)
    return send_range(path, NO_TILES(), PMTILES, CACHE_S)


@router.get("/sites/{site}/map")
def describe_map(request: Request, site: str) -> dict[str, Any]:
    """Return the backgrounds and layers that a map of the site can show; a layer that the site lacks is null."""
    with read_site(request, site) as seen:
        context = seen.context
        # This is the site file in force, not that of the last evaluation, so that a new layer appears at once.
        declared = find_declaration(seen.c, find_version(seen.c, site) or "")
    layers: dict[str, Any] = {"susceptibility": None}
    for plugin_layers in hooks().map_layers(paths=context.config.paths, site_id=site, site=declared):
        layers |= plugin_layers
    return {
        "relief": f"/api/v1/sites/{site}/relief.pmtiles" if context.config.paths.relief_path(site).is_file() else None,
        "tiles": list_files(context.config.map.tiles),
        **layers,
    }


@router.get("/map/tiles")
def list_tiles(request: Request) -> list[dict[str, Any]]:
    """List the files of map tiles in the folder that `[map] tiles` names."""
    return list_files(context_of(request).config.map.tiles)


@router.get("/map/tiles/{name}", response_class=FileResponse)
def send_tiles(request: Request, name: str) -> FileResponse:
    """Return a file of map tiles. Browsers request it in ranges."""
    folder = context_of(request).config.map.tiles
    if not folder or not TILE_FILE_NAME.fullmatch(name):
        raise NotFoundError(NO_TILES())
    return send_range(Path(folder) / name, NO_TILES(), PMTILES, CACHE_S)


TILE_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\.pmtiles")


def list_files(folder: str | Path) -> list[dict[str, Any]]:
    """Return the files of map tiles in a folder, sorted by name. Links and other file names are left out."""
    files: list[dict[str, Any]] = []
    if not str(folder):
        return files
    with suppress(OSError):
        for entry in sorted(Path(folder).iterdir()):
            # A file may be removed meanwhile.
            with suppress(OSError):
                status = entry.lstat()
                if TILE_FILE_NAME.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                    url = f"/api/v1/map/tiles/{entry.name}"
                    files.append({"name": entry.name, "size_bytes": status.st_size, "url": url})
    return files
