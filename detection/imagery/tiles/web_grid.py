"""The grid of web maps (EPSG:3857): extents of its tiles, and the tiles that a raster covers."""

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
SIDE_PX: Final = 512
WIDEST: Final = 256  # most tiles side by side, because a row of them is held in memory


@dataclass(frozen=True, slots=True)
class WebMapExtent:
    """Extent of a raster on the grid of web maps and the side of its pixels there, in metres of the grid."""

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
    """Return the extent of a grid on that of web maps (NoCrsError: it has none)."""
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
    own = grid.to_crs(np.array([column, column + 1, column]), np.array([row, row, row + 1]))
    x, y = (np.asarray(axis) for axis in transform(grid.crs_wkt, WEB, own[0].tolist(), own[1].tolist()))
    step_m = float(abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])) ** 0.5)
    return WebMapExtent(west, south, east, north, step_m)


def choose_zooms(extent: WebMapExtent, most: int, *, finest: int, around: int = 0) -> tuple[int, int]:
    """Return the lowest and highest zoom.

    At the lowest one the raster fits into one or two tiles. The highest one shows its resolution, or what `most` tiles
    can show.
    """
    high = min(finest, max(0, ceil(log2(2 * HALF_M / (SIDE_PX * extent.step_m)) - 0.25)))
    while True:
        columns, rows = span_tiles(high, extent)
        if len(columns) <= WIDEST and len(columns) * len(rows) <= most:
            break
        high -= 1
    span_m = max(extent.east - extent.west, extent.north - extent.south)
    return max(0, min(high, floor(log2(2 * HALF_M / span_m))) - around), high


def span_tiles(zoom: int, extent: WebMapExtent) -> tuple[range, range]:
    """Return the columns and rows of the tiles of a zoom that a raster covers."""
    side_m = 2 * HALF_M / 2**zoom
    columns = range(floor((extent.west + HALF_M) / side_m), ceil((extent.east + HALF_M) / side_m))
    return columns, range(floor((HALF_M - extent.north) / side_m), ceil((HALF_M - extent.south) / side_m))


def frame_tile(zoom: int, column: int, row: int) -> Affine:
    """Return the affine from pixels of a tile to metres of the grid."""
    pixel_m = 2 * HALF_M / 2**zoom / SIDE_PX
    return Affine(pixel_m, 0, column * SIDE_PX * pixel_m - HALF_M, 0, -pixel_m, HALF_M - row * SIDE_PX * pixel_m)


def to_lonlat(x: float, y: float) -> tuple[float, float]:
    """Return longitude and latitude in degrees of a place on the grid of web maps."""
    return x / HALF_M * 180.0, atan(sinh(y / HALF_M * pi)) * 180.0 / pi
