"""Scores of fans and intervals of scores, beside closed forms and the libraries that know them.
Backtest rows, significance, leak tests, audits, decompositions, drivers, recipes: on records made here.
"""

import json
import re
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forecasting.combination.run import run
from forecasting.data.covariates import antecedent, covariates_from_samples, features, trailing_sum
from forecasting.data.series import DAY_S, MONTH_S, Panel, nominal_step
from forecasting.data.sources import RecordRecipe, read_recipe, read_record
from forecasting.data.splits import rolling_folds, split
from forecasting.decomposition.components import decompose, display_whole, forecast_parts, list_methods
from forecasting.errors import NotEnoughDataError, RecipeError, UnknownModelError
from forecasting.evaluation import resampling
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.distribution import QUIET, RUSHING, STEADY, crps, find_stages, pit, roll
from forecasting.evaluation.leakage import run_decomposition_test, run_leak_test
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.evaluation.scoring import score_all, score_months, score_stages, score_stations
from forecasting.evaluation.screening import audit_panel, find_interpolated, jumps, spikes
from forecasting.metrics import inside, mape
from forecasting.serving.quantiles import NORMAL
from monitor.cli.commands import load_all_commands
from monitor.cli.main import run_command
from monitor.features.forecasts.cli.trials import summary


def _rng(seed):
    """Every test draws for itself: whatever ran before, it draws the same."""
    return np.random.default_rng(seed)


MEAN, SIGMA, SEEN = _rng(1).normal(size=300), _rng(2).uniform(0.5, 3.0, 300), _rng(3).normal(size=300) * 2.0
FANS = MEAN[:, None] + SIGMA[:, None] * NORMAL


def test_the_crps_of_a_lopsided_fan_is_the_mean_distance_of_its_draws():
    fan = np.array([-1.0, 0.0, 1.0, 6.0, 11.0])
    drawn = np.sort(np.interp(_rng(29).normal(size=200_000), NORMAL, fan))  # E|X - y| - E|X - X'| / 2, tails left out
    n = drawn.size
    spread = 2.0 * (drawn * (2 * np.arange(1, n + 1) - n - 1)).sum() / n**2
    for seen in (-2.0, 1.5, 8.0):
        assert float(crps(fan, np.array(seen))) == pytest.approx(np.abs(drawn - seen).mean() - spread / 2.0, rel=0.03)


def test_the_pit_is_the_distribution_of_the_fan_and_even_where_fans_are_honest():
    from scipy import stats  # half a second: not for every worker

    assert pit(FANS, SEEN) == pytest.approx(stats.norm.cdf(SEEN, MEAN, SIGMA), abs=1e-6)
    honest = pit(FANS, MEAN + SIGMA * _rng(42).normal(size=300))
    assert stats.kstest(honest, "uniform").pvalue > 0.01
    assert stats.kstest(pit(FANS, MEAN + 2 * SIGMA * _rng(44).normal(size=300)), "uniform").pvalue < 1e-6
    flat = np.zeros(5)
    assert [float(pit(flat, np.array(y))) for y in (-1.0, 1.0)] == [0.0, 1.0]
    assert 0.0 < float(pit(flat, np.array(0.0))) < 1.0
    assert np.isnan(pit(np.array([0.0, np.nan, 1, 2, 3]), np.array(1.0)))


def test_rolling_coverage_finds_the_lapse():
    held = np.ones(100)
    held[40:60] = 0.0
    assert (roll(held).min(), roll(held[:29]).size) == (pytest.approx(1 / 3), 0)
    assert roll(inside(FANS[:, 1], FANS[:, 3], SEEN), 50).size == 251


def test_block_bootstrap_of_independent_scores_is_that_of_scipy():
    from scipy import stats  # half a second: not for every worker

    scores = _rng(73).exponential(size=400)
    theirs = stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=2000, random_state=_rng(0))
    ours = block_bootstrap(scores, 1, draws=4000)
    assert ours is not None
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.04)


