"""`slopeward status` tries the database itself: what core wrote last is no word on the present."""

import json
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from monitor.cli.main import run_verb
from monitor.sites.first_site import write_first_site
from monitor.storage import engine
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.data.store_rows import tell
from tests.data.watched_slope import SITE_TEXT, WatchedSlope, write_service
from tests.fixtures.databases import on_both_databases  # noqa: F401 - a fixture


@pytest.fixture
def service(database, database_url, tmp_path, monkeypatch, capsys):
    """A database in which core said just now that all is well; what `status` answers and prints."""
    now = datetime.now(UTC)
    slope = WatchedSlope(database, SITE_TEXT)
    slope.now = now - timedelta(hours=30)
    slope.live(30, looks=1)
    tell(database, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, now)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    monkeypatch.setattr(engine, "SQLITE_BUSY_S", 0.2)
    database.close()

    def ask(*words):
        code = run_verb(["status", *words])
        said = capsys.readouterr()
        assert "internal error" not in said.out + said.err
        return code, said.out + said.err

    return ask


def seen(service):
    code, said = service()
    assert code == 0, said
    assert "bench" in said


def blind(service, why):
    code, said = service()
    assert code == 6, said
    assert "blind" in said
    assert why in said
    code, said = service("--json")
    answer = json.loads(said)
    assert (code, answer["state"]) == (6, "blind")
    assert any(why in str(reason) for reason in answer["reasons"])
    return answer


@contextmanager
def held(url, statement):
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(make_url(url).database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    with Database(url) as other, other.engine.connect() as c, c.begin():
        c.execute(text(statement))
        yield


LOCKS = ("LOCK TABLE site_state IN EXCLUSIVE MODE", "LOCK TABLE service_state IN ACCESS EXCLUSIVE MODE")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_that_somebody_holds_is_named(service, database_url, lock, monkeypatch):
    if database_url.startswith("sqlite") and lock != LOCKS[0]:
        pytest.skip("a file has one lock")
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_MS", 300)
    seen(service)
    with held(database_url, lock):
        answer = blind(service, "lock")
        assert bool(answer["sites"]) == (lock == LOCKS[0]), "what can be read is shown"
    seen(service)


def test_a_database_that_takes_no_writes_is_named(service, database_url, monkeypatch):
    seen(service)
    if database_url.startswith("sqlite"):
        path = make_url(database_url).database
        monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///file:{path}?mode=ro&uri=true")
        blind(service, "read-only")
        return
    name = make_url(database_url).database
    with Database(database_url) as db, db.engine.connect() as c, c.begin():
        c.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    assert blind(service, "read-only")["sites"], "what can be read is shown"


def test_a_database_that_is_gone_is_named_and_not_made_anew(service, database_url, monkeypatch):
    seen(service)
    if not database_url.startswith("sqlite"):
        monkeypatch.setenv("SLOPEWARD_DATABASE__URL", make_url(database_url).set(port=1).render_as_string(False))
        blind(service, "does not answer")
        return
    path = Path(make_url(database_url).database)
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()
    blind(service, f"there is no database {path}")
    assert not path.exists(), "who only reads leaves no empty one"


def test_damaged_file_is_named(service, database_url):
    if not database_url.startswith("sqlite"):
        pytest.skip("a server looks after its files")
    path = Path(make_url(database_url).database)
    whole = path.read_bytes()
    third = whole[: len(whole) // 3]
    files = ((third, "damaged"), (whole[:4096], "damaged"), (b"x" * 9000, "not a SQLite"), (b"", "no schema"))
    for content, reason in files:
        path.write_bytes(content)
        blind(service, reason)


# ---- a site that nobody declared is said so by every verb that takes one, also where a list would be empty ----------
VERBS = (
    "alerts list --site {}",
    "maintenance list --site {}",
    "offsets list --site {}",
    "sites proposals --site {}",
    "forecast models --site {}",
    "forecast explain --site {}",
    "scenes export --site {}",
    "scenes review list --site {}",
    "scenes review accept abc --site {}",
    "ingest --forget-epoch0 {}/G1",
    "offsets add --site {} --station G1 --quantity tilt_x --at 2026-03-01T06:00:00Z --size 1 --unit mrad --reason dry",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/sites").mkdir(parents=True)
        Path("configs/sites/north-bench.toml").write_text(write_first_site("north-bench"))
        Path("configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/x.db"\n')
        assert run_verb(["db", "upgrade"]) == 0
        yield folder


@pytest.mark.parametrize("words", VERBS)
def test_an_unknown_site_is_one_line(place, words, capsys):
    status = run_verb(words.format("north-bemch").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n"), "north-bemch" in err) == (1, "", 1, True)
    assert "did you mean north-bench?" in err or "no reference of north-bemch/G1 is stored" in err


@pytest.mark.parametrize("words", [w for w in VERBS if "list" in w or "models" in w or "expl" in w or "export" in w])
def test_a_declared_site_of_which_nothing_is_kept_is_said_to_have_nothing(place, words, capsys):
    status = run_verb(words.format("north-bench").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (4, "", 1)


def test_status_before_the_first_run_names_the_site_that_waits(place, capsys):
    assert (run_verb(["status"]), "`slopeward run` takes: north-bench" in capsys.readouterr().out) == (6, True)


def test_alerts_of_the_service_before_the_first_one_are_none_and_no_error(place, capsys):
    assert (run_verb(["alerts", "list", "--site", "status"]), capsys.readouterr().err) == (4, "no alert\n")
    assert run_verb(["alerts", "list", "--ledger", "hazards"]) == 1
    assert "hazard, health, advice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb",
    ["report add --site north-bench --kind crack --text rockfall", "level set north-bench yellow --reason works"],
)
@pytest.mark.parametrize("name", ["", "  ", "\u200b"])
def test_nobody_may_not_act(place, verb, name, capsys):
    status = run_verb([*verb.split(), "--by", name])
    err = capsys.readouterr().err
    assert (status, err.count("\n"), "--by: a name is needed" in err) == (1, 1, True)
