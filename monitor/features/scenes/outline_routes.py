"""Outlines that people draw on scenes: the page to draw them on, what was drawn, and where to look next."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from detection.imagery.footprints.records import is_making
from monitor.api.errors import NotFoundError
from monitor.api.text import Template
from monitor.api.web import read_site, redirect_back
from monitor.api.web import render_page as render
from monitor.features.scenes.queries import outlines as store
from monitor.features.scenes.queries.cards import NO_READ_SCENE, load_read_scenes
from monitor.features.scenes.queries.reviews import load_reviewed
from monitor.features.scenes.queries.versions import Bounds

router = APIRouter(include_in_schema=False)
# Numbers of rows, scenes and tiles that a page lists at most.
LISTED: Final = 100
SCENES: Final = 24
WAITING: Final = 20
_NEWER: Final = Template("outline.shown_newer", "the scene was delivered again: this is its newer version")


@router.get("/sites/{site}/outlines", response_class=HTMLResponse)
def show_outlines(request: Request, site: str) -> HTMLResponse:
    """Show the outlines on the scenes of a site, the tiles to look at next, and the scenes."""
    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        outlines = store.load_outlines(c, site, limit=LISTED)
        total = store.count_outlines(c, site)
        waiting = [tile for tile in store.load_unsure(c, site) if not tile.is_seen]
        scenes = [scene for scene in load_read_scenes(c, site, SCENES) if scene.bounds is not None]
    return render(
        request,
        "outlines.html",
        card=card,
        outlines=outlines,
        total=total,
        scenes=scenes,
        waiting=waiting[:WAITING],
        waiting_total=len(waiting),
    )


@router.get("/sites/{site}/outlines/next")
def go_to_next(request: Request, site: str, after: str = "") -> Response:
    """Redirect to the most uncertain tile that nobody looked at; with `after` (SCENE.TILE) to the next one."""
    with read_site(request, site) as seen:
        tiles = store.load_unsure(seen.c, site)
    keys = [f"{tile.scene_hash}.{tile.tile}" for tile in tiles]
    remaining = tiles[keys.index(after) + 1 :] if after in keys else tiles
    next_tile = next((tile for tile in remaining if not tile.is_seen), None)
    if next_tile is None:
        return RedirectResponse(f"/sites/{site}/outlines", status_code=303)
    return RedirectResponse(
        f"/sites/{site}/scenes/{next_tile.scene_hash}/outlines?tile={next_tile.tile}", status_code=303
    )


@router.get("/sites/{site}/scenes/{scene_hash}/outlines", response_class=HTMLResponse)
def show_scene(request: Request, site: str, scene_hash: str, tile: int | None = None) -> Response:
    """Show a scene to draw on, with its outlines and footprints; `tile` is the number of an uncertain tile."""
    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        scene = next(iter(load_read_scenes(c, site, 1, scene_hash)), None)
        if scene is None and (version := store.list_versions(c, site).get(scene_hash)) is not None:
            return redirect_back(request, f"/sites/{site}/scenes/{version.scene_hash}/outlines", _NEWER())
        if scene is None:
            raise NotFoundError(NO_READ_SCENE(site=site, name=scene_hash[:12]))
        outlines = store.load_outlines(c, site, scene_hash=scene_hash, limit=LISTED)
        total = store.count_outlines(c, site, scene_hash)
        footprints = load_reviewed(c, site, scene_hash=scene_hash)
        tiles = store.load_unsure(c, site)
    bounds, making = scene.picture_bounds, is_making(scene.folder)
    shown = next((unsure for unsure in tiles if (unsure.scene_hash, unsure.tile) == (scene_hash, tile)), None)
    return render(
        request,
        "outline.html",
        card=card,
        scene=scene,
        bounds=bounds,
        making=making,
        outlines=outlines,
        total=total,
        footprints=footprints[:LISTED],
        footprints_total=len(footprints),
        tile=shown,
        left=sum(not unsure.is_seen for unsure in tiles),
        kinds=store.KINDS,
        tile_polygon="" if shown is None or bounds is None else json.dumps(_clip(shown.box, bounds)),
    )


def _clip(box: Bounds, bounds: Bounds) -> Mapping[str, Any]:
    west, south = max(box[0], bounds[0]), max(box[1], bounds[1])
    east, north = min(box[2], bounds[2]), min(box[3], bounds[3])
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
