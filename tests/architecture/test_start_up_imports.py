"""The core, the page and `slopeward --help` start without modules that take seconds and memory to import."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "statsmodels", "rasterio", "pandas", "matplotlib", "sklearn"}


def list_loaded_modules(*steps):
    """Run code in a fresh interpreter and return the top-level modules that are loaded after each step."""
    report = "import sys; print(*{name.split('.')[0] for name in sys.modules})\n"
    result = subprocess.run(
        [sys.executable, "-c", "".join(f"{step}\n{report}" for step in steps)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return [set(line.split()) for line in result.stdout.splitlines()[-len(steps) :]]


def test_processes_and_jobs_load_no_heavy_module_before_they_need_it():
    core, page = list_loaded_modules(
        "import monitor.app.core, monitor.app.supervisor, monitor.cli.session",
        "import monitor.web.server, monitor.web.app",
    )
    (jobs,) = list_loaded_modules("from monitor.app.schedule import list_jobs\nassert len(list_jobs()) > 10")
    assert "sqlalchemy" in core
    assert not core & {*HEAVY, "alembic", "httpx", "numpy"}
    assert not page & {*HEAVY, "httpx", "numpy"}
    # The core imports the jobs, but it does not serve the page.
    assert not jobs & {*HEAVY, "fastapi"}


def test_help_loads_no_command():
    (loaded,) = list_loaded_modules("import monitor.cli.main as m; m.print_overview()")
    assert not loaded & {*HEAVY, "typer", "sqlalchemy", "pydantic", "numpy"}


def test_packages_import_nothing_when_they_are_loaded():
    """An import in `__init__.py` would run whenever any module of the package is imported."""
    for package in ("monitor", "forecasting", "detection"):
        for path in (ROOT / package).rglob("__init__.py"):
            assert not re.search(r"^\s*(from|import)\s", path.read_text(), re.MULTILINE), path
