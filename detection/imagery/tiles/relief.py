"""Draw the shaded relief of an elevation model as map tiles, the background of stations and footprints."""

import warnings
from itertools import product
from math import cos, radians, sin
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from pmtiles.tile import zxy_to_tileid
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from detection.imagery.errors import ImageryError, NoValidPixelsError, TruncatedRasterError
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.local_grid import placing
from detection.imagery.raster.raster import grid_of
from detection.imagery.raster.reading.values import HEIGHT, open_values
from detection.imagery.raster.terrain import NODATA, derive_terrain
from detection.imagery.raster.warping import warp
from detection.imagery.tiles.archive import ArchiveFacts, write_archive
from detection.imagery.tiles.records import ReliefRequest, Tiles
from detection.imagery.tiles.web_grid import (
    SIDE_PX,
    WEB,
    choose_zooms,
    find_extent,
    span_tiles,
    to_lonlat,
    transform_of_tile,
)

MOST_TILES: Final = 4096  # at the finest zoom, enough for 32 km with pixels of 1 m
FINEST_ZOOM: Final = 18
WEB_WKT: Final = pyproj.CRS.from_user_input(WEB).to_wkt()
ZOOMS_AROUND: Final = 3  # additional coarser zooms, at which the model covers a part of the view
# Azimuth and elevation of the light. Maps are lit from the north-west by convention; with light from the south, people
# see hills as hollows.
LIGHT_AZIMUTH_DEG: Final = 315.0
LIGHT_ELEVATION_DEG: Final = 45.0


def draw_relief(dem: Path, out: Path, most_tiles: int = MOST_TILES) -> Tiles:
    """Shade an elevation model and write its tiles, from a view of its surroundings to the resolution of the model.

    Heights are warped to the grid of web maps (cubic, or by their mean if a pixel there is more than twice as large).
    They are shaded there by Horn's slopes, with the true length of a pixel at its latitude.

    Args:
        dem: raster of heights, band 1; unit and scale as the file states, else metres.
        out: the file of tiles.
        most_tiles: limit of the tiles at the finest zoom; a larger model is drawn coarser.

    Raises:
        NoCrsError: the model has no place on the ground, or lies outside of the grid of web maps.
        NoValidPixelsError: no pixel has a height.
        TruncatedRasterError: a block of it cannot be read.
    """
    with open_values(dem, HEIGHT) as source:
        extent = find_extent(grid_of(source, dem), dem)
        coarsest, finest = choose_zooms(extent, most_tiles, finest=FINEST_ZOOM, around=ZOOMS_AROUND)
        spans = [(zoom, *span_tiles(zoom, extent)) for zoom in range(coarsest, finest + 1)]
        numbered = [
            (zxy_to_tileid(zoom, column, row), zoom, column, row)
            for zoom, columns, rows in spans
            for column, row in product(columns, rows)
        ]
        facts = ArchiveFacts("png", extent.lonlat, metadata={"name": "relief", "type": "overlay"})
        drawn = (
            (number, tile)
            for number, zoom, column, row in sorted(numbered)
            if (tile := _draw_tile(source, dem, extent.step_m, zoom, column, row)) is not None
        )
        tiles = write_archive(out, drawn, facts)
        if not tiles:
            out.unlink()
            raise NoValidPixelsError(f"{dem}: no pixel has a height")
    return Tiles(tiles, "png", (coarsest, finest), extent.lonlat)


def _draw_tile(source: Any, path: Path, step_m: float, zoom: int, column: int, row: int) -> bytes | None:
    """Return a tile as PNG with grey and alpha; None if it shows no height. `step_m` is the pixel size of the model."""
    pixel_m, _, left, _, _, top = transform_of_tile(zoom, column, row)[:6]
    # The slope of a pixel depends on its neighbours, so a rim of one pixel is read.
    transform = Affine(pixel_m, 0, left - pixel_m, 0, -pixel_m, top + pixel_m)
    tile_grid = Grid(transform, WEB_WKT, SIDE_PX + 2, SIDE_PX + 2)
    resampling = Resampling.average if pixel_m > 2 * step_m else Resampling.cubic
    try:
        with warp(source, tile_grid, resampling, src_nodata=source.nodata, nodata=NODATA, dtype="float32") as warped:
            heights = warped.read(1).astype(np.float64)
    except RasterioError:
        raise TruncatedRasterError(f"{path}: a block cannot be read (truncated or damaged file)") from None
    heights[(heights == NODATA) | ~np.isfinite(heights)] = np.nan
    if np.isnan(heights).all():
        return None
    latitude = radians(to_lonlat(0.0, top - SIDE_PX * pixel_m / 2)[1])
    shade = shade_heights(heights, pixel_m * cos(latitude))
    is_shaded = np.isfinite(shade)
    if not is_shaded.any():
        return None
    grey = np.where(is_shaded, np.rint(255 * np.nan_to_num(shade)), 0)
    alpha = np.where(is_shaded, 255, 0)
    image = np.stack([grey, alpha])
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", width=SIDE_PX, height=SIDE_PX, count=2, dtype="uint8", ZLEVEL=6) as target:
            target.write(image.astype(np.uint8))
        return bytes(memory.read())


def shade_heights(heights: NDArray[np.float64], pixel_m: float) -> NDArray[np.float64]:
    """Return the brightness of the ground, 0 to 1, lit from the north-west, without the outermost pixels of `heights`.

    >>> flat = shade_heights(np.zeros((3, 3)), 1.0)
    >>> round(float(flat[0, 0]), 3)
    0.707
    """
    fields = derive_terrain(heights, pixel_m, pixel_m, ("slope", "northness", "eastness"))
    slope = np.radians(fields["slope"].astype(np.float64))
    azimuth, elevation = radians(LIGHT_AZIMUTH_DEG), radians(LIGHT_ELEVATION_DEG)
    # cosine of the angle between the aspect of the slope and the azimuth of the light
    facing = cos(azimuth) * fields["northness"] + sin(azimuth) * fields["eastness"]
    shade = sin(elevation) * np.cos(slope) + cos(elevation) * np.sin(slope) * facing
    return np.clip(np.asarray(shade, np.float64), 0.0, 1.0)


def make_relief(request: ReliefRequest) -> Tiles:
    """Draw the relief of an elevation model, as a task of a worker. If it fails, the result contains the error."""
    local = {"into": request.into, "affine": request.affine} if request.into else None
    try:
        with placing(local):
            return draw_relief(request.dem, request.out)
    except ImageryError as error:
        return Tiles(error=error.explanation)
