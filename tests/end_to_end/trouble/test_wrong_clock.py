"""The clock of the machine is wrong while the slope fails: recipients are notified of the clock and of red."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from monitor.alerts.outbox_tables import notification
from monitor.app.core import Core
from monitor.app.self_monitoring import clock_watch
from monitor.app.self_monitoring.clock import ServiceClock, Uptime
from monitor.app.supervisor import Supervisor
from monitor.readings.tables import observation
from monitor.settings.service import load_service
from monitor.storage.clock_steps import set_back
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.worker import compute
from tests.data.running import Service, publish
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import (
    Receiver,
    Report,
    load_evaluated_at,
    publish_motion,
    receiver,
    report,
)
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import free_port, wait_for

__all__ = ["receiver", "report"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]


class WallClock:
    """Wall clock of a machine that can be set, and that can seem to have been suspended."""

    def __init__(self) -> None:
        self.offset, self._suspended_s = timedelta(0), 0.0

    def uptime(self) -> Uptime:
        """Return the uptime of this machine plus the time for which it seems to have been suspended."""
        awake_s = time.monotonic()
        return Uptime(awake_s, awake_s + self._suspended_s)

    def suspend(self, seconds: float) -> None:
        """Simulate a suspension of the machine that ends now."""
        self.offset += timedelta(seconds=seconds)
        self._suspended_s += seconds

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


@contextmanager
def run_core(
    folder: Path, database_url: str, broker: str, wall: WallClock, receiver: Receiver, escalate: str = ""
) -> Iterator[Core]:
    """Run the core in this process with a clock that can be set. Its only recipient is a webhook."""
    site_text = site_file({"G1": "A", "G2": "B", "G3": "C"}, "1h")
    site_text = site_text.replace('channels = ["log"]', f'channels = ["webhook:HOOK"]\n{escalate}')
    (folder / "sites").mkdir(exist_ok=True)
    (folder / "sites/s.toml").write_text(site_text)
    (folder / "slopeward.toml").write_text(
        f'[database]\nurl = "{database_url}"\n[broker]\nmode = "external"\nurl = "{broker}"\n'
        f'[paths]\nsites = "{folder}/sites"\ninbox = "{folder}/inbox"\nmodels = "{folder}/models"\n'
        f'[web]\nport = {free_port()}\n[schedule]\nevaluate_tick = "1s"\n'
    )
    os.environ["HOOK"] = f"{receiver.url}/duty"
    core = Core(load_service(str(folder / "slopeward.toml")), ServiceClock(wall, wall.uptime))
    core.start()
    watch_thread = threading.Thread(target=core.watch, daemon=True)
    watch_thread.start()
    try:
        wait_for(lambda: all(core.ingest.status()["connected"].values()), 20, "the broker")
        yield core
    finally:
        core.stopping.set()
        watch_thread.join(10)
        core.stop()
        compute.allow_jobs()  # the remaining tests run in this process
        del os.environ["HOOK"]


def load_level(database_url: str) -> int:
    return int(load_site_status(database_url).get("level") or 0)


def load_site_status(database_url: str) -> dict[str, Any]:
    """Return the row of the site in the view `site_status`."""
    database = Database(database_url)
    try:
        with database.read() as connection:
            return dict(connection.execute(text("SELECT * FROM site_status WHERE site = 's'")).mappings().first() or {})
    finally:
        database.close()


@ON_SQLITE
def test_clock_an_hour_behind_is_reported_and_red_is_reached(database_url, mosquitto, tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    wall = WallClock()
    wall.offset = -timedelta(hours=1)
    with run_core(tmp_path, database_url, mosquitto.url, wall, receiver):
        started_at = time.monotonic()
        publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(lambda: receiver.find("our clock is behind"), 60, "a human to hear of it")
        notified_at, message = receiver.find("our clock is behind")[0]
        backend = make_url(database_url).get_backend_name()
        print(f"{backend}: clock an hour behind: first message after {notified_at - started_at:.0f} s")
        assert "our clock seems to be wrong" in f"{message['subject']} {message['body']}"
        assert "about 60 min ahead" in f"{message['subject']} {message['body']}"
        publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(receiver.find_red, 60, "red")
        assert load_level(database_url) == 3
        # No stored reading is in the future any more, so that silence is measured correctly.
        wall.offset = timedelta(0)  # the clock is corrected
        time.sleep(3)
        assert load_level(database_url) == 3


def test_wrong_clocks_of_all_stations_are_reported_if_ours_is_synchronised(
    sqlite_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    with run_core(tmp_path, sqlite_url, mosquitto.url, WallClock(), receiver) as core:
        publish_motion(mosquitto.url, 60.0, 1.0, datetime.now(UTC) + timedelta(hours=2))
        wait_for(lambda: receiver.find("check clocks and time zones of the loggers"), 60, "a human to hear of it")
        assert (core.clock.correction_s, load_level(sqlite_url)) == (0.0, 0)


@ON_SQLITE
def test_gateway_an_hour_ahead_does_not_affect_other_sites(
    database_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    far_text = site_file({"F1": "A", "F2": "B"}, "1h", site="far").replace('"G*"', '"F*"')
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/far.toml").write_text(far_text.replace('channels = ["log"]', 'channels = ["webhook:HOOK"]'))
    with run_core(tmp_path, database_url, mosquitto.url, WallClock(), receiver) as core:
        now = datetime.now(UTC)
        still_body = {"time": now.isoformat(), "displacement_mm": 0.0}
        publish(mosquitto.url, [(f"slopeward/v1/far/{name}/obs", still_body) for name in ("F1", "F2")])
        started_at = time.monotonic()
        future_body = {"time": (now + timedelta(hours=1)).isoformat(), "displacement_mm": 0.0}
        publish(mosquitto.url, [(f"slopeward/v1/s/X{index}/obs", future_body) for index in range(20)])
        publish_motion(mosquitto.url, 0.0, 1.0, now + timedelta(hours=1))
        wait_for(lambda: receiver.find("those of far fit our clock"), 60, "a human to hear of it")
        notified_at, _ = receiver.find("those of far fit our clock")[0]
        report("one gateway with a wrong clock", database_url, notified_at - started_at)
        assert notified_at - started_at < 60.0
        assert core.clock.correction_s == 0.0  # type: ignore[attr-defined]
        steps = range(37)
        moving_bodies = [
            {"time": (now + timedelta(minutes=5 * (index - 36))).isoformat(), "displacement_mm": 5.0 * index}
            for index in steps
        ]
        publish(
            mosquitto.url, [(f"slopeward/v1/far/{name}/obs", body) for body in moving_bodies for name in ("F1", "F2")]
        )
        wait_for(receiver.find_red, 60, "red of the site whose clocks are sound")


@pytest.mark.parametrize(
    ("database_url", "hours"),
    [pytest.param("postgresql", 24, marks=pytest.mark.soak), ("sqlite", -24)],
    indirect=["database_url"],
)
def test_clock_jump_of_a_few_seconds_does_not_stop_the_escalation(
    database_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    wall = WallClock()
    with run_core(tmp_path, database_url, mosquitto.url, wall, receiver, 'escalate_after = "8s"'):
        wall.offset = timedelta(hours=hours)
        jumped_at = time.monotonic()
        time.sleep(2)  # the clock is wrong before the slope moves
        publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(receiver.find_red, 30, "red")
        backend = make_url(database_url).get_backend_name()
        print(f"{backend}: {hours:+d} h: first human message {time.monotonic() - jumped_at:.0f} s after the jump")
        set_back_from = time.monotonic()
        time.sleep(4)
        wall.offset = timedelta(0)
        wait_for(lambda: [m for m in receiver.find_red() if "open for" in m["subject"]], 25, "the escalation")
        print(f"{backend}: {hours:+d} h for some seconds: told again after {time.monotonic() - set_back_from:.0f} s")


@pytest.mark.soak
@pytest.mark.parametrize("way", with_soak("paused", "suspended"))
def test_halted_machine_continues_without_alarms_about_the_halt(
    sqlite_url, mosquitto, tmp_path, receiver, monkeypatch, way
):
    """The slope reaches red in a halt of two hours. Only the wall clock shows the halt of a paused virtual machine."""
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    wall = WallClock()
    wall.offset = -timedelta(hours=2)
    with run_core(tmp_path, sqlite_url, mosquitto.url, wall, receiver):
        publish_motion(mosquitto.url, 0.01, 3.0, datetime.now(UTC) - timedelta(hours=2))
        wait_for(lambda: load_site_status(sqlite_url).get("newest_at"), 20, "an evaluation")
        time.sleep(3)
        message_count = len(receiver.messages)
        if way == "suspended":
            wall.suspend(7200.0)
        else:
            wall.offset += timedelta(hours=2)
        resumed_at = time.monotonic()
        time.sleep(4)  # loggers need a moment to connect again
        # An alarm of the first seconds may end at any time.
        message_texts = [
            f"{m['subject']} {m['body']}"
            for _, m in receiver.messages[message_count:]
            if "resolved" not in m["subject"]
        ]
        assert not [
            message_text
            for message_text in message_texts
            if "the newest reading" in message_text
            or "cannot be raised" in message_text
            or "no valid readings" in message_text
        ], message_texts
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(receiver.find_red, 40, "red")
        print(f"{way}: red {time.monotonic() - resumed_at:.0f} s after it came back")
        clock_messages = [m["body"] for _, m in receiver.find("the clock of this machine")]
        assert not receiver.find("loggers"), "their clocks are right"
        if way == "suspended":
            assert clock_messages == []
            return
        wait_for(lambda: receiver.find("the clock of this machine"), 20, "the step")
        (_, message), *_ = receiver.find("the clock of this machine")
        assert "went forward by 7,200 s" in message["body"]
        assert (
            "the machine stood still (a paused virtual machine) and the slope was not watched from" in message["body"]
        )
        assert "or somebody set its clock" in message["body"]
        database = Database(sqlite_url)
        with database.read() as connection:
            future_count = "SELECT count(*) FROM latest_observation WHERE flags LIKE '%future%'"
            assert connection.execute(text(future_count)).scalar() == 0
        database.close()


def test_times_stored_by_a_clock_ahead_are_moved_back(
    database_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was an hour ahead for long. Times of receipt and due times are moved back when it is corrected."""
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    wall = WallClock()
    wall.offset = timedelta(hours=1)
    with run_core(tmp_path, database_url, mosquitto.url, wall, receiver, 'escalate_after = "1h"'):
        publish_motion(mosquitto.url, 60.0, 3.0, datetime.now(UTC) + timedelta(hours=1))
        wait_for(receiver.find_red, 30, "red")
    database = Database(database_url)
    try:
        now = datetime.now(UTC)
        with database.write() as connection:
            moved_tables = set_back(connection, 3600.0, now)
        assert {"observation", "notification", "series_latest", "site_state"} <= set(moved_tables)
        with database.read() as connection:
            assert all(time <= now for time in connection.execute(select(notification.c.queued_at)).scalars())
            assert all(time <= now for time in connection.execute(select(observation.c.received_at)).scalars())
        with database.write() as connection:
            assert set_back(connection, 3600.0, now) == {}, "twice moves nothing"
    finally:
        database.close()


