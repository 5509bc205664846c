"""What maps are drawn of besides stations and footprints: zones, radar points, relief, tiles, susceptibility."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypedDict

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from detection.susceptibility.records import read_shown
from forecasting.message import Template
from monitor.config.tile_files import NAME, list_files
from monitor.domain.errors import NotFoundError
from monitor.notify.declarations import find_declaration
from monitor.store.alerting.sites import find_version
from monitor.web.context import Context, context_of
from monitor.web.parts.collect import read_site
from monitor.web.parts.zones import GeoJsonResponse, draw_zones, make_collection, read_velocity_zones

router = APIRouter(prefix="/api/v1", tags=["maps"])
_NO_SUSCEPTIBILITY: Final = Template("map.no_susceptibility", "this site has no susceptibility map")
# what the key of a susceptibility map says
SHOWN: Final = ("sha256", "bounds", "classes", "made_on", "inventory", "from", "to", "auc", "landslides")


@router.get("/sites/{site}/zones.geojson", response_class=GeoJsonResponse)
def map_zones(request: Request, site: str) -> GeoJsonResponse:
    """Areas of the site file as hulls of their stations, and circles within which radar points count."""
    with read_site(request, site) as seen:
        features = [] if seen.declared is None else draw_zones(seen.declared)
    features += read_velocity_zones(seen.context.config.paths.velocity_of(site))
    return GeoJsonResponse(make_collection(features))


@router.get("/sites/{site}/relief.pmtiles", response_class=Response)
def send_relief(request: Request, site: str) -> Response:
    """Shaded relief of a site, range by range."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.relief_of(site)
    return send_range(path, request.headers)


@router.get("/sites/{site}/map")
def describe_map(request: Request, site: str) -> dict[str, Any]:
    """Which grounds a map of the site can have: its relief, and the tiles of this service."""
    with read_site(request, site) as seen:
        # not as it was evaluated last: the picture is made as soon as a file is in force
        context, declared = seen.context, find_declaration(seen.c, find_version(seen.c, site) or "")
    prior = declared.scenes.prior if declared is not None else ""
    relief = context.config.paths.relief_of(site).is_file()
    return {
        "relief": f"/api/v1/sites/{site}/relief.pmtiles" if relief else None,
        "tiles": _list_tiles(context),
        "susceptibility": _describe_susceptibility(context, site, prior) if prior else None,
    }


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
    with read_site(request, site) as seen:
        path = seen.context.config.paths.susceptibility_of(site)
    if not path.is_file():
        raise NotFoundError(_NO_SUSCEPTIBILITY())
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


class TileLink(TypedDict):
    """A file of tiles of this service."""

    name: str
    size_bytes: int
    url: str


@router.get("/map/tiles", response_model=list[dict[str, Any]])
def list_tiles(request: Request) -> list[TileLink]:
    """Files of tiles in the folder that `[map] tiles` names."""
    return _list_tiles(context_of(request))


@router.get("/map/tiles/{name}", response_class=Response)
def send_tiles(request: Request, name: str) -> Response:
    """A file of tiles, range by range."""
    folder = context_of(request).config.map.tiles
    if not folder or not NAME.fullmatch(name):
        raise NotFoundError(NO_TILES())
    return send_range(Path(folder) / name, request.headers)


def _list_tiles(context: Context) -> list[TileLink]:
    return [
        {"name": f.name, "size_bytes": f.size, "url": f"/api/v1/map/tiles/{f.name}"}
        for f in list_files(context.config.map.tiles)
    ]


LARGEST: Final = 4 << 20  # of one answer: larger than any tile or directory
RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
TYPE: Final = "application/vnd.pmtiles"
NO_TILES: Final = Template("map.no_tiles", "there are no such tiles")


def send_range(path: Path, headers: Mapping[str, str]) -> Response:
    """The range of a file that a request asks for, cut at `LARGEST`; 416 without one range that the file has.

    Raises:
        NotFoundError: there is no such file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise NotFoundError(NO_TILES()) from None
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise NotFoundError(NO_TILES())
        size = known.st_size
        sent_headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{known.st_mtime_ns:x}-{size:x}"',
            "Content-Encoding": "identity",
        }
        wanted = RANGE.fullmatch(headers.get("range", "").strip())
        first = int(wanted[1]) if wanted else size
        last = min(int(wanted[2]) if wanted and wanted[2] else size - 1, size - 1, first + LARGEST - 1)
        if first >= size or last < first:
            return Response(
                status_code=416, headers={**sent_headers, "Content-Range": f"bytes */{size}"}, media_type=TYPE
            )
        body = os.pread(file, last - first + 1, first)
    finally:
        os.close(file)
    sent_headers |= {
        "Content-Range": f"bytes {first}-{first + len(body) - 1}/{size}",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(body, status_code=206, headers=sent_headers, media_type=TYPE)
