"""Pixels of a scene: brought to another size, read finer or coarser, and flagged where a result must not be trusted."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy import ndimage

from detection.imagery.data.generate import draw_scene
from detection.imagery.errors import DomainError, FinerPixelsError, TooLargeError, UnfitWeightsError
from detection.imagery.footprints import choose
from detection.imagery.footprints.choose import WeightsAttempt, choose_weights
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.outputs import EDGE, EMPTY, UNREADABLE, flag_pixels
from detection.imagery.footprints.records import INDEX
from detection.imagery.raster.areas import pixel_area_m2, resample_grid
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.weights_file import WEIGHTS_FOLDER
from monitor.cli.main import run_command
from tests.data.asked_detection import detect
from tests.data.surveys import rasters
from tests.data.surveys.fine_scene import write_fine
from tests.data.surveys.rasters import read_values
from tests.fixtures.soak import in_soak, with_soak

SIZE = 112
PLACE = grid_around(141.95, 42.73, SIZE, 10.0)
NAMES = ("B4", "B3", "B2")


@pytest.fixture(scope="module")
def drawn():
    return draw_scene(5, SIZE, scars=2)


def write_folder(folder, drawn, grid, times=1, blank=None):
    """The drawn scene on a grid of `times` as many rows and columns; `blank` is nodata."""
    bands = {name: drawn.bands[name].copy() for name in NAMES}
    for band in bands.values():
        band[blank or np.s_[:0]] = 0
    larger = {name: np.kron(band, np.ones((times, times), band.dtype)) for name, band in bands.items()}
    return rasters.write_folder(folder, larger, grid, 'role = "post"\n')


def run(capsys, *words):
    capsys.readouterr()
    code = run_command(["scenes", "detect", "--model", "generated", *map(str, words), "--json"])
    said = capsys.readouterr()
    return code, said.err, [json.loads(line) for line in said.out.splitlines()]


def total_m2(answer):
    return sum(polygon["area_m2"] for polygon in answer["polygons"])


@pytest.mark.soak
@pytest.mark.parametrize("geographic", with_soak(ordinary=True, soak=False))
def test_finer_pixels_are_brought_to_those_of_the_model(drawn, tmp_path, capsys, geographic):
    """A scene of 5 m says that it should be, and by how much; resampled it shows the areas of the scene of 10 m."""
    place = grid_around(141.95, 42.73, SIZE, 10.0, geographic=geographic)
    plain = write_folder(tmp_path / "plain", drawn, place)
    double = write_folder(tmp_path / "double", drawn, halve(place), times=2)
    _, _, (wanted,) = run(capsys, plain, "--resample-to", 10)
    _, told, (as_it_is,) = run(capsys, double, "--threshold", 0.5)
    assert (
        f"warning: {double}: pixels of {as_it_is['pixel_area_m2'] ** 0.5:.3g} m, the model was trained at 10 m; "
        in told
    )
    assert "--resample-to 10 brings the scene to them" in told
    code, told, (answer,) = run(capsys, double, "--resample-to", 10, "--out", tmp_path / "out")
    assert code == 0
    assert "the model was trained at" not in told
    assert "resampled to pixels of 10 m" in told
    assert answer["pixel_area_m2"] == pytest.approx(100, rel=0.001)
    assert (answer["width"], answer["height"]) == (wanted["width"], wanted["height"])
    assert total_m2(wanted) > 10_000
    assert total_m2(answer) == pytest.approx(total_m2(wanted), rel=0.1)
    with rasterio.open(tmp_path / "out" / "prob.tif") as source:
        assert (source.width, source.height) == (answer["width"], answer["height"])
        ground = source.bounds
    step = max((ground.right - ground.left) / answer["width"], (ground.top - ground.bottom) / answer["height"])
    with rasterio.open(double / "B4.tif") as source:
        assert np.allclose(ground, source.bounds, atol=step)


@pytest.fixture
def able(tmp_path):
    """Weights that read images of 4 m to 20 m at 10 m."""
    for end in (".json", ".safetensors"):
        shutil.copy(WEIGHTS_FOLDER / f"generated{end}", tmp_path / f"able{end}")
    card = json.loads((tmp_path / "able.json").read_text())
    card["other_pixels"] = {"finest_m": 4.0, "coarsest_m": 20.0, "coarse_at_m": 10.0}
    (tmp_path / "able.json").write_text(json.dumps(card))
    return tmp_path / "able.safetensors"


def halve(grid):
    """The same ground on pixels of half the size."""
    a, b, c, d, e, f = grid.transform[:6]
    return Grid(Affine(a / 2, b / 2, c, d / 2, e / 2, f), grid.crs_wkt, 2 * SIZE, 2 * SIZE)


TILTED = Grid(Affine(9.6, 2.8, *PLACE.transform[2:3], 2.8, -9.6, PLACE.transform[5]), PLACE.crs_wkt, SIZE, SIZE)


@pytest.mark.soak
@pytest.mark.parametrize("place", [TILTED, *in_soak(PLACE, grid_around(141.95, 42.73, SIZE, 10.0, geographic=True))])
def test_a_finer_image_is_read_at_the_pixels_of_the_training_by_itself(drawn, tmp_path, able, place):
    """What is found lies on the image's own pixels, is as large as at 10 m, and nodata stays what it was."""
    blank = np.s_[:31, 70:]
    plain = write_folder(tmp_path / "plain", drawn, place, blank=blank)
    double = write_folder(tmp_path / "double", drawn, halve(place), times=2, blank=blank)
    wanted = detect({"scene_path": str(plain), "weights": "generated", "resample_to_m": 10.0})
    out = tmp_path / "out"
    answer = detect({"scene_path": str(double), "weights": str(able), "out_dir": str(out)})
    assert (answer["width"], answer["height"], answer["read_at"]["pixel_m"]) == (2 * SIZE, 2 * SIZE, 10.0)
    assert any(one.startswith("read at 10 m, the pixels of its training; the image has ") for one in answer["warnings"])
    assert not any("the model was trained at" in one for one in answer["warnings"])
    assert json.loads((out / "run.json").read_text())["read_at"] == answer["read_at"]
    assert total_m2(wanted) > 10_000
    assert total_m2(answer) == pytest.approx(total_m2(wanted), rel=0.1)
    with rasterio.open(double / "B4.tif") as source, rasterio.open(out / "prob.tif") as drawn_on:
        assert np.allclose(source.transform, drawn_on.transform)
        assert np.array_equal(source.read(1) == 0, drawn_on.read(1) == 255)


