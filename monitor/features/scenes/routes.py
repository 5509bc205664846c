"""Pages and addresses of one scene: its image beside an earlier one, its landslides with their age, and its tiles."""

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection

from detection.imagery.errors import ImageryError
from detection.imagery.footprints.records import is_making
from detection.imagery.tiles.lookup import Archive, find_tile, open_archive, read_metadata
from detection.imagery.tiles.records import RAMP, SCENE_FILES, SHOWN_FROM
from monitor.api.errors import NotFoundError, acquire_or_refuse
from monitor.api.queries.alerts import find_ladder
from monitor.api.text import Template, format_instants, plain_to_messages
from monitor.api.web import GeoJsonResponse, context_of, read_site
from monitor.api.web import render_page as render
from monitor.features.scenes.queries.arrivals import NO_SCENE
from monitor.features.scenes.queries.cards import NO_READ_SCENE, SceneCard, find_scene_folder, load_read_scenes
from monitor.features.scenes.queries.versions import TrackedLandslide, load_landslides
from monitor.features.scenes.queries.weights import mark_unproven

router = APIRouter()
# Number of other dates that the page offers for comparison.
OFFERED: Final = 100
# Number of landslides in the table of the page.
LISTED: Final = 25
# Name of an age, and the longest time from the first image of a landslide to this image.
AGES: Final = (("here", timedelta(0)), ("month", timedelta(days=30)), ("year", timedelta(days=365)))
Before = Annotated[str | None, Query(description="hash of the scene to compare with")]


@router.get("/sites/{site}/scenes/{scene_hash}", response_class=HTMLResponse, include_in_schema=False)
def show_scene(request: Request, site: str, scene_hash: str, before: Before = None) -> HTMLResponse:
    """Show a scene beside another date of the same ground."""
    with read_site(request, site) as seen:
        c = seen.c
        scene = find_scene(c, site, scene_hash)
        others = [s for s in load_read_scenes(c, site, OFFERED) if s.scene_hash != scene_hash]
        lines, total = _load_landslides(c, site, scene)
        mark_unproven(c, site, lines, seen.now)
    others.sort(key=lambda s: (s.taken_at, s.scene_hash), reverse=True)
    chosen = next((s for s in others if s.scene_hash == before), None) or choose_before(scene, others)
    metadata = plain_to_messages(read_metadata(scene.folder)) or {}
    return render(
        request,
        "scene.html",
        card=seen.card,
        scene=scene,
        run=scene.run or {},
        others=others,
        before=chosen,
        lines=[describe_line(line, scene) for line in lines[:LISTED]],
        total=total,
        making=[s.scene_hash for s in (scene, chosen) if s and is_making(s.folder)],
        pictured=[s.scene_hash for s in (scene, chosen) if s and s.preview],
        no_tiles=str(metadata.get("error", ""))[:300],
    )


@router.get(
    "/api/v1/sites/{site}/scenes/{scene_hash}/landslides.geojson", tags=["scenes"], response_class=GeoJsonResponse
)
def map_landslides(request: Request, site: str, scene_hash: str) -> GeoJsonResponse:
    """Return the landslides known when a scene was taken: newest outline, first and last date, and number of dates."""
    with context_of(request).db.read() as c:
        scene = find_scene(c, site, scene_hash)
        lines, total = _load_landslides(c, site, scene)
    rows = [describe_line(line, scene) for line in lines]
    features = [
        {
            "type": "Feature",
            "id": number,
            "geometry": row["geometry"],
            "properties": {key: value for key, value in row.items() if key != "geometry"},
        }
        for number, row in enumerate(rows)
    ]
    return GeoJsonResponse({"type": "FeatureCollection", "of": total, "features": features})


def find_scene(c: Connection, site: str, scene_hash: str) -> SceneCard:
    """Return a scene of an active site that was read.

    Raises:
        NotFoundError: There is no such scene.
    """
    scenes = load_read_scenes(c, site, 1, scene_hash) if find_ladder(c, site) is not None else []
    if scenes:
        return scenes[0]
    raise NotFoundError(NO_READ_SCENE(site=site, name=scene_hash[:12]))


def choose_before(scene: SceneCard, others: Sequence[SceneCard]) -> SceneCard | None:
    """Return the last image before a scene that shows some of its ground, otherwise the first one after it.

    Args:
        others: Other scenes of the site, newest first.
    """
    overlapping = [other for other in others if _overlap(scene.bounds, other.bounds)]
    earlier = [other for other in overlapping if other.taken_at < scene.taken_at]
    if earlier:
        return earlier[0]
    return overlapping[-1] if overlapping else None


