"""Copies by schedule: made beside a writer, proven in a scratch database, refused when torn, and enough to go on."""

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
from monitor.storage import backup, copies, proof, views
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


def rows_of(database, name):
    return ask(database, views.load_view, name, order_by=["at"])


def reading(k):
    at = NOW + timedelta(seconds=k)
    return Observation("north-bench", "G1", "strain", "microstrain", at, at, float(k))


def readings_in(database):
    with database.read() as c:
        found = select(observation.c.value_raw).join(series, series.c.id == observation.c.series_id)
        return {v for (v,) in c.execute(found.where(series.c.quantity == "strain"))}


def test_a_program_that_takes_too_long_is_an_error_of_the_store(monkeypatch):
    monkeypatch.setattr(backup, "PROGRAM_LIMIT_S", 0.05)
    with pytest.raises(StoreError, match="sleep was ended: it took longer"):
        backup.run_program(["sleep", "5"])


def test_a_copy_made_beside_a_writer_holds_all_that_was_acknowledged_before_and_the_service_goes_on(
    filled_database, tmp_path
):
    """The acknowledgement is the end of a commit; what the copy does not hold, the instrument sends again."""
    database, sent, stop = filled_database, [], threading.Event()

    def write():
        while not stop.wait(0.02):
            with database.write(urgent=True) as c:
                add_observations(c, [reading(len(sent))], NOW)
            sent.append(float(len(sent)))

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        try:
            wait_for(lambda: len(sent) >= 5)
            acknowledged = set(sent)
            made = copies.make_copy(database, tmp_path / "copies", 2, NOW, should_prove=True)
            during = len(sent) - len(acknowledged)
        finally:
            stop.set()
        writing.result()
    assert made.state == "proven", made
    assert during > 0  # nobody waited for the copy
    backup.restore(database, tmp_path / "copies" / made.file.rpartition("/")[2])
    held = readings_in(database)
    assert acknowledged <= held <= set(sent)
    assert tell(database, add_observations, [reading(k) for k in range(len(sent))], NOW).duplicates == len(held)
    assert readings_in(database) == set(sent)


@STORY_ON_SQLITE
def test_the_job_copies_when_one_is_due_and_keeps_the_newest(filled_database, tmp_path):
    folder = tmp_path / "copies"
    config = parse_service(f'[backup]\nevery = "24h"\nkeep = 2\nfolder = "{folder}"\nprove = false\n', "t")
    assert "backup.every is never" in job.run(filled_database, parse_service("", "t"), None, NOW)
    own = folder / "before-the-move.db"
    folder.mkdir()
    killed = [folder / ".slopeward-auto-20260101T000000Z.db.0a1b2c3d.part", folder / ".slopeward_proof_0a1b2c3d.db"]
    for left in killed:
        left.touch()
        os.utime(left, (0, 0))
    for day in range(4):
        assert "made" in job.run(filled_database, config, None, NOW + days(day + 1))
        assert "not due" in job.run(filled_database, config, None, NOW + days(day + 1) + timedelta(hours=20))
        own.touch()
    assert len(copies.list_copies(folder)) == 2
    assert own.exists()
    assert not any(left.exists() for left in killed)
    assert len(list(folder.glob("*.sha256"))) == 2
    assert [row["state"] for row in rows_of(filled_database, "backups")][-4:] == ["made"] * 4
    (folder / "in-the-way").touch()
    broken = parse_service(f'[backup]\nevery = "24h"\nfolder = "{folder}/in-the-way"\n', "t")
    with pytest.raises(StoreError):
        job.run(filled_database, broken, None, NOW + days(9))
    assert rows_of(filled_database, "backups")[-1]["state"] == "failed"


