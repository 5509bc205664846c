"""A small picture of a scene with its footprints, on a lon/lat grid, for a page or a report."""

from collections.abc import Sequence
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

from detection.geojson import Geometry
from detection.imagery.footprints.records import FootprintJson
from detection.imagery.raster.grid import Grid, lonlat_frame
from detection.imagery.raster.overlay import shapes_of
from detection.imagery.raster.raster import write_png
from detection.imagery.raster.untrusted import NO_LIMITS, open_raster
from detection.imagery.scene.scene import Scene

# Each pixel of the picture is the mean of a sample of this many rows and columns. Means by GDAL take ten times as long.
SAMPLED_PER_PIXEL = 4
STRIP = 64  # rows of the picture that are read at once
OUTLINE = np.array([255, 40, 40], np.uint8)
LONGEST_PX = 1024
_POSITIVE_COLOUR = np.array([40, 90, 200.0])
_NEGATIVE_COLOUR = np.array([200, 40, 40.0])
_ZERO_COLOUR = np.array([245, 245, 245.0])


def write_preview(scene: Scene, footprints: Sequence[FootprintJson], path: Path, scene_grid: Grid) -> list[float]:
    """Write an RGBA PNG of the scene, stretched between the 2nd and 98th percentile, with transparent nodata.

    Returns:
        The bounds of the picture: [min_lon, min_lat, max_lon, max_lat], in pixels if the scene has no georeference.
    """
    image, grid = paint_scene(scene, scene_grid, LONGEST_PX)
    for outline in shapes_of([footprint["geometry"] for footprint in footprints]):
        draw_outline(image, outline, grid)
    write_png(path, image)
    return bounds_of(grid)


def find_bounds(scene_grid: Grid, longest_px: int = 1024) -> list[float]:
    """Return what `write_preview` returns, without reading the scene."""
    return bounds_of(_small_grid(scene_grid, longest_px))


