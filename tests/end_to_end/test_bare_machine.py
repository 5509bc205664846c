"""A fresh machine: only what `pip install .` brings, no Mosquitto, no PyTorch; one reading becomes one alert."""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY, free_port, wait_for
from tests.data.running import Service, hide_mosquitto, publish

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
UNREACHABLE = ("NewConnectionError", "Name or service not known", "Network is unreachable", "timed out", "ProxyError")
SITE = """
[site]
id = "s"
name = "First"
latitude = 46.2
longitude = 8.9
timezone = "Europe/Zurich"
[[station]]
id = "E1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
[[station]]
id = "R1"
[[station.series]]
quantity = "rain"
unit = "mm"
interval = "1h"
max_silence = "6h"
[[criterion]]
kind = "level"
series = "E1.crack_opening"
red = {over = 500.0}
author = "test"
reason = "the top level can be reached"
[[criterion]]
kind = "rain_sum"
series = "R1.rain"
yellow = {over = 60.0, window = "24h"}
author = "test"
reason = "one reading may ask for it: rain that is missing can only add"
[forecast]
models = ["auto", "gru"]
horizons = ["6h"]
[fusion]
top_needs = 1
[[recipient]]
name = "duty"
channels = ["log"]
levels = ["yellow", "orange", "red"]
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The `slopeward` of an environment with the locked packages of the service, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    done = install(python, "--require-hashes", "-r", "locks/service.txt")
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        link_packages(folder)  # no package index can be reached: the same packages, from where the tests run
        (folder / "bin/slopeward").write_text(f"#!{python}\nfrom monitor.cli.main import main\nmain()\n")
        (folder / "bin/slopeward").chmod(0o755)
    else:
        assert done.returncode == 0, done.stderr
        done = install(python, "--no-deps", "--no-build-isolation", ".")
        assert done.returncode == 0, done.stderr
    yield folder / "bin/slopeward"
    # two thirds of a gigabyte in many files: nobody need wait until they are gone
    subprocess.run(["sh", "-c", 'rm -rf "$1" >/dev/null 2>&1 &', "sh", str(folder)], stdin=subprocess.DEVNULL)


def install(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`pip install` into another environment; byte code is left out, for it costs more than it saves here."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--retries", "1"]
    return subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", *words], cwd=REPOSITORY, capture_output=True, text=True
    )


def link_packages(folder: Path) -> None:
    """Link what `pip install .` would bring, read from the declared dependencies, into the environment's packages."""
    target = next(folder.glob("lib/python*/site-packages"))
    (target / "slopeward.pth").write_text(f"{REPOSITORY}\n")
    wanted, done = [Requirement(text) for text in distribution("slopeward").requires or ()], set()
    while wanted:
        one = wanted.pop()
        extras = one.extras or {""}
        name = canonicalize_name(one.name)
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        for extra in extras - {e for n, e in done if n == name}:
            done.add((name, extra))
            found = distribution(name)
            inner = [Requirement(text) for text in found.requires or ()]
            wanted += [r for r in inner if r.marker is None or r.marker.evaluate({"extra": extra})]
            for part in {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (target / part).exists():
                    (target / part).symlink_to(Path(str(found.locate_file(part))))


def test_one_reading_becomes_one_alert_without_extras_and_without_mosquitto(bare: Path, tmp_path: Path) -> None:
    look = [bare.with_name("python"), "-c", "import monitor, sys; print(monitor.__file__); import torch"]
    looked = subprocess.run(look, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "No module named 'torch'" in looked.stderr
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    with Service(tmp_path, f"sqlite:///{tmp_path}/slopeward.db", broker_url, {"s": SITE}) as service:
        service.config.write_text(
            service.config.read_text().replace('mode = "external"', f'mode = "managed"\ndata = "{tmp_path}/broker"')
        )
        service.program = (*hide_mosquitto(), str(bare))
        service.start(90)
        health = ask(service)
        assert health["status"] == "degraded"
        assert "install Mosquitto" in " ".join(health["reasons"])
        assert not hazards_of(rows(service, "alerts", "list"))
        at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
        # what runs there knows MQTT 3.1.1 only
        publish(broker_url, [("slopeward/v1/s/R1/obs", {"time": at, "rain_mm": 80.0})], version=4)
        hazards = wait_for(lambda: hazards_of(rows(service, "alerts", "list")), 60, "the alert", 0.5)
        assert len(hazards) == 1
        assert hazards[0]["site"] == "s"
        page = urlopen(f"http://127.0.0.1:{service.port}/", timeout=10)
        assert page.status == 200
        said = service.call("status")
        assert said.returncode == 5, said.stdout + said.stderr
        assert "broker not durable" in said.stdout
        without_models(service, tmp_path)


def without_models(service: Service, folder: Path) -> None:
    """Simple forecasts run; what needs a network says in one line what is missing and what installs it."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [(now - timedelta(hours=h), 10 + h % 5 / 10) for h in range(300, -1, -1)]
    lines = [f"{at.isoformat()},E1,crack_opening_mm,{value}" for at, value in hours]
    (folder / "long.csv").write_text("\n".join(["time,station,quantity,value", *lines]))
    assert service.call("ingest", str(folder / "long.csv"), "--site", "s").returncode == 0
    issued = service.call("forecast", "run", "--site", "s")
    assert issued.returncode == 0, issued.stderr
    assert int(issued.stdout.split()[0]) >= 3, issued.stdout
    assert "gru not trained: PyTorch is not installed" in issued.stdout
    for words in (
        ("forecast", "train", "--site", "s", "--model", "gru"),
        ("anomalies", "train", "--site", "s", "--detector", "ae"),
    ):
        said = service.call(*words)
        assert said.returncode == 1, (words, said.stdout)
        assert said.stderr.count("\n") == 1, said.stderr
        assert "PyTorch is not installed" in said.stderr
        assert "pip install 'slopeward[models]'" in said.stderr
    checked = service.call("check")
    assert checked.returncode == 0, checked.stderr
    assert "gru: PyTorch is not installed" in checked.stderr
    looked = [json.loads(line) for line in service.call("doctor", "--json").stdout.splitlines()]
    said_of = {one["subject"]: one for one in looked if one["state"] != "ok"}
    assert "PyTorch is not installed" in said_of["packages"]["found"]
    assert "apt-get install mosquitto" in said_of["broker"]["remedy"]


def ask(service: Service) -> Any:
    with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=5) as answer:
        return json.load(answer)


def rows(service: Service, *words: str) -> list[dict[str, Any]]:
    said = service.call(*words, "--json").stdout
    return [json.loads(line) for line in said.splitlines()]


def hazards_of(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in alerts if one["ledger"] == "hazard"]
