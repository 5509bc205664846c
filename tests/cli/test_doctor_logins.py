"""`slopeward doctor` tries at the running Mosquitto what a foreign client can do, and says it plainly."""

import json
import os
import subprocess

import pytest

from monitor.alerts.acts.change_control import load_into_force
from monitor.app.checks.broker import RunningBroker
from monitor.app.checks.database import CurrentDatabase
from monitor.app.checks.table import run_checks
from monitor.broker.access import Access, find_access
from monitor.broker.logins import ACL, PASSWORDS
from monitor.cli.main import run_verb
from monitor.ingest.broker_process import ManagedBroker, find_mosquitto
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.files import load_site
from monitor.sites.first_site import write_first_site
from monitor.storage.service_state import write_heartbeat
from tests.data.servers.mqtt_client import calling
from tests.delivery.outbox import T0
from tests.fixtures.waiting import free_port, skip_missing, wait_for

pytestmark = pytest.mark.server


@pytest.fixture
def house(tmp_path, sqlite_url, monkeypatch):
    """A folder with two sites and a service file; `write(broker_section)` gives what it says."""
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    for name in [n for n in os.environ if n.startswith("SLOPEWARD_") and "__" in n]:
        monkeypatch.delenv(name)
    (tmp_path / "sites").mkdir()
    for site in ("north", "south"):
        (tmp_path / f"sites/{site}.toml").write_text(write_first_site(site))

    def write(section):
        text = f'[database]\nurl = "{sqlite_url}"\n[paths]\nsites = "{tmp_path}/sites"\n[broker]\n'
        (tmp_path / "slopeward.toml").write_text(f'{text}data = "{tmp_path}/broker"\n{section}\n')
        return load_service(tmp_path / "slopeward.toml")

    write.folder = tmp_path
    return write


def see(service):
    return [(one.level, one.text) for one in run_checks(RunningBroker(service)) if one.check.area == "logins"]


def test_a_managed_broker_withstands_and_an_open_one_is_said_to_be_open(house):
    port = free_port()
    for anonymous in (False, True):
        service = house(f'url = "mqtt://127.0.0.1:{port}"\nanonymous = {str(anonymous).lower()}')
        broker = ManagedBroker(house.folder / "broker", port, anonymous=anonymous)
        broker.start()
        try:
            with calling(find_access(service.broker), "slopeward") as session:
                found = see(service)
                assert session.ends == []  # the real session is never tried
        finally:
            broker.stop()
        url = f"mqtt://127.0.0.1:{port}"
        if not anonymous:
            who = "an instrument with a login for something else"
            assert found == [
                ("ok", f"{url} refuses clients without a login"),
                ("ok", f"{who} can publish for no site, not as the service, and take no session of it"),
            ]
            continue
        assert found[:3] == [
            ("bad", f"{url} lets in clients without a login"),
            ("bad", "a client without a login can publish readings of north, south"),
            ("bad", "a client without a login can take a session of the service (client id slopeward)"),
        ]
        assert not any("as the service (" in line for _, line in found)  # levels and alerts are closed also then


def test_an_open_external_broker_is_said_to_be_open(house, mosquitto):
    found = see(house(f'mode = "external"\nurl = "{mosquitto.url}"'))
    assert [state for state, _ in found] == ["bad", "bad", "bad", "bad", "warn"]
    assert "publish as the service (state, alert, x/backfill)" in found[2][1]


def test_the_files_for_a_broker_of_ones_own_hold_what_they_promise(house, capsys):
    door, own = free_port(), free_port()
    section = (
        f'mode = "external"\nurl = "mqtt://127.0.0.1:{own}"\ninstruments_url = "mqtt://127.0.0.1:{door}"\n'
        f'username = "slopeward"\npassword_file = "{house.folder}/broker/service.secret"'
    )
    (house.folder / "broker").mkdir()
    (house.folder / "broker/service.secret").write_text("chosen-by-the-operator")
    service = house(section)
    config = str(house.folder / "slopeward.toml")
    words = ["broker", "acl", "--out", str(house.folder / "out"), "--json", "--config", config]
    assert run_verb(words) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ([one["username"] for one in shown], run_verb(words)) == (["north", "south"], 0)
    assert capsys.readouterr().out == ""  # shown once
    out = house.folder / "out"
    (house.folder / "m.conf").write_text(
        f"{'user root' if os.geteuid() == 0 else ''}\n"
        f"allow_anonymous false\npassword_file {out / PASSWORDS}\nacl_file {out / ACL}\n"
        f"listener {door} 127.0.0.1\nuse_username_as_clientid true\nlistener {own} 127.0.0.1\n"
    )
    process = subprocess.Popen([find_mosquitto(), "-c", house.folder / "m.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(service), description="Mosquitto")
        assert [state for state, _ in see(service)] == ["ok", "ok"]
        north = Access(port=door, username="north", password=shown[0]["password"])
        with calling(north) as gateway:
            assert gateway.publish("slopeward/v1/north/G1/obs") == "Success"
            assert gateway.publish("slopeward/v1/south/G1/obs") == "Not authorized"
    finally:
        process.terminate()
        process.wait(10)


def answers(service):
    try:
        with calling(find_access(service.broker), "x") as one:
            return one.is_in
    except OSError:
        return False


# ---- `slopeward doctor` names site files that came or changed after the start of the service ----
def test_a_site_file_that_the_service_has_not_taken_is_named(database, tmp_path):
    for name in ("north", "south", "west"):
        (tmp_path / f"{name}.toml").write_text(write_first_site(name))
    with database.write() as c:
        for name in ("north", "south"):
            write_heartbeat(c, "core", {}, T0)
            load_into_force(c, load_site(tmp_path / f"{name}.toml"), "ada", "start", T0)
    with (tmp_path / "south.toml").open("a") as file:
        file.write("# looked at in spring\n")
    service = ServiceConfig()
    service = service.model_copy(update={"paths": service.paths.model_copy(update={"sites": str(tmp_path)})})
    found = run_checks(CurrentDatabase(service, database, T0))
    assert [one.line for one in found if one.check.id == "sites.versions" and one.is_wrong] == [
        "south: its file has changed since the service started",
        "west: it is not watched yet, because its file was added after the service started",
    ]
