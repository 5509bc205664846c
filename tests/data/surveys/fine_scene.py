"""A drawn scene in pixels finer, or otherwise shaped, than those it was drawn in."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from detection.imagery.data.generate import draw_scene
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff

SIZE = 96
NAMES = ("B4", "B3", "B2")


def write_fine(path: Path, pixel_m: float, *, oblong: float = 1.0, degrees: bool = False, size_px: int = SIZE) -> Path:
    """The drawn ground, `SIZE` x 10 m on each side, in pixels of another size; `oblong`: so many times as high."""
    drawn = draw_scene(5, SIZE, scars=3)
    wide, high = round(size_px * 10 / pixel_m), round(size_px * 10 / pixel_m / oblong)
    grid = grid_around(141.95, 42.73, wide, pixel_m, geographic=degrees)
    a, b, c, d, e, f = grid.transform[:6]
    rows, columns = (np.arange(high) * size_px // high)[:, None], np.arange(wide) * size_px // wide
    bands = np.stack([drawn.bands[name][rows, columns] for name in NAMES])
    write_geotiff(
        path, bands, Grid(Affine(a, b, c, d, e * oblong, f), grid.crs_wkt, wide, high), nodata=0, descriptions=NAMES
    )
    with rasterio.open(path, "r+") as target:
        target.update_tags(ACQUIRED_AT="2024-05-06T00:00:00Z")
    return path