def test_a_coarser_image_is_read_so_too_and_says_that_small_things_may_be_missed(drawn, tmp_path, able):
    coarse = Grid(Affine(20, 0, PLACE.transform[2], 0, -20, PLACE.transform[5]), PLACE.crs_wkt, SIZE, SIZE)
    answer = detect({"scene_path": str(write_folder(tmp_path / "a", drawn, coarse)), "weights": str(able)})
    assert answer["read_at"] == {"pixel_m": 10.0, "width": 2 * SIZE, "height": 2 * SIZE, "step_px": [0.5, 0.5]}
    assert any("the image has 20 m, and what is small in it may be missed" in one for one in answer["warnings"])
    assert answer["polygons"]


@pytest.mark.parametrize("pixel_m", [3.9, 8.0, 12.5, 20.3])
def test_pixels_near_those_of_the_training_and_far_from_them_are_read_as_they_are(drawn, tmp_path, able, pixel_m):
    grid = Grid(Affine(pixel_m, 0, PLACE.transform[2], 0, -pixel_m, PLACE.transform[5]), PLACE.crs_wkt, SIZE, SIZE)
    folder = write_folder(tmp_path / "a", drawn, grid)
    answers = [detect({"scene_path": str(folder), "weights": weights}) for weights in (str(able), "generated")]
    assert answers[0]["read_at"] is None
    keys = "geometry", "area_m2", "mean_probability"
    one, other = ([[polygon[key] for key in keys] for polygon in answer["polygons"]] for answer in answers)
    assert one == other


@pytest.mark.soak
def test_a_grid_that_was_asked_for_is_the_one_that_the_network_sees(drawn, tmp_path, able):
    folder = write_folder(tmp_path / "a", drawn, halve(PLACE), times=2)
    answer = detect({"scene_path": str(folder), "weights": str(able), "resample_to_m": 5.0})
    assert (answer["width"], answer["read_at"]) == (2 * SIZE, None)
    with_auto = detect({"scene_path": str(folder), "weights": "auto", "own": [str(able)], "resample_to_m": 5.0})
    assert with_auto["refused"][0]["why"] == "pixels of 5 m, trained on 10 m"


@pytest.mark.soak
def test_pixels_that_would_be_too_many_are_refused_before_they_are_read(drawn, tmp_path, able, monkeypatch):
    coarse = Grid(Affine(20, 0, PLACE.transform[2], 0, -20, PLACE.transform[5]), PLACE.crs_wkt, SIZE, SIZE)
    asked = {"scene_path": str(write_folder(tmp_path / "a", drawn, coarse)), "own": [str(able)]}
    with pytest.raises(TooLargeError, match=r"224 x 224 pixels of 10 m, the limit is 30,000"):
        detect({**asked, "weights": str(able), "max_pixels": 30_000})
    too_long = "it would be read as 224 x 224 pixels of 10 m, which takes too long"
    assert detect({**asked, "weights": "auto", "max_pixels": 30_000})["refused"][0]["why"] == too_long
    monkeypatch.setattr("detection.imagery.footprints.detect.RESAMPLED_MOST_PX", 30_000)
    assert detect({**asked, "weights": "auto"})["refused"][0]["why"] == too_long
    assert detect({**asked, "weights": str(able)})["read_at"]


