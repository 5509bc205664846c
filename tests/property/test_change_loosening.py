"""A change of the site file that change control calls harmless lowers or delays no high level, on random histories."""

from dataclasses import replace
from functools import cache

import pytest

from monitor.alerts.acts.loosening import find_loosening
from monitor.sites.records import Criterion, Dwell, Threshold
from tests.data.criteria import KINDS
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import DAY_S, MOVERS, SITE, THRESHOLDS, VALID_S, levels, run, seeded

REACHING = (6, 36)  # seeds whose histories reach the top level
HIGH = SITE.top_level - 1


def rule(**changed):
    return replace(SITE, criteria=(replace(SITE.criteria[0], **changed), *SITE.criteria[1:]))


def bounds(*over):
    return rule(thresholds=tuple(replace(t, over=o) for t, o in zip(THRESHOLDS, over, strict=True)))


def fusion(**changed):
    return replace(SITE, fusion=replace(SITE.fusion, **changed))


ADDED = Criterion(
    "n",
    KINDS["level"],
    MOVERS,
    "displacement",
    (Threshold(2, over=30.0), Threshold(3, over=60.0)),
    dwell=Dwell(2, 3, 2 * DAY_S),
    valid_for_s=VALID_S,
)
HARMLESS = {
    "lower bounds": bounds(2.5, 10.0, 40.0),
    "a lower bound of red": bounds(4.0, 16.0, 40.0),
    "fewer hits of more within longer": rule(dwell=Dwell(of=4, within_s=4 * DAY_S)),
    "later recovered, fewer sigmas, longer valid": rule(recover=0.3, min_sigma=1.0, valid_for_s=5 * DAY_S),
    "a fast track": rule(fast_track=1.5),
    "one witness is enough": fusion(top_needs=1),
    "sooner counted, sooner told": fusion(verify_within_s=DAY_S / 2, hold_when_missing_s=DAY_S),
    "one more criterion": replace(SITE, criteria=(*SITE.criteria, ADDED)),
}
LOOSENING = {
    "a higher bound": bounds(4.0, 16.0, 400.0),
    "more hits": rule(dwell=Dwell(12, 12, 9 * DAY_S)),
    "more sigmas": rule(min_sigma=90.0),
    "more witnesses": fusion(top_needs=4),
    "advice": rule(role="advice"),
}


@cache
def play(seed):
    return levels(run(seeded(seed)))


def lower(site, seeds):
    """Return the seeds with a decision at which a high level is lower than with the original site file."""
    for seed in seeds:
        pairs = zip(play(seed), levels(run(seeded(seed), site)), strict=True)
        if any(now < was for was, now in pairs if was >= HIGH):
            yield seed


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("seeds", with_soak(REACHING, range(100)))
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_change_lowers_no_high_level(name, seeds):
    assert find_loosening(SITE, HARMLESS[name]) == ()
    assert list(lower(HARMLESS[name], seeds)) == []


@pytest.mark.parametrize("name", LOOSENING)
def test_change_that_lowers_a_high_level_is_loosening(name):
    assert any(lower(LOOSENING[name], REACHING))
    assert find_loosening(SITE, LOOSENING[name])


def test_histories_reach_the_top_level():
    assert [max(play(seed)) for seed in REACHING] == [SITE.top_level] * len(REACHING)


TWO_SIDED = (Threshold(2, over=30.0), Threshold(2, under=-20.0), Threshold(3, over=60.0), Threshold(3, under=-40.0))


@pytest.mark.parametrize(
    ("thresholds", "is_loosening"),
    [
        ((*TWO_SIDED[:3], Threshold(3, under=-30.0)), False),
        ((*TWO_SIDED[:3], Threshold(3, under=-50.0)), True),
        (tuple(threshold for threshold in TWO_SIDED if threshold.side == "over"), True),
    ],
)
def test_bound_of_either_direction_may_not_be_loosened(thresholds, is_loosening):
    before = replace(SITE, criteria=(*SITE.criteria, replace(ADDED, thresholds=TWO_SIDED)))
    after = replace(SITE, criteria=(*SITE.criteria, replace(ADDED, thresholds=thresholds)))
    assert bool(find_loosening(before, after)) == is_loosening


def test_second_direction_is_no_loosening():
    one_sided = tuple(threshold for threshold in TWO_SIDED if threshold.side == "over")
    before = replace(SITE, criteria=(*SITE.criteria, replace(ADDED, thresholds=one_sided)))
    after = replace(SITE, criteria=(*SITE.criteria, replace(ADDED, thresholds=TWO_SIDED)))
    assert find_loosening(before, after) == ()
