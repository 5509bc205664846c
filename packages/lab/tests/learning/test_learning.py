"""What can be learnt from and what is refused in a line; what is left out; the gate; what more outlines bring.
Length and threshold come from images not learnt from, within the time given.
"""

import itertools
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
import torch
from affine import Affine

from detection.imagery.data import folder as tile_folder
from detection.imagery.data.file_values import convert_to_values
from detection.imagery.data.patches import make_patches
from detection.imagery.errors import ImageryError, TrainingPausedError
from detection.imagery.neural.calibration import choose_threshold
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.scene.radiometry import measure_stretch
from detection.imagery.scene.reader import open_scene
from detection.imagery.training import evaluation, simple_maps
from detection.imagery.training.domain import describe_training, find_doubts
from detection.imagery.training.simple_maps import SimpleMap, fit_by_cross_validation
from monitor.cli.main import run_command
from slopeward_lab.learning import cross_validation, run
from slopeward_lab.learning.blocks import deal_folds, find_blocks, find_touched, leave_out, list_touching
from slopeward_lab.learning.cross_validation import CrossValidation
from slopeward_lab.learning.gate import HeldOutCounts, compare_maps
from slopeward_lab.learning.labels import find_least_m2, read_labels
from slopeward_lab.learning.records import NOTHING, GroundLabel, LearningRequest, SceneWindow
from slopeward_lab.learning.scenes import find_scenes, read_scenes
from slopeward_lab.learning.tiles import cut_tiles
from tests.data.drawn_ground import (
    BANDS,
    UTM,
    ask,
    draw_picture,
    lay_tiles,
    write_outlines,
    write_pictures,
)


def refuse(folder, outlines, out, **more):
    with pytest.raises(ImageryError) as caught:
        run.learn(ask(folder, outlines, out, **more), lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.soak
def test_unusable_training_data_are_refused_in_one_line(tmp_path):
    folder, out = tmp_path / "scenes", tmp_path / "out"
    outlines = write_pictures(folder, 6)
    assert "6 labelled tiles; 16 are needed" in refuse(folder, outlines, out)
    assert not list(out.iterdir())
    far = {"type": "Feature", "properties": None, "geometry": shapely.geometry.mapping(shapely.box(0, 0, 9, 9))}
    assert "lies on one of the 6 scenes" in refuse(folder, write_outlines(tmp_path / "far.geojson", [far]), out)
    odd = {**far, "properties": {"kind": "rockfall"}}
    assert "kind 'rockfall'" in refuse(folder, write_outlines(tmp_path / "odd.geojson", [odd]), out)
    none = {**far, "properties": {"kind": NOTHING}}
    assert "from one class" in refuse(folder, write_outlines(tmp_path / "none.geojson", [none]), out)
    line = {**far, "geometry": shapely.geometry.mapping(shapely.LineString([(0, 0), (9, 9)]))}
    assert "no polygon in it" in refuse(folder, write_outlines(tmp_path / "line.geojson", [line]), out)
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    assert "no feature in it has a place" in refuse(folder, empty, out)
    (out / "kept.txt").write_text("of somebody")
    assert "holds other files" in refuse(folder, outlines, out)
    assert "no scene in it" in refuse(out, outlines, tmp_path / "other")


def test_scenes_of_different_bands_or_units_are_told(tmp_path):
    folder = tmp_path / "scenes"
    write_pictures(folder, 2)
    write_pictures(tmp_path / "two", 1, bands=("B4", "B3"))
    (tmp_path / "two/000_20240506.tif").rename(folder / "two.tif")
    (folder / "torn.tif").write_bytes((folder / "two.tif").read_bytes()[:300])
    found = read_scenes(find_scenes(folder))
    assert (found.bands, found.scale) == (("B4", "B3"), 1e-4)
    assert [line.partition("/")[0] for line in found.notes] == ["left out: ", found.notes[1]]
    assert "torn.tif: not a raster" in found.notes[0]
    assert found.notes[1] == "bands B2 are not used: not every scene has them"
    write_pictures(tmp_path / "one", 1, bands=("B8",))
    (tmp_path / "one/000_20240506.tif").rename(folder / "one.tif")
    with pytest.raises(ImageryError, match=r"share 0 of the bands.*one\.tif has B8"):
        read_scenes(find_scenes(folder))


def test_many_vertices_and_outlines_that_cross_themselves_are_read(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 200_000)
    ring = np.stack([600_160 + 90 * np.cos(angle), 5_099_840 + 90 * np.sin(angle)], axis=1)
    bow = shapely.Polygon([(600_000, 5_100_000), (600_300, 5_099_700), (600_300, 5_100_000), (600_000, 5_099_700)])
    path = tmp_path / "many.gpkg"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([shapely.Polygon(ring), bow])),
        [np.array([None, "not_landslide"], object)],
        ["kind"],
        crs="EPSG:32632",
        geometry_type="Polygon",
        driver="GPKG",
    )
    labels, told = read_labels(path)
    assert [label.kind for label in labels] == ["landslide", "not_landslide"]
    assert told == ["many.gpkg: 1 outlines cross themselves; check them"]
    assert labels[0].shape.centroid.x == pytest.approx(10.29, abs=0.05)


