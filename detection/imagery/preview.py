"""A small picture of a scene with its footprints, on a lon/lat grid, for a page or a report."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape as shape_of

from detection.imagery.grid import Grid
from detection.imagery.raster import read_overview, write_png
from detection.imagery.scene import Scene

OUTLINE = np.array([255, 40, 40], np.uint8)


def write_preview(
    scene: Scene, footprints: list[dict[str, Any]], path: Path, *, longest_px: int = 1024, outlines: bool = True
) -> list[float]:
    """Write an RGBA PNG of the scene, stretched between the 2nd and 98th percentile, nodata transparent.

    Args:
        scene: needs B4, B3, B2; with fewer bands the first one is shown grey.
        footprints: dictionaries with a GeoJSON `geometry` in lon/lat.
        path: the PNG.
        longest_px: longest side of the picture.
        outlines: draw the footprints; without, the page can draw them itself.

    Returns:
        Bounds of the picture [min_lon, min_lat, max_lon, max_lat].
    """
    names = ("B4", "B3", "B2") if {"B4", "B3", "B2"} <= set(scene.bands) else (next(iter(scene.bands)),) * 3
    places = [(scene.bands[name].path, scene.bands[name].index) for name in names]
    values, valid, grid = read_overview(places, longest_px)
    image = np.zeros((4, *valid.shape), np.uint8)
    for position, band in enumerate(values):
        low, high = np.percentile(band[valid], [2, 98]) if valid.any() else (0.0, 1.0)
        image[position] = np.clip((band - low) / max(high - low, 1e-9) * 255, 0, 255) * valid
    image[3] = valid * np.uint8(255)
    if outlines:
        for footprint in footprints:
            _draw(image, shape_of(footprint["geometry"]), grid)
    write_png(path, image)
    a, _, left, _, e, top = grid.transform[:6]
    return [round(float(value), 7) for value in (left, top + e * grid.height, left + a * grid.width, top)]


def _draw(image: NDArray[np.uint8], outline: Any, grid: Grid) -> None:
    """Colour the pixels that the rings pass through."""
    step = min(abs(grid.transform.a), abs(grid.transform.e)) / 2
    points = shapely.get_coordinates(shapely.segmentize(outline.boundary, step))
    a, _, left, _, e, top = grid.transform[:6]
    columns = ((points[:, 0] - left) / a).astype(int)
    rows = ((points[:, 1] - top) / e).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < grid.width) & (rows < grid.height)
    image[:3, rows[inside], columns[inside]] = OUTLINE[:, None]
    image[3, rows[inside], columns[inside]] = 255
