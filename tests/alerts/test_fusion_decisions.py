"""Decisions with fusion rules, neighbours, maintenance, declared events, answers and due reviews."""

import json
from dataclasses import replace

import pytest

from monitor.alerts.acts.operator_acts import set_level_in_memory
from monitor.canonical import canonical_json
from monitor.decision import decide as decide_module
from monitor.decision.criteria.kinds.earthquake import lower_bounds
from monitor.decision.keys import StepKey, read_supporter
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import EventFact, MaintenanceFact, Memory, Signature, Step
from monitor.decision.series import step_states
from monitor.decision.votes import find_level_of_question, needs_second_signature
from monitor.sites.fusion import Clause, FusionRule, Neighbours
from monitor.sites.records import Criterion, Dwell, Threshold
from monitor.text.instants import epoch_s, format_iso, from_epoch_s
from monitor.text.message import join
from tests.data.criteria import KINDS
from tests.data.figures import bare_figures
from tests.property.alerting_histories import (
    DAY_S,
    EPOCHS,
    SITE,
    START,
    STEP_S,
    VALID_S,
    Motion,
    levels,
    quiet,
    run,
)

T0 = epoch_s(START)
PORE = Criterion(
    "p", KINDS["level"], ("B",), "pore_pressure", (Threshold(1, over=15.0),), valid_for_s=VALID_S, role="part"
)
FALLING = tuple(replace(level, auto_lower=True) for level in SITE.levels)


def at(epoch):
    return T0 + epoch * STEP_S


def votes(criterion="v", level=1, k=1, witnesses=("A", "B", "C", "D")):
    return Clause("votes", k=k, criterion=criterion, level=level, witnesses=witnesses)


WELL = {"B": ("well", 0)}
WET = FusionRule("wet", 2, Clause("all", (votes(), votes("p", witnesses=("B",)))))


def fused(*rules, site=SITE, near=None, **changes):
    fusion = replace(site.fusion, rules=rules, neighbours=near)
    return replace(site, fusion=fusion, criteria=(SITE.criteria[0], PORE), **changes)


def first_at(looks, level):
    return next((i for i, look in enumerate(looks) if look.decision.level >= level), None)


def test_rule_raises_a_level_that_neither_part_requests_alone():
    moving = quiet(1, motions={"A": Motion(9.0, 16)}, auxiliary=WELL)
    plain = run(moving, replace(SITE, criteria=(SITE.criteria[0], PORE)))
    assert max(levels(plain)) == 1, "a part moves no level by itself"
    looks = run(moving, fused(WET))
    assert first_at(looks, 2) == first_at(plain, 1)
    evidence = looks[-1].decision.evidence
    assert evidence["rules"]["wet"]["behind"] == ["p|B", "v|A"]
    assert not evidence["votes"]["p|B"]["counted"]
    assert evidence["votes"]["p|B"]["part"] == "counts only in fusion rules"
    raised = next(look for look in looks if look.decision.level == 2)
    assert "rule wet, A: velocity" in raised.decision.evidence["sentence"]
    assert max(levels(run(quiet(1, auxiliary=WELL), fused(WET)))) == 0


def test_rule_with_unknown_parts_neither_raises_nor_lowers_a_level():
    moving = quiet(1, motions={"A": Motion(9.0, 16)})
    for how in ("never", "broken"):
        unheard = run(replace(moving, auxiliary={"B": (how, 0)}), fused(WET))
        assert max(levels(unheard)) == 1, f"pore pressure {how}"
        assert unheard[-1].decision.evidence["rules"]["wet"]["holds"] is None
        assert unheard[-1].decision.reachable_level == 3, "the top needs no rule here"
    place = fused(WET, levels=FALLING)
    for how in ("silent", "broken"):
        looks = run(replace(moving, auxiliary={"B": (how, 30)}), place, more_epochs=20)
        seen = levels(looks)
        assert seen[29:] == [2] * len(seen[29:]), f"pore pressure {how}: it fell without a word"

    def dry(now_s, inputs):
        rows = inputs.readings.get("B.pore_pressure", ())
        changed = [drain(r) if epoch_s(r.observed_at) >= at(33) else r for r in rows]
        return replace(inputs, readings={**inputs.readings, "B.pore_pressure": tuple(changed)})

    def drain(reading):
        """From reading to reading, for a jump would be asked about."""
        value = max(5.0, reading.value - 4.0 * (1.0 + (epoch_s(reading.observed_at) - at(33)) / (at(34) - at(33))))
        return replace(reading, value=value, value_raw=value)

    looks = run(replace(moving, auxiliary=WELL), place, alter=dry)
    assert levels(looks)[33] == 2
    assert levels(looks)[-1] == 1, "with fresh word that it is dry the rule holds no more, the velocity does"


