"""Checks of clock, disks, database, write-ahead log, backups and tests of channels."""

import ctypes
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.engine import make_url

from monitor.alerts.queries.alerts import FAILING
from monitor.app.checks.live import SHORTEST_OUTAGE_S
from monitor.delivery.queries.receipts import load_tested
from monitor.delivery.trial import find_pause
from monitor.settings.service import ServiceConfig
from monitor.storage.backup import sqlite_file
from monitor.storage.check import BAD, OK, WARN, Check, SubjectState, make_state
from monitor.storage.engine import Database
from monitor.storage.scheduled_backups import find_newest
from monitor.text.message import Duration, Figure, Template, Term, Timestamp

MIB: Final = 1024**2
GIB: Final = 1024**3
# Free bytes on the disk.
DISK_BAD: Final = 500 * MIB
DISK_WARN: Final = 5 * GIB
# Duration of a commit.
COMMIT_WARN_MS: Final = 250.0
COMMIT_BAD_MS: Final = 2000.0
# Bytes of the write-ahead log.
LOG_WARN: Final = 256 * MIB
LOG_BAD: Final = 2 * GIB
# The quantile of the durations of writes that is compared with the limits.
SLOW_QUANTILE: Final = 0.99
# Return value of adjtimex(2) for a clock that is not synchronized.
TIME_ERROR: Final = 5
_SLOW_DATABASE: Final = Template(
    "check.database.slow", "the database is slow, or its log has grown too large; see slopeward doctor"
)()
_CLOCK_UNKNOWN: Final = Template(
    "check.clock.unknown", "this system does not report whether its clock is synchronized"
)()
_CLOCK_FREE: Final = Template("check.clock.free", "not synchronized")()
_FREE: Final = Template("check.disk.free", "{n} GiB free at {place}")
_MAKE_ROOM: Final = Template("check.disk.make_room", "make room, or `slopeward db prune`")()
_LOCKED: Final = Template("check.disk.locked", "{place} cannot be written")
_GIVE: Final = Template("check.disk.give", "give it to the user of the service")()
_END_READER: Final = Template(
    "check.log.end_reader", "a program with a long read transaction prevents that it is emptied: end that program"
)()
_INSPECT_SLOTS: Final = Template(
    "check.log.slots", "check archive_command, and replication slots that nothing reads (pg_replication_slots)"
)()
_NO_BACKUPS: Final = Template("check.backup.off", "the service makes no backups of the database")()
_SET_EVERY: Final = Template("check.backup.set", 'set [backup] every = "24h", or back it up by other means')()
_FAILED: Final = Template("check.backup.failed", "; the last attempt failed: {problem}")
_INSPECT_BACKUPS: Final = Template("check.backup.look", "check the view backups and the disk of backup.folder")()
_NO_BACKUP: Final = Template("check.backup.none", "there is no backup of the database yet{failed}")
_NEWEST: Final = Template("check.backup.newest", "the newest backup was made at {at}, {state}{failed}")
_GOOD: Final = Template("check.channel.good", "good {age} ago")


class Machine(NamedTuple):
    """This machine, with the folders of the service file."""

    config: ServiceConfig


class DatabaseFacts(NamedTuple):
    """The database of the service.

    Attributes:
        commits_s: Durations of recent writes.
        channels: The channels that site files name.
    """

    db: Database
    config: ServiceConfig
    commits_s: Sequence[float]
    channels: Collection[str]
    now: datetime


def is_synchronised() -> bool | None:
    """Return whether the clock follows a reference (adjtimex(2)); None if the system does not report it."""
    try:
        # struct timex has about 208 bytes on 64-bit Linux. Mode 0 only reads.
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except AttributeError:
        return None
    # A negative value means that the call is forbidden (ProtectClock= of systemd).
    return None if state < 0 else state != TIME_ERROR


def _check_clock(_: Machine) -> Iterator[SubjectState]:
    synchronised = is_synchronised()
    yield make_state(is_wrong=not synchronised, found=_CLOCK_UNKNOWN if synchronised is None else _CLOCK_FREE)


def list_folders(config: ServiceConfig) -> dict[str, Path]:
    """Return the folders to which the service writes, by name."""
    url = make_url(config.database.url)
    folders = {name: Path(getattr(config.paths, name)) for name in ("inbox", "models", "state")}
    if url.get_backend_name() == "sqlite" and url.database:
        folders["database"] = Path(url.database).parent
    if config.broker.mode == "managed":
        folders["broker"] = Path(config.broker.data)
    if config.backup.every_s is not None:
        folders["backup"] = Path(config.backup.folder)
    return folders


def _check_disks(machine: Machine) -> Iterator[SubjectState]:
    for name, folder in list_folders(machine.config).items():
        # A folder is created only when it is needed.
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        level = BAD if free < DISK_BAD else WARN if free < DISK_WARN else OK
        state = _FREE(n=Figure(free / GIB, ".1f"), place=str(existing))
        todo = _MAKE_ROOM
        if not os.access(existing, os.W_OK):
            level = BAD
            state = _LOCKED(place=str(existing))
            todo = _GIVE
        yield make_state(
            name, is_wrong=level != OK, level=level, figure=(round(free / GIB, 2), "GiB"), found=state, todo=todo
        )


