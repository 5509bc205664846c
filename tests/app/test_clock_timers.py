"""Test every timer of the table in docs/explanation/clocks.md with a clock that is wrong by an hour or a day."""

import re
from contextlib import contextmanager, nullcontext, suppress
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
from monitor.errors import StoreBusyError
from monitor.ingest.pipeline import LastReading
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
DUTY = Recipient("duty", ("log",), (3,), escalate_after_s=WAIT_S)


class Timers:
    """One timer of each kind that uses the clock of the service, all started at the same time."""

    def __init__(self, connection, now):
        self.circuit = Circuit()
        for _ in range(3):
            self.circuit.fail(now, WAIT_S)
        add_site(connection)
        delivery = {"state": "delivered", "sent_at": now}
        add_message(connection, add_alert(connection, "escalation", at=now), "log", at=now, **delivery)
        add_message(
            connection,
            add_alert(connection, "try", at=now),
            "log:try",
            at=now,
            state="failed_retry",
            next_attempt_at=now + WAIT,
        )
        add_message(
            connection,
            add_alert(connection, "lease", at=now),
            "log:own",
            at=now,
            state="claimed",
            lease_until=now + WAIT,
        )
        self.shelved = add_alert(connection, "shelf", "advice", 1, at=now)
        shelve(connection, self.shelved, Actor("ada"), "known", now + WAIT, now)
        save_memory(connection, "north", Memory(asked={"alone:G1": epoch_s(now)}), "v", now)

    def find_due(self, connection, now):
        """Return the names of the timers that are due."""
        asked_s = Memory.read(find_state(connection, "north").state).asked["alone:G1"]
        waiting = [
            alert
            for alert in load_unacknowledged(connection)
            if any(sent_message.state == "delivered" for sent_message in alert.sent)
        ]
        (end,) = [event.until_at for event in load_alert_events(connection, self.shelved) if event.until_at is not None]
        is_due_by_timer = {
            "escalation": any(find_due_rows(alert, [[DUTY]], (), now, DeliveryLimits()) for alert in waiting),
            "next try": "log:try" in load_due_channels(connection, now),
            "lease": has_expired_leases(connection, now),
            "rest": not self.circuit.is_open(now),
            "shelving": end <= now,
            "question": epoch_s(now) - asked_s >= WAIT_S,
        }
        return {name for name, is_due in is_due_by_timer.items() if is_due}


ALL_TIMERS = {"escalation", "next try", "lease", "rest", "shelving", "question"}


@pytest.mark.parametrize("step_s", STEPS)
def test_timers_are_due_on_time_after_a_temporary_clock_error(database, step_s):
    machine = Machine()
    machine.wall += timedelta(seconds=step_s)
    machine.pass_time(5)
    timers = tell(database, Timers, machine.clock())
    machine.pass_time(5)
    machine.wall -= timedelta(seconds=step_s)
    machine.pass_time(WAIT_S - 10)
    with database.read() as connection:
        assert timers.find_due(connection, machine.clock()) == set()
        machine.pass_time(10)
        assert timers.find_due(connection, machine.clock()) == ALL_TIMERS


@pytest.mark.parametrize("step_s", STEPS)
def test_timers_started_by_a_wrong_clock_are_not_late_after_its_correction(database, step_s):
    machine = Machine()
    machine.wall += timedelta(seconds=step_s)
    machine.clock = machine.start_clock()  # the service starts while the clock is wrong
    timers = tell(database, Timers, machine.clock())
    machine.pass_time(10)
    machine.wall -= timedelta(seconds=step_s)
    machine.pass_time(100)  # longer than the probation of a step
    for step in machine.clock.take_steps():
        timers.circuit.end_pause()
        if step.seconds < 0:
            tell(database, set_back, -step.seconds, machine.clock())
    assert machine.clock() == machine.wall
    with database.read() as connection:
        due_after_step = timers.find_due(connection, machine.clock())
        assert due_after_step == (
            {"rest"} if step_s > 0 else ALL_TIMERS
        )  # Never late. Due at once if the wrong clock was behind.
        machine.pass_time(WAIT_S - 120)
        assert timers.find_due(connection, machine.clock()) == due_after_step
        machine.pass_time(20)
        delayed = {"shelving"} if step_s > 0 else set()  # late by at most the step, as the table says
        assert timers.find_due(connection, machine.clock()) == ALL_TIMERS - delayed
        assert timers.find_due(connection, machine.clock() + timedelta(seconds=max(step_s, 0.0))) == ALL_TIMERS
    assert (
        len(tell(database, unshelve_due, "north", Actor("slopeward", "service"), machine.clock() + timedelta(days=1)))
        == 1
    )


@pytest.mark.parametrize("step_s", STEPS)
def test_step_of_the_clock_restarts_pauses_of_channels_and_jobs(monkeypatch, step_s):
    actions = []
    monkeypatch.setattr(clock_watch, "set_back", lambda _, back_s, __: actions.append(back_s))
    monkeypatch.setattr(clock_watch, "withdraw_future", lambda *_: actions.append("readings") or 0)
    core = SimpleNamespace(
        clock=lambda: START,
        sites={},
        evaluation=SimpleNamespace(mark=lambda _: actions.append("sites")),
        ingest=SimpleNamespace(forget_last_readings=lambda: actions.append("heard")),
        db=SimpleNamespace(write=nullcontext),
        dispatcher=SimpleNamespace(forget_times=lambda: actions.append("channels")),
        schedule=SimpleNamespace(restart_pauses=lambda: actions.append("jobs")),
        alarms=SimpleNamespace(open=lambda *_, **__: actions.append("told"), put=lambda _: None),
    )
    clock_watch.ClockWatch(**vars(core))._handle_step(ClockStep(step_s, START))
    assert actions == ["readings" if step_s > 0 else -step_s, "heard", "sites", "channels", "jobs", "told"]


