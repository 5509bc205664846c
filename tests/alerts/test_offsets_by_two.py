"""An offset counts from its second signature. Until then no level is lower or later than without it."""

import random
from dataclasses import replace

import pytest

from monitor.decision.records import OffsetFact
from monitor.text.instants import epoch_s
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import (
    DAY_S,
    EPOCHS,
    MOVERS,
    SITE,
    START,
    STEP_S,
    Motion,
    levels,
    quiet,
    run,
    seeded,
)

T0 = START.timestamp()
HIGH = SITE.top_level - 1
FALL = {"A": Motion(120.0, 16), "B": Motion(110.0, 16)}


def declare(offsets, second=None):
    """Declare offsets (station, epoch, size) at their epoch; the readings contain those that a second person signed."""

    def alter(now_s, inputs):
        known = [(n, T0 + epoch * STEP_S, size) for n, epoch, size in offsets if T0 + epoch * STEP_S <= now_s]
        readings = dict(inputs.readings)
        for name in {n for n, _, _ in known} if second else ():
            rows = []
            for r in inputs.readings.get(f"{name}.displacement", ()):
                total = sum(size for n, at_s, size in known if n == name and at_s <= epoch_s(r.observed_at))
                rows.append(replace(r, offset_applied=total, value=r.value_raw - total) if total else r)
            readings[f"{name}.displacement"] = tuple(rows)
        facts = tuple(
            OffsetFact(i, n, at_s, "ada", second, "displacement", counts=second is not None)
            for i, (n, at_s, _) in enumerate(known, 1)
        )
        return replace(inputs, readings=readings, offsets=facts)

    return alter


def hide(motions):
    """Return one offset for each epoch of a movement, as large as the movement of that epoch."""
    return [(n, e, m.rate * STEP_S / DAY_S) for e in range(EPOCHS) for n, m in motions.items() if e >= m.from_epoch]


def find_lower(plain, altered):
    """Return the evaluations with a lower level than without the declaration."""
    return [i for i, (a, b) in enumerate(zip(levels(plain), levels(altered), strict=True)) if b < a]


def test_waiting_offsets_of_the_size_of_the_movement_hide_nothing():
    history = quiet(5, motions=FALL)
    plain, waiting = run(history), run(history, alter=declare(hide(FALL)))
    assert max(levels(plain)) == SITE.top_level
    assert find_lower(plain, waiting) == []
    assert max(levels(run(history, alter=declare(hide(FALL), "bo")))) == 0, "what two people declare counts"


def test_waiting_offset_is_a_notice_and_urgent_at_a_raised_level():
    calm = run(quiet(5), alter=declare([("C", 20, 5.0)]))
    assert calm[-1].decision.memory.conditions["health:C:offset_1"].level == 1
    moving = run(quiet(5, motions=FALL), alter=declare([("C", 20, 5.0)]))
    notice = moving[-1].decision.memory.conditions["health:C:offset_1"]
    assert notice.level == 2
    assert "offset 1 by ada on C displacement needs the confirmation of a second person" in str(notice.reason)
    assert "does not count yet" in str(notice.reason)


def test_jump_stays_a_question_until_the_second_person_signs():
    history = quiet(7, steps={"A": (20, 90.0)})
    plain, waiting = run(history), run(history, alter=declare([("A", 20, 90.0)]))
    assert [look.decision.memory.steps for look in waiting] == [look.decision.memory.steps for look in plain]
    assert "health:A:verify" in waiting[21].decision.memory.conditions
    signed = run(history, alter=declare([("A", 20, 90.0)], "bo"))
    assert (set(levels(signed)), signed[-1].decision.memory.steps) == ({0}, {})


def test_waiting_offset_prevents_full_observability():
    calm = run(quiet(5), alter=declare([("C", 20, 5.0)]))[-1].decision
    assert calm.observability == "degraded"
    assert "C.displacement" in calm.memory.incomplete
    signed = run(quiet(5), alter=declare([("C", 20, 0.1)], "bo"))[-1].decision
    assert "C.displacement" not in signed.memory.incomplete


@pytest.mark.parametrize("histories", with_soak(4, 400))
def test_waiting_offsets_lower_no_level_at_any_evaluation(histories):
    raised = 0
    for seed in range(histories):
        rng = random.Random(seed)
        history = seeded(seed)
        offsets = sorted(
            (rng.choice(MOVERS), rng.randrange(8, EPOCHS), rng.choice((-1.0, 1.0, 1.0)) * rng.uniform(2.0, 120.0))
            for _ in range(rng.randint(1, 12))
        )
        if seed % 3 == 0:
            offsets = hide(history.motions)
        offsets.sort(key=lambda o: o[1])
        plain = run(history)
        assert find_lower(plain, run(history, alter=declare(offsets))) == [], seed
        raised += max(levels(plain)) >= HIGH
    assert raised >= histories // 3, "hardly any high level was at stake"
