"""Faults of third-party plugins take down neither commands nor pages nor jobs.

Each plugin is built and installed by pip into a folder of its own, and the service runs with it in a fresh process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_features import ROOT, SITE, START

# After START: jobs of the kernel run, and the fault is named by the log, `slopeward doctor` and the health page.
REST = """
import contextlib
import io

from monitor.plugin_isolation import list_faults
from monitor.storage.service_state import load_runs, write_heartbeat

schedule = Schedule(core.db, config, [site], core.clock)
for key in schedule._entries:
    if key.startswith(("movement:", "exit_in_job")):
        schedule.run_now(key)
with core.db.read() as c:
    runs = {run.job: run.state for run in load_runs(c)}
assert runs["movement"] == "done", runs
check_health_subjects()
asyncio.run(ask("/sites/bench", "/api/v1/sites/bench/zones.geojson"))
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    run_command(["doctor", "--config", "slopeward.toml"])
with core.db.write() as c:
    write_heartbeat(c, "core", {"state": "running", "degraded": [], "levels": {}}, core.clock())
answers = {name: asyncio.run(read(path)) for name, path in (("health", "/health"), ("route", "/sites/bench/exit"))}
faults = [list(fault) for fault in list_faults()]
print(json.dumps({"doctor": printed.getvalue().splitlines(), "runs": runs, "faults": faults, **answers}))
"""
READ = """
import html
import json


async def read(address):
    app = build_app(config, core.db)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as page:
        return html.unescape((await page.get(address)).text).replace('\\"', '"')
