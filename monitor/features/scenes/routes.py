"""One scene: its image before and after, the landslides on it with their age, and what was found out about it."""

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
OFFERED: Final = 100  # other dates to compare with
LISTED: Final = 25  # landslides in the table
# name of an age -> how long before the image a landslide was seen first, at most
AGES: Final = (("here", timedelta(0)), ("month", timedelta(days=30)), ("year", timedelta(days=365)))
Before = Annotated[str | None, Query(description="hash of the scene to compare with")]


@router.get("/sites/{site}/scenes/{scene_hash}", response_class=HTMLResponse, include_in_schema=False)
def show_scene(request: Request, site: str, scene_hash: str, before: Before = None) -> HTMLResponse:
    """One scene beside another date of the same ground."""
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
    """Landslides known when a scene was taken: newest outline, seen first, confirmed last, on how many dates."""
    with context_of(request).db.read() as c:
        scene = find_scene(c, site, scene_hash)
        lines, total = _load_landslides(c, site, scene)
    rows = [describe_line(line, scene) for line in lines]
    features = [
        {
            "type": "Feature",
            "id": number,
            "geometry": one["geometry"],
            "properties": {k: v for k, v in one.items() if k != "geometry"},
        }
        for number, one in enumerate(rows)
    ]
    return GeoJsonResponse({"type": "FeatureCollection", "of": total, "features": features})


def find_scene(c: Connection, site: str, scene_hash: str) -> SceneCard:
    """A scene of an active site that was read; raises NotFoundError: there is none."""
    if find_ladder(c, site) is not None and (found := load_read_scenes(c, site, 1, scene_hash)):
        return found[0]
    raise NotFoundError(NO_READ_SCENE(site=site, name=scene_hash[:12]))


def choose_before(scene: SceneCard, others: Sequence[SceneCard]) -> SceneCard | None:
    """The last image before a scene that covers some of its ground, else the first one after it; None without one."""
    near = [s for s in others if _overlap(scene.bounds, s.bounds)]
    earlier = [s for s in near if s.taken_at < scene.taken_at]
    return earlier[0] if earlier else near[-1] if near else None


def _overlap(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    """Whether two boxes share ground; where one is not known, nothing speaks against it."""
    if one is None or other is None:
        return True
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def describe_line(line: TrackedLandslide, scene: SceneCard) -> Mapping[str, Any]:
    """A landslide as a scene sees it: its age then, and whether the scene shows it."""
    taken, first = scene.taken_at, line["first_seen_at"]
    confirmed = line["scene_hash"] == scene.scene_hash
    age = next((name for name, most in AGES if taken - first <= most), "older")
    found: Mapping[str, Any] = format_instants(line) | {
        "confirmed": confirmed,
        "age": age if confirmed else "gone",
        "age_days": round((taken - first).total_seconds() / 86400, 1),
        "change": line["change"] if confirmed else "vanished" if line["vanished_at"] else "unseen",
    }
    return found


def _load_landslides(c: Connection, site: str, scene: SceneCard) -> tuple[list[TrackedLandslide], int]:
    model_hash = (scene.run or {}).get("model_hash")
    return load_landslides(c, site, scene.scene_hash, scene.taken_at, model_hash, scene.bounds)


AT_ONCE: Final = 12  # tiles that are being read; whoever comes then waits a moment, and holds a thread no longer
WAITS_S: Final = 0.5
SIDE_PX: Final = 512
_NONE: Final = Template("tile.none", "this scene has no such tiles")
_UNREADABLE: Final = Template("tile.unreadable", "the tiles of this scene cannot be read")
_NOTHING: Final = Template("tile.nothing", "there is nothing of this scene")
_BUSY: Final = Template("tile.busy", "tiles for others are being read; try again in a moment")
_reading: Final = threading.Semaphore(AT_ONCE)
FILE_OF: Final[dict[str, str]] = {"tiles": SCENE_FILES["scene"], "probability": SCENE_FILES["probability"]}


@router.get("/api/v1/sites/{site}/scenes/{scene_hash}/map", tags=["scenes"], response_model=dict[str, Any])
def describe_scene_map(request: Request, site: str, scene_hash: str) -> dict[str, Mapping[str, Any] | None]:
    """Which tiles a scene has, with zooms and bounds; null until they are cut, and where they cannot be."""
    folder = _find_folder(request, site, scene_hash)
    return {layer: describe_layer(site, scene_hash, folder, layer) for layer in FILE_OF}


def describe_layer(site: str, scene_hash: str, folder: Path, layer: str) -> Mapping[str, Any] | None:
    """Address, zooms and bounds of one layer of tiles; None where there is none. Other tiles have another address."""
    found = _open(folder, layer)
    if found is None:
        return None
    url = f"/api/v1/sites/{site}/scenes/{scene_hash}/{layer}/{{z}}/{{x}}/{{y}}?of={found.version}"
    about: dict[str, Any] = {"url": url, "zooms": list(found.zooms), "bounds": list(found.bounds), "tile_size": SIDE_PX}
    if layer == "probability":
        about["colours"] = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in RAMP]
        about["shown_from"] = SHOWN_FROM
    return about


@router.get("/api/v1/sites/{site}/scenes/{scene_hash}/tiles/{z}/{x}/{y}", tags=["scenes"], response_class=Response)
def send_scene_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """A tile of the scene at its own resolution: WebP, 512 pixels, on the grid of web maps (row 0 lies north)."""
    return _send(request, site, scene_hash, "tiles", (z, x, y))


@router.get(
    "/api/v1/sites/{site}/scenes/{scene_hash}/probability/{z}/{x}/{y}", tags=["scenes"], response_class=Response
)
def send_probability_tile(request: Request, site: str, scene_hash: str, z: int, x: int, y: int) -> Response:
    """A tile of the scene's probabilities in colours; from 0.05 on, of several classes the highest."""
    return _send(request, site, scene_hash, "probability", (z, x, y))


def _send(request: Request, site: str, scene_hash: str, layer: str, place: tuple[int, int, int]) -> Response:
    with acquire_or_refuse(_reading, _BUSY(), WAITS_S):
        found = _open(_find_folder(request, site, scene_hash), layer)
        if found is None:
            raise NotFoundError(_NONE())
        headers = {"ETag": f'"{found.version}"', "Cache-Control": "private, max-age=86400"}
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
        folder = find_scene_folder(c, site, scene_hash)
    if folder is None:
        raise NotFoundError(NO_SCENE(site=site, name=scene_hash[:12]))
    return Path(folder)


def _open(folder: Path, layer: str) -> Archive | None:
    try:
        return open_archive(folder / FILE_OF[layer])
    except ImageryError:
        return None
