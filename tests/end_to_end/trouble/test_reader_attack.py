"""Red is decided and notified while a reader of the SQL views attacks the running service in several ways at once."""

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

from tests.end_to_end.trouble.test_cannot_decide import (
    Receiver,
    load_evaluated_at,
    publish_motion,
    receiver,
    run_service,
)
from tests.fixtures.mosquitto import MosquittoServer
from tests.fixtures.postgresql import PostgresServer
from tests.fixtures.waiting import wait_for

__all__ = ["receiver"]
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def plain_url(postgresql: PostgresServer) -> Iterator[str]:
    """Yield an empty database owned by a login that is no administrator, as in a normal installation."""
    name = f"p_{uuid.uuid4().hex[:12]}"
    postgresql.execute(f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name}")
    yield make_url(postgresql.url(name)).set(username=name).render_as_string(hide_password=False)
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


@pytest.mark.soak
def test_red_is_decided_and_notified_while_a_reader_attacks_the_database(
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
    reader_url = url.set(username=role).render_as_string(hide_password=False)
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    errors: set[str] = set()

    def attack(run_attack: Callable[[psycopg.Connection[Any]], object]) -> None:
        """Run the attack again and again in new sessions."""
        while not stopping.wait(0.05):
            try:
                with psycopg.connect(reader_url, autocommit=True) as session:
                    session.execute("SET statement_timeout = 0")
                    session.execute("SET idle_in_transaction_session_timeout = 0")
                    run_attack(session)
            except psycopg.Error as error:
                errors.add(str(error).splitlines()[0])

    def hold_transaction(session: psycopg.Connection[Any]) -> None:
        session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        session.execute("SELECT * FROM site_status")
        session.execute("SELECT pg_sleep(600)")

    def take_locks(session: psycopg.Connection[Any]) -> None:
        session.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 1000000) n")

    def sort_without_end(session: psycopg.Connection[Any]) -> None:
        session.execute("SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000000) n ORDER BY -n) x")

    with run_service(tmp_path, plain_url, mosquitto.url, receiver) as service:
        granted = service.call("db", "grant-readonly", role)
        assert granted.returncode == 3, granted.stderr
        manual_grants = re.findall(r"^  (.+;)$", granted.stderr, re.MULTILINE)
        assert any(text.startswith("GRANT pg_signal_backend") for text in manual_grants), granted
        administrator = url.set(username=postgresql.user).render_as_string(hide_password=False)
        with psycopg.connect(administrator, autocommit=True) as session:
            for statement in manual_grants:
                session.execute(statement)  # type: ignore[call-overload]
        publish_motion(mosquitto.url, 0.0, 3.0, datetime.now(UTC) - timedelta(hours=2, minutes=5))
        wait_for(lambda: load_evaluated_at(service), 40, "the first evaluation")
        attacks = (hold_transaction, hold_transaction, hold_transaction, take_locks, take_locks, sort_without_end)
        threads = [threading.Thread(target=attack, args=(run_attack,)) for run_attack in (*attacks, *attacks)]
        try:
            for thread in threads:
                thread.start()
            wait_for(lambda: "ended a session of a reader" in service.log(), 60, "a session to be ended")
            publish_motion(mosquitto.url, 60.0, 2.0, datetime.now(UTC))
            wait_for(receiver.find_red, 60, "the level to be told while the attack goes on")
        finally:
            stopping.set()
            with psycopg.connect(administrator, autocommit=True) as session:
                session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
            for thread in threads:
                thread.join(30)
        wait_for(lambda: receiver.find("sessions of readers of the SQL views were ended"), 30, "people to hear of it")
        assert not receiver.find("cannot decide")
    assert any("too many connections" in text for text in errors), errors
    assert any("permission denied for function pg_advisory_lock" in text for text in errors), errors
    with psycopg.connect(administrator, autocommit=True) as session:
        session.execute(f"DROP OWNED BY {role}")
    postgresql.execute(f"DROP ROLE {role}")
