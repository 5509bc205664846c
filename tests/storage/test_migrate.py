"""Migrations create a schema that equals the tables. Several processes can upgrade, after a backup of SQLite files."""

import json
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, text

from monitor.cli.main import run_command
from monitor.errors import StoreBusyError, StoreError
from monitor.plugins import hooks
from monitor.storage import locks, migrate, views
from monitor.storage.backup import checksum_file
from monitor.storage.engine import Database
from monitor.storage.tables import load_metadata
from monitor.storage.upgrade_plan import find_newest_backup
from monitor.storage.view_tables import load_view_tables
from tests.data.filled import NOW, fill
from tests.data.forked import fork
from tests.data.store_rows import ask, tell

NEXT = """'Add the place of an alert.'
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
    inspector, dialect = inspect(connection), connection.dialect.name
    tables = {}
    for name in sorted(
        set(inspector.get_table_names()) - {"alembic_version", *locks.NAMES} - list_tables_of_plugins(inspector)
    ):
        columns, indexes = {}, []
        for column in inspector.get_columns(name):
            columns[column["name"]] = (
                str(column["type"]),
                getattr(column["type"], "collation", None),
                column["nullable"],
                column["default"],
            )
        for index in inspector.get_indexes(name):
            where = str((index.get("dialect_options") or {}).get(f"{dialect}_where"))
            indexes.append((index["name"], index["column_names"], bool(index["unique"]), where))
        sql = text("SELECT sql FROM sqlite_master WHERE name = :n").bindparams(n=name)
        checks = [(column["name"], column["sqltext"]) for column in inspector.get_check_constraints(name)]
        foreign = [
            (foreign_key["constrained_columns"], foreign_key["referred_table"])
            for foreign_key in inspector.get_foreign_keys(name)
        ]
        unique = [constraint["column_names"] for constraint in inspector.get_unique_constraints(name)]
        tables[name] = {
            "columns": columns,
            "key": inspector.get_pk_constraint(name)["constrained_columns"],
            **{str(column): sorted(items, key=str) for column, items in enumerate((foreign, indexes, unique, checks))},
            "rowid": "WITHOUT ROWID" in str(connection.execute(sql).scalar()) if dialect == "sqlite" else None,
        }
    return tables


def test_migrated_schema_equals_the_tables(empty_database_url):
    database = Database(empty_database_url)
    migrate.upgrade(database)
    migrated = ask(database, describe)
    instants = [
        column
        for table in load_metadata().tables.values()
        for column in table.columns
        if type(column.type).__name__ == "Instant"
    ]
    collations = {migrated[column.table.name]["columns"][column.name][1] for column in instants}
    with database.write() as connection:
        views.drop_views(connection)
        stored = MetaData()
        stored.reflect(connection)
        stored.drop_all(connection, [stored.tables[name] for name in list_tables_of_plugins(inspect(connection))])
        load_metadata().drop_all(connection)
        assert describe(connection) == {}
        load_metadata().create_all(connection)
    declared = ask(database, describe)
    assert set(migrated) == set(load_metadata().tables)
    remedy = "the migrations differ from the tables; run `make baseline-fixture`, or add a migration"
    for name, table in declared.items():
        assert migrated[name] == table, f"{name}: {remedy}"
    if not database.is_sqlite:
        assert collations == {"C"}
    database.close()


def find_differences(connection):
    """Return what alembic would write into a new migration of this database. Defaults are compared by `describe`."""
    ignored_tables = {*locks.NAMES, *list_tables_of_plugins(inspect(connection))}
    context = MigrationContext.configure(
        connection,
        opts={"include_name": lambda name, kind, _parent: kind != "table" or name not in ignored_tables},
    )
    return compare_metadata(context, load_metadata())


def test_alembic_detects_no_difference_between_migrations_and_tables(empty_database_url):
    with Database(empty_database_url) as database:
        migrate.upgrade(database)
        assert ask(database, find_differences) == []
        with database.write() as connection:
            connection.execute(text("DROP INDEX ix_alert_raised"))
        ((change, index),) = ask(database, find_differences)
    assert (change, index.name) == ("add_index", "ix_alert_raised")


def test_error_of_a_database_without_schema_contains_the_remedy(empty_database_url):
    with Database(empty_database_url) as database:
        with (
            pytest.raises(StoreError, match=r"not set up.*run `slopeward db upgrade`") as caught,
            database.read() as connection,
        ):
            connection.execute(text("SELECT id FROM alert"))
        assert not isinstance(caught.value, StoreBusyError), "trying again is of no use"


def test_three_processes_can_upgrade_at_the_same_time(empty_database_url):
    def upgrade():
        db = Database(empty_database_url)
        migrate.upgrade(db)
        migrate.require_current(db)
        assert migrate.load_current_revision(db) == migrate.find_newest_revision()

    assert [os.waitpid(child_pid, 0)[1] for child_pid in [fork(upgrade) for _ in range(3)]] == [0, 0, 0]


def test_required_revision_equals_that_of_alembic():
    """The required revision is read from the files without alembic. A file name of another form must be recognised."""
    assert migrate.find_newest_revision() == ScriptDirectory.from_config(migrate.make_config()).get_current_head()


def write_next_migration(folder, more=""):
    shutil.copytree(migrate.find_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "next.py").write_text(NEXT.format(head=migrate.find_newest_revision()) + more)
    return folder


@pytest.fixture
def newer_program(tmp_path, monkeypatch):
    """Use a program with one more migration, which adds a column and rebuilds a table that views depend on."""
    folder = write_next_migration(tmp_path / "alembic")
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "find_folder", lambda: folder)
        yield patch


def find_current_revision():
    """Return the newest revision of this program, which precedes the added migration."""
    return str(max(path.stem[:4] for path in migrate.find_folder().glob("versions/[0-9]*.py")))


def test_dry_run_names_the_steps_the_size_and_the_newest_backup_and_changes_nothing(
    filled_database, newer_program, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("SLOPEWARD_BACKUP__FOLDER", str(tmp_path / "backups"))
    stored = find_current_revision()
    assert run_command(["db", "upgrade", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"at {stored}, this version needs next", "would run next: Add the place of an alert."]
    assert [line for line in lines if line.startswith("size: ") and line.endswith(" MB")]
    assert bool([line for line in lines if "would copy the file beside it first" in line]) == filled_database.is_sqlite
    assert f"backup: none found in {tmp_path}/backups" in "\n".join(lines)
    assert lines[-1] == "nothing was changed"
    backup = tmp_path / "backups/slopeward-before.db"
    backup.parent.mkdir()
    backup.write_bytes(bytes(2_500_000))
    assert find_newest_backup([backup.parent]) is None, "without a sum it may be incomplete"
    checksum_file(backup).touch()
    os.utime(backup, (time.time() - 7200, time.time() - 7200))
    assert run_command(["db", "upgrade", "--dry-run"]) == 0
    assert f"backup: {backup}, 2 h old, 2.5 MB" in capsys.readouterr().out
    assert migrate.load_current_revision(filled_database) == stored


def test_dry_run_of_a_current_and_of_an_absent_database(sqlite_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", sqlite_url)
    with Database(sqlite_url) as database:
        migrate.upgrade(database)
    assert run_command(["db", "upgrade", "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["steps"], facts["has_current_views"], facts["backup"]) == ([], True, None)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///{tmp_path}/absent.db")
    assert run_command(["db", "upgrade", "--dry-run"]) == 0
    assert "there is no database" in capsys.readouterr().out
    assert not (tmp_path / "absent.db").exists()


def test_upgrade_of_a_filled_database_keeps_its_rows_and_backs_up_the_sqlite_file(filled_database, newer_program):
    with filled_database.read() as connection:
        rows_before = {name: views.load_view(connection, name) for name in load_view_tables()}
    stored = find_current_revision()
    with pytest.raises(StoreError, match=rf"revision {stored}, next is needed; run `slopeward db upgrade`"):
        migrate.require_current(filled_database)
    copy = migrate.upgrade(filled_database, NOW)
    migrate.require_current(filled_database)
    with filled_database.read() as connection:
        assert {name: views.load_view(connection, name) for name in load_view_tables()} == rows_before
    if not filled_database.is_sqlite:
        assert copy is None
        return
    assert copy == Path(filled_database.url.database + f".{stored}.20260301T060000Z.bak")
    assert copy.stat().st_mode & 0o077 == 0
    copied_database = sqlite3.connect(copy)
    assert copied_database.execute("SELECT version_num FROM alembic_version").fetchone() == (stored,)
    assert copied_database.execute("SELECT count(*) FROM observation").fetchone()[0] == len(
        rows_before["observation_history"]
    )
    copied_database.close()
    with filled_database.write() as connection:  # foreign keys are on again after the rebuild
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        with pytest.raises(Exception, match="FOREIGN KEY"):
            connection.exec_driver_sql(
                "INSERT INTO alert_outcome (alert_id, class, by, note, at) VALUES (99, 'true', '', '', '')"
            )


def test_database_of_a_newer_program_is_rejected(database, newer_program):
    migrate.upgrade(database, NOW)
    newer_program.undo()
    for refuse in (migrate.require_current, migrate.upgrade):
        with pytest.raises(StoreError, match="newer Slopeward"):
            refuse(database)


def test_failing_migration_changes_nothing(filled_database, tmp_path, monkeypatch):
    folder = write_next_migration(tmp_path / "alembic", "    raise RuntimeError('half-way')\n")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="half-way"):
        patch.setattr(migrate, "find_folder", lambda: folder)
        migrate.upgrade(filled_database, NOW)
    migrate.require_current(filled_database)
    assert len(ask(filled_database, views.load_view, "site_status")) == 2


def test_views_of_another_version_are_created_again(database):
    tell(database, lambda c: c.exec_driver_sql("DROP VIEW anomalies"))
    with pytest.raises(StoreError, match="views .* another version"):  # noqa: RUF043
        migrate.require_current(database)
    assert migrate.upgrade(database) is None
    migrate.require_current(database)


def test_grants_of_readers_survive_an_upgrade_and_allow_nothing_else(postgresql_url, postgresql, newer_program):
    database = Database(postgresql_url)
    role = f"reader_{database.url.database}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    reader = Database(database.url.set(username=role).render_as_string(hide_password=False))
    try:
        tell(database, views.grant_readonly, role)
        migrate.upgrade(database)
        fill(database)
        with reader.read() as connection:
            assert all(len(views.load_view(connection, name)) for name in load_view_tables())
        with pytest.raises(Exception, match="permission denied"), reader.read() as connection:
            connection.execute(text("SELECT * FROM user_account"))
    finally:
        reader.close()
        tell(database, lambda connection: connection.execute(text(f"DROP OWNED BY {role}")))
        database.close()
        postgresql.execute(f"DROP ROLE {role}")


def test_foreign_view_on_a_public_view_stops_the_upgrade_and_is_named(postgresql_url, newer_program):
    with Database(postgresql_url) as database:
        tell(
            database, lambda connection: connection.exec_driver_sql("CREATE VIEW my_board AS SELECT * FROM site_status")
        )
        with pytest.raises(StoreError, match="a view of your own depends on a public view"):
            migrate.upgrade(database)
        tell(database, lambda connection: connection.exec_driver_sql("DROP VIEW my_board"))
        migrate.upgrade(database)


@pytest.mark.server
def test_database_without_an_encoding_is_read_and_written_as_utf8(postgresql):
    """A cluster that was created with the locale C has such databases. psycopg would return bytes."""
    postgresql.execute("CREATE DATABASE no_encoding TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    database = Database(postgresql.url("no_encoding"))
    try:
        with database.write() as connection:
            assert connection.exec_driver_sql("SHOW server_encoding").scalar() == "SQL_ASCII"
            assert connection.exec_driver_sql("SELECT 'Hang Süd'").scalar() == "Hang Süd"
    finally:
        database.close()
        postgresql.execute("DROP DATABASE no_encoding WITH (FORCE)")


@pytest.fixture
def incomplete_database(database):
    """A database at the current revision in which one table and one column are missing."""
    with database.write() as c:
        c.exec_driver_sql("DROP TABLE known_device")
        c.exec_driver_sql("ALTER TABLE recovery_code DROP COLUMN used_at")
    return database


def test_missing_tables_and_columns_are_detected_although_the_revision_is_current(incomplete_database):
    migrate.require_current(incomplete_database)
    assert migrate.list_missing_columns(incomplete_database) == ["known_device", "recovery_code.used_at"]
    with pytest.raises(StoreError, match=r"lacks known_device, recovery_code\.used_at; restore a backup"):
        migrate.require_complete(incomplete_database)


def test_migrated_database_is_complete(database):
    migrate.require_complete(database)
    assert migrate.list_tables_of_absent_features(database) == []


def test_tables_of_an_absent_feature_are_listed(database, tmp_path, monkeypatch):
    more = '    op.create_table("patrol", sa.Column("id", sa.Integer(), nullable=False))\n'
    folder = write_next_migration(tmp_path / "alembic", more)
    monkeypatch.setattr(migrate, "find_folder", lambda: folder)
    assert migrate.list_tables_of_absent_features(database) == []
    migrate.upgrade(database, NOW)
    tell(database, lambda c: c.exec_driver_sql("CREATE TABLE of_another_program (id INTEGER)"))
    assert migrate.list_tables_of_absent_features(database) == ["patrol"]
