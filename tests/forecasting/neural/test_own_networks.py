"""What a network can define besides its layers: derived inputs, chosen drivers, a term of the loss, a direct fit."""

import numpy as np
import pytest
import torch
from torch import nn

from forecasting import registry
from forecasting.data.features import FEATURES
from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.neural.learner import Settings
from forecasting.neural.network import StationNetwork
from forecasting.neural.training import train_network
from tests.data.slopes import rain_driven

PANEL = rain_driven(rows=240)
PARTS = split(PANEL.values.shape[0])
HORIZONS = (DAY_S, 3 * DAY_S)
SETTINGS = Settings(epochs=1, window=10, hidden=4, stride=4)


class Own(StationNetwork):
    """Reads the window and its reverse, chooses the rain, and adds a term to the loss."""

    derived_features = 1

    def __init__(self, shape):
        super().__init__(shape)
        self.features = shape.features
        self.kinds = shape.kinds
        self.encoder = nn.Linear(shape.features, shape.hidden)
        self.batches = []

    @classmethod
    def derive_features(cls, windows):
        return windows[:, :, ::-1, :1]

    @classmethod
    def choose_drivers(cls, values, drivers, *, lag):
        assert values.shape[0] == PARTS.fit.end
        assert lag == 2
        return drivers.without(("water",))

    def encode(self, rows):
        value = rows[..., 0]
        torch.testing.assert_close(rows[..., len(FEATURES)], value.flip(1))
        return self.encoder(rows[:, -1])

    def penalty(self, examples, quantiles):
        assert examples.motion.shape == examples.unit.shape == quantiles.shape[:-1]
        self.batches.append(examples)
        return quantiles.mean()


class Fitted(Own):
    """Stores the mean of the targets instead of learning by gradient descent."""

    is_fitted_directly = True

    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("mean", torch.zeros(shape.horizons))

    def fit_examples(self, fit, early_stop, *, seed):
        assert seed == 5
        assert early_stop.wanted.shape[2] == 2
        self.mean = torch.nanmean(fit[0].wanted, dim=(0, 1))


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    entries = {name: registry.NetworkEntry(f"{__name__}:{name.title()}") for name in ("own", "fitted")}
    monkeypatch.setattr(registry, "_load_installed", lambda: entries)


def test_a_network_reads_derived_inputs_and_the_drivers_that_it_chose():
    network = train_network("own", PANEL, PARTS, HORIZONS, SETTINGS).forecaster.network
    rain = PANEL.drivers.kinds.count("rain")
    assert network.kinds == ("rain",) * rain
    trend = len(HORIZONS)
    motion_scale = 1
    assert network.features == len(FEATURES) + 1 + trend + 2 * (rain + motion_scale)
    assert network.batches, "the term of the loss was computed"
    motion = network.batches[0].motion
    assert torch.isfinite(motion).any()


def test_a_network_that_is_fitted_directly_has_no_epochs():
    training = train_network("fitted", PANEL, PARTS, HORIZONS, Settings(seed=5, window=10, hidden=4, stride=4))
    assert (training.stopped, training.epochs, len(training.losses)) == ("fitted", 1, 2)
    assert np.isfinite(training.forecaster.network.mean.numpy()).all()
    assert not training.forecaster.network.training