def _overlap(first: tuple[float, ...] | None, second: tuple[float, ...] | None) -> bool:
    """Return whether two boxes overlap, or one of them is unknown."""
    if first is None or second is None:
        return True
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def describe_line(line: TrackedLandslide, scene: SceneCard) -> Mapping[str, Any]:
    """Return a landslide with its age when a scene was taken, and whether the scene shows it."""
    age_at_scene = scene.taken_at - line["first_seen_at"]
    confirmed = line["scene_hash"] == scene.scene_hash
    age = next((name for name, longest in AGES if age_at_scene <= longest), "older")
    description: Mapping[str, Any] = format_instants(line) | {
        "confirmed": confirmed,
        "age": age if confirmed else "gone",
        "age_days": round(age_at_scene.total_seconds() / 86400, 1),
        "change": line["change"] if confirmed else "vanished" if line["vanished_at"] else "unseen",
    }
    return description


def _load_landslides(c: Connection, site: str, scene: SceneCard) -> tuple[list[TrackedLandslide], int]:
    model_hash = (scene.run or {}).get("model_hash")
    return load_landslides(c, site, scene.scene_hash, scene.taken_at, model_hash, scene.bounds)


# At most this many tiles are read at a time. A further request waits for a moment and is then refused, so that requests
# for tiles do not hold all threads of the page.
MAX_READS: Final = 12
MAX_WAIT_S: Final = 0.5
SIDE_PX: Final = 512
_NONE: Final = Template("tile.none", "this scene has no such tiles")
_UNREADABLE: Final = Template("tile.unreadable", "the tiles of this scene cannot be read")
_OUTSIDE: Final = Template("tile.nothing", "the scene does not cover this tile")
_BUSY: Final = Template("tile.busy", "too many tiles are being read; try again in a moment")
_reading: Final = threading.Semaphore(MAX_READS)
FILE_OF: Final[dict[str, str]] = {"tiles": SCENE_FILES["scene"], "probability": SCENE_FILES["probability"]}


@router.get("/api/v1/sites/{site}/scenes/{scene_hash}/map", tags=["scenes"], response_model=dict[str, Any])
def describe_scene_map(request: Request, site: str, scene_hash: str) -> dict[str, Mapping[str, Any] | None]:
    """Return the layers of tiles of a scene with zooms and bounds; null if a layer does not exist."""
    folder = _find_folder(request, site, scene_hash)
    return {layer: describe_layer(site, scene_hash, folder, layer) for layer in FILE_OF}


def describe_layer(site: str, scene_hash: str, folder: Path, layer: str) -> Mapping[str, Any] | None:
    """Return address, zooms and bounds of one layer of tiles; None if there is none.

    The address changes with the content of the tiles, so that browsers can cache them.
    """
    archive = _open(folder, layer)
    if archive is None:
        return None
    url = f"/api/v1/sites/{site}/scenes/{scene_hash}/{layer}/{{z}}/{{x}}/{{y}}?of={archive.version}"
    facts: dict[str, Any] = {"url": url, "zooms": list(archive.zooms), "bounds": list(archive.bounds)}
    facts["tile_size"] = SIDE_PX
    if layer == "probability":
        facts["colours"] = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in RAMP]
        facts["shown_from"] = SHOWN_FROM
    return facts


@router.get("/api/v1/sites/{site}/scenes/{scene_hash}/tiles/{z}/{x}/{y}", tags=["scenes"], response_class=Response)
def send_scene_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """Return a tile of the scene at its own resolution: WebP, 512 pixels, on the grid of web maps (row 0 is north)."""
    return _send(request, site, scene_hash, "tiles", (z, x, y))


@router.get(
    "/api/v1/sites/{site}/scenes/{scene_hash}/probability/{z}/{x}/{y}", tags=["scenes"], response_class=Response
)
def send_probability_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """Return a tile of the probabilities of the scene in colours, from 0.05; of several classes the highest."""
    return _send(request, site, scene_hash, "probability", (z, x, y))


def _send(request: Request, site: str, scene_hash: str, layer: str, place: tuple[int, int, int]) -> Response:
    with acquire_or_refuse(_reading, _BUSY(), MAX_WAIT_S):
        archive = _open(_find_folder(request, site, scene_hash), layer)
        if archive is None:
            raise NotFoundError(_NONE())
        headers = {"ETag": f'"{archive.version}"', "Cache-Control": "private, max-age=86400"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        try:
            tile = find_tile(archive, *place)
        except ImageryError:
            raise NotFoundError(_UNREADABLE()) from None
    if tile is None:
        raise NotFoundError(_OUTSIDE())
    return Response(tile, headers=headers, media_type=archive.type)


def _find_folder(request: Request, site: str, scene_hash: str) -> Path:
    with context_of(request).db.read() as c:
        folder = find_scene_folder(c, site, scene_hash)
    if folder is None:
        raise NotFoundError(NO_SCENE(site=site, name=scene_hash[:12]))
    return Path(folder)


def _open(folder: Path, layer: str) -> Archive | None:
    try:
        return open_archive(folder / FILE_OF[layer])
    except ImageryError:
        return None
