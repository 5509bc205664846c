"""Scheduled backups: make a backup, prove that it can be restored, record it, and delete the oldest backups.

`monitor.storage.backup` makes a single backup and restores it; `monitor.storage.proof` proves it.
"""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select

from forecasting.whole_file import ABANDONED_AFTER_S
from monitor.errors import StoreError
from monitor.storage import audit, backup, proof
from monitor.storage.backup_tables import backup_run
from monitor.storage.engine import Database
from monitor.storage.rows import add_row
from monitor.text.instants import format_iso

# States of a backup.
PROVEN: Final = "proven"
MADE: Final = "made"
FAILED: Final = "failed"
# Backups with other names were made by people and are kept.
PREFIX: Final = "slopeward-auto-"


class BackupRun(NamedTuple):
    """A row of `backup_run`."""

    at: datetime
    file: str
    state: str
    detail: str


class BackupFailures(NamedTuple):
    """Backups that failed in a row: how many, when the newest one failed, and why."""

    tries: int
    at: datetime
    detail: str


def make_backup(
    db: Database,
    folder: Path,
    keep: int,
    now: datetime,
    *,
    should_prove: bool,
    prepare_child: Callable[[], None] | None = None,
) -> BackupRun:
    """Make a backup while the service runs, prove it, record the result, and delete all but the newest backups.

    Args:
        db: the database.
        folder: the folder of the backups. It is created if it does not exist.
        keep: how many backups to keep.
        now: The current time.
        should_prove: whether to restore the backup into a scratch database and verify it there.
        prepare_child: called in each child process before its program starts.

    Returns:
        The recorded result. The state is `made` if the backup could not be proven for lack of space or privileges.

    Raises:
        StoreError: the backup failed, or it differs from what was written. The failure is recorded too.
    """
    start = time.monotonic()
    stamp = format_iso(now)[:19].replace("-", "").replace(":", "")
    target = folder / f"{PREFIX}{stamp}Z.{'db' if db.is_sqlite else 'dump'}"
    with db.read() as c:
        head = audit.find_head(c)[1]
    facts = {"at": now, "file": str(target), "audit_head": head}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A killed process leaves a part of a backup or a scratch database.
        for partial in (*folder.glob(f".{PREFIX}*"), *folder.glob(f".{proof.SCRATCH}*")):
            if time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S:
                partial.unlink(missing_ok=True)
        backup.back_up(db, target, prepare_child)
        try:
            if should_prove:
                row_count, state, detail = _prove(db, target, head, prepare_child)
            else:
                row_count, state, detail = None, MADE, "not proven, as configured"
        except (StoreError, OSError):
            # The backup is not reliable, and further ones would fill the disk.
            _remove(target)
            raise
    except (StoreError, OSError) as error:
        _record(db, **facts, state=FAILED, seconds=time.monotonic() - start, detail=str(error))
        raise StoreError(str(error)) from error
    size = target.stat().st_size
    _record(db, **facts, state=state, seconds=time.monotonic() - start, bytes=size, rows=row_count, detail=detail)
    with db.read() as c:
        failed_files = set(c.execute(select(backup_run.c.file).where(backup_run.c.state == FAILED)).scalars())
    good_backups = [file for file in list_backups(folder) if str(file) not in failed_files]
    for file in good_backups[:-keep]:
        _remove(file)
    return BackupRun(now, str(target), state, detail)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    backup.checksum_file(file).unlink(missing_ok=True)


def _prove(
    db: Database, target: Path, head: str, prepare_child: Callable[[], None] | None
) -> tuple[int | None, str, str]:
    """Return the number of rows in the restored backup, the state of the backup, and its detail."""
    try:
        result = proof.prove_in_child(db, target, head, prepare_child)
    except proof.NoScratchError as error:
        return None, MADE, str(error)
    if result.findings:
        raise StoreError(f"{target} is not as it was written: {result.findings[0]} ({len(result.findings)} findings)")
    rows = sum(result.rows.values())
    return rows, PROVEN, f"restored: {rows} rows in {len(result.rows)} tables, audit chain and seals hold"


def list_backups(folder: Path) -> list[Path]:
    """Return the scheduled backups in a folder, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.suffix in {".db", ".dump"})


def find_failures(c: Connection) -> BackupFailures | None:
    """Return the backups that failed since the newest one that succeeded, or None if none failed since."""
    b = backup_run.c
    newest_success = select(func.max(b.id)).where(b.state != FAILED).scalar_subquery()
    rows = c.execute(select(b.at, b.detail).where(b.id > func.coalesce(newest_success, 0)).order_by(b.id)).all()
    return BackupFailures(len(rows), rows[-1].at, rows[-1].detail) if rows else None


def find_newest(c: Connection, *, succeeded: bool = True) -> BackupRun | None:
    """Return the newest backup, or None if there is none.

    Args:
        c: an open connection.
        succeeded: whether to leave out backups that failed.
    """
    b = backup_run.c
    query = select(b.at, b.file, b.state, b.detail).order_by(b.at.desc(), b.id.desc()).limit(1)
    if succeeded:
        query = query.where(b.state != FAILED)
    row = c.execute(query).first()
    return None if row is None else BackupRun(*row)


def _record(db: Database, **columns: Any) -> None:
    with db.write() as c:
        add_row(c, backup_run, columns)
