"""Copies by schedule: made, proven, written down, and the oldest let go."""

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

PROVEN, MADE, FAILED = "proven", "made", "failed"
PREFIX: Final = "slopeward-auto-"  # copies of other names are a person's, and stay


class BackupCopy(NamedTuple):
    """A row of `backup_run`."""

    at: datetime
    file: str
    state: str
    detail: str


class BackupFailures(NamedTuple):
    """Tries in a row that failed, and what the last one said."""

    tries: int
    at: datetime
    detail: str


def make_copy(
    db: Database, folder: Path, keep: int, now: datetime, *, is_proven: bool, begin: Callable[[], None] | None = None
) -> BackupCopy:
    """Make a copy while the service runs, prove it, and keep the newest ones.

    Args:
        folder: where copies lie; made where it is missing.
        is_proven: restore it into a scratch database and check it there.
        begin: called in each process that is started, before its program.

    Returns:
        What became of it, as it is written down. A copy that cannot be proven for want of room or rights is `made`.

    Raises:
        StoreError: there is no copy, or it is not as it was written; that is written down as well.
    """
    start = time.monotonic()
    stamp = format_iso(now)[:19].replace("-", "").replace(":", "")
    target = folder / f"{PREFIX}{stamp}Z.{'db' if db.is_sqlite else 'dump'}"
    with db.read() as c:
        head = audit.find_head(c)[1]
    facts = {"at": now, "file": str(target), "audit_head": head}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # what a killed process left of a copy or a proof: nobody wrote to it for a day
        for left in (*folder.glob(f".{PREFIX}*"), *folder.glob(f".{proof.SCRATCH}*")):
            if time.time() - left.stat().st_mtime > ABANDONED_AFTER_S:
                left.unlink(missing_ok=True)
        backup.back_up(db, target, begin)
        try:
            result = _prove(db, target, head, begin) if is_proven else (None, MADE, "not proven, as configured")
        except (StoreError, OSError):
            _remove(target)  # nobody can rely on it, and one more each time would fill the disk
            raise
    except (StoreError, OSError) as error:
        _note(db, **facts, state=FAILED, seconds=time.monotonic() - start, detail=str(error))
        raise StoreError(str(error)) from error
    rows, state, detail = result
    size = target.stat().st_size
    _note(db, **facts, state=state, seconds=time.monotonic() - start, bytes=size, rows=rows, detail=detail)
    with db.read() as c:
        failed = set(c.execute(select(backup_run.c.file).where(backup_run.c.state == FAILED)).scalars())
    for old in [one for one in list_copies(folder) if str(one) not in failed][:-keep]:
        _remove(old)
    return BackupCopy(now, str(target), state, detail)


def _remove(copy: Path) -> None:
    copy.unlink(missing_ok=True)
    backup.sum_file(copy).unlink(missing_ok=True)


def _prove(db: Database, target: Path, head: str, begin: Callable[[], None] | None) -> tuple[int | None, str, str]:
    try:
        found = proof.prove_apart(db, target, head, begin)
    except proof.NoScratchError as error:
        return None, MADE, str(error)
    if found.findings:
        raise StoreError(f"{target} is not as it was written: {found.findings[0]} ({len(found.findings)} findings)")
    rows = sum(found.rows.values())
    return rows, PROVEN, f"restored: {rows} rows in {len(found.rows)} tables, audit chain and seals hold"


def list_copies(folder: Path) -> list[Path]:
    """Copies that the schedule made, oldest first."""
    return sorted(one for one in folder.glob(f"{PREFIX}*") if one.suffix in {".db", ".dump"})


def find_failures(c: Connection) -> BackupFailures | None:
    """Tries that failed since the last one that did not; None where the last one did not."""
    b = backup_run.c
    good = select(func.max(b.id)).where(b.state != FAILED).scalar_subquery()
    rows = c.execute(select(b.at, b.detail).where(b.id > func.coalesce(good, 0)).order_by(b.id)).all()
    return BackupFailures(len(rows), rows[-1].at, rows[-1].detail) if rows else None


def find_newest(c: Connection, *, succeeded: bool = True) -> BackupCopy | None:
    """The newest copy that there is, or else the newest try, as it was written down; None where there never was one."""
    b = backup_run.c
    wanted = select(b.at, b.file, b.state, b.detail).order_by(b.at.desc(), b.id.desc()).limit(1)
    row = c.execute(wanted.where(b.state != FAILED) if succeeded else wanted).first()
    return None if row is None else BackupCopy(*row)


def _note(db: Database, **columns: Any) -> None:
    with db.write() as c:
        add_row(c, backup_run, columns)
