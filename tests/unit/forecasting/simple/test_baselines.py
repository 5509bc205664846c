"""Simple forecasts: their formulas against a slow second implementation, gaps, choice on calibration."""

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import last_value, trailing
from forecasting.errors import UnknownModelError
from forecasting.registry import BASELINES, NETWORKS
from forecasting.simple.auto import fit_auto
from forecasting.simple.baselines import LevelDrift, Seasonal, fit_baseline, fit_lld

STEPS = (1, 7, 30)


def made_up(rows=400, stations=3, seed=0, gaps=0.1):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0.2, 0.1, (rows, stations)), axis=0) + rng.normal(0, 0.5, (rows, stations))
    values[rng.random(values.shape) < gaps] = np.nan
    return Panel(0.0, DAY_S, tuple(f"S{i}" for i in range(stations)), values)


def slow_lld(series, t, h, m, k, b):
    window = series[max(0, t - m + 1) : t + 1]
    age = np.arange(window.size)[::-1]
    seen = np.isfinite(window)
    if seen.any():
        level, centre = window[seen].mean(), age[seen].mean()
    else:
        for back in range(4):
            if t - back >= 0 and np.isfinite(series[t - back]):
                level, centre = series[t - back], back
                break
        else:
            return np.nan
    part = series[max(0, t - k) : t + 1]
    x = np.arange(part.size)[np.isfinite(part)]
    slope = np.polyfit(x, part[np.isfinite(part)], 1)[0] if x.size > 1 else 0.0
    return level + b * slope * (h + centre)


@pytest.mark.parametrize("params", [(1, 1, 0.0), (1, 7, 1.0), (5, 60, 0.75), (21, 90, 0.5), (10, 3, 0.9)])
def test_level_drift_is_its_formula_with_gaps(params):
    panel = made_up(gaps=0.3)
    origins = np.arange(0, 400, 7)
    got = LevelDrift("lld", (7,), (params,)).predict(panel.values, origins)[:, :, 0]
    want = [[slow_lld(panel.values[:, s], t, 7, *params) for s in range(3)] for t in origins]
    np.testing.assert_allclose(got, want, atol=1e-8)
    assert np.isfinite(got).mean() > 0.9


def test_without_gaps_the_level_sits_half_a_window_back():
    values = 2.0 * np.arange(200.0)[:, None] + 5.0
    for m, k in ((1, 7), (7, 60), (21, 30)):
        got = LevelDrift("lld", (7,), ((m, k, 1.0),)).predict(values, np.array([150]))
        np.testing.assert_allclose(got, 2.0 * 157 + 5.0, atol=1e-7)


def test_seasonal_repeats_last_years_increment_and_never_looks_ahead():
    day = np.arange(1200)
    values = (0.01 * day + np.sin(2 * np.pi * day / 365))[:, None]
    origins = np.array([300, 364, 365, 900])
    got = Seasonal("seasonal", (30, 400), 365).predict(values, origins)
    assert np.isnan(got[:2]).all()
    np.testing.assert_allclose(got[3, 0, 0], values[930, 0], atol=0.05)
    # 400 d ahead needs two periods back
    np.testing.assert_allclose(got[3, 0, 1], values[900, 0] + values[900 - 730 + 400, 0] - values[170, 0])
    assert np.isnan(got[2, 0, 1])


def test_a_value_is_held_three_rows_and_no_longer():
    values = np.array([[1.0], [np.nan], [np.nan], [np.nan], [np.nan]])
    level, age = last_value(values, np.arange(5))
    np.testing.assert_array_equal(level[:, 0], [1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(age[:, 0], [0, 1, 2, 3, np.nan])
    assert trailing(values, np.arange(5), [2])[2].count[:, 0].tolist() == [1, 1, 0, 0, 0]


def test_many_stations_have_the_moments_of_each_alone():
    values = np.random.default_rng(3).normal(size=(900, 70))
    values[::7, 3:] = np.nan
    origins = np.arange(20, 900)
    every = trailing(values, origins, [1, 16])[16]
    for s in (0, 27, 28, 69):  # on both sides of what is worked on at a time
        own = trailing(values[:, [s]], origins, [16])[16]
        assert np.array_equal(every.mean[:, s], own.mean[:, 0], equal_nan=True)
        assert np.array_equal(every.slope[:, s], own.slope[:, 0])


def test_lld_is_chosen_on_calibration_only():
    panel = made_up(rows=600)
    chosen = fit_lld(panel, Block(300, 400), STEPS)
    changed = panel.values.copy()
    changed[400:] *= -50
    assert fit_lld(Panel(0.0, DAY_S, panel.stations, changed), Block(300, 400), STEPS) == chosen
    changed[300:400] *= -50
    assert fit_lld(Panel(0.0, DAY_S, panel.stations, changed), Block(300, 400), STEPS) != chosen


def test_auto_takes_what_the_series_asks_for():
    rng = np.random.default_rng(2)
    day = np.arange(1100)
    steady = np.stack([3.0 * day + rng.normal(0, 0.1, 1100)] * 2, axis=1)
    auto = fit_auto(Panel(0.0, DAY_S, ("A", "B"), steady), Block(800, 1100), (30,))
    assert set(auto.chosen) <= {"lld", "drift", "arima", "lad", "trend"}
    assert np.isfinite(auto.predict(steady, np.array([1099]))).all()
    walk = np.cumsum(
        rng.normal(0, 4.0, (1100, 2)), axis=0
    )  # a season 30 days ahead is lost in it: no candidate of a year
    chosen = fit_auto(Panel(0.0, DAY_S, ("A", "B"), walk), Block(800, 1100), (30,)).chosen
    assert not set(chosen) & {"seasonal", "climatology"}


def test_a_short_record_still_forecasts():
    panel = made_up(rows=12, gaps=0.0)
    auto = fit_auto(panel, Block(2, 12), STEPS)
    assert auto.chosen == ("trend", "trend", "trend")
    assert np.isfinite(auto.predict(panel.values, np.array([11]))).all()


def test_every_listed_baseline_fits_and_describes_itself():
    panel = made_up()
    for name in BASELINES:
        assert fit_baseline(name, panel, Block(300, 400), STEPS).name == name
    with pytest.raises(UnknownModelError, match="persistence"):
        fit_baseline("oracle", panel, Block(300, 400), STEPS)
    assert not set(BASELINES) & set(NETWORKS)
