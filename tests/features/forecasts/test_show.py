"""`slopeward forecast show` prints the newest shown forecast of each series."""

import json
import re
import shutil

import pytest

from monitor.cli.main import run_command
from tests.fixtures.waiting import REPOSITORY


@pytest.fixture
def show(filled_sqlite_url, tmp_path, monkeypatch, capsys):
    config = tmp_path / "slopeward.toml"
    shutil.copytree(REPOSITORY / "configs/sites", tmp_path / "configs/sites")
    config.write_text(f'[database]\nurl = "{filled_sqlite_url}"\n')
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = run_command(["forecast", "show", *words, "--config", str(config)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_a_line_has_horizon_target_change_and_interval(show):
    status, out, _ = show("north-bench", "--horizon", "1d", "--utc")
    assert status == 0
    lines = out.splitlines()
    assert lines
    change = r"-?[\d.]+ mm \(-?[\d.]+ to -?[\d.]+\)"
    pattern = rf"G1 displacement \w+ in 1d \(2026-\d\d-\d\d \d\d:\d\d.*\): {change} since 2026-.*"
    assert any(re.fullmatch(pattern, line) for line in lines), lines


def test_only_shown_forecasts_of_the_station_and_horizon_are_printed(show):
    status, out, _ = show("north-bench", "--station", "G1", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {row["station"] for row in rows} == {"G1"}
    assert all(row["shown"] and row["model"] == "combined" for row in rows)
    targets = [(row["quantity"], row["horizon_s"]) for row in rows]
    assert len(targets) == len(set(targets))


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("north-benc",), 1, "did you mean north-bench?"),
        (("north-bench", "--station", "G11"), 1, "north-bench has no station 'G11'; there are: "),
        (("north-bench", "--station", "G11"), 1, "did you mean G1?"),
        (("north-bench", "--horizon", "99d"), 4, "the reasons: slopeward forecast run north-bench"),
        (("north-bench", "--horizon", "soon"), 1, "--horizon: "),
    ],
)
def test_an_unknown_site_station_or_horizon_is_one_line(show, words, status, message):
    found, out, err = show(*words)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert message in err