def test_block_bootstrap_draws_the_same_in_any_parts_and_never_all_at_once(monkeypatch):
    scores = _rng(83).normal(size=1500)
    tracemalloc.start()
    whole = block_bootstrap(scores, 1, draws=20_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * 20_000 * 125 / 4, "a quarter of the table of all draws"
    for cells in (1000, 1 << 30):
        monkeypatch.setattr(resampling, "CELLS_AT_ONCE", cells)
        assert block_bootstrap(scores, 1, draws=20_000) == whole


def test_block_bootstrap_knows_that_neighbours_are_alike():
    rho, n = 0.7, 4000
    noise = _rng(96).normal(size=n)
    scores = np.empty(n)
    scores[0] = noise[0]
    for i in range(1, n):
        scores[i] = rho * scores[i - 1] + noise[i]
    low, high = block_bootstrap(np.column_stack([scores, np.where(np.arange(n) % 3, scores, np.nan)]), 60) or (0, 0)
    closed = 2 * 1.96 / (1 - rho) / np.sqrt(n)  # the long-run standard error of an autoregression of order one
    assert high - low == pytest.approx(closed, rel=0.25)
    assert block_bootstrap(scores[:50], 30) is None


def test_stages_are_what_they_say():
    t = np.arange(200.0)
    values = np.column_stack([np.zeros(200), 2.0 * t, np.where(t < 185, 0.1 * t, 0.1 * t + 3.0 * (t - 185))])
    found = find_stages(values, np.array([199]), np.full(3, 0.2), 86_400.0)
    assert found.tolist() == [[QUIET, STEADY, RUSHING]]


WANTED = (
    "model station horizon fold n mae rmse mase skill_persistence skill_line skill_best_baseline coverage_80 "
    "coverage_95 width_80 winkler_80 bias train_s"
)


def slope(rows=300, stations=2, seed=0, gaps=0.05):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 0.6, (rows, stations)), axis=0) + rng.normal(0, 0.5, (rows, stations))
    values[rng.random(values.shape) < gaps] = np.nan
    return Panel(1.6e9, DAY_S, tuple(f"G{i}" for i in range(stations)), values)


def long_csv(path, panel, extra=()):
    at = np.datetime64(0, "s") + panel.times_s.astype("timedelta64[s]")
    lines = ["time,station,quantity,value"]
    for i, when in enumerate(at):
        lines += [
            f"{when}Z,{name},displacement_mm,{panel.values[i, s]:.3f}"
            for s, name in enumerate(panel.stations)
            if np.isfinite(panel.values[i, s])
        ]
        lines += [f"{when}Z,{station},{quantity},{values[i]:.3f}" for station, quantity, values in extra]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trials():
    return list(run_trials(slope(), [], [DAY_S, 7 * DAY_S], folds=2))


@pytest.mark.soak
def test_every_trial_holds_the_models_that_are_always_there(trials):
    assert [(t.fold, t.horizon_s / DAY_S) for t in trials] == [(0, 1), (0, 7), (1, 1), (1, 7)]
    for trial in trials:
        assert [a.model for a in trial.forecasts] == ["persistence", "line", "combined"]
        row = json.loads(json.dumps(score_all(trial)[0].to_json(), allow_nan=False))
        assert set(WANTED.split()) <= set(row)


def test_scores_by_station_and_month_add_up_to_those_over_all(trials):
    for trial in trials[:2]:
        every = {s.model: s for s in score_all(trial)}
        for parts in (score_stations(trial), score_months(trial), score_stages(trial)):
            for model, whole in every.items():
                mine = [s for s in parts if s.model == model]
                assert sum(s.n for s in mine) == whole.n
                assert sum(s.n * s.mae_mm for s in mine) == pytest.approx(whole.n * whole.mae_mm)
                assert sum(s.n * s.bias_mm for s in mine) == pytest.approx(whole.n * whole.bias_mm, abs=1e-9)
        moving = {s.stage for s in score_stages(trial)}
        assert moving <= {"quiet", "steady", "rushing"}
        assert len(moving) > 1
        assert score_stages(replace(trial, stages=None)) == []
        error = trial.observed - trial.forecasts[0].point
        use = trial.find_scored_pairs() > 0
        assert every["persistence"].mae_mm == pytest.approx(np.abs(error[use]).mean())
        assert every["combined"].skill_line == pytest.approx(1 - every["combined"].mae_mm / every["line"].mae_mm)
        assert every["persistence"].mase == pytest.approx((np.abs(error) / trial.scale_mm)[use].mean())