def test_rule_for_the_highest_level_counts_as_its_witnesses():
    def rule(k, names):
        return FusionRule("both", 3, votes(level=1, k=k, witnesses=names))

    together = {n: Motion(9.0, 16) for n in ("A", "B")}
    assert max(levels(run(quiet(2, motions=together), fused(rule(2, ("A", "B")))))) == 3
    alone = run(quiet(2, motions={"A": Motion(9.0, 16)}), fused(rule(1, ("A", "B"))))
    assert max(levels(alone)) == 2, "one witness never makes the top, whatever the rule says"
    assert alone[-1].decision.memory.conditions["health:site:lone_top"].level == 2
    shared = quiet(2, motions={n: Motion(9.0, 16) for n in ("C", "D")})
    assert max(levels(run(shared, fused(rule(2, ("C", "D")))))) == 1, "two on one reference are one"
    assert max(levels(run(shared, fused(rule(1, ("C", "D")))))) == 2, "and a lone top vote, though both are behind it"


def acting_at(number, act, history, site, **more):
    """The history with an act of a person upon the memory before a decision."""
    decide, count = decide_module.decide, [0]

    def acting(place, memory, inputs, now, *rest):
        count[0] += 1
        return decide(place, act(memory, now) if count[0] == number else memory, inputs, now, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_module, "decide", acting)
        return run(history, site, **more)


def test_answered_rule_raises_again_only_on_newer_data_and_a_removed_rule_holds_its_level():
    moving = quiet(1, motions={"A": Motion(9.0, 16)}, auxiliary=WELL)
    # decision 61 falls on an epoch, 62 between two of them
    looks = acting_at(62, lambda memory, now: set_level_in_memory(memory, 1, epoch_s(now)), moving, fused(WET), ticks=1)
    assert levels(looks)[60:64] == [2, 1, 2, 2]
    looks = run(quiet(1, motions={"A": Motion(9.0, 16, 30)}, auxiliary=WELL), fused(WET, levels=FALLING))
    memory = next(look for look in looks if look.decision.level == 2).decision.memory
    assert any(k.startswith("rule|wet|") for k in memory.supporters)
    place = replace(fused(levels=FALLING), fusion=SITE.fusion)
    last = looks[-1]
    assert decide_module.decide(PreparedSite(place), memory, last.inputs, last.now).level == 2


def under_work(names, second=None, to_epoch=34, from_epoch=0):
    facts = tuple(MaintenanceFact(n, at(from_epoch), at(to_epoch), "Ada", second, "new antenna") for n in names)
    return lambda _now_s, inputs: replace(inputs, maintenance=facts)


def test_maintenance_sets_low_votes_aside_with_a_reason_until_its_end():
    moving = quiet(4, motions={"A": Motion(9.0, 16)})
    looks = run(moving, alter=under_work("A"))
    assert first_at(run(moving), 1) < 30
    assert first_at(looks, 1) == 34, "the vote counts from the end of the window on"
    pended = looks[33].decision.evidence["votes"]["v|A"]["pended"]
    assert "maintenance of A until" in pended
    assert "by Ada: new antenna" in pended
    assert min(d for look in looks[30:34] if (d := look.decision.next_due_s)) <= at(34)


@pytest.mark.parametrize("second", [None, "Ada", " ada ", "Bo"])
def test_two_people_set_the_second_highest_level_aside_and_nobody_the_highest(second):
    moving = quiet(5, motions={"A": Motion(30.0, 16)})
    expected = 0 if second == "Bo" else 2
    assert max(levels(run(moving, alter=under_work("A", second, EPOCHS + 9)))) == expected
    top = quiet(5, motions={n: Motion(150.0, 16) for n in ("A", "B")})
    assert max(levels(run(top, alter=under_work("AB", second, EPOCHS + 9)))) == 3


