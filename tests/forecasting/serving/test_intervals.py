"""Intervals of issued forecasts: what they contain, through changes of noise, events, gaps and faster motion."""

import numpy as np
import pytest

from forecasting.combination.intervals import FEWEST_ERRORS
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.reasons import split_reason
from forecasting.serving.hindcast import forecast_past
from forecasting.serving.issue import WIDER, issue_forecasts
from forecasting.serving.networks import NetworkForecasts
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Checkpoint, Forecast


def make_panel(values: Floats) -> Panel:
    return Panel(0.0, DAY_S, tuple(f"S{column}" for column in range(values.shape[1])), values)


def forecast_rows(values: Floats, steps: int, first: int, model: str = "combined") -> list[Forecast]:
    """Return the forecasts of one model from all rows whose target is within the record."""
    origins = np.arange(first, values.shape[0] - steps)
    rows = forecast_past(make_panel(values), (steps * DAY_S,), origins)
    return [row for row in rows if row.model == model]


def measure_coverage(values: Floats, rows: list[Forecast], level: float) -> float:
    low, high = {0.8: ("q10", "q90"), 0.95: ("q025", "q975")}[level]
    hits = []
    for row in rows:
        observed = values[round(row.target_s / DAY_S), int(row.station[1:])]
        if np.isfinite(observed):
            hits.append(getattr(row, low) <= observed <= getattr(row, high))
    return float(np.mean(hits))


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 5))])
def test_coverage_holds_through_a_change_of_noise(steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = np.where(np.arange(800) < 400, 1.0, 3.0)[:, None]
    values = 0.1 * np.arange(800)[:, None] + rng.normal(0.0, noise, (800, 3))
    rows = forecast_rows(values, steps, 300)
    assert measure_coverage(values, rows, 0.8) == pytest.approx(0.8, abs=0.05)
    assert measure_coverage(values, rows, 0.95) == pytest.approx(0.95, abs=0.03)


@pytest.mark.soak
def test_the_errors_of_an_event_do_not_widen_intervals_without_end() -> None:
    """Errors of a month ahead arrive a month late, so that intervals miss for as long after the event."""
    rng = np.random.default_rng(3)
    values = rng.normal(0.0, 1.0, (500, 1))
    values[250:280] += 50.0 * np.sign(rng.normal(size=(30, 1)))
    rows = forecast_rows(values, 30, 200)
    widths = np.array([row.q90 - row.q10 for row in rows])
    largest_error = max(abs(row.q50 - values[round(row.target_s / DAY_S), 0]) for row in rows)
    assert widths.max() < 4.0 * largest_error
    assert np.median(widths[-60:]) < 4.0 * np.median(widths[:40])


@pytest.mark.soak
def test_a_record_with_gaps_is_forecast() -> None:
    rng = np.random.default_rng(5)
    values = 0.2 * np.arange(300.0)[:, None] + rng.normal(0.0, 1.0, (300, 2))
    values[240:298:2, 0] = np.nan
    issue = issue_forecasts(make_panel(values), (DAY_S, 7 * DAY_S))
    assert not issue.withheld
    assert {(row.station, row.horizon_s) for row in issue.rows if row.shown} == {
        (station, horizon_s) for station in ("S0", "S1") for horizon_s in (DAY_S, 7 * DAY_S)
    }
    scattered = values.copy()
    scattered[rng.random(values.shape) < 0.4] = np.nan
    rows = forecast_rows(scattered, 7, 100)
    assert measure_coverage(scattered, rows, 0.8) == pytest.approx(0.8, abs=0.06)


@pytest.mark.soak
def test_a_slope_that_moves_faster_than_usual_has_wider_intervals_and_says_so() -> None:
    rng = np.random.default_rng(6)
    rate = np.full((240, 2), 0.2)
    rate[220:, 0] = 2.0
    values = np.cumsum(rate, axis=0) + rng.normal(0.0, 0.3, (240, 2))
    before = issue_forecasts(make_panel(values[:220]), (7 * DAY_S,))
    after = issue_forecasts(make_panel(values), (7 * DAY_S,))
    widths = [{row.station: row.q90 - row.q10 for row in issue.rows if row.shown} for issue in (before, after)]
    assert widths[1]["S0"] > 2.0 * widths[0]["S0"]
    assert widths[1]["S1"] < 2.0 * widths[0]["S1"]
    is_wider = {row.station: WIDER in split_reason(row.reason) for row in after.rows if row.shown}
    assert is_wider == {"S0": True, "S1": False}


def test_each_checkpoint_has_intervals_of_its_own_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).normal(0.0, 1.0, (200, 1))

    def run_drawn(
        panel: Panel, horizons_s: tuple[float, ...], checkpoint: Checkpoint, _first_row: int = 0
    ) -> NetworkForecasts:
        error_mm = np.random.default_rng(8).normal(0.0, 20.0 if checkpoint.model_hash == "bad" else 0.1, 200)
        medians = np.zeros((200, 1, len(horizons_s), 1)) + error_mm[:, None, None, None]
        return NetworkForecasts(checkpoint, medians + NORMAL, drivers=())

    monkeypatch.setattr("forecasting.serving.issue.run_network", run_drawn)
    checkpoints = [Checkpoint("gru", name, "") for name in ("good", "bad")]
    issue = issue_forecasts(make_panel(values), (DAY_S,), checkpoints=checkpoints)
    by_hash = {row.model_hash: row for row in issue.rows if row.model == "gru"}
    assert by_hash["bad"].q90 - by_hash["bad"].q10 > 8.0 * (by_hash["good"].q90 - by_hash["good"].q10)
    assert by_hash["bad"].weight < 0.1 * by_hash["good"].weight


