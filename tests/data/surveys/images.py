"""Two drawn images of a slope of which a round part slid, as GeoTIFF of 0.1 m; true shifts in metres east and north."""

import numpy as np
from scipy import ndimage

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff

SIZE, PIXEL_M = 320, 0.1
PLACE = 8.9, 46.2
LAY_OFF_M = 0.037, 0.022
SLID_M = 0.46, -0.23


def still_and_slid(column, row):
    """Whether a pixel lies on still ground, and whether it lies inside of what slid, away from the rim."""
    away = np.hypot(column - SIZE / 2, row - SIZE / 2)
    return away > 100, away < 30


def write_still(folder, grid):
    columns, rows = np.meshgrid(*[np.arange(SIZE)] * 2)
    write_geotiff(folder / "still.tif", still_and_slid(columns, rows)[0][None].astype(np.uint8), grid)
    return folder / "still.tif"


def write_pair(folder, noise=6.0, seed=3, slid_m=SLID_M, names=("20260501.tif", "20260601.tif")):
    rng = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 1.5) * 90 + 120
    rows, columns = np.indices(base.shape).astype(float)
    share = ndimage.gaussian_filter((np.hypot(columns - SIZE / 2, rows - SIZE / 2) < 65).astype(float), 6)
    east, north = (off + share * slid for off, slid in zip(LAY_OFF_M, slid_m, strict=True))
    moved = ndimage.map_coordinates(base, [rows + north / PIXEL_M, columns - east / PIXEL_M], order=3, mode="nearest")
    grid = grid_around(*PLACE, SIZE, PIXEL_M)
    for name, values in zip(names, (base, moved * 1.1 + 8), strict=True):
        noisy = values + rng.normal(0, noise, base.shape)
        write_geotiff(folder / name, noisy[None].astype(np.float32), grid, descriptions=("grey",))
    return folder / names[0], folder / names[1], grid
