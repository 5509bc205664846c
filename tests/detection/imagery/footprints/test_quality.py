"""Quality `best`: the mean of eight views of each tile, and how it is told apart from the default."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from detection.imagery.data.generate import write_scene
from detection.imagery.errors import ModelError
from detection.imagery.footprints.detect import detect, survey
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.probabilities import EightViews, make_plan
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.registry import build, find_entry
from tests.data.surveys.rasters import change_raster

SIZE_PX = 128  # a multiple of the blocks of the stretch, so that these are the same ground after a rotation


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network with random weights; its head is scaled up, so that probabilities are far from 0.5."""
    torch.set_num_threads(1)
    torch.manual_seed(4)
    network = build("unet", 3, 2, 0.125)
    for parameter in list(network.parameters())[-2:]:
        parameter.data *= 6
    card = load_model("generated").card
    facts = {"name": "unet", "classes": 2, "width": 0.125, "options": {}}
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_model(path, network, card | {"name": "random", "network": facts, "threshold": 0.5})
    return str(path)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene") / "scene"
    write_scene(folder, 5, size_px=SIZE_PX)
    return folder


@pytest.fixture(scope="module")
def rotated_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scene, rotated by 90 degrees."""
    folder = tmp_path_factory.mktemp("rotated") / "scene"
    write_scene(folder, 5, size_px=SIZE_PX)
    manifest = (folder / "scene.toml").read_text().split("[files]")[0]
    (folder / "scene.toml").write_text("complete = true\n" + manifest)
    for file in folder.glob("*.tif"):
        change_raster(file, lambda values: np.rot90(values, axes=(1, 2)).copy())
    return folder


def map_scene(scene: Path, weights: str, out: Path, **options) -> np.ndarray:
    detect(DetectionOptions(scene, weights, out_dir=out, **options))
    with rasterio.open(out / "prob.tif") as source:
        return source.read(1).astype(int)


@pytest.mark.soak
@pytest.mark.parametrize("tile", [None, pytest.param(64, marks=pytest.mark.soak)])
def test_best_map_rotates_with_the_image(scene, rotated_scene, weights, tmp_path, tile):
    best = map_scene(scene, weights, tmp_path / "a", quality="best", tile=tile)
    best_rotated = map_scene(rotated_scene, weights, tmp_path / "b", quality="best", tile=tile)
    assert np.ptp(best) > 20
    assert np.abs(np.rot90(best) - best_rotated).max() <= 1
    standard = map_scene(scene, weights, tmp_path / "c", tile=tile)
    standard_rotated = map_scene(rotated_scene, weights, tmp_path / "d", tile=tile)
    assert np.abs(np.rot90(standard) - standard_rotated).max() > 5, "one pass alone is not rotated"


@pytest.mark.soak
def test_result_of_another_quality_is_not_read_back(scene, weights, tmp_path):
    standard = detect(DetectionOptions(scene, weights, out_dir=tmp_path))
    best = detect(DetectionOptions(scene, weights, out_dir=tmp_path, quality="best"))
    assert (standard["quality"], best["quality"]) == ("standard", "best")
    assert (standard["blend"], best["blend"]) == ("rows", "crop")
    assert standard["polygons"] != best["polygons"]
    assert json.loads((tmp_path / "run.json").read_text())["quality"] == "best"
    record = (tmp_path / "run.json").stat().st_mtime_ns
    assert detect(DetectionOptions(scene, weights, out_dir=tmp_path, quality="best"))["polygons"] == best["polygons"]
    assert (tmp_path / "run.json").stat().st_mtime_ns == record, "the same quality is read back"


@pytest.mark.soak
def test_quality_is_part_of_the_plan_and_an_index_has_only_one(scene, weights):
    assert survey(DetectionOptions(scene, weights, quality="best"))["quality"] == "best"
    assert detect(DetectionOptions(scene, "index", quality="best"))["quality"] == "standard"


def test_unknown_quality_is_refused():
    with pytest.raises(ValueError, match="quality better; known: standard, best"):
        DetectionOptions(Path("scene.tif"), quality="better")


def test_bands_of_directions_are_not_rotated():
    card = {**load_model("generated").card, "bands": ["B4", "B3", "aspect"]}
    with pytest.raises(ModelError, match="rotates the image"):
        make_plan(card, find_entry("unet"), None, None, "best")


def test_every_view_is_turned_back():
    """A classifier that returns its first band gives that band, whatever the side of the tile."""

    class FirstBand:
        def class_probabilities(self, tile, valid, *, again=False):
            assert tile.shape[1] % 16 == tile.shape[2] % 16 == 0
            return np.where(valid, tile[:1], 0)

    tile = np.random.default_rng(0).random((2, 37, 50)).astype(np.float32)
    mapped = EightViews(FirstBand(), 16).class_probabilities(tile, np.ones((37, 50), bool))
    np.testing.assert_allclose(mapped, tile[:1], rtol=1e-6)