def test_the_table_counts_every_pair_once_whatever_else_is_scored(trials):
    whole = [score for trial in trials for score in score_all(trial)]
    parts = [s for t in trials for s in (*score_stations(t), *score_months(t), *score_stages(t))]
    assert summary(whole + parts) == summary(whole)


def test_a_percentage_of_nothing_is_no_percentage():
    error = np.full((20, 1), 1.0)
    assert mape(error, np.full((20, 1), 10.0), np.array([1.0])) == pytest.approx(0.1)
    assert np.isnan(mape(error, np.full((20, 1), 0.5), np.array([1.0])))


def test_a_leak_is_found(monkeypatch):
    """That honest models are not blamed is in tests/property/test_forecasting_rules.py."""
    panel = slope(260)

    def peep(panel, horizons_s, **settings):
        honest = run(panel, horizons_s, **settings)
        following = np.append(panel.values[1:], panel.values[-1:], axis=0)
        return replace(honest, fans=honest.fans + 1e-6 * np.nan_to_num(following)[..., None, None])

    monkeypatch.setattr("forecasting.evaluation.leakage.run", peep)
    (result,) = run_leak_test(panel, ["combined"], [DAY_S, 7 * DAY_S], count=40)
    assert result.leaks
    with pytest.raises(UnknownModelError):
        list(run_leak_test(panel, ["oracle"], [DAY_S]))


@pytest.mark.parametrize("method", sorted(list_methods()))
def test_a_decomposition_adds_up_and_knows_nothing_after_until(method):
    rng = np.random.default_rng(2)
    months = np.arange(60)
    series = 8.0 * months + 30 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 3, 60)
    series[[0, 20, 33]] = np.nan
    made = decompose(series, 48, method=method, period=12)
    assert made.causal
    assert made.parts.shape == (len(made.names), 48)
    filled = series[:48].copy()
    filled[[20, 33]] = filled[[19, 32]]
    np.testing.assert_allclose(made.parts.sum(axis=0)[1:], filled[1:], atol=1e-9)
    assert np.isnan(made.parts[:, 0]).all()
    series[48:] = rng.normal(0, 1e4, 12)
    np.testing.assert_array_equal(decompose(series, 48, method=method, period=12).parts, made.parts)
    assert not display_whole(series, method=method, period=12).causal
    assert "future" in display_whole(series, method=method, period=12).label
    with pytest.raises(NotEnoughDataError):
        decompose(series, 8, method=method, period=12)


def test_the_forecast_of_parts_follows_a_season_and_a_leak_is_worth_something():
    months = np.arange(96)
    series = 8.0 * months + 30 * np.sin(2 * np.pi * months / 12)
    made = forecast_parts(series, np.array([80, 90]), (1, 3), method="stl", period=12)
    np.testing.assert_allclose(made, [[series[81], series[83]], [series[91], series[93]]], atol=4)
    noisy = (series + np.random.default_rng(1).normal(0, 12, 96))[:60]
    ((result, worth),) = run_decomposition_test(noisy, (1,), period=12, count=2, methods=["quintic"])
    assert (result.changed, result.forecasts, worth["differ"]) == (0, 2, 2)


def test_the_audit_refuses_below_the_knots_and_names_jumps_and_gaps():
    from scipy.interpolate import CubicSpline

    rng = np.random.default_rng(3)
    days = np.arange(720.0)
    knots = np.cumsum(rng.choice([28, 30, 31], 26)) - 30.0
    smooth = CubicSpline(knots, np.cumsum(rng.gamma(1.0, 5.0, 26)))(days)
    steady = 0.1 * days + rng.normal(0, 1.0, 720)
    stepped = steady + np.where(days >= 400, 40.0, 0.0)
    holed = steady.copy()
    holed[300:330] = np.nan
    panel = Panel(0.0, DAY_S, ("holed", "smooth", "steady", "stepped"), np.stack([holed, smooth, steady, stepped], 1))
    found = {f.station: f for f in audit_panel(panel, [DAY_S, 7 * DAY_S, 30 * DAY_S])}
    assert (found["smooth"].code, found["smooth"].refused_horizons) == ("interpolated_input", ("1d", "7d"))
    assert "28-31 d" in found["smooth"].text
    assert (found["stepped"].code, jumps(stepped)[0].tolist()) == ("unexplained_jump", [400])
    assert "the longest 30" in found["holed"].text
    assert "steady" not in found
    assert [f.station for f in found.values() if f.refuses] == ["smooth"]
    assert find_interpolated(Panel(0.0, DAY_S, ("flat",), np.full((720, 1), 3.0))) == []


