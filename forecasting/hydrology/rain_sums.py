"""Rain from sums of intervals, also where more rows arrive than intervals pass.

Rows that follow each other faster than the declared interval are one of these, in the order in which they are tried:

1. **Tips**: each row is one tip of the bucket (`rain_amounts.are_tips`). All count, and time without rows is unknown.
2. **Overlapping sums**: each row is the sum of a whole interval, but the intervals overlap, as "rain of the last hour"
   every ten minutes. What each row adds counts.
3. **Duplicates**: equal sums close to each other, one of them where the interval ends. One counts.
4. **Totals**: a row that equals the sum of the rows before it, over an interval, an hour or a day. The parts count.
5. **Parts**: everything else. All rows count, and their time is unknown, because the interval is not as declared.

Cases 2 and 5 are a fault of the declaration. The caller notifies somebody.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import fsum
from operator import sub
from statistics import median
from typing import Final

from forecasting.hydrology.rain_amounts import (
    AGREEING_GAPS_SHARE,
    CLOCK_TOLERANCE,
    DAY_S,
    HOUR_S,
    LeftOutReason,
    LeftOutRow,
    RainAmounts,
    UnknownRain,
    UnknownReason,
    are_tips,
    most_mm,
)

Row = tuple[float, float]

# Rows nearer than this share of the interval are no two intervals, whatever the jitter of the clock.
CLOSE_SHARE: Final = 0.5
# Equal rows within this share of the interval may be the same sum again, and so many of them at most.
DUPLICATE_SHARE: Final = 0.45
DUPLICATES_MOST: Final = 3
# Rows end their interval within this share of it, where rows without neighbours show when intervals end.
ON_BEAT_SHARE: Final = 0.15
BEAT_MIN_ROWS: Final = 3

TOTAL_SPANS_S: Final = (HOUR_S, 3.0 * HOUR_S, 6.0 * HOUR_S, 12.0 * HOUR_S, DAY_S)
# Totals of tenths of a millimetre that were rounded agree within this.
TOTAL_TOLERANCE_MM: Final = 0.06
TOTAL_TOLERANCE_SHARE: Final = 0.005
# Intervals that a total has at least, and by which share its number of rows may differ from that of its intervals.
TOTAL_MIN_PARTS: Final = 2
TOTAL_ROWS_TOLERANCE: Final = 0.2
# So many rows at one time of the hour or day equal the sum of the rows before, in this share of the wet hours or days.
TOTAL_MIN_COUNT: Final = 3
# A total is close to two rows at most. If a larger share of the rows are close to each other, they are no totals.
TOTAL_MOST_CLOSE: Final = 2.0 / 3.0
TOTAL_WET_SHARE: Final = 0.75
# Wet parts that an interval with a total has at least, and how many of such intervals there are: amounts may agree by
# chance.
INTERVAL_MIN_PARTS: Final = 3
INTERVAL_MIN_TOTALS: Final = 2
# What the total of an interval adds to its parts is at most this many times the largest of them.
LAST_PART_RATIO: Final = 1.5

# Falls of overlapping sums that agree with what they had added before.
OVERLAP_MIN_FALLS: Final = 3
OVERLAP_TOLERANCE_MM: Final = 0.06


def resolve_sums(rows: Sequence[Row], interval_s: float) -> RainAmounts:
    """Return what fell by sums of intervals, with the intervals in which another amount may have fallen.

    Args:
        rows: End of the interval in seconds and what fell in it in mm, in order of time.
        interval_s: The declared interval.

    >>> resolve_sums([(600.0, 4.0), (648.0, 4.0), (1200.0, 2.0), (1248.0, 2.0)], 600.0).rows
    [(600.0, 4.0), (1200.0, 2.0)]
    >>> faster = resolve_sums([(3600.0, 0.0), (7200.0, 0.0), (7800.0, 6.0), (8400.0, 5.0)], 3600.0)
    >>> faster.rows[-1], [interval.reason.value for interval in faster.unknown]
    ((8400.0, 5.0), ['faster', 'faster', 'faster'])
    """
    times_s = [at_s for at_s, _ in rows]
    gaps = list(map(sub, times_s[1:], times_s))
    if min(gaps, default=interval_s) >= (1.0 - CLOCK_TOLERANCE) * interval_s:  # the usual case
        return _to_amounts(rows)
    if are_tips(rows, interval_s):
        return _take_tips(rows, interval_s)
    left_out: list[LeftOutRow] = []
    parts = _split_overlapping(rows, interval_s)
    if parts is not None:
        return _take_parts(parts, [True] * len(parts), interval_s, left_out)
    rows = _drop_duplicates(rows, interval_s, left_out)
    rows = _drop_close_totals(rows, interval_s, left_out)
    rows = _cut_inner_totals(rows, interval_s)
    return _take_parts(rows, _find_faster(rows, interval_s), interval_s, left_out)


def _to_amounts(
    rows: Sequence[Row],
    *,
    unknown: Sequence[UnknownRain] = (),
    left_out: Sequence[LeftOutRow] = (),
    are_tips: bool = False,
) -> RainAmounts:
    return RainAmounts(
        times_s=tuple([at_s for at_s, _ in rows]),
        amounts_mm=tuple([value for _, value in rows]),
        unknown=tuple(unknown),
        left_out=tuple(left_out),
        are_tips=are_tips,
    )


def _take_tips(rows: Sequence[Row], interval_s: float) -> RainAmounts:
    """Count every tip. A row covers the interval before it, and longer time without rows is unknown."""
    unknown = [
        UnknownRain(before_s, at_s - interval_s, UnknownReason.TIPS)
        for (before_s, _), (at_s, _) in pairwise(rows)
        if at_s - before_s > interval_s
    ]
    return _to_amounts(rows, unknown=unknown, are_tips=True)


# ---- duplicates -----------------------------------------------------------------------------------------------------


def _drop_duplicates(rows: Sequence[Row], interval_s: float, left_out: list[LeftOutRow]) -> list[Row]:
    """Drop all but one of equal rows that stand for one interval."""
    groups = _group_close(rows, interval_s)
    beat_s = _find_beat(groups, interval_s)
    kept: list[Row] = []
    for group in groups:
        if not _are_duplicates(group, interval_s) or not _is_on_beat(group, beat_s, interval_s):
            kept += group
            continue
        reference_s = kept[-1][0] if kept else group[0][0]
        chosen = min(group, key=lambda row: (_distance(row[0], reference_s, interval_s), row[0]))
        kept.append(chosen)
        left_out += [LeftOutRow(*row, LeftOutReason.DUPLICATE) for row in group if row is not chosen]
    return kept


def _group_close(rows: Sequence[Row], interval_s: float) -> list[list[Row]]:
    """Group rows of which each follows the row before within half an interval."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and row[0] - groups[-1][-1][0] < CLOSE_SHARE * interval_s:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _find_beat(groups: Sequence[Sequence[Row]], interval_s: float) -> float | None:
    """Return when intervals end, seconds within the interval, by the rows that have no close neighbour."""
    alone = [group[0][0] for group in groups if len(group) == 1]
    if len(alone) < BEAT_MIN_ROWS:
        return None
    beat_s = alone[-1] % interval_s
    agreeing = sum(_distance(at_s, beat_s, interval_s) <= ON_BEAT_SHARE * interval_s for at_s in alone)
    return beat_s if agreeing >= AGREEING_GAPS_SHARE * len(alone) else None


