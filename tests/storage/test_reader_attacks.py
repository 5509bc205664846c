"""A reader of the SQL views attacks the database: no statement that the role may run blocks the service."""

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
from monitor.app.self_monitoring.conditions import Counters
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
OLD_NUMBERS = (
    7_226_117_001,
    7_226_117_002,
    7_226_117_003,
)  # lock numbers of earlier versions, known from the public source


@pytest.fixture
def service(filled_postgresql_url, postgresql):
    """Yield a database with the login of the service, which owns the database and is no administrator."""
    db = Database(filled_postgresql_url)
    yield db
    db.close()


@pytest.fixture
def reader(service, postgresql):
    """Return a function that opens a session as a role with access to the views.

    Its attribute `role` is the name of the role.
    """
    role = f"reader_{service.url.database}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    with service.write() as connection:
        views.grant_readonly(connection, role)
        assert views.limit_reader(connection, role) == []
    opened = []

    def open_session(**options):
        url = service.url.set(drivername="postgresql", username=role).render_as_string(hide_password=False)
        opened.append(psycopg.connect(url, autocommit=True, **options))
        return opened[-1]

    open_session.role = role
    yield open_session
    for session in opened:
        session.close()
    tell(service, lambda connection: connection.execute(text(f"DROP OWNED BY {role}")))
    postgresql.execute(f"DROP ROLE {role}")


def make_config(db):
    return parse_service(f'[database]\nurl = "{db.url.render_as_string(hide_password=False)}"\n', "test")


@contextmanager
def assert_faster_than(limit_s):
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < limit_s


# ---- locks -----------------------------------------------------------------------------------------------------
def test_advisory_locks_of_a_reader_do_not_block_the_service(service, reader, postgresql):
    attacker = reader()
    grant_advisory_locks(service, reader)
    for number in OLD_NUMBERS:
        attacker.execute("SELECT pg_advisory_lock(%s)", (number,))
    for site in SITES:
        attacker.execute("SELECT pg_advisory_lock(7226117, hashtext(%s))", (site,))
    with assert_faster_than(8), service.write() as connection:  # a statement that waits for a lock fails after 10 s
        assert decisions.find_state(connection, SITES[0]) is not None
        add_audit(connection, SERVICE_ACTOR, "test", "test", {}, NOW)
    with assert_faster_than(8), core_lock.hold_core_lock(make_config(service)):
        migrate.upgrade(service)
    assert ask(service, verify_chain) == []


def grant_advisory_locks(service, reader):
    """Grant advisory locks to the role, as on a server whose administrator has not revoked them."""
    with service.write() as c:
        for arguments in ("bigint", "int, int"):
            c.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION pg_advisory_lock({arguments}) TO {reader.role}")


def test_reader_cannot_take_locks_of_the_service_or_write(service, reader):
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


def test_connections_and_query_time_of_a_reader_are_limited(service, reader):
    for _ in range(5):
        last = reader()
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        reader()
    shown = {name: last.execute(f"SHOW {name}").fetchone()[0] for name in ("statement_timeout", "lock_timeout")}
    assert shown == {"statement_timeout": "1min", "lock_timeout": "10s"}
    tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)


def test_sessions_of_a_reader_that_removes_its_limits_are_ended_and_others_continue(service, reader, postgresql):
    now_s = [1000.0]
    watch = ReaderWatch(service, 60.0, lambda: now_s[0])
    sleeper, idler, hoarder, other_session = reader(), reader(), reader(), reader()
    grant_advisory_locks(service, reader)
    for session in (sleeper, idler):
        session.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    idler.execute("BEGIN; SELECT * FROM site_status")
    overlong = sorted(session.info.backend_pid for session in (sleeper, idler))
    sleeps = ThreadPoolExecutor(1).submit(sleeper.execute, "SELECT pg_sleep(600)")
    sleeping_query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: query_server(service, sleeping_query), description="the long statement to run")
    other_session.execute("SELECT * FROM site_status")
    assert watch.check() == ([], [])
    hoarder.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 600) n")  # without an open transaction
    now_s[0] += 59.0
    assert [reason.split(") ")[1] for reason in watch.check().ended] == ["holds 600 locks"]
    # PostgreSQL only asks a session to end. One that has not ended yet would be listed again.
    session_query = f"SELECT 1 FROM pg_stat_activity WHERE pid = {hoarder.info.backend_pid}"
    wait_for(lambda: not query_server(service, session_query), description="the end of the session with 600 locks")
    now_s[0] += 1.0
    other_session.execute("BEGIN; SELECT * FROM site_status")
    ended = watch.check().ended
    assert sorted(int(reason.split("pid ")[1].split(")")[0]) for reason in ended) == overlong
    with pytest.raises(psycopg.Error):
        sleeps.result(20)
    for session in (idler, hoarder):
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert other_session.execute("SELECT count(*) FROM site_status").fetchone()
    assert (watch.ended, watch.refused) == (3, "")


def query_server(service, query):
    """Return the first row of a query that does not use a snapshot of the statistics."""
    with service.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return connection.exec_driver_sql(query).first()


