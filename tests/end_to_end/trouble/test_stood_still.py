"""The machine stands still for two hours under a running service: people hear that, and the level now."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.config.service import load_service
from monitor.service.clock import ServiceClock
from monitor.service.supervisor import Supervisor
from monitor.store.database.engine import Database
from monitor.store.service_state import find_stamp, stamp
from tests.conftest import MosquittoServer, take_turns, wait_for
from tests.data.running import Service
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import Receiver, evaluated_at, move, receiver
from tests.end_to_end.trouble.test_wrong_clock import Wall

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
SUSPENDED, PAUSED = "suspended", "paused"
WAYS = {
    SUSPENDED: "The machine was suspended",
    PAUSED: "Either the machine stood still (a paused virtual machine) and nobody watched",
}


@pytest.mark.parametrize(("way", "words"), [(way, WAYS[way]) for way in take_turns(WAYS, 0, of=2)])
def test_people_hear_that_nobody_watched(
    sqlite_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    words: str,
) -> None:
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
        return find_stamp(c, "supervisor")


def test_people_hear_that_the_service_did_not_run(
    sqlite_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"{receiver.url}/duty")
    text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    with Service(tmp_path, sqlite_url, mosquitto.url, {"s": text}, page=False) as service:
        service.start()
        wait_for(
            lambda: evaluated_at(service) and read_stamp(sqlite_url), 60, "the first evaluation and the first stamp"
        )
        service.stop()
        with Database(sqlite_url) as db, db.write() as c:
            before = find_stamp(c, "supervisor")
            assert before is not None
            stamp(c, "supervisor", before[1], before[0] - timedelta(hours=5))
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        begun = time.monotonic()
        service.start()
        wait_for(lambda: receiver.find("nobody watched from"), 120, "the gap to be told")
        at, told = receiver.find("nobody watched from")[0]
        print(f"told {at - begun:.0f} s after the start: {told['body']}")
        assert "The service was not running" in told["body"]
        time.sleep(15)
        assert len(receiver.find("nobody watched from")) == 1, "once"
