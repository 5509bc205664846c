"""A fresh machine: only what `pip install .[demo]` brings, no Mosquitto, no PyTorch; one reading becomes one alert."""

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from detection.imagery.data.generate import write_scene
from monitor.settings.service import load_service
from tests.data.running import Service, hide_mosquitto, publish
from tests.data.site_text import bounds, criterion, head, series, station, table
from tests.fixtures.waiting import REPOSITORY, free_port, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
SITE = (
    head("s", "First", 46.2, 8.9, timezone="Europe/Zurich")
    + station("E1", series("crack_opening", "mm", max_silence="6h"))
    + station("R1", series("rain", "mm", max_silence="6h"))
    + criterion("level", series="E1.crack_opening", red={"over": 500.0}, author="test", reason="red can be reached")
    # one reading may ask for it: rain that is missing can only add
    + criterion("rain_sum", series="R1.rain", **bounds(yellow="60 24h"), author="test", reason="one reading")
    + table("[forecast]", models=["gru"], horizons=["6h"])
    + table("[fusion]", top_needs=1)
    + table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
)


# Every module of the service is imported, then verbs run one after the other in the same process.
WALK = """
import contextlib, importlib, io, json, pkgutil, sys
import monitor
names = [one.name for one in pkgutil.walk_packages(monitor.__path__, "monitor.") if not one.name.endswith("__main__")]
from monitor.extras import explain_missing
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # a file that stands on an extra, loaded where it is asked for
        if explain_missing(error) is None:
            raise
from monitor.cli.main import run_verb
told = {"modules": len(names), "place": monitor.__file__, "verbs": []}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_verb(words)
    told["verbs"].append([status, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `slopeward` of an environment with what `pip install .[demo]` brings, and nothing else.

    Slopeward is built and installed. The packages that its wheel asks for, and those that they ask for, are links to
    those of this environment: the same files, without a minute of downloading and unpacking in each run. What the
    wheel does not ask for is not there: an import of PyTorch fails as on a machine that never had it.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), ".")
    (wheel,) = folder.glob("*.whl")
    run_pip("--python", str(folder / "bin/python"), "install", "--no-deps", "--no-index", "--no-compile", str(wheel))
    packages = next(folder.glob("lib/python*/site-packages"))
    (installed,) = Distribution.discover(name="slopeward", path=[str(packages)])
    assert installed.metadata["License-Expression"] == "Apache-2.0 AND BSD-3-Clause AND MIT"
    link_packages(packages, installed.requires or [], "demo")
    return folder / "bin/slopeward"


def run_pip(*words: str) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def link_packages(target: Path, asked: Sequence[str], extra: str) -> None:
    """Link packages that are asked for, and what they ask for in turn, into the packages of another environment."""
    waiting, done = [(Requirement(text), wish) for wish in ("", extra) for text in asked], set()
    while waiting:
        one, extra = waiting.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        found = distribution(name)
        for wanted in {"", *one.extras} - {e for n, e in done if n == name}:
            done.add((name, wanted))
            waiting += [(Requirement(text), wanted) for text in found.requires or ()]
        for part in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (target / part).exists():
                (target / part).symlink_to(Path(str(found.locate_file(part))))


@pytest.mark.soak
def test_one_reading_becomes_one_alert_without_other_extras_and_without_mosquitto(bare: Path, tmp_path: Path) -> None:
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    url = f"sqlite:///{tmp_path}/slopeward.db"
    with Service(tmp_path, url, broker_url, {"s": SITE}, broker=tmp_path / "broker") as service:
        service.program = (*hide_mosquitto(), str(bare))
        service.start()
        health = ask(service)
        assert health["status"] == "degraded"
        assert "install Mosquitto" in " ".join(health["reasons"])
        hazards = "SELECT 1 FROM alert WHERE ledger = 'hazard'"
        assert service.query(hazards) == []
        at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
        # what runs there knows MQTT 3.1.1 only
        publish(broker_url, [("slopeward/v1/s/R1/obs", {"time": at, "rain_mm": 80.0})], version=4)
        wait_for(lambda: service.query(hazards), description="the alert")
        listed = [json.loads(line) for line in service.call("alerts", "list", "--json").stdout.splitlines()]
        assert [one["site"] for one in listed if one["ledger"] == "hazard"] == ["s"]
        assert urlopen(f"http://127.0.0.1:{service.port}/", timeout=30).status == 200
        said = service.call("status")
        assert said.returncode == 5, said.stdout + said.stderr
        assert "broker not durable" in said.stdout
        words = [bare.with_name("python"), "-P", "-m", "slopeward", "--version"]
        assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0
        without_models(service, bare, tmp_path)


def without_models(service: Service, bare: Path, folder: Path) -> None:
    """Simple forecasts run; what needs a network says in one line what is missing and what installs it."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [(now - timedelta(hours=h), 10 + h % 5 / 10) for h in range(300, -1, -1)]
    lines = [f"{at.isoformat()},E1,crack_opening_mm,{value}" for at, value in hours]
    (folder / "long.csv").write_text("\n".join(["time,station,quantity,value", *lines]))
    record = folder / "record.csv"
    record.write_text((folder / "long.csv").read_text().replace("crack_opening_mm", "displacement_mm"))
    scene, data = str(folder / "scene"), ("--data", str(folder))
    write_scene(Path(scene), 1, size_px=64, center_lon=8.9, center_lat=46.2)
    mine = ("--site", "s", "--config", str(service.config))
    said = walk(
        bare,
        folder,
        [
            ("ingest", str(folder / "long.csv"), *mine),
            ("forecast", "run", *mine),
            ("scenes", "add", scene, *mine),
            ("scenes", "models"),
            ("scenes", "detect", scene, "--out", str(folder / "found")),
            ("check", "--config", str(service.config)),
            ("doctor", "--json", "--config", str(service.config)),
            ("forecast", "train", "--model", "gru", *mine),
            ("forecast", "backtest", "--data", str(record), "--models", "gru", "--horizons", "6h"),
            ("anomalies", "train", "--detector", "ae", *mine),
            ("scenes", "score", "--weights", "generated", *data),
            ("scenes", "train", "--recipe", "generated"),
        ],
    )
    read, issued, added, listed, detected, checked, looked, *refused, train = said
    assert "generated: learnt from scenes drawn" in listed[1]
    assert "bijie: learnt" not in listed[1], "those weights come apart"
    hints = [one for one in "".join(detected[1:]).splitlines() if "slopeward[weights]" in one]
    assert [one.count("slopeward[weights]") for one in hints] == [1] * len(hints) != []
    assert (detected[0], "index" in "".join(detected[1:])) == (4, True), detected  # no footprint
    assert read[0] == 0, read
    assert issued[0] == 0, issued
    assert int(issued[1].split()[0]) >= 3, issued
    assert "E1 crack opening: not trained: PyTorch is not installed" in issued[1]
    assert "scene: no footprints" in added[1], added  # an index between dates serves where there are no weights
    assert "pip install 'slopeward[weights]'" in added[1]
    assert checked[0] == 0, checked
    assert "gru: PyTorch is not installed" in checked[2]
    findings = [json.loads(line) for line in looked[1].splitlines()]
    wrong = {one["subject"]: one for one in findings if one["state"] != "ok"}
    assert "PyTorch is not installed" in wrong["packages"]["found"]
    for status, out, err in refused:
        assert status == 1, (out, err)
        assert err.count("\n") == 1, (out, err)
        assert "PyTorch is not installed" in err, (out, err)
        assert "pip install 'slopeward[models]'" in err
    assert train[0] != 0
    assert train[2].count("\n") == 1, train
    assert "`slopeward scenes train` needs slopeward-lab, which is not installed" in train[2]
    assert "pip install 'slopeward[lab]'" in train[2]


