"""Test sources that read a table of a database: SQLite files, PostgreSQL and MariaDB."""

import contextlib
import hashlib
import json
import socket
import sqlite3
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.pool import NullPool

from monitor.cli.main import run_command
from monitor.errors import ConfigError
from monitor.features.sources import poll, positions, rows, sql
from monitor.features.sources.fetching import PollRequest, WantedFile
from monitor.features.sources.queries import find_poll, load_files
from monitor.features.sources.row_query import RowColumns, RowQuery
from monitor.features.sources.section import find_faults, make_request
from monitor.features.sources.store import SourceTarget
from monitor.ingest.tables import rejected_message
from monitor.readings.tables import observation
from monitor.readings.tables import series as stored_series
from monitor.settings.service import load_service
from monitor.sites.files import load_site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.worker import compute
from tests.data.servers.file_server import run_here
from tests.data.site_text import head, series, station, table
from tests.data.store_rows import ask
from tests.fixtures.soak import with_soak

NOW = datetime(2026, 3, 10, tzinfo=UTC)
STATIONS = [f"P{number}" for number in range(1, 21)]
SITE = head("north", latitude=46.2, longitude=8.9, levels={"names": ["green", "red"]}) + "".join(
    station(name, series("displacement", "mm", "1h", max_silence="1d"), latitude=46.2, longitude=8.9)
    for name in STATIONS
)
RUN_IN_WORKER = compute.run
COLUMNS = {"time": "ts", "station": "point", "quantity": "kind", "value": "reading"}
SERIES = {"disp": "displacement_mm"}
SECRET = "hush-hush"


@dataclass
class Office:
    """The database that an office already has.

    Attributes:
        url: Address for the source, without password.
        writer: Engine of the program that writes the readings.
        file: The file of a SQLite database.
    """

    url: str
    writer: Engine
    file: Path | None = None
    secret: str = ""

    def execute(self, *statements, **parameters):
        with self.writer.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), parameters)

    def insert(self, *readings, table_name="readings"):
        """Insert readings as (time, station, value)."""
        values = [{"ts": at, "point": point, "reading": value} for at, point, value in readings]
        statement = f"INSERT INTO {table_name} (ts, point, kind, reading) VALUES (:ts, :point, 'disp', :reading)"
        with self.writer.begin() as connection:
            connection.execute(text(statement), values)


def create_table(office, columns):
    office.execute(f"CREATE TABLE readings ({columns})", "CREATE INDEX readings_ts ON readings (ts)")


@pytest.fixture
def sqlite_office(tmp_path):
    folder = tmp_path / "office"
    folder.mkdir()
    path = folder / "logger.db"
    writer = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    office = Office(f"sqlite:///{path}", writer, path)
    create_table(office, "id INTEGER PRIMARY KEY AUTOINCREMENT, ts TEXT, point TEXT, kind TEXT, reading REAL")
    yield office
    writer.dispose()


@pytest.fixture
def postgresql_office(postgresql):
    name = "office"
    postgresql.execute(
        f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}", "DROP ROLE IF EXISTS reader"
    )
    postgresql.execute(f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'")
    writer = create_engine(postgresql.url(name), poolclass=NullPool)
    office = Office(f"postgresql://reader@127.0.0.1:{postgresql.port}/{name}", writer, secret=SECRET)
    create_table(office, "id BIGSERIAL PRIMARY KEY, ts TIMESTAMP, point TEXT, kind TEXT, reading DOUBLE PRECISION")
    office.execute("GRANT SELECT ON readings TO reader")
    yield office
    writer.dispose()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)", "DROP ROLE reader")


@pytest.fixture
def mariadb_office(mariadb):
    writer = create_engine(mariadb.url("root", "office"), poolclass=NullPool)
    mariadb.execute("DROP DATABASE IF EXISTS office", "CREATE DATABASE office", "DROP USER IF EXISTS reader@'%'")
    mariadb.execute(f"CREATE USER reader@'%' IDENTIFIED BY '{SECRET}'", "GRANT SELECT ON office.* TO reader@'%'")
    office = Office(f"mysql://reader@127.0.0.1:{mariadb.port}/office", writer, secret=SECRET)
    create_table(
        office, "id BIGINT AUTO_INCREMENT PRIMARY KEY, ts DATETIME, point VARCHAR(40), kind CHAR(8), reading DOUBLE"
    )
    yield office
    writer.dispose()


OFFICES = [
    "sqlite_office",
    pytest.param("postgresql_office", marks=pytest.mark.server),
    pytest.param("mariadb_office", marks=[pytest.mark.server, pytest.mark.soak]),
]


