"""Band dropout: one set of weights reads scenes with near infrared and without; other weights refuse the latter."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage

from detection.imagery.data.band_groups import drop_groups, list_subsets, mask_bands
from detection.imagery.data.patches import hold_arrays
from detection.imagery.errors import BandMissingError, ModelError, TrainingRecipeError
from detection.imagery.footprints.detect import detect, inspect_image, survey
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.neural.calibration import TemperatureCalibration
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.training import evaluate, train_patches
from detection.imagery.training.recipe import measure_subsets, run_recipe
from detection.imagery.training.recipe_file import read_recipe
from detection.imagery.weights_file import reduce_card
from tests.data.surveys.rasters import write_raster

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BANDS, VISIBLE, SIDE = ("B4", "B3", "B2", "B8"), ("B4", "B3", "B2"), 32
WHEN = "2024-05-06T00:00:00Z"
PLACE = {"crs": "EPSG:32632", "transform": Affine(10, 0, 600_000, 0, -10, 5_100_000)}
SETTINGS = ImageryTrainingSettings(seed=5, width=0.0625, epochs=16, batch=4, drop_bands=0.5, learning_rate=4e-3)


def draw(seed, count, carries, side=SIDE):
    """Patches of reflectance, rough ground in every band, on which landslides show in one band alone."""
    rng = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(rng.normal(size=(count, len(BANDS), side, side)), (0, 0, 2, 2))
    shared = ndimage.gaussian_filter(rng.normal(size=(count, 1, side, side)), (0, 0, 2, 2))
    images = 0.2 + 0.15 * shared + 0.03 * ground + 0.004 * rng.normal(size=ground.shape)
    blobs = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 3, 3))
    masks = (blobs > np.quantile(blobs, 0.88)).astype(np.uint8)
    images[:, BANDS.index(carries)] += 0.12 * masks
    return hold_arrays(images.clip(0.01).astype(np.float32), masks, BANDS)


def score(trained, patches, missing=()):
    return evaluate(trained, mask_bands(patches, missing))["f1"]


def test_with_the_band_that_carries_the_signal_it_finds_more_than_without():
    trained, test = train_patches(draw(1, 40, "B8"), SETTINGS), draw(2, 12, "B8")
    assert score(trained, test) > 0.8
    assert score(trained, test, ["B8"]) < 0.4


def test_without_a_band_that_carries_nothing_it_is_as_good_as_a_network_of_the_others():
    train, test = draw(1, 40, "B4"), draw(2, 12, "B4")
    trained = train_patches(train, SETTINGS)
    visible = train_patches(train.choose(VISIBLE), replace(SETTINGS, drop_bands=0.0))
    alone = evaluate(visible, test.choose(VISIBLE))["f1"]
    assert alone > 0.8
    for missing in ((), ("B8",)):
        assert score(trained, test, missing) == pytest.approx(alone, abs=0.06)


def test_groups_are_masked_whole_and_each_for_itself_and_what_a_patch_lacks_is_masked():
    bands = ("B4", "B8", "B11", "B12")
    images = np.ones((4000, 4, 1, 1), np.float32)
    images[0, 1] = np.nan
    drop_groups(images, bands, 0.3, np.random.default_rng(0))
    seen = images[:, :, 0, 0]
    assert seen[0, 1] == 0
    assert (seen[:, 0] == 1).all()
    assert (seen[:, 2] == seen[:, 3]).all()
    assert np.mean(seen[:, 1:3] == 0, axis=0) == pytest.approx(0.3, abs=0.03)
    assert np.mean((seen[:, 1] == 0) & (seen[:, 2] == 0)) == pytest.approx(0.09, abs=0.02)


@pytest.mark.parametrize("bands", [("B4", "B3"), ("B8", "B11"), ("B4", "a", "b", "c", "d", "e", "f")])
def test_a_recipe_whose_bands_cannot_be_dropped_is_refused(bands):
    with pytest.raises(TrainingRecipeError, match="drop_bands"):
        list_subsets(bands)


RECIPE = """
name = "mine"
bands = ["B4", "B3", "B2", "B8"]
seed = 3
[data]
source = "folder"
folder = "own"
[radiometry]
stretch = "reflectance"
scale = 1.0
[training]
width = 0.0625
batch = 4
epochs = 6
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights with and without band dropout, and two scenes: with near infrared, and without."""
    below = tmp_path_factory.mktemp("band-dropout")
    for part, seed in (("train", 1), ("validation", 2)):
        for name, image, mask in draw(seed, 24, "B4"):
            for kind, values in (("images", image), ("masks", mask[None])):
                write_raster(below / "own" / part / kind / f"{name}.tif", values, BANDS, WHEN, **PLACE)
    for name, more in (("dropped", "drop_bands = 0.4\n"), ("whole", "")):
        (below / f"{name}.toml").write_text(RECIPE + more)
        run_recipe(read_recipe(below / f"{name}.toml"), below / f"{name}.safetensors", below)
    ((_, scene, _),) = draw(7, 1, "B4", 96)
    write_raster(below / "all.tif", scene, BANDS, WHEN, **PLACE)
    write_raster(below / "visible.tif", scene[:3], VISIBLE, WHEN, **PLACE)
    return below


def ask(made, weights, scene, out=None):
    return DetectionOptions(made / scene, weights=str(made / f"{weights}.safetensors"), out_dir=out)


def test_a_scene_that_lacks_a_band_is_read_at_a_threshold_of_its_own_and_says_so(made, tmp_path):
    card = json.loads((made / "dropped.json").read_text())
    (subset,) = card["band_subsets"]
    assert (subset["missing"], subset["held_f1"] > 0.5) == (["B8"], True)
    assert "Scenes may lack bands; F1 on the held part without: B8 0." in (made / "dropped.md").read_text()
    every, lacking = (detect(ask(made, "dropped", name)) for name in ("all.tif", "visible.tif"))
    assert (every["threshold"], lacking["threshold"]) == (card["threshold"], subset["threshold"])
    assert "missing_bands" not in every
    assert lacking["missing_bands"] == ["B8"]
    (said,) = [line for line in map(str, lacking["warnings"]) if "read without" in line]
    assert said.startswith("read without the bands B8, which the scene lacks: F1 0.")
    assert said not in map(str, every["warnings"])
    assert lacking["polygons"]
    plan = survey(ask(made, "dropped", "visible.tif"))
    assert plan["bands"] == list(VISIBLE)
    assert inspect_image(ask(made, "dropped", "visible.tif"))[0] == lacking["doubts"]
    again = [detect(ask(made, "dropped", "visible.tif", tmp_path)) for _ in range(2)]
    assert again[0]["polygons"] == again[1]["polygons"] == lacking["polygons"]


def test_weights_that_need_all_bands_refuse_a_scene_that_lacks_one(made):
    assert "band_subsets" not in json.loads((made / "whole.json").read_text())
    with pytest.raises(BandMissingError, match="band B8 missing; found: B4, B3, B2"):
        detect(ask(made, "whole", "visible.tif"))


def test_a_missing_band_enters_as_its_mean(made):
    whole = load_model(str(made / "dropped.safetensors"))
    reduced = whole.without(["B8"])
    assert reduced.bands == VISIBLE
    assert whole.without([]) is whole
    assert whole.without(["B3"]) is whole, "visible bands are needed"
    ((_, image, _),) = draw(9, 1, "B4")
    valid = np.ones(image.shape[1:], bool)
    filled = image.copy()
    filled[3] = whole.card["normalisation"]["mean"][3]
    two = (Segmenter(whole).prepare(filled, valid), Segmenter(reduced).prepare(image[:3], valid))
    assert np.allclose(*two, atol=1e-5)
    assert reduced.card["domain"]["bands"] == list(VISIBLE)


def test_the_card_of_a_subset_is_that_of_the_fewest_missing_bands():
    card = {
        "bands": ["B4", "B8", "B11"],
        "normalisation": {"mean": [1, 2, 3], "std": [1, 1, 1], "value_range": [[0, 1]] * 3, "clip": True},
        "radiometry": {"stretch": "reflectance", "scale": [1.0, 2.0, 3.0]},
        "band_subsets": [
            {"missing": missing, "threshold": threshold, "temperature": 1.0, "held_f1": 0.5}
            for missing, threshold in ((["B8"], 0.2), (["B11"], 0.3), (["B8", "B11"], 0.4))
        ],
    }
    found = reduce_card(card, ["B11"])
    assert (found["bands"], found["threshold"], found["missing"]) == (["B4", "B8"], 0.3, ["B11"])
    assert (found["normalisation"]["mean"], found["radiometry"]["scale"]) == ([1, 2], [1.0, 2.0])
    assert reduce_card(card, ["B11", "B8"])["threshold"] == 0.4


def test_where_nothing_is_held_every_subset_has_the_threshold_of_the_recipe():
    trained = SimpleNamespace(calibration=TemperatureCalibration(1.5), threshold=0.4)
    found = measure_subsets(trained, draw(1, 2, "B4").take([]), 0.4)
    assert found == [{"missing": ["B8"], "threshold": 0.4, "temperature": 1.5, "held_f1": None}]


@pytest.mark.parametrize("fault", [[], [{"missing": ["B7"], "threshold": 0.5, "temperature": 1}], "none"])
def test_a_card_with_other_subsets_is_refused(made, tmp_path, fault):
    for end in ("safetensors", "json"):
        (tmp_path / f"w.{end}").write_bytes((made / f"dropped.{end}").read_bytes())
    card = json.loads((tmp_path / "w.json").read_text()) | {"band_subsets": fault}
    (tmp_path / "w.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="band_subsets must be a list of bands of the card"):
        load_model(str(tmp_path / "w.safetensors"))
