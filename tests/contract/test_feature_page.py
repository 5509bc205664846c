"""A third-party plugin built from the page `write-a-feature.md` is installed by pip and runs in the service."""

import re

import pytest

from tests.contract.contribute_pages import FEATURE_PAGE, install, list_tries, write_package
from tests.contract.test_extensions import START, lay_out, run_python
from tests.fixtures.databases import SQLITE_ONLY

# After START: functions that run checks of `doctor` and list tables of the plugin.
LOOK = """
import contextlib
import io

from sqlalchemy import inspect, text


def doctor():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_verb(["doctor", "--config", "slopeward.toml"])
    return printed.getvalue()


def list_tables():
    return [name for name in inspect(core.db.engine).get_table_names() if "visits" in name]


async def read(address):
    transport = httpx.ASGITransport(build(config, core.db))
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
add = ["visits", "add", "walked to the crest", "--site", "bench", "--by", "ada", "--config", "slopeward.toml"]
assert run_verb(add) == 0
assert run_verb(["visits", "list", "--site", "bench", "--config", "slopeward.toml"]) == 0
assert "ada: walked to the crest" in asyncio.run(read("/sites/bench/visits"))
assert {OVERDUE!r} not in doctor()
schedule = Schedule(core.db, config, [site], core.clock, lambda *_: None)
assert schedule.run_now("visits:bench") == "done"
assert (config.paths.state / "visits/bench.csv").read_text().splitlines()[1].endswith(",0,ada,walked to the crest")
assert list_tables() == ["alembic_version_visits", "visits_visit"]
"""
STAYED = """
assert "warn extensions: visits: this plugin is not installed; its tables are left as they are: " in doctor()
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
    lay_out(tmp_path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("empty_database_url", SQLITE_ONLY, indirect=True)
def test_the_feature_runs_in_the_service_and_its_tables_stay_when_it_is_gone(tmp_path, empty_database_url, source):
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{empty_database_url}"\n[paths]\nsites = "sites"\n', encoding="utf-8"
    )
    out = run_python(tmp_path, START + LOOK + "\n".join(list_tries(FEATURE_PAGE)) + USE).stdout
    assert re.search(r"^visits +Visits to a slope", out, re.MULTILINE)
    assert re.search(r"^\d{4}-\d\d-\d\d ada: walked to the crest$", out, re.MULTILINE)
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
    ended = run_python(tmp_path, again + LOOK + 'assert "extensions: visits: " in doctor()')
    assert "migrations of the plugin visits: left out" in ended.stderr


@pytest.mark.slow
def test_a_version_of_the_feature_that_cannot_be_imported_is_disabled(tmp_path, source):
    (source / "slope_visits/routes.py").write_text("import no_such_module\n", encoding="utf-8")
    set_version(source, "1.1")
    install(tmp_path / "others", source)
    ended = run_python(tmp_path, START + "assert run_verb(['visits', 'list', '--site', 'bench']) == 2")
    reason = "register_routes: ModuleNotFoundError: No module named 'no_such_module'"
    assert f"plugin of the plugin visits: left out: {reason}" in ended.stderr


def set_version(source, version):
    """Change the version of the package."""
    project = source / "pyproject.toml"
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text(encoding="utf-8"))
    project.write_text(text, encoding="utf-8")
