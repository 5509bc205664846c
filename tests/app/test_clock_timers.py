"""Every timer of the table in docs/explanation/clocks.md, under a clock that is wrong by an hour or a day."""

import re
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.alerts import load_alert_events, shelve, unshelve_due
from monitor.alerts.queries.evaluations import find_state, save_memory
from monitor.app import evaluation_loop, supervisor
from monitor.app.self_monitoring import clock_watch, commits, core_watch
from monitor.app.self_monitoring.clock import ClockStep
from monitor.decision.records import Memory
from monitor.delivery.circuit import Circuit
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import has_expired_leases, load_due_channels, load_unacknowledged
from monitor.delivery.stages import find_due_rows
from monitor.sites.records import Recipient
from monitor.storage.actor import Actor
from monitor.storage.clock_steps import set_back
from monitor.storage.views import load_view
from monitor.text.instants import FUTURE_TOLERANCE, epoch_s
from tests.app.test_clock import START, STEPS, Machine
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import WatchedSlope
from tests.delivery.outbox import add_alert, add_message, add_site

TABLE = Path(__file__).parents[2] / "docs/explanation/clocks.md"
WAIT_S = 300.0
WAIT = timedelta(seconds=WAIT_S)
POST = Recipient("duty", ("log",), (3,), escalate_after_s=WAIT_S)


class Timers:
    """One of each timer that goes by the service's clock, begun at one instant, each with what it waits for."""

    def __init__(self, c, now):
        self.circuit = Circuit()
        for _ in range(3):
            self.circuit.fail(now, WAIT_S)
        add_site(c)
        told = {"state": "delivered", "sent_at": now}
        add_message(c, add_alert(c, "escalation", at=now), "log", at=now, **told)
        add_message(c, add_alert(c, "try", at=now), "log:try", at=now, state="failed_retry", next_attempt_at=now + WAIT)
        add_message(c, add_alert(c, "lease", at=now), "log:own", at=now, state="claimed", lease_until=now + WAIT)
        self.shelved = add_alert(c, "shelf", "advice", 1, at=now)
        shelve(c, self.shelved, Actor("ada"), "known", now + WAIT, now)
        save_memory(c, "north", Memory(asked={"alone:G1": epoch_s(now)}), "v", now)

    def find_due(self, c, now):
        """Names of the timers whose time has come."""
        asked_s = Memory.read(find_state(c, "north").state).asked["alone:G1"]
        waiting = [a for a in load_unacknowledged(c) if any(t.state == "delivered" for t in a.sent)]
        (end,) = [e.until_at for e in load_alert_events(c, self.shelved) if e.until_at is not None]
        found = {
            "escalation": any(find_due_rows(a, [[POST]], (), now, DeliveryLimits()) for a in waiting),
            "next try": "log:try" in load_due_channels(c, now),
            "lease": has_expired_leases(c, now),
            "rest": not self.circuit.is_open(now),
            "shelving": end <= now,
            "question": epoch_s(now) - asked_s >= WAIT_S,
        }
        return {name for name, is_due in found.items() if is_due}


ALL = {"escalation", "next try", "lease", "rest", "shelving", "question"}


@pytest.mark.parametrize("step_s", STEPS)
def test_timers_under_a_clock_that_is_wrong_for_a_while(database, step_s):
    m = Machine()
    m.wall += timedelta(seconds=step_s)
    m.pass_time(5)
    timers = tell(database, Timers, m.clock())
    m.pass_time(5)
    m.wall -= timedelta(seconds=step_s)
    m.pass_time(WAIT_S - 10)
    with database.read() as c:
        assert timers.find_due(c, m.clock()) == set()
        m.pass_time(10)
        assert timers.find_due(c, m.clock()) == ALL


@pytest.mark.parametrize("step_s", STEPS)
def test_timers_that_began_under_a_wrong_clock_end_no_later_once_it_is_right(database, step_s):
    m = Machine()
    m.wall += timedelta(seconds=step_s)
    m.clock = m.start_clock()  # started in the wrong time
    timers = tell(database, Timers, m.clock())
    m.pass_time(10)
    m.wall -= timedelta(seconds=step_s)
    m.pass_time(100)  # longer than a step must last before it is followed
    for step in m.clock.take_steps():
        timers.circuit.end_pause()
        if step.seconds < 0:
            tell(database, set_back, -step.seconds, m.clock())
    assert m.clock() == m.wall
    with database.read() as c:
        early = timers.find_due(c, m.clock())
        assert early == ({"rest"} if step_s > 0 else ALL)  # late never; at once where the wrong time lay in the past
        m.pass_time(WAIT_S - 120)
        assert timers.find_due(c, m.clock()) == early
        m.pass_time(20)
        later = {"shelving"} if step_s > 0 else set()  # by at most the step, as the table says
        assert timers.find_due(c, m.clock()) == ALL - later
        assert timers.find_due(c, m.clock() + timedelta(seconds=max(step_s, 0.0))) == ALL
    assert len(tell(database, unshelve_due, "north", Actor("slopeward", "service"), m.clock() + timedelta(days=1))) == 1


