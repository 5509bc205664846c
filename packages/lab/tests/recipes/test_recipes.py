"""Recipes: the files that are shipped, mistakes in a recipe, runs that are stopped and resumed, and the card."""

import itertools
import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detection.imagery.errors import TrainingRecipeError
from detection.imagery.neural.learner import Hooks
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.registry import CLASSIFIERS, build, list_segmenters
from detection.imagery.weights_file import list_shipped
from monitor.cli.main import run_command
from packages.lab.tests.data.tiny_recipe import tiny
from slopeward_lab.recipes.recipe_file import SHIPPED, find_recipe, read_recipe
from slopeward_lab.recipes.run import run_recipe
from tests.data.forked import run_forked
from tests.fixtures.soak import with_soak
from tests.tables import tabulated

RECIPE = tiny(24, 6, 3)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.skipif(torch.cuda.is_available(), reason="autograd beside an accelerator cannot be forked")
def test_killed_recipe_resumes_to_the_same_weights(tmp_path, capsys):
    recipe, out = tmp_path / "tiny.toml", tmp_path / "cut.safetensors"
    recipe.write_text(RECIPE)
    train = ["scenes", "train", "--recipe", str(recipe), "--out"]
    assert run_command([*train, str(tmp_path / "whole.safetensors")]) == 0
    steps = itertools.count(1)

    def die(_):
        if next(steps) == 9:
            os.kill(os.getpid(), signal.SIGKILL)

    assert run_forked(lambda: run_recipe(read_recipe(recipe), out, hooks=Hooks(die, resume=True))) == signal.SIGKILL
    assert out.with_suffix(".place").exists()
    assert not out.exists()
    capsys.readouterr()
    assert run_command([*train, str(out), "--json"]) == 0
    answer = capsys.readouterr()
    assert "cut.place: the unfinished run of this recipe goes on in epoch" in answer.err
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    histories = [json.loads((tmp_path / name).read_text())["history"] for name in ("cut.json", "whole.json")]
    assert histories[0] == histories[1]
    assert [row["epoch"] for row in histories[0]] == [1, 2, 3]
    assert not out.with_suffix(".place").exists()
    assert json.loads(answer.out)["history"][2]["held_f1"] == histories[0][2]["held_f1"]
    assert "epoch 3/3" in answer.err


@pytest.mark.soak
@pytest.mark.parametrize("name", with_soak("encoder.safetensors", "encoder.pth"))
def test_a_recipe_that_begins_with_a_file_of_weights_ends_with_a_card_that_names_it(tmp_path, capsys, name):
    recipe, encoder, out = tmp_path / "tiny.toml", tmp_path / name, tmp_path / "mine.safetensors"
    recipe.write_text(RECIPE.replace("epochs = 3", "epochs = 1"))
    settings = read_recipe(recipe).settings()
    weights = build(settings.network, 3, 2, settings.width).state_dict()
    if name.endswith(".pth"):
        torch.save(weights, encoder)
    else:
        save_file(weights, encoder)
    assert run_command(["scenes", "train", "--recipe", str(recipe), "--encoder", str(encoder), "--out", str(out)]) == 0
    assert "100% of the encoder of unet begins from it" in capsys.readouterr().err
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["begun_from"]["weights"] == card["training"]["encoder"] == name


@pytest.mark.soak
def test_card_reports_ground_without_landslides_and_logistic_regression(tmp_path):
    scene = np.random.default_rng(0).uniform(0.05, 0.3, (3, 96, 96)).astype(np.float32)
    grid = grid_around(8.9, 46.2, 96, 10.0)
    write_geotiff(tmp_path / "city.tif", scene, grid)
    path = tmp_path / "tiny.toml"
    path.write_text(
        RECIPE.replace("[radiometry]", '[[data.empty_ground]]\nname = "city"\nfiles = ["city.tif"]\n[radiometry]')
    )
    card = run_recipe(read_recipe(path), tmp_path / "mine.safetensors", tmp_path)
    assert card["data"]["train_patches"] == 24 + 2
    ground = card["metrics"]["empty_ground"]["city"]
    assert (ground["tiles"], ground["pixels"]) == (2, 2 * 48 * 48)
    assert 0 <= ground["marked_share"] <= 1
    logistic = card["metrics"]["logistic"]
    assert logistic["less_logistic"]["difference"] == pytest.approx(
        card["metrics"]["test"]["f1"] - logistic["f1"], abs=1e-3
    )
    page = (tmp_path / "mine.md").read_text()
    assert "Marked on ground without landslides, in tiles that were not trained on: city " in page
    assert f"Logistic regression that learnt from the same patches: F1 {logistic['f1']}" in page


