"""Test `slopeward import --from`: the past of a database source becomes stored readings and a site file."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from monitor.cli.main import run_command
from monitor.errors import RefusedError
from monitor.features.sources import rows, sql
from monitor.features.sources.queries import load_files
from monitor.readings.tables import observation
from monitor.settings.service import load_service
from monitor.sites.files import load_site
from monitor.storage.engine import Database
from monitor.worker import compute
from tests.data.servers.file_server import run_here
from tests.data.site_text import table
from tests.data.store_rows import ask

HOURS = 24 * 10
BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
SINCE = f"{BEGIN - timedelta(days=1):%Y-%m-%d}"
IMPORT = ["import", "--from", "office", "--since", SINCE, "--answer", "place=46.2,8.9", "--json"]


@pytest.fixture
def office(tmp_path, monkeypatch):
    """Write a database with 10 days of two stations, and a service file without sites. Return its connection."""
    monkeypatch.setattr(compute, "run", run_here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///{tmp_path}/slopeward.db")
    database = sqlite3.connect(tmp_path / "office.db")
    database.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, ts TEXT, point TEXT, kind TEXT, reading REAL)")
    add_readings(database, range(HOURS))
    Path("configs/sites").mkdir(parents=True)
    write_source()
    yield database
    database.close()


def add_readings(database, hours):
    values = [
        ((BEGIN + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S"), point, "disp", hour * 0.01 + hour % 7 / 10)
        for hour in hours
        for point in ("P1", "P2")
    ]
    database.executemany("INSERT INTO readings (ts, point, kind, reading) VALUES (?, ?, ?, ?)", values)
    database.commit()


def write_source(**keys):
    columns = {"time": "ts", "station": "point", "quantity": "kind", "value": "reading"}
    base = {"name": "office", "kind": "sql", "site": "new-slope", "url": "sqlite:///office.db", "table": "readings"}
    base |= {"columns": columns, "position": "id", "zone": "UTC", "series": {"disp": "displacement_downslope_mm"}}
    Path("configs/slopeward.toml").write_text(table("[[source]]", **{**base, **keys}))


def count_values():
    with Database(load_service().database.url) as database:
        return ask(database, lambda c: c.execute(select(func.count()).select_from(observation)).scalar())


def test_past_becomes_readings_and_a_site_file_with_bounds(office, capsys, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 100)
    assert run_command(IMPORT) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["site"], printed["files"][0]["stored"]) == ("new-slope", 2 * HOURS)
    assert printed["files"][0]["known_before"] == 0, "pages overlap, and their rows are written once"
    site = load_site("configs/sites/new-slope.toml")
    assert [station.id for station in site.stations] == ["P1", "P2"]
    assert site.criteria
    with Database(load_service().database.url) as database:
        state = ask(database, load_files, "office")["rows"]
    assert json.loads(state.modified) == {"number": 2 * HOURS}
    assert not Path("var/sources/office.past").exists()
    add_readings(office, range(HOURS, HOURS + 1))
    assert run_command(["ingest", "sources", "poll", "office", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stored"] == 2, "the next poll begins where the past ends"


def test_new_site_has_the_zone_of_the_source_and_messages_name_the_source(office, capsys):
    write_source(zone="Europe/Rome", overlap="2h")
    assert run_command([word for word in IMPORT if word != "--json"]) == 0
    assert load_site("configs/sites/new-slope.toml").timezone == "Europe/Rome"
    printed = capsys.readouterr().out
    assert f"source office: {2 * HOURS} stored" in printed
    assert "first reading" in printed
    assert "last reading" in printed


def test_level_of_the_replay_is_explained_if_it_is_higher(office, capsys):
    """Two days of fast motion, and rest since. In a replay, the raised level stays."""
    fast = range(HOURS - 96, HOURS - 48)
    moved = [(hour, sum(2.0 for k in fast if k <= hour)) for hour in range(HOURS)]
    office.executemany(
        "UPDATE readings SET reading = reading + ? WHERE (id + 1) / 2 = ?", [(mm, h + 1) for h, mm in moved]
    )
    office.commit()
    assert run_command([word for word in IMPORT if word != "--json"]) == 0
    printed = capsys.readouterr().out
    assert "red | sees" not in printed
    assert "a replay of this record ends at red, since" in printed
    assert "slopeward level set new-slope red --reason TEXT" in printed


def test_interrupted_import_continues(office, capsys, monkeypatch):
    write_source(most_rows=1000, overlap_rows=100)
    monkeypatch.setattr(rows, "PAGE_ROWS", 50)
    read_page = sql.DatabaseServer.read_page
    starts = []

    def read_until_broken(server, start, count):
        if count > 1 and len(starts) == 7:
            raise OSError("connection lost")
        if count > 1:
            starts.append(start)
        return read_page(server, start, count)

    monkeypatch.setattr(sql.DatabaseServer, "read_page", read_until_broken)
    assert run_command(IMPORT) == 1
    assert "source office: connection lost. Repeat the command: it continues there" in capsys.readouterr().err
    assert not Path("slopeward.db").exists()
    broken_at = starts[-1]
    starts.clear()
    starts.extend([0] * 8)
    assert run_command(IMPORT) == 0
    assert starts[8] > broken_at
    assert json.loads(capsys.readouterr().out)["files"][0]["stored"] == 2 * HOURS
    assert count_values() == 2 * HOURS


def test_dry_run_keeps_what_was_read_and_stores_nothing(office, capsys):
    assert run_command([*IMPORT, "--dry-run"]) == 0
    assert Path("var/sources/office.past/office.csv").is_file()
    assert not Path("slopeward.db").exists()
    add_readings(office, range(HOURS, HOURS + 1))
    capsys.readouterr()
    assert run_command(IMPORT) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["stored"] == 2 * HOURS + 2


def test_unknown_names_and_unreadable_times_are_noted(office, capsys):
    office.execute("INSERT INTO readings (ts, point, kind, reading) VALUES ('2026-13-41', 'P1', 'disp', 1)")
    statement = "INSERT INTO readings (ts, point, kind, reading) VALUES (?, 'P1', 'rain', 1)"
    office.execute(statement, (BEGIN.strftime("%Y-%m-%d %H:%M:%S"),))
    office.commit()
    run_command([*IMPORT, "--dry-run"])
    printed = capsys.readouterr().err
    assert "series does not name them: P1/rain (1)" in printed
    assert "1 readings were left out; the first reason: ts: '2026-13-41'" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import"], "expected files or folders, or --from SOURCE"),
        (["import", "a.csv", "--since", "2026-01-01"], "--since: only with --from"),
        (["import", "a.csv", "--from", "office", "--since", "2026-01-01"], "either files or a source"),
        (["import", "--from", "office"], "--since: expected a day such as 2025-01-01"),
        (["import", "--from", "office", "--since", "March"], "--since: expected a day such as 2025-01-01"),
        (["import", "--from", "nothing", "--since", "2026-01-01"], "no source 'nothing'; there are: office"),
        (["import", "--from", "office", "--since", "2100-01-01"], "no reading since 2100-01-01"),
    ],
)
def test_wrong_use_is_one_line(office, capsys, words, message):
    assert run_command(words) in {1, 2}
    assert message in capsys.readouterr().err


def test_sources_of_files_are_refused(office, capsys):
    Path("configs/slopeward.toml").write_text(
        table("[[source]]", name="portal", kind="http", site="new-slope", url="https://h.example/a.csv")
    )
    assert run_command(["import", "--from", "portal", "--since", "2026-01-01"]) == 1
    assert "kind 'http' reads files" in capsys.readouterr().err


def test_error_of_the_server_is_one_line(office, capsys, monkeypatch):
    def refuse(*_):
        raise RefusedError("columns.value: table readings has no column 'reading'")

    monkeypatch.setattr(sql.DatabaseServer, "__init__", refuse)
    assert run_command(IMPORT) == 1
    assert "source office: columns.value: table readings has no column" in capsys.readouterr().err
