"""Experts that read drivers: they help where drivers move the slope, change nothing elsewhere, and read no future."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.combination.combination import Combination
from forecasting.combination.drivers import DRIVER_EXPERTS, FEWEST_FORECASTS, DriverRegressions
from forecasting.combination.run import run
from forecasting.data.covariates import covariates_from_samples, rows_from_covariates
from forecasting.data.series import DAY_S, Floats, Panel

STEPS = (1, 7)
HORIZONS_S = (DAY_S, 7 * DAY_S)


def draw_rain(rows: int, seed: int) -> Floats:
    """Rain of storms in mm a day."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(rows) < 0.15, rng.gamma(1.0, 15.0, rows), 0.0)


def draw_panel(seed: int, rows: int = 300, *, share: float = 1.0, stations: int = 1) -> Panel:
    """A slope whose velocity follows a slow pore pressure by this share, beside that pressure and its rain."""
    rng = np.random.default_rng([seed, 1])
    rain = draw_rain(rows, seed)
    pressure = np.zeros(rows)
    for row in range(1, rows):
        pressure[row] = 0.93 * pressure[row - 1] + 0.2 * rain[row]
    velocity = share * 0.05 * pressure + (1.0 - share) * 0.2
    moved = np.cumsum(velocity)[:, None] + rng.normal(0.0, 0.3, (rows, stations))
    panel = Panel(0.0, DAY_S, tuple(f"S{i}" for i in range(stations)), moved)
    times = panel.times_s
    samples = {"R1.rain_mm": (times, rain), "P1.pore_pressure_kpa": (times, 50.0 + pressure)}
    return replace(panel, drivers=rows_from_covariates(covariates_from_samples(samples, panel), DAY_S))


def measure_error(panel: Panel, *, first: int = 150) -> Floats:
    """Mean absolute error of the combination by horizon, mm."""
    made = run(panel, HORIZONS_S).fans[..., 2]
    values = panel.values
    return np.array([np.nanmean(np.abs(made[first:-h, :, i] - values[first + h :])) for i, h in enumerate(STEPS)])


def advance_all(values: Floats, drivers: Floats, steps: tuple[int, ...] = STEPS) -> Floats:
    """Forecasts at every row, shape (T, H, experts, S)."""
    experts = DriverRegressions(values.shape[1], steps, drivers.shape[1])
    return np.stack([experts.advance(value, driver) for value, driver in zip(values, drivers, strict=True)])


@pytest.mark.soak
def test_drivers_reduce_the_error_of_slopes_that_follow_them():
    ratios = []
    for seed in range(4):
        panel = draw_panel(seed)
        ratios.append(measure_error(panel) / measure_error(replace(panel, drivers=None)))
    day, week = np.exp(np.log(ratios).mean(axis=0))
    assert week < 0.85
    assert day < 1.0


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_drivers_without_effect_cost_less_than_one_percent(seed):
    panel = draw_panel(seed, share=0.0)
    assert (measure_error(panel) < 1.01 * measure_error(replace(panel, drivers=None))).all()


@given(cut=st.integers(60, 119), seed=st.integers(0, 3))
@settings(max_examples=4)
def test_later_rows_change_no_forecast(cut, seed):
    panel = draw_panel(seed, 120, stations=2)
    values, channels = panel.values, panel.drivers.values
    rng = np.random.default_rng(seed)
    later_values, later_channels = values.copy(), channels.copy()
    later_values[cut:] = rng.normal(0.0, 100.0, later_values[cut:].shape)
    later_channels[cut:] = rng.normal(0.0, 100.0, later_channels[cut:].shape)
    before, after = advance_all(values, channels)[:cut], advance_all(later_values, later_channels)[:cut]
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before[-1]).all()


