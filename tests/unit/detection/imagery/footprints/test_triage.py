"""Triage in the lane of a scene: what it may pass over, what it never does, and what is told of it."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from detection.imagery.data.bijie import read
from detection.imagery.errors import ModelError
from detection.imagery.footprints.probabilities import MappingRun, TilingPlan, map_scene
from detection.imagery.footprints.triage import SceneTriage, TriageRequest, list_triage_cautions, load_triage
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.radiometry import RadiometricStretch
from detection.imagery.weights_file import weights_path
from monitor.cli.main import run_verb
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import read_values, write_folder

CARD = {"name": "coarse", "network": {"name": "triage-resnet"}, "tile_px": 16, "pixel_size_m": 1.2, "threshold": 0.5}
CARD |= {"bands": ["B4", "B3", "B2"], "radiometry": {"stretch": "reflectance", "scale": 0.01}}
CARD |= {"normalisation": {"mean": [0.5] * 3, "std": [0.2] * 3, "value_range": [[0.0, 1.0]] * 3}}
PLACE = grid_around(106.1, 27.1, 64, 1.2)


class Field:
    """A scene held in memory: counts of 0 to 100."""

    def __init__(self, values, names=("B3", "B4", "B2"), grid=PLACE):
        self.values, self.names = values.astype(np.float32), names
        self.grid = Grid(grid.transform, grid.crs_wkt, values.shape[2], values.shape[1])

    def read(self, column, row, width, height):
        window = slice(row, row + height), slice(column, column + width)
        return self.values[:, *window], np.ones((height, width), bool)


def bright_is_landslide(picture):
    """In place of the network: the mean of the greatest 25 values of red."""
    return float(np.sort(picture[0].ravel())[-25:].mean())


def asked(known=(), judge=bright_is_landslide, **card):
    triage = SimpleNamespace(
        card={**CARD, **card}, bands=tuple(CARD["bands"]), model_hash="h" * 64, estimate_probability=judge
    )
    return TriageRequest(triage, tuple(known))


def ground(height=64, width=64):
    return np.full((3, height, width), 30.0)


def wants(passing, field, column=0, row=0, width=32, height=32):
    return passing.wants(*field.read(column, row, width, height), column, row)


def test_a_tile_is_passed_over_only_when_no_window_of_it_may_hold_a_landslide():
    field = Field(ground())
    field.values[1, 14:20, 44:50] = 90.0  # red is the second band of this scene
    passing = SceneTriage(asked(), field, {"radiometry": {}})
    assert [wants(passing, field, c, r) for r in (0, 32) for c in (0, 32)] == [False, True, False, False]
    told = passing.to_json()
    assert (told["tiles"], told["passed_over"], told["looked_at"], told["aside"]) == (4, 3, {"network": 1}, None)
    assert told["windows"] == [[0, 0, 32, 32], [0, 32, 32, 32], [32, 32, 32, 32]]
    assert "3 of 4 tiles were passed over" in list_triage_cautions(told)[0]


def test_pictures_are_judged_at_the_pixel_size_of_the_training():
    shapes = []

    def judge(picture):
        shapes.append(picture.shape)
        return 0.0

    fine = grid_around(106.1, 27.1, 96, 0.9)
    field = Field(ground(60, 60), grid=fine)
    assert not wants(SceneTriage(asked(judge=judge), field, {"radiometry": {}}), field, 0, 0, 60, 36)
    assert len(shapes) == 5 * 3, "windows of 21 px, half over each other, in a tile of 60 x 36"
    assert set(shapes) == {(3, 16, 16)}


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-10, 74)] * 4), st.integers(0, 3), st.integers(0, 3))
def test_a_tile_on_an_earlier_footprint_is_never_passed_over(corners, across, down):
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    corners = np.array([left, right, right, left]), np.array([top, top, bottom, bottom])
    lon, lat = PLACE.to_lonlat(*PLACE.to_crs(*corners))
    field = Field(ground())
    passing = SceneTriage(asked([(lon.min(), lat.min(), lon.max(), lat.max())], judge=lambda _: 0.0), field, CARD)
    column, row = 16 * across, 16 * down
    touches = left < column + 16 and column < right and top < row + 16 and row < bottom
    wanted = wants(passing, field, column, row, 16, 16)
    assert wanted or not touches
    far = left > column + 26 or right < column - 10 or top > row + 26 or bottom < row - 10
    assert not (wanted and far), "nor is the whole scene looked at because of one footprint"


def test_a_tile_with_a_pixel_that_is_hidden_or_cannot_be_real_is_looked_at():
    field = Field(ground())
    passing = SceneTriage(asked(), field, {"radiometry": {}})
    values, valid = field.read(0, 0, 32, 32)
    assert not passing.wants(values, valid, 0, 0)
    valid[31, 31] = False
    assert passing.wants(values, valid, 0, 0)
    values, valid = field.read(0, 0, 32, 32)
    values = values.copy()
    values[:, 5, 5] = 30_000.0
    assert passing.wants(values, valid, 0, 0)
    assert passing.wants(*field.read(0, 0, 32, 5), 0, 0), "a strip too narrow to judge"
    assert passing.because == {"footprint": 0, "nodata": 3, "network": 0, "aside": 0}


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (Field(ground(), grid=grid_around(106.1, 27.1, 64, 10.0)), "pixels of 10 m, it was trained at 1.2 m"),
        (Field(ground(), names=("B8", "B4", "B2")), "it needs B3"),
        (Field(ground() * 200), "median 60"),
    ],
)
def test_triage_stands_aside_where_it_was_not_trained_for(field, reason):
    passing = SceneTriage(asked(judge=lambda _: 0.0), field, {"radiometry": {}})
    assert wants(passing, field)
    told = passing.to_json()
    assert told["looked_at"] == {"aside": 1}
    (caution,) = list_triage_cautions(told)
    assert "all tiles are looked at" in caution
    assert reason in caution


def test_counts_of_the_same_values_take_the_same_scale():
    field = Field(ground() * 200)
    assert SceneTriage(asked(judge=lambda _: 0.0), field, CARD, 0.00005).aside is None


@pytest.mark.parametrize("plan", [TilingPlan("crop", 16, 16, 16), TilingPlan("hann", 32, 0, 8)])
def test_what_nobody_wants_is_zero_and_takes_nothing_from_its_neighbours(plan):
    field, out = Field(ground()), np.full((64, 64), 7, np.uint8)

    class Sure:
        def class_probabilities(self, tile, valid, own=np.s_[:, :], again=False):
            return np.full((1, *valid[own].shape), np.float32(0.9))

    def write(steps, column, row):
        out[row : row + steps.shape[1], column : column + steps.shape[2]] = steps[0]

    def west(_values, _valid, column, _row):
        return column < 32

    run = MappingRun(field, Sure(), RadiometricStretch(np.ones(3, np.float32)), plan, 1, west)
    assert map_scene(run, write, lambda _: None) == 64 * 64
    # with halo or overlap, the last tile that is wanted owns or reaches the columns up to 48
    assert (out[:, :48] == 180).all()
    assert not out[:, 48:].any()


def test_wrong_weights_and_boxes_are_one_line():
    assert load_triage(None, [[1, 2, 3, 4]]) is None
    with pytest.raises(ModelError, match="unet is no network for triage"):
        load_triage("generated", [])
    with pytest.raises(ValueError, match="no box of longitudes"):
        load_triage("triage", [[3.0, 2.0, 1.0, 4.0]])


@pytest.fixture(scope="module")
def crop(tmp_path_factory):
    rng = np.random.default_rng(4)
    folder = tmp_path_factory.mktemp("aerial")
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (180, 180)), 3)  # neighbours are alike, and so are the bands
    light = 90 + 25 * ground / ground.std() + rng.normal(0, 3, (3, 180, 180))
    colours = (light * np.array([1.2, 1.0, 0.8])[:, None, None]).clip(1, 255).astype(np.uint8)  # grey is refused
    return write_folder(folder, dict(zip(CARD["bands"], colours, strict=True)), grid_around(106.1, 27.1, 180, 1.2))


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "blind.safetensors"
    shutil.copy(weights_path("triage"), path)
    card = json.loads(weights_path("triage").with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"threshold": 1.0}))
    return path


@pytest.mark.usefixtures("one_torch_thread")
def test_tiles_passed_over_are_in_record_raster_and_warnings(crop, blind, tmp_path):
    payload = {"scene_path": str(crop), "weights": "bijie", "out_dir": str(tmp_path)}
    payload |= {"threshold": 0.0, "tile": 96, "halo": 0}
    whole = detect({**payload, "out_dir": None})
    assert (whole["triage"], whole["passed_over"]) == (None, None)
    assert sum(one["area_m2"] for one in whole["polygons"]) == pytest.approx(180 * 180 * 1.44, rel=1e-3)

    passed = detect({**payload, "triage": str(blind), "threshold": 0.01})
    told = passed["passed_over"]
    assert (told["tiles"], told["passed_over"], passed["valid_share"]) == (4, 4, 1.0)
    assert passed["polygons"] == []
    with rasterio.open(tmp_path / "prob.tif") as source:
        assert not source.read(1).any()
        assert source.tags()["PASSED_OVER"] == "4"
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["passed_over"]["windows"][0] == [0, 0, 96, 96]
    assert any("4 of 4 tiles were passed over by triage" in warning for warning in record["warnings"])

    grid = read_grid(crop / "B4.tif")
    lon, lat = (float(v[0]) for v in grid.to_lonlat(*grid.to_crs(np.array([130]), np.array([40]))))
    again = detect({**payload, "triage": str(blind), "threshold": 0.01, "known": [[lon, lat, lon, lat]]})
    assert again["passed_over"]["looked_at"] == {"footprint": 1}
    steps = read_values(tmp_path / "prob.tif", 1)
    assert steps[:96, 96:].any()
    steps[:96, 96:] = 0
    assert not steps.any()
    assert (steps != NODATA).all()


@pytest.mark.usefixtures("one_torch_thread")
def test_the_verb_takes_triage(crop, blind, capsys):
    argv = ["scenes", "detect", str(crop), "--model", "bijie", "--triage", "--triage-weights", str(blind), "--json"]
    assert run_verb(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["passed_over"]["passed_over"] == 1
    assert "1 of 1 tiles were passed over by triage" in err


@pytest.mark.data
@pytest.mark.usefixtures("one_torch_thread")
def test_landslides_of_the_validation_crops_are_hardly_passed_over(measured):
    asked_for, landslides, passed = load_triage("triage", []), 0, 0
    for patch in read(measured("bijie"), "val"):
        field = Field(patch.image, names=("B4", "B3", "B2"), grid=Grid(PLACE.transform, "", 1, 1))
        passing = SceneTriage(asked_for, field, asked_for.triage.card)
        height, width = patch.mask.shape
        wanted = wants(passing, field, 0, 0, width, height)
        assert passing.aside is None
        landslides += bool(patch.mask.any())
        passed += wanted and bool(patch.mask.any())
    assert landslides == 40
    assert passed >= 0.95 * landslides
