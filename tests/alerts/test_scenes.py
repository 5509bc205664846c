"""Whole stories of a slope in the database: decisions, messages, restarts and explanations."""

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts import evaluate as evaluate_module
from monitor.alerts.acts.operator_acts import set_level, verify
from monitor.alerts.audit.explain import explain
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import load_alert_events, load_alerts
from monitor.alerts.queries.evaluations import find_state, load_decision
from monitor.alerts.queries.offsets import confirm_offset, load_offset_facts, revoke_offset
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory
from monitor.delivery.state import site_payload
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import add_user
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.storage.actor import Actor
from monitor.storage.audit_tables import audit_entry
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.data.site_text import bounds, criterion, head, series, station, table
from tests.data.store_rows import ask, enter_offset, tell
from tests.data.watched_slope import recompute_every, write_service
from tests.fixtures.databases import ON_BOTH

T0 = parse_time("2026-03-01T00:00:00Z")
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
def test_level_stays_during_silence_and_restart_and_a_person_is_asked(slope, tmp_path):
    up = slope.live(24, {"G1": 150.0, "G2": 130.0})
    assert (up.level, up.observability, up.reachable_level) == (3, "full", 3)
    slope.database = Database(str(slope.database.url.render_as_string(hide_password=False)))
    dark = slope.wait(8)
    assert (dark.level, dark.observability, dark.reachable_level) == (3, "blind", 0)
    assert slope.open_keys()["health:site:silent_slope"] == 2
    assert {"health:site:reachable", "health:site:cannot_see"}.isdisjoint(slope.open_keys())
    later = slope.wait(60, every=6)
    assert (later.level, later.observability, slope.open_keys()["health:site:cannot_see"]) == (3, "blind", 2)
    with slope.database.read() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard")
        told = c.execute(select(notification).where(notification.c.alert_id == alert.id)).all()
        events = load_alert_events(c, alert.id)
        row = c.execute(select(site_state)).one()
    assert [e.to_level for e in events] == sorted({e.to_level for e in events}), "the level only rose"
    told_events = {n.event_id for n in told}
    assert {e.id for e in events if e.to_level >= 2} == told_events, "a level was raised and nobody told"
    assert len({n.idempotency_key for n in told}) == len(told) == 2 * len(told_events)
    assert (row.level, row.observability, row.level_source) == (3, "blind", "auto")
    slope.database.close()


@ON_BOTH
def test_changed_memory_is_loaded_again(slope, monkeypatch):
    original, calls = evaluate_module.decide, []

    def slow(prepared, memory, inputs, now, cache=None):
        calls.append(memory.level)
        if len(calls) == 1:
            set_level(slope.database, prepared.site, 1, ADA, "crack seen while the machine was thinking", now)
        return original(prepared, memory, inputs, now, cache)

    monkeypatch.setattr(evaluate_module, "decide", slow)
    assert (slope.look().level, calls) == (1, [0, 1])


def test_dry_run_stores_nothing_and_a_backlog_judges_no_silence(slope):
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


def test_silence_continues_across_a_restart(slope):
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
    return bool(row["catching_up"]), bool(json.loads(site_payload(row, []))["catching_up"])


def test_commands_list_acknowledge_evaluate_and_set_the_level(slope, tmp_path, monkeypatch, capsys):
    slope.live(24, {"G1": 150.0, "G2": 130.0})
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, slope.database, slope.site.source)))

    def call(*words):
        return run_command(list(words)), capsys.readouterr()

    code, out = call("alerts", "list", "--ledger", "hazard", "--json")
    assert code == 0
    number = str(json.loads(out.out.splitlines()[0])["id"])
    ack = ("alerts", "ack", number, "--by", "Ada", "--reason", "on my way")
    assert [call(*ack)[0], call(*ack)[0], call("alerts", "show", "999")[0]] == [0, 1, 1]
    assert json.loads(call("alerts", "show", number, "--json")[1].out)["state"] == "acknowledged"
    assert call("alerts", "outcome", number, "true", "--note", "it failed")[0] == 0
    code, out = call("evaluate", "bench", "--at", "2026-03-02T05:00:00Z", "--json")
    assert (code, json.loads(out.out)["level"]) == (0, 0)
    lower = ("level", "set", "bench", "orange", "--by", "Ada", "--reason", "slope was cleared")
    code, out = call(*lower)
    assert (code, out.err.count("\n")) == (1, 1)
    assert "velocity-1 at G1 requested red and has had no data since 2026-03-" in out.err
    assert "--yes" in out.err
    assert call(*lower, "--by", "")[0] == 1  # nobody
    assert call(*lower, "--yes")[0] == 0
    assert call("level", "set", "bench", "purple", "--by", "Ada", "--reason", "rain")[0] == 1
    assert call("alerts", "list", "--site", "nowhere")[0] == 1


