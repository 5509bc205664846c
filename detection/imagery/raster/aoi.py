"""Make the mask of an area of interest from a raster or from the polygons of a vector file."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import rasterio.features
import shapely
from rasterio.errors import CRSError, RasterioError
from shapely.geometry.base import BaseGeometry

from detection.geojson import GeoJsonError
from detection.imagery.errors import AoiError, ImpossibleCrsError, NoCrsError, NoValidPixelsError, VectorError
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.geojson import to_checked_lonlat
from detection.imagery.raster.grid import Grid, from_lonlat
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import ByteRaster, read_grid, window_below
from detection.imagery.raster.reading.shapes import extract_outlines
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.raster.vectors import load_features
from detection.reasons import explain_file

VECTOR_SUFFIXES: Final = frozenset({".geojson", ".json", ".gpkg", ".shp", ".fgb", ".kml"})
MOST_BYTES: Final = 64 << 20  # of a vector file
STRIP_ROWS: Final = 512  # of a mask that are drawn at once
SAMPLE_SIDE_PX: Final = 1024  # side of the reduced raster whose values are counted
# The most frequent value above 0 has at least this share of the pixels above 0. Other values are the rim of a resampled
# area.
MAIN_VALUE_SHARE: Final = 0.9
_ELSEWHERE: Final = "{aoi}: does not meet the scene: no pixel of it lies in the area of interest"


def make_mask(aoi: Path, grid: Grid, work: Path, notes: list[str] | None = None) -> Mask:
    """Return the mask of an area of interest.

    A raster is itself the mask, which `BandReader` warps to the grid. Polygons are drawn into a raster in `work`.

    Args:
        aoi: the raster or the vector file.
        grid: grid of the scene.
        work: folder for the mask.
        notes: a sentence on each kind of geometry that is left out is appended.

    Raises:
        AoiError: the raster has several values, or the vector file has no polygon, or the scene has no place.
        NoValidPixelsError: no pixel of the scene lies in the area.
    """
    if aoi.suffix.lower() not in VECTOR_SUFFIXES:
        # `BandReader` refuses a raster without a place, unless the scene has none either.
        with suppress(NoCrsError, ImpossibleCrsError, RasterioError, CRSError):
            aoi_grid = read_grid(aoi)
            if grid.placed:
                left, top, right, bottom = window_below(aoi_grid, grid, around=0)
                if left >= right or top >= bottom:
                    raise NoValidPixelsError(_ELSEWHERE.format(aoi=aoi))
            _refuse_classes(aoi)
        return Mask(aoi, "mask")
    if not grid.placed:
        raise AoiError(f"{aoi}: polygons in longitude and latitude do not fit a scene without a place")
    area = shapely.union_all([outline for _, outline in read_outlines(aoi, notes)])
    outline = map_outline(area, lambda x, y: from_lonlat(grid, x, y))
    raster = ByteRaster(work / "aoi.tif", grid)
    has_pixel = False
    with raster.writing() as write:
        for row in range(0, grid.height, STRIP_ROWS):
            shape = min(STRIP_ROWS, grid.height - row), grid.width
            try:
                inside = rasterio.features.geometry_mask([outline], shape, grid.transform_at(0, row), invert=True)
            except (RasterioError, ValueError):
                raise AoiError(f"{aoi}: cannot be drawn on the scene's grid") from None
            has_pixel = has_pixel or bool(inside.any())
            write(inside.astype(np.uint8), 0, row)
    if not has_pixel:
        raise NoValidPixelsError(_ELSEWHERE.format(aoi=aoi))
    return Mask(raster.path, "mask")


def _refuse_classes(aoi: Path) -> None:
    """Refuse a raster of several classes, because it does not state which of them is the area."""
    with open_raster(aoi) as source:
        shape = min(source.height, SAMPLE_SIDE_PX), min(source.width, SAMPLE_SIDE_PX)
        sample = source.read(1, out_shape=shape, masked=True).compressed()
    values, counts = np.unique(sample[sample > 0], return_counts=True)
    if len(values) > 1 and counts.max() < MAIN_VALUE_SHARE * counts.sum():
        first = ", ".join(f"{value:g}" for value in values[:4])
        raise AoiError(f"{aoi}: {len(values)} values above 0 ({first}): an area of interest is 1 within, 0 elsewhere")


def read_outlines(aoi: Path, notes: list[str] | None = None) -> list[tuple[str, BaseGeometry]]:
    """Return the polygons of a vector file in longitude and latitude, each with a name.

    The name is the property `name`, else the property or member `id`, else the position in the file from 1.

    Args:
        aoi: the vector file.
        notes: a sentence on each kind of geometry that is left out is appended.

    Raises:
        AoiError: the file is no vector file, or has no polygon.
    """
    try:
        features = load_features(aoi, ("name", "id"), MOST_BYTES)
        outlines, kinds_left_out = extract_outlines(to_checked_lonlat(features.shapes, features.crs))
    except VectorError as error:
        raise AoiError(error.explanation) from None
    except GeoJsonError as error:
        raise AoiError(explain_file(aoi, error.explanation)) from None
    named_outlines = []
    for position, outline in enumerate(outlines):
        if outline is not None:
            properties = features.properties[position]
            stated_names = (properties.get("name"), properties.get("id"))
            # 0 is an id, but an empty text is no name
            name = next((stated for stated in stated_names if stated or stated == 0), position + 1)
            named_outlines.append((str(name)[:100], outline))
    if not named_outlines:
        raise AoiError(f"{aoi}: no polygon in it{f' ({kinds_left_out[0]})' if kinds_left_out else ''}")
    if notes is not None:
        notes += [*features.notes, *(f"{aoi.name}: {line}" for line in kinds_left_out)]
    return named_outlines
