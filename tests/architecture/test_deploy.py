"""What deploy/ asks for exists and is understood by the service; where a container engine runs it is started."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from monitor.config import load_service

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
# a Python that has pip-audit's answer ready, and runs what else it is given
PYTHON = """#!/bin/sh
[ "$1" != -m ] || { printf '%s' "$ANSWER"; exit 1; }
exec python3 "$@"
"""


def has_engine() -> bool:
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def test_the_service_understands_each_setting_of_the_compose_file(monkeypatch, tmp_path):
    settings = COMPOSE["services"]["slopeward"]["environment"]
    (tmp_path / "slopeward.toml").write_text((ROOT / "configs/slopeward.toml").read_text())
    for name, value in settings.items():
        monkeypatch.setenv(name, value.replace("${SLOPEWARD_DB_PASSWORD}", "p"))
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    config = load_service(None)
    assert config.broker.mode == "external"
    assert config.database.url.endswith("@database/slopeward")
    assert config.web.host == "0.0.0.0"


def test_nothing_of_the_compose_file_is_reachable_from_another_machine_or_may_do_more_than_it_needs():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    service = COMPOSE["services"]["slopeward"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_each_file_that_the_containers_are_made_of_exists():
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert "\nUSER slopeward" in dockerfile, "the service does not run as root"
    for path in re.findall(r"/src/([\w/.-]+)", dockerfile):
        assert (ROOT / path).exists(), path
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            made_by_the_owner = source == "./config"
            assert made_by_the_owner or not source.startswith(".") or (ROOT / "deploy" / source).is_file(), source


@pytest.mark.skipif(not has_engine(), reason="no container engine runs here")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_containers_start_and_the_page_answers(tmp_path):
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "deploy/config/sites").mkdir(parents=True)
    shutil.copy(ROOT / "configs/slopeward.toml", tmp_path / "deploy/config")
    (tmp_path / "here.yaml").write_text(yaml.safe_dump({"services": {"slopeward": {"build": {"context": str(ROOT)}}}}))
    base = ["docker", "compose", "-p", "slopeward-test", "-f", str(tmp_path / "deploy/compose.yaml")]
    base += ["-f", str(tmp_path / "here.yaml")]
    environment = {**os.environ, "SLOPEWARD_DB_PASSWORD": "only-for-this-test", "PACKAGES": "service"}
    try:
        subprocess.run([*base, "up", "-d", "--build", "--wait"], check=True, env=environment)
        health = [*base, "exec", "-T", "slopeward", "slopeward", "status", "--json"]
        assert subprocess.run(health, env=environment, capture_output=True).returncode == 0
    finally:
        subprocess.run([*base, "down", "-v"], check=False, env=environment)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 packages, no known weakness"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X"}]}]}', 1, "KNOWN WEAKNESSES: a 1: X"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 0, "NOT CHECKED: 1 of 1"),
        ("", 0, "does not answer"),
    ],
)
def test_an_audit_that_could_not_ask_does_not_say_that_all_is_well(tmp_path, answer, status, said):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "locks/audit.sh", python], capture_output=True, text=True, env={**os.environ, "ANSWER": answer}
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.count(said) == 5
