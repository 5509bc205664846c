"""The whole service as processes: start, data, kill, reload, stop, and what it says of itself."""

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
    """`slopeward run` with a broker of its own."""

    def __init__(self, folder, database_url, sites=("north",)):
        texts = {site: write_first_site(site) for site in sites}
        broker_url = f"mqtt://127.0.0.1:{free_port()}"
        super().__init__(folder, database_url, broker_url, texts, page=False, broker=folder / "broker")

    def publish(self, first, count, site="north"):
        begin = datetime.now(UTC) - timedelta(days=10)
        broker = load_service(self.folder / "slopeward.toml").broker
        with issue_temporary_login(broker, site, "test") as login, Publisher(broker.url, *login) as publisher:
            for i in range(first, first + count):
                at = (begin + timedelta(minutes=i)).strftime("%Y-%m-%dT%H:%M:%SZ")
                publisher.publish(
                    f"slopeward/v1/{site}/E1/obs", json.dumps({"time": at, "crack_opening_mm": i / 10}).encode(), str(i)
                )
            publisher.wait(60)

    def count(self):
        return self.query("SELECT count(*) FROM observation")[0][0]


@pytest.fixture
def clean_environment(monkeypatch):
    for name in [n for n in os.environ if n.startswith("SLOPEWARD_") and "__" in n]:
        monkeypatch.delenv(name)


@pytest.fixture
def service(tmp_path, request, clean_environment, sqlite_url):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    with ManagedService(tmp_path, sqlite_url, getattr(request, "param", ("north",))) as one:
        yield one
        if one.running:
            one.stop()  # the managed broker with it, which a killed service leaves behind


@pytest.fixture
def postgresql_service(postgresql_url, tmp_path, clean_environment):
    with ManagedService(tmp_path, postgresql_url) as one:
        yield one
        if one.running:
            one.stop()


@pytest.mark.parametrize("kind", with_soak("service", "postgresql_service"))
def test_data_becomes_rows_a_killed_core_comes_back_and_nothing_is_lost(kind, request):
    """Nor is anything written twice: a second core on the same database is refused meanwhile. So with its broker."""
    service = request.getfixturevalue(kind)
    service.page = True
    service.start()
    second = subprocess.run(
        [sys.executable, "-m", "monitor.app.core", str(service.folder / "slopeward.toml")],
        capture_output=True,
        text=True,
        cwd=service.folder,
        timeout=60,
    )
    assert (second.returncode, "another service runs on this database" in second.stderr) == (1, True)
    assert "Traceback" not in second.stderr
    service.publish(0, 300)
    wait_for(lambda: service.count() == 300, description="300 rows")
    core = service.find_child("monitor.app.core")
    os.kill(core, signal.SIGKILL)
    service.publish(300, 300)  # the broker holds them
    wait_for(lambda: service.count() == 600, description="600 rows")
    assert service.find_child("monitor.app.core") not in (None, core)
    assert "core ended by signal 9" in service.log()
    assert service.query("SELECT count(DISTINCT observed_at) FROM observation") == [(600,)]
    lose_the_broker(service, first=600)
    end_in_order(service)


def lose_the_broker(service, first):
    pid = int((service.folder / "broker/broker.pid").read_text())
    os.kill(pid, signal.SIGKILL)  # within its autosave interval: it may forget the session
    wait_for(lambda: int((service.folder / "broker/broker.pid").read_text()) != pid, description="a new broker")
    wait_for(
        lambda: "live: connected" in service.log().rpartition("broker ended")[2], description="the service to come back"
    )
    service.publish(first, 50)
    wait_for(lambda: service.count() == first + 50, description="rows after the broker's death")
    if "live: connected, session new" in service.log().rpartition("broker ended")[2]:
        sql = "SELECT 1 FROM alert WHERE key = 'health:mqtt:session_lost'"
        wait_for(lambda: service.query(sql), description="the alarm")


def read_processes(service):
    return json.loads(service.call("status", "--json").stdout)["processes"]


def end_in_order(service):
    """Status and page answer, and SIGTERM ends everything in order."""
    wait_for(lambda: service.call("status").returncode in (0, 5, 6) and service.query("SELECT 1 FROM site_state"))
    wait_for(
        lambda: read_processes(service).get("core", {}).get("ingest", {}).get("connected") == CONNECTED,
        description="it",
    )
    assert {"core", "supervisor", "broker"} >= set(read_processes(service))
    assert service.healthy(), "the page"
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 30
    order = [line.rsplit(" ", 2)[-2] for line in service.log().splitlines() if line.endswith(" stopped")]
    assert order == ["web", "core", "broker"]
    assert service.call("status").returncode == 6 or "silent" not in service.call("status").stdout


def test_a_service_that_cannot_start_ends_with_one_line(service):
    text = (service.folder / "slopeward.toml").read_text().replace("sqlite:///", "mysql://")
    (service.folder / "slopeward.toml").write_text(text)
    assert service.launch().wait(90) == 1
    assert "database.url" in service.log()
    assert "Traceback" not in service.log()


