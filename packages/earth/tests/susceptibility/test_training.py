"""On drawn landscapes, whose truth is known: ranking, calibration, noise, swarms; and learners as they are kept."""

import json
from dataclasses import replace
from datetime import date
from importlib.util import find_spec

import numpy as np
import pytest
import rasterio

from detection.imagery.errors import ModelError
from packages.earth.tests.data.landscape import draw
from slopeward_earth.susceptibility import training
from slopeward_earth.susceptibility.encoding import fit_encoder
from slopeward_earth.susceptibility.learners import table as learners
from slopeward_earth.susceptibility.learners.boosting import export
from slopeward_earth.susceptibility.mapping import MapRequest, make_map
from slopeward_earth.susceptibility.model import load_model
from slopeward_earth.susceptibility.study import Factor, FactorError
from slopeward_earth.susceptibility.training import SusceptibilityTrainingRequest, train
from slopeward_earth.susceptibility.validation import (
    bound_auc,
    fit_calibrator,
    fit_isotonic,
    fit_platt,
    measure_auc,
    measure_calibration,
    read_calibrator,
)

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


@pytest.mark.soak
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


@pytest.mark.soak
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
    monkeypatch.setattr("slopeward_earth.susceptibility.factors.WINDOW_PX", 48)
    make_map(replace(asked, out=folder / "windows"))
    with rasterio.open(folder / "windows/susceptibility.tif") as file:
        np.testing.assert_array_equal(file.read(), whole)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    landscape = draw(tmp_path, seed=1, size=40)
    first, again = (learn(landscape, ("logistic", "boosting"), name=f"{k}.json") for k in range(2))
    assert again["model_hash"] == first["model_hash"]


@pytest.mark.soak
def test_wrong_labels_lower_the_score_and_not_the_honesty(tmp_path):
    landscape = draw(tmp_path, seed=2, size=140, noise=0.5)
    scores = learn(landscape)["scores"]
    assert scores["auc"] == pytest.approx(true_auc(landscape), abs=0.02)
    assert scores["auc"] < 0.72
    assert scores["calibration"]["expected_calibration_error"] < 0.025


@pytest.mark.soak
def test_where_landslides_lie_in_swarms_the_interval_is_that_of_blocks(tmp_path):
    landscape = draw(tmp_path, seed=1, size=150, base=-6, hidden=1.8, lumps_px=9)
    scores = learn(landscape, ("boosting",))["scores"]
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
    monkeypatch.setattr(training, "Fits", lambda one, *rest: kept.setdefault("ground", one) and whole(one, *rest))
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


def test_altered_model_file_is_refused_in_one_line(plain, tmp_path):
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


def cells(number=1500, seed=0):
    rng = np.random.default_rng(seed)
    columns = rng.normal(0, 1, (number, 4)).astype(np.float32)
    columns[:, 3] = columns[:, 3] > 0.5
    label = (rng.random(number) < 1 / (1 + np.exp(-2 * columns[:, 0] * columns[:, 1] - columns[:, 3]))).astype(np.int64)
    return columns, label


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_exported_trees_answer_as_scikit_learn_to_the_last_bit(depth):
    from sklearn.ensemble import HistGradientBoostingClassifier

    given, label = cells()
    how = {"max_iter": 25, "max_depth": depth, "min_samples_leaf": 5, "early_stopping": False, "random_state": 0}
    model = HistGradientBoostingClassifier(**how).fit(given, label)
    other = cells(70_000, seed=1)[0]
    # values that lie on a split, where one side or the other is right
    splits = np.unique(export(model).bound[export(model).bound < 1e30]).astype(np.float32)
    other[: len(splits), 0] = splits
    for columns in (other, given):
        ours = export(model).score(columns.T)
        np.testing.assert_array_equal(ours, model.decision_function(columns))


@pytest.mark.parametrize("name", learners.LEARNERS)
def test_a_learner_is_the_same_after_json(name):
    given, label = cells(400)
    fitted = learners.fit(name, given, label, seed=3)
    back = learners.read(name, **json.loads(json.dumps(learners.write_numbers(fitted))))
    np.testing.assert_array_equal(back.score(given.T), fitted.score(given.T))
    # a window answers each pixel as its cell
    window = np.random.default_rng(1).normal(0, 1, (4, 6, 5)).astype(np.float32)
    found = fitted.score(window)
    assert found.shape == (6, 5)
    np.testing.assert_allclose(fitted.score(window[:, 2, 3, None]), found[2, 3], rtol=1e-5)


def test_calibration_brings_log_odds_of_a_sample_to_shares_of_the_ground():
    rng = np.random.default_rng(0)
    score = rng.normal(0, 2, 6000)
    label = (rng.random(6000) < 1 / (1 + np.exp(-(0.5 * score - 1)))).astype(np.int64)
    weight = np.where(label == 1, 1.0, 20.0)  # the other ground was thinned
    found = fit_platt(score, label, weight)
    assert found.x[0] == pytest.approx(0.5, abs=0.05)
    assert found.y[0] == pytest.approx(-1 - np.log(20), abs=0.1)
    assert np.average(found.apply(score), weights=weight) == pytest.approx(np.average(label, weights=weight), rel=1e-3)
    # a law that no line is: steps say more of folds that they did not see
    bent = (rng.random(6000) < np.where(np.abs(score) < 1, 0.1, np.where(score < 0, 0.02, 0.6))).astype(np.int64)
    chosen = fit_calibrator(score, bent, np.ones(6000), np.arange(6000) % 5)
    assert chosen.kind == "isotonic"
    assert read_calibrator(**learners.write_numbers(chosen)).apply(score) == pytest.approx(chosen.apply(score))
    assert fit_isotonic(score, label, weight).apply(np.array([-99.0]))[0] >= 1e-6
    # a ranking that is turned round teaches nothing, rather than the contrary
    assert fit_platt(-score, label, np.ones(6000)).x[0] == 0


def test_directions_are_circles_classes_are_columns_and_the_unseen_is_unknown(tmp_path):
    kinds = {"aspect": "terrain", "rock": "classes", "rain": "value"}
    factors = [Factor(name, kind, tmp_path) for name, kind in kinds.items()]
    rng = np.random.default_rng(0)
    values = np.stack([rng.uniform(0, 360, 300), rng.integers(1, 4, 300), rng.uniform(10, 20, 300)]).astype(np.float32)
    values[1, :5] = 9  # too rare to teach anything of its own
    encoder = fit_encoder(factors, values)
    assert encoder.columns == ["aspect.cos", "aspect.sin", "rock=1", "rock=2", "rock=3", "rain"]
    seen = np.array([[0.0, 359.0, -1.0], [1, 9, 77], [15, 15, 25]], np.float32)
    columns = encoder.encode(seen)
    assert columns[0] == pytest.approx([1, 1, 0], abs=1e-3)  # north is beside north; flat ground faces nowhere
    assert columns[2:5].sum(axis=0).tolist() == [1, 0, 0]
    assert encoder.count_outside(seen).tolist() == [0, 1, 2]
    assert encoder.places() == {"aspect": [0, 1], "rock": [2, 3, 4], "rain": [5]}
    with pytest.raises(FactorError, match="rain is 12 in the whole sample"):
        fit_encoder(factors[2:], np.full((1, 9), 12, np.float32))
    with pytest.raises(FactorError, match="classes are whole numbers"):
        fit_encoder(factors[1:2], np.repeat(np.array([[1.5, 2.5]], np.float32), 30, axis=1))
