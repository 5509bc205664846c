"""Suggestions of one cause are one line, likely crossings are advice, and the stage sets the evaluation interval."""

import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.alerts.audit.explain import explain
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alerts
from monitor.alerts.queries.evaluations import load_decision, save_memory
from monitor.app.core import Core
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.outcomes import Outcome
from monitor.app.schedule import Schedule, list_jobs
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.records import Memory
from monitor.delivery.holding import HoldingContext, apply_holding_rules
from monitor.delivery.message import translate
from monitor.delivery.queries.outbox import claim_due
from monitor.features.forecasts.queries.facts import load_forecast_facts
from monitor.features.forecasts.queries.forecasts import add_forecasts
from monitor.features.movement.queries import save_stage
from monitor.features.movement.update import MovementReport
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.registration import Job
from monitor.settings.service import parse_service
from monitor.sites.cadence import stage_cadence
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.sites.records import ForecastPlan, Level, MovementPlan, Recipient, Site, StagePlan
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.service_state import load_runs
from monitor.storage.views import load_view
from monitor.text.catalogue import use_language
from tests.alerts.test_forecast_gain import DAY, SITE, START
from tests.data.feature_rows import forecast_row
from tests.data.filled import NOW
from tests.data.store_rows import ask
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.waiting import wait_for
from tests.markup import flatten_html
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

FILE = Path(__file__).resolve().parents[2] / "configs" / "sites" / "north-bench.toml"
PLACES = [f"G{n}" for n in range(1, 13)]


