"""The core does without each extension of ours, and takes one of others by its entry point."""

import gc
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
import traceback
import warnings
from itertools import combinations, count
from math import comb
from pathlib import Path

import pytest

from monitor.domain.extension import call_functions, list_extensions, load
from monitor.extensions import table
from tests.data.forked import run_forked
from tests.fixtures.databases import SQLITE_ONLY
from tests.tables import tabulated

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/contribute/write-an-extension.md"
BLOCK = re.compile(r"^```\w+ (file|try)(?:=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES = [one.rpartition(".")[2] for one in table.TABLE]
# Every extension is missing from another set of three copies, so there are enough copies for all extensions.
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
OF_THE_WHOLE = (  # documents name commands, tests and places of all extensions
    "tests/contract/test_verbs.py::test_every_command_that_a_page_a_message_or_a_comment_names_exists",
    "tests/architecture/test_threat_model.py::test_each_test_that_is_named_exists",
    "tests/contract/test_extensions.py::test_every_place_of_a_panel_is_on_a_page_and_named_for_others",
)
# the service over a small site: `check` passes, core puts its jobs together, the page answers
START = """
import asyncio
from datetime import UTC, datetime

import httpx

from monitor.cli.main import run_verb
from monitor.config.service import load_service
from monitor.config.site import parse_site
from monitor.domain.extension import list_extensions
from monitor.service.core import Core
from monitor.service.schedule import Schedule
from monitor.store.alerting.sites import save_site
from monitor.store.upkeep.migrate import upgrade
from monitor.web.app import build

assert run_verb(["check", "--config", "slopeward.toml"]) == 0
assert run_verb(["--help"]) == 0
config = load_service("slopeward.toml", {})
core = Core(config)
upgrade(core.db)
site = parse_site(open("sites/bench.toml").read(), "bench.toml")
core.sites[site.id] = site
with core.db.write() as c:
    save_site(c, site, "Ada", "new", datetime.now(UTC))
Schedule(core.db, config, [site], core.clock, lambda *_: None)
for one in list_extensions():
    for path in one.background:
        core._work_for_extension(path)


async def ask(*addresses):
    app = build(config, core.db)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as page:
        return [(await page.get(address)).status_code for address in addresses]


assert asyncio.run(ask("/", "/sites/bench", "/login", "/alerts", "/metrics")) == [200] * 5
"""


def lay_out(folder, *without):
    """The packages in a folder, where what is left out is not there; files are those of the checkout."""
    for name in ("forecasting", "detection", "alembic", "configs"):
        (folder / name).symlink_to(ROOT / name)
    extensions = folder / "monitor/extensions"
    extensions.mkdir(parents=True)
    for here, there in ((ROOT / "monitor", folder / "monitor"), (ROOT / "monitor/extensions", extensions)):
        for one in here.iterdir():
            if one.name not in {*without, "extensions", "table.py", "__pycache__"}:
                (there / one.name).symlink_to(one)
    kept = tuple(one for one, name in zip(table.TABLE, NAMES, strict=True) if name not in without)
    assert len(table.TABLE) - len(kept) == len(without)
    (extensions / "table.py").write_text(f"TABLE = {kept}\n", encoding="utf-8")
    (folder / "sites").mkdir()
    (folder / "sites/bench.toml").write_text(SITE, encoding="utf-8")
    (folder / "slopeward.toml").write_text(
        '[database]\nurl = "sqlite:///bench.db"\n[paths]\nsites = "sites"\n', encoding="utf-8"
    )


def run_python(folder, code):
    """Run code over the packages of a folder, in a copy of this process that forgets the service.

    What it imports from elsewhere is here already: a new interpreter would spend two of three seconds on that.
    """
    out, err = (folder / f"{name}.txt" for name in ("out", "err"))

    def act():
        gc.disable()
        os.chdir(folder)
        for name in os.environ.keys() - {"PATH", "OMP_NUM_THREADS"}:
            del os.environ[name]
        sys.path[:] = [str(folder), str(folder / "others"), *(one for one in sys.path if Path(one) != ROOT)]
        for name in [one for one in sys.modules if one.partition(".")[0] == "monitor"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        warnings.resetwarnings()
        logging.root.handlers.clear()  # those of pytest: the log goes to the stream for errors
        with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
            try:
                exec(code, {"__name__": "__main__"})
            except BaseException:
                traceback.print_exc()
                raise

    status = run_forked(act)
    ended = subprocess.CompletedProcess(code, os.waitstatus_to_exitcode(status), out.read_text(), err.read_text())
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def test_every_folder_of_an_extension_has_its_line_and_its_tests():
    folders = {path.parent.name for path in (ROOT / "monitor/extensions").glob("*/extension.py")}
    assert folders == set(NAMES) == {one.name for one in list_extensions()}
    assert folders == {path.parent.name for path in (ROOT / "tests/extensions").glob("*/test_*.py")}


@tabulated("one", list_extensions())
def test_what_an_extension_declares_is_there(one):
    notifiers = [
        path for each in one.channels.values() for path in (each.notifier, each.document, each.reply_code) if path
    ]
    for path in (
        *one.routes,
        *one.background,
        *one.checks,
        *one.functions.values(),
        *notifiers,
        *(job.function for job in one.jobs),
    ):
        load(path)
    verbs = [verb for verb, command in one.commands.items() if load(f"{command.app}:app")]
    rules = [name for command in one.commands.values() for name in command.rules]
    assert all(any(name == verb or name.startswith(f"{verb} ") for verb in verbs) for name in rules)
    assert one.routes or one.commands or one.channels or one.jobs or one.functions


def test_every_place_of_a_panel_is_on_a_page_and_named_for_others():
    shown = {
        place
        for path in (ROOT / "monitor").rglob("*.html")
        for place in re.findall(r'panels\("([\w.]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert {place for one in list_extensions() for place in one.panels} <= shown
    assert shown == set(
        re.findall(r"`((?:site|alert|note|report|login|start|account)\.\w+)`", PAGE.read_text(encoding="utf-8"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("copy", range(COPIES))
def test_without_folders_and_their_lines_the_service_starts(tmp_path, copy):
    """Each is missing from three copies, and of any two, either is missing where the other is there."""
    without = [name for name, missing in zip(NAMES, combinations(range(COPIES), 3), strict=False) if copy in missing]
    lay_out(tmp_path, *without)
    gone = "import sys\nassert not {one.split('.')[2] for one in sys.modules if 'monitor.extensions.' in one} & "
    out = run_python(tmp_path, START + gone + f"{set(without)}\nimport monitor\nprint(monitor.__file__)").stdout
    assert out.splitlines()[-1].startswith(str(tmp_path)), "the copy was tried, not the checkout"


@pytest.mark.slow
def test_a_site_that_names_a_channel_of_a_missing_extension_fails_the_check(tmp_path):
    kinds = {kind: one.name for one in list_extensions() for kind in one.channels}
    lay_out(tmp_path, *set(kinds.values()))
    for kind in kinds:
        text = SITE.replace("log:duty", f"{kind}:X").replace('"bench"', f'"{kind}"')
        (tmp_path / f"sites/{kind}.toml").write_text(text, encoding="utf-8")
    check = 'from monitor.cli.main import run_verb\nassert run_verb(["check", "--config", "slopeward.toml"]) == 1'
    refused = run_python(tmp_path, check).stderr
    assert not [kind for kind in kinds if f"got '{kind}:X'" not in refused]
    assert len(kinds) > 3


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_without_its_folder_and_its_line_the_quick_tests_of_the_core_are_green(tmp_path, name):
    for path in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
        if path and f"extensions/{name}/" not in path:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, tmp_path / path, follow_symlinks=False)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    listed = tmp_path / "monitor/extensions/table.py"
    listed.write_text(listed.read_text().replace(f'    "monitor.extensions.{name}",\n', ""))
    left_out = [f"--deselect={one}" for one in OF_THE_WHOLE]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHON", "SLOPEWARD_"))}
    ended = subprocess.run(["tests/quick.sh", *left_out], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]


def test_a_missing_folder_whose_line_is_left_keeps_the_service_from_starting(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "monitor/extensions" / NAMES[0]).unlink()
    with pytest.raises(AssertionError, match="ModuleNotFoundError"):
        run_python(tmp_path, START)


def install(folder):
    """What the page says, as an installer would leave it; returns what the page tries."""
    tries = []
    for what, place, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if what == "try":
            tries.append(body)
        else:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(body, encoding="utf-8")
    (folder / "slope_greeting/__init__.py").touch()
    (folder / "slope_greeting/migrations/__init__.py").touch()
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = folder / f"slope_greeting-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = {
        group: "\n".join(f"{name} = {value}" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    }
    (facts / "entry_points.txt").write_text("".join(f"[{group}]\n{lines}\n" for group, lines in groups.items()))
    return tries


@pytest.mark.slow
def test_an_extension_of_others_comes_by_its_entry_point_as_the_page_says(tmp_path):
    lay_out(tmp_path)
    (attempt,) = install(tmp_path / "others")
    shown = "assert asyncio.run(ask('/sites/bench/greeting', '/sites/none/greeting')) == [200, 404]\n"
    out = run_python(tmp_path, START + attempt + shown).stdout
    assert out.splitlines()[-1] == "good morning, north-bench"
    assert re.search(r"^greet +Greet a site", out, re.MULTILINE)
    # pages that break are left out, the rest stays; one that breaks is left out as a whole; a line of the log names it
    (tmp_path / "others/slope_greeting/routes.py").write_text("import no_such_module\n")
    ended = run_python(tmp_path, START)
    assert "routes of the extension greeting: left out" in ended.stderr
    assert re.search(r"^greet +Greet a site", ended.stdout, re.MULTILINE)
    (tmp_path / "others/slope_greeting/extension.py").write_text("import no_such_module\n")
    ended = run_python(tmp_path, "from monitor.cli.main import run_verb\nassert run_verb(['greet']) == 2")
    assert "the extension greeting (slope_greeting.extension:EXTENSION): left out" in ended.stderr


KEPT = """
from sqlalchemy import inspect

from monitor.checks.database import CurrentDatabase
from monitor.checks.table import run_checks
from monitor.store.database.engine import Database


def find_of(area):
    with Database(config.database.url) as db:
        seen = CurrentDatabase(config, db, datetime.now(UTC))
        return [(one.check.id, one.subject, one.text) for one in run_checks(seen) if one.check.area == area]


def list_tables():
    return [name for name in inspect(core.db.engine).get_table_names() if "greeting" in name]
"""
GREET = """
from monitor.service.schedule import JOBS

assert find_of("extensions") == [] and [one[1:] for one in find_of("greeting")] == [("bench", "nobody greeted it")]
schedule = Schedule(core.db, config, [site], core.clock, lambda *_: None)
assert schedule.run_now("greeting:bench") == "done"
assert find_of("greeting") == [("greeting.lonely", "bench", "")]
assert list_tables() == ["alembic_version_greeting", "greeting_sent"]
"""
STAYED = """
from sqlalchemy import text

((check, name, said),) = find_of("extensions")
assert (check, name) == ("extensions.gone", "greeting") and "greeting_sent" in said
with core.db.read() as c:
    assert c.execute(text("SELECT number FROM greeting_sent")).scalar() == 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("empty_database_url", SQLITE_ONLY, indirect=True)
def test_tables_jobs_checks_and_channels_of_others_work_and_outlive_them(tmp_path, empty_database_url):
    lay_out(tmp_path)
    install(tmp_path / "others")
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{empty_database_url}"\n[paths]\nsites = "sites"\n', encoding="utf-8"
    )
    (tmp_path / "sites/bench.toml").write_text(SITE.replace("log:duty", "bell:door"), encoding="utf-8")
    run_python(tmp_path, START + KEPT + GREET)
    # its line is gone: what it stored stays, and doctor names it; the next start leaves it alone, too
    facts = next((tmp_path / "others").glob("*.dist-info"))
    (facts / "entry_points.txt").rename(tmp_path / "entry_points.txt")
    (tmp_path / "sites/bench.toml").write_text(SITE, encoding="utf-8")
    again = START.replace('save_site(c, site, "Ada", "new", datetime.now(UTC))', "pass")
    run_python(tmp_path, again + KEPT + STAYED)
    # it is back, with a migration and a job that break: the service starts without them
    (tmp_path / "entry_points.txt").rename(facts / "entry_points.txt")
    folder = tmp_path / "others/slope_greeting"
    broken = (folder / "migrations/0001.py").read_text().replace('"0001"', '"0002"').replace("None\n", '"0001"\n', 1)
    (folder / "migrations/0002.py").write_text(broken)
    (folder / "job.py").write_text("import no_such_module\n")
    ended = run_python(
        tmp_path, again + KEPT + 'assert find_of("extensions")[0][:2] == ("extensions.tables", "greeting")'
    )
    assert "the tables of the extension greeting: left out" in ended.stderr
    assert "the job greeting: left out" in ended.stderr


def test_what_one_of_others_breaks_at_a_place_is_left_out(monkeypatch, caplog):
    def fail(one):
        raise RuntimeError(one)

    fail.__module__ = "theirs"
    monkeypatch.setattr("monitor.domain.extension.load_declared", lambda *_: [fail, lambda one: one + 1])
    assert call_functions("map.zones", 1) == [2]
    assert "map.zones of theirs: left out" in caplog.text
    fail.__module__ = "monitor.extensions.maps"
    with pytest.raises(RuntimeError):
        call_functions("map.zones", 1)
