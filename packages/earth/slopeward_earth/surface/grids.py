"""Bring two surfaces onto the coarser of their grids.

On curved ground, interpolation between coarse cells differs from finer cells, which would look like loss and gain.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import Resampling, reproject

from detection.imagery.errors import SceneError
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import read_grid, window_below
from detection.imagery.raster.reading.values import BandQuantity
from detection.imagery.raster.untrusted import open_raster

# The surfaces and their difference are in memory, about 100 bytes for each cell.
PIXELS_MOST: Final = 60_000_000
# Cells whose sides differ by less than this factor have the same resolution: the older surface is interpolated.
SAME_RESOLUTION: Final = 1.2
# A coarse cell has a height only if valid fine cells cover this share of it. On a slope, the mean of a part is not the
# mean of the cell.
COVERED_LEAST: Final = 0.95


@dataclass(frozen=True, slots=True)
class SurfaceHeights:
    """Heights of one surface, or their errors, on the common grid."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    notes: tuple[str, ...]  # warnings on how they were read


def choose_grid(older: Path, newer: Path) -> Grid:
    """Return the grid on which two surfaces are compared: that of the newer one, or the coarser older one.

    Only the part of a coarser older surface around the newer one is returned.

    Raises:
        SceneError: the grid has too many pixels.
    """
    grid, other = read_grid(newer), read_grid(older)
    if grid.placed and other.placed and _cell_side_m(other) > SAME_RESOLUTION * _cell_side_m(grid):
        grid = _cut(older, other, grid)
    _check_size(newer, grid)
    return grid


def read_surface(path: Path, grid: Grid, quantity: BandQuantity, index: int | None = None) -> SurfaceHeights:
    """Read a band on the common grid: unchanged, interpolated, or as means of finer cells.

    Args:
        path: file of the surface.
        grid: the common grid.
        quantity: heights, or errors of heights.
        index: number of the band. None: the band of the quantity.

    Raises:
        SceneError: the finer surface has too many pixels.
    """
    own_grid = read_grid(path)
    is_placed = grid.placed and own_grid.placed
    if not is_placed or _cell_side_m(grid) <= SAME_RESOLUTION * _cell_side_m(own_grid):
        with Layer(path, grid, index, quantity=quantity) as layer:
            values, valid = layer.read(0, 0, grid.width, grid.height)
            notes = layer.notes
            if layer.warped:
                notes = [*notes, f"{path.name} was warped onto the grid of the other surface (bilinear)"]
        return SurfaceHeights(values, valid, tuple(notes))
    return _read_means(path, own_grid, grid, quantity, index)


def _read_means(path: Path, own_grid: Grid, grid: Grid, quantity: BandQuantity, index: int | None) -> SurfaceHeights:
    ratio = _cell_side_m(grid) / _cell_side_m(own_grid)
    part = _cut(path, own_grid, grid)
    _check_size(path, part)
    with Layer(path, part, index, quantity=quantity) as layer:
        fine, is_valid = layer.read(0, 0, part.width, part.height)
        notes = layer.notes
    # A rim without values makes cells at the edge of the finer surface count as covered in part.
    rim = math.ceil(ratio) + 1
    transform = part.transform_at(-rim, -rim)
    fine = np.pad(np.where(is_valid, fine, np.float32(np.nan)), rim, constant_values=np.nan)
    is_valid = np.pad(is_valid, rim)
    values = _average(fine, transform, part, grid)
    covered_share = _average(is_valid.astype(np.float32), transform, part, grid)
    valid = np.isfinite(values) & (np.nan_to_num(covered_share) >= COVERED_LEAST)
    fine_m, coarse_m = _cell_side_m(own_grid), _cell_side_m(grid)
    note = (
        f"{path.name} has cells of {fine_m:.3g} m, the other surface of {coarse_m:.3g} m: they are compared at the "
        "coarser cells, by the mean of the finer ones"
    )
    return SurfaceHeights(np.where(valid, values, np.float32(0)), valid, (*notes, note))


def _average(array: NDArray[np.float32], transform: object, part: Grid, grid: Grid) -> NDArray[np.float32]:
    means = np.full((grid.height, grid.width), np.nan, np.float32)
    reproject(
        array,
        means,
        src_transform=transform,
        src_crs=CRS.from_wkt(part.crs_wkt),
        src_nodata=np.nan,
        dst_transform=grid.transform,
        dst_crs=CRS.from_wkt(grid.crs_wkt),
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    return means


def _cut(path: Path, own_grid: Grid, other: Grid) -> Grid:
    """Return the part of the grid of a file that another grid covers; the whole grid if they do not overlap."""
    try:
        with open_raster(path) as source:
            left, top, right, bottom = window_below(source, other, 0)
    except RasterioError:
        return own_grid
    if left >= right or top >= bottom:
        return own_grid
    return replace(own_grid, transform=own_grid.transform_at(left, top), width=right - left, height=bottom - top)


def _cell_side_m(grid: Grid) -> float:
    return math.sqrt(math.prod(spacing_m(grid, grid.width / 2, grid.height / 2)))


def _check_size(path: Path, grid: Grid) -> None:
    if grid.width * grid.height > PIXELS_MOST:
        raise SceneError(f"{path}: {grid.width} x {grid.height} pixels are too many at once; cut out the slope")
