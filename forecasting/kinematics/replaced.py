"""A sensor that took the place of another: what lies between the two, as an offset to propose. A person applies it.

The level just before and just after the work, each as its readings lead there, differ by the offset and by what the
ground did meanwhile. What it does at its usual pace is no part of the offset, and is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum, hypot, sqrt
from statistics import median
from typing import Final

from forecasting.reasons import Reason

FEWEST: Final = 3  # readings of one side: fewer say nothing of its level
TREND: Final = 6  # of one side: fewer say nothing of its pace
MOST: Final = 60  # the nearest ones count
CLEAR: Final = 3.0  # times its error: beyond it a figure is sure
DAY_S: Final = 86400.0
MEDIAN: Final = 1.2533  # error of a median, in those of a mean
FACTORS: Final = (1000.0, 304.8, 100.0, 25.4, 10.0, 9.80665)  # between units that are taken for one another
NEAR: Final = 0.05  # of such a factor


@dataclass(frozen=True, slots=True)
class Side:
    """A sensor beside the work: where it stands at the nearest reading, and how fast it moves there."""

    at_s: float
    level: float
    error: float
    rate_per_day: float | None
    rate_error_per_day: float
    count: int


@dataclass(frozen=True, slots=True)
class ProposedOffset:
    """The jump that the new sensor makes, in the unit of the series."""

    at_s: float  # first epoch of the new sensor
    size: float  # new less old, without the motion meanwhile
    error: float  # one standard deviation
    motion: float  # what the ground did between the two at its pace: it stays in the record
    motion_error: float  # one standard deviation of it; part of `error`
    gap_s: float  # between the last reading before and the first one after
    counts: tuple[int, int]  # readings that say it, before and after
    doubts: tuple[Reason, ...] = ()  # what an offset does not mend

    @property
    def is_needed(self) -> bool:
        """Whether the two differ by more than chance makes."""
        return abs(self.size) > CLEAR * self.error


def propose_offset(
    times_s: Sequence[float], values: Sequence[float], from_s: float, to_s: float, noise: float = 0.0
) -> ProposedOffset | Reason:
    """What to take from the readings of a new sensor; the reason if this cannot be measured.

    Args:
        from_s: begin of the work: what was read before it is of the old sensor.
        to_s: its end: what was read from then on is of the new one.
        noise: the smallest standard deviation of a reading, in their unit.

    >>> days = [DAY_S * k for k in range(40)]
    >>> found = propose_offset(days, [0.5 * k + 12.0 * (k >= 20) for k in range(40)], 20 * DAY_S, 20 * DAY_S)
    >>> round(found.size, 6), round(found.motion, 6)
    (12.0, 0.5)
    """
    pairs = list(zip(times_s, values, strict=True))
    old, new = [p for p in pairs if p[0] < from_s][-MOST:], [p for p in pairs if p[0] >= to_s][:MOST]
    if len(old) < FEWEST:
        return Reason("replaced.before", {"n": len(old)})
    if len(new) < FEWEST:
        return Reason("replaced.after", {"n": len(new), "least": FEWEST})
    before, after = _fit(old, old[-1][0], noise), _fit(new, new[0][0], noise)
    gap_s = after.at_s - before.at_s
    rates = [side.rate_per_day for side in (before, after) if side.rate_per_day is not None]
    rate = fsum(rates) / len(rates) if rates else 0.0
    apart = max(rates) - min(rates) if rates else 0.0
    unsure = hypot(before.rate_error_per_day, after.rate_error_per_day) / max(1, len(rates))
    motion, motion_error = rate * gap_s / DAY_S, max(unsure, apart / 2.0) * gap_s / DAY_S
    doubts = list(_find_doubts(before, after))
    return ProposedOffset(
        after.at_s,
        after.level - before.level - motion,
        sqrt(before.error**2 + after.error**2 + motion_error**2),
        motion,
        motion_error,
        gap_s,
        (before.count, after.count),
        tuple(doubts if rates else [*doubts, Reason("replaced.no_pace")]),
    )


def _fit(points: Sequence[tuple[float, float]], edge_s: float, noise: float) -> Side:
    days = [(at_s - edge_s) / DAY_S for at_s, _ in points]
    values, count = [value for _, value in points], len(points)
    rate = None
    if count >= TREND:
        rate = median((values[k] - values[i]) / (days[k] - days[i]) for i, k in combinations(range(count), 2))
    level = median(value - (rate or 0.0) * day for value, day in zip(values, days, strict=True))
    rests = [abs(value - (rate or 0.0) * day - level) for value, day in zip(values, days, strict=True)]
    sigma = max(1.4826 * median(rests), noise)
    error = MEDIAN * sigma / sqrt(count)
    if rate is None:
        return Side(edge_s, level, error, None, 0.0, count)
    rate_error = MEDIAN * sigma * sqrt(12.0 / count) / (days[-1] - days[0])
    return Side(edge_s, level, 2.0 * error, rate, rate_error, count)  # at the end of a line: twice as unsure


def _find_doubts(before: Side, after: Side) -> list[Reason]:
    old, new = before.rate_per_day, after.rate_per_day
    sides = ((old, before), (new, after))
    sure = all(rate is not None and abs(rate) > CLEAR * side.rate_error_per_day for rate, side in sides)
    if sure and old is not None and new is not None:
        if old * new < 0.0 and abs(old + new) < max(abs(old), abs(new)) / 2.0:
            return [Reason("replaced.turned")]
        if (factor := _find_factor(new / old)) is not None:
            return [Reason("replaced.factor", {"what": Reason("replaced.pace"), "factor": factor})]
    is_far = all(abs(side.level) > 10.0 * CLEAR * side.error for side in (before, after))
    if is_far and not sure and (factor := _find_factor(after.level / before.level)) is not None:
        return [Reason("replaced.factor", {"what": Reason("replaced.level"), "factor": factor})]
    return []


def _find_factor(ratio: float) -> float | None:
    size = abs(ratio)
    near = [one for f in FACTORS for one in (f, 1.0 / f) if abs(size / one - 1.0) < NEAR]
    return near[0] if near else None