@pytest.mark.soak
def test_unfinished_run_of_another_recipe_is_neither_resumed_nor_deleted(tmp_path, monkeypatch, capsys):
    recipe, out = tmp_path / "tiny.toml", tmp_path / "mine one.safetensors"
    short = RECIPE.replace("epochs = 3", "epochs = 1")
    recipe.write_text(short)
    train = ["scenes", "train", "--recipe", str(recipe), "--out", str(out)]
    with monkeypatch.context() as stopped:
        stopped.setattr("slopeward_lab.recipes.cli.show_progress", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert run_command(train) == 0
    assert "the same command goes on" in capsys.readouterr().err
    checkpoint = out.with_suffix(".place")
    before = checkpoint.read_bytes()

    def refuse(*more):
        assert run_command([*train, *more]) == 1
        said = capsys.readouterr().err
        assert f"{checkpoint}: an unfinished run of other data or settings (0 passes are done)" in said
        assert "or discard it by --restart" in said
        assert (checkpoint.read_bytes(), out.exists()) == (before, False)

    refuse("--seed", "9")
    recipe.write_text(short.replace("width = 0.0625", "width = 0.0625\nlearning_rate = 1e-3"))
    refuse()
    assert run_command([*train, "--restart"]) == 0
    assert (checkpoint.exists(), out.exists()) == (False, True)


@pytest.mark.soak
def test_the_card_of_a_run_without_a_held_part_has_the_threshold_of_the_recipe(tmp_path):
    recipe = tmp_path / "all.toml"
    recipe.write_text(RECIPE.replace("epochs = 3", 'epochs = 1\nsplit = "all"\nthreshold = 0.35\ntemperature = 1.4'))
    card = run_recipe(read_recipe(recipe), tmp_path / "all.safetensors")
    assert (card["threshold"], card["temperature"], card["metrics"]["held_f1"]) == (0.35, 1.4, None)
    assert card["metrics"]["chosen_on"].startswith("threshold and temperature: as the recipe says")


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 3", "", "'seed' is missing"),
        ("seed = 3", "seed = 3\ncolour = 1", "unknown key 'colour'"),
        ('source = "generated"', 'source = "nowhere"', "'nowhere' is unknown"),
        ('source = "generated"', 'source = "bijie"', "unknown key data."),
        ("seed = 3", "seed =", "not TOML"),
        ("scale = 1e-4", "", "radiometry must be an object, with a scale"),
        ("scale = 1e-4", "scale = 0", "radiometry.scale must be a number above 0"),
        ('"reflectance"', '"reflection"', "radiometry.stretch 'reflection' is unknown; known: reflectance, local-max"),
        ("epochs = 3", "epoks = 3", "unknown training key 'epoks'"),
        ("epochs = 3", 'loss = "hinge"', "unknown loss 'hinge'"),
        ("epochs = 3", 'optimiser = "sgd"', "unknown optimiser 'sgd'"),
        ("epochs = 3", 'network = "unnet"', "unknown network 'unnet'"),
        ("epochs = 3", "epochs = 0", "epochs must be at least 1"),
    ],
)
def test_wrong_recipe_is_refused_in_one_line(tmp_path, capsys, old, new, words):
    (tmp_path / "tiny.toml").write_text(RECIPE.replace(old, new))
    asked = ["scenes", "train", "--recipe", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "a.safetensors")]
    assert run_command(asked) == 1
    message = capsys.readouterr().err.strip()
    assert words in message
    assert "\n" not in message
    assert not (tmp_path / "a.safetensors").exists()


@tabulated("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_every_shipped_recipe_is_one(name):
    recipe = read_recipe(find_recipe(name))
    settings = recipe.settings()
    assert recipe.name == name
    assert settings.network in {*list_segmenters(), *CLASSIFIERS}


def test_an_unknown_recipe_is_refused_with_the_names_of_the_shipped_ones():
    with pytest.raises(TrainingRecipeError, match="nix: no such recipe; shipped: bijie, cracks, generated"):
        find_recipe("nix")


@pytest.mark.parametrize("weights", [path.stem for path in list_shipped()])
def test_shipped_weights_were_trained_by_the_shipped_recipe_of_their_name(weights):
    card = load_model(weights).card
    recipe = read_recipe(find_recipe(weights))
    assert list(recipe.bands) == card["bands"]
    assert recipe.data == card["data"]["recipe"]
    assert all(card["training"][key] == recipe.training[key] for key in ("epochs", "width"))
