"""Files in deploy/ refer to existing files and settings. If a container engine runs, the containers are started."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import yaml

from monitor.broker.access import Access
from monitor.ingest.broker_process import find_mosquitto
from monitor.settings.service import load_service
from tests.data.servers.mqtt_client import calling
from tests.end_to_end.test_never_lower import site_file
from tests.fixtures.waiting import free_port, skip_missing, wait_for

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES = COMPOSE["services"]
BROKER = (ROOT / "deploy/compose-broker.conf").read_text()
KEYS = set(
    """
image build read_only tmpfs cap_drop security_opt stop_grace_period restart environment volumes healthcheck
entrypoint ports depends_on logging profiles
""".split()
)
# A Python that prints a prepared answer of pip-audit, and runs everything else.
PYTHON = """#!/bin/sh
[ "$1" != -m ] || { printf '%s' "$ANSWER"; exit 1; }
exec python3 "$@"
"""


def fill_in(text):
    """Replace variables as compose does, with the password `p` in the environment."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: {"SLOPEWARD_DB_PASSWORD": "p"}[match[1]], text)


def has_engine() -> bool:
    if not shutil.which("docker"):
        return False
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands)


def test_settings_of_compose_file_are_valid(monkeypatch, tmp_path):
    settings = SERVICES["slopeward"]["environment"]
    (tmp_path / "slopeward.toml").write_text((ROOT / "configs/slopeward.toml").read_text())
    (tmp_path / "secret").write_text("of the broker")
    for name, value in settings.items():
        monkeypatch.setenv(name, fill_in(value))
    monkeypatch.setenv("SLOPEWARD_BROKER__PASSWORD_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    config = load_service(None)
    assert config.broker.mode == "external"
    assert config.database.url.endswith("@database/slopeward")
    assert config.web.host == "0.0.0.0"


def test_containers_are_confined_and_publish_only_local_ports():
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    for name in ("slopeward", "broker", "scheduler", "worker"):
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in SERVICES[name]["security_opt"]
    service_ports = [port for port in re.findall(r"^listener (\d+)$", BROKER, re.MULTILINE) if port != "1883"]
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert service_ports == ["1884"]
    assert not [port for port in published if port.endswith(service_ports[0])], (
        "the port of the service at the broker is published"
    )


def test_volumes_and_services_of_compose_file_are_declared():
    declared_volumes = set(COMPOSE["volumes"])
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, (
            f"{name}: {set(service) - KEYS} are not keys of a service, or missing in KEYS of this test"
        )
        used_volumes = {volume.split(":")[0] for volume in service.get("volumes", ()) if not volume.startswith(".")}
        assert used_volumes <= declared_volumes, name
        for other, dependency in service.get("depends_on", {}).items():
            assert dependency["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], f"{name}: {other}"
    postgres = SERVICES["database"]["environment"]
    url = urlsplit(fill_in(SERVICES["slopeward"]["environment"]["SLOPEWARD_DATABASE__URL"]))
    assert url.hostname == "database"
    assert (url.username, url.path) == (postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}")
    assert url.password == fill_in(postgres["POSTGRES_PASSWORD"]) == "p"
    mounts = {volume.split(":")[1] for volume in SERVICES["broker"]["volumes"]}
    for path in re.findall(r"^(?:password_file|acl_file|persistence_location) (.+?)/?$", BROKER, re.MULTILINE):
        assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), (
            f"{path} is not in the container of the broker"
        )


class LocalContainers:
    """Containers of the compose file as processes on this machine, with folders as volumes and loopback addresses."""

    def __init__(self, folder, database_url):
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("1883", "1884", "8080")}
        database = urlsplit(database_url)
        self.replacements = {
            "/etc/slopeward-broker.conf": folder / "compose-broker.conf",
            "/etc/slopeward": folder / "config",
            "/var/lib/slopeward-broker": folder / "broker",
            "/var/lib/slopeward": folder / "state",
            "mqtt://broker:1884": f"mqtt://127.0.0.1:{self.ports['1884']}",
            "mqtt://broker:1883": f"mqtt://127.0.0.1:{self.ports['1883']}",
            "'127.0.0.1', 1884": f"'127.0.0.1', {self.ports['1884']}",
            "@database/": f"@127.0.0.1:{database.port}/",
            "0.0.0.0": "127.0.0.1",
        }
        (folder / "config/sites").mkdir(parents=True)
        (folder / "broker").mkdir(mode=0o700)
        (folder / "state").mkdir()
        shutil.copy(ROOT / "configs/slopeward.toml", folder / "config")
        (folder / "config/sites/s.toml").write_text(site_file({"G1": "A", "G2": "B"}, "1h"))
        # Started as root, Mosquitto would change to its own user. In the container it is not started as root.
        head = "user root\n" if os.geteuid() == 0 else ""
        listeners = re.compile(r"^listener (\d+)$", re.MULTILINE)
        text = listeners.sub(lambda match: f"listener {self.ports[match[1]]} 127.0.0.1", BROKER)
        (folder / "compose-broker.conf").write_text(head + self.translate(text))
        self.processes = []

    def translate(self, text):
        longest_first = sorted(self.replacements, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first))
        return re.sub(pattern, lambda match: str(self.replacements[match[0]]), fill_in(text))

    def environment(self, name):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        settings = {
            variable: self.translate(value) for variable, value in SERVICES[name].get("environment", {}).items()
        }
        return {"PATH": path, "HOME": str(self.folder / "state"), "SLOPEWARD_WEB__PORT": self.ports["8080"], **settings}

    def start(self, name, *words):
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.translate(w) for w in words],
                env=self.environment(name),
                cwd=self.folder / "state",
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def call(self, name, *words):
        return subprocess.run(
            [self.translate(w) for w in words],
            env=self.environment(name),
            cwd=self.folder / "state",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def is_healthy(self, name):
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.call(name, *words).returncode == 0

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


@pytest.fixture
def containers(tmp_path, postgresql):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    postgresql.execute("CREATE ROLE slopeward LOGIN PASSWORD 'p'", "CREATE DATABASE slopeward OWNER slopeward")
    local = LocalContainers(tmp_path, postgresql.url("slopeward"))
    yield local
    local.end()
    postgresql.execute("DROP DATABASE slopeward WITH (FORCE)", "DROP ROLE slopeward")


@pytest.mark.soak
@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_broker_and_service_of_the_compose_file_work_together(containers):
    broker = containers.start("broker", *SERVICES["broker"]["entrypoint"])
    wait_for(lambda: containers.is_healthy("broker") or broker.poll() is not None, 30, "the broker", pause_s=0.3)
    assert broker.poll() is None, containers.log("broker")
    image = (ROOT / "deploy/Dockerfile").read_text()
    run = [word for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.+)$", image, re.MULTILINE) for word in json.loads(line)]
    service = containers.start("slopeward", *run)
    address = f"http://127.0.0.1:{containers.ports['8080']}/health"

    def read_health():
        assert service.poll() is None, containers.log("slopeward")
        try:
            with urlopen(address, timeout=5) as answer:
                return json.load(answer)["ingest"] or {"connected": {"live": False}}
        except (URLError, OSError):
            return {"connected": {"live": False}}

    wait_for(lambda: all(read_health()["connected"].values()), 200, "the service", pause_s=0.2)
    broker_ports = [int(containers.ports[port]) for port in ("1883", "1884")]
    for port in broker_ports:
        with calling(Access(port=port)) as client_without_login:
            assert not client_without_login.is_in
    added = containers.call("slopeward", "slopeward", "broker", "add", "s/G1", "--json")
    assert added.returncode == 0, added.stderr
    broker.send_signal(signal.SIGHUP)  # docker compose kill -s HUP broker
    facts = json.loads(added.stdout)
    login = Access(port=broker_ports[0], username=facts["username"], password=facts["password"])

    def can_publish():
        with calling(login) as instrument:
            if not instrument.is_in:
                return False
            assert instrument.publish("slopeward/v1/s/G2/obs", reading()) == "Not authorized"
            return instrument.publish("slopeward/v1/s/G1/obs", reading()) == "Success"

    wait_for(can_publish, 20, "the login", pause_s=0.3)
    wait_for(lambda: read_health().get("stored") == 1, 30, "the reading", pause_s=0.2)


def reading():
    return json.dumps({"time": datetime.now(UTC).isoformat(), "displacement_mm": 1.0})


def test_files_of_dockerfile_and_compose_file_exist():
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert "\nUSER slopeward" in dockerfile, "the service does not run as root"
    for path in re.findall(r"/src/([\w/.-]+)", dockerfile):
        assert (ROOT / path).exists(), path
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            is_written_by_user = source == "./config"
            assert is_written_by_user or not source.startswith(".") or (ROOT / "deploy" / source).is_file(), source


@pytest.mark.skipif(not has_engine(), reason="no container engine with compose runs here")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_containers_start_and_lose_no_reading_while_service_is_stopped(tmp_path):
    """Follow docs/how-to/install.md: build, start, add a login, publish readings."""
    deploy = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    (deploy / "config/sites").mkdir(parents=True)
    shutil.copy(ROOT / "configs/slopeward.toml", deploy / "config")
    (deploy / "config/sites/s.toml").write_text(site_file({"G1": "A", "G2": "B"}, "1h"))
    (deploy / ".env").write_text('SLOPEWARD_DB_PASSWORD=only-for-this-test\nEXTRAS="cap postgresql reports"\n')
    test_image = {"image": "slopeward-test", "build": {"context": str(ROOT)}}
    override = {"services": dict.fromkeys(("slopeward", "broker"), test_image)}
    (deploy / "override.yaml").write_text(yaml.safe_dump(override))

    def compose(*arguments, statuses=(0,)):
        files = ["-f", "compose.yaml", "-f", "override.yaml"]
        command = ["docker", "compose", "-p", "slopeward-test", *files, *arguments]
        done = subprocess.run(command, cwd=deploy, capture_output=True, text=True, check=False)
        assert done.returncode in statuses, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run_in_container(*command, statuses=(0,)):
        return compose("exec", "-T", "slopeward", *command, statuses=statuses)

    def count_stored():
        try:
            with urlopen("http://127.0.0.1:8080/health", timeout=5) as answer:
                return json.load(answer)["ingest"]["stored"]
        except (URLError, OSError, TypeError):
            return None

    try:
        compose("up", "-d", "--build", "--wait")
        status = json.loads(run_in_container("slopeward", "status", "--json", statuses=(6,)))  # no readings yet: blind
        assert (status["processes"]["core"]["state"], status["sites"][0]["level_name"]) == ("running", "green")
        checks = [json.loads(line) for line in run_in_container("slopeward", "doctor", "--json").splitlines()]
        assert "ok" in {check["state"] for check in checks if check["subject"] == "workers"}
        facts = json.loads(run_in_container("slopeward", "broker", "add", "s/G1", "--json"))
        compose("kill", "-s", "HUP", "broker")
        login = Access(port=1883, username=facts["username"], password=facts["password"])

        def publish():
            with calling(login) as instrument:
                return instrument.is_in and instrument.publish("slopeward/v1/s/G1/obs", reading()) == "Success"

        wait_for(publish, 30, "the login", pause_s=0.3)
        wait_for(lambda: count_stored() == 1, 30, "the reading", pause_s=0.3)
        compose("stop", "slopeward")
        assert publish()
        compose("start", "slopeward")
        wait_for(lambda: count_stored() == 1, 120, "the reading of the stopped service", pause_s=0.3)
        assert "Read-only file system" in run_in_container("sh", "-c", "touch /x 2>&1 || true")
        assert not run_in_container("sh", "-c", "ls -A /src 2>/dev/null || true").strip()
    finally:
        compose("down", "-v")


def test_image_contains_only_files_of_the_program():
    """A checkout also contains keys, logins, data and its history, and a layer of an image never loses a file."""
    everything, *named = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"#", ""}
    ]
    assert everything == "*"
    kept = {line.removeprefix("!") for line in named if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], "LICENSE", "NOTICE", "README.md", "locks", "pyproject.toml"}
    results = "packages/lab/benchmarks/results"
    needed = {results if path.startswith(f"{results}/") else path for path in needed} | {"deploy/weights"}
    assert kept == needed


