"""While another process locks the database, work waits for the lock or is repeated, and nothing is lost."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, select

from monitor.alerts.queries.evaluations import find_state, load_newest, save_memory
from monitor.app.schedule import BUSY_RETRY_S, Schedule
from monitor.cli.main import run_command
from monitor.decision.records import Memory
from monitor.errors import StoreBusyError, StoreError
from monitor.people.queries.users import add_user
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.registration import Job
from monitor.settings.service import parse_service
from monitor.storage import engine
from monitor.storage.engine import Database, patient
from monitor.storage.migrate import upgrade
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.storage.service_tables import job_run, service_state
from monitor.text.instants import epoch_s
from monitor.web.app import build_app
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SQLITE_BUSY_S", 0.1)
    database_url = f"sqlite:///{tmp_path}/slopeward.db"
    with Database(database_url) as database:
        upgrade(database)
    return database_url


@contextmanager
def hold_write_lock(url, seconds, release=None):
    """Hold the write lock in another connection for some seconds, or until `release` is set or the block ends."""
    release = release or threading.Event()
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=lambda: (release.wait(seconds), connection.rollback()))
    thread.start()
    try:
        yield
    finally:
        release.set()
        thread.join()
        connection.close()


def write_named_heartbeat(database, name, **options):
    with database.write(**options) as connection:
        write_heartbeat(connection, name, {}, NOW)


def test_read_transaction_cannot_write(database):
    with pytest.raises(StoreError, match="only reads tried to write") as caught, database.read() as c:
        write_heartbeat(c, "x", {}, NOW)
    assert not isinstance(caught.value, StoreBusyError), "trying again is of no use"
    write_named_heartbeat(database, "y")
    with database.read() as c:
        assert (find_heartbeat(c, "x"), find_heartbeat(c, "y")) == (None, (NOW, {}))


def test_patient_thread_waits_longer_than_one_attempt(url, caplog):
    with Database(url) as db:
        with hold_write_lock(url, 0.6), pytest.raises(StoreBusyError, match="database is locked"):
            write_named_heartbeat(db, "x")
        with hold_write_lock(url, 0.6), patient(20.0):
            write_named_heartbeat(db, "x")
        assert ask(db, find_heartbeat, "x") is not None
    assert [r.getMessage() for r in caplog.records] == ["the database is locked by another process; waiting up to 20 s"]
    with Database(url) as db, hold_write_lock(url, 0.6), patient(0.2), pytest.raises(StoreBusyError):
        write_named_heartbeat(db, "z")


def test_patient_thread_waits_for_as_long_as_it_has_worked(url, monkeypatch):
    """The result of a job that computed for half an hour is stored when the lock is released."""
    freed = threading.Event()
    monkeypatch.setattr(engine.log, "warning", lambda *_: freed.set())  # the warning says that the thread waits
    with Database(url) as db, patient(0.0):
        time.sleep(2.0)
        with hold_write_lock(url, 60.0, freed):
            write_named_heartbeat(db, "x")
        assert ask(db, find_heartbeat, "x") is not None


def test_patient_thread_does_not_wait_for_a_read_only_file(url):
    path = url.removeprefix("sqlite:///")
    with Database(f"sqlite:///file:{path}?mode=ro&uri=true") as db, patient():
        started_at = time.monotonic()
        with pytest.raises(StoreBusyError, match="readonly"):
            write_named_heartbeat(db, "x")
        assert time.monotonic() - started_at < 30.0


@pytest.mark.parametrize("urgent", [True, False])
def test_patient_thread_does_not_block_other_threads_of_its_process(url, urgent):
    """Ingest and decisions fail and try again while a job waits. When the lock is released, both write."""
    done, attempts_s = [], []

    def job():
        with patient(20.0):
            write_named_heartbeat(db, "job")
        done.append("job")

    with Database(url) as db:
        thread = threading.Thread(target=job)
        with hold_write_lock(url, 1.0):
            thread.start()
            while not done:
                started_at = time.monotonic()
                try:
                    write_named_heartbeat(db, "other", urgent=urgent)
                    done.append("other")
                except StoreBusyError:
                    attempts_s.append(time.monotonic() - started_at)
        thread.join(20)
        assert sorted(done) == ["job", "other"]
        assert len(attempts_s) > 1
        assert ask(db, lambda c: c.execute(select(func.count()).select_from(service_state)).scalar()) == 2


def fail_once(db, _config, _site, now):
    with hold_write_lock(str(db.url), 0.5), patient(0.0):
        tell(db, write_heartbeat, "never", {}, now)
    return "not reached"


def write_late(db, _config, _site, now):
    with hold_write_lock(str(db.url), 0.5):
        tell(db, write_heartbeat, "late", {}, now)
    return "written"


def test_job_waits_for_the_lock_and_is_repeated_soon_if_it_did_not_get_it(url, monkeypatch):
    jobs = [Job(run.__name__, run, lambda _: 86400.0, 3600.0, per_site=False) for run in (write_late, fail_once)]
    with Database(url) as db:
        schedule = Schedule(db, parse_service("", "test"), [], lambda: datetime.now(UTC), jobs)

        def is_soon(name):
            remaining = schedule._scheduler.get_job(name).next_run_time - datetime.now(UTC)
            return remaining <= timedelta(seconds=BUSY_RETRY_S)

        assert schedule.run_now("write_late") == "done"
        assert not is_soon("write_late")
        assert schedule.run_now("fail_once") == "failed"
        assert is_soon("fail_once"), "its next turn is a day later"
        with db.read() as c:
            states = c.execute(select(job_run.c.job, job_run.c.state, job_run.c.detail).order_by(job_run.c.id)).all()
            assert find_heartbeat(c, "late") is not None
        assert states[0] == ("write_late", "done", "written")
        assert states[1] == ("fail_once", "failed", "the database does not answer or is locked: database is locked")
        with hold_write_lock(url, 0.5), monkeypatch.context() as patch:
            patch.setattr("monitor.app.schedule.patient", lambda: patient(0.0))
            assert schedule.run_now("write_late") == "not_started"
        assert is_soon("write_late")


def test_command_logs_that_it_waits_and_fails_with_one_line(url, tmp_path, monkeypatch, capfd):
    with Database(url) as db:
        config = write_service(tmp_path, db)
    command = ["forecast", "run", "bench", "--config", str(config)]
    warnings, release = [], threading.Event()
    monkeypatch.setattr(
        engine.log, "warning", lambda *arguments: (warnings.append(arguments[0] % arguments[1:]), release.set())
    )
    with hold_write_lock(url, 60.0, release):
        assert run_command(command) == 0
    assert warnings == ["the database is locked by another process; waiting up to 60 s"]
    monkeypatch.setattr(engine, "PATIENCE_S", 0.2)
    capfd.readouterr()
    with hold_write_lock(url, 60.0):
        assert run_command(command) == 1
    assert capfd.readouterr().err == "the database does not answer or is locked: database is locked\n"


def test_page_can_be_read_and_acts_are_refused_while_the_database_is_locked(url):
    async def visit():
        transport = httpx.ASGITransport(build_app(parse_service("", "test"), db, lambda: NOW))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            with hold_write_lock(url, 60.0):
                assert (await client.get("/")).status_code == 200
                refused = await client.post("/login", data=ada)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert "the database does not answer or is locked: database is locked" in refused.text
            assert (await client.post("/login", data=ada)).status_code == 303

    ada = {"name": "ada", "password": "a long enough word of seven"}
    with Database(url) as db:
        tell(db, add_user, ada["name"], ada["password"], "operator", NOW)
        asyncio.run(visit())


# ---- one writer at a time for the state of a site, and readings with wrong instants ----
def set_level(db, site, level):
    with db.write() as c:
        before = find_state(c, site)
        save_memory(c, site, Memory(level=level), "v1", NOW)
    return None if before is None else before.level


def test_concurrent_writers_of_the_state_of_a_site_are_serialised(database, database_url):
    """They are also serialised before the site has a row that could be locked."""

    def decide():
        with Database(database_url) as other:  # another process would have its own connections
            while True:
                with contextlib.suppress(StoreBusyError):
                    return set_level(other, "north", 2)

    with ThreadPoolExecutor(1) as person:
        with database.write() as c:
            assert find_state(c, "north") is None
            decided = person.submit(decide)
            with pytest.raises(
                TimeoutError
            ):  # otherwise a writer could store between the read and the write of another
                decided.result(0.7)
            save_memory(c, "north", Memory(level=1), "v1", NOW)
        assert decided.result(20) == 1
    assert ask(database, find_state, "north").level == 2


def test_writer_of_another_site_does_not_wait(database, database_url):
    if database.is_sqlite:
        return  # SQLite has one writer at a time for the whole file
    with database.write() as c, Database(database_url) as other:
        find_state(c, "north")
        assert set_level(other, "south", 1) is None


def test_reading_slightly_in_the_future_counts_from_its_reception(database):
    def add(connection, minutes, received, flags=()):
        observed_at, received_at = NOW + timedelta(minutes=minutes), NOW + timedelta(minutes=received)
        add_observations(
            connection,
            [Observation("north", "G1", "rain", "mm", observed_at, received_at, 1.0, flags=flags)],
            received_at,
        )

    with database.write() as c:
        add(c, -30, -30)
        add(c, -1, -1500, ("future",))  # the clock of the station was 25 h ahead
        add(c, 2, 0)
        newest = load_newest(c, "north", NOW)["G1.rain"]
    assert (newest.observed_s, newest.flags) == (epoch_s(NOW), ()), "it counts from its reception"
