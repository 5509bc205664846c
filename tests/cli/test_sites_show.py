"""`slopeward sites show` and `list` print keys that only one kind of criterion has, and added advice."""

import json

import pytest

from monitor.cli.main import run_command

SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 46.0
longitude = 8.0
[levels]
names = ["green", "yellow"]
[fusion]
top_needs = 1
[[recipient]]
name = "Duty"
levels = ["yellow"]
channels = ["log:duty"]
[[station]]
id = "G1"
azimuth_deg = 90.0
series = [{quantity = "displacement", unit = "mm", interval = "1h"}, {quantity = "rain", unit = "mm", interval = "1h"}]
[[criterion]]
kind = "rain_antecedent"
series = "G1.rain"
decay = 0.9
span = "30d"
yellow = {over = 50.0}
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/bench.toml").write_text(SITE, encoding="utf-8")
    path = tmp_path / "slopeward.toml"
    path.write_text(f"[paths]\nsites = {str(tmp_path / 'sites')!r}\n", encoding="utf-8")
    return str(path)


def test_show_lists_the_keys_of_a_kind_of_criterion(config, capsys):
    assert run_command(["sites", "show", "bench", "--config", config]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "  criterion " in line]
    (criterion_line,) = [line for line in lines if line.startswith("criterion rain_antecedent-1 ")]
    assert "span = 30d" in criterion_line
    assert "decay = 0.9" in criterion_line
    assert [line.split("(")[1].split(")")[0] for line in lines if "-advice" in line] == ["advice, always added"] * 2


def test_only_criteria_of_the_site_file_are_counted(config, capsys):
    assert run_command(["sites", "list", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out)["criteria"] == 1
    run_command(["check", "--config", config])
    assert "criteria: 1, recipients: 1" in capsys.readouterr().out