@pytest.fixture(params=OFFICES)
def office(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def target(tmp_path, monkeypatch, sqlite_url):
    """Yield a site with an empty database. Worker tasks run in this process."""
    monkeypatch.setattr(compute, "run", run_here)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "north.toml").write_text(SITE)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", sqlite_url)
    monkeypatch.setenv("OFFICE_PASSWORD", SECRET)
    write_tables()
    with Database(sqlite_url) as database:
        upgrade(database, NOW)
        yield SourceTarget(
            database, load_service(), load_site("configs/sites/north.toml"), lambda: NOW, "source office"
        )


def write_tables(*tables):
    Path("configs/slopeward.toml").write_text("".join(table("[[source]]", **keys) for keys in tables))
    return load_service().source


def make_source(office, **keys):
    base = {"name": "office", "kind": "sql", "site": "north", "url": office.url, "private": True, "table": "readings"}
    base |= {"columns": COLUMNS, "series": SERIES, "zone": "UTC", "position": "id"}
    base |= {"secret": "OFFICE_PASSWORD"} if office.secret else {}
    keys = {key: value for key, value in {**base, **keys}.items() if value is not None}
    if "series" in keys:
        keys["series"] = {json.dumps(name): target for name, target in keys["series"].items()}
    return write_tables(keys)[0]


def poll_now(source, target, at=NOW):
    return poll.poll_source(source, replace(target, clock=lambda: at), {"OFFICE_PASSWORD": SECRET})


def load_values(target, name="P1"):
    """Return instant, revision and value of the observations of a station."""
    query = select(observation.c.observed_at, observation.c.revision, observation.c.value_raw)
    query = query.join(stored_series, stored_series.c.id == observation.c.series_id).where(
        stored_series.c.station == name
    )
    query = query.order_by(observation.c.observed_at, observation.c.revision)
    return [tuple(row) for row in ask(target.db, lambda c: c.execute(query).all())]


def count_values(target):
    return ask(target.db, lambda c: len(c.execute(select(observation.c.revision)).all()))


def make_time(hours):
    """Return the naive time of a number of hours before `NOW`, as SQLite stores it."""
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")