def test_open_transaction_of_a_reader_does_not_block_an_upgrade(service, reader, monkeypatch):
    attacker = reader()
    attacker.execute("SET idle_in_transaction_session_timeout = 0")  # a session can remove this limit itself
    attacker.execute("BEGIN; SELECT * FROM site_status")
    tell(service, lambda c: c.exec_driver_sql("COMMENT ON VIEW anomalies IS 'slopeward view of somebody else'"))
    with assert_faster_than(20):
        migrate.upgrade(service)
    with pytest.raises(psycopg.OperationalError):
        attacker.execute("SELECT 1")


def test_session_that_cannot_be_ended_is_named(service, reader, postgresql, monkeypatch):
    owner = f"owner_{service.url.database}"
    postgresql.execute(f"CREATE ROLE {owner} LOGIN")
    name = service.url.database
    psycopg.connect(f"postgresql://{postgresql.user}@127.0.0.1:{postgresql.port}/{name}", autocommit=True).execute(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"  # noqa: E501
        " AND relkind IN ('r', 'v') LOOP EXECUTE format('ALTER %s %I OWNER TO {owner}',"
        " CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.relname); END LOOP; END $$".replace("{owner}", owner)
    ).connection.execute(f"GRANT ALL ON SCHEMA public TO {owner}")
    plain_database = Database(service.url.set(username=owner).render_as_string(hide_password=False))
    monkeypatch.setattr(migrate, "PATIENCE_S", 1.0)
    attacker = reader()
    attacker.execute("BEGIN; SELECT * FROM site_status")
    try:
        with plain_database.write() as connection:
            manual_statements = views.limit_reader(connection, reader.role)
            assert manual_statements[0].split(" ", 3)[3] == "CONNECTION LIMIT 5;"
            assert manual_statements[-1] == f'GRANT pg_signal_backend TO "{owner}";'
            connection.exec_driver_sql("COMMENT ON VIEW anomalies IS 'slopeward view of somebody else'")
        with pytest.raises(StoreBusyError, match=rf"{reader.role} \(pid {attacker.info.backend_pid}\)"):
            migrate.upgrade(plain_database)
        watch = ReaderWatch(plain_database, 0.0)
        assert watch.check().ended == []
        assert f"{reader.role} (pid {attacker.info.backend_pid})" in watch.refused
        results = {result.key: result for result in run_checks(ReaderStatus(watch, Counters().has_grown))}
        assert results["database:readers:unended"].is_wrong
        attacker.execute("ROLLBACK")
        migrate.upgrade(plain_database)
    finally:
        plain_database.close()
        with service.write() as connection:
            connection.execute(text(f"REASSIGN OWNED BY {owner} TO CURRENT_USER"))
            connection.execute(text(f"DROP OWNED BY {owner}"))
        postgresql.execute(f"DROP ROLE {owner}")


# ---- the locks themselves --------------------------------------------------------------------------------------
def test_lock_of_the_core_excludes_others_and_does_not_block_vacuum(service, monkeypatch):
    monkeypatch.setattr(core_lock, "WAIT_FOR_PREDECESSOR_S", 0.5)
    config = make_config(service)
    with core_lock.hold_core_lock(config):
        with pytest.raises(ConfigError, match="another service runs"), core_lock.hold_core_lock(config):
            pass
        session_query = "SELECT a.backend_xid, a.backend_xmin FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        with service.read() as connection:
            transaction_ids = connection.execute(
                text(f"{session_query} WHERE l.relation = CAST('core_turn' AS regclass)")
            ).one()
        assert tuple(transaction_ids) == (None, None)  # vacuum of no table has to wait for this session
        with service.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET lock_timeout = '2s'")
            connection.exec_driver_sql("VACUUM")
    with core_lock.hold_core_lock(config):
        pass


def test_core_without_its_lease_cannot_write_and_one_with_a_lost_session_continues(service, postgresql):
    url = service.url.render_as_string(hide_password=False)
    with Database(url) as first_database, Database(url) as second_database:
        first, second = CoreLease(first_database), CoreLease(second_database)
        service.guard = first.guard
        with pytest.raises(StoreBusyError), service.write():
            pass  # the lease was never taken
        assert first.take()
        assert not second.take()
        end_sessions(postgresql, service)
        tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)
        first.renew()
        assert (first.is_ours, first.is_lost, second.take()) == (True, False, False)
        end_sessions(postgresql, service)
        assert second.take()
        with pytest.raises(StoreBusyError, match="another core"), service.write():
            pass  # before it checked the lock
        assert first.is_lost
        second.give_up()
        third = CoreLease(first_database)
        assert third.take()
        second.renew()  # the lock is free again, but another core wrote meanwhile
        third.give_up()
        assert second.is_lost


def end_sessions(postgresql, db):
    """End every session of the database, as a restart of the server does."""
    postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db.url.database}'")


def test_concurrent_creation_of_the_private_relations_succeeds(service):
    with service.write() as connection:
        connection.exec_driver_sql(f"DROP TABLE {locks.LOCK_TABLE}")
        connection.exec_driver_sql(f"DROP VIEW {locks.CORE_VIEW}")
    with ThreadPoolExecutor(6) as pool:
        for creation in [pool.submit(locks.create_core_locks, service.engine) for _ in range(6)]:
            creation.result(20)
    tell(service, add_audit, SERVICE_ACTOR, "test", "test", {}, NOW)
