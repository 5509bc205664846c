"""What ADF, KPSS and Ljung-Box find in series whose kind is known, and what is said where they cannot be run."""

import json

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.evaluation.stationarity import run_series_tests
from monitor.cli.main import run_verb

pytest.importorskip("statsmodels")

ROWS = 400


def drawn():
    """A line with noise, a walk with drift, the walk with a hole and small gaps, one value, a handful of rows."""
    rng = np.random.default_rng(0)
    line = 0.2 * np.arange(ROWS) + rng.normal(0, 1.0, ROWS)
    walk = np.cumsum(0.1 + rng.normal(0, 1.0, ROWS))
    holed = walk.copy()
    holed[150:170] = np.nan
    holed[200:390:9] = np.nan
    still, short = np.full(ROWS, 5.0), np.full(ROWS, np.nan)
    short[-20:] = line[-20:]
    values = np.stack([holed, line, short, still, walk], axis=1)
    return Panel(0.0, DAY_S, ("holed", "line", "short", "still", "walk"), values)


@pytest.fixture(scope="module")
def found():
    return {one.station: one for one in run_series_tests(drawn())}


def test_a_line_and_a_walk_are_told_apart(found):
    line, walk = found["line"], found["walk"]
    assert line.adf_p < 0.01
    assert line.kpss_p >= 0.05
    assert line.text.startswith("keeps to a straight line")
    assert walk.adf_p > 0.05
    assert walk.kpss_p < 0.05
    assert "differences are forecast" in walk.text
    assert (line.rows, walk.rows, line.lags) == (ROWS, ROWS, 10)


def test_the_longest_stretch_is_tested_and_a_hole_is_not_bridged(found):
    holed = found["holed"]
    assert holed.rows == ROWS - 170
    assert holed.adf_p is not None
    assert holed.ljung_box_p is not None


def test_what_cannot_be_tested_is_null_with_a_reason(found):
    for name, why in (("short", "too short: 20 rows"), ("still", "never changes its pace")):
        facts = found[name].to_json()
        assert (facts["adf_p"], facts["kpss_p"], facts["ljung_box_p"]) == (None, None, None)
        assert why in facts["reason"]
        assert facts["text"].startswith("not tested: ")
    assert found["line"].to_json()["reason"] is None


def test_errors_that_remember_each_other_are_found():
    rng = np.random.default_rng(1)
    slow = 5.0 * np.sin(2 * np.pi * np.arange(ROWS) / 20.0) + rng.normal(0, 0.2, ROWS)
    (waves,) = run_series_tests(Panel(0.0, DAY_S, ("S",), slow[:, None]))
    assert waves.ljung_box_p < 0.001
    assert "remember each other" in waves.text


def test_the_audit_prints_one_line_per_station_and_says_what_is_missing(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(2)
    rows = [f"2025-01-{d + 1:02}T00:00:00Z,S1,displacement_mm,{v:.3f}" for d, v in enumerate(rng.normal(0, 1, 31))]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    asked = ["forecast", "audit", "--data", str(path), "--horizons", "1d"]
    assert run_verb([*asked, "--json"]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (tests,) = [f for f in facts if f["code"] == "series_tests"]
    assert tests["adf_p"] is None
    assert tests["reason"].startswith("too short: 31 rows")
    monkeypatch.setattr("monitor.extras.find_spec", lambda _: None)
    assert run_verb(asked) == 0
    out = capsys.readouterr()
    assert "series_tests" not in out.out
    assert out.err.count("statsmodels is not installed") == 1
