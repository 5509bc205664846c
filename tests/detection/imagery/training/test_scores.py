"""The report agrees with published figures, counts things as one would by hand, and says what it cannot say."""

import json

import numpy as np
import pytest

from detection.imagery.data.generate import draw_patches
from detection.imagery.data.metrics import (
    Confusion,
    average_precision,
    best_threshold,
    compute_scores,
    count_confusion,
    why_undefined,
)
from detection.imagery.data.patches import IGNORED, make_patches
from detection.imagery.data.splits import split_held
from detection.imagery.raster.grid import grid_around
from detection.imagery.training.objects import ObjectCount
from detection.imagery.training.scoring import bootstrap, compare, score_maps, summarise_images
from detection.imagery.training.simple_maps import describe_pixels, fit_index, fit_logistic, score_simple_map
from monitor.cli.main import run_command
from tests.data.surveys.rasters import write_raster


def test_published_shares_of_images_by_mean_iou_in_half_open_classes():
    """Skip Connection DeepLab (China Geology 2024): of 231 images 52 above .9, 119 from .8, 18 below .7, 5 below .6."""
    values = [0.95] * 52 + [0.85] * 119 + [0.75] * 42 + [0.65] * 13 + [0.5] * 5
    found = summarise_images([str(number) for number in range(231)], values)["histogram"]
    assert 100 * found[">=0.9"] == pytest.approx(22.51, abs=0.005)
    assert 100 * found["0.8-0.9"] == pytest.approx(51.52, abs=0.005)
    assert 100 * (found["<0.6"] + found["0.6-0.7"]) == pytest.approx(7.79, abs=0.005)
    assert sum(found.values()) == pytest.approx(1)
    found = summarise_images(list("abcd"), [0.6, 0.7, 0.8, 0.9])
    assert found["histogram"] == {"<0.6": 0, "0.6-0.7": 0.25, "0.7-0.8": 0.25, "0.8-0.9": 0.25, ">=0.9": 0.25}
    assert found["worst"] == list("abcd")


@pytest.mark.parametrize("confusion", [Confusion(tn=5), Confusion(fn=2, tn=5), Confusion(tp=4), Confusion(nodata=3)])
def test_every_score_without_a_value_has_a_reason(confusion):
    undefined = {name for name, value in compute_scores(confusion).items() if value is None}
    assert undefined
    assert set(why_undefined(confusion)) == undefined
    assert all(why_undefined(confusion).values())


def scene():
    """Four landslides of 4, 12, 60 and 240 px: missed, found by half, found with another's shape, found as it is."""
    truth = np.zeros((64, 64), bool)
    truth[2:4, 2:4] = True
    truth[10:13, 10:14] = True
    truth[20:26, 20:30] = True
    truth[40:52, 30:50] = True
    found = np.zeros_like(truth)
    found[10:13, 10:12] = True
    found[20:26, 20:50] = True
    found[40:52, 30:50] = True
    found[60, 60] = True
    return truth, found


def test_objects_are_counted_by_size():
    truth, found = scene()
    things = ObjectCount()
    things.add(np.where(found, 0.9, 0.1), found, truth)
    report = things.report()
    assert report["objects"]["truth"] == {"<10": 1, "10-50": 1, "50-200": 1, ">=200": 1}
    assert report["object_recall"]["iou_0.1"] == {"all": 0.75, "<10": 0.0, "10-50": 1.0, "50-200": 1.0, ">=200": 1.0}
    # half of the second exactly: IoU .5; the third is a third of what was found
    assert report["object_recall"]["iou_0.5"] == {"all": 0.5, "<10": 0.0, "10-50": 1.0, "50-200": 0.0, ">=200": 1.0}
    assert report["object_recall"]["covered_half"]["all"] == 0.75
    assert report["object_precision"]["iou_0.1"]["all"] == 0.75
    assert report["object_precision"]["iou_0.5"]["<10"] == pytest.approx(1 / 2)
    assert report["object_recall"]["iou_0.5"]["<10"] == 0.0


def test_pixels_that_touch_at_corners_are_one_object_and_unknown_pixels_none():
    truth = np.zeros((8, 8), bool)
    truth[1, 1] = truth[2, 2] = truth[5, 6] = True
    valid = np.ones_like(truth)
    valid[5] = False
    things = ObjectCount()
    things.add(truth * 1.0, truth, truth, valid)
    assert things.truths["<10"] == 1
    assert things.report()["ap50"] == 1.0


