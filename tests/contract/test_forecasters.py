"""Contract of forecasting networks: no look-ahead, repeatable training, checkpoints, graphs, gaps.

The tests that take `model`, `graph_model` or `trained` run over `MODELS` of the module that collects them. A package
with networks of its own imports the names of `__all__` and sets `MODELS`, and `PULSE_TRAINING` if its networks need a
longer training.
"""

import time
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from forecasting.data.features import noise_floor, scale_lag, windows
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import CheckpointError, ForecastingError, HorizonError, NotEnoughDataError
from forecasting.neural.checkpoint import model_hash, read, to_bytes, write
from forecasting.neural.forecaster import NeuralForecaster, build_network
from forecasting.neural.learner import MOST_WINDOWS, Learner, Member, Settings, make_examples
from forecasting.neural.network import QuantileHead
from forecasting.neural.training import deterministic, directed_supports, prepare, supports, train_network
from forecasting.registry import NETWORKS
from tests.fixtures.networks import pytest_generate_tests

__all__ = (
    "PULSE_TRAINING",
    "changed_after_calibration",
    "pytest_generate_tests",
    "test_a_checkpoint_forecasts_what_was_saved",
    "test_a_station_that_fell_silent_says_nothing_to_its_neighbours",
    "test_an_untrained_network_is_its_simple_forecast",
    "test_every_network_learns_what_no_baseline_can_see",
    "test_no_network_runs_back_where_a_motion_runs_faster_than_any_it_learnt",
    "test_no_value_after_the_origin_changes_a_forecast",
    "test_nothing_that_is_fitted_depends_on_anything_after_calibration",
    "test_odd_series_are_an_error_or_a_forecast_never_nonsense",
    "test_training_moves_the_forecast_and_lowers_the_loss",
    "test_two_runs_give_the_same_bytes_on_any_number_of_threads",
    "trained",
)
MODELS = sorted(NETWORKS)
PULSE_TRAINING = dict.fromkeys(("gru", "pretrained-lstm", "lstm", "graph-gru"), (9, 200))
"""Passes and rows of the record from which a network learns pulses, where 7 passes over 200 rows are too few."""
HORIZONS = (DAY_S, 7 * DAY_S)
QUICK = Settings(epochs=2, stride=4)


