"""The pages `docs/contribute/write-a-*.md` work as they are written: their packages are installed and tried."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitor import hookspecs
from tests.contract.contribute_pages import (
    BLOCK,
    FEATURE_PAGE,
    FOLDER,
    PAGES,
    ROOT,
    install,
    list_contract_tests,
    list_files,
    list_inside,
    list_steps,
    list_tries,
    write_package,
)

RULES = "E,F,W,I,B,N,UP,RET,SIM,RUF"  # of ruff
NAMES = [page.stem for page in PAGES]
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 46.0
longitude = 8.0

[[station]]
id = "S1"
series = [{quantity = "pore_pressure", unit = "kPa", interval = "1h"}]

[[station]]
id = "S2"
series = [{quantity = "pore_pressure", unit = "kPa", interval = "1h"}]

[[decoder]]
topic = "boxes/{station}"
name = "tiltbox"

[[criterion]]
kind = "swing"
stations = ["S1", "S2"]
quantity = "pore_pressure"
yellow = {over = 5.0, window = "1d"}
orange = {over = 10.0, window = "1d"}
red = {over = 20.0, window = "1d"}

[[recipient]]
name = "Lamp"
levels = ["yellow", "orange", "red"]
channels = ["lamp:/run/lamp"]

[forecast]
models = ["last-row"]
"""
USED = ("tiltbox", "swing", "lamp", "last-row")  # names of the packages that the site file uses
CHECK = """
from monitor.cli.main import run_command
from monitor.plugin_isolation import list_faults

assert list_faults() == []
assert run_command(["check", "--config", "right.toml"]) == 0
assert run_command(["check", "--config", "wrong.toml"]) == 1
"""


def test_each_kind_of_addition_has_a_page():
    kinds = ("channel", "cleaning-rule", "criterion", "decoder", "feature", "forecaster", "segmenter")
    assert NAMES == [f"write-a-{kind}" for kind in kinds]


def test_the_page_of_features_lists_every_hook():
    table = FEATURE_PAGE.read_text(encoding="utf-8").partition("## All hooks")[2]
    hooks = {name for name, function in vars(hookspecs).items() if hasattr(function, "slopeward_spec")}
    assert hooks - set(re.findall(r"`(\w+)`", table)) == set()


def list_imports(code):
    """Yield module and name of each import from Slopeward."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_imports_only_the_public_interface(page):
    codes = [text for language, _, _, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language == "python"]
    imported = {one for code in codes for one in list_imports(code) if one[0].partition(".")[0] == "monitor"}
    imported -= {one for one in imported if one[0].startswith("monitor.features.visits")}
    assert codes
    for module, name in imported:
        assert module.startswith("monitor.api."), f"{module}.{name}"
        assert name in importlib.import_module(module).__all__, f"{module}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:monitor|tests|packages|forecasting|detection)/[\w./-]+)`", text))
    assert named
    assert not [name for name in named if not (ROOT / name).exists() and "/features/visits" not in name]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with the sources of all pages, and folder into which pip installed them."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("installed")
    for page in PAGES:
        write_package(page, sources / page.stem)
    install(target, *(sources / name for name in NAMES))
    return sources, target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_files_are_linted_and_formatted(page, tmp_path):
    write_package(page, tmp_path)
    for number, code in enumerate(list_tries(page)):
        (tmp_path / f"try_{number}.py").write_text(code, encoding="utf-8")
    options = ["--isolated", "--no-cache", "--line-length", "120"]
    # A try may use names of an earlier one.
    for words in (["check", "--select", RULES, "--per-file-ignores", "try_*.py:F821"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, *options, "."]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("name", [name for name in list_inside(FEATURE_PAGE) if name.endswith(".py")])
def test_the_files_of_a_feature_inside_slopeward_are_linted_and_formatted(name):
    place = f"monitor/features/visits/{name}"
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--stdin-filename", place, "-"]
        code = list_inside(FEATURE_PAGE)[name]
        ended = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_is_tried_with_its_installed_package(page, installed, tmp_path):
    assert list_files(page)
    assert list_tries(page)
    run(installed, tmp_path, "\n".join(list_steps(page)))


@pytest.mark.soak
@pytest.mark.slow
def test_a_site_file_may_use_all_packages_and_a_misspelt_name_is_refused(installed, tmp_path):
    for folder in ("right", "wrong"):
        (tmp_path / folder).mkdir()
        (tmp_path / f"{folder}.toml").write_text(f'[paths]\nsites = "{folder}"\n', encoding="utf-8")
    (tmp_path / "right/bench.toml").write_text(SITE, encoding="utf-8")
    for name in USED:
        text = SITE.replace(name, f"{name}x").replace('"bench"', f'"not-{name}"')
        (tmp_path / f"wrong/{name}.toml").write_text(text, encoding="utf-8")
    ended = run(installed, tmp_path, CHECK)
    assert "criteria: 1, recipients: 1" in ended.stdout
    refused = [line for line in ended.stderr.splitlines() if line.startswith("WRONG")]
    for name in USED:
        (line,) = [line.split(":", 2)[2] for line in refused if f"{name}x" in line]
        assert name in line.replace(f"{name}x", ""), "the message lists the names that exist"


def run(installed, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process with the installed packages."""
    _, target = installed
    environment = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    environment |= {"PYTHONPATH": f"{target}:{ROOT}", "XDG_CACHE_HOME": str(target / "cache")}
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended


