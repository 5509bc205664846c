"""A recipe with the slope as an optional band: the card says so, and weights are scored with and without it."""

import json

import pytest

from detection.imagery.neural.model_file import load_model
from monitor.cli.main import run_command
from packages.lab.tests.data.tiny_recipe import tiny

RECIPE = tiny(24, 6, 3).replace("\nseed", '\noptional_bands = ["slope"]\nseed', 1)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def train(folder, recipe):
    (folder / "tiny.toml").write_text(recipe)
    out = folder / "tiny.safetensors"
    return run_command(["scenes", "train", "--recipe", str(folder / "tiny.toml"), "--out", str(out)]), out


@pytest.mark.soak
def test_the_card_of_a_recipe_with_slope_names_it_and_both_scores(tmp_path, capsys):
    code, out = train(tmp_path, RECIPE)
    assert code == 0, capsys.readouterr().err
    model = load_model(str(out))
    card = model.card
    assert (card["bands"], card["optional_bands"]) == (["B4", "B3", "B2"], ["slope"])
    assert len(card["normalisation"]["mean"]) == 3
    metrics = card["metrics"]
    assert metrics["test_masked"]["f1"] != metrics["test"]["f1"]
    page = out.with_suffix(".md").read_text()
    assert "- Optional bands: slope. Where they are not known, the network maps without them: F1 " in page
    capsys.readouterr()
    assert run_command(["scenes", "score", "--weights", str(out), "--with", "simple", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["f1"] == pytest.approx(metrics["test"]["f1"], abs=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["slope"]', '["aspect"]', "aspect cannot be an optional band; expected: slope"),
        ('"B2"]', '"B2", "slope"]', "slope is named in bands and in optional_bands: leave it out of one"),
        (
            "width = 0.0625",
            'network = "triage-resnet"\nwidth = 0.0625',
            "reads no optional bands: leave out optional_bands",
        ),
    ],
)
def test_recipe_with_wrong_optional_bands_is_refused_in_one_line(tmp_path, capsys, old, new, words):
    assert old in RECIPE
    code, out = train(tmp_path, RECIPE.replace(old, new))
    assert code == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in message
    assert not out.exists()
