"""Stations, footprints, outlines and points as GeoJSON (RFC 7946) or a GeoPackage; scenes as a STAC catalogue."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypedDict

from sqlalchemy import Connection

from detection.geojson import Feature, Geometry
from monitor.alerts.queries import overview as pages
from monitor.errors import NotFoundError, RefusedError
from monitor.features.exports.tables import kind_of, list_tables, read_rows
from monitor.text.instants import format_iso
from monitor.text.message import gather
from monitor.web.parts.features import describe_outlines, list_stations, make_feature, make_point

_SQL: Final = {"real": "REAL", "integer": "INTEGER", "boolean": "BOOLEAN", "instant": "TEXT", "text": "TEXT"}
STATIONS: Final = "stations"
OUTLINES: Final = "outlines"
FOOTPRINTS: Final = "footprints"
OWN_LAYERS: Final = (STATIONS, FOOTPRINTS, OUTLINES)
FORMATS: Final = ("geojson", "gpkg")


def list_layers() -> tuple[str, ...]:
    """Return the names of all map layers: those of this feature, and tables whose rows have a place."""
    placed = (name for name, table in list_tables().items() if table.is_layer)
    return (*OWN_LAYERS, *placed)


def list_footprints(
    c: Connection, site: str, *, from_at: datetime | None = None, to_at: datetime | None = None
) -> Iterator[Feature]:
    """Footprints of all scenes as polygons in WGS 84, by the time of the image."""
    for row in read_rows(c, "footprints", site, from_at=from_at, to_at=to_at):
        rest = {k: v for k, v in row.items() if k != "geometry"}
        yield make_feature(row["polygon_id"], json.loads(row["geometry"]), rest)


def list_points(
    c: Connection, name: str, site: str, *, from_at: datetime | None = None, to_at: datetime | None = None
) -> Iterator[Feature]:
    """Rows of a table that is a layer, each at its latitude and longitude."""
    for row in read_rows(c, name, site, from_at=from_at, to_at=to_at):
        place = make_point(row.pop("longitude"), row.pop("latitude"), row.get("height_m"))
        yield make_feature(f"{row['point_set']}/{row['pid']}", place, row)


def write_map(
    c: Connection,
    name: str,
    site: str,
    path: Path,
    kind: str,
    now: datetime,
    *,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    most: int | None = None,
) -> int:
    """A layer of a site as a file, feature by feature; returns how many of it have a place, and writes none where 0.

    Raises:
        NotFoundError: no such layer or format.
        RefusedError: a range is asked of stations, or there are more than `most`.
    """
    layers = list_layers()
    if name not in layers or kind not in FORMATS:
        raise NotFoundError(f"{name}.{kind} is no file to export: {', '.join(layers)} come as {', '.join(FORMATS)}")
    if name == STATIONS and (from_at or to_at):
        raise RefusedError("stations are as of now: they take no --from and no --to")
    found: Iterable[Feature]
    if name == STATIONS:
        found = list_stations(c, site, now)
    elif name == OUTLINES:
        found = describe_outlines(read_rows(c, OUTLINES, site, from_at=from_at, to_at=to_at))
    elif name == FOOTPRINTS:
        found = list_footprints(c, site, from_at=from_at, to_at=to_at)
    else:
        found = list_points(c, name, site, from_at=from_at, to_at=to_at)
    written = 0

    def place() -> Iterator[Feature]:
        nonlocal written
        for one in found:
            if one["geometry"] is None:
                continue
            if written == most:
                raise RefusedError(f"more than {most} {name}: ask for a shorter range, or use `slopeward export`")
            written += 1
            yield one

    placed = place()
    first = next(placed, None)
    if first is None:
        return 0
    if kind == "geojson":
        with path.open("w", encoding="utf-8") as file:
            file.write('{"type": "FeatureCollection", "features": [')
            for number, one in enumerate(chain((first,), placed)):
                file.write(", " if number else "")
                file.write(json.dumps(one, ensure_ascii=False, allow_nan=False))
            file.write("]}\n")
    else:
        _write_layer(first, placed, path, name, now)
    return written


def _write_layer(first: Feature, others: Iterable[Feature], path: Path, layer: str, now: datetime) -> None:
    from detection.imagery.footprints.geopackage import write_geopackage

    columns = {name: _SQL[kind_of(name)] for name in first["properties"]}
    rows = ({"geometry": one["geometry"], **one["properties"]} for one in chain((first,), others))
    table = layer.replace("-", "_")
    if layer not in {FOOTPRINTS, OUTLINES}:
        text = "Stations of a slope" if layer == STATIONS else "Points of a slope"
        write_geopackage(path, rows, columns, table=table, changed_at=now, kind="POINT", description=text)
    else:
        write_geopackage(path, rows, columns, table=table, changed_at=now)


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


def describe_collection(c: Connection, card: pages.SiteCard, root: str) -> StacCollection:
    """The collection of a site.

    `card`: the site; `root`: address of the collection.
    """
    scenes = pages.load_read_scenes(c, card.id, MOST)
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


def list_items(c: Connection, card: pages.SiteCard, root: str) -> StacItems:
    """Items as one FeatureCollection, the newest arrivals first: at most `MOST`."""
    scenes = pages.load_read_scenes(c, card.id, MOST)
    return {"type": "FeatureCollection", "features": [describe_item(scene, card, root) for scene in scenes]}


def describe_item(scene: pages.SceneCard, card: pages.SiteCard, root: str) -> StacItem:
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
            "slopeward:doubts": gather(run.get("doubts", [])),
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
