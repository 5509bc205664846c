"""The schema comes from migrations: equal to the tables, two at once, with a copy before."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, text

from monitor.errors import StoreBusyError, StoreError
from monitor.plugins import hooks
from monitor.storage import locks, migrate, views
from monitor.storage.engine import Database
from monitor.storage.tables import load_metadata
from monitor.storage.view_tables import load_view_tables
from tests.data.filled import NOW, fill
from tests.data.forked import fork
from tests.data.store_rows import ask, tell

NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "next"
down_revision = "{head}"
def upgrade():
    with op.batch_alter_table("alert") as batch:
        batch.add_column(sa.Column("place", sa.Text(), nullable=True))
    with op.batch_alter_table("report", recreate="always") as batch:
        batch.alter_column("photo_url", new_column_name="picture")
    with op.batch_alter_table("report") as batch:
        batch.add_column(sa.Column("photo_url", sa.Text(), nullable=True))
"""


def list_tables_of_plugins(inspector):
    """Return the tables of packages that are installed; a test in each package compares them with its migrations."""
    plugins = [branch.name for branch in hooks().migrations()]
    prefixes = [f"{name}_" for name in plugins]
    versions = {f"alembic_version_{name}" for name in plugins}
    return versions | {name for name in inspector.get_table_names() if name.startswith(tuple(prefixes))}


def describe(connection):
    seen, dialect = inspect(connection), connection.dialect.name
    found = {}
    for name in sorted(set(seen.get_table_names()) - {"alembic_version", *locks.NAMES} - list_tables_of_plugins(seen)):
        columns, indexes = {}, []
        for k in seen.get_columns(name):
            columns[k["name"]] = (str(k["type"]), getattr(k["type"], "collation", None), k["nullable"], k["default"])
        for i in seen.get_indexes(name):
            where = str((i.get("dialect_options") or {}).get(f"{dialect}_where"))
            indexes.append((i["name"], i["column_names"], bool(i["unique"]), where))
        sql = text("SELECT sql FROM sqlite_master WHERE name = :n").bindparams(n=name)
        checks = [(k["name"], k["sqltext"]) for k in seen.get_check_constraints(name)]
        foreign = [(one["constrained_columns"], one["referred_table"]) for one in seen.get_foreign_keys(name)]
        unique = [u["column_names"] for u in seen.get_unique_constraints(name)]
        found[name] = {
            "columns": columns,
            "key": seen.get_pk_constraint(name)["constrained_columns"],
            **{str(k): sorted(some, key=str) for k, some in enumerate((foreign, indexes, unique, checks))},
            "rowid": "WITHOUT ROWID" in str(connection.execute(sql).scalar()) if dialect == "sqlite" else None,
        }
    return found


def test_migrated_schema_equals_the_tables(empty_database_url):
    db = Database(empty_database_url)
    migrate.upgrade(db)
    migrated = ask(db, describe)
    instants = [
        k for table in load_metadata().tables.values() for k in table.columns if type(k.type).__name__ == "Instant"
    ]
    collations = {migrated[k.table.name]["columns"][k.name][1] for k in instants}
    with db.write() as c:
        views.drop_views(c)
        stored = MetaData()
        stored.reflect(c)
        stored.drop_all(c, [stored.tables[name] for name in list_tables_of_plugins(inspect(c))])
        load_metadata().drop_all(c)
        assert describe(c) == {}
        load_metadata().create_all(c)
    declared = ask(db, describe)
    assert set(migrated) == set(load_metadata().tables)
    todo = "the migrations differ from the tables; run `make baseline-fixture`, or add a migration"
    for name, table in declared.items():
        assert migrated[name] == table, f"{name}: {todo}"
    if not db.is_sqlite:
        assert collations == {"C"}
    db.close()


def find_differences(connection):
    """Return what alembic would write into a new migration of this database. Defaults are compared by `describe`."""
    left_out = {*locks.NAMES, *list_tables_of_plugins(inspect(connection))}
    context = MigrationContext.configure(
        connection,
        opts={"include_name": lambda name, kind, _parent: kind != "table" or name not in left_out},
    )
    return compare_metadata(context, load_metadata())