def test_suggestions_with_one_cause_are_one_line(filled_database, tmp_path, capsys):
    text = FILE.read_text(encoding="utf-8")
    site, changes = parse_site(text, "north-bench.toml"), []
    reasons = {f"anomaly:{name}": f"{name}: displacement_downslope scores 7.10 over 6.26 (rules)" for name in PLACES}
    reasons["forecast:G1"] = "G1: forecast of 12 mm/day in 1d, over 10 mm/day"
    for key, reason in reasons.items():
        changes.append(AlertChange(AlertCategory.ADVICE, f"advice:{key}", 1, True, reason, NOW, "{}"))
    channels = ("log:advice", "voice:GEOLOGIST", "siren:site/1")
    duty = Recipient("duty", channels, ("yellow", "orange", "red"), ledgers=("hazard", "health", "advice"))
    with filled_database.write() as c:
        apply_changes(c, changes, ChangeContext(site.id, site, [replace(duty, levels=())], SERVICE_ACTOR, NOW, "test"))
        later = NOW + timedelta(seconds=10)
        advised = {x["channel"] for x in load_view(c, "deliveries") if x["ledger"] == "advice"}
        assert advised == {"log:advice"}, "advice rings no telephone and sounds no siren"
        apply_holding_rules(c, "log:advice", HoldingContext(later, 0))
        sent = claim_due(c, later, "test", 30.0, 9, "log:advice")
    # one message with a line for each of the two causes, which reads in every language
    assert len(sent) == 1
    assert "Advice notice North bench, pit 4: G1: forecast of 12 mm/day in 1d, over 10 mm/day. 2" in sent[0].subject
    covered = [line for line in sent[0].body.splitlines() if line.startswith("- ")]
    told = "12 suggestions of anomaly: G1, G2, G3, G4, G5, G6, G7, G8 and 4 more"
    assert covered[0].partition(": ")[2] == f"Advice notice {site.name}: {told}. 2026-03-01 06:00 UTC"
    reason = "displacement_downslope scores 7.10 over 6.26 (rules)"
    described = [re.sub(r" \(alert \d+\)$", "", line) for line in covered[1:9]]
    assert described == [f"- {name}: {reason}" for name in PLACES[:8]]
    assert covered[9:] == ["- and 4 more; see slopeward alerts list"]
    with use_language("it"):
        assert "12 suggerimenti su anomalia: G1, G2, G3, G4, G5, G6, G7, G8 e altri 4" in translate(sent[0]).body
    # the list: hazard first
    service = str(write_service(tmp_path, filled_database, text))
    capsys.readouterr()
    assert run_command(["alerts", "list", "--site", "north-bench", "--config", service]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[5] for line in lines] == ["hazard", *["advice"] * 14]
    assert run_command(["alerts", "list", "--site", "north-bench", "--json", "--config", service]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({fact["id"] for fact in facts}) == 15
    assert len(ask(filled_database, load_view, "active_alerts", site="north-bench", ledger="advice")) == 14
    # the page: a line that opens, with a link to each
    ids = {fact["id"] for fact in facts if fact["key"].startswith("advice:anomaly")}
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo:
        for path in ("/sites/north-bench", "/", "/alerts"):
            page = flatten_html(bo.get(path).text)
            assert page.count("13 suggestions of anomaly") == 1
            assert {int(n) for n in re.findall(r'href="/alerts/(\d+)"', page)} >= ids
            opened = re.search(r"<details><summary>(?:(?!<details>).)*?13 suggestions.*?</details>", page, re.DOTALL)
            assert opened is not None
            assert len(set(re.findall(r"/alerts/(\d+)", opened[0]))) == 13
        rows = bo.get("/alerts").text
        hazard = next(fact["id"] for fact in facts if fact["ledger"] == "hazard")
        assert rows.index(f'href="/alerts/{hazard}"') < rows.index("tag advice")


HOUR = timedelta(hours=1)


def issue(database, series_id, at, middle, half):
    rates = [middle + half * z for z in (-1.959964, -1.281552, 0.0, 1.281552, 1.959964)]
    with database.write() as c:
        known = {"data_until": START, "as_of_received_at": START, "target_at": START + timedelta(days=1)}
        add_forecasts(c, [forecast_row(series_id, at, [5.0 + rate for rate in rates], DAY, **known)])


@ON_BOTH
def test_likely_crossing_is_advice_in_sql_and_is_recomputed(database):
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        rows = [
            Observation("slope", "G1", "displacement", "mm", at, at, 5.0) for at in (START - timedelta(days=1), START)
        ]
        add_observations(c, rows, START)
        series_id = find_series_id(c, "slope", "G1", "displacement")

    def look(hours):
        evaluate_site(database, SITE, START + hours * HOUR, "tick")
        return list(ask(database, load_view, "forecast_chances", site="slope"))

    assert look(1) == []
    issue(database, series_id, START + HOUR, 1.5, 0.5)  # 16 % of more than 2 mm/day
    (row,) = look(2)
    assert (row["criterion"], row["station"], row["level_name"], row["crossed"]) == ("f", "G1", "yellow", False)
    assert round(row["chance_from"], 4) == round(row["chance_to"], 4) == 0.1587
    assert (row["over_mm_per_day"], row["horizon_s"], row["probability"]) == (2.0, DAY, 0.3)
    assert look(3) == [row], "what did not change is not written again"
    issue(database, series_id, START + 3 * HOUR, 2.0, 0.5)
    (row,) = look(4)
    assert (round(row["chance_from"], 4), row["crossed"]) == (0.5, True)
    with database.read() as c:
        (alert,) = load_alerts(c, "slope", ledger="advice")
        decision = load_decision(c, alert.decision_id)
        source = load_site_source(c, decision.config_sha256)
    assert alert.reason.startswith("G1: 50 % chance of more than 2 mm/day within 1d; the bound is crossed above 30 %")
    assert recompute(decision, source).differences == ()
    told = [line.strip() for line in explain(json.loads(decision.evidence))]
    assert (
        "level 1: 50 % chance of more than 2 mm/day within 1d; the bound is crossed above 30 %; mean velocity "
        "1.02 mm/day (2.5 %), 1.36 mm/day (10 %), 2.00 mm/day (50 %), 2.64 mm/day (90 %), 2.98 mm/day (97.5 %) "
        "by combined; lines between the quantiles in normal scores, nothing beyond the outer ones"
    ) in told
    # its target has passed: nobody knows any more, and the row goes
    assert look(25) == []


@ON_BOTH
def test_unused_forecasts_do_not_displace_those_of_a_criterion(database):
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        add_observations(c, [Observation("slope", "G1", "displacement", "mm", START, START, 5.0)], START)
        series_id = find_series_id(c, "slope", "G1", "displacement")
        horizons_s = [*(60.0 * k for k in range(1, 601)), DAY]
        add_forecasts(c, [forecast_row(series_id, START, [5.0] * 5, horizon_s) for horizon_s in horizons_s])
    assert [x.horizon_s for x in ask(database, load_forecast_facts, "slope", START, {"G1"}, {DAY})] == [DAY]


LEVELS = (Level(0, "green", auto_lower=True), Level(1, "red", auto_lower=False))
STAGES = (StagePlan("creep", 3600.0, 86400.0), StagePlan("progressive", 60.0, 900.0), StagePlan("unknown", 60.0, 900.0))
PLACE = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (), (), forecast=ForecastPlan(), movement=MovementPlan(STAGES))


LET_GO = threading.Event()


def clock():
    return datetime.now(UTC)


def show(db, stage):
    with db.write() as c:
        save_memory(c, "s", Memory(), "v", clock())
        save_stage(c, "s", stage, "none")


def nothing(db, config, site, now):
    return "nothing"


@pytest.fixture
def schedule(database, monkeypatch):
    jobs = [replace(j, run=nothing, first_s=3000.0) for j in list_jobs() if j.at_stage is not None]
    made = Schedule(database, parse_service("", "x"), [PLACE], clock, jobs)
    yield made
    made.stop()


