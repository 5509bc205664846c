"""A jump that one slip explains is a typing error. A jump that may be movement is not."""

import math

import pytest

from detection.anomaly.certain.typing_errors import find_slip
from tests.tables import tabulated

STOOD = [120.1, 120.2, 120.2, 120.3, 120.3, 120.2, 120.3]


@tabulated(
    ("typed", "kind"),
    [
        (1203.0, "decimal point"),
        (0.1203, "decimal point"),
        (-120.3, "sign"),
        (210.3, "digits swapped"),
        (1120.3, "digit too many"),
        (12.3, "digit missing"),
        (88.4, "neighbour"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(typed, kind):
    slip = find_slip(typed, STOOD, {"B": [88.4]})
    assert slip is not None
    assert (slip.kind, slip.typed, slip.meant) == (kind, typed, pytest.approx(120.3, abs=0.2))


@tabulated("typed", [120.2, 120.5, 123.0, 160.3, 88.4, 95.0, math.nan, math.inf, 1e300])
def test_movement_a_wrong_digit_and_untypable_values_are_no_slip(typed):
    assert find_slip(typed, STOOD, {"B": [250.0]}) is None


def test_fast_returning_precise_and_short_series_are_not_judged():
    moving = [100.0, 112.0, 131.0, 150.0, 171.0, 196.0, 220.0]
    assert find_slip(202.0, moving, {}) is None
    assert find_slip(250.2, moving, {}) is None
    assert find_slip(120.3, [*STOOD, 102.3], {}) is None
    assert find_slip(1203.1234567, [120.31234567 + k * 1e-7 for k in range(8)], {}) is None
    assert find_slip(1203.0, STOOD[:5], {}) is None