"""
HOOKS = """
from monitor.api.hooks import AccessRule, Command, Job, Panel, ServicePart, hookimpl
"""
IMPORT_FAULTS = {
    "exit": ("import sys\nsys.exit(3)\n", "it called sys.exit (3) (slope_trouble/exit.py, line 2)"),
    "crash": ("import os\nos._exit(7)\n", "it ended the process that imported it (status 7)"),
    "missing": (
        "import no_such_module\n",
        "ModuleNotFoundError: No module named 'no_such_module' (slope_trouble/missing.py, line 1)",
    ),
    "unknown_hook": (HOOKS + "@hookimpl\ndef register_jokes():\n    return []\n", "there is no hook register_jokes"),
    "unknown_argument": (
        HOOKS + "@hookimpl\ndef map_zones(joke):\n    return []\n",
        "map_zones: the hook has no argument joke",
    ),
    "wrong_jobs": (
        HOOKS + "@hookimpl\ndef register_jobs():\n    return ['job']\n",
        "register_jobs: TypeError: expected an iterable of Job, got 'job'",
    ),
    "wrong_commands": (
        HOOKS + "@hookimpl\ndef register_commands():\n    return 5\n",
        "register_commands: TypeError: expected a mapping of names to Command, got 5",
    ),
    "wrong_decoders": (
        HOOKS + "@hookimpl\ndef register_decoders():\n    return {'box': 5}\n",
        "register_decoders: TypeError: expected a mapping of names to DecoderSpec, got {'box': 5}",
    ),
    "exit_in_hook": (
        HOOKS + "import sys\n@hookimpl\ndef register_checks():\n    sys.exit(2)\n",
        "register_checks: it called sys.exit (2) (slope_trouble/exit_in_hook.py, line 6)",
    ),
    "broken_command": (
        HOOKS + "@hookimpl\ndef register_commands():\n    return {'alerts': Command(lambda: 1 / 0, 'Break')}\n",
        "command alerts: ZeroDivisionError: division by zero (slope_trouble/broken_command.py, line 5)",
    ),
}
USE_FAULTS = {
    "exit_in_job": (
        HOOKS + "import sys\ndef end(db, config, site, now):\n    sys.exit(4)\n"
        "@hookimpl\ndef register_jobs():\n    return [Job('exit_in_job', end, lambda site: 60.0, 5.0)]\n",
        "job exit_in_job",
        "it called sys.exit (4)",
    ),
    "exit_in_route": (
        HOOKS + "import sys\nfrom fastapi import APIRouter\nrouter = APIRouter()\n"
        "@router.get('/sites/{site}/exit')\ndef show(site: str):\n    sys.exit(5)\n"
        "@hookimpl\ndef register_routes():\n    return [router]\n"
        "@hookimpl\ndef register_access_rules():\n    return {'GET /sites/{site}/exit': AccessRule('read')}\n"
        "@hookimpl\ndef account_page_values():\n    return {}\n"
        "@hookimpl\ndef health_subjects():\n    return 1 / 0\n",
        "health_subjects",
        "ZeroDivisionError: division by zero",
    ),
    "exit_in_part": (
        HOOKS + "import sys\n@hookimpl\ndef service_parts():\n    return [ServicePart(follow=sys.exit)]\n",
        "follow of a part",
        "it called sys.exit (None)",
    ),
    "panel": (
        HOOKS + "@hookimpl\ndef register_panels():\n    return [Panel('site.links', 'trouble.html')]\n",
        "panel trouble.html",
        "ZeroDivisionError: integer division or modulo by zero",
    ),
    "no_template": (
        HOOKS + "@hookimpl\ndef register_panels():\n    return [Panel('site.links', 'none.html')]\n",
        "panel none.html",
        "there is no template none.html",
    ),
    "exit_in_zones": (
        HOOKS + "import sys\n@hookimpl\ndef map_zones(paths):\n    sys.exit(1)\n",
        "map_zones",
        "it called sys.exit (1)",
    ),
    "wrong_zones": (
        HOOKS + "@hookimpl\ndef map_zones():\n    return 'zones'\n",
        "map_zones",
        "TypeError: expected a list of GeoJSON features, got 'zones'",
    ),
    "view": (
        HOOKS + "from monitor.api.store import PublicView\nfrom sqlalchemy import Column, MetaData, Table, Text\n"
        "VIEW = Table('troubles', MetaData(), Column('site', Text), info={'question': 'Which troubles?'})\n"
        "@hookimpl\ndef register_views():\n    return [PublicView(VIEW, 'SELECT id FROM site')]\n",
        "view troubles",
        "StoreError: it has the columns id, declared are site",
    ),
    "health": (
        HOOKS + "@hookimpl\ndef health_subjects(db):\n    raise KeyError('none')\n",
        "health_subjects",
        "KeyError: 'none'",
    ),
    "part": (
        HOOKS + "@hookimpl\ndef service_parts():\n    return [ServicePart(follow=lambda: 1 / 0)]\n",
        "follow of a part",
        "ZeroDivisionError: division by zero",
    ),
    "pause": (
        HOOKS + "@hookimpl\ndef register_jobs():\n    return [Job('trouble', str, lambda site: 'often', 5.0)]\n",
        "job trouble",
        "TypeError: 'often' is no valid result",
    ),
    "open_route": (
        HOOKS + "from fastapi import APIRouter\nrouter = APIRouter()\n"
        "@router.get('/sites/{site}/trouble')\ndef show(site: str):\n    return {}\n"
        "@hookimpl\ndef register_routes():\n    return [router]\n",
        "register_routes",
        "RuntimeError: monitor/web/access/rules.py has no rule for GET /sites/{site}/trouble",
    ),
}


@pytest.fixture
def install(tmp_path):
    """Return a function that installs plugins by pip and lays out a service; it returns the environment."""

    def act(**texts):
        source, target, work = (tmp_path / name for name in ("source", "target", "work"))
        package = source / "slope_trouble"
        (package / "templates").mkdir(parents=True)
        (package / "__init__.py").touch()
        entries = ""
        for name, text in texts.items():
            (package / f"{name}.py").write_text(text, encoding="utf-8")
            entries += f'{name} = "slope_trouble.{name}"\n'
        (package / "templates/trouble.html").write_text("<b>before</b>{{ 1 // 0 }}", encoding="utf-8")
        (source / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "slope-trouble"\nversion = "1.0"\n'
            f"[project.entry-points.slopeward]\n{entries}",
            encoding="utf-8",
        )
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--no-build-isolation", "--target", target, source], check=True)
        (work / "sites").mkdir(parents=True)
        (work / "sites/bench.toml").write_text(SITE, encoding="utf-8")
        (work / "slopeward.toml").write_text(
            '[database]\nurl = "sqlite:///bench.db"\n[paths]\nsites = "sites"\n', encoding="utf-8"
        )
        environment = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
        return environment | {"PYTHONPATH": f"{target}:{ROOT}", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    return act


def run(environment, code, **more):
    work = Path(environment["XDG_CACHE_HOME"]).with_name("work")
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=work, env=environment | more, capture_output=True, text=True, timeout=500
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return ended


def run_service(environment, **more):
    ended = run(environment, START + READ + REST, **more)
    return json.loads(ended.stdout.splitlines()[-1]), ended.stderr


@pytest.mark.soak
@pytest.mark.slow
def test_plugins_that_cannot_be_used_are_disabled_and_everything_else_works(install):
    texts = {name: text for name, (text, _) in IMPORT_FAULTS.items()}
    report, log = run_service(install(**texts, hang="import time\ntime.sleep(600)\n"), SLOPEWARD_PLUGIN_TRIAL_S="30")
    reasons = {name: reason for name, (_, reason) in IMPORT_FAULTS.items()}
    reasons["hang"] = "it was not imported within 30 s"
    assert {plugin: reason for plugin, _, reason in report["faults"]} == reasons
    assert {what for _, what, _ in report["faults"]} == {"plugin"}
    for name, reason in reasons.items():
        assert log.count(f"the plugin {name} is disabled: {reason}. Correct it and install it again") == 1
        line = f"the plugin {name} is disabled, everything else works: {reason}"
        assert f"warn plugins: {name}: {line}" in report["doctor"]
        assert line in report["health"]
    assert "Traceback" not in log


@pytest.mark.slow
def test_start_logs_a_disabled_plugin_in_one_line_also_if_it_starts_other_processes(install):
    environment = install(missing="import no_such_module\n")
    code = (
        "import subprocess, sys\nfrom monitor.plugin_isolation import list_faults\nfrom monitor import plugins\n"
        "plugins.load_plugins()\nif len(sys.argv) == 1:\n"
        "    subprocess.run([sys.executable, '-c', CODE, 'child'], check=True)\nprint(len(list_faults()))\n"
    )
    code = f"CODE = {code!r}\n{code}"
    reason = "ModuleNotFoundError: No module named 'no_such_module' (slope_trouble/missing.py, line 1)"
    line = (
        f"the plugin missing is disabled: {reason}. Correct it and install it again, or remove it; "
        "SLOPEWARD_PLUGINS=none starts without plugins (SLOPEWARD_TRACEBACK=1 shows the traceback)"
    )
    ended = run(environment, code)
    assert ended.stderr.splitlines() == [line]
    assert ended.stdout.split() == ["1", "1"], "both processes list the fault for doctor and the health page"
    shown = run(environment, code, SLOPEWARD_TRACEBACK="1").stderr.splitlines()
    assert shown.count("missing: Traceback (most recent call last):") == 1


@pytest.mark.soak
@pytest.mark.slow
def test_what_plugins_fail_to_do_is_left_out_and_everything_else_works(install):
    report, log = run_service(install(**{name: text for name, (text, *_) in USE_FAULTS.items()}))
    expected = {name: [what, reason] for name, (_, what, reason) in USE_FAULTS.items()}
    assert {name: [what, reason] for name, what, reason in report["faults"]} == expected, report["faults"]
    for name, (what, reason) in expected.items():
        assert log.count(f"{what} of the plugin {name}: left out: {reason}") == 1
        line = f"{what} of the plugin {name} fails and is left out, everything else works: {reason}"
        assert f"warn plugins: {name}: {line}" in report["doctor"]
        assert line in report["health"]
    assert report["runs"]["exit_in_job"] == "failed"
    assert "an internal error occurred" in report["route"]


@pytest.mark.soak
@pytest.mark.slow
def test_a_version_is_tried_once(install):
    environment = install(
        works=HOOKS + "import os\nopen(os.environ['TRACE'], 'a').write(f'{os.getppid()} {os.getpid()}\\n')\n"
        "@hookimpl\ndef map_zones():\n    return []\n",
        hangs="import time\ntime.sleep(600)\n",
    )
    trace = Path(environment["XDG_CACHE_HOME"]).with_name("trace")
    code = "from monitor import plugins\nassert plugins.has_plugin('works')\nimport os\nprint(os.getpid())"
    first = run(environment, code, TRACE=str(trace), SLOPEWARD_PLUGIN_TRIAL_S="15")
    assert "it was not imported within 15 s" in first.stderr
    # A second trial of the plugin that hangs would take ten minutes.
    second = run(environment, code, TRACE=str(trace), SLOPEWARD_PLUGIN_TRIAL_S="600")
    assert "it was not imported within 15 s" in second.stderr
    lines = [line.split() for line in trace.read_text().splitlines()]
    assert lines[0][0] == first.stdout.strip()  # child process of the trial
    assert [pid for _, pid in lines[1:]] == [first.stdout.strip(), second.stdout.strip()]


@pytest.mark.soak
@pytest.mark.slow
def test_a_worker_does_not_try_plugins_again(install):
    """A sandboxed worker may not read files of the account or start processes."""
    environment = install(
        works=HOOKS + "from monitor.ingest.files.reader import FileReader\n"
        "@hookimpl\ndef register_file_readers():\n    return {'tiltbox': FileReader(open, 'a tilt box')}\n",
        hangs="import time\ntime.sleep(600)\n",
    )
    code = (
        "import os\nfrom monitor import plugins\nfrom monitor.worker.sandbox import clean_environment\n"
        "import subprocess, sys\nassert plugins.has_plugin('works')\n"
        "inner = 'from monitor.ingest.files.readers import list_readers\\nprint(\"tiltbox\" in list_readers())'\n"
        "clean = clean_environment(os.environ) | {'HOME': '/nowhere', 'TMPDIR': '/nowhere'}\n"
        "print(subprocess.run([sys.executable, '-c', inner], env=clean, capture_output=True, text=True).stdout)\n"
    )
    assert run(environment, code, SLOPEWARD_PLUGIN_TRIAL_S="15").stdout.split() == ["True"]


@pytest.mark.slow
def test_without_plugins_no_code_of_third_parties_is_imported(install):
    environment = install(trouble="import sys\nsys.exit(3)\n")
    code = (
        "from monitor import plugins\nfrom monitor.plugin_isolation import list_faults\n"
        "print(plugins.has_plugin('trouble'), list_faults())"
    )
    assert run(environment, code, SLOPEWARD_PLUGINS="none").stdout == "False []\n"
    assert "it called sys.exit (3)" in run(environment, code).stdout
