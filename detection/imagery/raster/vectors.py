"""Read untrusted outlines, points and lines: GeoJSON, GeoPackage, shapefile, FlatGeobuf and KML.

GeoJSON is parsed by `json` and shapely, because GDAL would download the address that a member `crs` of the type `link`
names, and would use the coordinates as longitude and latitude if that fails. All other formats are read by pyogrio,
from a copy in an empty folder, so that GDAL finds no other file beside it.
"""

import shutil
import sqlite3
import struct
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

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
from detection.reasons import explain_file

MOST_BYTES: Final = 512 << 20
MOST_FEATURES: Final = 1_000_000
MOST_VERTICES: Final = 10_000_000
HEAD_BYTES: Final = 1024
TEXT_LENGTH: Final = 100  # of a value or the name of a layer
PROJECTION_BYTES: Final = 1 << 16  # of a .prj file


class _Format(NamedTuple):
    """A format that pyogrio reads."""

    suffix: str  # of the copy, by which GDAL recognises the format
    drivers: frozenset[str]  # drivers that may read it


_GEOPACKAGE: Final = _Format(".gpkg", frozenset({"GPKG"}))
_SHAPEFILE: Final = _Format(".shp", frozenset({"ESRI Shapefile"}))
_FLATGEOBUF: Final = _Format(".fgb", frozenset({"FlatGeobuf"}))
_KML: Final = _Format(".kml", frozenset({"KML", "LIBKML"}))
# Tables that every GeoPackage has, and that GDAL reads when it opens the file.
_GEOPACKAGE_TABLES: Final = frozenset({"gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"})
# LIBKML downloads no styles. The index of a shapefile is rebuilt beside the copy. Holes in a shapefile are recognised
# by the position of their rings, because many programs write rings in the wrong direction.
_GDAL_OPTIONS: Final = {
    "LIBKML_EXTERNAL_STYLE": "NO",
    "SHAPE_RESTORE_SHX": "YES",
    "OGR_ORGANIZE_POLYGONS": "DEFAULT",
    "GDAL_HTTP_MAX_RETRY": "0",
}
_DAMAGED: Final = (
    struct.error,
    sqlite3.Error,
    CRSError,
    shapely.errors.ShapelyError,
    RuntimeError,  # all errors of pyogrio are subclasses; so is RecursionError
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
)


class Features(NamedTuple):
    """All features of a file, in its order."""

    shapes: NDArray[Any]  # geometries; None for a feature without one
    crs: pyproj.CRS  # of their coordinates
    properties: tuple[Mapping[str, Any], ...]  # the requested properties of each feature, as far as it has them
    notes: tuple[str, ...]  # one sentence for each kind of data that was left out