CRITERIA_TESTS = """
import sys

import pytest

from monitor.sites.criteria.registry import load_criteria

assert load_criteria()["swing"].plugin == "swing"
options = ["-q", "-n", "0", "-p", "no:cacheprovider", "--rootdir", root, "-c", f"{root}/pyproject.toml"]
sys.exit(pytest.main([*options, f"{root}/tests/contract/test_criteria.py"]))
"""


@pytest.mark.soak
@pytest.mark.slow
def test_the_kind_of_criterion_of_the_page_keeps_the_contract(installed, tmp_path):
    run(installed, tmp_path, f"root = {str(ROOT)!r}\n{CRITERIA_TESTS}")


CONTRACT_TESTS = """
import sys

import pytest

options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-p", "conftest", "--rootdir", root]
sys.exit(pytest.main([*options, "-c", f"{root}/pyproject.toml", name]))
"""


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("page", ["write-a-forecaster", "write-a-segmenter"])
def test_the_network_of_a_page_passes_the_contract_tests_of_its_template(page, installed, tmp_path):
    ((name, text),) = list_contract_tests(FOLDER / f"{page}.md").items()
    (tmp_path / name).write_text(text, encoding="utf-8")
    ended = run(installed, tmp_path, f"root = {str(ROOT)!r}\nname = {name!r}\n{CONTRACT_TESTS}")
    assert re.search(r"^[5-9]\d* passed", ended.stdout, re.MULTILINE)


SWING_TEST = """
from datetime import UTC, datetime, timedelta

from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parsing import parse_site

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
site = parse_site(text, "bench.toml")
(criterion,) = site.criteria


def assess(hours):
    readings = []
    for hour in sorted(hours):
        at, value = NOW + timedelta(hours=hour), 8.0 * (hour < -24) * (hour % 2) + 0.01 * (hour % 7)
        readings.append(Reading(at, at, 0, value, 0.0, value, None, ()))
    inputs = DecisionInputs({"S1.pore_pressure": tuple(readings)})
    context = DecisionContext(PreparedSite(site), inputs, Memory(), NOW.timestamp())
    (assessment,) = load_criteria()["swing"].rule(criterion, context)
    return assessment


hours = range(-7 * 24, 1)
whole = assess(hours)
assert (whole.raise_level, whole.hold_level, whole.has_data, whole.fresh) == (2, 2, True, True)
assert str(whole.reason) == "swings by 8.06 kPa within 7d", str(whole.reason)
# The week is known well enough, the last day is not.
gap = assess(hour for hour in hours if not -20 < hour < 0)
assert (gap.raise_level, gap.has_data, gap.fresh) == (2, True, False)
alone = assess([0])
assert (alone.raise_level, alone.hold_level, alone.fresh) == (0, 0, False)
"""
SWING_SITE = (
    SITE.partition("[[decoder]]")[0]
    + """
[[criterion]]
kind = "swing"
series = "S1.pore_pressure"
yellow = {over = 5.0, window = "1d"}
orange = {over = 6.0, window = "7d"}
red = {over = 90.0, window = "7d"}
"""
)


@pytest.mark.slow
def test_the_criterion_of_the_page_lowers_no_vote_because_of_a_gap(installed, tmp_path):
    run(installed, tmp_path, f"text = {SWING_SITE!r}\n{SWING_TEST}")


TILTBOX_TEST = """
from datetime import UTC, datetime

from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.plugin_isolation import list_faults
from monitor.sites.parsing import parse_site

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)


def decode(text):
    pipeline = Pipeline(None, {"bench": parse_site(text, "bench.toml")}, lambda: NOW)
    assert pipeline.unusable == {}
    return pipeline.decode(BrokerMessage("boxes/7", b"2026-03-01T06:30:00Z;0.4", NOW, "live"))


unnamed = text.replace("{station}", "+")
(fault,) = decode(unnamed).faults
assert fault.code == "no_station", fault
named = unnamed.replace('name = "tiltbox"', 'name = "tiltbox"\\nstation = "S1"')
(reading,) = decode(named).observations
assert reading.station == "S1"
assert list_faults() == []
"""


@pytest.mark.soak
@pytest.mark.slow
def test_the_decoder_of_the_page_rejects_a_message_without_a_station(installed, tmp_path):
    text = SITE.partition("[[criterion]]")[0]
    run(installed, tmp_path, f"text = {text!r}\n{TILTBOX_TEST}")