class StationsAhead:
    """Two stations whose readings are ten minutes ahead of a service clock that is ten minutes behind."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
        monkeypatch.setattr(
            clock_watch, "withdraw_future", lambda *_: self.withdrawals.append(self.machine.clock()) or 2
        )
        self.machine = Machine()
        self.machine.wall -= timedelta(minutes=10)
        self.machine.clock = self.machine.start_clock()
        self.last_readings = {}
        self.withdrawals = []
        self.steps = []
        self.busy_writes = 0
        self.clock_watch = clock_watch.ClockWatch(
            db=SimpleNamespace(write=self.write),
            clock=self.machine.clock,
            sites={"north": SimpleNamespace(station=lambda _: "declared")},
            alarms=SimpleNamespace(open=lambda key, *_: self.steps.append(key), put=lambda _: None),
            ingest=SimpleNamespace(
                list_last_readings=lambda: dict(self.last_readings), forget_last_readings=self.last_readings.clear
            ),
            evaluation=SimpleNamespace(mark=lambda _: None),
            dispatcher=SimpleNamespace(forget_times=lambda: None),
            schedule=SimpleNamespace(restart_pauses=lambda: None),
        )

    @contextmanager
    def write(self):
        if self.busy_writes:
            self.busy_writes -= 1
            raise StoreBusyError("locked")
        yield

    def receive(self, received_at):
        self.last_readings |= {("north", name): LastReading(600.0, received_at) for name in ("G1", "G2")}


def test_clock_is_corrected_once_although_the_database_is_busy(monkeypatch):
    stations = StationsAhead(monkeypatch)
    stations.busy_writes = 2
    received_at = stations.machine.clock()
    for _ in range(4):
        # Also after the correction, because ingest stores late what was received while the database was busy.
        stations.receive(received_at)
        with suppress(StoreBusyError):
            stations.clock_watch.check()
        stations.machine.pass_time(5)
    assert stations.machine.clock() == stations.machine.true_time()
    assert stations.withdrawals == [stations.machine.true_time() - timedelta(seconds=10)]
    assert "our clock is behind" in stations.clock_watch.station_clocks.behind


def test_step_followed_during_the_comparison_with_stations_is_reported(monkeypatch):
    stations = StationsAhead(monkeypatch)
    stations.receive(stations.machine.clock())
    readings = dict(stations.last_readings)

    def list_last_readings():
        stations.machine.wall += timedelta(seconds=20)
        stations.machine.pass_time(70)
        return readings

    stations.clock_watch.ingest.list_last_readings = list_last_readings
    stations.clock_watch.check()
    stations.clock_watch.ingest.list_last_readings = dict
    stations.clock_watch.check()
    assert stations.steps == [clock_watch.STEP_KEY]


def test_everything_due_runs_after_a_suspension():
    machine, actions = Machine(), []
    core = SimpleNamespace(
        clock=machine.clock,
        sites={"north": None},
        ingest=SimpleNamespace(expect_more=lambda seconds: actions.append(seconds)),
        evaluation=SimpleNamespace(mark=lambda sites: actions.append(sites)),
        dispatcher=SimpleNamespace(forget_times=lambda: actions.append("channels")),
        schedule=SimpleNamespace(run_overdue=lambda: actions.append("jobs")),
    )
    machine.suspend(3600.0)
    machine.pass_time(5)
    for _ in range(2):
        clock_watch.ClockWatch.handle_suspensions(core)
    assert actions == [clock_watch.WAKING_S, frozenset({"north"}), "channels", "jobs"]


def test_timers_of_the_service_clock_run_during_a_suspension(database):
    machine = Machine()
    timers = tell(database, Timers, machine.clock())
    machine.suspend(WAIT_S - 10)
    with database.read() as connection:
        assert timers.find_due(connection, machine.clock()) == set()
        machine.pass_time(10)
        assert timers.find_due(connection, machine.clock()) == ALL_TIMERS


@pytest.mark.parametrize(("after_s", "state"), [(-60.0, "ok"), (60.0, "silent")])
def test_station_with_a_clock_ahead_is_silent_since_its_last_received_reading(database, after_s, state):
    slope = WatchedSlope(database)
    slope.live(3, looks=1)
    future_time = slope.now + FUTURE_TOLERANCE
    slope.publish("G1", 0.0, future_time)
    slope.now += timedelta(hours=6, seconds=after_s)
    slope.publish("G2", 0.0, slope.now)
    evaluate_site(database, slope.site, slope.now, "tick")
    (row,) = ask(database, load_view, "station_health", site="bench", station="G1")
    assert row["state"] == state


@pytest.mark.parametrize("module", [evaluation_loop, supervisor, core_watch, commits], ids=lambda m: m.__name__)
def test_modules_with_monotonic_timers_do_not_compare_wall_times(module):
    source = Path(module.__file__).read_text()
    assert "time.monotonic" in source
    assert not re.findall(r"(?:datetime\.now\(UTC\)|clock\(\)) *[-<>]", source)


def test_every_timer_of_the_table_has_a_test():
    lines = TABLE.read_text().splitlines()
    head = lines.index("| timer | clock | after a wrong clock | after a suspension | test |")
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert len(rows) >= 9
    test_files = (Path(__file__), Path(__file__).with_name("test_clock.py"))
    names = {name for file in test_files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    for row in rows:
        tests = re.findall(r"`(test_\w+)`", row[4]) if len(row) == 5 else []
        assert tests, f"no test is named for: {row[0]}"
        assert set(tests) <= names, row