# ---- the machine halts for two hours while the service runs ---------------------------------------------------------
SUSPENDED, PAUSED = "suspended", "paused"
WAYS = {
    SUSPENDED: "The machine was suspended",
    PAUSED: "Either the machine stood still (a paused virtual machine) and the slope was not watched",
}


@pytest.mark.soak
@pytest.mark.parametrize(("way", "words"), WAYS.items())
def test_recipients_are_notified_of_a_halt_of_the_machine(
    sqlite_url, mosquitto, tmp_path, receiver, monkeypatch, way, words
):
    """The clock of the supervisor is two hours behind before the halt, so that it shows the present afterwards."""
    monkeypatch.setenv("HOOK", f"{receiver.url}/duty")
    monkeypatch.chdir(tmp_path)
    site_text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    with Service(tmp_path, sqlite_url, mosquitto.url, {"s": site_text}) as service:
        wall = WallClock()
        wall.offset = -timedelta(hours=2)
        supervisor = Supervisor(
            load_service(str(service.config)),
            str(service.config),
            with_web=False,
            clock=ServiceClock(wall, wall.uptime),
        )
        supervisor_thread = threading.Thread(target=supervisor.run)
        supervisor_thread.start()
        try:
            wait_for(lambda: load_evaluated_at(service), 60, "the first evaluation")
            publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
            wait_for(receiver.find_red, 40, "red")
            if way == SUSPENDED:
                wall.suspend(7200.0)
            else:
                wall.offset += timedelta(hours=2)
            resumed_at = time.monotonic()
            wait_for(lambda: receiver.find("no site was evaluated from"), 120, "the gap to be told")
            notified_at, message = receiver.find("no site was evaluated from")[0]
            print(f"{way}: told {notified_at - resumed_at:.0f} s after it came back: {message['body']}")
            assert words in message["body"]
            assert "s now red" in message["body"]
            time.sleep(15)
            assert len(receiver.find("no site was evaluated from")) == 1, "once"
        finally:
            supervisor.stopping.set()
            supervisor_thread.join(30)


