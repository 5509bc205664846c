"""A database, an audit pack and a site file of the first release are taken along by every later one.

Until 1.0 is tagged `make baseline-fixture` makes them anew where a table or a rule changed.
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
from monitor.cli.main import run_verb
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
TOLD = read_pack(PACK)
ALERT = json.loads(TOLD["alert.json"])["id"]


def test_the_first_migration_is_what_the_tables_ask_for():
    assert make_migration() == MIGRATION.read_text(encoding="utf-8"), "run `make baseline-fixture`"


def restore(db):
    with db.engine.connect().execution_options(slopeward_write=True) as c, c.begin():
        command.upgrade(migrate.make_config(c), REVISION)
        tables = MetaData()
        tables.reflect(c)
        for name, row in STORED:
            table = tables.tables[name]
            binary = {k.name for k in table.columns if isinstance(k.type, LargeBinary)}
            c.execute(insert(table).values({k: bytes.fromhex(v) if k in binary else v for k, v in row.items()}))
        if db.is_sqlite:
            return
        for name in {name for name, row in STORED if isinstance(row.get("id"), int)}:
            c.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))


@pytest.fixture
def upgraded(empty_database_url):
    with Database(empty_database_url) as db:
        restore(db)
        migrate.upgrade(db, NOW)
        yield db


def test_no_row_is_lost_and_all_is_as_it_was_sealed(upgraded):
    migrate.require_current(upgraded)
    with upgraded.read() as c:
        left = {name: c.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name, _ in STORED}
        assert verify(c) == []
    assert left == Counter(name for name, _ in STORED)
    assert len(left) > 75, "hardly a table is without rows"


def test_its_decisions_recompute_and_its_alert_tells_the_same_story(upgraded, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, upgraded)))
    assert run_verb(["alerts", "explain", str(ALERT), "--recompute"]) == 0
    assert "recomputed: equal bit for bit" in capsys.readouterr().out
    found = ask(upgraded, load_material, ALERT)
    for part, rows in (("timeline", found.events), ("messages", found.messages), ("outcomes", found.outcomes)):
        told = json.loads(TOLD[f"{part}.json"])
        assert [{k: row[k] for k in said} for row, said in zip(rows, told, strict=True)] == told
    assert run_verb(["alerts", "show", str(ALERT), "--utc"]) == 0
    shown = capsys.readouterr().out
    with serving(upgraded, NOW) as browser:
        page = browser.get(f"/alerts/{ALERT}")
    assert page.status_code == 200
    for said in ("pit floor is cleared", "inspected on foot"):
        assert said in shown
        assert said in page.text
    assert "forty cubic metres fell" in page.text


def test_its_people_and_its_watch_go_on(upgraded):
    with upgraded.read() as c:
        assert check_password(c, "ada", PASSWORD) == "admin"
        before = find_state(c, "bench")
        in_force = c.execute(select(site_state.c.config_sha256).where(site_state.c.site == "bench")).scalar_one()
        site = parse_site(load_site_source(c, in_force), "bench.toml")
    assert (before.level, evaluate_site(upgraded, site, NOW - 6 * HOUR, "tick").level) == (1, 1)
    with upgraded.read() as c:
        assert Memory.read(find_state(c, "bench").state).since_s == Memory.read(before.state).since_s
        assert verify(c) == []


def test_its_audit_pack_is_proven_and_its_site_files_are_read(upgraded):
    assert check_pack(TOLD) == []
    sources = ask(upgraded, lambda c: c.execute(select(config_version.c.sha256, config_version.c.source)).all())
    assert len(sources) == 3
    assert {parse_site(source, "stored").version for _, source in sources} == {sha for sha, _ in sources}
    assert parse_site(SITE.read_text(encoding="utf-8"), "site.toml").version in {sha for sha, _ in sources}
