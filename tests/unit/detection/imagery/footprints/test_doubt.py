"""Beside a map: tiles that a model is least sure of, susceptibility below footprints, and how a scene is cut."""

from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
from affine import Affine

from detection.imagery.errors import SceneError
from detection.imagery.footprints.detect import plan_tiles
from detection.imagery.footprints.doubt import SIDE_PX, find_doubtful
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff, writing_geotiff
from tests.data.asked_detection import read_options

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


@pytest.mark.parametrize(
    ("values", "nodata", "line"),
    [
        ((0.0, 1.0), None, None),
        ((-1.0, 0.3), -1.0, None),
        ((np.nan, 0.3), None, None),
        ((0.0, 80.0), None, "probabilities from 0 to 80: possible are"),
        ((-1.0, 0.3), None, "declared as nodata"),
    ],
)
def test_values_are_probabilities(tmp_path, values, nodata, line):
    path = tmp_path / "prior.tif"
    raster = np.resize(np.array(values, np.float32), (1, 8, 8))
    write_geotiff(path, raster, grid_around(9.0, 46.0, 8, 20.0), nodata=nodata)
    if line is None:
        assert describe_prior(path)["file"] == "prior.tif"
        return
    with pytest.raises(SceneError, match=line):
        describe_prior(path)


@pytest.mark.parametrize(
    ("network", "asked", "blend", "tile", "halo"),
    [
        ("unet", {}, "rows", 2048, 112),
        ("resunet", {}, "rows", 2048, 112),
        ("unet", {"triage": "triage"}, "crop", 512, 112),
        ("unet", {"tile": 256}, "crop", 256, 112),
        ("unet", {"halo": 96}, "crop", 512, 96),
        ("linknet", {}, "crop", 512, 256),
        ("sbconv-unet", {}, "hann", 128, 0),
    ],
)
def test_rows_where_the_network_takes_them_and_nobody_asks_for_tiles(network, asked, blend, tile, halo):
    model = SimpleNamespace(card={"name": "x", "network": {"name": network, "width": 0.125}})
    plan = plan_tiles(model, read_options({"scene_path": "x.tif", **asked}))
    assert (plan.blend, plan.tile, plan.halo) == (blend, tile, halo)
