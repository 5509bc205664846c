"""Recipes for sets that are not at hand, on files of the published layout: weights, scores, and a map of a scene."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from detection.imagery.data.landslide4sense import BANDS
from detection.imagery.errors import BandMissingError
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.cli.main import run_command
from slopeward_lab.recipes.recipe_file import find_recipe, read_recipe
from slopeward_lab.recipes.run import run_recipe
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import write_folder

SIDE = 48
SPECTRAL = BANDS[:12]
TINY = {"width": 0.0625, "epochs": 10, "batch": 2, "warmup_steps": 6, "held_share": 0.25, "learning_rate": 6e-3}


def draw(rng, side=SIDE):
    """Values around 1 in every band, and a scar: brighter in red and short-wave infrared, on steep ground."""
    rows, columns = np.mgrid[:side, :side]
    centre = rng.uniform(0.25 * side, 0.75 * side, 2)
    mask = np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(0.12, 0.2) * side
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), 2)  # neighbours are alike, and so are the bands
    image = np.clip(1.0 + 0.1 * ground / ground.std() + rng.normal(0, 0.02, (14, side, side)), 0.05, None)
    for name, gain in (("B4", 1.8), ("B12", 1.6), ("B8", 0.6), ("slope", 2.2)):
        image[BANDS.index(name)] *= np.where(mask, gain, 1.0)
    return image, mask


def write_patches(folder, count, seed):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(seed)
    for number in range(1, count + 1):
        image, mask = draw(rng)
        for place, name, values in (("img", "image", image.transpose(1, 2, 0)), ("mask", "mask", mask)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            with h5py.File(folder / place / f"{name}_{number}.h5", "w") as file:
                file[place] = values if place == "img" else values.astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("l4s")
    write_patches(folder / "landslide4sense" / "TrainData", 16, 1)
    write_patches(folder / "landslide4sense" / "ValidData", 4, 2)
    return folder


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    recipe = read_recipe(find_recipe("landslide4sense-14"))
    out = tmp_path_factory.mktemp("weights") / "fourteen.safetensors"
    run_recipe(replace(recipe, training={**recipe.training, **TINY}), out, data)
    return out


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene in counts of its own: a file per band, and a bare elevation model on a coarser grid."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(3)
    image, mask = draw(rng, 96)
    grid = grid_around(141.95, 42.73, 96, 10.0)
    counts = {name: (image[k] * 700 * (k + 1)).astype(np.uint16) for k, name in enumerate(SPECTRAL)}
    write_folder(folder, counts, grid)
    # steep within the scar: the scarp rises from west to east there
    steep = np.where(mask, 9.0, 3.0)
    heights = 400 + steep.cumsum(axis=1)
    write_geotiff(folder / "heights.tif", heights.astype(np.float32)[None], grid)
    return folder, mask


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_the_recipe_trains_and_its_weights_are_scored(data, weights, capsys):
    card = load_model(str(weights)).card
    assert tuple(card["bands"]) == BANDS
    assert card["history"][-1]["loss"] < 0.6 * card["history"][0]["loss"]
    assert card["normalisation"]["clip"]
    assert run_command(["scenes", "score", "--weights", str(weights), "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["weights"]) == (4, "landslide4sense-14")
    assert report["f1"] == pytest.approx(card["metrics"]["test"]["f1"], abs=1e-4)
    assert report["f1"] > 0.5


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_its_weights_map_a_scene_of_other_counts_with_terrain_by_name(weights, scene, tmp_path):
    folder, mask = scene
    payload = {"scene_path": str(folder), "weights": str(weights), "out_dir": str(tmp_path)}
    answer = detect({**payload, "dem": str(folder / "heights.tif")})
    assert answer["terrain"] == {"covered_share": 1.0}
    with rasterio.open(tmp_path / "prob.tif") as source:
        probability = source.read(1) / 200.0
    assert probability[mask].mean() > 0.3 + probability[~mask].mean()
    assert any(p["mean_slope_deg"] > 25 for p in answer["polygons"])
    with pytest.raises(BandMissingError, match="slope, dem"):
        detect(payload)
