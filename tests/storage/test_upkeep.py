"""Backup and restore, verify, prune and the verbs: an evening with the database as its keeper spends it."""

import io
import json
import os
import shutil
import sqlite3
import stat
import statistics
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Boolean, func, insert, select, text, update
from sqlalchemy.engine import make_url

from monitor.alerts.evaluation_tables import decision, evaluation
from monitor.alerts.queries.cited_spans import load_cited_spans
from monitor.alerts.tables import alert_event
from monitor.app.core_lock import hold_core_lock
from monitor.cli.main import run_verb
from monitor.errors import RefusedError, StoreError
from monitor.features.forecasts.tables import forecast, forecast_score
from monitor.people.tables import web_session
from monitor.readings.queries import observations, retention, storing
from monitor.readings.records import Observation
from monitor.readings.tables import observation, series, series_latest
from monitor.settings.service import parse_service
from monitor.storage import backup, migrate, prune, publish, views
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.proof import verify
from monitor.storage.retention import RetentionLimits, Thinning
from monitor.storage.view_tables import load_view_tables
from monitor.text.instants import format_iso, parse_time
from tests.data import site_text
from tests.data.filled import NOW, PASSWORD, days
from tests.data.store_rows import ask, tell

SITE = site_text.head("s") + site_text.station("G1", site_text.series("tilt", "mrad"))


def told(database):
    with database.read() as c:
        return {name: sorted(views.load_view(c, name), key=str) for name in load_view_tables()}


# ---- copies ----------------------------------------------------------------------------------------------------
@pytest.fixture
def client_programs():
    if shutil.which("pg_dump") is None:
        pytest.skip("the PostgreSQL client programs are missing")


def test_a_restored_copy_is_what_was_copied(filled_database, tmp_path, client_programs):
    before = told(filled_database)
    target = tmp_path / "copy"
    backup.back_up(filled_database, target)
    assert target.stat().st_mode & 0o077 == 0
    with filled_database.write() as c:
        c.execute(text("DELETE FROM observation"))
        c.execute(text("UPDATE alert SET reason = 'changed'"))
    assert told(filled_database) != before
    backup.restore(filled_database, target)
    assert (told(filled_database), ask(filled_database, verify)) == (before, [])
    with pytest.raises(StoreError, match="exists already"):
        backup.back_up(filled_database, target)


def test_on_a_new_machine_what_is_restored_is_the_owners_alone(filled_sqlite_url, tmp_path, caplog):
    with Database(filled_sqlite_url) as database:
        backup.back_up(database, tmp_path / "copy")
    with Database(f"sqlite:///{tmp_path / 'new.db'}") as new:
        backup.restore(new, tmp_path / "copy")
        assert ((tmp_path / "new.db").stat().st_mode & 0o077, ask(new, verify)) == (0, [])
    assert "could be read by others" not in caplog.text


def test_a_damaged_copy_changes_nothing(filled_database, tmp_path, client_programs):
    before = told(filled_database)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError):
        backup.restore(filled_database, damaged)
    with pytest.raises(StoreError, match="is not a file"):
        backup.restore(filled_database, tmp_path / "nowhere")
    assert told(filled_database) == before