def test_units_restrict_their_processes():
    """Compare the text of the units. `tests/app/test_systemd_unit.py` needs systemd."""
    restrictions = {
        "MemoryMax=80%",
        "TasksMax=512",
        "PrivateUsers=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "RestrictNamespaces=yes",
        "UMask=0027",
        "SystemCallFilter=~@privileged @resources",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    }
    for name in ("slopeward", "slopeward-scheduler", "slopeward-worker"):
        assert restrictions <= set((ROOT / f"deploy/{name}.service").read_text().splitlines()), name


def run_server_command(tmp_path, *arguments, uid=0, **environment):
    """Run deploy/slopeward-command.sh below a folder. Return the exit status, and the output as lines.

    The program prints its user, its arguments and its environment. `runuser` sets a variable instead of the user.
    """
    programs = {
        "program": '#!/bin/sh\necho "as ${RUNUSER:-caller} in $PWD: $*"\nenv',
        "id": f'#!/bin/sh\n[ "$2" != "" ] || echo {uid}\n[ "$2" != absent ]',
        "runuser": '#!/bin/sh\nexport RUNUSER=$2\nshift 3\nexec "$@"',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = (ROOT / "deploy/slopeward-command.sh").read_text()
    script = script.replace("/opt/slopeward/.venv/bin/slopeward", str(tmp_path / "program"))
    script = script.replace("/etc/slopeward\n", f"{tmp_path}/etc\n")
    (tmp_path / "slopeward").write_text(script)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
    result = subprocess.run(
        ["sh", tmp_path / "slopeward", *arguments], env=variables, cwd=tmp_path, capture_output=True, text=True
    )
    return result.returncode, (result.stdout + result.stderr).splitlines()


def test_command_of_a_server_has_the_configuration_and_the_secrets_of_the_service(tmp_path):
    (tmp_path / "etc").mkdir()
    secrets = "# comment\n\nSLOPEWARD_SMTP__PASSWORD=a b=c$d\nQUOTED=\"x y\"\nBAD NAME=1\nCALLER=file\nLAST='z'"
    (tmp_path / "etc/secrets.env").write_text(secrets)
    status, lines = run_server_command(tmp_path, "status", "a b", CALLER="mine")
    assert status == 0
    assert lines[0] == f"as slopeward in {tmp_path}: status a b"
    settings = {f"SLOPEWARD_CONFIG={tmp_path}/etc/slopeward.toml", "SLOPEWARD_SMTP__PASSWORD=a b=c$d"}
    assert settings | {"QUOTED=x y", "CALLER=mine", "LAST=z"} <= set(lines)
    assert not [line for line in lines if line.startswith("BAD")]


def test_command_of_a_server_keeps_the_user_and_the_configuration_of_its_caller(tmp_path):
    status, lines = run_server_command(tmp_path, "status", uid=1000, SLOPEWARD_CONFIG="/srv/other.toml")
    assert status == 0
    assert lines[0] == f"as caller in {tmp_path}: status"
    assert "SLOPEWARD_CONFIG=/srv/other.toml" in lines


@pytest.mark.parametrize("place", ["compose.yaml", "slopeward-scheduler.service", "slopeward-worker.service"])
def test_options_of_scheduler_and_worker_exist(place):
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    if place == "compose.yaml":
        commands = [SERVICES[name]["entrypoint"] for name in ("scheduler", "worker")]
    else:
        line = re.search(r"^ExecStart=(.*)$", (ROOT / "deploy" / place).read_text(), re.MULTILINE)[1]
        line = re.sub(r"/etc/slopeward/tls/\w+.pem", __file__, line)  # dask requires existing files
        commands = [line.replace("${SCHEDULER}", "tls://s:8786").replace("${THREADS}", "2").split()]
    for program, role, *arguments in commands:
        assert Path(program).name == "dask"
        command = {"scheduler": scheduler, "worker": worker}[role]
        command.make_context(role, arguments)
        options = {argument for argument in arguments if argument.startswith("--")}
        assert options <= {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 packages, no known vulnerability"),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X"}]}]}',
            1,
            "KNOWN VULNERABILITIES: a 1: X",
        ),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 0, "NOT CHECKED: 1 of 1"),
        ("", 0, "cannot be reached"),
    ],
)
def test_audit_reports_packages_that_it_could_not_check(tmp_path, answer, status, message):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "locks/audit.sh", python], capture_output=True, text=True, env={**os.environ, "ANSWER": answer}
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.count(message) == 4


