"""Outlines, points and lines from outside: GeoJSON, GeoPackage and shapefile, each with a known place.

Ours because pyogrio brings a second GDAL (100 MB); a test reads the same files by it.
"""

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError
from shapely.geometry import shape

from detection.geojson import GeoJsonError
from detection.imagery.errors import VectorError
from detection.imagery.raster.geojson import read_features
from detection.imagery.raster.grid import Grid, apply_affine
from detection.imagery.raster.reading.shapes import join_rings
from detection.reasons import explain_file

MOST_BYTES: Final = 512 << 20
MOST_FEATURES: Final = 1_000_000
GEOPACKAGE: Final = b"SQLite format 3\0"
SHAPEFILE: Final = 9994
# bytes of the envelope in the header of a geometry (GeoPackage 1.3, clause 2.1.3)
ENVELOPE_BYTES: Final = (0, 32, 48, 48, 64)
POINTS, LINES, POLYGONS, MULTIPOINTS = {1, 11, 21}, {3, 13, 23}, {5, 15, 25}, {8, 18, 28}


@dataclass(frozen=True, slots=True)
class Vectors:
    """Features of one file."""

    path: Path  # the file
    shapes: NDArray[Any]  # their geometries, none of them empty
    crs: pyproj.CRS  # what their coordinates are
    words: tuple[str | None, ...] = ()  # what the field that was asked for says of each; None where it says nothing
    notes: tuple[str, ...] = ()  # what was left out, one sentence each

    def on(self, grid: Grid) -> NDArray[Any]:
        """Return the shapes in (column, row) of a grid; what cannot be brought there is left out."""
        into = pyproj.Transformer.from_crs(self.crs, grid.crs, always_xy=True)

        def move(x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
            return apply_affine(~grid.transform, *map(np.asarray, into.transform(x, y)))

        moved = np.asarray(shapely.transform(self.shapes, move, interleaved=False))  # type: ignore[arg-type]
        return np.asarray(moved[np.isfinite(shapely.bounds(moved)).all(axis=1)])


def read_vectors(path: Path, field: str = "") -> Vectors:
    """Read the features of a file; of a GeoPackage those of its first layer, which is named where there are more.

    `field`: the one property that is read with them; the table beside a shapefile is not looked at.

    Raises VectorError: it cannot be read, holds nothing, or does not say where its coordinates lie.
    """
    notes: list[str] = []
    try:
        with path.open("rb") as file:
            head = file.read(100)
        shapes, crs, words = _read_any(path, head, field, notes)
    except OSError as error:
        raise VectorError(f"{path}: cannot be read ({error.strerror})") from None
    except GeoJsonError as error:
        raise VectorError(explain_file(path, error.explanation)) from None
    except _DAMAGED as error:
        raise VectorError(f"{path}: damaged or not what it seems ({type(error).__name__})") from None
    pairs = [pair for pair in zip(shapes, words, strict=True) if pair[0] is not None and not pair[0].is_empty]
    found = np.array([one for one, _ in pairs], object)
    if len(found) < len(shapes):
        notes.append(f"{path.name}: {len(shapes) - len(found):,} of {len(shapes):,} features have no geometry")
    if not len(found):
        raise VectorError("; ".join([f"{path}: no feature in it has a place", *notes[:1]]))
    bounds = shapely.total_bounds(found)
    if not np.isfinite(bounds).all():
        raise VectorError(f"{path}: coordinates that are no numbers")
    if crs.is_geographic and (np.abs(bounds[[0, 2]]).max() > 360 or np.abs(bounds[[1, 3]]).max() > 90):
        raise VectorError(f"{path}: coordinates beyond longitude and latitude, which its system has")
    return Vectors(
        path, found, crs, tuple(None if value is None else str(value)[:100] for _, value in pairs), tuple(notes)
    )


_DAMAGED: Final = (
    struct.error,
    sqlite3.Error,
    CRSError,
    shapely.errors.ShapelyError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
)


def _read_any(path: Path, head: bytes, field: str, notes: list[str]) -> tuple[list[Any], pyproj.CRS, list[Any]]:
    if path.stat().st_size > MOST_BYTES:
        raise VectorError(f"{path}: more than {MOST_BYTES >> 20} MiB")
    if head.startswith(GEOPACKAGE):
        return _read_geopackage(path, field, notes)
    if len(head) == 100 and struct.unpack(">i", head[:4])[0] == SHAPEFILE:
        shapes, crs = _read_shapefile(path)
        return shapes, crs, [None] * len(shapes)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        features, crs = read_features(path, MOST_BYTES)
        _check_count(path, len(features))
        words = [(one.get("properties") or {}).get(field) for one in features]
        return [shape(one["geometry"]) if one["geometry"] else None for one in features], crs, words
    raise VectorError(f"{path}: neither GeoJSON, GeoPackage nor shapefile (.shp)")


def _check_count(path: Path, count: int) -> None:
    if count > MOST_FEATURES:
        raise VectorError(f"{path}: more than {MOST_FEATURES:,} features")


def _read_geopackage(path: Path, field: str, notes: list[str]) -> tuple[list[Any], pyproj.CRS, list[Any]]:
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        layers = db.execute(
            "SELECT g.table_name, g.column_name, s.organization, s.organization_coordsys_id, s.definition "
            "FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s USING (srs_id) "
            "JOIN sqlite_master m ON m.name = g.table_name AND m.type = 'table' ORDER BY g.rowid LIMIT 1000"
        ).fetchall()
        if not layers:
            raise VectorError(f"{path}: no layer with geometries in it")
        layer = layers[0]
        if len(layers) > 1:
            others = ", ".join(str(one[0])[:60] for one in layers[1:4])
            notes.append(f"{path.name}: of {len(layers)} layers {str(layer[0])[:60]} is read, not {others}")
        table, column = (str(name).replace('"', '""') for name in layer[:2])
        columns = {str(row[1]) for row in db.execute(f'PRAGMA table_info("{table}")')}
        selected = f'"{field}"' if field in columns and field.isidentifier() else "NULL"
        rows = db.execute(f'SELECT "{column}", {selected} FROM "{table}" LIMIT {MOST_FEATURES + 1}').fetchall()  # noqa: S608 - quoted names
    _check_count(path, len(rows))
    organization, code, definition = layer[2:]
    known = str(organization).upper() == "EPSG"
    if not known and str(definition).strip().lower() in {"", "undefined"}:
        raise VectorError(f"{path}: says no coordinate reference system")
    crs = pyproj.CRS.from_epsg(int(code)) if known else pyproj.CRS.from_user_input(str(definition))
    if any(blob is not None and blob[:2] != b"GP" for blob, _ in rows):
        raise ValueError("no geometry")
    shapes = [
        None if blob is None else shapely.from_wkb(blob[8 + ENVELOPE_BYTES[blob[3] >> 1 & 7] :]) for blob, _ in rows
    ]
    return shapes, crs, [value for _, value in rows]


def _read_shapefile(path: Path) -> tuple[list[Any], pyproj.CRS]:
    side_file = next(
        (one for one in path.parent.glob(f"{path.stem}.*") if one.suffix.lower() == ".prj"), path.with_suffix(".prj")
    )
    if not side_file.is_file() or side_file.stat().st_size > 1 << 16:
        raise VectorError(f"{path}: no {side_file.name} beside it, so nobody knows where its coordinates lie")
    crs = pyproj.CRS.from_wkt(side_file.read_text(encoding="utf-8", errors="replace"))
    content, place = path.read_bytes(), 100
    found: list[Any] = []
    while place + 12 <= len(content):
        words = struct.unpack(">i", content[place + 4 : place + 8])[0]
        if words < 2 or place + 8 + 2 * words > len(content):
            raise VectorError(f"{path}: cut off after {len(found)} features")
        found.append(_open_record(content[place + 8 : place + 8 + 2 * words]))
        _check_count(path, len(found))
        place += 8 + 2 * words
    return found, crs


def _open_record(record: bytes) -> Any:
    kind = struct.unpack("<i", record[:4])[0]
    if kind in POINTS:
        return shapely.Point(*struct.unpack("<2d", record[4:20]))
    if kind in MULTIPOINTS:
        count = struct.unpack("<i", record[36:40])[0]
        return shapely.MultiPoint(np.frombuffer(record, "<f8", 2 * count, 40).reshape(-1, 2))
    if kind not in LINES | POLYGONS:
        return None
    parts, count = struct.unpack("<2i", record[36:44])
    starts = np.frombuffer(record, "<i4", parts, 44)
    points = np.frombuffer(record, "<f8", 2 * count, 44 + 4 * parts).reshape(-1, 2)
    rings = [ring for ring in np.split(points, starts[1:]) if len(ring) >= (2 if kind in LINES else 4)]
    if kind in LINES:
        return shapely.MultiLineString(rings)
    return join_rings(rings)