def test_a_lone_value_is_a_spike_a_step_and_a_collapse_are_none():
    rng = np.random.default_rng(4)
    series = 2000.0 / (310.0 - np.arange(300.0)) + rng.normal(0, 0.5, 300)
    series[100:] += 30.0
    assert spikes(series).size == 0
    series[[40, 220]] += [60.0, -500.0]
    series[219] = np.nan
    assert (spikes(series).tolist(), spikes(series[:30]).size) == ([40, 220], 0)


def test_the_audit_names_rows_by_line_and_value(tmp_path, capsys):
    path = long_csv(tmp_path / "a.csv", slope(), [("R1", "rain_mm", np.arange(300.0) % 7)])
    lines = path.read_text().splitlines()
    own = [i for i, text in enumerate(lines) if ",displacement" in text]

    def put(row, value):
        return lines[own[row]].rpartition(",")[0] + f",{value}"

    def place(row):
        return f"line {own[row] + 1} ({lines[own[row]].partition(',')[0]})"

    def audit():
        status = run_command(["forecast", "audit", "--data", str(path), "--horizons", "1d", "--json"])
        out = capsys.readouterr()
        return status, {f["code"]: f["text"] for f in map(json.loads, out.out.splitlines())}, out.err

    assert audit() == (0, {}, "")
    twice = [put(70, 1.5), lines[own[80]]]
    lines[own[50]], lines[own[60]] = put(50, "n/a"), put(60, "")
    path.write_text("\n".join([*lines, "", *twice, ""]))
    status, told, _ = audit()
    assert (status, told["no_number"]) == (0, f"1 values are no number and left out: {place(50)}: 'n/a'")
    time = lines[own[70]].partition(",")[0]
    assert f"line {len(lines) + 2} ({time}): 1.5 (as line {own[70] + 1}, there " in told["doubled_row"]
    assert told["doubled_row"].endswith(f"(as line {own[80] + 1})")
    path.write_text("\n".join([*lines[: own[90]], put(90, "1e9"), *lines[own[90] + 1 :]]))
    status, told, err = audit()
    assert status == 1
    assert told["implausible_value"].endswith(f"{place(90)}: 1e9")
    assert err.startswith("implausible_value: 1 of 2 stations, horizons 1d refused")
    flagged = [f"{row},out_of_range" if row.endswith(",1e9") else f"{row}," for row in path.read_text().splitlines()]
    path.write_text("\n".join([f"{flagged[0]}flags", *flagged[1:]]))
    status, told, _ = audit()
    assert (status, set(told)) == (0, {"flagged", "no_number"})
    assert told["flagged"] == f"1 readings are flagged and left out: {place(90)}: out_of_range"


def test_rain_is_summed_to_the_row_and_levels_are_averaged():
    panel = Panel(0.0, DAY_S, ("G1",), np.zeros((4, 1)))
    hours = np.arange(1, 73) * 3600.0
    samples = {"R1.rain_mm": (hours, np.ones(72)), "W.level_m": (hours, hours)}
    made = {c.name: c for c in covariates_from_samples(samples, panel)}
    np.testing.assert_array_equal(made["R1.rain_mm"].values, [np.nan, 24, 24, 24])
    assert made["W.level_m"].values[1] == pytest.approx(np.mean(hours[:24]))
    assert np.isnan(trailing_sum(np.array([1.0, np.nan, 1.0]), 3)).all()
    assert antecedent(np.array([8.0, 0.0]), 0.5).tolist() == [8.0, 4.0]
    names = set(features(made["W.level_m"], DAY_S)) | set(features(made["R1.rain_mm"], DAY_S))
    assert {"W.level_m.change_7d", "R1.rain_mm.sum_15d", "R1.rain_mm.antecedent"} <= names