def test_maintenance_lowers_no_level_and_sets_steps_aside():
    moving = quiet(4, motions={"A": Motion(9.0, 16, 30)})
    looks = run(moving, alter=under_work("A", "Bo", EPOCHS + 9, 26))
    assert levels(looks)[25:] == [1] * (EPOCHS - 25), "the level from before the maintenance stands until its end"
    stepped = quiet(4, steps={"A": (20, 40.0)})
    assert max(levels(run(stepped))) == 1
    covered = run(stepped, alter=under_work("A", None, 40))
    assert first_at(covered, 1) == 40
    assert "maintenance" in next(iter(covered[30].decision.evidence["steps"].values()))["pended"]


NEAR = Neighbours(above=1, step_m=150.0, steps=2)


def placed(**east_m):
    stations = tuple(
        replace(s, longitude=8.0 + east_m[s.id] / 77_242.0) if s.id in east_m else replace(s, longitude=None)
        for s in SITE.stations
    )
    return replace(SITE, stations=stations, fusion=replace(SITE.fusion, neighbours=NEAR))


def test_vote_without_a_moving_neighbour_is_limited_until_its_deadline():
    moving = quiet(6, motions={"A": Motion(30.0, 16)}, noise=0.3)
    plain, looks = run(moving), run(moving, placed(A=0.0, B=100.0))
    asked = first_at(plain, 2)
    assert levels(looks)[asked] == 1
    assert "health:alone:A:verify" in looks[asked].decision.memory.conditions
    capped = looks[asked].decision.evidence["votes"]["v|A"]["capped"]
    assert "A moves alone" in capped
    assert bare_figures(capped) == []
    assert first_at(looks, 2) == asked + round(DAY_S / STEP_S), "nobody answered: it counts"
    both = quiet(6, motions={"A": Motion(30.0, 16), "B": Motion(17.0, 16)}, noise=0.3)
    assert first_at(run(both, placed(A=0.0, B=100.0)), 2) <= asked, "half of it at one step is company"
    quarter = quiet(6, motions={"A": Motion(30.0, 16), "B": Motion(9.0, 16)}, noise=0.3)
    assert first_at(run(quarter, placed(A=0.0, B=100.0)), 2) > asked, "a quarter of it is none at one step"
    assert first_at(run(quarter, placed(A=0.0, B=200.0)), 2) <= asked, "but at two"


def test_missing_neighbour_limits_no_vote_and_its_silence_ends_no_limit():
    moving = quiet(6, motions={"A": Motion(30.0, 16)}, noise=0.3)
    asked = first_at(run(moving), 2)
    for gone in ({"gaps": {"B": (8, EPOCHS)}}, {"flagged": {"B": (8, EPOCHS)}}):
        assert first_at(run(replace(moving, **gone), placed(A=0.0, B=100.0)), 2) == asked
    assert first_at(run(moving, placed(A=0.0, B=900.0)), 2) == asked, "too far to be a neighbour"
    assert first_at(run(moving, placed(A=0.0)), 2) == asked, "no position, no judgement"
    # seen to stand, then silent: its silence raises nothing before the clock is over
    leaves = replace(moving, gaps={"B": (asked + 1, EPOCHS)})
    slow = replace(placed(A=0.0, B=100.0), fusion=replace(SITE.fusion, neighbours=NEAR, verify_within_s=6 * DAY_S))
    looks = run(leaves, slow)
    assert max(levels(looks)[: asked + 24]) == 1
    assert first_at(looks, 2) == asked + 24


def test_two_independent_witnesses_support_each_other_at_any_distance():
    apart = placed(A=0.0, C=100.0, B=9000.0, D=9100.0)
    both = quiet(6, motions={n: Motion(30.0, 16) for n in ("A", "B")}, noise=0.3)
    assert first_at(run(both, apart), 2) <= first_at(run(quiet(6, motions={"A": Motion(30.0, 16)}, noise=0.3)), 2)


