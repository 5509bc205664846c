"""The clock of the machine is wrong while the slope fails: people hear of it, red is reached, nothing waits on."""

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
from tests.end_to_end.trouble.test_cannot_decide import Receiver, Report, evaluated_at, move, receiver, report
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.waiting import free_port, wait_for

__all__ = ["receiver", "report"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]


class Wall:
    """The wall clock of a machine that can be set, and suspended."""

    def __init__(self) -> None:
        self.off, self._rested_s = timedelta(0), 0.0

    def uptime(self) -> Uptime:
        """Of this machine, with the time that it seems to have been suspended."""
        awake_s = time.monotonic()
        return Uptime(awake_s, awake_s + self._rested_s)

    def suspend(self, seconds: float) -> None:
        """Let it come back after so long."""
        self.off += timedelta(seconds=seconds)
        self._rested_s += seconds

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


@contextmanager
def core_running(
    folder: Path, database_url: str, broker: str, wall: Wall, receiver: Receiver, escalate: str = ""
) -> Iterator[Core]:
    """The core in this process, on a clock that can be set; its people are a webhook."""
    text_ = site_file({"G1": "A", "G2": "B", "G3": "C"}, "1h")
    text_ = text_.replace('channels = ["log"]', f'channels = ["webhook:HOOK"]\n{escalate}')
    (folder / "sites").mkdir(exist_ok=True)
    (folder / "sites/s.toml").write_text(text_)
    (folder / "slopeward.toml").write_text(
        f'[database]\nurl = "{database_url}"\n[broker]\nmode = "external"\nurl = "{broker}"\n'
        f'[paths]\nsites = "{folder}/sites"\ninbox = "{folder}/inbox"\nmodels = "{folder}/models"\n'
        f'[web]\nport = {free_port()}\n[schedule]\nevaluate_tick = "1s"\n'
    )
    os.environ["HOOK"] = f"{receiver.url}/duty"
    core = Core(load_service(str(folder / "slopeward.toml")), ServiceClock(wall, wall.uptime))
    core.start()
    watching = threading.Thread(target=core.watch, daemon=True)
    watching.start()
    try:
        wait_for(lambda: all(core.ingest.status()["connected"].values()), 20, "the broker")
        yield core
    finally:
        core.stopping.set()
        watching.join(10)
        core.stop()
        compute.allow_jobs()  # this process runs the remaining tests
        del os.environ["HOOK"]


def level(database_url: str) -> int:
    return int(state(database_url).get("level") or 0)


def state(database_url: str) -> dict[str, Any]:
    """The row of the site."""
    db = Database(database_url)
    try:
        with db.read() as c:
            return dict(c.execute(text("SELECT * FROM site_status WHERE site = 's'")).mappings().first() or {})
    finally:
        db.close()


