"""Decide whether an instant follows unusually much rain, compared with the past months of the same gauge."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

DAY_S: Final = 86_400.0
# Span of the rain sum.
SPAN_S: Final = 3 * DAY_S
# Past with which the sum is compared, and the shortest past that suffices.
PAST_S: Final = 120 * DAY_S
LEAST_S: Final = 30 * DAY_S
# Share of the sums of the past that a sum must reach.
SHARE: Final = 0.9


def is_after_rain(times_s: Sequence[float], amounts: Sequence[float], at_s: float) -> bool | None:
    """Return whether the rain of the last three days is among the wettest tenth of the last four months.

    Returns:
        None if the gauge has less than a month of readings, or none in the last three days.

    >>> day = [86400.0 * i for i in range(60)]
    >>> is_after_rain(day, [0.0] * 58 + [30.0, 0.0], day[-1]), is_after_rain(day, [0.0] * 60, day[-1])
    (True, False)
    """
    totals = [0.0, *accumulate(amounts)]

    def sum_until(until_s: float) -> float:
        return totals[bisect_right(times_s, until_s)] - totals[bisect_right(times_s, until_s - SPAN_S)]

    first_s = max(times_s[0] + SPAN_S, at_s - PAST_S) if times_s else at_s
    days = int((at_s - first_s) // DAY_S)
    if days * DAY_S < LEAST_S or at_s - times_s[-1] > SPAN_S:
        return None
    past_sums = sorted(sum_until(at_s - day * DAY_S) for day in range(1, days + 1))
    present_sum = sum_until(at_s)
    return present_sum > 0.0 and present_sum >= past_sums[int(SHARE * (len(past_sums) - 1))]
