"""Loss of image quality is measured, reported in one line, and handled by the weights that it affects least."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from detection.imagery.data.degrade import NOISE_COUNTS, list_losses, measure_count
from detection.imagery.data.generate import draw_scene
from detection.imagery.data.patches import make_patches
from detection.imagery.errors import DomainError, DoubtfulQualityError, FinerPixelsError, UnfitWeightsError
from detection.imagery.footprints.choose import SHIPPED, check_doubts, choose_weights
from detection.imagery.footprints.records import INDEX
from detection.imagery.neural.learner import ImageryTrainingSettings, degrade_patch
from detection.imagery.training.domain import INTERPOLATED, READABLE, list_noise_doubts
from detection.imagery.training.grain import measure_noise
from detection.imagery.training.steadiness import PLAIN, degrade_patches, measure_steadiness
from detection.imagery.training.windows import NOISE_SLACK, measure_window
from detection.imagery.weights_file import read_weights
from detection.reasons import Reason
from tests.data.asked_detection import detect, read_options
from tests.data.surveys.radar_pictures import write_picture
from tests.tables import tabulated

SIDE = 96
NAMED = ("B4", "B3", "B2")


def draw_ground(seed: int, side: int = SIDE) -> np.ndarray:
    """Draw hills, fields with edges and a bright roof, as shares of the maximum brightness."""
    rng = np.random.default_rng(seed)
    hills = ndimage.gaussian_filter(rng.normal(size=(side, side)), 8)
    fields = np.kron(rng.uniform(0, 1, (side // 16, side // 16)), np.ones((16, 16)))
    grey = 0.45 + 0.1 * hills / np.abs(hills).max() + 0.15 * (fields - 0.5)
    grey[:6, :6] = 1.0
    return np.stack([grey, 0.9 * grey, 0.8 * grey]).astype(np.float32)


@tabulated("loss", list_losses())
@tabulated("kind", [np.uint8, np.uint16, np.float32])
@tabulated("bands", [1, 4])
def test_every_loss_keeps_shape_type_and_light_and_changes_the_pixels(loss, kind, bands):
    ground = np.concatenate([draw_ground(1), draw_ground(2)])[:bands]
    image = (ground * {np.uint8: 255, np.uint16: 9000, np.float32: 1}[kind]).astype(kind)
    before = image.copy()
    worse = list_losses()[loss](image, np.random.default_rng(1))
    assert (worse.shape, worse.dtype) == (image.shape, image.dtype)
    assert abs(float(worse.mean()) - float(image.mean())) < measure_count(image)
    assert not np.array_equal(worse, image)
    assert np.array_equal(image, before)


def test_a_patch_that_loses_quality_keeps_its_truth_and_only_a_share_of_them_does():
    image, mask = (draw_ground(3) * 255).astype(np.uint8), np.eye(SIDE, dtype=np.uint8)
    patches = make_patches(image[None], mask[None])
    for loss in (PLAIN, *list_losses()):
        worse = degrade_patches(patches, loss).read(0)
        assert np.array_equal(worse.mask, mask)
        assert np.array_equal(worse.image, image) == (loss == PLAIN)
    rng, how = np.random.default_rng(1), ImageryTrainingSettings(degraded_share=1.0)
    same = sum(np.array_equal(degrade_patch(image, how, rng), image) for _ in range(200))
    assert 2 <= same <= 30  # none of four, each half of the time: one in 16


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 12.0), st.floats(0.01, 5000.0), st.booleans())
def test_noise_is_found_whatever_the_unit_and_whether_bands_share_it(seed, counts, unit, grey):
    ground, rng = draw_ground(seed), np.random.default_rng(seed)
    noise = rng.normal(0, counts / 255, ground.shape[1:] if grey else ground.shape)
    look = measure_window((ground + noise) * unit, np.ones(ground.shape[1:], bool))
    assert 0.75 * counts < look.noise < 1.35 * counts
    assert measure_window(ground * unit, np.ones(ground.shape[1:], bool)).noise < 0.5, "ground without noise has none"


def test_edges_and_slopes_are_no_noise_to_this_measure_and_are_to_the_plain_one():
    """The mutant: the spread of what a pixel has beyond its neighbour."""
    ground = draw_ground(4).astype(float) * 255
    plain = float(np.std(np.diff(ground[0], axis=1)) / np.sqrt(2))
    assert plain > 3
    assert float(measure_noise(ground, np.ones((SIDE, SIDE), bool)).max()) < 0.3
    assert measure_noise(ground, np.zeros((SIDE, SIDE), bool)).tolist() == [0.0, 0.0, 0.0]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0, 40.0), st.sampled_from((0.0, *NOISE_COUNTS)))
def test_noise_beyond_what_weights_hold_is_one_line_and_less_is_none(noise, held):
    steadiness = {"noise_counts": held, "f1": {"plain": 0.6}}
    look = measure_window(draw_ground(1), np.ones((SIDE, SIDE), bool))._replace(noise=noise)
    said = list_noise_doubts([look] * 3, steadiness)
    assert len(said) == (noise > NOISE_SLACK * held)
    readable = bool(said) and said[0].code in READABLE
    assert readable == (NOISE_SLACK * held < noise <= NOISE_SLACK * max(NOISE_COUNTS))
    assert list_noise_doubts([look] * 3, None) == list_noise_doubts([], steadiness) == []


INTERPOLATED_SCENE = Reason(INTERPOLATED, {"seen": "0.90", "limit": "1.20"})


def card_of(**f1: float) -> dict:
    return {"domain": {}, "steadiness": {"noise_counts": 3.0, "f1": {"plain": 0.6} | f1}}


CARDS = {
    "own": card_of(bilinear=0.3, blur=0.6),
    "landslide4sense-standard": card_of(bilinear=0.57, blur=0.58),
    "bijie": {"domain": {}},
}


def choose(doubts: dict[str, list[str]]) -> tuple[str, list[str]]:
    """Return the chosen weights for these doubts about the scene, and the weights refused before."""
    options = read_options({"scene_path": "a.tif", "weights": "auto", "own": ("own",)})

    def attempt(tried):
        if tried.weights != "index" and not tried.accepts_doubts:
            check_doubts(doubts[tried.weights], CARDS[tried.weights])
        return tried.weights, [one.weights for one in tried.refused]

    return choose_weights(options, attempt)


@tabulated(
    ("doubts", "used"),
    [
        ({"own": [INTERPOLATED_SCENE]}, "landslide4sense-standard"),  # other weights have no doubt
        ({name: [INTERPOLATED_SCENE] for name in CARDS}, "landslide4sense-standard"),  # these weights lose least
        ({name: [INTERPOLATED_SCENE] for name in CARDS} | {"landslide4sense-standard": ["other"]}, "own"),
        ({name: [INTERPOLATED_SCENE] for name in ("own", "bijie")} | {"landslide4sense-standard": ["x"]}, "own"),
        ({"own": ["x"], "landslide4sense-standard": ["x"], "bijie": [INTERPOLATED_SCENE]}, "bijie"),
        ({name: [INTERPOLATED_SCENE, "x"] for name in CARDS}, "index"),  # the scene has another doubt as well
    ],
)
def test_a_scene_that_lost_quality_is_read_by_the_weights_that_lose_least(doubts, used):
    found, refused = choose({name: [] for name in CARDS} | doubts)
    assert found == used
    assert found not in refused


def test_a_scene_that_is_too_fine_and_lost_quality_is_read_coarser_as_advice_by_the_weights_that_lose_least():
    trained_m = {"own": 1.2, "landslide4sense-standard": 10.0, "bijie": 0.8}

    def attempt(tried):
        if tried.weights == INDEX:
            return tried
        if tried.coarser_m is None:
            raise FinerPixelsError("finer", trained_m[tried.weights])
        assert tried.coarser_m == trained_m[tried.weights]
        if not tried.accepts_doubts:
            check_doubts([INTERPOLATED_SCENE], CARDS[tried.weights])
        return tried

    found = choose_weights(read_options({"scene_path": "a.tif", "weights": "auto", "own": ("own",)}), attempt)
    assert (found.weights, found.coarser_m, found.accepts_doubts) == ("landslide4sense-standard", 10.0, True)
    assert [one.weights for one in found.refused] == ["own", "bijie"]


def test_doubt_states_the_loss_of_these_weights():
    with pytest.raises(DoubtfulQualityError) as caught:
        check_doubts([INTERPOLATED_SCENE], CARDS["own"])
    assert caught.value.cost == pytest.approx(0.3)
    with pytest.raises(UnfitWeightsError) as other:
        check_doubts([INTERPOLATED_SCENE, "values of another type"], CARDS["own"])
    assert not isinstance(other.value, DoubtfulQualityError)


@pytest.mark.parametrize("weights", [*SHIPPED, "landslide4sense"])
def test_every_card_of_measured_weights_states_the_cost_of_each_loss(weights):
    card = read_weights(weights).card
    assert set(card["steadiness"]["f1"]) == {PLAIN, *list_losses()}, weights
    f1, held = card["steadiness"]["f1"], card["steadiness"]["noise_counts"]
    assert all(f1[f"noise of {n:g}"] >= f1[PLAIN] - 0.05 for n in NOISE_COUNTS if n <= held)


@pytest.mark.parametrize("weights", SHIPPED)
def test_weights_that_auto_takes_lose_little_by_any_loss_that_is_tried(weights):
    """Noise of 10 counts is left out: weights that hold less are doubted on such a scene."""
    f1 = read_weights(weights).card["steadiness"]["f1"]
    assert min(value for loss, value in f1.items() if loss != "noise of 10") > f1[PLAIN] - 0.05, weights


def test_what_weights_hold_is_the_greatest_noise_below_which_none_costs_much():
    image, mask = (draw_ground(5) * 255).astype(np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    mask[20:60, 20:60] = 1
    held = make_patches(image[None], mask[None])

    def break_at_3(patches):
        noise = float(measure_noise(patches.read(0).image[:1], np.ones(mask.shape, bool))[0])
        yield "0", (mask * (0.9 if noise < 2.5 else 0.1)).astype(np.float32), mask

    found = measure_steadiness(break_at_3, held, 0.5)
    assert (found["noise_counts"], found["f1"]["noise of 2"], found["f1"]["noise of 3"]) == (2.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    scene = draw_scene(5, 160, scars=1)
    bands = np.stack([scene.bands[name] for name in NAMED]).astype(float)
    return (bands * 255 / bands.max()).clip(1, 255)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("noise", [2.0, 30.0])
@pytest.mark.parametrize("grey", [True, False])
def test_noise_beyond_all_weights_is_reported(tmp_path: Path, picture, noise, grey):
    drawn = np.random.default_rng(1).normal(0, noise, picture.shape[1:] if grey else picture.shape)
    path = write_picture(tmp_path / "a.tif", (picture + drawn).round().clip(1, 255).astype(np.uint8), 10.0)
    said = ask(path)
    assert any("noise" in one for one in said) or noise < 10
    assert noise > 10 or not any("counts of 255" in one or "radar" in one for one in said)


def ask(path: Path) -> list[str]:
    """Return the warnings of the default weights about a scene."""
    try:
        return detect({"scene_path": str(path), "weights": "landslide4sense-standard"})["doubts"]
    except DomainError as error:
        return [str(error)]


@pytest.mark.soak
def test_a_scene_between_its_pixels_is_doubted_and_read_by_auto(tmp_path: Path, picture):
    between = ndimage.gaussian_filter(ndimage.shift(picture, (0, 0.5, 0.5), order=1, mode="nearest"), (0, 0.4, 0.4))
    path = write_picture(tmp_path / "a.tif", between.round().clip(1, 255).astype(np.uint8), 10.0)
    answer = detect({"scene_path": str(path), "weights": "auto", "threshold": 0.2})
    assert answer["model"] == "landslide4sense-standard"
    assert [doubt.id for doubt in answer["doubts"]] == [INTERPOLATED]
    assert answer["polygons"]
    assert all("interpolated" in one["caution"] for one in answer["polygons"]), "advice, no vote"
