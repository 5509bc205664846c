"""Lines of the command line for people name states in words, and no word twice; JSON keeps the names of programs."""

import json

import pytest
from sqlalchemy import select, update

from monitor.cli.main import run_verb
from monitor.domain.alert import AlertState
from monitor.store.database.engine import Database
from monitor.store.schema.tables import alert
from tests.integration.cli.test_local_times import SITE, write_service
from tests.property.test_plain_words import find_faults

INTERNAL = [state for state in AlertState if "_" in state]


@pytest.fixture
def service(filled_sqlite_url, tmp_path):
    with Database(filled_sqlite_url) as db:
        with db.write() as c:
            numbers = c.execute(select(alert.c.id).where(alert.c.closed_at.is_(None))).scalars()
            for number, state in zip(numbers.all(), INTERNAL, strict=False):
                c.execute(update(alert).where(alert.c.id == number).values(state=state))
        yield str(write_service(tmp_path, db, SITE.read_text(encoding="utf-8")))


def read(capsys, service, *words):
    run_verb([*words, "--config", service])
    return capsys.readouterr().out


def test_alerts_are_listed_and_shown_in_words(service, capsys):
    rows = [json.loads(line) for line in read(capsys, service, "alerts", "list", "--all", "--json").splitlines()]
    assert {*INTERNAL} <= {row["state"] for row in rows}
    listed = read(capsys, service, "alerts", "list", "--all")
    shown = [read(capsys, service, "alerts", "show", str(row["id"])) for row in rows]
    status = read(capsys, service, "status")
    for text in (listed, *shown, status):
        assert [line for line in text.splitlines() if find_faults(line)] == []
    for state in INTERNAL:
        assert state.replace("_", " ") in listed
        assert any(f", {state.replace('_', ' ')}" in text.splitlines()[0] for text in shown)
