"""Stations, footprints, outlines and points as GeoJSON (RFC 7946) or a GeoPackage."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from detection.geojson import Feature
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.web import describe_outlines, list_stations, make_feature, make_point
from monitor.features.exports.tables import kind_of, list_tables, read_rows

_SQL: Final = {"real": "REAL", "integer": "INTEGER", "boolean": "BOOLEAN", "instant": "TEXT", "text": "TEXT"}
STATIONS: Final = "stations"
OUTLINES: Final = "outlines"
FOOTPRINTS: Final = "footprints"
OWN_LAYERS: Final = (STATIONS, FOOTPRINTS, OUTLINES)
FORMATS: Final = ("geojson", "gpkg")


def list_layers() -> tuple[str, ...]:
    """Return the names of all map layers: stations, outlines of the feature `scenes`, and tables of places."""
    tables = list_tables()
    outlined = (name for name in (FOOTPRINTS, OUTLINES) if name in tables)
    placed = (name for name, table in tables.items() if table.is_layer)
    return (STATIONS, *outlined, *placed)


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
