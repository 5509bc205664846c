"""`slopeward status` tests the database itself, because the last record of the core does not describe the present."""

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, text, update

from monitor.alerts.queries.alerts import ChangeContext, apply_changes, load_alerts
from monitor.app.checks.running import ProcessHeartbeats, find_program
from monitor.app.checks.table import run_checks
from monitor.app.core_lock import hold_core_lock
from monitor.cli.main import run_command
from monitor.cli.service.status import StoredStatus, _list_lines
from monitor.decision.changes import health_alarm
from monitor.settings.service import load_service
from monitor.sites.first_site import write_first_site
from monitor.sites.tables import site
from monitor.storage import engine
from monitor.storage.actor import SERVICE_ACTOR, SERVICE_SITE
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, WatchedSlope, write_service
from tests.fixtures.databases import on_both_databases  # noqa: F401 - a fixture
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.fixture
def run_status_command(database, database_url, tmp_path, monkeypatch, capsys):
    """Return a function that runs `status` on a database with a recent heartbeat of a healthy core."""
    now = datetime.now(UTC)
    slope = WatchedSlope(database, SITE_TEXT)
    slope.now = now - timedelta(hours=30)
    slope.live(30, looks=1)
    tell(database, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, now)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    monkeypatch.setattr(engine, "SQLITE_BUSY_S", 0.2)
    database.close()

    def run_status(*words):
        status = run_command(["status", *words])
        captured = capsys.readouterr()
        assert "internal error" not in captured.out + captured.err
        return status, captured.out + captured.err

    return run_status


def assert_healthy(run_status_command):
    status, output = run_status_command()
    assert status == 0, output
    assert "bench" in output


def assert_blind(run_status_command, reason_text):
    status, output = run_status_command()
    assert status == 6, output
    assert "blind" in output
    assert reason_text in output
    status, output = run_status_command("--json")
    answer = json.loads(output)
    assert (status, answer["state"]) == (6, "blind")
    assert any(reason_text in str(reason) for reason in answer["reasons"])
    return answer


@pytest.mark.parametrize("is_core_silent", [False, True])
def test_stopped_service_sees_nothing_now(database, database_url, tmp_path, monkeypatch, capsys, is_core_silent):
    """Before the first start and after the end of the service, the last evaluation does not describe the present."""
    now = datetime.now(UTC)
    slope = WatchedSlope(database, SITE_TEXT)
    slope.now = now - timedelta(hours=32)
    slope.live(30, looks=1)
    if is_core_silent:
        tell(database, write_heartbeat, "core", {"version": "x", "degraded": []}, now - timedelta(hours=2))
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    database.close()
    assert run_command(["status"]) == 6
    output = capsys.readouterr().out
    assert "nothing now (degraded 2 h ago)" in output
    expected = "the service has reported nothing since" if is_core_silent else "the service has never run"
    assert expected in output


def test_line_about_a_standby_service_is_indented_like_all_others():
    now = datetime(2026, 3, 1, 6, tzinfo=UTC)
    heartbeats = {"core": (now, {"name": "a", "active_since": "2026-03-01T05:00:00Z"}), "standby:b": (now, {})}
    stored = StoredStatus(
        heartbeats=heartbeats,
        cards=(),
        newest_outage=None,
        silences={},
        awaited=(),
        alerts=(),
        level_names={},
        incomplete={},
        limited={},
        sections=(),
    )
    (line,) = _list_lines(stored, now, lambda _: "UTC")
    assert line.startswith("  a decides since")


def test_open_alerts_are_listed_with_the_number_that_other_commands_take(run_status_command, database_url):
    _, output = run_status_command()
    assert "slopeward alerts ack" not in output
    with Database(database_url) as database:
        alarm = health_alarm("health:check:disk", 2, "the disk is full", is_open=True)
        context = ChangeContext(SERVICE_SITE, None, (), SERVICE_ACTOR, datetime.now(UTC), "x")
        tell(database, apply_changes, [alarm], context)
        (alert,) = ask(database, load_alerts, SERVICE_SITE)
    _, output = run_status_command()
    line = f"  alert {alert.id}: status health urgent, unacknowledged: the disk is full [health:check:disk]"
    assert line in output
    assert "to acknowledge it: slopeward ack NUMBER --by NAME --reason TEXT" in output
    _, output = run_status_command("--json")
    assert [row["id"] for row in json.loads(output)["alerts"]] == [alert.id]
    assert run_command(["alerts", "explain", str(alert.id)]) == 0


def test_heartbeat_of_another_machine_is_no_running_service(run_status_command, database_url, tmp_path):
    facts = {"state": "running", "version": "x", "degraded": [], "pid": 7, "host": "mountain"}
    with Database(database_url) as database:
        tell(database, write_heartbeat, "core", facts, datetime.now(UTC))
    assert_blind(run_status_command, "no service runs on this database: the last one ran on mountain until")
    with hold_core_lock(load_service(tmp_path / "slopeward.toml")):
        assert_healthy(run_status_command)


def test_core_that_the_supervisor_replaces_is_a_running_service():
    here = {"host": socket.gethostname()}
    ended_pid = 2**22 + 1
    stamps = {"core": (NOW, {**here, "pid": ended_pid}), "supervisor": (NOW, {**here, "pid": ended_pid})}

    def find_reasons():
        findings = run_checks(ProcessHeartbeats(stamps, NOW, is_core_lock_held=False))
        return [finding.text for finding in findings if finding.is_wrong and finding.check.blinds]

    assert "no service runs on this database" in " ".join(find_reasons())
    command = [sys.executable, "-c", "import time; time.sleep(60)", "monitor.app"]
    with subprocess.Popen(command) as supervisor:
        stamps["supervisor"] = (NOW, {**here, "pid": supervisor.pid})
        wait_for(lambda: find_program(supervisor.pid))
        assert find_reasons() == []
        supervisor.kill()


