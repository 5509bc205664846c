"""SARIMAX and unobserved components: what they read, what they say of their own width, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.covariates import Covariate, rows_from_covariates
from forecasting.data.series import DAY_S, MONTH_S, Panel
from forecasting.data.splits import Block
from forecasting.errors import HorizonError, PanelError
from forecasting.evaluation.leakage import run_leak_test
from forecasting.registry import STATISTICAL
from forecasting.serving.jobs import forecast
from forecasting.serving.quantiles import simple_fans
from forecasting.simple.baselines import fit_baseline
from forecasting.simple.exogenous import read_exogenous
from monitor.jobs.forecasts.tasks import AskedModel, SiteForecastAsked, SiteRecord
from monitor.jobs.forecasts.worker import forecast_site
from monitor.language.rendering import translate

pytest.importorskip("statsmodels")

ROWS = 260
FIT = Block(160, 200)
STEPS = (1, 7)
NAMES = sorted(STATISTICAL)


def driven(rows=ROWS, seed=2, expected=None):
    """Two stations that move with what is left of the rain in the ground; one hole, some gaps."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(rows) < 0.2, rng.gamma(1.0, 20.0, rows), 0.0)
    held = np.empty(rows)
    left = 0.0
    for t in range(rows):
        left = 0.84 * left + rain[t]
        held[t] = left
    moved = np.cumsum(np.column_stack([0.02 * held, 0.01 * held + 0.1]), axis=0)
    values = moved + rng.normal(0, 0.1, moved.shape)
    values[rng.random(values.shape) < 0.04] = np.nan
    told = [Covariate("R1.rain", "rain", rain), Covariate("P1.reservoir_level", "water", np.sin(np.arange(rows) / 30))]
    if expected is not None:
        told.append(Covariate("R1.rain_next_1d", "outlook", expected(rain)))
    return Panel(0.0, DAY_S, ("A", "B"), values, drivers=rows_from_covariates(told, DAY_S))


PANEL = driven()


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    return fit_baseline(request.param, PANEL, FIT, STEPS)


def test_it_reads_rain_and_level_and_describes_itself(fitted):
    assert fitted.columns == ("rain", "P1.reservoir_level")
    again = fit_baseline(fitted.name, PANEL, FIT, STEPS)
    assert again == fitted
    origins = np.arange(200, 250)
    np.testing.assert_array_equal(again.predict(PANEL.values, origins), fitted.predict(PANEL.values, origins))


def test_past_rain_makes_the_week_ahead_better(fitted):
    dry = fit_baseline(fitted.name, replace(PANEL, drivers=None), FIT, STEPS)
    assert dry.columns == ()
    origins = np.arange(200, ROWS - 7)
    came = PANEL.values[origins + 1]
    with_rain, without = (np.nanmean(np.abs(f.predict(PANEL.values, origins)[:, :, 0] - came)) for f in (fitted, dry))
    assert with_rain < 0.9 * without


def test_expected_rain_counts_where_it_was_said_and_the_usual_rain_elsewhere():
    panel = driven(expected=lambda rain: np.append(rain[1:], np.nan))
    seen = read_exogenous(panel, FIT.end, 7)
    assert seen.rain
    row = int(np.nanargmax(seen.expected_mm[:, 0]))
    plain = replace(seen, expected_mm=np.full_like(seen.expected_mm, np.nan))
    wet, usual = (one.ahead(np.array([row]), 2)[0] for one in (seen, plain))
    assert wet[0, 0] == pytest.approx(seen.past[row + 1, 0])
    assert wet[0, 0] > usual[0, 0]
    assert wet[0, 1] == usual[0, 1] == seen.past[row, 1]  # a level stays


