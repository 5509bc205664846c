"""The service runs without each of its features."""

import functools
import gc
import importlib
import inspect
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import traceback
import warnings
from itertools import combinations, count
from math import comb
from pathlib import Path

import pytest

from monitor import hookspecs, plugins
from monitor.api.hooks import hookimpl
from monitor.sites import absent_sections
from tests.contract.contribute_pages import FEATURE_PAGE
from tests.data.forked import run_forked
from tests.fixtures.soak import with_soak
from tests.tables import tabulated

ROOT = Path(__file__).parents[2]
NAMES = [module.split(".")[-2] for module in plugins.FEATURES]
HOOKS = [name for name, function in vars(hookspecs).items() if hasattr(function, "slopeward_spec")]
# Hooks that no built-in feature implements, but slopeward-earth or slopeward-lab does.
OF_PACKAGES = {
    "draw_scene_prior",
    "map_layers",
    "migrations",
    "register_scene_methods",
    "write_scene_cracks",
}
# Every feature is missing from another set of three copies, so there are enough copies for all features.
COPIES = next(copies for copies in count(3) if comb(copies, 3) >= len(NAMES))
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
[[criterion]]
kind = "rate"
stations = ["S1", "S2"]
quantity = "pore_pressure"
yellow = {over = 5.0, window = "1d"}
orange = {over = 10.0, window = "1d"}
red = {over = 20.0, window = "1d"}
[[recipient]]
name = "Duty"
levels = ["yellow", "orange", "red"]
channels = ["log:duty"]
"""
OF_THE_WHOLE = (  # documents name commands, tests and places of all features
    "tests.contract.test_command_tree.py::test_every_command_that_a_page_a_message_or_a_comment_names_exists",
    "tests/architecture/test_threat_model.py::test_each_test_that_is_named_exists",
    "tests/contract/test_features.py::test_every_place_of_a_panel_is_on_a_page_and_documented",
)
# the service over a small site: `check` passes, core puts its jobs together, the page answers
START = """
import asyncio
from datetime import UTC, datetime

import httpx

from monitor.cli.main import run_command
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.plugins import hooks, implementations
from monitor.app.checks.table import run_checks
from monitor.app.core import Core
from monitor.app.schedule import Schedule
from monitor.sites.queries.sites import save_site
from monitor.storage.migrate import upgrade
from monitor.web.app import build_app

assert run_command(["check", "--config", "slopeward.toml"]) == 0
assert run_command(["--help"]) == 0
config = load_service("slopeward.toml", {})
core = Core(config)
upgrade(core.db)
site = parse_site(open("sites/bench.toml").read(), "bench.toml")
core.sites[site.id] = site
with core.db.write() as c:
    save_site(c, site, "Ada", "new", datetime.now(UTC))
Schedule(core.db, config, [site], core.clock)
for parts in hooks().service_parts(
    db=core.db, config=config, sites=core.sites, clock=core.clock, on_stored=lambda _stored: None
):
    for part in parts:
        part.follow()


def check_health_subjects():
    # As `SelfMonitoring.check_plugin_subjects`, but errors are raised.
    for implementation in implementations("health_subjects"):
        subject = implementation.call(db=core.db, config=config, sites=core.sites, now=core.clock())
        list(run_checks(subject))


check_health_subjects()


async def ask(*addresses):
    app = build_app(config, core.db)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as page:
        return [(await page.get(address)).status_code for address in addresses]


assert asyncio.run(ask("/", "/sites/bench", "/login", "/alerts", "/metrics")) == [200] * 5
"""

# commands that fail, the service among them
REFUSED = """
from monitor.cli.main import run_command

for words in (["--help"], ["check", "--config", "slopeward.toml"], ["run", "--config", "slopeward.toml"]):
    assert run_command(words) == 1