@contextmanager
def hold_lock(url, statement):
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(make_url(url).database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    with Database(url) as connection, connection.engine.connect() as server_connection, server_connection.begin():
        server_connection.execute(text(statement))
        yield


LOCKS = ("LOCK TABLE site_state IN EXCLUSIVE MODE", "LOCK TABLE service_state IN ACCESS EXCLUSIVE MODE")


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_held_by_another_process_is_reported(run_status_command, database_url, lock, monkeypatch):
    if database_url.startswith("sqlite") and lock != LOCKS[0]:
        pytest.skip("a file has one lock")
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_MS", 300)
    assert_healthy(run_status_command)
    with hold_lock(database_url, lock):
        report = assert_blind(run_status_command, "lock")
        assert bool(report["sites"]) == (lock == LOCKS[0]), "readable information is still printed"
    assert_healthy(run_status_command)


def test_read_only_database_is_reported(run_status_command, database_url, monkeypatch):
    assert_healthy(run_status_command)
    if database_url.startswith("sqlite"):
        path = make_url(database_url).database
        monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///file:{path}?mode=ro&uri=true")
        assert_blind(run_status_command, "read-only")
        return
    name = make_url(database_url).database
    with Database(database_url) as database, database.engine.connect() as connection, connection.begin():
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    assert assert_blind(run_status_command, "read-only")["sites"], "readable information is still printed"


def test_missing_database_is_reported_and_not_created(run_status_command, database_url, monkeypatch):
    assert_healthy(run_status_command)
    if not database_url.startswith("sqlite"):
        monkeypatch.setenv("SLOPEWARD_DATABASE__URL", make_url(database_url).set(port=1).render_as_string(False))
        assert_blind(run_status_command, "does not answer")
        return
    path = Path(make_url(database_url).database)
    for database_file in path.parent.glob(f"{path.name}*"):
        database_file.unlink()
    assert_blind(run_status_command, f"there is no database {path}")
    assert not path.exists(), "a command that only reads creates no database"


def test_damaged_database_file_is_reported(run_status_command, database_url):
    if not database_url.startswith("sqlite"):
        pytest.skip("a server looks after its files")
    path = Path(make_url(database_url).database)
    whole = path.read_bytes()
    third = whole[: len(whole) // 3]
    files = ((third, "damaged"), (whole[:4096], "damaged"), (b"x" * 9000, "not a SQLite"), (b"", "no schema"))
    for content, reason in files:
        path.write_bytes(content)
        assert_blind(run_status_command, reason)


# ---- every command that takes a site rejects an unknown one, also if its list would be empty ---------------------
SITE_COMMANDS = (
    "alerts list --site {}",
    "maintenance list --site {}",
    "offsets list --site {}",
    "sites proposals --site {}",
    "forecast models --site {}",
    "forecast explain {}",
    "scenes export {}",
    "scenes review list --site {}",
    "scenes review accept {} abc",
    "ingest --forget-epoch0 {}/G1",
    "offsets add {} --station G1 --quantity tilt_x --at 2026-03-01T06:00:00Z --size 1 --unit mrad --reason dry",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/sites").mkdir(parents=True)
        Path("configs/sites/north-bench.toml").write_text(write_first_site("north-bench"))
        Path("configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/x.db"\n')
        assert run_command(["db", "upgrade"]) == 0
        yield folder


@pytest.mark.parametrize("words", SITE_COMMANDS)
def test_unknown_site_is_one_line_of_error(project, words, capsys):
    status = run_command(words.format("north-bemch").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n"), "north-bemch" in err) == (1, "", 1, True)
    assert "did you mean north-bench?" in err or "no reference of north-bemch/G1 is stored" in err


@pytest.mark.parametrize(
    "words", [w for w in SITE_COMMANDS if "list" in w or "models" in w or "expl" in w or "export" in w]
)
def test_site_without_stored_items_is_reported_as_empty(project, words, capsys):
    status = run_command(words.format("north-bench").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (4, "", 1)


def test_status_before_the_first_run_names_the_site_to_be_watched(project, capsys):
    assert (run_command(["status"]), "`slopeward run` takes: north-bench" in capsys.readouterr().out) == (6, True)


def test_missing_alerts_of_the_service_are_no_error(project, capsys):
    assert (run_command(["alerts", "list", "--site", "status"]), capsys.readouterr().err) == (4, "no alert\n")
    assert run_command(["alerts", "list", "--ledger", "hazards"]) == 1
    assert "hazard, health, advice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb",
    ["report add north-bench --kind crack --text rockfall", "level set north-bench yellow --reason works"],
)
@pytest.mark.parametrize("name", ["", "  ", "\u200b"])
def test_empty_name_of_a_person_is_rejected(project, verb, name, capsys):
    status = run_command([*verb.split(), "--by", name])
    err = capsys.readouterr().err
    assert (status, err.count("\n"), "--by: a name is needed" in err) == (1, 1, True)


def test_status_names_sites_in_shadow_mode(run_status_command, database):
    assert "shadow mode" not in run_status_command()[1]
    with database.write() as c:
        c.execute(update(site).values(shadow=True))
    assert "  bench: shadow mode: only the people of the trial are notified" in run_status_command()[1].splitlines()
