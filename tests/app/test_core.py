"""Test the core process: threads that end or hang, its database, and the publisher of the demonstration."""

import ctypes
import json
import os
import shutil
import sqlite3
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.app import heartbeats
from monitor.app.core import END_JOBS_S, STOP_S, Core
from monitor.app.core import main as core_main
from monitor.app.heartbeats import EXIT_OVERDUE
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.commits import CommitMonitor
from monitor.app.self_monitoring.database_file import DatabaseFileWatch, check_identity
from monitor.app.self_monitoring.emergency import EmergencyNotifier
from monitor.app.self_monitoring.state_file import ChannelAddress, StateFile
from monitor.app.self_monitoring.threads import VITAL
from monitor.broker import probe
from monitor.broker.access import parse_access
from monitor.broker.probe import probe_broker
from monitor.cli.main import run_command
from monitor.errors import BrokerError, StoreBusyError
from monitor.features.demo.publish import OutgoingMessage, PlayPace, Publisher, play
from monitor.settings.service import parse_service
from monitor.sites.files import load_site
from monitor.sites.parsing import find_weaknesses
from monitor.storage import migrate
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.service_state import BAD
from monitor.storage.service_tables import service_state
from monitor.storage.views import load_view
from tests.data.healthy_core import make_monitoring
from tests.data.store_rows import ask, tell
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


def make_core(tmp_path):
    core = Core(parse_service(f'[database]\nurl = "sqlite:///{tmp_path}/x.db"\n', "x"), lambda: NOW)
    for name in ("ingest", "evaluation", "dispatcher", "self_monitoring"):
        setattr(core, name, SimpleNamespace(progress=dict, is_busy=bool))
    return core


@pytest.mark.parametrize("part", ["ingest", "evaluation", "dispatcher", "self_monitoring"])
def test_thread_without_progress_ends_the_process(tmp_path, part):
    core = make_core(tmp_path)
    late = {part: NOW - timedelta(seconds=heartbeats.OVERDUE_S + 1)}
    setattr(core, part, SimpleNamespace(progress=lambda: late, is_busy=bool))
    jobs_stopped = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.app.core.compute.stop_all", lambda: jobs_stopped.append(1))
        assert core.watch() == EXIT_OVERDUE
    assert jobs_stopped


def test_core_whose_machine_was_suspended_gives_way_at_once(tmp_path):
    core = make_core(tmp_path)
    core.clock = lambda: NOW + timedelta(hours=1)
    core.config = SimpleNamespace(standby=SimpleNamespace(enabled=True))
    core.lease = SimpleNamespace(is_lost=True)
    threading.Timer(5.0, core.stopping.set).start()
    assert core.watch() == heartbeats.EXIT_REPLACE


def is_at_rest(thread):
    """Return whether the thread waits outside the database.

    An exit that is raised inside a database call can be lost, or leave a transaction open.
    """
    if not thread.is_alive():
        return True
    frame, files = sys._current_frames().get(thread.ident), []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    waits = bool(files) and Path(files[0]).name in {
        "threading.py",
        "client.py",
    }  # client.py is paho, which waits in `select`
    return waits and not any(folder in path for path in files for folder in ("/monitor/storage/", "/queries"))


def kill(core, thread):
    """End a thread as a call of exit or an unexpected error would."""
    for _ in range(9):  # a thread that wakes at this moment can still lose the exit in a database call
        wait_for(lambda: is_at_rest(thread), 60.0, f"{thread.name} to wait for something", 0.001)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        core.schedule.run_overdue()
        core.dispatcher.forget_times()
        for worker in core.dispatcher._workers.values():
            worker.wake()
        thread.join(10.0)
        if not thread.is_alive():
            return
    pytest.fail(f"{thread.name} does not end")


def load_thread_alarms(core):
    rows = ask(core.db, load_view, "active_alerts")
    return {row["key"].removeprefix("health:thread:"): row["reason"] for row in rows if "thread:" in row["key"]}


