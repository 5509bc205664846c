"""Jobs that are interrupted by a stop of the service, and the job that verifies the audit chain."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from monitor.alerts.outbox_tables import notification
from monitor.alerts.tables import alert
from monitor.app.jobs import housekeeping
from monitor.app.schedule import Schedule, _RunResult
from monitor.errors import JobError
from monitor.features.scenes import inbox
from monitor.features.scenes.tables import scene
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.files import load_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.audit_tables import audit_entry
from monitor.storage.engine import Database
from monitor.worker import compute
from tests.data.store_rows import tell
from tests.data.watched_slope import WatchedSlope

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
SITE_FILE = Path(__file__).parents[2] / "configs" / "sites" / "north-bench.toml"


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> ServiceConfig:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / SITE_FILE.name).write_text(SITE_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    file = tmp_path / "slopeward.toml"
    file.write_text(
        f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\ninbox = "{tmp_path}/inbox"\n',
        encoding="utf-8",
    )
    return load_service(str(file))


@pytest.mark.parametrize("stopping", [True, False])
def test_scene_interrupted_by_a_stop_is_read_again_without_an_alarm(database, config, monkeypatch, stopping):
    site = load_site(SITE_FILE)
    folder = Path(config.paths.inbox) / site.id / "scene-1"
    folder.mkdir(parents=True)
    (folder / "scene.toml").write_text("", encoding="utf-8")

    def fail(*_: object, **__: object) -> None:
        raise JobError("killed, the service is stopping" if stopping else "killed at its limit of 900 s")

    monkeypatch.setattr(compute, "run", fail)
    monkeypatch.setattr(compute, "is_stopping", lambda: stopping)
    tell(database, save_site, site, "test", "loaded", NOW)
    if stopping:
        with pytest.raises(JobError):
            inbox.run(database, config, site, NOW)
    else:
        assert "failed" in inbox.run(database, config, site, NOW)
    with database.read() as connection:
        stored_states = [row.state for row in connection.execute(select(scene))]
        alert_keys = [row.key for row in connection.execute(select(alert))]
    assert (stored_states, alert_keys) == (([], []) if stopping else (["failed"], ["scene:scene-1"]))


def test_broken_audit_chain_is_an_alarm_for_all_recipients_while_it_is_broken(database: Database, config):
    with database.write() as connection:
        for number in range(3):
            add_audit(connection, Actor("ada"), "level.set", "site:north-bench", {"n": number}, NOW)
    assert "holds" in housekeeping.run(database, config, None, NOW)
    tell(
        database,
        lambda connection: connection.execute(
            update(audit_entry).where(audit_entry.c.id == 2).values(detail='{"n":9}')
        ),
    )
    assert "BROKEN" in housekeeping.run(database, config, None, NOW)
    with database.read() as connection:
        alarm = connection.execute(select(alert.c.site, alert.c.ledger, alert.c.key, alert.c.level)).one()
        notified = {row.recipient for row in connection.execute(select(notification.c.recipient))}
    assert tuple(alarm) == ("status", "health", "health:audit:chain", 2)
    assert notified == {row.name for row in load_site(SITE_FILE).recipients if "health" in row.ledgers}
    assert notified


# ---- the log of a job ----


def test_repeated_text_of_a_job_is_logged_at_debug(database, caplog, monkeypatch):
    slope = WatchedSlope(database)
    schedule = Schedule(database, ServiceConfig(), [slope.site], lambda: datetime.now(UTC))
    results = iter(["no team", "no team", "Ada, until 20:00"])
    monkeypatch.setattr(schedule, "_call", lambda _: _RunResult("done", next(results)))
    key = next(key for key in schedule._entries if key.startswith("duty"))
    caplog.set_level(logging.DEBUG, "monitor.app.schedule")
    for _ in range(3):
        schedule._run(key)
    levels = [record.levelno for record in caplog.records if "job duty" in record.getMessage()]
    assert levels == [logging.INFO, logging.DEBUG, logging.INFO]
