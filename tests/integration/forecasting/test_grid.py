"""`slopeward forecast grid`: settings tried on the past of a site; the best becomes a candidate and no more."""

import json
from datetime import UTC, datetime

import pytest

from forecasting.serving.records import HorizonErrors
from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.errors import ConfigError, JobError
from monitor.jobs.forecasts.grid import read_grid
from monitor.jobs.forecasts.tasks import SCORE_CELL, CellAnswer
from monitor.store.alerting.sites import save_site
from monitor.store.models.registry import load_models
from monitor.worker import compute
from tests.conftest import ON_SQLITE
from tests.data.crossing import cross, hurry
from tests.integration.forecasting.test_jobs_forecast import SITE, START, fill

GRID = 'model = "gru"\n[grid]\nhidden = [8]\nepochs = [1, 2]\n'


@pytest.fixture
def here(database, tmp_path, monkeypatch):
    """A service with a site that was read until yesterday, in the folder where the verb is called; what was asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/jobs.toml").write_text(SITE)
    url = database.url.render_as_string(hide_password=False)
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{url}"\n[paths]\nsites = "{tmp_path}/sites"\nmodels = "{tmp_path}/models"\n'
    )
    (tmp_path / "grid.toml").write_text(GRID)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    site = parse_site(SITE, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    fill(database, site, 300, (datetime.now(UTC) - START).days - 300)
    asked = []

    def run(task, question, *_, **__):
        asked.append(question)
        return cross(task, hurry(question))

    monkeypatch.setattr(compute, "run", run)
    return asked


def call(*words):
    return run_verb(["forecast", "grid", "--site", "jobs", "--grid", "grid.toml", *words])


@ON_SQLITE
def test_all_settings_stand_in_a_table_beside_those_in_use_and_nothing_is_kept(here, database, capsys):
    assert call() in {0, 4}
    said = capsys.readouterr()
    for words in ("gru, 3 settings", "in use", "hidden 8, epochs 1", "over persistence"):
        assert words in said.out, words
    assert "3 of 3: hidden 8, epochs 2" in said.err
    assert [dict(one.training.settings) for one in here] == [
        {}, {"hidden": 8, "epochs": 1}, {"hidden": 8, "epochs": 2}
    ]  # fmt: skip
    assert {one.record.end_s for one in here} == {here[0].record.end_s}, "all see the same past"
    with database.read() as c:
        assert load_models(c, task="forecast", site="jobs") == []
    assert call("--json") in {0, 4}
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(row["cell"], row["horizon_s"]) for row in rows} == {(k, h) for k in range(3) for h in (86400.0, 604800.0)}
    assert all(row["n"] > 20 and row["over_persistence_mm"] for row in rows)
    assert [row["over_use_mm"] is None for row in rows] == [row["cell"] == 0 for row in rows]


@ON_SQLITE
def test_the_best_becomes_a_candidate_that_no_gate_has_let_in(here, database, monkeypatch, capsys):
    run = compute.run

    def answer(task, question, *_, **__):
        """The settings with two passes are far better."""
        if task is not SCORE_CELL:
            return run(task, question)
        size = 0.5 if question.training.settings.get("epochs") == 2 else 1.0
        wave = tuple(1.0 + 0.1 * (k % 5) for k in range(100))
        own = tuple(size * value for value in wave)
        return CellAnswer((HorizonErrors(86400.0, 1, own, wave, wave),))

    monkeypatch.setattr(compute, "run", answer)
    assert call() == 0
    assert "best: hidden 8, epochs 2; the same command with --take trains it" in capsys.readouterr().err
    with database.read() as c:
        assert load_models(c, task="forecast", site="jobs") == []
    assert call("--take", "--seed", "3") == 0
    assert "gru with hidden 8, epochs 2: " in capsys.readouterr().out
    with database.read() as c:
        (row,) = load_models(c, task="forecast", site="jobs")
    assert (row.state, row.reason) == ("candidate", "asked for")
    assert row.card["training"]["settings"] == {"hidden": 8, "epochs": 2}
    assert row.card["config"]["hidden"] == 8
    assert here[-1].training.seed == 3


@ON_SQLITE
def test_a_cell_that_cannot_be_trained_is_named_and_the_settings_in_use_end_it(here, monkeypatch, capsys):
    refused = {"epochs 1": False}

    def answer(task, question, *_, **__):
        if question.training.settings.get("epochs") == 1 or (refused["epochs 1"] and not question.training.settings):
            return CellAnswer(refused="too wide for it")
        wave = tuple(1.0 + 0.1 * (k % 5) for k in range(100))
        return CellAnswer((HorizonErrors(86400.0, 1, wave, wave, wave),))

    monkeypatch.setattr(compute, "run", answer)
    assert call("--json") == 4, "none is better"
    said = capsys.readouterr()
    assert [json.loads(line).get("refused") for line in said.out.splitlines()] == [None, None, "too wide for it"]
    assert "nothing to take" in said.err
    refused["epochs 1"] = True
    assert call() == 1
    assert "gru with the settings in use: too wide for it" in capsys.readouterr().err


@ON_SQLITE
def test_a_job_that_fails_is_a_row_with_the_reason_and_ends_no_other(here, monkeypatch, capsys):
    asked, failing = [], {"epochs": 1}

    def answer(task, question, *_, **__):
        asked.append(dict(question.training.settings))
        if question.training.settings.get("epochs") == failing["epochs"]:
            raise JobError("score_cell: killed at its limit of 5 s")
        wave = tuple(1.0 + 0.1 * (k % 5) for k in range(100))
        return CellAnswer((HorizonErrors(86400.0, 1, wave, wave, wave),))

    monkeypatch.setattr(compute, "run", answer)
    assert call() == 4, "none is better"
    assert [one.get("epochs") for one in asked] == [None, 1, 2], "those behind it are trained"
    said = capsys.readouterr()
    assert "gru, 2 settings" in said.out
    assert "hidden 8, epochs 1: score_cell: killed at its limit of 5 s" in said.out
    asked.clear()
    failing["epochs"] = None
    assert call() == 1
    assert len(asked) == 1, "with nothing to compare with, nothing is trained"
    assert "gru with the settings in use: score_cell: killed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model = 1", "model: expected one of"),
        ('model = "pretrained-lstm"\n[grid]\nhidden = [8]', "model: expected one of"),
        ('model = "gru"', "expected a list of values"),
        ('model = "gru"\nseeds = 3\n[grid]\nhidden = [8]', "seeds: unknown"),
        ('model = "gru"\n[grid]\nwindow = [8]', "grid.window: unknown"),
        ('model = "gru"\n[grid]\nhidden = 8', "list of different values"),
        ('model = "gru"\n[grid]\nhidden = [8, 8]', "list of different values"),
        ('model = "gru"\n[grid]\ndropout = [0, 0.0]', "list of different values"),
        ('model = "gru"\n[grid]\nhidden = [8.5]', "whole numbers from 4 to 256"),
        ('model = "gru"\n[grid]\nhidden = [true]', "whole numbers"),
        ('model = "gru"\n[grid]\ndropout = [nan]', "numbers from 0 to 0.9"),
        ('model = "gru"\n[grid]\nhidden = [4, 5, 6, 7, 8, 9, 10]\nepochs = [1, 2, 3, 4, 5, 6, 7]', "49 settings"),
        ("[", "grid.toml: "),
    ],
)  # fmt: skip
def test_a_grid_that_nobody_meant_is_one_line(tmp_path, text, why):
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(ConfigError, match=why) as error:
        read_grid(tmp_path / "grid.toml")
    assert "\n" not in str(error.value)


@ON_SQLITE
def test_a_site_whose_networks_begin_elsewhere_or_that_has_no_readings_is_refused(here, tmp_path, capsys):
    (tmp_path / "sites/jobs.toml").write_text(SITE.replace("[forecast]", '[forecast]\nstart_from = "jobs"'))
    assert call() == 1
    assert "forecast.start_from" in capsys.readouterr().err
    (tmp_path / "sites/jobs.toml").write_text(SITE.replace('id = "jobs"', 'id = "bare"'))
    assert run_verb(["forecast", "grid", "--site", "bare", "--grid", "grid.toml"]) == 1
    assert "no readings" in capsys.readouterr().err
    assert here == []
