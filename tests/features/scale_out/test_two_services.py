"""Test two services on one PostgreSQL: one decides, and the other takes over within 15 s whatever ends the first."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from monitor.storage.engine import Database
from monitor.storage.service_state import load_heartbeats
from tests.data.far.cable import Cable
from tests.data.running import Service, publish
from tests.end_to_end.test_never_lower import site_file
from tests.end_to_end.trouble.test_cannot_decide import Receiver, health, receiver
from tests.fixtures.waiting import wait_for

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
TAKEOVER_S = 15.0


class Stream:
    """An instrument that reports without end; each reading is one more millimetre, two hours ago and later."""

    def __init__(self, broker: str) -> None:
        self._broker, self._stop = broker, threading.Event()
        self._begin = datetime.now(UTC) - timedelta(hours=3)
        self.sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            at = self._begin + self.sent * timedelta(seconds=20)
            body = {"time": at.isoformat(), "displacement_mm": 0.01 * self.sent}
            publish(self._broker, [(f"slopeward/v1/s/{name}/obs", body) for name in ("G1", "G2")])
            self.sent += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def two_services(
    folder: Path, url: str, broker: str, receiver: Receiver, first_url: str
) -> Iterator[tuple[Service, Service]]:
    """Services `a` and `b`, not started; `first_url` is the own way of `a` to the database."""
    text = site_file({"G1": "A", "G2": "B"}, "1h").replace('channels = ["log"]', 'channels = ["webhook:HOOK"]')
    os.environ["HOOK"] = f"{receiver.url}/duty"
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    try:
        with (
            Service(folder / "a", first_url, broker, {"s": text}) as a,
            Service(folder / "b", url, broker, {"s": text}) as b,
        ):
            for name, one in (("a", a), ("b", b)):
                one.config.write_text(f'{one.config.read_text()}[standby]\nenabled = true\nname = "{name}"\n')
            yield a, b
    finally:
        del os.environ["HOOK"]


class Turn:
    """Who decides, by the stamps in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def stamps(self) -> dict[str, Any]:
        with self._db.read() as c:
            return load_heartbeats(c)

    def is_active(self, name: str) -> bool:
        found = self.stamps().get("core")
        return found is not None and found[1]["name"] == name and datetime.now(UTC) - found[0] < timedelta(seconds=5)

    def check_takeover(self, one: Service, end_other: Callable[[], object], what: str) -> None:
        """What ends the other gives `one` the turn in time, less what a thread of it stood in line for a processor."""
        before, since_s, name = one.list_queued_s(), time.monotonic(), one.folder.name
        end_other()
        wait_for(lambda: self.is_active(name), 180.0, description=f"{name} to decide: {what}", pause_s=0.1)
        took_s = time.monotonic() - since_s
        queued_s = max((s - before.get(thread, 0.0) for thread, s in one.list_queued_s().items()), default=0.0)
        print(f"{what}: taken over after {took_s:.1f} s, of them {queued_s:.1f} s in line for a processor")
        assert took_s - queued_s < TAKEOVER_S


@pytest.mark.soak
def test_one_decides_and_the_other_takes_over(postgresql, postgresql_url, mosquitto, tmp_path, receiver):
    db, cable = Database(postgresql_url), Cable(postgresql.port)
    turn, far = Turn(db), postgresql_url.replace(f":{postgresql.port}/", f":{cable.port}/")
    with two_services(tmp_path, postgresql_url, mosquitto.url, receiver, far) as (a, b):
        a.start()
        b.start()
        wait_for(lambda: "standby:b" in turn.stamps(), description="the stamp of the one that stands by")
        wait_for(
            lambda: print(told := health(b)[1]) or told["reasons"] == [],  # what it says is shown where it never ends
            timeout_s=180.0,
            pause_s=1.0,
            description="the one that decides to have read what waited with the broker",
        )
        told = health(b)[1]
        assert (told["active"]["name"], list(told["standby"]), told["status"]) == ("a", ["b"], "ok")
        with urlopen(f"http://127.0.0.1:{b.port}/", timeout=20) as answer:
            assert "a decides since" in answer.read().decode()
        stream = Stream(mosquitto.url)
        try:
            turn.check_takeover(b, a.kill, "kill -9")
            a.start()  # stands by from now on
            turn.check_takeover(a, lambda: os.killpg(b.group, signal.SIGSTOP), "SIGSTOP")
            jump(mosquitto.url)
            wait_for(receiver.find_red, description="red to be told by the one that took over")
            os.killpg(b.group, signal.SIGCONT)
            wait_for(
                lambda: "another core has taken this database over" in b.log(), description="the other one to see it"
            )
            wait_for(
                lambda: "standby:b" in turn.stamps() and turn.is_active("a"), description="the other one to stand by"
            )
            turn.check_takeover(b, cable.cut, "network cut")
            cable.mend()
            wait_for(
                lambda: "standby:a" in turn.stamps() and turn.is_active("b"), description="the other one to stand by"
            )
            postgresql.stop("fast")
            postgresql.start()
            wait_for(
                lambda: turn.is_active("a") or turn.is_active("b"),
                description="one of the two to decide after a restart",
            )
        finally:
            stream.stop()
        look_at_all(db, stream, receiver)
        assert not receiver.find("cannot decide")
    cable.close()
    db.close()


def look_at_all(db: Database, stream: Stream, receiver: Receiver) -> None:
    """Nothing is missing, and nothing was sent twice."""
    count = "SELECT count(DISTINCT observed_at) FROM observation WHERE value_raw < 1000 AND value_raw >= 0"
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        wait_for(lambda: c.exec_driver_sql(count).scalar() == stream.sent, description="every reading to be stored")
    keys = [body["idempotency_key"] for _, body in receiver.messages if body["site"] == "s"]
    assert len(keys) == len(set(keys)), "nothing is sent by both"


def jump(broker: str) -> None:
    """Both rovers move 100 mm an hour."""
    begin = datetime.now(UTC) - timedelta(minutes=90)
    for k in range(19):
        body = {"time": (begin + k * timedelta(minutes=5)).isoformat(), "displacement_mm": 2000.0 + 8.0 * k}
        publish(broker, [(f"slopeward/v1/s/{name}/obs", body) for name in ("G1", "G2")])
