"""Test the evaluation loop, the schedule of jobs, health and the restart of processes, without processes."""

import logging
import math
import os
import signal
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DatabaseError

from monitor import plugins
from monitor.alerts.queries.alerts import load_alerts
from monitor.app import heartbeats
from monitor.app.checks.decisions import LONGEST_START_S, LONGEST_WITHOUT_WRITE_S
from monitor.app.checks.running import SiteStatus
from monitor.app.checks.table import ServiceState, assess_service
from monitor.app.children import (
    AWAIT_KILLED_S,
    SIGNAL_REASONS,
    STEADY_S,
    BrokerChild,
    HeartbeatWatch,
    ProcessRestarter,
    PythonChild,
    describe_status,
)
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.evaluation_queue import (
    OTHER_DATA_DEBOUNCE_S,
    VOTING_DATA_DEBOUNCE_S,
    EvaluationQueue,
    EvaluationTask,
    Trigger,
)
from monitor.app.heartbeats import EXIT_OVERDUE, OVERDUE_S, find_overdue
from monitor.app.outcomes import Outcome
from monitor.app.schedule import NO_WORKER_RETRY_S, Schedule, list_jobs
from monitor.app.self_monitoring import supervisor_records
from monitor.app.self_monitoring.commits import LEASE, CommitMonitor
from monitor.app.self_monitoring.dead_man_ping import OPENER, send_ping
from monitor.app.self_monitoring.supervisor_records import SupervisorRecords
from monitor.app.supervisor import Supervisor
from monitor.errors import BrokerError, KilledError, NoWorkerError, StoreBusyError
from monitor.hookspecs import hookimpl
from monitor.logs import configure
from monitor.registration import Job
from monitor.settings.service import load_service, parse_service
from monitor.storage.actor import SERVICE_SITE
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.service_state import IDLE, find_heartbeat, load_runs, start_run
from monitor.storage.tables import load_metadata
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for
from tests.tables import tabulated

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


def now_utc():
    return datetime.now(UTC)


class Decisions:
    """Replaces the evaluation and records its calls. Sites in `faults` raise the given exception."""

    def __init__(self):
        self.calls, self.faults, self.next_due_s = [], {}, None

    def __call__(self, db, site, now, trigger, *, draining):
        self.calls.append((site, trigger, draining))
        if site in self.faults:
            raise self.faults[site]
        due = None if self.next_due_s is None else now + timedelta(seconds=self.next_due_s)
        return SimpleNamespace(changes=(), next_due_at=due)

    def of(self, site, trigger=None):
        return [call for call in self.calls if call[0] == site and trigger in (None, call[1])]


@pytest.fixture
def make_loop():
    loops = []

    def make(decide, tick_s=60.0, drained=lambda: True, sites=("a", "b"), clock=now_utc, **options):
        options |= {"on_changed": lambda _: None}
        arguments = {"is_drained": drained, "clock": clock, "evaluate": decide}
        loop = EvaluationLoop(None, {site_id: site_id for site_id in sites}, tick_s, **arguments, **options)
        loop.start()
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.stop(5.0)


def test_burst_of_data_is_one_evaluation_of_its_site_before_the_tick(make_loop):
    decide = Decisions()
    loop = make_loop(decide)
    wait_for(lambda: decide.of("b", "start"))
    time.sleep(0.3)
    for _ in range(500):
        loop.mark(frozenset({"a", "unknown"}))
    wait_for(lambda: decide.of("a", "data"))
    time.sleep(0.6)
    assert 1 <= len(decide.of("a", "data")) <= 2
    assert not decide.of("b", "data")


class HeldDecisions(Decisions):
    """The first evaluation of data waits for `go`, so that all sites marked meanwhile are queued."""

    def __init__(self):
        super().__init__()
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, db, site, now, trigger, *, draining):
        if trigger == "data" and not self.started.is_set():
            self.started.set()
            self.go.wait(10.0)
        return super().__call__(db, site, now, trigger, draining=draining)


def test_sites_with_voting_data_are_evaluated_first_and_all_others_after_them(make_loop, monkeypatch):
    monkeypatch.setattr("monitor.app.evaluation_queue.OTHER_DATA_DEBOUNCE_S", 0.5)
    decide, sites_without_votes = HeldDecisions(), frozenset("bcdef")
    loop = make_loop(decide, sites=tuple("abcdefgh"))
    wait_for(lambda: decide.of("h", "start"))
    time.sleep(0.3)
    loop.mark(frozenset("a"))
    assert decide.started.wait(10.0)
    loop.mark(sites_without_votes, sites_without_votes)
    loop.mark(frozenset("g"))
    loop.mark(frozenset("h"))
    loop.mark(frozenset("f"))  # newer data of this site can change a vote
    decide.go.set()
    wait_for(lambda: all(decide.of(site, "data") for site in "abcdefgh"))
    assert [call[0] for call in decide.calls if call[1] == "data"] == [*"aghf", *"bcde"]


def finish(queue, task, ended_s, pause_s=math.inf, duration_s=0.0):
    queue.finish(task, started_s=ended_s - duration_s, ended_s=ended_s, pause_s=pause_s)


def make_queue(sites):
    """Return a queue whose sites were evaluated and have no tick."""
    queue = EvaluationQueue(sites)
    for site in sites:
        finish(queue, EvaluationTask(site, Trigger.START, has_voting_data=False), -100.0)
    return queue


def test_voting_data_waits_only_for_an_evaluation_of_voting_data():
    queue = make_queue("a")
    queue.add_data("a", "a", 0.0)
    task = queue.next_task(0.0)
    assert task == ("a", Trigger.DATA, False, 0.0)
    finish(queue, task, 0.0)
    queue.add_data("a", (), 0.0)
    task = queue.next_task(0.0)
    assert task == ("a", Trigger.DATA, True, 0.0)
    finish(queue, task, 0.0)
    queue.add_data("a", (), 0.0)
    assert queue.next_task(VOTING_DATA_DEBOUNCE_S - 0.01) is None, "a burst is one evaluation"
    assert queue.next_task(VOTING_DATA_DEBOUNCE_S) == ("a", Trigger.DATA, True, 0.0)


def test_other_data_waits_for_its_own_debounce():
    queue = make_queue("a")
    queue.add_data("a", "a", 0.0)
    finish(queue, queue.next_task(0.0), 0.0)
    queue.add_data("a", "a", 0.0)
    assert queue.next_task(OTHER_DATA_DEBOUNCE_S - 0.01) is None
    assert queue.next_task(OTHER_DATA_DEBOUNCE_S) == ("a", Trigger.DATA, False, 0.0)


