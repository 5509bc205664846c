"""The board of instruments on both databases: what is found, what is notified, and what it never touches."""

import csv
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.cli.main import run_command
from monitor.errors import RefusedError
from monitor.features.anomalies.detector_scores import score_detectors
from monitor.features.anomalies.queries.labels import add_label, find_run, load_runs
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies, load_echoes
from monitor.features.anomalies.tables import anomaly_label
from monitor.features.instruments.jobs import run
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Binding
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data import site_text
from tests.data.filled import NOW as STORY_NOW
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_BOTH, ON_SQLITE
from tests.markup import flatten_html
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

NOW = parse_time("2026-03-15T12:00:00Z")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HEAD = (
    site_text.head("bench", "North bench", latitude=46.2, longitude=8.9)
    + site_text.table("[[recipient]]", name="duty", channels=["log"])
    + site_text.criterion("velocity", stations=["G*"], **site_text.bounds(yellow="6 1d"), author="t", reason="test")
)
FACTS = {"reference": "BASE", "logger": "L1", "gateway": "W1", "calibrated_on": date(2025, 1, 10)}
STATION = site_text.station(
    "{0}",
    site_text.series("displacement", "mm", "6h", max_silence="1d"),
    site_text.series("battery_voltage", "V", "6h", max_silence="2d", empty=11.4),
    **{"azimuth_deg": 90.0, "plunge_deg": 0.0, **FACTS, "calibrate_every": "365d"},
)
SITE = parse_site(HEAD + "".join(STATION.format(name) for name in ("G1", "G2", "G3")), "bench.toml")
GOOD = {"fix": "fixed", "satellites": 14}


def say(station, at, volts, *, delay_s=30.0, gnss=None):
    extra = json.dumps({"gnss": None, **(gnss or GOOD)})
    received = at + timedelta(seconds=delay_s)
    return [
        Observation("bench", station, "displacement_downslope", "mm", at, received, 1.0, extra=extra),
        Observation("bench", station, "battery_voltage", "V", at, received, volts),
    ]


def put(c, station, at, volts):
    add_observations(c, say(station, at, volts), at)


@pytest.fixture
def bench(database):
    """Sixteen days: G1 loses 0.1 V a day, G2 its charge by day, G3 its clock and its satellites on the last one."""
    rows, sick = [], {"delay_s": -290.0, "gnss": {"fix": "float", "satellites": 5}}
    for quarter in range(4 * 16):
        at = NOW - 16 * DAY + (quarter + 1) * 6 * HOUR
        day, noon = (NOW - at) / DAY, 0.8 if at.hour == 12 else 0.0
        rows += say("G1", at, 11.8 + 0.1 * day + noon)
        rows += say("G2", at, 12.4 + (0.0 if day < 3 else noon))
        rows += say("G3", at, 12.4 + noon, **(sick if day < 1 else {}))
    for at in (NOW - 7 * HOUR, NOW - 5 * HOUR, NOW - 4 * HOUR):  # a day's figures need six epochs
        rows += say("G3", at, 12.4, **sick)
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 16 * DAY)
        add_observations(c, rows, NOW - 16 * DAY)
    return database


def board(db):
    return {r["instrument"]: r for r in ask(db, load_view, "instrument_health", site="bench")}


def findings(db):
    rows = ask(db, load_view, "instrument_findings", order_by=("instrument", "state"), site="bench")
    return {(r["instrument"], r["state"]): r for r in rows}


def keys(db):
    return {r["key"] for r in ask(db, load_view, "active_alerts", site="bench") if "instrument" in r["key"]}


def find_clock(database, rows, at):
    tell(database, add_observations, [o for o in rows if o.received_at <= at], at)
    run(database, ServiceConfig(), SITE, at)
    return ("G1", "clock") in findings(database)


def report(db, station, kind, hours=1.0, *, quantity="displacement_downslope", detector="rules"):
    """What a detector finds so many hours ago, 2.25 times its threshold."""
    with db.write() as c:
        series = find_series_id(c, "bench", station, quantity)
        add_anomalies(c, [AnomalyRow(series, NOW - hours * HOUR, detector, 9.0, 4.0, 0.1, kind, True)], NOW)


