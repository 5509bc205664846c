"""Properties of the combination of experts over generated records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.combination.combination import Combination
from forecasting.combination.run import run
from forecasting.combination.weights import ComponentGroups, Expert, ExpertWeights
from forecasting.data.series import DAY_S, Panel

STEPS = (1, 3, 7)
HORIZONS_S = tuple(DAY_S * rows for rows in STEPS)
FEW = settings(max_examples=5, deadline=None)


@st.composite
def records(draw, rows=50, stations=(1, 3)):
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
    for name in ("fans", "stretch", "weights", "medians", "errors_mm", "counts"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in first.network_fans:
        np.testing.assert_array_equal(first.network_fans[name], second.network_fans[name])
    for name in first.simple:
        np.testing.assert_array_equal(first.simple[name], second.simple[name])


def make_network(values, seed=0):
    """Forecasts of a network that are made at some rows only, shape (T, S, H, 5)."""
    rng = np.random.default_rng(seed)
    middle = np.nan_to_num(values)[:, :, None] + rng.normal(0.0, 1.0, (*values.shape, len(STEPS)))
    middle[rng.random(values.shape[0]) < 0.3] = np.nan
    return middle[..., None] + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


@pytest.mark.soak
@FEW
@given(records(), st.integers(1, 49))
def test_later_rows_do_not_change_earlier_forecasts(values, cut):
    changed = values.copy()
    changed[cut:] = 1e4 * np.sin(np.arange(values[cut:].size)).reshape(values[cut:].shape)
    first = run(make_panel(values), HORIZONS_S, networks={"gru": make_network(values)})
    second = run(make_panel(changed), HORIZONS_S, networks={"gru": make_network(values)})
    np.testing.assert_array_equal(first.fans[:cut], second.fans[:cut])
    np.testing.assert_array_equal(first.network_fans["gru"][:cut], second.network_fans["gru"][:cut])


@pytest.mark.soak
@FEW
@given(records(), st.integers(1, 48), st.sampled_from((DAY_S, 6 * 3600.0)))
def test_restored_state_continues_bit_for_bit(values, cut, step_s):
    networks = make_network(values)
    stations = [f"S{i}" for i in range(values.shape[1])]
    straight = Combination.start(stations, step_s, STEPS, groups=[range(values.shape[1])])
    stored = Combination.start(stations, step_s, STEPS, groups=[range(values.shape[1])])
    for row, readings in enumerate(values):
        fans = {"gru": networks[row]} if row >= 20 else {}
        straight.advance(readings, networks=fans)
        stored.advance(readings, networks=fans)
        if row == cut:
            stored = Combination.from_arrays(stored.to_arrays())
            assert_same_forecast(straight.forecast(), stored.forecast())
    assert_same_forecast(straight.forecast(), stored.forecast())


def test_arrays_are_stored_without_pickle(tmp_path):
    state = run(make_panel(np.arange(40.0)[:, None] % 7), HORIZONS_S, networks={}).state
    np.savez(tmp_path / "state.npz", **state.to_arrays())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        restored = Combination.from_arrays(arrays)
    assert_same_forecast(state.forecast(), restored.forecast())


@FEW
@given(records())
def test_weights_are_shares_and_networks_have_at_most_half(values):
    networks = {"gru": make_network(values), "lstm": np.repeat(values[:, :, None, None], 3, axis=2) + np.zeros(5)}
    panel = make_panel(values)
    state = Combination.start(panel.stations, panel.step_s, STEPS)
    for row, readings in enumerate(values):
        state.advance(readings, networks={name: made[row] for name, made in networks.items()})
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


@pytest.mark.soak
@FEW
@given(records(), st.sampled_from((0.1, 10.0, 1000.0)))
def test_intervals_contain_those_of_a_failure_window(values, width):
    fans = make_network(values)
    fans = fans[..., 2:3] + width * (fans - fans[..., 2:3])
    made = run(make_panel(values), HORIZONS_S, failure=fans)
    both = np.isfinite(made.fans).all(axis=-1) & np.isfinite(fans).all(axis=-1)
    assert both.any()
    assert (made.fans[both][:, :2] <= fans[both][:, :2] + 1e-9).all()
    assert (made.fans[both][:, 3:] >= fans[both][:, 3:] - 1e-9).all()
    # the width of a window changes no interval of a row without one
    narrow = run(make_panel(values), HORIZONS_S, failure=fans[..., 2:3].repeat(5, axis=-1))
    without = np.isnan(fans).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(made.fans[without], narrow.fans[without])


@pytest.mark.soak
@FEW
@given(records(), st.floats(-1e4, 1e4))
def test_shifted_readings_shift_forecasts(values, shift):
    shifted = run(make_panel(values + shift), HORIZONS_S).fans
    np.testing.assert_allclose(shifted, run(make_panel(values), HORIZONS_S).fans + shift, rtol=1e-6, atol=1e-5)


@pytest.mark.soak
@FEW
@given(records(), st.sampled_from((0.25, 4.0, 64.0)))
def test_scaled_readings_scale_forecasts(values, scale):
    values = values + np.random.default_rng(0).normal(0.0, 0.5, values.shape)
    scaled = run(make_panel(values * scale), HORIZONS_S).fans
    np.testing.assert_allclose(scaled, run(make_panel(values), HORIZONS_S).fans * scale, rtol=1e-6, atol=1e-6)


@pytest.mark.soak
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


@pytest.mark.soak
@FEW
@given(records(stations=(2, 3)))
def test_station_without_readings_changes_nothing(values):
    alone = run(make_panel(values), HORIZONS_S).fans
    joined = run(make_panel(np.column_stack([values, np.full(len(values), np.nan)])), HORIZONS_S).fans
    np.testing.assert_allclose(joined[:, :-1], alone, rtol=1e-7, atol=1e-7)
    assert np.isnan(joined[:, -1]).all()


@FEW
@given(records(stations=(1, 2)), st.integers(20, 45))
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


@pytest.mark.soak
@FEW
@given(records(stations=(3, 3)))
def test_components_of_one_motion_share_their_weights(values):
    state = run(make_panel(values), HORIZONS_S, groups=[(0, 2), (1,)]).state
    forecast = state.forecast()
    both = np.isfinite(forecast.medians[:, 0]) == np.isfinite(forecast.medians[:, 2])
    if both.all():
        np.testing.assert_allclose(forecast.weights[:, 0], forecast.weights[:, 2], rtol=1e-9)


@FEW
@given(st.integers(0, 2**32 - 1))
def test_expert_that_is_good_at_the_horizon_alone_has_most_of_its_weight(seed):
    """One expert is best one and two rows ahead, another one eight rows ahead, as in a motion that tides drive."""
    rng = np.random.default_rng(seed)
    weights = ExpertWeights([Expert("near"), Expert("far")], (8,), ComponentGroups([(0,)], 1), 1)
    spread = np.array([[0.1, 1.0], [0.2, 1.0], [1.0, 1.0], [4.0, 1.0]])  # mm, by lead time 1, 2, 4, 8 and expert
    for row in range(400):
        weights.score(row, np.zeros(1))
        shares, _ = weights.combine(row, rng.normal(0.0, 1.0, (4, 2, 1)) * spread[..., None], 2)
    assert shares[0, 0, 0] > 0.9
    assert shares[3, 1, 0] > 0.9


@pytest.mark.soak
@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from((1.0, 10.0)))
def test_change_of_velocity_is_followed_within_rows(seed, velocity):
    noise = 0.1
    row = np.arange(130.0)
    truth = np.maximum(row - 100.0, 0.0) * velocity
    values = truth + np.random.default_rng(seed).normal(0.0, noise, row.size)
    medians = run(make_panel(values[:, None]), HORIZONS_S).fans[:, 0, :, 2]
    errors = np.abs(medians[110:120, 2] - truth[117:127])
    assert errors.mean() < velocity


@pytest.mark.soak
def test_tide_is_forecast_after_some_days():
    row = np.arange(24.0 * 16.0)
    rng = np.random.default_rng(1)
    values = 5.0 * row + 40.0 * np.sin(2.0 * np.pi * row / 12.4206) + rng.normal(0.0, 1.0, row.size)
    made = run(make_panel(values[:, None], 3600.0), (6 * 3600.0,))
    observed = values[-66:]
    errors = np.abs(made.fans[-72:-6, 0, 0, 2] - observed).mean()
    line = np.abs(made.simple["line"][-72:-6, 0, 0, 2] - observed).mean()
    assert errors < 0.1 * line


def test_season_has_no_weight_before_it_was_scored_for_a_period():
    month_s = 365.25 / 12 * DAY_S
    values = np.cumsum(np.random.default_rng(2).gamma(1.0, 3.0, (60, 1)), axis=0)
    state = Combination.start(("A",), month_s, (1, 3))
    weights = []
    for readings in values:
        state.advance(readings)
        forecast = state.forecast()
        weights.append(forecast.weights[forecast.experts.index("last-year"), 0])
    weights = np.array(weights)
    assert (weights[: 12 + 24] == 0.0).all()
    assert (weights[-10:] > 0.0).all()


@pytest.mark.soak
def test_intervals_hold_their_coverage():
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(0.0, 1.0, (500, 2)), axis=0) + rng.normal(0.0, 1.0, (500, 2))
    fans = run(make_panel(values), HORIZONS_S[:2]).fans
    for position, rows in enumerate(STEPS[:2]):
        fan = fans[60:-rows, :, position]
        observed = values[60 + rows :]
        for level, low, high in ((0.8, 1, 3), (0.95, 0, 4)):
            held = (observed >= fan[..., low]) & (observed <= fan[..., high])
            assert abs(held.mean() - level) < 0.05


def test_many_stations_have_forecasts_without_regressions():
    rng = np.random.default_rng(4)
    values = np.cumsum(rng.normal(1.0, 0.1, (12, 501)), axis=0)
    state = Combination.start([f"P{i}" for i in range(501)], 6 * DAY_S, (1, 5))
    for readings in values:
        state.advance(readings)
    forecast = state.forecast()
    assert "own-regression" not in forecast.experts
    assert np.abs(forecast.fans[:, 0, 2] - values[-1] - 1.0).mean() < 0.3


@pytest.mark.parametrize("steps", [(), (3, 1), (0, 1), (1, 1)])
def test_steps_must_rise(steps):
    with pytest.raises(ValueError, match="steps"):
        Combination.start(("A",), DAY_S, steps)
