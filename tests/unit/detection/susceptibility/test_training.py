"""On drawn landscapes, whose truth is known: ranking, calibration, noise, swarms, and what teaches nothing."""

import json
from dataclasses import replace
from datetime import date
from importlib.util import find_spec

import numpy as np
import pytest
import rasterio

from detection.imagery.errors import ModelError
from detection.susceptibility import training
from detection.susceptibility.mapping import MapRequest, make_map
from detection.susceptibility.model import load_model
from detection.susceptibility.training import SusceptibilityTrainingRequest, train
from detection.susceptibility.validation import bound_auc, measure_auc, measure_calibration
from tests.unit.detection.susceptibility.drawn_landscape import draw

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed (extra compare)")
DAY = date(2026, 3, 1)


def learn(landscape, learners=("logistic",), name="model.json"):
    out = landscape.study.with_name(name)
    return train(SusceptibilityTrainingRequest(landscape.study, out, DAY, learners))


def true_auc(landscape):
    label = landscape.slides.ravel().astype(np.int64)
    return measure_auc(landscape.truth.ravel(), label, np.ones(label.size))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A landscape that its factors explain, and the model of both learners."""
    landscape = draw(tmp_path_factory.mktemp("plain"), seed=1, size=110)
    return landscape, learn(landscape, ("logistic", "boosting"))


def test_the_ranking_is_the_true_one_and_the_probabilities_are_shares_of_the_ground(plain):
    landscape, card = plain
    scores = card["scores"]
    low, high = scores["interval"]
    assert scores["auc"] == pytest.approx(true_auc(landscape), abs=0.015)
    assert low < scores["auc"] < high
    assert high - low < 0.08
    assert scores["calibration"]["expected_calibration_error"] < 0.015
    assert scores["calibration"]["base_rate"] == pytest.approx(landscape.slides.mean(), rel=1e-6)
    order = [one["name"] for one in scores["importance"]]
    assert order[:2] == ["slope", "rock"]
    assert abs(next(one["auc_lost"] for one in scores["importance"] if one["name"] == "aspect")) < 0.005


def test_the_map_is_the_truth_and_the_same_whatever_the_windows(plain, monkeypatch):
    landscape, card = plain
    folder = landscape.study.parent
    asked = MapRequest(landscape.study, folder / "model.json", folder / "map", DAY)
    record = make_map(asked)
    with rasterio.open(folder / "map/susceptibility.tif") as file:
        whole, tags = file.read(), file.tags()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.descriptions[0], file.nodata) == ("probability", -1)
    chance, spread, kind, outside = whole
    odds, true_odds = (np.log(p / (1 - p)) for p in (chance, landscape.truth))
    assert np.corrcoef(odds.ravel(), true_odds.ravel())[0, 1] > 0.97
    assert chance.mean() == pytest.approx(landscape.truth.mean(), rel=0.06)
    assert 0 < spread.mean() < 0.02
    assert set(np.unique(kind)) == {1, 2, 3, 4, 5}
    assert (outside > 0).mean() == pytest.approx(record["outside_share"])
    assert tags["MODEL_HASH"] == card["model_hash"] == load_model(folder / "model.json").model_hash
    # half of the landslides lie in the highest class, and the record says how little ground that is
    assert landscape.slides[kind == 5].sum() / landscape.slides.sum() == pytest.approx(0.5, abs=0.06)
    assert record["class_shares"]["very high"] == pytest.approx((kind == 5).mean())
    monkeypatch.setattr("detection.susceptibility.factors.WINDOW_PX", 48)
    make_map(replace(asked, out=folder / "windows"))
    with rasterio.open(folder / "windows/susceptibility.tif") as file:
        np.testing.assert_array_equal(file.read(), whole)


def test_the_same_seed_gives_the_same_bytes(plain):
    landscape, card = plain
    again = learn(landscape, ("logistic", "boosting"), name="again.json")
    assert again["model_hash"] == card["model_hash"]


def test_wrong_labels_lower_the_score_and_not_the_honesty(tmp_path):
    landscape = draw(tmp_path, seed=2, size=140, noise=0.5)
    scores = learn(landscape)["scores"]
    assert scores["auc"] == pytest.approx(true_auc(landscape), abs=0.02)
    assert scores["auc"] < 0.72
    assert scores["calibration"]["expected_calibration_error"] < 0.025


def test_where_landslides_lie_in_swarms_random_cells_claim_too_much(tmp_path):
    landscape = draw(tmp_path, seed=1, size=150, base=-6, hidden=1.8, lumps_px=9)
    scores = learn(landscape, ("boosting",))["scores"]
    assert scores["random_split"] > scores["auc"] + 0.015
    # the interval by blocks is wider than that of cells that are taken for independent
    low, high = scores["interval"]
    label = np.repeat([1, 0], [2387, 10_000])
    drawn = np.random.default_rng(0).normal(label * 1.1, 1)
    lone = bound_auc(drawn, label, np.ones(len(label)), np.arange(len(label)))
    assert high - low > 1.5 * (lone[1] - lone[0])


def test_factors_that_mean_nothing_score_like_chance(tmp_path):
    scores = learn(draw(tmp_path, seed=3, size=140, base=-3.5, strength=0.0))["scores"]
    low, high = scores["interval"]
    assert low < 0.5 < high
    assert abs(scores["calibration"]["skill"]) < 0.01


def test_outlines_are_never_divided_between_folds(tmp_path, monkeypatch):
    kept = {}
    whole, sampled = training.Fits, training.draw_sample
    monkeypatch.setattr(
        training, "Fits", lambda ground, *rest: kept.setdefault("ground", ground) and whole(ground, *rest)
    )
    monkeypatch.setattr(training, "draw_sample", lambda *a, **k: kept.setdefault("sample", sampled(*a, **k)))
    learn(draw(tmp_path, seed=4, size=140, base=-7.2, points=False))
    slide, fold = kept["sample"].slide, kept["ground"].fold
    assert all(len(np.unique(fold[slide == one])) == 1 for one in np.unique(slide[slide >= 0]))
    assert np.unique(slide[slide >= 0], return_counts=True)[1].max() > 4


def test_auc_counts_weights_and_ties():
    label = np.array([0, 0, 1, 1])
    assert measure_auc(np.zeros(4), label, np.ones(4)) == 0.5
    assert measure_auc(np.array([0.1, 0.9, 0.5, 0.95]), label, np.array([3.0, 1, 1, 1])) == pytest.approx(7 / 8)
    assert np.isnan(measure_auc(np.zeros(2), np.zeros(2, np.int64), np.ones(2)))
    found = measure_calibration(np.full(4, 0.5), label, np.ones(4))
    assert (found["skill"], found["brier"]) == (0, 0.25)


def test_a_model_file_that_somebody_changed_is_refused_in_one_line(plain, tmp_path):
    landscape, _ = plain
    told = json.loads(landscape.study.with_name("model.json").read_text())
    bad = tmp_path / "bad.json"
    trees = {"start": 0, "column": [[99] * 7], "bound": [[0] * 7], "leaf": [[0] * 8]}
    for change in (
        {"factors": told["factors"][:2]},
        {"class_bounds": [3, 2, 1, 0]},
        {"learner": "os.system"},
        {"fitted": {}},
        {"calibration": {"kind": "platt", "x": [], "y": []}},
        {"format": 99},
        {"kind": "x"},
        {"fitted": {**told["fitted"], "intercept": "1e999"}},
        {"factors": 7},
        {"factors": [{**told["factors"][2], "classes": list(range(99))}] * 4},
        {"learner": "boosting", "fitted": trees},
        {"learner": "boosting", "fitted": trees, "folds": []},
    ):
        bad.write_text(json.dumps({**told, **change}))
        with pytest.raises(ModelError, match=r"bad\.json"):
            load_model(bad)
    for text in ("", "[]", "{", '{"a": NaN}', "[" * 100_000, "\xff"):
        bad.write_bytes(text.encode("latin-1"))
        with pytest.raises(ModelError, match=r"bad\.json"):
            load_model(bad)
