"""Attributions find the past values that carry a forecast, and add up where they must."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from slopeward_lab.explanations.forecast_attribution import attribute_forecast
from tests.data.slopes import rain_driven

pytestmark = pytest.mark.usefixtures("one_torch_thread")
PANEL = rain_driven()
HORIZONS = (DAY_S, 3 * DAY_S)
QUICK = Settings(epochs=5, learning_rate=1e-2, batch=16, dropout=0.0, window=14, hidden=8)


def end_with_rain(panel):
    """The panel up to a row two days after heavy rain."""
    rain = panel.drivers.values[:, 0]
    row = 3 + int(np.argmax(rain[100:-10])) + 100 - 1
    return panel.head(row + 1)


@pytest.fixture(scope="module")
def forecaster():
    return train_network("graph-gru", PANEL, split(PANEL.values.shape[0]), HORIZONS, QUICK).forecaster


def sum_by_input(horizon):
    sums = {}
    for part in horizon.parts:
        sums[part.input] = sums.get(part.input, 0.0) + abs(part.mm)
    return sums


@pytest.mark.parametrize("method", ["integrated-gradients", "shap", "lime"])
def test_rain_of_the_last_days_carries_the_forecast(forecaster, method):
    attribution = attribute_forecast(forecaster, end_with_rain(PANEL), "A", method, horizons_s=[3 * DAY_S])
    (horizon,) = attribution.horizons
    sums = sum_by_input(horizon)
    assert max(sums, key=sums.get) == "R.rain_mm", sums
    largest = horizon.parts[0]
    assert largest.input == "R.rain_mm"
    assert largest.newest_s <= 4 * DAY_S
    assert {part.input for part in horizon.parts} == {
        "motion of A",
        "motion of other stations",
        "R.rain_mm",
        "W.level_m",
    }


@pytest.mark.parametrize("method", ["integrated-gradients", "shap"])
def test_parts_add_up_to_the_difference_from_a_usual_window(forecaster, method):
    attribution = attribute_forecast(forecaster, PANEL, "B", method)
    assert len(attribution.horizons) == 2
    for horizon in attribution.horizons:
        assert horizon.is_complete
        total = sum(part.mm for part in horizon.parts)
        assert total == pytest.approx(horizon.explained_mm, abs=0.02 * abs(horizon.explained_mm) + 1e-6)


def test_correction_is_that_of_the_served_forecast(forecaster):
    (horizon, _) = attribute_forecast(forecaster, PANEL, "B", "shap").horizons
    origin = np.array([PANEL.values.shape[0] - 1])
    served = forecaster.quantiles(PANEL.values, origin, drivers=PANEL.drivers)[0, 1, 0, 2]
    newest = PANEL.values[-1, 1]
    assert newest + horizon.simple_mm + horizon.correction_mm == pytest.approx(served, abs=2e-3)


def test_permutation_finds_the_rain_in_past_forecasts(forecaster):
    attribution = attribute_forecast(forecaster, PANEL, "A", "permutation", horizons_s=[3 * DAY_S])
    (horizon,) = attribution.horizons
    assert horizon.parts[0].input == "R.rain_mm"
    assert horizon.parts[0].mm > 0
    assert horizon.windows > 40
    assert horizon.explained_mm > 0


def test_same_seed_gives_the_same_attribution(forecaster):
    first, second, other = (
        attribute_forecast(forecaster, PANEL, "A", "lime", horizons_s=[DAY_S], seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_ages_cover_the_window_once(forecaster):
    (horizon, _) = attribute_forecast(forecaster, PANEL, "A", "integrated-gradients").horizons
    rain = sorted((part.newest_s, part.oldest_s) for part in horizon.parts if part.input == "R.rain_mm")
    days = [day for newest, oldest in rain for day in range(round(newest / DAY_S), round(oldest / DAY_S) + 1)]
    assert days == list(range(14))


def test_network_without_graph_explains_one_station():
    panel = replace(PANEL, drivers=None)
    forecaster = train_network(
        "gru", panel, split(panel.values.shape[0]), HORIZONS, replace(QUICK, epochs=1, stride=4)
    ).forecaster
    for method in ("integrated-gradients", "shap", "lime"):
        attribution = attribute_forecast(forecaster, panel, "C", method)
        assert {part.input for horizon in attribution.horizons for part in horizon.parts} == {"motion of C"}
        assert all(horizon.is_complete for horizon in attribution.horizons)


def test_station_with_a_gap_is_explained_from_its_newest_reading(forecaster):
    values = PANEL.values.copy()
    values[-30:, 1] = np.nan
    attribution = attribute_forecast(forecaster, replace(PANEL, values=values), "B", "shap", horizons_s=[DAY_S])
    assert attribution.issued_s == PANEL.start_s + DAY_S * (PANEL.values.shape[0] - 31)
    assert np.isfinite(attribution.horizons[0].correction_mm)


def test_station_without_readings_is_refused(forecaster):
    values = PANEL.values.copy()
    values[:, 1] = np.nan
    with pytest.raises(NotEnoughDataError, match="B: fewer than two readings"):
        attribute_forecast(forecaster, replace(PANEL, values=values), "B", "shap")


def test_too_few_past_forecasts_for_permutation_are_refused(forecaster):
    values = PANEL.values.copy()
    values[-90:-3, 1] = np.nan
    with pytest.raises(NotEnoughDataError, match="use another method"):
        attribute_forecast(forecaster, replace(PANEL, values=values), "B", "permutation")
