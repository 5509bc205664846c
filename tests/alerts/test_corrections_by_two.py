"""A correction that two people have not signed lowers no level, and raises one where it shows more motion."""

import random
from dataclasses import replace

import pytest

from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.text.instants import epoch_s, format_iso
from tests.alerts.test_offsets_by_two import FALL, HIGH, find_lower
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import DAY_S, SITE, START, STEP_S, Motion, levels, quiet, run, seeded

T0 = START.timestamp()


def correct(motions, share, *, sigma=None):
    """Correct each value by a share of a movement, unsigned, as soon as it has arrived."""

    def alter(now_s, inputs):
        unsigned = {}
        for name, motion in motions.items():
            rows = []
            for r in inputs.readings.get(f"{name}.displacement", ()):
                moved = share * motion.rate / DAY_S * max(0.0, epoch_s(r.observed_at) - T0 - motion.from_epoch * STEP_S)
                value = r.value_raw + moved
                known = {"value_raw": value, "value": value - r.offset_applied, "sigma": sigma or r.sigma}
                rows.append(replace(r, revision=1, **known))
            if rows:
                unsigned[f"{name}.displacement"] = tuple(rows)
        return replace(inputs, unsigned=unsigned)

    return alter


def test_unsigned_corrections_of_the_size_of_the_movement_hide_nothing():
    history = quiet(5, motions=FALL)
    plain = run(history)
    assert max(levels(plain)) == SITE.top_level
    assert find_lower(plain, run(history, alter=correct(FALL, -1.0))) == []
    assert find_lower(plain, run(history, alter=correct(FALL, 0.0, sigma=900.0))) == []


def test_unsigned_corrections_that_reveal_motion_raise_the_level():
    history = quiet(5)
    assert max(levels(run(history))) == 0
    revealed = run(history, alter=correct(FALL, 1.0))
    assert max(levels(revealed)) == SITE.top_level
    reasons = [str(vote.reason) for vote in revealed[-1].decision.memory.votes.values() if vote.level >= HIGH]
    assert reasons
    assert all("with corrections that two people have not signed yet" in reason for reason in reasons)


def test_level_raised_by_unsigned_corrections_stays_while_they_request_it():
    history = quiet(5)
    alter = correct({"A": Motion(120.0, 16)}, 1.0)
    assert find_lower(run(history), run(history, alter=alter)) == []
    lasts = levels(run(history, alter=alter))
    assert lasts == sorted(lasts)


def test_each_station_with_unsigned_corrections_is_one_question():
    last = run(quiet(5), alter=correct({"A": Motion(9.0, 40)}, 1.0))[-1].decision
    (question,) = [key for key in last.memory.conditions if key.startswith("health:corrected:")]
    assert question.startswith("health:corrected:A@")
    reason = str(last.memory.conditions[question].reason)
    assert "If the values of the instrument were wrong, answer the cause, such as `instrument`." in reason
    assert last.observability == "degraded"
    assert "A.displacement" in last.memory.incomplete


def test_corrections_that_a_person_refused_are_no_open_question():
    last = run(quiet(5), alter=correct({"A": Motion(9.0, 40)}, 1.0))[-1]
    assert "second person" in str(last.decision.memory.incomplete["A.displacement"])
    newest = max(reading.received_at for reading in last.inputs.unsigned["A.displacement"])
    question = f"corrected:A@{format_iso(newest)}"
    memory = replace(last.decision.memory, answers={question: "movement"}, conditions={})
    decision = decide(PreparedSite(SITE), memory, last.inputs, last.now)
    assert not [key for key in decision.memory.conditions if key.startswith("health:corrected:")]
    assert "A.displacement" not in decision.memory.incomplete


def test_cached_tracks_with_unsigned_corrections_change_no_decision():
    warm, history = EvaluationCache(), quiet(5, motions=FALL)
    cold = [look.decision.to_json() for look in run(history, alter=correct(FALL, -1.0), cold=True)]
    assert [look.decision.to_json() for look in run(history, alter=correct(FALL, -1.0), warm=warm)] == cold
    assert {station for _, station in warm.trackers} >= {"A", "A~unsigned", "B~unsigned"}


def test_frozen_inputs_contain_unsigned_corrections():
    reading = Reading(START, START, 0, 5.0, 0.0, 5.0, 1.0, ())
    inputs = DecisionInputs(
        {"A.displacement": (reading,)}, unsigned={"A.displacement": (replace(reading, revision=1),)}
    )
    assert DecisionInputs.read(inputs.to_json()) == inputs
    assert "unsigned" not in DecisionInputs().to_json()


@pytest.mark.soak
@pytest.mark.parametrize("histories", with_soak(4, 400))
def test_unsigned_corrections_lower_no_level_at_any_evaluation_of_drawn_histories(histories):
    raised = 0
    for seed in range(histories):
        rng, history = random.Random(seed), seeded(seed)
        plain = run(history)
        corrected = run(history, alter=correct(history.motions, -rng.choice((0.5, 1.0, 1.5))))
        assert find_lower(plain, corrected) == [], seed
        raised += max(levels(plain)) >= HIGH
    assert raised >= histories // 3, "hardly any high level was at stake"
