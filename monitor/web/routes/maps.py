"""What maps are drawn of besides stations and footprints: zones, radar points, relief, tiles, susceptibility."""

import math
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from detection.susceptibility.records import read_shown
from monitor.domain.instants import parse, spell
from monitor.errors import NotFoundError, RefusedError, StoreBusyError
from monitor.store.alerting.sites import find_version
from monitor.store.readings.point_rates import Box, load_rates
from monitor.web.context import Context, context_of
from monitor.web.parts.collect import find_card
from monitor.web.parts.ranges import NAME, list_files, send_range
from monitor.web.parts.zones import draw_zones, read_velocity_zones

router = APIRouter(prefix="/api/v1", tags=["maps"])
GEOJSON: Final = "application/geo+json"
AT_ONCE: Final = 2  # rates of points take the database a while
_drawing: Final = threading.Semaphore(AT_ONCE)
FIRST_YEAR: Final = 1900
# what the key of a susceptibility map says
SHOWN: Final = ("sha256", "bounds", "classes", "made_on", "inventory", "from", "to", "auc", "landslides")
Days = Annotated[float, Query(ge=1, le=3660, description="length of the window, days")]
Within = Annotated[str | None, Query(description="west,south,east,north in degrees")]
At = Annotated[str | None, Query(description="end of the window, RFC 3339 with offset; default now")]


@router.get("/sites/{site}/zones.geojson", response_class=JSONResponse)
def map_zones(request: Request, site: str) -> JSONResponse:
    """Areas of the site file as hulls of their stations, and circles within which radar points count."""
    context = context_of(request)
    with context.db.read() as c:
        declared = context.declared(c, find_card(c, site))
    features = [] if declared is None else draw_zones(declared)
    features += read_velocity_zones(context.config.paths.velocity_of(site))
    return JSONResponse({"type": "FeatureCollection", "features": features}, media_type=GEOJSON)


@router.get("/sites/{site}/points.geojson", response_class=JSONResponse)
def map_points(
    request: Request, site: str, bbox: Within = None, at: At = None, days: Days = 365.0,
    set_: Annotated[str | None, Query(alias="set", description="point set; default the first by name")] = None,
) -> JSONResponse:  # fmt: skip
    """Radar points of a view by their rate over a window; where there are very many, an even share of them."""
    context = context_of(request)
    end = context.clock() if at is None else read_instant(at)
    box = _read_box(bbox)
    if not _drawing.acquire(blocking=False):
        raise StoreBusyError("the maps of others are being drawn; try again in a moment")
    try:
        with context.db.read() as c:
            find_card(c, site)
            found = load_rates(c, site, box, end, timedelta(days=days), set_)
    finally:
        _drawing.release()
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [round(p.longitude, 6), round(p.latitude, 6)]},
            "properties": {
                "point": p.pid, "rate_mm_per_year": p.rate_mm_per_year, "epochs": p.epochs,
                "newest_at": None if p.newest_at is None else spell(p.newest_at),
            },
        }
        for p in found.points
    ]  # fmt: skip
    about = {"set": found.set, "sets": found.sets, "inside": found.inside, "days": days}
    return JSONResponse({"type": "FeatureCollection", **about, "features": features}, media_type=GEOJSON)


@router.get("/sites/{site}/relief.pmtiles", response_class=Response)
def send_relief(request: Request, site: str) -> Response:
    """Shaded relief of a site, range by range."""
    context = context_of(request)
    with context.db.read() as c:
        find_card(c, site)
    return send_range(context.config.paths.relief_of(site), request.headers)


@router.get("/sites/{site}/map")
def describe_map(request: Request, site: str) -> dict[str, Any]:
    """Which grounds a map of the site can have: its relief, and the tiles of this service."""
    context = context_of(request)
    with context.db.read() as c:
        find_card(c, site)
        declared = context.declaration(c, find_version(c, site) or "")
    prior = declared.scenes.prior if declared is not None else ""
    relief = context.config.paths.relief_of(site).is_file()
    return {
        "relief": f"/api/v1/sites/{site}/relief.pmtiles" if relief else None, "tiles": _list_tiles(context),
        "susceptibility": _describe_susceptibility(context, site, prior) if prior else None,
    }  # fmt: skip


def _describe_susceptibility(context: Context, site: str, prior: str) -> dict[str, Any] | None:
    """The picture of the map that the site file names now, with what its key says; another map has another address."""
    known = read_shown(context.config.paths.susceptibility_of(site))
    if known is None or known["path"] != str(Path(prior).absolute()):
        return None
    url = f"/api/v1/sites/{site}/susceptibility.png?of={str(known['sha256'])[:12]}"
    return {"url": url, **{name: known.get(name) for name in SHOWN}}


@router.get("/sites/{site}/susceptibility.png", response_class=FileResponse)
def send_susceptibility(request: Request, site: str) -> FileResponse:
    """The picture of the site's susceptibility map, on a lon/lat grid."""
    context = context_of(request)
    with context.db.read() as c:
        find_card(c, site)
    path = context.config.paths.susceptibility_of(site)
    if not path.is_file():
        raise NotFoundError("this site has no susceptibility map")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.get("/map/tiles")
def list_tiles(request: Request) -> list[dict[str, Any]]:
    """Files of tiles in the folder that `[map] tiles` names."""
    return _list_tiles(context_of(request))


@router.get("/map/tiles/{name}", response_class=Response)
def send_tiles(request: Request, name: str) -> Response:
    """A file of tiles, range by range."""
    folder = context_of(request).config.map.tiles
    if not folder or not NAME.fullmatch(name):
        raise NotFoundError("there are no such tiles")
    return send_range(Path(folder) / name, request.headers)


def _list_tiles(context: Context) -> list[dict[str, Any]]:
    return [
        {"name": f.name, "size_bytes": f.size, "url": f"/api/v1/map/tiles/{f.name}"}
        for f in list_files(context.config.map.tiles)
    ]


def read_instant(text: str) -> datetime:
    """An instant of a request; RefusedError says what is wrong."""
    try:
        found = parse(text)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"at: {error}; write 2026-03-01T06:00:00Z") from error
    if found.year < FIRST_YEAR:
        raise RefusedError(f"at: nothing is kept of the year {found.year}")
    return found


def _read_box(text: str | None) -> Box | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise RefusedError("bbox: expected west,south,east,north in degrees") from None
    if not all(map(math.isfinite, (west, south, east, north))):
        raise RefusedError("bbox: expected finite degrees")
    return (west, south, east, north)
