"""Outlines that people draw on scenes, reviews of footprints, labels from both, and tiles that need a review."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Text, delete, exists, func, insert, select, type_coerce, update

from detection.geojson import Geometry
from detection.imagery.footprints.records import DoubtfulTile
from monitor.api.database import Actor, add_audit, add_row, fill_row, load_records, row_to_record
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.hooks import LabelledGround, SceneTrainingData
from monitor.api.queries.people import require_person
from monitor.api.sites import crosses_itself, measure_area_m2
from monitor.api.text import Figure, NameList, Template
from monitor.features.scenes.queries.arrivals import NO_SCENE, load_scenes
from monitor.features.scenes.queries.reviews import ReviewedFootprint, load_reviewed
from monitor.features.scenes.queries.versions import Bounds
from monitor.features.scenes.tables import footprint_review, scene, scene_footprint, scene_outline, scene_unsure

_NO_POLYGON: Final = Template("outline.no_polygon", "an outline is a GeoJSON Polygon in longitude and latitude")()
_HOLES: Final = Template("outline.holes", "an outline has no holes: outline the inside apart, as not_landslide")()
_CORNERS: Final = Template("outline.corners", "the outline has {n} corners; {most} are the most")
_NO_CORNER: Final = Template("outline.no_corner", "a corner is two numbers: longitude, latitude")()
_OUTSIDE: Final = Template("outline.outside", "a corner at {place} (longitude, latitude) lies outside of the scene")
_FEW_CORNERS: Final = Template("outline.few_corners", "an outline has three corners at least")()
_CROSSES: Final = Template("outline.crosses", "the outline crosses or touches itself")()
_KIND: Final = Template("outline.kind", "kind '{kind}' is none of {names}")
_LONG_NOTE: Final = Template("outline.long_note", "a note has {n} characters at most")
_NO_FOOTPRINT: Final = Template("outline.no_footprint", "the scene has no footprint '{name}'")
_TOO_MANY: Final = Template("outline.too_many", "the scene has {n} outlines; more are not kept")
_NO_OUTLINE: Final = Template("outline.unknown", "there is no outline {number} here")
_WITHDRAWN: Final = Template("outline.withdrawn", "outline {number} is withdrawn already")
_NEWER: Final = Template("outline.newer", "scene {name} was delivered again: draw on the newer version")
_NO_PICTURE: Final = Template(
    "outline.no_picture", "scene {name} has no picture with a place on the ground: nothing can be outlined on it"
)
LANDSLIDE: Final = "landslide"
NOT_LANDSLIDE: Final = "not_landslide"  # ground that looks like a landslide
NOTHING: Final = "nothing"  # ground that was examined completely and shows no landslide
KINDS: Final = (LANDSLIDE, NOT_LANDSLIDE, NOTHING)
VERDICTS: Final = ("accept", "reject", "redraw")  # of a review of a footprint
MOST_CORNERS: Final = 2000  # corners of one outline
MOST_OF_SCENE: Final = 2000  # outlines of a scene that are not withdrawn
MOST_TEXT: Final = 4 << 20  # characters of their geometries, which the page of the scene loads
LONGEST_NOTE: Final = 500
_ROUNDED: Final = 1e-6  # degrees by which a corner at the edge of a scene may lie outside of it
_STEPS: Final = 10**7  # steps of a degree: corners are rounded to a centimetre and compared as whole numbers

Ring = list[list[float]]
_FRAME: Final = ("min_lon", "min_lat", "max_lon", "max_lat")
DETECTION, LEARNING = "detection", "learning"
"""Which network is unsure of a tile: the one that read the scene, or the one that was trained last."""


@dataclass(frozen=True, slots=True)
class CheckedOutline:
    """An outline that was checked; `ring` is closed."""

    kind: str
    ring: Ring
    note: str


@dataclass(frozen=True, slots=True)
class Outline:
    """One outline with the name of its scene. `from_polygon_id` is the footprint that it corrects.

    `withdrawn_at` is None unless the outline was withdrawn.
    """

    id: int
    scene: str
    scene_hash: str
    kind: str
    geometry: Geometry
    area_m2: float
    from_model_hash: str | None
    from_polygon_id: str | None
    note: str
    at: datetime
    by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None


@dataclass(frozen=True, slots=True)
class TileToReview:
    """A tile that a model is unsure of. `tile` is its number on the scene; `cause` is `DETECTION` or `LEARNING`.

    `is_seen`: a person drew an outline there after the tile was stored.
    """

    scene_hash: str
    scene: str
    tile: int
    box: Bounds
    doubt: float
    is_seen: bool
    cause: str


# ---- outlines --------------------------------------------------------------------------------------------------
def read_ring(geometry: Any, bounds: Bounds) -> Ring:
    """Return the corners of a GeoJSON Polygon, closed, counter-clockwise (RFC 7946) and rounded to seven decimals.

    Args:
        geometry: untrusted input.
        bounds: bounds of the scene on which the outline is drawn.

    Raises:
        RefusedError: It is not a polygon without holes inside of the bounds.
    """
    rings = geometry.get("coordinates") if isinstance(geometry, Mapping) and geometry.get("type") == "Polygon" else None
    if not isinstance(rings, list) or not rings or not isinstance(rings[0], list):
        raise RefusedError(_NO_POLYGON)
    if len(rings) > 1:
        raise RefusedError(_HOLES)
    if len(rings[0]) > MOST_CORNERS + 1:
        raise RefusedError(_CORNERS(n=Figure(len(rings[0]) - 1, "d"), most=MOST_CORNERS))
    corners = [place for place, _ in groupby(_read_corner(corner, bounds) for corner in rings[0])]
    if corners and corners[0] == corners[-1]:
        corners.pop()
    if len(set(corners)) < 3:
        raise RefusedError(_FEW_CORNERS)
    if crosses_itself(corners):
        raise RefusedError(_CROSSES)
    turns = zip(corners, [*corners[1:], corners[0]], strict=True)
    if sum(a[0] * b[1] - b[0] * a[1] for a, b in turns) < 0:
        corners.reverse()
    return [[x / _STEPS, y / _STEPS] for x, y in [*corners, corners[0]]]


def _read_corner(corner: Any, bounds: Bounds) -> tuple[int, int]:
    """Return longitude and latitude of a corner as whole `_STEPS`. A height is ignored."""
    # `isinstance` would accept a bool as a number.
    if not isinstance(corner, list) or len(corner) < 2 or any(type(x) not in {int, float} for x in corner[:2]):
        raise RefusedError(_NO_CORNER)
    west, south, east, north = bounds
    lon, lat = corner[:2]
    if not (west - _ROUNDED <= lon <= east + _ROUNDED and south - _ROUNDED <= lat <= north + _ROUNDED):
        raise RefusedError(_OUTSIDE(place=f"{lon!s:.10}, {lat!s:.10}"))
    return round(lon * _STEPS), round(lat * _STEPS)


def read_outline(kind: str, geometry: Any, bounds: Bounds, note: str = "") -> CheckedOutline:
    """Check an outline. Callers do this before they open a transaction, because large rings take long.

    Args:
        kind: one of `KINDS`.
        geometry: GeoJSON Polygon, see `read_ring`.
        bounds: bounds of the scene on which the outline is drawn.
        note: note of the person.

    Raises:
        RefusedError: The kind is unknown, the geometry is refused by `read_ring`, or the note is too long.
    """
    if kind not in KINDS:
        raise RefusedError(_KIND(kind=kind, names=NameList(KINDS)))
    note = " ".join(note.replace("\0", " ").split())
    if len(note) > LONGEST_NOTE:
        raise RefusedError(_LONG_NOTE(n=LONGEST_NOTE))
    return CheckedOutline(kind, read_ring(geometry, bounds), note)


def add_outlines(
    c: Connection,
    site: str,
    scene_hash: str,
    drawn: Sequence[CheckedOutline],
    actor: Actor,
    now: datetime,
    *,
    from_polygon: str | None = None,
    instead_of: int | None = None,
) -> list[int]:
    """Store outlines of a person, all or none. Return their numbers.

    Args:
        scene_hash: the scene on which they are drawn.
        drawn: outlines that `read_outline` returned.
        from_polygon: the footprint of this scene that they correct.
        instead_of: number of the outline of this scene that they replace. It is withdrawn.

    Raises:
        NotFoundError: There is no such scene, footprint or outline.
        RefusedError: The actor is not a person, nothing can be outlined on the scene, or it has too many outlines.
    """
    for one in drawn:
        require_person(actor, one.kind)
    find_bounds(c, site, scene_hash)
    versions = _list_replaced(c, site, scene_hash)
    o, g = scene_outline.c, scene_footprint.c
    model_hash = None
    if from_polygon is not None:
        corrected = select(g.model_hash).where(g.scene_hash.in_(versions), g.polygon_id == from_polygon)
        model_hash = c.execute(corrected).scalars().first()
        if model_hash is None:
            raise NotFoundError(_NO_FOOTPRINT(name=from_polygon[:12]))
    if instead_of is not None:
        withdraw_outline(c, site, instead_of, actor, now, scenes=versions)
    size = func.coalesce(func.sum(func.length(type_coerce(o.geometry, Text))), 0)
    current = select(func.count(), size).where(o.site == site, o.scene_hash == scene_hash, o.withdrawn_at.is_(None))
    count, characters = c.execute(current).one()
    numbers = []
    for k, one in enumerate(drawn):
        if count + k >= MOST_OF_SCENE or characters >= MOST_TEXT:
            raise RefusedError(_TOO_MANY(n=count + k))
        geometry = {"type": "Polygon", "coordinates": [one.ring]}
        characters += len(json.dumps(geometry))
        facts = {"site": site, "kind": one.kind, "note": one.note}
        area_m2 = round(measure_area_m2([(lon, lat) for lon, lat in one.ring[:-1]]), 1)
        row = {"scene_hash": scene_hash, "geometry": geometry, "area_m2": area_m2, "at": now, "by": actor.name}
        lons, lats = zip(*one.ring, strict=True)
        frame = (min(lons), min(lats), max(lons), max(lats))
        row |= {"from_model_hash": model_hash, "from_polygon_id": from_polygon}
        number = add_row(c, scene_outline, facts, row, dict(zip(_FRAME, frame, strict=True)))
        detail = facts | {"scene": scene_hash, "corners": len(one.ring) - 1}
        detail |= {"footprint": from_polygon, "instead_of": instead_of}
        add_audit(c, actor, "outline.add", f"outline:{number}", detail, now)
        numbers.append(number)
    return numbers


def withdraw_outline(
    c: Connection, site: str, number: int, actor: Actor, now: datetime, *, scenes: Sequence[str] | None = None
) -> str:
    """Withdraw an outline. Its row stays. Return the hash of its scene.

    Args:
        scenes: hashes of scenes of which the outline must be; None: any scene of the site.

    Raises:
        NotFoundError: There is no such outline.
        RefusedError: The actor is not a person, or the outline is withdrawn already.
    """
    require_person(actor, "withdrawn")
    o = scene_outline.c
    where = [o.id == number, o.site == site, *([] if scenes is None else [o.scene_hash.in_(scenes)])]
    found = c.execute(select(o.withdrawn_at, o.scene_hash).where(*where).with_for_update()).one_or_none()
    if found is None:
        raise NotFoundError(_NO_OUTLINE(number=Figure(number, "d")))
    if found.withdrawn_at is not None:
        raise RefusedError(_WITHDRAWN(number=Figure(number, "d")))
    c.execute(update(scene_outline).where(o.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "outline.withdraw", f"outline:{number}", {"site": site}, now)
    return str(found.scene_hash)


def load_outlines(
    c: Connection, site: str, *, scene_hash: str | None = None, limit: int | None = None, everything: bool = False
) -> list[Outline]:
    """Return the outlines of a site or of one of its scenes, the newest first.

    Args:
        scene_hash: Return only the outlines of this scene and of versions that it replaced.
        everything: Return also withdrawn outlines.
    """
    o = scene_outline.c
    query = (
        select(scene_outline, scene.c.name.label("scene"))
        .join(scene, scene.c.scene_hash == o.scene_hash)
        .where(*_which(c, site, scene_hash, everything=everything))
        .order_by(o.id.desc())
        .limit(limit)
    )
    return load_records(c, Outline, query)


def count_outlines(c: Connection, site: str, scene_hash: str | None = None) -> int:
    """Return how many outlines of a site, or of one of its scenes, are not withdrawn."""
    return int(c.execute(select(func.count()).where(*_which(c, site, scene_hash))).scalar_one())


def _which(c: Connection, site: str, scene_hash: str | None, *, everything: bool = False) -> list[ColumnElement[bool]]:
    o = scene_outline.c
    of_scene = [] if scene_hash is None else [o.scene_hash.in_(_list_replaced(c, site, scene_hash))]
    return [o.site == site, *of_scene, *([] if everything else [o.withdrawn_at.is_(None)])]


def _list_replaced(c: Connection, site: str, scene_hash: str) -> list[str]:
    """Return the hashes of a scene and of the versions that it replaced."""
    return [name for name, newest in list_versions(c, site).items() if newest.scene_hash == scene_hash]


def find_bounds(c: Connection, site: str, scene_hash: str) -> Bounds:
    """Return the bounds of a scene on which outlines can be drawn.

    Raises:
        NotFoundError: The site has no such scene.
        RefusedError: The scene was not read, has no place on the ground, or was replaced by another version.
    """
    s = scene.c
    row = c.execute(select(s.run, s.state, s.name).where(s.site == site, s.scene_hash == scene_hash)).one_or_none()
    if row is None:
        raise NotFoundError(NO_SCENE(site=site, name=scene_hash[:12]))
    bounds = ((row.run or {}).get("outputs") or {}).get("bounds")
    if row.state == "superseded":
        raise RefusedError(_NEWER(name=row.name))
    if row.state != "done" or not isinstance(bounds, list) or len(bounds) != 4:
        raise RefusedError(_NO_PICTURE(name=row.name))
    west, south, east, north = map(float, bounds)
    return west, south, east, north


# ---- reviews of footprints -------------------------------------------------------------------------------------
def add_review(
    c: Connection,
    site: str,
    polygon_id: str,
    verdict: str,
    actor: Actor,
    now: datetime,
    *,
    note: str | None = None,
    geometry: Geometry | None = None,
    scene_hash: str | None = None,
) -> ReviewedFootprint:
    """Store the review of a footprint by a person.

    Args:
        polygon_id: id of the footprint, or a beginning that no other footprint has.
        verdict: one of `VERDICTS`.
        geometry: for `redraw`, the outline: a GeoJSON Polygon or MultiPolygon in longitude and latitude.
        scene_hash: scene of the footprint; None: any scene of the site.

    Returns:
        The footprint with its new review.

    Raises:
        NotFoundError: Not exactly one footprint has such an id.
        RefusedError: The actor is not a person, the verdict is unknown, or an outline is missing or not allowed.
    """
    if actor.kind != "person" or not actor.name.strip():
        raise RefusedError("a footprint is judged by a person with a name")
    if verdict not in VERDICTS:
        raise RefusedError(f"verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if (verdict == "redraw") != (geometry is not None):
        raise RefusedError("redraw, and it alone, comes with an outline")
    if geometry is not None and geometry.get("type") not in {"Polygon", "MultiPolygon"}:
        raise RefusedError(f"the outline is a {geometry.get('type')}, not a GeoJSON Polygon or MultiPolygon")
    matching = load_reviewed(c, site, scene_hash=scene_hash, polygon_id=polygon_id)
    if len(matching) != 1:
        raise NotFoundError(f"{len(matching)} footprints of {site} begin with {polygon_id!r}; one is needed")
    one = matching[0]
    review = {"at": now, "verdict": verdict, "by": actor.name, "note": note}
    outline = None if geometry is None else dict(geometry)
    add_row(c, footprint_review, fill_row(footprint_review, one, **review, geometry=outline))
    detail = {"site": site, "scene": one.scene_hash, "verdict": verdict, "note": note}
    add_audit(c, actor, "footprint.review", f"footprint:{one.polygon_id}", detail, now)
    (reviewed,) = load_reviewed(
        c, site, model_hash=one.model_hash, scene_hash=one.scene_hash, polygon_id=one.polygon_id
    )
    return reviewed


# ---- labels ----------------------------------------------------------------------------------------------------
def load_training_data(c: Connection, site: str) -> SceneTrainingData:
    """Return the scenes of a site that were read, the newest first, and all labels of its ground."""
    scenes = {row.scene_hash: row.path for row in load_scenes(c, site) if row.state == "done"}
    return SceneTrainingData(scenes, load_labels(c, site))


def load_labels(c: Connection, site: str) -> list[LabelledGround]:
    """Return all labels of the ground of a site: outlines that are not withdrawn, and footprints that were reviewed.

    If a footprint was both reviewed and corrected by an outline, only the newer of the two is a label. Labels of a
    version of a scene that was replaced become labels of the version that counts, because only its files exist.
    """
    current_versions = list_versions(c, site)
    footprints = [
        footprint for footprint in load_reviewed(c, site) if footprint.verdict is not None and not footprint.by_outline
    ]
    reviewed_later = {(footprint.scene_hash, footprint.model_hash, footprint.polygon_id) for footprint in footprints}
    labels = [
        (outline.scene_hash, outline.kind, outline.geometry, "")
        for outline in load_outlines(c, site)
        if (outline.scene_hash, outline.from_model_hash, outline.from_polygon_id) not in reviewed_later
    ]
    for footprint in footprints:
        kind = NOT_LANDSLIDE if footprint.verdict == "reject" else LANDSLIDE
        labels.append((footprint.scene_hash, kind, footprint.redrawn or footprint.geometry, footprint.method))
    return [
        LabelledGround(current_versions[scene_hash].path, kind, geometry, method)
        for scene_hash, kind, geometry, method in labels
        if scene_hash in current_versions
    ]


def list_versions(c: Connection, site: str) -> dict[str, Any]:
    """Return, by hash of each scene of a site, the row of the version that replaced it last, or its own row.

    A scene is left out if this version was not read.
    """
    s = scene.c
    rows = c.execute(select(s.scene_hash, s.name, s.path, s.acquired_at, s.state, s.run).where(s.site == site)).all()
    rows_by_hash = {row.scene_hash: row for row in rows}
    versions = {}
    for row in rows:
        newest = row
        visited = {row.scene_hash}
        while newest.state == "superseded":
            replacing_hash = (newest.run or {}).get("superseded_by")
            if replacing_hash not in rows_by_hash or replacing_hash in visited:
                break
            visited.add(replacing_hash)
            newest = rows_by_hash[replacing_hash]
        if newest.state == "done":
            versions[row.scene_hash] = newest
    return versions


# ---- tiles that need a review ------------------------------------------------------------------------------------
def save_unsure(
    c: Connection,
    site: str,
    scene_hash: str,
    model_hash: str,
    tiles: Sequence[DoubtfulTile],
    now: datetime,
    *,
    cause: str = DETECTION,
) -> None:
    """Store the tiles of a scene that a model is least sure of. They replace the stored ones with the same cause."""
    u = scene_unsure.c
    c.execute(delete(scene_unsure).where(u.scene_hash == scene_hash, u.cause == cause))
    last = c.execute(select(func.max(u.tile)).where(u.scene_hash == scene_hash)).scalar()
    ordered = sorted(tiles, key=lambda tile: -tile.doubt)
    rows = [
        {"site": site, "scene_hash": scene_hash, "model_hash": model_hash, "tile": number, "made_at": now}
        | {"cause": cause, "doubt": float(tile.doubt), **dict(zip(_FRAME, map(float, tile.box), strict=True))}
        for number, tile in enumerate(ordered, 0 if last is None else last + 1)
    ]
    if rows:
        c.execute(insert(scene_unsure), rows)


def forget_unsure(c: Connection, site: str, cause: str) -> None:
    """Delete all tiles of a site with one cause, because a newer network is unsure of others."""
    c.execute(delete(scene_unsure).where(scene_unsure.c.site == site, scene_unsure.c.cause == cause))


def replace_uncertain_of_training(
    c: Connection, site: str, model_hash: str, tiles: Mapping[str, Sequence[DoubtfulTile]], now: datetime
) -> None:
    """Store the tiles, by scene, of which a new network is least certain, in place of those of the network before."""
    forget_unsure(c, site, LEARNING)
    for scene_hash, tiles_of_scene in tiles.items():
        save_unsure(c, site, scene_hash, model_hash, tiles_of_scene, now, cause=LEARNING)


def load_unsure(c: Connection, site: str) -> list[TileToReview]:
    """Return the tiles that models are unsure of, on scenes that were read and not replaced.

    Tiles of the network that was trained last come first, and of one network the least certain.
    """
    u, o = scene_unsure.c, scene_outline.c
    inside = (o.min_lon < u.max_lon, o.max_lon > u.min_lon, o.min_lat < u.max_lat, o.max_lat > u.min_lat)
    stands = (o.site == u.site, o.scene_hash == u.scene_hash, o.withdrawn_at.is_(None), o.at >= u.made_at)
    seen = exists().where(*stands, *inside)
    rows = c.execute(
        select(scene_unsure, scene.c.name.label("scene"), seen.label("is_seen"))
        .join(scene, scene.c.scene_hash == u.scene_hash)
        .where(u.site == site, scene.c.state == "done")
        .order_by(u.cause != LEARNING, u.doubt.desc(), u.scene_hash, u.tile)
    )
    tiles = []
    for row in rows:
        box = (row.min_lon, row.min_lat, row.max_lon, row.max_lat)
        tiles.append(row_to_record(TileToReview, row, box=box, is_seen=bool(row.is_seen)))
    return tiles
