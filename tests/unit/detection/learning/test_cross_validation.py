"""Length and threshold come from images not learnt from, within the time given."""

import itertools
import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch
from affine import Affine

from detection.imagery.data import folder as tile_folder
from detection.imagery.data.patches import hold_arrays
from detection.imagery.errors import ImageryError, TrainingPausedError
from detection.imagery.neural.calibration import choose_threshold
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.training import evaluation, simple_maps
from detection.imagery.training.simple_maps import SimpleMap, fit_over
from detection.learning import cross_validation, run
from detection.learning.blocks import deal_folds, find_blocks, list_touching
from detection.learning.cross_validation import CrossValidation
from monitor.cli.main import run_verb
from tests.unit.detection.learning.drawn_ground import BANDS, UTM, ask, draw_picture, lay_tiles, write_pictures

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
    """It is the best for the tiles of all folds, each seen by the network that had not learnt from it."""
    odds, truth = make_odds(seed, 9)
    folds = [(np.setdiff1d(np.arange(9), held), held) for held in np.split(np.arange(9), 3)]

    def look(network, _, held, __):
        assert not network & set(held.tolist()), "a tile is judged by a network that learnt from it"
        return ((odds[k].astype(np.float32), truth[k]) for k in held)

    monkeypatch.setattr(cross_validation, "train_patches", lambda _, __, ___, parts: _Trained(parts[0]))
    monkeypatch.setattr(cross_validation, "held_odds", look)
    names = tuple(f"b{k}/images/0" for k in range(9))
    patches = hold_arrays(np.zeros((9, 1, 20, 20), np.float32), np.zeros((9, 20, 20), np.uint8), ("B4",), names)
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
    return hold_arrays(images.astype(np.float32) / 1e4, masks.astype(np.uint8), ("B4", "B3", "B2"))


def test_logistic_regression_has_its_threshold_from_pictures_it_was_not_fitted_on(monkeypatch):
    patches, fitted = hold_pictures(6), []
    solve = simple_maps._solve
    monkeypatch.setattr(simple_maps, "_solve", lambda *given: fitted.append(given[1].size) or solve(*given))
    folds = [(np.setdiff1d(np.arange(6), held), held) for held in np.split(np.arange(6), 3)]
    rules = fit_over(patches, folds)
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


@pytest.mark.usefixtures("one_torch_thread")
def test_learnt_weights_are_scored_beside_the_simple_maps_wherever_patches_lie(learnt, tmp_path, monkeypatch, capsys):
    folder, weights = learnt[0], learnt[1]["weights"]

    def score(*words):
        assert run_verb(["scenes", "score", "--weights", weights, "--with", "simple", *words]) == 0
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
    assert again.startswith(f"{count} of {count} pictures were trained on: seen in training, so the score says nothing")
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
    assert large.startswith("1 of 2 pictures were trained on: seen in training")
    for path in sorted((tmp_path / "other/images").iterdir())[1:]:
        path.unlink()
    assert run_verb(["scenes", "score", "--weights", weights, "--with", "simple", *words]) == 1
    assert "one picture or folder alone: the simple maps need others to be fitted on" in capsys.readouterr().err


def test_a_picture_is_never_mapped_by_a_rule_that_was_fitted_on_it(monkeypatch):
    patches, fitted = hold_pictures(5), []

    def note(patches, folds):
        rules = fit_over(patches, folds)
        for (fit, _), rule in zip(folds, rules["logistic"][:-1], strict=True):
            fitted.append((rule, set(fit.tolist())))
        return rules

    mapped = []
    draw = SimpleMap.map

    def look(rule, image):
        (number,) = (k for k in range(5) if np.array_equal(image, patches.read(k).image))
        mapped.append((rule, number))
        return draw(rule, image)

    monkeypatch.setattr(evaluation, "fit_over", note)
    monkeypatch.setattr(SimpleMap, "map", look)
    evaluation._map_in_turn(patches, objects=False)
    seen = [number in fit for rule, number in mapped for one, fit in fitted if one is rule]
    assert (len(seen), any(seen)) == (5, False)
