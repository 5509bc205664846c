"""Scenes of a site as a STAC collection with items (STAC 1.0.0), their footprints and pictures as assets."""

from typing import Any, Final

from sqlalchemy import Connection

from forecasting.message import gather
from monitor.domain.instants import spell
from monitor.store.pages import SiteCard, find_preview, load_read_scenes, preview_bounds

VERSION: Final = "1.0.0"
MOST: Final = 1000  # scenes of a list; older ones are found by their hash
_GEOJSON: Final = "application/geo+json"


def describe_collection(c: Connection, card: SiteCard, root: str) -> dict[str, Any]:
    """The collection of a site.

    Args:
        c: a read transaction.
        card: the site.
        root: address of the collection.
    """
    scenes = load_read_scenes(c, card.id, MOST)
    instants = [scene["acquired_at"] for scene in scenes]
    boxes = [box for scene in scenes if (box := preview_bounds(scene)) is not None]
    around = [card.longitude, card.latitude, card.longitude, card.latitude]
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        around = [min(west), min(south), max(east), max(north)]
    span = [spell(min(instants)), spell(max(instants))] if instants else [None, None]
    return {
        "type": "Collection", "stac_version": VERSION, "id": card.id, "title": card.name,
        "description": f"Scenes of {card.name} in which landslides were looked for", "license": "proprietary",
        "extent": {"spatial": {"bbox": [around]}, "temporal": {"interval": [span]}},
        "links": [
            {"rel": "self", "href": root, "type": "application/json"},
            {"rel": "root", "href": root, "type": "application/json"},
            *({"rel": "item", "href": f"{root}/items/{s['scene_hash']}", "type": _GEOJSON} for s in scenes),
        ],
    }  # fmt: skip


def list_items(c: Connection, card: SiteCard, root: str) -> dict[str, Any]:
    """Items as one FeatureCollection, the newest arrivals first: at most `MOST`."""
    scenes = load_read_scenes(c, card.id, MOST)
    return {"type": "FeatureCollection", "features": [describe_item(scene, card, root) for scene in scenes]}


def find_item(c: Connection, card: SiteCard, scene_hash: str, root: str) -> dict[str, Any] | None:
    """The item of one scene that was read, or None."""
    scenes = load_read_scenes(c, card.id, 1, scene_hash)
    return next((describe_item(scene, card, root) for scene in scenes), None)


def describe_item(scene: dict[str, Any], card: SiteCard, root: str) -> dict[str, Any]:
    """One scene as an item; without a picture there is no place to state, and `geometry` is null."""
    box, run = preview_bounds(scene), scene["run"] or {}
    files = f"{root.removesuffix('/stac')}/scenes/{scene['scene_hash']}"
    assets = {"footprints": {
        "href": files, "type": _GEOJSON, "title": "Footprints of probable landslides", "roles": ["data"],
    }}  # fmt: skip
    if find_preview(scene) is not None:
        assets["preview"] = {
            "href": f"{files}/preview.png",
            "type": "image/png",
            "title": "Picture",
            "roles": ["overview"],
        }
    found: dict[str, Any] = {
        "type": "Feature", "stac_version": VERSION, "id": scene["scene_hash"], "collection": card.id,
        "geometry": None if box is None else _outline(box),
        "properties": {
            "datetime": spell(scene["acquired_at"]), "title": scene["name"], "created": spell(scene["received_at"]),
            "slopeward:footprints": scene["footprints"], "slopeward:area_m2": scene["area_m2"],
            "slopeward:valid_share": scene["valid_share"], "slopeward:model_hash": run.get("model_hash"),
            "slopeward:doubts": gather(run.get("doubts", [])),
        },
        "links": [
            {"rel": "self", "href": f"{root}/items/{scene['scene_hash']}", "type": _GEOJSON},
            {"rel": "collection", "href": root, "type": "application/json"},
            {"rel": "root", "href": root, "type": "application/json"},
        ],
        "assets": assets,
    }  # fmt: skip
    return found if box is None else {**found, "bbox": list(box)}


def _outline(box: tuple[float, float, float, float]) -> dict[str, Any]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
