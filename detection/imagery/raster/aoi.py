"""An area of interest as a mask on the scene's grid, whether it comes as a raster or as GeoJSON polygons."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import rasterio.features
import shapely
from rasterio.errors import CRSError, RasterioError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from detection.geojson import GeoJsonError
from detection.imagery.errors import AoiError, ImpossibleCrsError, NoCrsError, NoValidPixelsError
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.geojson import read_features, to_lonlat
from detection.imagery.raster.grid import Grid, from_lonlat
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import ByteRaster, read_grid, window_below
from detection.imagery.raster.reading.shapes import take_outlines
from detection.imagery.raster.untrusted import open_raster
from detection.reasons import explain_file

SUFFIXES = (".geojson", ".json")
STRIP = 512
LOOKED_PX = 1024  # of a side, when the values of a raster are looked at
ONE_SHARE = 0.9  # of the pixels above 0 that an area's own value has at least
_ELSEWHERE = "{aoi}: does not meet the scene: no pixel of it lies in the area of interest"


def make_mask(aoi: Path, grid: Grid, work: Path, notes: list[str] | None = None) -> Mask:
    """Return the mask of an area of interest; GeoJSON is drawn into a temporary raster, strip by strip.

    Args:
        notes: gets a sentence on each kind of geometry that is left out.

    Raises:
        AoiError: neither a raster by name nor GeoJSON with a polygon, or the scene has no place.
        NoValidPixelsError: no pixel of the scene lies in it.
    """
    if aoi.suffix.lower() not in SUFFIXES:
        # one without a place is left to whoever reads it
        with suppress(NoCrsError, ImpossibleCrsError, RasterioError, CRSError):
            own = read_grid(aoi)
            box = window_below(own, grid, around=0) if grid.placed else (0, 0, 1, 1)
            if box[0] >= box[2] or box[1] >= box[3]:
                raise NoValidPixelsError(_ELSEWHERE.format(aoi=aoi))
            _refuse_classes(aoi)
        return Mask(aoi, "mask")
    if not grid.placed:
        raise AoiError(f"{aoi}: polygons in longitude and latitude do not fit a scene without a place")
    whole = shapely.union_all([outline for _, outline in read_outlines(aoi, notes)])
    outline = map_outline(whole, lambda x, y: from_lonlat(grid, x, y))
    raster = ByteRaster(work / "aoi.tif", grid)
    met = False
    with raster.writing() as write:
        for row in range(0, grid.height, STRIP):
            rows = min(STRIP, grid.height - row)
            top = grid.moved(0, row)
            try:
                inside = rasterio.features.geometry_mask([outline], (rows, grid.width), top, invert=True)
            except (RasterioError, ValueError):
                raise AoiError(f"{aoi}: cannot be drawn on the scene's grid") from None
            met = met or bool(inside.any())
            write(inside.astype(np.uint8), 0, row)
    if not met:
        raise NoValidPixelsError(_ELSEWHERE.format(aoi=aoi))
    return Mask(raster.path, "mask")


def _refuse_classes(aoi: Path) -> None:
    """An area has one value, but for the rim that resampling made; of several nobody knows which one is meant."""
    with open_raster(aoi) as source:
        sides = min(source.height, LOOKED_PX), min(source.width, LOOKED_PX)
        numbers = source.read(1, out_shape=sides, masked=True).compressed()
    values, counts = np.unique(numbers[numbers > 0], return_counts=True)
    if len(values) > 1 and counts.max() < ONE_SHARE * counts.sum():
        first = ", ".join(f"{value:g}" for value in values[:4])
        raise AoiError(f"{aoi}: {len(values)} values above 0 ({first}): an area of interest is 1 within, 0 elsewhere")


def read_outlines(aoi: Path, notes: list[str] | None = None) -> list[tuple[str, BaseGeometry]]:
    """Return the polygons of a GeoJSON file in longitude and latitude, each by its `name`, its `id`, or its number.

    `notes`: gets a sentence on each kind of geometry that is left out.

    Raises:
        AoiError: no GeoJSON with a polygon.
    """
    try:
        features, crs = read_features(aoi)
        given = np.array([None if one["geometry"] is None else shape(one["geometry"]) for one in features], object)
        placed, lines = take_outlines(to_lonlat(given, crs))
        held = [place for place, one in enumerate(placed) if one is not None]
    except OSError as error:
        raise AoiError(f"{aoi}: cannot be read ({error.strerror})") from None
    except GeoJsonError as error:
        raise AoiError(explain_file(aoi, error.explanation)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, shapely.errors.ShapelyError):
        raise AoiError(f"{aoi}: not GeoJSON") from None
    if not held:
        raise AoiError(f"{aoi}: no polygon in it{f' ({lines[0]})' if lines else ''}")
    if notes is not None:
        notes += [f"{aoi.name}: {line}" for line in lines]
    found = []
    for place in held:
        feature, properties = features[place], features[place].get("properties") or {}
        name = properties.get("name") or properties.get("id") or feature.get("id") or place + 1
        found.append((str(name)[:100], placed[place]))
    return found