def walk(bare: Path, folder: Path, verbs: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each verb, as it is run in the bare environment."""
    python = [*hide_mosquitto(), bare.with_name("python"), "-c", WALK, json.dumps(verbs)]
    done = subprocess.run(python, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["modules"] > 100
    assert Path(told["place"]).is_relative_to(bare.parents[1])
    return [tuple(one) for one in told["verbs"]]


def ask(service: Service) -> Any:
    with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=30) as answer:
        return json.load(answer)


# ---- `deploy/install.sh` below a folder of its own ------------------------------------------------------------------
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/install.sh"
# Replaces locks/install.sh, which would download packages for minutes, by the program of this checkout.
INSTALLER = f"""#!/bin/sh
echo "$2 $3 $4 $5" >> "$LOG"
case "$1" in *.venv.new/*) ;; *) echo "$1 may run" >&2; exit 1 ;; esac
[ "$3" != broken ] || exit 1
printf "#!$(dirname "$1")/python\\n" > "$(dirname "$1")/alembic"
printf '#!/bin/sh\\nPYTHONPATH={ROOT} exec {sys.executable} -m monitor.cli.main "$@"\\n' > "$(dirname "$1")/slopeward"
chmod +x "$(dirname "$1")/slopeward"
"""


@pytest.fixture
def call(tmp_path):
    python = tmp_path / "root/opt/slopeward/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)  # as `python3 -m venv` creates it
    installer = tmp_path / "installer"
    installer.write_text(INSTALLER)
    installer.chmod(0o755)
    given = {"DESTDIR": str(tmp_path / "root"), "INSTALLER": str(installer), "LOG": str(tmp_path / "log")}

    def run(*words):
        done = subprocess.run([SCRIPT, *words], env={**os.environ, **given}, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_install_upgrade_and_uninstall(call, tmp_path):
    root = tmp_path / "root"
    config, unit = root / "etc/slopeward/slopeward.toml", root / "etc/systemd/system/slopeward.service"
    status, said = call("install")
    assert status == 0, said
    assert (said.count("wrote"), "write a site file, then start" in said) == (2, True)
    assert load_service(config).paths.sites == Path("/etc/slopeward/sites")
    assert (root / "etc/slopeward/secrets.env").stat().st_mode & 0o777 == 0o600
    start = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)[1]
    assert os.access(root / start.lstrip("/"), os.X_OK), "the unit starts an existing program"
    assert (root / "usr/local/bin/slopeward").readlink() == Path(start)

    # A second run changes nothing, and edited files stay.
    config.write_text(config.read_text().replace("port = 8080", "port = 8090"))
    status, said = call("install", "models")
    assert (status, said.count("wrote")) == (0, 0), said
    assert load_service(config).web.port == 8090
    assert (tmp_path / "log").read_text().split("\n")[:2] == ["core cap postgresql reports", "core models  "]

    # If the packages cannot be installed, the running program stays. A changed unit is replaced.
    for verb in ("install", "upgrade"):
        status, said = call(verb, "broken")
        assert (status, "the running service was not changed" in said, "systemctl stop" in said) == (1, True, False), (
            said
        )
    venv = root / "opt/slopeward/.venv"
    assert (venv / "bin/alembic").read_text() == f"#!{venv}/bin/python\n", "scripts must contain the final path"
    assert [path.name for path in venv.parent.iterdir()] == [".venv"]
    state = root / "var/lib/slopeward"
    state.mkdir(parents=True)
    program = root / "opt/slopeward/.venv/bin/slopeward"
    subprocess.run([program, "db", "upgrade", "--config", config], cwd=state, check=True, capture_output=True)
    unit.write_text("old")
    status, said = call("upgrade")
    assert status == 0, said
    assert "not run with DESTDIR or without systemd: systemctl stop slopeward" in said
    assert unit.read_text() != "old"
    assert len(list(state.glob("slopeward-*Z.db"))) == 1, "the upgrade must copy the database first"
    (state / "slopeward.db").write_text("no database")
    assert call("upgrade")[0] == 1
    assert "broken" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().split()[-1] == "reports", "without a copy, the upgrade must install nothing"

    assert call("uninstall")[0] == 0
    assert not unit.exists()
    assert not program.exists()
    assert config.exists()
    assert state.exists()
    assert "nothing is installed" in call("upgrade")[1]
    assert call("uninstall", "--purge")[0] == 0
    assert not config.parent.exists()
    assert not state.exists()


def test_a_prefix_of_ones_own_and_wrong_words(call, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFIX", "/srv/slope")
    python = tmp_path / "root/srv/slope/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert call("install")[0] == 0
    assert (
        "ExecStart=/srv/slope/.venv/bin/slopeward"
        in (tmp_path / "root/etc/systemd/system/slopeward.service").read_text()
    )
    assert call("remove")[0] == 2
    status, said = call()
    assert (status, "install [EXTRA...]" in said) == (0, True)