def test_a_grid_of_other_pixels_covers_the_same_ground():
    finer = resample_grid(PLACE, 4.0)
    assert (finer.width, finer.height, pixel_area_m2(finer)) == (280, 280, pytest.approx(16.0))
    coarser = resample_grid(PLACE, 100.0)
    assert (coarser.width, coarser.height) == (12, 12)  # the last row and column reach over the scene
    square = resample_grid(grid_around(141.95, 42.73, SIZE, 10.0, geographic=True), 10.0)
    assert pixel_area_m2(square) == pytest.approx(100.0, rel=1e-3)
    assert square.width == pytest.approx(SIZE * 0.735, abs=2)


def test_what_cannot_be_resampled_is_one_line(drawn, tmp_path, capsys):
    scene = write_folder(tmp_path / "scene", drawn, PLACE)
    code, told, _ = run(capsys, scene, "--resample-to", 0.01, "--out", tmp_path / "out")
    assert (code, "112000 x 112000 pixels of 0.01 m, the limit is 4,000,000,000" in told) == (1, True)
    assert not (tmp_path / "out").exists()
    assert run(capsys, scene, "--resample-to", 0)[0] == 2


def test_pixels_beside_nodata_and_at_the_rim_are_flagged(drawn, tmp_path, capsys):
    scene = write_folder(tmp_path / "scene", drawn, PLACE, blank=np.s_[60:80, 30:50])
    out = tmp_path / "out"
    _, _, (answer,) = run(capsys, scene, "--out", out)
    with rasterio.open(out / "qa.tif") as source:
        flags = source.read(1)
        assert (source.tags()["FLAG_EDGE"], source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"]) == (str(EDGE), "COG")
    empty = read_values(out / "mask.tif", 1) == 255
    far = ndimage.binary_erosion(~empty, np.ones((17, 17)), border_value=0)
    assert np.array_equal(flags & EMPTY > 0, empty)
    assert np.array_equal(flags & EDGE > 0, ~empty & ~far)
    assert not (flags & UNREADABLE).any()
    share = np.count_nonzero(flags & EDGE) / np.count_nonzero(~empty)
    assert answer["qa"] == {"edge_px": 8, "edge_share": pytest.approx(share, abs=1e-6)}
    assert json.loads((out / "run.json").read_text())["qa"] == answer["qa"]


def test_flags_do_not_depend_on_the_strips(monkeypatch):
    steps = np.where(np.random.default_rng(5).random((70, 41)) < 0.01, 255, 7).astype(np.uint8)
    place, found = Grid(PLACE.transform, PLACE.crs_wkt, 41, 70), []

    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    for strip in (256, 9, 1):
        monkeypatch.setattr("detection.imagery.footprints.outputs.STRIP_ROWS", strip)
        tally = Counter()
        found.append((np.concatenate([rows for _, rows in flag_pixels(read, place, {(0, 64)}, tally)]), tally))
    for flags, told in found[1:]:
        assert np.array_equal(flags, found[0][0])
        assert told == found[0][1]
    assert (found[0][0][64:] & UNREADABLE).all()
    assert not (found[0][0][:64] & UNREADABLE).any()


def test_what_could_not_be_read_is_flagged(drawn, tmp_path, capsys):
    scene = write_folder(tmp_path / "scene", drawn, PLACE)
    shutil.copy(scene / "B3.tif", tmp_path / "whole.tif")
    with rasterio.open(tmp_path / "whole.tif") as source:
        data, profile = source.read(), {**source.profile, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(scene / "B3.tif", "w", **profile) as target:
        target.write(data)
    content = (scene / "B3.tif").read_bytes()
    (scene / "B3.tif").write_bytes(content[: len(content) * 3 // 4])
    code, _, (answer,) = run(capsys, scene, "--partial", "--out", tmp_path / "out")
    assert code == 3
    flags = read_values(tmp_path / "out" / "qa.tif", 1)
    torn = flags & UNREADABLE > 0
    assert torn.mean() == pytest.approx(answer["unreadable_share"], abs=1e-6)
    assert torn.any()
    assert (flags[torn] & EMPTY > 0).all()
    assert (flags[ndimage.binary_dilation(torn, np.ones((3, 3))) & ~torn] & EDGE > 0).all()


def run_command_of(capsys, *words):
    code = run_command(["scenes", "detect", *map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


@pytest.mark.soak
@pytest.mark.parametrize(
    ("pixel_m", "how"),
    [
        (2.5, {}),
        (0.5, {"oblong": 4.0}),
        pytest.param(0.5, {}, marks=pytest.mark.soak),
        pytest.param(2.5, {"degrees": True}, marks=pytest.mark.soak),
    ],
)
def test_it_is_read_at_the_pixels_of_a_training_and_marked(tmp_path, capsys, pixel_m, how):
    path, out = write_fine(tmp_path / "fine.tif", pixel_m, **how), tmp_path / "out"
    code, told, said = run_command_of(capsys, path, "--out", out, "--threshold", "0.3")
    has_m = json.loads((out / "run.json").read_text())["coarser_than_m"]
    assert has_m == pytest.approx(pixel_m * how.get("oblong", 1.0) ** 0.5, rel=0.2)
    line = f"read coarser: at 10 m, the scene has {has_m:.3g} m"
    assert (code, f"read by landslide4sense-standard, {line}" in told, said.count(line)) == (0, True, 1)
    assert "resampled to" not in said
    answer = detect({"scene_path": str(path), "out_dir": str(out), "threshold": 0.3})  # what was kept
    assert (answer["resample_to_m"], answer["named"], answer["doubts"]) == (10.0, False, [line])
    # the scene is a mosaic of patches that were stretched one by one, so that some of them are white
    assert all(one["caution"].startswith(line) for one in answer["polygons"])
    assert answer["polygons"]
    # whoever names weights and pixels has asked for it: that is no doubt
    asked = {"weights": "landslide4sense-standard", "resample_to_m": 10.0, "threshold": 0.3}
    named = detect({"scene_path": str(path), **asked})
    assert (named["doubts"], named["coarser_than_m"]) == ([], None)
    assert [one["geometry"] for one in named["polygons"]] == [one["geometry"] for one in answer["polygons"]]


@pytest.mark.soak
def test_where_it_cannot_the_commands_stand_there_to_copy(tmp_path, capsys):
    folder = tmp_path / "a place"
    folder.mkdir()
    path = write_fine(folder / "small.tif", 0.5, size_px=24)
    detecting = f"slopeward scenes detect '{path}' --model landslide4sense-standard --resample-to 10"
    learning = f"slopeward scenes learn '{folder}' --outlines FILE"
    code, _, said = run_command_of(capsys, path, "--model", "landslide4sense-standard")
    assert code == 1
    assert detecting in said
    assert learning in said
    assert run_command_of(capsys, *detecting.replace(f"'{path}'", "PATH").split()[3:][1:], path)[0] == 0
    code, _, said = run_command_of(capsys, path, "--dry-run")
    assert f"{learning} learns a network for such pixels" in said
    assert "24 x 24 pixels are too few" in said


@pytest.mark.parametrize("seed", range(20))
def test_the_least_coarse_reading_that_fits_is_taken(tmp_path, monkeypatch, seed):
    """Each of weights is tried on the scene's own pixels; then those too coarse for it, the finest pixels first."""
    chance = np.random.default_rng(seed)
    names = [f"w{number}" for number in range(4)]
    monkeypatch.setattr(choose, "SHIPPED", tuple(names[2:]))
    trained_m = dict(zip(names, chance.choice([0.2, 1.2, 3.0, 10.0], 4).tolist(), strict=True))
    fails = {name: chance.choice(["finer", "other", "reads"], p=[0.6, 0.3, 0.1]) for name in names}
    fits = {name: bool(chance.random() < 0.4) for name in names}
    tried = []

    def attempt(one: WeightsAttempt):
        tried.append((one.weights, one.coarser_m))
        if one.weights == INDEX or (one.coarser_m is not None and fits[one.weights]):
            return one
        if one.coarser_m is None and fails[one.weights] == "reads":
            return one
        if one.coarser_m is None and fails[one.weights] == "finer":
            raise FinerPixelsError("too fine", trained_m[one.weights])
        raise (UnfitWeightsError if seed % 2 else DomainError)("unlike")

    options = DetectionOptions(tmp_path / "x.tif", own=tuple(names[:2]))
    found = choose_weights(options, attempt)
    native = next((name for name in names if fails[name] == "reads"), None)
    coarser = sorted((trained_m[name], names.index(name)) for name in names if fails[name] == "finer" and fits[name])
    if native is not None:
        assert (found.weights, found.coarser_m) == (native, None)
    elif coarser:
        assert (found.weights, found.coarser_m) == (names[coarser[0][1]], coarser[0][0])
        assert found.apply_to(options).resample_to_m == coarser[0][0]
    else:
        assert found.weights == INDEX
        assert sum(bool(one.remedy) for one in found.refused) == ("finer" in fails.values())
    assert len(set(tried)) == len(tried)
    # asked for pixels of their own, nothing else is tried
    if native is None:
        assert choose_weights(replace(options, resample_to_m=5.0), attempt).weights == INDEX
