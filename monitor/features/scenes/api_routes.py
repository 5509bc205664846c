"""Scenes, footprints, outlines and pictures of scenes in the HTTP API."""

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from sqlalchemy import Connection

from detection.geojson import FeatureCollection
from detection.imagery.footprints.records import is_making
from monitor.api.database import record_to_dict, stream_view
from monitor.api.errors import NotFoundError
from monitor.api.text import Template, format_instants
from monitor.api.web import GeoJsonResponse, Limit, context_of, describe_outlines, make_collection, read_site
from monitor.features.scenes.queries.arrivals import NO_SCENE
from monitor.features.scenes.queries.cards import SceneCard, load_footprints, load_scenes_of

router = APIRouter(prefix="/api/v1")
_MAKING: Final = Template("scene.making", "the picture of this scene is being made")
_NO_PICTURE: Final = Template("scene.no_picture", "this scene has no picture")


@router.get("/sites/{site}/scenes", tags=["scenes"])
def list_scenes(request: Request, site: str, limit: Limit = 20) -> list[dict[str, Any]]:
    """Return the newest scenes with number and area of their footprints."""
    with read_site(request, site) as seen:
        rows = load_scenes_of(seen.c, site, limit)
    # These columns contain paths of the server.
    hidden = {"out_dir", "run"}
    shown = (record_to_dict(row) | {"bounds": row.picture_bounds} for row in rows)
    return [format_instants({k: v for k, v in row.items() if k not in hidden}) for row in shown]


@router.get("/sites/{site}/scenes/{scene_hash}", tags=["scenes"], response_model=dict[str, Any])
def get_footprints(request: Request, site: str, scene_hash: str) -> FeatureCollection:
    """Return the footprints of one scene as a GeoJSON FeatureCollection."""
    with context_of(request).db.read() as c:
        _find_scene(c, site, scene_hash)
        rows = load_footprints(c, site, scene_hash)
    return make_collection(
        {
            "type": "Feature",
            "id": row["polygon_id"],
            "geometry": row["geometry"],
            "properties": {k: v for k, v in row.items() if k != "geometry"},
        }
        for row in rows
    )


@router.get("/sites/{site}/scenes/{scene_hash}/outlines.geojson", tags=["scenes"], response_class=GeoJsonResponse)
def get_outlines(request: Request, site: str, scene_hash: str) -> GeoJsonResponse:
    """Return the outlines that people drew on one scene, without withdrawn ones."""
    with context_of(request).db.read() as c:
        _find_scene(c, site, scene_hash)
        rows = stream_view(c, "scene_outlines", order_by=("outline_id",), site=site, scene_hash=scene_hash)
        return GeoJsonResponse(make_collection(list(describe_outlines(rows))))


@router.get("/sites/{site}/scenes/{scene_hash}/preview.png", tags=["scenes"], response_class=FileResponse)
def get_preview(request: Request, site: str, scene_hash: str) -> FileResponse:
    """Return the picture of a scene, on a grid of longitude and latitude."""
    with context_of(request).db.read() as c:
        scene = _find_scene(c, site, scene_hash)
    if scene.preview is None and is_making(scene.folder):
        raise NotFoundError(_MAKING())
    return _send_picture(scene.preview)


@router.get("/sites/{site}/scenes/{scene_hash}/change.png", tags=["scenes"], response_class=FileResponse)
def get_change_picture(request: Request, site: str, scene_hash: str) -> FileResponse:
    """Return a picture of the changes since earlier dates: outlines by their change, grey if they are unknown."""
    with context_of(request).db.read() as c:
        scene = _find_scene(c, site, scene_hash)
    name = (((scene.run or {}).get("change") or {}).get("outputs") or {}).get("picture")
    return _send_picture(scene.find_picture(name))


def _send_picture(path: Path | None) -> FileResponse:
    if path is None:
        raise NotFoundError(_NO_PICTURE())
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


def _find_scene(c: Connection, site: str, scene_hash: str) -> SceneCard:
    found = next((s for s in load_scenes_of(c, site, 1000) if s.scene_hash == scene_hash), None)
    if found is None:
        raise NotFoundError(NO_SCENE(site=site, name=scene_hash[:12]))
    return found
