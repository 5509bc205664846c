"""Compute on the grid of web maps (EPSG:3857): the extent of a raster, and the zooms and tiles that show it."""

from dataclasses import dataclass
from math import atan, ceil, floor, log2, pi, sinh
from pathlib import Path
from typing import Final

import numpy as np
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.warp import transform, transform_bounds

from detection.imagery.errors import NoCrsError
from detection.imagery.raster.grid import Grid
from detection.reasons import Reason, explain_file

OFF_GRID: Final = Reason("tiles.off_grid")
WEB: Final = "EPSG:3857"
HALF_M: Final = 20_037_508.342789244  # half of the side of the grid
SIDE_PX: Final = 512  # of a tile
MOST_COLUMNS: Final = 256  # of tiles, because a row of tiles is held in memory


@dataclass(frozen=True, slots=True)
class WebMapExtent:
    """Extent of a raster and side of its pixels, in metres of the grid of web maps."""

    west: float
    south: float
    east: float
    north: float
    step_m: float

    @property
    def lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        return (*to_lonlat(self.west, self.south), *to_lonlat(self.east, self.north))


def find_extent(grid: Grid, path: Path) -> WebMapExtent:
    """Return the extent of a raster on the grid of web maps.

    Args:
        grid: grid of the raster.
        path: of the raster, for messages.

    Raises:
        NoCrsError: the raster has no place on the ground, or lies outside of the grid of web maps.
    """
    if not grid.placed:
        raise NoCrsError(explain_file(path, Reason("tiles.no_place")))
    try:
        x, y = grid.to_crs(np.array([0, grid.width, 0, grid.width]), np.array([0, 0, grid.height, grid.height]))
        west, south, east, north = transform_bounds(grid.crs_wkt, WEB, x.min(), y.min(), x.max(), y.max())
    except RasterioError:
        raise NoCrsError(explain_file(path, OFF_GRID)) from None
    if not (-HALF_M <= west < east <= HALF_M and -HALF_M <= south < north <= HALF_M):
        raise NoCrsError(explain_file(path, Reason("tiles.beyond")))
    if east - west > HALF_M:
        raise NoCrsError(explain_file(path, Reason("tiles.too_wide")))
    # The size of the pixel in the middle is measured, because a rotated grid does not fill its bounding box.
    column, row = grid.width / 2, grid.height / 2
    x, y = grid.to_crs(np.array([column, column + 1, column]), np.array([row, row, row + 1]))
    web_x, web_y = (np.asarray(axis) for axis in transform(grid.crs_wkt, WEB, x.tolist(), y.tolist()))
    pixel_area = abs((web_x[1] - web_x[0]) * (web_y[2] - web_y[0]) - (web_x[2] - web_x[0]) * (web_y[1] - web_y[0]))
    return WebMapExtent(west, south, east, north, float(pixel_area**0.5))


def choose_zooms(extent: WebMapExtent, most_tiles: int, *, finest: int, around: int = 0) -> tuple[int, int]:
    """Return the lowest and highest zoom at which a raster is drawn.

    At the lowest zoom, before `around`, the raster fits into one or two tiles on each side. The highest zoom shows the
    resolution of the raster, unless that takes more than `most_tiles` or a zoom above `finest`.

    Args:
        extent: of the raster.
        most_tiles: limit of the tiles at the highest zoom.
        finest: limit of the highest zoom.
        around: number of additional lower zooms, at which the raster covers a part of the view.
    """
    high = min(finest, max(0, ceil(log2(2 * HALF_M / (SIDE_PX * extent.step_m)) - 0.25)))
    while True:
        columns, rows = span_tiles(high, extent)
        if len(columns) <= MOST_COLUMNS and len(columns) * len(rows) <= most_tiles:
            break
        high -= 1
    span_m = max(extent.east - extent.west, extent.north - extent.south)
    low = min(high, floor(log2(2 * HALF_M / span_m)))
    return max(0, low - around), high


def span_tiles(zoom: int, extent: WebMapExtent) -> tuple[range, range]:
    """Return the columns and rows of the tiles of a zoom that a raster covers."""
    side_m = 2 * HALF_M / 2**zoom
    columns = range(floor((extent.west + HALF_M) / side_m), ceil((extent.east + HALF_M) / side_m))
    rows = range(floor((HALF_M - extent.north) / side_m), ceil((HALF_M - extent.south) / side_m))
    return columns, rows


def transform_of_tile(zoom: int, column: int, row: int) -> Affine:
    """Return the affine from (column, row) of the pixels of a tile to metres of the grid."""
    pixel_m = 2 * HALF_M / 2**zoom / SIDE_PX
    return Affine(pixel_m, 0, column * SIDE_PX * pixel_m - HALF_M, 0, -pixel_m, HALF_M - row * SIDE_PX * pixel_m)


def to_lonlat(x: float, y: float) -> tuple[float, float]:
    """Return longitude and latitude in degrees of a place on the grid of web maps."""
    return x / HALF_M * 180.0, atan(sinh(y / HALF_M * pi)) * 180.0 / pi