def pause_s(schedule, name):
    return schedule._scheduler.get_job(f"{name}:s").trigger.interval.total_seconds()


def due_in_s(schedule, name):
    return (schedule._scheduler.get_job(f"{name}:s").next_run_time - clock()).total_seconds()


def test_jobs_follow_the_stage_and_earlier_due_times_remain(database, schedule):
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [60.0, 900.0]  # unknown: the most frequent
    show(database, "creep")
    schedule.start()
    assert schedule.movement_stage("s") == "creep"
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [3600.0, 86400.0]
    assert due_in_s(schedule, "forecast") <= 900.0
    show(database, "progressive")
    assert schedule.run_now("movement:s") == "done"
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [60.0, 900.0]
    assert due_in_s(schedule, "movement") <= 60.0


def test_change_of_the_level_makes_movement_due_now(database, schedule):
    show(database, "creep")
    schedule.start()
    assert due_in_s(schedule, "movement") > 30.0, "the test would prove nothing"
    woken = []
    core = SimpleNamespace(dispatcher=SimpleNamespace(wake=lambda: woken.append(1)), schedule=schedule)
    Core._on_changed(core, "s")
    assert woken == [1]
    wait_for(lambda: "movement" in done_jobs(database))
    Core._on_changed(core, "gone")  # a site that is not scheduled any more


def test_movement_does_not_wait_for_training(database, monkeypatch):
    long = [Job(f"long{i}", wait, lambda _: 3600.0, 0.0) for i in range(3)]
    (movement,) = [replace(j, first_s=0.2) for j in list_jobs() if j.name == "movement"]
    made = Schedule(database, parse_service("", "x"), [PLACE], clock, [*long, movement])
    LET_GO.clear()
    made.start()
    try:
        wait_for(lambda: "movement" in done_jobs(database))
        assert not any(name.startswith("long") for name in done_jobs(database))
    finally:
        LET_GO.set()
        made.stop()
    # all that was taken on ends before the database is closed
    wait_for(lambda: sum(name.startswith("long") for name in done_jobs(database)) == 3)


def done_jobs(db):
    return [r.job for r in ask(db, load_runs) if r.state == "done"]


def wait(db, config, site, now):
    LET_GO.wait(30.0)
    return "done"


@ON_BOTH
def test_job_logs_its_result_and_a_failing_series_is_reported(database, monkeypatch):
    jobs = [j for j in list_jobs() if j.name == "movement"]
    schedule = Schedule(database, parse_service("", "x"), [PLACE], clock, jobs)
    assert schedule.run_now("movement:s") == "done"
    report = MovementReport("creep", "none", failed={"A.displacement": "ZeroDivisionError: x"})
    monkeypatch.setattr("monitor.features.movement.update.update_movement", lambda *_: report)
    for _ in range(3):
        assert schedule.run_now("movement:s") == "failed"
    problem = "A.displacement: ZeroDivisionError: x"
    assert schedule.outcomes.take() == {"movement:s": Outcome(3, problem)}
    assert {r.detail for r in ask(database, load_runs)} == {"unknown, none; 0 series updated", problem}


def test_core_evaluates_at_the_interval_of_the_stage_and_shows_its_action():
    acting = replace(PLACE, movement=MovementPlan((StagePlan("progressive", 60.0, 900.0, "Clear the road"),)))
    core = SimpleNamespace(sites={"s": PLACE, "a": acting}, schedule=SimpleNamespace(movement_stage=lambda _: "creep"))
    assert Core._find_pace(core, "s") == 3600.0
    core.schedule.movement_stage = lambda _: None
    assert Core._find_pace(core, "s") == 60.0
    assert stage_cadence(PLACE, "step") == (300.0, 21600.0)  # a stage that the plan does not name
    assert Core._find_action(core, "a", "progressive") == "Clear the road"
    assert Core._find_action(core, "a", "creep") == Core._find_action(core, "gone", "creep") == ""


def test_fast_stage_is_evaluated_before_the_tick_and_slow_stage_not_after_it():
    seen = []

    def decide(_db, site, *_, **__):
        seen.append(site)
        return SimpleNamespace(changes=(), next_due_at=None)

    how = {"is_drained": lambda: True, "on_changed": lambda _: None, "clock": clock}
    pace = {"fast": 0.05, "slow": 600.0}
    loop = EvaluationLoop(None, {name: name for name in pace}, 1.5, **how, evaluate=decide, find_pace=pace.get)
    loop.start()
    wait_for(lambda: seen.count("slow") >= 2)
    loop.stop(5.0)
    assert seen.count("fast") > seen.count("slow")
