"""Drills with a real dispatcher and a real webhook. Every table is compared before and after.

A drill on the page runs in a process of its own.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from monitor.alerts.audit.queries import load_citations
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes, load_alert_events, load_alerts
from monitor.alerts.queries.evaluations import load_decision
from monitor.alerts.records import AlertState
from monitor.api import worker
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.records import ProofFact
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.holding import HoldingContext, Superseded, group_notices, throttle
from monitor.delivery.notifiers.webhook import payload
from monitor.delivery.queries.outbox import QueuedMessage, claim_due
from monitor.errors import RefusedError
from monitor.features.drills import acts
from monitor.features.drills.hold import DrillOptions, hold_drill, rehearse
from monitor.features.drills.queries import add_drill, as_exercise, end_dead_drills, end_drill, find_drill, load_drills
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.engine import Database
from monitor.storage.tables import load_metadata
from monitor.worker.child_process import ChildProcess
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.playing import Listener
from tests.data.site_text import FOUR, bounds, criterion, head, series, station, table
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import START, WatchedSlope
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.waiting import MINIMUM_TIMEOUT_S, wait_for
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

ADA = Actor("Ada Berg")
NOW = datetime.now(UTC).replace(microsecond=0)
MOVES = series("displacement", "mm", "1d", max_silence="3d", noise_floor_mm=1.0, verify_step_mm=60.0)
WHO = {"author": "test", "reason": "test"}
SITE = (
    head("ridge", longitude=9.0, timezone="UTC", levels=FOUR)
    + station("G1", MOVES, reference="A")
    + station("G2", MOVES, reference="B")
    + criterion("velocity", stations=["G*"], **bounds(yellow="2 7d", orange="4 7d", red="8 5d"), valid_for="3d", **WHO)
    + table("[[recipient]]", name="hook", channels=["webhook:HOOK"], levels=["yellow", "orange", "red"])
)
WITNESS = criterion("anomaly", id="strange", role="witness", level="yellow", **WHO)
# Tables to which a drill adds rows. All other tables must not change.
OWN = {"drill", "decision", "alert", "alert_event", "notification", "audit_entry", "service_state"}


@pytest.fixture
def site() -> Site:
    return parse_site(SITE, "ridge.toml")


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


@pytest.fixture
def real(database: Database, site: Site) -> Database:
    """Return a site with readings, an evaluation, a real yellow alarm and a real health alarm."""
    rows = []
    for name, d in product(("G1", "G2"), range(30, 0, -1)):
        at, moved = NOW - timedelta(days=d), 0.1 * d % 3 + (30 - d) * 0.2
        rows.append(Observation(site.id, name, "displacement", "mm", at, at, moved))
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
        add_observations(c, rows, NOW)
    evaluate_site(database, site, NOW, "start")
    with database.write() as c:
        raise_real_alert(c, site, "hazard", AlertCategory.HAZARD, 1)
        raise_real_alert(c, site, "health:G2:stale", AlertCategory.HEALTH, 1)
    return database


def raise_real_alert(c: Any, site: Site, key: str, ledger: AlertCategory, level: int) -> None:
    change = AlertChange(ledger, key, level, open=True, reason=f"really {key}", data_time=NOW, evidence="{}")
    apply_changes(c, [change], ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, NOW, "test"))


def snapshot(db: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, and of the view of the state of the site."""
    with db.read() as c:
        rows_by_table = {
            t.name: [dict(r._mapping) for r in c.execute(select(t).order_by(*t.primary_key.columns))]
            for t in load_metadata().sorted_tables
        }
        rows_by_table["site_status"] = [dict(r._mapping) for r in c.execute(text("SELECT * FROM site_status"))]
    return rows_by_table


