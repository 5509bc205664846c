"""Withdrawal of answers: the first of two answers, and the answer that counts."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from monitor.alerts.acts.answer_acts import find_question_answers, list_first_answers, withdraw_answer
from monitor.alerts.acts.operator_acts import load_memory, verify
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.alerts import load_alert_events, load_alerts
from monitor.alerts.queries.evaluations import load_decision, save_memory
from monitor.alerts.replay.clock import repeat_act
from monitor.alerts.replay.queries import load_past_acts
from monitor.decision.records import Memory, Signature
from monitor.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.people.queries.users import set_sites
from monitor.sites.queries.sites import load_site_source
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.seals import find_unsealed
from monitor.text.instants import epoch_s
from tests.alerts.test_scenes import HOUR, NEAR, Slope, place
from tests.data.accounts import add_account
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

ADA, BO, CY = Actor("Ada"), Actor("Bo"), Actor("Cy")
WORDS = "copper violin marsh 38"


def withdraw(slope, key, actor, reason="seen otherwise", second=None):
    said = tell(slope.database, withdraw_answer, slope.site, key, actor, reason, slope.now, second=second)
    return said, slope.look("person")


def load_memory_of(slope):
    return ask(slope.database, load_memory, slope.site)


def logged(slope):
    with slope.database.read() as c:
        assert (verify_chain(c), list(find_unsealed(c))) == ([], [])
        found = c.execute(select(audit_entry.c.actor, audit_entry.c.action).order_by(audit_entry.c.id)).all()
        return [tuple(r) for r in found if r.action.startswith("step.")]


@pytest.fixture
def asked(database):
    slope = Slope(database, place(NEAR))
    slope.live(24, look=False)
    while "health:alone:G1:verify" not in slope.live(1, {"G1": 40.0}).decision.memory.conditions:
        assert slope.now.day < 4
    return slope


@ON_BOTH
def test_withdrawn_first_answer_no_longer_counts(asked):
    verify(asked.database, asked.site, "alone:G1", "weather", ADA, "ice on the mast", asked.now)
    (word,) = ask(asked.database, list_first_answers)
    assert (word.site, word.question, word.by, word.answer) == ("bench", "alone:G1", "Ada", "weather")
    with pytest.raises(RefusedError, match="only who gave it or an admin"):
        withdraw(asked, "alone:G1", BO)
    with pytest.raises(RefusedError, match="a reason"):
        withdraw(asked, "alone:G1", ADA, " ")
    said, look = withdraw(asked, "alone:G1", Actor("ada"), "the picture was of another mast")
    assert (said, look.decision.memory.signed) == ("first answer of Ada", {})
    with pytest.raises(NotFoundError, match="there is no answer to"):
        withdraw(asked, "alone:G1", ADA)
    after = verify(asked.database, asked.site, "alone:G1", "weather", BO, "ice", asked.now).decision.memory
    assert (after.answers, after.signed["alone:G1"].by) == ({}, "Bo"), "Bo is the first again"
    assert logged(asked) == [("Ada", "step.sign"), ("ada", "step.unsign"), ("Bo", "step.sign")]
    with asked.database.read() as c:
        told = [e.reason for a in load_alerts(c, "bench") for e in load_alert_events(c, a.id) if e.actor == "ada"]
    assert told == ["alone:G1: the first answer of Ada is withdrawn by ada: the picture was of another mast"]


def test_admin_of_the_site_withdraws_first_answers_of_others(asked):
    with asked.database.write() as c:
        for name, role in (("Ada", "operator"), ("Bo", "admin"), ("Cy", "admin")):
            add_account(c, name, WORDS, role, asked.now)
        set_sites(c, "Bo", ["bench"])
        c.exec_driver_sql("UPDATE user_account SET sites = '[\"elsewhere\"]' WHERE name = 'Cy'")
    verify(asked.database, asked.site, "alone:G1", "weather", ADA, "ice on the mast", asked.now)
    with pytest.raises(RefusedError, match="is not for the site bench"):
        withdraw(asked, "alone:G1", CY)
    assert withdraw(asked, "alone:G1", BO)[0] == "first answer of Ada"


def test_each_first_answer_is_withdrawn_by_its_giver(stepped):
    stepped.live(4, look=False)
    stepped.live(1, jump={"G1": 80.0})
    memory = stepped.live(2).decision.memory
    words = {k: Signature("instrument", who, 3) for k, who in zip(sorted(memory.steps), ("Ada", "Bo"), strict=True)}
    tell(stepped.database, save_memory, "bench", replace(memory, signed=words), stepped.site.version, stepped.now)
    with pytest.raises(RefusedError, match="first answer of Ada and Bo is not yours"):
        withdraw(stepped, "G1", CY)
    said, look = withdraw(stepped, "G1", BO)
    assert (said, [s.by for s in look.decision.memory.signed.values()]) == ("first answer of Bo", ["Ada"])
    said, look = withdraw(stepped, "G1", ADA)
    assert (said, look.decision.memory.signed) == ("first answer of Ada", {})


def test_two_people_answer_a_new_jump_beside_an_answered_one(stepped):
    """An answer that counts is taken back before it is another one; a step that came later is answered by itself."""
    (old,) = load_memory_of(stepped).steps
    verify(stepped.database, stepped.site, "G1", "movement", ADA, "cracks on foot", stepped.now)
    with pytest.raises(RefusedError, match="an answer counts already; withdraw it first"):
        verify(stepped.database, stepped.site, "G1", "instrument", BO, "bumped", stepped.now)
    stepped.live(1, jump={"G1": 80.0})
    stepped.live(1)
    (new,) = set(load_memory_of(stepped).steps) - {old}
    for who in (ADA, BO):
        verify(stepped.database, stepped.site, "G1", "instrument", who, "bumped", stepped.now)
    assert load_memory_of(stepped).answers == {old: "movement", new: "instrument"}


def test_withdrawn_cause_opens_the_question_with_a_new_deadline(stepped):
    answered = verify(stepped.database, stepped.site, "G1", "instrument", ADA, "bumped", stepped.now)
    answered = verify(stepped.database, stepped.site, "G1", "instrument", BO, "bumped", stepped.now)
    (key,) = answered.decision.memory.answers
    assert "health:G1:verify" not in answered.decision.memory.conditions
    assert stepped.live(4).level == 0
    said, look = withdraw(stepped, "G1", ADA, "nobody was there")
    memory = look.decision.memory
    assert (said, memory.answers, memory.steps[key].state) == ("answer instrument", {}, "pending")
    assert memory.steps[key].known_s == epoch_s(stepped.now)
    assert "open again because its answer was withdrawn" in memory.conditions["health:G1:verify"].reason
    assert stepped.open_keys()["health:G1:verify"] == 2, "people are told anew"
    assert stepped.live(3).level == 1, "unanswered it counts when the clock is over"
    assert logged(stepped)[-1] == ("Ada", "step.withdraw")


def test_withdrawal_is_recomputed_and_replayed(stepped):
    verify(stepped.database, stepped.site, "G1", "movement", ADA, "cracks", stepped.now)
    before = load_memory_of(stepped)
    withdraw(stepped, "G1", BO)
    with stepped.database.read() as c:
        past = load_past_acts(c, "bench", stepped.now - 9 * HOUR, stepped.now)
        rows = [load_decision(c, i) for i in c.execute(select(decision.c.id).order_by(decision.c.id)).scalars()]
        (row,) = [r for r in rows if json.loads(r.evidence).get("act") == "step.withdraw"]
        source = load_site_source(c, row.config_sha256)
    assert [p.act for p in past] == ["step.verify", "step.withdraw"]
    assert repeat_act(before, past[-1], stepped.site) == Memory.read(past[-1].after)
    assert recompute(row, source).differences == ()
    frozen = json.loads(row.evidence)
    frozen["after"]["level"] = 3
    assert recompute(replace(row, evidence=json.dumps(frozen)), source).differences != ()


def test_two_people_withdraw_movement_while_a_high_level_is_at_stake(stepped):
    with stepped.database.write() as c:
        for name in ("Ada", "Bo"):
            add_account(c, name, WORDS, "operator", stepped.now)
    assert verify(stepped.database, stepped.site, "G1", "movement", ADA, "cracks on foot", stepped.now).level == 2
    with pytest.raises(NeedsSecondError, match='one person may not take "movement" back while red is at stake'):
        withdraw(stepped, "G1", ADA)
    with pytest.raises(RefusedError, match="a second person is needed"):
        withdraw(stepped, "G1", ADA, second=Actor("ada"))
    with pytest.raises(RefusedError, match="no open account"):
        withdraw(stepped, "G1", Actor("Eve"), second=BO)
    said, look = withdraw(stepped, "G1", ADA, second=BO)
    assert (said, look.level) == ("answer movement", 2), "the level stands until a person lowers it"
    assert [s.state for s in look.decision.memory.steps.values()] == ["pending"]


def test_withdrawn_answer_to_a_motion_opens_the_question_again(asked):
    for who in (ADA, BO):
        verify(asked.database, asked.site, "alone:G1", "weather", who, "ice on the mast", asked.now)
    assert asked.live(1, {"G1": 40.0}).level == 1
    said, look = withdraw(asked, "alone:G1", BO, "the mast was dry")
    assert said == "answer weather"
    assert {"health:alone:G1:verify", "health:alone:G1:set_aside"} & set(look.decision.memory.conditions) == {
        "health:alone:G1:verify"
    }
    assert find_question_answers(look.decision.memory, "alone:G1") is None
    assert asked.live(2, {"G1": 40.0}).level == 2, "it counts when the clock is over"
