"""Every later version can use a database, an audit pack and a site file of the first release.

Until 1.0 is tagged, `make baseline-fixture` writes them again after a change of a table or a rule.
"""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import LargeBinary, MetaData, insert, select, text

from monitor.alerts.audit.audit_pack import check_pack, read_pack
from monitor.alerts.audit.queries import load_material
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.evaluations import find_state
from monitor.cli.main import run_command
from monitor.decision.records import Memory
from monitor.people.queries.users import check_password
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source
from monitor.sites.tables import config_version
from monitor.storage import migrate
from monitor.storage.engine import Database
from monitor.storage.proof import verify
from tests.data.baseline.write import MIGRATION, PACK, REVISION, ROWS, SITE, make_migration
from tests.data.filled import PASSWORD
from tests.data.store_rows import ask
from tests.data.watched_slope import HOUR, write_service
from tests.web.served import serving

NOW = datetime(2026, 3, 3, 6, tzinfo=UTC)
STORED = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
STORED_PACK = read_pack(PACK)
ALERT = json.loads(STORED_PACK["alert.json"])["id"]


def test_first_migration_creates_the_declared_tables():
    assert make_migration() == MIGRATION.read_text(encoding="utf-8"), "run `make baseline-fixture`"


def restore(database):
    with database.engine.connect().execution_options(slopeward_write=True) as connection, connection.begin():
        command.upgrade(migrate.make_config(connection), REVISION)
        tables = MetaData()
        tables.reflect(connection)
        for name, row in STORED:
            table = tables.tables[name]
            binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
            connection.execute(
                insert(table).values(
                    {column: bytes.fromhex(value) if column in binary else value for column, value in row.items()}
                )
            )
        if database.is_sqlite:
            return
        for name in {name for name, row in STORED if isinstance(row.get("id"), int)}:
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))


@pytest.fixture
def upgraded(empty_database_url):
    with Database(empty_database_url) as database:
        restore(database)
        migrate.upgrade(database, NOW)
        yield database


def test_upgrade_loses_no_row_and_breaks_no_seal(upgraded):
    migrate.require_current(upgraded)
    with upgraded.read() as connection:
        row_counts = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name, _ in STORED}
        assert verify(connection) == []
    assert row_counts == Counter(name for name, _ in STORED)
    assert len(row_counts) > 75, "hardly a table is without rows"


def test_stored_decisions_recompute_and_the_alert_is_shown_unchanged(upgraded, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, upgraded)))
    assert run_command(["alerts", "explain", str(ALERT), "--recompute"]) == 0
    assert "recomputed: equal bit for bit" in capsys.readouterr().out
    material = ask(upgraded, load_material, ALERT)
    for name, rows in (("timeline", material.events), ("messages", material.messages), ("outcomes", material.outcomes)):
        stored_rows = json.loads(STORED_PACK[f"{name}.json"])
        assert [
            {field: row[field] for field in expected} for row, expected in zip(rows, stored_rows, strict=True)
        ] == stored_rows
    assert run_command(["alerts", "show", str(ALERT), "--utc"]) == 0
    output = capsys.readouterr().out
    with serving(upgraded, NOW) as browser:
        page = browser.get(f"/alerts/{ALERT}")
    assert page.status_code == 200
    for expected in ("pit floor is cleared", "inspected on foot"):
        assert expected in output
        assert expected in page.text
    assert "forty cubic metres fell" in page.text


def test_stored_accounts_and_site_state_can_be_used(upgraded):
    with upgraded.read() as connection:
        assert check_password(connection, "ada", PASSWORD) == "admin"
        state_before = find_state(connection, "bench")
        in_force = connection.execute(
            select(site_state.c.config_sha256).where(site_state.c.site == "bench")
        ).scalar_one()
        site = parse_site(load_site_source(connection, in_force), "bench.toml")
    assert (state_before.level, evaluate_site(upgraded, site, NOW - 6 * HOUR, "tick").level) == (1, 1)
    with upgraded.read() as connection:
        assert Memory.read(find_state(connection, "bench").state).since_s == Memory.read(state_before.state).since_s
        assert verify(connection) == []


def test_audit_pack_is_valid_and_stored_site_files_are_read(upgraded):
    assert check_pack(STORED_PACK) == []
    sources = ask(
        upgraded, lambda connection: connection.execute(select(config_version.c.sha256, config_version.c.source)).all()
    )
    assert len(sources) == 3
    assert {parse_site(source, "stored").version for _, source in sources} == {version for version, _ in sources}
    assert parse_site(SITE.read_text(encoding="utf-8"), "site.toml").version in {version for version, _ in sources}
