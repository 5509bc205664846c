"""Surfaces of different resolution: interpolation on curved ground is neither loss nor gain."""

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from slopeward_earth.surface.difference import subtract
from tests.data.surveys.rasters import write_raster

SIDE_M = 240
VOLUME_M3 = 1800.0


def height_at(x, y):
    return 600 + 0.15 * x + 12 * np.sin(x / 23) + 9 * np.cos(y / 17)


def write_surface(path, cell_m, seed, *, slide=False, sampled=False, offset=(0.0, 0.0), noise=0.05, hole=None):
    """Write curved ground as means of its cells, or sampled at their centres; a slide of 30 x 30 x 2 m is lost."""
    count = int((SIDE_M - 2 * max(offset)) // cell_m)
    parts = 1 if sampled else max(1, round(cell_m / 0.5))
    centres = (np.arange(count * parts) + 0.5) * cell_m / parts
    x, y = np.meshgrid(offset[0] + centres, offset[1] + centres)
    heights = height_at(x, y)
    if slide:
        heights = heights - 2.0 * ((x > 90) & (x < 120) & (y > 80) & (y < 110))
    heights = heights.reshape(count, parts, count, parts).mean((1, 3))
    heights += np.random.default_rng(seed).normal(0, noise, heights.shape)
    if hole is not None:
        heights[hole] = -9999.0
    at = Affine(cell_m, 0, 500_000 + offset[0], 0, -cell_m, 5_100_000 - offset[1])
    return write_raster(path, heights[None].astype("float32"), transform=at, crs="EPSG:32632", nodata=-9999.0)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize(
    ("older_m", "newer_m", "more"),
    [
        (5.0, 1.0, {}),
        (1.0, 5.0, {}),
        (10.0, 1.0, {}),
        (3.0, 2.0, {}),
        (4.0, 0.5, {}),
        (5.0, 1.0, {"sampled": True}),
        (5.0, 1.0, {"offset": (2.3, 1.7)}),
        (1.0, 1.0, {}),
    ],
)
@pytest.mark.parametrize("slide", [True, False])
def test_volume_does_not_depend_on_the_resolution(tmp_path, older_m, newer_m, more, slide):
    older = write_surface(tmp_path / "older.tif", older_m, 1, **more)
    newer = write_surface(tmp_path / "newer.tif", newer_m, 2, slide=slide)
    found = subtract(older, newer, minimum_area_m2=100.0)
    truth = VOLUME_M3 if slide else 0.0
    # a cell that the slide covers in part lies below the limit: at most its rim is not counted
    rim = 0.05 * truth * max(older_m, newer_m) / 5.0
    assert found.loss.volume_m3 == pytest.approx(truth, abs=3 * found.loss.volume_error_m3 + 20 + rim)
    assert found.gain.volume_m3 <= 3 * found.gain.volume_error_m3 + 20
    assert found.loss.bodies == (1 if slide else 0)
    told = any("compared at the coarser cells" in line for line in found.warnings)
    assert told == (older_m != newer_m)


def test_coarse_cell_that_the_finer_surface_covers_in_part_is_missing(tmp_path):
    """The mean of the valid part of a cell on a slope is not the height of the cell."""
    older = write_surface(tmp_path / "older.tif", 5.0, 1)
    hole = np.s_[52:58, 40:200]
    newer = write_surface(tmp_path / "newer.tif", 1.0, 2, hole=hole)
    found = subtract(older, newer, minimum_area_m2=0.0, out_dir=tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "difference.tif") as source:
        difference = source.read(1, masked=True)
    assert difference.shape == (48, 48)
    assert difference.mask[10:12, 8:40].all()
    assert difference.mask.sum() == 2 * 32
    assert found.compared_share == pytest.approx(1 - 64 / 48**2, abs=1e-4)
    assert np.abs(difference).max() < 1.0


def test_only_the_part_of_a_coarse_surface_around_the_newer_one_is_compared(tmp_path):
    older = write_surface(tmp_path / "older.tif", 5.0, 1)
    newer = write_surface(tmp_path / "newer.tif", 1.0, 2, offset=(80.0, 80.0))
    found = subtract(older, newer)
    assert found.compared_share > 0.5
    assert found.loss.bodies == found.gain.bodies == 0
