"""Rain sums of the chart beside an intensity-duration curve."""

import pytest

from monitor.decision.criteria.rain_gauge import Gauge
from monitor.features.movement.routes import find_largest_sum

HOUR_S = 3600.0


@pytest.mark.parametrize("end_tolerance_s", [0.0, 300.0, 1800.0])
def test_largest_sum_counts_the_same_readings_as_the_criterion(end_tolerance_s: float) -> None:
    # Sums arrive every ten minutes, although the site file declares one hour.
    times_s = tuple(600.0 * k for k in range(1, 31))
    amounts_mm = tuple(float(k % 7) for k in range(30))
    gauge = Gauge(times_s, amounts_mm, HOUR_S, "interval_end", 0.0, end_tolerance_s=end_tolerance_s)
    for duration_s in (HOUR_S, 2 * HOUR_S, 4 * HOUR_S):
        sums_mm = [gauge.total_at(end_s, duration_s)[0] for end_s in times_s]
        assert find_largest_sum(gauge, duration_s) == pytest.approx(max(sums_mm))