def test_average_precision_ranks_by_probability():
    truth, found = scene()
    sure, unsure = np.where(found, 0.6, 0.0), np.where(found, 0.6, 0.0)
    sure[60, 60], unsure[60, 60] = 0.99, 0.51
    both = []
    for probabilities in (sure, unsure):
        things = ObjectCount()
        things.add(probabilities, found, truth)
        both.append(things.report()["ap50"])
    assert both[0] < both[1] <= 0.5
    assert average_precision([], 3) == 0.0
    assert average_precision([(0.5, True)], 0) is None


def test_edges_are_compared_within_one_and_two_pixels():
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    values = []
    for shift in (0, 1, 2, 3):
        things = ObjectCount()
        found = np.roll(truth, shift, axis=1)
        things.add(found * 1.0, found, truth)
        values.append(things.report()["boundary_f1"])
    assert (values[0], values[1]) == ({"1px": 1.0, "2px": 1.0}, {"1px": 1.0, "2px": 1.0})
    assert values[2]["2px"] == 1.0
    assert values[2]["1px"] < 1.0
    assert values[3]["2px"] < values[2]["2px"]
    empty = ObjectCount()
    empty.add(np.zeros((4, 4)), np.zeros((4, 4), bool), np.zeros((4, 4), bool))
    assert empty.report()["boundary_f1"]["1px"] is None


def test_counts_and_pixels_not_known_make_all_pixels():
    rng = np.random.default_rng(5)
    masks = rng.choice([0, 1, IGNORED], size=(7, 16, 16), p=[0.7, 0.2, 0.1]).astype(np.uint8)
    maps = [(str(number), rng.random((16, 16)), mask) for number, mask in enumerate(masks)]
    report = score_maps(maps, 0.6).report
    assert sum(report["confusion"].values()) == masks.size
    assert report["confusion"]["nodata"] == np.count_nonzero(masks == IGNORED)
    hidden = [(name, np.where(mask == IGNORED, 1 - p, p), mask) for name, p, mask in maps]
    assert score_maps(hidden, 0.6).report == report


def test_intervals_hold_the_value_and_narrow_with_images():
    rng = np.random.default_rng(6)
    counts = rng.integers(5, 60, (400, 4))
    narrow, wide = bootstrap(counts, 0), bootstrap(counts[:20], 0)
    f1 = compute_scores(Confusion(*map(int, counts.sum(axis=0))))["f1"]
    assert narrow["f1"][0] < f1 < narrow["f1"][1]
    assert np.diff(narrow["f1"])[0] < np.diff(wide["f1"])[0] / 2
    assert bootstrap(counts, 0) == narrow
    assert bootstrap(counts * [0, 0, 0, 1], 0)["f1"] is None


def test_difference_is_significant_only_if_the_pairs_agree():
    rng = np.random.default_rng(7)
    one = np.column_stack([rng.integers(5, 90, 60), *(rng.integers(5, 20, 60) for _ in range(2)), np.full(60, 900)])
    better = one + np.array([4, -4, 0, 0])
    assert compare(better, one)["carries"]
    assert compare(better, one)["interval"][0] > 0
    shuffled = one[rng.permutation(60)]
    assert not compare(shuffled, one)["carries"]
    with pytest.raises(ValueError, match="not of the same images"):
        compare(one, one[:3])


@pytest.fixture(scope="module")
def patches():
    return make_patches(*draw_patches(11, 14, 48, ("B4", "B3", "B2")))


def test_simple_maps_are_fitted_reproducibly(patches):
    fit, held = split_held(14, 0.3, 1)
    rules = [fit_index(patches, held), fit_logistic(patches, fit, held), fit_logistic(patches, fit, held)]
    assert np.array_equal(rules[1].weights, rules[2].weights)
    assert len(rules[1].weights) == 26
    found = [score_simple_map(rule, patches).report["f1"] for rule in rules[:2]]
    nothing = score_maps(((p.name, p.mask * 0.0, p.mask) for p in patches), 0.5).report["f1"]
    assert nothing == 0.0
    assert found[1] > found[0] > 0.2
    assert found[1] > 0.6


def test_features_follow_the_patch_when_it_is_flipped(patches):
    image = patches.read(0).image
    assert describe_pixels(image[:, :, ::-1]) == pytest.approx(describe_pixels(image)[:, :, ::-1])


