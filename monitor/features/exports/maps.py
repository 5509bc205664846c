"""Write stations, footprints, outlines and points as GeoJSON (RFC 7946) or GeoPackage."""

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
from monitor.features.exports.tables import find_column_type, list_tables, read_rows

_COLUMN_TYPES: Final = {"real": "REAL", "integer": "INTEGER", "boolean": "BOOLEAN", "instant": "TEXT", "text": "TEXT"}
STATIONS: Final = "stations"
OUTLINES: Final = "outlines"
FOOTPRINTS: Final = "footprints"
OWN_LAYERS: Final = (STATIONS, FOOTPRINTS, OUTLINES)
FORMATS: Final = ("geojson", "gpkg")


def list_layers() -> tuple[str, ...]:
    """Return the names of all map layers: stations, outlines of the feature `scenes`, and tables with positions."""
    tables = list_tables()
    outline_layers = (name for name in (FOOTPRINTS, OUTLINES) if name in tables)
    point_layers = (name for name, table in tables.items() if table.is_layer)
    return (STATIONS, *outline_layers, *point_layers)


def list_footprints(
    c: Connection, site: str, *, from_at: datetime | None = None, to_at: datetime | None = None
) -> Iterator[Feature]:
    """Yield the footprints of all scenes as polygons in WGS 84. The range applies to the time of the image."""
    for row in read_rows(c, "footprints", site, from_at=from_at, to_at=to_at):
        properties = {name: value for name, value in row.items() if name != "geometry"}
        yield make_feature(row["polygon_id"], json.loads(row["geometry"]), properties)


def list_points(
    c: Connection, name: str, site: str, *, from_at: datetime | None = None, to_at: datetime | None = None
) -> Iterator[Feature]:
    """Yield the rows of a point layer, each at its latitude and longitude."""
    for row in read_rows(c, name, site, from_at=from_at, to_at=to_at):
        point = make_point(row.pop("longitude"), row.pop("latitude"), row.get("height_m"))
        yield make_feature(f"{row['point_set']}/{row['pid']}", point, row)


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
    max_features: int | None = None,
) -> int:
    """Write a layer of a site to a file. Return the number of features.

    Features without a geometry are left out. Without features no file is written.

    Raises:
        NotFoundError: The layer or format does not exist.
        RefusedError: A range is given for stations, or there are more than `max_features` features.
    """
    layers = list_layers()
    if name not in layers or kind not in FORMATS:
        raise NotFoundError(f"cannot export {name}.{kind}; there are {', '.join(layers)} as {', '.join(FORMATS)}")
    if name == STATIONS and (from_at or to_at):
        raise RefusedError("stations have no history: omit --since and --until")
    features: Iterable[Feature]
    if name == STATIONS:
        features = list_stations(c, site, now)
    elif name == OUTLINES:
        features = describe_outlines(read_rows(c, OUTLINES, site, from_at=from_at, to_at=to_at))
    elif name == FOOTPRINTS:
        features = list_footprints(c, site, from_at=from_at, to_at=to_at)
    else:
        features = list_points(c, name, site, from_at=from_at, to_at=to_at)
    written = 0

    def count_features() -> Iterator[Feature]:
        nonlocal written
        for feature in features:
            if feature["geometry"] is None:
                continue
            if written == max_features:
                raise RefusedError(
                    f"more than {max_features} {name}: request a shorter range, or use `slopeward export`"
                )
            written += 1
            yield feature

    counted = count_features()
    first = next(counted, None)
    if first is None:
        return 0
    if kind == "geojson":
        with path.open("w", encoding="utf-8") as file:
            file.write('{"type": "FeatureCollection", "features": [')
            for number, feature in enumerate(chain((first,), counted)):
                file.write(", " if number else "")
                file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
            file.write("]}\n")
    else:
        _write_geopackage(first, counted, path, name, now)
    return written


def _write_geopackage(first: Feature, others: Iterable[Feature], path: Path, layer: str, now: datetime) -> None:
    from detection.imagery.footprints.geopackage import write_geopackage

    columns = {name: _COLUMN_TYPES[find_column_type(name)] for name in first["properties"]}
    rows = ({"geometry": feature["geometry"], **feature["properties"]} for feature in chain((first,), others))
    table = layer.replace("-", "_")
    if layer in {FOOTPRINTS, OUTLINES}:
        write_geopackage(path, rows, columns, table=table, changed_at=now)
    else:
        description = "Stations of a slope" if layer == STATIONS else "Points of a slope"
        write_geopackage(path, rows, columns, table=table, changed_at=now, kind="POINT", description=description)
