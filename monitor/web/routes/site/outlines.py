"""Outlines that people draw on scenes: the page to draw them on, what was drawn, and where to look next."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from detection.imagery.footprints.records import is_making
from forecasting.message import Figure, Message, Template
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.store import pages
from monitor.store.scenes import outlines as store
from monitor.store.scenes.reviews import load_reviewed
from monitor.web.access.acting import Acting, PageAct, go_back
from monitor.web.context import NO_NUL
from monitor.web.parts.collect import NO_READ_SCENE, read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
LISTED: Final = 100  # rows of a table
SCENES: Final = 24
WAITING: Final = 20
LARGEST_FILE: Final = 500 * 1024
_NEWER: Final = Template("outline.shown_newer", "the scene was delivered again: this is its newer version")
_ONE: Final = Template("outline.one", "one outline is kept at a time")
_STORED: Final = Template("outline.stored", "the outline is stored")
_LARGE: Final = Template("outline.large_file", "the file is larger than {size} KiB")
_ODD: Final = Template("outline.odd", "outline {number} of the file: {text}; none is stored")
_SEVERAL: Final = Template("outline.several_stored", "{count} outlines are stored")
Kind = Annotated[str, Form(max_length=40, pattern=NO_NUL)]
Note = Annotated[str, Form(max_length=store.LONGEST_NOTE, pattern=NO_NUL)]
Polygon = Annotated[str, Form(max_length=64, pattern=NO_NUL)]


@router.get("/sites/{site}/outlines", response_class=HTMLResponse)
def show_outlines(request: Request, site: str) -> HTMLResponse:
    """What was outlined on the scenes of a site, where to look next, and which scenes there are."""
    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        found, total = store.load_outlines(c, site, limit=LISTED), store.count_outlines(c, site)
        waiting = [one for one in store.load_unsure(c, site) if not one.is_seen]
        scenes = [one for one in pages.load_read_scenes(c, site, SCENES) if one.bounds is not None]
    return render(
        request,
        "outlines.html",
        card=card,
        outlines=found,
        total=total,
        scenes=scenes,
        waiting=waiting[:WAITING],
        waiting_total=len(waiting),
    )


@router.get("/sites/{site}/outlines/next")
def go_to_next(request: Request, site: str, after: str = "") -> Response:
    """The least sure tile that nobody looked at; with `after` (scene.tile) the one behind that tile."""
    with read_site(request, site) as seen:
        tiles = store.load_unsure(seen.c, site)
    keys = [f"{one.scene_hash}.{one.tile}" for one in tiles]
    behind = tiles[keys.index(after) + 1 :] if after in keys else tiles
    found = next((one for one in behind if not one.is_seen), None)
    if found is None:
        return RedirectResponse(f"/sites/{site}/outlines", status_code=303)
    return RedirectResponse(f"/sites/{site}/scenes/{found.scene_hash}/outlines?tile={found.tile}", status_code=303)


@router.get("/sites/{site}/scenes/{scene_hash}/outlines", response_class=HTMLResponse)
def show_scene(request: Request, site: str, scene_hash: str, tile: int | None = None) -> Response:
    """One scene to draw on, with what was drawn and found on it; `tile` is one that the model is unsure of."""
    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        scene = next(iter(pages.load_read_scenes(c, site, 1, scene_hash)), None)
        if scene is None and (version := store.list_versions(c, site).get(scene_hash)) is not None:
            return go_back(request, f"/sites/{site}/scenes/{version.scene_hash}/outlines", _NEWER())
        if scene is None:
            raise NotFoundError(NO_READ_SCENE(site=site, name=scene_hash[:12]))
        found = store.load_outlines(c, site, scene_hash=scene_hash, limit=LISTED)
        total = store.count_outlines(c, site, scene_hash)
        footprints = load_reviewed(c, site, scene_hash=scene_hash)
        tiles = store.load_unsure(c, site)
    bounds, making = scene.picture_bounds, is_making(scene.folder)
    shown = next((one for one in tiles if (one.scene_hash, one.tile) == (scene_hash, tile)), None)
    return render(
        request,
        "outline.html",
        card=card,
        scene=scene,
        bounds=bounds,
        making=making,
        outlines=found,
        total=total,
        footprints=footprints[:LISTED],
        footprints_total=len(footprints),
        tile=shown,
        left=sum(not one.is_seen for one in tiles),
        kinds=store.KINDS,
        tile_polygon="" if shown is None or bounds is None else json.dumps(_clip(shown.box, bounds)),
    )


@router.post("/sites/{site}/scenes/{scene_hash}/outlines")
def draw(
    act: Acting,
    site: str,
    scene_hash: str,
    kind: Kind = "",
    geometry: Annotated[str, Form(max_length=LARGEST_FILE)] = "",
    note: Note = "",
    from_polygon: Polygon = "",
    instead_of: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
    tile: Annotated[int | None, Form(ge=0, lt=1 << 31)] = None,
) -> Response:
    """Keep one outline; a program that says so is answered with its number, and `tile` leads to the next one."""
    bounds = _find_bounds(act, site, scene_hash)
    (_, polygon, _), *more = read_collection(geometry.encode("utf-8", "replace"), kind)
    if more:
        raise RefusedError(_ONE())
    drawn = [store.read_outline(kind, polygon, bounds, note)]
    with act.db.write() as c:
        (number,) = store.add_outlines(
            c,
            site,
            scene_hash,
            drawn,
            act.actor,
            act.now,
            from_polygon=from_polygon or None,
            instead_of=instead_of,
        )
    if "application/json" in act.request.headers.get("accept", ""):
        return JSONResponse({"outline": number}, status_code=201)
    if tile is not None:
        return RedirectResponse(f"/sites/{site}/outlines/next?after={scene_hash}.{tile}", status_code=303)
    return _back(act, site, scene_hash, _STORED())


@router.post("/sites/{site}/scenes/{scene_hash}/outlines/file")
def bring(
    act: Acting, site: str, scene_hash: str, kind: Kind = "", file: Annotated[UploadFile | None, File()] = None
) -> Response:
    """Keep the outlines of a GeoJSON file, all or none."""
    bounds = _find_bounds(act, site, scene_hash)
    content = b"" if file is None else file.file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise RefusedError(_LARGE(size=LARGEST_FILE // 1024))
    drawn = []
    for number, (own, polygon, note) in enumerate(read_collection(content, kind), 1):
        try:
            drawn.append(store.read_outline(own, polygon, bounds, note))
        except RefusedError as error:
            raise RefusedError(_ODD(number=number, text=error.message)) from None
    with act.db.write() as c:
        store.add_outlines(c, site, scene_hash, drawn, act.actor, act.now)
    return _back(act, site, scene_hash, _SEVERAL(count=len(drawn)))


def _find_bounds(act: PageAct, site: str, scene_hash: str) -> store.Bounds:
    """Where a scene of the site lies; raises NotFoundError where it is of another one."""
    with act.db.read() as c:
        return store.find_bounds(c, site, scene_hash)


def _back(act: PageAct, site: str, scene_hash: str, text: Message) -> Response:
    return act.back(f"/sites/{site}/scenes/{scene_hash}/outlines", text)


def _clip(box: store.Bounds, bounds: store.Bounds) -> Mapping[str, Any]:
    """A tile as a polygon within its scene."""
    west, south = max(box[0], bounds[0]), max(box[1], bounds[1])
    east, north = min(box[2], bounds[2]), min(box[3], bounds[3])
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


MOST_FEATURES: Final = 500
MOST_CORNERS: Final = 20_000  # of one file: each ring is tried for crossings
LONLAT: Final = ("CRS84", "EPSG::4326", "EPSG:4326")  # as GeoJSON of 2008 names longitude and latitude

_OTHER_SYSTEM: Final = Template(
    "outlines.system", "the file names another system than longitude and latitude: bring it in WGS 84"
)
_NO_GEOJSON: Final = Template("outlines.json", "the file is no GeoJSON")
_NONE: Final = Template("outlines.none", "the file holds no outline")
_NO_POLYGON: Final = Template(
    "outlines.polygon", "feature {n}: expected a Polygon or MultiPolygon in longitude and latitude"
)
_MANY: Final = Template("outlines.many", "the file holds {n} outlines; bring {most} at a time")
_LONG: Final = Template("outlines.corners", "the outlines have {n} corners; bring {most} at a time")

Brought = tuple[str, dict[str, Any], str]
"""Kind, GeoJSON Polygon, note."""


def read_collection(content: bytes, kind: str) -> list[Brought]:
    """The outlines of a file: a FeatureCollection, a Feature or a geometry; parts of a MultiPolygon one by one.

    Args:
        kind: of features that have no property `kind`.

    Raises:
        RefusedError: it is no GeoJSON of polygons, or too long.

    >>> read_collection(b'{"type": "Polygon", "coordinates": [[[8, 46], [9, 46], [9, 47]]]}', "nothing")
    [('nothing', {'type': 'Polygon', 'coordinates': [[[8, 46], [9, 46], [9, 47]]]}, '')]
    """
    try:
        document = json.loads(content)
        named = json.dumps(document.get("crs") if isinstance(document, dict) else None)
    except (ValueError, RecursionError):
        raise RefusedError(_NO_GEOJSON()) from None
    if named != "null" and not any(name in named for name in LONLAT):
        raise RefusedError(_OTHER_SYSTEM())
    features = document.get("features") if isinstance(document, dict) else None
    listed = enumerate(features if isinstance(features, list) else [document], 1)
    found = [brought for number, one in listed for brought in _read_feature(number, one, kind)]
    if not found:
        raise RefusedError(_NONE())
    if len(found) > MOST_FEATURES:
        raise RefusedError(_MANY(n=Figure(len(found), "d"), most=MOST_FEATURES))
    corners = sum(len(g["coordinates"][0]) for _, g, _ in found if _has_ring(g["coordinates"]))
    if corners > MOST_CORNERS:
        raise RefusedError(_LONG(n=Figure(corners, "d"), most=Figure(MOST_CORNERS, "d")))
    return found


def _read_feature(number: int, feature: Any, kind: str) -> list[Brought]:
    """The polygons of one feature or geometry."""
    one = feature if isinstance(feature, dict) else {}
    geometry, facts = one.get("geometry", one), one.get("properties")
    geometry, facts = (part if isinstance(part, dict) else {} for part in (geometry, facts))
    form, parts = geometry.get("type"), geometry.get("coordinates")
    if form not in {"Polygon", "MultiPolygon"} or not isinstance(parts, list):
        raise RefusedError(_NO_POLYGON(n=Figure(number, "d")))
    own, note = facts.get("kind", kind), str(facts.get("note") or "").encode("utf-8", "replace").decode()
    every = parts if form == "MultiPolygon" else [parts]
    return [(str(own)[:40], {"type": "Polygon", "coordinates": rings}, note) for rings in every]


def _has_ring(rings: Any) -> bool:
    return isinstance(rings, list) and bool(rings) and isinstance(rings[0], list)
