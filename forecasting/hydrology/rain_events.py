"""Length of a rain event, and the antecedent precipitation index."""

from collections.abc import Sequence
from math import fsum

DAY_S = 86_400.0


def event_span_s(
    times_s: Sequence[float],
    amounts_mm: Sequence[float],
    interval_s: float,
    stamp: str,
    dry_gap_s: float,
    dry_mm: float = 0.0,
) -> float:
    """Return how long the rain event at the newest reading has lasted, seconds; 0 if it has ended.

    An event ends when at most `dry_mm` fell in measured time that adds up to `dry_gap_s`. A missing interval is neither
    dry nor wet, so a gap in the data never ends an event. A reading of a counter measures the whole time since the
    reading before it. The time between two tips of an event gauge is dry.

    Args:
        times_s: Ends of the intervals, ascending.
        interval_s: Length of an interval.
        stamp: What a reading means: `interval_end`, `counter` or `event` (a tip).
        dry_gap_s: Dry time after which an event has ended.
        dry_mm: Largest sum over the dry time that still counts as dry.

    >>> hours = [3600.0 * i for i in range(1, 7)]
    >>> event_span_s(hours, [0.0, 2.0, 0.0, 0.0, 1.0, 0.0], 3600.0, "interval_end", 3 * 3600.0)
    18000.0
    >>> event_span_s(hours, [0.0, 2.0, 1.0, 0.0, 0.0, 0.0], 3600.0, "interval_end", 3 * 3600.0)
    0.0
    """
    dry_s = 0.0
    drizzle_mm = 0.0
    first_wet_s: float | None = None
    for i in range(len(times_s) - 1, -1, -1):
        if stamp == "event" and i + 1 < len(times_s):
            dry_s += times_s[i + 1] - times_s[i]
            if dry_s >= dry_gap_s:
                break
        if amounts_mm[i] > 0.0 and drizzle_mm + amounts_mm[i] > dry_mm:
            first_wet_s = times_s[i]
            dry_s = 0.0
            drizzle_mm = 0.0
            continue
        drizzle_mm += amounts_mm[i]
        if stamp != "event":
            dry_s += times_s[i] - times_s[i - 1] if stamp == "counter" and i > 0 else interval_s
            if dry_s >= dry_gap_s:
                break
    return 0.0 if first_wet_s is None else times_s[-1] - first_wet_s + interval_s


def antecedent_index(times_s: Sequence[float], amounts_mm: Sequence[float], at_s: float, decay_per_day: float) -> float:
    """Return the antecedent precipitation index, mm: the sum of rain * k**age, with the age in days.

    Args:
        at_s: Instant of the index. Later rain is ignored.
        decay_per_day: k, the share that remains after a day.

    Source: Kohler and Linsley 1951, U.S. Weather Bureau Research Paper 34; k of 0.8 to 0.98 is usual.

    >>> antecedent_index([0.0, 86400.0, 172800.0], [10.0, 0.0, 4.0], 172800.0, 0.5)
    6.5
    """
    return fsum(
        amount * float(decay_per_day ** ((at_s - t) / DAY_S))
        for t, amount in zip(times_s, amounts_mm, strict=True)
        if t <= at_s
    )
