"""A correction that no two people confirmed lowers neither of the two highest levels, at any look."""

import random
from dataclasses import replace

import pytest

from monitor.decision.records import DecisionInputs, Memory, seconds
from monitor.decision.series.assessment import DecisionContext, EvaluationCache
from monitor.decision.series.corrections import find_corrections
from monitor.readings.records import Reading
from tests.alerts.test_offsets_by_two import FALL, HIGH, find_lower, levels
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import DAY_S, SITE, START, STEP_S, quiet, reading, run, seeded

T0 = START.timestamp()


def flatten(motions, share=1.0, *, sigma=None):
    """Every value without a share of the movement so far, brought as a correction as soon as it had arrived."""

    def alter(now_s, view):
        readings = dict(view.readings)
        for name, motion in motions.items():
            rows = []
            for r in view.readings.get(f"{name}.displacement", ()):
                moved = share * motion.rate / DAY_S * max(0.0, seconds(r.observed_at) - T0 - motion.from_epoch * STEP_S)
                value = r.value_raw - moved
                known = {"value_raw": value, "value": value - r.offset_applied, "sigma": sigma or r.sigma}
                rows.append(replace(r, revision=1, first=r, **known))
            readings[f"{name}.displacement"] = tuple(rows)
        return replace(view, readings=readings)

    return alter


def test_corrections_of_the_size_of_the_movement_keep_no_falling_slope_green():
    history = quiet(5, motions=FALL)
    plain = run(history)
    assert max(levels(plain)) == SITE.top_level
    one = run(history, alter=flatten(FALL))
    assert find_lower(plain, one) == []
    assert find_lower(plain, run(history, alter=flatten(FALL, 0.0, sigma=900.0))) == []


def test_what_is_held_of_the_values_as_they_arrived_changes_no_decision():
    warm, history = EvaluationCache(), quiet(5, motions=FALL)
    cold = [look.decision.to_json() for look in run(history, alter=flatten(FALL), cold=True)]
    assert [look.decision.to_json() for look in run(history, alter=flatten(FALL), warm=warm)] == cold
    assert {station for _, station in warm.trackers} >= {"A", "A~arrived", "B~arrived"}


@pytest.mark.parametrize("further", [0, 1])
def test_a_correction_in_the_middle_is_seen_by_what_looks_at_new_readings_alone(further):
    warm, rows = EvaluationCache(), tuple(reading(T0 + k * STEP_S, T0 + k * STEP_S, float(k % 3)) for k in range(12))

    def find(readings):
        view = DecisionInputs({"A.displacement": readings})
        return find_corrections(DecisionContext(SITE, view, Memory(), T0 + 12 * STEP_S, warm))

    assert find(rows[:10]) == []
    changed = replace(rows[4], value_raw=500.0, value=500.0, revision=1, first=rows[4])
    (found,) = find((*rows[:4], changed, *rows[5 : 10 + further]))
    assert found.readings == (changed,)
    assert find(rows) == [], "and gone when it is taken back"


def test_what_was_frozen_holds_the_value_that_came_first():
    view = flatten(FALL)(0.0, DecisionInputs({"A.displacement": (Reading(START, START, 0, 5.0, 0.0, 5.0, 1.0, ()),)}))
    assert DecisionInputs.read(view.to_json()) == view
    assert DecisionInputs.read(view.to_json()).readings["A.displacement"][0].first.value == 5.0


@pytest.mark.parametrize("histories", with_soak(8, 400))
def test_corrections_lower_no_high_level_at_any_look_of_drawn_stories(histories):
    met = 0
    for seed in range(histories):
        rng, history = random.Random(seed), seeded(seed)
        plain = run(history)
        corrected = run(history, alter=flatten(history.motions, rng.choice((0.5, 1.0, 1.5))))
        assert find_lower(plain, corrected) == [], seed
        met += max(levels(plain)) >= HIGH
    assert met >= histories // 3, "hardly any high level was at stake"