@pytest.mark.soak
def test_imported_readings_do_not_change_the_usual_delay(database):
    """As in the demonstration: weeks come at once, then the present; nobody must set a clock, that day or the next."""
    rows = []
    for number in range(4 * 24 * 10):  # three files
        at = NOW - 6 * HOUR - number * HOUR / 4
        rows += say("G1", at, 12.4, delay_s=(NOW - at).total_seconds() + number // 320)
    for number in range(1, 4 * 27):
        rows += say("G1", NOW + number * HOUR / 4, 12.4)
    tell(database, save_site, SITE, "test", "test", NOW - 16 * DAY)
    looks = [0.1, 3.0, 12.0, *(24.0 + quarter / 4 for quarter in range(9))]
    assert [hours for hours in looks if find_clock(database, rows, NOW + hours * HOUR)] == []


@pytest.mark.soak
def test_clock_that_is_wrong_since_an_outage_stays_found(database):
    """A reading a minute; the link is gone for twelve hours, its backlog comes at once, the clock is two hours late."""
    minute, rows = timedelta(minutes=1), []
    for number in range(60 * 84):
        due = NOW - 2 * DAY + number * minute
        at, delay_s = due, 30.0
        if due > NOW:
            at, delay_s = due - 2 * HOUR + minute / 4, 2.0 * 3600.0 + 15.0
        elif due > NOW - 12 * HOUR:
            delay_s = (NOW - due).total_seconds() + 5.0
        rows += say("G1", at, 12.4, delay_s=delay_s)[:1]
    tell(database, save_site, SITE, "test", "test", NOW - 16 * DAY)
    assert not find_clock(database, rows, NOW - HOUR)
    assert [hours for hours in range(9, 34, 2) if not find_clock(database, rows, NOW + hours * HOUR)] == []


@ON_SQLITE
def test_board_shows_state_begin_reason_and_action(bench):
    evaluate_site(bench, SITE, NOW, "start")
    run(bench, ServiceConfig(), SITE, NOW)
    found, rows = findings(bench), board(bench)
    of_g3 = {("G3", state) for state in ("clock", "fix", "satellites")}
    assert {k for k in found if k[1] != "calibration"} == {("G1", "battery"), ("G2", "solar")} | of_g3
    assert found["G1", "battery"]["action"] == "replace the battery of G1 (about 4 days left)"
    assert abs(parse_time(rows["G1"]["battery_empty_at"]) - NOW - 4.0 * DAY) < 0.2 * DAY
    assert rows["G2"]["battery_empty_at"] is None
    assert rows["G2"]["battery_method"] == "its lowest values of each day do not fall"
    assert (rows["G1"]["state"], rows["G1"]["votes"]) == ("battery", True)
    assert rows["G3"]["state"] == "clock", "the most severe state is shown"
    assert (rows["G1"]["calibrated_on"], rows["G1"]["calibration_due_on"]) == ("2025-01-10", "2026-01-10")
    assert rows["G1"]["calibration_age_days"] == 429
    assert (rows["G1"]["base"], rows["G1"]["logger"], rows["G1"]["gateway"]) == ("BASE", "L1", "W1")
    assert len(json.loads(rows["G1"]["spark"])) == 28
    later = NOW + 6 * HOUR
    with bench.write() as c:
        for name in ("G1", "G2", "G3"):
            put(c, name, later, 12.9)
    run(bench, ServiceConfig(), SITE, later)
    assert ("G3", "fix") in findings(bench)
    assert findings(bench)["G3", "fix"]["since"] == format_iso(NOW), "it goes on since it was found first"


def test_common_finding_is_one_notice_that_ends(bench):
    run(bench, ServiceConfig(), SITE, NOW)
    run(bench, ServiceConfig(), SITE, NOW + HOUR / 4)  # a clock waits for those of its logger
    said = keys(bench)
    assert {k for k in said if k.endswith("calibration")} == {"health:instrument:logger:L1:calibration"}
    assert "health:instrument:G1:battery" in said
    told = ask(bench, lambda c: c.execute(select(notification.c.body)).scalars().all())
    assert sum("G1, G2, G3" in body for body in told) == 1
    run(bench, ServiceConfig(), SITE, NOW + HOUR)
    assert keys(bench) == said, "nothing is said twice"
    with bench.write() as c:
        for number in range(1, 9):
            put(c, "G1", NOW + number * 6 * HOUR, 12.9)
    run(bench, ServiceConfig(), SITE, NOW + 2 * DAY)
    (battery,) = ask(bench, load_view, "alert_history", key="health:instrument:G1:battery")
    assert battery["state"] == "returned_unacknowledged", "a new battery ends the notice"


@pytest.mark.soak
def test_dying_battery_is_one_notice_until_its_replacement(bench):
    def told(name):
        with bench.read() as c:
            bodies = c.execute(select(notification.c.body).order_by(notification.c.id)).scalars().all()
        return [b for b in bodies if b.startswith((f"{name}:", f"{name} ", f"station {name} ", f"resolved: {name}"))]

    evaluate_site(bench, SITE, NOW, "start")
    run(bench, ServiceConfig(), SITE, NOW)
    assert len(told("G1")) == 1
    with bench.write() as c:
        for number in range(1, 4 * 8):
            at = NOW + number * 6 * HOUR
            for name in ("G1", "G2", "G3") if number < 12 else ("G3",):  # after three days G1 is empty, G2 falls silent
                put(c, name, at, 11.8 - 0.1 * number / 4 if name == "G1" else 12.4)
    for number in range(1, 16):
        at = NOW + number * 12 * HOUR
        evaluate_site(bench, SITE, at, "tick")
        run(bench, ServiceConfig(), SITE, at)
    stale = [r["key"] for r in ask(bench, load_view, "active_alerts", site="bench") if r["key"].endswith(":stale")]
    assert any("G1" in key for key in stale), "it stands on the page"
    assert len(told("G1")) == 1
    assert any("silent" in body for body in told("G2"))
    end = NOW + 8 * DAY
    with bench.write() as c:
        for hour in range(4):
            put(c, "G1", end + hour * 6 * HOUR, 12.9)
    evaluate_site(bench, SITE, end + DAY, "data")
    assert len(told("G1")) == 1, "nobody was told of the silence, and of its end nobody is"


@ON_BOTH
def test_availability_counts_series_without_readings(bench):
    run(bench, ServiceConfig(), SITE, NOW + 10 * DAY)
    rows = ask(bench, load_view, "instrument_availability", order_by=("month",), site="bench", instrument="G1")
    assert ([r["month"] for r in rows], rows[0]["availability"]) == (["2026-02", "2026-03"], 1.0)
    assert rows[1]["availability"] == pytest.approx(14.5 / 24.5, abs=0.02)


def test_sensor_added_to_a_station_is_expected_from_its_first_epoch(bench):
    more = '\n[[station.series]]\nquantity = "temperature"\nunit = "degC"\ninterval = "6h"\n'
    site = parse_site(HEAD + STATION.format("G1") + more, "bench.toml")
    begun = NOW - 2 * DAY
    times = [begun + n * 6 * HOUR for n in range(9)]
    rows = [Observation("bench", "G1", "temperature", "degC", at, at, 9.0) for at in times]
    tell(bench, add_observations, rows, begun)
    run(bench, ServiceConfig(), site, NOW)
    *_, march = ask(bench, load_view, "instrument_availability", order_by=("month",), site="bench", instrument="G1")
    assert (march["month"], march["availability"]) == ("2026-03", 1.0)


def test_findings_change_no_level_and_no_vote(bench):
    def decide():
        return evaluate_site(bench, SITE, NOW, "test", dry_run=True).decision.to_json()

    report(bench, "G2", "drift")
    evaluate_site(bench, SITE, NOW, "start")
    before = decide()
    run(bench, ServiceConfig(), SITE, NOW)
    assert findings(bench)["G2", "drift"]["action"] == "compare with a second measurement"
    assert decide() == before, "what the board says is read by no decision"
    assert board(bench)["G2"]["votes"], "drift may be movement: a detector takes no vote away"


def test_common_movement_of_three_stations_is_not_a_fault(bench):
    def suspected():
        run(bench, ServiceConfig(), SITE, NOW)
        return sorted(station for station, state in findings(bench) if state in {"suspected", "drift"})

    report(bench, "G1", "movement")
    report(bench, "G2", "movement")
    assert suspected() == ["G1", "G2"], "two may both be broken"
    report(bench, "G3", "movement")
    assert suspected() == []
    report(bench, "G3", "drift", 20)
    assert suspected() == ["G3"], "a drift of one station stays its own"


def test_reasons_of_one_state_are_joined(bench):
    report(bench, "G3", "timing", detector="timing")
    report(bench, "G3", "stuck", quantity="battery_voltage", detector="timing")
    report(bench, "G3", "stuck", 30, detector="flatline")
    run(bench, ServiceConfig(), SITE, NOW)
    found = {state: row for (station, state), row in findings(bench).items() if station == "G3"}
    assert found["clock"]["reason"].endswith("; displacement downslope: detectors report timing")
    assert found["clock"]["reason"].startswith("its clock is")
    both = {f"{name}: detectors report stuck" for name in ("displacement downslope", "battery voltage")}
    assert set(found["stuck"]["reason"].split("; ")) == both
    assert found["stuck"]["since"] == format_iso(NOW - 30 * HOUR)


def test_faulty_sensor_never_votes_and_maintenance_explains_silence(bench):
    evaluate_site(bench, SITE, NOW, "start")
    later = NOW + 3 * DAY
    with bench.write() as c:
        put(c, "G1", later, 12.0)
        add_maintenance(c, "bench", "G3", later, later + DAY, Actor("Ada"), "new mast", later)
        add_maintenance(c, "bench", "G3", later, later + HOUR, Actor("Bo"), "new antenna", later)
    evaluate_site(bench, SITE, later, "tick")
    run(bench, ServiceConfig(), SITE, later)
    rows = board(bench)
    assert (rows["G2"]["state"], rows["G2"]["votes"]) == ("stale", False)
    assert (rows["G3"]["state"], rows["G3"]["votes"]) == ("maintenance", False)
    assert rows["G3"]["reason"].endswith("by Ada: new mast"), "the work that lasts longest"


@ON_BOTH
def test_label_of_an_anomaly_is_stored_and_clears_the_board(bench):
    ada, bo = Actor("Ada"), Actor("Bo")
    for hours in (30, 24, 6):
        report(bench, "G2", "spike", hours)
    run(bench, ServiceConfig(), SITE, NOW)
    assert board(bench)["G2"]["spark_of"] == "displacement_downslope", "what is strange is drawn"
    runs = ask(bench, load_runs, SITE, NOW - 3 * DAY, NOW)
    spans = [((NOW - r.from_at) / HOUR, (NOW - r.to_at) / HOUR, r.score) for r in runs]
    assert spans == [(30.0, 24.0, 2.25), (6.0, 6.0, 2.25)]
    with bench.write() as c:
        add_label(c, "bench", find_run(runs, "G2", NOW - 25 * HOUR), "confirmed", "spike", ada, "", NOW)
        add_label(c, "bench", runs[0], "dismissed", "weather", bo, "hail", NOW + HOUR)
        add_label(c, "bench", runs[1], "dismissed", "snow_ice", ada, "", NOW)
        with pytest.raises(RefusedError, match="cause 'ghosts' is unknown"):
            add_label(c, "bench", runs[0], "dismissed", "ghosts", bo, "", NOW)
        with pytest.raises(RefusedError, match="a person"):
            add_label(c, "bench", runs[0], "dismissed", "weather", SERVICE_ACTOR, "", NOW)
    with bench.read() as c:
        after = load_runs(c, SITE, NOW - 3 * DAY, NOW)
        kept = load_view(c, "anomaly_labels", order_by=("label_id",))
        audited = load_view(c, "audit_log", action="anomaly.label")
    assert [(r.label.verdict, r.label.by) for r in after] == [("dismissed", "Bo"), ("dismissed", "Ada")]
    words = [(k["verdict"], k["cause"], k["by"]) for k in kept]
    assert words[:2] == [("confirmed", "spike", "Ada"), ("dismissed", "weather", "Bo")]
    assert [a["actor"] for a in audited] == ["Ada", "Bo", "Ada"]
    (scored,) = (d.to_json() for d in score_detectors(after))
    assert (scored["detector"], scored["reported"], scored["dismissed"], scored["nobody_said"]) == ("rules", 2, 2, 0)
    run(bench, ServiceConfig(), SITE, NOW)
    assert ("G2", "suspected") not in findings(bench)
    assert board(bench)["G2"]["spark_of"] == "battery_voltage"


def test_repeated_readings_that_are_held_back_are_on_the_board(filled_database):
    def score(days, value, *, told):
        return AnomalyRow(series, STORY_NOW - days * DAY, "rules", value, 1.0, 0.1, "drift", told)

    with filled_database.write() as c:
        series = find_series_id(c, "north-bench", "P1", "pore_pressure")
        add_anomalies(c, [score(40, 3.0, told=True), score(2, 1.4, told=False), score(1, 0.9, told=False)], STORY_NOW)
    (held,) = ask(filled_database, load_echoes, "north-bench", STORY_NOW - 14 * DAY, STORY_NOW)
    assert (held.station, held.at, held.score) == ("P1", STORY_NOW - 2 * DAY, 1.4)
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo:
        page = bo.get("/sites/north-bench/instruments").text
    assert "Still unusual, not reported again" in page
    assert "1.4 times the threshold; reported last" in page
    tell(filled_database, add_anomalies, [score(0.5, 2.1, told=True)], STORY_NOW)
    assert ask(filled_database, load_echoes, "north-bench", STORY_NOW - 14 * DAY, STORY_NOW) == []


def test_anomaly_is_labelled_on_the_page_and_by_command_and_exported(filled_database, tmp_path, capsys):
    example = Path(__file__).resolve().parents[3] / "configs" / "sites" / "north-bench.toml"
    service = str(write_service(tmp_path, filled_database, example.read_text(encoding="utf-8")))
    tap = {"station": "P1", "quantity": "pore_pressure", "at": format_iso(STORY_NOW - 3 * DAY)}
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo:
        page = " ".join(bo.get("/sites/north-bench/instruments").text.split())
        for part in ("replace the battery of G1 (about 4 days left)", "; compared with ", "<small>bo, "):
            assert part in page, part
        assert "2025-06-01<small>273 days ago, due 2026-06-01</small>" in flatten_html(page)
        assert "</time>: snow melt</small>" in flatten_html(page)
        labels = bo.get("/api/v1/sites/north-bench/export/anomaly-labels.csv").text
        assert '/export/anomaly-labels.csv"' in page
        assert "/export/anomaly-labels.csv" not in bo.get("/sites/lake-slope/instruments").text, "nobody said anything"
        (row,) = csv.DictReader(labels.splitlines())
        assert (row["station"], row["verdict"], row["note"]) == ("P1", "dismissed", "snow melt")
        for said, status in (({"verdict": "confirmed", "cause": "movement"}, 303), ({"verdict": "maybe"}, 409)):
            assert send(bo, "/sites/north-bench/anomalies/label", **tap, **said).status_code == status
        shown = bo.get("/sites/north-bench/instruments").text
        assert re.search(r'name="seen" value="(\d+)"', shown)
        assert "Withdraw</button>" in shown
        with enter(address, "ada") as ada:
            late = send(ada, "/sites/north-bench/anomalies/label", **tap, verdict="dismissed", seen=0)
            assert (
                late.status_code,
                "bo has labelled this anomaly meanwhile: confirmed; load the page again" in late.text,
            ) == (409, True)
            assert 'href="/sites/north-bench/instruments#anomalies"' in late.text, "the way back"
            again = dict(re.findall(r'name="(\w+)" (?:maxlength="\d+" )?value="([^"]*)"', flatten_html(late.text)))
            assert again["at"] == tap["at"]
            assert again["seen"] == "", "what was said meanwhile is read now"
        assert "not measured: 0 of 10 labels" in page
        assert "1.05 times the counted one" in page
        back = {"detector": "rules", "reason": "weather"}
        assert send(bo, "/sites/north-bench/anomalies/factor", **back).status_code == 303
        assert "1.05 times" not in bo.get("/sites/north-bench/instruments").text
        found = bo.get("/api/v1/sites/north-bench/instruments").json()
    assert {r["instrument"]: r["state"] for r in found}["G1"] == "battery"
    with filled_database.write() as c:
        c.execute(anomaly_label.update().where(anomaly_label.c.cause == "weather").values(note=" =HYPERLINK(1)"))
    file = tmp_path / "labels.csv"
    assert run_command(["export", "north-bench", "anomaly-labels", "--out", str(file), "--config", service]) == 0
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    words = [(r["verdict"], r["cause"], r["by"], r["note"]) for r in rows]
    assert words == [("dismissed", "weather", "bo", "' =HYPERLINK(1)"), ("confirmed", "movement", "bo", "")]
    capsys.readouterr()
    assert run_command(["instruments", "show", "north-bench", "G1", "--json", "--config", service]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["months"][0]["availability"]) == ("battery", pytest.approx(109 / 112, abs=1e-6))


def test_disconnected_device_is_on_the_board_until_it_sends_again(bench):
    site = replace(SITE, decoders=(Binding("homie/{station}/$state", "plain"),))
    pipeline = Pipeline(bench, {"bench": site}, lambda: NOW)

    def hear(state, at, station="G2"):
        pipeline.store([BrokerMessage(f"homie/{station}/$state", state, at, "live")])
        run(bench, ServiceConfig(), SITE, at)
        rows = ask(bench, load_view, "instrument_findings", site="bench", instrument="G2")
        return [(r["reason"], r["since"]) for r in rows if r["state"] == "offline"]

    gone = NOW + timedelta(minutes=1)
    assert hear(b"lost", gone) == [("not connected since 2026-03-15 12:01 UTC: $state lost", format_iso(gone))]
    assert hear(b"lost", gone, "unknown") == hear(b"happy", gone)  # nobody's word, and no word of Homie
    tell(bench, put, "G2", gone + HOUR, 12.4)
    run(bench, ServiceConfig(), SITE, gone + HOUR)
    assert board(bench)["G2"]["state"] != "offline"
    assert hear(b"lost", gone + 2 * HOUR)
    assert hear(b"ready", gone + 3 * HOUR) == []


def charge(db, station, hours, percent, *flags):
    at = NOW - hours * HOUR
    row = Observation("bench", station, "battery_level", "%", at, NOW, percent, flags=(*flags, "undeclared"))
    tell(db, add_observations, [row], NOW)


def test_battery_level_counts_without_being_declared(bench):
    charge(bench, "G2", 1, 5.0)
    charge(bench, "G3", 1, 250.0, "out_of_range")
    evaluate_site(bench, SITE, NOW, "start")
    run(bench, ServiceConfig(), SITE, NOW)
    shown = {name: row["battery_percent"] for name, row in board(bench).items() if name != "BASE"}
    assert shown == {"G1": None, "G2": 5.0, "G3": None}
    assert "5 %" in findings(bench)["G2", "battery"]["reason"]
    assert ("G3", "battery") not in findings(bench)


def test_end_of_a_battery_is_estimated_from_its_levels(bench):
    """G1 also has voltages that end sooner; G2's do not fall; G3's radio says a share, as whole numbers, once a day."""
    for name, now, fall in (("G1", 60.0, 1.0), ("G2", 20.0, 2.0), ("G3", 0.0, 0.0)):
        for day in range(14):
            charge(bench, name, 24 * day + 1, now + fall * day)
    run(bench, ServiceConfig(), SITE, NOW)
    rows, found = board(bench), findings(bench)
    assert abs(parse_time(rows["G1"]["battery_empty_at"]) - NOW - 4.0 * DAY) < 0.2 * DAY
    assert abs(parse_time(rows["G2"]["battery_empty_at"]) - NOW - 10.0 * DAY) < 0.2 * DAY
    assert rows["G2"]["battery_method"] == "extrapolated from the lowest values of 14 days, -2 % per day, to 0 %"
    assert found["G2", "battery"]["action"] == "replace the battery of G2 (about 10 days left)"
    assert rows["G3"]["battery_empty_at"] is None, "a device that speaks is not empty; its silence would be told"
    assert found["G3", "battery"]["reason"] == "battery 0 % left, as reported by the device"
    declared = '[[station.series]]\nquantity = "battery_level"\nunit = "%"\ninterval = "1d"\nempty = 12.0\n'
    site = parse_site(HEAD + "".join(STATION.format(name) + declared for name in ("G1", "G2", "G3")), "bench.toml")
    run(bench, ServiceConfig(), site, NOW)
    assert abs(parse_time(board(bench)["G2"]["battery_empty_at"]) - NOW - 4.0 * DAY) < 0.2 * DAY
