"""Trend, season and remainder: found where two years are known, refused with the reason where not."""

import numpy as np
import pytest

from forecasting.data.series import DAY_S
from forecasting.decomposition.season import PARTS, split_season
from forecasting.reasons import Reason

pytest.importorskip("statsmodels")
MONTH_S = 365.25 / 12 * DAY_S
MIDDLES = (np.arange(60) + 0.5) * MONTH_S


def wave(times_s):
    return 3.0 * np.cos(2 * np.pi * times_s / (365.25 * DAY_S))


def test_parts_add_up_and_are_those_that_were_drawn():
    drawn = 0.5 * np.arange(60), wave(MIDDLES), np.random.default_rng(1).normal(0.0, 0.2, 60)
    made = split_season(MIDDLES.tolist(), sum(drawn).tolist())
    assert (made.grid, made.period_rows, made.rows, made.reason) == ("month", 12, 60, None)
    parts = np.array([made.trend, made.season, made.remainder])
    np.testing.assert_allclose(parts.sum(axis=0), made.value, atol=1e-9)
    assert np.abs(parts[1] - drawn[1]).max() < 0.5
    assert np.abs(parts[0] - drawn[0]).max() < 0.5
    assert made.season_range == pytest.approx(6.0, rel=0.1)
    assert made.season_strength > 0.95
    assert made.method == made.parameters["method"] == "STL"
    assert (made.day_parts, made.day_range, made.day_strength, made.parameters["robust"]) == ((), None, None, "True")
    assert made.parameters["statsmodels"]


def test_a_daily_series_with_gaps_is_split_on_days():
    times = np.arange(800.0)[np.random.default_rng(2).random(800) > 0.1] * DAY_S + 3600.0
    made = split_season(times.tolist(), wave(times).tolist())
    assert (made.grid, made.period_rows, made.reason, len(made.at_s)) == ("day", 365, None, times.size)
    assert (made.at_s[0] % DAY_S, made.season_range) == (0.0, pytest.approx(6.0, rel=0.15))


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (MIDDLES[:14], Reason("season.years.month", {"n": 14, "needed": 24})),
        (np.arange(430.0) * DAY_S, Reason("season.years.day", {"n": 430, "needed": 730})),
        (np.delete(MIDDLES[:40], slice(10, 15)), Reason("season.gap.month", {"n": 5, "most": 3})),
        (np.delete(MIDDLES, slice(0, 60, 3))[:30], Reason("season.known.month", {"percent": 68})),
        (np.empty(0), Reason("season.no_readings")),
    ],
)
def test_what_cannot_be_told_is_not_invented(times, reason):
    made = split_season(times.tolist(), wave(times).tolist())
    assert (made.reason, made.value, made.season, made.season_strength, made.parameters) == (reason, (), (), None, {})


def test_two_full_years_are_enough():
    assert split_season(MIDDLES[:24].tolist(), wave(MIDDLES[:24]).tolist()).season_range > 3.0


def test_a_series_that_stands_still_has_no_season():
    made = split_season(MIDDLES.tolist(), [4.2] * 60)
    assert made.season_range == pytest.approx(0.0, abs=1e-9)
    assert made.season_strength < 1e-3 or made.season_range < 1e-9


def test_noise_alone_is_no_season_and_the_remainder_of_every_year_holds_it():
    noise = np.random.default_rng(3).normal(0.0, 1.0, 4 * 365)
    made = split_season((np.arange(noise.size) * DAY_S).tolist(), noise.tolist())
    assert made.season_strength < 0.1
    years = np.array(made.remainder).reshape(4, 365).std(axis=1)
    assert years.min() > 0.7, "no year is taken for season"


def test_hours_have_a_season_of_the_day_and_one_of_the_year():
    times = np.arange(2.2 * 365 * 24.0) * 3600.0 + 1.7e9 // DAY_S * DAY_S
    values = 0.01 * (times - times[0]) / DAY_S + wave(times) + np.sin(2 * np.pi * times / DAY_S)
    values += np.random.default_rng(4).normal(0.0, 0.3, times.size)
    kept = np.random.default_rng(5).random(times.size) > 0.05
    made = split_season(times[kept].tolist(), values[kept].tolist())
    assert (made.method, made.grid, made.period_rows, made.parameters["periods"]) == ("MSTL", "day", 365, "(8, 2922)")
    parts = np.array([made.trend, made.season, made.remainder])
    np.testing.assert_allclose(parts.sum(axis=0), made.value, atol=1e-9)
    assert made.season_range == pytest.approx(6.0, rel=0.15)
    usual = np.sin(2 * np.pi * (np.arange(PARTS) + 1 / 3) / PARTS)  # of the hours 0, 1, 2
    assert np.abs(np.array(made.day_parts) - usual).max() < 0.1
    assert made.day_range == pytest.approx(np.ptp(usual), rel=0.1)
    assert made.day_strength > 0.9
    assert np.std(made.remainder) < 0.3, "what the day does is no remainder"


@pytest.mark.parametrize(
    ("days", "step_s", "gap", "method", "reason"),
    [
        (500, 3600.0, 0, "", Reason("season.years.day", {"n": 500, "needed": 730})),
        (800, 12 * 3600.0, 0, "STL", None),
        (800, 3 * 3600.0, 120, "", Reason("season.gap.day", {"n": 120, "most": 91})),
    ],
)
def test_one_season_or_none_where_two_cannot_be_told(days, step_s, gap, method, reason):
    at = np.arange(days * DAY_S / step_s) * step_s
    at = at[(at < 300 * DAY_S) | (at >= (300 + gap) * DAY_S)]
    made = split_season(at.tolist(), wave(at).tolist())
    assert (made.method, made.reason, made.day_parts) == (method, reason, ())