_COMMIT: Final = "a small write takes {usual} ms, the slowest of a hundred {slowest} ms"


def _check_commits(facts: DatabaseFacts) -> Iterator[SubjectState]:
    if not facts.commits_s:
        return
    in_order = sorted(facts.commits_s)
    slow_ms = in_order[min(len(in_order) - 1, int(SLOW_QUANTILE * len(in_order)))] * 1000
    level = BAD if slow_ms >= COMMIT_BAD_MS else WARN
    usual_ms = in_order[len(in_order) // 2] * 1000
    yield make_state(
        is_wrong=slow_ms >= COMMIT_WARN_MS,
        level=level,
        figure=(round(slow_ms, 1), "ms"),
        usual=Figure(usual_ms, ".0f"),
        slowest=Figure(slow_ms, ".0f"),
    )


_LOG: Final = "the write-ahead log takes {mib} MiB"


def _check_log(facts: DatabaseFacts) -> Iterator[SubjectState]:
    db = facts.db
    if db.is_sqlite:
        try:
            size = sqlite_file(db).with_name(f"{sqlite_file(db).name}-wal").stat().st_size
        except OSError:
            size = 0
        todo = _END_READER
    else:
        if (measured := db.measure_write_ahead_log()) is None:
            # Only administrators and members of pg_monitor can measure it.
            return
        size = measured
        todo = _INSPECT_SLOTS
    yield make_state(
        is_wrong=size >= LOG_WARN,
        level=BAD if size >= LOG_BAD else WARN,
        figure=(round(size / MIB), "MiB"),
        mib=Figure(size / MIB, ".0f"),
        todo=todo,
    )


def _check_backups(facts: DatabaseFacts) -> Iterator[SubjectState]:
    with facts.db.read() as c:
        newest, last = find_newest(c), find_newest(c, succeeded=False)
    settings = facts.config.backup
    if settings.every_s is None:
        yield make_state(level=WARN, found=_NO_BACKUPS, todo=_SET_EVERY)
        return
    failed = _FAILED(problem=last.detail) if last is not None and last.state == "failed" else ""
    todo = _INSPECT_BACKUPS
    if newest is None:
        level = BAD if failed else WARN
        yield make_state(level=level, found=_NO_BACKUP(failed=failed), todo=todo)
        return
    age_s = (facts.now - newest.at).total_seconds()
    level = BAD if age_s > 2 * settings.every_s else WARN if failed else OK
    newest_backup = _NEWEST(at=Timestamp.of(newest.at, "minute"), state=Term(newest.state), failed=failed)
    yield make_state(
        is_wrong=level != OK, level=level, figure=(round(age_s / 3600, 1), "h"), found=newest_backup, todo=todo
    )


def _check_channels(facts: DatabaseFacts) -> Iterator[SubjectState]:
    pause = find_pause(facts.config.channels)
    if pause is None:
        return
    tested = facts.db.run_read(load_tested, facts.channels)
    for test in tested.values():
        level = WARN
        if test.is_silent(facts.now, 2 * pause):
            level = BAD
        elif test.good_at == test.last_at:
            level = OK
        age_s = None if test.good_at is None else (facts.now - test.good_at).total_seconds()
        result = test.found
        if level == OK and age_s is not None:
            result = _GOOD(age=Duration(max(1.0, age_s), "about"))
        figure = (None if age_s is None else round(age_s / 3600, 1), "h")
        yield make_state(test.channel, is_wrong=level != OK, level=level, figure=figure, found=result)


CHECKS: Final = (
    Check(
        "clock",
        Machine,
        WARN,
        "{found}",
        _check_clock,
        "run an NTP client (systemd-timesyncd, chrony)",
        fine="synchronized",
    ),
    Check(
        "disk.*",
        Machine,
        BAD,
        "{found}",
        _check_disks,
        "{todo}",
        fine="{found}",
        alarm=1,
        key="check:disk",
        after_s=SHORTEST_OUTAGE_S,
        reason="a disk is nearly full, or a folder cannot be written; see slopeward doctor: {text}",
        degrades=True,
    ),
    Check(
        "database.commit",
        DatabaseFacts,
        BAD,
        _COMMIT,
        _check_commits,
        "check the disk of the database",
        fine=_COMMIT,
        alarm=1,
        key="check:database.commit",
        reason=_SLOW_DATABASE,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "database.log",
        DatabaseFacts,
        BAD,
        _LOG,
        _check_log,
        "{todo}",
        fine=_LOG,
        alarm=1,
        key="check:database.log",
        reason=_SLOW_DATABASE,
        after_s=SHORTEST_OUTAGE_S,
        degrades=True,
    ),
    Check(
        "backup",
        DatabaseFacts,
        BAD,
        "{found}",
        _check_backups,
        "{todo}",
        fine="{found}",
        alarm=1,
        key="check:backup",
        after_s=SHORTEST_OUTAGE_S,
        reason="the newest backup of the database is too old, or none succeeded; see slopeward doctor",
        degrades=True,
    ),
    Check(
        "channel.*",
        DatabaseFacts,
        BAD,
        "{found}",
        _check_channels,
        "slopeward notify channels test",
        fine="{found}",
        alarm=2,
        key=f"{FAILING.removeprefix('health:')}*",
        reason="channel {subject} fails its tests: {text}",
    ),
)