# ---- rules, neighbours, maintenance and causes from the site file to the frozen evidence, on both databases ---------
RULE = table("[[fusion.rule]]", id="both", level="orange", when={"criterion": "velocity-1", "level": "yellow", "k": 2})
NEAR = """
[fusion.neighbours]
above = "yellow"
step_m = 200.0
"""


def place(extra=""):
    text = site_text({"G1": "BASE-1", "G2": "BASE-2"})
    for name, east in (("G1", 8.9), ("G2", 8.901)):
        text = text.replace(f'id = "{name}"\n', f'id = "{name}"\nlatitude = 46.2\nlongitude = {east}\n')
    return parse_site(text + extra, "bench.toml")


def frozen(slope):
    with slope.database.read() as c:
        (alert,) = load_alerts(c, "bench", ledger=str(AlertCategory.HAZARD))
        row = load_decision(c, alert.decision_id)
        return row, load_site_source(c, row.config_sha256)


def test_fusion_rule_raises_is_explained_and_recomputed(database):
    slope = Slope(database, place(RULE))
    slope.live(24, look=False)
    assert slope.live(24, {"G1": 12.0}).level == 1, "one of them alone is yellow"
    assert slope.live(24, {"G1": 12.0, "G2": 12.0}).level == 2
    row, source = frozen(slope)
    assert recompute(row, source).differences == ()
    lines = "\n".join(explain(json.loads(row.evidence)))
    assert "rule both holds: 2 of velocity-1; supported by G1 (velocity-1), G2 (velocity-1)" in lines
    assert "Reason: rule both, G1: velocity" in lines


def test_station_that_moves_alone_is_a_question_with_an_answer(database):
    slope = Slope(database, place(NEAR))
    slope.live(24, look=False)
    looks = (slope.live(1, {"G1": 40.0}) for _ in range(24))
    assert next(one for one in looks if "health:alone:G1:verify" in one.decision.memory.conditions).level == 1
    with pytest.raises(RefusedError, match="expected one of: movement, instrument, weather"):
        verify(database, slope.site, "alone:G1", "perhaps", ADA, "?", slope.now)
    with pytest.raises(NotFoundError, match="waiting: alone:G1"):
        verify(database, slope.site, "alone:G2", "weather", ADA, "ice", slope.now)
    with pytest.raises(NotFoundError, match="waiting: alone:G1"):
        verify(database, slope.site, "G1", "weather", ADA, "no step of it waits", slope.now)
    first = verify(database, slope.site, "alone:G1", "weather", ADA, "ice on the mast", slope.now)
    assert "health:alone:G1:verify" in first.decision.memory.conditions, "one word hides no high level"
    with pytest.raises(RefusedError, match="a second person must sign"):
        verify(database, slope.site, "alone:G1", "weather", Actor("ada "), "ice on the mast", slope.now)
    other = verify(database, slope.site, "alone:G1", "work", BO, "digging", slope.now)
    assert "alone:G1" not in other.decision.memory.answers
    verify(database, slope.site, "alone:G1", "weather", ADA, "ice on the mast", slope.now)
    after = verify(database, slope.site, "alone:G1", "weather", BO, "seen by camera", slope.now)
    assert after.decision.memory.signed == {}
    with database.read() as c:
        told = [e.reason for a in load_alerts(c, "bench") for e in load_alert_events(c, a.id) if e.actor == "Ada"]
        acts = c.execute(select(audit_entry.c.action)).scalars().all()
    assert (len(told), "says Ada: ice on the mast; a second person must sign that" in told[0]) == (2, True)
    assert (acts.count("step.sign"), acts.count("step.verify")) == (3, 1)
    assert "health:alone:G1:verify" not in after.decision.memory.conditions
    # the clock of the site is two hours: answered, it does not run out
    assert slope.live(6, {"G1": 40.0}).level == 1
    assert 'somebody answered "weather"' in slope.look().decision.memory.conditions["health:alone:G1:set_aside"].reason
    # the neighbour begins to move: what a person said of a lone station no longer holds it
    assert slope.live(24, {"G1": 40.0, "G2": 40.0}).level >= 2


@pytest.fixture
def two_people(database):
    """Ada and Bo have accounts, so what one declares waits for the other."""
    with database.write() as c:
        for name in ("Ada", "Bo"):
            add_user(c, name, None, "operator", T0 - HOUR)


def move_antenna(slope, size=80.0):
    with slope.database.write() as c:
        return enter_offset(c, find_series_id(c, "bench", "G1", "displacement_east"), slope.stepped, size, slope.now)


@pytest.fixture
def stepped(database):
    slope = Slope(database, place())
    slope.live(30, look=False)
    slope.look("start")
    slope.live(1, jump={"G1": 80.0})
    slope.stepped = slope.now
    slope.live(1)
    return slope


