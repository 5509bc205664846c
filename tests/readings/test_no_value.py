"""A number of the list of fill values is one only if it lies far outside the record of its series."""

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.ingest.quality import flag_fills
from monitor.readings import no_value
from monitor.readings.no_value import AT_STOP, FILL, is_fill_number, is_full_scale, is_no_value
from monitor.readings.records import Observation
from tests.tables import tabulated

FILLS = st.sampled_from(
    [
        float(text)
        for text in (
            "7999.0 -7999.0 6999.0 -6999.0 -99.0 -99.9 -99.99 99.99 999.0 999.9 999.99 -999.0 -999.9 9999.0 "
            "-9999.0 9999.9 99.999 99999.0 -99999.0 999999.0 -8888.0 32767.0 -32768.0 3276.7 65535.0 6553.5 "
            "655.35 2147483647.0 -2147483648.0 4294967295.0 1e10 1e20 1e30 1e37 -1e37 9.96921e36 "
            "3.4028234663852886e38 -3.4028234663852886e38 1.7014118346046923e38"
        ).split()
    ]
)
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def series(values, flags=()):
    out = []
    for k, value in enumerate(values):
        at = T0 + timedelta(hours=k)
        told = (FILL,) * is_fill_number(value) + (AT_STOP,) * is_full_scale(value)
        out.append(Observation("s", "P1", "pore_pressure", "kPa", at, at, value, flags=(*flags, *told)))
    return out


def flags_of(observations):
    return [tuple(f for f in o.flags if f in {FILL, AT_STOP}) for o in observations]


@given(fill=FILLS, middle=st.floats(-40.0, 40.0), spread=st.floats(0.0, 5.0), place=st.integers(0, 12))
@settings(deadline=None)
def test_fill_value_far_outside_the_record_is_flagged_at_any_position(fill, middle, spread, place):
    assume(abs(fill) > 2.0 * (abs(middle) + 6.0 * spread) + 1e-9)
    values = [middle + spread * (k % 3) for k in range(12)]
    assert is_fill_number(fill)
    found = flags_of(flag_fills(None, series([*values[:place], fill, *values[place:]])))
    assert found == [(FILL,) if k == place else () for k in range(13)]


@given(fill=FILLS, share=st.floats(0.5, 1.5), place=st.integers(3, 12))
@settings(deadline=None)
def test_same_number_among_similar_readings_is_a_reading(fill, share, place):
    assume(abs(fill) < 1e30)
    values = [fill * (0.9 + 0.013 * k) * share for k in range(12)]
    assume(abs(fill) <= 1.9 * min(map(abs, values[:place])))
    found = flags_of(flag_fills(None, series([*values[:place], fill, *values[place:]])))
    assert FILL not in found[place]


@given(st.data())
@settings(deadline=None, max_examples=80)
def test_flags_do_not_depend_on_how_a_series_is_split_into_batches(data):
    """The readings before a number decide, so a file and single messages have the same flags."""
    numbers = st.one_of(st.floats(-50.0, 50.0), FILLS)
    values = [20.0, 20.1, 20.2, *data.draw(st.lists(numbers, max_size=25))]
    whole = flag_fills(None, series(values))
    alone = []
    for item in series(values):
        alone = list(flag_fills(None, [*alone, item]))
    assert flags_of(whole) == flags_of(alone)
    assert flags_of(flag_fills(None, whole)) == flags_of(whole)  # flags are stable


@given(
    end=st.sampled_from([32767.0, 3276.7, 65535.0, 6553.5, 655.35, 7999.0, 6999.0, -32768.0]),
    steps=st.integers(4, 9),
    repeats=st.integers(1, 6),
)
@settings(deadline=None)
def test_end_of_scale_that_is_approached_step_by_step_is_no_fill_value(end, steps, repeats):
    run = [0.997 * end * (k + 1) ** 2 / (steps + 1) ** 2 for k in range(steps)]
    found = flags_of(flag_fills(None, series([0.0, 0.1, 0.0, 0.1, *run, end, *[end] * repeats])))
    assert found[: 4 + steps + 1] == [()] * (4 + steps + 1)  # the first one is a reading
    assert found[4 + steps + 1 :] == [(AT_STOP,)] * repeats


@tabulated("value", [0.0, 1.0, 20.5, 99.0, 99.9, 100.0, 100000.0, 1e6, 400.0, -40.0, 8191.0, 12345.6])
def test_other_numbers_are_never_flagged(value):
    assert not is_fill_number(value)
    assert flags_of(flag_fills(None, series([20.0] * 6 + [value]))) == [()] * 7


@tabulated("word", sorted(no_value.WORDS))
def test_words_for_a_missing_value_are_recognised_in_any_case(word):
    assert is_no_value(word.upper())
    assert is_no_value(f" {word} ")


def test_value_that_a_person_corrected_is_not_flagged():
    fill = series([20.0, 20.1, 20.0, 7999.0])
    fill[3] = Observation(
        "s", "P1", "pore_pressure", "kPa", fill[3].observed_at, T0, 7999.0, None, "corrected", (FILL,)
    )
    assert flags_of(flag_fills(None, fill)) == [()] * 4