@pytest.fixture
def statements(monkeypatch):
    """Return a list that receives the statements of the source with their parameters."""
    recorded = []
    create = sql.create_engine

    def create_recording(*arguments, **options):
        engine = create(*arguments, **options)

        @event.listens_for(engine, "before_cursor_execute")
        def record(_connection, _cursor, statement, parameters, *_):
            recorded.append((statement, parameters))

        return engine

    monkeypatch.setattr(sql, "create_engine", create_recording)
    return recorded


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", with_soak(48, 8760))
def test_past_and_live_readings_are_stored_once(office, target, hours):
    office.insert(*[(make_time(hour), name, hour / 100) for hour in range(hours, 0, -1) for name in STATIONS])
    source = make_source(office, since="2025-01-01", most_rows=50_000)
    stored = 0
    for _ in range(1 + hours * len(STATIONS) // 50_000):
        summary = poll_now(source, target)
        assert summary.errors == []
        stored += summary.rows
    assert (stored, summary.has_more) == (hours * len(STATIONS), False)
    for hour in range(3):
        now = NOW + timedelta(hours=hour)
        office.insert(*[(make_time(-hour), name, 1.0 + hour) for name in STATIONS])
        assert poll_now(source, target, now).rows == len(STATIONS)
    again = poll_now(source, target, now)
    assert (again.rows, again.new, again.same, again.rejected, again.errors) == (0, 0, 1, 0, [])
    assert [value for *_, value in load_values(target)[-3:]] == [1.0, 2.0, 3.0]
    state = ask(target.db, find_poll, "office")
    assert (state.error, state.rows_all) == (None, (hours + 3) * len(STATIONS))
    assert SECRET not in json.dumps([state.address, str(ask(target.db, load_files, "office"))])
    assert "reader" not in state.address


@pytest.mark.parametrize("position", ["id", "ts"])
def test_late_and_corrected_rows_are_seen(office, target, position):
    source = make_source(office, position=position, overlap="1d", overlap_rows=100)
    office.insert(*[(make_time(hour), "P1", float(hour)) for hour in (9, 8, 6)])
    assert poll_now(source, target).rows == 3
    office.insert((make_time(7), "P1", 7.0))
    office.execute(f"UPDATE readings SET reading = 8.5 WHERE ts = '{make_time(8)}'")
    later = poll_now(source, target)
    assert (later.rows, later.revisions, later.errors) == (2, 1, [])
    assert [value for *_, value in load_values(target)] == [9.0, 8.0, 8.5, 7.0, 6.0]


def test_limit_of_rows_splits_the_past_into_polls(sqlite_office, target, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 300)
    sqlite_office.insert(*[(make_time(hour), "P1", float(hour)) for hour in range(2500, 0, -1)])
    source = make_source(sqlite_office, since="2025-01-01", most_rows=1000, overlap_rows=10)
    counts = []
    has_more = True
    while has_more:
        summary = poll_now(source, target)
        has_more = summary.has_more
        counts.append(summary.rows)
        state = ask(target.db, find_poll, "office")
        assert (state.next_at == NOW) == summary.has_more
    assert (len(counts), sum(counts)) == (3, 2500)
    assert "newer rows follow" not in poll_now(source, target).describe()


def test_first_poll_begins_with_the_overlap_unless_since_is_given(sqlite_office, target):
    sqlite_office.insert(*[(make_time(hour), "P1", float(hour)) for hour in range(1000, 0, -1)])
    assert poll_now(make_source(sqlite_office, position="ts", overlap="10h"), target).rows == 11
    assert poll_now(make_source(sqlite_office, name="second", overlap_rows=20), target).rows == 21 - 11
    found = poll_now(make_source(sqlite_office, name="third", since="2026-03-01", overlap_rows=5), target)
    first = load_values(target)[0][0]
    assert (found.errors, first) == ([], datetime(2026, 3, 1, tzinfo=UTC))


def test_rows_of_the_future_hold_nothing_back(office, target):
    source = make_source(office, position="ts")
    office.insert((make_time(2), "P1", 1.0), ("2094-01-01 00:00:00", "P2", 9.0), ("2094-01-02 00:00:00", "no id", 9.0))
    first = poll_now(source, target)
    assert (first.rows, first.rejected, first.errors) == (2, 1, [])
    office.insert((make_time(1), "P1", 2.0))
    second = poll_now(source, target)
    assert (second.rows, second.rejected) == (1, 1)
    waiting = ask(target.db, lambda c: c.execute(select(rejected_message.c.times)).scalars().all())
    assert waiting == [2], "a row that is read again is counted, not stored again"


def test_wide_tables_and_names_of_others(office, target):
    office.execute(
        "CREATE TABLE wide (ts TIMESTAMP PRIMARY KEY, p1_mm NUMERIC(8,2), other NUMERIC(8,2))",
        f"INSERT INTO wide VALUES ('{make_time(2)}', 1.50, 7), ('{make_time(1)}', NULL, 8)",
    )
    if "postgresql" in office.url:
        office.execute("GRANT SELECT ON wide TO reader")
    wide = {"table": "wide", "columns": {"time": "ts"}, "position": None, "series": {"p1_mm": "P1.displacement_mm"}}
    assert poll_now(make_source(office, **wide), target).rows == 1
    office.insert((make_time(2), "Punkt 2", 5.0), (make_time(2), "Punkt 3", 6.0), (make_time(1), "P4", 1.0))
    series = {"Punkt 2/disp": "P2.displacement_cm", "P4/disp": "P4.displacement_mm"}
    summary = poll_now(make_source(office, series=series), target)
    assert (summary.rows, summary.errors) == (2, [])
    assert "series does not name them: Punkt 3/disp (1)" in summary.describe()
    assert [value for *_, value in load_values(target, "P2")] == [50.0]
    query = "SELECT id, ts, point AS p, reading AS r FROM readings WHERE kind = 'disp' AND point LIKE 'P%' -- a: b"
    long = {"table": None, "query": query, "columns": {"time": "ts", "station": "p", "value": "r"}}
    found = poll_now(make_source(office, **long, series=None, quantity="displacement_mm", position="id"), target)
    assert (found.rows, found.errors) == (0, []), found.describe()
    assert found.rejected == 2, "names with a blank are no ids of stations"


def test_time_zone_is_required_and_applied(sqlite_office, target):
    sqlite_office.insert(("2026-03-09 12:00:00", "P1", 1.0))
    (error,) = poll_now(make_source(sqlite_office, zone=None), target).errors
    assert "zone: the times of column 'ts' have no offset" in error
    assert poll_now(make_source(sqlite_office, zone="Europe/Rome"), target).rows == 1
    assert load_values(target)[0][0] == datetime(2026, 3, 9, 11, tzinfo=UTC)
    sqlite_office.execute("DELETE FROM readings")
    sqlite_office.insert(("2026-03-09T12:00:00+02:00", "P2", 1.0))
    assert poll_now(make_source(sqlite_office, zone=None, position="ts"), target).rows == 1
    assert load_values(target, "P2")[0][0] == datetime(2026, 3, 9, 10, tzinfo=UTC)


def test_times_that_count_seconds_are_read(sqlite_office, target):
    sqlite_office.execute("CREATE TABLE epochs (t INTEGER PRIMARY KEY, point TEXT, kind TEXT, reading REAL)")
    values = ", ".join(
        f"({int((NOW - timedelta(hours=hour)).timestamp())}, 'P1', 'disp', {hour})" for hour in (30, 2, 1)
    )
    sqlite_office.execute(f"INSERT INTO epochs VALUES {values}")
    epochs = {"table": "epochs", "columns": COLUMNS | {"time": "t"}, "position": None, "zone": None}
    source = make_source(sqlite_office, **epochs, time_format="s", overlap="3h")
    assert poll_now(source, target).rows == 2
    assert load_values(target)[-1][0] == NOW - timedelta(hours=1)


# ---- faults ----------------------------------------------------------------------------------------------------------


def test_renamed_column_and_unknown_table_are_one_line(office, target):
    office.insert((make_time(1), "P1", 1.0))
    source = make_source(office)
    assert poll_now(source, target).rows == 1
    office.execute("ALTER TABLE readings RENAME COLUMN reading TO wert")
    (error,) = poll_now(source, target).errors
    assert error.startswith("columns.value: table readings has no column 'reading'; it has: ")
    assert "wert" in error
    state = ask(target.db, find_poll, "office")
    assert (state.failures, state.error_since) == (1, NOW)
    (error,) = poll_now(make_source(office, table="messungen"), target).errors
    assert error.startswith("table: no table 'messungen'; there are: ")
    (error,) = poll_now(make_source(office, table=None, query="SELECT id, ts FROM readings"), target).errors
    assert "columns.station: the result of query has no column 'point'" in error
    (error,) = poll_now(make_source(office, table=None, query="SELECT nothing FROM readings"), target).errors
    assert "the database rejects the request: " in error
    office.execute("ALTER TABLE readings RENAME COLUMN wert TO reading")
    assert poll_now(source, target).errors == []


def test_wrong_types_are_one_line(sqlite_office, target):
    sqlite_office.insert((make_time(1), "P1", "cloudy"))
    assert "nothing valid was found; the first reason: " in poll_now(make_source(sqlite_office), target).errors[0]
    sqlite_office.execute("CREATE INDEX readings_kind ON readings (kind)")
    (error,) = poll_now(make_source(sqlite_office, position="kind"), target).errors
    assert "position: column 'kind' contains 'disp'; expected a number that increases" in error
    sqlite_office.execute("UPDATE readings SET reading = 1")
    source = make_source(sqlite_office, position="ts")
    assert poll_now(source, target).rows == 1
    sqlite_office.execute("UPDATE readings SET ts = 17")
    assert "position: column 'ts' contains '17'; expected a number" in poll_now(source, target).errors[0]
    sqlite_office.execute("CREATE TABLE changed (id INTEGER PRIMARY KEY, ts TEXT, point TEXT, kind TEXT, reading REAL)")
    sqlite_office.execute("INSERT INTO changed SELECT * FROM readings", "DROP TABLE readings")
    sqlite_office.execute("CREATE TABLE readings (id INTEGER, ts INTEGER PRIMARY KEY, point TEXT, kind, reading REAL)")
    sqlite_office.execute("INSERT INTO readings SELECT * FROM changed")
    assert "position: column 'ts' contains 17, and contained 2026-03-09" in poll_now(source, target).errors[0]


def test_position_without_index_must_be_confirmed(office, target):
    office.insert((make_time(1), "P1", 1.0))
    office.execute("DROP INDEX readings_ts" + (" ON readings" if "mysql" in office.url else ""))
    (error,) = poll_now(make_source(office, position="ts"), target).errors
    assert "position: column 'ts' of table readings has no index" in error
    assert poll_now(make_source(office, position="ts", unindexed=True), target).rows == 1


def test_many_rows_with_one_position_are_refused(sqlite_office, target, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 10)
    sqlite_office.insert(*[(make_time(1), name, 1.0) for name in STATIONS])
    (error,) = poll_now(make_source(sqlite_office, position="ts"), target).errors
    assert "more than 9 rows have the value" in error
    monkeypatch.setattr(rows, "PAGE_ROWS", 25)
    assert poll_now(make_source(sqlite_office, position="ts"), target).rows == 10


def test_table_that_was_emptied_is_read_from_its_new_beginning(sqlite_office, target):
    sqlite_office.insert(*[(make_time(hour), "P1", 1.0) for hour in range(50, 20, -1)])
    source = make_source(sqlite_office, overlap_rows=3)
    assert poll_now(source, target).rows == 4
    sqlite_office.execute("DELETE FROM readings", "DELETE FROM sqlite_sequence")
    assert poll_now(source, target).errors == []
    sqlite_office.insert((make_time(2), "P1", 2.0), (make_time(1), "P1", 3.0))
    assert poll_now(source, target).rows == 2


def test_source_that_never_brought_a_reading_fails(sqlite_office, target):
    sqlite_office.insert((make_time(1), "P1", 1.0))
    first = poll_now(make_source(sqlite_office, series={"dips": "displacement_mm"}), target)
    assert first.errors == ["rows not read, because series does not name them: P1/disp (1)"]
    assert poll_now(make_source(sqlite_office), target).errors == []
    sqlite_office.execute("UPDATE readings SET kind = 'other'")
    later = poll_now(make_source(sqlite_office), target)
    assert (later.errors, later.notes) == ([], ["rows not read, because series does not name them: P1/other (1)"])


def test_times_with_an_offset_need_no_zone(postgresql_office, target):
    postgresql_office.execute("ALTER TABLE readings ALTER COLUMN ts TYPE TIMESTAMPTZ USING ts AT TIME ZONE 'UTC'")
    postgresql_office.insert(("2026-03-09 12:00:00+02", "P1", 1.0), ("2026-03-09 13:00:00+02", "P1", 2.0))
    source = make_source(postgresql_office, position="ts", zone=None, overlap="30m")
    assert poll_now(source, target).rows == 1
    postgresql_office.insert(("2026-03-09 11:50:00Z", "P1", 3.0), ("2026-03-09 10:40:00Z", "P1", 4.0))
    assert poll_now(source, target).rows == 2
    assert [at.hour for at, *_ in load_values(target)] == [10, 11, 11]


def test_changed_keys_begin_again(sqlite_office, target):
    sqlite_office.insert((make_time(1), "P1", 1.0))
    sqlite_office.execute(f"INSERT INTO readings (ts, point, kind, reading) VALUES ('{make_time(1)}', 'P2', 'dx', 3)")
    assert poll_now(make_source(sqlite_office, overlap_rows=0), target).rows == 0
    with_more = make_source(sqlite_office, overlap_rows=0, series=SERIES | {"dx": "displacement_mm"})
    assert poll_now(with_more, target).rows == 2
    sqlite_office.insert((make_time(0), "P1", 1.0))
    assert poll_now(make_source(sqlite_office, overlap_rows=0, since="2026-01-01"), target).rows == 1


def test_changed_keys_leave_no_gap_after_an_outage(office, target):
    office.insert((make_time(1), "P1", 1.0))
    source = make_source(office, position="ts", overlap="2h")
    assert poll_now(source, target).rows == 1
    later = NOW + timedelta(days=5)
    office.insert(*[(make_time(-hour), "P1", float(hour)) for hour in range(5 * 24)])
    renamed = make_source(office, position="ts", overlap="3h", series={"P1/disp": "P1.displacement_mm"})
    assert poll_now(renamed, target, later).rows == 5 * 24


@contextlib.contextmanager
def listen_silently():
    """Yield the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in accepted:
        connection.close()


def test_server_that_hangs_does_not_stop_other_sources(sqlite_office, target, monkeypatch):
    monkeypatch.setattr(sql, "CONNECT_TIMEOUT_S", 2)
    sqlite_office.insert((make_time(1), "P1", 1.0))
    base = {"kind": "sql", "site": "north", "table": "readings", "columns": COLUMNS, "series": SERIES, "zone": "UTC"}
    with listen_silently() as port:
        hanging = f"postgresql://reader@127.0.0.1:{port}/office"
        write_tables(
            {"name": "a", "url": hanging, "private": True, **base},
            {"name": "b", "url": sqlite_office.url, **base},
        )
        line = poll.run(target.db, load_service(), target.site, NOW, target.clock)
    assert "no answer in time" in line
    assert "b: 1 new" in line


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_server_that_hangs_ends_the_poll(target, monkeypatch, kind):
    monkeypatch.setattr(sql, "CONNECT_TIMEOUT_S", 2)
    monkeypatch.setattr(sql, "CANCEL_GRACE_S", 0.0)
    with listen_silently() as port:
        source = make_source(Office(f"{kind}://reader@127.0.0.1:{port}/office", None, secret=SECRET), limit="4s")
        started_at = datetime.now(UTC)
        (error,) = poll_now(source, target).errors
        assert (datetime.now(UTC) - started_at).total_seconds() < 20
    assert "127.0.0.1" in error
    assert "no answer in time" in error
    assert SECRET not in error


def test_server_that_stops_answering_during_a_poll_ends_it(postgresql_office, target, monkeypatch):
    """A proxy passes the first bytes on, and then nothing."""
    monkeypatch.setattr(sql, "CANCEL_GRACE_S", 0.2)
    postgresql_office.execute(
        "CREATE VIEW slow AS SELECT *, pg_sleep(30)::text FROM readings", "GRANT SELECT ON slow TO reader"
    )
    postgresql_office.insert((make_time(1), "P1", 1.0))
    source = make_source(postgresql_office, table="slow", limit="4s")
    (error,) = poll_now(source, target).errors
    assert "no answer in time (canceling statement due to statement timeout)" in error
    # A server that does not even cancel: its limit is far beyond the one of the guard.
    monkeypatch.setattr(sql.DatabaseServer, "_restrict_transaction", lambda *_: None)
    (error,) = poll_now(source, target).errors
    assert "no answer in time" in error


def test_slow_statement_of_a_sqlite_file_is_interrupted(sqlite_office, target):
    endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 't' AS ts, 'P1' AS point, "
    query = endless + "'disp' AS kind, 1 AS reading FROM n"
    (error,) = poll_now(make_source(sqlite_office, table=None, query=query, limit="4s"), target).errors
    assert "no answer in time (interrupted)" in error


def test_lost_connection_keeps_the_pages_before_it(postgresql_office, target, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 20)
    postgresql_office.insert(*[(make_time(hour), "P1", float(hour)) for hour in range(100, 0, -1)])
    source = make_source(postgresql_office, since="2025-01-01")
    read_page = sql.DatabaseServer.read_page

    def break_off(server, start, count):
        if start is not None and count > 1 and start > 50:
            postgresql_office.execute(
                "ALTER ROLE reader NOLOGIN",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'",
            )
        return read_page(server, start, count)

    monkeypatch.setattr(sql.DatabaseServer, "read_page", break_off)
    lost = poll_now(source, target)
    assert 40 <= lost.rows < 100
    assert "check url, username, secret" in lost.errors[0]
    monkeypatch.setattr(sql.DatabaseServer, "read_page", read_page)
    assert "check url, username, secret" in poll_now(source, target).errors[0]
    assert ask(target.db, find_poll, "office").failures == 2
    postgresql_office.execute("ALTER ROLE reader LOGIN")
    assert (poll_now(source, target).errors, count_values(target)) == ([], 100)


def test_wrong_password_is_in_no_message(postgresql, postgresql_office, target, monkeypatch):
    source = make_source(postgresql_office)
    monkeypatch.setattr(sql, "PORTS", {})
    postgresql_office.execute("ALTER ROLE reader NOLOGIN")
    (error,) = poll_now(source, target).errors
    assert SECRET not in error
    assert "OFFICE_PASSWORD is not set" in poll.poll_source(source, target, {}).errors[0]


# ---- nothing is written ----------------------------------------------------------------------------------------------


def test_limits_and_indexes_keep_the_server_from_reading_the_whole_table(office, target, statements, monkeypatch):
    """The plan of each statement on the table uses the index of the position, and stops at a limit."""
    monkeypatch.setattr(rows, "PAGE_ROWS", 50)
    office.insert(*[(make_time(hour), "P1", float(hour)) for hour in range(3000, 0, -1)])
    office.execute("ANALYZE" if "mysql" not in office.url else "ANALYZE TABLE readings")
    for keys in (
        {"position": "ts"},
        {"position": "id", "since": "2026-01-01"},
        {"query": "SELECT * FROM readings", "table": None},
    ):
        assert poll_now(make_source(office, **keys, most_rows=1000, overlap_rows=100), target).errors == []
    on_table = [(statement, parameters) for statement, parameters in statements if "FROM readings" in statement]
    assert len(on_table) > 10
    assert all("LIMIT" in statement for statement, _ in on_table)
    for statement, parameters in on_table:
        # A statement for the names of the columns has the limit 0.
        if "ORDER BY" in statement:
            check_plan(office, statement, parameters)


class CountingConnection(sqlite3.Connection):
    """Connection to a SQLite file that counts hundreds of instructions of its virtual machine."""

    count = 0

    def set_progress_handler(self, handler, _):
        def count_and_handle():
            CountingConnection.count += 1
            return handler()

        super().set_progress_handler(count_and_handle, 100)


@pytest.mark.parametrize("keys", [{"position": "ts"}, {"position": "id"}, {"position": "id", "since": "2026-03-09"}])
def test_poll_of_a_large_table_takes_hardly_more_work(sqlite_office, target, monkeypatch, keys):
    """The table has 100 times as many rows, and the search for a day needs seven more steps."""
    connect = sqlite3.connect
    monkeypatch.setattr(sql.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=CountingConnection))
    source = make_source(sqlite_office, **keys, overlap="1h", overlap_rows=100)
    counts = []
    for size in (2_000, 200_000):
        sqlite_office.execute(
            "DELETE FROM readings",
            "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < :size) INSERT INTO readings "
            "SELECT k, strftime('%Y-%m-%d %H:%M:%S', '2026-03-10', (k - :size) || ' minutes'), 'P1', 'disp', k FROM n",
            size=size,
        )
        CountingConnection.count = 0
        request = make_request(source, {}, Path(), {}, NOW)
        server = sql.DatabaseServer(request, request.rows)
        start = positions.find_start(server, request.rows, source.since)
        assert len(server.read_page(start, 50)) == 50
        counts.append(CountingConnection.count)
    assert counts[1] <= 2 * counts[0] + 10, counts


def check_plan(office, statement, parameters):
    """Check that a server begins at a place of the index and stops at the limit, without sorting the table."""
    with office.writer.connect() as connection:
        if office.file is not None:
            found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            plan = "\n".join(row[3] for row in found)
            assert "TEMP B-TREE" not in plan, plan
            assert ">=" not in statement or "SEARCH readings USING" in plan, plan
        elif "postgresql" in office.url:
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            assert "Seq Scan" not in plan, plan
            assert "Sort" not in plan, plan
            assert ">=" not in statement or "Index Cond" in plan, plan
        else:
            found = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
            assert all(row["type"] in {"range", "index", "const"} for row in found), found
            assert not any("filesort" in (row["Extra"] or "") for row in found), found


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("is_open", [False, True])
def test_sqlite_file_and_its_folder_stay_as_they_are(sqlite_office, target, journal, is_open):
    writer = sqlite3.connect(sqlite_office.file)
    writer.execute(f"PRAGMA journal_mode = {journal}")
    writer.execute("INSERT INTO readings (ts, point, kind, reading) VALUES (?, 'P1', 'disp', 1)", (make_time(1),))
    writer.commit()
    if not is_open:
        writer.close()
    before = describe_folder(sqlite_office.file.parent)
    assert poll_now(make_source(sqlite_office), target).errors == []
    assert count_values(target) == 1
    assert describe_folder(sqlite_office.file.parent) == before
    writer.close()


def describe_folder(folder):
    """Return name, content and time of the files of a folder. The shared memory of a log only coordinates readers."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("query", ["DELETE FROM readings", "SELECT 1; DELETE FROM readings", "PRAGMA user_version = 7"])
def test_query_must_be_one_select(sqlite_office, target, query):
    with pytest.raises(ConfigError, match="expected one SELECT without a semicolon"):
        make_source(sqlite_office, table=None, query=query)


def test_transactions_refuse_to_write(office, target):
    """Also a user who may write, and a query that is no SELECT, change nothing."""
    office.insert((make_time(1), "P1", 1.0))
    url = office.url if office.file else str(office.writer.url).replace("+psycopg", "").replace("+pymysql", "")
    query = RowQuery("office", RowColumns("ts", value="reading"), "id", NOW, table="readings")
    request = PollRequest("sql", (WantedFile("rows", url),), "", ("127.0.0.1",), True, 1000, rows=query)
    server = sql.DatabaseServer(request, query)
    for statement in ("DELETE FROM readings", "CREATE TABLE trace (n INTEGER)"):
        with (
            pytest.raises((sql.RefusedError, OSError), match=r"(?i)read.?only"),
            server._begin() as connection,
        ):
            connection.execute(text(statement))
    server.close()
    with office.writer.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM readings")).scalar() == 1


@pytest.mark.parametrize("office", OFFICES[1:], indirect=True)
def test_sandboxed_worker_reads_a_server(office, target, monkeypatch):
    office.insert((make_time(1), "P1", 1.0))
    monkeypatch.setattr(compute, "run", RUN_IN_WORKER)
    assert (poll_now(make_source(office), target).errors, count_values(target)) == ([], 1)


def test_driver_that_is_not_installed_is_one_line(target, monkeypatch):
    source = make_source(Office("mssql+pymssql://reader@127.0.0.1/m", None))
    (error,) = poll_now(source, target).errors
    assert error == "url: the driver of 'mssql+pymssql' is not installed"


def test_sandboxed_worker_reads_a_sqlite_file(sqlite_office, target, monkeypatch):
    sqlite_office.insert((make_time(1), "P1", 1.0))
    source = make_source(sqlite_office)
    monkeypatch.setattr(compute, "run", RUN_IN_WORKER)
    assert (poll_now(source, target).errors, count_values(target)) == ([], 1)
    with contextlib.closing(sqlite3.connect(sqlite_office.file)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("INSERT INTO readings (ts, point, kind, reading) VALUES (?, 'P2', 'disp', 1)", (make_time(1),))
        writer.commit()
        assert (poll_now(source, target).errors, count_values(target)) == ([], 2)


# ---- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "postgresql://me:pw@db.example.org/m"}, "expected no password in the address"),
        ({"url": "postgresql://db.example.org/m?password=pw"}, "expected no password in the address"),
        ({"url": "not an address"}, "expected an address such as postgresql://"),
        ({"url": "sqlite://"}, "expected the path of a file"),
        ({"query": "SELECT 1"}, "and not both"),
        ({"table": None}, "expected the name of a table"),
        ({"columns": {"station": "p"}}, "expected at least {time"),
        ({"columns": {"time": "t", "wert": "p"}}, "expected the keys time, station, quantity, value, sigma"),
        ({"columns": {"time": "t"}, "series": {}}, "required without columns.value"),
        ({"columns": {"time": "t", "value": "v"}, "series": {}}, "expected quantity = the column"),
        ({"zone": "Europe/Rome", "overlap": "1h"}, "expected at least 2h"),
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"most_rows": 5000}, "expected more than overlap_rows"),
        ({"mapping": "a.toml"}, "belong to kinds that read files"),
        ({"kind": "http", "url": "https://h.example/a.csv"}, "belong to kind"),
    ],
)
def test_invalid_source_table_is_rejected(tmp_path, monkeypatch, keys, message):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    with pytest.raises(ConfigError, match=message) as caught:
        make_source(Office("postgresql://db.example.org/m", None), **keys)
    assert "pw" not in str(caught.value)