def test_replaced_file_and_replaced_sums_of_release_are_detected(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    dist = tmp_path / "dist"
    key = tmp_path / "key"
    foreign_key = tmp_path / "foreign"
    dist.mkdir()
    for name in ("slopeward-1-py3-none-any.whl", "slopeward-core.cdx.json"):
        (dist / name).write_text(name)
    for path in (key, foreign_key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    (tmp_path / "signers").write_text(f"release@slopeward {key.with_suffix('.pub').read_text()}")

    def sign(signing_key):
        command = ["bash", str(ROOT / "locks/sign.sh"), str(dist)]
        subprocess.run(command, env={**os.environ, "RELEASE_KEY": str(signing_key)}, check=True, capture_output=True)

    def check():
        sums = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True)
        command = ["ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "signers"), "-I", "release@slopeward"]
        with (dist / "SHA256SUMS").open("rb") as content:
            command += ["-n", "slopeward-release", "-s", "SHA256SUMS.sig"]
            signed = subprocess.run(command, cwd=dist, stdin=content, capture_output=True)
        return sums.returncode == 0, signed.returncode == 0

    sign(key)
    assert check() == (True, True)
    (dist / "slopeward-1-py3-none-any.whl").write_text("replaced")
    assert check() == (False, True)
    sign(foreign_key)  # the sums match again, but the signature is not one of a trusted key
    assert check() == (True, False)
    assert "locks/sign.sh dist" in (ROOT / "locks/release.sh").read_text()
