"""Write footprints, lines or points as a GeoPackage (OGC 12-128r18, version 1.3), an SQLite file that every GIS reads.

pyogrio is not used, because GDAL stores the time of writing, so that the same input would give other bytes. A test
reads the file with pyogrio.
"""

import sqlite3
import struct
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from detection.imagery.raster.overlay import shapes_of

APPLICATION_ID = 0x47504B47  # "GPKG"
VERSION = 10300
LONLAT, CARTESIAN = 4326, -1
BLOCK = 5000  # how many features are in memory at a time
# Little-endian header with the envelope min x, max x, min y, max y (clause 2.1.3).
FLAGS = 0b0000_0011
TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""


def write_geopackage(
    path: Path,
    features: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    table: str,
    changed_at: datetime,
    placed: bool = True,
    kind: Literal["LINESTRING", "MULTIPOLYGON", "POINT"] = "MULTIPOLYGON",
    description: str = "Probable landslides found on one scene",
) -> None:
    """Write features as one layer, block by block. Polygons are converted to multipolygons.

    Args:
        path: file to write, which must not exist.
        features: rows, each with a GeoJSON `geometry` and a value for each column.
        columns: SQL type of each column: TEXT, REAL, INTEGER or BOOLEAN.
        table: name of the layer.
        changed_at: stored as the time of the last change, so that the same input gives the same bytes.
        placed: coordinates are longitude and latitude. Otherwise they have no reference system.
        kind: type of the geometries.
        description: description of the layer.
    """
    srs = LONLAT if placed else CARTESIAN
    # The three reference systems that the standard requires (clause 1.1.2.1.2).
    wgs84 = pyproj.CRS.from_epsg(LONLAT).to_wkt("WKT1_GDAL")
    systems = [
        ("Undefined cartesian SRS", -1, "NONE", -1, "undefined", "undefined cartesian coordinate reference system"),
        ("Undefined geographic SRS", 0, "NONE", 0, "undefined", "undefined geographic coordinate reference system"),
        ("WGS 84 geodetic", LONLAT, "EPSG", LONLAT, wgs84, "longitude/latitude coordinates in decimal degrees"),
    ]
    extent: NDArray[np.floating] | None = None
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA page_size = 4096")
        db.execute("PRAGMA journal_mode = OFF")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("BEGIN")
        for statement in filter(str.strip, TABLES.split(";")):
            db.execute(statement)
        db.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", systems)
        instant = changed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        db.execute(
            "INSERT INTO gpkg_contents VALUES (?, 'features', ?, ?, ?, NULL, NULL, NULL, NULL, ?)",
            (table, table, description, instant, srs),
        )
        db.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", (table, kind, srs))
        column_definitions = ", ".join(f'"{name}" {sql_type}' for name, sql_type in columns.items())
        key = "fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"
        db.execute(f'CREATE TABLE "{table}" ({key}, geom {kind}, {column_definitions})')
        # Names of tables and columns are constants of the program, so they may be part of the SQL text.
        placeholders = ", ".join("?" * (1 + len(columns)))
        quoted = ", ".join(["geom", *(f'"{name}"' for name in columns)])
        insert = f'INSERT INTO "{table}" ({quoted}) VALUES ({placeholders})'  # noqa: S608
        remaining_features = iter(features)
        while rows := list(islice(remaining_features, BLOCK)):
            outlines = shapes_of([row["geometry"] for row in rows])
            if kind == "MULTIPOLYGON":
                parts, places = shapely.get_parts(outlines, return_index=True)
                empty = np.full(len(outlines), shapely.MultiPolygon(), object)
                outlines = np.asarray(shapely.multipolygons(parts, indices=places, out=empty))
            bounds, blobs = shapely.bounds(outlines), shapely.to_wkb(outlines, byte_order=1, output_dimension=2)
            db.executemany(
                insert,
                (
                    (
                        b"GP" + struct.pack("<BBi4d", 0, FLAGS, srs, left, right, bottom, top) + wkb,
                        *(row.get(name) for name in columns),
                    )
                    for row, (left, bottom, right, top), wkb in zip(rows, bounds, blobs, strict=True)
                ),
            )
            all_bounds = bounds if extent is None else np.vstack([extent, bounds])
            extent = np.hstack([all_bounds[:, :2].min(axis=0), all_bounds[:, 2:].max(axis=0)])
        if extent is not None:
            box = tuple(map(float, extent))
            db.execute("UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ?", box)
        db.execute("COMMIT")
