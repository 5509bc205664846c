"""`slopeward alerts chain`: who was notified of an alert, and who is notified next."""

import json
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.sites.first_site import write_first_site
from monitor.storage.engine import Database
from tests.delivery.outbox import add_alert, add_message, add_site, clock

RECIPIENTS = """
[[recipient]]
name = "duty"
channels = ["log:desk"]
levels = ["red"]
escalate_after = "10m"
[[recipient]]
name = "chief"
channels = ["email:chief@example.org"]
levels = ["red"]
"""


@pytest.fixture
def alert_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/sites").mkdir(parents=True)
    url = f"sqlite:///{tmp_path}/x.db"
    Path("configs/slopeward.toml").write_text(f'[database]\nurl = "{url}"\n')
    text = write_first_site("north")
    Path("configs/sites/north.toml").write_text(text[: text.index("[[recipient]]")] + RECIPIENTS)
    assert run_command(["db", "upgrade"]) == 0
    with Database(url) as database, database.write() as connection:
        add_site(connection)
        number = add_alert(connection, at=clock())
        add_message(connection, number, "log:desk", at=clock(), state="delivered")
        return number


def test_chain_lists_sent_and_planned_messages(alert_id, capsys):
    capsys.readouterr()
    assert run_command(["alerts", "chain", str(alert_id), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["stage"], row["recipient"], row["state"]) for row in rows[:3]] == [
        ("first notice", "duty", "delivered"),
        ("next recipient", "chief", "planned"),
        ("nobody confirmed", "duty", "planned"),
    ]
    assert rows[-1]["stage"] == "all clear"
    assert rows[-1]["due_at"] is None


def test_chain_prints_one_line_for_each_message(alert_id, capsys):
    capsys.readouterr()
    assert run_command(["alerts", "chain", str(alert_id)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "first notice" in lines[0]
    assert "chief" in lines[1]
    assert "at the end of the alert" in lines[-1]
    assert any("again until somebody acknowledges" in line for line in lines)


def test_chain_of_an_unknown_alert_is_an_error(alert_id, capsys):
    assert run_command(["alerts", "chain", str(alert_id + 1)]) != 0
