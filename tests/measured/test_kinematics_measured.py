"""Failure windows on measured series: none for stable stations, few for slopes that did not fail."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from forecasting.data.workbook import read_sheet
from forecasting.kinematics.failure import FailureSpec, watch_failure
from forecasting.kinematics.velocity import DAY_S
from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.history import VisibilityRule
from monitor.cli.main import run_command
from monitor.features.movement.update import update_movement
from monitor.readings.queries.storing import add_observations
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from tests.data import measured_curves, site_text
from tests.data.measured import measured_site, read_baijiabao, read_cascadia

pytestmark = pytest.mark.data


@pytest.mark.soak
def test_no_window_on_stable_stations_and_few_on_a_landslide_that_did_not_fail(measured):
    path = measured("outang/monitoring_data.csv")
    data = next(p.parent for p in path.parents if p.name == "timeseries")
    outang, stable, ice = measured_curves.score_non_failing(data)
    assert (ice["issues"] > 3_000, ice["trusted"]) == (True, 0)
    assert (stable["series"], stable["issues"] > 6_000, stable["windows"]) == (6, True, 0)
    # The accelerations of Outang are real. Their windows open and are withdrawn.
    assert 0 < outang["trusted_share"] <= 0.05
    assert outang["withdrawn"] > 0


def test_reservoir_steps_that_did_not_fail_show_no_window(measured):
    """The test of the stages of Baijiabao checks the steps of that station."""
    rows = read_sheet(measured("bazimen-baijiabao/target_sample.xlsx")).to_dict("records")
    times = [datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows]
    column = next(key for key in rows[0] if key.startswith("Total"))
    values = [float(row[column]) for row in rows]
    assert times[-1] - times[0] > 1800 * DAY_S
    issues = watch_failure(times, values, [0.0] * len(times), FailureSpec(30.4 * DAY_S, 5.0))
    assert not any(x.trusted for x in issues)


@pytest.mark.soak
def test_backtest_of_stable_gnss_has_no_trusted_failure_window(measured, sqlite_url):
    folder = measured("gnss-cascadia-pbo-csv/ALBH.pbo.nam08.csv").parent
    begin, end = datetime(2014, 1, 1, tzinfo=UTC), datetime(2015, 7, 1, tzinfo=UTC)
    names = ("ALBH", "SEAT", "SEDR")
    rows = read_cascadia(folder, begin, end, names)
    moved = site_text.series("displacement", "mm", "1d", max_silence="5d")
    text = site_text.head("cascadia", timezone="UTC", levels=site_text.FOUR)
    text += "".join(site_text.station(name, moved) for name in names)
    within = {level: {"within": span} for level, span in (("yellow", "30d"), ("orange", "10d"), ("red", "3d"))}
    site = parse_site(
        text + site_text.criterion("inverse_velocity", role="witness", stations=["*"], **within), "c.toml"
    )
    with Database(sqlite_url) as db:
        with db.write() as c:
            save_site(c, site, "test", "test", begin)
            add_observations(c, rows, end)
        card = run_backtest(db, site, begin, end, terms=BacktestOptions(VisibilityRule("observed")))
    (run,) = card.runs
    assert sum(looks for _, looks in run.windows.looks) > 1_000
    assert [period for period in run.windows.periods if period.first_trusted] == []
    assert run.alarm_days == ()


@pytest.mark.parametrize("suffix", ["", "-6h", "-1h"])
def test_the_published_failure_curves_are_read_and_judged(measured, capsys, suffix):
    path = measured(f"failure-curves/pftf_synthetic{suffix}.csv")
    assert run_command(["forecast", "failure-time", str(path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == {"": 100, "-6h": 397, "-1h": 2377}[suffix]
    assert all(x["window_from"] is None or x["window_from"] >= x["time"] for x in lines)
    before = [x for x in lines if x["time"] < "2023-07-15"]
    # The slope creeps until the last ten days.
    assert sum(x["trusted"] for x in before) <= 0.02 * len(before)


@pytest.mark.soak
def test_baijiabao_accelerates_in_june_2018_ends_as_a_step_and_never_has_a_failure_window(measured, sqlite_url):
    site, db = measured_site("baijiabao"), Database(sqlite_url)
    days = defaultdict(list)
    for observation in read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx")):
        if observation.quantity == "displacement":
            days[observation.observed_at].append(observation)
    begin = datetime(2018, 4, 1, tzinfo=UTC)
    with db.write() as c:
        save_site(c, site, "test", "test", begin)
        add_observations(c, [o for at, rows in days.items() if at < begin for o in rows], begin)
    stages = {}
    for at in sorted(d for d in days if d >= begin):
        with db.write() as c:
            add_observations(c, days[at], at)
        report = update_movement(db, site, at + timedelta(hours=1))
        assert not report.failed
        stages[at] = report.stage
    with db.read() as c:
        windows = [dict(w) for w in load_view(c, "failure_windows")]
    db.close()
    changes = [(at, s) for (_, before), (at, s) in pairwise(stages.items()) if s != before]
    print("baijiabao:", [(at.date().isoformat(), stage) for at, stage in changes])
    progressive = next(at for at, stage in changes if stage == "progressive")
    # The slope moved 65 mm from 2 June on. The long windows include 4 mm of mid May, so the stage is a few days early.
    assert datetime(2018, 5, 20, tzinfo=UTC) <= progressive <= datetime(2018, 6, 8, tzinfo=UTC)
    assert [stage for at, stage in changes if at > progressive] == ["step", "creep"]
    assert [w for w in windows if w["trusted"]] == []
