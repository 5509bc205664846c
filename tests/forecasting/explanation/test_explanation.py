"""Explanations add up, find the inputs that a model uses, and are the same for the same network."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.explanation import record
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.data.slopes import rain_driven

HORIZONS = (DAY_S, 3 * DAY_S)
PANEL = rain_driven()
PARTS = split(PANEL.values.shape[0])
QUICK = Settings(epochs=5, learning_rate=1e-2, batch=16, dropout=0.0, window=14, hidden=8)


@pytest.fixture(scope="module")
def forecaster():
    return train_network("graph-gru", PANEL, PARTS, HORIZONS, QUICK).forecaster


@pytest.fixture(scope="module")
def explanation(forecaster):
    return record.explain(forecaster, PANEL, PARTS)


def test_permutation_importance_finds_the_input_that_is_used():
    rng = np.random.default_rng(1)
    used, idle = rng.normal(size=200), rng.normal(size=200)

    def error(group, order):
        x = used[order] if group == "used" else used
        _ = idle[order]
        return np.array([np.abs(2.0 * x - 2.0 * used).mean()])

    importance = record.permutation_importance(error, ["used", "idle"], 200, repeats=3, seed=4)
    assert importance["idle"][0] == 0.0
    assert importance["used"][0] == pytest.approx(2.0 * np.mean(np.abs(used[:, None] - used)), rel=0.1)
    reordered = record.permutation_importance(error, ["idle", "used"], 200, repeats=3, seed=4)
    assert reordered["used"] == importance["used"], "each group has the same orders"


def test_integrated_gradients_of_known_functions():
    x, start = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    linear = record.integrate(lambda v: v @ torch.tensor([3.0, -1.0], dtype=torch.float64), [x], [start])
    np.testing.assert_allclose(linear.parts[0], [3.0, -2.0])
    assert linear.complete
    product = record.integrate(lambda v: v[:, 0] * v[:, 1], [x], [start])
    np.testing.assert_allclose(product.parts[0], [1.0, 1.0])
    no_difference = record.integrate(lambda v: v.sum(dim=1), [x], [x])
    assert no_difference.difference == 0.0
    assert no_difference.complete
    # a jump cannot be integrated, so the result is marked as incomplete
    jump = record.integrate(lambda v: (v[:, 0] > 0.001).double() + 0.0 * v.sum(dim=1), [x], [start])
    assert not jump.complete
    assert jump.completeness_error > record.COMPLETENESS


def test_a_forecast_without_gradients_has_no_parts():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64)
    constant = record.integrate(lambda v: torch.ones(len(v), dtype=torch.float64), [x], [start])
    assert constant.complete
    tree = record.integrate(lambda v: (v[:, 0] > 0.5).double(), [x], [start])
    assert (tree.difference, tree.complete) == (1.0, False)
    assert not tree.parts[0].any()


@pytest.mark.soak
def test_gradients_add_up_by_group_and_by_row(forecaster, explanation):
    assert record.list_groups(forecaster) == ("recent motion", "earlier motion", "neighbours", "rain", "water")
    assert json.loads(json.dumps(explanation, allow_nan=False)) == explanation
    for station, by_horizon in explanation["forecast"]["stations"].items():
        column = PANEL.stations.index(station)
        served = forecaster.quantiles(PANEL.values, np.array([459]), drivers=PANEL.drivers)[0, column, :, 2]
        base = forecaster.recipe.base.predict(PANEL.values, np.array([459]))[0, column]
        for i, answer in enumerate(by_horizon.values()):
            assert answer["correction_mm"] == pytest.approx(served[i] - base[i], abs=2e-3)
            gradients = answer["gradients"]
            assert gradients["complete"]
            assert gradients["completeness_error"] < record.COMPLETENESS
            tolerance = record.COMPLETENESS * abs(gradients["difference_mm"]) + 1e-4
            assert sum(gradients["by_group_mm"].values()) == pytest.approx(gradients["difference_mm"], abs=tolerance)
            assert sum(gradients["by_row_mm"]) == pytest.approx(sum(gradients["by_group_mm"].values()), abs=1e-3)


def test_rain_is_important_if_rain_drives_the_slope(explanation):
    importance = explanation["calibration"]["permutation_mm"][str(int(HORIZONS[1]))]
    assert max(importance, key=importance.get) == "rain", importance


def test_the_same_network_has_the_same_explanation(forecaster, explanation):
    assert record.explain(forecaster, PANEL, PARTS) == explanation


def list_maps(model):
    """Explain a network after a short training; check what every explanation must hold, and return its maps."""
    panel = replace(PANEL, drivers=None)
    forecaster = train_network(model, panel, PARTS, HORIZONS, replace(QUICK, epochs=1, stride=4)).forecaster
    explanation = record.explain(forecaster, panel, PARTS)
    assert record.NOT_A_CAUSE in explanation["note"]
    assert ("neighbours" in explanation["groups"]) == forecaster.network.needs_graph
    for by_horizon in explanation["forecast"]["stations"].values():
        assert all(answer["gradients"]["complete"] for answer in by_horizon.values())
    for attention in explanation["maps"]:
        assert attention["note"] == record.NOT_A_CAUSE
        if attention["kind"].startswith(("attention", "learned")):
            np.testing.assert_allclose(np.sum(attention["values"], axis=-1), 1.0, atol=1e-3)
    return {attention["kind"] for attention in explanation["maps"]}


@pytest.mark.parametrize(("model", "maps"), [("gru", set()), ("graph-gru", {"given graphs, added"})])
def test_every_map_has_the_note_that_it_is_no_cause(model, maps):
    assert list_maps(model) == maps


def test_a_station_with_a_gap_is_explained(forecaster):
    values = PANEL.values.copy()
    values[-30:, 1] = np.nan
    stations = record.explain(forecaster, replace(PANEL, values=values), PARTS)["forecast"]["stations"]["B"]
    assert stations[str(int(HORIZONS[0]))]["gradients"]["by_group_mm"]["recent motion"] is not None
