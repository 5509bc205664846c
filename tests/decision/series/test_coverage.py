"""Coverage of the window of a criterion, and until when a removed reading is in doubt."""

from dataclasses import replace

import pytest

from monitor.decision.criteria.rain_coverage import could_hold, fill_gaps
from monitor.decision.criteria.rain_gauge import Gauge
from monitor.decision.incomplete_series import summarize_reasons
from monitor.readings.cleaned.coverage import Coverage, Removal, measure_track
from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Criterion, Dwell, Threshold
from monitor.text.message import Message
from tests.data.criteria import KINDS

HOUR_S = 3600.0
FLAGGED = Message("flag broken", "reading.flag", {})
VELOCITY = Criterion(
    "v",
    KINDS["velocity"],
    ("G1",),
    "displacement",
    (Threshold(1, over=5.0, window_s=24 * HOUR_S),),
    dwell=Dwell(3, 4),
)
SPARSE = replace(VELOCITY, dwell=Dwell(1, 1))


def make_track(sound_hours, removed_hours=()):
    """A track with sound and removed readings at these hours."""
    newest_s = HOUR_S * max([*sound_hours, *removed_hours])
    return Track(
        "G1",
        "displacement",
        times_s=tuple(HOUR_S * h for h in sound_hours),
        set_aside=tuple((HOUR_S * h, FLAGGED) for h in removed_hours),
        newest_s=newest_s,
    )


def measure(track, criterion=VELOCITY, window_hours=24.0, silence_hours=3.0, now_hour=None):
    now_s = track.newest_s if now_hour is None else now_hour * HOUR_S
    return measure_track(track, criterion, window_hours * HOUR_S, silence_hours * HOUR_S, HOUR_S, now_s)


def test_complete_record_is_whole():
    assert measure(make_track(range(60))) == Coverage()