def _distance(at_s: float, beat_s: float, interval_s: float) -> float:
    """Return how far an instant lies from the nearest end of an interval, seconds."""
    half_s = 0.5 * interval_s
    return abs((at_s - beat_s + half_s) % interval_s - half_s)


def _are_duplicates(group: Sequence[Row], interval_s: float) -> bool:
    is_short = group[-1][0] - group[0][0] <= DUPLICATE_SHARE * interval_s
    is_equal = all(value == group[0][1] for _, value in group)
    return 2 <= len(group) <= DUPLICATES_MOST and is_short and is_equal


def _is_on_beat(group: Sequence[Row], beat_s: float | None, interval_s: float) -> bool:
    if beat_s is None:
        return True
    return any(_distance(at_s, beat_s, interval_s) <= ON_BEAT_SHARE * interval_s for at_s, _ in group)


# ---- totals ---------------------------------------------------------------------------------------------------------


def _drop_close_totals(rows: Sequence[Row], interval_s: float, left_out: list[LeftOutRow]) -> list[Row]:
    """Drop the totals of an hour or a day that are stored between the sums that they are made of.

    A row may equal the sum of the rows before it by chance. Totals do so each hour or each day.
    """
    remaining = list(rows)
    shortest_s = (1.0 - CLOCK_TOLERANCE) * interval_s
    close = sum(later - earlier < shortest_s for (earlier, _), (later, _) in pairwise(rows))
    if close > TOTAL_MOST_CLOSE * len(rows):
        return remaining
    for span_s in TOTAL_SPANS_S:
        if span_s >= TOTAL_MIN_PARTS * interval_s:
            totals = _find_totals(remaining, span_s, interval_s)
            left_out += [LeftOutRow(*row, LeftOutReason.TOTAL) for row in totals]
            remaining = [row for row in remaining if row not in totals]
    return remaining


