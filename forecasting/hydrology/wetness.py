"""Whether a moment lies after much rain, by the measure of the gauge's own past months."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

DAY_S: Final = 86_400.0
SPAN_S: Final = 3 * DAY_S
PAST_S: Final = 120 * DAY_S
LEAST_S: Final = 30 * DAY_S
SHARE: Final = 0.9


def is_after_rain(times_s: Sequence[float], amounts: Sequence[float], at_s: float) -> bool | None:
    """Whether the rain of the three days before is among the wettest tenth of the four months before.

    Returns None where the gauge knows less than a month before.

    >>> day = [86400.0 * i for i in range(60)]
    >>> is_after_rain(day, [0.0] * 58 + [30.0, 0.0], day[-1]), is_after_rain(day, [0.0] * 60, day[-1])
    (True, False)
    """
    total = [0.0, *accumulate(amounts)]

    def fell(until_s: float) -> float:
        return total[bisect_right(times_s, until_s)] - total[bisect_right(times_s, until_s - SPAN_S)]

    first_s = max(times_s[0] + SPAN_S, at_s - PAST_S) if times_s else at_s
    days = int((at_s - first_s) // DAY_S)
    if days * DAY_S < LEAST_S or at_s - times_s[-1] > SPAN_S:
        return None
    before = sorted(fell(at_s - k * DAY_S) for k in range(1, days + 1))
    now = fell(at_s)
    return now > 0.0 and now >= before[int(SHARE * (len(before) - 1))]
