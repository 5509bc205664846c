"""Looks at what the service stands on: clock, disks, database, its log and its copies. Read by people and alarms."""

import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from monitor.config.service import BackupSection, ServiceConfig
from monitor.domain.instants import spell_age
from monitor.notify.trial import find_pause
from monitor.service.clock import is_synchronised
from monitor.store.database.engine import Database
from monitor.store.delivery.channel_tests import load_all_tested
from monitor.store.service_checks import BAD, OK, WARN, Check
from monitor.store.upkeep.backup import sqlite_file
from monitor.store.upkeep.copies import find_last_try, find_newest

MIB, GIB = 1024**2, 1024**3
DISK_BAD: Final = 500 * MIB
DISK_WARN: Final = 5 * GIB
COMMIT_WARN_MS, COMMIT_BAD_MS = 250.0, 2000.0
LOG_WARN, LOG_BAD = 256 * MIB, 2 * GIB
SLOWEST: Final = 0.99


def look(db: Database, config: ServiceConfig, commits_s: Sequence[float], now: datetime) -> list[Check]:
    """Every check of this machine and this database; `commits_s` are seconds that recent writes took."""
    return [
        look_at_clock(), *look_at_disks(config), *look_at_commits(commits_s), *look_at_log(db),
        look_at_copies(db, config.backup, now), *look_at_channels(db, config, now),
    ]  # fmt: skip


def look_at_channels(db: Database, config: ServiceConfig, now: datetime) -> Iterator[Check]:
    """Whether each channel passed its last test, and how old its last good one is."""
    pause = find_pause(config.channels)
    if pause is None:
        return
    with db.read() as c:
        tested = load_all_tested(c)
    for one in tested:
        state = BAD if one.is_silent(now, 2 * pause) else OK if one.good_at == one.last_at else WARN
        age_h = None if one.good_at is None else round((now - one.good_at).total_seconds() / 3600, 1)
        found = one.found if state != OK or one.good_at is None else f"good {spell_age(now - one.good_at)} ago"
        yield Check(f"channel.{one.channel}"[:64], state, found, "slopeward channels test", age_h, "h")


def look_at_clock() -> Check:
    """Whether the clock of the machine follows a reference."""
    remedy = "run an NTP client (systemd-timesyncd, chrony)"
    synchronised = is_synchronised()
    if synchronised is None:
        return Check("clock", WARN, "this system does not say whether its clock is synchronized", remedy)
    return Check("clock", OK, "synchronized") if synchronised else Check("clock", WARN, "not synchronized", remedy)


def look_at_disks(config: ServiceConfig) -> Iterator[Check]:
    """Room on the disks that the service writes to."""
    url = make_url(config.database.url)
    folders = {name: Path(getattr(config.paths, name)) for name in ("inbox", "models", "state")}
    if url.get_backend_name() == "sqlite" and url.database:
        folders["database"] = Path(url.database).parent
    if config.broker.mode == "managed":
        folders["broker"] = Path(config.broker.data)
    if config.backup.every_s is not None:
        folders["backup"] = Path(config.backup.folder)
    for name, folder in folders.items():
        there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
        state = BAD if free < DISK_BAD else WARN if free < DISK_WARN else OK
        found, remedy = f"{free / GIB:.1f} GiB free at {there}", "make room, or `slopeward db prune`"
        if not os.access(there, os.W_OK):
            state, found, remedy = BAD, f"{there} cannot be written", "give it to the user of the service"
        yield Check(f"disk.{name}", state, found, remedy, round(free / GIB, 2), "GiB")


def look_at_commits(commits_s: Sequence[float]) -> Iterator[Check]:
    """How long the database takes to keep a small write, from those of the last minutes."""
    if not commits_s:
        return
    in_order = sorted(commits_s)
    slow_ms = in_order[min(len(in_order) - 1, int(SLOWEST * len(in_order)))] * 1000
    state = BAD if slow_ms >= COMMIT_BAD_MS else WARN if slow_ms >= COMMIT_WARN_MS else OK
    found = (
        f"a small write takes {in_order[len(in_order) // 2] * 1000:.0f} ms, the slowest of a hundred {slow_ms:.0f} ms"
    )
    yield Check("database.commit", state, found, "look at the disk of the database", round(slow_ms, 1), "ms")


def look_at_log(db: Database) -> Iterator[Check]:
    """How large the log is that the database writes ahead of its tables."""
    if db.is_sqlite:
        try:
            size = sqlite_file(db).with_name(f"{sqlite_file(db).name}-wal").stat().st_size
        except OSError:
            size = 0
        remedy = "a program that reads for so long keeps it from being emptied: end it"
    else:
        try:
            with db.read() as c:
                size = int(c.execute(text("SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()")).scalar_one())
        except DBAPIError:
            return  # for administrators and members of pg_monitor alone
        remedy = "look at archive_command and at replication slots that nobody reads (pg_replication_slots)"
    state = BAD if size >= LOG_BAD else WARN if size >= LOG_WARN else OK
    found = f"the write-ahead log takes {size / MIB:.0f} MiB"
    yield Check("database.log", state, found, remedy, round(size / MIB), "MiB")


def look_at_copies(db: Database, wanted: BackupSection, now: datetime) -> Check:
    """How old the newest copy of the database is."""
    with db.read() as c:
        newest, last = find_newest(c), find_last_try(c)
    if wanted.every_s is None:
        remedy = 'set [backup] every = "24h", or copy it by other means'
        return Check("backup", WARN, "the service makes no copies of the database", remedy)
    failed = f"; the last try failed: {last.detail}" if last is not None and last.state == "failed" else ""
    remedy = "look at the view backups and the disk of backup.folder"
    if newest is None:
        return Check("backup", BAD if failed else WARN, f"there is no copy of the database yet{failed}", remedy)
    age_s = (now - newest.at).total_seconds()
    state = BAD if age_s > 2 * wanted.every_s else WARN if failed else OK
    found = f"the newest copy is of {newest.at:%Y-%m-%d %H:%M} UTC, {newest.state}{failed}"
    return Check("backup", state, found, remedy, round(age_s / 3600, 1), "h")
