"""GDAL keeps blocks that it has decoded: a file that is read in halves of its tiles is decoded once."""

import numpy as np
import rasterio._env

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.untrusted import open_raster


def test_the_cache_of_blocks_holds_rows_of_tiles_of_a_wide_scene(tmp_path):
    """Rasterio takes bytes where GDAL's own setting takes MiB: 64 of them hold no block."""
    path = tmp_path / "scene.tif"
    write_geotiff(path, np.ones((1, 8, 8), np.uint8), grid_around(141.0, 42.7, 8, 10.0))
    with open_raster(path):
        kept = int(rasterio._env.get_gdal_config("GDAL_CACHEMAX"))
    assert kept >= 512 * 2048 * 13 * 2, "of thirteen bands of Sentinel-2"
    assert kept <= 64 << 20, "bounded, whatever the machine has"
