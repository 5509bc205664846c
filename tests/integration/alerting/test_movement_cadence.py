"""The stage of a site sets how often it is judged, evaluated and forecast."""

import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.config.cadence import stage_cadence
from monitor.config.service import parse_service
from monitor.domain.decision import Memory
from monitor.domain.site import ForecastPlan, Level, MovementPlan, Site, StagePlan
from monitor.jobs.movement.update import MovementReport
from monitor.service.core import Core
from monitor.service.evaluation_loop import EvaluationLoop
from monitor.service.schedule import JOBS, Job, Schedule
from monitor.store.alerting.decisions import save_memory
from monitor.store.models.movement import save_stage
from monitor.store.service_state import load_runs
from tests.conftest import ON_BOTH, wait_for
from tests.data.store_rows import ask

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
    monkeypatch.setitem(sys.modules, "jobs_of_cadence", sys.modules[__name__])
    jobs = [replace(j, function="jobs_of_cadence:nothing", first_s=3000.0) for j in JOBS if j.at_stage is not None]
    made = Schedule(database, parse_service("", "x"), [PLACE], clock, lambda *_: None, jobs)
    yield made
    made.stop()


def pause_s(schedule, name):
    return schedule._scheduler.get_job(f"{name}:s").trigger.interval.total_seconds()


def due_in_s(schedule, name):
    return (schedule._scheduler.get_job(f"{name}:s").next_run_time - clock()).total_seconds()


def test_jobs_follow_the_stage_and_what_was_due_sooner_stays_so(database, schedule):
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [60.0, 900.0]  # unknown: the most frequent
    show(database, "creep")
    schedule.start()
    assert schedule.stage_of("s") == "creep"
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [3600.0, 86400.0]
    assert due_in_s(schedule, "forecast") <= 900.0
    show(database, "progressive")
    assert schedule.run_now("movement:s") == "done"
    assert [pause_s(schedule, n) for n in ("movement", "forecast")] == [60.0, 900.0]
    assert due_in_s(schedule, "movement") <= 60.0


def test_a_change_of_the_level_has_movement_looked_at_now(database, schedule):
    show(database, "creep")
    schedule.start()
    assert due_in_s(schedule, "movement") > 30.0, "the test would prove nothing"
    woken = []
    core = SimpleNamespace(dispatcher=SimpleNamespace(wake=lambda: woken.append(1)), schedule=schedule)
    Core._on_changed(core, "s")
    assert woken == [1]
    wait_for(lambda: "movement" in done_jobs(database))
    Core._on_changed(core, "gone")  # a site that is not scheduled any more


def test_movement_waits_for_no_training(database, monkeypatch):
    monkeypatch.setitem(sys.modules, "jobs_of_cadence", sys.modules[__name__])
    long = [Job(f"long{i}", "jobs_of_cadence:wait", lambda _: 3600.0, 0.0) for i in range(3)]
    (movement,) = [replace(j, first_s=0.2) for j in JOBS if j.name == "movement"]
    made = Schedule(database, parse_service("", "x"), [PLACE], clock, lambda *_: None, [*long, movement])
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
def test_the_real_job_leaves_its_line_and_a_poisoned_series_is_told(database, monkeypatch):
    jobs = [j for j in JOBS if j.name == "movement"]
    told = []
    schedule = Schedule(database, parse_service("", "x"), [PLACE], clock, lambda *a: told.append(a), jobs)
    assert schedule.run_now("movement:s") == "done"
    report = MovementReport("creep", "none", failed={"A.displacement": "ZeroDivisionError: x"})
    monkeypatch.setattr("monitor.jobs.movement.update.update_movement", lambda *_: report)
    for _ in range(3):
        assert schedule.run_now("movement:s") == "failed"
    assert told == [("movement:s", "A.displacement: ZeroDivisionError: x", True)]
    assert {r.detail for r in ask(database, load_runs)} == {"unknown, none; 0 series updated", told[0][1]}


def test_the_core_knows_the_pace_of_a_site_and_what_people_do_at_a_stage():
    acting = replace(PLACE, movement=MovementPlan((StagePlan("progressive", 60.0, 900.0, "Clear the road"),)))
    core = SimpleNamespace(sites={"s": PLACE, "a": acting}, schedule=SimpleNamespace(stage_of=lambda _: "creep"))
    assert Core._find_pace(core, "s") == 3600.0
    core.schedule.stage_of = lambda _: None
    assert Core._find_pace(core, "s") == 60.0
    assert stage_cadence(PLACE, "step") == (300.0, 21600.0)  # a stage that the plan does not name
    assert Core._find_action(core, "a", "progressive") == "Clear the road"
    assert Core._find_action(core, "a", "creep") == Core._find_action(core, "gone", "creep") == ""


def test_a_fast_stage_is_evaluated_before_the_tick_and_a_slow_one_not_later():
    seen = []

    def decide(_db, site, *_, **__):
        seen.append(site)
        return SimpleNamespace(changes=(), next_due_at=None)

    how = {"is_drained": lambda: True, "on_changed": lambda _: None, "on_poisoned": lambda *_: None, "clock": clock}
    pace = {"fast": 0.05, "slow": 600.0}
    loop = EvaluationLoop(None, {name: name for name in pace}, 1.5, **how, evaluate=decide, find_pace=pace.get)
    loop.start()
    wait_for(lambda: seen.count("slow") >= 2)
    loop.stop(5.0)
    assert seen.count("fast") > seen.count("slow")
