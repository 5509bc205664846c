"""A fresh machine with only the packages of `pip install .[demo]`, without Mosquitto and PyTorch, creates an alert."""

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
    # One reading can request the level: missing rain can only add to the sum.
    + criterion("rain_sum", series="R1.rain", **bounds(yellow="60 24h"), author="test", reason="one reading")
    + table("[forecast]", models=["gru"], horizons=["6h"])
    + table("[fusion]", top_needs=1)
    + table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
)


# Import every module of the service, then run commands one after the other in this process.
RUN_COMMANDS = """
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
from monitor.cli.main import run_command
told = {"modules": len(names), "place": monitor.__file__, "verbs": []}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_command(words)
    told["verbs"].append([status, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def bare_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of `slopeward` in an environment with the packages of `pip install .[demo]` and nothing else.

    The wheel of Slopeward is built and installed. The packages that it requires, directly and indirectly, are links to
    the packages of this environment, which saves a minute of downloading and unpacking in each run. Everything else is
    absent: an import of PyTorch fails as on a machine on which it was never installed.
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


def run_pip(*arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run([*pip, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def link_packages(target: Path, requirements: Sequence[str], extra: str) -> None:
    """Link required packages, and what they require in turn, into the packages of another environment."""
    pending, done = (
        [(Requirement(line), pending_extra) for pending_extra in ("", extra) for line in requirements],
        set(),
    )
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        installed = distribution(name)
        for wanted_extra in {"", *requirement.extras} - {
            done_extra for done_name, done_extra in done if done_name == name
        }:
            done.add((name, wanted_extra))
            pending += [(Requirement(line), wanted_extra) for line in installed.requires or ()]
        for top_level in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (target / top_level).exists():
                (target / top_level).symlink_to(Path(str(installed.locate_file(top_level))))


@pytest.mark.soak
def test_one_reading_becomes_one_alert_with_the_demo_packages_and_without_mosquitto(
    bare_program: Path, tmp_path: Path
) -> None:
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    url = f"sqlite:///{tmp_path}/slopeward.db"
    with Service(tmp_path, url, broker_url, {"s": SITE}, broker=tmp_path / "broker") as service:
        service.program = (*hide_mosquitto(), str(bare_program))
        service.start()
        health = load_health(service)
        assert health["status"] == "degraded"
        assert "install Mosquitto" in " ".join(health["reasons"])
        hazard_query = "SELECT 1 FROM alert WHERE ledger = 'hazard'"
        assert service.query(hazard_query) == []
        observed_at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
        # The demonstration broker supports only MQTT 3.1.1.
        publish(broker_url, [("slopeward/v1/s/R1/obs", {"time": observed_at, "rain_mm": 80.0})], version=4)
        wait_for(lambda: service.query(hazard_query), description="the alert")
        listed = [json.loads(line) for line in service.call("alerts", "list", "--json").stdout.splitlines()]
        assert [row["site"] for row in listed if row["ledger"] == "hazard"] == ["s"]
        assert urlopen(f"http://127.0.0.1:{service.port}/", timeout=30).status == 200
        status = service.call("status")
        assert status.returncode == 5, status.stdout + status.stderr
        assert "broker not durable" in status.stdout
        command = [bare_program.with_name("python"), "-P", "-m", "slopeward", "--version"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
        check_commands_without_pytorch(service, bare_program, tmp_path)


def check_commands_without_pytorch(service: Service, bare_program: Path, folder: Path) -> None:
    """Simple forecasts run.

    A command that needs a network names in one line the missing package and how to install it.
    """
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [(now - timedelta(hours=hours_ago), 10 + hours_ago % 5 / 10) for hours_ago in range(300, -1, -1)]
    lines = [f"{time.isoformat()},E1,crack_opening_mm,{value}" for time, value in hours]
    (folder / "long.csv").write_text("\n".join(["time,station,quantity,value", *lines]))
    record = folder / "record.csv"
    record.write_text((folder / "long.csv").read_text().replace("crack_opening_mm", "displacement_mm"))
    scene, data = str(folder / "scene"), ("--data", str(folder))
    write_scene(Path(scene), 1, size_px=64, center_lon=8.9, center_lat=46.2)
    config_option = ("--config", str(service.config))
    results = run_commands(
        bare_program,
        folder,
        [
            ("ingest", str(folder / "long.csv"), "--site", "s", *config_option),
            ("forecast", "run", "s", *config_option),
            ("scenes", "add", "s", scene, *config_option),
            ("scenes", "models"),
            ("scenes", "detect", scene, "--out", str(folder / "found")),
            ("check", *config_option),
            ("doctor", "--json", *config_option),
            ("forecast", "train", "s", "--model", "gru", *config_option),
            ("forecast", "backtest", "--data", str(record), "--models", "gru", "--horizons", "6h"),
            ("anomalies", "train", "s", "--detector", "ae", *config_option),
            ("scenes", "score", "--weights", "generated", *data),
            ("scenes", "train", "--recipe", "generated"),
        ],
    )
    ingested, issued, added, listed, detected, checked, examined, *refused, train = results
    assert "generated: learnt from scenes drawn" in listed[1]
    assert "bijie: learnt" not in listed[1], "those weights come apart"
    hints = [row for row in "".join(detected[1:]).splitlines() if "slopeward[weights]" in row]
    assert [row.count("slopeward[weights]") for row in hints] == [1] * len(hints) != []
    assert (detected[0], "index" in "".join(detected[1:])) == (4, True), detected  # no footprints
    assert ingested[0] == 0, ingested
    assert issued[0] == 0, issued
    assert int(issued[1].split()[0]) >= 3, issued
    assert "E1 crack opening: not trained: PyTorch is not installed" in issued[1]
    assert "scene: no footprints" in added[1], added  # without weights, an index of the change between dates is used
    assert "pip install 'slopeward[weights]'" in added[1]
    assert checked[0] == 0, checked
    assert "gru: PyTorch is not installed" in checked[2]
    findings = [json.loads(line) for line in examined[1].splitlines()]
    findings_by_subject = {row["subject"]: row for row in findings if row["state"] != "ok"}
    assert "PyTorch is not installed" in findings_by_subject["packages"]["found"]
    for status, out, err in refused:
        assert status == 1, (out, err)
        assert err.count("\n") == 1, (out, err)
        assert "PyTorch is not installed" in err, (out, err)
        assert "pip install 'slopeward[models]'" in err
    assert train[0] != 0
    assert train[2].count("\n") == 1, train
    assert "`slopeward scenes train` needs slopeward-lab, which is not installed" in train[2]
    assert "pip install 'slopeward[lab]'" in train[2]


def run_commands(bare_program: Path, folder: Path, commands: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Run the commands in the bare environment and return status, output and errors of each."""
    python = [*hide_mosquitto(), bare_program.with_name("python"), "-c", RUN_COMMANDS, json.dumps(commands)]
    result = subprocess.run(python, capture_output=True, text=True, cwd=folder, check=False)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["modules"] > 100
    assert Path(report["place"]).is_relative_to(bare_program.parents[1])
    return [tuple(outcome) for outcome in report["verbs"]]


