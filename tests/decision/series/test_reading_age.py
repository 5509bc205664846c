"""Whether a series is ok, late or silent at the instant of display, and whether its values are current."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.series.reading_age import (
    CURRENT_INTERVALS,
    LATE_INTERVALS,
    SeriesPace,
    find_usual_interval_s,
    measure_pace,
)
from monitor.sites.records import SeriesSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR_S = 3600.0


def spec(interval_s=HOUR_S, silence_s=3 * HOUR_S, *, learns_silence=False, stamp="interval_end"):
    return SeriesSpec("G1", "rain", "mm", interval_s, silence_s, stamp=stamp, learns_silence=learns_silence)


def pace(age_s, interval_s=HOUR_S, silence_s=6 * HOUR_S, delay_s=0.0, *, is_regular=True):
    observed_at = NOW - timedelta(seconds=age_s)
    return SeriesPace(observed_at, observed_at + timedelta(seconds=delay_s), interval_s, silence_s, is_regular)


@given(age_s=st.floats(0, 1e6), interval_s=st.floats(1, 1e5), factor=st.floats(2, 10))
def test_state_follows_from_age_interval_and_limit(age_s, interval_s, factor):
    shown = pace(age_s, interval_s, factor * interval_s)
    age_s = (NOW - shown.observed_at).total_seconds()
    expected = "ok"
    if age_s > factor * interval_s:
        expected = "silent"
    elif age_s > LATE_INTERVALS * interval_s:
        expected = "late"
    assert shown.find_state(NOW) == expected
    assert shown.is_current(shown.observed_at, NOW) == (age_s <= CURRENT_INTERVALS * interval_s)
    if expected != "ok":
        assert shown.find_missing_since(expected) < NOW


@given(ages_s=st.lists(st.floats(0, 1e6), min_size=2, max_size=2))
def test_state_never_improves_without_a_reading(ages_s):
    rank = {"ok": 0, "late": 1, "silent": 2}
    younger, older = sorted(ages_s)
    assert rank[pace(younger).find_state(NOW)] <= rank[pace(older).find_state(NOW)]


def test_readings_that_are_received_hours_later_are_not_late():
    assert pace(3.5 * HOUR_S, delay_s=3 * HOUR_S).find_state(NOW) == "ok"
    assert not pace(3.5 * HOUR_S, delay_s=3 * HOUR_S).is_current(NOW - timedelta(hours=3.5), NOW)


def test_tips_of_a_gauge_are_never_late():
    assert pace(5 * HOUR_S, is_regular=False).find_state(NOW) == "ok"
    assert pace(7 * HOUR_S, is_regular=False).find_state(NOW) == "silent"


@pytest.mark.parametrize(
    ("times_s", "expected_s"),
    [
        ([], HOUR_S),
        ([0.0, 600.0], HOUR_S),
        ([600.0 * n for n in range(9)], 600.0),
        ([7200.0 * n for n in range(9)], 7200.0),
        # One reading is missing.
        ([600.0 * n for n in (0, 1, 2, 3, 5, 6, 7, 8, 9)], 600.0),
    ],
)
def test_usual_interval_is_the_one_that_readings_show(times_s, expected_s):
    assert find_usual_interval_s(times_s, times_s, HOUR_S) == expected_s


def test_bursts_do_not_shorten_the_interval():
    bursts_s = [hour * HOUR_S + minute * 60.0 for hour in range(3) for minute in range(4)]
    assert find_usual_interval_s(bursts_s, bursts_s, HOUR_S) == HOUR_S


def test_uploads_of_many_readings_lengthen_the_interval():
    times_s = [600.0 * n for n in range(24)]
    received_s = [HOUR_S * (1 + n // 6) for n in range(24)]
    interval_s, silence_s = measure_pace(spec(600.0, 1800.0, learns_silence=True), times_s, received_s)
    assert interval_s == HOUR_S
    assert silence_s == 3 * HOUR_S
