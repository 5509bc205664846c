"""Managed, demonstration and external brokers: durability, start, stop, TLS and refusals."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from monitor.broker.access import Access, find_access
from monitor.errors import BrokerError
from monitor.ingest.broker_process import DemoBroker, ManagedBroker, find_mosquitto, hold_folder, open_broker
from monitor.ingest.service import Ingest, IngestContext
from monitor.settings.service import parse_service
from monitor.sites.records import Level, Site
from monitor.storage.engine import Database
from tests.data.servers.file_server import sign
from tests.fixtures.waiting import free_port, skip_missing, wait_for

pytestmark = pytest.mark.server


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def managed(tmp_path, port):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    broker = ManagedBroker(tmp_path / "broker", port)
    yield broker
    broker.stop()


def service_access(broker):
    return find_access(SimpleNamespace(mode="managed", data=broker.folder))


def subscribe(access, expected):
    """Open the persistent session `reader`. Return whether it existed, and the received payloads."""
    payloads, flags = [], []
    client = access.open_client("reader", mqtt5=True)
    client.on_connect = lambda c, u, f, *_: (flags.append(f.session_present), c.subscribe("t", 1))
    client.on_message = lambda c, u, m: payloads.append(m.payload)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0xFFFFFFFF
    client.connect(*access.target, clean_start=False, properties=properties)
    client.loop_start()
    wait_for(lambda: subscribed.is_set() and len(payloads) >= expected)
    client.disconnect()
    client.loop_stop()
    return flags[0], payloads


def publish(access, count):
    client = access.open_client("", mqtt5=True)
    client.max_inflight_messages_set(500)
    client.connect(*access.target)
    client.loop_start()
    for info in [client.publish("t", str(i), qos=1) for i in range(count)]:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def test_the_managed_broker_keeps_3000_messages_over_a_restart(managed, port):
    managed.start()
    assert managed.is_alive()
    assert subscribe(service_access(managed), 0) == (False, [])
    publish(service_access(managed), 3000)
    managed.stop()
    assert not managed.is_alive()
    managed.start()
    is_session_present, payloads = subscribe(service_access(managed), 3000)
    assert is_session_present
    assert len(payloads) == 3000


def test_killed_managed_broker_keeps_its_saved_messages(managed, port, monkeypatch):
    monkeypatch.setattr("monitor.ingest.broker_process.AUTOSAVE_S", 1)  # shorter than the timeout of `wait_for`
    managed.start()
    subscribe(service_access(managed), 0)
    publish(service_access(managed), 100)
    saved_file, published_ns = managed.folder / "mosquitto.db", time.time_ns()
    wait_for(
        lambda: saved_file.exists() and saved_file.stat().st_mtime_ns > published_ns,
        description="the periodic save of the broker",
    )
    os.kill(managed.pid, signal.SIGKILL)
    managed.stop()
    managed.start()
    is_session_present, payloads = subscribe(service_access(managed), 100)
    assert (is_session_present, len(payloads)) == (True, 100)


def test_broker_of_a_killed_service_is_taken_over(managed, port):
    managed.start()
    subscribe(service_access(managed), 0)
    publish(service_access(managed), 50)
    next_broker = ManagedBroker(managed.folder, port)
    next_broker.start()
    try:
        assert managed.pid is None
        assert len(subscribe(service_access(managed), 50)[1]) == 50
    finally:
        next_broker.stop()


def test_second_service_on_a_folder_is_refused_and_the_broker_keeps_running(tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.ingest.broker_process._PREDECESSOR_S", 0.3)
    with hold_folder(tmp_path / "broker"):
        with (
            pytest.raises(BrokerError, match=rf"another service runs with this broker \(pid {os.getpid()}\)"),
            hold_folder(tmp_path / "broker"),
        ):
            pass
    with hold_folder(tmp_path / "broker"):  # free again after the first broker ended
        pass


def test_a_cancelled_start_leaves_no_broker(managed, port):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(BrokerError, match="cancelled"):
        managed.start(cancelled)
    assert managed.pid is None
    assert not managed.is_alive()
    managed.start()
    assert managed.is_alive()


def test_used_port_and_foreign_address_are_refused_with_a_remedy(managed, port, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(BrokerError, match="is taken"):
            managed.start()
    with pytest.raises(BrokerError, match="loopback only"):
        ManagedBroker(tmp_path, port, "0.0.0.0")
    with pytest.raises(BrokerError, match="managed, external or demo"):
        open_broker("cloud", tmp_path, "127.0.0.1", port)
    assert open_broker("external", tmp_path, "127.0.0.1", port) is None


def test_demo_broker_delivers_messages_and_warns_that_it_is_not_durable(tmp_path, port):
    pytest.importorskip("amqtt")
    broker = DemoBroker(tmp_path / "demo", port)
    broker.start()
    try:
        assert broker.is_alive()
        assert not broker.durable
        wait_for(lambda: "not durable" in (tmp_path / "demo" / "broker.log").read_text())
    finally:
        broker.stop()
    assert not broker.is_alive()


class UnkillableProcess:
    """A process that is blocked by an unresponsive disk, so that even SIGKILL does not end it."""

    pid = 7
    has_ended = False
    returncode = -9

    def __init__(self):
        self.signals = []
        self.waits_s = []

    def poll(self):
        return -9 if self.has_ended else None

    def terminate(self):
        self.signals.append("TERM")

    def kill(self):
        self.signals.append("KILL")

    def wait(self, timeout_s):
        self.waits_s.append(timeout_s)
        raise subprocess.TimeoutExpired("mosquitto", timeout_s)


def test_broker_that_cannot_be_killed_is_not_replaced(tmp_path, port, monkeypatch):
    launched = []
    monkeypatch.setattr(
        "monitor.ingest.broker_process.subprocess.Popen", lambda *_, **__: launched.append(1) or process
    )
    broker, process = DemoBroker(tmp_path, port), UnkillableProcess()
    broker._process = process
    broker.stop()
    assert (process.signals, process.waits_s) == (["TERM", "KILL"], [15.0, 5.0])
    assert broker.pid is None
    with pytest.raises(BrokerError, match=r"process 7\) was killed and has not ended.*check the disk"):
        broker.start()
    broker.stop()
    assert (launched, len(process.signals)) == ([], 2)
    process.has_ended = True
    with pytest.raises(BrokerError, match="ended at once"):
        broker.start()
    assert launched == [1]


# ---- external broker by URL with TLS and a password, and its refusals ----
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())


@pytest.fixture
def guarded(tmp_path):
    """Mosquitto with TLS, password file and no anonymous access."""
    if not (find_mosquitto() and shutil.which("openssl") and shutil.which("mosquitto_passwd")):
        skip_missing("Mosquitto with mosquitto_passwd, or openssl,")
    port = free_port()
    cert, key, passwords = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "passwords"
    sign(cert, key, "/CN=localhost", "DNS:localhost,IP:127.0.0.1")
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "slopeward", "right"], check=True, capture_output=True)
    config = tmp_path / "m.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"cafile {cert}\ncertfile {cert}\nkeyfile {key}\n{'user root' if os.geteuid() == 0 else ''}\n"
    )
    process = subprocess.Popen([find_mosquitto(), "-c", config], stderr=subprocess.DEVNULL)
    wait_for(lambda: is_open(port), description="Mosquitto")
    yield SimpleNamespace(port=port, cert=str(cert))
    process.terminate()
    process.wait(60)


def test_failed_handshake_leaves_no_socket_open():
    before = count_sockets()
    with socket.create_server(("127.0.0.1", 0)) as nobody:

        def answer():
            with nobody.accept()[0] as other:
                other.recv(100)
                other.sendall(b"this is no TLS\r\n")

        talker = threading.Thread(target=answer)
        talker.start()
        client = Access("localhost", nobody.getsockname()[1], tls=True).open_client("x", mqtt5=True)
        with pytest.raises(
            ssl.SSLError
        ) as caught:  # A caught exception keeps open sockets from being garbage-collected.
            client.connect("127.0.0.1", nobody.getsockname()[1])
        talker.join()
    del client
    assert (count_sockets(), caught.type.__name__) == (before, "SSLError")


def count_sockets():
    links = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return sum(os.readlink(one).startswith("socket:") for one in links)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(guarded, database, password, ca_file):
    config = parse_service(
        f'[broker]\nmode = "external"\nurl = "mqtts://localhost:{guarded.port}"\nusername = "slopeward"\n'
        f'ca_file = "{ca_file}"\n',
        "test",
        {"SLOPEWARD_BROKER__PASSWORD": password},
    )
    callbacks = (lambda _: None, lambda _: None, lambda: datetime.now(UTC))
    ingest = Ingest(IngestContext(database, config, {"north": SITE}, *callbacks))
    ingest.start()
    return ingest


def test_messages_are_received_by_tls_with_a_password(guarded, sqlite_url):
    database = Database(sqlite_url)
    ingest = start(guarded, database, "right", guarded.cert)
    try:
        wait_for(lambda: all(ingest.status()["connected"].values()))
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set(ca_certs=guarded.cert)
        client.username_pw_set("slopeward", "right")
        client.connect("localhost", guarded.port)
        client.loop_start()
        client.publish("slopeward/v1/north/G1/obs", '{"time":"2026-03-01T06:00:00Z","rain_mm":1}', qos=1)
        wait_for(lambda: ingest.status()["stored"] == 1)
        client.disconnect()
        client.loop_stop()
    finally:
        ingest.stop()
        database.close()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves a failed socket to the garbage collector
@pytest.mark.parametrize(
    ("password", "trusted", "problem"), [("wrong", True, "refused"), ("right", False, "CERTIFICATE_VERIFY_FAILED")]
)
def test_refused_connection_is_reported_and_the_network_thread_continues(
    guarded, sqlite_url, password, trusted, problem
):
    database = Database(sqlite_url)
    ingest = start(guarded, database, password, guarded.cert if trusted else "")
    try:
        wait_for(lambda: problem in ingest.status()["problems"].get("live", ""))
        assert not any(ingest.status()["connected"].values())
        assert all(s._client._thread.is_alive() for s in ingest._sessions.values())
    finally:
        ingest.stop()
        database.close()
