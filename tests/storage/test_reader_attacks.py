"""A reader of the SQL views who wants to stop the service: nothing that the role may do holds anything up."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text

from monitor.alerts.queries import evaluations as decisions
from monitor.app import core_lock
from monitor.app.checks.live import ReaderStatus
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.errors import ConfigError, StoreBusyError
from monitor.settings.service import parse_service
from monitor.storage import locks, migrate, views
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import add_audit, verify_chain
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database
from monitor.storage.readers import ReaderWatch
from tests.data.filled import NOW
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for

pytestmark = pytest.mark.server
SITES = ("north-bench", "lake-slope")
OLD_NUMBERS = (7_226_117_001, 7_226_117_002, 7_226_117_003)  # of versions before; the source is public


@pytest.fixture
def service(filled_postgresql_url, postgresql):
    """The service's own login, which owns the database and may not administer the server."""
    db = Database(filled_postgresql_url)
    yield db
    db.close()


@pytest.fixture
def reader(service, postgresql):
    """`reader(**options)` opens a session as a role that was granted the views."""
    role = f"reader_{service.url.database}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    with service.write() as c:
        views.grant_readonly(c, role)
        assert views.limit_reader(c, role) == []
    opened = []

    def open_one(**options):
        url = service.url.set(drivername="postgresql", username=role).render_as_string(hide_password=False)
        opened.append(psycopg.connect(url, autocommit=True, **options))
        return opened[-1]

    open_one.role = role
    yield open_one
    for one in opened:
        one.close()
    tell(service, lambda c: c.execute(text(f"DROP OWNED BY {role}")))
    postgresql.execute(f"DROP ROLE {role}")


def config_of(db):
    return parse_service(f'[database]\nurl = "{db.url.render_as_string(hide_password=False)}"\n', "test")


@contextmanager
def timed(limit_s):
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < limit_s


# ---- locks -----------------------------------------------------------------------------------------------------
def test_numbers_that_anybody_can_lock_hold_nothing_up(service, reader, postgresql):
    attacker = reader()
    let_lock(service, reader)
    for number in OLD_NUMBERS:
        attacker.execute("SELECT pg_advisory_lock(%s)", (number,))
    for site in SITES:
        attacker.execute("SELECT pg_advisory_lock(7226117, hashtext(%s))", (site,))
    with timed(8), service.write() as c:  # one that waits for a lock gives up after 10 s
        assert decisions.find_state(c, SITES[0]) is not None
        add_audit(c, SERVICE_ACTOR, "test", "test", {}, NOW)
    with timed(8), core_lock.hold_core_lock(config_of(service)):
        migrate.upgrade(service)
    assert ask(service, verify_chain) == []


def let_lock(service, reader):
    """As on a server whose administrator has not taken it from the role."""
    with service.write() as c:
        for arguments in ("bigint", "int, int"):
            c.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION pg_advisory_lock({arguments}) TO {reader.role}")


def test_no_lock_of_the_service_is_within_a_readers_reach(service, reader):
    attacker = reader()
    for attempt in (
        *(f"LOCK TABLE {name} IN ACCESS SHARE MODE" for name in locks.NAMES),
        *(f"SELECT 1 FROM {name}" for name in (*locks.NAMES, "site_state", "audit_entry")),
        "SELECT 1 FROM site_status FOR UPDATE",
        "LOCK TABLE site_status IN SHARE MODE",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
        "CREATE TABLE other (a int)",
        "CREATE TEMPORARY TABLE other (a int)",
        "SELECT lo_create(0)",
        "SELECT pg_advisory_lock(n) FROM generate_series(1, 100000) n",
        "SET temp_file_limit = -1",
    ):
        with pytest.raises(psycopg.Error) as refused:
            attacker.execute(f"BEGIN; SET TRANSACTION READ WRITE; {attempt}")
        assert refused.value.sqlstate in {"42501", "25006"}, (attempt, refused.value)
        attacker.execute("ROLLBACK")


def test_a_reader_has_few_connections_and_no_endless_query(service, reader):
    for _ in range(5):
        last = reader()
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        reader()
    shown = {name: last.execute(f"SHOW {name}").fetchone()[0] for name in ("statement_timeout", "lock_timeout")}
    assert shown == {"statement_timeout": "1min", "lock_timeout": "10s"}
    tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)


def test_a_reader_who_lifts_its_own_bounds_is_ended_and_the_others_read_on(service, reader, postgresql):
    now = [1000.0]
    watch = ReaderWatch(service, 60.0, lambda: now[0])
    sleeper, idler, hoarder, honest = reader(), reader(), reader(), reader()
    let_lock(service, reader)
    for one in (sleeper, idler):
        one.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    idler.execute("BEGIN; SELECT * FROM site_status")
    overlong = sorted(one.info.backend_pid for one in (sleeper, idler))
    sleeps = ThreadPoolExecutor(1).submit(sleeper.execute, "SELECT pg_sleep(600)")
    asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: ask_server(service, asleep), description="the long statement to run")
    honest.execute("SELECT * FROM site_status")
    assert watch.follow() == ([], [])
    hoarder.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 600) n")  # no transaction is open
    now[0] += 59.0
    assert [why.split(") ")[1] for why in watch.follow().ended] == ["holds 600 locks"]
    # PostgreSQL only asks a session to end. One that has not ended yet would be listed again.
    still_there = f"SELECT 1 FROM pg_stat_activity WHERE pid = {hoarder.info.backend_pid}"
    wait_for(lambda: not ask_server(service, still_there), description="the end of the session with 600 locks")
    now[0] += 1.0
    honest.execute("BEGIN; SELECT * FROM site_status")
    ended = watch.follow().ended
    assert sorted(int(why.split("pid ")[1].split(")")[0]) for why in ended) == overlong
    with pytest.raises(psycopg.Error):
        sleeps.result(20)
    for one in (idler, hoarder):
        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")
    assert honest.execute("SELECT count(*) FROM site_status").fetchone()
    assert (watch.ended, watch.refused) == (3, "")


