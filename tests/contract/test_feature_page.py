"""The feature of the page `write-a-feature.md` runs in the service, as a plugin and inside Slopeward."""

import ast
import json
import re

import pytest

from tests.contract.contribute_pages import FEATURE_PAGE, install, list_files, list_inside, write_package
from tests.contract.test_features import START, make_copy, run_python
from tests.fixtures.databases import SQLITE_ONLY

# After START: functions that run checks of `doctor` and list tables of the plugin.
LOOK = """
import contextlib
import io
import json

from sqlalchemy import inspect, text

from monitor.storage.audit import load_entries


def doctor():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_command(["doctor", "--config", "slopeward.toml"])
    return printed.getvalue()


def list_tables():
    return [name for name in inspect(core.db.engine).get_table_names() if "visit" in name]


async def read(address):
    transport = httpx.ASGITransport(build_app(config, core.db))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as page:
        return (await page.get(address)).text
"""
OVERDUE = "warn visits: bench: nobody visited the slope in the last 90 days"
USE = f"""
assert {OVERDUE!r} in doctor()
assert "plugins" not in doctor()
assert "No visit yet." in asyncio.run(read("/sites/bench/visits"))
assert asyncio.run(ask("/sites/bench/visits", "/sites/none/visits")) == [200, 404]
assert '<a href="/sites/bench/visits">Visits</a>' in asyncio.run(read("/sites/bench"))
add = ["visits", "add", "bench", "walked to the crest", "--by", "ada", "--config", "slopeward.toml"]
assert run_command(add) == 0
listing = ["visits", "show", "bench", "--config", "slopeward.toml"]
assert run_command(listing) == 0
assert run_command([*listing, "--json"]) == 0
assert "ada: walked to the crest" in asyncio.run(read("/sites/bench/visits"))
assert {OVERDUE!r} not in doctor()
schedule = Schedule(core.db, config, [site], core.clock)
assert schedule.run_now("visits:bench") == "done"
(written,) = json.loads((config.paths.state / "visits/bench.json").read_text())
assert (written["days_ago"], written["person"], written["note"]) == (0, "ada", "walked to the crest")
with core.db.read() as connection:
    (entry,) = load_entries(connection, 5, actor="ada")
assert (entry.action, entry.subject) == ("visits.add", "visit:1")
assert entry.detail["note"] == "walked to the crest"
"""
OWN_TABLES = """
assert list_tables() == ["alembic_version_visits", "visits_visit"]
"""
# The table is in no migration yet: `make baseline-fixture` would write it.
NEW_TABLE = """
from monitor.features.visits.tables import visit
from monitor.storage.migrate import list_missing_columns

assert list_missing_columns(core.db) == ["visit"]
assert "it lacks visit" in doctor()
with core.db.write() as connection:
    visit.create(connection)
assert list_missing_columns(core.db) == []
"""
SEALED = """
from monitor.storage.seals import find_unsealed

with core.db.read() as connection:
    assert list(find_unsealed(connection)) == []
with core.db.write() as connection:
    connection.execute(text("UPDATE visit SET note = 'saw cracks'"))
with core.db.read() as connection:
    (line,) = find_unsealed(connection)
assert line.startswith("visit 1: the row was altered"), line
assert list_tables() == ["visit"]
"""
STAYED = """
assert "warn plugins: visits: this plugin is not installed; its tables are left as they are: " in doctor()
with core.db.read() as connection:
    assert connection.execute(text("SELECT note FROM visits_visit")).scalar() == "walked to the crest"
"""
SAVE = 'save_site(c, site, "Ada", "new", datetime.now(UTC))'


