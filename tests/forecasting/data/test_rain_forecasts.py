"""Expected rain: what was known of it at each row, that it is used, and that no later word and no fallen rain is."""

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


def test_an_old_issue_that_comes_late_does_not_speak_over_a_newer_one():
    made = lay_outlook(outlook(issued=[0.0, DAY_S], known=[2 * DAY_S, DAY_S], expected=[1.0, 7.0], reach_s=9e9), EMPTY)
    np.testing.assert_array_equal(made.values, [np.nan, 7.0, 7.0, 7.0, 7.0, 7.0])


def test_nothing_said_is_nothing_known_and_bad_amounts_are_left_out():
    assert np.isnan(lay_outlook(outlook([], [], []), EMPTY).values).all()
    assert np.isnan(lay_outlook(outlook([0.0], [0.0], [-3.0]), EMPTY).values).all()
    # a known instant before the issue is no prophecy
    assert np.isnan(lay_outlook(outlook([3 * DAY_S], [0.0], [4.0]), EMPTY).values[:3]).all()
    with pytest.raises(PanelError, match="reach"):
        outlook([0.0], [0.0], [1.0], reach_s=0.0)


@given(seed=st.integers(0, 10_000), at=st.integers(0, 5), count=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_no_row_rests_on_a_word_that_came_after_it(seed, at, count):
    rng = np.random.default_rng(seed)
    issued = rng.uniform(-2, 7, count) * DAY_S
    known = issued + rng.exponential(0.5, count) * DAY_S
    first = outlook(issued, known, rng.gamma(1.0, 9.0, count))
    after = known > at * DAY_S + 1.0
    told = np.where(after, rng.uniform(0, 1e4, count), first.expected_mm)
    later = np.where(after, known + rng.uniform(0, 2, count) * DAY_S, known)
    other = lay_outlook(replace(first, expected_mm=told, known_s=later), EMPTY).values[: at + 1]
    np.testing.assert_array_equal(other, lay_outlook(first, EMPTY).values[: at + 1])


@pytest.fixture(scope="module")
def drawn():
    return rain_to_come()


def panel_of(drawn, *, fallen=None, outlooks=None):
    """The panel as it is built from samples, so that leaks on the way there are seen too."""
    panel, rain, expected = drawn
    measured = covariates_from_samples({"R.rain_mm": fallen or rain}, panel)
    laid = lay_outlooks([expected if outlooks is None else outlooks], panel)
    return replace(panel, drivers=rows_from_covariates((*measured, *laid), panel.step_s))


def train(panel, **settings):
    parts = split(panel.values.shape[0])
    return train_network("graph-gru", panel, parts, HORIZON, replace(QUICK, **settings)).forecaster


@pytest.fixture(scope="module")
def taught(drawn):
    return train(panel_of(drawn))


def error_of(forecaster, panel, drivers):
    parts = split(panel.values.shape[0])
    came = parts.calibration.targets(panel.values, parts.calibration.origins, 2)
    made = forecaster.quantiles(panel.values, parts.calibration.origins, drivers=drivers)[:, :, 0, 2]
    return float(np.nanmean(np.abs(made - came)))


def test_expected_rain_is_used_and_can_be_missed(drawn, taught):
    panel = panel_of(drawn)
    deaf = train(replace(panel, drivers=panel.drivers.without(("outlook",))))
    assert "outlook" not in deaf.recipe.sources.kinds
    heard, without = error_of(taught, panel, panel.drivers), error_of(deaf, panel, panel.drivers)
    assert heard < 0.8 * without
    silent = panel.drivers.without(("outlook",))
    masked = error_of(taught, panel, silent)
    assert np.isfinite(masked)
    assert masked > heard
    never = panel_of(drawn, outlooks=outlook([], [], []))
    assert error_of(taught, never, never.drivers) == masked, "no word is the same as no source"
    assert "outlook" in list_groups(taught)
    kinds = ("rain", "water", "image", "outlook")
    crowded = replace(taught, recipe=replace(taught.recipe, sources=replace(taught.recipe.sources, kinds=kinds)))
    assert name_kinds(crowded) == ("rain", "water", "image", "rain"), "six groups at most"


def test_neither_rain_that_falls_later_nor_later_words_change_a_forecast(drawn, taught):
    panel, (times, fallen), expected = drawn
    t = 250
    before = taught.quantiles(panel.values, np.array([t]), drivers=panel_of(drawn).drivers)
    late = times > panel.times_s[t] + 1.0
    wetter = panel_of(drawn, fallen=(times, np.where(late, 1e4, fallen)))
    np.testing.assert_array_equal(before, taught.quantiles(panel.values, np.array([t]), drivers=wetter.drivers))
    unread = expected.known_s > panel.times_s[t]
    assert unread.any()
    changed = replace(expected, expected_mm=np.where(unread, 500.0, expected.expected_mm))
    other = panel_of(drawn, outlooks=changed)
    np.testing.assert_array_equal(before, taught.quantiles(panel.values, np.array([t]), drivers=other.drivers))
    newest = int(np.flatnonzero(~unread)[np.argmax(expected.issued_s[~unread])])
    told = expected.expected_mm.copy()
    told[newest] += 60.0
    other = panel_of(drawn, outlooks=replace(expected, expected_mm=told))
    assert np.abs(before - taught.quantiles(panel.values, np.array([t]), drivers=other.drivers)).max() > 1e-3
    (result,) = run_leak_test(panel_of(drawn), ["graph-gru"], HORIZON, count=20)
    assert result.forecasts >= 20
    assert not result.leaks


def test_a_file_says_by_the_name_of_a_quantity_what_is_expected(tmp_path):
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