@pytest.mark.parametrize(
    "database_url", ["postgresql"], indirect=True
)  # with PostgreSQL one more thread renews the lease
@pytest.mark.server
@pytest.mark.timeout(600)
def test_ended_thread_is_an_alarm_and_ended_vital_thread_ends_the_process(
    database_url, mosquitto, tmp_path, monkeypatch, no_thread_left
):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr("monitor.app.self_monitoring.loop.CHECK_PARTS_EVERY_S", 0.3)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.toml").write_text(site_file({"G1": "A", "G2": "B"}, "1h", site=name))
    config = parse_service(
        f'[database]\nurl = "{database_url}"\n[broker]\nmode = "external"\nurl = "{mosquitto.url}"\n'
        f'[paths]\nsites = "{tmp_path}"\nstate = "{tmp_path}/state"\ninbox = "{tmp_path}/inbox"\n',
        "x",
    )
    threads_before = set(threading.enumerate())
    core = Core(config, lambda: datetime.now(UTC), f"test {os.getpid()}")
    if not core.db.is_sqlite:
        core.use_lease(CoreLease(core.db, "x"))
    core.start()
    try:
        core.dispatcher._find_worker("log")  # the first message would start this worker
        wait_for(
            lambda: {"watch-folders", "evaluate", "APScheduler"} <= {listed.name for listed in threading.enumerate()}
        )
        time.sleep(
            1.0
        )  # By now each thread has run once. An exception raised in a writing thread would leave its transaction open.
        lasting = [listed for listed in threading.enumerate() if listed not in threads_before and listed.name != "beat"]
        names = {listed.name for listed in lasting}
        assert {"watch-folders", "status-publisher", "APScheduler", "channel-log"} <= names
        assert VITAL & names >= {"self-monitoring", "dispatcher", "evaluate", "ingest-writer"}
        for thread in sorted(lasting, key=lambda listed: listed.name in VITAL):
            if thread.name.startswith("ThreadPool"):
                continue  # threads of jobs: an exception is the result of the job
            kill(core, thread)
            if thread.name in VITAL:
                assert core.watch() == EXIT_OVERDUE
            wait_for(lambda name=thread.name[:56]: name in load_thread_alarms(core), 30.0, f"alarm of {thread.name}")
        assert "ended" in load_thread_alarms(core)["watch-folders"]
    finally:
        core.stop()


def test_core_that_is_to_be_replaced_keeps_its_exit_status_if_its_stop_is_slow_or_fails(tmp_path, monkeypatch):
    """The supervisor gives new site files to the broker only after this exit status."""
    closed = []
    exits = []

    def write_heartbeat(_state):
        raise StoreBusyError("the database is locked")

    class ReplacedCore(Core):
        start = _stop_parts = wait_for_turn = lambda self: True

        def watch(self):
            self.self_monitoring = SimpleNamespace(write_heartbeat=write_heartbeat)
            self.db = SimpleNamespace(close=lambda: closed.append(True))
            return heartbeats.EXIT_REPLACE

    def exit_after(seconds, status):
        exits.append((seconds, status))
        return SimpleNamespace(cancel=lambda: None)

    config = parse_service(f'[database]\nurl = "sqlite:///{tmp_path}/x.db"\n', "x")
    monkeypatch.setattr("monitor.app.core.load_service", lambda _path: config)
    monkeypatch.setattr("monitor.app.core.Core", ReplacedCore)
    monkeypatch.setattr("monitor.app.core._exit_after", exit_after)
    for name in ("freeze_startup_objects", "hide_memory", "logs.configure", "signal.signal"):
        monkeypatch.setattr(f"monitor.app.core.{name}", lambda *_: None)
    interval_s = sys.getswitchinterval()
    try:
        assert core_main() == heartbeats.EXIT_REPLACE
    finally:
        sys.setswitchinterval(interval_s)
    assert exits == [(STOP_S, heartbeats.EXIT_REPLACE), (END_JOBS_S, heartbeats.EXIT_REPLACE)]
    assert closed == [True]