def test_alembic_finds_no_difference_between_the_migrated_schema_and_the_tables(empty_database_url):
    with Database(empty_database_url) as db:
        migrate.upgrade(db)
        assert ask(db, find_differences) == []
        with db.write() as c:
            c.execute(text("DROP INDEX ix_alert_raised"))
        ((change, index),) = ask(db, find_differences)
    assert (change, index.name) == ("add_index", "ix_alert_raised")


def test_a_database_that_was_never_set_up_says_what_to_do(empty_database_url):
    with Database(empty_database_url) as db:
        with pytest.raises(StoreError, match=r"not set up.*run `slopeward db upgrade`") as caught, db.read() as c:
            c.execute(text("SELECT id FROM alert"))
        assert not isinstance(caught.value, StoreBusyError), "trying again is of no use"


def test_three_processes_upgrade_at_once(empty_database_url):
    def upgrade():
        db = Database(empty_database_url)
        migrate.upgrade(db)
        migrate.require_current(db)
        assert migrate.current(db) == migrate.head()

    assert [os.waitpid(one, 0)[1] for one in [fork(upgrade) for _ in range(3)]] == [0, 0, 0]


def test_the_revision_needed_is_the_one_that_alembic_finds():
    """It is read from the files, without alembic: a migration that is spelled otherwise must be seen."""
    assert migrate.head() == ScriptDirectory.from_config(migrate.make_config()).get_current_head()


def spell_migration(folder, more=""):
    shutil.copytree(migrate._folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "next.py").write_text(NEXT.format(head=migrate.head()) + more)
    return folder


@pytest.fixture
def newer_program(tmp_path, monkeypatch):
    """A program one migration further: it adds a column and rebuilds a table that views stand on."""
    folder = spell_migration(tmp_path / "alembic")
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_folder", lambda: folder)
        yield patch


def before_next():
    """The revision before the one further: the newest of this program."""
    return str(max(p.stem[:4] for p in migrate._folder().glob("versions/[0-9]*.py")))


def test_upgrading_a_filled_database_keeps_its_rows_and_copies_the_sqlite_file(filled_database, newer_program):
    with filled_database.read() as c:
        before = {name: views.load_view(c, name) for name in load_view_tables()}
    stored = before_next()
    with pytest.raises(StoreError, match=rf"revision {stored}, next is needed; run `slopeward db upgrade`"):
        migrate.require_current(filled_database)
    copy = migrate.upgrade(filled_database, NOW)
    migrate.require_current(filled_database)
    with filled_database.read() as c:
        assert {name: views.load_view(c, name) for name in load_view_tables()} == before
    if not filled_database.is_sqlite:
        assert copy is None
        return
    assert copy == Path(filled_database.url.database + f".{stored}.20260301T060000Z.bak")
    assert copy.stat().st_mode & 0o077 == 0
    kept = sqlite3.connect(copy)
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == (stored,)
    assert kept.execute("SELECT count(*) FROM observation").fetchone()[0] == len(before["observation_history"])
    kept.close()
    with filled_database.write() as c:  # foreign keys are on again after the rebuild
        assert c.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        with pytest.raises(Exception, match="FOREIGN KEY"):
            c.exec_driver_sql(
                "INSERT INTO alert_outcome (alert_id, class, by, note, at) VALUES (99, 'true', '', '', '')"
            )


def test_a_database_of_a_newer_program_is_refused(database, newer_program):
    migrate.upgrade(database, NOW)
    newer_program.undo()
    for refuse in (migrate.require_current, migrate.upgrade):
        with pytest.raises(StoreError, match="newer Slopeward"):
            refuse(database)


def test_a_failing_migration_leaves_everything_as_it_was(filled_database, tmp_path, monkeypatch):
    folder = spell_migration(tmp_path / "alembic", "    raise RuntimeError('half-way')\n")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="half-way"):
        patch.setattr(migrate, "_folder", lambda: folder)
        migrate.upgrade(filled_database, NOW)
    migrate.require_current(filled_database)
    assert len(ask(filled_database, views.load_view, "site_status")) == 2


