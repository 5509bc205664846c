"""What an upgrade of the database would do. Nothing is written."""

import ast
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from monitor.storage import migrate, views
from monitor.storage.backup import checksum_file, sqlite_file
from monitor.storage.branches import list_outdated_branches, load_revision
from monitor.storage.engine import Database


class MigrationStep(NamedTuple):
    """A migration that an upgrade would run, with the first sentence of its description."""

    revision: str
    summary: str


class BackupFile(NamedTuple):
    """A backup on the disk: a file of `slopeward db backup` or of the schedule."""

    file: Path
    made_at: datetime
    size_bytes: int


class UpgradePlan(NamedTuple):
    """What an upgrade would do.

    Attributes:
        revision: Revision of the database; empty if it has no schema or does not exist.
        needed: Revision that this version needs.
        steps: Migrations, in the order in which they would run.
        plugins: Plugins whose tables would be upgraded.
        has_current_views: Whether the views need not be made again.
        size_bytes: Size of the database; None if it does not exist.
        copy_free_bytes: Free space for the copy of a SQLite file that an upgrade makes first; None if it makes none.
        backup: The newest backup; None if none was found.
    """

    revision: str
    needed: str
    steps: list[MigrationStep]
    plugins: list[str]
    has_current_views: bool
    size_bytes: int | None
    copy_free_bytes: int | None
    backup: BackupFile | None

    @property
    def is_needed(self) -> bool:
        """Whether an upgrade would change anything."""
        return bool(self.steps or self.plugins or not self.has_current_views)


def plan_upgrade(db: Database, backup_folders: Iterable[Path]) -> UpgradePlan:
    """Return what `migrate.upgrade` would do.

    Args:
        db: The database.
        backup_folders: Where to look for backups.

    Raises:
        StoreError: The database was made by a newer version.
    """
    needed = migrate.find_newest_revision()
    backup = find_newest_backup(backup_folders)
    if migrate.is_missing(db):
        return UpgradePlan("", needed, list_steps(""), [], False, None, None, backup)
    with db.read() as c:
        revision = load_revision(c)
        plugins = [branch.name for branch in list_outdated_branches(c)]
        has_current_views = bool(revision) and views.has_current_views(c)
        if db.is_sqlite:
            size_bytes = sqlite_file(db).stat().st_size
        else:
            size_bytes = int(c.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    migrate.require_known(revision)
    steps = list_steps(revision)
    is_copied = db.is_sqlite and revision and (steps or plugins)
    copy_free_bytes = shutil.disk_usage(sqlite_file(db).absolute().parent).free if is_copied else None
    return UpgradePlan(revision, needed, steps, plugins, has_current_views, size_bytes, copy_free_bytes, backup)


def list_steps(revision: str) -> list[MigrationStep]:
    """Return the migrations after a revision, in their order; all of them for an empty text."""
    next_steps: dict[str, MigrationStep] = {}
    for file in (migrate.find_folder() / "versions").glob("*.py"):
        module = ast.parse(file.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        description = ast.get_docstring(module) or file.stem
        step = MigrationStep(str(constants["revision"]), description.partition("\n")[0])
        next_steps[str(constants["down_revision"] or "")] = step
    steps: list[MigrationStep] = []
    while revision in next_steps:
        steps.append(next_steps[revision])
        revision = steps[-1].revision
    return steps


def find_newest_backup(folders: Iterable[Path]) -> BackupFile | None:
    """Return the newest backup in some folders: a file named `slopeward-*` that has its SHA-256 beside it."""
    backups = [
        _describe(file)
        for folder in folders
        for file in folder.glob("slopeward-*")
        if file.suffix in {".db", ".dump"} and checksum_file(file).exists()
    ]
    return max(backups, key=lambda backup: backup.made_at, default=None)


def _describe(file: Path) -> BackupFile:
    facts = file.stat()
    return BackupFile(file, datetime.fromtimestamp(facts.st_mtime, UTC), facts.st_size)
