"""An external broker by URL with TLS and a password; and what is said when it refuses."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from monitor.broker.access import Access
from monitor.config.service import parse_service
from monitor.domain.site import Level, Site
from monitor.ingest.broker import find_mosquitto
from monitor.ingest.service import Ingest, IngestContext
from monitor.store.database.engine import Database
from tests.conftest import free_port, wait_for

pytestmark = pytest.mark.server
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())


@pytest.fixture
def guarded(tmp_path):
    """Mosquitto with TLS, password file and no anonymous access."""
    if not (find_mosquitto() and shutil.which("openssl") and shutil.which("mosquitto_passwd")):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "Mosquitto with mosquitto_passwd, or openssl, is missing"
        )
    port = free_port()
    cert, key, passwords = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "passwords"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            cert,
        ],
        check=True,
        capture_output=True,
    )
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "slopeward", "right"], check=True, capture_output=True)
    config = tmp_path / "m.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"cafile {cert}\ncertfile {cert}\nkeyfile {key}\n{'user root' if os.geteuid() == 0 else ''}\n"
    )
    process = subprocess.Popen([find_mosquitto(), "-c", config], stderr=subprocess.DEVNULL)
    wait_for(lambda: is_open(port), what="Mosquitto")
    yield SimpleNamespace(port=port, cert=str(cert))
    process.terminate()
    process.wait(60)


def test_a_handshake_that_fails_leaves_no_socket_open():
    before = count_sockets()
    with socket.create_server(("127.0.0.1", 0)) as nobody:

        def answer():
            with nobody.accept()[0] as other:
                other.recv(100)
                other.sendall(b"this is no TLS\r\n")

        talker = threading.Thread(target=answer)
        talker.start()
        client = Access("localhost", nobody.getsockname()[1], tls=True).open_client("x", mqtt5=True)
        with pytest.raises(ssl.SSLError) as caught:  # what is caught keeps what is left open from being collected
            client.connect("127.0.0.1", nobody.getsockname()[1])
        talker.join()
    del client
    assert (count_sockets(), caught.type.__name__) == (before, "SSLError")


def count_sockets():
    found = (
        os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{n}")
    )
    return sum(name.startswith("socket:") for name in found)


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
    context = IngestContext(
        database, config, {"north": SITE}, lambda _: None, lambda _: None, lambda: datetime.now(UTC)
    )
    ingest = Ingest(context)
    ingest.start()
    return ingest


def test_messages_come_through_tls_with_a_password(guarded, sqlite_url):
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a failed socket to the GC
@pytest.mark.parametrize(
    ("password", "trusted", "said"), [("wrong", True, "refused"), ("right", False, "CERTIFICATE_VERIFY_FAILED")]
)
def test_a_refusal_is_said_and_never_kills_the_network_thread(guarded, sqlite_url, password, trusted, said):
    database = Database(sqlite_url)
    ingest = start(guarded, database, password, guarded.cert if trusted else "")
    try:
        wait_for(lambda: said in ingest.status()["problems"].get("live", ""))
        assert not any(ingest.status()["connected"].values())
        assert all(s._client._thread.is_alive() for s in ingest._sessions.values())
    finally:
        ingest.stop()
        database.close()