def answered(epoch, key, answer, site, history):
    return acting_at(epoch, lambda m, _: replace(m, answers={**m.answers, key: answer}), history, site)


@pytest.mark.parametrize(("answer", "level"), [("movement", 2), ("weather", 1)])
def test_answer_ends_or_keeps_the_limit_of_a_vote_without_neighbours(answer, level):
    moving = quiet(6, motions={"A": Motion(30.0, 16)}, noise=0.3)
    asked = first_at(run(moving), 2)
    looks = answered(asked + 2, "alone:A", answer, placed(A=0.0, B=100.0), moving)
    assert levels(looks)[asked + 1] == level
    assert levels(looks)[-1] == level
    open_now = looks[-1].decision.memory.conditions
    assert "health:alone:A:verify" not in open_now, "it was answered"
    assert ("health:alone:A:set_aside" in open_now) == (answer == "weather")


def faster(names, epoch, rate):
    def alter(_, inputs):
        def pushed(row):
            more = rate * max(0.0, epoch_s(row.observed_at) - at(epoch)) / DAY_S
            return replace(row, value=row.value + more, value_raw=row.value_raw + more)

        faster = {key for key in inputs.readings if key.partition(".")[0] in names and "displacement" in key}
        return replace(inputs, readings=inputs.readings | {k: tuple(map(pushed, inputs.readings[k])) for k in faster})

    return alter


@pytest.mark.parametrize(("question", "names", "rate"), [("reference:REF", "CDK", 8.0), ("alone:A", "A", 18.0)])
def test_question_is_opened_again_if_the_motion_requests_more_than_when_answered(question, names, rate):
    moving = quiet(6, motions={n: Motion(rate, 14) for n in names}, noise=0.3)
    place = placed(A=0.0, B=100.0) if names == "A" else SITE

    def act(memory, _):
        return replace(memory, answers={question: "instrument"})

    calm = acting_at(24, act, moving, place)
    looks = acting_at(24, act, moving, place, alter=faster(names, 34, 200.0))
    assert levels(looks)[:35] == levels(calm)[:35]
    assert levels(calm)[-1] < levels(looks)[-1] == 2, "the second highest is not hidden on one word of before"
    asked = [f"health:{question}:verify" in look.decision.memory.conditions for look in looks]
    told = [f"health:{question}:set_aside" in look.decision.memory.conditions for look in looks]
    assert told[30]
    assert not asked[30]
    assert asked[-1]
    first = asked.index(True, 30)
    assert levels(looks)[first] < 2, "it is asked first, with a clock of its own"


def declared(kind, epoch, text="north face", words=("Ada", "Bo")):
    def alter(now_s, inputs):
        event = EventFact(
            at(epoch) - 3600.0, at(epoch) - 3000.0, at(epoch), kind, None, text, "Ada", 7, "command", words
        )
        return replace(inputs, events=(event,)) if now_s >= at(epoch) else inputs

    return alter


def test_earthquake_explains_a_step_that_remains_a_question_without_a_level():
    for steps in ({"A": (20, 90.0)}, {"A": (20, 90.0), "B": (20, 80.0)}):
        looks = run(quiet(7, steps=steps), alter=declared("earthquake", 20))
        assert set(levels(looks)) == {0}
        asked = looks[-1].decision.memory.conditions["health:A:verify"]
        assert "at the time of earthquake (north face; event 7 by command, confirmed by Ada and Bo)" in asked.reason
        assert "The jump does not count until somebody answers what it was" in asked.reason
    # without it, two independent ones are movement at their third epoch
    assert levels(run(quiet(7, steps={"A": (20, 90.0), "B": (20, 80.0)})))[20:23] == [0, 0, 2]


def test_unconfirmed_event_is_mentioned_and_explains_no_step():
    for steps in ({"A": (20, 90.0)}, {"A": (20, 90.0), "B": (20, 80.0)}):
        looks = run(quiet(7, steps=steps), alter=declared("earthquake", 20, words=()))
        assert levels(looks) == levels(run(quiet(7, steps=steps)))
        reason = looks[-1].decision.memory.conditions["health:A:verify"].reason
        assert "event 7 by command, not confirmed by anybody" in reason
        assert not any("events" in look.decision.evidence for look in looks)