@pytest.mark.parametrize("side", [10, 20])
def test_of_one_large_scene_no_tile_learnt_from_touches_one_left_out(side):
    windows = lay_tiles(side)
    pairs, landslide_px = list_touching(windows, windows), np.ones(side * side, int)
    blocks = find_blocks(windows, pairs)
    assert np.bincount(blocks).max() == 9
    left_out = leave_out(blocks, landslide_px, 1, pairs)
    assert len(np.unique(blocks[left_out])) >= 8
    assert not set(blocks[left_out]) & set(blocks[~left_out])
    train = np.flatnonzero(~(left_out | find_touched(left_out, pairs)))
    assert list_touching([windows[k] for k in train], [windows[k] for k in np.flatnonzero(left_out)]).size == 0
    with pytest.raises(ImageryError, match="four with landslides are needed"):
        leave_out(blocks, (blocks < 3).astype(int), 1, pairs)


def test_of_few_images_so_many_are_left_out_that_something_can_be_told():
    assert leave_out(np.arange(20), np.ones(20, int), 0).sum() == 8
    assert leave_out(np.arange(12), np.ones(12, int), 0).sum() == 3  # as many would not remain
    gate = compare_maps(HeldOutCounts(counts(0.7), counts(0.5), counts(0.2), np.arange(40) // 6))
    assert (gate["verdict"], gate["passed"], gate["blocks_with_landslides"]) == ("cannot be said", False, 7)
    assert "7 of the images or blocks that were left out hold landslides, and 8 are needed" in gate["reasons"][0]


def counts(f1, tiles=40, spread=0, seed=0):
    """Tiles x (tp, fp, fn, tn) of about an F1, more or less of it from tile to tile."""
    rng = np.random.default_rng(seed)
    hits = np.clip(np.round(100 * f1 + rng.normal(0, spread, tiles)), 0, 100).astype(int)
    return np.stack([hits, 100 - hits, 100 - hits, 9800 + hits], axis=1)


@pytest.mark.parametrize(
    ("network", "logistic", "verdict"),
    [(0.7, 0.6, "better"), (0.6, 0.6, "as good"), (0.57, 0.6, "as good"), (0.5, 0.6, "worse"), (0.05, 0.01, "trivial")],
)
def test_the_gate_passes_what_is_better_or_as_good(network, logistic, verdict):
    blocks = np.arange(40) // 2
    both = counts(network, spread=3), counts(logistic, spread=3, seed=1)
    gate = compare_maps(HeldOutCounts(*both, counts(0.2), blocks))
    assert (gate["verdict"], gate["blocks"]) == (verdict, 20)
    assert gate["passed"] is (verdict in {"better", "as good"})
    assert gate["put_to_use"] is (verdict == "better")
    words = "a candidate to try, not to put to use; outline in more places"
    assert (words in gate["reasons"][0]) is (verdict == "as good")


def test_of_networks_that_are_equal_to_logistic_hardly_one_is_put_to_use():
    rng, said = np.random.default_rng(7), []
    for case in range(150):  # eight blocks of six tiles; what is hard is hard for both, the rest is chance
        size = np.exp(rng.normal(5.7, 1, 48))
        hard = np.repeat(rng.normal(0.4, 0.5, 8), 6)

        def draw(size=size, hard=hard):
            recall, precision = (1 / (1 + np.exp(-hard - np.repeat(rng.normal(0, 0.3, 8), 6))) for _ in range(2))
            found = size * recall
            return np.round(np.stack([found, found / precision - found, size - found, 99 * size], 1)).astype(int)

        weak = np.round(np.stack([0.3 * size, 2 * size, 0.7 * size, 99 * size], 1)).astype(int)
        said.append(compare_maps(HeldOutCounts(draw(), draw(), weak, np.arange(48) // 6), case))
    assert sum(one["put_to_use"] for one in said) <= 0.1 * len(said)
    assert sum(one["passed"] for one in said) > 0.25 * len(said), "candidates they are"


def test_an_outline_is_not_painted_on_a_scene_of_before_it(tmp_path):
    outlines, earlier = write_pictures(tmp_path / "scenes", 1), tmp_path / "scenes/000_20200101.tif"
    shutil.copy(tmp_path / "scenes/000_20240506.tif", earlier)
    (label,), _ = read_labels(outlines)
    readable = read_scenes(find_scenes(tmp_path / "scenes"))
    cut = cut_tiles(readable, [label], tmp_path / "both", 32, around=True, report=print)
    assert len(cut.tiles) == 2
    assert cut.notes[0].startswith("1 of 1 outlines lie on scenes of several days and count on all of them")
    later = [replace(label, since=datetime(2024, 1, 1, tzinfo=UTC)), GroundLabel(NOTHING, label.shape.buffer(0.001))]
    cut = cut_tiles(readable, later, tmp_path / "later", 32, around=True, report=print)
    assert [bool(tile.landslide_px) for tile in cut.tiles] == [False, True]
    assert cut.notes == ()


def write_uneven_scenes(folder):
    """Two scenes of 9 tiles and one of 49, in all of which all was looked at; a landslide in few tiles of each."""
    labels, truth = [], {}
    for number, side in enumerate((3, 7, 3)):
        grid = Grid(Affine(10, 0, 500_000 + 20_000 * number, 0, -10, 5_100_000), "EPSG:32632", 32 * side, 32 * side)
        image = np.random.default_rng(number).integers(500, 3000, (3, 32 * side, 32 * side)).astype(np.uint16)
        folder.mkdir(exist_ok=True)
        write_geotiff(folder / f"{number}_20240506.tif", image, grid, descriptions=BANDS)
        grid = read_grid(folder / f"{number}_20240506.tif")
        frames = [(NOTHING, shapely.box(0, 0, 32 * side, 32 * side))]
        frames += [("landslide", shapely.box(32 * k + 8, 8, 32 * k + 24, 24)) for k in range(side // 2)]

        def place(x, y, grid=grid):
            return grid.to_lonlat(*grid.to_crs(x, y))

        labels += [GroundLabel(kind, map_outline(frame, place)) for kind, frame in frames]
        truth[f"{number}_20240506.tif"] = side * side, side // 2
    return labels, truth


def check_drawn(cut, truth, most):
    """So many tiles, from every scene, of both kinds, not the first of each; what was left out is counted."""
    assert len(cut.tiles) == most
    own = {name: [tile for tile in cut.tiles if tile.window.scene.name == name] for name in truth}
    assert all(len(tiles) >= min(truth[name][0], most // len(truth) - 6) for name, tiles in own.items())
    holding = {name: sum(tile.landslide_px > 0 for tile in tiles) for name, tiles in own.items()}
    assert holding == {name: count for name, (_, count) in truth.items()}, "landslides are few: all of them are taken"
    large = next(tiles for name, tiles in own.items() if truth[name][0] == 49)
    assert max(tile.window.row for tile in large) > 4 * 32, "not the first rows alone"
    every, landslides = (sum(counts[k] for counts in truth.values()) for k in (0, 1))
    (line,) = [line for line in cut.notes if "labelled tiles are used" in line]
    assert line == (
        f"{most} of {every} labelled tiles are used, drawn from 3 of 3 scenes: {landslides} of {landslides} with a "
        f"landslide, {most - landslides} of {every - landslides} without; {every - most} are left out"
    )
    return {(tile.window.scene.name, tile.window.row, tile.window.column) for tile in cut.tiles}


@pytest.mark.soak
def test_of_more_tiles_than_are_used_they_are_drawn(tmp_path):
    labels, truth = write_uneven_scenes(tmp_path / "scenes")
    readable = read_scenes(find_scenes(tmp_path / "scenes"))

    def cut(name, **more):
        return cut_tiles(readable, labels, tmp_path / name, 32, around=True, report=print, **more)

    drawn = [check_drawn(cut(f"seed-{seed}", seed=seed, most=30), truth, 30) for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    assert len(list((tmp_path / "seed-1/images").iterdir())) == 30


@pytest.mark.soak
def test_where_drawn_tiles_are_nodata_others_take_their_place(tmp_path):
    labels, truth = write_uneven_scenes(tmp_path / "scenes")
    path = tmp_path / "scenes/1_20240506.tif"
    grid, image = read_grid(path), np.zeros((3, 224, 224), np.uint16)
    image[:, :64] = 900
    write_geotiff(path, image, grid, descriptions=BANDS, nodata=0)
    readable = read_scenes(find_scenes(tmp_path / "scenes"))
    cut = cut_tiles(readable, labels, tmp_path / "cut", 32, around=True, report=print, most=30)
    assert len(cut.tiles) == 30
    assert len({tile.window.scene for tile in cut.tiles}) == len(truth)
    assert all(tile.known_px for tile in cut.tiles)
    # 32 hold data: once they are all tried nothing is left out
    whole = cut_tiles(readable, labels, tmp_path / "whole", 32, around=True, report=print, most=100)
    assert (len(whole.tiles), whole.notes) == (32, ())


def test_labels_of_one_scene_do_not_speak_of_another(tmp_path):
    outlines = write_pictures(tmp_path / "scenes", 1)
    scenes = find_scenes(tmp_path / "scenes")
    labels = [GroundLabel(one.kind, one.shape, "elsewhere.tif") for one in read_labels(outlines)[0]]
    asked = LearningRequest(scenes, tuple(labels), tmp_path / "out", "mine", tile_px=32)
    with pytest.raises(ImageryError, match="none of the 1 outlines lies on one of the 1 scenes"):
        run.learn(asked, lambda _: None)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda counts: counts, np.uint16),
        (lambda counts: counts + 1000, np.uint16),  # an offset nobody took off
        (lambda counts: counts / 11, np.uint8),
        (lambda counts: counts / 1e4, np.float32),
        (lambda counts: counts / 0.275 + 7273, np.uint16),  # Landsat
    ],
)
def test_weights_fit_the_very_scenes_that_they_were_learnt_from(tmp_path, made, kind):
    outlines = write_pictures(tmp_path / "scenes", 3)
    for path in (tmp_path / "scenes").glob("*.tif"):
        number = int(path.name[:3])
        image = made(draw_picture(number)[0].astype(float)).clip(0, np.iinfo(np.uint16).max).astype(kind)
        write_geotiff(path, image, read_grid(path), descriptions=BANDS)
    readable = read_scenes(find_scenes(tmp_path / "scenes"))
    cut_tiles(readable, read_labels(outlines)[0], tmp_path / "cut", 32, around=True, report=print)
    radiometry = {"stretch": "reflectance", "scale": readable.scale}
    tiles = convert_to_values(tile_folder.read(tmp_path / "cut", "train", bands=readable.bands), radiometry)
    assert len(tiles) == 3
    values = np.concatenate([tile.image.reshape(3, -1) for tile in tiles], axis=1).astype(np.float32)
    values = values / 255 if kind is np.uint8 else values
    domain = describe_training(tiles, 10.0, "", reflectance=True)
    card = {"name": "mine", "bands": BANDS, "tile_px": 32, "domain": domain}
    card["radiometry"] = radiometry
    card["normalisation"] = {"value_range": np.quantile(values, [0.005, 0.995], axis=1).T.tolist()}
    for scene in readable.scenes:
        with open_scene(scene, BANDS) as reader:
            assert find_doubts(reader, measure_stretch(reader, card), card) == []


def test_the_least_outline_is_that_of_the_tiles_and_a_splinter_in_a_hundred_is_none():
    """A network of one's own draws nothing smaller than what was outlined on the ground that it has seen."""

    def square(lon, side_m, kind="landslide"):
        away = side_m / 111_195.0
        return GroundLabel(kind, shapely.box(lon, 0.0, lon + away, away))

    window = SceneWindow(Path("a.tif"), 0, 0, 128, (9.99, -0.01, 10.5, 0.01))
    some = [square(10.0, 30.0), square(10.01, 20.0), square(10.02, 2.0, "not_landslide"), square(12.0, 1.0)]
    assert find_least_m2(some, [window]) == pytest.approx(400, rel=0.02)
    assert find_least_m2([square(12.0, 1.0)], [window]) == 0.0
    parts = [GroundLabel("landslide", shapely.MultiPolygon([square(10.0, 30.0).shape, square(10.01, 10.0).shape]))]
    assert find_least_m2(parts, [window]) == pytest.approx(100, rel=0.02)
    many = [square(10.0 + 0.002 * number, 20.0 + 0.01 * number) for number in range(200)]
    assert find_least_m2([*many, square(10.45, 0.1)], [window]) == pytest.approx(400, rel=0.05)


MINUTES = 1.0
NEW_CORNERS = (("validation", 1), ("validation", 2), ("validation", 3))


class Clock:
    """Seconds that pass with each look at it."""

    def __init__(self, step_s: float = 1.0) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("side", [6, 10, 20])
def test_no_tile_that_is_fitted_touches_one_that_its_fold_holds(side, count):
    windows = lay_tiles(side)
    pairs = list_touching(windows, windows)
    blocks, landslide_px = find_blocks(windows, pairs), np.random.default_rng(side).integers(0, 2, side * side)

    def check(folds):
        assert sorted(itertools.chain(*(held for _, held in folds))) == list(range(side * side))
        for fit, held in folds:
            assert landslide_px[fit].any()
            assert landslide_px[held].any()
            touching = list_touching([windows[k] for k in fit], [windows[k] for k in held])
            assert touching.size == 0
            assert not set(blocks[fit]) & set(blocks[held])

    check(deal_folds(blocks, landslide_px, pairs, count, 3))
    with pytest.raises(ImageryError, match="too few images or blocks"):
        deal_folds(blocks, (blocks == blocks[0]).astype(int), pairs, count, 3)


def test_of_few_images_with_landslides_each_fold_gets_one():
    none = np.empty((2, 0), int)
    folds = deal_folds(np.arange(9), np.array([0, 9, 0, 0, 5, 0, 0, 0, 0]), none, 3, 0)
    assert len(folds) == 2
    assert {int(held[np.isin(held, [1, 4])][0]) for _, held in folds} == {1, 4}


def make_odds(seed: int, tiles: int) -> tuple[np.ndarray, np.ndarray]:
    """Log odds and truth of tiles; from tile to tile the best threshold is another."""
    rng = np.random.default_rng(seed)
    truth = rng.random((tiles, 400)) < rng.uniform(0.05, 0.6, (tiles, 1))
    return rng.normal(0, 1, truth.shape) + 2 * truth + rng.normal(0, 2, (tiles, 1)), truth


class _Trained:
    """Stands for a network: it knows what it was fitted on."""

    normalisation, cpu_s = None, 1.0

    def __init__(self, fit: np.ndarray) -> None:
        self.network = set(fit.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_that_of_all_folds(tmp_path, monkeypatch, seed):
    odds, truth = make_odds(seed, 9)
    folds = [(np.setdiff1d(np.arange(9), held), held) for held in np.split(np.arange(9), 3)]

    def look(network, _, held, __):
        assert not network & set(held.tolist()), "a tile is judged by a network that learnt from it"
        return ((odds[k].astype(np.float32), truth[k]) for k in held)

    monkeypatch.setattr(cross_validation, "train_patches", lambda _, __, ___, parts: _Trained(parts[0]))
    monkeypatch.setattr(cross_validation, "predict_known_odds", look)
    names = tuple(f"b{k}/images/0" for k in range(9))
    patches = make_patches(np.zeros((9, 1, 20, 20), np.float32), np.zeros((9, 20, 20), np.uint8), ("B4",), names)
    found = CrossValidation(patches, folds, ImageryTrainingSettings(), tmp_path, Hooks()).run(5)
    rough = odds.astype(np.float16).astype(np.float32)
    wanted = choose_threshold([(rough.ravel(), truth.ravel())], found.calibration.temperature)
    assert (found.threshold, found.f1) == wanted
    kept = json.loads((tmp_path / cross_validation.VALIDATED).read_text())
    assert kept["threshold"] == found.threshold
    assert [path.name for path in tmp_path.iterdir()] == [cross_validation.VALIDATED]


def hold_pictures(count: int):
    drawn = [draw_picture(number) for number in range(count)]
    images, masks = (np.stack(values) for values in zip(*drawn, strict=True))
    return make_patches(images.astype(np.float32) / 1e4, masks.astype(np.uint8), ("B4", "B3", "B2"))


def test_logistic_regression_has_its_threshold_from_pictures_it_was_not_fitted_on(monkeypatch):
    patches, fitted = hold_pictures(6), []
    solve = simple_maps._fit_logistic_regression
    monkeypatch.setattr(
        simple_maps, "_fit_logistic_regression", lambda *given: fitted.append(given[1].size) or solve(*given)
    )
    folds = [(np.setdiff1d(np.arange(6), held), held) for held in np.split(np.arange(6), 3)]
    rules = fit_by_cross_validation(patches, folds)
    assert [len(ones) for ones in rules.values()] == [4, 4]
    assert fitted == [4 * 400, 4 * 400, 4 * 400, 6 * 400]
    assert len({rule.threshold for rule in rules["logistic"]}) == 1
    assert len({rule.weights.tobytes() for rule in rules["logistic"]}) == 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt") / "scenes"
    return folder, write_pictures(folder, 20)


@pytest.fixture(scope="module")
def learnt(pictures, tmp_path_factory):
    """The folder of a run, what it answered, and what it told."""
    out, told, threads = tmp_path_factory.mktemp("run") / "out", [], torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_validation, "ENOUGH", 0.08)
        answer = run.learn(ask(*pictures, out, minutes=MINUTES), told.append, Hooks(clock=Clock())).answer
    torch.set_num_threads(threads)
    return out, answer, told


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_learning_keeps_its_time_and_goes_on_where_it_was_cut_off(learnt, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(cross_validation, "ENOUGH", 0.08)
    out, answer, told = learnt
    found = answer["cross_validation"]
    assert answer["cpu_s"] <= 60 * MINUTES
    assert answer["epochs"] == found["epochs"]
    assert any("passes were possible in this time" in line for line in answer["told"])
    assert any(line.startswith(f"F1 {found['f1']:.3f} on tiles not learnt from") for line in told)
    card = load_model(answer["weights"], ungated=True).card
    best = json.loads((out / "work" / cross_validation.VALIDATED).read_text())
    assert (card["threshold"], card["temperature"]) == (best["threshold"], best["calibration"]["temperature"])
    assert card["metrics"]["held_f1"] == round(best["f1"], 4)
    assert card["data"]["train_patches"] == answer["tiles"]["train"], "the network learnt from all of them"
    _check_folds(out)

    # the same, stopped again and again
    steps = itertools.count(1)
    hooks = Hooks(should_stop=lambda: next(steps) % 12 == 0, clock=Clock())
    for _ in range(15):
        with suppress(TrainingPausedError):
            again = run.learn(ask(*pictures, tmp_path / "cut", minutes=MINUTES), lambda _: None, hooks)
            break
    assert next(steps) > 20, "it was stopped"
    assert again.answer["cross_validation"]["folds"] == found["folds"]


def _check_folds(out):
    """Tiles are dealt out by whole images, each is held once, and none of them is left out for the gate."""
    plan = json.loads((out / run.PLAN).read_text())
    tiles = tile_folder.read(out / "tiles", "train", bands=tuple(plan["bands"]))
    for count in run.FOLDS:
        folds = run.read_folds(plan, count)
        assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(tiles)))
        for fit, held in folds:
            images = [{tiles.names[k].partition("/")[0] for k in part} for part in (fit, held)]
            assert not images[0] & images[1]
            assert all(any((tiles.read(int(k)).mask == 1).any() for k in part) for part in (fit, held))


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_learnt_weights_are_scored_beside_the_simple_maps_wherever_patches_lie(learnt, tmp_path, monkeypatch, capsys):
    folder, weights = learnt[0], learnt[1]["weights"]

    def score(*words):
        assert run_command(["scenes", "score", "--weights", weights, "--with", "simple", *words]) == 0
        said = capsys.readouterr().out
        assert "logistic: F1" in said
        return said

    monkeypatch.chdir(tmp_path)
    own = score()  # their tiles lie beside them
    assert own == score("--data", str(folder))
    assert own.startswith("0 of ")
    assert "simple maps fitted on the train part of the set" in own
    again = score("--data", str(folder), "--layout", "folder", "--folder", "tiles", "--part", "train")
    count = len(list((folder / "tiles/train").rglob("images/*.tif")))
    assert again.startswith(
        f"{count} of {count} pictures were used in the training: the score does not apply to new ground"
    )
    # another folder: pictures side by side, no train part
    for part in ("images", "masks"):
        (tmp_path / "other" / part).mkdir(parents=True)
        for path in (folder / "tiles/validation").rglob(f"{part}/*.tif"):
            shutil.copy(path, tmp_path / "other" / part)
    words = ["--data", str(tmp_path), "--layout", "folder", "--folder", "other"]
    other = score(*words)
    assert "simple maps fitted on the other pictures of the set, in turn" in other
    assert other.splitlines()[:2] == own.splitlines()[:2], "the same pictures, the same score"
    # the pictures from which tiles were cut: one of four corners was learnt from, or none was
    for number, part in enumerate(("train", "validation")):
        corners = [tile_folder.read(folder / "tiles", one).read(k) for one, k in ((part, 0), *NEW_CORNERS)]
        for kind, layers in (
            ("images", [one.image for one in corners]),
            ("masks", [one.mask[None] for one in corners]),
        ):
            (tmp_path / "large" / kind).mkdir(parents=True, exist_ok=True)
            whole = np.concatenate([np.concatenate(layers[k : k + 2], axis=2) for k in (0, 2)], axis=1)
            grid = Grid(Affine(10, 0, 600_000, 0, -10, 5_100_000), UTM, 64, 64)
            names = BANDS if kind == "images" else ()
            write_geotiff(tmp_path / "large" / kind / f"{number}.tif", whole, grid, descriptions=names)
    large = score("--data", str(tmp_path), "--layout", "folder", "--folder", "large")
    assert large.startswith("1 of 2 pictures were used in the training: the score does not apply")
    for path in sorted((tmp_path / "other/images").iterdir())[1:]:
        path.unlink()
    assert run_command(["scenes", "score", "--weights", weights, "--with", "simple", *words]) == 1
    assert "one picture or folder alone: the simple maps need others to be fitted on" in capsys.readouterr().err


def test_a_picture_is_never_mapped_by_a_rule_that_was_fitted_on_it(monkeypatch):
    patches, fitted = hold_pictures(5), []

    def note(patches, folds):
        rules = fit_by_cross_validation(patches, folds)
        for (fit, _), rule in zip(folds, rules["logistic"][:-1], strict=True):
            fitted.append((rule, set(fit.tolist())))
        return rules

    mapped = []
    draw = SimpleMap.map

    def record_and_map(rule, image, channels=None):
        (number,) = (k for k in range(5) if np.array_equal(image, patches.read(k).image))
        mapped.append((rule, number))
        return draw(rule, image, channels)

    monkeypatch.setattr(evaluation, "fit_by_cross_validation", note)
    monkeypatch.setattr(SimpleMap, "map", record_and_map)
    evaluation._score_cross_validated(patches, objects=False)
    seen = [number in fit for rule, number in mapped for one, fit in fitted if one is rule]
    assert (len(seen), any(seen)) == (5, False)