def _find_totals(rows: Sequence[Row], span_s: float, interval_s: float) -> set[Row]:
    """Return the rows that follow the row before too early and are totals of a span."""
    parts: list[Row] = []
    parts_s: list[float] = []
    totals: list[Row] = []
    shortest_s = (1.0 - CLOCK_TOLERANCE) * interval_s
    for number, (at_s, value) in enumerate(rows):
        gap_s = at_s - rows[number - 1][0] if number else interval_s
        next_gap_s = rows[number + 1][0] - at_s if number + 1 < len(rows) else interval_s
        is_close = min(gap_s, next_gap_s) < shortest_s
        if is_close and _is_total(parts, parts_s, at_s, value, span_s, interval_s):
            totals.append((at_s, value))
        else:
            parts.append((at_s, value))
            parts_s.append(at_s)
    if len(totals) < TOTAL_MIN_COUNT:
        return set()
    for reference_s, _ in totals:
        agreeing = [row for row in totals if _has_phase(row, reference_s, span_s, interval_s)]
        first_s, last_s = agreeing[0][0] - span_s, agreeing[-1][0]
        wet_spans = {
            -(-(at_s - first_s) // span_s) for at_s, value in parts if value > 0.0 and first_s < at_s <= last_s
        }
        if len(agreeing) >= max(TOTAL_MIN_COUNT, TOTAL_WET_SHARE * len(wet_spans)):
            return set(agreeing)
    return set()


def _has_phase(row: Row, reference_s: float, span_s: float, interval_s: float) -> bool:
    return _distance(row[0], reference_s, span_s) <= CLOCK_TOLERANCE * interval_s


def _is_total(
    before: Sequence[Row], before_s: Sequence[float], at_s: float, value: float, span_s: float, interval_s: float
) -> bool:
    """Return whether a value equals the sum of the rows before it within a span."""
    if not before or value <= 2.0 * TOTAL_TOLERANCE_MM:  # almost nothing equals nothing
        return False
    expected = span_s / interval_s
    # a total may be stored a little later than the last of its parts
    for end_s in (at_s, before_s[-1] + 0.5 * interval_s):
        first = bisect_right(before_s, end_s - span_s)
        if abs(len(before) - first - expected) > TOTAL_ROWS_TOLERANCE * expected:
            continue
        parts = before[first:]
        if _agrees(fsum(mm for _, mm in parts), value) and _are_regular(parts, interval_s):
            return True
    return False


def _are_regular(rows: Sequence[Row], interval_s: float) -> bool:
    """Return whether rows are sums of the declared interval, and not parts of it."""
    shortest_s = (1.0 - TOTAL_ROWS_TOLERANCE) * interval_s
    return all(later - earlier >= shortest_s for (earlier, _), (later, _) in pairwise(rows))


def _agrees(total: float, value: float) -> bool:
    return abs(total - value) <= max(TOTAL_TOLERANCE_MM, TOTAL_TOLERANCE_SHARE * value)


def _cut_inner_totals(rows: Sequence[Row], interval_s: float) -> list[Row]:
    """Replace the totals of whole intervals that end their parts by what they add to them.

    A logger that writes hourly sums, and sums of ten minutes between them, ends each hour with the hourly sum. Such a
    row lies where an interval ends, and equals all of its parts together and about one part more. Unless that is so in
    every interval with several parts, the rows are parts themselves, and all of them count.
    """
    beat_s = _find_beat(_group_close(rows, interval_s), interval_s)
    if beat_s is None:
        return list(rows)
    cut = list(rows)
    totals = 0
    begin = 0
    for number, (at_s, value) in enumerate(rows):
        while rows[begin][0] <= at_s - (1.0 - CLOCK_TOLERANCE) * interval_s:
            begin += 1
        if _distance(at_s, beat_s, interval_s) > CLOCK_TOLERANCE * interval_s:
            continue
        parts = [mm for _, mm in rows[begin:number]]
        if sum(mm > 0.0 for mm in parts) < INTERVAL_MIN_PARTS:
            continue
        last_part = value - fsum(parts)
        if not -TOTAL_TOLERANCE_MM <= last_part <= LAST_PART_RATIO * max(parts):
            return list(rows)
        cut[number] = (at_s, max(0.0, last_part))
        totals += 1
    return cut if totals >= INTERVAL_MIN_TOTALS else list(rows)


def drop_totals(rows: Sequence[tuple[float, float, float | None]], interval_s: float) -> list[Row]:
    """Return sums of intervals, where a sum that was replaced by the total of an hour or a day keeps its first value.

    Args:
        rows: End of the interval in seconds, its value now and its first value (None if it is the same), by time.
        interval_s: The declared interval.

    >>> drop_totals([(600.0 * k, 2.0, None) for k in range(1, 6)] + [(3600.0, 12.0, 2.0)], 600.0)[-1]
    (3600.0, 2.0)
    """
    found: list[Row] = []
    for at_s, value, first in rows:
        if first is not None and value > first and _is_replaced_total(found, at_s, value, first, interval_s):
            found.append((at_s, first))
        else:
            found.append((at_s, value))
    return found


def _is_replaced_total(before: Sequence[Row], at_s: float, value: float, first: float, interval_s: float) -> bool:
    for span_s in TOTAL_SPANS_S:
        count = round(span_s / interval_s) - 1  # sums before this one
        if not 1 <= count <= len(before):
            continue
        parts = before[-count:]
        is_complete = abs(parts[0][0] - (at_s - count * interval_s)) < 0.5 * interval_s
        if is_complete and _agrees(fsum([first, *(mm for _, mm in parts)]), value):
            return True
    return False


# ---- faster than declared -------------------------------------------------------------------------------------------


def _find_faster(rows: Sequence[Row], interval_s: float) -> list[bool]:
    """Return for each row whether it arrived faster than the interval allows.

    A row counts if it or a neighbour follows within half an interval, or if by this row more time is covered than
    passed, whatever the jitter of the clock.
    """
    faster = [False] * len(rows)
    shortest_s = (1.0 - CLOCK_TOLERANCE) * interval_s
    run_begin = 0
    surplus_s = 0.0
    has_close = False
    for number in range(1, len(rows)):
        gap_s = rows[number][0] - rows[number - 1][0]
        surplus_s = max(0.0, surplus_s + shortest_s - gap_s)
        if gap_s >= shortest_s:
            run_begin = number
            has_close = False
        has_close = has_close or gap_s < CLOSE_SHARE * interval_s
        if has_close:
            for earlier in range(run_begin, number + 1):
                faster[earlier] = True
            run_begin = number
        if surplus_s > CLOSE_SHARE * interval_s:
            faster[number] = True
    return faster


def _split_overlapping(rows: Sequence[Row], interval_s: float) -> list[Row] | None:
    """Return what each of overlapping sums adds to the row before; None if the rows are no overlapping sums.

    If a row is the sum of the last `count` steps, the step that a row adds is its rise plus the step that leaves. The
    steps of real overlapping sums are never negative, and falls agree with what was added before.
    """
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(rows)]
    step_s = median(gaps)
    agreeing = sum(abs(gap - step_s) <= CLOCK_TOLERANCE * step_s for gap in gaps)
    count = round(interval_s / step_s) if step_s > 0.0 else 0
    is_regular = agreeing == len(gaps) and abs(count * step_s - interval_s) <= CLOCK_TOLERANCE * interval_s
    if count < 2 or not is_regular or len(rows) <= count:
        return None
    added: list[float] = []
    agreeing_falls = 0
    before = 0.0
    for number, (_, value) in enumerate(rows):
        leaving = added[number - count] if number >= count else 0.0
        step = value - before + leaving
        if step < -OVERLAP_TOLERANCE_MM:
            return None
        if value < before - OVERLAP_TOLERANCE_MM and abs(step) <= OVERLAP_TOLERANCE_MM:
            agreeing_falls += 1
        added.append(max(0.0, step))
        before = value
    if agreeing_falls < OVERLAP_MIN_FALLS:
        return None
    return [(at_s, step) for (at_s, _), step in zip(rows, added, strict=True)]


def _take_parts(
    rows: Sequence[Row], faster: Sequence[bool], interval_s: float, left_out: list[LeftOutRow]
) -> RainAmounts:
    """Count all rows up to the greatest rain ever measured in one interval. The time of faster rows is unknown."""
    limit = most_mm(interval_s)
    kept: list[Row] = []
    unknown: list[UnknownRain] = []
    begin = 0
    for (at_s, value), is_faster in zip(rows, faster, strict=True):
        while begin < len(kept) and kept[begin][0] <= at_s - interval_s:
            begin += 1
        if is_faster:
            before_s = max(at_s - interval_s, kept[-1][0]) if kept else at_s - interval_s
            unknown.append(UnknownRain(before_s, at_s, UnknownReason.FASTER))
            if fsum([value, *(mm for _, mm in kept[begin:])]) > limit:
                left_out.append(LeftOutRow(at_s, value, LeftOutReason.BEYOND_RECORD))
                continue
        kept.append((at_s, value))
    return _to_amounts(kept, unknown=unknown, left_out=left_out)
