"""Physical terms of the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from slopeward_lab.forecasters import physics_gru
from slopeward_lab.forecasters.physics_gru import (
    FASTEST,
    add_rain,
    creep_term,
    extrapolate,
    rain_term,
    voight_term,
)
from tests.data.slopes import rain_driven


def test_only_motion_backwards_costs_in_the_creep_term():
    assert creep_term(torch.tensor([[[1.0, 2.0, 2.0]]])).item() == 0.0
    assert creep_term(torch.tensor([[[1.0, 0.5]]])).item() == pytest.approx(0.25)


def test_only_motion_that_rain_takes_away_costs_in_the_rain_term():
    dry = torch.tensor([[[1.0, 1.0]]])
    wetter = torch.tensor([[[2.0, 0.0]]])
    assert rain_term(dry, wetter).item() == pytest.approx(0.5)


def test_rain_is_added_to_the_newest_row_of_known_rain():
    drivers = torch.ones(1, 3, 3, 2)
    drivers[0, -1, 2] = 0.0  # a gauge without a value
    difference = add_rain(drivers, [True, False, True]) - drivers
    assert difference.count_nonzero() == 1
    assert difference[0, -1, 0, 0] == 1.0


def make_runaway():
    """Displacement of a slope that fails after 40 rows with alpha = 2: 1/v falls linearly."""
    rows = torch.arange(0.0, 40.0, dtype=torch.float64)
    return -torch.log(40.0 - rows)


def test_the_voight_relation_continues_an_accelerating_slope():
    moved = make_runaway()
    earlier = (moved[10] - moved[0]) / 10
    later = (moved[20] - moved[10]) / 10
    expected = torch.stack([moved[25] - moved[20], moved[30] - moved[20]])
    ahead = torch.tensor([5.0, 10.0], dtype=torch.float64)
    torch.testing.assert_close(extrapolate(earlier, later, 10.0, ahead), expected, rtol=0.1, atol=0.0)
    near_failure = extrapolate(torch.tensor(0.1), torch.tensor(5.0), 10.0, torch.tensor([30.0]))
    assert near_failure.item() <= FASTEST * 5.0 * 30.0 + 1e-3


def test_the_voight_term_counts_in_windows_that_accelerate():
    scale = 10.0  # so that the motion is clear of noise
    values = (scale * make_runaway()[:21]).reshape(1, 1, 21)
    earlier = (values[..., 10] - values[..., 0]) / 10
    later = (values[..., 20] - values[..., 10]) / 10
    expected = extrapolate(earlier, later, 10.0, torch.tensor([5.0, 10.0], dtype=torch.float64))
    assert voight_term(values, expected, lag=10, steps=(5, 10)).item() == pytest.approx(0.0, abs=1e-9)
    assert voight_term(values, 0.3 * expected, lag=10, steps=(5, 10)).item() > 0.1
    steady = torch.arange(21.0, dtype=torch.float64).reshape(1, 1, 21)
    assert voight_term(steady, expected, lag=10, steps=(5, 10)).item() == 0.0
    gap = values.clone()
    gap[..., 10] = torch.nan
    assert voight_term(gap, expected, lag=10, steps=(5, 10)).item() == 0.0


@pytest.mark.parametrize("term", ["CREEP_WEIGHT", "RAIN_WEIGHT", "VOIGHT_WEIGHT"])
def test_each_term_changes_the_training(monkeypatch, term):
    panel = rain_driven()
    parts = split(panel.values.shape[0])
    settings = Settings(epochs=1, stride=3, window=14, hidden=8, learning_rate=1e-2)

    def train():
        return train_network("physics-gru", panel, parts, (DAY_S, 3 * DAY_S), settings).forecaster.network.state_dict()

    before = train()
    monkeypatch.setattr(physics_gru, term, 50.0)
    after = train()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_terms_need_no_known_forecast_of_every_station():
    panel = rain_driven()
    values = panel.values.copy()
    values[100:200, 1] = np.nan
    settings = Settings(epochs=1, stride=3, window=14, hidden=8)
    parts = split(values.shape[0])
    training = train_network("physics-gru", replace(panel, values=values), parts, (DAY_S,), settings)
    assert np.isfinite(training.losses).all()
