"""Difference of two drawn surfaces whose volumes are known by formula."""

import json

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer

from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from slopeward_earth.surface.difference import subtract
from slopeward_earth.surface.measure import calculate_mean_error

SIZE, PIXEL_M = 200, 2.0


def hill(size=SIZE, pixel_m=PIXEL_M):
    rows, columns = np.indices((size, size), dtype=np.float64) * pixel_m
    return 500 + 0.3 * columns + 12 * np.sin(rows / 35) + 6 * np.cos(columns / 21 + rows / 50)


def paraboloid(size, pixel_m, centre_m, radius_m, depth_m):
    """Depth (1 - (r/R)²): volume pi R² depth / 2."""
    rows, columns = (np.indices((size, size), dtype=np.float64) + 0.5) * pixel_m
    away = np.hypot(columns - centre_m[0], rows - centre_m[1])
    return np.where(away < radius_m, depth_m * (1 - (away / radius_m) ** 2), 0.0)


def write(path, heights, grid=None, nodata=-9999.0):
    write_geotiff(path, heights[None].astype(np.float32), grid or grid_around(8.9, 46.2, SIZE, PIXEL_M), nodata=nodata)
    return path


@pytest.fixture
def pair(tmp_path):
    """A pit of 60 m x 8 m and a fan of 80 m x 3 m, noise of 0.1 m and 0.15 m, the newer surface 0.7 m too high."""
    rng = np.random.default_rng(3)
    ground = hill()
    pit = paraboloid(SIZE, PIXEL_M, (120, 120), 60, 8)
    fan = paraboloid(SIZE, PIXEL_M, (280, 270), 80, 3)
    older = write(tmp_path / "older.tif", ground + rng.normal(0, 0.10, ground.shape))
    newer = write(tmp_path / "newer.tif", ground - pit + fan + 0.7 + rng.normal(0, 0.15, ground.shape))
    write(tmp_path / "still.tif", (pit + fan == 0).astype(float), nodata=None)
    return older, newer


LOSS, GAIN = np.pi * 60**2 * 8 / 2, np.pi * 80**2 * 3 / 2


@pytest.mark.parametrize("given", [{}, {"sigma_older_m": 0.10, "sigma_newer_m": 0.15}])
def test_volumes_of_loss_and_gain(pair, given, tmp_path):
    found = subtract(*pair, **given, stable=tmp_path / "still.tif", minimum_area_m2=100.0, out_dir=tmp_path / "out")
    assert found.offset_m == pytest.approx(0.7, abs=0.01)
    assert found.sigma_m == pytest.approx(np.hypot(0.10, 0.15), rel=0.05)
    assert found.limit_of_detection_m == pytest.approx(1.96 * np.hypot(0.10, 0.15), rel=0.05)
    # what lies below the limit at the rims is not counted: under 1 % of the depth squared
    assert found.loss.volume_m3 == pytest.approx(LOSS, rel=0.01)
    assert found.gain.volume_m3 == pytest.approx(GAIN, rel=0.02)
    assert found.loss.area_m2 == pytest.approx(np.pi * 60**2, rel=0.06)
    assert [p.kind for p in found.polygons[:2]] == ["loss", "gain"]
    assert 0 < found.loss.volume_error_m3 < 0.05 * LOSS
    assert found.net_volume_m3 == pytest.approx(GAIN - LOSS, abs=0.02 * GAIN)
    assert found.shift_px == pytest.approx({"columns": 0, "rows": 0}, abs=0.2)
    collection = json.loads((tmp_path / "out" / "difference.geojson").read_text())
    assert len(collection["features"]) == len(found.polygons)


def test_the_stated_error_covers_the_true_volume():
    rng = np.random.default_rng(1)
    size, sigma = 96, 0.3
    means = []
    for _ in range(200):
        noise = rng.normal(0, sigma, (size, size))
        means.append(noise[20:50, 20:50].mean())
    stated = calculate_mean_error(sigma, 30 * 30 * 4.0, 2.0)  # independent pixels of 2 m hang together over one pixel
    assert 0.5 < stated / np.std(means) < 2.0


def test_noise_alone_is_neither_loss_nor_gain(tmp_path):
    rng = np.random.default_rng(5)
    older = write(tmp_path / "a.tif", hill() + rng.normal(0, 0.1, (SIZE, SIZE)))
    newer = write(tmp_path / "b.tif", hill() - 2.0 + rng.normal(0, 0.1, (SIZE, SIZE)))
    still = write(tmp_path / "still.tif", np.ones((SIZE, SIZE)), nodata=None)
    found = subtract(older, newer, stable=still, minimum_area_m2=40.0)
    assert found.offset_m == pytest.approx(-2.0, abs=0.01)
    assert found.polygons == (), "ten pixels beyond 1.96 sigma side by side do not happen"


@pytest.mark.parametrize("given", [{}, {"sigma_older_m": 0.10, "sigma_newer_m": 0.10}])
def test_without_stable_ground_a_slope_that_sank_as_a_whole_is_not_taken_for_still(tmp_path, given):
    rng = np.random.default_rng(6)
    ground, moved = hill(), np.ones((SIZE, SIZE)) * (np.arange(SIZE) > 60)  # seven tenths of the picture sank by 2 m
    older = write(tmp_path / "a.tif", ground + rng.normal(0, 0.1, ground.shape))
    newer = write(tmp_path / "b.tif", ground - 2.0 * moved + rng.normal(0, 0.1, ground.shape))
    found = subtract(older, newer, **given, minimum_area_m2=100.0)
    assert found.offset_m == 0.0
    assert any("differs by -" in w and "--stable" in w for w in found.warnings)
    assert not found.gain.bodies, "still ground did not rise"
    if given:
        assert found.loss.volume_m3 == pytest.approx(2.0 * moved.sum() * PIXEL_M**2, rel=0.01)
        assert found.loss.volume_error_m3 == pytest.approx(found.loss.volume_m3, rel=0.02), "or the surface lay off"
    else:
        assert (found.sigma_from, found.loss.bodies) == ("what differs as a whole", 0)
        assert found.sigma_m == pytest.approx(2.0, abs=0.02)


