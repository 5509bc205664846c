"""A number is a fill where it looks like one and stands alone; a number among the others is a value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.imagery.raster.reading.fills import NUMBERS, ValueStatistics, is_fill

FILLS = [*sorted(NUMBERS), 1e20, float(np.finfo("float32").min), 9.96921e36]


def look(values, *, zero=False, apart=None):
    record = ValueStatistics(zero=zero)
    for part in np.array_split(values, 3):
        record.feed(part, np.isfinite(part))
    return record.find_fills(apart), record


@given(st.sampled_from(FILLS), st.floats(-200, 200), st.floats(0.1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_stands_alone_is_left_out_and_nothing_else(fill, middle, spread, many, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(middle, spread, (30, 40))
    places = rng.choice(values.size, many, replace=False)
    holed = values.copy()
    holed.flat[places] = fill
    others = np.delete(values.ravel(), places)
    away = max(others.min() - fill, fill - others.max())
    found, record = look(holed)
    steps = 5 * float(np.median(np.abs(np.diff(holed, axis=1)))) + 0.25 * float(np.ptp(others))
    if away > 1.5 * steps:
        assert (found, record.low, record.high) == ({fill: many}, others.min(), others.max())
    elif away <= 0:
        assert found == {}


@given(st.sampled_from(FILLS), st.integers(0, 2**32 - 1))
def test_a_number_within_the_record_stays(fill, seed):
    rng = np.random.default_rng(seed)
    values = fill * (1 + rng.normal(0, 0.2, (30, 40)))
    values[3, 3] = fill
    assert is_fill(fill)  # it is the company that makes it a value
    if abs(fill) < 1e19:
        assert look(values)[0] == {}


@pytest.mark.parametrize(
    ("ground", "is_hole"),
    [
        (np.add.outer(np.arange(30), np.arange(40)) * 0.5 + 480, True),
        (np.maximum(0, np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 10), False),  # sea, and land that rises
        (np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 20, False),  # below and above the sea
    ],
)
def test_zero_is_a_hole_in_the_mountains_and_water_at_the_coast(ground, is_hole):
    ground = ground.astype(float)
    ground[4:7, 4:7] = 0.0
    assert bool(look(ground, zero=True, apart=3.0)[0]) == is_hole
    assert look(ground, zero=False, apart=3.0)[0] == {}


def test_several_fills_are_found_together_and_nothing_but_fills_is_none():
    values = np.random.default_rng(1).normal(500, 5, (30, 40))
    values[0, :4], values[1, :3], values[2, :2] = -9999, 0, np.float32(-3.4028235e38)
    found, _ = look(values, zero=True, apart=3.0)
    assert sorted(found.values()) == [2, 3, 4]
    assert look(np.full((30, 40), -9999.0))[0] == {}