def made_up(rows=420, stations=4, seed=0, gaps=0.05):
    """Return stations that move alike in two pairs, with noise, gaps and places."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.gamma(0.5, 1.0, (rows, 2)), axis=0)
    values = np.repeat(common, stations // 2, axis=1) + rng.normal(0, 0.4, (rows, stations))
    values[rng.random(values.shape) < gaps] = np.nan
    places = rng.uniform(0, 500, (stations, 2))
    return Panel(0.0, DAY_S, tuple(f"S{i}" for i in range(stations)), values, places)


PANEL = made_up()
PARTS = split(PANEL.values.shape[0])
ORIGINS = np.arange(300, 360, 5)


@cache
def training_of(model):
    """Train a network once; every test of trained weights uses this training."""
    return train_network(model, PANEL, PARTS, HORIZONS, QUICK)


@pytest.fixture(scope="module")
def trained(request):
    return training_of(request.param).forecaster


def untrained(model):
    recipe = prepare(model, PANEL, PARTS, HORIZONS, Settings())
    with deterministic(7):
        return NeuralForecaster(recipe, build_network(recipe))


def test_an_untrained_network_is_its_simple_forecast(model):
    forecaster = untrained(model)
    quantiles = forecaster.quantiles(PANEL.values, ORIGINS)
    np.testing.assert_array_equal(quantiles[..., 2], forecaster.recipe.base.predict(PANEL.values, ORIGINS))
    assert (np.diff(quantiles, axis=-1) > 0).all()
    assert sum(p.numel() for p in forecaster.network.parameters()) <= 21_000


def test_training_moves_the_forecast_and_lowers_the_loss(trained):
    median = trained.quantiles(PANEL.values, ORIGINS)[..., 2]
    assert (median != trained.recipe.base.predict(PANEL.values, ORIGINS)).any()
    losses = training_of(trained.recipe.model).losses
    assert min(losses) < losses[0]


def test_quantiles_never_cross_whatever_the_weights():
    with deterministic(1):
        head = QuantileHead(8, 3)
        torch.nn.init.normal_(head.linear.weight, std=20.0)
        out = head(torch.randn(500, 8))
    assert out.shape == (500, 3, 5)
    assert (out.diff(dim=-1) >= 0).all()


def test_no_value_after_the_origin_changes_a_forecast(trained):
    rng = np.random.default_rng(3)
    for t in (200, 260, 320, 390):
        origins = np.array([t - 10, t])
        before = trained.quantiles(PANEL.values, origins)
        changed = PANEL.values.copy()
        changed[t + 1 :] = rng.normal(0, 1e4, changed[t + 1 :].shape)
        changed[t + 2 :: 2] = np.nan
        np.testing.assert_array_equal(before, trained.quantiles(changed, origins))
        assert np.isfinite(before).any()


@pytest.fixture(scope="module")
def changed_after_calibration():
    """Return the blocks of a record, and the record with other values after its calibration block."""
    values = PANEL.values.copy()
    values[330:] = 1e5
    return split(PANEL.values.shape[0], 330), Panel(0.0, DAY_S, PANEL.stations, values, PANEL.xy_m)


def test_nothing_that_is_fitted_depends_on_anything_after_calibration(model, changed_after_calibration):
    parts, changed = changed_after_calibration
    assert prepare(model, PANEL, parts, HORIZONS, Settings()) == prepare(model, changed, parts, HORIZONS, Settings())


def test_weights_do_not_depend_on_anything_after_calibration(changed_after_calibration):
    parts, changed = changed_after_calibration
    quick = replace(QUICK, epochs=1, stride=8)
    original, from_changed = (
        train_network("gru", panel, parts, HORIZONS, quick).forecaster for panel in (PANEL, changed)
    )
    assert to_bytes(original, "d") == to_bytes(from_changed, "d")


def test_two_runs_give_the_same_bytes_on_any_number_of_threads(model_to_train):
    def train(seed=QUICK.seed):
        settings = replace(
            QUICK, seed=seed, stride=16, batch=4
        )  # two epochs of four steps suffice for different weights
        return model_hash(to_bytes(train_network(model_to_train, PANEL, PARTS, HORIZONS, settings).forecaster, "d"))

    first_hash = train()
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    try:
        torch.set_num_threads(2)
        second_hash = train()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state), "training changed the random state of its caller"
    assert second_hash == first_hash
    assert train(seed=8) != first_hash


@pytest.mark.one_case_in(4)
def test_a_checkpoint_forecasts_what_was_saved(trained, tmp_path):
    content = to_bytes(trained, "d")
    path = write(tmp_path / "new", content, {"model_hash": model_hash(content)})
    loaded, _ = read(path)
    assert loaded.recipe == trained.recipe
    np.testing.assert_array_equal(loaded.quantiles(PANEL.values, ORIGINS), trained.quantiles(PANEL.values, ORIGINS))
    read(path.with_suffix(".json"))
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".safetensors"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    content = to_bytes(untrained("gru"), "d")
    path = write(tmp_path, content, {"model_hash": model_hash(content)})
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="does not match"):
        read(path)
    junk = b"not tensors"
    with pytest.raises(CheckpointError, match="not a forecaster"):
        read(write(tmp_path, junk, {"model_hash": model_hash(junk)}))
    with pytest.raises(CheckpointError):
        read(tmp_path / "absent.safetensors")


def test_silent_station_does_not_prevent_forecasts_of_its_neighbours():
    forecaster = training_of("graph-gru").forecaster
    values = PANEL.values.copy()
    values[200:, 1] = np.nan
    forecast = forecaster.quantiles(values, np.array([399]))
    assert np.isnan(forecast[0, 1]).all()
    assert np.isfinite(forecast[0, [0, 2, 3]]).all()
    panel = Panel(0.0, DAY_S, ("S0", "S2", "S3", "X9"), values[:, [0, 2, 3, 1]])
    aligned, floors = forecaster.on_panel(panel)
    assert aligned.stations == PANEL.stations
    np.testing.assert_array_equal(forecaster.quantiles(aligned.values, np.array([399]), floors), forecast)


def test_network_without_graph_forecasts_new_stations():
    forecaster = untrained("gru")
    panel = Panel(0.0, DAY_S, ("S0", "new"), PANEL.values[:, :2])
    aligned, floors = forecaster.on_panel(panel)
    assert (aligned.stations, floors[0]) == (("S0", "new"), forecaster.recipe.noise_mm[0])
    assert np.isfinite(forecaster.quantiles(aligned.values, np.array([399]), floors)).all()
    with pytest.raises(HorizonError, match="interval"):
        forecaster.on_panel(Panel(0.0, 3600.0, ("S0",), PANEL.values[:, :1]))


def test_inputs_do_not_depend_on_level_or_unit():
    floors = noise_floor(PANEL.values)
    lag = scale_lag(DAY_S, 60)
    assert lag == 7
    original = windows(PANEL.values, ORIGINS, floors, window=60, lag=lag)
    scaled = windows(PANEL.values * 10 + 500, ORIGINS, floors * 10, window=60, lag=lag)
    np.testing.assert_allclose(original.inputs, scaled.inputs, atol=1e-4)
    np.testing.assert_allclose(original.scale_mm * 10, scaled.scale_mm)
    assert np.isfinite(original.inputs).all()
    assert windows(np.full((80, 1), np.nan), np.array([79]), np.ones(1), window=60, lag=7).share[0, 0] == 0


def test_noise_floors_and_graphs_of_series_without_values_are_finite():
    values = np.full((100, 3), np.nan)
    values[:, 0] = np.random.default_rng(0).normal(0, 2.0, 100).cumsum()
    values[:, 1] = 5.0
    floors = noise_floor(values)
    assert (floors[0], floors[1], floors[2]) == (pytest.approx(np.sqrt(2.0), rel=0.3), 1e-3, floors[0])
    graph = supports(values, None, lag=7)
    assert np.isfinite(graph).all()
    assert not graph.any()
    near = supports(PANEL.values, PANEL.xy_m, lag=7)
    np.testing.assert_allclose(near, near.transpose(0, 2, 1))
    assert np.abs(np.linalg.eigvalsh(near)).max() <= 1 + 1e-9


def test_too_little_data_raises_and_the_time_limit_is_kept():
    with pytest.raises(NotEnoughDataError):
        train_network("gru", PANEL.head(80), split(80), HORIZONS, QUICK)
    progress_calls = []
    hurried = replace(QUICK, time_limit_s=0.0)
    result = train_network("gru", PANEL, PARTS, HORIZONS, hurried, progress=lambda *a: progress_calls.append(a))
    assert (result.stopped, len(progress_calls), progress_calls[0][:2]) == ("time limit", 1, (1, 2))


def test_batches_of_many_stations_are_small_and_keep_the_time_limit():
    rng = np.random.default_rng(0)
    wide = Panel(0.0, DAY_S, tuple(f"S{i}" for i in range(900)), np.cumsum(rng.normal(0.3, 0.3, (160, 900)), axis=0))
    parts, small = split(160), Settings(window=10, hidden=4, time_limit_s=0.0)
    many = Member(prepare("gru", wide, parts, HORIZONS[:1], small), wide.values, parts)
    few = replace(many, values=wide.values[:, :128])
    learner = Learner(build_network(many.recipe), many, small, [few])
    sizes = {(m.values.shape[1], at.size) for m, at in learner._iter_batches(rng)}
    assert max(size for stations, size in sizes if stations == 900) == MOST_WINDOWS // 900
    assert max(size for stations, size in sizes if stations == 128) == small.batch, (
        "the batch size was reduced for 128 stations"
    )
    with pytest.raises(ForecastingError, match=r"gru needs more than half of the 0 s to read 900 stations once"):
        learner.run(time.monotonic(), None)


def test_the_time_limit_includes_the_final_validation(monkeypatch):
    settings = replace(QUICK, time_limit_s=1000.0)
    made = Member(prepare("gru", PANEL, PARTS, HORIZONS, settings), PANEL.values, PARTS)
    learner = Learner(build_network(made.recipe), made, settings)
    clock_s = [0.0]

    def slow(*asked):
        clock_s[0] += 1.0 if clock_s[0] else 30.0  # the first call of a process includes imports
        return make_examples(*asked)

    monkeypatch.setattr("forecasting.neural.learner.make_examples", slow)
    monkeypatch.setattr("forecasting.neural.learner.time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    final_issues = PARTS.early_stop.origins.size + PARTS.calibration.origins.size
    assert learner._estimate_final_time() == pytest.approx(final_issues / 16)
    learner.settings = replace(settings, time_limit_s=1.0)
    with pytest.raises(ForecastingError, match="gru needs more than half of the 1 s"):
        learner.run(clock_s[0], None)
    learner.settings = settings
    monkeypatch.setattr(learner, "_estimate_final_time", lambda: 1000.0)
    assert learner.run(clock_s[0], None)[1] == "time limit"


def pulsing(rows=500, stations=3, seed=5):
    """Return a slope that creeps in pulses of 20 days, predictable from a window of 26 rows, not from a line."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    rate = 1.0 + np.sin(2 * np.pi * (t + np.arange(stations)) / 20.0)
    places = np.column_stack([np.arange(stations) * 100.0, np.zeros(stations)])
    names = tuple(f"S{i}" for i in range(stations))
    return Panel(0.0, DAY_S, names, np.cumsum(rate, axis=0) + rng.normal(0, 0.2, (rows, stations)), places)


