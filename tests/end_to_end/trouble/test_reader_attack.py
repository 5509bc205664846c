"""A reader of the SQL views tries everything at once on the running service: red is decided and told meanwhile."""

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.end_to_end.trouble.test_cannot_decide import Receiver, evaluated_at, move, receiver, running
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer
from tests.fixtures.waiting import wait_for

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def plain_url(postgresql: PostgresServer) -> Iterator[str]:
    """An empty database of a login that owns it and is no administrator, as a service has it."""
    name = f"p_{uuid.uuid4().hex[:12]}"
    postgresql.execute(f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name}")
    yield make_url(postgresql.url(name)).set(username=name).render_as_string(hide_password=False)
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


@pytest.mark.soak
def test_red_is_decided_and_told_while_a_reader_tries_everything(
    postgresql: PostgresServer,
    plain_url: str,
    mosquitto: MosquittoServer,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLOPEWARD_LIMITS__READER_S", "3")
    url = make_url(plain_url).set(drivername="postgresql")
    role = f"reader_{url.database}"
    own = url.set(username=role).render_as_string(hide_password=False)
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    over = threading.Event()
    threads: list[threading.Thread] = []
    faults: set[str] = set()

    def attack(act: Callable[[psycopg.Connection[Any]], object]) -> None:
        """Come back again and again, whatever ends the session."""
        while not over.wait(0.05):
            try:
                with psycopg.connect(own, autocommit=True) as session:
                    session.execute("SET statement_timeout = 0")
                    session.execute("SET idle_in_transaction_session_timeout = 0")
                    act(session)
            except psycopg.Error as error:
                faults.add(str(error).splitlines()[0])

    def hold_transaction(session: psycopg.Connection[Any]) -> None:
        session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        session.execute("SELECT * FROM site_status")
        session.execute("SELECT pg_sleep(600)")

    def take_locks(session: psycopg.Connection[Any]) -> None:
        session.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 1000000) n")

    def sort_without_end(session: psycopg.Connection[Any]) -> None:
        session.execute("SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000000) n ORDER BY -n) x")

    with running(tmp_path, plain_url, mosquitto.url, receiver) as service:
        granted = service.call("db", "grant-readonly", role)
        assert granted.returncode == 3, granted.stderr
        left = re.findall(r"^  (.+;)$", granted.stderr, re.MULTILINE)
        assert any(one.startswith("GRANT pg_signal_backend") for one in left), granted
        administrator = url.set(username=postgresql.user).render_as_string(hide_password=False)
        with psycopg.connect(administrator, autocommit=True) as session:
            for statement in left:
                session.execute(statement)  # type: ignore[call-overload]
        move(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: evaluated_at(service), 40, "the first evaluation")
        acts = (hold_transaction, hold_transaction, hold_transaction, take_locks, take_locks, sort_without_end)
        threads = [threading.Thread(target=attack, args=(act,)) for act in (*acts, *acts)]
        try:
            for thread in threads:
                thread.start()
            wait_for(lambda: "ended a session of a reader" in service.log(), 60, "a session to be ended")
            move(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
            wait_for(receiver.find_red, 60, "the level to be told while the attack goes on")
        finally:
            over.set()
            with psycopg.connect(administrator, autocommit=True) as session:
                session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
            for thread in threads:
                thread.join(30)
        wait_for(lambda: receiver.find("sessions of readers of the SQL views were ended"), 30, "people to hear of it")
        assert not receiver.find("cannot decide")
    assert any("too many connections" in one for one in faults), faults
    assert any("permission denied for function pg_advisory_lock" in one for one in faults), faults
    with psycopg.connect(administrator, autocommit=True) as session:
        session.execute(f"DROP OWNED BY {role}")
    postgresql.execute(f"DROP ROLE {role}")
