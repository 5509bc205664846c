"""The measured false alarms of a detector against its budget, and the slow correction of its threshold."""

import json
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from detection.anomaly.budget.correction import HIGHEST, STEP
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.errors import RefusedError
from monitor.features.anomalies.budgets import correct_thresholds
from monitor.features.anomalies.curve import describe_scores
from monitor.features.anomalies.detector_scores import score_detectors
from monitor.features.anomalies.queries.budget import load_factors, measure_detectors, set_factor
from monitor.features.anomalies.queries.labels import add_label, load_runs
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies, load_echoes
from monitor.features.anomalies.tables import anomaly_budget
from monitor.readings.queries.observations import find_series_id, load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.proof import verify
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.data import site_text
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_SQLITE

NOW = parse_time("2026-06-30T12:00:00Z")
DAY, ADA = timedelta(days=1), Actor("Ada")
STATION = site_text.station("{0}", site_text.series("displacement_east", "mm", "1d", max_silence="3d"))
BUDGET = {"detectors": ["rules", "flatline"], "budget_per_sensor_month": 0.1}
TEXT = (
    site_text.head("bench", "North bench", latitude=46.2, longitude=8.9, anomaly=BUDGET)
    + site_text.criterion("anomaly", level="yellow")
) + "".join(STATION.format(f"G{n}") for n in range(10))
SITE = parse_site(TEXT, "bench.toml")


@pytest.fixture
def watched(database):
    """150 days of ten stations: every ninth day a station is over the threshold, one score in four by far."""
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 200 * DAY)
        rows = [Observation("bench", f"G{n}", "displacement_east", "mm", NOW, NOW, 1.0) for n in range(10)]
        add_observations(c, rows, NOW)
        series = [find_series_id(c, "bench", f"G{n}", "displacement_east") for n in range(10)]
        scores = []
        for number, series_id in enumerate(series):
            for day in range(150):
                strange = day % 30 == 3 * number
                score = 0.5 if not strange else 2.0 if day < 30 else 1.04 if day < 60 else 1.3
                scores.append(AnomalyRow(series_id, NOW - day * DAY, "rules", score, 1.0, 0.1, "spike", strange))
        add_anomalies(c, scores, NOW)
    return database


def say(database, verdicts, now=NOW):
    with database.write() as c:
        runs = load_runs(c, SITE, NOW - 180 * DAY, NOW)
        for run, verdict in zip(runs, verdicts, strict=False):
            add_label(c, "bench", run, verdict, "unknown", ADA, "", now)
    return len(runs)


def look(database, now=NOW):
    (found,) = ask(database, measure_detectors, SITE, now)
    return found


def test_labels_of_a_piezometer_move_no_threshold_of_the_motion(watched):
    more = STATION.format("P1").replace("displacement_east", "pore_pressure").replace('"mm"', '"kPa"')
    site = parse_site(TEXT + more, "bench.toml")
    say(watched, ["confirmed"] * 20)
    before = look(watched)
    with watched.write() as c:
        add_observations(c, [Observation("bench", "P1", "pore_pressure", "kPa", NOW, NOW, 1.0)], NOW)
        series_id = find_series_id(c, "bench", "P1", "pore_pressure")
        times = [NOW - day * DAY for day in range(0, 150, 10)]
        add_anomalies(
            c, [AnomalyRow(series_id, at, "rules", 2.0, 1.0, 0.1, "spike", alerted=True) for at in times], NOW
        )
        for run in load_runs(c, site, NOW - 180 * DAY, NOW):
            if run.station == "P1":
                add_label(c, "bench", run, "dismissed", "unknown", ADA, "", NOW)
    (found,) = ask(watched, measure_detectors, site, NOW)
    assert (found.labelled, found.dismissed, found.sensor_months) == (before.labelled, 0, before.sensor_months)
    correct_thresholds(watched, site, NOW)
    assert ask(watched, load_factors, site) == {"rules": 1.0}


