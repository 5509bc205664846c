"""GeoJSON from outside: features, and what their coordinates are: files of 2008 name it, those of today need not."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from pyproj.exceptions import CRSError

from detection.geojson import Feature
from detection.imagery.raster.areas import Outlines, map_outline
from detection.imagery.raster.grid import LONLAT

MOST_BYTES: Final = 64 << 20


def list_features(records: Iterable[Any]) -> list[Feature]:
    """Records that have a `geometry` as features; what else they hold is their properties."""
    rows = [asdict(one) for one in records]
    return [{"type": "Feature", "geometry": one.pop("geometry"), "properties": one} for one in rows]


class GeoJsonError(ValueError):
    """No GeoJSON, in words that follow the name of the file."""


def read_features(path: Path, most_bytes: int = MOST_BYTES) -> tuple[list[dict[str, Any]], pyproj.CRS]:
    """Features of a file, be it a collection, one feature or a bare geometry, and what their coordinates are.

    Raises:
        OSError: it cannot be opened.
        GeoJsonError: it is larger, no GeoJSON, or names a system that nobody knows.
    """
    if path.stat().st_size > most_bytes:
        raise GeoJsonError(f"more than {most_bytes >> 20} MiB of GeoJSON")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = content["features"] if content.get("type") == "FeatureCollection" else [content]
        named = content.get("crs")
        properties = named["properties"] if named else {}
        name = next((properties[key] for key in ("name", "code", "href") if key in properties), named or None)
        found = [
            {**one, "geometry": one.get("geometry")} if one.get("type") == "Feature" else {"geometry": one}
            for one in features
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GeoJsonError("not GeoJSON") from None
    try:
        return found, LONLAT if name is None else pyproj.CRS.from_user_input(name)
    except (CRSError, TypeError):
        raise GeoJsonError(f"its coordinates are in {str(name)[:60]!r}, which nobody knows") from None


def to_lonlat(shapes: Outlines, crs: pyproj.CRS) -> Outlines:
    """Bring geometries of a file to longitude and latitude.

    Raises:
        GeoJsonError: one of them lies beyond.
    """
    if crs != LONLAT:
        shapes = map_outline(shapes, pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform)
    bounds = np.abs(shapely.bounds(shapes))  # of an empty one nan, which is not beyond
    if (bounds > (360.0, 90.0, 360.0, 90.0)).any():
        raise GeoJsonError("coordinates beyond longitude and latitude; no member `crs` says that they are others")
    return shapes