@ON_SQLITE
def test_an_hour_behind_while_the_slope_runs_to_red(database_url, mosquitto, tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    wall = Wall()
    wall.off = -timedelta(hours=1)
    with core_running(tmp_path, database_url, mosquitto.url, wall, receiver):
        began = time.monotonic()
        move(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(lambda: receiver.find("our clock is behind"), 60, "a human to hear of it")
        at, first = receiver.find("our clock is behind")[0]
        name = make_url(database_url).get_backend_name()
        print(f"{name}: clock an hour behind: first message after {at - began:.0f} s")
        assert "cannot see: decide" in f"{first['subject']} {first['body']}"
        assert "about 60 min ahead" in f"{first['subject']} {first['body']}"
        move(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(receiver.find_red, 60, "red")
        assert level(database_url) == 3
        # silence begins as it should: nothing that came lies in the future any more
        wall.off = timedelta(0)  # somebody sets the clock
        time.sleep(3)
        assert level(database_url) == 3


def test_stations_that_all_lie_are_told_where_our_clock_follows_its_reference(
    sqlite_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    with core_running(tmp_path, sqlite_url, mosquitto.url, Wall(), receiver) as core:
        move(mosquitto.url, 60.0, 1.0, datetime.now(UTC) + timedelta(hours=2))
        wait_for(lambda: receiver.find("check clocks and time zones of the loggers"), 60, "a human to hear of it")
        assert (core.clock.correction_s, level(sqlite_url)) == (0.0, 0)


def test_one_gateway_an_hour_ahead_blinds_no_other_site(
    database_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    far = site_file({"F1": "A", "F2": "B"}, "1h", site="far").replace('"G*"', '"F*"')
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/far.toml").write_text(far.replace('channels = ["log"]', 'channels = ["webhook:HOOK"]'))
    with core_running(tmp_path, database_url, mosquitto.url, Wall(), receiver) as core:
        now = datetime.now(UTC)
        still = {"time": now.isoformat(), "displacement_mm": 0.0}
        publish(mosquitto.url, [(f"slopeward/v1/far/{name}/obs", still) for name in ("F1", "F2")])
        began = time.monotonic()
        ahead = {"time": (now + timedelta(hours=1)).isoformat(), "displacement_mm": 0.0}
        publish(mosquitto.url, [(f"slopeward/v1/s/X{k}/obs", ahead) for k in range(20)])
        move(mosquitto.url, 0.0, 1.0, now + timedelta(hours=1))
        wait_for(lambda: receiver.find("those of far fit our clock"), 60, "a human to hear of it")
        at, _ = receiver.find("those of far fit our clock")[0]
        report("one gateway with a wrong clock", database_url, at - began)
        assert at - began < 60.0
        assert core.clock.correction_s == 0.0  # type: ignore[attr-defined]
        steps = range(37)
        slides = [
            {"time": (now + timedelta(minutes=5 * (k - 36))).isoformat(), "displacement_mm": 5.0 * k} for k in steps
        ]
        publish(mosquitto.url, [(f"slopeward/v1/far/{name}/obs", one) for one in slides for name in ("F1", "F2")])
        wait_for(receiver.find_red, 60, "red of the site whose clocks are sound")


@pytest.mark.parametrize(("database_url", "hours"), [("postgresql", 24), ("sqlite", -24)], indirect=["database_url"])
def test_a_clock_that_jumps_for_a_while_stops_no_escalation(
    database_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: False)
    wall = Wall()
    with core_running(tmp_path, database_url, mosquitto.url, wall, receiver, 'escalate_after = "8s"'):
        wall.off = timedelta(hours=hours)
        jumped = time.monotonic()
        time.sleep(2)  # the clock is wrong before the slope moves
        move(mosquitto.url, 60.0, 3.0, datetime.now(UTC))
        wait_for(receiver.find_red, 30, "red")
        name = make_url(database_url).get_backend_name()
        print(f"{name}: {hours:+d} h: first human message {time.monotonic() - jumped:.0f} s after the jump")
        began = time.monotonic()
        time.sleep(4)
        wall.off = timedelta(0)
        wait_for(lambda: [m for m in receiver.find_red() if "open for" in m["subject"]], 25, "the escalation")
        print(f"{name}: {hours:+d} h for some seconds: told again after {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("way", ["suspended", "paused"])
def test_a_machine_that_stood_still_goes_on_in_the_present(sqlite_url, mosquitto, tmp_path, receiver, monkeypatch, way):
    """Two hours, in which the slope runs to red. A paused virtual machine knows of them by its wall clock alone."""
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    wall = Wall()
    wall.off = -timedelta(hours=2)
    with core_running(tmp_path, sqlite_url, mosquitto.url, wall, receiver):
        move(mosquitto.url, 0.01, 3.0, datetime.now(UTC) - timedelta(hours=2))
        wait_for(lambda: state(sqlite_url).get("newest_at"), 20, "an evaluation")
        time.sleep(3)
        said = len(receiver.messages)
        if way == "suspended":
            wall.suspend(7200.0)
        else:
            wall.off += timedelta(hours=2)
        back = time.monotonic()
        time.sleep(4)  # loggers need a moment to reach us again
        # that an alarm of the first seconds is over may be said at any time
        paged = [f"{m['subject']} {m['body']}" for _, m in receiver.messages[said:] if "resolved" not in m["subject"]]
        assert not [
            one
            for one in paged
            if "the newest reading" in one or "cannot be raised" in one or "no valid readings" in one
        ], paged
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(receiver.find_red, 40, "red")
        print(f"{way}: red {time.monotonic() - back:.0f} s after it came back")
        said_of_clock = [m["body"] for _, m in receiver.find("the clock of this machine")]
        assert not receiver.find("loggers"), "their clocks are right"
        if way == "suspended":
            assert said_of_clock == []
            return
        wait_for(lambda: receiver.find("the clock of this machine"), 20, "the step")
        (_, told), *_ = receiver.find("the clock of this machine")
        assert "went forward by 7,200 s" in told["body"]
        assert "the machine stood still (a paused virtual machine) and nobody watched from" in told["body"]
        assert "or somebody set its clock" in told["body"]
        db = Database(sqlite_url)
        with db.read() as c:
            kept_out = "SELECT count(*) FROM latest_observation WHERE flags LIKE '%future%'"
            assert c.execute(text(kept_out)).scalar() == 0
        db.close()


def test_what_a_wrong_clock_wrote_into_the_future_is_moved_back(
    database_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was an hour ahead for long; set right, waiting times and readings are where they belong."""
    monkeypatch.setattr(clock_watch, "is_synchronised", lambda: True)
    wall = Wall()
    wall.off = timedelta(hours=1)
    with core_running(tmp_path, database_url, mosquitto.url, wall, receiver, 'escalate_after = "1h"'):
        move(mosquitto.url, 60.0, 3.0, datetime.now(UTC) + timedelta(hours=1))
        wait_for(receiver.find_red, 30, "red")
    db = Database(database_url)
    try:
        now = datetime.now(UTC)
        with db.write() as c:
            moved = set_back(c, 3600.0, now)
        assert {"observation", "notification", "series_latest", "site_state"} <= set(moved)
        with db.read() as c:
            assert all(at <= now for at in c.execute(select(notification.c.queued_at)).scalars())
            assert all(at <= now for at in c.execute(select(observation.c.received_at)).scalars())
        with db.write() as c:
            assert set_back(c, 3600.0, now) == {}, "twice moves nothing"
    finally:
        db.close()


# ---- the machine stands still for two hours under a running service -------------------------------------------------
SUSPENDED, PAUSED = "suspended", "paused"
WAYS = {
    SUSPENDED: "The machine was suspended",
    PAUSED: "Either the machine stood still (a paused virtual machine) and nobody watched",
}


@pytest.mark.parametrize(
    ("way", "words"), [(SUSPENDED, WAYS[SUSPENDED]), pytest.param(PAUSED, WAYS[PAUSED], marks=pytest.mark.soak)]
)
def test_people_hear_that_nobody_watched(sqlite_url, mosquitto, tmp_path, receiver, monkeypatch, way, words):
    """The supervisor's clocks are ours to set: until now they were two hours behind, so that it comes back to today."""
    monkeypatch.setenv("HOOK", f"{receiver.url}/duty")
    monkeypatch.chdir(tmp_path)
    text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    with Service(tmp_path, sqlite_url, mosquitto.url, {"s": text}) as service:
        wall = Wall()
        wall.off = -timedelta(hours=2)
        supervisor = Supervisor(
            load_service(str(service.config)),
            str(service.config),
            with_web=False,
            clock=ServiceClock(wall, wall.uptime),
        )
        running = threading.Thread(target=supervisor.run)
        running.start()
        try:
            wait_for(lambda: evaluated_at(service), 60, "the first evaluation")
            move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
            wait_for(receiver.find_red, 40, "red")
            if way == SUSPENDED:
                wall.suspend(7200.0)
            else:
                wall.off += timedelta(hours=2)
            back = time.monotonic()
            wait_for(lambda: receiver.find("nobody watched from"), 120, "the gap to be told")
            at, told = receiver.find("nobody watched from")[0]
            print(f"{way}: told {at - back:.0f} s after it came back: {told['body']}")
            assert words in told["body"]
            assert "s now red" in told["body"]
            time.sleep(15)
            assert len(receiver.find("nobody watched from")) == 1, "once"
        finally:
            supervisor.stopping.set()
            running.join(30)


def read_stamp(url: str) -> object:
    with Database(url) as db, db.read() as c:
        return find_heartbeat(c, "supervisor")


@pytest.mark.soak
def test_people_hear_that_the_service_did_not_run(sqlite_url, mosquitto, tmp_path, receiver, monkeypatch):
    monkeypatch.setenv("HOOK", f"{receiver.url}/duty")
    text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    with Service(tmp_path, sqlite_url, mosquitto.url, {"s": text}, page=False) as service:
        service.start()
        wait_for(
            lambda: evaluated_at(service) and read_stamp(sqlite_url), 60, "the first evaluation and the first stamp"
        )
        service.stop()
        with Database(sqlite_url) as db, db.write() as c:
            before = find_heartbeat(c, "supervisor")
            assert before is not None
            write_heartbeat(c, "supervisor", before[1], before[0] - timedelta(hours=5))
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        begun = time.monotonic()
        service.start()
        wait_for(lambda: receiver.find("nobody watched from"), 120, "the gap to be told")
        at, told = receiver.find("nobody watched from")[0]
        print(f"told {at - begun:.0f} s after the start: {told['body']}")
        assert "The service was not running" in told["body"]
        time.sleep(15)
        assert len(receiver.find("nobody watched from")) == 1, "once"