@pytest.mark.soak
@pytest.mark.parametrize("service", [("north", "south")], indirect=True)
def test_files_that_two_people_or_a_verb_put_in_force_are_decided_by_and_no_level_falls(service):
    """Core ran on with the old file, and votes under names that mean something else now came back."""
    service.start()
    wait_for(lambda: service.query("SELECT count(*) FROM site_state") == [(2,)], description="two sites")
    file, now = service.folder / "sites/north.toml", datetime.now(UTC)
    loose = file.read_text().replace("red = {over = 100.0", "red = {over = 120.0")
    db = service.database
    set_level(db, parse_site(file.read_text(), "north"), 3, Actor("Ada"), "crack seen", now)
    found = propose(db, loose, "north.toml", Actor("Ada"), "noise", now, lambda old, new: {"old": old.id})
    approve(db, file.parent, found.id, Actor("Bo"), "seen", now)
    assert file.read_text() == loose
    seen = f"SELECT level FROM evaluation WHERE config_sha256 = '{found.sha256}'"
    wait_for(lambda: len(service.query(seen)) > 1, description="evaluations by the approved file")
    assert {level for (level,) in service.query(seen)} == {3}
    file.write_text(loose.replace("red = {over = 120.0", "red = {over = 90.0"))
    new = parse_site(file.read_text(), "north.toml").version
    assert service.call("evaluate", "--site", "north").returncode == 0
    used = "SELECT config_sha256 FROM evaluation WHERE site = 'north' ORDER BY id"
    wait_for(lambda: [sha for (sha,) in service.query(used)].count(new) > 3, description="evaluations by the new file")
    shas = [sha for (sha,) in service.query(used)]
    assert set(shas[shas.index(new) :]) == {new}
    assert service.query("SELECT key FROM alert WHERE site = 'status' AND level > 0") == []
    assert service.log().count("core ended so that it starts again") == 2
    lose_site_files(service)


def lose_site_files(service):
    """A broken one stops no other, and one that is gone is watched until it is retired."""
    (service.folder / "sites/south.toml").write_text("[site]\nid = 'south'\nnonsense")
    (service.folder / "sites/east.toml").write_text(write_first_site("east"))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.query("SELECT count(*) FROM site_state") == [(3,)], description="three sites")
    sql = "SELECT level, site FROM alert WHERE key = 'health:config:south.toml' AND closed_at IS NULL"
    wait_for(lambda: service.query(sql) == [(2, "status")], description="the alarm")
    assert "watching 3 site(s)" in service.log()
    (service.folder / "sites/south.toml").write_text(write_first_site("south"))
    service.process.send_signal(signal.SIGHUP)
    over = "SELECT state FROM alert WHERE key = 'health:config:south.toml'"
    wait_for(lambda: service.query(over) == [("returned_unacknowledged",)], description="the end of the alarm")
    (service.folder / "sites/south.toml").unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.query("SELECT 1 FROM alert WHERE key = 'health:config:south'"), description="the alarm")
    assert service.call("sites", "retire", "south", "--reason", "closed", "--by", "me").returncode == 0
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "watching 2 site(s)" in service.log(), description="one site less")


def find_worker(core):
    """Environment, status and limits of a worker of this core that runs now, behind all its walls."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"monitor.worker.compute\0" in (entry / "cmdline").read_bytes():
                # the bound of memory comes last, so a status that is read after it is that of a worker behind its walls
                limits, status = (entry / "limits").read_text(), (entry / "status").read_text()
                if f"\nPPid:\t{core}\n" in status and f" {8 << 30} " in limits:
                    return (entry / "environ").read_bytes().decode(), status, limits
        except OSError:
            continue
    return None


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="a worker hides its memory and environment from all but root")
def test_a_scene_is_read_without_secrets_and_one_beyond_its_bound_fails_alone(service, monkeypatch):
    secret = "nobody-may-read-this"
    monkeypatch.setenv("SLOPEWARD_SMTP__PASSWORD", secret)
    monkeypatch.setenv("SIREN_URL", f"https://u:{secret}@siren.example")
    config = service.folder / "slopeward.toml"
    config.write_text(f"{config.read_text()}[compute]\njob_file_gib = 0.000001\n")
    service.start()
    core = service.find_child("monitor.app.core")
    taken_at = datetime.now(UTC) - timedelta(hours=2)
    large = service.folder / "inbox" / "north" / "large"
    write_scene(large, 5, acquired_at=taken_at, center_lon=8.9, center_lat=46.2)
    environment, status, limits = wait_for(lambda: find_worker(core), "a worker behind its walls")
    assert secret not in environment
    assert "PATH=" in environment
    assert "\nCapEff:\t0000000000000000\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nSeccomp:\t2\n" in status
    bounds = dict(re.findall(r"^Max ([a-z ]+?)  +(\w+) ", limits, re.MULTILINE))
    assert (bounds["core file size"], bounds["cpu time"], bounds["file size"]) == ("0", "900", "1073")
    read = "SELECT state, error FROM scene"
    ((_, error),) = wait_for(lambda: [r for r in service.query(read) if r[0] == "failed"], "the failed scene")
    assert "writes a file larger than its bound" in error
    service.publish(0, 5)
    wait_for(lambda: service.count() == 5, description="readings after that")
    assert service.find_child("monitor.app.core") == core