def test_the_width_grows_and_holds_what_came(fitted):
    origins = np.arange(200, ROWS - 7)
    day, week = simple_fans(fitted, PANEL.values, origins)
    known = np.isfinite(day[..., 2])
    assert known.mean() > 0.9
    assert (np.diff(day[known], axis=-1) > 0).all()
    assert (week[known][:, 4] - week[known][:, 0] >= day[known][:, 4] - day[known][:, 0]).all()
    came = PANEL.values[origins + 1]
    inside = (came >= day[..., 0]) & (came <= day[..., 4])
    # rain ahead is not known, and the model's own width does not count that: past errors add it
    assert inside[np.isfinite(came) & known].mean() > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_no_forecast_moves_with_the_future_of_motion_or_drivers(name):
    panel = driven(expected=lambda rain: np.append(rain[1:], np.nan))
    (result,) = run_leak_test(panel, [name], (DAY_S, 7 * DAY_S), count=24)
    assert result.forecasts >= 24
    assert (result.changed, result.refits_changed) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_months_have_a_season(name):
    months = np.arange(72)
    wave = 5.0 * np.cumsum(np.maximum(0.0, np.sin(2 * np.pi * months / 12)))
    values = (wave + np.random.default_rng(0).normal(0, 0.5, 72))[:, None]
    made = fit_baseline(name, Panel(0.0, MONTH_S, ("A",), values), Block(40, 60), (1,))
    assert made.season == 12
    origins = np.arange(60, 71)
    error = np.abs(made.predict(values, origins)[:, 0, 0] - values[origins + 1, 0]).mean()
    assert error < 0.6 * np.abs(values[origins, 0] - values[origins + 1, 0]).mean()


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_read_is_refused_by_name_or_has_no_forecast(name):
    with pytest.raises(HorizonError, match=f"^{name} reads daily and slower series, not one of every 1 h"):
        fit_baseline(name, Panel(0.0, 3600.0, ("A",), PANEL.values[:, :1]), FIT, STEPS)
    many = Panel(0.0, DAY_S, tuple(f"S{i:03}" for i in range(101)), np.zeros((ROWS, 101)))
    with pytest.raises(PanelError, match=f"^{name} is fitted station by station: at most 100, not 101"):
        fit_baseline(name, many, FIT, STEPS)
    odd = np.stack([np.full(ROWS, np.nan), np.full(ROWS, 3.0)], axis=1)
    odd[-20:, 0] = 1.0
    made = fit_baseline(name, Panel(0.0, DAY_S, ("few", "still"), odd), Block(160, ROWS), STEPS)
    assert made.params == ((), ())
    assert np.isnan(made.predict(odd, np.array([ROWS - 1]))).all()


def asked(step_s, horizons_s, names):
    """What the service asks its worker of the drawn slope, on a grid of `step_s`."""
    times = np.arange(ROWS) * step_s
    moved = {name: (times, PANEL.values[:, s]) for s, name in enumerate(PANEL.stations)}
    rain = np.where(np.arange(ROWS) % 5 == 0, 12.0, 0.0)
    record = SiteRecord(moved, step_s, float(times[-1]), drivers={"R1.rain": (times, rain)})
    return SiteForecastAsked(record, horizons_s, tuple(AskedModel(name, name) for name in names), {})


def test_the_worker_serves_both_with_intervals():
    made = forecast_site(asked(DAY_S, (DAY_S, 7 * DAY_S), ("lld", *NAMES)))
    assert not made.failed
    assert {(row.model, row.station) for row in made.rows} == {(m, s) for m in ("lld", *NAMES) for s in ("A", "B")}
    for row in made.rows:
        assert row.q025 < row.q10 < row.q50 < row.q90 < row.q975
        assert row.latency_ms > 0
    assert {(row.station, row.horizon_s): 1 for row in made.rows if row.shown} == {
        (s, h): 1 for s in ("A", "B") for h in (DAY_S, 7 * DAY_S)
    }


def test_of_hourly_readings_the_worker_names_what_cannot_read_them():
    made = forecast_site(asked(3600.0, (86400.0,), ("lld", "sarimax")))
    assert {row.model for row in made.rows} == {"lld"}
    assert made.failed == {"sarimax": "sarimax reads daily and slower series, not one of every 1 h"}


def test_an_ended_fit_is_said_with_the_forecast(monkeypatch):
    monkeypatch.setattr("forecasting.simple.state_space.ROUNDS", 1)
    made = forecast(PANEL, "uc", (DAY_S,))
    assert {row.reason for row in made.rows} == {"simple forecast uc; its fit was ended before its best"}
    both = forecast_site(asked(DAY_S, (DAY_S,), ("auto", "uc")))
    hidden = {row.reason for row in both.rows if row.model == "uc"}
    assert hidden == {"not shown: auto is the forecast of this horizon; its fit was ended before its best"}
    assert translate(hidden.pop(), "it").endswith("; il suo adattamento è stato terminato prima del suo ottimo")
