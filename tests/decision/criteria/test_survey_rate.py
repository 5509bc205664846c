"""The rate between two surveys: two readings and their errors decide, and motion in any direction counts."""

from dataclasses import replace
from math import cos, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import from_epoch_s
from tests.data.criteria import CRITERIA, KINDS

DAY_S = 86_400.0
MONTH_S = 31 * DAY_S
START_S = 1.8e9
LEVELS = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
PARTS = ("displacement_east", "displacement_north", "displacement_up")
BOUNDS = (Threshold(1, over=1.0, window_s=93 * DAY_S), Threshold(2, over=5.0, window_s=93 * DAY_S))
CRITERION = Criterion("surveys", KINDS["survey_rate"], ("P",), "displacement", BOUNDS, min_sigma=3.0)


def assess(surveys, *, criterion=CRITERION, interval_s=MONTH_S, now_s=None, noise_mm=2.0):
    """Assess surveys given as (time in intervals, east, north, up in mm)."""
    spec = SeriesSpec("P", "displacement", "mm", interval_s, 6 * interval_s, noise_mm)
    site = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (Station("P", series=(spec,)),), (criterion,), version="v")
    rows = {part: [] for part in PARTS}
    for time, *values in surveys:
        at = from_epoch_s(START_S + time * interval_s)
        for part, value in zip(PARTS, values, strict=True):
            rows[part].append(Reading(at, at, 0, value, 0.0, value, None, ()))
    newest_s = START_S + surveys[-1][0] * interval_s
    inputs = DecisionInputs(
        {f"P.{part}": tuple(readings) for part, readings in rows.items()},
        {f"P.{part}": NewestEpoch(newest_s, newest_s) for part in PARTS},
    )
    context = DecisionContext(PreparedSite(site), inputs, Memory(), newest_s + 60.0 if now_s is None else now_s)
    (assessment,) = CRITERIA["survey_rate"].rule(criterion, context)
    return assessment


@pytest.mark.parametrize(
    ("moved_mm", "level"), [(0.0, 0), (25.0, 0), (40.0, 1), (500.0, 2)], ids=["rest", "below", "yellow", "orange"]
)
def test_the_change_between_the_two_newest_surveys_is_compared_with_the_bounds(moved_mm, level):
    assessment = assess([(0, 0.0, 0.0, 0.0), (1, 3.0, 0.0, 0.0), (2, 3.0 + moved_mm, 0.0, 0.0)])
    assert (assessment.raise_level, assessment.has_data, assessment.fresh) == (level, True, True)


@given(angle=st.floats(0.0, 6.28), moved_mm=st.floats(250.0, 5000.0))
def test_motion_in_any_horizontal_direction_counts(angle, moved_mm):
    moved = (moved_mm * cos(angle), moved_mm * sin(angle), 0.0)
    assert assess([(0, 0.0, 0.0, 0.0), (1, *moved)]).raise_level == 2


@pytest.mark.parametrize("up_mm", [-300.0, 300.0])
def test_vertical_motion_counts_by_itself(up_mm):
    assert assess([(0, 0.0, 0.0, 0.0), (1, 0.0, 0.0, up_mm)]).raise_level == 2


def test_a_change_within_its_own_error_raises_nothing():
    assert assess([(0, 0.0, 0.0, 0.0), (1, 60.0, 0.0, 0.0)], noise_mm=20.0).raise_level == 0


def test_level_stays_until_the_rate_is_certainly_below_its_recovery_limit():
    still_moving = assess([(0, 0.0, 0.0, 0.0), (1, 500.0, 0.0, 0.0), (2, 640.0, 0.0, 0.0)])
    assert (still_moving.raise_level, still_moving.hold_level) == (1, 2)
    at_rest = assess([(0, 0.0, 0.0, 0.0), (1, 500.0, 0.0, 0.0), (2, 502.0, 0.0, 0.0)])
    assert (at_rest.raise_level, at_rest.hold_level) == (0, 0)


@pytest.mark.parametrize("intervals", [2, 4, 12, 35])
def test_skipped_surveys_hide_no_change(intervals):
    assert assess([(0, 0.0, 0.0, 0.0), (intervals, 2000.0 * intervals, 0.0, 0.0)]).raise_level == 2


def test_a_gap_of_more_than_twelve_windows_is_named():
    too_old = assess([(0, 0.0, 0.0, 0.0), (37, 50000.0, 0.0, 0.0)])
    assert (too_old.raise_level, too_old.has_data) == (0, False)
    assert "no earlier survey within 1116 days" in str(too_old.reason)


def test_an_extra_survey_within_days_does_not_turn_its_noise_into_a_rate():
    extra = [(0, 0.0, 0.0, 0.0), (1, 0.0, 0.0, 0.0), (1 + 5 / 31, 12.8, 0.0, 0.0)]
    assert assess(extra, noise_mm=1.0).raise_level == 0
    at_the_start = [(0, 0.0, 0.0, 0.0), (2 / 31, 9.0, 0.0, 0.0)]
    assert assess(at_the_start, noise_mm=1.0).raise_level == 0


def test_a_repeated_survey_confirms_or_refutes_a_jump():
    twice = replace(CRITERION, dwell=Dwell(2, 2))
    jump = [(0, 0.0, 0.0, 0.0), (1, 0.0, 0.0, 0.0), (2, 500.0, 0.0, 0.0)]
    confirmed = [*jump, (2 + 1 / 31, 501.0, 0.0, 0.0)]
    refuted = [*jump, (2 + 1 / 31, 1.0, 0.0, 0.0)]
    assert assess(jump, criterion=twice).raise_level == 0
    assert assess(confirmed, criterion=twice).raise_level == 2
    assert assess(jump).raise_level == 2
    assert (assess(refuted).raise_level, assess(refuted).hold_level) == (0, 0)


def test_motion_between_the_first_two_surveys_of_a_record_counts():
    assert assess([(0, 0.0, 0.0, 0.0), (0.3, 500.0, 0.0, 0.0)]).raise_level == 2


def test_single_survey_has_no_data():
    assert not assess([(0, 0.0, 0.0, 0.0)]).has_data


def test_a_single_wrong_survey_does_not_pass_a_dwell_of_two():
    twice = replace(CRITERION, dwell=Dwell(2, 3))
    there_and_back = [(0, 0.0, 0.0, 0.0), (1, 0.0, 0.0, 0.0), (2, 500.0, 0.0, 0.0), (3, 0.0, 0.0, 0.0)]
    assert assess(there_and_back, criterion=twice).raise_level == 0
    moving_on = [(0, 0.0, 0.0, 0.0), (1, 0.0, 0.0, 0.0), (2, 500.0, 0.0, 0.0), (3, 900.0, 0.0, 0.0)]
    assert assess(moving_on, criterion=twice).raise_level == 2


def test_silent_survey_network_lowers_no_level():
    surveys = [(0, 0.0, 0.0, 0.0), (1, 1.0, 0.0, 0.0)]
    assert not assess(surveys, now_s=START_S + 9 * MONTH_S).fresh
