"""Explanations of forecasts: maps of attention and of learned graphs, importance and gradients."""

import pytest

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.explanation.record import explain
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.data.slopes import rain_driven
from tests.forecasting.explanation.test_explanation import list_maps


@pytest.mark.parametrize(
    ("model", "maps"),
    [
        ("bigru-attention", {"attention over rows"}),
        ("transformer", {"attention of the newest patch over patches of rows"}),
        ("graph-attention-gru", {"attention between stations", "given graphs, added"}),
        ("graph-lstm", {"learned graph", "given graphs, added"}),
    ],
)
def test_every_map_says_that_it_is_no_cause(model, maps):
    assert list_maps(model) == maps


@pytest.mark.parametrize("model", ["linear-regression", "vmd-gru", "multi-source"])
def test_networks_of_each_kind_are_explained(model):
    panel = rain_driven()
    parts = split(panel.values.shape[0])
    settings = Settings(epochs=1, window=14, hidden=8, stride=4)
    forecaster = train_network(model, panel, parts, (DAY_S,), settings).forecaster
    explanation = explain(forecaster, panel, parts)
    importance = explanation["calibration"]["permutation_mm"]["86400"]
    assert importance.keys() >= {"recent motion", "earlier motion", "rain"}
    gradients = explanation["forecast"]["stations"]["A"]["86400"]["gradients"]
    assert gradients["by_group_mm"].keys() == importance.keys()