"""


def make_copy(folder, *without):
    """Lay out the packages in a folder without some features; the other files are links to the checkout."""
    for name in ("forecasting", "detection", "alembic", "configs"):
        (folder / name).symlink_to(ROOT / name)
    features = folder / "monitor/features"
    features.mkdir(parents=True)
    for source, target in ((ROOT / "monitor", folder / "monitor"), (ROOT / "monitor/features", features)):
        for path in source.iterdir():
            if path.name not in {*without, "features", "plugins.py", "__pycache__"}:
                (target / path.name).symlink_to(path)
    (folder / "monitor/plugins.py").write_text(leave_out_lines(without), encoding="utf-8")
    (folder / "sites").mkdir()
    (folder / "sites/bench.toml").write_text(SITE, encoding="utf-8")
    (folder / "slopeward.toml").write_text(
        '[database]\nurl = "sqlite:///bench.db"\n[paths]\nsites = "sites"\n', encoding="utf-8"
    )


def leave_out_lines(names):
    """Return the text of the module that lists the features, without the lines of some."""
    text = (ROOT / "monitor/plugins.py").read_text(encoding="utf-8")
    for name in names:
        line = f'    "monitor.features.{name}.plugin",\n'
        assert text.count(line) == 1
        text = text.replace(line, "")
    return text


def run_python(folder, code):
    """Run code on the packages of a folder, in a fork of this process that removes the imported modules of the service.

    Other libraries are already imported, which saves two of the three seconds that a new interpreter needs.
    """
    out, err = (folder / f"{name}.txt" for name in ("out", "err"))

    def run_code():
        gc.disable()
        os.chdir(folder)
        for name in os.environ.keys() - {"PATH", "OMP_NUM_THREADS"}:
            del os.environ[name]
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        sys.path[:] = [str(folder), str(folder / "others"), *(entry for entry in sys.path if Path(entry) != ROOT)]
        for name in [
            entry for entry in sys.modules if entry.partition(".")[0] in {"monitor", "slopeward_earth", "slopeward_lab"}
        ]:
            del sys.modules[name]
        importlib.invalidate_caches()
        warnings.resetwarnings()
        logging.root.handlers.clear()  # Handlers of pytest. The log is written to standard error.
        with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
            try:
                exec(code, {"__name__": "__main__"})
            except BaseException:
                traceback.print_exc()
                raise

    status = run_forked(run_code)
    process = subprocess.CompletedProcess(code, os.waitstatus_to_exitcode(status), out.read_text(), err.read_text())
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def test_every_feature_is_listed_and_has_tests():
    folders = {path.parent.name for path in (ROOT / "monitor/features").glob("*/plugin.py")}
    assert folders == {*NAMES, "replay"}
    assert folders <= {plugin.name for plugin in plugins.list_plugins()}
    assert folders == {path.parent.name for path in (ROOT / "tests/features").glob("*/test_*.py")}


@functools.cache
def read_sources():
    """Return the texts of all modules of the service and its packages."""
    paths = [*(ROOT / "monitor").rglob("*.py"), *(ROOT / "packages").glob("*/slopeward_*/**/*.py")]
    return [path.read_text(encoding="utf-8") for path in paths]


@tabulated("name", HOOKS)
def test_every_hook_is_documented_and_used(name):
    specification = getattr(hookspecs, name)
    assert len(inspect.cleandoc(specification.__doc__)) > 40
    hints = inspect.get_annotations(specification)
    assert set(inspect.signature(specification).parameters) | {"return"} == set(hints)
    called = re.compile(rf'hooks\(\)\.{name}\(|implementations\("{name}"\)')
    assert any(called.search(text) for text in read_sources())
    packages = {plugin.name for plugin in plugins.list_plugins()}
    assert plugins.implementations(name) or (name in OF_PACKAGES and not {"earth", "lab"} <= packages)


def test_what_plugins_register_can_be_loaded():
    hooks = plugins.hooks()
    commands = [item for registered in hooks.register_commands() for item in registered.items()]
    names = [name for name, command in commands if command.load is None or command.load()]
    assert len(names) == len(commands) > 30
    for _, command in commands:
        for rule in command.rules:
            assert any(rule == name or rule.startswith(f"{name} ") for name in names)
    acts = [act for registered in hooks.register_acts() for act in registered]
    assert len({act.name for act in acts}) == len(acts) > 30
    assert all(callable(act.load()) for act in acts)


def test_names_that_plugins_register_are_unique():
    """Otherwise one of two equal names would be left out silently."""
    hooks = plugins.hooks()
    for registered in (hooks.register_jobs(), hooks.register_checks()):
        names = [getattr(one, "id", None) or one.name for ones in registered for one in ones]
        assert len(set(names)) == len(names)
    for registered in (hooks.register_channels(), hooks.register_file_readers(), hooks.register_access_rules()):
        names = [name for ones in registered for name in ones]
        assert len(set(names)) == len(names)


def test_every_place_of_a_panel_is_on_a_page_and_documented():
    shown = {
        place
        for path in (ROOT / "monitor").rglob("*.html")
        for place in re.findall(r'panels\("([\w.]+)"\)', path.read_text(encoding="utf-8"))
    }
    used = {panel.place for registered in plugins.hooks().register_panels() for panel in registered}
    assert used <= shown
    documented = re.compile(r"`((?:site|alert|note|report|login|start|account)\.\w+)`")
    assert shown == set(documented.findall(FEATURE_PAGE.read_text(encoding="utf-8")))
    assert shown == set(documented.findall(hookspecs.register_panels.__doc__))


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("copy", [0, *(pytest.param(copy, marks=pytest.mark.soak) for copy in range(1, COPIES))])
def test_service_starts_without_some_features(tmp_path, copy):
    """Each feature is missing from three copies. Of any two features, a copy exists with only one of them."""
    without = [name for name, missing in zip(NAMES, combinations(range(COPIES), 3), strict=False) if copy in missing]
    make_copy(tmp_path, *without)
    gone = "import sys\nassert not {one.split('.')[2] for one in sys.modules if 'monitor.features.' in one} & "
    out = run_python(tmp_path, START + gone + f"{set(without)}\nimport monitor\nprint(monitor.__file__)").stdout
    assert out.splitlines()[-1].startswith(str(tmp_path)), "the copy was tried, not the checkout"


@pytest.mark.slow
def test_service_starts_without_any_feature(tmp_path):
    make_copy(tmp_path, *NAMES)
    run_python(tmp_path, START)


@pytest.mark.slow
def test_a_site_that_names_a_channel_of_a_missing_feature_fails_the_check(tmp_path):
    kinds = {
        kind: name
        for name, register in plugins.implementations("register_channels")
        for kind in (register() if name in NAMES else ())
    }
    make_copy(tmp_path, *set(kinds.values()))
    for kind in kinds:
        text = SITE.replace("log:duty", f"{kind}:X").replace('"bench"', f'"{kind}"')
        (tmp_path / f"sites/{kind}.toml").write_text(text, encoding="utf-8")
    check = 'from monitor.cli.main import run_command\nassert run_command(["check", "--config", "slopeward.toml"]) == 1'
    refused = run_python(tmp_path, check).stderr
    assert not [kind for kind in kinds if f"got '{kind}:X'" not in refused]
    assert len(kinds) > 3


def test_sections_of_features_are_listed_by_name():
    owners = {
        section: implementation.plugin
        for implementation in plugins.implementations("site_file_sections")
        if plugins.is_built_in(implementation.plugin)
        for section in implementation.call().tables
    }
    assert owners == absent_sections.FEATURES


CHECK_EACH = """
import sys