@pytest.fixture
def source(tmp_path):
    """The folder of the package, installed into `others`, which is in the search path of the service."""
    folder = tmp_path / "source"
    write_package(FEATURE_PAGE, folder)
    install(tmp_path / "others", folder)
    make_copy(tmp_path)
    return folder


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("empty_database_url", SQLITE_ONLY, indirect=True)
def test_the_feature_runs_in_the_service_and_its_tables_stay_when_it_is_gone(tmp_path, empty_database_url, source):
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{empty_database_url}"\n[paths]\nsites = "sites"\n', encoding="utf-8"
    )
    check_output(run_python(tmp_path, START + LOOK + USE + OWN_TABLES).stdout)
    # the package is removed: its table stays, and doctor names it
    (metadata,) = (tmp_path / "others").glob("*.dist-info")
    metadata.rename(tmp_path / "removed")
    again = START.replace(SAVE, "pass")
    run_python(tmp_path, again + LOOK + STAYED)
    # the package is installed again with a migration that fails: the service starts without the plugin
    (tmp_path / "removed").rename(metadata)
    migration = (source / "slope_visits/migrations/0001.py").read_text(encoding="utf-8")
    failing = migration.replace('"0001"', '"0002"').replace("= None\n", '= "0001"\n')
    (source / "slope_visits/migrations/0002.py").write_text(failing, encoding="utf-8")
    set_version(source, "1.1")
    install(tmp_path / "others", source)
    ended = run_python(tmp_path, again + LOOK + 'assert "plugins: visits: " in doctor()')
    assert "migrations of the plugin visits: left out" in ended.stderr


@pytest.mark.soak
@pytest.mark.slow
def test_a_version_of_the_feature_that_cannot_be_imported_is_disabled(tmp_path, source):
    (source / "slope_visits/routes.py").write_text("import no_such_module\n", encoding="utf-8")
    set_version(source, "1.1")
    install(tmp_path / "others", source)
    ended = run_python(tmp_path, START + "assert run_command(['visits', 'list', '--site', 'bench']) == 2")
    reason = "register_routes: ModuleNotFoundError: No module named 'no_such_module'"
    assert f"the plugin visits is disabled: {reason} (slope_visits/routes.py, line 1)" in ended.stderr


@pytest.mark.soak
@pytest.mark.slow
def test_the_feature_runs_inside_slopeward(tmp_path):
    make_copy(tmp_path)
    write_inside(tmp_path)
    check_output(run_python(tmp_path, START + LOOK + NEW_TABLE + USE + SEALED).stdout)


def check_output(out):
    """Check what `slopeward --help` and `slopeward visits list` printed, as text and as JSON."""
    assert re.search(r"^ +visits +Visits to a slope", out, re.MULTILINE)
    assert re.search(r"^\d{4}-\d\d-\d\d ada: walked to the crest$", out, re.MULTILINE)
    (visit,) = [json.loads(line) for line in out.splitlines() if line.startswith('{"at":')]
    assert (visit["person"], visit["note"]) == ("ada", "walked to the crest")


def write_inside(folder):
    """Write the package of the page as a feature inside Slopeward, with its line in the list of features."""
    target = folder / "monitor/features/visits"
    files = {name.partition("/")[2]: text for name, text in list_files(FEATURE_PAGE).items()}
    inside = list_inside(FEATURE_PAGE)
    assert inside.keys() <= files.keys()
    for name in files.keys() - {"", "migrations/0001.py"}:
        text = files[name]
        if name == "plugin.py":
            text = merge_functions(inside[name], text, left_out={"migrations"})
        elif name in inside:
            text = inside[name]
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("slope_visits", "monitor.features.visits"), encoding="utf-8")
    plugins = folder / "monitor/plugins.py"
    listed = plugins.read_text(encoding="utf-8")
    line = '    "monitor.features.scale_out.plugin",\n'
    assert listed.count(line) == 1
    plugins.write_text(listed.replace(line, f'{line}    "monitor.features.visits.plugin",\n'), encoding="utf-8")


def merge_functions(code, other, left_out):
    """Return code, followed by the statements of other code without the functions that the first one defines."""
    defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)} | left_out
    nodes = [node for node in ast.parse(other).body if getattr(node, "name", "") not in defined]
    return code + "\n\n".join(map(ast.unparse, nodes))


def set_version(source, version):
    """Change the version of the package."""
    project = source / "pyproject.toml"
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text(encoding="utf-8"))
    project.write_text(text, encoding="utf-8")
