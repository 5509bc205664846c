"""`slopeward doctor` tests what a foreign client can do at the running Mosquitto."""

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
from monitor.cli.main import run_command
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
def write_config(tmp_path, sqlite_url, monkeypatch):
    """Return a function that writes a service file with a broker section and returns its settings.

    The folder of the file, with two sites, is the attribute `folder` of the function.
    """
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    for name in [variable for variable in os.environ if variable.startswith("SLOPEWARD_") and "__" in variable]:
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


def list_login_findings(service):
    return [
        (result.level, result.text) for result in run_checks(RunningBroker(service)) if result.check.area == "logins"
    ]


def test_managed_broker_refuses_foreign_clients_and_an_open_one_is_reported(write_config):
    port = free_port()
    for anonymous in (False, True):
        service = write_config(f'url = "mqtt://127.0.0.1:{port}"\nanonymous = {str(anonymous).lower()}')
        broker = ManagedBroker(write_config.folder / "broker", port, anonymous=anonymous)
        broker.start()
        try:
            with calling(find_access(service.broker), "slopeward") as session:
                findings = list_login_findings(service)
                assert session.ends == []  # doctor never takes the session of the service
        finally:
            broker.stop()
        url = f"mqtt://127.0.0.1:{port}"
        if not anonymous:
            client_text = "an instrument with a login for something else"
            assert findings == [
                ("ok", f"{url} refuses clients without a login"),
                ("ok", f"{client_text} can publish for no site, not as the service, and take no session of it"),
            ]
            continue
        assert findings[:3] == [
            ("bad", f"{url} lets in clients without a login"),
            ("bad", "a client without a login can publish readings of north, south"),
            ("bad", "a client without a login can take a session of the service (client id slopeward)"),
        ]
        assert not any(
            "as the service (" in line for _, line in findings
        )  # an open broker still refuses levels and alerts


def test_open_external_broker_is_reported(write_config, mosquitto):
    findings = list_login_findings(write_config(f'mode = "external"\nurl = "{mosquitto.url}"'))
    assert [state for state, _ in findings] == ["bad", "bad", "bad", "bad", "warn"]
    assert "publish as the service (state, alert, x/backfill)" in findings[2][1]


def test_files_of_broker_acl_protect_an_external_broker(write_config, capsys):
    instrument_port, service_port = free_port(), free_port()
    section = (
        f'mode = "external"\nurl = "mqtt://127.0.0.1:{service_port}"\ninstruments_url = "mqtt://127.0.0.1:{instrument_port}"\n'
        f'username = "slopeward"\npassword_file = "{write_config.folder}/broker/service.secret"'
    )
    (write_config.folder / "broker").mkdir()
    (write_config.folder / "broker/service.secret").write_text("chosen-by-the-operator")
    service = write_config(section)
    config = str(write_config.folder / "slopeward.toml")
    command = ["broker", "acl", "--out", str(write_config.folder / "out"), "--json", "--config", config]
    assert run_command(command) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ([login["username"] for login in shown], run_command(command)) == (["north", "south"], 0)
    assert capsys.readouterr().out == ""  # passwords are printed only once
    out = write_config.folder / "out"
    (write_config.folder / "m.conf").write_text(
        f"{'user root' if os.geteuid() == 0 else ''}\n"
        f"allow_anonymous false\npassword_file {out / PASSWORDS}\nacl_file {out / ACL}\n"
        f"listener {instrument_port} 127.0.0.1\nuse_username_as_clientid true\nlistener {service_port} 127.0.0.1\n"
    )
    process = subprocess.Popen([find_mosquitto(), "-c", write_config.folder / "m.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts_service(service), description="Mosquitto")
        assert [state for state, _ in list_login_findings(service)] == ["ok", "ok"]
        north = Access(port=instrument_port, username="north", password=shown[0]["password"])
        with calling(north) as gateway:
            assert gateway.publish("slopeward/v1/north/G1/obs") == "Success"
            assert gateway.publish("slopeward/v1/south/G1/obs") == "Not authorized"
    finally:
        process.terminate()
        process.wait(10)


def accepts_service(service):
    try:
        with calling(find_access(service.broker), "x") as client:
            return client.is_in
    except OSError:
        return False


# ---- `slopeward doctor` names site files that were added or changed after the start of the service ----
def test_site_file_not_loaded_by_the_service_is_reported(database, tmp_path):
    for name in ("north", "south", "west"):
        (tmp_path / f"{name}.toml").write_text(write_first_site(name))
    with database.write() as connection:
        for name in ("north", "south"):
            write_heartbeat(connection, "core", {}, T0)
            load_into_force(connection, load_site(tmp_path / f"{name}.toml"), "ada", "start", T0)
    with (tmp_path / "south.toml").open("a") as file:
        file.write("# looked at in spring\n")
    service = ServiceConfig()
    service = service.model_copy(update={"paths": service.paths.model_copy(update={"sites": str(tmp_path)})})
    results = run_checks(CurrentDatabase(service, database, T0))
    assert [result.line for result in results if result.check.id == "sites.versions" and result.is_wrong] == [
        "south: its file has changed since the service started",
        "west: it is not watched yet, because its file was added after the service started",
    ]
