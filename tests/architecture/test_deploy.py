"""What deploy/ asks for exists and is understood by the service; where a container engine runs it is started."""

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
# a Python that has pip-audit's answer ready, and runs what else it is given
PYTHON = """#!/bin/sh
[ "$1" != -m ] || { printf '%s' "$ANSWER"; exit 1; }
exec python3 "$@"
"""


def fill_in(text):
    """What compose makes of a text with the password `p` in the environment."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda m: {"SLOPEWARD_DB_PASSWORD": "p"}[m[1]], text)


def has_engine() -> bool:
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return bool(shutil.which("docker")) and not any(subprocess.run(w, capture_output=True).returncode for w in asked)


def test_the_service_understands_each_setting_of_the_compose_file(monkeypatch, tmp_path):
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


def test_nothing_of_the_compose_file_is_reachable_from_another_machine_or_may_do_more_than_it_needs():
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    for name in ("slopeward", "broker", "scheduler", "worker"):
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in SERVICES[name]["security_opt"]
    own = [port for port in re.findall(r"^listener (\d+)$", BROKER, re.MULTILINE) if port != "1883"]
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert own == ["1884"]
    assert not [port for port in published if port.endswith(own[0])], "the service's door at the broker is published"


def test_what_the_compose_file_names_is_there():
    declared = set(COMPOSE["volumes"])
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, f"{name}: {set(service) - KEYS} are no keys of a service, or unknown to this test"
        named = {v.split(":")[0] for v in service.get("volumes", ()) if not v.startswith(".")}
        assert named <= declared, name
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], f"{name}: {other}"
    postgres = SERVICES["database"]["environment"]
    url = urlsplit(fill_in(SERVICES["slopeward"]["environment"]["SLOPEWARD_DATABASE__URL"]))
    assert url.hostname == "database"
    assert (url.username, url.path) == (postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}")
    assert url.password == fill_in(postgres["POSTGRES_PASSWORD"]) == "p"
    mounts = {v.split(":")[1] for v in SERVICES["broker"]["volumes"]}
    for path in re.findall(r"^(?:password_file|acl_file|persistence_location) (.+?)/?$", BROKER, re.MULTILINE):
        assert any(path == at or path.startswith(f"{at}/") for at in mounts), f"{path} is not in the broker's container"


class LaidOut:
    """The containers of the compose file as processes of this machine: folders for volumes, loopback for names."""

    def __init__(self, folder, database_url):
        self.folder = folder
        self.ports = {door: str(free_port()) for door in ("1883", "1884", "8080")}
        database = urlsplit(database_url)
        self.places = {
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
        # in the container nobody is root; here Mosquitto would become its own user
        head = "user root\n" if os.geteuid() == 0 else ""
        doors = re.compile(r"^listener (\d+)$", re.MULTILINE)
        text = doors.sub(lambda m: f"listener {self.ports[m[1]]} 127.0.0.1", BROKER)
        (folder / "compose-broker.conf").write_text(head + self.translate(text))
        self.processes = []

    def translate(self, text):
        known = sorted(self.places, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, known)), lambda m: str(self.places[m[0]]), fill_in(text))

    def environment(self, name):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        settings = {k: self.translate(v) for k, v in SERVICES[name].get("environment", {}).items()}
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
def laid_out(tmp_path, postgresql):
    if find_mosquitto() is None:
        skip_missing("Mosquitto")
    postgresql.execute("CREATE ROLE slopeward LOGIN PASSWORD 'p'", "CREATE DATABASE slopeward OWNER slopeward")
    found = LaidOut(tmp_path, postgresql.url("slopeward"))
    yield found
    found.end()
    postgresql.execute("DROP DATABASE slopeward WITH (FORCE)", "DROP ROLE slopeward")


@pytest.mark.soak
@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_broker_and_service_of_the_compose_file_work_together(laid_out):
    broker = laid_out.start("broker", *SERVICES["broker"]["entrypoint"])
    wait_for(lambda: laid_out.is_healthy("broker") or broker.poll() is not None, 30, "the broker", pause_s=0.3)
    assert broker.poll() is None, laid_out.log("broker")
    image = (ROOT / "deploy/Dockerfile").read_text()
    run = [word for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.+)$", image, re.MULTILINE) for word in json.loads(line)]
    service = laid_out.start("slopeward", *run)
    address = f"http://127.0.0.1:{laid_out.ports['8080']}/health"

    def look():
        assert service.poll() is None, laid_out.log("slopeward")
        try:
            with urlopen(address, timeout=5) as answer:
                return json.load(answer)["ingest"] or {"connected": {"live": False}}
        except (URLError, OSError):
            return {"connected": {"live": False}}

    wait_for(lambda: all(look()["connected"].values()), 200, "the service", pause_s=0.2)
    doors = [int(laid_out.ports[door]) for door in ("1883", "1884")]
    for door in doors:
        with calling(Access(port=door)) as nobody:
            assert not nobody.is_in
    said = laid_out.call("slopeward", "slopeward", "broker", "add", "s/G1", "--json")
    assert said.returncode == 0, said.stderr
    broker.send_signal(signal.SIGHUP)  # docker compose kill -s HUP broker
    facts = json.loads(said.stdout)
    login = Access(port=doors[0], username=facts["username"], password=facts["password"])

    def speaks():
        with calling(login) as instrument:
            if not instrument.is_in:
                return False
            assert instrument.publish("slopeward/v1/s/G2/obs", reading()) == "Not authorized"
            return instrument.publish("slopeward/v1/s/G1/obs", reading()) == "Success"

    wait_for(speaks, 20, "the login", pause_s=0.3)
    wait_for(lambda: look().get("stored") == 1, 30, "the reading", pause_s=0.2)


def reading():
    return json.dumps({"time": datetime.now(UTC).isoformat(), "displacement_mm": 1.0})


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


@pytest.mark.skipif(not has_engine(), reason="no container engine with compose runs here")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_containers_start_and_lose_no_reading_while_the_service_is_away(tmp_path):
    """As docs/how-to/install.md says it: build, start, a login, readings; the broker of the image is what it is."""
    deploy = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    (deploy / "config/sites").mkdir(parents=True)
    shutil.copy(ROOT / "configs/slopeward.toml", deploy / "config")
    (deploy / "config/sites/s.toml").write_text(site_file({"G1": "A", "G2": "B"}, "1h"))
    (deploy / ".env").write_text('SLOPEWARD_DB_PASSWORD=only-for-this-test\nEXTRAS="cap postgresql reports"\n')
    mine = {"image": "slopeward-test", "build": {"context": str(ROOT)}}
    here = {"services": dict.fromkeys(("slopeward", "broker"), mine)}
    (deploy / "here.yaml").write_text(yaml.safe_dump(here))

    def compose(*words, fine=(0,)):
        words = ["docker", "compose", "-p", "slopeward-test", "-f", "compose.yaml", "-f", "here.yaml", *words]
        done = subprocess.run(words, cwd=deploy, capture_output=True, text=True, check=False)
        assert done.returncode in fine, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def inside(*words, fine=(0,)):
        return compose("exec", "-T", "slopeward", *words, fine=fine)

    def count_stored():
        try:
            with urlopen("http://127.0.0.1:8080/health", timeout=5) as answer:
                return json.load(answer)["ingest"]["stored"]
        except (URLError, OSError, TypeError):
            return None

    try:
        compose("up", "-d", "--build", "--wait")
        status = json.loads(inside("slopeward", "status", "--json", fine=(6,)))  # no reading came yet: blind
        assert (status["processes"]["core"]["state"], status["sites"][0]["level_name"]) == ("running", "green")
        found = [json.loads(line) for line in inside("slopeward", "doctor", "--json").splitlines()]
        assert "ok" in {one["state"] for one in found if one["subject"] == "workers"}
        facts = json.loads(inside("slopeward", "broker", "add", "s/G1", "--json"))
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
        wait_for(lambda: count_stored() == 1, 120, "what came meanwhile", pause_s=0.3)
        assert "Read-only file system" in inside("sh", "-c", "touch /x 2>&1 || true")
        assert not inside("sh", "-c", "ls -A /src 2>/dev/null || true").strip()
    finally:
        compose("down", "-v")


def test_nothing_but_the_program_goes_into_the_image():
    """Beside it lie keys, logins, data and the history of a checkout; a layer keeps what a later one removes."""
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


def test_the_unit_holds_each_wall():
    """Where no systemd is there to weigh the unit (`tests/app/test_systemd_unit.py`)."""
    walls = {
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
        assert walls <= set((ROOT / f"deploy/{name}.service").read_text().splitlines()), name


@pytest.mark.parametrize("place", ["compose.yaml", "slopeward-scheduler.service", "slopeward-worker.service"])
def test_scheduler_and_worker_are_started_with_options_that_they_know(place):
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    if place == "compose.yaml":
        commands = [SERVICES[name]["entrypoint"] for name in ("scheduler", "worker")]
    else:
        line = re.search(r"^ExecStart=(.*)$", (ROOT / "deploy" / place).read_text(), re.MULTILINE)[1]
        line = re.sub(r"/etc/slopeward/tls/\w+.pem", __file__, line)  # a file that is there
        commands = [line.replace("${SCHEDULER}", "tls://s:8786").replace("${THREADS}", "2").split()]
    for program, which, *words in commands:
        assert Path(program).name == "dask"
        command = {"scheduler": scheduler, "worker": worker}[which]
        command.make_context(which, words)
        named = {word for word in words if word.startswith("--")}
        assert named <= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


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
    assert done.stdout.count(said) == 4


def test_a_file_of_a_release_that_was_replaced_is_found_and_so_are_new_sums(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    dist, key, foreign = tmp_path / "dist", tmp_path / "key", tmp_path / "foreign"
    dist.mkdir()
    for name in ("slopeward-1-py3-none-any.whl", "slopeward-core.cdx.json"):
        (dist / name).write_text(name)
    for one in (key, foreign):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(one)], check=True)
    (tmp_path / "signers").write_text(f"release@slopeward {key.with_suffix('.pub').read_text()}")

    def sign(by):
        words = ["bash", str(ROOT / "locks/sign.sh"), str(dist)]
        subprocess.run(words, env={**os.environ, "RELEASE_KEY": str(by)}, check=True, capture_output=True)

    def check():
        sums = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True)
        words = ["ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "signers"), "-I", "release@slopeward"]
        with (dist / "SHA256SUMS").open("rb") as content:
            words += ["-n", "slopeward-release", "-s", "SHA256SUMS.sig"]
            signed = subprocess.run(words, cwd=dist, stdin=content, capture_output=True)
        return sums.returncode == 0, signed.returncode == 0

    sign(key)
    assert check() == (True, True)
    (dist / "slopeward-1-py3-none-any.whl").write_text("replaced")
    assert check() == (False, True)
    sign(foreign)  # the sums fit again, the signature is nobody's that we trust
    assert check() == (True, False)
    assert "locks/sign.sh dist" in (ROOT / "locks/release.sh").read_text()
