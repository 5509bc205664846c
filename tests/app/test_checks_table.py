"""A check is one entry of the table of checks. Every place that reports problems reads this table."""

import json
from datetime import datetime
from types import SimpleNamespace

import pytest

from monitor.alerts.queries.alerts import load_alerts
from monitor.app.checks import table
from monitor.app.checks.decisions import CoreProgress
from monitor.app.checks.machine import DatabaseFacts
from monitor.app.checks.site_files import SiteFolder
from monitor.app.core import Core
from monitor.app.heartbeats import decode_line, encode_line
from monitor.app.self_monitoring.emergency import NOTIFY_AFTER_S, EmergencyNotifier
from monitor.app.self_monitoring.state_file import ChannelAddress, StateFile
from monitor.cli.main import run_command
from monitor.settings.service import load_service
from monitor.sites.first_site import write_first_site
from monitor.storage.check import BAD, Check, make_state
from monitor.storage.migrate import RESTORE, find_newest_revision
from monitor.storage.views import load_view
from tests.data.healthy_core import make_monitoring
from tests.fixtures.waiting import wait_for
from tests.web.served import NOW, serving

FLOOD_TEXT = "the cellar of the service stands {cm} cm under water"
FLOOD_MESSAGE = FLOOD_TEXT.format(cm=7)


def add_check(monkeypatch, fact_type, **options):
    flood_check = Check("cellar", fact_type, BAD, FLOOD_TEXT, lambda _: make_state(cm=7.0), "pump it out", **options)
    checks = (*table.list_checks(), flood_check)
    monkeypatch.setattr(table, "list_checks", lambda: checks)


@pytest.fixture
def service(database, tmp_path, monkeypatch):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/a.toml").write_text(write_first_site("a"))
    url = database.url.render_as_string(hide_password=False)
    text = f'[database]\nurl = "{url}"\n[paths]\nsites = "{tmp_path}/sites"\n[broker]\nmode = "demo"\n'
    (tmp_path / "slopeward.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return load_service(tmp_path / "slopeward.toml")


def run_json_command(capsys, command="doctor"):
    status = run_command([command, "--json", "--config", "slopeward.toml"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_problem_of_the_machine_is_reported_by_alarm_doctor_status_page_and_view(
    database, service, monkeypatch, capsys
):
    monkeypatch.setattr("monitor.app.self_monitoring.conditions.Counters.has_grown", lambda *_: False)
    add_check(monkeypatch, DatabaseFacts, alarm=2, degrades=True)
    core = Core(service, lambda: NOW)
    monitoring = make_monitoring(core)
    monitoring.check_machine()
    core.alarms.write_pending()
    monitoring.write_heartbeat("running")
    core.db.close()
    with database.read() as connection:
        (alarm,) = [
            listed_alert
            for listed_alert in load_alerts(connection, "status", open_only=True)
            if listed_alert.key == "health:cellar"
        ]
        rows = {row["name"]: row for row in load_view(connection, "service_checks")}
    assert (alarm.level, alarm.reason) == (2, FLOOD_MESSAGE)
    assert (rows["cellar"]["state"], rows["cellar"]["found"], rows["cellar"]["remedy"]) == (
        BAD,
        FLOOD_MESSAGE,
        "pump it out",
    )
    with serving(database, NOW, service) as client:
        assert FLOOD_MESSAGE in client.get("/health").json()["reasons"]
    for command in ("status", "doctor"):
        monkeypatch.setattr(f"monitor.cli.service.{command}.datetime", FixedDatetime)
        _, lines = run_json_command(capsys, command)
        assert FLOOD_MESSAGE in str(lines), command


class FixedDatetime(datetime):
    """Replaces the clock of the command line by the time of the test."""

    @classmethod
    def now(cls, _=None):
        return NOW


def test_problem_of_site_files_is_reported_by_check_and_doctor(service, monkeypatch, capsys):
    assert run_json_command(capsys, "check")[0] == 0
    add_check(monkeypatch, SiteFolder)
    status, lines = run_json_command(capsys, "check")
    assert (status, [line["state"] for line in lines if line["text"] == FLOOD_MESSAGE]) == (1, ["wrong"])
    status, lines = run_json_command(capsys)
    assert (status, [line["remedy"] for line in lines if line["found"] == FLOOD_MESSAGE]) == (1, ["pump it out"])


def test_problem_that_prevents_decisions_is_sent_without_the_outbox_and_shown_on_the_page(
    database, service, monkeypatch, tmp_path
):
    sent_bodies = []
    channel = SimpleNamespace(deliver=lambda notification: sent_bodies.append(notification.body))
    monkeypatch.setattr("monitor.app.self_monitoring.emergency.open_notifier", lambda *_: channel)
    core = Core(service, lambda: NOW)
    assert core.commits.find_trouble() == ""
    add_check(monkeypatch, CoreProgress)
    trouble = core.commits.find_trouble()
    core.db.close()
    assert trouble == FLOOD_MESSAGE
    assert decode_line(encode_line(trouble).decode()).values == trouble.values, "whole to the page"
    state_file = StateFile(tmp_path / "state", "sqlite:///x.db")
    addresses = [ChannelAddress("ada", "log:a")]
    emergency = EmergencyNotifier(lambda: addresses, list, {}, lambda: NOW, lambda *_: None, state_file)
    emergency.update(trouble, 0.0)
    emergency.update(trouble, NOTIFY_AFTER_S)
    wait_for(lambda: sent_bodies)
    assert sent_bodies[0].startswith(f"Slopeward cannot decide: {FLOOD_MESSAGE}.")


def test_missing_table_is_named_by_doctor_check_upgrade_and_the_log(database, service, capsys, caplog):
    status, lines = run_json_command(capsys)
    backend = database.url.get_backend_name()
    assert f"{backend}, schema is current" in [line["found"] for line in lines]
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE known_device")
        connection.exec_driver_sql("ALTER TABLE recovery_code DROP COLUMN used_at")
    status, lines = run_json_command(capsys)
    message = f"it is at revision {find_newest_revision()}, but it lacks known_device, recovery_code.used_at"
    (line,) = [line for line in lines if line["found"] == message]
    assert (status, line["subject"], line["state"], line["remedy"]) == (1, "database", "bad", RESTORE)
    assert not [line for line in lines if "schema is current" in line["found"]]
    for command in (["db", "upgrade"], ["db", "current"], ["check", "--connect"]):
        assert run_command([*command, "--config", "slopeward.toml"]) == 1
        assert "lacks known_device, recovery_code.used_at; restore a backup" in capsys.readouterr().err
    core = Core(service, lambda: NOW)
    core._open_database()
    assert f"the database is at revision {find_newest_revision()}, but it lacks known_device" in caplog.text


def test_doctor_names_the_tables_of_an_absent_feature(database, service, capsys, monkeypatch):
    monkeypatch.setattr("monitor.storage.migrate.list_tables_of_absent_features", lambda _db: ["drill", "photo"])
    _, lines = run_json_command(capsys)
    (line,) = [line for line in lines if "drill, photo" in line["found"]]
    assert (line["subject"], line["state"]) == ("database", "warn")
    assert line["found"] == "no installed feature uses these tables; they are left as they are: drill, photo"