@pytest.mark.parametrize("step_s", STEPS)
def test_a_step_sets_channels_and_jobs_anew(monkeypatch, step_s):
    acts = []
    monkeypatch.setattr(clock_watch, "set_back", lambda _, back_s, __: acts.append(back_s))
    monkeypatch.setattr(clock_watch, "withdraw_future", lambda *_: acts.append("readings") or 0)
    core = SimpleNamespace(
        clock=lambda: START,
        sites={},
        evaluation=SimpleNamespace(mark=lambda _: acts.append("sites")),
        ingest=SimpleNamespace(forget_last_readings=lambda: acts.append("heard")),
        db=SimpleNamespace(write=nullcontext),
        dispatcher=SimpleNamespace(forget_times=lambda: acts.append("channels")),
        schedule=SimpleNamespace(restart_pauses=lambda: acts.append("jobs")),
        alarms=SimpleNamespace(open=lambda *_, **__: acts.append("told"), put=lambda _: None),
    )
    clock_watch.ClockWatch._handle_step(core, ClockStep(step_s, START))
    assert acts == ["readings" if step_s > 0 else -step_s, "heard", "sites", "channels", "jobs", "told"]


def test_a_suspension_is_followed_by_everything_that_came_due():
    m, acts = Machine(), []
    core = SimpleNamespace(
        clock=m.clock,
        sites={"north": None},
        ingest=SimpleNamespace(expect_more=lambda seconds: acts.append(seconds)),
        evaluation=SimpleNamespace(mark=lambda sites: acts.append(sites)),
        dispatcher=SimpleNamespace(forget_times=lambda: acts.append("channels")),
        schedule=SimpleNamespace(run_overdue=lambda: acts.append("jobs")),
    )
    m.suspend(3600.0)
    m.pass_time(5)
    for _ in range(2):
        clock_watch.ClockWatch.handle_suspensions(core)
    assert acts == [clock_watch.WAKING_S, frozenset({"north"}), "channels", "jobs"]


def test_timers_of_the_service_clock_end_while_the_machine_is_suspended(database):
    m = Machine()
    timers = tell(database, Timers, m.clock())
    m.suspend(WAIT_S - 10)
    with database.read() as c:
        assert timers.find_due(c, m.clock()) == set()
        m.pass_time(10)
        assert timers.find_due(c, m.clock()) == ALL


@pytest.mark.parametrize(("after_s", "state"), [(-60.0, "ok"), (60.0, "silent")])
def test_a_station_whose_clock_runs_ahead_is_silent_since_its_last_reception(database, after_s, state):
    slope = WatchedSlope(database)
    slope.live(3, looks=1)
    ahead = slope.now + FUTURE_TOLERANCE
    slope.publish("G1", 0.0, ahead)
    slope.now += timedelta(hours=6, seconds=after_s)
    slope.publish("G2", 0.0, slope.now)
    evaluate_site(database, slope.site, slope.now, "tick")
    (found,) = ask(database, load_view, "station_health", site="bench", station="G1")
    assert found["state"] == state


@pytest.mark.parametrize("module", [evaluation_loop, supervisor, core_watch, commits], ids=lambda m: m.__name__)
def test_monotonic_timers_compare_no_wall_time(module):
    source = Path(module.__file__).read_text()
    assert "time.monotonic" in source
    assert not re.findall(r"(?:datetime\.now\(UTC\)|clock\(\)) *[-<>]", source)


def test_every_timer_of_the_table_has_a_test():
    lines = TABLE.read_text().splitlines()
    head = lines.index("| what waits | clock | after a wrong clock | after a suspension | test |")
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert len(rows) >= 9
    known = (Path(__file__), Path(__file__).with_name("test_clock.py"))
    names = {name for file in known for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    for row in rows:
        tests = re.findall(r"`(test_\w+)`", row[4]) if len(row) == 5 else []
        assert tests, f"no test is named for: {row[0]}"
        assert set(tests) <= names, row
