"""Scheduled backups: made beside a writer, verified in a scratch database, rejected if damaged, and complete."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from sqlalchemy import delete, select, text

from monitor.app.jobs import backup as job
from monitor.errors import StoreError
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import observation, series
from monitor.settings.service import parse_service
from monitor.storage import backup, proof, scheduled_backups, views
from monitor.storage.backup_tables import backup_run
from monitor.storage.engine import Database
from tests.data.filled import NOW, days
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import STORY_ON_SQLITE
from tests.fixtures.waiting import wait_for


@pytest.fixture(autouse=True)
def client_programs():
    if shutil.which("pg_dump") is None:
        pytest.skip("the PostgreSQL client programs are missing")


def load_rows(database, name):
    return ask(database, views.load_view, name, order_by=["at"])


def make_reading(number):
    observed_at = NOW + timedelta(seconds=number)
    return Observation("north-bench", "G1", "strain", "microstrain", observed_at, observed_at, float(number))


def load_values(database):
    with database.read() as connection:
        query = select(observation.c.value_raw).join(series, series.c.id == observation.c.series_id)
        return {value for (value,) in connection.execute(query.where(series.c.quantity == "strain"))}


def test_program_that_takes_too_long_is_a_storage_error(monkeypatch):
    monkeypatch.setattr(backup, "PROGRAM_LIMIT_S", 0.05)
    with pytest.raises(StoreError, match="sleep was ended: it took longer"):
        backup.run_program(["sleep", "5"])


def test_backup_during_writes_contains_everything_acknowledged_before_it(filled_database, tmp_path):
    """A commit acknowledges its readings. The instrument sends the readings again that are missing in the backup."""
    database, sent, stop = filled_database, [], threading.Event()

    def write():
        while not stop.wait(0.2):
            with database.write(urgent=True) as connection:
                add_observations(connection, [make_reading(len(sent))], NOW)
            sent.append(float(len(sent)))

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        try:
            wait_for(lambda: len(sent) >= 5)
            acknowledged = set(sent)
            backup_row = scheduled_backups.make_backup(database, tmp_path / "backups", 2, NOW, should_prove=True)
            written_during_backup = len(sent) - len(acknowledged)
        finally:
            stop.set()
        writing.result()
    assert backup_row.state == "proven", backup_row
    assert written_during_backup > 0  # no writer waited for the backup
    backup.restore(database, tmp_path / "backups" / backup_row.file.rpartition("/")[2])
    restored_values = load_values(database)
    assert acknowledged <= restored_values <= set(sent)
    assert tell(
        database, add_observations, [make_reading(number) for number in range(len(sent))], NOW
    ).duplicates == len(restored_values)
    assert load_values(database) == set(sent)


@STORY_ON_SQLITE
def test_job_makes_a_backup_when_due_and_keeps_the_newest(filled_database, tmp_path):
    folder = tmp_path / "backups"
    config = parse_service(f'[backup]\nevery = "24h"\nkeep = 2\nfolder = "{folder}"\nprove = false\n', "t")
    assert "backup.every is never" in job.run(filled_database, parse_service("", "t"), None, NOW)
    own_file = folder / "before-the-move.db"
    folder.mkdir()
    leftover_files = [
        folder / ".slopeward-auto-20260101T000000Z.db.0a1b2c3d.part",
        folder / ".slopeward_proof_0a1b2c3d.db",
    ]
    for leftover in leftover_files:
        leftover.touch()
        os.utime(leftover, (0, 0))
    for day in range(4):
        assert "made" in job.run(filled_database, config, None, NOW + days(day + 1))
        assert "not due" in job.run(filled_database, config, None, NOW + days(day + 1) + timedelta(hours=20))
        own_file.touch()
    assert len(scheduled_backups.list_backups(folder)) == 2
    assert own_file.exists()
    assert not any(leftover.exists() for leftover in leftover_files)
    assert len(list(folder.glob("*.sha256"))) == 2
    assert [row["state"] for row in load_rows(filled_database, "backups")][-4:] == ["made"] * 4
    (folder / "in-the-way").touch()
    broken = parse_service(f'[backup]\nevery = "24h"\nfolder = "{folder}/in-the-way"\n', "t")
    with pytest.raises(StoreError):
        job.run(filled_database, broken, None, NOW + days(9))
    assert load_rows(filled_database, "backups")[-1]["state"] == "failed"


def test_incomplete_altered_and_newer_backups_are_rejected_before_a_restore(filled_database, tmp_path):
    complete = tmp_path / "backup"
    backup.back_up(filled_database, complete)
    incomplete = tmp_path / "torn"
    incomplete.write_bytes(complete.read_bytes()[: complete.stat().st_size * 2 // 3])
    with pytest.raises(StoreError):
        proof.prove(filled_database, incomplete)
    altered = bytearray(complete.read_bytes())
    altered[len(altered) // 2] ^= 1
    complete.write_bytes(altered)
    with pytest.raises(StoreError, match="not as it was written"):
        proof.require_restorable(filled_database, complete)
    newer = tmp_path / "newer"
    tell(
        filled_database, lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    backup.back_up(filled_database, newer)
    with pytest.raises(StoreError, match="revision 9999, made by a newer Slopeward"):
        proof.require_restorable(filled_database, newer)
    if not filled_database.is_sqlite:
        with filled_database.read() as connection:
            scratch_count = connection.execute(
                text("SELECT count(*) FROM pg_database WHERE datname LIKE 'slopeward_proof%'")
            ).scalar()
        assert scratch_count == 0


@STORY_ON_SQLITE
def test_proof_detects_changed_rows_in_a_backup(filled_database, tmp_path):
    made = tmp_path / "backup.db"
    backup.back_up(filled_database, made)
    backup.checksum_file(made).unlink()
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("UPDATE alert SET reason = 'nothing happened'")
    assert any("the row was altered" in line for line in proof.prove(filled_database, made).findings)
    assert [path.name for path in tmp_path.iterdir() if "proof" in path.name] == []


@STORY_ON_SQLITE
def test_backup_is_made_without_proof_if_there_is_no_room_for_a_scratch_database(
    filled_database, tmp_path, monkeypatch
):
    monkeypatch.setattr(proof, "prove_in_child", Mock(side_effect=proof.NoScratchError("no room to restore it")))
    backup_row = scheduled_backups.make_backup(filled_database, tmp_path / "backups", 2, NOW, should_prove=True)
    assert (backup_row.state, backup_row.detail) == ("made", "no room to restore it")


@STORY_ON_SQLITE
def test_backup_that_fails_its_proof_is_removed_and_replaces_no_valid_one(filled_database, tmp_path, monkeypatch):
    folder = tmp_path / "backups"
    valid_proof = proof.BackupProof(rows={}, audit_head="", findings=())
    monkeypatch.setattr(proof, "prove_in_child", lambda *_: valid_proof)
    valid_backup = scheduled_backups.make_backup(filled_database, folder, 1, NOW, should_prove=True)
    failed_proof = proof.BackupProof(rows={}, audit_head=0.0, findings=("the row was altered",))
    monkeypatch.setattr(proof, "prove_in_child", lambda *_: failed_proof)
    for hour in range(1, 3):
        with pytest.raises(StoreError, match="not as it was written"):
            scheduled_backups.make_backup(filled_database, folder, 1, NOW + timedelta(hours=hour), should_prove=True)
    assert ([str(path) for path in scheduled_backups.list_backups(folder)], len(list(folder.glob("*.sha256")))) == (
        [valid_backup.file],
        1,
    )


@STORY_ON_SQLITE
def test_failing_backup_is_repeated_with_growing_pauses(filled_database, tmp_path):
    (tmp_path / "file").write_text("no folder")
    config = parse_service(f'[backup]\nevery = "24h"\nfolder = "{tmp_path}/file/backups"\n', "t")
    tell(filled_database, lambda connection: connection.execute(delete(backup_run)))
    attempt_hours = []
    for quarter in range(4 * 9):
        with pytest.raises(StoreError) as caught:
            job.run(filled_database, config, None, NOW + timedelta(minutes=15 * quarter))
        attempt_hours += [] if "attempts failed" in str(caught.value) else [quarter / 4]
    assert attempt_hours == [0.0, 0.5, 2.0, 5.5]  # half an hour before the due time, because the job runs once an hour


def test_pg_dump_ends_when_its_core_is_killed(tmp_path):
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho $$ > "$0.pid.part" && mv "$0.pid.part" "$0.pid"\nexec sleep 300\n')
    program.chmod(0o755)
    code = (
        "from monitor.storage.engine import Database; from monitor.storage import backup\n"
        "from monitor.worker.linux import end_with_parent\n"
        "backup._run_postgresql_program(Database('sqlite://'), 'pg_dump', prepare_child=end_with_parent)"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    core = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pid = int(wait_for((tmp_path / "pg_dump.pid").exists) and (tmp_path / "pg_dump.pid").read_text())
    core.kill()
    core.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


@pytest.mark.server
def test_proof_is_not_started_on_a_server_without_room(postgresql_url, monkeypatch):
    monkeypatch.setattr(proof.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    raises_no_scratch_error = pytest.raises(proof.NoScratchError, match="no room to restore")
    with Database(postgresql_url) as database, database.engine.connect() as connection, raises_no_scratch_error:
        proof._require_room(connection)


def test_backup_on_a_full_disk_leaves_no_incomplete_file(filled_database, tmp_path):
    """A limit of 100 kB for files of the child process has the effect of a full disk."""
    url = filled_database.url.render_as_string(hide_password=False)
    program = (
        "import sys; from pathlib import Path; from monitor.storage.engine import Database\n"
        "from monitor.storage.backup import back_up; from monitor.errors import StoreError\n"
        "try: back_up(Database(sys.argv[1]), Path(sys.argv[2]))\n"
        "except StoreError as error: print(error)"
    )

    target = tmp_path / "folder" / "copy"
    target.parent.mkdir()
    command = [sys.executable, "-c", program, url, str(target)]
    if (
        filled_database.is_sqlite
    ):  # The limit applies to the database files as well, so the child must read a database that needs no recovery.
        filled_database.close()
    limit_file_size = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_file_size, check=False)
    assert "failed" in result.stdout, result
    assert list(target.parent.iterdir()) == []