def test_slow_evaluation_is_followed_by_a_pause_of_its_length():
    queue = make_queue("a")
    queue.add_data("a", (), 0.0)
    finish(queue, queue.next_task(0.0), 5.0, duration_s=5.0)
    queue.add_data("a", (), 5.0)
    assert queue.next_task(9.99) is None
    assert queue.seconds_until_next(9.0, at_most_s=60.0) == 1.0
    assert queue.next_task(10.0) is not None


def test_site_that_has_waited_long_is_not_overtaken_by_voting_data():
    queue = make_queue("ab")
    queue.add_data("a", "a", 0.0)
    queue.add_data("b", (), 15.0)
    queue.add_data("a", (), 20.0)
    assert queue.next_task(20.0) == ("a", Trigger.DATA, True, 10.0)
    assert queue.next_task(20.0) == ("b", Trigger.DATA, True, 15.0)
    queue = make_queue("ab")
    queue.add_data("a", "a", 0.0)
    queue.add_data("b", (), 15.0)
    assert queue.next_task(20.0) == ("a", Trigger.DATA, False, 0.0)


def test_voting_data_does_not_wait_for_the_ticks_of_all_sites():
    queue = EvaluationQueue("abc")
    for site, tick_due_s in {"a": -20.0, "b": -5.0, "c": 60.0}.items():
        task = EvaluationTask(site, Trigger.START, has_voting_data=False)
        finish(queue, task, -100.0, pause_s=100.0 + tick_due_s)
    queue.add_data("c", (), 0.0)
    task = queue.next_task(0.0)
    assert task == ("a", Trigger.TICK, False, None), "it has waited for more than ten seconds"
    finish(queue, task, 0.0, pause_s=60.0)
    assert queue.next_task(0.0) == ("c", Trigger.DATA, True, 0.0)
    assert queue.next_task(0.0) == ("b", Trigger.TICK, False, None)


def test_site_whose_evaluation_was_not_stored_keeps_its_data_and_its_place():
    queue = make_queue("ab")
    queue.add_data("a", (), 0.0)
    task = queue.next_task(0.0)
    queue.put_back(task, due_s=6.0)
    queue.add_data("b", (), 1.0)
    queue.add_data("a", "a", 2.0)  # readings that cannot change a vote do not delay those that can
    assert queue.next_task(5.99) == ("b", Trigger.DATA, True, 1.0)
    queue.add_data("b", (), 5.99)
    assert queue.next_task(6.0) == ("a", Trigger.DATA, True, 0.0)
    queue = make_queue("a")
    queue.add_data("a", "a", 0.0)
    task = queue.next_task(0.0)
    queue.add_data("a", (), 3.0)
    queue.put_back(task, due_s=4.0)
    assert queue.next_task(4.0) == ("a", Trigger.DATA, True, 3.0)


def test_tick_whose_evaluation_was_not_stored_is_repeated():
    queue = EvaluationQueue("a")
    task = queue.next_task(0.0)
    queue.put_back(task, due_s=1.0)
    assert queue.next_task(0.99) is None
    assert queue.next_task(1.0) == ("a", Trigger.TICK, False, None)


def test_evaluation_of_data_is_repeated_as_one_of_data_while_the_database_is_busy(make_loop, monkeypatch):
    monkeypatch.setattr("monitor.app.evaluation_loop.BUSY_PAUSE_S", 0.05)
    decide = Decisions()
    loop = make_loop(decide)
    wait_for(lambda: decide.of("b", "start"))
    decide.faults["a"] = StoreBusyError("locked")
    loop.mark(frozenset("a"))
    wait_for(lambda: len(decide.of("a", "data")) >= 2)
    assert not decide.of("a", "tick")


def test_evaluation_of_a_site_whose_calculated_series_are_behind_is_draining(make_loop):
    decide, delayed_sites = Decisions(), {"a"}
    loop = make_loop(decide, is_behind=lambda site: site in delayed_sites)
    wait_for(lambda: decide.of("b", "start"))
    assert {site: draining for site, _, draining in decide.calls} == {"a": True, "b": False}
    delayed_sites.clear()
    loop.mark(frozenset("a"))
    wait_for(lambda: any(not draining for _, _, draining in decide.of("a")))


def test_site_is_evaluated_at_start_at_the_tick_and_at_an_earlier_expiry(make_loop):
    decide = Decisions()
    decide.next_due_s = 0.3
    started = time.monotonic()
    make_loop(decide, sites=("a",))
    wait_for(lambda: decide.of("a", "tick"))
    assert time.monotonic() - started < 30.0  # the tick is at 60 s
    decide = Decisions()
    make_loop(decide, tick_s=0.3)
    wait_for(lambda: len(decide.of("a", "tick")) >= 2 and len(decide.of("b", "tick")) >= 2)
    assert decide.calls[0][1] == "start"


def test_site_that_cannot_be_evaluated_has_failed_and_a_locked_database_is_no_failure(make_loop):
    decide = Decisions()
    decide.faults["a"] = ZeroDivisionError("bad\nnumber")
    loop = make_loop(decide, tick_s=0.3)
    wait_for(lambda: len(decide.of("b", "tick")) >= 2)
    outcomes = wait_for(loop.outcomes.take)
    assert outcomes["a"].failures >= 1
    assert outcomes["a"].problem == "ZeroDivisionError: bad number"
    assert outcomes["b"] == Outcome(0)
    decide.faults.clear()
    wait_for(lambda: loop.outcomes.take()["a"] == Outcome(0))
    assert not find_overdue(loop.progress(), now_utc())
    decide = Decisions()
    decide.faults["a"] = StoreBusyError("locked")
    loop = make_loop(decide)
    wait_for(lambda: len(decide.of("a")) >= 2)
    assert "a" not in loop.outcomes.take()


def test_evaluations_are_draining_until_the_backlog_is_stored_or_the_limit(make_loop, monkeypatch):
    decide, drained = Decisions(), threading.Event()
    make_loop(decide, drained=drained.is_set, sites=("a",))
    wait_for(lambda: decide.calls)
    assert decide.calls[0][2] is True
    drained.set()
    started = time.monotonic()
    wait_for(lambda: decide.calls[-1][2] is False)
    assert time.monotonic() - started < 30.0  # the tick is at 60 s
    monkeypatch.setattr("monitor.app.evaluation_loop.DRAIN_LIMIT_S", 0.5)
    later = Decisions()
    make_loop(later, tick_s=0.2, drained=lambda: False, sites=("a",))
    wait_for(lambda: later.calls and later.calls[-1][2] is False)
    assert later.calls[0][2] is True


