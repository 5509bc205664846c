"""A packed raster is whole or it is an error: what takes the place of the only copy must not end too early."""

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from detection.imagery.errors import OutputError
from detection.imagery.raster.raster import is_cog, pack_cog

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
