"""A small picture of a scene with its footprints, on a lon/lat grid, for a page or a report."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely.geometry import shape as shape_of

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.grid import Grid, lonlat_frame
from detection.imagery.raster import warp, write_png
from detection.imagery.reader import read_block
from detection.imagery.scene import Scene
from detection.imagery.sources import NO_LIMITS, open_raster

STRIP = 64
OUTLINE = np.array([255, 40, 40], np.uint8)


def write_preview(
    scene: Scene,
    footprints: list[dict[str, Any]],
    path: Path,
    scene_grid: Grid,
    *,
    longest_px: int = 1024,
    outlines: bool = True,
) -> list[float]:
    """Write an RGBA PNG of the scene, stretched between the 2nd and 98th percentile, nodata transparent.

    Args:
        scene: needs B4, B3, B2; with fewer bands the first one is shown grey.
        footprints: dictionaries with a GeoJSON `geometry` in lon/lat.
        path: the PNG.
        scene_grid: the grid of the scene.
        longest_px: longest side of the picture.
        outlines: draw the footprints; without, the page can draw them itself.

    Returns:
        Bounds of the picture [min_lon, min_lat, max_lon, max_lat] (pixels where the scene has no place).
    """
    image, grid = paint_scene(scene, scene_grid, longest_px)
    if outlines:
        for footprint in footprints:
            draw_outline(image, shape_of(footprint["geometry"]), grid)
    write_png(path, image)
    return bounds_of(grid)


def paint_scene(scene: Scene, scene_grid: Grid, longest_px: int) -> tuple[NDArray[np.uint8], Grid]:
    """Return the scene as RGBA (4 x H x W) and the grid of the picture."""
    names = ("B4", "B3", "B2") if {"B4", "B3", "B2"} <= set(scene.bands) else (next(iter(scene.bands)),) * 3
    places = [(scene.bands[name].path, scene.bands[name].index) for name in names]
    grid = _small_grid(scene_grid, longest_px)
    values, valid = _read_overview(places, grid, max(scene_grid.width, scene_grid.height) / longest_px)
    image = np.zeros((4, *valid.shape), np.uint8)
    for position, band in enumerate(values):
        low, high = np.percentile(band[valid], [2, 98]) if valid.any() else (0.0, 1.0)
        shown = np.where(valid, band, low)
        image[position] = np.clip((shown - low) / max(high - low, 1e-9) * 255, 0, 255) * valid
    image[3] = valid * np.uint8(255)
    return image, grid


def bounds_of(grid: Grid) -> list[float]:
    """Return [min_lon, min_lat, max_lon, max_lat] of a picture's grid."""
    a, _, left, _, e, top = grid.transform[:6]
    bottom, top = sorted((top, top + e * grid.height))
    return [round(float(value), 7) for value in (left, bottom, left + a * grid.width, top)]


def _read_overview(
    bands: list[tuple[Path, int]], grid: Grid, factor: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read bands onto a small grid: values, and where all of them are valid."""
    shape = grid.height, grid.width
    values, valid = np.empty((len(bands), *shape), np.float32), np.ones(shape, bool)
    for position, (path, index) in enumerate(bands):
        with ExitStack() as stack:
            source = stack.enter_context(open_raster(path, NO_LIMITS))
            if grid.placed:
                resampling = Resampling.average if factor > 1.5 else Resampling.nearest
                warped = stack.enter_context(warp(source, grid, resampling))
                for row in range(0, shape[0], STRIP):
                    rows = slice(row, min(row + STRIP, shape[0]))
                    window = Window(0, row, shape[1], rows.stop - row)  # type: ignore[call-arg,unused-ignore]
                    try:
                        values[position, rows] = read_block(warped.read, index, window, path)
                        valid[rows] &= read_block(warped.read_masks, index, window, path) > 0
                    except TruncatedRasterError:
                        # Only reached where unreadable blocks were allowed: they are not shown.
                        values[position, rows], valid[rows] = 0, False
            else:
                try:
                    values[position] = source.read(index, out_shape=shape)
                    valid &= source.read_masks(index, out_shape=shape) > 0
                except RasterioError:
                    values[position], valid[:] = 0, False
            valid &= np.isfinite(values[position])
    return values, valid


def _small_grid(grid: Grid, longest_px: int) -> Grid:
    """The grid of the picture: longitude and latitude, or every n-th pixel of a grid without a place."""
    if grid.placed:
        return lonlat_frame(grid, longest_px)
    step = max(1.0, max(grid.width, grid.height) / longest_px)
    return Grid(Affine.scale(step), "", max(1, int(grid.width / step)), max(1, int(grid.height / step)))


def draw_outline(image: NDArray[np.uint8], outline: Any, grid: Grid, colour: NDArray[np.uint8] = OUTLINE) -> None:
    """Colour the pixels that the rings pass through."""
    step = min(abs(grid.transform.a), abs(grid.transform.e)) / 2
    points = shapely.get_coordinates(shapely.segmentize(outline.boundary, step))
    a, _, left, _, e, top = grid.transform[:6]
    columns = ((points[:, 0] - left) / a).astype(int)
    rows = ((points[:, 1] - top) / e).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < grid.width) & (rows < grid.height)
    image[:3, rows[inside], columns[inside]] = colour[:, None]
    image[3, rows[inside], columns[inside]] = 255