def test_the_command_prints_what_was_asked_for(tmp_path, capsys):
    images, masks = draw_patches(5, 8, 64, ("B2", "B3", "B4"))
    grid = grid_around(8.9, 46.2, 64, 10.0)
    place = {"crs": grid.crs_wkt, "transform": grid.transform}
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        part = tmp_path / "own" / ("train" if number < 4 else "validation")
        write_raster(part / "images" / f"p{number}.tif", image, ("B2", "B3", "B4"), **place)
        write_raster(part / "masks" / f"p{number}.tif", mask[None], **place)
    words = ["scenes", "score", "--weights", "generated", "--data", str(tmp_path), "--layout", "folder"]
    words += ["--folder", "own", "--scale", "1", "--with", "simple", "--json"]
    assert run_command(words[:10]) == 1
    assert "score them with --layout folder --scale 1" in capsys.readouterr().err, (
        "they contain reflectance, not counts"
    )
    assert run_command(words) == 0
    answer = json.loads(capsys.readouterr().out)
    wanted = "precision recall f1 mf1 oa pa mpa miou fwiou kappa mcc image_miou object_recall object_precision"
    assert set(f"{wanted} boundary_f1 ap50 threshold seeds intervals undefined".split()) <= set(answer)
    assert answer["images"] == 4
    assert answer["f1"] > 0.7
    assert set(answer["simple"]) == {"index", "logistic", "beside"}
    assert run_command([*words[:4], "--data", str(tmp_path), "--layout", "folder", "--folder", "nowhere"]) == 1
    assert "the recipe's data are absent" in capsys.readouterr().err
    write_raster(part / "images" / "p4.tif", images[4], ("B8", "B11", "B12"), **place)
    assert run_command(words[:12]) == 1
    assert "bands B4, B3, B2 are not in the data, which have B8, B11, B12" in capsys.readouterr().err


def test_scores_of_a_map_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    truth, found = rng.random(4000) < 0.2, rng.random(4000) < 0.3
    ours = compute_scores(count_confusion(found, truth))
    names = {"iou": "jaccard", "mpa": "balanced_accuracy", "kappa": "cohen_kappa"}
    for name in ("precision", "recall", "f1", "iou", "accuracy", "mpa", "kappa"):
        theirs = getattr(metrics, f"{names.get(name, name)}_score")(truth, found)
        assert ours[name] == pytest.approx(theirs, rel=1e-12), name
    assert ours["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, found), rel=1e-12)


# Landslide and background pixels of the 300 Landslide4Sense validation patches.
LANDSLIDE, BACKGROUND = 201_167, 4_915_200 - 201_167


def test_maps_of_nothing_of_everything_and_of_published_precision_and_recall():
    scores = compute_scores(Confusion(fn=LANDSLIDE, tn=BACKGROUND))
    expected = {"accuracy": 0.9591, "mpa": 0.5, "miou": 0.4795, "fwiou": 0.9198, "f1": 0.0}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert scores["precision"] is None
    assert compute_scores(Confusion(tp=LANDSLIDE, fp=BACKGROUND))["f1"] == pytest.approx(0.0786, abs=1e-4)
    # Precision 72.13 and recall 75.74 make F1 73.89.
    scores = compute_scores(Confusion(tp=757_400, fn=242_600, fp=round(757_400 / 0.7213 - 757_400), tn=10**8))
    assert 100 * scores["f1"] == pytest.approx(73.89, abs=0.01)
    assert scores["mean_f1"] == pytest.approx((scores["f1"] + scores["f1_background"]) / 2)


def test_a_class_that_is_nowhere_is_left_out_and_no_pixel_defines_nothing():
    scores = compute_scores(Confusion(tn=50))
    assert scores["f1"] is None
    assert scores["iou"] is None
    assert (scores["miou"], scores["classes_used"]) == (1.0, 1)
    scores = compute_scores(Confusion(nodata=7))
    assert scores["accuracy"] is None
    assert scores["miou"] is None
    assert scores["fwiou"] is None


def test_counts_and_nodata_make_all_pixels_and_the_threshold_has_the_best_f1():
    rng = np.random.default_rng(3)
    predicted, truth, valid = (rng.random((40, 50)) < share for share in (0.3, 0.2, 0.8))
    found = count_confusion(predicted, truth, valid)
    assert found.tp + found.fp + found.fn + found.tn + found.nodata == 2000
    assert found.nodata == np.count_nonzero(~valid)
    halves = count_confusion(predicted[:20], truth[:20], valid[:20]) + count_confusion(
        predicted[20:], truth[20:], valid[20:]
    )
    assert halves == found
    probabilities = np.array([0.1, 0.2, 0.42, 0.44, 0.9])
    threshold, f1 = best_threshold(probabilities, np.array([False, False, True, True, True]))
    assert f1 == 1.0
    assert 0.2 < threshold <= 0.42
