"""Backup, restore, verification and pruning of the database, and the commands for them."""

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
from monitor.cli.main import run_command
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
from tests.fixtures.databases import SQLITE_ONLY

SITE = site_text.head("s") + site_text.station("G1", site_text.series("tilt", "mrad"))


def load_all_views(database):
    with database.read() as connection:
        return {name: sorted(views.load_view(connection, name), key=str) for name in load_view_tables()}


# ---- copies ----------------------------------------------------------------------------------------------------
@pytest.fixture
def client_programs():
    if shutil.which("pg_dump") is None:
        pytest.skip("the PostgreSQL client programs are missing")


def test_restored_database_equals_the_one_that_was_backed_up(filled_database, tmp_path, client_programs):
    rows_before = load_all_views(filled_database)
    target = tmp_path / "copy"
    backup.back_up(filled_database, target)
    assert target.stat().st_mode & 0o077 == 0
    with filled_database.write() as connection:
        connection.execute(text("DELETE FROM observation"))
        connection.execute(text("UPDATE alert SET reason = 'changed'"))
    assert load_all_views(filled_database) != rows_before
    backup.restore(filled_database, target)
    assert (load_all_views(filled_database), ask(filled_database, verify)) == (rows_before, [])
    with pytest.raises(StoreError, match="exists already"):
        backup.back_up(filled_database, target)


def test_restored_file_on_a_new_machine_is_readable_only_by_its_owner(filled_sqlite_url, tmp_path, caplog):
    with Database(filled_sqlite_url) as database:
        backup.back_up(database, tmp_path / "copy")
    with Database(f"sqlite:///{tmp_path / 'new.db'}") as new_database:
        backup.restore(new_database, tmp_path / "copy")
        assert ((tmp_path / "new.db").stat().st_mode & 0o077, ask(new_database, verify)) == (0, [])
    assert "could be read by others" not in caplog.text


def test_damaged_backup_changes_nothing(filled_database, tmp_path, client_programs):
    rows_before = load_all_views(filled_database)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError):
        backup.restore(filled_database, damaged)
    with pytest.raises(StoreError, match="is not a file"):
        backup.restore(filled_database, tmp_path / "nowhere")
    assert load_all_views(filled_database) == rows_before