def read_heartbeat(url: str) -> object:
    with Database(url) as database, database.read() as connection:
        return find_heartbeat(connection, "supervisor")


@pytest.mark.soak
def test_recipients_are_notified_that_the_service_was_stopped(sqlite_url, mosquitto, tmp_path, receiver, monkeypatch):
    monkeypatch.setenv("HOOK", f"{receiver.url}/duty")
    site_text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    with Service(tmp_path, sqlite_url, mosquitto.url, {"s": site_text}, page=False) as service:
        service.start()
        wait_for(
            lambda: load_evaluated_at(service) and read_heartbeat(sqlite_url),
            60,
            "the first evaluation and the first stamp",
        )
        service.stop()
        with Database(sqlite_url) as database, database.write() as connection:
            heartbeat = find_heartbeat(connection, "supervisor")
            assert heartbeat is not None
            write_heartbeat(connection, "supervisor", heartbeat[1], heartbeat[0] - timedelta(hours=5))
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        started_at = time.monotonic()
        service.start()
        wait_for(lambda: receiver.find("no site was evaluated from"), 120, "the gap to be told")
        notified_at, message = receiver.find("no site was evaluated from")[0]
        print(f"told {notified_at - started_at:.0f} s after the start: {message['body']}")
        assert "The service was not running" in message["body"]
        time.sleep(15)
        assert len(receiver.find("no site was evaluated from")) == 1, "once"