def test_months_are_one_row_each_and_a_short_record_keeps_a_calibration():
    firsts = np.array([np.datetime64(f"{y}-{m:02}-01") for y in range(2015, 2021) for m in range(1, 13)])
    seconds = firsts.astype("datetime64[s]").astype(float)
    assert (nominal_step(np.diff(seconds)), nominal_step([30 * DAY_S] * 5)) == (MONTH_S, 30 * DAY_S)
    cells = np.floor((seconds - seconds[0]) / MONTH_S + 0.5)
    np.testing.assert_array_equal(cells, np.arange(72))
    parts = split(60)
    assert (parts.calibration.end - parts.calibration.first, split(900).calibration.first) == (36, 720)
    (one,) = rolling_folds(72, 1, last=12)
    assert (one.test.first, one.test.end) == (59, 72)


def test_recipes_read_wide_tables_and_refuse_what_they_do_not_know(tmp_path):
    table = tmp_path / "w.csv"
    table.write_text("date,p,rain\n2020-01-01,1.5,3\n2020-01-12,2.5,4\n2020-01-23,3.5,5\n")
    config = tmp_path / "r.toml"
    config.write_text(
        f'[data]\nfile = "{table}"\nformat = "wide"\ntime = "date"\ndisplacement = {{ P = "p" }}\n'
        'drivers = { "R.rain_mm" = "rain" }\n'
    )
    record = read_record(None, read_recipe(config))
    np.testing.assert_array_equal(record.panel.values[:, 0], [1.5, 2.5, 3.5])
    assert record.covariates[0].values.tolist() == [3, 4, 5]
    config.write_text(config.read_text().replace('"p"', '"q"'))
    with pytest.raises(RecipeError, match="no column 'q'"):
        read_record(None, read_recipe(config))
    config.write_text('[data]\nformat = "points"\nevery = "x"\n')
    with pytest.raises(RecipeError, match=r"data\.every: expected a whole number"):
        read_recipe(config)
    config.write_text('[data]\nformat = "wide"\nfiel = "x"\n')
    with pytest.raises(RecipeError, match=r"data\.fiel: expected one of"):
        read_recipe(config)
    with pytest.raises(RecipeError, match="no such file"):
        read_record("nowhere.csv", RecordRecipe())


def test_the_command_prints_rows_and_known_errors(tmp_path, capsys):
    path = long_csv(tmp_path / "a.csv", slope(), [("R1", "rain_mm", np.arange(300.0) % 7)])
    told = ["forecast", "backtest", "--data", str(path), "--horizons", "1d,7", "--folds", "1", "--json"]
    assert run_command(told) == 0
    out = capsys.readouterr()
    rows = [json.loads(line) for line in out.out.splitlines()]
    assert {r["model"] for r in rows} == {"persistence", "line", "combined"}
    assert ({r["station"] for r in rows}, {r["horizon"] for r in rows}) == ({"all", "G0", "G1"}, {"1d", "7d"})
    assert "fold 1: combined" in out.err
    named = tmp_path / "named.toml"
    named.write_text('[backtest]\ncovariates = ["R9.rain_mm", "season"]\n')
    noise, dateless = tmp_path / "n.csv", tmp_path / "d.csv"
    noise.write_bytes(bytes(range(256)))
    dateless.write_text("time,station,quantity,value\n2020-13-45T00:00:00Z,A,displacement_mm,1\n")
    for words, text in (
        (["backtest", "--data", "nowhere.csv"], "no such file"),
        (["backtest", "--data", str(path), "--models", "oracle"], "no network is called 'oracle'"),
        (["backtest", "--data", str(path), "--models", "auto+gru"], "'auto+gru' was removed: the forecast 'combined'"),
        (["backtest", "--data", str(path), "--horizons", "1m"], "shorter than the sampling interval"),
        (["backtest", "--data", str(path), "--config", str(named)], "no driver is called 'R9.rain_mm'; there are R1"),
        (["backtest"], "name a record"),
        (["backtest", "--data", str(tmp_path)], "is a folder"),
        (["backtest", "--data", str(noise)], "no table that can be read"),
        (["backtest", "--data", str(dateless)], "a time cannot be read"),
    ):
        assert run_command(["forecast", *words]) == 1
        err = capsys.readouterr().err
        assert text in err
        assert len(err.strip().splitlines()) == 1
    named.write_text('[backtest]\ncovariates = ["R1.rain_mm", "season"]\n')
    quick = ["--horizons", "1d", "--folds", "1", "--json"]
    assert run_command(["forecast", "backtest", "--data", str(path), "--config", str(named), *quick]) == 0
    capsys.readouterr()
    assert run_command(["forecast", "backtest", "--data", str(path), "--horizons", "soon"]) == 2
    capsys.readouterr()
    curve = slope()
    smooth = Panel(curve.start_s, DAY_S, ("C",), np.interp(np.arange(300.0), np.arange(0, 330, 30), range(11))[:, None])
    line = long_csv(tmp_path / "b.csv", smooth)
    assert run_command(["forecast", "audit", "--data", str(line), "--horizons", "1d,7d"]) == 1
    out = capsys.readouterr()
    assert out.err.startswith("interpolated_input: 1 of 1 stations, horizons 1d, 7d refused")
    assert run_command(["forecast", "backtest", "--data", str(line), "--horizons", "1d"]) == 1
    assert "interpolated_input" in capsys.readouterr().err
    assert run_command(["forecast", "leak-test", "--data", str(path), "--models", "combined", "--count", "20"]) == 0
    assert " 0 changed" in capsys.readouterr().out


