"""The whole service as processes: start, data, kill, reload, stop and its status."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from detection.imagery.data.generate import write_scene
from monitor.alerts.acts.change_control import approve, propose
from monitor.alerts.acts.operator_acts import set_level
from monitor.broker.logins import issue_temporary_login
from monitor.cli.site.sites import write_first_site
from monitor.features.demo.publish import Publisher
from monitor.ingest.broker_process import find_mosquitto
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.storage.actor import Actor
from tests.data.running import Service
from tests.fixtures import waiting
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import free_port, skip_missing

pytestmark = [pytest.mark.server, pytest.mark.slow]
CONNECTED = {"live": True, "backfill": True}


def wait_for(condition, description="the condition"):
    return waiting.wait_for(condition, description=description, pause_s=0.05)


class ManagedService(Service):
    """Service with a managed broker."""

    def __init__(self, folder, database_url, sites=("north",)):
        texts = {site: write_first_site(site) for site in sites}
        broker_url = f"mqtt://127.0.0.1:{free_port()}"
        super().__init__(folder, database_url, broker_url, texts, page=False, broker=folder / "broker")

    def publish(self, first, count, site="north"):
        first_time = datetime.now(UTC) - timedelta(days=10)
        broker = load_service(self.folder / "slopeward.toml").broker
        with issue_temporary_login(broker, site, "test") as login, Publisher(broker.url, *login) as publisher:
            for index in range(first, first + count):
                observed_at = (first_time + timedelta(minutes=index)).strftime("%Y-%m-%dT%H:%M:%SZ")
                publisher.publish(
                    f"slopeward/v1/{site}/E1/obs",
                    json.dumps({"time": observed_at, "crack_opening_mm": index / 10}).encode(),
                    str(index),
                )
            publisher.wait(60)

    def count(self):
        return self.query("SELECT count(*) FROM observation")[0][0]


@pytest.fixture
def clean_environment(monkeypatch):
    for name in [variable for variable in os.environ if variable.startswith("SLOPEWARD_") and "__" in variable]:
        monkeypatch.delenv(name)


@pytest.fixture
def service(tmp_path, request, clean_environment, sqlite_url):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    with ManagedService(tmp_path, sqlite_url, getattr(request, "param", ("north",))) as running:
        yield running
        if running.running:
            running.stop()  # also stops the managed broker, which a killed service leaves behind


@pytest.fixture
def postgresql_service(postgresql_url, tmp_path, clean_environment):
    with ManagedService(tmp_path, postgresql_url) as running:
        yield running
        if running.running:
            running.stop()


@pytest.mark.parametrize("kind", with_soak("service", "postgresql_service"))
def test_killed_core_or_broker_restarts_and_every_reading_is_stored_once(kind, request):
    """A second core on the same database is refused while the first one runs."""
    service = request.getfixturevalue(kind)
    service.page = True
    service.start()
    second_core = subprocess.run(
        [sys.executable, "-m", "monitor.app.core", str(service.folder / "slopeward.toml")],
        capture_output=True,
        text=True,
        cwd=service.folder,
        timeout=60,
    )
    assert (second_core.returncode, "another service runs on this database" in second_core.stderr) == (1, True)
    assert "Traceback" not in second_core.stderr
    service.publish(0, 300)
    wait_for(lambda: service.count() == 300, description="300 rows")
    core_pid = service.find_child("monitor.app.core")
    os.kill(core_pid, signal.SIGKILL)
    service.publish(300, 300)  # the broker queues these readings
    wait_for(lambda: service.count() == 600, description="600 rows")
    assert service.find_child("monitor.app.core") not in (None, core_pid)
    assert "core was ended by SIGKILL" in service.log()
    assert service.query("SELECT count(DISTINCT observed_at) FROM observation") == [(600,)]
    kill_broker(service, first=600)
    check_stop(service)


def kill_broker(service, first):
    pid = int((service.folder / "broker/broker.pid").read_text())
    os.kill(pid, signal.SIGKILL)  # Within the autosave interval, so that the broker may lose the session.
    wait_for(lambda: int((service.folder / "broker/broker.pid").read_text()) != pid, description="a new broker")
    wait_for(
        lambda: "live: connected" in service.log().rpartition("broker was ended")[2],
        description="the service to come back",
    )
    service.publish(first, 50)
    wait_for(lambda: service.count() == first + 50, description="rows after the broker's death")
    if "live: connected, session new" in service.log().rpartition("broker was ended")[2]:
        sql = "SELECT 1 FROM alert WHERE key = 'health:mqtt:session_lost'"
        wait_for(lambda: service.query(sql), description="the alarm")


def load_processes(service):
    return json.loads(service.call("status", "--json").stdout)["processes"]


def check_stop(service):
    """Check that status and page respond and that SIGTERM stops everything in order."""
    wait_for(lambda: service.call("status").returncode in (0, 5, 6) and service.query("SELECT 1 FROM site_state"))
    wait_for(
        lambda: load_processes(service).get("core", {}).get("ingest", {}).get("connected") == CONNECTED,
        description="it",
    )
    assert {"core", "supervisor", "broker"} >= set(load_processes(service))
    assert service.healthy(), "the page"
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 30
    order = [line.rsplit(" ", 2)[-2] for line in service.log().splitlines() if line.endswith(" stopped")]
    assert order == ["web", "core", "broker"]
    assert service.call("status").returncode == 6 or "silent" not in service.call("status").stdout


def test_service_that_cannot_start_ends_with_one_line(service):
    text = (service.folder / "slopeward.toml").read_text().replace("sqlite:///", "mysql://")
    (service.folder / "slopeward.toml").write_text(text)
    assert service.launch().wait(90) == 1
    assert "database.url" in service.log()
    assert "Traceback" not in service.log()


@pytest.mark.soak
@pytest.mark.parametrize("service", [("north", "south")], indirect=True)
def test_new_site_file_is_used_for_decisions_and_no_level_falls(service):
    """The core must not continue with the old file, and votes of changed criteria must not return.

    The file is first approved by two people, then changed before `slopeward evaluate`.
    """
    service.start()
    wait_for(lambda: service.query("SELECT count(*) FROM site_state") == [(2,)], description="two sites")
    file, now = service.folder / "sites/north.toml", datetime.now(UTC)
    loosened_text = file.read_text().replace("red = {over = 100.0", "red = {over = 120.0")
    db = service.database
    set_level(db, parse_site(file.read_text(), "north"), 3, Actor("Ada"), "crack seen", now)
    proposal = propose(
        db, loosened_text, "north.toml", Actor("Ada"), "noise", now, lambda old_site, new_version: {"old": old_site.id}
    )
    approve(db, file.parent, proposal.id, Actor("Bo"), "seen", now)
    assert file.read_text() == loosened_text
    level_query = f"SELECT level FROM evaluation WHERE config_sha256 = '{proposal.sha256}'"
    wait_for(lambda: len(service.query(level_query)) > 1, description="evaluations by the approved file")
    assert {level for (level,) in service.query(level_query)} == {3}
    file.write_text(loosened_text.replace("red = {over = 120.0", "red = {over = 90.0"))
    new_version = parse_site(file.read_text(), "north.toml").version
    assert service.call("evaluate", "north").returncode == 0
    version_query = "SELECT config_sha256 FROM evaluation WHERE site = 'north' ORDER BY id"
    wait_for(
        lambda: [version for (version,) in service.query(version_query)].count(new_version) > 3,
        description="evaluations by the new file",
    )
    versions = [version for (version,) in service.query(version_query)]
    assert set(versions[versions.index(new_version) :]) == {new_version}
    assert service.query("SELECT key FROM alert WHERE site = 'status' AND level > 0") == []
    assert service.log().count("core ended with exit status 76") == 2
    check_lost_site_files(service)


def check_lost_site_files(service):
    """A broken site file affects no other site. A site without its file is watched until it is retired."""
    (service.folder / "sites/south.toml").write_text("[site]\nid = 'south'\nnonsense")
    (service.folder / "sites/east.toml").write_text(write_first_site("east"))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.query("SELECT count(*) FROM site_state") == [(3,)], description="three sites")
    alarm_query = "SELECT level, site FROM alert WHERE key = 'health:config:south.toml:unusable' AND closed_at IS NULL"
    wait_for(lambda: service.query(alarm_query) == [(2, "status")], description="the alarm")
    assert "watching 3 site(s)" in service.log()
    (service.folder / "sites/south.toml").write_text(write_first_site("south"))
    service.process.send_signal(signal.SIGHUP)
    state_query = "SELECT state FROM alert WHERE key = 'health:config:south.toml:unusable'"
    wait_for(lambda: service.query(state_query) == [("returned_unacknowledged",)], description="the end of the alarm")
    (service.folder / "sites/south.toml").unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_for(
        lambda: service.query("SELECT 1 FROM alert WHERE key = 'health:config:south:gone'"), description="the alarm"
    )
    assert service.call("sites", "retire", "south", "--reason", "closed", "--by", "me").returncode == 0
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "watching 2 site(s)" in service.log(), description="one site less")


def find_worker(core):
    """Return environment, status and limits of a sandboxed worker of this core, or None."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"monitor.worker.compute\0" in (entry / "cmdline").read_bytes():
                # The sandbox sets the memory limit last. A status that is read after it is that of a complete sandbox.
                limits, status = (entry / "limits").read_text(), (entry / "status").read_text()
                if f"\nPPid:\t{core}\n" in status and f" {8 << 30} " in limits:
                    return (entry / "environ").read_bytes().decode(), status, limits
        except OSError:
            continue
    return None


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="a worker hides its memory and environment from all but root")
def test_scene_is_read_without_secrets_and_exceeding_a_limit_fails_only_its_job(service, monkeypatch):
    secret = "nobody-may-read-this"
    monkeypatch.setenv("SLOPEWARD_SMTP__PASSWORD", secret)
    monkeypatch.setenv("SIREN_URL", f"https://u:{secret}@siren.example")
    config = service.folder / "slopeward.toml"
    config.write_text(f"{config.read_text()}[compute]\njob_file_gib = 0.000001\n")
    service.start()
    core_pid = service.find_child("monitor.app.core")
    taken_at = datetime.now(UTC) - timedelta(hours=2)
    scene_folder = service.folder / "inbox" / "north" / "large"
    write_scene(scene_folder, 5, acquired_at=taken_at, center_lon=8.9, center_lat=46.2)
    environment, status, limits = wait_for(lambda: find_worker(core_pid), "a worker behind its walls")
    assert secret not in environment
    assert "PATH=" in environment
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nSeccomp:\t2\n" in status
    limits_by_name = dict(re.findall(r"^Max ([a-z ]+?)  +(\w+) ", limits, re.MULTILINE))
    assert (limits_by_name["core file size"], limits_by_name["cpu time"], limits_by_name["file size"]) == (
        "0",
        "900",
        "1073",
    )
    scene_query = "SELECT state, error FROM scene"
    ((_, error),) = wait_for(
        lambda: [row for row in service.query(scene_query) if row[0] == "failed"], "the failed scene"
    )
    assert "writes a file larger than its bound" in error
    service.publish(0, 5)
    wait_for(lambda: service.count() == 5, description="readings after that")
    assert service.find_child("monitor.app.core") == core_pid
