"""A packed raster is whole or it is an error, and blocks of one that is read in halves of tiles are decoded once."""

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio._env
from affine import Affine

from detection.imagery.errors import OutputError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import is_cog, pack_cog, write_geotiff
from detection.imagery.raster.untrusted import open_raster

SIDE = 700


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_disk_that_is_full_at_the_end_of_a_file_is_an_error(tmp_path: Path, share: float) -> None:
    plain, packed = tmp_path / "plain.tif", tmp_path / "packed.tif"
    rng = np.random.default_rng(0)
    values = np.where(rng.random((1, SIDE, SIDE)) < share, 200, 0).astype(np.uint8)
    shape = {"width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "tiled": True}
    with rasterio.open(
        plain, "w", driver="GTiff", crs="EPSG:32633", transform=Affine(10, 0, 4e5, 0, -10, 5e6), **shape
    ) as file:
        file.write(values)
    pack_cog(plain, packed, overviews="average", level=1)
    size = packed.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for lacking in (1, 500, size // 2):
        packed.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, hard))
        try:
            with pytest.raises(OutputError, match="is the disk full"):
                pack_cog(plain, packed, overviews="average", level=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    packed.unlink(missing_ok=True)
    pack_cog(plain, packed, overviews="average", level=1)
    assert is_cog(packed)
    with rasterio.open(packed) as file:
        assert (file.read() == values).all()


def test_the_cache_of_blocks_holds_rows_of_tiles_of_a_wide_scene(tmp_path):
    """Rasterio takes bytes where GDAL's own setting takes MiB: 64 of them hold no block."""
    path = tmp_path / "scene.tif"
    write_geotiff(path, np.ones((1, 8, 8), np.uint8), grid_around(141.0, 42.7, 8, 10.0))
    with open_raster(path):
        kept = int(rasterio._env.get_gdal_config("GDAL_CACHEMAX"))
    assert kept >= 512 * 2048 * 13 * 2, "of thirteen bands of Sentinel-2"
    assert kept <= 64 << 20, "bounded, whatever the machine has"
