"""Lengths and slopes on a grid as it lies on the ground."""

from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from detection.imagery.raster.grid import Grid


def spacing_m(grid: Grid, column: float, row: float) -> tuple[float, float]:
    """Return how far apart neighbouring columns and neighbouring rows are on the ground at a pixel, metres."""
    x, y = grid.to_crs(np.array([column, column + 1.0, column]), np.array([row, row, row + 1.0]))
    lon, lat = grid.to_lonlat(x, y)
    geod = pyproj.Geod(ellps="WGS84")
    _, _, away = geod.inv([lon[0], lon[0]], [lat[0], lat[0]], [lon[1], lon[2]], [lat[1], lat[2]])
    return float(away[0]), float(away[1])


def slope_deg(heights_m: NDArray[np.floating], valid: NDArray[np.bool_], spacing: tuple[float, float]) -> NDArray[Any]:
    """Return the slope of a window of heights, degrees; NaN at and beside what is not valid (Horn 1981, 3 x 3)."""
    padded = np.pad(np.where(valid, heights_m, np.nan).astype(np.float64), 1, mode="edge")
    height, width = valid.shape

    def at(down: int, across: int) -> NDArray[Any]:
        return padded[1 + down : 1 + down + height, 1 + across : 1 + across + width]

    by_column = (at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1)) / (8 * spacing[0])
    by_row = (at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1)) / (8 * spacing[1])
    return np.asarray(np.degrees(np.arctan(np.hypot(by_column, by_row))))
