"""`slopeward forecast search`: trials before the test, methods, and refused values."""

import json

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import rolling_folds
from forecasting.errors import UnknownModelError
from forecasting.training_settings import read_settings_file
from monitor.cli.main import run_command
from slopeward_lab.search.settings import Range, search_settings

SPACE = {"hidden": Range((4, 8)), "learning_rate": Range((2e-3, 8e-3), (1e-3, 1e-2), is_logarithmic=True)}
ROWS = 300


def make_panel(seed=0):
    rng = np.random.default_rng(seed)
    rate = 1.0 + np.sin(2 * np.pi * np.arange(ROWS)[:, None] / 20.0)
    values = np.cumsum(rate * [1.0, 0.7], axis=0) + rng.normal(0, 0.2, (ROWS, 2))
    return Panel(0.0, DAY_S, ("A", "B"), values)


def search(panel, method="random", trials=2, model="linear-regression"):
    return search_settings(panel, model, (DAY_S,), method=method, trials=trials, space=SPACE)


def test_no_row_of_the_test_changes_a_trial():
    panel = make_panel()
    first = rolling_folds(ROWS, 1)[0].test.first
    values = panel.values.copy()
    values[first:] = np.random.default_rng(5).normal(0.0, 1e3, values[first:].shape)
    result = search(panel)
    changed = search(Panel(0.0, DAY_S, panel.stations, values))
    assert result.trials == changed.trials
    assert result.best == changed.best
    assert result.best_on_test != changed.best_on_test


def test_a_grid_search_tries_every_combination_once():
    result = search(make_panel(), "grid", 50)
    tried = [tuple(trial.settings.values()) for trial in result.trials[1:]]
    assert sorted(tried) == [(4, 2e-3), (4, 8e-3), (8, 2e-3), (8, 8e-3)]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_same_seed_gives_the_same_trials_within_the_bounds(method):
    results = [search(make_panel(), method, 3) for _ in range(2)]
    assert results[0] == results[1]
    for trial in results[0].trials[1:]:
        assert trial.settings["hidden"] in {4, 8}
        assert 1e-3 <= trial.settings["learning_rate"] <= 1e-2
    assert results[0].trials[0].settings == {"hidden": 32, "learning_rate": 2e-3}
    assert results[0].best.score == min(trial.score for trial in results[0].trials)


@pytest.mark.parametrize(("model", "text"), [("none", "no network is called"), ("pretrained-lstm", "shipped weights")])
def test_models_without_settings_are_refused(model, text):
    with pytest.raises(UnknownModelError, match=text):
        search(make_panel(), model=model)


def write_csv(folder):
    panel = make_panel()
    lines = ["time,station,quantity,value"]
    for row, instant in enumerate(np.datetime64("2024-01-01") + np.arange(ROWS)):
        lines += [f"{instant}T00:00:00Z,{name},displacement_mm,{panel.values[row, i]}" for i, name in enumerate("AB")]
    path = folder / "readings.csv"
    path.write_text("\n".join(lines))
    return str(path)


def test_the_command_prints_the_trials_and_two_scores_on_the_test(tmp_path, capsys):
    command = ["forecast", "search", "--data", write_csv(tmp_path), "--model", "ann", "--horizons", "1d"]
    command += ["--trials", "1", "--method", "random", "--values", "hidden=4,8", "--json"]
    assert run_command(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["what"] for line in lines] == [
        "trial",
        "trial",
        "best before the test",
        "usual settings on the test",
        "best settings on the test",
    ]
    assert lines[1]["settings"]["hidden"] in {4, 8}
    assert all(0.0 < line["score"] < 1.5 for line in lines)


def test_the_best_settings_are_written_to_a_file_that_the_training_reads(tmp_path, capsys):
    out = tmp_path / "best.toml"
    command = ["forecast", "search", "--data", write_csv(tmp_path), "--model", "linear-regression", "--horizons", "1d"]
    command += ["--trials", "2", "--method", "random", "--values", "hidden=4,8", "--out", str(out)]
    assert run_command(command) == 0
    printed = capsys.readouterr()
    best = next(line for line in printed.out.splitlines() if line.startswith("best before the test"))
    stored = read_settings_file(out)
    assert stored.model == "linear-regression"
    assert ", ".join(f"{name} {value:g}" for name, value in stored.settings.items()) in best
    assert out.read_text().startswith(
        "# Best of 3 trainings of `slopeward forecast search` on readings.csv, horizons 1d"
    )
    assert f"slopeward forecast train SITE --settings {out}" in printed.err or "no trial was better" in printed.err


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (["--values", "width=3"], "expected a name of hidden"),
        (["--values", "hidden=many"], "expected numbers separated by commas"),
        (["--values", "hidden=0"], "a whole number from 1 to 512"),
        (["--values", "dropout=2"], "a number from 0 to 0.9"),
        (["--method", "luck"], "expected one of grid, random, bayes"),
        (["--covariates", "R.rain"], "no driver of"),
        (["--horizons", "soon"], "--horizons"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, capsys, wrong, text):
    assert run_command(["forecast", "search", "--data", write_csv(tmp_path), *wrong]) == 2
    assert text in capsys.readouterr().err.replace("\n", " ")