def test_additions_by_people_are_evaluated_before_the_tick(make_loop, monkeypatch):
    monkeypatch.setattr("monitor.app.evaluation_loop.FIND_CHANGES_EVERY_S", 0.1)
    decide, changed_sites = Decisions(), []
    errors = [StoreBusyError("locked"), KeyError("x")]

    def find_changed_sites():
        if errors:
            raise errors.pop()
        return frozenset({changed_sites.pop()} if changed_sites else ())

    make_loop(decide, find_changed_sites=find_changed_sites)
    wait_for(lambda: decide.of("b", "start"))
    time.sleep(0.4)
    changed_sites.append("b")
    started = time.monotonic()
    wait_for(lambda: decide.of("b", "data"))
    assert time.monotonic() - started < 30.0  # the tick is at 60 s
    assert not decide.of("a", "data")
    assert errors == []


class SlowDecisions:
    """The evaluation of site `a` computes or hangs until `let_go` is set. Other sites are fast."""

    def __init__(self, *, computes):
        self.computes, self.let_go, self.done = computes, threading.Event(), []

    def __call__(self, db, site, now, trigger, *, draining):
        while site == "a" and not self.let_go.is_set():
            if self.computes:
                sum(range(20_000))
            else:
                self.let_go.wait(90.0)
        self.done.append(site)
        return SimpleNamespace(changes=(), next_due_at=None)


@pytest.fixture
def make_slow():
    """Return a function that makes a slow decision. It is let go at the end, also of a test that fails.

    Otherwise its thread would compute until all tests have ended.
    """
    decisions = []

    def make(*, computes):
        decisions.append(SlowDecisions(computes=computes))
        return decisions[-1]

    yield make
    for decision in decisions:
        decision.let_go.set()


def test_slow_site_is_reported_while_it_computes_and_its_thread_does_not_hang(make_loop, make_slow, monkeypatch):
    monkeypatch.setattr("monitor.app.evaluation_loop.SLOW_S", 0.2)
    # On a busy machine, a thread that computes gets little time of the processor.
    monkeypatch.setattr("monitor.app.evaluation_loop.LEAST_COMPUTING_FRACTION", 0.001)
    decide = make_slow(computes=True)

    def processor_clock():  # a clock that advances only while this process computes
        return NOW + timedelta(seconds=time.process_time())

    loop = make_loop(decide, tick_s=2.0, clock=processor_clock)
    wait_for(loop.find_slow)
    assert set(loop.find_slow()) == {"a"}
    end = processor_clock() + timedelta(seconds=0.8)
    while processor_clock() < end:  # checked as the watchdog does
        assert find_overdue(loop.progress(), processor_clock(), 0.4) == []
        time.sleep(0.05)
    assert decide.done == []
    decide.let_go.set()
    wait_for(lambda: "b" in decide.done)
    assert loop.find_slow()["a"] > 0.8
    wait_for(lambda: loop.find_slow() == {})  # the next evaluation of this site is fast


@pytest.mark.parametrize(("computes", "is_drained"), [(False, True), (True, False)], ids=["waiting", "catching up"])
def test_evaluation_that_waits_for_the_database_or_drains_is_not_slow(
    make_loop, make_slow, monkeypatch, computes, is_drained
):
    monkeypatch.setattr("monitor.app.evaluation_loop.SLOW_S", 0.1)
    monkeypatch.setattr("monitor.app.evaluation_loop.PAUSE_WHILE_DRAINING_S", 60.0)
    decide = make_slow(computes=computes)
    loop = make_loop(decide, drained=lambda: is_drained)
    wait_for(loop.is_busy)
    until_s = time.monotonic() + 0.4
    while time.monotonic() < until_s:
        assert loop.find_slow() == {}
        time.sleep(0.02)
    decide.let_go.set()
    wait_for(lambda: "b" in decide.done)
    assert loop.find_slow() == {}


def test_slow_site_is_reported_although_readings_wait_longer_than_five_minutes(make_loop, make_slow, monkeypatch):
    monkeypatch.setattr("monitor.app.evaluation_loop.SLOW_S", 0.1)
    monkeypatch.setattr("monitor.app.evaluation_loop.DRAIN_LIMIT_S", -1.0)
    monkeypatch.setattr("monitor.app.evaluation_loop.LEAST_COMPUTING_FRACTION", 0.001)
    loop = make_loop(make_slow(computes=True), drained=lambda: False)
    assert set(wait_for(loop.find_slow)) == {"a"}


@pytest.mark.parametrize("computes", [False, True])
def test_evaluation_that_hangs_or_computes_too_long_is_overdue(make_loop, make_slow, monkeypatch, computes):
    monkeypatch.setattr("monitor.app.evaluation_loop.LONGEST_COMPUTATION_S", 0.5)
    decide = make_slow(computes=computes)
    loop = make_loop(decide)
    wait_for(lambda: find_overdue(loop.progress(), now_utc(), 0.7))
    decide.let_go.set()
    wait_for(lambda: not find_overdue(loop.progress(), now_utc(), 0.7))