@given(scale=st.sampled_from([1e-3, 0.3, 1e4]), shift=st.sampled_from([-1e5, 7.0]), unit=st.sampled_from([1e-4, 1e3]))
@settings(max_examples=4)
def test_forecasts_follow_a_change_of_units(scale, shift, unit):
    panel = draw_panel(4, 150)
    values, channels = panel.values, panel.drivers.values
    plain = advance_all(values, channels)
    scaled = advance_all(scale * values + shift, unit * channels + shift * unit)
    np.testing.assert_allclose(scaled, scale * plain + shift, rtol=1e-6, atol=1e-4 * scale)


def test_stored_state_continues_exactly():
    panel = draw_panel(5, 120, stations=2)
    values, channels = panel.values, panel.drivers.values
    state = Combination.start(panel.stations, DAY_S, STEPS, driver_names=panel.drivers.names)
    for row in range(90):
        state.advance(values[row], drivers=channels[row])
    restored = Combination.from_arrays(state.to_arrays())
    for row in range(90, 120):
        for one in (state, restored):
            one.advance(values[row], drivers=channels[row])
        np.testing.assert_array_equal(state.forecast().fans, restored.forecast().fans)
    assert set(DRIVER_EXPERTS) <= set(restored.experts)


def test_without_drivers_no_expert_reads_them():
    panel = replace(draw_panel(6, 60), drivers=None)
    assert not set(DRIVER_EXPERTS) & set(run(panel, HORIZONS_S).state.experts)


def test_silent_drivers_give_no_forecast_and_one_silent_channel_is_no_obstacle():
    panel = draw_panel(7, 150)
    values, channels = panel.values, panel.drivers.values.copy()
    rain = [i for i, name in enumerate(panel.drivers.names) if name.startswith("R1.")]
    channels[100:, rain] = np.nan
    channels[130:] = np.nan
    made = advance_all(values, channels)
    assert np.isfinite(made[100:130]).all()
    assert np.isnan(made[130:]).all()


def test_a_channel_that_never_changes_has_no_influence():
    panel = draw_panel(8, 150)
    values, channels = panel.values, panel.drivers.values
    constant = np.column_stack([channels, np.full(150, 450.0)])
    made, plain = advance_all(values, constant), advance_all(values, channels)
    np.testing.assert_allclose(made[-1], plain[-1], rtol=1e-6, atol=1e-9)


def test_a_stale_station_has_no_forecast():
    panel = draw_panel(9, 150)
    values, channels = panel.values.copy(), panel.drivers.values
    values[140:] = np.nan
    made = advance_all(values, channels)
    assert np.isfinite(made[142]).all()
    assert np.isnan(made[143:]).all()


def test_one_step_moves_later_forecasts_little():
    panel = draw_panel(10, 300)
    values, channels = panel.values, panel.drivers.values
    stepped = values.copy()
    stepped[200:] += 500.0
    moves, plain = advance_all(stepped, channels)[260:] - stepped[260:, None, None], None
    plain = advance_all(values, channels)[260:] - values[260:, None, None]
    assert np.abs(moves - plain).max() < 5.0


def test_channels_that_are_no_rain_and_no_water_are_not_read():
    panel = draw_panel(11, 60)
    season = replace(panel, drivers=replace(panel.drivers, kinds=("season",) * len(panel.drivers.kinds)))
    assert not set(DRIVER_EXPERTS) & set(run(season, HORIZONS_S).state.experts)


def test_an_expert_has_no_weight_before_its_trial():
    panel = draw_panel(12, 60)
    weights = []
    state = Combination.start(panel.stations, DAY_S, STEPS, driver_names=panel.drivers.names)
    for value, channels in zip(panel.values, panel.drivers.values, strict=True):
        state.advance(value, drivers=channels)
        chosen = [state.experts.index(name) for name in DRIVER_EXPERTS]
        forecast = state.forecast()
        weights.append((np.isfinite(forecast.medians[chosen]).any(), forecast.weights[chosen].sum()))
    first = next(row for row, (makes, _) in enumerate(weights) if makes)
    assert all(weight == 0.0 for _, weight in weights[: first + FEWEST_FORECASTS])
    assert weights[-1][1] > 0.0