def test_networks_have_half_of_the_weight_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that know the future exactly do not displace what can be computed without them."""
    values = np.cumsum(np.random.default_rng(9).normal(0.0, 1.0, (150, 1)), axis=0)

    def run_oracle(
        panel: Panel, horizons_s: tuple[float, ...], checkpoint: Checkpoint, _first_row: int = 0
    ) -> NetworkForecasts:
        following = np.append(panel.values[1:], panel.values[-1:], axis=0)
        return NetworkForecasts(checkpoint, following[..., None, None] + NORMAL, drivers=())

    monkeypatch.setattr("forecasting.serving.issue.run_network", run_oracle)
    checkpoints = [Checkpoint(model, model, "") for model in ("gru", "lstm")]
    issue = issue_forecasts(make_panel(values), (DAY_S,), checkpoints=checkpoints)
    weights = [row.weight for row in issue.rows if row.model_hash]
    assert sum(weights) == pytest.approx(0.5, abs=1e-6)


def test_there_is_no_interval_from_fewer_errors_than_needed() -> None:
    values = np.random.default_rng(10).normal(0.0, 1.0, (FEWEST_ERRORS, 1))
    issue = issue_forecasts(make_panel(values), (DAY_S,))
    assert not [row for row in issue.rows if row.shown]
    (withheld,) = issue.withheld
    assert withheld.lack is not None
    assert withheld.lack.reason.values["n"] == FEWEST_ERRORS - 1


@pytest.mark.soak
def test_nothing_stored_is_needed_to_issue_the_same_again() -> None:
    """A restart, and readings that arrive late, lead to the forecast of the readings as they now are."""
    values = np.random.default_rng(11).normal(0.0, 1.0, (120, 2))
    late = values.copy()
    late[60:90, 0] = np.nan
    first = issue_forecasts(make_panel(values), (DAY_S,))
    issue_forecasts(make_panel(late), (DAY_S,))
    again = issue_forecasts(make_panel(values), (DAY_S,))
    assert [row.quantiles for row in again.rows] == [row.quantiles for row in first.rows]
