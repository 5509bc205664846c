"""The laws of the house: who may import whom, what may never be loaded, and that the reference knows everything."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from forecasting.kinematics.stages import RANK
from monitor.domain.alert import AlertCategory
from tests.architecture.syntax import walk

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "statsmodels", "rasterio", "pandas", "matplotlib", "sklearn")


def loaded_by(*steps):
    """Top-level modules that a fresh interpreter has loaded after each step of the code."""
    show = "import sys; print(*{m.split('.')[0] for m in sys.modules})\n"
    done = subprocess.run(
        [sys.executable, "-c", "".join(f"{step}\n{show}" for step in steps)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return [set(line.split()) for line in done.stdout.splitlines()[-len(steps) :]]


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
        for node in walk(ast.parse(source)):
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
    assert found == {"monitor/extensions/exports/tables.py", "monitor/extensions/demo/story.py"}


def test_processes_and_jobs_load_nothing_heavy_before_they_need_it():
    service, page, jobs = loaded_by(
        "import monitor.service.core, monitor.service.supervisor, monitor.cli.session",
        "import monitor.web.server, monitor.web.app",
        "import importlib\nfrom monitor.service.schedule import JOBS\n"
        "for job in JOBS:\n"
        " m, _, f = job.function.partition(':')\n"
        " assert callable(getattr(importlib.import_module(m), f))\n",
    )
    assert "sqlalchemy" in service
    assert not service & {*HEAVY, "alembic", "httpx", "numpy"}
    assert not page & {*HEAVY, "httpx", "numpy"}
    assert not jobs & {*HEAVY}


def test_help_loads_no_verb():
    (loaded,) = loaded_by("import monitor.cli.main as m; m.print_help()")
    assert not loaded & {*HEAVY, "typer", "sqlalchemy", "pydantic", "numpy"}


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
    found: list[str] = []
    if not re.search("sqlalchemy|schema|execute|exec_driver_sql", source):
        return found  # what is looked for below bears one of these names
    for node in walk(ast.parse(source)):
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
    made = find_sql("from sqlalchemy import select\nfrom monitor.store.schema import tables as t\nc.execute(x)")
    assert sorted(made) == ["execute", "monitor.store.schema.tables", "sqlalchemy.select"]
