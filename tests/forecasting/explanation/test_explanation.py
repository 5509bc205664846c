"""Explanations add up, find what a toy model uses, repeat bit for bit, and say that they are no cause."""

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
def taught():
    return train_network("graph-gru", PANEL, PARTS, HORIZONS, QUICK).forecaster


@pytest.fixture(scope="module")
def told(taught):
    return record.explain(taught, PANEL, PARTS)


def test_permutation_finds_what_a_toy_model_uses():
    rng = np.random.default_rng(1)
    used, idle = rng.normal(size=200), rng.normal(size=200)

    def error(group, order):
        x = used[order] if group == "used" else used
        _ = idle[order]
        return np.array([np.abs(2.0 * x - 2.0 * used).mean()])

    made = record.permutation_importance(error, ["used", "idle"], 200, repeats=3, seed=4)
    assert made["idle"][0] == 0.0
    assert made["used"][0] == pytest.approx(2.0 * np.mean(np.abs(used[:, None] - used)), rel=0.1)
    again = record.permutation_importance(error, ["idle", "used"], 200, repeats=3, seed=4)
    assert again["used"] == made["used"], "each group sees the same orders"


def test_integrated_gradients_of_known_functions():
    x, start = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    linear = record.integrate(lambda v: v @ torch.tensor([3.0, -1.0], dtype=torch.float64), [x], [start])
    np.testing.assert_allclose(linear.parts[0], [3.0, -2.0])
    assert linear.complete
    product = record.integrate(lambda v: v[:, 0] * v[:, 1], [x], [start])
    np.testing.assert_allclose(product.parts[0], [1.0, 1.0])
    still = record.integrate(lambda v: v.sum(dim=1), [x], [x])
    assert still.difference == 0.0
    assert still.complete
    # a jump cannot be integrated: it is said, not hidden
    jump = record.integrate(lambda v: (v[:, 0] > 0.001).double() + 0.0 * v.sum(dim=1), [x], [start])
    assert not jump.complete
    assert jump.completeness_error > record.COMPLETENESS


def test_the_record_adds_up_and_speaks_of_every_group(taught, told):
    assert record.list_groups(taught) == ("recent motion", "earlier motion", "neighbours", "rain", "water")
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    for station, by_horizon in told["forecast"]["stations"].items():
        column = PANEL.stations.index(station)
        served = taught.quantiles(PANEL.values, np.array([459]), drivers=PANEL.drivers)[0, column, :, 2]
        base = taught.recipe.base.predict(PANEL.values, np.array([459]))[0, column]
        for i, one in enumerate(by_horizon.values()):
            assert one["correction_mm"] == pytest.approx(served[i] - base[i], abs=2e-3)
            inner = one["gradients"]
            assert inner["complete"]
            assert inner["completeness_error"] < record.COMPLETENESS
            slack = record.COMPLETENESS * abs(inner["difference_mm"]) + 1e-4
            assert sum(inner["by_group_mm"].values()) == pytest.approx(inner["difference_mm"], abs=slack)
            assert sum(inner["by_row_mm"]) == pytest.approx(sum(inner["by_group_mm"].values()), abs=1e-3)


def test_rain_matters_where_the_slope_moves_by_rain(told):
    worth = told["calibration"]["permutation_mm"][str(int(HORIZONS[1]))]
    assert max(worth, key=worth.get) == "rain", worth


def test_the_same_network_gives_the_same_record(taught, told):
    assert record.explain(taught, PANEL, PARTS) == told


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
def test_every_map_says_that_it_is_no_cause(model, maps):
    assert list_maps(model) == maps


def test_a_gap_is_explained_without_invention(taught):
    values = PANEL.values.copy()
    values[-30:, 1] = np.nan
    made = record.explain(taught, replace(PANEL, values=values), PARTS)["forecast"]["stations"]["B"]
    assert made[str(int(HORIZONS[0]))]["gradients"]["by_group_mm"]["recent motion"] is not None