@pytest.fixture
def db(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/x.db")
    load_metadata().create_all(database.engine)
    yield database
    database.close()


def some_job(db, config, site, now):
    return f"did {site.id}"


def failing_job(db, config, site, now):
    raise KilledError("x: killed at its limit of 1 s")


def broken_job(db, config, site, now):
    raise KeyError("x")


@pytest.fixture
def make_schedule(db, monkeypatch):

    def make(name):
        jobs = (Job("work", globals()[name], lambda _: 3600.0, 3600.0),)
        return Schedule(db, parse_service("", "x"), [SimpleNamespace(id="s")], now_utc, jobs)

    return make


def test_run_of_a_job_is_stored_unless_nothing_was_due(db, make_schedule):
    assert make_schedule("some_job").run_now("work:s") == "done"
    (run,) = ask(db, load_runs)
    assert (run.job, run.site, run.state, run.detail) == ("work", "s", "done", "did s")
    assert make_schedule("idle_job").run_now("work:s") == "done"
    assert ask(db, load_runs) == [run], "one that had nothing to do leaves none"


def test_modules_of_jobs_are_imported_before_the_threads_of_the_schedule_start(db):
    """A thread must not use a module that another thread is still importing."""
    list_jobs.cache_clear()
    registered = []

    class Late:
        @hookimpl
        def register_jobs(self):
            registered.append(threading.current_thread())
            return []

    plugin = Late()
    plugins.manager().register(plugin)
    try:
        Schedule(db, parse_service("", "x"), [], now_utc)
    finally:
        plugins.manager().unregister(plugin)
        list_jobs.cache_clear()
    assert registered == [threading.main_thread()]


def idle_job(*_):
    return IDLE


@pytest.mark.parametrize(
    ("name", "state", "words"), [("failing_job", "killed", "limit"), ("broken_job", "failed", "KeyError")]
)
def test_failed_runs_are_stored_and_counted(db, make_schedule, name, state, words):
    schedule = make_schedule(name)
    for _ in range(4):
        assert schedule.run_now("work:s") == state
    runs = ask(db, load_runs)
    assert all(run.state == state and words in run.detail for run in runs)
    assert schedule.outcomes.take() == {"work:s": Outcome(4, runs[0].detail)}


def away_job(db, config, site, now):
    raise NoWorkerError("no worker")


def test_job_without_a_worker_does_not_count_as_failing_and_runs_again_in_ten_minutes(db, make_schedule):
    schedule = make_schedule("away_job")
    schedule._scheduler.start(paused=True)
    for _ in range(4):
        assert schedule.run_now("work:s") == "failed"
    assert schedule.outcomes.take() == {}, "compute:away is one alarm for all jobs"
    wait = schedule._scheduler.get_job("work:s").next_run_time - datetime.now(UTC)
    assert wait <= timedelta(seconds=NO_WORKER_RETRY_S)
    schedule.stop()


def test_run_that_is_requested_at_the_end_of_a_run_is_not_lost(make_schedule):
    schedule = make_schedule("idle_job")

    class EndingRuns(set):
        """Running jobs. Another thread finds a run just before it ends, and requests another run."""

        def __contains__(self, key):
            is_running = super().__contains__(key)
            if is_running:
                run_ends.set()
                thread.join(0.2)  # the run must not end here
            return is_running

    run_ends = threading.Event()
    schedule._running = EndingRuns(["work:s"])
    schedule._scheduler.start(paused=True)
    schedule._run = lambda _key: run_ends.wait(10.0)
    schedule.run_soon = Mock(wraps=schedule.run_soon)
    thread = threading.Thread(target=schedule.run_now, args=("work:s",), daemon=True)
    thread.start()
    schedule.run_soon("work", "s")
    thread.join(10.0)
    assert schedule.run_soon.call_count == 2, "the request and the repeated run"
    assert schedule._repeats == set()
    schedule.stop()


def make_watching_schedule(db, monkeypatch, job, sites="s", every_s=3600.0, limit_s=3600.0, **facts):
    """Return a schedule with one job of this module and a function that counts its runs.

    Folders are scanned all the time.
    """
    monkeypatch.setattr("monitor.app.schedule.SCAN_FOLDERS_EVERY_S", 0.05)
    jobs = (Job("work", globals()[job], lambda _: every_s, limit_s, **facts),)
    config = parse_service("[compute]\njobs_at_once = 1", "x")
    schedule = Schedule(db, config, [SimpleNamespace(id=name) for name in sites], now_utc, jobs)
    monkeypatch.setattr(schedule, "_update_movement_stage", lambda _: None)

    def count_runs():
        return len(ask(db, load_runs))

    return schedule, count_runs


def test_file_in_a_watched_folder_starts_a_run_within_seconds(db, tmp_path, monkeypatch):
    schedule, count_runs = make_watching_schedule(db, monkeypatch, "some_job", watched=lambda *_: tmp_path)
    schedule.start()
    try:
        time.sleep(0.5)
        assert count_runs() == 0
        (tmp_path / "scene.tif").write_bytes(b"")
        wait_for(lambda: count_runs() == 1)
        (tmp_path / "folder").mkdir()
        wait_for(lambda: count_runs() == 2)
        (tmp_path / "folder" / "scene.toml").write_text("")
        wait_for(lambda: count_runs() == 3)
    finally:
        schedule.stop()


DUE_S = []


def next_due(*_):
    return min(DUE_S, default=None)


def job_that_waits(*_):
    DUE_S.clear()
    return "looked"


def test_job_with_a_watched_folder_runs_when_it_is_due(db, tmp_path, monkeypatch):
    schedule, count_runs = make_watching_schedule(
        db, monkeypatch, "job_that_waits", watched=lambda *_: tmp_path, next_due=next_due
    )
    schedule.start()
    try:
        DUE_S.append(time.monotonic() + 1.0)
        time.sleep(0.5)
        assert count_runs() == 0
        wait_for(lambda: count_runs() == 1)
        time.sleep(0.5)
        assert count_runs() == 1
    finally:
        schedule.stop()


def slow_job(*_):
    time.sleep(2.5)
    return "read"


def test_run_for_a_watched_folder_waits_for_another_site_and_is_not_missed(db, tmp_path, monkeypatch):
    schedule, _ = make_watching_schedule(db, monkeypatch, "slow_job", "ab", 1.0, 0.1, watched=lambda *_: tmp_path)

    def load_states():
        return {(run.site, run.state) for run in ask(db, load_runs)}

    schedule.start()
    try:
        wait_for(lambda: {("a", "done"), ("b", "done")} <= load_states())
    finally:
        schedule.stop()
    assert not {state for _, state in load_states()} & {"missed"}


def test_folder_of_a_missed_run_is_watched_again(db, tmp_path, monkeypatch):
    schedule, count_runs = make_watching_schedule(db, monkeypatch, "some_job", watched=lambda *_: tmp_path)
    schedule._waiting.add("work:s")
    schedule._note_missed(SimpleNamespace(job_id="work:s", scheduled_run_time=NOW))
    missed = count_runs()
    schedule.start()
    try:
        time.sleep(0.5)
        (tmp_path / "scene.tif").write_bytes(b"")
        wait_for(lambda: count_runs() == missed + 1)
    finally:
        schedule.stop()


def test_pause_of_a_new_stage_counts_from_the_clock_of_the_machine(db, monkeypatch):
    """The service clock can be ahead by hours, but APScheduler does not know that."""
    monkeypatch.setattr("monitor.app.schedule.find_movement_stage", lambda _c, _site: "accelerating")
    job = Job("work", some_job, lambda _: 7200.0, 7200.0, at_stage=lambda _, stage: 60.0 if stage else 7200.0)
    site = SimpleNamespace(id="s")
    corrected_clock = lambda: datetime.now(UTC) + timedelta(hours=1)  # noqa: E731
    schedule = Schedule(db, parse_service("", "x"), [site], corrected_clock, (job,))
    schedule._scheduler.start(paused=True)
    schedule._update_movement_stage(site)
    wait = schedule._scheduler.get_job("work:s").next_run_time - datetime.now(UTC)
    schedule.stop()
    assert wait <= timedelta(seconds=60)


def test_start_ends_runs_of_a_killed_process(db, make_schedule):
    tell(db, start_run, "work", "s", NOW)
    schedule = make_schedule("some_job")
    schedule.start()
    schedule.stop()
    assert [run.state for run in ask(db, load_runs)] == ["killed"]


def test_lease_that_cannot_be_renewed_counts_as_no_write():
    at_s = [0.0]
    commits = CommitMonitor(lambda: NOW + timedelta(seconds=at_s[0]), 10.0, lambda: at_s[0])
    commits.note_write(LEASE)
    for second in range(1, 30):
        at_s[0] = float(second)
        commits.note_write()  # by a session opened before the failure
        commits.note_error("cannot execute UPDATE in a read-only transaction", LEASE)
        assert bool(commits.find_trouble()) == (second > LONGEST_WITHOUT_WRITE_S)
    assert (
        "accepted no writes since 2026-03-01 06:00:00 UTC (cannot execute UPDATE in a read-only"
        in commits.find_trouble()
    )
    commits.note_write(LEASE)
    assert not commits.find_trouble()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (StoreBusyError("the database is locked"), " (the database is locked)"),
        (
            DatabaseError("UPDATE x", None, Exception("disk image is malformed")),
            " (DatabaseError: (builtins.Exception)",
        ),
        (BrokerError("the broker is away"), ""),
        (ZeroDivisionError("in a check"), ""),
    ],
)
def test_only_an_error_of_the_database_is_the_cause_of_missing_writes(error, cause):
    at_s = [0.0]
    commits = CommitMonitor(lambda: NOW, 10.0, lambda: at_s[0])
    assert not commits.attempt(Mock(side_effect=error))
    at_s[0] = LONGEST_WITHOUT_WRITE_S + 1.0
    trouble = f"the database has accepted no writes since 2026-03-01 06:00:00 UTC{cause}"
    assert commits.find_trouble().startswith(trouble)
    assert bool(cause) or commits.find_trouble() == trouble


