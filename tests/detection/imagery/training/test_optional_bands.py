"""A network reads the slope from the DEM of a scene, and maps a scene without a DEM as one whose DEM has no data."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from scipy import ndimage

from detection.imagery.data.augment import vary
from detection.imagery.data.generate import draw_patches
from detection.imagery.data.metrics import compute_scores, count_confusion
from detection.imagery.data.patches import make_patches, resize_optional
from detection.imagery.errors import DataError, ModelError, TrainingRecipeError
from detection.imagery.footprints.detect import detect, survey
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.neural.encoder_file import open_encoder
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.neural.training import evaluate, train_patches
from detection.imagery.neural.triage_training import train_triage
from detection.imagery.optional_bands import UNITS, count_channels
from detection.imagery.raster import terrain
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.registry import build
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.simple_maps import fit_logistic, score_simple_map

BANDS = ("B4", "B3")
STEEP_DEG = 30.0
SIDE_PX = 48
PIXEL_M = 10.0
SETTINGS = ImageryTrainingSettings(width=0.0625, epochs=16, batch=8, warmup_steps=5, learning_rate=0.01, shift=0.004)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def draw_ground(rng, side_px=SIDE_PX):
    """Return bands, slope in degrees, heights in metres and truth of ground of which a part is steep.

    Bare soil lies everywhere, and is a landslide on the steep part alone.
    """
    bare = ndimage.gaussian_filter(rng.standard_normal((side_px, side_px)), 3, mode="wrap") > 0.1
    across = np.indices(bare.shape)[int(rng.integers(2))]
    edge = rng.uniform(0.3, 0.7) * side_px
    is_steep = across > edge
    heights = 100 + np.maximum(across - edge, 0) * PIXEL_M * np.tan(np.radians(STEEP_DEG))
    reflectance = np.stack([np.where(bare, 0.15, 0.05), np.where(bare, 0.12, 0.08)])
    reflectance += rng.normal(0, 0.005, reflectance.shape)
    return reflectance, np.where(is_steep, STEEP_DEG, 0.0), heights, (bare & is_steep).astype(np.uint8)


def draw_labelled(seed, total):
    rng = np.random.default_rng(seed)
    drawn = [draw_ground(rng) for _ in range(total)]
    images = np.stack([np.concatenate([bands, slope[None]]) for bands, slope, _, _ in drawn]).astype(np.float32)
    return make_patches(images, np.stack([truth for *_, truth in drawn]), (*BANDS, "slope"))


@pytest.fixture(scope="module")
def labelled():
    return draw_labelled(1, 48).split_optional(("slope",))


@pytest.fixture(scope="module")
def trained(labelled):
    return train_patches(labelled, SETTINGS)


@pytest.fixture(scope="module")
def weights(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "steep.safetensors"
    card = {
        "name": "steep",
        "network": {"name": "unet", "classes": 2, "width": SETTINGS.width, "options": {}},
        "bands": list(BANDS),
        "optional_bands": ["slope"],
        "radiometry": {"stretch": "reflectance", "scale": 1e-4},
        "normalisation": {"mean": trained.mean, "std": trained.std, "value_range": trained.value_range},
        "pixel_size_m": PIXEL_M,
        "threshold": trained.threshold,
        "temperature": trained.calibration.temperature,
    }
    save_model(path, trained.network, card)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    reflectance, _, heights, truth = draw_ground(np.random.default_rng(99), 128)
    grid = grid_around(8.9, 46.2, 128, PIXEL_M)
    for name, band in zip(BANDS, reflectance, strict=True):
        write_geotiff(folder / f"{name}.tif", np.rint(band * 1e4).astype(np.uint16)[None], grid, nodata=0)
    (folder / "scene.toml").write_text(
        f'acquired_at = 2025-06-01T00:00:00Z\n[bands]\n{BANDS[0]} = "B4.tif"\n{BANDS[1]} = "B3.tif"\n'
    )
    heights = heights.astype(np.float32)
    half = heights.copy()
    half[:, :64] = np.nan
    for name, values in (("whole", heights), ("half", half), ("none", np.full_like(heights, np.nan))):
        write_geotiff(folder / f"{name}-dem.tif", values[None], grid, nodata=np.nan)
    return folder, truth


def map_scene(scene, weights, out, dem=None, **more):
    folder, truth = scene
    path = folder / f"{dem}-dem.tif" if dem else None
    options = DetectionOptions(folder, weights=str(weights), out_dir=out, dem=path, minimum_area_m2=0.0, **more)
    result = detect(options)
    with rasterio.open(out / "prob.tif") as source:
        steps = source.read(1)
    return steps, compute_scores(count_confusion(steps >= 200 * result["threshold"], truth == 1))["f1"]


@pytest.mark.soak
def test_a_network_with_the_slope_is_better_where_landslides_lie_on_steep_ground(trained):
    test = draw_labelled(2, 24).split_optional(("slope",))
    with_slope, without = evaluate(trained, test), evaluate(trained, test.mask_optional())
    assert with_slope["f1"] > without["f1"] + 0.1
    assert without["f1"] > 0.5, "without the slope it still finds bare soil"


@pytest.mark.soak
def test_a_scene_with_a_dem_is_mapped_better_and_one_without_as_with_a_dem_of_nodata(
    scene, weights, tmp_path, monkeypatch
):
    whole, f1 = map_scene(scene, weights, tmp_path / "whole", "whole")
    plain, plain_f1 = map_scene(scene, weights, tmp_path / "plain")
    assert f1 > plain_f1 + 0.1
    monkeypatch.setattr(terrain, "LEAST_COVERED_SHARE", 0.0)
    none, _ = map_scene(scene, weights, tmp_path / "none", "none")
    np.testing.assert_array_equal(none, plain)
    assert (whole != plain).any()


@pytest.mark.soak
def test_plan_and_record_name_the_slope_where_it_is_read(scene, weights):
    folder, _ = scene
    with_dem = DetectionOptions(folder, weights=str(weights), dem=folder / "whole-dem.tif")
    without = DetectionOptions(folder, weights=str(weights))
    assert [survey(options)["optional_bands"] for options in (with_dem, without)] == [["slope"], []]
    assert detect(with_dem)["terrain"] == {"covered_share": 1.0, "optional_bands": ["slope"]}
    assert detect(without)["terrain"] is None


@pytest.mark.soak
def test_where_a_dem_has_no_data_the_slope_is_masked_by_pixel(scene, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(terrain, "LEAST_COVERED_SHARE", 0.0)
    whole, half, plain = (map_scene(scene, weights, tmp_path / str(dem), dem)[0] for dem in ("whole", "half", None))
    differs_from_plain = (half != plain).mean(axis=0)
    assert differs_from_plain[:16].mean() < 0.2 * differs_from_plain[80:].mean()
    assert (half != whole)[:, 112:].mean() < 0.1 < (half != plain)[:, 112:].mean()


@pytest.mark.soak
def test_tiles_with_a_halo_read_the_same_slope_as_rows(scene, weights, tmp_path):
    rows, _ = map_scene(scene, weights, tmp_path / "rows", "whole")
    tiles, _ = map_scene(scene, weights, tmp_path / "tiles", "whole", tile=32, halo=112)
    assert np.abs(tiles.astype(int) - rows).max() <= 1


@pytest.mark.soak
def test_a_scene_on_other_pixels_than_the_training_reads_the_slope_there(scene, weights, tmp_path):
    model = load_model(str(weights))
    coarse = tmp_path / "coarse.safetensors"
    other = {"finest_m": 5.0, "coarsest_m": 40.0, "coarse_at_m": 15.0}
    save_model(coarse, model.network, {**model.card, "pixel_size_m": 20.0, "other_pixels": other})
    folder, truth = scene
    maps = {}
    for dem in (None, folder / "whole-dem.tif"):
        result = detect(DetectionOptions(folder, weights=str(coarse), out_dir=tmp_path / f"out-{dem is None}", dem=dem))
        assert result["read_at"]["width"] == 64
        with rasterio.open(tmp_path / f"out-{dem is None}" / "prob.tif") as source:
            maps[dem is None] = compute_scores(
                count_confusion(source.read(1) >= 200 * result["threshold"], truth == 1)
            )["f1"]
    assert maps[False] > maps[True] + 0.05


def test_slope_enters_by_a_fixed_constant_and_bands_without_channels_are_masked(weights):
    model = load_model(str(weights))
    assert count_channels(model.card) == 4
    segmenter, valid = Segmenter(model), np.ones((32, 32), bool)
    bands = np.full((2, 32, 32), 0.1, np.float32)
    channels = np.zeros((2, 32, 32), np.float32)
    np.testing.assert_array_equal(
        segmenter.probabilities(bands, valid), segmenter.probabilities(np.concatenate([bands, channels]), valid)
    )
    channels[0], channels[1] = STEEP_DEG / UNITS["slope"], 1
    tile = np.concatenate([bands, channels])
    np.testing.assert_array_equal(segmenter.prepare(tile, valid)[0, 2:].numpy(), channels)
    with pytest.raises(ValueError, match="3 channels; expected 2 or 4"):
        segmenter.prepare(tile[:3], valid)


def test_the_slope_is_masked_for_half_of_the_patches(labelled):
    normalisation = np.zeros(2, np.float32), np.ones(2, np.float32)
    _, image, mask = labelled.read(0)
    channels = labelled.read_channels(0)

    def draw(how):
        rng = np.random.default_rng(0)
        return [vary(image, mask, normalisation, how, rng, channels)[0][3].any() for _ in range(200)]

    assert np.mean(draw(SETTINGS)) == pytest.approx(0.5, abs=0.1)
    assert all(draw(replace(SETTINGS, masked_share=0.0)))
    turned, truth = vary(
        image, mask, normalisation, replace(SETTINGS, masked_share=0.0), np.random.default_rng(3), channels
    )
    assert (turned[2][truth == 1] > 0.9).all(), "the slope is turned with the image"


@pytest.mark.soak
def test_patches_without_optional_bands_train_to_the_same_weights_as_ever(labelled):
    plain = replace(labelled, optional_bands=(), load_optional=None)
    settings = replace(SETTINGS, epochs=1)
    one, other = train_patches(plain, settings), train_patches(plain, replace(settings, masked_share=0.9))
    for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_patches_carry_their_slope_through_every_change():
    patches = draw_labelled(3, 6).split_optional(("slope",))
    chosen = patches.take([4, 2]).cache().standardise(()).resize(24)
    assert (chosen.bands, chosen.optional_bands) == (BANDS, ("slope",))
    channels = chosen.read_channels(1)
    assert channels.shape == (2, 24, 24)
    np.testing.assert_allclose(channels[0].mean(), patches.read_channels(2)[0].mean(), rtol=0.05)
    assert patches.fingerprint() != patches.mask_optional().fingerprint()
    assert not patches.mask_optional().read_channels(0).any()
    with pytest.raises(DataError, match="bands dem are not in the data, which have B4, B3, slope"):
        draw_labelled(3, 1).split_optional(("dem",))
    with pytest.raises(TrainingRecipeError, match="leave out optional_bands"):
        train_triage(patches, SETTINGS)
    slope = np.full((1, 4, 8), 20.0, np.float32)
    slope[:, :, :4] = np.nan
    for shape in ((4, 4), (8, 16)):
        resized = resize_optional(slope, shape)
        np.testing.assert_allclose(resized[:, :, shape[1] // 2 + 1 :], 20.0, rtol=1e-6)
        assert np.isnan(resized[:, :, : shape[1] // 2 - 1]).all()


def test_drawn_patches_have_a_slope_in_degrees():
    images, _ = draw_patches(3, 2, 48, ("B4", "slope"))
    plain, _ = draw_patches(3, 2, 48, ("B4",))
    np.testing.assert_array_equal(images[:, :1], plain)
    assert 5 < np.median(images[:, 1]) < 45


def test_logistic_regression_reads_the_slope_and_does_without(labelled):
    test = draw_labelled(2, 12).split_optional(("slope",))
    rule = fit_logistic(labelled, np.arange(40), np.arange(40, 48))
    with_slope, without = (
        score_simple_map(rule, each, objects=False).report["f1"] for each in (test, test.mask_optional())
    )
    assert with_slope > without + 0.1
    image, channels = test.read(0).image, test.read_channels(0)
    np.testing.assert_array_equal(rule.map(image), rule.map(image, np.zeros_like(channels)))


def test_weights_score_patches_that_lack_the_slope(weights):
    model, test = load_model(str(weights)), draw_labelled(2, 4).split_optional(("slope",))
    masked = [values for _, values, _ in map_patches(model, test.mask_optional())]
    plain = replace(test, optional_bands=(), load_optional=None)
    for values, expected in zip((values for _, values, _ in map_patches(model, plain)), masked, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_an_encoder_of_other_bands_starts_without_the_slope(tmp_path):
    torch.manual_seed(1)
    file = tmp_path / "encoder.pth"
    encoder = build("unet-resnet18", 3, 2, 0.125).encoder
    torch.save(encoder.state_dict(), file)
    settings = ImageryTrainingSettings(network="unet-resnet18", width=0.125, encoder=str(file))
    _, network, _, line = open_encoder(settings, 3, 2)
    network.eval()
    encoder.eval()
    images = torch.rand(1, 5, 64, 64)
    with torch.inference_mode():
        for given, expected in zip(network.encoder(images), encoder(images[:, :3]), strict=True):
            torch.testing.assert_close(given, expected)
    assert "repeated" not in line


@pytest.mark.parametrize("bands", [["aspect"], ["slope", "slope"], "slope", [1]])
def test_a_card_with_other_optional_bands_is_refused(weights, tmp_path, bands):
    model, path = load_model(str(weights)), tmp_path / "other.safetensors"
    save_model(path, model.network, model.card)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "optional_bands": bands}))
    with pytest.raises(ModelError, match="optional_bands must be a list"):
        load_model(str(path))
