"""The database refuses writes, or the core hangs, while a slope fails: within a minute recipients are notified.

When the outage ends, the recipients are notified of that as well.
"""

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
    """Local HTTP server with a webhook, which can answer late, and the ping address of an external watchdog.

    It stores each message and ping with the monotonic time of its arrival.
    """

    def __init__(self) -> None:
        self.answer_after_s = 0.0
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.pings: list[float] = []
        self.ping_bodies: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/ping":
                    receiver.ping_bodies.append(body.decode())
                    receiver.pings.append(time.monotonic())
                    self.send_response(204)
                    self.end_headers()
                    return
                receiver.messages.append((time.monotonic(), json.loads(body)))
                time.sleep(receiver.answer_after_s)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def find(self, text: str) -> list[tuple[float, dict[str, Any]]]:
        """Return the messages whose subject or body contains the text."""
        return [message for message in self.messages if text in f"{message[1]['subject']} {message[1]['body']}"]

    def find_red(self) -> list[dict[str, Any]]:
        """Return the messages which report that the site has reached its top level."""
        return [body for _, body in self.messages if body["ledger"] == "hazard" and body["level_name"] == "red"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    webhook = Receiver()
    yield webhook
    webhook.close()


Report = Callable[[str, str, float], None]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Report:
    """Return a function that prints the time until the first message.

    Soak tests record this time in docs/benchmarks/first-message.json.
    """

    def write(story: str, database_url: str, took_s: float) -> None:
        backend = make_url(database_url).get_backend_name()
        with capsys.disabled():
            print(f"\nstory {story}, {backend}: {took_s:.0f} s to the first message")
        if request.node.get_closest_marker("soak") is not None:
            figures = SERVICE_RESULTS.load_figures("first-message") or {}
            figures[story] = figures.get(story, {}) | {backend: round(took_s, 1)}
            SERVICE_RESULTS.store("first-message", "make soak", figures)

    return write


@contextmanager
def block_database_writes(database_url: str) -> Iterator[None]:
    """Hold locks that make the database refuse all other writes."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database), isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 20000")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()
        return
    psycopg_url = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(psycopg_url) as connection:
        wait_for(lambda: lock_tables(connection), description="the tables")
        yield
        connection.rollback()


def lock_tables(connection: psycopg.Connection[Any]) -> bool:
    """Lock the tables. Return False if the service holds them in another order, so that the attempt deadlocked."""
    try:
        connection.execute("LOCK TABLE service_state, evaluation, observation, alert, site_state IN SHARE MODE")
    except psycopg.errors.DeadlockDetected:
        connection.rollback()
        return False
    return True


@contextmanager
def run_service(
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
    """Run the service with two recipients of red on the webhook and an external watchdog pinged every few seconds."""
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


def load_health(service: Service) -> tuple[int, dict[str, Any]]:
    """Return status and content of /health."""
    try:
        with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=20) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def load_site_page(service: Service) -> str:
    with urlopen(f"http://127.0.0.1:{service.port}/sites/s", timeout=20) as response:
        return str(response.read().decode())


def subscribe_to(broker: str, topic: str) -> tuple[list[Any], Callable[[], None]]:
    """Subscribe to a retained topic.

    Return a list that receives the decoded messages, oldest first and None for an empty message, and a function that
    ends the subscription.
    """
    messages: list[Any] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, message: messages.append(json.loads(message.payload or "null"))
    host, port = broker.removeprefix("mqtt://").split(":")
    client.connect(host, int(port))
    client.subscribe(topic, qos=1)
    client.loop_start()

    def stop() -> None:
        client.disconnect()
        client.loop_stop()

    return messages, stop


def publish_motion(broker: str, rate_mm_per_h: float, hours: float, end: datetime, site: str = "s") -> None:
    """Publish a reading of both rovers every five minutes up to `end`, with a constant rate."""
    steps = int(hours * 12)
    messages = []
    for step in range(steps + 1):
        observed_at = end - timedelta(minutes=5 * (steps - step))
        value = rate_mm_per_h * step / 12
        body = {"time": observed_at.isoformat(), "displacement_mm": value}
        messages += [(f"slopeward/v1/{site}/{name}/obs", body) for name in ("G1", "G2")]
    publish(broker, messages)


def load_evaluated_at(service: Service) -> str | None:
    return next((time for (time,) in service.query("SELECT evaluated_at FROM site_status WHERE site = 's'")), None)


@ON_SQLITE
def test_recipients_are_notified_that_the_database_refuses_writes_while_the_slope_fails(
    database_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver, report: Report
) -> None:
    with run_service(tmp_path, database_url, mosquitto.url, receiver, page=True) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: load_evaluated_at(service), 30, "the first evaluation")
        status_messages, unsubscribe = subscribe_to(mosquitto.url, "slopeward/v1/status")
        wait_for(lambda: status_messages and status_messages[-1]["status"] == "online", 20, "status online")
        assert "what we see" in load_site_page(service).lower()
        with block_database_writes(database_url):
            started_at = time.monotonic()
            publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # red is due from here on
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            notified_at, message = receiver.find("cannot decide")[0]
            report("a database that accepts no writes", database_url, notified_at - started_at)
            assert notified_at - started_at <= FIRST_MESSAGE_S
            assert "the database has accepted no writes since" in message["body"]
            assert "s: level green was stored last at" in message["body"]
            status, content = load_health(service)
            assert (status, "cannot decide: the database has accepted no writes since" in content["reasons"][0]) == (
                503,
                True,
            )
            wait_for(lambda: status_messages[-1]["status"] == "offline", 20, "status to be no longer online")
            assert "cannot decide: the database" in status_messages[-1]["reason"]
            site_page = load_site_page(service)
            assert "Nothing is decided at this moment: the database has accepted no writes" in site_page
            assert "all series that can raise a level give valid data" not in site_page
            message_count = len(receiver.find("cannot decide"))
            silent_since = time.monotonic()
            time.sleep(8)
            assert len(receiver.find("cannot decide")) == message_count, "it is said once"
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        wait_for(receiver.find_red, 60, "the level to be told")
        over_at = receiver.find("over: decides again")[0][0]
        assert not [notified_at for notified_at in receiver.pings if silent_since - 20 < notified_at < over_at - 10], (
            "the watcher heard nothing"
        )
        wait_for(lambda: status_messages[-1]["status"] == "online", 30, "status online again")
        # A copy of the head of the audit log, kept on another machine, must still be part of the chain.
        head = status_messages[-1]["audit"]["head"]
        assert service.call("db", "verify", "--audit-head", head).returncode == 0
        refused = service.call("db", "verify", "--audit-head", head[::-1])
        assert (refused.returncode, "is no longer in the chain" in refused.stdout) == (1, True)
        assert all(
            message_count.startswith("audit entry ") for message_count in receiver.ping_bodies if message_count
        ), receiver.ping_bodies
        unsubscribe()
        history_query = (
            "SELECT 1 FROM alert_history WHERE reason LIKE '%notified without the outbox by 1 of 1 channels%'"
        )
        wait_for(lambda: service.query(history_query), 40, "its row")


@pytest.mark.soak
def test_read_only_server_is_reported_like_a_database_that_refuses_writes(
    postgresql: PostgresServer,
    postgresql_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    report: Report,
) -> None:
    with run_service(tmp_path, postgresql_url, mosquitto.url, receiver) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: load_evaluated_at(service), 30, "the first evaluation")
        postgresql.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        try:
            started_at = time.monotonic()
            publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # red is due from here on
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            notified_at, message = receiver.find("cannot decide")[0]
            report("a server that turned read-only", postgresql_url, notified_at - started_at)
            assert notified_at - started_at <= FIRST_MESSAGE_S
            assert "read-only" in message["body"]
            assert not receiver.find_red()
            time.sleep(5)
            assert not [ping for ping in receiver.pings if ping > notified_at], "the watcher heard nothing"
        finally:
            postgresql.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        wait_for(receiver.find_red, 60, "the level to be told")


@pytest.mark.soak
def test_supervisor_killed_in_an_outage_repeats_no_message_and_reports_the_end(
    sqlite_url: str, mosquitto: MosquittoServer, tmp_path: Path, receiver: Receiver
) -> None:
    with run_service(tmp_path, sqlite_url, mosquitto.url, receiver) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(minutes=5))
        wait_for(lambda: load_evaluated_at(service), 30, "the first evaluation")
        with block_database_writes(sqlite_url):
            wait_for(lambda: receiver.find("cannot decide"), FIRST_MESSAGE_S + 10, "a human to hear of it")
            ((_, first_message),) = receiver.find("cannot decide")
            start_text = re.search(r"the database has accepted no writes since [0-9: -]{16} UTC", first_message["body"])
            assert start_text
            time.sleep(2)
            service.kill_supervisor()
            service.launch()
            time.sleep(50)  # a restarted service detects the outage after 35 s
            assert len(receiver.find("cannot decide: ")) == 1, receiver.find("cannot decide: ")
            assert not receiver.find("over: "), "it is not over"
        wait_for(lambda: receiver.find("over: decides again"), 60, "the end to be told")
        time.sleep(5)
        ((_, end_message),) = receiver.find("over: decides again")
        assert start_text[0] in end_message["body"], "the end names the true beginning"
        assert len(receiver.find("cannot decide: ")) == 1
        service.stop()
        service.start()  # an outage that has ended is not reported again
        time.sleep(12)
        assert len(receiver.find("over: decides again")) == 1


@pytest.mark.soak
def test_hung_core_is_replaced_and_the_monitoring_gap_is_reported(sqlite_url, mosquitto, tmp_path, receiver):
    with run_service(tmp_path, sqlite_url, mosquitto.url, receiver) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: load_evaluated_at(service), 30, "the first evaluation")
        wait_for(lambda: find_core_pid(service), 20, "the stamp of core")
        hung_pid = find_core_pid(service)
        assert hung_pid
        os.kill(hung_pid, signal.SIGSTOP)
        started_at = time.monotonic()
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
        wait_for(lambda: find_core_pid(service) != hung_pid, 80, "a fresh core")
        replaced_s = time.monotonic() - started_at
        wait_for(receiver.find_red, 40, "the level to be told")
        wait_for(lambda: receiver.find("no site was evaluated from"), 40, "the gap to be told")
        notified_at, message = receiver.find("no site was evaluated from")[0]
        print(f"core hung: replaced after {replaced_s:.0f} s, the gap told after {notified_at - started_at:.0f} s")
        assert replaced_s <= 60
        assert "s now red" in message["body"]


@pytest.mark.soak
def test_queued_readings_prevent_alarms_about_silence_after_a_lock(database_url, mosquitto, tmp_path, receiver):
    with run_service(tmp_path, database_url, mosquitto.url, receiver, max_silence="20s") as service:
        stop = threading.Event()

        def publish_readings() -> None:
            value = 0.0
            while not stop.wait(2.0):
                body = {"time": datetime.now(UTC).isoformat(), "displacement_mm": value}
                publish(mosquitto.url, [(f"slopeward/v1/s/{name}/obs", body) for name in ("G1", "G2")])
                value += 0.001

        publisher = threading.Thread(target=publish_readings)
        publisher.start()
        try:
            wait_for(lambda: load_evaluated_at(service), 30, "the first evaluation")
            time.sleep(4)
            count_before = len(receiver.messages)
            with block_database_writes(database_url):
                time.sleep(30)
            time.sleep(12)
            subjects = [
                m["subject"] for _, m in receiver.messages[count_before:] if "cannot decide" not in m["subject"]
            ]
            subjects = [
                subject for subject in subjects if "over" not in subject and "resolved" not in subject
            ]  # on a slow machine, an alarm from before the lock may end now
            silence_texts = ("cannot be raised", "the newest reading", "no valid readings")
            assert not [subject for subject in subjects if any(text in subject for text in silence_texts)], subjects
        finally:
            stop.set()
            publisher.join()


def find_core_pid(service: Service) -> int | None:
    with service.database.read() as connection:
        heartbeat = load_heartbeats(connection).get("core")
    return None if heartbeat is None or heartbeat[1]["state"] != "running" else int(heartbeat[1]["pid"])
