"""The running service decides and notifies while a client floods it and another program fills the disk.

Only SQLite is tested: Slopeward keeps no disk reserve for PostgreSQL, which handles a full disk itself. With PostgreSQL
the service stops taking readings if the folder in `[limits] disk` is full (`tests/app/test_disk_reserve.py`).
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
from tests.end_to_end.trouble.test_cannot_decide import load_evaluated_at, publish_motion, receiver, run_service
from tests.fixtures.waiting import wait_for

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(250)]
QUOTA_BYTES = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 60 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set small limits for the disk reserve and the quarantine."""
    for name, value in {"RESERVE_MB": "8", "QUARANTINE_MB": "2", "QUARANTINE_SOURCE_MB": "1"}.items():
        monkeypatch.setenv(f"SLOPEWARD_LIMITS__{name}", value)


def query_number(url: str, query: str) -> int:
    with Database(url) as db, db.read() as c:
        return int(c.exec_driver_sql(query).scalar() or 0)


def publish_undecodable(broker: str) -> None:
    """Publish undecodable messages of one client, three times its quota."""
    publish(broker, [("slopeward/v1/s/G9/obs", {"rubbish": f"{n} {'x' * 20_000}"}) for n in range(150)])


def test_full_disk_stops_neither_evaluations_nor_the_message_of_red(sqlite_url, disk, mosquitto, tmp_path, receiver):
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), disk / "s.db")
    url = f"sqlite:///{disk}/s.db"
    with run_service(tmp_path, url, mosquitto.url, receiver) as service:
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: load_evaluated_at(service), 40, "the first evaluation")
        publish_undecodable(mosquitto.url)
        wait_for(
            lambda: query_number(url, "SELECT sum(unkept) FROM quarantine_source") > 50, 30, "the flood to be counted"
        )
        assert query_number(url, "SELECT sum(kept_bytes) FROM quarantine_source") <= QUOTA_BYTES
        fill(disk)
        wait_for(lambda: not (disk / "s.db.reserve").exists(), 30, "the reserve to be given up")
        publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))  # the broker queues these readings
        wait_for(lambda: receiver.find("readings wait with the broker"), 40, "people to hear of it")
        evaluation_count, reading_count = (
            query_number(url, f"SELECT count(*) FROM {table}") for table in ("evaluation", "observation")
        )
        wait_for(
            lambda: query_number(url, "SELECT count(*) FROM evaluation") > evaluation_count + 1,
            40,
            "evaluations to go on",
        )
        set_level = service.call("level", "set", "s", "red", "--reason", "cracks seen", "--by", "Ada")
        assert set_level.returncode == 0, set_level.stderr
        wait_for(receiver.find_red, 40, "red to be told")
        assert query_number(url, "SELECT count(*) FROM observation") == reading_count
        assert not receiver.find("cannot decide")
        (disk / "other").unlink()
        wait_for(
            lambda: query_number(url, "SELECT count(*) FROM observation") > reading_count,
            40,
            "the readings that waited",
        )
        wait_for((disk / "s.db.reserve").exists, 20, "the reserve to be laid anew")