@pytest.mark.soak
@ON_SQLITE
def test_the_rate_is_measured_from_ten_labels_on_and_the_threshold_follows_slowly(watched, tmp_path, capsys):
    number = say(watched, ["dismissed"] * 9)
    assert (look(watched).describe(), correct_thresholds(watched, SITE, NOW)) == ("not measured: 9 of 10 labels", [])
    say(watched, ["dismissed"] * (number - 10) + ["confirmed"] * 10)
    found = look(watched)
    assert (found.reported, found.labelled, found.known_cause) == (number, number, 0)
    assert found.sensor_months == pytest.approx(1500 / 30.4375, rel=0.01)
    assert found.rate.low < found.rate.value < found.rate.high
    assert found.rate.value == pytest.approx((number - 10) / found.sensor_months)
    assert correct_thresholds(watched, SITE, NOW + 6 * DAY) == [], "once a week"
    factors = []
    for week in range(1, 13):
        correct_thresholds(watched, SITE, NOW + week * 7 * DAY)
        factors.append(ask(watched, load_factors, SITE)["rules"])
    assert factors[0] == pytest.approx(1.0 + STEP)
    assert all(b <= a * (1.0 + STEP) + 1e-3 for a, b in zip([1.0, *factors], factors, strict=False))
    assert max(factors) <= HIGHEST
    with watched.read() as c:
        kept = load_view(c, "anomaly_budgets", order_by=("budget_id",), site="bench")
        assert [k["factor"] for k in kept][1:] == factors
        assert kept[0]["rate_per_sensor_month"] is None
        assert kept[1]["budget_per_sensor_month"] == 0.1
        assert (load_view(c, "audit_log", action="anomaly.budget")[0]["actor"], verify(c)) == (SERVICE_ACTOR.name, [])
        scored = score_detectors(load_runs(c, SITE, NOW - 180 * DAY, NOW), measure_detectors(c, SITE, NOW))
        assert load_factors(c, parse_site(TEXT.replace('"yellow"', '"yellow"\nrole = "witness"'), "b.toml")) == {}
    assert "false alarms per sensor-month" in scored[0].to_json()["false_alarms"]
    service = str(write_service(tmp_path, watched, TEXT))
    assert run_command(["anomalies", "budget", "bench", "--recompute", "--config", service]) == 0
    assert "DIFFERS" not in capsys.readouterr().out
    # a person puts it back, and what was said before counts no more
    with watched.write() as c:
        with pytest.raises(RefusedError, match="a factor is from 1"):
            set_factor(c, SITE, "rules", 0.5, ADA, "why not", NOW)
        with pytest.raises(RefusedError, match="a person"):
            set_factor(c, SITE, "rules", 1.0, SERVICE_ACTOR, "why not", NOW)
        set_factor(c, SITE, "rules", 1.0, ADA, "labels by mistake", NOW + 90 * DAY)
    correct_thresholds(watched, SITE, NOW + 98 * DAY)
    assert ask(watched, load_factors, SITE) == {"rules": 1.0}
    with watched.write() as c:
        row = anomaly_budget.c
        c.execute(anomaly_budget.update().where(row.id == kept[2]["budget_id"]).values(factor=1.4))
    capsys.readouterr()
    assert run_command(["anomalies", "budget", "bench", "--recompute", "--config", service]) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 1
    assert run_command(["anomalies", "budget", "bench", "--json", "--config", service]) == 0
    assert json.loads(capsys.readouterr().out)["factor"] == 1.0


def test_alarms_of_impaired_instruments_do_not_count(watched):
    quiet = look(watched)
    battery = AlertChange(AlertCategory.HEALTH, "health:instrument:G1:battery", 1, True, "low", None, "{}")
    with watched.write() as c:
        for week in range(5):
            at = NOW - (40 - 7 * week) * DAY
            add_maintenance(c, "bench", "G0", at, at + 7 * DAY, ADA, "new mast", at)
        for at, change in ((NOW - 60 * DAY, battery), (NOW - 20 * DAY, replace(battery, open=False))):
            apply_changes(c, [change], ChangeContext("bench", SITE, (), SERVICE_ACTOR, at, "test"))
    found = look(watched)
    assert found.known_cause > 0
    assert found.reported + found.known_cause == quiet.reported
    assert quiet.sensor_months - found.sensor_months == pytest.approx(75 / 30.4375, rel=0.05)
    with watched.write() as c:  # a person's word stands before the state of the instrument
        run = next(r for r in load_runs(c, SITE, NOW - 40 * DAY, NOW) if r.station == "G0")
        add_label(c, "bench", run, "confirmed", "movement", ADA, "", NOW)
    assert look(watched).known_cause == found.known_cause - 1


def test_no_correction_where_anomalies_count_for_the_level(watched):
    voting = parse_site(TEXT.replace('level = "yellow"', 'level = "yellow"\nrole = "witness"'), "bench.toml")
    say(watched, ["dismissed"] * 99)
    assert correct_thresholds(watched, voting, NOW) == []
    (row,) = ask(watched, lambda c: c.execute(select(anomaly_budget)).all())
    assert row.reason.endswith("the threshold stays, because anomalies count for the warning level here")
    assert row.rate > 0.1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_bench_reads_the_record_of_a_site(watched, tmp_path, capsys):
    rng = random.Random(5)
    places = [("bench", f"G{n}", "displacement_east", "mm") for n in range(3)]
    rows = [Observation(*p, NOW - day * DAY, NOW, rng.gauss(0.0, 1.0)) for p in places for day in range(1, 700)]
    tell(watched, add_observations, rows, NOW)
    service = str(write_service(tmp_path, watched, TEXT))
    assert run_command(["anomalies", "bench", "--site", "bench", "--budget", "0.3", "--json", "--config", service]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    names = ["rules", "rules+checks"]
    assert [row["detector"] for row in found] == [*names, "flatline", "replay", "gap", "unit-jump", "timing"]
    assert all(row["events"] > 5 for row in found[:2])
    assert run_command(["anomalies", "bench", "--config", service]) == 2


def test_scores_are_readable_if_their_threshold_is_0(database):
    """The threshold is 0 if no reading of the training record has a score."""
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 200 * DAY)
        add_observations(c, [Observation("bench", "G1", "displacement_east", "mm", NOW, NOW, 1.0)], NOW)
        series_id = find_series_id(c, "bench", "G1", "displacement_east")
        alert = AnomalyRow(series_id, NOW - 9 * DAY, "rules", 3.0, 0.0, 0.1, "spike", alerted=True)
        echo = replace(alert, at=NOW - DAY, score=2.0, alerted=False)
        add_anomalies(c, [alert, echo], NOW)
    with database.read() as c:
        curve = describe_scores(c, load_series(c, "bench"), NOW - 30 * DAY, NOW)
        (measurement,) = measure_detectors(c, SITE, NOW)
        assert [echo.score for echo in load_echoes(c, "bench", NOW - 30 * DAY, NOW)] == [2.0]
    assert curve.values["scores"]["ratio"] == [3.0, 2.0]
    assert [alarm.score for alarm in measurement.alarms] == [3.0]
