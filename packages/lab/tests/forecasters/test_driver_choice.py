"""The choice of drivers by mutual information, and the network that uses it."""

from dataclasses import replace

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.neural.learner import Settings
from forecasting.neural.training import prepare
from slopeward_lab.forecasters.driver_choice import FEWEST_PAIRS, choose_drivers, measure_information
from tests.data.slopes import rain_driven


def make_drivers(rows, seed=1):
    """Rain that drives the movement, and a series of the same kind that does not."""
    rng = np.random.default_rng(seed)
    rain = np.convolve(rng.gamma(0.3, 10.0, rows), np.ones(7), mode="same")
    other = np.convolve(rng.gamma(0.3, 10.0, rows), np.ones(7), mode="same")
    level = np.cumsum(rng.normal(size=rows))
    values = np.column_stack([rain, other, level, np.sin(np.arange(rows) / 58.0)])
    names = ("R.rain.sum_7d", "X.rain.sum_7d", "W.level", "season.sin")
    drivers = DriverRows(names, ("rain", "rain", "water", "season"), values)
    moved = np.cumsum(np.square(rain) / 300.0)
    return np.column_stack([moved, 0.5 * moved]) + rng.normal(0.0, 0.2, (rows, 2)), drivers


def test_the_driver_of_the_movement_is_chosen():
    values, drivers = make_drivers(500)
    information = measure_information(values, drivers, lag=7)
    assert information["R.rain.sum_7d"][0] > 1.5 * information["R.rain.sum_7d"][1]
    chosen = choose_drivers(values, drivers, lag=7)
    assert "R.rain.sum_7d" in chosen
    assert "X.rain.sum_7d" not in chosen
    assert "season.sin" in chosen, "what is known ahead is always read"


def test_the_choice_depends_on_no_later_row_and_on_enough_of_them():
    values, drivers = make_drivers(500)
    later = drivers.values.copy()
    later[300:] = 1e5
    changed = replace(drivers, values=later)
    assert choose_drivers(values[:300], drivers, lag=7) == choose_drivers(values[:300], changed, lag=7)
    few = FEWEST_PAIRS // 2
    assert choose_drivers(values[:few], drivers, lag=7) == ("season.sin",)


def test_mic_cnn_lstm_reads_the_chosen_drivers_only():
    panel = rain_driven()
    parts = split(panel.values.shape[0])
    settings = Settings(window=20, hidden=16)
    read = prepare("mic-cnn-lstm", panel, parts, (3 * DAY_S,), settings).sources
    every = prepare("conv-lstm", panel, parts, (3 * DAY_S,), settings).sources
    assert 0 < len(read.names) < len(every.names)
    assert any(name.startswith("R.rain") for name in read.names)