def load_health(service: Service) -> Any:
    with urlopen(f"http://127.0.0.1:{service.port}/health", timeout=30) as response:
        return json.load(response)


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
def install_script(tmp_path):
    python = tmp_path / "root/opt/slopeward/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)  # as `python3 -m venv` creates it
    installer = tmp_path / "installer"
    installer.write_text(INSTALLER)
    installer.chmod(0o755)
    environment = {"DESTDIR": str(tmp_path / "root"), "INSTALLER": str(installer), "LOG": str(tmp_path / "log")}

    def run(*arguments):
        """-"""
        result = subprocess.run([SCRIPT, *arguments], env={**os.environ, **environment}, capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr

    return run


@pytest.mark.soak
def test_script_installs_upgrades_and_uninstalls(install_script, tmp_path, monkeypatch):
    root = tmp_path / "root"
    config, unit = root / "etc/slopeward/slopeward.toml", root / "etc/systemd/system/slopeward.service"
    status, output = install_script("install")
    assert status == 0, output
    assert (output.count("wrote"), "write a site file, then start" in output) == (3, True)
    settings = load_service(config)
    assert settings.paths.sites == Path("/etc/slopeward/sites")
    assert settings.database.url == "sqlite:////var/lib/slopeward/slopeward.db"
    folders = (settings.paths.inbox, settings.paths.models, settings.paths.state, settings.broker.data)
    other_folders = (settings.backup.folder, settings.sms.modem)
    assert all(Path(folder).is_relative_to("/var/lib/slopeward") for folder in (*folders, *other_folders))
    assert (root / "etc/slopeward/secrets.env").stat().st_mode & 0o777 == 0o600
    program_path = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)[1]
    assert os.access(root / program_path.lstrip("/"), os.X_OK), "the unit starts an existing program"
    wrapper = root / "usr/local/bin/slopeward"
    assert f"\nprogram={program_path}\n" in wrapper.read_text()
    assert os.access(wrapper, os.X_OK)

    # A second run changes nothing, and edited files stay.
    config.write_text(config.read_text().replace("port = 8080", "port = 8090"))
    status, output = install_script("install", "models")
    assert (status, output.count("wrote")) == (0, 0), output
    assert load_service(config).web.port == 8090
    assert (tmp_path / "log").read_text().split("\n")[:2] == ["core cap postgresql reports", "core models  "]

    # If the packages cannot be installed, the running program stays. A changed unit is replaced.
    for verb in ("install", "upgrade"):
        status, output = install_script(verb, "broken")
        assert (status, "the running service was not changed" in output, "systemctl stop" in output) == (
            1,
            True,
            False,
        ), output
    venv = root / "opt/slopeward/.venv"
    assert (venv / "bin/alembic").read_text() == f"#!{venv}/bin/python\n", "scripts must contain the final path"
    assert [path.name for path in venv.parent.iterdir()] == [".venv"]
    state = root / "var/lib/slopeward"
    state.mkdir(parents=True)
    program = root / "opt/slopeward/.venv/bin/slopeward"
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///{state}/slopeward.db")
    subprocess.run([program, "db", "upgrade"], cwd=state, check=True, capture_output=True)
    monkeypatch.delenv("SLOPEWARD_DATABASE__URL")
    unit.write_text("old")
    status, output = install_script("upgrade")
    assert status == 0, output
    assert "not run with DESTDIR or without systemd: systemctl stop slopeward" in output
    assert unit.read_text() != "old"
    assert len(list(state.glob("slopeward-*Z.db"))) == 1, "the upgrade must copy the database first"
    (state / "slopeward.db").write_text("no database")
    assert install_script("upgrade")[0] == 1
    assert "broken" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().split()[-1] == "reports", "without a copy, the upgrade must install nothing"

    assert install_script("uninstall")[0] == 0
    assert not unit.exists()
    assert not program.exists()
    assert not wrapper.exists()
    assert config.exists()
    assert state.exists()
    assert "nothing is installed" in install_script("upgrade")[1]
    assert install_script("uninstall", "--purge")[0] == 0
    assert not config.parent.exists()
    assert not state.exists()


def test_script_takes_a_prefix_and_rejects_unknown_commands(install_script, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFIX", "/srv/slope")
    python = tmp_path / "root/srv/slope/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert install_script("install")[0] == 0
    assert (
        "ExecStart=/srv/slope/.venv/bin/slopeward"
        in (tmp_path / "root/etc/systemd/system/slopeward.service").read_text()
    )
    assert install_script("remove")[0] == 2
    status, output = install_script()
    assert (status, "install [EXTRA...]" in output) == (0, True)