def test_a_copy_of_another_database_is_refused(sqlite_url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(StoreError, match="not a database of Slopeward"):
        backup.restore(Database(sqlite_url), tmp_path / "other.db")


def test_no_copy_is_put_under_a_running_service(database, tmp_path, client_programs):
    upgrade(database, NOW)
    backup.back_up(database, tmp_path / "copy")
    url = database.url.render_as_string(hide_password=False)
    service = hold_core_lock(parse_service(f'[database]\nurl = "{url}"\n', "test"))
    with service, pytest.raises(RefusedError, match=r"a service runs on .*; stop it first"):
        backup.restore(database, tmp_path / "copy")
    backup.restore(database, tmp_path / "copy")


# ---- proof -----------------------------------------------------------------------------------------------------
ATTACKS = (
    ("UPDATE decision SET evidence = '{}' WHERE id = 2", "decision 2: the column evidence does not match its hash"),
    ("UPDATE config_version SET source = source || '#'", "the column source does not match its hash"),
    ("UPDATE issued_report SET facts = '{}'", "the column facts does not match its hash"),
    ("UPDATE audit_entry SET actor = 'eve' WHERE id = 1", "audit entry 1"),
    ("DELETE FROM series WHERE quantity = 'rain'", "observation: 238 rows refer to a series that does not exist"),
    ("UPDATE alert SET raised_at = '2026-03-01 06:00'", "alert.raised_at: 5 times are not in the stored format"),
    ("UPDATE scene SET valid_share = 9e307 * 10", "scene.valid_share: 2 values are not finite"),
)


def test_verify_names_what_was_changed_behind_our_back(filled_database):
    with filled_database.write() as c:
        assert verify(c) == []
        for attack, finding in ATTACKS:
            before = c.begin_nested()
            c.execute(text(attack if filled_database.is_sqlite else attack.replace("9e307 * 10", "'Infinity'")))
            assert finding in "\n".join(verify(c)), attack
            before.rollback()
        assert verify(c) == []


def test_not_a_number_never_gets_in(filled_database):
    bad = {"series_id": 1, "observed_at": NOW, "revision": 7, "received_at": NOW, "flags": ""}
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(Exception, match=r"(?i)constraint"), filled_database.write() as c:
            c.execute(insert(observation).values(value_raw=value, **bad))


# ---- pruning ---------------------------------------------------------------------------------------------------
def prune_all(database, limits, now=NOW):
    sweep = prune.RetentionRun(database, limits, now, pause=lambda _: None)
    sweep.run()
    return sweep.removed()


NORTH = "displacement_north"
THINNED = RetentionLimits(quantities={NORTH: Thinning(NOW - days(10), 86400)})


def count(c, table, *where):
    return c.execute(select(func.count()).select_from(table).where(*where)).scalar_one()


def epochs_of(c, table, *where):
    return set(map(tuple, c.execute(select(table.c.series_id, table.c.observed_at).where(*where))))


def test_pruning_keeps_scored_forecasts_the_newest_reading_and_all_that_evidence_names(filled_database):
    far = NOW + days(400)
    session = {"token_sha256": "0" * 64, "user_name": "ada", "created_at": NOW, "expires_at": NOW, "seen_at": NOW}
    with filled_database.write() as c:
        c.execute(update(evaluation).values(at=NOW - days(39)))
        c.execute(insert(web_session).values(**session))
        scored, every = count(c, forecast_score), count(c, observation)
        cited_at = {row.data_time for row in c.execute(select(alert_event.c.data_time))}
        kept = epochs_of(c, observation, observation.c.observed_at.in_(cited_at))
    removed = prune_all(filled_database, RetentionLimits({"observations": far, "forecasts": far}))
    assert (removed["web_session"], removed["evaluation"], removed["forecast"] > 0) == (1, 2, True)
    with filled_database.read() as c:
        assert kept | epochs_of(c, series_latest) <= epochs_of(c, observation)
        assert removed["observation"] == every - count(c, observation) > 3000
        # forecasts issued at an instant that evidence names stay too: 27 Feb 06:00 and the like
        assert count(c, forecast_score) == scored
        assert count(c, forecast_score, forecast_score.c.forecast_id.not_in(select(forecast.c.id))) == 0
        assert verify(c) == []


def test_what_is_young_or_kept_forever_stays(filled_database):
    before = told(filled_database)
    assert not any(prune_all(filled_database, RetentionLimits()).values())
    assert not any(prune_all(filled_database, RetentionLimits({"forecasts": NOW - days(90)})).values())
    assert told(filled_database) == before


def readings_of(c, station, quantity):
    series_id = observations.find_series_id(c, "north-bench", station, quantity)
    o = observation.c
    return c.execute(
        select(o.observed_at, o.value_raw, o.flags).where(o.series_id == series_id).order_by(o.observed_at)
    ).all()


def test_old_readings_leave_the_median_least_most_and_count_of_each_day(filled_database):
    with filled_database.read() as c:
        before, others = readings_of(c, "G1", NORTH), readings_of(c, "G1", "displacement_east")
        cited = load_cited_spans(c)
    removed = prune_all(filled_database, THINNED)
    with filled_database.read() as c:
        after = readings_of(c, "G1", NORTH)
        kept = views.load_view(c, "observation_summaries", station="G1", quantity=NORTH, order_by=["starts_at"])
        run = views.load_view(c, "retention_runs", what=f"observation {NORTH}")
        assert readings_of(c, "G1", "displacement_east") == others  # of another quantity: nothing
    gone = sorted(set(before) - set(after))
    assert removed[f"observation {NORTH}"] == run[0]["removed"] >= len(gone) > 50
    assert sum(row["count"] + row["flagged"] for row in kept) == len(gone)
    assert run[0]["summaries"] == removed["summaries made"] >= len(kept)

    def on_day(some, row):
        return [one for one in some if format_iso(one.observed_at)[:10] == row["starts_at"][:10]]

    for row in kept:
        values = [one.value_raw for one in on_day(gone, row) if not one.flags]
        assert not any(one.observed_at < NOW - days(10) for one in on_day(after, row))
        figures = (len(values), statistics.median(values), min(values), max(values))
        assert (row["count"], row["median"], row["minimum"], row["maximum"]) == figures
        assert row["mean"] == pytest.approx(statistics.fmean(values))
        assert row["starts_at"].endswith("T00:00:00.000000Z")
    # whole days that evidence names stay raw
    for start, end in cited:
        stood, stands = ([one for one in some if start <= one.observed_at <= end] for some in (before, after))
        assert stood == stands
    assert not any(prune_all(filled_database, THINNED).values())  # a second run finds nothing


def test_a_late_reading_of_a_thinned_day_is_a_row_of_its_own(filled_database):
    def load(**more):
        place = {"station": "G1", "quantity": NORTH, "order_by": ["starts_at"]}
        return ask(filled_database, views.load_view, "observation_summaries", **place, **more)

    prune_all(filled_database, THINNED)
    first = load()[0]
    late = Observation("north-bench", "G1", NORTH, "mm", parse_time(first["starts_at"]) + timedelta(hours=1), NOW, 1.5)
    tell(filled_database, storing.add_observations, [late], NOW)
    prune_all(filled_database, THINNED, NOW + days(1))
    assert sorted(row["count"] for row in load(starts_at=first["starts_at"])) == sorted([1, first["count"]])


def test_nothing_goes_that_a_decision_may_still_look_at(filled_database):
    needed = {"north-bench": NOW - days(20)}
    every = ask(filled_database, readings_of, "G1", "displacement_east")
    before = {one for one in every if one.observed_at >= needed["north-bench"]}
    prune_all(filled_database, RetentionLimits({"observations": NOW + days(400)}, needed_from=needed))
    assert before
    assert before <= set(ask(filled_database, readings_of, "G1", "displacement_east"))


def test_a_reading_that_comes_between_look_and_deletion_is_not_lost(filled_database, monkeypatch):
    """The span is left to the next run: what was counted is no longer what is there."""
    real, came, o = retention._make_summaries, [], observation.c

    def slip_in(c, series_id, start, *rest):
        found = real(c, series_id, start, *rest)
        if not came:
            mine = select(func.min(o.observed_at)).where(o.series_id == series_id, o.observed_at >= start)
            with filled_database.read() as r:
                one = r.execute(select(series).where(series.c.id == series_id)).one()
                came.append(r.execute(mine).scalar() + timedelta(seconds=7))
            item = Observation(one.site, one.station, NORTH, one.unit, came[0], NOW, 4.25)
            tell(filled_database, storing.add_observations, [item], NOW)
        return found

    monkeypatch.setattr(retention, "_make_summaries", slip_in)
    prune_all(filled_database, THINNED)
    assert ask(filled_database, count, observation, o.observed_at == came[0]) == 1
    monkeypatch.undo()
    prune_all(filled_database, THINNED, NOW + timedelta(seconds=1))
    assert ask(filled_database, count, observation, o.observed_at == came[0]) == 0
    assert ask(filled_database, verify) == []


def test_scores_go_by_a_limit_of_their_own_and_their_forecasts_after_them(filled_database):
    far, scored = NOW + days(400), ask(filled_database, count, forecast_score)
    removed = prune_all(filled_database, RetentionLimits({"scores": far}))
    assert 0 < removed["forecast_score"] <= scored
    assert prune_all(filled_database, RetentionLimits({"forecasts": far, "scores": far}))["forecast"] > 0
    assert ask(filled_database, verify) == []


def test_instants_in_evidence_are_found_spelled_and_in_seconds(database):
    texts = (
        '{"at":"2026-01-05T00:00:00.000000Z","until":"2026-01-05T12:00:00+00:00"}',
        '{"s":[1769904000.0,3.5,12345678901]}',
    )
    facts = {"site": "s", "at": NOW, "code_version": "1", "config_sha256": "", "evidence_sha256": ""}
    with database.write() as c:
        c.execute(insert(decision), [{**facts, "id": k, "evidence": one} for k, one in enumerate(texts, 1)])
        spans = [[one.isoformat()[:16] for one in span] for span in load_cited_spans(c)]
    assert spans == [["2026-01-05T00:00", "2026-01-05T12:00"], ["2026-02-01T00:00", "2026-02-01T00:00"]]


@pytest.mark.parametrize(("verb", "code"), [(["db", "upgrade"], 1), (["status"], 6)])
def test_file_that_is_not_a_database_is_named(verb, code, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.db").write_text("no database, but a line of text of some length" * 30)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", "sqlite:///notes.db")
    assert run_verb(verb) == code
    said = capsys.readouterr()
    assert "the file that database.url names is not a SQLite database: name another" in said.out + said.err


@pytest.mark.parametrize("tear", [lambda b: b[:4096] + b"\xff" * (len(b) - 4096), lambda b: b[: len(b) // 2]])
def test_damaged_file_is_named_with_the_remedy(filled_sqlite_url, tear, tmp_path, monkeypatch, capsys):
    path = Path(make_url(filled_sqlite_url).database)
    Database(filled_sqlite_url).close()
    path.write_bytes(tear(path.read_bytes()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_sqlite_url)
    assert run_verb(["doctor"]) == 1
    said = capsys.readouterr()
    assert "the database file is damaged (" in said.out + said.err
    assert "internal error" not in said.out + said.err
    with pytest.raises(StoreError, match="is damaged"), Database(filled_sqlite_url) as db, db.write() as c:
        views.load_view(c, "site_status")


# ---- the verbs -------------------------------------------------------------------------------------------------
def test_an_evening_with_the_verbs(empty_database_url, tmp_path, client_programs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", empty_database_url)

    def run(*words, stdin="", **environment):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(stdin))
            for name, value in environment.items():
                patch.setenv(name, value)
            code = run_verb(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    code, _, said = run("people", "users", "list")
    assert code == 1
    assert ("there is no database" if empty_database_url.startswith("sqlite") else "has no schema yet") in said
    assert "slopeward db upgrade" in said
    assert run("db", "current")[:2] == (1, f"at no revision, this version needs {migrate.head()}\n")
    assert run("sites", "list")[0] in {1, 4}
    assert not list(tmp_path.glob("*.db*")), "a verb that only reads leaves no file behind"
    code, out, _ = run("db", "upgrade", "--json")
    assert (code, json.loads(out)["before"], run("people", "users", "list")[0]) == (0, "", 4)
    code, out, _ = run("people", "users", "add", "ada", "--role", "admin", "--json", stdin="a long password\n")
    assert (code, json.loads(out)) == (0, {"name": "ada", "role": "admin", "sites": None})
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "a long password")  # ada's; that of bo is the same
    with Database(empty_database_url) as database:
        with database.read() as c:
            acts = "SELECT actor_kind, action, subject FROM audit_log WHERE action <> 'rows.seal'"
            assert c.execute(text(acts)).all() == [("person", "user.add", "user:ada")]
        with database.write() as c:
            c.execute(insert(series).values(site="s", station="G1", quantity="tilt", unit="mrad", created_at=NOW))
        (tmp_path / "configs" / "sites").mkdir(parents=True)
        (tmp_path / "configs" / "sites" / "s.toml").write_text(SITE)
        declare = "offsets add --site s --station G1 --quantity tilt --size 1 --unit mrad --reason works".split()
        assert run(*declare, "--at", "2026-03-01 06:00")[0] == 1
        words = ("people", "users", "add", "bo", "--role", "operator", "--by", "ada")
        assert run(*words, SLOPEWARD_USER_PASSWORD="a long password")[0] == 0
        assert run(*declare, "--at", "2026-03-01T06:00:00Z", "--by", "bo")[0] == 0
        assert run("offsets", "confirm", "1", "--reason", "measured again", "--by", "ada")[0] == 0
        code, _, said = run("offsets", "revoke", "1", "--reason", "wrong", "--by", "ada")
        assert (code, len(said.strip().splitlines())) == (1, 1)  # two people stand behind it: one takes nothing back
        code, out, _ = run("offsets", "list", "--site", "s", "--json")
        assert (code, json.loads(out)["author"]) == (0, "bo")
        code, out, said = run("db", "backup", "copy", "--json")
        head = json.loads(out)["audit_head"]
        assert (code, (tmp_path / "copy").is_file()) == (0, True)
        assert (run("db", "verify", "--audit-head", head)[0], run("db", "restore", "copy")[0]) == (0, 1)
        tell(database, lambda c: c.execute(text("DELETE FROM audit_entry WHERE id > 1")))
        code, out, _ = run("db", "verify", "--audit-head", head, "--json")
        found = [json.loads(line)["finding"] for line in out.splitlines()]
        assert (code, "no longer in the chain" in found[0]) == (1, True)
        assert any("user_account ada: no entry of the audit log knows this row" in line for line in found)
        assert run("db", "restore", "copy", "--yes", "--by", "bo")[0] == 1
        assert run("db", "restore", "copy", "--yes", "--by", "ada")[0] == 0
        assert run("db", "verify", "--audit-head", head)[0] == 0
        with database.read() as c:
            last = "SELECT actor FROM audit_log WHERE action = 'db.restore'"
            assert c.execute(text(last)).scalars().all() == ["ada"]
        assert run("db", "prune")[0] == 4
        code, out, _ = run("db", "prune", "--dry-run", "--json")
        named = {json.loads(line)["what"] for line in out.splitlines()}
        assert (code, named) == (0, {"observations", "forecasts", "scores", "quarantine", "photos"})
        code, _, said = run("db", "grant-readonly", "nobody_of_this_name", "--by", "ada")
        assert (code, len(said.strip().splitlines())) == (1, 1)


# ---- what lies on the disk ------------------------------------------------------------------------------------------
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
    return subprocess.run([sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True).stdout


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
            with db.write() as c, hold_core_lock(parse_service(f'[database]\nurl = "{url}"\n', "test")):
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
        told = {name: sorted(views.stream_view(c, name), key=str) for name in load_view_tables()}
    out = sqlite3.connect(target)
    out.row_factory = sqlite3.Row
    for name in load_view_tables():
        rows = [dict(row) for row in out.execute(f"SELECT * FROM {name}")]
        booleans = {k.name for k in load_view_tables()[name].c if isinstance(k.type, Boolean)}
        found = [{k: bool(v) if k in booleans and v is not None else v for k, v in row.items()} for row in rows]
        assert sorted(found, key=str) == told[name], name
        assert counts[name] == len(found)
    tables = {row[0] for row in out.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {*views.list_views(), publish.MARK}
    assert out.execute("SELECT published_at FROM published").fetchone()[0].startswith(f"{NOW:%Y-%m-%dT%H}")
    out.close()


def test_published_copy_replaces_only_a_published_copy(filled_database, tmp_path):
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
    with pytest.raises(RefusedError, match="not a published copy"):
        publish.publish(filled_database, other, NOW)
    assert other.read_text() == "mine"
    with pytest.raises(StoreError, match="could not be written"):
        publish.publish(filled_database, tmp_path / "nowhere" / "views.db", NOW)
    assert {p.name for p in tmp_path.iterdir() if "views" in p.name} == {"views.db"}
    reader.close()


def test_publish_refuses_to_overwrite_the_database(filled_sqlite_url, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_sqlite_url)
    file = filled_sqlite_url.removeprefix("sqlite:///")
    assert (run_verb(["db", "publish", file]), "not a published copy" in capsys.readouterr().err) == (1, True)
    assert run_verb(["db", "publish", f"{file}.views", "--json"]) == 0
    assert PASSWORD not in Path(f"{file}.views").read_bytes().decode("latin-1")
