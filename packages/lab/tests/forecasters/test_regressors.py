"""Regressions of scikit-learn: stored tensors, choice of the share, drivers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.neural.learner import Settings
from forecasting.neural.network import Shape
from forecasting.neural.training import train_network
from forecasting.neural.tuning import fine_tune
from forecasting.registry import load
from slopeward_lab.forecasters.regressors import SHARES, _choose_share
from tests.data.slopes import rain_driven

REGRESSORS = ("linear-regression", "random-forest", "svr", "ann")
WIDTH = 6


def make_table(rows=160, seed=2):
    """Inputs and targets of two horizons, of which some are unknown."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, WIDTH)).astype(np.float32).astype(np.float64)
    targets = np.column_stack([inputs[:, 0] - 0.5 * inputs[:, 1], np.tanh(3 * inputs[:, 2])])
    targets += rng.normal(0.0, 0.1, targets.shape)
    targets[::7, 1] = np.nan
    return inputs, targets


def make_estimator(model, hidden, seed):
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    return {
        "linear-regression": LinearRegression(),
        "random-forest": RandomForestRegressor(100, min_samples_leaf=5, max_features=1 / 3, random_state=seed),
        "svr": make_pipeline(StandardScaler(), SVR()),
        "ann": make_pipeline(
            StandardScaler(),
            MLPRegressor(
                hidden_layer_sizes=(hidden,),
                learning_rate_init=5e-3,
                alpha=1e-2,
                early_stopping=True,
                max_iter=500,
                random_state=seed,
            ),
        ),
    }[model]


@pytest.mark.parametrize("model", REGRESSORS)
def test_stored_tensors_predict_what_scikit_learn_predicts(model):
    inputs, targets = make_table()
    network = load(model)(Shape(WIDTH, 1, 2, 8, 0.0))
    fitted = network.fit(inputs, targets, seed=3)
    assert set(fitted) == set(network.stored)
    for name, values in fitted.items():
        network.register_buffer(name, torch.from_numpy(values))
    predicted = network.regress(torch.from_numpy(inputs)).numpy()
    for horizon in range(2):
        is_known = np.isfinite(targets[:, horizon])
        scaled = inputs  # the networks standardise the inputs of all horizons together
        estimator = make_estimator(model, 8, 3)
        if model in {"svr", "ann"}:
            estimator.named_steps["standardscaler"].fit(inputs)
            scaled = estimator.named_steps["standardscaler"].transform(inputs)
            estimator = estimator.steps[-1][1]
        expected = estimator.fit(scaled[is_known], targets[is_known, horizon]).predict(scaled)
        np.testing.assert_allclose(predicted[:, horizon], expected, atol=1e-5)


def test_too_few_targets_are_refused():
    inputs, targets = make_table(rows=30)
    targets[:15, 1] = np.nan
    with pytest.raises(NotEnoughDataError, match="known targets, a regression needs 20"):
        load("linear-regression")(Shape(WIDTH, 1, 2, 8, 0.0)).fit(inputs, targets, seed=3)


def test_the_share_of_a_useless_prediction_is_0():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=400)
    useful, fan = _choose_share(targets + rng.normal(0.0, 0.1, 400), targets)
    useless, _ = _choose_share(rng.normal(size=400), targets)
    assert (useful, useless) == (SHARES[-1], 0.0)
    assert fan[2] == 0.0
    assert (np.diff(fan) > 0).all()
    assert fan[3] == pytest.approx(0.128, abs=0.03), "the 90 % quantile of errors with a standard deviation of 0.1"


def test_the_quantiles_of_exact_predictions_do_not_coincide():
    _, fan = _choose_share(np.ones(50), np.ones(50))
    assert (np.diff(fan) > 0).all()


def test_an_unused_regression_has_the_gradient_0():
    network = load("random-forest")(Shape(4, 10, 2, 8, 0.0))
    rows = torch.randn(3, 2, 10, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(rows).sum(), rows)
    assert not gradient.any()


def test_a_regression_that_starts_from_a_checkpoint_is_fitted_again_with_replayed_records():
    panel = rain_driven()
    settings = Settings(window=14, hidden=16)
    early = panel.head(300)
    forecaster = train_network("linear-regression", early, split(300), (DAY_S,), settings).forecaster
    before = forecaster.network.coefficients.clone()
    training = fine_tune(forecaster, panel, split(panel.values.shape[0]), settings, replay=[(early, split(300))])
    assert training.stopped == "fitted"
    assert not torch.equal(training.forecaster.network.coefficients, before)
    torch.testing.assert_close(forecaster.network.coefficients, before)


@pytest.mark.parametrize("model", REGRESSORS)
def test_rain_that_causes_the_motion_is_used(model):
    panel = rain_driven()
    parts = split(panel.values.shape[0])
    settings = Settings(window=14, hidden=16)

    training = train_network(model, panel, parts, (3 * DAY_S,), settings)
    without_rain = train_network(model, replace(panel, drivers=None), parts, (3 * DAY_S,), settings)
    assert training.stopped == "fitted"
    assert training.losses[1] < 0.8 * without_rain.losses[1] < without_rain.losses[0]
    forecaster = training.forecaster
    origins = np.array([300])
    before = forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    later = panel.drivers.values.copy()
    later[301:] = 1e4
    changed = replace(panel.drivers, values=later)
    np.testing.assert_array_equal(before, forecaster.quantiles(panel.values, origins, drivers=changed))
    assert np.isfinite(forecaster.quantiles(panel.values, origins)).all(), "drivers may be missing"
