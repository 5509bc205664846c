"""The season of the year: found where years repeat, refused where they do not, and laid on what `auto` forecasts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.simple.auto import fit_auto, fit_season

YEAR = 365.25


def draw(rows: int, size: float, noise: float, seed: int, *, step_s: float = DAY_S, stations: int = 2) -> Panel:
    """A slow creep with a season of that size in mm, its second harmonic a third of it, and white noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None] * step_s / DAY_S
    phase = rng.uniform(0, YEAR, stations)
    season = size * np.cos(2 * np.pi * (t - phase) / YEAR) + size / 3 * np.cos(4 * np.pi * (t - phase) / YEAR)
    values = 0.01 * t + season + rng.normal(0, noise, (rows, stations))
    return Panel(0.0, step_s, tuple(f"S{i}" for i in range(stations)), values)


@settings(deadline=None, max_examples=15)
@given(
    years=st.floats(2.5, 5.0),
    size=st.floats(3.0, 30.0),
    step_d=st.sampled_from([1.0, 6.0, 12.0]),
    seed=st.integers(0, 99),
    gaps=st.floats(0.0, 0.2),
)
def test_a_season_that_repeats_is_found(years, size, step_d, seed, gaps):
    rows = int(years * YEAR / step_d)
    panel = draw(rows, size, size / 10, seed, step_s=step_d * DAY_S)
    panel.values[np.random.default_rng(seed + 1).random(panel.values.shape) < gaps] = np.nan
    true = draw(rows, size, 0.0, seed, step_s=step_d * DAY_S).values - 0.01 * np.arange(rows)[:, None] * step_d
    found = fit_season(panel, rows, (max(1, round(30 / step_d)),))
    assert found is not None
    off = found.compute(rows) - true
    assert np.abs(off - off.mean(axis=0)).max() < 0.35 * size


@settings(deadline=None, max_examples=15)
@given(years=st.floats(2.0, 4.0), seed=st.integers(0, 99), size=st.floats(20.0, 200.0))
def test_surges_of_other_months_in_each_year_are_no_season(years, seed, size):
    rng = np.random.default_rng(seed)
    rows = int(years * YEAR)
    begins = [int(YEAR * (k + share)) for k, share in enumerate((0.1, 0.6, 0.3, 0.8))]  # surges a third of a year apart
    moved = sum(size / (1 + np.exp(-(np.arange(rows) - b) / 5.0)) for b in begins)
    values = moved[:, None] + rng.normal(0, 0.5, (rows, 1))
    found = fit_season(Panel(0.0, DAY_S, ("A",), values), rows, (30,))
    assert found is None or np.ptp(found.compute(rows)) < 0.35 * size


def test_a_step_stays_out_and_a_station_without_a_season_keeps_none():
    panel = draw(1200, 10.0, 1.0, 3, stations=3)
    panel.values[:, 2] = np.random.default_rng(5).normal(0, 1.0, 1200)
    clean = fit_season(panel, 1200, (30,)).compute(1200)
    panel.values[700:, 0] += 500.0
    stepped = fit_season(panel, 1200, (30,))
    assert np.abs(stepped.compute(1200)[:, 0] - clean[:, 0]).max() < 2.0
    assert np.abs(clean[:, 2]).max() < 0.5
    assert stepped.is_at(0)


@pytest.mark.parametrize(
    ("rows", "step_s", "ahead"), [(600, DAY_S, 30), (1200, DAY_S, 3), (900, 3600.0, 720), (240, 30 * DAY_S, 1)]
)
def test_less_than_two_years_or_a_week_ahead_and_months_have_none(rows, step_s, ahead):
    assert fit_season(draw(rows, 20.0, 0.1, 1, step_s=step_s), rows, (ahead,)) is None


def test_nothing_after_the_end_is_read():
    panel = draw(1400, 10.0, 1.0, 7)
    before = fit_season(panel, 1100, (30,))
    panel.values[1100:] *= -40.0
    assert fit_season(panel, 1100, (30,)) == before


def test_the_average_forecasts_the_turn_of_a_season_and_names_it():
    panel = draw(1300, 10.0, 1.0, 11)
    end = 1240  # a month of rows behind it
    auto = fit_auto(panel.head(end), Block(1000, end), (7, 30))
    truth = draw(1300, 10.0, 0.0, 11).values
    origins = np.arange(end - 30, end)
    made = auto.predict(panel.values[:end], origins)
    error = np.abs(made[:, :, 1] - truth[origins + 30]).mean()
    assert error < 0.35 * np.abs(truth[origins] - truth[origins + 30]).mean()
    assert auto.explain(1, 0).id == "forecast.season"
    assert auto.member("lld") is None, "what forecasts the rest is not `lld` of the record"
    # at one origin alone the same, to the bit
    assert np.array_equal(auto.predict(panel.values[:end], origins[-1:])[0], made[-1])
    panel.values[end - 5 :] = np.nan
    assert np.array_equal(auto.predict(panel.values[: end - 5], origins[:20]), made[:20])
