"""Read untrusted GeoJSON, and transform its coordinates to longitude and latitude."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from pyproj.exceptions import ProjError
from shapely.geometry import shape

from detection.geojson import NO_GEOJSON, Feature, GeoJsonError, Geometry, parse_features
from detection.imagery.raster.areas import Outlines, map_outline
from detection.imagery.raster.grid import LONLAT
from detection.reasons import Reason

MOST_BYTES: Final = 64 << 20
# Longest name of a coordinate system. A longer name, or one with `=`, is a definition, which could name grid files of
# the machine.
_NAME_LENGTH: Final = 100


def list_features(records: Iterable[Any]) -> list[Feature]:
    """Return dataclass records as GeoJSON features: their field `geometry`, and all other fields as properties."""
    features: list[Feature] = []
    for record in records:
        properties = asdict(record)
        geometry = properties.pop("geometry")
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return features


def read_features(path: Path, most_bytes: int = MOST_BYTES) -> tuple[list[dict[str, Any]], pyproj.CRS]:
    """Return the features of a file (see `parse_features`) and the system of their coordinates.

    Raises:
        OSError: the file cannot be opened.
        GeoJsonError: the file is too large, is not GeoJSON, or names an unknown system.
    """
    if path.stat().st_size > most_bytes:
        raise GeoJsonError(f"more than {most_bytes >> 20} MiB of GeoJSON")
    features, crs_name = parse_features(path.read_bytes())
    return features, _find_crs(crs_name)


def _find_crs(name: Any) -> pyproj.CRS:
    if name is None:
        return LONLAT
    if isinstance(name, int) or (isinstance(name, str) and len(name) <= _NAME_LENGTH and "=" not in name):
        with suppress(ProjError):
            crs = pyproj.CRS.from_user_input(name)
            if crs.is_geographic or crs.is_projected:
                return crs
    raise GeoJsonError(Reason("geojson.system", {"name": str(name)[:60]}))


def to_lonlat(shapes: Outlines, crs: pyproj.CRS) -> Outlines:
    """Transform geometries to longitude and latitude; coordinates without a place on the globe become infinite.

    Raises:
        GeoJsonError: no transform exists, for example from the system of another planet.
    """
    if crs == LONLAT:
        return shapes
    try:
        return map_outline(shapes, pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform)
    except ProjError:
        raise GeoJsonError(Reason("geojson.system", {"name": crs.name[:60]})) from None


def to_checked_lonlat(shapes: Outlines, crs: pyproj.CRS) -> Outlines:
    """Transform geometries to longitude and latitude, and refuse geometries outside of the globe.

    Raises:
        GeoJsonError: no transform exists, or a geometry lies outside of longitude and latitude.
    """
    lonlat = to_lonlat(shapes, crs)
    bounds = np.abs(shapely.bounds(lonlat))  # NaN for an empty geometry, which is not greater than any limit
    if (bounds > (360.0, 90.0, 360.0, 90.0)).any():
        raise GeoJsonError(Reason("geojson.beyond"))
    return lonlat


def place_geometries(geometries: Sequence[Any], name: Any) -> list[Geometry]:
    """Return GeoJSON geometries of a named system in longitude and latitude.

    Raises:
        GeoJsonError: the system is unknown, a geometry is damaged, or it lies outside of longitude and latitude.
    """
    try:
        shapes = np.array([shape(geometry) for geometry in geometries], object)
        return [json.loads(text) for text in shapely.to_geojson(to_checked_lonlat(shapes, _find_crs(name)))]
    except GeoJsonError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, shapely.errors.ShapelyError):
        raise GeoJsonError(NO_GEOJSON) from None
