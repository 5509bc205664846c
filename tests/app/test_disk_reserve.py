"""Decisions and alarms are stored while readings or another program fill the disk."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.app.checks.live import PartProblems
from monitor.app.checks.table import run_checks
from monitor.errors import StoreBusyError
from monitor.ingest.service import Ingest, IngestContext
from monitor.settings.service import parse_service
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import add_audit, verify_chain
from monitor.storage.engine import Database
from monitor.storage.reserve import MEGABYTE, DiskReserve
from tests.data.filled import NOW
from tests.data.store_rows import ask, tell

LIMITS = "[limits]\nreserve_mb = 8\n"
DISK_MB = 40


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def db(disk, sqlite_url):
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), disk / "slopeward.db")
    database = Database(f"sqlite:///{disk}/slopeward.db")
    yield database
    database.close()


def make_reserve(db, settings):
    limits = parse_service(settings, "test").limits
    return DiskReserve.of(db, limits.reserve_mb, limits.disk)


def fill(disk, leave_bytes=0):
    """Fill the disk as another program could."""
    with (disk / "other").open("ab") as file:
        try:
            while (remaining_bytes := shutil.disk_usage(disk).free - leave_bytes) > 0:
                file.write(b"\0" * min(remaining_bytes, 65536))
                file.flush()
        except OSError:
            pass


def store_decisions(db, count=20):
    for number in range(count):
        tell(db, add_audit, SERVICE_ACTOR, "test", f"decision:{number}", {"text": "x" * 2000}, NOW)


def test_decisions_are_stored_after_another_program_fills_the_disk(disk, db):
    reserve = make_reserve(db, LIMITS)
    reserve.update()
    file = disk / "slopeward.db.reserve"
    assert (file.stat().st_size, file.stat().st_mode & 0o777, reserve.hold_reason) == (8 * MEGABYTE, 0o600, "")
    fill(disk)
    with pytest.raises(StoreBusyError):  # without a reserve this error would be permanent
        store_decisions(db, 200)
    reserve.update()
    assert not file.exists()
    store_decisions(db)
    assert (ask(db, verify_chain), "readings wait with the broker" in reserve.hold_reason) == ([], True)
    (problem,) = (result for result in run_checks(PartProblems(reserve.hold_reason)) if result.is_wrong)
    assert (problem.key, problem.check.alarm) == ("disk:reserve", 2)
    (disk / "other").unlink()
    reserve.update()
    assert (file.stat().st_size, reserve.hold_reason) == (8 * MEGABYTE, "")


def test_readings_are_refused_before_the_reserve_is_released(disk, db):
    config = parse_service(LIMITS, "test")
    reserve = make_reserve(db, LIMITS)
    ingest = Ingest(
        IngestContext(db, config, {}, lambda _: None, lambda _: None, lambda: NOW, reserve.find_hold_reason)
    )
    assert ingest._store([]).rejected == 0
    fill(disk, leave_bytes=3 * MEGABYTE)
    reserve.update()
    with pytest.raises(StoreBusyError, match=r"[23] MB are free"):
        ingest._store([])
    assert (disk / "slopeward.db.reserve").exists()
    store_decisions(db)
    (disk / "other").unlink()
    fill(disk, leave_bytes=6 * MEGABYTE)  # less than a whole reserve is free: the state must not flutter
    reserve.update()
    assert reserve.hold_reason
    (disk / "other").unlink()
    reserve.update()
    assert ingest._store([]).rejected == 0


@pytest.mark.parametrize(
    ("free_mb", "reserve_mb", "is_taken"),
    [(300, 64, True), (128, 64, True), (96, 48, True), (64, 32, True), (40, 20, True), (12, 0, False), (0, 0, False)],
)
def test_reserve_shrinks_with_the_disk_and_readings_are_refused_below_half_of_it(
    tmp_path, monkeypatch, free_mb, reserve_mb, is_taken
):
    disk = SmallDisk(tmp_path, monkeypatch, free_mb)
    disk.reserve.update()
    assert (disk.laid_mb, not disk.reserve.hold_reason) == (reserve_mb, is_taken)
    if is_taken:  # readings fill the disk step by step
        least = next(free for free in range(free_mb - reserve_mb, -1, -1) if disk.leave(free))
        assert (least, disk.laid_mb) == (-(-reserve_mb // 2) - 1, reserve_mb)
        assert disk.leave(reserve_mb - 1), "it must not flutter"
        assert not disk.leave(reserve_mb)


def test_readings_are_accepted_again_after_space_was_freed(tmp_path, monkeypatch):
    disk = SmallDisk(tmp_path, monkeypatch, 300)
    disk.reserve.update()
    assert disk.leave(4)
    assert (disk.laid_mb, disk.free_mb) == (0, 68)
    assert disk.leave(68), "what was given up is for decisions, not for readings"
    assert disk.laid_mb == 0
    assert not disk.leave(90)
    assert (disk.laid_mb, disk.free_mb) == (45, 45)
    assert not disk.leave(300)
    assert disk.laid_mb == 64


def test_readings_wait_if_the_reserve_cannot_be_deleted(tmp_path, monkeypatch):
    disk = SmallDisk(tmp_path, monkeypatch, 300)
    disk.reserve.update()

    def refuse(*_, **__):
        raise OSError("read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert "readings wait with the broker" in disk.leave(4)


def test_reserve_is_resized_after_its_setting_changed(tmp_path, monkeypatch):
    disk = SmallDisk(tmp_path, monkeypatch, 300)
    disk.reserve.update()
    DiskReserve(tmp_path, disk.file, 8 * MEGABYTE).update()
    assert (disk.laid_mb, disk.free_mb) == (8, 292)


class SmallDisk:
    """A disk that reports a given free space besides the size of the reserve file."""

    def __init__(self, folder, monkeypatch, free_mb):
        self.file = folder / "s.db.reserve"
        self.reserve = DiskReserve(folder, self.file, 64 * MEGABYTE)
        self._room_mb = free_mb
        usage = lambda _: SimpleNamespace(free=self.free_mb * MEGABYTE)  # noqa: E731
        monkeypatch.setattr("monitor.storage.reserve.shutil.disk_usage", usage)

    @property
    def laid_mb(self):
        return self.file.stat().st_size // MEGABYTE if self.file.exists() else 0

    @property
    def free_mb(self):
        return self._room_mb - self.laid_mb

    def leave(self, free_mb):
        """Set the free space besides the reserve and return why readings are refused then."""
        self._room_mb = free_mb + self.laid_mb
        self.reserve.update()
        return self.reserve.hold_reason


def test_postgresql_is_watched_only_by_the_folder_of_the_setting(disk):
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    watched = make_reserve(database, f'{LIMITS}disk = "{disk}"\n')
    without_folder = make_reserve(database, LIMITS)
    without_reserve = make_reserve(database, f'[limits]\nreserve_mb = 0\ndisk = "{disk}"\n')
    fill(disk)
    for reserve in (watched, without_folder, without_reserve):
        reserve.update()
    assert (bool(watched.hold_reason), without_folder.hold_reason, without_reserve.hold_reason) == (True, "", "")
    assert {path.name for path in Path(disk).iterdir()} == {"other"}
    database.close()