def test_backup_of_another_database_is_rejected(sqlite_url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(StoreError, match="not a database of Slopeward"):
        backup.restore(Database(sqlite_url), tmp_path / "other.db")


def test_restore_is_refused_while_a_service_runs(database, tmp_path, client_programs):
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


def test_verify_names_changes_that_bypassed_the_service(filled_database):
    with filled_database.write() as connection:
        assert verify(connection) == []
        for attack, finding in ATTACKS:
            savepoint = connection.begin_nested()
            connection.execute(
                text(attack if filled_database.is_sqlite else attack.replace("9e307 * 10", "'Infinity'"))
            )
            assert finding in "\n".join(verify(connection)), attack
            savepoint.rollback()
        assert verify(connection) == []


def test_value_that_is_not_finite_cannot_be_stored(filled_database):
    reading = {"series_id": 1, "observed_at": NOW, "revision": 7, "received_at": NOW, "flags": ""}
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(Exception, match=r"(?i)constraint"), filled_database.write() as connection:
            connection.execute(insert(observation).values(value_raw=value, **reading))


# ---- pruning ---------------------------------------------------------------------------------------------------
def prune_all(database, limits, now=NOW):
    run = prune.RetentionRun(database, limits, now, pause=lambda _: None)
    run.run()
    return run.count_removed()


NORTH = "displacement_north"
THINNED = RetentionLimits(quantities={NORTH: Thinning(NOW - days(10), 86400)})


def count_rows(connection, table, *where):
    return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()


def load_epochs(connection, table, *where):
    return set(map(tuple, connection.execute(select(table.c.series_id, table.c.observed_at).where(*where))))


def test_pruning_keeps_scored_forecasts_newest_readings_and_readings_in_evidence(filled_database):
    far_future = NOW + days(400)
    session = {"token_sha256": "0" * 64, "user_name": "ada", "created_at": NOW, "expires_at": NOW, "seen_at": NOW}
    with filled_database.write() as connection:
        connection.execute(update(evaluation).values(at=NOW - days(39)))
        connection.execute(insert(web_session).values(**session))
        score_count, reading_count = count_rows(connection, forecast_score), count_rows(connection, observation)
        cited_at = {row.data_time for row in connection.execute(select(alert_event.c.data_time))}
        cited_epochs = load_epochs(connection, observation, observation.c.observed_at.in_(cited_at))
    removed = prune_all(filled_database, RetentionLimits({"observations": far_future, "forecasts": far_future}))
    assert (removed["web_session"], removed["evaluation"], removed["forecast"] > 0) == (1, 2, True)
    with filled_database.read() as connection:
        assert cited_epochs | load_epochs(connection, series_latest) <= load_epochs(connection, observation)
        assert removed["observation"] == reading_count - count_rows(connection, observation) > 3000
        # Forecasts issued at a time in evidence stay as well, for example 27 February 06:00.
        assert count_rows(connection, forecast_score) == score_count
        assert count_rows(connection, forecast_score, forecast_score.c.forecast_id.not_in(select(forecast.c.id))) == 0
        assert verify(connection) == []


def test_recent_rows_and_rows_without_limit_stay(filled_database):
    rows_before = load_all_views(filled_database)
    assert not any(prune_all(filled_database, RetentionLimits()).values())
    assert not any(prune_all(filled_database, RetentionLimits({"forecasts": NOW - days(90)})).values())
    assert load_all_views(filled_database) == rows_before


def load_stored_readings(connection, station, quantity):
    series_id = observations.find_series_id(connection, "north-bench", station, quantity)
    column = observation.c
    return connection.execute(
        select(column.observed_at, column.value_raw, column.flags)
        .where(column.series_id == series_id)
        .order_by(column.observed_at)
    ).all()


def test_thinned_readings_leave_median_minimum_maximum_and_count_of_each_day(filled_database):
    with filled_database.read() as connection:
        before, other_quantity = (
            load_stored_readings(connection, "G1", NORTH),
            load_stored_readings(connection, "G1", "displacement_east"),
        )
        cited = load_cited_spans(connection)
    removed = prune_all(filled_database, THINNED)
    with filled_database.read() as connection:
        after = load_stored_readings(connection, "G1", NORTH)
        summaries = views.load_view(
            connection, "observation_summaries", station="G1", quantity=NORTH, order_by=["starts_at"]
        )
        run = views.load_view(connection, "retention_runs", what=f"observation {NORTH}")
        assert (
            load_stored_readings(connection, "G1", "displacement_east") == other_quantity
        )  # readings of another quantity are not thinned
    removed_readings = sorted(set(before) - set(after))
    assert removed[f"observation {NORTH}"] == run[0]["removed"] >= len(removed_readings) > 50
    assert sum(row["count"] + row["flagged"] for row in summaries) == len(removed_readings)
    assert run[0]["summaries"] == removed["summaries made"] >= len(summaries)

    def on_day(readings, row):
        return [reading for reading in readings if format_iso(reading.observed_at)[:10] == row["starts_at"][:10]]

    for row in summaries:
        values = [reading.value_raw for reading in on_day(removed_readings, row) if not reading.flags]
        assert not any(reading.observed_at < NOW - days(10) for reading in on_day(after, row))
        figures = (len(values), statistics.median(values), min(values), max(values))
        assert (row["count"], row["median"], row["minimum"], row["maximum"]) == figures
        assert row["mean"] == pytest.approx(statistics.fmean(values))
        assert row["starts_at"].endswith("T00:00:00.000000Z")
    # Days with readings in evidence are not thinned.
    for start, end in cited:
        cited_before, cited_after = (
            [reading for reading in readings if start <= reading.observed_at <= end] for readings in (before, after)
        )
        assert cited_before == cited_after
    assert not any(prune_all(filled_database, THINNED).values())  # a second run removes nothing


def test_late_reading_of_a_thinned_day_gets_its_own_summary(filled_database):
    def load(**filters):
        series_of_station = {"station": "G1", "quantity": NORTH, "order_by": ["starts_at"]}
        return ask(filled_database, views.load_view, "observation_summaries", **series_of_station, **filters)

    prune_all(filled_database, THINNED)
    first = load()[0]
    late = Observation("north-bench", "G1", NORTH, "mm", parse_time(first["starts_at"]) + timedelta(hours=1), NOW, 1.5)
    tell(filled_database, storing.add_observations, [late], NOW)
    prune_all(filled_database, THINNED, NOW + days(1))
    assert sorted(row["count"] for row in load(starts_at=first["starts_at"])) == sorted([1, first["count"]])


def test_readings_needed_by_decisions_are_not_pruned(filled_database):
    needed = {"north-bench": NOW - days(20)}
    readings = ask(filled_database, load_stored_readings, "G1", "displacement_east")
    needed_readings = {reading for reading in readings if reading.observed_at >= needed["north-bench"]}
    prune_all(filled_database, RetentionLimits({"observations": NOW + days(400)}, needed_from=needed))
    assert needed_readings
    assert needed_readings <= set(ask(filled_database, load_stored_readings, "G1", "displacement_east"))


def test_reading_stored_between_count_and_deletion_is_not_lost(filled_database, monkeypatch):
    """The rows of this span differ from the counted rows, so the span is left to the next run."""
    make_summaries, late_times, column = retention._make_summaries, [], observation.c

    def store_reading_meanwhile(connection, series_id, start, *arguments):
        summaries = make_summaries(connection, series_id, start, *arguments)
        if not late_times:
            oldest_query = select(func.min(column.observed_at)).where(
                column.series_id == series_id, column.observed_at >= start
            )
            with filled_database.read() as read_connection:
                series_row = read_connection.execute(select(series).where(series.c.id == series_id)).one()
                late_times.append(read_connection.execute(oldest_query).scalar() + timedelta(seconds=7))
            item = Observation(series_row.site, series_row.station, NORTH, series_row.unit, late_times[0], NOW, 4.25)
            tell(filled_database, storing.add_observations, [item], NOW)
        return summaries

    monkeypatch.setattr(retention, "_make_summaries", store_reading_meanwhile)
    prune_all(filled_database, THINNED)
    assert ask(filled_database, count_rows, observation, column.observed_at == late_times[0]) == 1
    monkeypatch.undo()
    prune_all(filled_database, THINNED, NOW + timedelta(seconds=1))
    assert ask(filled_database, count_rows, observation, column.observed_at == late_times[0]) == 0
    assert ask(filled_database, verify) == []


def test_scores_have_their_own_limit_and_their_forecasts_are_pruned_after_them(filled_database):
    far_future, score_count = NOW + days(400), ask(filled_database, count_rows, forecast_score)
    removed = prune_all(filled_database, RetentionLimits({"scores": far_future}))
    assert 0 < removed["forecast_score"] <= score_count
    assert prune_all(filled_database, RetentionLimits({"forecasts": far_future, "scores": far_future}))["forecast"] > 0
    assert ask(filled_database, verify) == []


def test_times_in_evidence_are_read_as_text_and_as_seconds(database):
    texts = (
        '{"at":"2026-01-05T00:00:00.000000Z","until":"2026-01-05T12:00:00+00:00"}',
        '{"s":[1769904000.0,3.5,12345678901]}',
    )
    facts = {"site": "s", "at": NOW, "code_version": "1", "config_sha256": "", "evidence_sha256": ""}
    with database.write() as connection:
        connection.execute(
            insert(decision), [{**facts, "id": number, "evidence": text} for number, text in enumerate(texts, 1)]
        )
        spans = [[text.isoformat()[:16] for text in span] for span in load_cited_spans(connection)]
    assert spans == [["2026-01-05T00:00", "2026-01-05T12:00"], ["2026-02-01T00:00", "2026-02-01T00:00"]]


@pytest.mark.parametrize(("verb", "code"), [(["db", "upgrade"], 1), (["status"], 6)])
def test_file_that_is_not_a_database_is_named(verb, code, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.db").write_text("no database, but a line of text of some length" * 30)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", "sqlite:///notes.db")
    assert run_command(verb) == code
    captured = capsys.readouterr()
    assert "the file that database.url names is not a SQLite database: name another" in captured.out + captured.err


@pytest.mark.parametrize("tear", [lambda b: b[:4096] + b"\xff" * (len(b) - 4096), lambda b: b[: len(b) // 2]])
def test_damaged_file_is_named_with_the_remedy(filled_sqlite_url, tear, tmp_path, monkeypatch, capsys):
    path = Path(make_url(filled_sqlite_url).database)
    Database(filled_sqlite_url).close()
    path.write_bytes(tear(path.read_bytes()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_sqlite_url)
    assert run_command(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "the database file is damaged (" in captured.out + captured.err
    assert "internal error" not in captured.out + captured.err
    with (
        pytest.raises(StoreError, match="is damaged"),
        Database(filled_sqlite_url) as database,
        database.write() as connection,
    ):
        views.load_view(connection, "site_status")


# ---- the commands ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("empty_database_url", SQLITE_ONLY, indirect=True)
def test_commands_for_accounts_offsets_backup_verify_restore_and_prune(
    empty_database_url, tmp_path, client_programs, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", empty_database_url)

    def run(*add_user, stdin="", **environment):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(stdin))
            for name, value in environment.items():
                patch.setenv(name, value)
            status = run_command(list(add_user))
        error = capsys.readouterr()
        return status, error.out, error.err

    status, _, error = run("people", "users", "list")
    assert status == 1
    assert ("there is no database" if empty_database_url.startswith("sqlite") else "has no schema yet") in error
    assert "slopeward db upgrade" in error
    assert run("db", "current")[:2] == (1, f"at no revision, this version needs {migrate.find_newest_revision()}\n")
    assert run("sites", "list")[0] in {1, 4}
    assert not list(tmp_path.glob("*.db*")), "a verb that only reads leaves no file behind"
    status, out, _ = run("db", "upgrade", "--json")
    assert (status, json.loads(out)["before"], run("people", "users", "list")[0]) == (0, "", 4)
    status, out, _ = run("people", "users", "add", "ada", "--role", "admin", "--json", stdin="a long password\n")
    assert (status, json.loads(out)) == (0, {"name": "ada", "role": "admin", "sites": None})
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "a long password")  # the password of ada; bo has the same
    with Database(empty_database_url) as database:
        with database.read() as connection:
            audit_query = "SELECT actor_kind, action, subject FROM audit_log WHERE action <> 'rows.seal'"
            assert connection.execute(text(audit_query)).all() == [("person", "user.add", "user:ada")]
        with database.write() as connection:
            connection.execute(
                insert(series).values(site="s", station="G1", quantity="tilt", unit="mrad", created_at=NOW)
            )
        (tmp_path / "configs" / "sites").mkdir(parents=True)
        (tmp_path / "configs" / "sites" / "s.toml").write_text(SITE)
        add_offset = "offsets add s --station G1 --quantity tilt --size 1 --unit mrad --reason works".split()
        assert run(*add_offset, "--at", "2026-03-01 06:00")[0] == 1
        add_user = ("people", "users", "add", "bo", "--role", "operator", "--by", "ada")
        assert run(*add_user, SLOPEWARD_USER_PASSWORD="a long password")[0] == 0
        assert run(*add_offset, "--at", "2026-03-01T06:00:00Z", "--by", "bo")[0] == 0
        assert run("offsets", "confirm", "1", "--reason", "measured again", "--by", "ada")[0] == 0
        status, _, error = run("offsets", "revoke", "1", "--reason", "wrong", "--by", "ada")
        assert (status, len(error.strip().splitlines())) == (
            1,
            1,
        )  # two people signed the offset, so one person cannot revoke it
        status, out, _ = run("offsets", "list", "--site", "s", "--json")
        assert (status, json.loads(out)["author"]) == (0, "bo")
        status, out, error = run("db", "backup", "copy", "--json")
        head = json.loads(out)["audit_head"]
        assert (status, (tmp_path / "copy").is_file()) == (0, True)
        assert (run("db", "verify", "--audit-head", head)[0], run("db", "restore", "copy")[0]) == (0, 1)
        tell(database, lambda connection: connection.execute(text("DELETE FROM audit_entry WHERE id > 1")))
        status, out, _ = run("db", "verify", "--audit-head", head, "--json")
        findings = [json.loads(line)["finding"] for line in out.splitlines()]
        assert (status, "no longer in the chain" in findings[0]) == (1, True)
        assert any("user_account ada: the audit log has no entry for this row" in line for line in findings)
        assert run("db", "restore", "copy", "--yes", "--by", "bo")[0] == 1
        assert run("db", "restore", "copy", "--yes", "--by", "ada")[0] == 0
        assert run("db", "verify", "--audit-head", head)[0] == 0
        with database.read() as connection:
            restore_query = "SELECT actor FROM audit_log WHERE action = 'db.restore'"
            assert connection.execute(text(restore_query)).scalars().all() == ["ada"]
        assert run("db", "prune")[0] == 4
        status, out, _ = run("db", "prune", "--dry-run", "--json")
        pruned_kinds = {json.loads(line)["what"] for line in out.splitlines()}
        assert (status, pruned_kinds) == (0, {"observations", "forecasts", "scores", "quarantine", "photos"})
        status, _, error = run("db", "grant-readonly", "nobody_of_this_name", "--by", "ada")
        assert (status, len(error.strip().splitlines())) == (1, 1)


# ---- permissions of files -------------------------------------------------------------------------------------------
def file_mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def read_rows_as_nobody(path):
    """Return the rows of a SQLite file that a user without any rights can read."""
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


# ---- database files --------------------------------------------------------------------------------------------
def test_database_and_its_other_files_are_readable_only_by_their_owner(open_folder):
    previous_umask, url = os.umask(0o022), f"sqlite:///{open_folder}/slopeward.db"
    try:
        with Database(url) as database:
            upgrade(database)
            with database.write() as connection, hold_core_lock(parse_service(f'[database]\nurl = "{url}"\n', "test")):
                connection.execute(text("CREATE TABLE more (a)"))
                modes = {path.name: file_mode(path) for path in open_folder.iterdir()}
    finally:
        os.umask(previous_umask)
    assert set(modes) == {"slopeward.db", "slopeward.db-wal", "slopeward.db-shm", "slopeward.db.lock"}
    assert set(modes.values()) == {0o600}, modes


def test_permissions_of_an_older_database_are_restricted_and_logged_once(open_folder, sqlite_url, caplog):
    file = open_folder / "slopeward.db"
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), file)
    (open_folder / "slopeward.db.lock").touch()
    for path in open_folder.iterdir():
        path.chmod(0o664)
    for _ in range(2):
        with Database(f"sqlite:///{file}") as database, database.read() as connection:
            connection.execute(text("SELECT count(*) FROM site"))
    assert {file_mode(file_in_folder) for file_in_folder in open_folder.iterdir()} == {0o600}
    assert len([record for record in caplog.records if "db publish" in record.message]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_other_system_user_reads_only_the_published_copy(open_folder, filled_sqlite_url):
    file = open_folder / "slopeward.db"
    shutil.copy(filled_sqlite_url.removeprefix("sqlite:///"), file)
    file.chmod(0o644)  # as earlier versions created it
    assert "argon2id" in read_rows_as_nobody(file)
    copy = open_folder / "views.db"
    with Database(f"sqlite:///{file}") as database:
        publish.publish(database, copy, NOW)
    assert read_rows_as_nobody(file) == ""
    published_rows = read_rows_as_nobody(copy)
    assert ("north-bench" in published_rows, "argon2" in published_rows) == (True, False)


# ---- the published copy ----------------------------------------------------------------------------------------
def test_published_copy_contains_the_rows_of_the_views_and_nothing_else(filled_database, tmp_path):
    target = tmp_path / "views.db"
    counts = publish.publish(filled_database, target, NOW)
    with filled_database.read() as connection:
        rows_by_view = {name: sorted(views.stream_view(connection, name), key=str) for name in load_view_tables()}
    published = sqlite3.connect(target)
    published.row_factory = sqlite3.Row
    for name in load_view_tables():
        rows = [dict(row) for row in published.execute(f"SELECT * FROM {name}")]
        booleans = {column.name for column in load_view_tables()[name].c if isinstance(column.type, Boolean)}
        plain_rows = [
            {
                column: bool(value) if column in booleans and value is not None else value
                for column, value in row.items()
            }
            for row in rows
        ]
        assert sorted(plain_rows, key=str) == rows_by_view[name], name
        assert counts[name] == len(plain_rows)
    tables = {row[0] for row in published.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {*views.list_views(), publish.MARK}
    assert published.execute("SELECT published_at FROM published").fetchone()[0].startswith(f"{NOW:%Y-%m-%dT%H}")
    published.close()


def test_published_copy_replaces_only_a_published_copy(filled_database, tmp_path):
    target = tmp_path / "views.db"
    publish.publish(filled_database, target, NOW)
    reader = sqlite3.connect(f"file:{target}?mode=ro", uri=True)
    publish.publish(filled_database, target, NOW + timedelta(days=1))
    assert reader.execute("SELECT count(*) FROM site_status").fetchone()[0] > 0  # a running reader continues
    with closing(sqlite3.connect(target)) as newest:
        published_at = newest.execute("SELECT published_at FROM published").fetchone()[0]
    assert published_at[:10] == str((NOW + timedelta(days=1)).date())
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(RefusedError, match="not a published copy"):
        publish.publish(filled_database, other, NOW)
    assert other.read_text() == "mine"
    with pytest.raises(StoreError, match="could not be written"):
        publish.publish(filled_database, tmp_path / "nowhere" / "views.db", NOW)
    assert {path.name for path in tmp_path.iterdir() if "views" in path.name} == {"views.db"}
    reader.close()


def test_publish_refuses_to_overwrite_the_database(filled_sqlite_url, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_sqlite_url)
    file = filled_sqlite_url.removeprefix("sqlite:///")
    assert (run_command(["db", "publish", file]), "not a published copy" in capsys.readouterr().err) == (1, True)
    assert run_command(["db", "publish", f"{file}.views", "--json"]) == 0
    assert PASSWORD not in Path(f"{file}.views").read_bytes().decode("latin-1")
