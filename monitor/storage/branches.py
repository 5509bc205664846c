"""Revisions of the schema, and the tables that plugins add in migration branches of their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, column, inspect, select
from sqlalchemy import table as sql_table

from monitor.plugin_isolation import note_fault
from monitor.plugins import hooks, implementations, is_built_in
from monitor.registration import Migrations
from monitor.storage.tables import load_metadata

# Table with the revision of the built-in tables. For the table of a plugin see `name_versions_table`.
VERSIONS: Final = "alembic_version"
_REVISION: Final = re.compile(r'^(down_)?revision = "(\w+)"$', re.MULTILINE)
_CREATED_TABLE: Final = re.compile(r'\bop\.create_table\(\s*"(\w+)"')


def read_revisions(folder: Path) -> tuple[set[str], set[str]]:
    """Return the revisions in a folder of migrations, and those that another revision follows."""
    matches = [match for file in folder.glob("*.py") for match in _REVISION.findall(file.read_text(encoding="utf-8"))]
    return {name for down, name in matches if not down}, {name for down, name in matches if down}


def read_created_tables(folder: Path) -> set[str]:
    """Return the tables that the migrations in a folder create."""
    return {name for file in folder.glob("*.py") for name in _CREATED_TABLE.findall(file.read_text(encoding="utf-8"))}


def load_revision(connection: Connection, versions_table: str = VERSIONS) -> str:
    """Return the revision of the database, or an empty text if it has no schema."""
    if not inspect(connection).has_table(versions_table):
        return ""
    return connection.execute(select(column("version_num")).select_from(sql_table(versions_table))).scalar() or ""


def name_versions_table(branch: Migrations) -> str:
    """Return the name of the table with the revision of a plugin."""
    return f"{VERSIONS}_{branch.name}"


def list_outdated_branches(connection: Connection) -> list[Migrations]:
    """Return the branches of the plugins whose tables are not at the revision that they need."""
    return [branch for branch in hooks().migrations() if not _is_current(connection, branch)]


def _is_current(connection: Connection, branch: Migrations) -> bool:
    try:
        revisions, followed = read_revisions(branch.folder)
    except Exception as error:
        note_fault(branch.name, "migrations", error)
        return False
    return {load_revision(connection, name_versions_table(branch))} == revisions - followed


def list_tables(connection: Connection) -> list[Table]:
    """Return the tables of Slopeward, and those of plugins whose tables are at the revision that they need."""
    return [*load_metadata().sorted_tables, *_list_plugin_tables(connection)]


def _list_plugin_tables(connection: Connection) -> Iterator[Table]:
    outdated = {branch.name for branch in list_outdated_branches(connection)}
    for implementation in implementations("register_tables"):
        if not is_built_in(implementation.plugin) and implementation.plugin not in outdated:
            yield from implementation.call() or ()
