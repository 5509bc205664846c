"""Scores agree with published figures and say where they are undefined."""

import numpy as np
import pytest

from detection.imagery.data.metrics import Confusion, best_threshold, count, score

# Landslide and background pixels of the 300 Landslide4Sense validation patches.
LANDSLIDE, BACKGROUND = 201_167, 4_915_200 - 201_167


def test_maps_of_nothing_of_everything_and_of_published_precision_and_recall():
    scores = score(Confusion(fn=LANDSLIDE, tn=BACKGROUND))
    expected = {"accuracy": 0.9591, "mpa": 0.5, "miou": 0.4795, "fwiou": 0.9198, "f1": 0.0}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert scores["precision"] is None
    assert score(Confusion(tp=LANDSLIDE, fp=BACKGROUND))["f1"] == pytest.approx(0.0786, abs=1e-4)
    # Precision 72.13 and recall 75.74 make F1 73.89.
    scores = score(Confusion(tp=757_400, fn=242_600, fp=round(757_400 / 0.7213 - 757_400), tn=10**8))
    assert 100 * scores["f1"] == pytest.approx(73.89, abs=0.01)
    assert scores["mean_f1"] == pytest.approx((scores["f1"] + scores["f1_background"]) / 2)


def test_a_class_that_is_nowhere_is_left_out_and_no_pixel_defines_nothing():
    scores = score(Confusion(tn=50))
    assert scores["f1"] is None
    assert scores["iou"] is None
    assert (scores["miou"], scores["classes_used"]) == (1.0, 1)
    scores = score(Confusion(nodata=7))
    assert scores["accuracy"] is None
    assert scores["miou"] is None
    assert scores["fwiou"] is None


def test_counts_and_nodata_make_all_pixels_and_the_threshold_has_the_best_f1():
    rng = np.random.default_rng(3)
    predicted, truth, valid = (rng.random((40, 50)) < share for share in (0.3, 0.2, 0.8))
    found = count(predicted, truth, valid)
    assert found.tp + found.fp + found.fn + found.tn + found.nodata == 2000
    assert found.nodata == np.count_nonzero(~valid)
    halves = count(predicted[:20], truth[:20], valid[:20]) + count(predicted[20:], truth[20:], valid[20:])
    assert halves == found
    probabilities = np.array([0.1, 0.2, 0.42, 0.44, 0.9])
    threshold, f1 = best_threshold(probabilities, np.array([False, False, True, True, True]))
    assert f1 == 1.0
    assert 0.2 < threshold <= 0.42