def ask_server(service, question):
    """Return the first row of an answer that is not taken from a snapshot of the statistics."""
    with service.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        return c.exec_driver_sql(question).first()


def test_a_transaction_left_open_over_a_view_does_not_keep_an_upgrade_waiting(service, reader, monkeypatch):
    attacker = reader()
    attacker.execute("SET idle_in_transaction_session_timeout = 0")  # the bound is the session's own to lift
    attacker.execute("BEGIN; SELECT * FROM site_status")
    tell(service, lambda c: c.exec_driver_sql("COMMENT ON VIEW anomalies IS 'slopeward view of somebody else'"))
    with timed(20):
        migrate.upgrade(service)
    with pytest.raises(psycopg.OperationalError):
        attacker.execute("SELECT 1")


def test_who_cannot_be_ended_is_named(service, reader, postgresql, monkeypatch):
    owner = f"owner_{service.url.database}"
    postgresql.execute(f"CREATE ROLE {owner} LOGIN")
    name = service.url.database
    psycopg.connect(f"postgresql://{postgresql.user}@127.0.0.1:{postgresql.port}/{name}", autocommit=True).execute(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"  # noqa: E501
        " AND relkind IN ('r', 'v') LOOP EXECUTE format('ALTER %s %I OWNER TO {owner}',"
        " CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.relname); END LOOP; END $$".replace("{owner}", owner)
    ).connection.execute(f"GRANT ALL ON SCHEMA public TO {owner}")
    plain = Database(service.url.set(username=owner).render_as_string(hide_password=False))
    monkeypatch.setattr(migrate, "PATIENCE_S", 1.0)
    attacker = reader()
    attacker.execute("BEGIN; SELECT * FROM site_status")
    try:
        with plain.write() as c:
            left = views.limit_reader(c, reader.role)
            assert left[0].split(" ", 3)[3] == "CONNECTION LIMIT 5;"
            assert left[-1] == f'GRANT pg_signal_backend TO "{owner}";'
            c.exec_driver_sql("COMMENT ON VIEW anomalies IS 'slopeward view of somebody else'")
        with pytest.raises(StoreBusyError, match=rf"{reader.role} \(pid {attacker.info.backend_pid}\)"):
            migrate.upgrade(plain)
        watch = ReaderWatch(plain, 0.0)
        assert watch.follow().ended == []
        assert f"{reader.role} (pid {attacker.info.backend_pid})" in watch.refused
        told = {one.key: one for one in run_checks(ReaderStatus(watch, AlarmConditions(None).has_grown))}
        assert told["database:readers:unended"].is_wrong
        attacker.execute("ROLLBACK")
        migrate.upgrade(plain)
    finally:
        plain.close()
        with service.write() as c:
            c.execute(text(f"REASSIGN OWNED BY {owner} TO CURRENT_USER"))
            c.execute(text(f"DROP OWNED BY {owner}"))
        postgresql.execute(f"DROP ROLE {owner}")


# ---- the locks themselves --------------------------------------------------------------------------------------
def test_one_core_holds_its_turn_and_vacuum_goes_on(service, monkeypatch):
    monkeypatch.setattr(core_lock, "WAIT_FOR_PREDECESSOR_S", 0.5)
    config = config_of(service)
    with core_lock.hold_core_lock(config):
        with pytest.raises(ConfigError, match="another service runs"), core_lock.hold_core_lock(config):
            pass
        session = "SELECT a.backend_xid, a.backend_xmin FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        with service.read() as c:
            held = c.execute(text(f"{session} WHERE l.relation = CAST('core_turn' AS regclass)")).one()
        assert tuple(held) == (None, None)  # nothing that vacuum anywhere would have to wait for
        with service.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            c.exec_driver_sql("SET lock_timeout = '2s'")
            c.exec_driver_sql("VACUUM")
    with core_lock.hold_core_lock(config):
        pass


def test_who_lost_the_turn_writes_nothing_at_once_and_who_lost_its_session_alone_goes_on(service, postgresql):
    url = service.url.render_as_string(hide_password=False)
    with Database(url) as one, Database(url) as other:
        first, second = CoreLease(one), CoreLease(other)
        service.guard = first.guard
        with pytest.raises(StoreBusyError), service.write():
            pass  # never taken
        assert first.take()
        assert not second.take()
        end_sessions(postgresql, service)
        tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)
        first.keep()
        assert (first.is_ours, first.is_lost, second.take()) == (True, False, False)
        end_sessions(postgresql, service)
        assert second.take()
        with pytest.raises(StoreBusyError, match="another core"), service.write():
            pass  # before it looked at the lock
        assert first.is_lost
        second.give_up()
        third = CoreLease(one)
        assert third.take()
        second.keep()  # free again meanwhile, and yet somebody else wrote
        third.give_up()
        assert second.is_lost


def end_sessions(postgresql, db):
    """What a restart of the server does to every session."""
    postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db.url.database}'")


def test_processes_that_make_the_private_relations_at_once_all_find_them(service):
    with service.write() as c:
        c.exec_driver_sql(f"DROP TABLE {locks.LOCK_TABLE}")
        c.exec_driver_sql(f"DROP VIEW {locks.CORE_VIEW}")
    with ThreadPoolExecutor(6) as pool:
        for made in [pool.submit(locks.create_core_locks, service.engine) for _ in range(6)]:
            made.result(20)
    tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)
