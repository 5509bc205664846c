"""A small picture of a scene with its footprints, on a lon/lat grid, for a page or a report."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window
from shapely.geometry import shape as shape_of

from detection.imagery.grid import Grid, lonlat_frame
from detection.imagery.raster import write_png
from detection.imagery.scene import Scene
from detection.imagery.sources import NO_LIMITS, open_raster

STRIP = 64
# Percentiles come from every third row and column.
SAMPLED = 3
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
    values, valid = _read_overview(places, grid)
    image = np.zeros((4, *valid.shape), np.uint8)
    step = SAMPLED if valid[::SAMPLED, ::SAMPLED].any() else 1
    sample = valid[::step, ::step]
    for position, band in enumerate(values):
        low, high = np.percentile(band[::step, ::step][sample], [2, 98]) if sample.any() else (0.0, 1.0)
        shown = (band - np.float32(low)) * np.float32(255 / max(high - low, 1e-9))
        image[position] = np.where(valid, np.clip(shown, 0, 255, out=shown), 0)
    image[3] = valid * np.uint8(255)
    return image, grid


def bounds_of(grid: Grid) -> list[float]:
    """Return [min_lon, min_lat, max_lon, max_lat] of a picture's grid."""
    a, _, left, _, e, top = grid.transform[:6]
    bottom, top = sorted((top, top + e * grid.height))
    return [round(float(value), 7) for value in (left, bottom, left + a * grid.width, top)]


def _read_overview(bands: list[tuple[Path, int]], grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read bands onto a small grid: values, and where all of them are valid."""
    values = np.empty((len(bands), grid.height, grid.width), np.float32)
    for position, (path, index) in enumerate(bands):
        with open_raster(path, NO_LIMITS) as source:
            every = max(1, round(max(source.shape) / max(grid.width, grid.height)))
            small = _thin(source, index, every)
            if not grid.placed:
                rows, columns = (np.linspace(0, side - 1, wanted).astype(int)
                                 for side, wanted in zip(small.shape, values.shape[1:], strict=True))  # fmt: skip
                values[position] = small[np.ix_(rows, columns)]
                continue
            a, b, x, d, e, y = source.transform[:6]
            wide = source.width / small.shape[1]
            reproject(
                small,
                values[position],
                src_transform=Affine(a * wide, b * every, x, d * wide, e * every, y),
                src_crs=source.crs,
                src_nodata=np.nan,
                dst_transform=grid.transform,
                dst_crs=grid.crs_wkt,
                dst_nodata=np.nan,
                resampling=Resampling.nearest,  # the means were taken above
            )
    valid = np.asarray(np.isfinite(values).all(axis=0))
    return values, valid


def _thin(source: Any, index: int, every: int) -> NDArray[np.float32]:
    """Means over `every` x `every` pixels of a band, NaN for nodata and for what cannot be read."""
    height, width = -(-source.height // every), -(-source.width // every)
    small = np.full((height, width), np.nan, np.float32)
    for row in range(0, height, STRIP):
        rows = min(STRIP, height - row)
        high = min(rows * every, source.height - row * every)
        window = Window(0, row * every, source.width, high)  # type: ignore[call-arg,unused-ignore]
        try:
            part = source.read(
                index, window=window, out_shape=(rows, width), masked=True, resampling=Resampling.average
            )
        except RasterioError:
            continue  # only reached where unreadable blocks were allowed: they are not shown
        small[row : row + rows] = part.astype(np.float32).filled(np.nan)
    return small


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
