"""Expected rain: the forecast that was known at each row is used, and later forecasts and later rain are not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.covariates import Covariate, covariates_from_samples, rows_from_covariates
from forecasting.data.rain_forecasts import Outlook, find_reach_s, lay_outlook, lay_outlooks, outlooks_from_samples
from forecasting.data.series import DAY_S, Panel
from forecasting.data.sources import RecordRecipe, read_record
from forecasting.data.splits import split
from forecasting.errors import PanelError
from forecasting.evaluation.leakage import run_leak_test
from forecasting.explanation.record import list_groups, name_kinds
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.data.slopes import rain_to_come

HORIZON = (2 * DAY_S,)
QUICK = Settings(epochs=8, learning_rate=1e-2, batch=16, dropout=0.05, patience=14, window=10, hidden=12)
EMPTY = Panel(0.0, DAY_S, ("A",), np.zeros((6, 1)))


def outlook(issued, known, expected, reach_s=2 * DAY_S):
    return Outlook("R.next", reach_s, *(np.array(x, dtype=float) for x in (issued, known, expected)))


def test_an_old_issue_that_arrives_late_does_not_replace_a_newer_one():
    covariate = lay_outlook(
        outlook(issued=[0.0, DAY_S], known=[2 * DAY_S, DAY_S], expected=[1.0, 7.0], reach_s=9e9), EMPTY
    )
    np.testing.assert_array_equal(covariate.values, [np.nan, 7.0, 7.0, 7.0, 7.0, 7.0])


def test_rows_without_a_valid_issue_are_unknown():
    assert np.isnan(lay_outlook(outlook([], [], []), EMPTY).values).all()
    assert np.isnan(lay_outlook(outlook([0.0], [0.0], [-3.0]), EMPTY).values).all()
    # an issue is not known before it is covariate
    assert np.isnan(lay_outlook(outlook([3 * DAY_S], [0.0], [4.0]), EMPTY).values[:3]).all()
    with pytest.raises(PanelError, match="reach"):
        outlook([0.0], [0.0], [1.0], reach_s=0.0)


@given(seed=st.integers(0, 10_000), row=st.integers(0, 5), count=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_no_row_depends_on_an_issue_that_arrived_after_it(seed, row, count):
    rng = np.random.default_rng(seed)
    issued = rng.uniform(-2, 7, count) * DAY_S
    known = issued + rng.exponential(0.5, count) * DAY_S
    first = outlook(issued, known, rng.gamma(1.0, 9.0, count))
    after = known > row * DAY_S + 1.0
    changed_amounts = np.where(after, rng.uniform(0, 1e4, count), first.expected_mm)
    later = np.where(after, known + rng.uniform(0, 2, count) * DAY_S, known)
    other = lay_outlook(replace(first, expected_mm=changed_amounts, known_s=later), EMPTY).values[: row + 1]
    np.testing.assert_array_equal(other, lay_outlook(first, EMPTY).values[: row + 1])


@pytest.fixture(scope="module")
def simulated():
    return rain_to_come()


def build_panel(simulated, *, fallen=None, outlooks=None):
    """Return the panel as it is built from samples, so that leaks in building it are found too."""
    panel, rain, expected = simulated
    measured = covariates_from_samples({"R.rain_mm": fallen or rain}, panel)
    outlook_rows = lay_outlooks([expected if outlooks is None else outlooks], panel)
    return replace(panel, drivers=rows_from_covariates((*measured, *outlook_rows), panel.step_s))


def train(panel):
    parts = split(panel.values.shape[0])
    return train_network("graph-gru", panel, parts, HORIZON, QUICK).forecaster


@pytest.fixture(scope="module")
def forecaster(simulated):
    return train(build_panel(simulated))


def measure_error(forecaster, panel, drivers):
    parts = split(panel.values.shape[0])
    observed = parts.calibration.targets(panel.values, parts.calibration.origins, 2)
    medians = forecaster.quantiles(panel.values, parts.calibration.origins, drivers=drivers)[:, :, 0, 2]
    return float(np.nanmean(np.abs(medians - observed)))


@pytest.mark.soak
def test_a_network_uses_expected_rain_and_works_without_it(simulated, forecaster):
    panel = build_panel(simulated)
    without_outlook = train(replace(panel, drivers=panel.drivers.without(("outlook",))))
    assert "outlook" not in without_outlook.recipe.sources.kinds
    error_with = measure_error(forecaster, panel, panel.drivers)
    error_without = measure_error(without_outlook, panel, panel.drivers)
    assert error_with < 0.8 * error_without
    silent = panel.drivers.without(("outlook",))
    masked = measure_error(forecaster, panel, silent)
    assert np.isfinite(masked)
    assert masked > error_with
    never = build_panel(simulated, outlooks=outlook([], [], []))
    assert measure_error(forecaster, never, never.drivers) == masked, "a source without forecasts is like no source"
    assert "outlook" in list_groups(forecaster)
    kinds = ("rain", "water", "image", "outlook")
    crowded = replace(
        forecaster, recipe=replace(forecaster.recipe, sources=replace(forecaster.recipe.sources, kinds=kinds))
    )
    assert name_kinds(crowded) == ("rain", "water", "image", "rain"), "six groups at most"


@pytest.mark.soak
def test_neither_later_rain_nor_later_issues_change_a_forecast(simulated, forecaster):
    panel, (times, fallen), expected = simulated
    t = 250
    before = forecaster.quantiles(panel.values, np.array([t]), drivers=build_panel(simulated).drivers)
    late = times > panel.times_s[t] + 1.0
    wetter = build_panel(simulated, fallen=(times, np.where(late, 1e4, fallen)))
    np.testing.assert_array_equal(before, forecaster.quantiles(panel.values, np.array([t]), drivers=wetter.drivers))
    unread = expected.known_s > panel.times_s[t]
    assert unread.any()
    changed = replace(expected, expected_mm=np.where(unread, 500.0, expected.expected_mm))
    other = build_panel(simulated, outlooks=changed)
    np.testing.assert_array_equal(before, forecaster.quantiles(panel.values, np.array([t]), drivers=other.drivers))
    newest = int(np.flatnonzero(~unread)[np.argmax(expected.issued_s[~unread])])
    changed_amounts = expected.expected_mm.copy()
    changed_amounts[newest] += 60.0
    other = build_panel(simulated, outlooks=replace(expected, expected_mm=changed_amounts))
    assert np.abs(before - forecaster.quantiles(panel.values, np.array([t]), drivers=other.drivers)).max() > 1e-3
    (result,) = run_leak_test(build_panel(simulated), ["graph-gru"], HORIZON, count=20)
    assert result.forecasts >= 20
    assert not result.leaks


def test_expected_rain_is_recognised_by_the_name_of_its_quantity(tmp_path):
    assert find_reach_s("R1.rain_next_0h") is None
    measured, outlooks = outlooks_from_samples({"R.rain_mm": ([0.0], [1.0]), "R.rain_next_2d_mm": ([0.0], [1.0])})
    assert list(measured) == ["R.rain_mm"]
    assert [(o.name, o.reach_s) for o in outlooks] == [("R.rain_next_2d_mm", 2 * DAY_S)]
    lines = ["time,station,quantity,value"]
    for day in range(1, 9):
        lines += [
            f"2026-03-0{day}T06:00:00Z,{s},{q},{v}"
            for s, q, v in (("A", "displacement_mm", day), ("R", "rain_mm", 1), ("R", "rain_next_24h_mm", 10 * day))
        ]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(lines))
    record = read_record(path, RecordRecipe())
    by_name = {c.name: c for c in record.covariates}
    assert by_name["R.rain_next_24h_mm"].kind == "outlook"
    np.testing.assert_array_equal(by_name["R.rain_next_24h_mm"].values, 10.0 * np.arange(1, 9))
    assert isinstance(by_name["R.rain_mm"], Covariate)
    assert set(record.panel.drivers.kinds) == {"rain", "outlook"}
