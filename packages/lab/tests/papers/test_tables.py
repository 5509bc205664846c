"""Test `slopeward lab table`: figures of papers beside ours."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from monitor.cli.main import run_command
from slopeward_lab.papers import images, records
from slopeward_lab.papers.table import MeasurementOptions, TableRow

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def options():
    return MeasurementOptions(None, (7,), 1, lambda _: None)


def make_panel(values):
    return Panel(0.0, DAY_S, tuple(f"G{k}" for k in range(values.shape[1])), values)


def test_errors_are_means_over_stations_and_ignore_missing_values():
    level = np.zeros((4, 2))
    observed = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [np.nan, 8.0]])
    errors = records.compute_errors(observed, level, level)
    assert errors["mae_mm"] == pytest.approx((2.0 + 5.0) / 2)
    assert errors["rmse_mm"] == pytest.approx((math.sqrt(14 / 3) + math.sqrt(30)) / 2, abs=1e-4)


def test_repeating_the_last_value_explains_no_motion_but_most_of_a_curve():
    days = np.arange(300.0)[:, None]
    panel = make_panel(days + 3 * np.sin(days / 4))
    errors = records.score_persistence(panel, split(300, 240), 1)
    assert errors["r2_curve"] > 0.99
    assert errors["r2_motion"] <= 0


def test_line_through_two_points_is_exact_on_a_line():
    panel = make_panel(2.0 * np.arange(300.0)[:, None])
    assert records.score_line(panel, split(300, 240), 7)["mae_mm"] == 0


def test_figure_of_a_network_is_the_median_over_its_seeds(monkeypatch, options):
    forecasts_mm = {1: 0.0, 2: 1.0, 3: 9.0}

    class Trained:
        def __init__(self, seed):
            self.forecaster = self
            self.seed = seed

        def quantiles(self, values, origins):
            return np.full((origins.size, values.shape[1], 1, 5), forecasts_mm[self.seed])

    monkeypatch.setattr(records, "train_network", lambda *arguments: Trained(arguments[-1].seed))
    panel = make_panel(np.zeros((300, 1)))
    errors = records.score_network("gru", panel, split(300, 240), DAY_S, 30, options._replace(seeds=(1, 2, 3)))
    assert errors["mae_mm"] == 1.0


@pytest.mark.parametrize("name", [*records.NAVA_NETWORKS, "cnn-lstm-attention"])
def test_networks_of_the_tables_train_and_forecast(name, options):
    rng = np.random.default_rng(1)
    panel = make_panel(np.cumsum(rng.normal(0.2, 0.3, (220, 1)), axis=0))
    errors = records.score_network(name, panel, split(220, 180), DAY_S, 8, options)
    assert all(math.isfinite(value) for value in errors.values())


def test_table_of_baijiabao_is_measured_on_the_record(measured, options):
    folder = measured("bazimen-baijiabao/source_sample.xlsx").parents[1]
    rows = {
        (row.model, row.protocol): row.ours for row in records.measure_baijiabao(options._replace(data_folder=folder))
    }
    # docs/explanation/measured-figures.md quotes this figure.
    assert rows["persistence", "1 d ahead"]["mae_mm"] == pytest.approx(1.153, abs=1e-3)


def test_tables_of_images_read_the_folder_of_the_option_or_of_the_environment(monkeypatch, tmp_path, options):
    folders = []

    def run_recipe(recipe, out, data_folder, hooks):
        folders.append(data_folder)
        return {"metrics": {"test": {"f1": 0.5, "miou": None}}}

    monkeypatch.setattr(images, "run_recipe", run_recipe)
    monkeypatch.setenv("SLOPEWARD_DATA", str(tmp_path))
    for folder in (None, Path("elsewhere")):
        assert images.score_network("bijie", "scdnn", options._replace(data_folder=folder)) == {"f1": 0.5}
    assert folders == [tmp_path, Path("elsewhere")]


def test_every_table_names_its_source_and_its_differences():
    for table in {**records.TABLES, **images.TABLES}.values():
        assert table.source
        assert table.differences


def test_command_prints_paper_and_own_figures(monkeypatch, capsys):
    def measure(options):
        options.report("training")
        yield TableRow("gru", "1 d ahead", paper={"mae_mm": 0.5}, ours={"mae_mm": 0.75})

    table = records.TABLES["lamosano"]
    monkeypatch.setattr(records, "TABLES", {"lamosano": type(table)("T", "S", "P", ("D",), measure)})
    command = ["lab", "table", "lamosano", "--seeds", "1"]
    assert run_command(command) == 0
    assert "0.5 / 0.75" in capsys.readouterr().out
    assert run_command([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows == [{"model": "gru", "protocol": "1 d ahead", "paper": {"mae_mm": 0.5}, "ours": {"mae_mm": 0.75}}]


def test_unknown_table_is_refused_with_the_names_of_all(capsys):
    assert run_command(["lab", "table", "nowhere"]) != 0
    assert "expected one of: outang" in capsys.readouterr().err
