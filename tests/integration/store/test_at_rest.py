"""What lies on the disk: who else on the machine may open it, and what readers are given instead."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor.cli.main import run_verb
from monitor.config.service import parse_service
from monitor.domain.errors import RefusedError, StoreError
from monitor.service.one_core import hold_alone
from monitor.store.database.engine import Database
from monitor.store.schema import views
from monitor.store.upkeep import publish
from monitor.store.upkeep.migrate import upgrade
from tests.data.filled import NOW, PASSWORD


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def rows_as_nobody(path):
    """What a person of this machine without any right gets out of a SQLite file."""
    code = (
        "import os, sqlite3, sys\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "for name, in (c := sqlite3.connect(f'file:{sys.argv[1]}?immutable=1', uri=True)).execute("
        "\"SELECT name FROM sqlite_master WHERE type = 'table'\").fetchall():\n"
        "    print(name, c.execute(f'SELECT * FROM \"{name}\"').fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def open_folder(tmp_path):
    folder = Path("/tmp") / f"slopeward-rest-{os.getpid()}-{tmp_path.name}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


# ---- files -----------------------------------------------------------------------------------------------------
def test_nobody_else_reads_the_file_nor_what_lies_beside_it(open_folder):
    before, url = os.umask(0o022), f"sqlite:///{open_folder}/slopeward.db"
    try:
        with Database(url) as db:
            upgrade(db)
            with db.write() as c, hold_alone(parse_service(f'[database]\nurl = "{url}"\n', "test")):
                c.execute(text("CREATE TABLE more (a)"))
                found = {p.name: mode(p) for p in open_folder.iterdir()}
    finally:
        os.umask(before)
    assert set(found) == {"slopeward.db", "slopeward.db-wal", "slopeward.db-shm", "slopeward.db.lock"}
    assert set(found.values()) == {0o600}, found


def test_a_file_of_a_version_before_is_closed_and_it_is_said_once(open_folder, sqlite_url, caplog):
    file = open_folder / "slopeward.db"
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), file)
    (open_folder / "slopeward.db.lock").touch()
    for path in open_folder.iterdir():
        path.chmod(0o664)
    for _ in range(2):
        with Database(f"sqlite:///{file}") as db, db.read() as c:
            c.execute(text("SELECT count(*) FROM site"))
    assert {mode(p) for p in open_folder.iterdir()} == {0o600}
    assert len([r for r in caplog.records if "db publish" in r.message]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_another_user_of_the_machine_gets_no_hash_and_reads_the_published_copy(open_folder, filled_sqlite_url):
    file = open_folder / "slopeward.db"
    shutil.copy(filled_sqlite_url.removeprefix("sqlite:///"), file)
    file.chmod(0o644)  # as every version before made it
    assert "argon2id" in rows_as_nobody(file)
    copy = open_folder / "views.db"
    with Database(f"sqlite:///{file}") as db:
        publish.publish(db, copy, NOW)
    assert rows_as_nobody(file) == ""
    seen = rows_as_nobody(copy)
    assert ("north-bench" in seen, "argon2" in seen) == (True, False)


# ---- the copy for readers --------------------------------------------------------------------------------------
def test_the_copy_holds_what_the_views_say_and_nothing_else(filled_database, tmp_path):
    target = tmp_path / "views.db"
    counts = publish.publish(filled_database, target, NOW)
    with filled_database.read() as c:
        told = {name: sorted(views.stream_view(c, name), key=str) for name in views.NAMES}
    out = sqlite3.connect(target)
    out.row_factory = sqlite3.Row
    for name in views.NAMES:
        rows = [dict(row) for row in out.execute(f"SELECT * FROM {name}")]
        is_true = views.BOOLEANS
        found = [{k: bool(v) if k in is_true and v is not None else v for k, v in row.items()} for row in rows]
        assert sorted(found, key=str) == told[name], name
        assert counts[name] == len(found)
    tables = {row[0] for row in out.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {*views.NAMES, publish.MARK}
    assert out.execute("SELECT published_at FROM published").fetchone()[0].startswith(f"{NOW:%Y-%m-%dT%H}")
    out.close()


def test_a_copy_takes_the_place_of_the_one_before_and_of_nothing_else(filled_database, tmp_path):
    target = tmp_path / "views.db"
    publish.publish(filled_database, target, NOW)
    reader = sqlite3.connect(f"file:{target}?mode=ro", uri=True)
    publish.publish(filled_database, target, NOW + timedelta(days=1))
    assert reader.execute("SELECT count(*) FROM site_status").fetchone()[0] > 0  # who reads goes on
    with closing(sqlite3.connect(target)) as newest:
        at = newest.execute("SELECT published_at FROM published").fetchone()[0]
    assert at[:10] == str((NOW + timedelta(days=1)).date())
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(RefusedError, match="no published copy"):
        publish.publish(filled_database, other, NOW)
    assert other.read_text() == "mine"
    with pytest.raises(StoreError, match="could not be written"):
        publish.publish(filled_database, tmp_path / "nowhere" / "views.db", NOW)
    assert {p.name for p in tmp_path.iterdir() if "views" in p.name} == {"views.db"}
    reader.close()


def test_the_verb_refuses_to_write_over_the_database_itself(filled_sqlite_url, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_sqlite_url)
    file = filled_sqlite_url.removeprefix("sqlite:///")
    assert run_verb(["db", "publish", file]) == 1
    assert "no published copy" in capsys.readouterr().err
    assert run_verb(["db", "publish", f"{file}.views", "--json"]) == 0
    assert PASSWORD not in Path(f"{file}.views").read_bytes().decode("latin-1")
