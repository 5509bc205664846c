"""Tiles that a model is least sure of: the doubtful before the sure, none beside another, none of empty ground."""

import numpy as np
import pyproj
import pytest
from affine import Affine

from detection.imagery.footprints.doubt import SIDE_PX, find_doubtful
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import writing_geotiff

UTM = pyproj.CRS.from_epsg(32632).to_wkt()


def write(path, bands):
    grid = Grid(Affine(10, 0, 5e5, 0, -10, 5.1e6), UTM, bands[0].shape[1], bands[0].shape[0])
    with writing_geotiff(path, grid, "uint8", count=len(bands), nodata=255) as put:
        put(np.stack(bands), 0, 0)
    return grid


def test_the_tiles_nearest_to_the_threshold_come_first_apart_from_each_other(tmp_path):
    steps = np.zeros((4 * SIDE_PX - 40, 6 * SIDE_PX), np.uint8)
    tile = lambda down, across: np.s_[down * SIDE_PX : (down + 1) * SIDE_PX, across * SIDE_PX : (across + 1) * SIDE_PX]  # noqa: E731
    steps[tile(1, 1)] = 80  # at the threshold of .4
    steps[tile(1, 2)] = 75  # beside it
    steps[tile(1, 4)] = 140
    steps[tile(0, 0)] = 200  # sure of a landslide
    steps[tile(2, 5)] = 80
    steps[tile(2, 5)][:, :40] = 255  # most of it is nodata
    steps[tile(3, 2)] = 80  # the rim of the scene cuts it
    grid = write(tmp_path / "prob.tif", [steps])
    first, second = find_doubtful(tmp_path / "prob.tif", 0.4)
    assert (first.doubt, second.doubt) == (1.0, 0.5)
    column, row = grid.pixel_of((first.box[0] + first.box[2]) / 2, (first.box[1] + first.box[3]) / 2)
    assert (column, row) == pytest.approx((1.5 * SIDE_PX, 1.5 * SIDE_PX), abs=1.0)
    assert len(find_doubtful(tmp_path / "prob.tif", 0.4, most=1)) == 1


def test_of_several_classes_the_likeliest_counts_and_a_sure_scene_has_none(tmp_path):
    sure, doubtful = np.full((SIDE_PX, SIDE_PX), 200, np.uint8), np.full((SIDE_PX, SIDE_PX), 100, np.uint8)
    write(tmp_path / "two.tif", [doubtful, sure])
    assert find_doubtful(tmp_path / "two.tif", 0.5, 2) == ()
    assert [one.doubt for one in find_doubtful(tmp_path / "two.tif", 0.5, 1)] == [1.0]
