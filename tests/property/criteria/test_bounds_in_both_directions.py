"""A criterion with bounds in both directions decides like one criterion for each direction. Mutants break the law."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.criteria.kinds import level
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.errors import ConfigError
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.text.instants import epoch_s, from_epoch_s
from tests.fixtures.examples import expensive_examples

T0_S = 1.8e9
HOUR_S = 3600.0
SITE = """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
[fusion]
top_needs = 1
[[station]]
id = "T1"
[[station.series]]
quantity = "tilt_x"
unit = "mrad"
interval = "1h"
noise_floor = 0.02
verify_step = 1000.0
{criteria}
"""
BOTH = """
[[criterion]]
id = "tilt"
kind = "{kind}"
series = "T1.tilt_x"
dwell = {{hits = 2, of = 3}}
{keys}
"""
KEYS = {
    "rate": (
        'yellow = {over = 2.0, under = -3.0, window = "12h"}',
        'orange = {over = 6.0, under = -6.0, window = "12h"}',
    ),
    "level": ("yellow = {over = 2.0, under = -3.0}", "orange = {over = 6.0, under = -6.0}"),
}


def make_site(kind):
    """Return a site with one criterion that has bounds in both directions."""
    return parse_site(SITE.format(criteria=BOTH.format(kind=kind, keys="\n".join(KEYS[kind]))), "cut.toml")


def split_sides(kind):
    """Return the site of `make_site(kind)` with its criterion split into one for each side."""
    site = make_site(kind)
    (criterion,) = site.criteria
    parts = []
    for side in ("over", "under"):
        thresholds = tuple(threshold for threshold in criterion.thresholds if threshold.side == side)
        parts.append(replace(criterion, id=f"tilt-{side}", thresholds=thresholds))
    return replace(site, criteria=tuple(parts), version="split")


def list_levels(site, values):
    """Return the level of the site and its lowest possible level after each reading."""
    readings = []
    for hour, value in enumerate(values):
        at = from_epoch_s(T0_S + hour * HOUR_S)
        readings.append(Reading(at, at, 0, value, 0.0, value, None, ()))
    memory = Memory()
    prepared = PreparedSite(site)
    levels = []
    for count in range(14, len(readings) + 1):
        at = readings[count - 1].observed_at
        newest = NewestEpoch(epoch_s(at), epoch_s(at))
        inputs = DecisionInputs({"T1.tilt_x": tuple(readings[max(0, count - 40) : count])}, {"T1.tilt_x": newest})
        decision = decide(prepared, memory, inputs, at)
        memory = decision.memory
        levels.append(decision.level)
    return levels


def simulate(rates_per_day, seed):
    """Return hourly values with the given rates (per day), each for eight hours."""
    rng = random.Random(seed)
    value = 0.0
    values = []
    for rate in (0.0, 0.0, *rates_per_day):
        for _ in range(8):
            value += rate / 24.0
            values.append(round(value + rng.gauss(0.0, 0.02), 4))
    return values


RATES = st.lists(st.sampled_from([-20.0, -8.0, -4.0, 0.0, 3.0, 8.0, 20.0]), min_size=2, max_size=5)


@expensive_examples(25, deadline=None)
@given(kind=st.sampled_from(["rate", "level"]), rates_per_day=RATES, seed=st.integers(0, 100))
def test_both_directions_decide_like_one_criterion_for_each(kind, rates_per_day, seed):
    values = simulate(rates_per_day, seed)
    assert list_levels(make_site(kind), values) == list_levels(split_sides(kind), values)


# Motion up that later turns round, and the level that it must reach.
EXAMPLES = [
    ("rate", [8.0, 8.0], 2),
    ("rate", [-8.0, -8.0], 2),
    ("rate", [-4.0, -4.0], 1),
    ("level", [20.0, 0.0], 2),
    ("level", [-20.0, 0.0], 2),
]


@pytest.mark.parametrize(("kind", "rates_per_day", "highest"), EXAMPLES)
def test_either_direction_raises_the_level(kind, rates_per_day, highest):
    assert max(list_levels(make_site(kind), simulate(rates_per_day, 1))) == highest


# ---- mutants ---------------------------------------------------------------------------------------------------
def keep_upper_bound_only(levels):
    """Mutant of `find_levels` that sees only the first bound of each level."""
    return lambda bounds: levels(list({bound["level"]: bound for bound in reversed(bounds)}.values()))


def require_both_bounds(levels):
    """Mutant of `find_levels` that raises a level only if both of its bounds are crossed."""

    def find(bounds):
        raised, held = levels(bounds)
        crossed = [bound["level"] for bound in bounds if bound["hits"] >= bound["needs"]]
        return (raised if crossed.count(raised) > 1 else 0), held

    return find


def add_hits_of_both_bounds(levels):
    """Mutant of `find_levels` that counts the readings beyond either bound together."""

    def find(bounds):
        hits = {}
        for bound in bounds:
            hits[bound["level"]] = hits.get(bound["level"], 0) + bound["hits"]
        return levels([{**bound, "hits": hits[bound["level"]]} for bound in bounds])

    return find


@pytest.mark.parametrize("mutate", [keep_upper_bound_only, require_both_bounds, add_hits_of_both_bounds])
def test_law_finds_each_mutant(monkeypatch, mutate):
    """Motion down, motion up, and a swing to both sides: one reading beyond each bound is no dwell of two."""
    swing = [*[0.0, 0.1] * 12, 2.5, -3.5, 0.0, 0.1]
    records = [simulate([-20.0, 0.0], 1), simulate([20.0, 0.0], 1), swing]
    expected = [list_levels(split_sides("level"), record) for record in records]
    assert [list_levels(make_site("level"), record) for record in records] == expected
    monkeypatch.setattr(level, "find_levels", mutate(level.find_levels))
    assert [list_levels(make_site("level"), record) for record in records] != expected


def test_reason_names_the_direction_that_is_crossed():
    site = make_site("rate")
    values = simulate([-8.0, -8.0], 1)
    readings = tuple(
        Reading(from_epoch_s(T0_S + hour * HOUR_S), from_epoch_s(T0_S + hour * HOUR_S), 0, value, 0.0, value, None, ())
        for hour, value in enumerate(values)
    )
    newest_s = epoch_s(readings[-1].observed_at)
    inputs = DecisionInputs({"T1.tilt_x": readings}, {"T1.tilt_x": NewestEpoch(newest_s, newest_s)})
    decision = decide(PreparedSite(site), Memory(), inputs, readings[-1].observed_at)
    (vote,) = decision.evidence["words"]
    assert vote["raise_level"] == 2
    assert "under -6 mrad/day" in str(vote["reason"])
    (rate,) = decision.rates
    assert (rate.bound, rate.bound_level) == (-6.0, 2)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["yellow = {over = 2.0, under = 2.0}"], "under: expected less than over"),
        (["yellow = {}"], "over, under or both"),
        (["yellow = {over = 2.0, under = -2.0}", "orange = {over = 4.0}"], "same sides"),
        (
            ["yellow = {over = 2.0, under = -2.0}", "orange = {over = 4.0, under = -1.0}"],
            "orange.under: expected at most -2",
        ),
        (
            ["yellow = {over = 2.0, under = -2.0}", "orange = {over = 1.0, under = -3.0}"],
            "orange.over: expected at least 2",
        ),
    ],
)
def test_contradictory_bounds_are_rejected(keys, expected):
    with pytest.raises(ConfigError) as refused:
        parse_site(SITE.format(criteria=BOTH.format(kind="level", keys="\n".join(keys))), "cut.toml")
    assert expected in str(refused.value)
