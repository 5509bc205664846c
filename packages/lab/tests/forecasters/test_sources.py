"""Networks that join sources by gates and by attention."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.data.slopes import rain_driven

PANEL = rain_driven()
PARTS = split(PANEL.values.shape[0])
HORIZONS = (3 * DAY_S,)
SETTINGS = Settings(epochs=8, learning_rate=1e-2, batch=16, stride=2, dropout=0.05, patience=14, window=14, hidden=16)


def measure_error(forecaster, drivers):
    origins = PARTS.calibration.origins
    observed = PARTS.calibration.targets(PANEL.values, origins, 3)
    medians = forecaster.quantiles(PANEL.values, origins, drivers=drivers)[:, :, 0, 2]
    return float(np.nanmean(np.abs(medians - observed)))


@pytest.mark.parametrize("model", ["multi-source", "cross-attention"])
def test_rain_is_used_and_may_be_missing(model):
    forecaster = train_network(model, PANEL, PARTS, HORIZONS, SETTINGS).forecaster
    without_rain = train_network(model, replace(PANEL, drivers=None), PARTS, HORIZONS, SETTINGS).forecaster
    assert measure_error(forecaster, PANEL.drivers) < 0.9 * measure_error(without_rain, None)
    unknown = replace(PANEL.drivers, values=np.full_like(PANEL.drivers.values, np.nan))
    assert measure_error(forecaster, unknown) == measure_error(forecaster, None)
    assert np.isfinite(measure_error(forecaster, None))


def test_multi_source_has_an_encoder_for_each_source():
    network = train_network("multi-source", PANEL, PARTS, HORIZONS, replace(SETTINGS, epochs=1)).forecaster.network
    assert set(network.encoders) == {"rain", "water", "neighbours"}
