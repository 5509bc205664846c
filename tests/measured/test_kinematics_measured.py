"""Failure windows on measured series: none on ground that only shakes, few on slopes that did not fail."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forecasting.data.workbook import read_sheet
from forecasting.kinematics.failure import FailureSpec, watch_failure
from forecasting.kinematics.velocity import DAY_S
from monitor.cli.main import run_verb
from tests.bench.forecasting import measured_curves

pytestmark = pytest.mark.data


def folder_of(path: Path) -> Path:
    """The data folder above timeseries/."""
    return next(p.parent for p in path.parents if p.name == "timeseries")


def test_no_window_on_stable_stations_and_few_on_a_landslide_that_did_not_fail(measured):
    data = folder_of(measured("outang/monitoring_data.csv"))
    outang, stable, ice = measured_curves.score_non_failing(data)
    assert (ice["issues"] > 3_000, ice["trusted"]) == (True, 0)
    assert (stable["series"], stable["issues"] > 6_000, stable["windows"]) == (6, True, 0)
    assert 0 < outang["trusted_share"] <= 0.05  # real accelerations: they are seen, and given up again
    assert outang["withdrawn"] > 0


@pytest.mark.parametrize(
    ("name", "interval_s", "sigma", "days"), [("source", DAY_S, 1.2, 250), ("target", 30.4 * DAY_S, 5.0, 1800)]
)
def test_reservoir_steps_that_did_not_fail_show_no_window(measured, name, interval_s, sigma, days):
    rows = read_sheet(measured(f"bazimen-baijiabao/{name}_sample.xlsx")).to_dict("records")
    times = [datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows]
    column = next(key for key in rows[0] if key.startswith("Total"))
    values = [float(row[column]) for row in rows]
    assert times[-1] - times[0] > days * DAY_S
    issues = watch_failure(times, values, [0.0] * len(times), FailureSpec(interval_s, sigma))
    assert not any(x.trusted for x in issues)


@pytest.mark.parametrize("suffix", ["", "-6h", "-1h"])
def test_the_published_failure_curves_are_read_and_judged(measured, capsys, suffix):
    path = measured(f"failure-curves/pftf_synthetic{suffix}.csv")
    assert run_verb(["forecast", "failure-time", str(path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == {"": 100, "-6h": 397, "-1h": 2377}[suffix]
    assert all(x["window_from"] is None or x["window_from"] >= x["time"] for x in lines)
    before = [x for x in lines if x["time"] < "2023-07-15"]
    assert sum(x["trusted"] for x in before) <= 0.02 * len(before)  # it creeps until the last ten days
