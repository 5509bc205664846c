"""How the rain of a file is counted: sums of intervals, a counter, or one row per tip."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

from forecasting.hydrology.rain_amounts import adds_up, are_tips, share_instants

RAIN: Final = "rain"
COUNTER: Final = "counter"
EVENT: Final = "event"

# Tips have no interval. The site file needs one to compare durations of rain with a curve.
TIPS_INTERVAL_S: Final = 600.0
# A gauge that sends only tips is silent while it is dry: a shorter silence than this says nothing.
TIPS_MIN_SILENCE_S: Final = 7 * 86_400.0
TIPS_SILENCE_FACTOR: Final = 2.0


class RainStamp(NamedTuple):
    """How a site file declares a gauge. An interval or silence of None is derived from the usual step instead."""

    stamp: str = ""
    interval_s: float | None = None
    silence_s: float | None = None


def find_rain_stamp(rows: Iterable[tuple[float, float]]) -> RainStamp:
    """Return how a gauge counts by its readings; no stamp if they are sums of intervals or too few.

    Args:
        rows: Instant in seconds and value, in any order.
    """
    ordered = sorted(rows)
    if adds_up(ordered):
        return RainStamp(COUNTER)
    if share_instants(ordered) or are_tips(ordered, TIPS_INTERVAL_S):
        longest_s = max(after - before for (before, _), (after, _) in pairwise(ordered))
        return RainStamp(EVENT, TIPS_INTERVAL_S, max(TIPS_MIN_SILENCE_S, TIPS_SILENCE_FACTOR * longest_s))
    return RainStamp()
