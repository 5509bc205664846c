"""How the rain of a file is counted: sums of intervals, a counter, or one row per tip."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from forecasting.hydrology.rain_amounts import adds_up, are_tips, share_instants
from monitor.api.text import Figure, Template
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.together import HOURS

RAIN: Final = "rain"
COUNTER: Final = "counter"
EVENT: Final = "event"

COUNT: Final = "count"
INTERVALS: Final = "rain of each interval"
TOTAL: Final = "running total"
# With fewer rises, sums of intervals and running totals look alike, and both readings give about the same rain.
RISES_LEAST: Final = 8
# A running total falls only where it restarts. Sums of intervals fall about as often as they rise; smoothed daily rain
# rose three times as often. A total that restarts after fewer rows is read as sums: too much rain, never too little.
RISES_PER_FALL: Final = 4

# Tips have no interval. The site file needs one to compare durations of rain with a curve.
TIPS_INTERVAL_S: Final = 600.0
# A gauge that sends only tips is silent while it is dry: a shorter silence than this says nothing.
TIPS_MIN_SILENCE_S: Final = 7 * 86_400.0
TIPS_SILENCE_FACTOR: Final = 2.0


_HOW: Final = Template(
    "guess.ask.count",
    "the rain of {station} rises from row to row: is each value the rain of one interval, or a running total that "
    "restarts? The answer counts for all rain gauges of the file",
)
_RAIN_OF: Final = Template("guess.ask.count.rain", "{station}: {rain} in this file")


class RainStamp(NamedTuple):
    """How a site file declares a gauge. An interval or silence of None is derived from the usual step instead."""

    stamp: str = ""
    interval_s: float | None = None
    silence_s: float | None = None


def settle_rain_stamp(station: str, rows: Iterable[tuple[float, float]], interview: Interview) -> RainStamp:
    """Return how a gauge counts by its readings, or by an answer if they can be read in both ways.

    Args:
        station: Name of the gauge.
        rows: Instant in seconds and rain in mm, in any order.
        interview: The answers and open questions.
    """
    ordered = sorted(rows)
    stamp = find_rain_stamp(ordered)
    values = [value for _, value in ordered]
    rises = sum(after > before for before, after in pairwise(values))
    falls = sum(after < before for before, after in pairwise(values))
    may_be_total = rises >= RISES_LEAST and rises >= RISES_PER_FALL * falls
    if stamp.stamp or not may_be_total or adds_up(ordered) is not None:
        return stamp
    if {question.key for question in interview.questions}.isdisjoint({COUNT, HOURS}):
        examples = {
            INTERVALS: _RAIN_OF(station=station, rain=Figure(sum(values), ".4g", "mm")),
            TOTAL: _RAIN_OF(station=station, rain=Figure(_sum_rises(values), ".4g", "mm")),
        }
        interview.request(COUNT, _HOW(station=station), (INTERVALS, TOTAL), examples=examples)
    return RainStamp(COUNTER) if interview.answers.get(COUNT) == TOTAL else stamp


def _sum_rises(totals: Sequence[float]) -> float:
    """Return the rain of a running total that restarts at zero."""
    return sum(after - before if after >= before else after for before, after in pairwise(totals))


def find_rain_stamp(rows: Iterable[tuple[float, float]]) -> RainStamp:
    """Return how a gauge counts by its readings; no stamp if they are sums of intervals or too few.

    Args:
        rows: Instant in seconds and rain in mm, in any order.
    """
    ordered = sorted(rows)
    if adds_up(ordered):
        return RainStamp(COUNTER)
    if share_instants(ordered) or are_tips(ordered, TIPS_INTERVAL_S):
        longest_s = max(after - before for (before, _), (after, _) in pairwise(ordered))
        return RainStamp(EVENT, TIPS_INTERVAL_S, max(TIPS_MIN_SILENCE_S, TIPS_SILENCE_FACTOR * longest_s))
    return RainStamp()
