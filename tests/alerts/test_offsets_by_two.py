"""An offset that one person alone stands behind lowers neither of the two highest levels, at any look."""

import random
from dataclasses import replace

import pytest

from monitor.decision.keys import VoteKey
from monitor.decision.records import ForecastFact, OffsetFact, seconds
from monitor.decision.series.assessment import EvaluationCache
from monitor.sites.records import Criterion, Threshold
from tests.data.criteria import KINDS
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
    """Offsets (station, epoch, size), each known at the epoch it begins with: what the view shows then."""

    def alter(now_s, view):
        known = [(n, T0 + epoch * STEP_S, size) for n, epoch, size in offsets if T0 + epoch * STEP_S <= now_s]
        readings = dict(view.readings)
        for name in {n for n, _, _ in known}:
            rows = []
            for r in view.readings.get(f"{name}.displacement", ()):
                total = sum(size for n, at_s, size in known if n == name and at_s <= seconds(r.observed_at))
                rows.append(replace(r, offset_applied=total, value=r.value_raw - total) if total else r)
            readings[f"{name}.displacement"] = tuple(rows)
        facts = tuple(
            OffsetFact(i, n, at_s, "ada", second, "displacement", 0.0 if second else size)
            for i, (n, at_s, size) in enumerate(known, 1)
        )
        return replace(view, readings=readings, offsets=facts)

    return alter


def hide(motions):
    return [(n, e, m.rate * STEP_S / DAY_S) for e in range(EPOCHS) for n, m in motions.items() if e >= m.from_epoch]


def find_lower(plain, declared):
    """Looks at which one of the two highest levels stood without the offsets, and a lower one with them."""
    return [i for i, (a, b) in enumerate(zip(levels(plain), levels(declared), strict=True)) if b < a >= HIGH]


def test_offsets_of_the_size_of_the_movement_keep_no_falling_slope_green():
    history = quiet(5, motions=FALL)
    plain, one = run(history), run(history, alter=declare(hide(FALL)))
    assert max(levels(plain)) == SITE.top_level
    assert find_lower(plain, one) == []
    reasons = [v.reason for v in one[-1].decision.memory.votes.values() if v.level >= HIGH]
    assert any(
        "as measured, without offset" in r and "of ada, which no second person has confirmed" in r for r in reasons
    )
    assert max(levels(run(history, alter=declare(hide(FALL), "bo")))) == 0, "what two people declare counts"


def test_an_unconfirmed_offset_counts_below_and_a_moved_antenna_asks_for_a_second_person():
    slow = {"A": Motion(9.0, 16)}
    history = quiet(5, motions=slow)
    assert max(levels(run(history))) == 1
    looks = run(history, alter=declare(hide(slow)))
    assert max(levels(looks)) == 0
    told = {k: c.level for k, c in looks[-1].decision.memory.conditions.items() if ":offset_" in k}
    assert set(told.values()) == {1}
    moving = run(quiet(5, motions=FALL), alter=declare([("C", 20, 5.0)]))
    assert moving[-1].decision.memory.conditions["health:C:offset_1"].level == 2
    history = quiet(7, steps={"A": (20, 90.0)})
    one = run(history, alter=declare([("A", 20, 90.0)]))
    assert set(levels(one)) == {0}
    assert {s.state for s in one[-1].decision.memory.steps.values()} == {"offset"}
    two = run(history, alter=declare([("A", 20, 90.0)], "bo"))
    assert (set(levels(two)), two[-1].decision.memory.steps) == ({0}, {})
    # with an independent station it counts, as it would without the offset, until a second person confirms
    pair = quiet(7, steps={"A": (20, 90.0), "B": (20, 80.0)})
    both = [("A", 20, 90.0), ("B", 20, 80.0)]
    levels_of = [max(levels(run(pair, alter=alter))) for alter in (None, declare(both), declare(both, "bo"))]
    assert levels_of == [2, 2, 0]


def test_what_is_held_of_the_values_as_measured_changes_no_decision():
    warm = EvaluationCache()
    offsets = [*hide(FALL), ("C", 20, 5.0)]
    history = quiet(5, motions=FALL)
    cold = [look.decision.to_json() for look in run(history, alter=declare(offsets), cold=True)]
    assert [look.decision.to_json() for look in run(history, alter=declare(offsets), warm=warm)] == cold
    assert {station for _, station in warm.trackers} >= {"A", "A~measured", "B~measured", "C~measured"}


def test_a_forecast_of_values_with_an_offset_of_one_person_takes_no_high_level_back():
    bounds = (Threshold(3, over=50.0, window_s=DAY_S),)
    c = Criterion("f", KINDS["forecast"], ("A",), "displacement", bounds, valid_for_s=9 * DAY_S)
    site = replace(SITE, criteria=(*SITE.criteria, c))
    for second, level in ((None, 3), ("bo", 0)):

        def alter(now_s, view, second=second):
            view = declare([("A", 20, 5.0)], second)(now_s, view)
            at_s, gain = now_s - 60.0, 90.0 if now_s < T0 + 20 * STEP_S else 1.0
            fan = {"shown": True, "q025": gain, "q975": gain}
            fact = ForecastFact("A", "displacement", at_s, at_s + DAY_S, DAY_S, gain, gain, gain, 0.0, "lld", **fan)
            return replace(view, forecasts=(fact,))

        looks = run(quiet(5), site, alter=alter)
        votes = [look.decision.memory.votes[VoteKey("f", "A")].level for look in looks]
        assert (votes[18], votes[-1]) == (3, level), second


@pytest.mark.parametrize("histories", with_soak(8, 400))
def test_offsets_of_one_person_lower_no_high_level_at_any_look(histories):
    met = 0
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
        if met < histories // 8:
            met += max(levels(plain)) >= HIGH > max(levels(run(history, alter=declare(offsets, "bo"))))
    assert met >= histories // 8, "hardly any of the offsets would have hidden a high level"
