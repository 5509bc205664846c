"""Shaded relief of an elevation model as map tiles, the background of stations and footprints."""

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
from detection.imagery.tiles.web_grid import SIDE_PX, WEB, choose_zooms, find_extent, frame_tile, span_tiles, to_lonlat

MOST_TILES: Final = 4096  # of the finest zoom: 32 km at 1 m
FINEST: Final = 18
WEB_WKT: Final = pyproj.CRS.from_user_input(WEB).to_wkt()
AROUND: Final = 3  # additional coarser zooms, at which the model is a part of the view
LIGHT_FROM_DEG: Final = 315.0  # convention of maps; with light from the south, hills are perceived as hollows
LIGHT_ABOVE_DEG: Final = 45.0


def draw_relief(dem: Path, out: Path, most: int = MOST_TILES) -> Tiles:
    """Shade an elevation model and write its tiles, from a view of its surroundings to the resolution of the model.

    Heights are brought to the grid of web maps (cubic; the mean where many fall into one pixel). They are shaded there
    by Horn's slopes, with the true length of a pixel at its latitude.

    Args:
        dem: raster of heights, band 1; unit and scale as the file says, else metres.
        most: tiles of the finest zoom; a larger model is drawn coarser.

    Raises:
        NoCrsError: the model has no place, or none on the grid of web maps.
        NoValidPixelsError: nothing of it has a height.
        TruncatedRasterError: a block of it cannot be read.
    """
    with open_values(dem, HEIGHT) as source:
        extent = find_extent(grid_of(source, dem), dem)
        coarsest, finest = choose_zooms(extent, most, finest=FINEST, around=AROUND)
        spans = [(zoom, *span_tiles(zoom, extent)) for zoom in range(coarsest, finest + 1)]
        numbered = [
            (zxy_to_tileid(zoom, column, row), zoom, column, row)
            for zoom, columns, rows in spans
            for column, row in product(columns, rows)
        ]
        about = ArchiveFacts("png", extent.lonlat, metadata={"name": "relief", "type": "overlay"})
        drawn = (
            (number, tile)
            for number, zoom, column, row in sorted(numbered)
            if (tile := _draw_tile(source, dem, extent.step_m, zoom, column, row)) is not None
        )
        tiles = write_archive(out, drawn, about)
        if not tiles:
            out.unlink()
            raise NoValidPixelsError(f"{dem}: no pixel has a height")
    return Tiles(tiles, "png", (coarsest, finest), extent.lonlat)


def _draw_tile(source: Any, path: Path, step_m: float, zoom: int, column: int, row: int) -> bytes | None:
    pixel_m, _, left, _, _, top = frame_tile(zoom, column, row)[:6]
    corner = Affine(pixel_m, 0, left - pixel_m, 0, -pixel_m, top + pixel_m)
    frame = Grid(corner, WEB_WKT, SIDE_PX + 2, SIDE_PX + 2)
    way = Resampling.average if pixel_m > 2 * step_m else Resampling.cubic
    try:
        with warp(source, frame, way, src_nodata=source.nodata, nodata=NODATA, dtype="float32") as warped:
            heights = warped.read(1).astype(np.float64)
    except RasterioError:
        raise TruncatedRasterError(f"{path}: a block cannot be read (truncated or damaged file)") from None
    heights[(heights == NODATA) | ~np.isfinite(heights)] = np.nan
    if np.isnan(heights).all():
        return None
    latitude = radians(to_lonlat(0.0, top - SIDE_PX * pixel_m / 2)[1])
    shade = shade_heights(heights, pixel_m * cos(latitude))
    known = np.isfinite(shade)
    if not known.any():
        return None
    image = np.stack([np.where(known, np.rint(255 * np.nan_to_num(shade)), 0), np.where(known, 255, 0)])
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", width=SIDE_PX, height=SIDE_PX, count=2, dtype="uint8", ZLEVEL=6) as target:
            target.write(image.astype(np.uint8))
        return bytes(memory.read())


def shade_heights(heights: NDArray[np.float64], pixel_m: float) -> NDArray[np.float64]:
    """Return the brightness of the ground, 0 to 1, lit from the north-west. A rim of one pixel is removed.

    >>> flat = shade_heights(np.zeros((3, 3)), 1.0)
    >>> round(float(flat[0, 0]), 3)
    0.707
    """
    fields = derive_terrain(heights, pixel_m, pixel_m, ("slope", "northness", "eastness"))
    slope, light = np.radians(fields["slope"].astype(np.float64)), radians(LIGHT_FROM_DEG)
    facing = cos(light) * fields["northness"] + sin(light) * fields["eastness"]
    above = radians(LIGHT_ABOVE_DEG)
    shade = sin(above) * np.cos(slope) + cos(above) * np.sin(slope) * facing
    return np.clip(np.asarray(shade, np.float64), 0.0, 1.0)


def make_relief(request: ReliefRequest) -> Tiles:
    """Draw the relief of an elevation model, as task of a worker. The answer contains the error if it fails."""
    local = {"into": request.into, "affine": request.affine} if request.into else None
    try:
        with placing(local):
            return draw_relief(request.dem, request.out)
    except ImageryError as error:
        return Tiles(error=error.explanation)