def test_slow_start_of_the_core_is_no_fault_of_the_database():
    at_s = [0.0]
    commits = CommitMonitor(lambda: NOW + timedelta(seconds=at_s[0]), 10.0, lambda: at_s[0])
    commits.begin_start()
    at_s[0] = LONGEST_START_S
    assert commits.find_trouble() == ""
    at_s[0] = LONGEST_START_S + 1.0
    assert commits.find_trouble() == "the core process has been starting since 2026-03-01 06:00:00 UTC"
    commits.note_error("the database is locked")
    assert "accepted no writes since 2026-03-01 06:00:00 UTC (the database is locked)" in commits.find_trouble()
    commits.note_write()
    commits.start_upgrade()
    at_s[0] += 500.0
    assert commits.find_trouble() == "", "the upgrade has a limit of its own"
    commits.end_upgrade(is_committed=True)
    at_s[0] += 50.0
    commits.end_start()
    at_s[0] += LONGEST_WITHOUT_WRITE_S
    assert commits.find_trouble() == ""
    at_s[0] += 1.0
    assert "accepted no writes" in commits.find_trouble()


def make_site_status(**changes):
    facts = {"id": "s", "level": 0, "level_name": "green", "observability": "full", "reachable_level": 3}
    return SiteStatus(**{**facts, "top_level": 3, "evaluated_at": NOW, "newest_at": NOW, **changes})


HEARTBEATS = {"core": (NOW, {"degraded": []}), "broker": (NOW, {"durable": True})}


@tabulated(
    ("stamps", "sites", "state", "words"),
    [
        (HEARTBEATS, [make_site_status()], ServiceState.SEEN, ""),
        ({}, [make_site_status()], ServiceState.BLIND, "never run"),
        ({"core": (NOW - timedelta(minutes=5), {})}, [make_site_status()], ServiceState.BLIND, "has reported nothing"),
        (HEARTBEATS, [], ServiceState.BLIND, "sites init"),
        (HEARTBEATS, [make_site_status(observability="blind")], ServiceState.BLIND, "cannot see"),
        (HEARTBEATS, [make_site_status(evaluated_at=NOW - timedelta(hours=1))], ServiceState.BLIND, "not evaluated"),
        (HEARTBEATS, [make_site_status(evaluated_at=None)], ServiceState.BLIND, "not evaluated yet"),
        (HEARTBEATS, [make_site_status(observability="degraded")], ServiceState.DEGRADED, "missing or doubtful"),
        (HEARTBEATS, [make_site_status(reachable_level=2)], ServiceState.DEGRADED, "raises only level 2 of 3"),
        (
            {**HEARTBEATS, "broker": (NOW, {"durable": False})},
            [make_site_status()],
            ServiceState.DEGRADED,
            "not durable",
        ),
        (
            {**HEARTBEATS, "core": (NOW, {"degraded": ["broker (live session): x"]})},
            [make_site_status()],
            ServiceState.DEGRADED,
            "live session",
        ),
        (
            HEARTBEATS,
            [make_site_status(), make_site_status(id="t", observability="blind")],
            ServiceState.BLIND,
            "t: cannot see",
        ),
    ],
)
def test_verdict_on_the_service_contains_its_reason(stamps, sites, state, words):
    verdict = assess_service(stamps, sites, NOW, 60.0)
    assert verdict.state == state
    assert words in "; ".join(verdict.reasons)
    assert (state == ServiceState.SEEN) == (verdict.reasons == ())


