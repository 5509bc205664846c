"""Rules of the rate between surveys, for surveys that are skipped, added or repeated."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.decision.criteria.kinds import survey_rate
from monitor.decision.criteria.scope import find_history_s
from monitor.decision.judgements import judge_series
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import from_epoch_s
from tests.data.criteria import CRITERIA, KINDS

DAY_S = 86_400.0
INTERVAL_DAYS = 30.0
START_S = 1.8e9
BOUND = 1.5  # mm/day
NOISE_MM = 2.0
LEVELS = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
BOUNDS = (Threshold(1, over=BOUND, window_s=90 * DAY_S),)
CRITERION = Criterion("surveys", KINDS["survey_rate"], ("P",), "displacement_downslope", BOUNDS, min_sigma=3.0)
SPEC = SeriesSpec("P", "displacement_downslope", "mm", INTERVAL_DAYS * DAY_S, 90 * DAY_S, NOISE_MM)
SITE = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (Station("P", series=(SPEC,)),), (CRITERION,), version="v")
# In days: a usual survey, one that comes a little early or late, repeated and extra ones, and skipped ones.
STEPS = st.one_of(
    st.just(30.0), st.floats(24.0, 36.0), st.floats(0.1, 3.0), st.floats(3.0, 24.0), st.floats(36.0, 1000.0)
)
TIMES = st.lists(STEPS, min_size=1, max_size=12).map(lambda steps: [0.0, *accumulate(steps)])


def list_levels(times, values):
    """Return the level that each survey raises, and whether it was compared with an earlier one."""
    found = []
    at = [from_epoch_s(START_S + day * DAY_S) for day in times]
    readings = [Reading(t, t, 0, v, 0.0, v, None, ()) for t, v in zip(at, values, strict=True)]
    for count in range(1, len(times) + 1):
        newest_s = START_S + times[count - 1] * DAY_S
        inputs = DecisionInputs(
            {"P.displacement_downslope": tuple(readings[:count])},
            {"P.displacement_downslope": NewestEpoch(newest_s, newest_s)},
        )
        context = DecisionContext(PreparedSite(SITE), inputs, Memory(), newest_s + 60.0)
        (assessment,) = CRITERIA["survey_rate"].rule(CRITERION, context)
        found.append((assessment.raise_level, assessment.has_data))
    return found


def check_no_displacement_is_hidden(times, shares, direction):
    """Motion that is faster than the bound over the whole record raises the level at one of its surveys.

    The shares of the displacement between the surveys make it a steady motion, a jump, or several jumps. The first
    surveys of a record may lie within half an interval, and their change counts as that of half an interval.
    """
    total_mm = 1.01 * BOUND * (times[-1] + INTERVAL_DAYS / 2.0) + 5.0 * NOISE_MM
    moved = [0.0, *accumulate(total_mm * share / sum(shares) for share in shares)]
    levels = list_levels(times, [direction * value for value in moved])
    assert max(level for level, _ in levels) == 1, (times, moved)


@hypothesis_settings(max_examples=80, deadline=None)
@given(times=TIMES, data=st.data(), direction=st.sampled_from((1.0, -1.0)))
def test_the_sum_of_the_displacement_is_never_hidden(times, data, direction):
    count = len(times) - 1
    weight = st.one_of(st.integers(0, 5), st.sampled_from((0, 0, 0, 1)))
    shares = data.draw(st.lists(weight, min_size=count, max_size=count))
    assume(sum(shares) > 0)
    check_no_displacement_is_hidden(times, shares, direction)


@hypothesis_settings(max_examples=80, deadline=None)
@given(times=TIMES, data=st.data())
def test_a_jump_raises_the_level_at_the_first_survey_that_shows_it(times, data):
    place = data.draw(st.integers(1, len(times) - 1))
    longest_days = max(b - a for a, b in pairwise(times)) + INTERVAL_DAYS / 2.0
    jump_mm = 1.01 * BOUND * longest_days + 5.0 * NOISE_MM
    levels = list_levels(times, [0.0] * place + [jump_mm] * (len(times) - place))
    assert levels[place][0] == 1
    assert [level for level, _ in levels[:place]] == [0] * place


@hypothesis_settings(max_examples=80, deadline=None)
@given(times=TIMES, data=st.data())
def test_noise_raises_nothing(times, data):
    """Errors of up to 3.5 standard deviations, which is what one reading in 2000 exceeds."""
    count = len(times)
    error = st.one_of(st.floats(-3.5, 3.5), st.sampled_from((-3.5, 3.5)))
    errors = [NOISE_MM * part for part in data.draw(st.lists(error, min_size=count, max_size=count))]
    assert max(level for level, _ in list_levels(times, errors)) == 0


@hypothesis_settings(max_examples=40, deadline=None)
@given(times=TIMES)
def test_every_survey_after_the_first_is_compared(times):
    values = [0.1 * (number * 7 % 5) for number in range(len(times))]
    assert [has_data for _, has_data in list_levels(times, values)] == [False] + [True] * (len(times) - 1)


def test_a_rule_that_compares_the_last_two_surveys_of_a_window_fails(monkeypatch):
    """The rule that was wrong: a gap hides a change, and two surveys within days make a rate of their noise."""
    monkeypatch.setattr(survey_rate, "BRIDGED_WINDOWS", 1.0)
    with pytest.raises(AssertionError):
        check_no_displacement_is_hidden([0.0, 93.0], [1], 1.0)
    errors = [0.0, -5.0, 5.0]
    assert list_levels([0.0, 30.0, 32.0], errors)[-1] == (0, True)
    monkeypatch.setattr(survey_rate, "MIN_SHARE_OF_INTERVAL", 0.01)
    assert list_levels([0.0, 30.0, 32.0], errors)[-1] == (1, True)


def test_the_longest_gap_is_loaded_and_stated():
    (limit,) = judge_series(PreparedSite(SITE), SPEC, SPEC.interval_s).criteria[0].limits
    assert limit.longest_gap_s == 12 * 90 * DAY_S
    assert find_history_s(SITE, CRITERION, SPEC) > limit.longest_gap_s


@pytest.mark.parametrize("every_days", [4.0, 7.0, 14.0, 20.0, 30.0, 60.0])
def test_the_stated_jump_holds_for_surveys_that_come_more_or_less_often_than_declared(every_days):
    (limit,) = judge_series(PreparedSite(SITE), SPEC, every_days * DAY_S).criteria[0].limits
    times = [every_days * number for number in range(20)]
    for size, level in ((0.99, 0), (1.01, 1)):
        values = [0.1 * (number % 2) * NOISE_MM for number in range(19)]
        jump_mm = size * limit.missed_jump
        assert list_levels(times, [*values, jump_mm + 0.05 * NOISE_MM])[-1][0] == level, (limit, size)