def offset_notice(result):
    found = [c for k, c in result.decision.memory.conditions.items() if k.endswith(":offset")]
    return found[0].reason if found else ""


@pytest.mark.usefixtures("two_people")
def test_offset_explains_a_jump_after_its_second_signature(stepped):
    assert verify(stepped.database, stepped.site, "G1", "movement", BO, "cracks on foot", stepped.now).level == 2
    number = move_antenna(stepped)
    waiting = stepped.look("person")
    (step,) = waiting.decision.evidence["steps"].values()
    assert (step["state"], step["level"]) == ("movement", 3)
    assert f"health:G1:offset_{number}" in waiting.decision.memory.conditions
    for actor, is_gone in ((ADA, False), (BO, True)):
        tell(stepped.database, confirm_offset, number, actor, "field book", stepped.now)
        result = stepped.look("person")
        assert (result.decision.memory.steps == {}) is is_gone
        assert (f"health:G1:offset_{number}" not in result.decision.memory.conditions) is is_gone


def test_offset_counts_at_once_if_one_person_may_act(stepped):
    """The audit log and a notice say that nobody has countersigned it."""
    assert stepped.live(4).level == 1
    move_antenna(stepped)
    result = stepped.look("person")
    assert result.decision.memory.steps == {}
    assert "and nobody has countersigned the offset" in offset_notice(result)
    with stepped.database.read() as c:
        a = audit_entry.c
        detail = c.execute(select(a.detail).where(a.action == "offset.add")).scalar_one()
    assert json.loads(detail)["needs_second_person"] is False


@pytest.mark.usefixtures("two_people")
def test_hourly_offsets_of_one_person_hide_no_movement(database):
    """Each offset is as large as the movement of its hour, so that no rate would cross its bound if it counted."""
    slope = Slope(database, place())
    slope.live(24, look=False)
    for _ in range(24):
        slope.live(1, {"G1": 150.0, "G2": 140.0}, look=False)
        with database.write() as c:
            for name, rate in (("G1", 150.0), ("G2", 140.0)):
                series_id = find_series_id(c, "bench", name, "displacement_east")
                facts = {"kind": "other", "reason": "the mast settles"}
                enter_offset(c, series_id, slope.now, rate / 24.0, slope.now, **facts)
        look = slope.look()
    assert look.level == 3
    assert any(":offset_" in k and c.level == 2 for k, c in look.decision.memory.conditions.items())
    with database.read() as c:
        assert recompute_every(c) == []
        told = select(alert.c.key).join(notification, notification.c.alert_id == alert.c.id)
        keys = set(c.execute(told.where(alert.c.key.like("%:offset_%"))).scalars())
    assert len(keys) > 10, "the recipients hear of each that is declared while the slope moves"


@pytest.mark.usefixtures("two_people")
def test_one_person_cannot_revoke_an_offset_of_two(stepped):
    number = move_antenna(stepped)
    with stepped.database.write() as c:
        confirm_offset(c, number, BO, "field book", stepped.now)
        with pytest.raises(RefusedError, match=r"declare the opposite offset .*--size -80.0 --unit mm"):
            revoke_offset(c, number, ADA, "wrong station", stepped.now)
    opposite = move_antenna(stepped, -80.0)
    assert opposite != number
    assert [(o.by, o.second_by, o.counts) for o in facts_of(stepped)] == [("Ada", "Bo", True), ("Ada", None, False)]
    assert move_antenna(stepped, -80.0) == opposite, "the same one again is found"
    assert move_antenna(stepped) not in {number, opposite}, "what was taken back is declared anew"


@pytest.mark.usefixtures("two_people")
def test_second_offset_for_the_same_jump_is_refused(stepped):
    first, again = move_antenna(stepped), move_antenna(stepped, 81.0)
    with stepped.database.write() as c:
        confirm_offset(c, first, BO, "field book", stepped.now)
        with pytest.raises(RefusedError, match=f"offset {first} subtracts nearly the same jump already"):
            confirm_offset(c, again, BO, "field book", stepped.now)


def facts_of(slope):
    return ask(slope.database, load_offset_facts, "bench", slope.now)


def test_revoked_offset_makes_its_jump_a_question_again(stepped):
    assert stepped.live(4).level == 1
    number = move_antenna(stepped)
    explained = stepped.look("person")
    assert explained.decision.memory.steps == {}
    assert explained.level <= 1
    tell(stepped.database, revoke_offset, number, BO, "wrong station", stepped.now)
    again = stepped.live(1)
    assert [s.state for s in again.decision.memory.steps.values()] == ["pending"]
    assert "health:G1:verify" in again.decision.memory.conditions