@dataclass(frozen=True, slots=True)
class Vectors:
    """Features of one file that have a geometry."""

    path: Path  # the file
    shapes: NDArray[Any]  # their geometries, none of them empty
    crs: pyproj.CRS  # of their coordinates
    values: tuple[str | None, ...] = ()  # value of the requested property of each feature
    notes: tuple[str, ...] = ()  # one sentence for each kind of data that was left out

    def to_pixels(self, grid: Grid) -> NDArray[Any]:
        """Return the geometries in (column, row) of a grid, without geometries that its system cannot show."""
        transformer = pyproj.Transformer.from_crs(self.crs, grid.crs, always_xy=True)

        def transform(x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
            return apply_affine(~grid.transform, *map(np.asarray, transformer.transform(x, y)))

        shapes = np.asarray(shapely.transform(self.shapes, transform, interleaved=False))  # type: ignore[arg-type]
        return np.asarray(shapes[np.isfinite(shapely.bounds(shapes)).all(axis=1)])


def read_vectors(path: Path, field: str = "") -> Vectors:
    """Read the features of a file that have a geometry; see `load_features`.

    Args:
        field: property whose values are read too.

    Raises:
        VectorError: the file cannot be read, is too large, has no geometry, or has impossible coordinates.
    """
    features = load_features(path, (field,) if field else ())
    is_usable = np.array([geometry is not None and not geometry.is_empty for geometry in features.shapes], bool)
    shapes = features.shapes[is_usable]
    notes = list(features.notes)
    if len(shapes) < len(is_usable):
        missing = len(is_usable) - len(shapes)
        notes.append(f"{path.name}: {missing:,} of {len(is_usable):,} features have no geometry")
    if not len(shapes):
        raise VectorError("; ".join([f"{path}: no feature in it has a place", *notes[:1]]))
    bounds = shapely.total_bounds(shapes)
    if not np.isfinite(bounds).all():
        raise VectorError(f"{path}: coordinates that are no numbers")
    if features.crs.is_geographic and (np.abs(bounds[[0, 2]]).max() > 360 or np.abs(bounds[[1, 3]]).max() > 90):
        raise VectorError(f"{path}: coordinates beyond longitude and latitude, which its system has")
    values: list[str | None] = []
    for position in np.flatnonzero(is_usable):
        value = features.properties[position].get(field)
        values.append(None if value is None else str(value)[:TEXT_LENGTH])
    return Vectors(path, shapes, features.crs, tuple(values), tuple(notes))


def load_features(path: Path, fields: Sequence[str] = (), most_bytes: int = MOST_BYTES) -> Features:
    """Load all features of a file, with or without geometry. Of several layers only the first is read, and noted.

    Args:
        fields: names of the properties that are loaded, in any case. The table of a shapefile is not read.
        most_bytes: limit for the size of the file.

    Raises:
        VectorError: the file cannot be read, is in another format or too large, or does not state its system.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if size > most_bytes:
            raise VectorError(f"{path}: more than {most_bytes >> 20} MiB")
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            features = _load_geojson(path, fields, most_bytes)
        else:
            features = _load_by_pyogrio(path, head, fields)
        vertices = int(shapely.get_num_coordinates(features.shapes).sum())
    except OSError as error:
        raise VectorError(f"{path}: cannot be read ({error.strerror})") from None
    except GeoJsonError as error:
        raise VectorError(explain_file(path, error.explanation)) from None
    except _DAMAGED as error:
        raise VectorError(f"{path}: damaged or not what it seems ({type(error).__name__})") from None
    if vertices > MOST_VERTICES:
        raise VectorError(f"{path}: {vertices:,} vertices, the limit is {MOST_VERTICES:,}: simplify the outlines")
    return features


def _load_geojson(path: Path, fields: Sequence[str], most_bytes: int) -> Features:
    features, crs = read_features(path, most_bytes)
    _check_count(path, len(features))
    shapes = np.empty(len(features), object)
    properties: list[Mapping[str, Any]] = []
    for position, feature in enumerate(features):
        if feature["geometry"]:
            shapes[position] = shape(feature["geometry"])
        named_values = [("id", feature.get("id")), *(feature.get("properties") or {}).items()]
        values = {key: value for key, value in named_values if value is not None}
        by_lower_name = {key.lower(): value for key, value in values.items()}
        wanted = {field: values.get(field, by_lower_name.get(field.lower())) for field in fields}
        properties.append({field: value for field, value in wanted.items() if value is not None})
    return Features(shapes, crs, tuple(properties), ())


def _load_by_pyogrio(path: Path, head: bytes, fields: Sequence[str]) -> Features:
    # Imported here because it takes 100 MB and a second, which GeoJSON does not need.
    import pyogrio

    file_format = _find_format(path, head)
    pyogrio.set_gdal_config_options(_GDAL_OPTIONS)
    # GDAL repeats in warnings what the errors and notes contain.
    with TemporaryDirectory(prefix="vectors-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = Path(folder) / f"layer{file_format.suffix}"
        shutil.copyfile(path, copy)
        if file_format is _SHAPEFILE:
            shutil.copyfile(_find_projection(path), copy.with_suffix(".prj"))
        tables = _list_tables(copy) if file_format is _GEOPACKAGE else None
        layers = [str(name) for name, geometry_type in pyogrio.list_layers(copy) if geometry_type is not None]
        if tables is not None:
            layers = [name for name in layers if name in tables]
        if not layers:
            raise VectorError(f"{path}: no layer with geometries in it")
        info = pyogrio.read_info(copy, layer=layers[0], force_feature_count=True)
        if info["driver"] not in file_format.drivers:
            raise VectorError(f"{path}: its content is that of {info['driver']}, which is not read")
        _check_count(path, int(info["features"]))
        columns = [str(name) for name in info["fields"] if str(name).lower() in {field.lower() for field in fields}]
        meta, _, geometries, table = pyogrio.raw.read(
            copy, layer=layers[0], columns=columns, force_2d=True, max_features=MOST_FEATURES
        )
    if len(geometries) < int(info["features"]):
        raise VectorError(f"{path}: cut off after {len(geometries)} of {info['features']} features")
    notes = []
    if len(layers) > 1:
        others = ", ".join(name[:60] for name in layers[1:4])
        notes.append(f"{path.name}: of {len(layers)} layers {layers[0][:60]} is read, not {others}")
    # GDAL marks layers of a GeoPackage without a system by a system of this name.
    crs = None if meta["crs"] is None else pyproj.CRS.from_user_input(meta["crs"])
    if crs is None or crs.name.lower().startswith("undefined"):
        raise VectorError(f"{path}: does not state its coordinate reference system")
    names = {str(name).lower(): column for column, name in enumerate(meta["fields"])}
    properties: list[Mapping[str, Any]] = []
    for position in range(len(geometries)):
        values: dict[str, Any] = {}
        for field in fields:
            column = names.get(field.lower())
            if column is not None and table[column][position] is not None:
                values[field] = table[column][position]
        properties.append(values)
    return Features(np.asarray(shapely.from_wkb(geometries), object), crs, tuple(properties), tuple(notes))


def _find_format(path: Path, head: bytes) -> _Format:
    if head.startswith(b"SQLite format 3\0"):
        return _GEOPACKAGE
    if head.startswith(b"fgb\x03fgb"):
        return _FLATGEOBUF
    if len(head) >= 100 and struct.unpack(">i", head[:4])[0] == 9994:
        # GDAL would return features without geometry for the missing part.
        if 2 * struct.unpack(">i", head[24:28])[0] > path.stat().st_size:
            raise VectorError(f"{path}: cut off, its header states more bytes")
        return _SHAPEFILE
    if b"<kml" in head.lower():
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise VectorError(f"{path}: a KML file must not declare a document type or entities")
        return _KML
    raise VectorError(f"{path}: neither GeoJSON, GeoPackage, shapefile (.shp), FlatGeobuf nor KML")


def _find_projection(path: Path) -> Path:
    files = (file for file in path.parent.iterdir() if file.stem == path.stem and file.suffix.lower() == ".prj")
    projection = next(files, path.with_suffix(".prj"))
    if not projection.is_file() or projection.stat().st_size > PROJECTION_BYTES:
        raise VectorError(f"{path}: no {projection.name} beside it, which states the system of its coordinates")
    return projection


def _list_tables(copy: Path) -> set[str]:
    """Return the tables of a GeoPackage without its views, which would run SQL of the file."""
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        tables = {str(name) for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _GEOPACKAGE_TABLES:
        raise ValueError("no GeoPackage")
    return tables


def _check_count(path: Path, count: int) -> None:
    if count > MOST_FEATURES:
        raise VectorError(f"{path}: more than {MOST_FEATURES:,} features")