@pytest.mark.soak
def test_a_horizon_too_long_for_a_network_is_dropped_and_the_others_are_scored():
    """The network is left out at the horizon that no block can hold; simple forecasts answer all of them."""
    pytest.importorskip("torch", reason="PyTorch is not installed (extra models)")
    said = []
    ahead, quick = [DAY_S, 40 * DAY_S], {"epochs": 1}
    trials = list(run_trials(slope(), ["gru"], ahead, folds=1, training=quick, on_progress=said.append))
    models = [[forecasts.model for forecasts in trial.forecasts] for trial in trials]
    assert models == [["persistence", "line", "combined", "gru"], ["persistence", "line", "combined"]]
    assert any("gru is not trained for 40d: a part of the record of" in line for line in said)


def test_a_record_too_short_for_a_network_is_scored_without_it():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra models)")
    said = []
    short = slope().head(260)
    long = {"epochs": 1, "window": 150}
    (trial,) = run_trials(short, ["gru"], [DAY_S], folds=1, training=long, on_progress=said.append)
    assert {forecasts.model for forecasts in trial.forecasts} == {"persistence", "line", "combined"}
    assert any("gru left out: 0 issue times have a window of 150" in line for line in said), said


def write_mixed(path, **steps_h):
    chance, begin = np.random.default_rng(2), datetime(2024, 1, 1, tzinfo=UTC)
    rows = ["time,station,quantity,value"]
    for name, (step_h, count, seen) in steps_h.items():
        walk = np.cumsum(chance.normal(0.02 * step_h, 0.05, count))
        rows += [
            f"{begin + timedelta(hours=k * step_h):%Y-%m-%dT%H:%M:%SZ},{name},displacement_mm,{walk[k]:.3f}"
            for k in range(count)
            if seen(k)
        ]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def run_backtest(data, capsys, *more):
    words = ["forecast", "backtest", "--data", data, "--folds", "1", "--json", *more]
    status = run_command(words)
    answer = capsys.readouterr()
    return status, [json.loads(line) for line in answer.out.splitlines()], answer.err


@pytest.mark.soak
def test_each_interval_is_scored_on_a_grid_of_its_own(tmp_path, capsys):
    kinds = {"HOURLY": (1, 24 * 60, lambda k: True), "DAILY": (24, 200, lambda k: True)}
    both = write_mixed(tmp_path / "both.csv", **kinds)
    status, rows, said = run_backtest(both, capsys, "--horizons", "6h,2d,30d")
    assert status == 0
    mine = [r for r in rows if r["model"] == "persistence" and r["station"] != "all" and r["n"]]
    found = {(r["station"], r["horizon"]): r for r in mine}
    assert set(found) == {("HOURLY", "6h"), ("HOURLY", "2d"), ("DAILY", "2d"), ("DAILY", "30d")}
    assert "HOURLY: no score at 30d: each test on this record reaches 12 d ahead" in said
    assert found["DAILY", "2d"]["interval_s"] == 86400.0
    assert "DAILY: no score at 6h" in said
    frame = (tmp_path / "both.csv").read_text().splitlines()
    alone = tmp_path / "alone.csv"
    alone.write_text("\n".join([frame[0], *[line for line in frame if ",DAILY," in line]]) + "\n")
    _, own, _ = run_backtest(str(alone), capsys, "--horizons", "2d,30d")
    beside = [r | {"train_s": 0} for r in rows if r["interval_s"] == 86400.0]
    assert beside == [r | {"train_s": 0} for r in own], "what stands beside it changes nothing"
    assert run_command(["forecast", "audit", "--data", both, "--horizons", "2d"]) == 0
    assert "gaps" not in capsys.readouterr().out


