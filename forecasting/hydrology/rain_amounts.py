"""Amounts of rain with what is unknown about them, and what the readings of an undescribed gauge are.

`rain_counters` and `rain_sums` turn readings into a `RainAmounts`. A rule that cannot tell how much fell in an interval
counts the higher plausible amount and lists the interval in `unknown`. It never reports the interval as dry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

# Envelope of the greatest point rain ever measured, 422 mm * D**0.475 with D in hours (Paulhus 1965, Monthly Weather
# Review 93). A larger amount in one interval is a fault of the gauge.
RECORD_MM: Final = 422.0
RECORD_EXPONENT: Final = 0.475

DAY_S: Final = 86_400.0
HOUR_S: Final = 3600.0

# Intervals may be shorter than declared by this share because clocks differ.
CLOCK_TOLERANCE: Final = 0.05

# Share of gaps that have to agree before they count as the interval of the series.
AGREEING_GAPS_SHARE: Final = 0.75

# A running total needs this many rises, and at most this share of falls. Sums of intervals fall as often as they rise.
TOTAL_MIN_RISES: Final = 8
TOTAL_MAX_FALLS_SHARE: Final = 0.2
# It also needs repeated values above zero, which sums of intervals rarely have, or clearly more rises.
TOTAL_MIN_REPEATS: Final = 3
TOTAL_CLEAR_RISES: Final = 48
# A total since midnight falls on this many days at one time of day, and has more readings a day than this.
DAILY_MIN_FALLS: Final = 3

# A series of tips needs this many rows, and this many of them that follow the row before within half an interval.
TIPS_MIN_ROWS: Final = 10
TIPS_MIN_CLOSE: Final = 5
# Largest amount of one tip of common gauges, and the largest number of tips that a logger writes in one row.
TIP_MAX_MM: Final = 1.0
TIPS_PER_ROW: Final = 5
# Share of the rows that have to be exactly one tip.
SINGLE_TIPS_SHARE: Final = 0.9
# So many instants with so many equal rows each, or more, are tips of a logger that writes no seconds.
SHARED_MIN_INSTANTS: Final = 5
SHARED_MIN_ROWS: Final = 3
# Sums of intervals that are stored twice lie at two positions within the interval. Tips lie anywhere.
TIPS_PHASE_BINS: Final = 10
TIPS_MAX_PHASE_SHARE: Final = 0.75


class UnknownReason(StrEnum):
    """Why the rain of an interval is not known. The counted amount is a lower bound or the higher plausible amount."""

    RESTART = "restart"
    """The counter restarted. What fell between the reading before and the restart is lost."""
    CORRECTION = "correction"
    """The counter was set to another value. What fell meanwhile is lost."""
    JUMP = "jump"
    """The counter rose by more than any rain ever measured."""
    FASTER = "faster"
    """Sums arrive faster than the declared interval. They are parts of it, or they overlap."""
    TIPS = "tips"
    """Each row is one tip, but sums of intervals are declared. Time without rows may be dry or lost."""
    BEYOND_RECORD = "beyond_record"
    """The amount was larger than any rain ever measured and was left out."""
    REFUSED = "refused"
    """The reading was flagged or out of range and was left out."""


class UnknownRain(NamedTuple):
    """An interval whose rain is not known, in epoch seconds."""

    from_s: float
    to_s: float
    reason: UnknownReason


class LeftOutReason(StrEnum):
    """Why a row does not count."""

    DUPLICATE = "duplicate"
    """The same sum of the same interval again."""
    TOTAL = "total"
    """The total of rows that count already."""
    JUMP = "jump"
    """A value of a counter that no rain explains and that later readings do not confirm."""
    BEYOND_RECORD = "beyond_record"
    """With this row more would have fallen than any rain ever measured."""


class LeftOutRow(NamedTuple):
    """A row that does not count."""

    at_s: float
    value_mm: float
    reason: LeftOutReason


@dataclass(frozen=True, slots=True)
class RainAmounts:
    """What fell by the readings of a gauge.

    Attributes:
        times_s: Ends of the amounts in epoch seconds, rising.
        amounts_mm: What fell until each of them, never negative.
        unknown: Intervals in which another amount may have fallen, by end. Coverage excludes them.
        left_out: Rows that do not count.
        are_tips: Each row is one tip, although the caller expected sums of intervals.
    """

    times_s: tuple[float, ...] = ()
    amounts_mm: tuple[float, ...] = ()
    unknown: tuple[UnknownRain, ...] = ()
    left_out: tuple[LeftOutRow, ...] = ()
    are_tips: bool = False

    @property
    def rows(self) -> list[tuple[float, float]]:
        """(end, mm) of every amount."""
        return list(zip(self.times_s, self.amounts_mm, strict=True))


def most_mm(span_s: float) -> float:
    """Return the greatest rain ever measured in a time, mm."""
    return RECORD_MM * float((span_s / HOUR_S) ** RECORD_EXPONENT)


def find_interval(times_s: Sequence[float]) -> tuple[float, bool]:
    """Return the interval of sums that nobody declares, and whether enough gaps agree with it.

    It is the usual gap, or the usual gap to the next but one where each sum is stored twice.

    >>> find_interval([0.0, 48.0, 600.0, 648.0, 1200.0, 1248.0]), find_interval([0.0, 60.0, 120.0])
    ((600.0, True), (60.0, True))
    """
    if len(times_s) < 2:
        raise ValueError("one reading is no series")
    next_s, next_share = _find_usual_gap(times_s, 1)
    second_s, second_share = _find_usual_gap(times_s, 2)
    if next_share < AGREEING_GAPS_SHARE <= second_share:
        return second_s, True
    return next_s, next_share >= AGREEING_GAPS_SHARE


def _find_usual_gap(times_s: Sequence[float], lag: int) -> tuple[float, float]:
    """Return the median gap between a row and the one `lag` rows later, and the share of gaps that agree with it."""
    gaps = [later - earlier for earlier, later in zip(times_s, times_s[lag:], strict=False)]
    if not gaps:
        return 0.0, 0.0
    usual_s = median(gaps)
    agreeing = sum(abs(gap - usual_s) <= CLOCK_TOLERANCE * usual_s for gap in gaps)
    return usual_s, agreeing / len(gaps)


def adds_up(rows: Sequence[tuple[float, float]]) -> bool | None:
    """Return whether amounts are running totals, as of a counter or since midnight; None where it cannot be told.

    Sums of intervals fall about as often as they rise. A running total falls only where it restarts.

    >>> adds_up([(600.0 * k, 0.2 * (k // 2)) for k in range(40)]), adds_up([(0.0, 0.0), (600.0, 0.2)])
    (True, None)
    >>> adds_up([(600.0 * k, 0.2 * (k % 2)) for k in range(40)])
    False
    """
    pairs = list(pairwise(rows))
    rises = sum(after > before for (_, before), (_, after) in pairs)
    falls_s = [at_s for (_, before), (at_s, after) in pairs if after < before]
    repeats = sum(before == after > 0.0 for (_, before), (_, after) in pairs)
    has_few_falls = len(falls_s) <= TOTAL_MAX_FALLS_SHARE * rises
    if rises >= TOTAL_MIN_RISES and has_few_falls and (repeats >= TOTAL_MIN_REPEATS or rises >= TOTAL_CLEAR_RISES):
        return True
    # A total since midnight falls at one time of day only. Sums of intervals fall whenever rain ends.
    is_wet = sum(value > 0.0 for _, value in rows) >= DAILY_MIN_FALLS * len(falls_s)
    fall_times_of_day = {at_s % DAY_S for at_s in falls_s}
    times_of_day = {at_s % DAY_S for at_s, _ in rows}
    is_daily = len(fall_times_of_day) == 1 and len(times_of_day) > DAILY_MIN_FALLS
    if len(falls_s) >= DAILY_MIN_FALLS and is_wet and is_daily:
        return True
    if len(falls_s) > max(1, 2 * TOTAL_MAX_FALLS_SHARE * rises):
        return False
    return None


def are_tips(rows: Sequence[tuple[float, float]], interval_s: float) -> bool:
    """Return whether each row above zero is one tip of a bucket, given the interval of sums that would be expected.

    Tips are equal amounts at times that follow no interval. Rows of zero, which some loggers add while it is dry, do
    not matter. Equal sums that are stored twice, or that come regularly at whole minutes, are no tips.

    >>> are_tips([(20.0 * k, 0.2) for k in range(40)], 600.0)
    True
    >>> are_tips([(600.0 * k + late, 0.2) for k in range(40) for late in (0.0, 48.0)], 600.0)
    False
    """
    wet = [(at_s, value) for at_s, value in rows if value > 0.0]
    if len(wet) < TIPS_MIN_ROWS:
        return False
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(wet)]
    if sum(gap < 0.5 * interval_s for gap in gaps) < TIPS_MIN_CLOSE:
        return False
    tip_mm = min(value for _, value in wet)
    if tip_mm > TIP_MAX_MM or not all(_is_multiple(value, tip_mm) for _, value in wet):
        return False
    singles = sum(value <= 1.5 * tip_mm for _, value in wet)
    if singles < SINGLE_TIPS_SHARE * len(wet):
        return False
    usual_s, share = _find_usual_gap([at_s for at_s, _ in wet], 1)
    if share >= AGREEING_GAPS_SHARE and usual_s % 60.0 == 0.0:
        return False
    bins = [0] * TIPS_PHASE_BINS
    for at_s, _ in wet:
        bins[int(at_s % interval_s / interval_s * TIPS_PHASE_BINS) % TIPS_PHASE_BINS] += 1
    second_largest, largest = sorted(bins)[-2:]
    return largest + second_largest <= TIPS_MAX_PHASE_SHARE * len(wet)


def share_instants(rows: Sequence[tuple[float, float]]) -> bool:
    """Return whether equal small amounts stand several times at one instant, as tips of a logger without seconds do.

    Rows that are stored twice or three times throughout are no tips.

    >>> share_instants([(60.0 * k, 0.2) for k in range(20) for _ in range(1 + k % 4)])
    True
    >>> share_instants([(600.0 * k, 0.2) for k in range(20) for _ in range(3)])
    False
    """
    counts: dict[float, int] = {}
    tip_mm = min((value for _, value in rows if value > 0.0), default=0.0)
    if not 0.0 < tip_mm <= TIP_MAX_MM:
        return False
    for at_s, value in rows:
        if value > 0.0 and _is_multiple(value, tip_mm):
            counts[at_s] = counts.get(at_s, 0) + 1
    shared = sum(count >= SHARED_MIN_ROWS for count in counts.values())
    return shared >= SHARED_MIN_INSTANTS and len(set(counts.values())) > 1


def _is_multiple(value: float, tip_mm: float) -> bool:
    if value > 2.0 * TIPS_PER_ROW * tip_mm:
        return False
    count = round(value / tip_mm)
    return count <= TIPS_PER_ROW and abs(value - count * tip_mm) <= 0.02 * tip_mm * max(1, count)
