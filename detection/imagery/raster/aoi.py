"""An area of interest as a mask on the scene's grid, whether it comes as a raster or as GeoJSON polygons."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import shapely
from rasterio.errors import RasterioError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from detection.imagery.errors import AoiError
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.geojson import GeoJsonError, read_features, to_lonlat
from detection.imagery.raster.grid import Grid, from_lonlat
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import ByteRaster

SUFFIXES = (".geojson", ".json")
STRIP = 512


def make_mask(aoi: Path, grid: Grid, work: Path) -> Mask:
    """Return the mask of an area of interest; GeoJSON is drawn into a temporary raster, strip by strip.

    Raises:
        AoiError: neither a raster by name nor GeoJSON with a polygon, or the scene has no place.
    """
    if aoi.suffix.lower() not in SUFFIXES:
        return Mask(aoi, "mask")
    if not grid.placed:
        raise AoiError(f"{aoi}: polygons in longitude and latitude do not fit a scene without a place")
    outline = map_outline(_read_outline(aoi), lambda x, y: from_lonlat(grid, x, y))
    raster = ByteRaster(work / "aoi.tif", grid)
    with raster.writing() as write:
        for row in range(0, grid.height, STRIP):
            rows = min(STRIP, grid.height - row)
            top = grid.moved(0, row)
            try:
                inside = rasterio.features.geometry_mask([outline], (rows, grid.width), top, invert=True)
            except (RasterioError, ValueError):
                raise AoiError(f"{aoi}: cannot be drawn on the scene's grid") from None
            write(inside.astype(np.uint8), 0, row)
    return Mask(raster.path, "mask")


def _read_outline(aoi: Path) -> BaseGeometry:
    return shapely.union_all([outline for _, outline in read_outlines(aoi)])


def read_outlines(aoi: Path) -> list[tuple[str, BaseGeometry]]:
    """Return the polygons of a GeoJSON file in longitude and latitude, each by its `name`, its `id`, or its number.

    Raises:
        AoiError: no GeoJSON with a polygon.
    """
    try:
        features, crs = read_features(aoi)
        outlines = [(_name_of(one, number), shape(one["geometry"])) for number, one in enumerate(features, start=1)]
        polygons = [(name, one) for name, one in outlines if one.geom_type in {"Polygon", "MultiPolygon"}]
        placed = to_lonlat(np.array([one for _, one in polygons], object), crs)
    except OSError as error:
        raise AoiError(f"{aoi}: cannot be read ({error.strerror})") from None
    except GeoJsonError as error:
        raise AoiError(f"{aoi}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, shapely.errors.ShapelyError):
        raise AoiError(f"{aoi}: not GeoJSON") from None
    if not polygons:
        raise AoiError(f"{aoi}: no polygon in it")
    return [(name, shapely.make_valid(one)) for (name, _), one in zip(polygons, placed, strict=True)]


def _name_of(feature: dict[str, Any], number: int) -> str:
    told = feature.get("properties") or {}
    return str(told.get("name") or told.get("id") or feature.get("id") or number)[:100]
