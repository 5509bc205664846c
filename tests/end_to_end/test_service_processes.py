"""Each process of the service receives only its secrets, and a killed service leaves no process behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.app.child_environment import CORE_ALONE, SHARED
from monitor.broker.logins import CONFIG, PID_FILE, is_process
from monitor.ingest.broker_process import find_mosquitto
from monitor.settings.service import SECRETS
from tests.data.running import Service
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.waiting import free_port, skip_missing, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]
# Processes that receive each variable.
READERS_BY_VARIABLE = {
    "SLOPEWARD_BROKER__PASSWORD": "core",
    "SLOPEWARD_SMTP__PASSWORD": "core",
    "SLOPEWARD_SIGNING__KEYS": "core",
    "SIREN_URL": "core",
    "SLOPEWARD_WATCHDOG__PING_URL": "core",
    "SLOPEWARD_BY_PASSWORD": "",
    "PGPASSWORD": "core web",
}
PROCESS_BY_MODULE = {"monitor.app.core": "core", "monitor.web.server": "web"}


def list_descendants(pid: int) -> Iterator[tuple[int, list[str]]]:
    """Yield every descendant of a process with its command."""
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        yield child, Path(f"/proc/{child}/cmdline").read_text().split("\0")
        yield from list_descendants(child)


@pytest.mark.soak
def test_each_process_receives_only_its_secrets_and_a_killed_service_leaves_no_broker(
    sqlite_url, tmp_path, monkeypatch
):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    secrets = {name: f"secret-of-{name.lower()}" for name in READERS_BY_VARIABLE}
    secrets["SLOPEWARD_SIGNING__KEYS"] = "k1a2b3c:" + "5e" * 32
    secrets["SLOPEWARD_WATCHDOG__PING_URL"] = "http://127.0.0.1:9/secret-of-ping"
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    sites = {"s": site_file({"G1": "A", "G2": "B"}, "1h")}
    folder = tmp_path / "b"
    new_service = Service(tmp_path, sqlite_url, f"mqtt://127.0.0.1:{free_port()}", sites, broker=folder)
    with new_service as service:
        process = service.launch()
        wait_for(service.healthy, 200, "the service", pause_s=0.5)
        descendants = list(list_descendants(process.pid))
        environments = {}
        for pid, command in descendants:
            name = next(
                (PROCESS_BY_MODULE[argument] for argument in command if argument in PROCESS_BY_MODULE),
                Path(command[0]).name,
            )
            try:
                environments[name] = Path(f"/proc/{pid}/environ").read_text()
            except PermissionError:
                pytest.skip("this user cannot read the environment of processes that hide their memory")
        assert {"core", "web", "mosquitto"} <= set(environments)
        for variable, readers in READERS_BY_VARIABLE.items():
            actual_readers = {name for name, environ in environments.items() if secrets[variable] in environ}
            assert actual_readers == set(readers.split()), variable
        broker = int((folder / PID_FILE).read_text())
        config = str((folder / CONFIG).resolve())
        assert is_process(broker, config)
        service.kill_supervisor()
        wait_for(lambda: not is_process(broker, config), 20, "the broker of a killed service to end")
        wait_for(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid, _ in descendants), 20, "the others", pause_s=0.1
        )
        service.start(200)
        assert int((folder / PID_FILE).read_text()) != broker
        assert service.stop() == 0
    assert os.environ["PGPASSWORD"]  # the variable still exists in this process


def test_each_secret_of_the_configuration_belongs_to_the_page_or_to_the_core() -> None:
    page_sections = {section for section, _ in SECRETS} - CORE_ALONE - SHARED
    assert page_sections <= {"oidc", "second_factor"}, "decide in monitor.app.child_environment who needs it"
