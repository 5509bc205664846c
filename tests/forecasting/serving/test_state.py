"""The stored state of a combination: an issue reads only new rows, and the forecasts are the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.combination.combination import Combination
from forecasting.data.covariates import Covariate, rows_from_covariates
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.serving import state as states
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Forecast, Issue

HORIZONS_S = (DAY_S, 3 * DAY_S)
STEPS = (1, 3)


def make_panel(values: Floats, *, with_rain: bool = False) -> Panel:
    names = tuple(f"S{column}.displacement" for column in range(values.shape[1]))
    panel = Panel(0.0, DAY_S, names, values)
    if not with_rain:
        return panel
    rain = np.random.default_rng(1).gamma(0.2, 5.0, values.shape[0])
    return replace(panel, drivers=rows_from_covariates((Covariate("R1.rain", "rain", rain),), DAY_S))


def make_values(rows: int, stations: int = 2, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    values = 0.2 * np.arange(rows)[:, None] + generator.normal(0.0, 1.0, (rows, stations))
    values[generator.random(values.shape) < 0.1] = np.nan
    return values


def drop_latency(issue: Issue) -> list[Forecast]:
    return [replace(row, latency_ms=0.0) for row in issue.rows]


@pytest.mark.soak
@settings(max_examples=8)
@given(st.integers(0, 1000), st.lists(st.integers(0, 9), min_size=1, max_size=3), st.booleans())
def test_issues_with_a_stored_state_equal_issues_without_one(seed: int, added: list[int], with_rain: bool) -> None:
    whole = make_panel(make_values(80, seed=seed), with_rain=with_rain)
    end = 50
    stored = issue_forecasts(whole.head(end), HORIZONS_S).state
    for rows in added:
        end += rows
        issue = issue_forecasts(whole.head(end), HORIZONS_S, state=stored)
        assert drop_latency(issue) == drop_latency(issue_forecasts(whole.head(end), HORIZONS_S))
        stored = issue.state


def test_an_issue_reads_only_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = make_panel(make_values(70))
    stored = issue_forecasts(panel.head(60), HORIZONS_S).state
    read: list[int] = []
    advance = Combination.advance

    def count(self: Combination, values: Floats, **more: object) -> None:
        read.append(self.rows)
        advance(self, values, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Combination, "advance", count)
    issue_forecasts(panel, HORIZONS_S, state=stored)
    assert read == list(range(59, 70))


def test_a_panel_that_starts_later_continues_the_state() -> None:
    values = make_values(90)
    stored = issue_forecasts(make_panel(values[:80]), HORIZONS_S).state
    later = replace(make_panel(values[20:]), start_s=20 * DAY_S)
    resumed = states.resume(stored, later, STEPS)
    assert resumed is not None
    assert resumed.rows == 59


def test_sums_of_rain_at_the_begin_of_a_later_panel_do_not_start_again() -> None:
    whole = make_panel(make_values(90), with_rain=True)
    rain = np.random.default_rng(1).gamma(0.2, 5.0, 90)
    stored = issue_forecasts(whole.head(80), HORIZONS_S).state
    drivers = rows_from_covariates((Covariate("R1.rain", "rain", rain[20:]),), DAY_S)
    later = Panel(20 * DAY_S, DAY_S, whole.stations, whole.values[20:], drivers=drivers)
    assert states.resume(stored, later, STEPS) is not None


@pytest.mark.parametrize("column", [0, 1])
def test_a_corrected_reading_starts_again(column: int) -> None:
    values = make_values(60)
    stored = issue_forecasts(make_panel(values), HORIZONS_S).state
    values[30, column] = 5.0
    assert states.resume(stored, make_panel(values), STEPS) is None
    corrected = issue_forecasts(make_panel(values), HORIZONS_S, state=stored)
    assert drop_latency(corrected) == drop_latency(issue_forecasts(make_panel(values), HORIZONS_S))


def test_other_stations_drivers_horizons_or_older_rows_start_again() -> None:
    values = make_values(60)
    stored = issue_forecasts(make_panel(values), HORIZONS_S).state
    assert states.resume(stored, make_panel(values), STEPS) is not None
    assert states.resume(stored, make_panel(values[:, :1]), STEPS) is None
    assert states.resume(stored, make_panel(values), (1, 4)) is None
    assert states.resume(stored, make_panel(values, with_rain=True), STEPS) is None
    older = replace(make_panel(np.concatenate([values[:5], values])), start_s=-5 * DAY_S)
    assert states.resume(stored, older, STEPS) is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_damaged_state_starts_again(content: bytes) -> None:
    assert states.resume(content, make_panel(make_values(30)), STEPS) is None


def test_a_cut_state_starts_again() -> None:
    panel = make_panel(make_values(30))
    stored = issue_forecasts(panel, HORIZONS_S).state
    assert stored is not None
    assert states.resume(stored[: len(stored) // 2], panel, STEPS) is None
