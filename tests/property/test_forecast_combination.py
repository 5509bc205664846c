"""Properties of the combination of experts over generated records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.combination.combination import Combination
from forecasting.combination.run import run
from forecasting.data.series import DAY_S, Panel

STEPS = (1, 3, 7)
HORIZONS_S = tuple(DAY_S * rows for rows in STEPS)
FEW = settings(max_examples=6, deadline=None)


@st.composite
def records(draw, rows=60, stations=(1, 3)):
    """Readings in mm, shape (T, S): a motion that changes its velocity, with noise and gaps."""
    seed = draw(st.integers(0, 2**32 - 1))
    count = draw(st.integers(*stations))
    noise = draw(st.sampled_from((0.0, 0.1, 2.0)))
    rng = np.random.default_rng(seed)
    velocity = np.cumsum(rng.normal(0.0, 0.2, (rows, count)) * (rng.random((rows, count)) < 0.1), axis=0)
    values = np.cumsum(velocity, axis=0) + rng.normal(0.0, 1.0, (rows, count)) * noise
    values[rng.random(values.shape) < draw(st.sampled_from((0.0, 0.1, 0.5)))] = np.nan
    return values


def make_panel(values, step_s=DAY_S):
    return Panel(0.0, step_s, tuple(f"S{i:02}" for i in range(values.shape[1])), values)


def assert_same_forecast(first, second):
    for name in ("fans", "margins", "stretch", "weights", "medians", "errors_mm", "counts"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in first.outside_fans:
        np.testing.assert_array_equal(first.outside_fans[name], second.outside_fans[name])
    for name in first.peers:
        np.testing.assert_array_equal(first.peers[name], second.peers[name])


def make_outside(values, seed=0):
    """Forecasts of an outside expert that are made at some rows only, shape (T, S, H, 5)."""
    rng = np.random.default_rng(seed)
    middle = np.nan_to_num(values)[:, :, None] + rng.normal(0.0, 1.0, (*values.shape, len(STEPS)))
    middle[rng.random(values.shape[0]) < 0.3] = np.nan
    return middle[..., None] + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


@FEW
@given(records(), st.integers(1, 59))
def test_later_rows_do_not_change_earlier_forecasts(values, cut):
    changed = values.copy()
    changed[cut:] = 1e4 * np.sin(np.arange(values[cut:].size)).reshape(values[cut:].shape)
    first = run(make_panel(values), HORIZONS_S, outside={"gru": make_outside(values)})
    second = run(make_panel(changed), HORIZONS_S, outside={"gru": make_outside(values)})
    np.testing.assert_array_equal(first.fans[:cut], second.fans[:cut])
    np.testing.assert_array_equal(first.outside_fans["gru"][:cut], second.outside_fans["gru"][:cut])


@FEW
@given(records(), st.integers(1, 58), st.sampled_from((DAY_S, 6 * 3600.0)))
def test_restored_state_continues_bit_for_bit(values, cut, step_s):
    outside = make_outside(values)
    stations = [f"S{i}" for i in range(values.shape[1])]
    straight = Combination.start(stations, step_s, STEPS, groups=[range(values.shape[1])])
    stored = Combination.start(stations, step_s, STEPS, groups=[range(values.shape[1])])
    for row, readings in enumerate(values):
        fans = {"gru": outside[row]} if row >= 20 else {}
        straight.advance(readings, outside=fans)
        stored.advance(readings, outside=fans)
        if row == cut:
            stored = Combination.from_arrays(stored.to_arrays())
            assert_same_forecast(straight.forecast(), stored.forecast())
    assert_same_forecast(straight.forecast(), stored.forecast())


def test_arrays_are_stored_without_pickle(tmp_path):
    state = run(make_panel(np.arange(40.0)[:, None] % 7), HORIZONS_S, outside={}).state
    np.savez(tmp_path / "state.npz", **state.to_arrays())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        restored = Combination.from_arrays(arrays)
    assert_same_forecast(state.forecast(), restored.forecast())


@FEW
@given(records())
def test_weights_are_shares_and_outside_experts_have_at_most_half(values):
    outside = {"gru": make_outside(values), "lstm": np.repeat(values[:, :, None, None], 3, axis=2) + np.zeros(5)}
    panel = make_panel(values)
    state = Combination.start(panel.stations, panel.step_s, STEPS)
    for row, readings in enumerate(values):
        state.advance(readings, outside={name: made[row] for name, made in outside.items()})
        forecast = state.forecast()
        assert (forecast.weights >= 0.0).all()
        total = forecast.weights.sum(axis=0)
        answered = np.isfinite(forecast.medians).any(axis=0)
        np.testing.assert_allclose(total, answered.astype(float), atol=1e-9)
        simple = np.isfinite(forecast.medians[:-2]).any(axis=0)
        assert (forecast.weights[-2:].sum(axis=0)[simple] <= 0.5 + 1e-9).all()


@FEW
@given(records())
def test_intervals_are_ordered_around_the_median(values):
    fans = run(make_panel(values), HORIZONS_S).fans
    assert not np.isinf(fans).any()
    known = np.isfinite(fans).all(axis=-1)
    assert (np.diff(fans[known], axis=-1) >= 0.0).all()


@FEW
@given(records(), st.floats(-1e4, 1e4))
def test_shifted_readings_shift_forecasts(values, shift):
    shifted = run(make_panel(values + shift), HORIZONS_S).fans
    np.testing.assert_allclose(shifted, run(make_panel(values), HORIZONS_S).fans + shift, rtol=1e-6, atol=1e-5)


@FEW
@given(records(), st.sampled_from((0.25, 4.0, 64.0)))
def test_scaled_readings_scale_forecasts(values, scale):
    values = values + np.random.default_rng(0).normal(0.0, 0.5, values.shape)
    scaled = run(make_panel(values * scale), HORIZONS_S).fans
    np.testing.assert_allclose(scaled, run(make_panel(values), HORIZONS_S).fans * scale, rtol=1e-6, atol=1e-6)


@FEW
@given(st.floats(-5.0, 5.0), st.floats(-1e3, 1e3), st.sampled_from((0.0, 0.3)), st.integers(0, 1000))
def test_straight_line_is_forecast_exactly(velocity, level, share_missing, seed):
    line = level + velocity * np.arange(80.0)
    missing = np.random.default_rng(seed).random(80) < share_missing
    values = np.where(missing, np.nan, line)[:, None]
    medians = run(make_panel(values), HORIZONS_S).fans[40:, 0, :, 2]
    expected = line[40:, None] + velocity * np.array(STEPS)
    known = np.isfinite(medians)
    assert known.mean() > 0.8
    np.testing.assert_allclose(medians[known], expected[known], rtol=1e-6, atol=1e-4)


@FEW
@given(records(stations=(2, 3)))
def test_station_without_readings_changes_nothing(values):
    alone = run(make_panel(values), HORIZONS_S).fans
    joined = run(make_panel(np.column_stack([values, np.full(len(values), np.nan)])), HORIZONS_S).fans
    np.testing.assert_allclose(joined[:, :-1], alone, rtol=1e-7, atol=1e-7)
    assert np.isnan(joined[:, -1]).all()


@FEW
@given(records(stations=(1, 2)), st.integers(20, 50))
def test_gap_changes_only_what_is_unknown(values, first):
    """Rows without readings keep weights and the line; the same forecast is made for the same instant."""
    gap = np.full((2, values.shape[1]), np.nan)
    state = run(make_panel(values[:first]), HORIZONS_S).state
    before = state.forecast()
    errors = before.errors_mm.copy()
    lines = [i for i, name in enumerate(before.experts) if name.startswith("line-")]
    last = before.medians[lines]
    for readings in gap:
        state.advance(readings)
    after = state.forecast()
    np.testing.assert_array_equal(after.errors_mm, errors)
    # Horizons are 1, 3 and 7 rows: two rows later the forecast one row ahead has the target of the former second.
    known = np.isfinite(after.medians[lines][..., 0])
    np.testing.assert_allclose(after.medians[lines][..., 0][known], last[..., 1][known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [(), (3, 1), (0, 1), (1, 1)])
def test_steps_must_rise(steps):
    with pytest.raises(ValueError, match="steps"):
        Combination.start(("A",), DAY_S, steps)