def test_event_of_one_person_explains_a_single_step_but_suppresses_no_high_level():
    lone = run(quiet(7, steps={"A": (20, 90.0)}), alter=declared("earthquake", 20, words=("Ada",)))
    assert set(levels(lone)) == {0}
    assert (
        "Only one person has confirmed the event. Until a second person confirms it"
        in lone[-1].decision.memory.conditions["health:A:verify"].reason
    )
    (used,) = lone[-1].decision.evidence["events"]
    assert (used["via"], used["confirmed_by"], len(used["effects"])) == ("command", ["Ada"], 1)
    both = quiet(7, steps={"A": (20, 90.0), "B": (20, 80.0)})
    alone = run(both, alter=declared("earthquake", 20, words=("Ada",)))
    assert levels(alone) == levels(run(both))
    assert max(levels(alone)) == 2

    def seconded(late):
        one, two = declared("earthquake", 20, words=("Ada",)), declared("earthquake", 20)
        return lambda now_s, inputs: (two if now_s >= at(20 + late) else one)(now_s, inputs)

    assert set(levels(run(both, alter=seconded(0.5), ticks=1))) == {0}
    late = run(both, alter=seconded(3))
    assert levels(late) == levels(run(both)), "what counts already goes on counting"


def test_pending_step_is_explained_when_a_person_confirms_the_event():
    none, one = declared("earthquake", 20, words=()), declared("earthquake", 20, words=("Ada",))
    steps = quiet(7, steps={"A": (20, 90.0)})
    looks = run(steps, alter=lambda now_s, inputs: (one if now_s >= at(22) else none)(now_s, inputs))
    waited = [s.state for look in looks[20:23] for s in look.decision.memory.steps.values()]
    assert waited == ["pending", "pending", "event"]
    assert set(levels(looks)) == {0}


def test_steps_of_several_groups_in_an_earthquake_raise_no_level_and_are_repeated():
    both = {"A": (20, 90.0), "B": (20, 80.0)}
    looks = run(quiet(7, steps=both), alter=declared(" Earthquake", 20))
    turns = [sorted(k for k in x.decision.memory.conditions if k.startswith("health:site:shaken")) for x in looks]
    clock = round(DAY_S / STEP_S)
    assert set(levels(looks)) == {0}
    assert not any(turns[: 20 + clock])
    assert [turns[20 + clock], turns[20 + 2 * clock]] == [["health:site:shaken_1"], ["health:site:shaken_2"]]
    assert looks[21].decision.next_due_s <= at(20 + clock), "the service wakes for it"
    told = looks[20 + clock].decision.memory.conditions["health:site:shaken_1"]
    assert (told.level, "A, B are independent" in told.reason) == (2, True)
    memory = looks[21].decision.memory
    assert [
        needs_second_signature(SITE, find_level_of_question(SITE, memory, k, [k], at(21))) for k in memory.steps
    ] == [True, True]
    lone = run(quiet(7, steps={"A": (20, 90.0)}), alter=declared("earthquake", 20))
    assert not any("shaken" in k for look in lone for k in look.decision.memory.conditions)


def test_motion_or_silence_after_the_step_of_an_earthquake_is_movement():
    stepped = quiet(7, steps={"A": (20, 90.0)}, motions={"A": Motion(30.0, 22)}, noise=0.3)
    assert max(levels(run(stepped, alter=declared("earthquake", 20)))) == 2
    toppled = quiet(7, steps={"A": (20, 90.0)}, gaps={"A": (21, EPOCHS)})
    looks = run(toppled, alter=declared("earthquake", 20))
    assert max(levels(looks)) == 2
    assert "has been silent since the jump" in looks[-1].decision.memory.conditions["health:A:verify"].reason