def test_every_network_learns_what_no_baseline_can_see(model, passes, rows):
    panel = pulsing(rows)
    parts = split(panel.values.shape[0])
    steps = (7,)
    settings = Settings(epochs=passes, learning_rate=8e-3, batch=8, dropout=0.0, patience=14, window=26)
    forecaster = train_network(model, panel, parts, (7 * DAY_S,), settings).forecaster
    origins = parts.calibration.origins
    observed = parts.calibration.targets(panel.values, origins, steps[0])
    median = forecaster.quantiles(panel.values, origins)[:, :, 0, 2]
    base = forecaster.recipe.base.predict(panel.values, origins)[:, :, 0]
    valid = np.isfinite(observed) & np.isfinite(median)
    error = np.abs(median - observed)[valid].mean()
    assert error < 0.5 * np.abs(panel.values[origins] - observed)[valid].mean()
    assert error < 0.8 * np.abs(base - observed)[valid].mean()


def list_weight_shapes(models):
    """Return the names and shapes of the weights of each network, without duplicates."""
    states = [untrained(model).network.state_dict() for model in models]
    return {tuple(sorted((name, tuple(value.shape)) for name, value in state.items())) for state in states}


def test_no_two_networks_have_the_same_weights_by_shape():
    assert len(list_weight_shapes(MODELS)) == len(MODELS)


