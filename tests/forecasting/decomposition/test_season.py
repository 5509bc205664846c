"""Split of a series into trend, season and remainder, and the reasons why there is none."""

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


def test_parts_add_up_and_equal_the_simulated_ones():
    simulated = 0.5 * np.arange(60), wave(MIDDLES), np.random.default_rng(1).normal(0.0, 0.2, 60)
    split = split_season(MIDDLES.tolist(), sum(simulated).tolist())
    assert (split.grid, split.period_rows, split.rows, split.reason) == ("month", 12, 60, None)
    parts = np.array([split.trend, split.season, split.remainder])
    np.testing.assert_allclose(parts.sum(axis=0), split.value, atol=1e-9)
    assert np.abs(parts[1] - simulated[1]).max() < 0.5
    assert np.abs(parts[0] - simulated[0]).max() < 0.5
    assert split.season_range == pytest.approx(6.0, rel=0.1)
    assert split.season_strength > 0.95
    assert split.method == split.parameters["method"] == "STL"
    assert (split.day_parts, split.day_range, split.day_strength, split.parameters["robust"]) == (
        (),
        None,
        None,
        "True",
    )
    assert split.parameters["statsmodels"]


def test_a_daily_series_with_gaps_is_split_on_days():
    times = np.arange(800.0)[np.random.default_rng(2).random(800) > 0.1] * DAY_S + 3600.0
    split = split_season(times.tolist(), wave(times).tolist())
    assert (split.grid, split.period_rows, split.reason, len(split.at_s)) == ("day", 365, None, times.size)
    assert (split.at_s[0] % DAY_S, split.season_range) == (0.0, pytest.approx(6.0, rel=0.15))


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
def test_a_record_without_two_full_years_has_no_season(times, reason):
    split = split_season(times.tolist(), wave(times).tolist())
    assert (split.reason, split.value, split.season, split.season_strength, split.parameters) == (
        reason,
        (),
        (),
        None,
        {},
    )


def test_two_full_years_are_enough():
    assert split_season(MIDDLES[:24].tolist(), wave(MIDDLES[:24]).tolist()).season_range > 3.0


def test_a_constant_series_has_no_season():
    split = split_season(MIDDLES.tolist(), [4.2] * 60)
    assert split.season_range == pytest.approx(0.0, abs=1e-9)
    assert split.season_strength < 1e-3 or split.season_range < 1e-9


def test_noise_is_remainder_and_not_season():
    noise = np.random.default_rng(3).normal(0.0, 1.0, 4 * 365)
    split = split_season((np.arange(noise.size) * DAY_S).tolist(), noise.tolist())
    assert split.season_strength < 0.1
    years = np.array(split.remainder).reshape(4, 365).std(axis=1)
    assert years.min() > 0.7, "the season contains the noise of no year"


@pytest.mark.soak
def test_hours_have_a_season_of_the_day_and_one_of_the_year():
    times = np.arange(2.2 * 365 * 24.0) * 3600.0 + 1.7e9 // DAY_S * DAY_S
    values = 0.01 * (times - times[0]) / DAY_S + wave(times) + np.sin(2 * np.pi * times / DAY_S)
    values += np.random.default_rng(4).normal(0.0, 0.3, times.size)
    is_kept = np.random.default_rng(5).random(times.size) > 0.05
    split = split_season(times[is_kept].tolist(), values[is_kept].tolist())
    assert (split.method, split.grid, split.period_rows, split.parameters["periods"]) == (
        "MSTL",
        "day",
        365,
        "(8, 2922)",
    )
    parts = np.array([split.trend, split.season, split.remainder])
    np.testing.assert_allclose(parts.sum(axis=0), split.value, atol=1e-9)
    assert split.season_range == pytest.approx(6.0, rel=0.15)
    day_season = np.sin(2 * np.pi * (np.arange(PARTS) + 1 / 3) / PARTS)  # of the hours 0, 1, 2
    assert np.abs(np.array(split.day_parts) - day_season).max() < 0.1
    assert split.day_range == pytest.approx(np.ptp(day_season), rel=0.1)
    assert split.day_strength > 0.9
    assert np.std(split.remainder) < 0.3, "the remainder does not contain the season of the day"


@pytest.mark.parametrize(
    ("days", "step_s", "gap", "method", "reason"),
    [
        (500, 3600.0, 0, "", Reason("season.years.day", {"n": 500, "needed": 730})),
        (800, 12 * 3600.0, 0, "STL", None),
        (800, 3 * 3600.0, 120, "", Reason("season.gap.day", {"n": 120, "most": 91})),
    ],
)
def test_a_series_has_one_season_or_none_if_two_cannot_be_separated(days, step_s, gap, method, reason):
    times_s = np.arange(days * DAY_S / step_s) * step_s
    times_s = times_s[(times_s < 300 * DAY_S) | (times_s >= (300 + gap) * DAY_S)]
    split = split_season(times_s.tolist(), wave(times_s).tolist())
    assert (split.method, split.reason, split.day_parts) == (method, reason, ())