from monitor.cli.main import run_command

assert run_command(["check", "--config", "slopeward0.toml"]) == 0
print("----", file=sys.stderr)
assert run_command(["check", "--config", "slopeward1.toml"]) == 1
print("----", file=sys.stderr)
assert run_command(["check", "--config", "slopeward2.toml"]) == 1
"""


@pytest.mark.slow
def test_a_section_of_a_missing_feature_is_a_warning_and_a_misspelt_one_an_error(tmp_path):
    make_copy(tmp_path, *set(absent_sections.FEATURES.values()))
    profile = '\n[[profile]]\nstation = "S1"\nkind = "temperature"\n'
    rate = '\n[[criterion]]\nkind = "rate"\nseries = "S9.pore_pressure"\nyellow = {over = 5.0, window = "1d"}\n'
    texts = [SITE + profile, SITE + profile.replace("profile", "profle"), SITE + profile + rate]
    for number, text in enumerate(texts):
        (tmp_path / f"sites{number}").mkdir()
        (tmp_path / f"sites{number}/bench.toml").write_text(text, encoding="utf-8")
        (tmp_path / f"slopeward{number}.toml").write_text(
            f'[database]\nurl = "sqlite:///bench.db"\n[paths]\nsites = "sites{number}"\n', encoding="utf-8"
        )
    ignored, misspelt, refused = run_python(tmp_path, CHECK_EACH).stderr.split("----\n")
    assert "[[profile]] is ignored, because the feature 'profiles' is not installed" in ignored
    assert "unknown key 'profle'; did you mean 'profile'?" in misspelt
    assert "S9" in refused
    assert "[[profile]] is ignored" in refused


@pytest.mark.soak
def test_fixtures_of_kernel_tests_import_no_feature():
    """Pytest imports them also where a copy of the repository lacks the feature."""
    paths = [path.relative_to(ROOT) for path in ROOT.glob("tests/**/conftest.py") if "features" not in path.parts]
    modules = [".".join(path.with_suffix("").parts) for path in paths]
    code = f"""
