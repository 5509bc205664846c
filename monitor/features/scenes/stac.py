"""Scenes as a STAC catalogue for other programs, one collection per site."""

from typing import Any, Final, TypedDict

from sqlalchemy import Connection

from detection.geojson import Feature, Geometry
from monitor.api.queries.alerts import SiteCard
from monitor.api.text import format_iso, plain_to_messages
from monitor.features.scenes.queries.cards import SceneCard, load_read_scenes

VERSION: Final = "1.0.0"
MOST: Final = 1000  # scenes of a list; older ones are found by their hash
_GEOJSON: Final = "application/geo+json"


class StacItem(Feature):
    """A scene of the catalogue."""

    stac_version: str
    collection: str
    links: list[dict[str, str]]
    assets: dict[str, dict[str, Any]]


class StacItems(TypedDict):
    """Scenes as one object."""

    type: str
    features: list[StacItem]


class StacCollection(TypedDict):
    """All scenes of a site."""

    type: str
    stac_version: str
    id: str
    title: str
    description: str
    license: str
    extent: dict[str, dict[str, Any]]
    links: list[dict[str, str]]


def describe_collection(c: Connection, card: SiteCard, root: str) -> StacCollection:
    """The collection of a site.

    `card`: the site; `root`: address of the collection.
    """
    scenes = load_read_scenes(c, card.id, MOST)
    instants = [scene.taken_at for scene in scenes]
    boxes = [scene.bounds for scene in scenes if scene.bounds is not None]
    around = [card.longitude, card.latitude, card.longitude, card.latitude]
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        around = [min(west), min(south), max(east), max(north)]
    span = [format_iso(min(instants)), format_iso(max(instants))] if instants else [None, None]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "id": card.id,
        "title": card.name,
        "description": f"Scenes of {card.name} in which landslides were looked for",
        "license": "proprietary",
        "extent": {"spatial": {"bbox": [around]}, "temporal": {"interval": [span]}},
        "links": [
            {"rel": "self", "href": root, "type": "application/json"},
            {"rel": "root", "href": root, "type": "application/json"},
            *({"rel": "item", "href": f"{root}/items/{s.scene_hash}", "type": _GEOJSON} for s in scenes),
        ],
    }


def describe_items(c: Connection, card: SiteCard, root: str) -> StacItems:
    """Items as one FeatureCollection, the newest arrivals first: at most `MOST`."""
    scenes = load_read_scenes(c, card.id, MOST)
    return {"type": "FeatureCollection", "features": [describe_item(scene, card, root) for scene in scenes]}


def describe_item(scene: SceneCard, card: SiteCard, root: str) -> StacItem:
    """One scene as an item; without a picture there is no place to state, and `geometry` is null."""
    box, run = scene.bounds, scene.run or {}
    files = f"{root.removesuffix('/stac')}/scenes/{scene.scene_hash}"
    assets = {
        "footprints": {"href": files, "type": _GEOJSON, "title": "Footprints of probable landslides", "roles": ["data"]}
    }
    if scene.preview is not None:
        assets["preview"] = {
            "href": f"{files}/preview.png",
            "type": "image/png",
            "title": "Picture",
            "roles": ["overview"],
        }
    found: StacItem = {
        "type": "Feature",
        "stac_version": VERSION,
        "id": scene.scene_hash,
        "collection": card.id,
        "geometry": None if box is None else _outline(box),
        "properties": {
            "datetime": format_iso(scene.taken_at),
            "title": scene.name,
            "created": format_iso(scene.received_at),
            "slopeward:footprints": scene.footprints,
            "slopeward:area_m2": scene.area_m2,
            "slopeward:valid_share": scene.valid_share,
            "slopeward:model_hash": run.get("model_hash"),
            "slopeward:doubts": plain_to_messages(run.get("doubts", [])),
        },
        "links": [
            {"rel": "self", "href": f"{root}/items/{scene.scene_hash}", "type": _GEOJSON},
            {"rel": "collection", "href": root, "type": "application/json"},
            {"rel": "root", "href": root, "type": "application/json"},
        ],
        "assets": assets,
    }
    if box is not None:
        found["bbox"] = list(box)
    return found


def _outline(box: tuple[float, float, float, float]) -> Geometry:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