@pytest.mark.one_case_in(4)
def test_odd_series_are_an_error_or_a_forecast_never_nonsense(model):
    with pytest.raises(NotEnoughDataError):
        train_network(model, PANEL.head(30), split(30), HORIZONS, QUICK)
    still = Panel(0.0, DAY_S, PANEL.stations, np.full_like(PANEL.values, 5.0), PANEL.xy_m)
    trained_on_still = train_network(model, still, PARTS, HORIZONS, replace(QUICK, epochs=1, stride=16)).forecaster
    quantiles = trained_on_still.quantiles(still.values, ORIGINS)
    assert np.isfinite(quantiles).all()
    assert np.abs(quantiles - 5.0).max() < 0.1
    forecaster = untrained(model)
    values = PANEL.values.copy()
    values[250:, 1] = np.nan
    with_gap = forecaster.quantiles(values, ORIGINS)
    assert np.isnan(with_gap[-1, 1]).all()
    assert np.isfinite(with_gap[:, [0, 2, 3]]).all()


def test_a_station_that_fell_silent_says_nothing_to_its_neighbours(graph_model):
    forecaster = training_of(graph_model).forecaster
    values = PANEL.values.copy()
    values[250:, 1] = np.nan
    before = forecaster.quantiles(values, np.array([399]))
    values[:250, 1] *= 50.0  # values long before the window
    np.testing.assert_array_equal(before, forecaster.quantiles(values, np.array([399])))
    moved = PANEL.values.copy()
    moved[380:, 1] += 40.0
    difference = np.abs(
        forecaster.quantiles(moved, np.array([399])) - forecaster.quantiles(PANEL.values, np.array([399]))
    )
    assert difference[0, [0, 2, 3], :, 2].max() > 1e-6, "the motion of a neighbour does not affect the forecast"


def test_directed_edge_starts_at_the_station_that_moves_first():
    rng = np.random.default_rng(2)
    first = np.cumsum(rng.normal(0, 1.0, 400))
    values = np.column_stack([first, np.concatenate([[first[0]], first[:-1]])]) + rng.normal(0, 0.05, (400, 2))
    forwards, backwards = directed_supports(values, None, lag=1)
    np.testing.assert_array_equal(forwards, [[0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(backwards, [[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.one_case_in(3)
def test_no_network_runs_back_where_a_motion_runs_faster_than_any_it_learnt(model_to_train):
    """After quiet months a slide follows. Corrections learnt from noise must not be scaled up with the motion."""
    row, rng = np.arange(500.0), np.random.default_rng(4)
    pace = 0.02 + np.where(row < 400, 0.0, 0.2 * np.exp((row - 400.0) / 15.0))
    values = np.cumsum(np.outer(pace, [1.0, 0.5, 2.0]), axis=0) + rng.normal(0.0, 1.0, (500, 3))
    panel, known = Panel(0.0, DAY_S, ("A", "B", "C"), values), 420
    settings = Settings(epochs=4, learning_rate=8e-3, batch=16, window=30)
    forecaster = train_network(model_to_train, panel.head(known), split(known), HORIZONS, settings).forecaster
    origins = np.arange(460, 490)
    forecast = forecaster.quantiles(values, origins)[:, :, 0, 2] - values[origins]
    observed = values[origins + forecaster.recipe.steps[0]] - values[origins]
    assert (forecast > 0.6 * observed).mean() > 0.95