def test_another_grid_is_warped_and_areas_are_true(tmp_path):
    """The newer surface in degrees, where a pixel is not as wide as it is high."""
    grid = grid_around(8.9, 46.2, SIZE, PIXEL_M, geographic=True)
    x, y = grid.to_crs(*(part.ravel() + 0.5 for part in np.indices((SIZE, SIZE))[::-1]))
    metric = grid_around(8.9, 46.2, 300, PIXEL_M)
    east, north = Transformer.from_crs(grid.crs, metric.crs, always_xy=True).transform(x, y)
    a, _, left, _, e, top = metric.transform[:6]

    def surface(east, north):
        return 500 + 0.2 * (east - left) + 5 * np.sin((top - north) / 30)

    columns, rows = metric.to_crs(*(part.ravel() + 0.5 for part in np.indices((300, 300))[::-1]))
    older = write(tmp_path / "a.tif", surface(columns, rows).reshape(300, 300), metric)
    away = np.hypot(east - (left + 300), north - (top - 300))
    pit = np.where(away < 40, 5 * (1 - (away / 40) ** 2), 0.0)
    newer = write(tmp_path / "b.tif", (surface(east, north) - pit).reshape(SIZE, SIZE), grid)
    found = subtract(older, newer, minimum_area_m2=200.0)
    assert found.loss.volume_m3 == pytest.approx(np.pi * 40**2 * 5 / 2, rel=0.02)
    assert "warped" in found.warnings[0]
    assert a > 0 > e


def test_a_given_mask_of_stable_ground_is_used_and_nodata_compared_with_nothing(pair, tmp_path):
    mask = np.zeros((SIZE, SIZE))
    mask[:, :20] = 1
    stable = write(tmp_path / "stable.tif", mask, nodata=None)
    found = subtract(*pair, stable=stable, minimum_area_m2=100.0)
    assert (found.stable_share, found.offset_m) == (pytest.approx(0.1), pytest.approx(0.7, abs=0.02))
    assert not any("clipping" in w for w in found.warnings)
    with rasterio.open(pair[1], "r+") as file:
        values = file.read(1)
        values[:, :100] = -9999.0
        file.write(values, 1)
    found = subtract(*pair, stable=tmp_path / "still.tif", minimum_area_m2=100.0)
    assert found.compared_share == pytest.approx(0.5)
    assert found.loss.volume_m3 < 0.2 * LOSS


def test_a_displaced_surface_is_told_and_what_cannot_be_subtracted_is_one_clear_line(tmp_path, pair):
    ground = hill(260)
    older = write(tmp_path / "a.tif", ground[20:220, 20:220])
    newer = write(tmp_path / "b.tif", ground[19:219, 21:221])  # what lay at (21, 19) lies at (20, 20) now
    found = subtract(older, newer)
    assert found.shift_px == pytest.approx({"columns": -1.0, "rows": 1.0}, abs=0.2)
    assert any("1.4 px apart" in w for w in found.warnings)
    flat = write(tmp_path / "c.tif", np.full((SIZE, SIZE), 5.0))
    assert subtract(flat, flat).shift_px is None, "flat ground tells no displacement"
    elsewhere = write(tmp_path / "far.tif", hill(), grid_around(10.9, 46.2, SIZE, PIXEL_M))
    with pytest.raises(NoValidPixelsError, match="no valid pixel in common"):
        subtract(elsewhere, pair[1])
    with pytest.raises(SceneError, match="both surfaces"):
        subtract(*pair, sigma_older_m=0.1)


def test_bodies_that_noise_explains_are_left_out_and_outlines_follow_the_others(tmp_path):
    """A ring of loss around ground that stayed, one cell far out, and one just beyond the limit of detection."""
    older = hill()
    newer = older.copy()
    newer[50:70, 50:70] -= 3.0
    newer[56:64, 56:64] += 3.0
    newer[120, 120] += 5.0
    newer[150, 150] += 0.5
    paths = write(tmp_path / "a.tif", older), write(tmp_path / "b.tif", newer)
    still = write(tmp_path / "still.tif", (newer == older).astype(float), nodata=None)
    found = subtract(*paths, sigma_older_m=0.1, sigma_newer_m=0.15, stable=still)
    assert [body.kind for body in found.polygons] == ["loss", "gain"]
    ring, cell = (shapely.geometry.shape(body.geometry) for body in found.polygons)
    assert len(ring.interiors) == 1
    assert found.loss.area_m2 == pytest.approx((20 * 20 - 8 * 8) * PIXEL_M**2, rel=1e-3)
    assert found.loss.volume_m3 == pytest.approx(3.0 * found.loss.area_m2, rel=1e-3)
    assert found.gain.volume_m3 == pytest.approx(5.0 * PIXEL_M**2, rel=1e-3)
    assert len(cell.exterior.coords) == 5
    (line,) = [warning for warning in found.warnings if "do not stand out of the noise" in warning]
    assert line.startswith("1 bodies of less than 10 cells and 2.0 m³")
    assert subtract(*paths, sigma_older_m=0.1, sigma_newer_m=0.15, stable=still, minimum_area_m2=10.0).gain.bodies == 0