def test_a_torn_an_altered_and_a_newer_copy_are_refused_before_anything_is_replaced(filled_database, tmp_path):
    whole = tmp_path / "copy"
    backup.back_up(filled_database, whole)
    torn = tmp_path / "torn"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(StoreError):
        proof.prove(filled_database, torn)
    altered = bytearray(whole.read_bytes())
    altered[len(altered) // 2] ^= 1
    whole.write_bytes(altered)
    with pytest.raises(StoreError, match="not as it was written"):
        proof.require_restorable(filled_database, whole)
    newer = tmp_path / "newer"
    tell(filled_database, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    backup.back_up(filled_database, newer)
    with pytest.raises(StoreError, match="revision 9999, made by a newer Slopeward"):
        proof.require_restorable(filled_database, newer)
    if not filled_database.is_sqlite:
        with filled_database.read() as c:
            left = c.execute(text("SELECT count(*) FROM pg_database WHERE datname LIKE 'slopeward_proof%'")).scalar()
        assert left == 0


@STORY_ON_SQLITE
def test_a_copy_whose_rows_were_changed_is_found_by_the_proof(filled_database, tmp_path):
    copy = tmp_path / "copy.db"
    backup.back_up(filled_database, copy)
    backup.checksum_file(copy).unlink()
    with closing(sqlite3.connect(copy)) as c, c:
        c.execute("UPDATE alert SET reason = 'nothing happened'")
    assert any("the row was altered" in line for line in proof.prove(filled_database, copy).findings)
    assert [p.name for p in tmp_path.iterdir() if "proof" in p.name] == []


@STORY_ON_SQLITE
def test_without_room_for_a_scratch_database_a_copy_is_made_and_not_proven(filled_database, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "prove_in_child", Mock(side_effect=proof.NoScratchError("no room to restore it")))
    made = copies.make_copy(filled_database, tmp_path / "copies", 2, NOW, should_prove=True)
    assert (made.state, made.detail) == ("made", "no room to restore it")


@STORY_ON_SQLITE
def test_a_copy_that_fails_its_proof_is_removed_and_pushes_no_good_one_out(filled_database, tmp_path, monkeypatch):
    folder = tmp_path / "copies"
    good = copies.make_copy(filled_database, folder, 1, NOW, should_prove=True)
    bad = proof.BackupProof(rows={}, audit_head=0.0, findings=("the row was altered",))
    monkeypatch.setattr(proof, "prove_in_child", lambda *_: bad)
    for hour in range(1, 3):
        with pytest.raises(StoreError, match="not as it was written"):
            copies.make_copy(filled_database, folder, 1, NOW + timedelta(hours=hour), should_prove=True)
    assert ([str(one) for one in copies.list_copies(folder)], len(list(folder.glob("*.sha256")))) == ([good.file], 1)


@STORY_ON_SQLITE
def test_a_copy_that_fails_is_tried_less_and_less(filled_database, tmp_path):
    (tmp_path / "file").write_text("no folder")
    config = parse_service(f'[backup]\nevery = "24h"\nfolder = "{tmp_path}/file/copies"\n', "t")
    tell(filled_database, lambda c: c.execute(delete(backup_run)))
    tries = []
    for quarter in range(4 * 9):
        with pytest.raises(StoreError) as told:
            job.run(filled_database, config, None, NOW + timedelta(minutes=15 * quarter))
        tries += [] if "attempts failed" in str(told.value) else [quarter / 4]
    assert tries == [0.0, 0.5, 2.0, 5.5]  # half an hour sooner than due: the job looks once an hour


def test_pg_dump_ends_with_the_core_that_is_killed(tmp_path):
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
def test_a_server_without_room_is_not_filled_by_a_proof(postgresql_url, monkeypatch):
    monkeypatch.setattr(proof.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    refused = pytest.raises(proof.NoScratchError, match="no room to restore")
    with Database(postgresql_url) as database, database.engine.connect() as c, refused:
        proof._require_room(c)


def test_a_disk_that_fills_up_leaves_nothing_half_written(filled_database, tmp_path):
    """Files of this child may not grow beyond 100 kB: what a full disk says."""
    url = filled_database.url.render_as_string(hide_password=False)
    program = (
        "import sys; from pathlib import Path; from monitor.storage.engine import Database\n"
        "from monitor.storage.backup import back_up; from monitor.errors import StoreError\n"
        "try: back_up(Database(sys.argv[1]), Path(sys.argv[2]))\n"
        "except StoreError as error: print(error)"
    )

    target = tmp_path / "folder" / "copy"
    target.parent.mkdir()
    words = [sys.executable, "-c", program, url, str(target)]
    if filled_database.is_sqlite:  # the limit holds for its own files too: it reads one that needs none
        filled_database.close()
    bound = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=bound, check=False)
    assert "failed" in done.stdout, done
    assert list(target.parent.iterdir()) == []
