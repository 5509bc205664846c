"""What is kept of a learner answers as the learner itself: trees beside scikit-learn, numbers after JSON."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from detection.susceptibility.encoding import fit_encoder
from detection.susceptibility.learners import table as learners
from detection.susceptibility.learners.boosting import export
from detection.susceptibility.study import Factor, FactorError
from detection.susceptibility.validation import fit_calibrator, fit_isotonic, fit_platt, read_calibrator

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed (extra compare)")


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
    model = HistGradientBoostingClassifier(
        max_iter=25, max_depth=depth, min_samples_leaf=5, early_stopping=False, random_state=0
    ).fit(given, label)
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
