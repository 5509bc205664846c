"""Rules, neighbours, maintenance and causes from the site file to the frozen evidence, on both databases."""

import json

import pytest
from sqlalchemy import select

from monitor.alerting.acts.operator_acts import verify
from monitor.alerting.audit.explain import explain
from monitor.alerting.audit.recompute import recompute
from monitor.config.service import parse_site
from monitor.domain.alert import Actor, AlertCategory
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.store.alerting.alerts import load_alert_events, load_alerts
from monitor.store.alerting.decisions import load_decision
from monitor.store.alerting.offsets import confirm_offset, load_offset_facts, revoke_offset
from monitor.store.alerting.sites import load_site_source
from monitor.store.readings.observations import find_series_id
from monitor.store.schema.tables import alert, audit_entry, notification
from tests.data.site_text import table
from tests.data.store_rows import ask, enter_offset, tell
from tests.data.watched_slope import recompute_every
from tests.integration.alerting.test_scenes import Slope, site_text

ADA, BO = Actor("Ada"), Actor("Bo")
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


def test_a_rule_of_the_site_file_raises_is_explained_and_recomputes(database):
    slope = Slope(database, place(RULE))
    slope.live(24, look=False)
    assert slope.live(24, {"G1": 12.0}).level == 1, "one of them alone is yellow"
    assert slope.live(24, {"G1": 12.0, "G2": 12.0}).level == 2
    row, source = frozen(slope)
    assert recompute(row, source).differences == ()
    lines = "\n".join(explain(json.loads(row.evidence)))
    assert "rule both holds: 2 of velocity-1; behind it: velocity-1|G1, velocity-1|G2" in lines
    assert "orange: rule both, G1: velocity" in lines


def test_a_station_that_moves_alone_is_asked_about_and_answered_with_a_cause(database):
    slope = Slope(database, place(NEAR))
    slope.live(24, look=False)
    looks = (slope.live(1, {"G1": 40.0}) for _ in range(24))
    held = next(one for one in looks if "health:alone:G1:verify" in one.decision.memory.conditions)
    assert held.level == 1
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
    assert len(told) == 2
    assert "says Ada: ice on the mast; a second person must sign that" in told[0]
    assert (acts.count("step.sign"), acts.count("step.verify")) == (3, 1)
    assert "health:alone:G1:verify" not in after.decision.memory.conditions
    # the clock of the site is two hours: answered, it does not run out
    assert slope.live(6, {"G1": 40.0}).level == 1
    assert "set aside as weather" in slope.look().decision.memory.conditions["health:alone:G1:set_aside"].reason
    # the neighbour begins to move: what a person said of a lone station no longer holds it
    assert slope.live(24, {"G1": 40.0, "G2": 40.0}).level >= 2


def move_antenna(slope, size=80.0):
    with slope.database.write() as c:
        series_id = find_series_id(c, "bench", "G1", "displacement_east")
        return enter_offset(c, series_id, slope.stepped, size, slope.now)


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


def test_an_offset_of_one_person_does_not_take_back_a_step_that_asks_for_a_high_level(stepped):
    assert verify(stepped.database, stepped.site, "G1", "movement", BO, "cracks on foot", stepped.now).level == 2
    number = move_antenna(stepped)
    held = stepped.look("person")
    (step,) = held.decision.evidence["steps"].values()
    assert (step["state"], step["level"]) == ("movement", 3)
    assert "by offset of Ada: it goes on counting for red until a second person confirms" in offset_notice(held)
    for actor, gone in ((ADA, False), (BO, True)):
        tell(stepped.database, confirm_offset, number, actor, "field book", stepped.now)
        look = stepped.look("person")
        assert (look.decision.memory.steps == {}, offset_notice(look) == "") == (gone, gone)


def test_offsets_of_one_person_for_each_hours_movement_hide_nothing(database):
    """Each offset is as large as the movement of its hour, so that no rate crosses its bound where it counts."""
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
    row, _ = frozen(slope)
    assert "as measured, without offset" in "\n".join(explain(json.loads(row.evidence)))


def test_what_two_people_declared_is_not_taken_back_by_one(stepped):
    number = move_antenna(stepped)
    with stepped.database.write() as c:
        confirm_offset(c, number, BO, "field book", stepped.now)
        with pytest.raises(RefusedError, match=r"declare the opposite one .*--size -80.0 --unit mm"):
            revoke_offset(c, number, ADA, "wrong station", stepped.now)
    opposite = move_antenna(stepped, -80.0)
    assert opposite != number
    assert [(o.by, o.second_by, o.alone) for o in facts_of(stepped)] == [("Ada", "Bo", 0.0), ("Ada", None, -80.0)]
    assert move_antenna(stepped, -80.0) == opposite, "the same one again is found"
    assert move_antenna(stepped) not in {number, opposite}, "what was taken back is declared anew"


def facts_of(slope):
    return ask(slope.database, load_offset_facts, "bench", slope.now)


def test_an_offset_that_answers_a_low_step_is_told_and_its_end_asks_anew(stepped):
    assert stepped.live(4).level == 1
    number = move_antenna(stepped)
    done = stepped.look("person")
    assert [s.state for s in done.decision.memory.steps.values()] == ["offset"]
    assert "it counts no more; somebody else ought to confirm" in offset_notice(done)
    told = [k for k in done.decision.memory.conditions if ":offset" in k]
    assert (list(done.decision.evidence["offsets"]), len(told)) == (told, 2)
    assert done.level <= 1
    tell(stepped.database, revoke_offset, number, BO, "wrong station", stepped.now)
    again = stepped.live(1)
    assert [s.state for s in again.decision.memory.steps.values()] == ["pending"]
    assert "health:G1:verify" in again.decision.memory.conditions