def assert_untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that the real state has not changed: only tables of `OWN` have new rows, and these belong to the drill."""
    for name, rows in before.items():
        if name not in OWN:
            assert after[name] == rows, name
            continue
        keys = [next(iter(row.values())) for row in rows]
        remaining = [row for row in after[name] if next(iter(row.values())) in keys]
        if name != "service_state":
            # A message from before the drill may have been delivered meanwhile.
            assert [strip(r) for r in remaining] == [strip(r) for r in rows], name
    old_alerts = {row["id"] for row in before["alert"]}
    new = [row for row in after["alert"] if row["id"] not in old_alerts]
    assert new
    assert all(row["exercise"] and row["key"].startswith("drill:") for row in new)
    ids = {row["id"] for row in new}
    old = {row["id"] for row in before["notification"]}
    new_messages = [row for row in after["notification"] if row["id"] not in old]
    assert all(row["exercise"] and row["alert_id"] in ids for row in new_messages)
    assert all("EXERCISE" in row["subject"] and "EXERCISE" in row["body"] for row in new_messages)


def strip(row: dict[str, Any]) -> dict[str, Any]:
    moving = {"state", "attempts", "sent_at", "next_attempt_at", "lease_owner", "lease_until", "last_error"}
    return row if "channel" not in row else {k: v for k, v in row.items() if k not in moving}


def test_drill_is_sent_acknowledged_and_measured_without_changing_real_state(real, site, listener):
    before = snapshot(real)
    ways: dict[str, Any] = {"environ": {"HOOK": listener.url}, "jitter": lambda: 0.0, "poll_s": 0.02}
    dispatcher = Dispatcher(real, {site.id: site}, lambda: datetime.now(UTC), **ways)
    sent_changes: list[tuple[datetime, AlertChange]] = []
    signed: list[int] = []

    def wait(_: float) -> None:
        """Acknowledge the alerts of the drill whose messages the webhook has received."""
        time.sleep(0.02)
        received = {b["alert_id"] for b in listener.bodies if b["exercise"] and b["level"] == 3}
        with real.write() as c:
            mine = [a for a in load_alerts(c, site.id, open_only=True) if a.id in received and a.exercise]
            new = [a.id for a in mine if a.state == AlertState.UNACKNOWLEDGED]
            signed.extend(acknowledge(c, i, ADA, "drill: road closed", datetime.now(UTC)) for i in new)

    dispatcher.start()
    began_s = time.monotonic()
    try:
        drill_id, outcome = hold_drill(
            real,
            site,
            ADA,
            DrillOptions(speed=1e9, hold_s=MINIMUM_TIMEOUT_S),
            clock=lambda: datetime.now(UTC),
            wait=wait,
            on_change=lambda at, change: sent_changes.append((at, change)),
        )
        took_s = time.monotonic() - began_s
        wait_for(
            lambda: any(b["exercise"] and b["level"] == 0 for b in listener.bodies), description="the end of the drill"
        )
    finally:
        dispatcher.stop(5)
    assert ([x.level for _, x in sent_changes], len(signed), outcome["peak_level"]) == ([1, 2, 3], 1, 3)
    assert outcome["unanswered"] == 0
    # A person may acknowledge before the delivery is stored.
    assert all(0.0 <= outcome[key] <= took_s for key in ("first_message_s", "slowest_acknowledgement_s"))
    exercises = [b for b in listener.bodies if b["exercise"]]
    assert {b["level"] for b in exercises} >= {3, 0}
    assert all("EXERCISE" in b["subject"] for b in exercises)
    assert not any("EXERCISE" in b["subject"] for b in listener.bodies if not b["exercise"])
    assert_untouched(before, snapshot(real))
    with real.read() as c:
        assert find_drill(c, drill_id).state == "ended"
        mine = [a for a in load_alerts(c, site.id) if a.exercise]
    assert {a.state for a in mine} == {AlertState.CLOSED}
    # The decisions of the drill can be recomputed from their stored evidence.
    with real.read() as c:
        raised = next(e for e in load_alert_events(c, mine[0].id) if e.to_level == 3)
        assert raised.decision_id is not None
        row = load_decision(c, raised.decision_id)
        source = load_site_source(c, row.config_sha256)
        cited = load_citations(c, row.id)
    assert recompute(row, source, cited=cited).differences == ()


def start_red_drill(c: Connection, site: Site) -> int:
    """Start a drill with a red alert."""
    drill_id = add_drill(c, site.id, ADA, "collapse", NOW)
    red = AlertChange(AlertCategory.HAZARD, "hazard", 3, open=True, reason="red", data_time=None, evidence="{}")
    apply_changes(
        c, as_exercise(drill_id, [red]), ChangeContext(site.id, site, site.recipients, ADA, NOW, "test", exercise=True)
    )
    return drill_id


def test_real_alarm_is_sent_before_a_drill_and_survives_its_end(real: Database, site: Site) -> None:
    drill_id = tell(real, start_red_drill, site)
    with real.write() as c:
        sent = [claim_due(c, NOW, "worker", 60.0, 1, "webhook:HOOK")[0] for _ in range(3)]
    assert [(s.exercise, s.ledger, s.level) for s in sent] == [
        (False, "hazard", 1),
        (False, "health", 1),
        (True, "hazard", 3),
    ]
    assert json.loads(payload(sent[-1]))["subject"].startswith("EXERCISE")
    with real.write() as c:
        end_drill(c, drill_id, ADA, "enough", NOW + timedelta(minutes=1), site=site)
        alerts = {a.key: a for a in load_alerts(c, site.id)}
    assert alerts["hazard"].closed_at is None
    assert (alerts["hazard"].level, alerts[f"drill:{drill_id}:hazard"].state) == (1, AlertState.CLOSED)


def test_second_drill_is_refused_and_drill_with_dead_process_is_ended(real: Database, site: Site) -> None:
    before = snapshot(real)
    drill_id = tell(real, start_red_drill, site)
    with pytest.raises(RefusedError, match="is running, started by Ada"), real.write() as c:
        add_drill(c, site.id, ADA, "collapse", NOW)
    with real.write() as c:
        assert end_dead_drills(c, {site.id: site}, NOW + timedelta(seconds=30)) == [], (
            "its process may still be running"
        )
        assert end_dead_drills(c, {site.id: site}, NOW + timedelta(seconds=90)) == [drill_id]
        (drill,) = load_drills(c, site.id)
    assert drill.state == "abandoned"
    assert drill.outcome is not None
    assert drill.outcome["unanswered"] == 1
    assert_untouched(before, snapshot(real))


def test_another_person_can_end_a_drill(real: Database, site: Site) -> None:
    def wait(_: float) -> None:
        with real.write() as c:
            for drill in load_drills(c, site.id, running_only=True):
                end_drill(c, drill.id, Actor("Bo"), "telephone", datetime.now(UTC), site=site)
        clock.now += timedelta(seconds=2)

    class Running:
        now = datetime.now(UTC)

        def __call__(self) -> datetime:
            return self.now

    clock = Running()
    sent_levels: list[int] = []
    _, outcome = hold_drill(
        real,
        site,
        ADA,
        DrillOptions(speed=86400.0),
        clock=clock,
        wait=wait,
        on_change=lambda _, x: sent_levels.append(x.level),
    )
    assert outcome["reason"] == "telephone"
    assert sent_levels == [1], "no message may be sent after the end of the drill"


def test_drill_needs_a_name_and_a_scenario_that_raises_a_level(real: Database, site: Site) -> None:
    with pytest.raises(RefusedError, match="--by"):
        hold_drill(real, site, Actor(" "), DrillOptions(), clock=lambda: NOW, wait=lambda _: None)
    calm = parse_site(SITE.replace('kind = "velocity"', 'kind = "velocity"\nrole = "advice"'), "ridge.toml")
    with pytest.raises(RefusedError, match="no criterion of velocity, rate or failure window"):
        hold_drill(real, calm, ADA, DrillOptions(), clock=lambda: NOW, wait=lambda _: None)
    (drill,) = ask(real, load_drills)
    assert (drill.state, drill.outcome["alerts"], "no criterion" in drill.outcome["reason"]) == ("refused", 0, True)


def test_message_of_a_drill_never_replaces_or_delays_a_real_message() -> None:
    def waiting(number: int, level: int, *, exercise: bool, ledger: str = "health") -> QueuedMessage:
        sent = ("hook", "webhook:HOOK", NOW - timedelta(minutes=1), NOW, 0, "unacknowledged")
        return QueuedMessage(number, number, "ridge", ledger, level, *sent, urgent=False, exercise=exercise)

    # The message of the drill is higher and newer, but must not replace the real message.
    assert group_notices([waiting(2, 1, exercise=True), waiting(1, 0, exercise=False)], HoldingContext(NOW, 0)) == []
    two = group_notices([waiting(2, 1, exercise=False), waiting(1, 0, exercise=False)], HoldingContext(NOW, 0))
    assert [(v.id, v.by) for v in two if isinstance(v, Superseded)] == [(1, 2)]
    # Only one more message may be sent within the hour. The real advice is sent before the hazard of the drill.
    full = HoldingContext(NOW, 59)
    held = throttle(
        [waiting(2, 1, exercise=True, ledger="hazard"), waiting(1, 1, exercise=False, ledger="advice")], full
    )
    assert [v.id for v in held] == [2]


def test_drill_at_the_command_line(
    real: Database, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ridge.toml").write_text(SITE)
    config = tmp_path / "service.toml"
    url = real.url.render_as_string(hide_password=False)
    config.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{tmp_path}/sites"\n')
    (tmp_path / "sites").mkdir()
    (tmp_path / "ridge.toml").rename(tmp_path / "sites" / "ridge.toml")

    def call(*words: str) -> tuple[int, str, str]:
        status = run_command(["notify", "drill", *words, "--config", str(config)])
        output = capsys.readouterr()
        return status, output.out, output.err

    assert call("list")[0] == 4
    assert call("end", "ridge", "1", "--by", "Ada")[0] == 1, "there is no drill"
    assert call("hold", "nowhere", "--by", "Ada")[0] == 1
    assert call("hold", "ridge", "--by", "Ada", "--scenario", str(tmp_path / "none.csv"))[0] == 1
    status, out, err = call("hold", "ridge", "--by", "Ada", "--speed", "1e9", "--hold", "0s", "--json")
    assert status == 3, "nobody acknowledged"
    assert (json.loads(out)["peak_level"], err.count("EXERCISE"), "red" in err) == (3, 0, True)
    status, out, _ = call("list", "--json")
    assert (status, json.loads(out)["state"]) == (0, "ended")
    drill_id = tell(real, add_drill, site.id, ADA, "collapse", datetime.now(UTC))
    status, out, _ = call("end", "ridge", str(drill_id), "--by", "Bo", "--reason", "telephone")
    assert (status, call("end", "ridge", str(drill_id), "--by", "Bo")[0]) == (0, 4)


def test_proven_model_votes_in_a_drill_as_in_the_service() -> None:
    watched = parse_site(SITE.replace("[[criterion]]", WITNESS + "[[criterion]]", 1), "ridge.toml")
    holds = ProofFact("strange", "rules", 0.0, 4e9, True, weights="w", settings="s", weights_now="w", settings_now="s")
    for fact, unproven in ((holds, False), (replace(holds, passed=False, why="too many alarms"), True)):
        steps = rehearse(watched, DrillOptions(quiet=False), lambda: True, [fact])
        assert ("health:strange:unproven" in {change.key for step in steps for change in step.changes}) is unproven
        (proof,) = json.loads(steps[-1].evidence)["view"]["proofs"]
        assert "strange" in str(proof), "the evidence must contain the proof"


PLACE = "/sites/bench/drills"


@pytest.fixture
def bench(database):
    slope = WatchedSlope(database)
    slope.live(3, looks=1)
    with database.write() as c:
        for name, role in (("bo", "operator"), ("cy", "viewer")):
            add_account(c, name, PASSWORD, role, START)
    return slope


@pytest.mark.soak
@ON_SQLITE
def test_drill_on_the_page_is_held_acknowledged_and_ended(bench, monkeypatch):
    # A busy machine needs longer than a person would wait for the page.
    monkeypatch.setattr(acts, "START_TIMEOUT_S", 10.0 * MINIMUM_TIMEOUT_S)
    clock = Clock(bench.now)
    with serving(bench.database, clock) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        assert "There was no drill yet" in viewer.get(PLACE).text
        assert send(viewer, PLACE, minutes="1").status_code == 403
        # The first message is queued before the response, and the second one minutes later.
        begun = send(bo, PLACE, minutes="60")
        assert begun.status_code == 303, begun.text
        assert "the drill has started" in bo.get(begun.headers["location"]).text
        assert "Drill 1 is running" in bo.get(PLACE).text
        assert send(bo, PLACE, minutes="10").status_code == 409, "only one drill may run at a time"
        alerts = [a for a in ask(bench.database, load_alerts, site="bench") if a.exercise]
        assert [a.reason.startswith("EXERCISE") for a in alerts] == [True]
        assert send(bo, f"/alerts/{alerts[0].id}/acknowledge", reason="I am looking at it").status_code == 303
        assert send(bo, f"{PLACE}/99/end", reason="just so").status_code == 404
        assert send(bo, f"{PLACE}/1/end", reason="seen\r\nenough").status_code == 303
        text = bo.get(PLACE).text
        assert "bo after" in text
        assert "0 alarms" in text
        assert send(bo, f"{PLACE}/1/end", reason="once more").status_code == 303, (
            "ending a drill that is over changes nothing"
        )
        # The process of a drill dies before its first message. Another drill is being prepared.
        with monkeypatch.context() as m:
            m.setattr(worker, "ChildProcess", lambda _work, *rest: ChildProcess("no.such:thing", *rest))
            died = send(bo, PLACE, minutes="1")
            assert (died.status_code, "could not be prepared" in died.text) == (409, True)
            with acts._preparing:
                assert send(bo, PLACE, minutes="1").status_code == 503
    (drill,) = ask(bench.database, load_drills)
    assert (drill.by, drill.state, drill.outcome["reason"], drill.outcome["unanswered"]) == (
        "bo",
        "ended",
        "seen enough",
        0,
    )
