"""Tiles of a scene and of its probabilities, one by one out of files that a worker cut; no raster is opened here."""

import threading
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.lookup import Archive, find_tile, open_archive
from detection.imagery.tiles.records import RAMP, SCENE_FILES, SHOWN_FROM
from forecasting.message import Template
from monitor.errors import NotFoundError
from monitor.store import pages
from monitor.store.scenes.outlines import NO_SCENE
from monitor.web.context import context_of
from monitor.web.threads import take_turn

router = APIRouter(prefix="/api/v1", tags=["scenes"])
AT_ONCE: Final = 12  # tiles that are being read; whoever comes then waits a moment, and holds a thread no longer
WAITS_S: Final = 0.5
SIDE_PX: Final = 512
_NONE: Final = Template("tile.none", "this scene has no such tiles")
_UNREADABLE: Final = Template("tile.unreadable", "the tiles of this scene cannot be read")
_NOTHING: Final = Template("tile.nothing", "there is nothing of this scene")
_BUSY: Final = Template("tile.busy", "tiles for others are being read; try again in a moment")
_reading: Final = threading.Semaphore(AT_ONCE)
FILE_OF: Final[dict[str, str]] = {"tiles": SCENE_FILES["scene"], "probability": SCENE_FILES["probability"]}


@router.get("/sites/{site}/scenes/{scene_hash}/map")
def describe_scene_map(request: Request, site: str, scene_hash: str) -> dict[str, Any]:
    """Which tiles a scene has, with zooms and bounds; null until they are cut, and where they cannot be."""
    folder = _find_folder(request, site, scene_hash)
    return {layer: describe_layer(site, scene_hash, folder, layer) for layer in FILE_OF}


def describe_layer(site: str, scene_hash: str, folder: Path, layer: str) -> dict[str, Any] | None:
    """Address, zooms and bounds of one layer of tiles; None where there is none. Other tiles have another address."""
    found = _open(folder, layer)
    if found is None:
        return None
    url = f"/api/v1/sites/{site}/scenes/{scene_hash}/{layer}/{{z}}/{{x}}/{{y}}?of={found.mark}"
    about = {"url": url, "zooms": list(found.zooms), "bounds": list(found.bounds), "tile_size": SIDE_PX}
    key = {"colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in RAMP], "shown_from": SHOWN_FROM}
    return about | (key if layer == "probability" else {})


@router.get("/sites/{site}/scenes/{scene_hash}/tiles/{z}/{x}/{y}", response_class=Response)
def send_scene_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """A tile of the scene at its own resolution: WebP, 512 pixels, on the grid of web maps (row 0 lies north)."""
    return _send(request, site, scene_hash, "tiles", (z, x, y))


@router.get("/sites/{site}/scenes/{scene_hash}/probability/{z}/{x}/{y}", response_class=Response)
def send_probability_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """A tile of the scene's probabilities in colours; from 0.05 on, of several classes the highest."""
    return _send(request, site, scene_hash, "probability", (z, x, y))


def _send(request: Request, site: str, scene_hash: str, layer: str, place: tuple[int, int, int]) -> Response:
    with take_turn(_reading, _BUSY(), WAITS_S):
        found = _open(_find_folder(request, site, scene_hash), layer)
        if found is None:
            raise NotFoundError(_NONE())
        headers = {"ETag": f'"{found.mark}"', "Cache-Control": "private, max-age=86400"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        try:
            tile = find_tile(found, *place)
        except ImageryError:
            raise NotFoundError(_UNREADABLE()) from None
    if tile is None:
        raise NotFoundError(_NOTHING())
    return Response(tile, headers=headers, media_type=found.type)


def _find_folder(request: Request, site: str, scene_hash: str) -> Path:
    with context_of(request).db.read() as c:
        folder = pages.find_scene_folder(c, site, scene_hash)
    if folder is None:
        raise NotFoundError(NO_SCENE(site=site, name=scene_hash[:12]))
    return Path(folder)


def _open(folder: Path, layer: str) -> Archive | None:
    try:
        return open_archive(folder / FILE_OF[layer])
    except ImageryError:
        return None