@pytest.mark.soak
def test_a_station_whose_gaps_leave_no_score_is_named(tmp_path, capsys):
    data = write_mixed(
        tmp_path / "a.csv",
        ENDED=(1, 24 * 60, lambda k: (k < 24 * 30 and k % 24 < 23) or k == 24 * 30),
        ALL=(1, 24 * 60, lambda k: not 24 * 40 <= k < 24 * 41),
    )
    status, rows, said = run_backtest(data, capsys, "--horizons", "6h,1d")
    assert (status, {r["station"] for r in rows}) == (0, {"all", "ALL"})
    assert "ENDED: no score at 6h, 1d" in said
    assert "691 of 721 intervals of 1h have a reading, the last at 2024-01-31T00:00:00" in said
    assert "ALL: no score" not in said


def test_rain_of_a_record_is_what_fell_however_its_gauge_says_it(tmp_path):
    chance = np.random.default_rng(5)
    rain = chance.choice([0.0, 0.0, 0.2, 1.4], 24 * 40)
    moved = [f"2024-01-{d:02}T00:00:00Z,G1,displacement_mm,{d}" for d in range(1, 31)]
    at = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=k) for k in range(rain.size)]

    def read(name, rows):
        lines = [f"{t:%Y-%m-%dT%H:%M:%SZ},R1,rain_mm,{v:.1f}" for t, v in rows]
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["time,station,quantity,value", *moved, *lines]) + "\n")
        return read_record(path, RecordRecipe()).covariates[0].values

    own = read("own", zip(at, rain, strict=True))
    twice = [(t + timedelta(minutes=late), v) for t, v in zip(at, rain, strict=True) for late in (0, 5)]
    np.testing.assert_allclose(read("twice", twice), own)
    np.testing.assert_allclose(read("counter", zip(at, np.cumsum(rain) + 50.0, strict=True))[1:], own[1:])


def test_a_model_that_never_forecasts_in_a_record_is_listed_without_a_score(tmp_path, capsys):
    """The interval of two weeks ahead needs more errors than a record of 40 days has."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    days = [f"{begin + timedelta(days=k):%Y-%m-%dT%H:%MZ}" for k in range(60)]
    rows = [f"{day},A,displacement,{0.1 * k:.1f},mm" for k, day in enumerate(days)]
    (tmp_path / "short.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows]) + "\n")
    words = ["forecast", "backtest", "--data", str(tmp_path / "short.csv"), "--models", "gru", "--horizons", "1d"]
    assert run_command(words) == 0
    answer = capsys.readouterr()
    assert "gru left out: " in answer.err
    assert {"persistence", "line", "combined"} <= {line.split()[0] for line in answer.out.splitlines() if line}


def test_table_of_scores_has_a_legend_that_explains_each_column_and_the_help_has_it_too(tmp_path, capsys):
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    days = [f"{begin + timedelta(days=k):%Y-%m-%dT%H:%MZ}" for k in range(60)]
    rows = [f"{day},A,displacement,{0.1 * k:.1f},mm" for k, day in enumerate(days)]
    (tmp_path / "short.csv").write_text("\n".join(["time,station,quantity,value,unit", *rows]) + "\n")
    assert run_command(["forecast", "backtest", "--data", str(tmp_path / "short.csv"), "--horizons", "1d"]) == 0
    table, _, legend = capsys.readouterr().out.partition("\n\n")
    headings = re.split(r"\s{2,}", table.splitlines()[0])[2:]
    explained = [line.partition(":")[0] for line in legend.splitlines()]
    assert explained == headings == ["n", "MAE mm", "skill", "best", "cover80", "cover95", "fit s"]
    assert re.search(r"^simple forecast of the column best, 1d: \w+", table, re.MULTILINE)
    help_text = load_all_commands()["forecast backtest"].help
    assert all(f"- {line}" in help_text for line in legend.splitlines())
