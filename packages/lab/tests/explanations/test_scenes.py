"""Grad-CAM and occlusion of scene networks, and the command that writes them."""

import json

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from torch import nn

from detection.imagery.data.generate import write_scene
from detection.imagery.errors import ModelError
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.raster import read_grid
from detection.imagery.registry import build
from monitor.cli.main import run_command
from slopeward_lab.explanations.scene_maps import explain_window
from slopeward_lab.explanations.scene_window import read_window

pytestmark = pytest.mark.usefixtures("one_torch_thread")
PLACE = (141.951, 42.7305)


class BrightSpot(nn.Module):
    """A network that finds a landslide where the mean of band 0 over cells of 8 pixels is high."""

    stride = 8

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(8)
        self.head = nn.Conv2d(2, 2, 1)
        self.lift = nn.Upsample(scale_factor=8)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[1, 0] = 10.0
            self.head.bias.copy_(torch.tensor([0.0, -5.0]))

    def forward(self, images):
        return self.lift(self.head(self.pool(images)))


def make_spot(height=48, width=48):
    """An image with a bright square, and the window in which all pixels are valid."""
    image = torch.zeros(1, 2, height, width)
    image[0, 0, 16:32, 24:40] = 1.0
    image[0, 1] = torch.randn(height, width, generator=torch.Generator().manual_seed(1))
    return image, np.ones((height, width), bool)


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_explanation_marks_the_part_that_the_network_uses(method):
    image, valid = make_spot()
    explanation = explain_window(BrightSpot(), image, valid, method=method, threshold=0.5)
    assert (explanation.found, explanation.landslide_px) == (True, 256)
    inside = explanation.values[17:31, 25:39].mean()
    outside = explanation.values[40:, :16]
    assert inside > 0.5
    assert np.abs(outside).max() < 0.1 * inside


def test_occlusion_is_the_fall_of_the_score():
    image, valid = make_spot()
    explanation = explain_window(BrightSpot(), image, valid, method="occlusion", threshold=0.5)
    assert explanation.cell_px == 4
    # A hidden cell of 4 px is a quarter of a pooled cell, which is a quarter of the landslide: 10 / 16.
    np.testing.assert_allclose(explanation.values[16:32, 24:40], 10 / 16, rtol=1e-4)


def test_without_a_landslide_the_most_probable_pixel_is_explained():
    image, valid = make_spot()
    image[0, 0] *= 0.1
    explanation = explain_window(BrightSpot(), image, valid, method="occlusion", threshold=0.5)
    assert not explanation.found
    assert explanation.landslide_px >= 1


def test_invalid_pixels_are_not_explained():
    image, valid = make_spot()
    valid[16:32, 24:32] = False
    explanation = explain_window(BrightSpot(), image, valid, method="occlusion", threshold=0.5)
    assert explanation.landslide_px == 128


@pytest.mark.parametrize("name", ["unet", "sbconv-unet", "transformer-unet", "siam-conc-unet", "segnet"])
def test_grad_cam_reads_a_coarse_map_of_any_network(name):
    torch.manual_seed(0)
    network = build(name, 4, width=0.0625)
    image = torch.randn(1, 4, 50, 71)
    explanation = explain_window(network, image, np.ones((50, 71), bool), method="grad-cam", threshold=0.5)
    assert explanation.values.shape == (50, 71)
    assert np.isfinite(explanation.values).all()
    assert explanation.map_px[0] * 4 <= 96
    assert 0 <= explanation.values.min() <= explanation.values.max() <= 1 + 1e-6


def test_network_without_a_coarse_map_is_refused_with_the_other_method():
    network = build("logistic-regression", 3)
    with pytest.raises(ModelError, match="use --method occlusion"):
        explain_window(network, torch.randn(1, 3, 64, 64), np.ones((64, 64), bool), method="grad-cam", threshold=0.5)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "scene"
    write_scene(folder, 5, scar_lonlat=PLACE, size_px=96)
    return folder


def test_window_is_read_with_the_margin_that_its_network_needs(tmp_path):
    write_scene(tmp_path / "large", 5, scar_lonlat=PLACE, size_px=320)
    model = load_model("generated")
    window = read_window(tmp_path / "large", model, PLACE, 48)
    whole = read_window(tmp_path / "large", model, None, 320)
    with torch.no_grad():
        cut = model.network(window.image)[0, 1][window.crop]
        expected = model.network(whole.image)[0, 1]
    rows, columns = (slice(first, first + 48) for first in (window.row, window.column))
    torch.testing.assert_close(cut, expected[rows, columns], rtol=1e-3, atol=1e-3)
    assert window.image.shape[-1] < 320
    assert window.valid.sum() == window.valid[window.crop].sum() == 48 * 48


def test_pixels_around_the_window_are_hidden_together():
    image, valid = make_spot()
    valid[:, :32] = False
    explanation = explain_window(BrightSpot(), image, valid, method="occlusion", threshold=0.5)
    assert explanation.landslide_px == 16 * 8
    assert np.ptp(explanation.values[:, :32]) == 0.0


def test_command_writes_values_on_the_pixels_of_the_scene(scene, tmp_path, capsys):
    out = tmp_path / "cam.tif"
    words = f"scenes explain {scene} --model generated --out {out} --json"
    assert run_command(words.split()) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["landslide_px"] > 0
    assert answer["window_px"] == [0, 0, 96, 96]
    grid = read_grid(out)
    assert grid.transform == read_grid(scene / "B4.tif").transform
    with rasterio.open(out) as raster:
        values = raster.read(1)
    column, row = (int(value) for value in grid.pixel_of(*PLACE))
    assert values[row - 4 : row + 4, column - 4 : column + 4].max() > np.nanmean(values)


def test_command_explains_a_window_of_a_scene_as_a_picture(scene, tmp_path, capsys):
    out = tmp_path / "why.png"
    words = f"scenes explain {scene} --model generated --place {PLACE[0]},{PLACE[1]} --side 48 --out {out}"
    assert run_command([*words.split(), "--method", "occlusion"]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "mean log odds fall if the cell of 4 px is hidden" in line
    with Image.open(out) as picture:
        assert (picture.size, picture.mode) == ((48, 48), "RGBA")


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ("--side 48", 1, "name a place by --place"),
        ("--place 10,42.73", 1, "is outside of the scene"),
        ("--place north", 2, "expected two numbers"),
        ("--out why.jpg", 2, "ends in .tif or .png"),
        ("--out missing/why.tif", 1, "cannot write"),
        ("--model none", 1, "none"),
    ],
)
def test_wrong_input_is_one_line(scene, tmp_path, monkeypatch, capsys, options, status, message):
    monkeypatch.chdir(tmp_path)
    model = "" if "--model" in options else "--model generated "
    assert run_command(f"scenes explain {scene} {model}{options}".split()) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
