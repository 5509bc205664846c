"""Test the standby service: its checks, the takeover of the lease, and keys that need the feature."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from monitor.app.checks.table import list_service_problems
from monitor.app.self_monitoring import core_watch
from monitor.app.supervisor import Supervisor
from monitor.cli.main import run_command
from monitor.errors import ConfigError, StoreBusyError
from monitor.features.scale_out import standby
from monitor.features.scale_out.queries import find_lease
from monitor.features.scale_out.standby import take_over
from monitor.settings.service import parse_service
from monitor.storage import core_lease
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import add_audit
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.data.far.cable import Cable
from tests.data.filled import NOW
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for


def test_silent_standby_service_is_reported_for_a_week():
    heartbeat_at = datetime(2026, 3, 1, tzinfo=UTC)
    for age_s, is_reported in ((30, False), (61, True), (8 * 86400, False)):
        now = heartbeat_at + timedelta(seconds=age_s)
        degraded = list_service_problems({"core": (now, {}), "standby:b": (heartbeat_at, {})}, now)[1]
        assert bool(degraded) is is_reported
        assert all("standby service b has been silent since 2026-03-01 00:00:00 UTC" in line for line in degraded)
    heartbeats = {"core": (heartbeat_at, {}), "standby:b": (heartbeat_at, {"differs": ["north"]})}
    degraded = list_service_problems(heartbeats, heartbeat_at)[1]
    assert degraded == ["standby service b has other site files than those in force: north"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[database]\nurl = "sqlite:///x.db"\n', "only one machine can use a SQLite file"),
        ('[database]\nurl = "postgresql://h/d"\n', "both services use one broker"),
    ],
)
def test_service_file_that_does_not_allow_standby_is_rejected_in_one_line(text, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        parse_service(text, "x.toml", {"SLOPEWARD_STANDBY__ENABLED": "true"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("active", "age_s", "is_notified"), [("a", 1.0, False), ("a", 60.0, True), ("b", 1.0, True)])
def test_returning_service_sends_no_emergency_notice_while_another_one_is_active(
    database, monkeypatch, active, age_s, is_notified
):
    """The core of service b hung and restarts. It is not yet in standby when people would be notified."""
    pair = '[database]\nurl = "postgresql://x/y"\n[broker]\nmode = "external"\n[standby]\nenabled = true\nname = "b"\n'
    now = [1000.0]
    notices = []
    monkeypatch.setattr(core_watch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    supervisor = Supervisor(parse_service(pair, "x"), None, with_web=False)
    monkeypatch.setattr(supervisor.core_watch.emergency, "_notify_trouble", notices.append)
    tell(database, write_heartbeat, "core", {"name": active}, datetime.now(UTC) - timedelta(seconds=age_s))
    for second in range(60):
        now[0] += 1.0
        supervisor.core._heartbeats.last_beat_s = now[0] - 30.0 if second < 3 else now[0]
        if second % 10 == 1:
            ask(database, supervisor.core_watch.load_recipients_and_levels)
        supervisor.core_watch.check(now[0])
    assert bool(notices) == is_notified


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(core_lease, "TRUST_S", 0.6)
    monkeypatch.setattr(standby, "EXPIRED_S", 1.0)
    monkeypatch.setattr(standby, "GRACE_S", 0.5)


@pytest.mark.server
def test_core_that_loses_its_connection_within_a_transaction_is_replaced_and_writes_nothing_more(
    postgresql_url, postgresql, short_timeouts
):
    cable = Cable(postgresql.port)
    far = postgresql_url.replace(f":{postgresql.port}/", f":{cable.port}/")
    with Database(far, "slopeward core far") as cut_off, Database(postgresql_url, "slopeward core near") as db:
        first, second = CoreLease(cut_off, "a"), CoreLease(db, "b")
        cut_off.guard, cut_off.can_send = first.guard, first.can_send
        db.guard = second.guard
        assert take_over(first)
        assert not take_over(second)
        first.renew()
        assert cut_off.can_send()
        with pytest.raises(StoreBusyError), cut_off.write() as c:
            add_audit(c, SERVICE_ACTOR, "test", "test", {}, NOW)
            cable.cut()
            wait_for(lambda: take_over(second), description="the standby core to take over")
            assert not cut_off.can_send(), "a core without the lease must send nothing"
            tell(db, add_audit, SERVICE_ACTOR, "test", "after", {}, NOW)
            cable.mend()
        lease = find_lease(db.engine)
        assert (lease.holder, lease.fence, second.fence) == ("b", first.fence + 1, first.fence + 1)
        with pytest.raises(StoreBusyError, match="another core"), cut_off.write():
            pass
        first.renew()
        assert first.is_lost
        with db.read() as c:
            subjects = c.exec_driver_sql("SELECT subject FROM audit_entry WHERE action = 'test'").scalars().all()
        assert subjects == ["after"]
        second.give_up()
    cable.close()


@pytest.mark.server
def test_core_that_restarts_keeps_its_lease(postgresql_url, short_timeouts):
    with Database(postgresql_url) as first_db, Database(postgresql_url) as second_db:
        first, second = CoreLease(first_db, "a"), CoreLease(second_db, "b")
        assert first.take()
        first.give_up()
        assert not take_over(second)
        restarted = CoreLease(first_db, "a")
        assert take_over(restarted), "only other cores have to wait for the grace period"
        restarted.give_up()
        start_s = time.monotonic()
        wait_for(lambda: take_over(second), description="the other core to take over after the grace period")
        assert time.monotonic() - start_s < 5.0
        second.give_up()


SERVICE_FILES = {
    "compute.dask": '[compute]\ndask = "tcp://127.0.0.1:8786"\n',
    "standby.enabled": '[database]\nurl = "postgresql://h/d"\n[broker]\nmode = "external"\n[standby]\nenabled = true\n',
}


@pytest.fixture
def without_feature(leave_out_features):
    """Remove the feature from the list of built-in features."""
    leave_out_features("scale_out")


@pytest.mark.parametrize("key", SERVICE_FILES)
@pytest.mark.parametrize("verb", ["run", "check", "status"])
def test_key_that_needs_the_missing_feature_is_one_line_of_error(
    without_feature, tmp_path, monkeypatch, capsys, key, verb
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slopeward.toml").write_text("[compute]\njobs_at_once = 0\n")
    status = run_command([verb, "--config", "slopeward.toml"])
    assert capsys.readouterr().err.startswith("slopeward.toml: compute.jobs_at_once: ")
    (tmp_path / "slopeward.toml").write_text(SERVICE_FILES[key])
    assert run_command([verb, "--config", "slopeward.toml"]) == status > 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"slopeward.toml: {key}: this key needs the feature scale_out, which is not installed"]


def test_other_keys_work_without_the_feature(without_feature):
    assert parse_service("[compute]\njobs_at_once = 2\n", "x").compute.jobs_at_once == 2
    with pytest.raises(ConfigError, match=r"compute\.dask: this key needs the feature scale_out"):
        parse_service("", "x", {"SLOPEWARD_COMPUTE__DASK": "tcp://h:1"})