def test_sites_are_listed_before_the_first_run_and_overdue_threads_oldest_first():
    reasons = assess_service({}, [], NOW, 60.0, ["b", "a"]).reasons
    assert reasons[1] == "no site is watched yet; `slopeward run` takes: a, b"
    assert "never run" in reasons[0]
    progress = {"a": NOW - timedelta(seconds=200), "b": NOW - timedelta(seconds=300), "c": NOW}
    assert find_overdue(progress, NOW) == ["b", "a"]


def test_systemd_is_notified_and_its_watchdog_at_half_its_limit(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0slopeward-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@slopeward-test-notify")
        assert heartbeats.notify_systemd("READY=1")
        assert listener.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not heartbeats.notify_systemd("READY=1")
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    assert heartbeats.watchdog_interval_s() == 30.0
    monkeypatch.delenv("WATCHDOG_USEC")
    assert heartbeats.watchdog_interval_s() is None


def test_systemd_waits_for_the_core_while_it_upgrades_the_database(monkeypatch):
    supervisor = Supervisor(parse_service("", "x"), None, with_web=False)
    supervisor.core = SimpleNamespace(pid=7, trouble="")
    sent = []
    monkeypatch.setattr(heartbeats, "notify_systemd", sent.append)
    for now_s in (0.0, 5.0, 10.0):
        supervisor._extend_start(now_s)
    assert sent == ["EXTEND_TIMEOUT_USEC=60000000"] * 2
    supervisor.core.trouble = "the database has accepted no writes"
    supervisor._extend_start(20.0)
    assert len(sent) == 2


class FakeProcess:
    name, status = "mortal", 9

    def __init__(self):
        self.starts, self.is_running = 0, False

    def start(self):
        self.starts += 1
        self.is_running = True

    def has_started(self):
        return True

    def poll(self):
        return self.is_running

    def describe_end(self):
        return describe_status(self.name, self.status)

    def stop(self):
        self.is_running = False


def test_child_that_keeps_ending_restarts_with_growing_pauses_and_is_one_alarm(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("monitor.app.children.time.monotonic", lambda: now[0])
    child = FakeProcess()
    restarter = ProcessRestarter(child)
    records = make_records(restarter)
    restarter.check()
    starts = []
    for _ in range(6):
        child.is_running = False
        restarter.check()
        starts_before, ended_s = child.starts, now[0]
        while child.starts == starts_before:
            now[0] += 0.1
            restarter.check()
            records.check()
        starts.append(now[0] - ended_s)
    assert starts == sorted(starts)
    assert starts[0] < 0.5
    assert starts[-1] > 20
    text = "mortal ended with exit status 9, 3 times in a row. The supervisor keeps restarting it; "
    text += "the log of the service contains the cause"
    alarms = [(alarm.key, alarm.level, alarm.reason) for alarm in records.alarms.pending()]
    assert alarms == [("health:process:mortal", 2, text)]
    now[0] += STEADY_S + 1
    restarter.check()
    records.check()
    end = records.alarms.pending()[-1]
    assert (end.key, end.open, end.reason) == ("health:process:mortal", False, f"resolved: {text}")


def test_core_that_is_replaced_because_a_thread_hangs_is_an_alarm_from_the_third_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("monitor.app.children.time.monotonic", lambda: now[0])
    child = FakeProcess()
    child.status = EXIT_OVERDUE
    restarter = ProcessRestarter(child)
    records = make_records(restarter)
    for second in range(900):
        now[0] = float(second)
        restarter.check()
        records.check()
        if now[0] - restarter._started_s > OVERDUE_S + 5:
            child.is_running = False
    assert [(alarm.key, alarm.open) for alarm in records.alarms.pending()] == [("health:process:mortal", True)]


def test_inherited_alarm_of_a_process_lasts_until_the_process_has_run_for_five_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("monitor.app.children.time.monotonic", lambda: now[0])
    child = FakeProcess()
    restarter = ProcessRestarter(child)
    records = make_records(restarter)
    records._conditions.recall(["process:mortal"])
    restarter.check()
    for is_killed in (False, True):
        child.is_running = not is_killed
        for _ in range(50):
            now[0] += 1.0
            restarter.check()
            records.check()
    assert records.alarms.pending() == []
    now[0] += STEADY_S
    restarter.check()
    records.check()
    assert [(alarm.key, alarm.open) for alarm in records.alarms.pending()] == [("health:process:mortal", False)]


PAIR = '[database]\nurl = "postgresql://x/y"\n[broker]\nmode = "external"\n[standby]\nenabled = true\nname = "b"\n'


def test_processes_of_two_services_with_one_database_have_alarms_of_their_own():
    restarter = ProcessRestarter(FakeProcess())
    restarter.outcome = Outcome(3, "mortal ended")
    records = make_records(restarter, PAIR)
    records.check()
    assert [alarm.key for alarm in records.alarms.pending()] == ["health:process:mortal:b"]


@pytest.mark.parametrize(
    ("text", "inherited"),
    [
        ('[broker]\nmode = "external"\n', ["process:core:a", "process:core:b", "config:north"]),
        (PAIR, ["process:core:b"]),
    ],
)
def test_supervisor_of_a_pair_inherits_only_the_alarms_of_its_own_service(monkeypatch, text, inherited):
    open_alerts = [{"key": f"health:{key}"} for key in ("process:core:a", "process:core:b", "config:north")]
    monkeypatch.setattr("monitor.app.self_monitoring.supervisor_records.load_view", lambda *_: open_alerts)
    records = make_records(ProcessRestarter(FakeProcess()), text)
    assert records._load_open_alarms(None) == inherited


def test_rejected_alarm_of_the_supervisor_delays_neither_its_heartbeat_nor_other_alarms(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/x.db"
    config = parse_service(f'[database]\nurl = "{url}"\n[broker]\nmode = "external"\n', "x", {})
    records = SupervisorRecords(config, SimpleNamespace(is_standby=False), None)
    core_watch = SimpleNamespace(
        load_recipients_and_levels=lambda _connection: None, unwatched=SimpleNamespace(note_start=lambda _at: None)
    )
    store, is_faulty = supervisor_records.apply_changes, [True]

    def reject_one_alarm(connection, changes, context):
        if is_faulty[0] and any(change.key == "health:bad" for change in changes):
            raise ZeroDivisionError
        store(connection, changes, context)

    monkeypatch.setattr(supervisor_records, "apply_changes", reject_one_alarm)
    with Database(url) as db:
        upgrade(db)
        records.alarms.open("bad", "bad is sick", 2)
        records.alarms.open("good", "good is sick", 2)
        records.write(core_watch)
        assert [alert.key for alert in ask(db, load_alerts, SERVICE_SITE, open_only=True)] == ["health:good"]
        assert ask(db, find_heartbeat, "supervisor") is not None
        assert not records.is_urgent, "the rejected alarm waits for the next regular call"
        is_faulty[0] = False
        records.write(core_watch)
        assert records.alarms.pending() == []


def make_records(restarter, text='[broker]\nmode = "external"\n'):
    records = SupervisorRecords(parse_service(text, "x", {}), None, None)
    records.restarters = [restarter]
    return records


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3000)), min_size=1, max_size=12))
def test_limit_of_the_first_heartbeat_doubles_after_each_start_without_one(lives):
    now = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.app.children.time.monotonic", lambda: now[0])
        watch, starts_without_heartbeat = HeartbeatWatch(45.0), 0
        for beats, silent_s in lives:
            watch.start()
            for _ in range(beats):
                now[0] += 20.0
                assert not watch.is_overdue
                watch.receive()
            allowed_s = 45.0 if beats else min(180.0 * 2**starts_without_heartbeat, 1440.0)
            starts_without_heartbeat = 0 if beats else starts_without_heartbeat + 1
            now[0] += silent_s
            assert watch.is_overdue == (silent_s > allowed_s)


