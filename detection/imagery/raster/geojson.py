"""GeoJSON from outside: features, what their coordinates are, and these in longitude and latitude."""

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
_LONGEST_NAME: Final = 100  # of a system; a longer one, or one with `=`, describes it: it could name files of ours


def list_features(records: Iterable[Any]) -> list[Feature]:
    """Records that have a `geometry` as features; what else they hold is their properties."""
    rows = [asdict(one) for one in records]
    return [{"type": "Feature", "geometry": one.pop("geometry"), "properties": one} for one in rows]


def read_features(path: Path, most_bytes: int = MOST_BYTES) -> tuple[list[dict[str, Any]], pyproj.CRS]:
    """Features of a file, see `parse_features`, and what their coordinates are.

    Raises:
        OSError: it cannot be opened.
        GeoJsonError: it is larger, no GeoJSON, or names a system that nobody knows.
    """
    if path.stat().st_size > most_bytes:
        raise GeoJsonError(f"more than {most_bytes >> 20} MiB of GeoJSON")
    features, name = parse_features(path.read_bytes())
    return features, _find_crs(name)


def _find_crs(name: Any) -> pyproj.CRS:
    if name is None:
        return LONLAT
    if isinstance(name, int) or (isinstance(name, str) and len(name) <= _LONGEST_NAME and "=" not in name):
        with suppress(ProjError):
            crs = pyproj.CRS.from_user_input(name)
            if crs.is_geographic or crs.is_projected:
                return crs
    raise GeoJsonError(Reason("geojson.system", {"name": str(name)[:60]}))


def move_to_lonlat(shapes: Outlines, crs: pyproj.CRS) -> Outlines:
    """Bring geometries of a file to longitude and latitude; what has no place there has coordinates that are infinite.

    Raises GeoJsonError: no way leads there, as from another planet.
    """
    if crs == LONLAT:
        return shapes
    try:
        return map_outline(shapes, pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform)
    except ProjError:
        raise GeoJsonError(Reason("geojson.system", {"name": crs.name[:60]})) from None


def to_lonlat(shapes: Outlines, crs: pyproj.CRS) -> Outlines:
    """The same, where all of them must have a place there; raises GeoJsonError: one of them lies beyond."""
    placed = move_to_lonlat(shapes, crs)
    bounds = np.abs(shapely.bounds(placed))  # of an empty one nan, which is not beyond
    if (bounds > (360.0, 90.0, 360.0, 90.0)).any():
        raise GeoJsonError(Reason("geojson.beyond"))
    return placed


def place_geometries(geometries: Sequence[Any], name: Any) -> list[Geometry]:
    """GeoJSON whose coordinates are in a named system, in longitude and latitude; raises GeoJsonError, see above."""
    try:
        shapes = np.array([shape(one) for one in geometries], object)
        return [json.loads(one) for one in shapely.to_geojson(to_lonlat(shapes, _find_crs(name)))]
    except GeoJsonError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, shapely.errors.ShapelyError):
        raise GeoJsonError(NO_GEOJSON) from None