def test_core_ends_in_order_when_its_supervisor_has_ended(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setenv(heartbeats.HEARTBEAT_FD, str(writer))
    try:
        assert make_core(tmp_path).watch() == 0
    finally:
        os.close(writer)


def test_running_core_sends_heartbeats(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setenv(heartbeats.HEARTBEAT_FD, str(writer))
    core = make_core(tmp_path)
    threading.Timer(0.1, core.stopping.set).start()
    assert core.watch() == 0
    assert os.read(reader, 10)
    os.close(reader)
    os.close(writer)


def test_start_retries_while_the_database_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.storage.engine.SQLITE_BUSY_S", 0.2)
    core = make_core(tmp_path)
    core._open_database()
    blocker = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    threading.Timer(1.0, blocker.rollback).start()  # during the pause before the next attempt

    def write():
        tell(core.db, lambda c: c.execute(service_state.insert().values(name="x", at=NOW, detail={})))
        return "done"

    assert core._retry_until_available(write) == "done"
    core.db.close()
    blocker.close()


class SlowUpgrade:
    """A core whose upgrade of the database takes minutes of a simulated clock, and the people it notifies."""

    def __init__(self, tmp_path, monkeypatch, upgrade_s, *, is_failing=False):
        self.now_s = 0.0
        self.troubles = set()
        self.sent = []
        self._run = migrate._run_migrations
        self._upgrade_s = upgrade_s
        self._is_failing = is_failing
        channel = SimpleNamespace(deliver=lambda notification: self.sent.append(notification.body))
        monkeypatch.setattr("monitor.app.self_monitoring.emergency.open_notifier", lambda *_: channel)
        monkeypatch.setattr(migrate, "_run_migrations", self.run_migrations)
        self.core = make_core(tmp_path)
        self.core.commits = CommitMonitor(lambda: NOW + timedelta(seconds=self.now_s), 60.0, lambda: self.now_s)
        state_file = StateFile(tmp_path / "state", "sqlite:///x.db")
        addresses = [ChannelAddress("ada", "log:a")]
        self.emergency = EmergencyNotifier(lambda: addresses, list, {}, lambda: NOW, lambda *_: None, state_file)

    def pass_time(self, seconds):
        """Send the heartbeats of a core that starts, and let the supervisor notify people of its trouble."""
        for _ in range(seconds):
            self.now_s += 1.0
            trouble = self.core.commits.find_trouble()
            self.troubles.add(trouble)
            self.emergency.update(trouble, self.now_s, has_decided=False)

    def run_migrations(self, connection, *branch):
        if not branch:
            self.pass_time(self._upgrade_s)
        if self._is_failing:
            raise StoreBusyError("the database is locked")
        self._run(connection, *branch)


def test_long_upgrade_of_the_database_notifies_nobody(tmp_path, monkeypatch):
    upgrade = SlowUpgrade(tmp_path, monkeypatch, 590)
    upgrade.core._open_database()
    upgrade.pass_time(10)
    assert upgrade.troubles == {""}
    assert upgrade.sent == []
    upgrade.core.db.close()


def test_upgrade_of_more_than_ten_minutes_notifies_people_of_the_upgrade(tmp_path, monkeypatch):
    upgrade = SlowUpgrade(tmp_path, monkeypatch, 630)
    upgrade.core._open_database()
    wait_for(lambda: upgrade.sent)
    assert upgrade.troubles == {"", "the upgrade of the database has been running since 2026-03-01 06:00:00 UTC"}
    assert upgrade.sent[0].startswith("Slopeward cannot decide: the upgrade of the database has been running since")
    assert upgrade.core.commits.find_trouble() == ""
    upgrade.core.db.close()


def test_failed_upgrade_notifies_people_that_the_database_accepts_no_writes(tmp_path, monkeypatch):
    upgrade = SlowUpgrade(tmp_path, monkeypatch, 100, is_failing=True)
    with pytest.raises(StoreBusyError) as caught:
        upgrade.core._open_database()
    assert upgrade.troubles == {""}
    upgrade.core.commits.note_error(caught.value.message)
    upgrade.pass_time(25)
    wait_for(lambda: upgrade.sent)
    assert "has accepted no writes since 2026-03-01 06:00:00 UTC (the database is locked)" in upgrade.sent[0]
    upgrade.core.db.close()


def test_upgrade_that_waits_for_a_lock_has_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(migrate, "PATIENCE_S", 0.1)
    monkeypatch.setattr("monitor.storage.engine.SQLITE_BUSY_S", 0.1)
    with Database(f"sqlite:///{tmp_path}/x.db") as db:
        begun = []
        upgrade(db, on_begin=lambda: begun.append("first"))
        upgrade(db, on_begin=lambda: begun.append("the schema is current"))
        tell(db, lambda c: c.exec_driver_sql("DROP VIEW anomalies"))
        blocker = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            upgrade(db, on_begin=lambda: begun.append("the database is locked"))
        blocker.close()
        upgrade(db, on_begin=lambda: begun.append("the views are outdated"))
    assert begun == ["first", "the views are outdated"]


def test_removed_database_file_is_one_alarm_and_degrades_the_service(tmp_path):
    core = make_core(tmp_path)
    core._open_database()
    monitoring = make_monitoring(core)
    monitoring.check_parts()
    monitoring.check_parts()

    def list_alarms():
        return [alarm for alarm in core.alarms.pending() if alarm.key == "health:database:lost" and alarm.open]

    assert list_alarms() == []
    (tmp_path / "x.db").rename(tmp_path / "gone.db")
    monitoring.check_parts()
    (tmp_path / "x.db").touch()  # an empty file does not replace the database
    monitoring.check_parts()
    (alarm,) = list_alarms()
    assert (alarm.level, core.conditions.degraded()[alarm.reason]) == (2, BAD)
    core.db.close()


def test_server_database_has_no_file_to_watch():
    with Database("postgresql+psycopg://nobody@127.0.0.1:1/none") as db:
        watch = DatabaseFileWatch(db)
        assert [watch.check().is_lost for _ in range(2)] == [False, False]


def make_messages(count, step_s=1.0):
    return [
        OutgoingMessage(NOW + timedelta(seconds=index * step_s), "t/x", b"%d" % index, str(index))
        for index in range(count)
    ]


@pytest.mark.server
def test_publisher_reports_the_key_of_every_acknowledged_message(mosquitto):
    keys = []
    with Publisher(mosquitto.url, in_flight=20, on_acknowledged=keys.append) as publisher:
        for message in make_messages(500):
            publisher.publish(message.topic, message.payload, message.key)
        publisher.wait(20)
    assert (sorted(keys, key=int), publisher.count) == ([str(number) for number in range(500)], 500)


@pytest.mark.server
def test_history_is_published_at_once_and_later_messages_at_their_time(mosquitto):
    end = NOW + timedelta(seconds=90)
    progress = []
    with Publisher(mosquitto.url) as publisher:
        callbacks = {"on_history": progress.append, "on_present": lambda: progress.append("present")}
        pace, stop = PlayPace(NOW + timedelta(seconds=50), 1000.0), threading.Event()
        played = play(make_messages(200), publisher, pace, clock=lambda: end, stop=stop, **callbacks)
    assert (played.history, played.live, played.until, progress, publisher.count) == (50, 41, end, [50, "present"], 91)


def test_unreachable_broker_and_wrong_url_raise_a_readable_error():
    with pytest.raises(BrokerError, match="does not answer"), Publisher("mqtt://127.0.0.1:1"):
        pass
    with pytest.raises(BrokerError, match="expected mqtt://"):
        Publisher("http://x")


@pytest.mark.server
def test_simulate_publishes_and_writes_truth_and_site_file(mosquitto, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def simulate(*options):
        common_options = "--days 2 --step 2h --live 4h --speed 100000".split()
        return run_command(["demo", "simulate", "--broker", mosquitto.url, *common_options, *options])

    assert simulate("--site-file", "sim.toml") == 0
    site = load_site(tmp_path / "sim.toml")
    assert find_weaknesses(site) == []
    capsys.readouterr()
    assert simulate("--truth", "truth.json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["acknowledged"] == report["history"] + report["live"]
    assert report["live"] >= 2 * len(site.stations)
    assert set(json.loads((tmp_path / "truth.json").read_text())["factors"]) == {
        station.id for station in site.stations
    }
    assert (simulate("--step", "soon"), simulate("--live", "9d")) == (2, 1)


@pytest.mark.server
def test_broker_probe_measures_how_many_messages_the_broker_keeps(mosquitto, tmp_path):
    facts = probe_broker(parse_access(mosquitto.url))
    assert facts.session_present
    assert facts.kept_messages == probe.PROBE_MESSAGES
    # only messages of the usual size reach a limit in bytes
    mosquitto.configure("max_queued_bytes", 100_000)
    mosquitto.restart()
    assert 100 < probe_broker(parse_access(mosquitto.url)).kept_messages < 500


def test_slow_connection_does_not_look_like_lost_messages(monkeypatch):
    monkeypatch.setattr(probe, "QUIET_S", 0.05)
    received = [b"x"] * 700

    def publish(_topic, payload, qos):
        threading.Timer(0.2, lambda: received.extend([b"x"] * (probe.PROBE_MESSAGES - 700))).start()

    probe._await_all(SimpleNamespace(publish=publish), "t", received)
    assert len(received) == probe.PROBE_MESSAGES


def test_start_on_another_database_is_one_alarm_and_a_copy_is_accepted(tmp_path):
    def start(name):
        """Return the alarms of a service that starts on this database."""
        with Database(f"sqlite:///{tmp_path / name}") as db:
            upgrade(db)
            alarms = ServiceAlarms(db, {}, lambda: NOW, lambda: None)
            tell(db, add_audit, Actor("ada"), "site.start", name, {}, NOW)
            check_identity(db, StateFile(tmp_path / "state", str(db.url)), alarms)
            return [(row["key"], row["reason"]) for row in ask(db, load_view, "active_alerts")]

    assert start("a.db") == []
    shutil.copy(tmp_path / "a.db", tmp_path / "copy.db")
    assert start("a.db") == start("copy.db") == []
    [(key, reason)] = start("b.db")
    assert key == "health:database:other"
    assert "database b.db is not the one of the last start. It begins at 2026-03-01 06:00 UTC" in reason
    assert len(start("b.db")) == 1, "once"
