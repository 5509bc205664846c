"""The laws of the house: who may import whom, what may never be loaded, and that the reference knows everything."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from forecasting.kinematics.stages import RANK
from monitor.domain.alert import AlertCategory

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "statsmodels", "rasterio", "pandas", "matplotlib", "sklearn")


def loaded_by(code):
    """Top-level modules that a fresh interpreter has loaded after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*(m.split('.')[0] for m in sys.modules))"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return set(done.stdout.split())


def test_the_import_law_holds():
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_raster_is_opened_by_a_driver_named_in_the_code():
    """Left to itself GDAL takes any of its hundred readers, some of which open other files and addresses."""
    unnamed = []
    for path in [p for package in ("detection", "forecasting", "monitor") for p in (ROOT / package).rglob("*.py")]:
        source = path.read_text(encoding="utf-8")
        if not re.search("rasterio|memory|osgeo|fiona|pyogrio|geopandas", source):
            continue  # what is looked for below bears one of these names
        for node in ast.walk(ast.parse(source)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"osgeo", "fiona", "pyogrio", "geopandas"} & {n.split(".")[0] for n in names}, path
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open"):
                continue
            by = ast.unparse(node.func.value)
            if by in {"rasterio", "memory"} and "driver" not in {k.arg for k in node.keywords}:
                unnamed.append(f"{path}:{node.lineno}")
    assert not unnamed


def test_a_table_for_people_is_written_by_the_one_writer_that_guards_formulas():
    """Readings for `ingest` and for trials of forecasts are no such table: a quoted name would be another station."""
    writes = re.compile(r"csv\.(writer|DictWriter)\(|\.to_csv\(")
    found = {
        str(path.relative_to(ROOT))
        for package in ("detection", "forecasting", "monitor")
        for path in (ROOT / package).rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8"))
    }
    assert found == {
        "monitor/extensions/exports/tables.py",
        "monitor/extensions/demo/story.py",
    }


@pytest.mark.parametrize("module", ["monitor.service.core", "monitor.service.supervisor", "monitor.cli.session"])
def test_service_processes_load_nothing_heavy(module):
    loaded = loaded_by(f"import {module}")
    assert "sqlalchemy" in loaded
    assert not loaded.intersection({*HEAVY, "alembic", "httpx", "numpy"})


def test_the_page_starts_without_what_few_pages_need():
    assert not loaded_by("import monitor.web.server, monitor.web.app").intersection({*HEAVY, "httpx", "numpy"})


def test_jobs_are_found_without_loading_anything_heavy():
    code = (
        "import importlib\nfrom monitor.service.schedule import JOBS\n"
        "for job in JOBS:\n"
        " m, _, f = job.function.partition(':')\n"
        " assert callable(getattr(importlib.import_module(m), f))"
    )
    assert not loaded_by(code).intersection(HEAVY)


def test_help_loads_no_verb():
    code = "import monitor.cli.main as m; m.print_help()"
    assert not loaded_by(code).intersection({*HEAVY, "typer", "sqlalchemy", "pydantic", "numpy"})


def test_every_make_target_explains_itself():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*?## ", text, re.MULTILINE))
    assert targets == explained
    wanted = "help setup run demo test soak lint type audit docs bench bench-forecast bench-imagery train-demo"
    assert set(wanted.split()) <= targets


def test_init_files_hold_no_import():
    for package in ("monitor", "forecasting", "detection"):
        for path in (ROOT / package).rglob("__init__.py"):
            assert not re.search(r"^\s*(from|import)\s", path.read_text(), re.MULTILINE), path


def test_no_module_has_a_name_that_says_nothing():
    for package in ("monitor", "forecasting", "detection"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.stem not in {"utils", "helpers", "common", "misc", "manager", "base"}, path
            if os.path.getsize(path):
                assert path.read_text().lstrip().startswith(('"""', 'r"""')), f"{path} does not say why it exists"


def test_the_glossary_names_what_people_meet():
    text = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    for name in (*RANK, "unknown", *AlertCategory):
        assert f"`{name}`" in text, name


def test_no_folder_holds_more_than_twenty_modules():
    """What stands in one folder is seen at one look. `alembic/versions` grows by design: docs/architecture.md."""
    folders = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for room in ("monitor", "forecasting", "detection", "tests")
        for path in (ROOT / room).rglob("*.py")
    )
    assert len(folders) > 100
    assert not {folder: count for folder, count in folders.items() if count > 20}


ENGINE_ONLY = {
    "sqlalchemy.Connection",
    "sqlalchemy.engine.make_url",
    "sqlalchemy.exc.IntegrityError",
    "sqlalchemy.exc.SQLAlchemyError",
}


def find_sql(source):
    """What belongs into `monitor.store`: parts of SQLAlchemy that make statements, the tables, calls that execute."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [f"{node.module}.{one.name}" for one in node.names] if isinstance(node, ast.ImportFrom) else []
        made = [n for n in names if n.startswith("sqlalchemy") and n not in ENGINE_ONLY]
        found += made + [n for n in names if n.endswith("schema.tables")]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found += [node.func.attr] if node.func.attr in {"execute", "exec_driver_sql"} else []
    return found


def test_sql_stands_in_the_store_alone():
    """Also in the `store.py`, or the folder `store`, of an extension."""
    files = [path.relative_to(ROOT) for path in (ROOT / "monitor").rglob("*.py")]
    outside = [path for path in files if "store" not in path.parts and path.name != "store.py"]
    found = {str(path): sql for path in outside if (sql := find_sql((ROOT / path).read_text(encoding="utf-8")))}
    assert not found
    assert len(outside) > 100
    assert find_sql("from sqlalchemy import select\nfrom monitor.store.schema import tables as t\nc.execute(x)") == [
        "sqlalchemy.select",
        "monitor.store.schema.tables",
        "execute",
    ]