import importlib, sys
from monitor import plugins
plugins.FEATURES = ()
for module in {modules}:
    importlib.import_module(module)
print([name for name in sys.modules if name.startswith("monitor.features.")])
"""
    imported = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert imported.stdout == "[]\n"
    assert len(modules) > 5


OF_FACTS = """
[forecast]
horizons = ["1d"]
[[station]]
id = "G1"
azimuth_deg = 90.0
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]
[[criterion]]
kind = "inverse_velocity"
stations = ["G1"]
yellow = {within = "7d"}
[[criterion]]
kind = "forecast"
stations = ["G1"]
yellow = {over = 5.0, window = "1d"}
[[criterion]]
kind = "anomaly"
level = "yellow"
[[criterion]]
kind = "scene"
level = "yellow"
"""
EVALUATE = """
import json
from datetime import UTC, datetime

from monitor.alerts.evaluate import evaluate_site
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade

with Database("sqlite:///bench.db") as db:
    upgrade(db)
    site = parse_site(open("sites/bench.toml").read(), "bench.toml")
    with db.write() as c:
        save_site(c, site, "Ada", "new", datetime.now(UTC))
    decision = evaluate_site(db, site, datetime.now(UTC), "person").decision
print(json.dumps({name: str(reason) for name, reason in decision.memory.incomplete.items()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_complete", with_soak(ordinary=False, soak=True))
def test_criteria_on_facts_of_missing_features_are_unknown(tmp_path, is_complete):
    missing = {
        "movement": "inverse_velocity-1",
        "forecasts": "forecast-1",
        "anomalies": "anomaly-1",
        "scenes": "scene-1",
    }
    make_copy(tmp_path, *(() if is_complete else missing))
    (tmp_path / "sites/bench.toml").write_text(SITE + OF_FACTS, encoding="utf-8")
    lines = [line for line in run_python(tmp_path, START).stderr.splitlines() if "is not installed" in line]
    incomplete = json.loads(run_python(tmp_path, EVALUATE).stdout)
    if is_complete:
        assert lines == []
        assert not incomplete.keys() & set(missing.values())
        return
    assert len(lines) == len(missing)
    for feature, criterion in missing.items():
        assert incomplete[criterion] == f"the feature {feature} is not installed"
        assert any(f"'{feature}' is not installed" in line and criterion in line for line in lines)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_quick_tests_of_the_kernel_pass_without_a_feature(tmp_path, name):
    for path in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
        if path and f"features/{name}/" not in path:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, tmp_path / path, follow_symlinks=False)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "monitor/plugins.py").write_text(leave_out_lines([name]), encoding="utf-8")
    left_out = [f"--deselect={one}" for one in OF_THE_WHOLE]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHON", "SLOPEWARD_"))}
    ended = subprocess.run(["tests/quick.sh", *left_out], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]


@pytest.mark.parametrize("is_emptied", [False, True])
def test_service_does_not_start_if_a_listed_feature_is_missing(tmp_path, is_emptied):
    make_copy(tmp_path)
    folder = tmp_path / "monitor/features" / NAMES[0]
    folder.unlink()
    if is_emptied:  # git keeps folders that contain ignored files
        (folder / "__pycache__").mkdir(parents=True)
    line = (
        f"the feature {NAMES[0]} is missing: monitor/features/{NAMES[0]}/plugin.py does not exist; delete the line "
        f'"monitor.features.{NAMES[0]}.plugin" in FEATURES of monitor/plugins.py, or restore the folder'
    )
    assert run_python(tmp_path, REFUSED).stderr.splitlines() == [line] * 3


def test_a_feature_that_cannot_import_a_module_keeps_its_own_error(tmp_path):
    make_copy(tmp_path)
    folder = tmp_path / "monitor/features" / NAMES[0]
    folder.unlink()
    folder.mkdir()
    (folder / "plugin.py").write_text("import no_such_module\n", encoding="utf-8")
    assert "No module named 'no_such_module'" in run_python(tmp_path, REFUSED).stderr


def test_a_failing_hook_of_a_feature_is_raised(add_plugin):
    class Failing:
        @hookimpl
        def map_zones(self):
            raise RuntimeError("no zones")

    add_plugin(Failing())
    with pytest.raises(RuntimeError, match="no zones"):
        plugins.hooks().map_zones(paths=None, site_id="bench")