@pytest.mark.parametrize("kind", ["blasting", "work"])
def test_other_events_are_mentioned_and_change_no_deadline(kind):
    stepped = quiet(7, steps={"A": (20, 90.0)})
    looks = run(stepped, alter=declared(kind, 20, "bench 4: third round"))
    assert levels(looks) == levels(run(stepped))
    reason = looks[-1].decision.memory.conditions["health:A:verify"].reason
    assert f"at the time of {kind} (bench 4: third round)" in reason
    assert "nobody answered before the deadline" in reason


@pytest.mark.parametrize("which", ["A", "AB"])
def test_earthquake_explains_only_steps_of_its_first_hours(which):
    stepped = quiet(7, steps=dict.fromkeys(which, (20, 90.0)))

    def for_a_year(now_s, inputs):
        words = ("Ada", "Bo")
        event = EventFact(at(2), at(2) + 366 * DAY_S, at(2), "earthquake", 0.2, "M5", "feed", 1, "command", words)
        return replace(inputs, events=(event,)) if now_s >= at(2) else inputs

    assert levels(run(stepped, alter=for_a_year)) == levels(run(stepped))


def test_neighbour_under_maintenance_limits_no_vote_and_a_late_event_withdraws_no_level():
    moving = quiet(6, motions={"A": Motion(30.0, 16)}, noise=0.3)

    def worked_on(now_s, inputs):
        return replace(inputs, maintenance=(MaintenanceFact("B", at(10), at(40), "Ada", None, "new mast"),))

    held, looks = run(moving, placed(A=0.0, B=100.0)), run(moving, placed(A=0.0, B=100.0), alter=worked_on)
    assert first_at(looks, 2) == first_at(run(moving), 2) < first_at(held, 2)
    late = lambda now_s, inputs: declared("earthquake", 20)(now_s, inputs) if now_s >= at(30) else inputs  # noqa: E731
    assert levels(run(quiet(7, steps={"A": (20, 90.0)}), alter=late))[26:] == [1] * (EPOCHS - 26)


def test_every_cause_means_no_movement_and_is_asked_once():
    for cause in step_states.CAUSES:
        looks = answered(22, f"A@{format_iso(from_epoch_s(at(20)))}", cause, SITE, quiet(8, steps={"A": (20, 90.0)}))
        assert set(levels(looks)) == {0}, cause
        assert not any("verify" in k for k in looks[-1].decision.memory.conditions)
    drift = {n: Motion(30.0, 18) for n in ("C", "D", "K")}
    history = quiet(9, motions=drift, noise=0.5)

    def answer_and_lower(memory, now):
        return set_level_in_memory(replace(memory, answers={"reference:REF": "instrument"}), 0, epoch_s(now))

    looks = acting_at(30, answer_and_lower, history, SITE)
    assert any("health:reference:REF:verify" in look.decision.memory.conditions for look in looks[:29])
    for look in looks[29:]:
        assert "health:reference:REF:verify" not in look.decision.memory.conditions
        assert look.decision.level == 0


def test_due_review_is_reported_and_the_bounds_still_count():
    dated = replace(SITE.criteria[0], valid_until="2026-01-05", author="Ada")
    place = replace(SITE, criteria=(dated, *SITE.criteria[1:]))
    moving = quiet(1, motions={"A": Motion(9.0, 16)})
    looks = run(moving, place)
    assert levels(looks) == levels(run(moving))
    told = ["health:v:review_due" in look.decision.memory.conditions for look in looks]
    assert told == [look.now_s >= T0 + 5 * DAY_S for look in looks]
    assert "Ada" in looks[-1].decision.memory.conditions["health:v:review_due"].reason


def test_fast_track_skips_the_dwell_only_far_beyond_the_bound():
    slow = replace(SITE.criteria[0], dwell=Dwell(6, 6))
    place = replace(SITE, criteria=(slow, *SITE.criteria[1:]))
    fast = replace(SITE, criteria=(replace(slow, fast_track=4.0), *SITE.criteria[1:]))
    sudden, gentle = quiet(2, motions={"A": Motion(60.0, 16)}), quiet(2, motions={"A": Motion(9.0, 16)})
    assert first_at(run(sudden, fast), 1) + 2 <= first_at(run(sudden, place), 1)
    raised = next(look for look in run(sudden, fast) if look.decision.level)
    assert "so a single reading is enough" in raised.decision.evidence["sentence"]
    assert levels(run(gentle, fast)) == levels(run(gentle, place))
    assert set(levels(run(quiet(2, spikes={"A": (30, 900.0)}), fast))) == {0}, "a single value is no motion"