@pytest.mark.parametrize(("followed", "is_whole"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_removed_reading_is_in_doubt_until_the_dwell_is_complete_again(followed, is_whole):
    coverage = measure(make_track([*range(50), *range(51, 51 + followed)], [50]))
    assert coverage.is_whole is is_whole
    assert coverage.may_lower is is_whole


def test_alternating_sound_and_removed_readings_are_never_whole():
    for newest in range(40, 60):
        track = make_track([h for h in range(newest + 1) if h % 2], [h for h in range(newest + 1) if not h % 2])
        assert not measure(track).is_whole


@pytest.mark.parametrize(("newest", "is_whole"), [(102, False), (108, False), (114, False), (120, True)])
def test_window_of_few_readings_needs_as_many_as_the_fit(newest, is_whole):
    track = make_track([h for h in range(0, newest + 1, 6) if h != 96], [96])
    assert measure(track, SPARSE, silence_hours=18.0).is_whole is is_whole


def test_gap_lowers_the_coverage_while_it_is_in_the_window():
    after = [*range(40), *range(46, 80)]
    inside = measure(make_track([h for h in after if h <= 50]))
    assert 0.7 < inside.share < 0.9
    assert "no reading from" in str(inside.describe())
    assert measure(make_track(after)).is_whole


def test_vote_may_fall_with_a_bridged_gap_but_not_with_one_at_the_edge():
    inside = measure(make_track([*range(40), *range(46, 56)]))
    assert not inside.is_whole
    assert inside.may_lower
    edge = measure(make_track([*range(20), *range(34, 54)]))
    assert not edge.is_whole
    assert not edge.may_lower


def test_gap_within_the_allowed_silence_or_a_tenth_of_the_window_counts_as_known():
    assert measure(make_track([*range(40), *range(42, 56)])).is_whole
    assert measure(make_track([*range(150), *range(156, 160)]), window_hours=100.0).is_whole


def test_time_before_the_first_reading_is_unknown():
    coverage = measure(make_track(range(12)))
    assert 0.3 < coverage.share < 0.6
    assert "first reading" in str(coverage.describe())


def test_coverage_of_a_silent_series_is_measured_until_now():
    assert measure(make_track(range(60)), now_hour=62).is_whole
    silent = measure(make_track(range(60)), now_hour=70)
    assert silent.share < 0.8
    assert "no reading since" in str(silent.describe())
    assert not silent.may_lower


@pytest.mark.parametrize(("share", "text"), [(1 / 3, "33 %"), (0.9999999, "99.99 %"), (0.0, "nothing is known")])
def test_coverage_below_one_is_never_shown_as_100_percent(share, text):
    coverage = Coverage(share, 3 * HOUR_S, (Removal(0.0, HOUR_S, FLAGGED),))
    assert text in str(coverage.describe())
    assert "100 %" not in str(coverage.describe())


@pytest.mark.parametrize(("followed", "is_whole"), [(0, False), (2, False), (3, True)])
def test_repeated_values_are_in_doubt_until_the_dwell_is_complete_again(followed, is_whole):
    track = replace(make_track(range(52 + followed)), repeats=((49 * HOUR_S, 51 * HOUR_S),))
    coverage = measure(track)
    assert coverage.is_whole is is_whole
    assert coverage.may_lower is is_whole
    if not is_whole:
        assert "repeat" in str(coverage.describe())


def test_long_run_of_one_value_lowers_the_coverage_while_it_is_in_the_window():
    track = make_track(range(72))
    assert not measure(replace(track, repeats=((50 * HOUR_S, 60 * HOUR_S),))).is_whole
    assert measure(replace(track, repeats=((50 * HOUR_S, 60 * HOUR_S),))).may_lower
    assert measure(replace(track, repeats=((30 * HOUR_S, 40 * HOUR_S),))).is_whole


def make_gauge(amounts_mm, missing=(), interval_s=HOUR_S):
    """A gauge of sums; those at the places in `missing` never came."""
    rows = [(interval_s * n, mm) for n, mm in enumerate(amounts_mm) if n not in missing]
    times_s, amounts = zip(*rows, strict=True)
    return Gauge(times_s, amounts, interval_s, "interval_end", 0.0)


def test_missing_hour_may_contain_any_rain():
    filled = fill_gaps(make_gauge([0.0] * 24, {12}))
    assert filled is not None
    assert filled.amounts_mm[12] == pytest.approx(422.0)
    assert filled.times_s == make_gauge([0.0] * 24).times_s


def test_short_gap_may_contain_any_rain_only_beside_a_wet_interval():
    dry = [0.0] * 24
    wet = [*dry[:11], 0.2, *dry[12:]]
    assert fill_gaps(make_gauge(dry, {12}, 600.0)) is None
    assert fill_gaps(make_gauge(wet, {12}, 600.0)) is not None
    assert fill_gaps(make_gauge(dry, {11, 12, 13}, 600.0)) is not None
    assert fill_gaps(make_gauge(wet, (), 600.0)) is None


def test_all_rain_of_a_counter_may_have_fallen_at_the_end_of_a_gap():
    gauge = replace(make_gauge([3.0] * 24), stamp="counter")
    assert fill_gaps(gauge) is None
    filled = fill_gaps(replace(gauge, gaps=((9 * HOUR_S, 13 * HOUR_S),)))
    assert filled is not None
    assert filled.amounts_mm == (*[3.0] * 10, 0.0, 0.0, 0.0, 12.0, *[3.0] * 10)


def test_tips_have_no_open_gaps():
    assert fill_gaps(replace(make_gauge([3.0] * 24, {10, 11, 12}), stamp="event")) is None


def test_missing_rain_keeps_a_level_if_it_could_have_rained_enough():
    gauge = Gauge(tuple(HOUR_S * h for h in range(24)), (1.0,) * 24, HOUR_S, "interval_end", 0.0)
    fact = {"duration_s": 12 * HOUR_S, "bound_mm": 20.0, "sum_mm": 10.0, "coverage": 11 / 12}
    assert not could_hold(fact, gauge, 0.8, 3.0 / HOUR_S)
    assert could_hold(fact, gauge, 0.8, 7.0 / HOUR_S)
    assert not could_hold({**fact, "coverage": 1.0}, gauge, 0.8, 70.0 / HOUR_S)


def test_summary_names_three_series_and_counts_the_others():
    reasons = {f"G{n}.displacement": FLAGGED for n in range(5)}
    assert str(summarize_reasons(reasons)).endswith("and 2 more")
    assert summarize_reasons({}) is None