def paint_scene(scene: Scene, scene_grid: Grid, longest_px: int) -> tuple[NDArray[np.uint8], Grid]:
    """Return the scene as RGBA (4 x H x W) and the grid of the picture."""
    names = show_bands(scene)
    places = tuple(scene.locate_bands(names).values()) * (3 // len(names))
    grid = _small_grid(scene_grid, longest_px)
    values, valid = _read_overview(places, grid)
    image = np.zeros((4, *valid.shape), np.uint8)
    for position, (band, (low, high)) in enumerate(zip(values, _find_stretch(values, valid), strict=True)):
        shown = (band - np.float32(low)) * np.float32(255 / max(high - low, 1e-9))
        image[position] = np.where(valid, np.clip(shown, 0, 255, out=shown), 0)
    image[3] = valid * np.uint8(255)
    return image, grid


def show_bands(scene: Scene) -> tuple[str, ...]:
    """Return the bands that a picture shows: red, green and blue, or the first band if one of these is missing."""
    names = ("B4", "B3", "B2")
    return names if set(names) <= set(scene.bands) else (next(iter(scene.bands)),)


def measure_stretch(scene: Scene, scene_grid: Grid, longest_px: int = 1024) -> list[tuple[float, float]]:
    """Return the 2nd and 98th percentile of each band that a picture shows, from an overview of the scene."""
    places = tuple(scene.locate_bands(show_bands(scene)).values())
    return _find_stretch(*_read_overview(places, _small_grid(scene_grid, longest_px)))


def _find_stretch(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> list[tuple[float, float]]:
    if not valid.any():
        return [(0.0, 1.0)] * len(values)
    percentiles = (np.percentile(band[valid], [2, 98]) for band in values)
    return [(float(low), float(high)) for low, high in percentiles]


def bounds_of(grid: Grid) -> list[float]:
    """Return [min_lon, min_lat, max_lon, max_lat] of a picture's grid."""
    a, _, left, _, e, top = grid.transform[:6]
    bottom, top = sorted((top, top + e * grid.height))
    return [round(float(value), 7) for value in (left, bottom, left + a * grid.width, top)]


def _read_overview(bands: Sequence[tuple[Path, int]], grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the values of bands on the grid of a picture, and where all of them are valid."""
    values = np.empty((len(bands), grid.height, grid.width), np.float32)
    for path in dict.fromkeys(path for path, _ in bands):
        own = [position for position, (file, _) in enumerate(bands) if file == path]
        with open_raster(path, NO_LIMITS) as source:
            small = _thin(source, [bands[position][1] for position in own], max(grid.width, grid.height))
            if not grid.placed:
                rows, columns = (
                    np.linspace(0, side - 1, wanted).astype(int)
                    for side, wanted in zip(small.shape[1:], values.shape[1:], strict=True)
                )
                values[own] = small[:, rows[:, None], columns]
                continue
            a, b, x, d, e, y = source.transform[:6]
            across, down = source.width / small.shape[2], source.height / small.shape[1]
            values[own], _ = reproject(
                small,
                np.empty((len(own), *values.shape[1:]), np.float32),
                src_transform=Affine(a * across, b * down, x, d * across, e * down, y),
                src_crs=source.crs,
                src_nodata=np.nan,
                dst_transform=grid.transform,
                dst_crs=grid.crs_wkt,
                dst_nodata=np.nan,
                resampling=Resampling.nearest,  # `_thin` computed the means
            )
    valid = np.asarray(np.isfinite(values).all(axis=0))
    return values, valid


def _thin(source: Any, indexes: list[int], longest_px: int) -> NDArray[np.float32]:
    """Return a raster at about `longest_px`, bands x rows x columns.

    A value is the mean of up to 4 x 4 pixels spread over its square. It is NaN if none of these can be read.
    """
    every = max(1, round(max(source.shape) / longest_px))
    height, width = max(1, source.height // every), max(1, source.width // every)
    sampled = min(every, SAMPLED_PER_PIXEL)
    small = np.full((len(indexes), height, width), np.nan, np.float32)
    step = source.height / height
    for row in range(0, height, STRIP):
        rows = min(STRIP, height - row)
        window = Window(0, row * step, source.width, rows * step)  # type: ignore[call-arg,unused-ignore]
        try:
            part = source.read(
                indexes, window=window, out_shape=(len(indexes), rows * sampled, width * sampled), masked=True
            )
        except RasterioError:
            continue  # with `partial`, blocks that cannot be read are not shown
        values = part.astype(np.float32).filled(np.nan).reshape(len(indexes), rows, sampled, width, sampled)
        valid = np.isfinite(values)
        counts = valid.sum(axis=(2, 4))
        small[:, row : row + rows] = np.where(valid, values, 0).sum(axis=(2, 4)) / np.where(counts, counts, np.nan)
    return small


def _small_grid(grid: Grid, longest_px: int) -> Grid:
    """Return the grid of the picture: longitude and latitude, or every n-th pixel without a georeference."""
    if grid.placed:
        return lonlat_frame(grid, longest_px)
    step = max(1.0, max(grid.width, grid.height) / longest_px)
    return Grid(Affine.scale(step), "", max(1, int(grid.width / step)), max(1, int(grid.height / step)))


def draw_outline(image: NDArray[np.uint8], outline: Any, grid: Grid, colour: NDArray[np.uint8] = OUTLINE) -> None:
    """Colour the pixels of a picture that the rings of an outline pass through."""
    step = min(abs(grid.transform.a), abs(grid.transform.e)) / 2
    points = shapely.get_coordinates(shapely.segmentize(outline.boundary, step))
    a, _, left, _, e, top = grid.transform[:6]
    columns = ((points[:, 0] - left) / a).astype(int)
    rows = ((points[:, 1] - top) / e).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < grid.width) & (rows < grid.height)
    image[:3, rows[inside], columns[inside]] = colour[:, None]
    image[3, rows[inside], columns[inside]] = 255


def paint_signed(
    values: NDArray[np.floating],
    known: NDArray[np.bool_],
    geometries: Sequence[Geometry],
    frame: Grid,
    full: float | None = None,
) -> NDArray[np.uint8]:
    """Paint values from red (negative) over white to blue (positive), and outlines in black.

    Args:
        values: values on the grid of the picture.
        known: where the values are known. Other pixels are transparent.
        geometries: outlines, as GeoJSON.
        frame: grid of the picture.
        full: absolute value with the full colour; None: the 98th percentile.
    """
    if full is None:
        full = max(1e-6, float(np.percentile(np.abs(values[known]), 98))) if known.any() else 1.0
    share = np.clip(np.where(known, values, 0.0) / full, -1, 1)
    full_colours = np.where(share[..., None] > 0, _POSITIVE_COLOUR, _NEGATIVE_COLOUR)
    colours = _ZERO_COLOUR + (full_colours - _ZERO_COLOUR) * np.abs(share)[..., None]
    image = np.concatenate([np.moveaxis(colours, -1, 0), known[None] * 255]).astype(np.uint8)
    for outline in shapes_of(geometries):
        draw_outline(image, outline, frame, np.zeros(3, np.uint8))
    return image