def test_earthquake_lowers_bounds_with_their_recovery_limits_and_raises_none():
    lowers = {"valid_for_s": 30 * DAY_S, "params": (("lower_to", 0.5), ("lower_for_s", 6 * DAY_S))}
    shaken = Criterion("e", KINDS["earthquake"], (), "", (Threshold(1, over=0.1),), role="advice", **lowers)
    place = replace(SITE, criteria=(*SITE.criteria, shaken), levels=FALLING)
    gentle = quiet(3, motions={"A": Motion(3.0, 10)}, noise=0.2)

    def quake(now_s, inputs):
        event = EventFact(at(16), at(16), at(16), "earthquake", 0.3, "M5", "feed", 1, "mqtt")
        return replace(inputs, events=(event,)) if now_s >= at(16) else inputs

    assert max(levels(run(gentle, place))) == 0, "3 mm/day is below the bound of 4"
    looks = run(gentle, place, alter=quake)
    assert first_at(looks, 1) in {16, 17, 18, 19, 20}, "above the lowered bound of 2"
    assert "lowered to 0.5" in looks[20].decision.evidence["bounds"]
    # when the days are over the declared bound counts again; 3 is above its recovery limit of 2.4: it stands
    assert levels(looks)[-1] == 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        lower_bounds(SITE, 1.5)


def test_memory_is_read_back_without_loss():
    looks = run(quiet(1, motions={"A": Motion(9.0, 16)}))
    spelled = json.loads(canonical_json(looks[-1].decision.memory.to_json()))
    assert Memory.read(spelled) == looks[-1].decision.memory
    assert not {"rules", "bounds"} & set(looks[-1].decision.evidence)
    asked = Memory(asked={"alone:A": 1.0}, heights={"alone:B": 2}, signed={"alone:A": Signature("weather", "Ada", 2)})
    assert Memory.read(json.loads(json.dumps(asked.to_json()))) == asked


def alone_said_no(height):
    def act(memory, _):
        (key,) = memory.steps
        step = replace(memory.steps[key], state="instrument")
        return replace(memory, answers={key: "instrument"}, steps={key: step}, heights={key: height})

    return act


@pytest.mark.parametrize(("height", "level"), [(0, 2), (3, 0)])
def test_answer_of_one_person_suppresses_neither_silence_nor_a_second_group(height, level):
    fallen = quiet(6, steps={"A": (20, 400.0)}, gaps={"A": (21, EPOCHS)}, noise=0.3)
    looks = acting_at(22, alone_said_no(height), fallen, SITE)
    assert levels(looks)[-1] == level, "two people may suppress the level, one may not"
    assert ("health:A:verify" in looks[-1].decision.memory.conditions) == (level > 0)
    both = quiet(6, steps={"A": (20, 400.0), "B": (21, 400.0)}, noise=0.3)
    reopened = acting_at(22, alone_said_no(height), both, SITE)
    assert (levels(reopened)[-1] == 3) == (level > 0)


@pytest.mark.parametrize("key", ["v|Z", "gone|A", "rule|wet|v|A", "step|Z@2026-03-01T06:00:00.000000Z"])
def test_level_of_an_undeclared_supporter_is_reported_to_a_person(key):
    name = key.removeprefix("step|")
    steps = {StepKey.read(name): Step(T0, T0, 90.0, 1, "counted", join(["step at Z"]))} if name != key else {}
    supporters = {read_supporter(key): 1}
    looks = acting_at(5, lambda m, _: replace(m, level=1, supporters=supporters, steps=steps), quiet(6), SITE)
    told = ["health:site:cannot_see" in look.decision.memory.conditions for look in looks]
    assert levels(looks)[4:] == [1] * (len(looks) - 4)
    hold = round(SITE.fusion.hold_when_missing_s / STEP_S)
    assert told.index(True) == 4 + hold
    assert all(told[4 + hold :])
    assert looks[5].decision.next_due_s <= at(4 + hold)