def test_check_names_faults_and_missing_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    source = make_source(Office("sqlite:///gone.db", None), series={"disp": "displacement"})
    faults = [fault.message for fault in find_faults([source], {"north"}, {})]
    assert any("gone.db cannot be read" in fault for fault in faults)
    assert any("expected QUANTITY_UNIT" in fault for fault in faults)
    monkeypatch.setattr("monitor.features.sources.section.is_installed", lambda _: False)
    source = make_source(Office("mysql://db.example.org/m", None))
    assert "PyMySQL is not installed" in next(iter(find_faults([source], {"north"}, {}))).message


def test_private_addresses_need_permission(target):
    source = make_source(Office("postgresql://reader@127.0.0.1:1/m", None), private=None)
    assert "private address 127.0.0.1: say private = true" in poll_now(source, target).errors[0]


def test_commands_show_the_source(sqlite_office, target, capsys):
    sqlite_office.insert((make_time(1), "P1", 1.0), (make_time(1), "other", 1.0))
    make_source(sqlite_office, series={"P1/disp": "P1.displacement_mm"})
    assert run_command(["ingest", "sources", "poll", "office", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stored"], found["has_more"]) == (1, False)
    assert "other/disp (1)" in found["notes"][0]
    assert run_command(["ingest", "sources", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["url"], listed["stored"]) == ("sql", sqlite_office.url, 1)


def test_two_rows_of_one_time_are_one_correction(sqlite_office, target):
    sqlite_office.insert((make_time(2), "P1", 1.0), (make_time(2), "P1", 2.0), (make_time(1), "P1", 3.0))
    source = make_source(sqlite_office)
    counts = [poll_now(source, target, NOW + timedelta(hours=hour)).rows for hour in range(4)]
    assert (counts, [value for *_, value in load_values(target)]) == ([3, 0, 0, 0], [1.0, 2.0, 3.0])
