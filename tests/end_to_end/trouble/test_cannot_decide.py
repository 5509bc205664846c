"""The database is gone, or core hangs, while the slope fails: people hear it within a minute, and that it is over."""

import json
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import paho.mqtt.client as mqtt
import psycopg
import pytest
from sqlalchemy.engine import make_url

from monitor.storage.service_state import load_heartbeats
from tests.bench.record import SERVICE_RESULTS
from tests.data.running import Service, publish
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer
from tests.fixtures.waiting import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
FIRST_MESSAGE_S = 60.0


class Receiver:
    """A webhook, which answers after so long, and an outside watcher: what came, and when."""

    def __init__(self) -> None:
        self.answer_after_s = 0.0
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.pings: list[float] = []
        self.heads: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/ping":
                    outer.heads.append(body.decode())
                    outer.pings.append(time.monotonic())
                    self.send_response(204)
                    self.end_headers()
                    return
                outer.messages.append((time.monotonic(), json.loads(body)))
                time.sleep(outer.answer_after_s)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def find(self, words: str) -> list[tuple[float, dict[str, Any]]]:
        """Messages whose subject or text holds the words."""
        return [one for one in self.messages if words in f"{one[1]['subject']} {one[1]['body']}"]

    def find_red(self) -> list[dict[str, Any]]:
        """Messages that the site has reached its top level."""
        return [body for _, body in self.messages if body["ledger"] == "hazard" and body["level_name"] == "red"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


Report = Callable[[str, str, float], None]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Report:
    """Print the time until the first message. Soak tests record it in docs/benchmarks/first-message.json."""

    def write(story: str, database_url: str, took_s: float) -> None:
        kind = make_url(database_url).get_backend_name()
        with capsys.disabled():
            print(f"\nstory {story}, {kind}: {took_s:.0f} s to the first message")
        if request.node.get_closest_marker("soak") is not None:
            figures = SERVICE_RESULTS.load_figures("first-message") or {}
            figures[story] = figures.get(story, {}) | {kind: round(took_s, 1)}
            SERVICE_RESULTS.store("first-message", "make soak", figures)

    return write


@contextmanager
def gone(database_url: str) -> Iterator[None]:
    """A database that takes no write: held by somebody else for as long as it lasts."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        holder = sqlite3.connect(str(url.database), isolation_level=None)
        holder.execute("PRAGMA busy_timeout = 20000")
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        return
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as holder:
        wait_for(lambda: lock(holder), description="the tables")
        yield
        holder.rollback()


def lock(holder: psycopg.Connection[Any]) -> bool:
    """Take the tables; false where the service was faster and took them in another order."""
    try:
        holder.execute("LOCK TABLE service_state, evaluation, observation, alert, site_state IN SHARE MODE")
    except psycopg.errors.DeadlockDetected:
        holder.rollback()
        return False
    return True


@contextmanager
def running(
    folder: Path,
    database_url: str,
    broker: str,
    receiver: Receiver,
    max_silence: str = "1h",
    *,
    page: bool = False,
    sites: Sequence[str] = ("s",),
    change: Callable[[str], str] = str,
) -> Iterator[Service]:
    """The service with two people who hear red, and an outside watcher that is called every few seconds."""
    texts = {
        site: change(site_file({"G1": "A", "G2": "B"}, max_silence, site).replace('["log"]', '["webhook:HOOK"]'))
        for site in sites
    }
    os.environ["HOOK"] = f"{receiver.url}/duty"
    try:
        with Service(folder, database_url, broker, texts, page=page) as service:
            service.config.write_text(service.config.read_text() + f'[watchdog]\nping_url = "{receiver.url}/ping"\n')
            service.start()
            yield service
    finally:
        del os.environ["HOOK"]


def health(service: Service) -> tuple[int, dict[str, Any]]:
    """Status and content of /health."""
    try:
        with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def page(service: Service) -> str:
    with urlopen(f"http://127.0.0.1:{service.port}/sites/s", timeout=20) as answer:
        return str(answer.read().decode())


def listen(broker: str, topic: str) -> tuple[list[Any], Callable[[], None]]:
    """What a retained topic holds, oldest first, None where it is empty; and how to stop listening."""
    heard: list[Any] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, message: heard.append(json.loads(message.payload or "null"))
    host, port = broker.removeprefix("mqtt://").split(":")
    client.connect(host, int(port))
    client.subscribe(topic, qos=1)
    client.loop_start()

    def stop() -> None:
        client.disconnect()
        client.loop_stop()

    return heard, stop


def move(broker: str, rate_mm_per_h: float, hours: float, end: datetime, site: str = "s") -> None:
    """Readings of both rovers up to an instant, every five minutes."""
    steps = int(hours * 12)
    messages = []
    for k in range(steps + 1):
        at = end - timedelta(minutes=5 * (steps - k))
        value = rate_mm_per_h * k / 12
        body = {"time": at.isoformat(), "displacement_mm": value}
        messages += [(f"slopeward/v1/{site}/{name}/obs", body) for name in ("G1", "G2")]
    publish(broker, messages)


def evaluated_at(service: Service) -> str | None:
    return next((at for (at,) in service.query("SELECT evaluated_at FROM site_status WHERE site = 's'")), None)


@ON_SQLITE
def test_people_hear_that_the_database_is_gone_while_the_slope_fails(
    database_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, report: Report
) -> None:
    with running(tmp_path, database_url, mosquitto.url, receiver, page=True) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: evaluated_at(service), 30, "the first evaluation")
        heard, stop = listen(mosquitto.url, "slopeward/v1/status")
        wait_for(lambda: heard and heard[-1]["status"] == "online", 20, "status online")
        assert "what we see" in page(service).lower()
        with gone(database_url):
            began = time.monotonic()
            move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # red is due from here on
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            at, first = receiver.find("cannot decide")[0]
            report("a database that takes no writes", database_url, at - began)
            assert at - began <= FIRST_MESSAGE_S
            assert "database takes no writes since" in first["body"]
            assert "s: level green was stored last at" in first["body"]
            status, content = health(service)
            assert (status, "cannot decide: database takes no writes since" in content["reasons"][0]) == (503, True)
            wait_for(lambda: heard[-1]["status"] == "offline", 20, "status to be no longer online")
            assert "cannot decide: database" in heard[-1]["reason"]
            seen = page(service)
            assert "Nothing is decided at this moment: database takes no writes" in seen
            assert "all series that can raise a level give valid data" not in seen
            said = len(receiver.find("cannot decide"))
            quiet_from = time.monotonic()
            time.sleep(8)
            assert len(receiver.find("cannot decide")) == said, "it is said once"
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        wait_for(receiver.find_red, 60, "the level to be told")
        over_at = receiver.find("over: decides again")[0][0]
        assert not [at for at in receiver.pings if quiet_from - 20 < at < over_at - 10], "the watcher heard nothing"
        wait_for(lambda: heard[-1]["status"] == "online", 30, "status online again")
        # the head of the audit log has left the machine: what is kept elsewhere must still lie in the chain
        head = heard[-1]["audit"]["head"]
        assert service.call("db", "verify", "--audit-head", head).returncode == 0
        cut = service.call("db", "verify", "--audit-head", head[::-1])
        assert (cut.returncode, "is no longer in the chain" in cut.stdout) == (1, True)
        assert all(said.startswith("audit entry ") for said in receiver.heads if said), receiver.heads
        stop()
        row = "SELECT 1 FROM alert_history WHERE reason LIKE '%notified without the outbox by 1 of 1 channels%'"
        wait_for(lambda: service.query(row), 40, "its row")


@pytest.mark.soak
def test_a_server_that_turned_read_only_is_told_as_one_that_takes_no_writes(
    postgresql: PostgresServer,
    postgresql_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    report: Report,
) -> None:
    with running(tmp_path, postgresql_url, mosquitto.url, receiver) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: evaluated_at(service), 30, "the first evaluation")
        postgresql.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        try:
            began = time.monotonic()
            move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # red is due from here on
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            at, first = receiver.find("cannot decide")[0]
            report("a server that turned read-only", postgresql_url, at - began)
            assert at - began <= FIRST_MESSAGE_S
            assert "read-only" in first["body"]
            assert not receiver.find_red()
            time.sleep(5)
            assert not [ping for ping in receiver.pings if ping > at], "the watcher heard nothing"
        finally:
            postgresql.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        wait_for(receiver.find_red, 60, "the level to be told")


@pytest.mark.soak
def test_a_supervisor_killed_in_an_outage_repeats_nothing_and_says_when_it_is_over(
    sqlite_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver
) -> None:
    with running(tmp_path, sqlite_url, mosquitto.url, receiver) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(minutes=5))
        wait_for(lambda: evaluated_at(service), 30, "the first evaluation")
        with gone(sqlite_url):
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            ((_, first),) = receiver.find("cannot decide")
            since = re.search(r"database takes no writes since [0-9: -]{16} UTC", first["body"])
            assert since
            time.sleep(2)
            service.kill_supervisor()
            service.launch()
            time.sleep(50)  # a fresh service finds the outage by itself after 35 s
            assert len(receiver.find("cannot decide: ")) == 1, receiver.find("cannot decide: ")
            assert not receiver.find("over: "), "it is not over"
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        time.sleep(5)
        ((_, over),) = receiver.find("over: decides again")
        assert since[0] in over["body"], "the end names the true beginning"
        assert len(receiver.find("cannot decide: ")) == 1
        service.stop()
        service.start()  # what is over stays so
        time.sleep(12)
        assert len(receiver.find("over: decides again")) == 1


@pytest.mark.soak
def test_a_core_that_hangs_is_replaced_and_the_gap_is_told(sqlite_url, mosquitto, tmp_path, receiver):
    with running(tmp_path, sqlite_url, mosquitto.url, receiver) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: evaluated_at(service), 30, "the first evaluation")
        wait_for(lambda: core_pid(service), 20, "the stamp of core")
        first = core_pid(service)
        assert first
        os.kill(first, signal.SIGSTOP)
        began = time.monotonic()
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(lambda: core_pid(service) != first, 80, "a fresh core")
        replaced_s = time.monotonic() - began
        wait_for(receiver.find_red, 40, "the level to be told")
        wait_for(lambda: receiver.find("nobody watched from"), 40, "the gap to be told")
        at, gap = receiver.find("nobody watched from")[0]
        print(f"core hung: replaced after {replaced_s:.0f} s, the gap told after {at - began:.0f} s")
        assert replaced_s <= 60
        assert "s now red" in gap["body"]


@pytest.mark.soak
def test_a_lock_that_ends_pages_nothing_that_waiting_readings_cure(database_url, mosquitto, tmp_path, receiver):
    with running(tmp_path, database_url, mosquitto.url, receiver, max_silence="20s") as service:
        stop = threading.Event()

        def report() -> None:
            value = 0.0
            while not stop.wait(2.0):
                body = {"time": datetime.now(UTC).isoformat(), "displacement_mm": value}
                publish(mosquitto.url, [(f"slopeward/v1/s/{name}/obs", body) for name in ("G1", "G2")])
                value += 0.001

        reporter = threading.Thread(target=report)
        reporter.start()
        try:
            wait_for(lambda: evaluated_at(service), 30, "the first evaluation")
            time.sleep(4)
            before = len(receiver.messages)
            with gone(database_url):
                time.sleep(30)
            time.sleep(12)
            paged = [m["subject"] for _, m in receiver.messages[before:] if "cannot decide" not in m["subject"]]
            paged = [
                one for one in paged if "over" not in one and "resolved" not in one
            ]  # the end of what a slow machine told before the lock
            cured = ("cannot be raised", "the newest reading", "no valid readings")
            assert not [one for one in paged if any(words in one for words in cured)], paged
        finally:
            stop.set()
            reporter.join()


def core_pid(service: Service) -> int | None:
    with service.database.read() as c:
        found = load_heartbeats(c).get("core")
    return None if found is None or found[1]["state"] != "running" else int(found[1]["pid"])
