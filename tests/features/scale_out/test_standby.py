"""Test the standby service: its checks, the takeover of the lease, and keys that need the feature."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from monitor.app import supervisor as supervising
from monitor.app.checks.table import check_parts
from monitor.cli.main import run_verb
from monitor.errors import ConfigError, StoreBusyError
from monitor.features.scale_out import standby
from monitor.features.scale_out.queries import find_lease
from monitor.features.scale_out.standby import take_over
from monitor.settings.service import parse_service
from monitor.storage import core_turn
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import add_audit
from monitor.storage.core_turn import CoreLease
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.data.far.cable import Cable
from tests.data.filled import NOW
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for


def test_a_service_that_stood_by_and_is_silent_is_missed_for_a_week():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for age, missed in ((30, False), (61, True), (8 * 86400, False)):
        now = at + timedelta(seconds=age)
        degraded = check_parts({"core": (now, {}), "standby:b": (at, {})}, now)[1]
        assert bool(degraded) is missed
        assert all("b stood by and is silent since 2026-03-01 00:00:00 UTC" in line for line in degraded)
    other = check_parts({"core": (at, {}), "standby:b": (at, {"differs": ["north"]})}, at)[1]
    assert other == ["b stands by with other site files than those in force: north"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[database]\nurl = "sqlite:///x.db"\n', "a SQLite file belongs to one machine"),
        ('[database]\nurl = "postgresql://h/d"\n', "both services use one broker"),
    ],
)
def test_a_service_that_cannot_stand_by_is_refused_in_one_line(text, why):
    with pytest.raises(ConfigError, match=why) as error:
        parse_service(text, "x.toml", {"SLOPEWARD_STANDBY__ENABLED": "true"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("deciding", "age_s", "is_told"), [("a", 1.0, False), ("a", 60.0, True), ("b", 1.0, True)])
def test_who_comes_back_while_another_decides_tells_nobody_that_none_does(
    database, monkeypatch, deciding, age_s, is_told
):
    """Its core stood still, begins anew, and has not yet come to stand by when people would be told."""
    pair = '[database]\nurl = "postgresql://x/y"\n[broker]\nmode = "external"\n[standby]\nenabled = true\nname = "b"\n'
    now, told = [1000.0], []
    monkeypatch.setattr(supervising, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one = supervising.Supervisor(parse_service(pair, "x"), None, with_web=False)
    monkeypatch.setattr(one.emergency, "_notify_trouble", told.append)
    tell(database, write_heartbeat, "core", {"name": deciding}, datetime.now(UTC) - timedelta(seconds=age_s))
    for second in range(60):
        now[0] += 1.0
        one.core._heartbeats.at = now[0] - 30.0 if second < 3 else now[0]
        if second % 10 == 1:
            ask(database, one._read_known)
        one._check_core(now[0])
    assert bool(told) == is_told


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(core_turn, "TRUST_S", 0.6)
    monkeypatch.setattr(standby, "EXPIRED_S", 1.0)
    monkeypatch.setattr(standby, "GRACE_S", 0.5)


@pytest.mark.server
def test_a_core_that_is_cut_off_in_mid_transaction_is_followed_and_writes_nothing_more(
    postgresql_url, postgresql, hasty
):
    cable = Cable(postgresql.port)
    far = postgresql_url.replace(f":{postgresql.port}/", f":{cable.port}/")
    with Database(far, "slopeward core far") as cut_off, Database(postgresql_url, "slopeward core near") as db:
        first, second = CoreLease(cut_off, "a"), CoreLease(db, "b")
        cut_off.guard, cut_off.holds = first.guard, first.holds
        db.guard = second.guard
        assert take_over(first)
        assert not take_over(second)
        first.keep()
        assert cut_off.holds()
        with pytest.raises(StoreBusyError), cut_off.write() as c:
            add_audit(c, SERVICE_ACTOR, "test", "test", {}, NOW)
            cable.cut()
            wait_for(lambda: take_over(second), description="the one that stands by to take over")
            assert not cut_off.holds(), "what it would send now is not its own"
            tell(db, add_audit, SERVICE_ACTOR, "test", "after", {}, NOW)
            cable.mend()
        lease = find_lease(db.engine)
        assert (lease.holder, lease.fence, second.fence) == ("b", first.fence + 1, first.fence + 1)
        with pytest.raises(StoreBusyError, match="another core"), cut_off.write():
            pass
        first.keep()
        assert first.is_lost
        with db.read() as c:
            told = c.exec_driver_sql("SELECT subject FROM audit_entry WHERE action = 'test'").scalars().all()
        assert told == ["after"]
        second.give_up()
    cable.close()


@pytest.mark.server
def test_a_core_that_only_starts_anew_keeps_its_turn(postgresql_url, hasty):
    with Database(postgresql_url) as one, Database(postgresql_url) as other:
        first, second = CoreLease(one, "a"), CoreLease(other, "b")
        assert first.take()
        first.give_up()
        assert not take_over(second)
        anew = CoreLease(one, "a")
        assert take_over(anew), "the grace is for the others"
        anew.give_up()
        began_s = time.monotonic()
        wait_for(lambda: take_over(second), description="the other one, as nobody came back")
        assert time.monotonic() - began_s < 5.0
        second.give_up()


ASKS = {
    "compute.dask": '[compute]\ndask = "tcp://127.0.0.1:8786"\n',
    "standby.enabled": '[database]\nurl = "postgresql://h/d"\n[broker]\nmode = "external"\n[standby]\nenabled = true\n',
}


@pytest.fixture
def without(leave_out_features):
    """Without the folder of the feature and its line in the list."""
    leave_out_features("scale_out")


@pytest.mark.parametrize("key", ASKS)
@pytest.mark.parametrize("verb", ["run", "check", "status"])
def test_what_needs_it_is_one_line_and_the_exit_code_of_a_configuration_that_is_wrong(
    without, tmp_path, monkeypatch, capsys, key, verb
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slopeward.toml").write_text("[compute]\njobs_at_once = 0\n")
    status = run_verb([verb, "--config", "slopeward.toml"])
    assert capsys.readouterr().err.startswith("slopeward.toml: compute.jobs_at_once: ")
    (tmp_path / "slopeward.toml").write_text(ASKS[key])
    assert run_verb([verb, "--config", "slopeward.toml"]) == status > 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"slopeward.toml: {key}: it needs the feature scale_out, which this installation does not have"]


def test_what_does_not_need_it_is_taken(without):
    assert parse_service("[compute]\njobs_at_once = 2\n", "x").compute.jobs_at_once == 2
    with pytest.raises(ConfigError, match=r"compute\.dask: it needs the feature scale_out"):
        parse_service("", "x", {"SLOPEWARD_COMPUTE__DASK": "tcp://h:1"})