def test_core_whose_first_heartbeat_is_overdue_is_killed(monkeypatch):
    now, killed = [0.0], []
    monkeypatch.setattr("monitor.app.children.time.monotonic", lambda: now[0])
    monkeypatch.setattr("monitor.app.children.subprocess.Popen", lambda *_, **__: None)
    monkeypatch.setattr(PythonChild, "pid", 7)
    monkeypatch.setattr(PythonChild, "kill", lambda self: killed.append(self.name))
    core = PythonChild("core", "m", (), stop_s=1.0, sends_heartbeats=True, environment={})
    core.start()
    now[0] = 170.0
    assert core.poll()
    now[0] = 181.0
    assert not core.poll()
    assert killed == ["core"]
    assert core.describe_end() == "core sent no heartbeat for 180 s and was killed"
    core.stop()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (-9, f"core was ended by SIGKILL ({SIGNAL_REASONS[signal.SIGKILL]})"),
        (-11, "core was ended by SIGSEGV (an error in a compiled library)"),
        (-15, "core was ended by SIGTERM"),
        (-63, "core was ended by signal 63"),
        (1, "core ended with exit status 1 (an error, which its last lines in the log name)"),
        (EXIT_OVERDUE, "core ended with exit status 70 (one of its threads had ended or made no progress)"),
        (75, "core ended with exit status 75 (the database was busy or unreachable)"),
        (3, "core ended with exit status 3"),
        (None, "core ended"),
    ],
)
def test_log_states_why_a_process_ended_and_when_it_starts_again(caplog, status, text):
    child = FakeProcess()
    child.name = "core"
    child.status = status
    restarter = ProcessRestarter(child)
    restarter.check()
    child.is_running = False
    restarter.check()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"{text}; it is started again in 0.2 s"


def test_killed_core_that_waits_for_a_disk_does_not_block_the_supervisor(monkeypatch):
    monkeypatch.setattr("monitor.app.children.AWAIT_KILLED_S", 0.1)
    waits_s = []

    class Hanging:
        pid = 7
        poll = terminate = kill = staticmethod(lambda: None)

        def wait(self, timeout_s):
            waits_s.append(timeout_s)
            raise subprocess.TimeoutExpired("core", timeout_s)

    monkeypatch.setattr("monitor.app.children.subprocess.Popen", lambda *_, **__: Hanging())
    core = PythonChild("core", "m", (), stop_s=0.2, sends_heartbeats=True, environment={})
    core.start()
    core.stop()
    assert waits_s == [0.2, 0.1]
    assert core.heartbeat_pipe is None


def test_silent_core_that_was_killed_is_not_terminated_again(monkeypatch):
    monkeypatch.setattr("monitor.app.children.FIRST_BEAT_S", 0.0)
    process = Mock(pid=7, poll=lambda: None)
    monkeypatch.setattr("monitor.app.children.subprocess.Popen", lambda *_, **__: process)
    core = PythonChild("core", "m", (), stop_s=8.0, sends_heartbeats=True, environment={})
    core.start()
    assert not core.poll()
    core.stop()
    process.kill.assert_called_once_with()
    process.wait.assert_called_once_with(AWAIT_KILLED_S)


class SlowBroker:
    """Replaces the broker. Its first start waits until it is cancelled or `is_up` is set, and others fail."""

    durable, pid, status = True, 7, None

    def __init__(self):
        self.is_up = threading.Event()
        self.threads = []
        self.was_cancelled = False

    def start(self, cancelled):
        self.threads.append(threading.current_thread())
        if len(self.threads) > 1:
            raise BrokerError("port 1883 is taken")
        while not self.is_up.is_set() and not self.was_cancelled:
            self.was_cancelled = cancelled.wait(0.01)
        if self.was_cancelled:
            raise BrokerError("the start of the broker was cancelled")

    def stop(self):
        pass

    def is_alive(self):
        return False


@pytest.fixture
def slow_broker(monkeypatch):
    broker = SlowBroker()
    monkeypatch.setattr("monitor.app.children.open_broker", lambda *_, **__: broker)
    yield broker
    broker.is_up.set()


def make_broker_child():
    return BrokerChild(parse_service('[broker]\nmode = "demo"\n', "x"))