def test_views_of_another_version_are_made_anew(database):
    tell(database, lambda c: c.exec_driver_sql("DROP VIEW anomalies"))
    with pytest.raises(StoreError, match="views .* another version"):  # noqa: RUF043
        migrate.require_current(database)
    assert migrate.upgrade(database) is None
    migrate.require_current(database)


def test_grants_of_readers_outlive_an_upgrade_and_reach_nothing_else(postgresql_url, postgresql, newer_program):
    db = Database(postgresql_url)
    role = f"reader_{db.url.database}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    reader = Database(db.url.set(username=role).render_as_string(hide_password=False))
    try:
        tell(db, views.grant_readonly, role)
        migrate.upgrade(db)
        fill(db)
        with reader.read() as c:
            assert all(len(views.load_view(c, name)) for name in load_view_tables())
        with pytest.raises(Exception, match="permission denied"), reader.read() as c:
            c.execute(text("SELECT * FROM user_account"))
    finally:
        reader.close()
        tell(db, lambda c: c.execute(text(f"DROP OWNED BY {role}")))
        db.close()
        postgresql.execute(f"DROP ROLE {role}")


def test_a_view_of_somebody_else_on_ours_stops_the_upgrade_with_its_name(postgresql_url, newer_program):
    with Database(postgresql_url) as db:
        tell(db, lambda c: c.exec_driver_sql("CREATE VIEW my_board AS SELECT * FROM site_status"))
        with pytest.raises(StoreError, match="a view of your own depends on a public view"):
            migrate.upgrade(db)
        tell(db, lambda c: c.exec_driver_sql("DROP VIEW my_board"))
        migrate.upgrade(db)


@pytest.mark.server
def test_a_database_without_an_encoding_is_read_and_written_as_utf8(postgresql):
    """As a cluster made under the locale C has them: psycopg would answer in bytes."""
    postgresql.execute("CREATE DATABASE no_encoding TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    db = Database(postgresql.url("no_encoding"))
    try:
        with db.write() as c:
            assert c.exec_driver_sql("SHOW server_encoding").scalar() == "SQL_ASCII"
            assert c.exec_driver_sql("SELECT 'Hang Süd'").scalar() == "Hang Süd"
    finally:
        db.close()
        postgresql.execute("DROP DATABASE no_encoding WITH (FORCE)")


@pytest.fixture
def incomplete_database(database):
    """A database at the current revision in which one table and one column are missing."""
    with database.write() as c:
        c.exec_driver_sql("DROP TABLE known_device")
        c.exec_driver_sql("ALTER TABLE recovery_code DROP COLUMN used_at")
    return database


def test_missing_tables_and_columns_are_found_although_the_revision_is_current(incomplete_database):
    migrate.require_current(incomplete_database)
    assert migrate.list_missing_columns(incomplete_database) == ["known_device", "recovery_code.used_at"]
    with pytest.raises(StoreError, match=r"lacks known_device, recovery_code\.used_at; restore a copy"):
        migrate.require_complete(incomplete_database)


def test_a_migrated_database_lacks_nothing(database):
    migrate.require_complete(database)
    assert migrate.list_tables_of_absent_features(database) == []


def test_tables_that_a_migration_created_for_an_absent_feature_are_found(database, tmp_path, monkeypatch):
    more = '    op.create_table("patrol", sa.Column("id", sa.Integer(), nullable=False))\n'
    folder = spell_migration(tmp_path / "alembic", more)
    monkeypatch.setattr(migrate, "_folder", lambda: folder)
    assert migrate.list_tables_of_absent_features(database) == []
    migrate.upgrade(database, NOW)
    tell(database, lambda c: c.exec_driver_sql("CREATE TABLE of_another_program (id INTEGER)"))
    assert migrate.list_tables_of_absent_features(database) == ["patrol"]
