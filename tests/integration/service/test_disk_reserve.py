"""The disk fills up, by readings or by another program: decisions and alarms are written still."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.checks.live import Troubles
from monitor.checks.table import look
from monitor.config.service import parse_service
from monitor.domain.alert import SERVICE
from monitor.errors import StoreBusyError
from monitor.ingest.service import Ingest
from monitor.service.self_checks import Conditions
from monitor.store.database.audit import add_audit, verify_chain
from monitor.store.database.engine import Database
from monitor.store.upkeep.reserve import MEGABYTE, DiskReserve
from tests.data.filled import NOW

LIMITS = "[limits]\nreserve_mb = 8\n"
DISK_MB = 40


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, small enough to be filled."""
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
    opened = Database(f"sqlite:///{disk}/slopeward.db")
    yield opened
    opened.close()


def reserve_of(db, settings):
    limits = parse_service(settings, "test").limits
    return DiskReserve.of(db, limits.reserve_mb, limits.disk)


def fill(disk, leave_bytes=0):
    """What another program does to the disk."""
    with (disk / "other").open("ab") as out:
        try:
            while (left := shutil.disk_usage(disk).free - leave_bytes) > 0:
                out.write(b"\0" * min(left, 65536))
                out.flush()
        except OSError:
            pass


def decide(db, count=20):
    for n in range(count):
        with db.write() as c:
            add_audit(c, SERVICE, "test", f"decision:{n}", {"text": "x" * 2000}, NOW)


def test_when_another_program_fills_the_disk_decisions_are_written_still(disk, db):
    reserve = reserve_of(db, LIMITS)
    reserve.follow()
    file = disk / "slopeward.db.reserve"
    assert (file.stat().st_size, file.stat().st_mode & 0o777, reserve.trouble) == (8 * MEGABYTE, 0o600, "")
    fill(disk)
    with pytest.raises(StoreBusyError):  # as it was for good before
        decide(db, 200)
    reserve.follow()
    assert not file.exists()
    decide(db)
    with db.read() as c:
        assert verify_chain(c) == []
    assert "readings wait with the broker" in reserve.trouble
    (disk / "other").unlink()
    reserve.follow()
    assert (file.stat().st_size, reserve.trouble) == (8 * MEGABYTE, "")


def test_readings_wait_before_the_reserve_is_touched(disk, db):
    config = parse_service(LIMITS, "test")
    reserve = reserve_of(db, LIMITS)
    ingest = Ingest(db, config, {}, lambda _: None, lambda _: None, lambda: NOW, reserve.hold)
    assert ingest._store([]).rejected == 0
    fill(disk, leave_bytes=3 * MEGABYTE)
    reserve.follow()
    with pytest.raises(StoreBusyError, match=r"[23] MB are free"):
        ingest._store([])
    assert (disk / "slopeward.db.reserve").exists()
    decide(db)
    (disk / "other").unlink()
    fill(disk, leave_bytes=6 * MEGABYTE)  # not yet a whole reserve: it must not flutter
    reserve.follow()
    assert reserve.trouble
    (disk / "other").unlink()
    reserve.follow()
    assert ingest._store([]).rejected == 0


def test_the_trouble_is_an_alarm_and_its_end_too():
    told = {}

    class Alarms:
        def open(self, key, reason, level):
            told[key] = (reason, level)

        def clear(self, key, reason):
            told.pop(key, None)

    conditions = Conditions(Alarms())
    conditions.follow(look(Troubles("2 MB are free")), 0.0)
    assert told == {"disk:reserve": ("2 MB are free", 2)}
    conditions.follow(look(Troubles()), 10.0)
    assert told == {}


def test_a_postgresql_is_watched_by_the_folder_that_is_named_and_not_at_all_without(disk):
    db = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    watched = reserve_of(db, f'{LIMITS}disk = "{disk}"\n')
    unknown = reserve_of(db, LIMITS)
    none = reserve_of(db, f'[limits]\nreserve_mb = 0\ndisk = "{disk}"\n')
    fill(disk)
    for reserve in (watched, unknown, none):
        reserve.follow()
    assert (bool(watched.trouble), unknown.trouble, none.trouble) == (True, "", "")
    assert {p.name for p in Path(disk).iterdir()} == {"other"}
    db.close()