def test_start_of_the_broker_does_not_block_the_supervisor(slow_broker, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    child = make_broker_child()
    restarter = ProcessRestarter(child)
    for _ in range(3):
        restarter.check()
    assert child.is_starting
    assert "broker started" not in caplog.messages
    slow_broker.is_up.set()
    wait_for(lambda: not child.is_starting)
    restarter.check()
    assert "broker started" in caplog.messages
    monkeypatch.setattr("monitor.app.children.PROBE_BROKER_EVERY_S", 0.0)
    restarter.check()
    assert "broker runs but accepts no connections; it is started again in 0.2 s" in caplog.messages
    restarter.start_at_once()
    restarter.check()
    wait_for(lambda: not child.is_starting)
    restarter.check()
    assert restarter.outcome == Outcome(2, "broker cannot be started: port 1883 is taken")
    # The kernel ends a process with the thread that created it.
    assert len(set(slow_broker.threads)) == 1
    assert slow_broker.threads[0].is_alive()


def test_stop_of_the_service_ends_a_start_of_the_broker_early(slow_broker):
    child = make_broker_child()
    child.start()
    child.stop()
    assert slow_broker.was_cancelled
    assert not child.is_starting


def test_new_site_files_begin_an_unfinished_start_of_the_broker_again(slow_broker):
    child = make_broker_child()
    child.start()
    child.reload()
    wait_for(lambda: not child.is_starting)
    assert slow_broker.was_cancelled
    assert len(slow_broker.threads) == 2


def test_start_that_fails_leaves_no_open_descriptor(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no memory")

    monkeypatch.setattr("monitor.app.children.subprocess.Popen", refuse)
    core = PythonChild("core", "m", (), stop_s=1.0, sends_heartbeats=True, receives_lines=True, environment={})
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no memory"):
        core.start()
    core.stop()
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_supervisor_sleeps_while_the_core_has_ended_during_its_start():
    supervisor = Supervisor(parse_service("", "x"), None, with_web=False)
    reader, writer = os.pipe()
    os.close(writer)
    try:
        supervisor.core = SimpleNamespace(heartbeat_pipe=reader, pid=None)
        started_s = time.monotonic()
        supervisor._sleep()
        assert time.monotonic() - started_s > 0.05
    finally:
        os.close(reader)


def test_outside_watcher_is_called_only_while_the_core_decides_or_stands_by():
    supervisor = Supervisor(parse_service("", "x"), None, with_web=False)
    core, find_ping_trouble = supervisor.core, supervisor.core_watch.find_ping_trouble

    def receive(line):
        core._read_heartbeats(line)
        return str(find_ping_trouble(time.monotonic()))

    core._heartbeats.start()
    assert find_ping_trouble(time.monotonic()) == "the core process has not started yet"
    assert receive(b"~\n") == "the core process has not started yet"
    assert receive(b"?\n") == "the core process has not stored an evaluation yet"
    assert receive(b"\n") == receive(b"=\n") == ""
    assert receive(heartbeats.encode_line("disk full")) == "disk full"


def test_reload_with_a_faulty_service_file_keeps_the_core_and_names_what_needs_a_restart(tmp_path, caplog):
    file = tmp_path / "slopeward.toml"
    start = '[broker]\nmode = "external"\n'
    file.write_text(start)
    supervisor = Supervisor(parse_service(start, "x"), str(file), with_web=False)
    stops = []
    supervisor.core = SimpleNamespace(stop=lambda: stops.append(True))

    def reload(text):
        file.write_text(text)
        caplog.clear()
        supervisor.reload()
        supervisor._replace_core()
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    (message,) = reload(f"{start}[schedule]\nevaluate_tick = 7\n")
    assert "the core continues with the files of its start" in message
    assert "slopeward.toml: schedule.evaluate_tick" in message
    assert stops == []
    assert not supervisor._must_replace_core.is_set()
    (message,) = reload(f'{start}[watchdog]\nping_url = "https://example.org/x"\n')
    assert "has changed ([watchdog])" in message
    assert "restart the service" in message
    assert reload(start) == []
    assert stops == [True, True]


@pytest.mark.parametrize("name", ["core", "web"])
def test_process_starts_with_the_last_valid_service_file_while_the_file_has_an_error(
    tmp_path, caplog, monkeypatch, name
):
    loaded = []

    def start_process(command, **_options):
        loaded.append(load_service(command[-1]).web.port)
        return Mock(pid=7, poll=lambda: 1)

    monkeypatch.setattr("monitor.app.children.subprocess.Popen", start_process)
    file = tmp_path / "slopeward.toml"
    text = '[broker]\nmode = "external"\n[web]\nport = 8091\n'
    file.write_text(text)
    child = getattr(Supervisor(parse_service(text, "x"), str(file)), name)
    child.start()
    assert caplog.messages == []
    file.write_text(text.replace("port", "prot"))
    child.start()
    (message,) = caplog.messages
    assert f"so {name} starts with its last valid version" in message
    assert "slopeward.toml: web: unknown key 'prot'" in message
    file.unlink()
    child.start()
    file.write_text(text.replace("8091", "8092"))
    child.start()
    child.stop()
    assert loaded == [8091, 8091, 8091, 8092]


def test_jobs_for_display_have_their_own_lane():
    lanes = {job.name: job.lane for job in list_jobs()}
    assert (lanes["tiles"], lanes["scenes"], lanes["forecast"]) == ("show", "default", "default")


def test_redirect_of_the_watchdog_with_an_endless_body_does_not_block():
    def respond(listener):
        for response_head in (
            b"302 Found\r\nLocation: /b\r\nContent-Length: 999999999",
            b"200 OK\r\nContent-Length: 0",
        ):
            connections.append(listener.accept()[0])
            connections[-1].recv(4096)
            connections[-1].sendall(
                b"HTTP/1.1 " + response_head + b"\r\n\r\n"
            )  # the body of the first response never follows

    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=respond, args=(listener,), daemon=True).start()
        with OPENER.open(f"http://127.0.0.1:{listener.getsockname()[1]}/a", b"head", timeout=2) as response:
            assert response.status == 200
    for connection in connections:
        connection.close()


def test_watcher_that_does_not_answer_in_http_is_one_line_of_the_log(caplog):
    def respond(listener):
        with listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=respond, args=(listener,), daemon=True).start()
        send_ping(f"http://127.0.0.1:{listener.getsockname()[1]}/a", "head")
    (record,) = caplog.records
    assert record.getMessage() == "the outside watcher gives no valid answer in HTTP: BadStatusLine"


def test_log_escapes_line_breaks_and_redacts_passwords_in_tracebacks(capsys):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure("core")
        logging.getLogger("a").warning(
            "report: %s", "rock\n2026-03-01T06:00:00.000Z INFO core a: all is well\x1b[2J\udcff"
        )
        try:
            raise RuntimeError("cannot reach amqps://ada:hunter2@host/x")
        except RuntimeError:
            logging.getLogger("a").exception("failed")
    finally:
        root.handlers[:], _ = before, root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(r"a: report: rock\n2026-03-01T06:00:00.000Z INFO core a: all is well\x1b[2J\udcff")
    assert lines[1].endswith("ERROR core a: failed")
    assert lines[-1] == "RuntimeError: cannot reach amqps://ada:***@host/x"
