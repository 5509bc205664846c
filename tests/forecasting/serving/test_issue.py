"""Rows of an issue: the combined forecast, networks and simple forecasts, and what is withheld."""

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.combination.intervals import FEWEST_ERRORS
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.errors import CheckpointError, HorizonError
from forecasting.reasons import Reason, split_reason
from forecasting.registry import COMBINED
from forecasting.serving.hindcast import forecast_past
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.networks import load_network, read_quantiles
from forecasting.serving.records import Checkpoint, Forecast, Issue, Limits, TrainingRequest
from forecasting.serving.training import train

HOUR_S = 3600.0


def make_panel(values: Floats, step_s: float = DAY_S) -> Panel:
    names = tuple(f"S{column}.displacement" for column in range(values.shape[1]))
    return Panel(0.0, step_s, names, values)


def make_creep(rows: int, stations: int = 2, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    velocity = generator.uniform(0.05, 0.5, stations)
    return velocity * np.arange(rows)[:, None] + generator.normal(0.0, 1.0, (rows, stations))


def make_failure(rows: int, failure_row: float, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    lead = failure_row - np.arange(rows)
    return (-20.0 * np.log(lead) + generator.normal(0.0, 0.05, rows))[:, None]


def find_row(issue: Issue, model: str, horizon_s: float, station: str = "S0.displacement") -> Forecast:
    (row,) = [r for r in issue.rows if (r.model, r.horizon_s, r.station) == (model, horizon_s, station)]
    return row


def list_codes(row: Forecast) -> list[str]:
    return [reason.code for reason in split_reason(row.reason)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Checkpoint]:
    panel = make_panel(make_creep(320))
    folder: Path = tmp_path_factory.mktemp("models")
    result = train(panel.head(300), TrainingRequest("gru", (DAY_S, 7 * DAY_S), folder, epochs=1, stride=4))
    return panel, Checkpoint("gru", result.model_hash, result.path)


def test_only_the_combined_forecast_is_shown() -> None:
    issue = issue_forecasts(make_panel(make_creep(120)), (DAY_S, 7 * DAY_S))
    assert not issue.withheld
    assert {row.model for row in issue.rows} == {COMBINED, "persistence", "line"}
    assert [row.shown for row in issue.rows] == [row.model == COMBINED for row in issue.rows]
    for row in issue.rows:
        assert list(row.quantiles) == sorted(row.quantiles)
        assert row.baseline in {"persistence", "line"}


def test_persistence_is_the_newest_reading() -> None:
    values = make_creep(120)
    issue = issue_forecasts(make_panel(values), (7 * DAY_S,))
    assert find_row(issue, "persistence", 7 * DAY_S).q50 == values[-1, 0]
    assert find_row(issue, COMBINED, 7 * DAY_S).data_value == values[-1, 0]


def test_reason_names_the_experts_with_their_shares() -> None:
    row = find_row(issue_forecasts(make_panel(make_creep(120)), (DAY_S,)), COMBINED, DAY_S)
    reason = split_reason(row.reason)[0]
    assert reason.code == "forecast.combined"
    shares = [share for _, share in reason.values["weights"]]  # type: ignore[union-attr, misc]
    assert shares == sorted(shares, reverse=True)
    assert 50 <= sum(shares) <= 101


@pytest.mark.parametrize("steps", [1, 7])
def test_first_forecast_comes_with_the_needed_number_of_readings(steps: int) -> None:
    needed = FEWEST_ERRORS + steps
    values = make_creep(needed, stations=1)
    early = issue_forecasts(make_panel(values[:-1]), (steps * DAY_S,))
    assert [(w.model, w.reason.code) for w in early.withheld] == [(COMBINED, "forecast.few_errors")]
    lack = early.withheld[0].lack
    assert lack is not None
    assert lack.earliest_s == (needed - 1) * DAY_S
    assert find_row(issue_forecasts(make_panel(values), (steps * DAY_S,)), COMBINED, steps * DAY_S).shown


def test_horizon_below_the_interval_is_withheld() -> None:
    issue = issue_forecasts(make_panel(make_creep(60, stations=1)), (HOUR_S,))
    assert not issue.rows
    assert [w.reason.code for w in issue.withheld] == ["forecast.finer"]


def test_horizons_of_the_same_number_of_rows_have_the_same_forecast() -> None:
    issue = issue_forecasts(make_panel(make_creep(60, stations=1)), (DAY_S, 1.2 * DAY_S))
    assert find_row(issue, COMBINED, DAY_S).quantiles == find_row(issue, COMBINED, 1.2 * DAY_S).quantiles


@pytest.mark.parametrize("horizons_s", [(), (0.0,), (-DAY_S,), (float("nan"),)])
def test_horizons_must_be_positive(horizons_s: tuple[float, ...]) -> None:
    with pytest.raises(HorizonError):
        issue_forecasts(make_panel(make_creep(60)), horizons_s)


def test_stale_and_empty_stations_are_withheld() -> None:
    values = make_creep(120, stations=3)
    values[-5:, 1] = np.nan
    values[:, 2] = np.nan
    issue = issue_forecasts(make_panel(values), (DAY_S,))
    reasons = {w.station: w.reason.code for w in issue.withheld}
    assert reasons == {"S1.displacement": "forecast.stale", "S2.displacement": "forecast.unseen"}
    assert {row.station for row in issue.rows} == {"S0.displacement"}


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_later_rows_do_not_change_a_forecast(seed: int) -> None:
    values = make_creep(90, stations=1, seed=seed)
    changed = values.copy()
    changed[70:] = np.random.default_rng(seed).normal(0.0, 1e3, changed[70:].shape)
    origins = np.array([60, 69])
    before, after = (forecast_past(make_panel(v), (DAY_S, 7 * DAY_S), origins) for v in (values, changed))
    assert before == after
    assert before


def test_past_forecast_equals_the_one_that_was_issued() -> None:
    values = make_creep(120)
    issued = issue_forecasts(make_panel(values[:100]), (DAY_S,))
    past = forecast_past(make_panel(values), (DAY_S,), np.array([99]))
    for row in past:
        assert row.quantiles == find_row(issued, row.model, DAY_S, row.station).quantiles
        assert not row.shown


def test_past_forecasts_have_every_horizon_that_is_issued() -> None:
    values, step_s = make_creep(100), 6 * HOUR_S
    horizons_s = (6 * HOUR_S, 7 * HOUR_S, DAY_S)  # the first two are one row
    issued = issue_forecasts(make_panel(values, step_s), horizons_s)
    past = forecast_past(make_panel(values, step_s), horizons_s, np.array([99]))
    key = attrgetter("station", "model", "horizon_s")
    assert {key(row): row.quantiles for row in past} == {key(row): row.quantiles for row in issued.rows}


@pytest.mark.soak
def test_network_row_is_the_forward_pass_of_its_checkpoint(trained: tuple[Panel, Checkpoint]) -> None:
    panel, checkpoint = trained
    issue = issue_forecasts(panel, (DAY_S, 7 * DAY_S), checkpoints=[checkpoint])
    forecaster, _ = load_network(checkpoint)
    own = read_quantiles(forecaster, panel, np.array([panel.values.shape[0] - 1]))[0]
    for column, station in enumerate(panel.stations):
        for index, horizon_s in enumerate((DAY_S, 7 * DAY_S)):
            row = find_row(issue, "gru", horizon_s, station)
            assert row.q50 == pytest.approx(own[column, index, 2], abs=1e-9)
            assert row.model_hash == checkpoint.model_hash
            assert not row.shown
            assert row.weight is not None
            assert 0.0 <= row.weight <= 0.5


@pytest.mark.soak
def test_network_does_not_change_other_rows_than_the_combined_one(trained: tuple[Panel, Checkpoint]) -> None:
    panel, checkpoint = trained
    without, with_network = (issue_forecasts(panel, (DAY_S,), checkpoints=c) for c in ((), (checkpoint,)))
    for model in ("persistence", "line"):
        assert find_row(without, model, DAY_S).quantiles == find_row(with_network, model, DAY_S).quantiles


@pytest.mark.soak
def test_network_without_the_horizon_says_why(trained: tuple[Panel, Checkpoint]) -> None:
    panel, checkpoint = trained
    issue = issue_forecasts(panel, (DAY_S, 14 * DAY_S), checkpoints=[checkpoint])
    reasons = {(w.model, w.horizon_s, w.reason.code) for w in issue.withheld}
    assert reasons == {("gru", 14 * DAY_S, "forecast.not_trained_for")}
    assert find_row(issue, COMBINED, 14 * DAY_S).shown


def test_damaged_checkpoint_fails_alone(trained: tuple[Panel, Checkpoint], tmp_path: Path) -> None:
    panel, checkpoint = trained
    missing = replace(checkpoint, path=str(tmp_path / "missing.safetensors"))
    issue = issue_forecasts(panel, (DAY_S,), checkpoints=[missing])
    assert isinstance(issue.failed[checkpoint.model_hash], CheckpointError)
    assert find_row(issue, COMBINED, DAY_S).shown


def test_targets_behind_a_failure_window_are_withheld() -> None:
    issue = issue_forecasts(make_panel(make_failure(400, failure_row=430.0), HOUR_S), (6 * HOUR_S, 7 * DAY_S))
    near = find_row(issue, COMBINED, 6 * HOUR_S)
    assert "forecast.outside.failing" in list_codes(near)
    assert [(w.model, w.horizon_s, w.reason.code) for w in issue.withheld] == [
        (COMBINED, 7 * DAY_S, "forecast.window_ends")
    ]


def test_a_failure_window_that_stands_withholds_what_is_behind_it() -> None:
    panel = make_panel(make_creep(120))
    latest_s = panel.end_s + 2 * DAY_S
    issue = issue_forecasts(panel, (DAY_S, 7 * DAY_S), window_ends={"S0.displacement": latest_s})
    assert [(w.station, w.horizon_s, w.reason.code) for w in issue.withheld] == [
        ("S0.displacement", 7 * DAY_S, "forecast.window_ends")
    ]
    assert "forecast.outside.failing" in list_codes(find_row(issue, COMBINED, DAY_S))
    assert "forecast.outside.failing" not in list_codes(find_row(issue, COMBINED, DAY_S, "S1.displacement"))


def test_an_untrusted_failure_window_is_named_and_withholds_nothing() -> None:
    issue = issue_forecasts(make_panel(make_creep(120)), (7 * DAY_S,), window_ends={"S0.displacement": np.inf})
    assert not issue.withheld
    assert "forecast.outside.failing" in list_codes(find_row(issue, COMBINED, 7 * DAY_S))


@pytest.mark.soak
def test_forecast_before_a_failure_follows_the_failure_window() -> None:
    issue = issue_forecasts(make_panel(make_failure(400, failure_row=430.0), HOUR_S), (DAY_S,))
    row = find_row(issue, COMBINED, DAY_S)
    true_value = -20.0 * np.log(430.0 - 399.0 - 24.0)
    line_error = abs(find_row(issue, "line", DAY_S).q50 - true_value)
    assert abs(row.q50 - true_value) < 0.5 * line_error
    assert row.q10 <= true_value <= row.q90


def test_new_velocity_is_named_as_outside_experience() -> None:
    values = make_creep(200, stations=1)
    values[190:, 0] += 20.0 * np.arange(10)
    row = find_row(issue_forecasts(make_panel(values), (DAY_S,)), COMBINED, DAY_S)
    assert any(code.startswith("forecast.outside.") for code in list_codes(row))
    assert row.novelty is not None
    assert row.novelty > 1.0
    assert row.shown


def test_physical_limits_hold_every_row() -> None:
    values = -0.5 * np.arange(120.0)[:, None] + np.random.default_rng(0).normal(0.0, 0.2, (120, 1))
    limits = {"S0.displacement": Limits(low=float(values[-1, 0]) - 1.0)}
    issue = issue_forecasts(make_panel(values), (7 * DAY_S,), limits=limits)
    for row in issue.rows:
        assert row.q025 >= limits["S0.displacement"].low
    assert any(reason == "forecast.held_above" for row in issue.rows for reason in list_codes(row))


def test_a_reading_beyond_a_limit_replaces_it_in_the_reason() -> None:
    values = -20.0 + np.random.default_rng(0).normal(0.0, 0.2, (60, 1))
    row = find_row(
        issue_forecasts(make_panel(values), (DAY_S,), limits={"S0.displacement": Limits(low=0.0)}), COMBINED, DAY_S
    )
    (bound,) = (r.values["bound"] for r in split_reason(row.reason) if r.code == "forecast.held_above")
    assert bound == (row.data_value, "mm")


def test_components_of_one_motion_share_their_weights() -> None:
    values = make_creep(150)
    panel = Panel(0.0, DAY_S, ("A.displacement_east", "A.displacement_north"), values)
    issue = issue_forecasts(panel, (DAY_S,))
    weights = {split_reason(r.reason)[0].values["weights"] for r in issue.rows if r.model == COMBINED}
    assert len(weights) == 1


def test_unreadable_numbers_are_refused_by_name() -> None:
    values = make_creep(60, stations=1)
    values[40] = 1e200
    issue = issue_forecasts(make_panel(values), (DAY_S,))
    assert not [row for row in issue.rows if row.shown]
    assert issue.withheld[0].reason == Reason("forecast.boundless")


@pytest.mark.parametrize("rate_mm", [0.0, 0.1])
@pytest.mark.parametrize("rows_since", [3, 10])
def test_a_step_is_no_motion(rate_mm: float, rows_since: int) -> None:
    """Three readings after a step of 50 noises, forecasts go on from the new level at the rate of before."""
    rows = 240 + rows_since
    values = rate_mm * np.arange(float(rows)) + np.random.default_rng(1).normal(0.0, 1.0, rows)
    values[240:] += 50.0
    issue = issue_forecasts(make_panel(values[:, None]), (DAY_S, 7 * DAY_S))
    for row in issue.rows:
        if row.shown:
            expected = 50.0 + rate_mm * (rows - 1 + row.horizon_s / DAY_S)
            assert row.q025 <= expected <= row.q975
            assert abs(row.q50 - expected) < 4.0


def test_a_station_is_forecast_from_a_reading_of_three_rows_ago() -> None:
    values = make_creep(120, stations=2)
    values[-3:, 1] = np.nan
    issue = issue_forecasts(make_panel(values), (DAY_S,))
    assert not issue.withheld
    row = find_row(issue, COMBINED, DAY_S, "S1.displacement")
    assert row.data_until_s == 116 * DAY_S
    assert row.data_value == values[116, 1]
    assert row.target_s == 120 * DAY_S


@pytest.mark.soak
def test_intervals_are_not_narrower_than_what_a_logger_rounds_to() -> None:
    """Most readings are equal to the one before, so that most past errors are 0."""
    values = np.round(0.05 * np.arange(300.0))[:, None]
    issue = issue_forecasts(make_panel(values), (DAY_S, 7 * DAY_S))
    past = forecast_past(make_panel(values), (DAY_S, 7 * DAY_S), np.array([299]))
    for rows in (issue.rows, past):
        assert len(rows) == 6
        assert min(row.q975 - row.q025 for row in rows) > 0.3
