"""A sender floods and another program fills the disk under the running service: it decides and tells still.

The disk on SQLite: a PostgreSQL has no reserve of ours, what it does on a full disk is its own; the service holds
readings back by the folder that `[limits] disk` names (`tests/app/test_disk_reserve.py`).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.storage.engine import Database
from tests.app.test_disk_reserve import fill
from tests.data.running import publish
from tests.end_to_end.trouble.test_cannot_decide import evaluated_at, move, receiver, running
from tests.fixtures.waiting import wait_for

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(250)]
QUOTA_BYTES = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RESERVE_MB": "8", "QUARANTINE_MB": "2", "QUARANTINE_SOURCE_MB": "1"}.items():
        monkeypatch.setenv(f"SLOPEWARD_LIMITS__{name}", value)


def ask(url: str, query: str) -> int:
    with Database(url) as db, db.read() as c:
        return int(c.exec_driver_sql(query).scalar() or 0)


def flood(broker: str) -> None:
    """Rubbish of one sender, three times its share."""
    publish(broker, [("slopeward/v1/s/G9/obs", {"rubbish": f"{n} {'x' * 20_000}"}) for n in range(150)])


def test_on_a_full_disk_levels_are_evaluated_and_red_is_told(sqlite_url, disk, mosquitto, tmp_path, receiver):
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), disk / "s.db")
    url = f"sqlite:///{disk}/s.db"
    with running(tmp_path, url, mosquitto.url, receiver) as service:
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: evaluated_at(service), 40, "the first evaluation")
        flood(mosquitto.url)
        wait_for(lambda: ask(url, "SELECT sum(unkept) FROM quarantine_source") > 50, 30, "the flood to be counted")
        assert ask(url, "SELECT sum(kept_bytes) FROM quarantine_source") <= QUOTA_BYTES
        fill(disk)
        wait_for(lambda: not (disk / "s.db.reserve").exists(), 30, "the reserve to be given up")
        move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # these wait with the broker
        wait_for(lambda: receiver.find("readings wait with the broker"), 40, "people to hear of it")
        before, readings = (ask(url, f"SELECT count(*) FROM {name}") for name in ("evaluation", "observation"))
        wait_for(lambda: ask(url, "SELECT count(*) FROM evaluation") > before + 1, 40, "evaluations to go on")
        done = service.call("level", "set", "s", "red", "--reason", "cracks seen", "--by", "Ada")
        assert done.returncode == 0, done.stderr
        wait_for(receiver.find_red, 40, "red to be told")
        assert ask(url, "SELECT count(*) FROM observation") == readings
        assert not receiver.find("cannot decide")
        (disk / "other").unlink()
        wait_for(lambda: ask(url, "SELECT count(*) FROM observation") > readings, 40, "the readings that waited")
        wait_for((disk / "s.db.reserve").exists, 20, "the reserve to be laid anew")
