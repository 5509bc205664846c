"""Plots of depth profiles on the page."""

import pytest

from monitor.features.profiles.routes import choose_ticks


@pytest.mark.parametrize(("low", "high"), [(-1e-18, 2e-18), (0.3, 0.1 + 0.2), (5.0, 5.0), (0.0, 1e-5)])
def test_ticks_of_nearly_equal_values_differ(low, high):
    ticks = choose_ticks(low, high)
    assert len(set(ticks)) == len(ticks) <= 8
    # A tick may differ from a limit by a rounding error.
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
