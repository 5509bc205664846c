"""Events that no operator confirmed lower no level, at any decision of any history."""

import random
from dataclasses import replace

import pytest

from monitor.decision.records import EventFact
from monitor.sites.records import Criterion, Threshold
from tests.data.criteria import KINDS
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import DAY_S, SITE, START, STEP_S, levels, quiet, run, seeded

T0 = START.timestamp()
SHAKEN = Criterion(
    "q",
    KINDS["earthquake"],
    (),
    "",
    (Threshold(1, over=0.1),),
    role="advice",
    valid_for_s=2 * DAY_S,
    params=(("lower_to", 0.5), ("lower_for_s", 3 * DAY_S)),
)


def draw_events(seed):
    """Return a function that adds many events of any kind and size to inputs, as an attacker would send them."""
    rng = random.Random(seed)
    flood = []
    for number in range(rng.randint(1, 30)):
        from_s = T0 + rng.uniform(0, 48) * STEP_S
        kind = rng.choice(("earthquake", "Earthquake ", "work", "blasting"))
        value = rng.choice((None, 0.01, 0.3, 4.9, 7.0))
        known_s = from_s + rng.choice((0.0, 0.5, 3.0)) * STEP_S
        flood.append(EventFact(from_s, from_s + 3600.0, known_s, kind, value, "M 5", "feed", number, "mqtt"))
    return lambda now_s, inputs: replace(inputs, events=tuple(e for e in flood if e.received_s <= now_s))


def find_lower(plain, with_events):
    """Return the decisions with a lower level than in the same history without events."""
    return [i for i, (a, b) in enumerate(zip(levels(plain), levels(with_events), strict=True)) if b < a]


STRICTER = replace(SITE, criteria=(*SITE.criteria, SHAKEN))
# A site whose size of a questioned jump follows from the bounds.
DERIVED = replace(
    STRICTER,
    stations=tuple(replace(s, series=tuple(replace(k, verify_step=None) for k in s.series)) for s in SITE.stations),
)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("histories", with_soak(6, 400))
@pytest.mark.parametrize("site", [SITE, STRICTER, DERIVED], ids=["plain", "stricter", "derived"])
def test_unsigned_events_lower_no_level_at_any_evaluation(site, histories):
    histories_with_matches = 0
    for seed in range(histories):
        history = seeded(seed)
        # Simultaneous steps of several stations, which an earthquake would explain.
        if seed % 3 == 0:
            history = quiet(seed, steps={"A": (20, 90.0 + seed), "B": (20, 80.0), "C": (25, 50.0)})
        looks = run(history, site, alter=draw_events(seed))
        assert find_lower(run(history, site), looks) == [], seed
        histories_with_matches += any(
            " at the time of " in s.reason for look in looks for s in look.decision.memory.steps.values()
        )
    assert histories_with_matches >= histories // 6, "too few events coincided with a step"


def test_motion_in_leaps_is_no_step_while_bounds_are_stricter():
    """Leaps below the size of a questioned jump are motion, also while an event halves the bounds for some days."""
    still = replace(quiet(3), noise=0.02)
    fine = replace(
        DERIVED,
        fusion=replace(SITE.fusion, verify_within_s=6 * DAY_S),
        stations=tuple(
            replace(s, series=tuple(replace(k, noise_floor=0.1) for k in s.series)) for s in DERIVED.stations
        ),
    )

    def leap(now_s, inputs):
        rows = inputs.readings.get("A.displacement", ())
        moved = [(r, r.value + 5.0 * (((r.observed_at - START).total_seconds() / STEP_S - 12) // 2)) for r in rows]
        displaced = tuple(
            replace(r, value=v, value_raw=v) if (r.observed_at - START).total_seconds() / STEP_S >= 12 else r
            for r, v in moved
        )
        return replace(inputs, readings={**inputs.readings, "A.displacement": displaced})

    shaken = EventFact(T0 + 8 * STEP_S, T0 + 8 * STEP_S, T0 + 8 * STEP_S, "earthquake", 0.3, "M 5", "feed", 1, "mqtt")

    def leap_with_earthquake(now_s, inputs):
        events = (shaken,) if now_s >= shaken.received_s else ()
        return replace(leap(now_s, inputs), events=events)

    plain, looks = run(still, fine, alter=leap), run(still, fine, alter=leap_with_earthquake)
    assert max(levels(plain)) >= 1
    assert find_lower(plain, looks) == []
