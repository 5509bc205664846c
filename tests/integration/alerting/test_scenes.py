"""Scenes through the database: what a slope does and what the service then says, tells, holds and can explain."""

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerting import evaluate as evaluate_module
from monitor.alerting.acts.operator_acts import set_level
from monitor.alerting.evaluate import evaluate_site
from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.domain.alert import Actor
from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.notify.state import site_payload
from monitor.store.alerting.alerts import load_alert_events, load_alerts
from monitor.store.alerting.decisions import find_state
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from tests.conftest import ON_BOTH
from tests.data.site_text import bounds, criterion, head, series, station, table
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service

T0 = parse("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
ADA, BO = Actor("Ada"), Actor("Bo")

LEVELS = {"names": ["green", "yellow", "orange", "red"], "auto_lower": ["yellow"]}
LEVELS |= {"red": {"action": "Clear the pit floor"}}
HEAD = head("bench", "North bench", latitude=46.2, longitude=8.9, timezone="Europe/Zurich", levels=LEVELS)
HOW = {"dwell": {"hits": 2, "of": 3, "within": "6h"}, "recover": 0.6, "valid_for": "12h"}
HOW |= {"author": "test", "reason": "test"}
TAIL = (
    criterion("velocity", stations=["G*"], **bounds(yellow="6 1d", orange="24 12h", red="80 8h"), **HOW)
    + table("[fusion]", top_needs=2, hold_when_missing="2d", verify_within="2h")
    + table("[[recipient]]", name="duty engineer", channels=["log", "log:second"], levels=["orange", "red"])
)
SERIES = series("displacement", "mm", max_silence="6h", noise_floor_mm=1.0, verify_step_mm=30.0)


def site_text(references):
    facts = {"azimuth_deg": 90.0, "plunge_deg": 0.0}
    stations = [station(name, SERIES, **facts, reference=reference) for name, reference in references.items()]
    return HEAD + "".join(stations) + TAIL


def make_site(**references):
    return parse_site(site_text(references), "bench.toml")


class Slope:
    def __init__(self, database, site, seed=1):
        self.database, self.site, self.now = database, site, T0
        self.rng = random.Random(seed)
        self.position = dict.fromkeys((s.id for s in site.stations), 0.0)
        tell(database, save_site, site, "test", "scene", T0)

    def publish(self, values, flags=(), at=None, solution=None):
        def read(name, value, part):
            seen = (value if part == "east" else 0.0) + self.rng.gauss(0, 0.5)
            place = ("bench", name, f"displacement_{part}", "mm", at or self.now, self.now)
            return Observation(*place, seen, None, solution, flags)

        rows = [read(*one, part) for one in values.items() for part in ("east", "north", "up")]
        tell(self.database, add_observations, rows, self.now)

    def live(self, hours, rates=None, silent=(), jump=None, look=True):
        """Hours of readings, each with a look: rates in mm/day by station, a jump added for good."""
        result = None
        for _ in range(hours):
            self.now += HOUR
            for name in self.position:
                self.position[name] += (rates or {}).get(name, 0.0) / 24.0
            for name, size in (jump or {}).items():
                self.position[name] += size
            jump = None
            values = {n: v for n, v in self.position.items() if n not in silent}
            if values:
                self.publish(values)
            result = self.look() if look else None
        return result

    def wait(self, hours, every=1):
        result = None
        for _ in range(0, hours, every):
            self.now += every * HOUR
            result = self.look("tick")
        return result

    def look(self, trigger="data"):
        return evaluate_site(self.database, self.site, self.now, trigger)

    def open_keys(self):
        every = ask(self.database, load_alerts, "bench", open_only=True)
        return {a.key: a.level for a in every if a.state != "returned_unacknowledged"}

    def hazard(self):
        return ask(self.database, load_alerts, "bench", ledger="hazard")


@pytest.fixture
def slope(database):
    found = Slope(database, make_site(G1="BASE-1", G2="BASE-2", G3="BASE-2"))
    found.live(30, look=False)
    found.look("start")
    return found


@ON_BOTH
def test_ramp_silence_restart_the_level_holds_blind_and_a_person_is_asked(slope, tmp_path):
    up = slope.live(24, {"G1": 150.0, "G2": 130.0})
    assert (up.level, up.observability, up.reachable_level) == (3, "full", 3)
    slope.database = Database(str(slope.database.url.render_as_string(hide_password=False)))
    dark = slope.wait(8)
    assert (dark.level, dark.observability, dark.reachable_level) == (3, "blind", 0)
    assert slope.open_keys()["health:site:reachable"] == 2
    assert "health:site:cannot_see" not in slope.open_keys()
    later = slope.wait(60, every=6)
    assert (later.level, later.observability, slope.open_keys()["health:site:cannot_see"]) == (3, "blind", 2)
    with slope.database.read() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard")
        told = c.execute(select(t.notification).where(t.notification.c.alert_id == alert.id)).all()
        events = load_alert_events(c, alert.id)
        row = c.execute(select(t.site_state)).one()
    assert [e.to_level for e in events] == sorted({e.to_level for e in events}), "the level only rose"
    told_events = {n.event_id for n in told}
    assert {e.id for e in events if e.to_level >= 2} == told_events, "a level was raised and nobody told"
    assert len({n.idempotency_key for n in told}) == len(told) == 2 * len(told_events)
    assert (row.level, row.observability, row.level_source) == (3, "blind", "auto")
    slope.database.close()


@ON_BOTH
def test_a_memory_changed_meanwhile_is_read_again(slope, monkeypatch):
    original, calls = evaluate_module.decide, []

    def slow(site, memory, view, now, warm=None):
        calls.append(memory.level)
        if len(calls) == 1:
            set_level(slope.database, site, 1, ADA, "crack seen while the machine was thinking", now)
        return original(site, memory, view, now, warm)

    monkeypatch.setattr(evaluate_module, "decide", slow)
    assert (slope.look().level, calls) == (1, [0, 1])


def test_a_dry_run_writes_nothing_and_a_backlog_judges_no_silence(slope):
    before = ask(slope.database, find_state, "bench").digest
    later = slope.now + timedelta(hours=9)
    assert evaluate_site(slope.database, slope.site, later, "tick", dry_run=True).observability == "blind"
    draining = evaluate_site(slope.database, slope.site, later, "start", draining=True)
    assert (draining.observability, draining.changes) == ("full", ())
    with slope.database.read() as c:
        assert find_state(c, "bench").level == 0
        assert before != find_state(c, "bench").digest
    assert told_of_catching_up(slope.database) == (True, True)
    evaluate_site(slope.database, slope.site, later, "tick")
    assert told_of_catching_up(slope.database) == (False, False)


def test_who_is_silent_is_so_since_before_a_restart(slope):
    slope.live(9, silent=("G1",))
    evaluate_site(slope.database, slope.site, slope.now, "tick")

    def told():
        (row,) = ask(slope.database, load_view, "station_health", station="G1")
        return row["state"], row["since"]

    before = told()
    assert before[0] == "silent"
    for minutes, draining in ((30, True), (31, False)):
        later = slope.now + timedelta(minutes=minutes)
        evaluate_site(slope.database, slope.site, later, "start", draining=draining)
        assert told() == before


def told_of_catching_up(database):
    (row,) = ask(database, load_view, "site_status")
    return bool(row["catching_up"]), bool(json.loads(site_payload(row, [], 180.0))["catching_up"])


def test_commands_list_acknowledge_evaluate_and_set_the_level(slope, tmp_path, monkeypatch, capsys):
    slope.live(24, {"G1": 150.0, "G2": 130.0})
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, slope.database, slope.site.source)))

    def call(*words):
        code = run_verb(list(words))
        return code, capsys.readouterr()

    code, out = call("alerts", "list", "--ledger", "hazard", "--json")
    assert code == 0
    number = str(json.loads(out.out.splitlines()[0])["id"])
    ack = ("alerts", "ack", number, "--by", "Ada", "--reason", "on my way")
    assert [call(*ack)[0], call(*ack)[0], call("alerts", "show", "999")[0]] == [0, 1, 1]
    assert json.loads(call("alerts", "show", number, "--json")[1].out)["state"] == "acknowledged"
    assert call("alerts", "outcome", number, "true", "--note", "it failed")[0] == 0
    code, out = call("evaluate", "--site", "bench", "--at", "2026-03-02T05:00:00Z", "--json")
    assert (code, json.loads(out.out)["level"]) == (0, 0)
    lower = ("level", "set", "bench", "orange", "--by", "Ada", "--reason", "slope was cleared")
    code, out = call(*lower)
    assert (code, out.err.count("\n")) == (1, 1)
    assert "velocity-1 at G1 asked for red and has given no data since 2026-03-" in out.err
    assert "--yes" in out.err
    assert call(*lower, "--by", "")[0] == 1  # nobody
    assert call(*lower, "--yes")[0] == 0
    assert call("level", "set", "bench", "purple", "--by", "Ada", "--reason", "rain")[0] == 1
    assert call("alerts", "list", "--site", "nowhere")[0] == 1
