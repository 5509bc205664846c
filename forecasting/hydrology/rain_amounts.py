"""What fell by the readings of a gauge: the one rule for counters, and for two sums of one interval.

A counter that falls was reset only where it then shows little beside what it showed, or falls at one time of the day
or of the hour alone, as a sum since midnight does; a count of 16 or 32 bits that was full begins anew. Otherwise the
counter was corrected: nothing fell, and that interval is not known. What comes back never fell, and what is undone
never rose: within some readings, and whenever the step is one that hardly any rain makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from math import fsum
from operator import sub
from statistics import median
from typing import Final

# envelope of the greatest point rain ever measured, 422 mm * D**0.475 with D in h (Paulhus 1965, Monthly Weather
# Review 93): more than this in one interval is taken for a fault of the gauge
RECORD_MM: Final = 422.0
RECORD_EXPONENT: Final = 0.475
DAY_S: Final = 86_400.0
RESET_SHARE: Final = 0.1  # of what a counter showed: what a reset leaves at most
GLITCH_SHARE: Final = 0.2  # of a jump: so far beyond where it began it may end, and was none
BACK_READINGS: Final = 12  # within so many readings a counter that comes back never fell
ROUNDING: Final = 1e-6  # of what a counter shows: single precision, no fall
FULL: Final = (2.0**16, 2.0**32)
# what one count stands for, mm: tips of 0.01 in to 1 mm, and tenths and hundredths as loggers write them
COUNTS_MM: Final = (0.01, 0.02, 0.05, 0.1, 0.127, 0.2, 0.25, 0.254, 0.5, 1.0)
RARE_SHARE: Final = 0.1  # of the greatest rain ever measured: hardly any rain is more
# of it: what may have fallen while a full count began anew, by the coarsest count that fits, and by finer ones, of
# which one or the other is full almost anywhere
WRAP_SHARES: Final = (RARE_SHARE, 0.01)
TWICE_SHARE: Final = 0.75  # of gaps that agree: fewer from one to the next, as many to the next but one
TOTALS_S: Final = (3600.0, 10_800.0, 21_600.0, 43_200.0, DAY_S)  # for which totals are made of shorter sums
EARLY_AFTER: Final = 3  # gaps between sums, the last of which may come early
RISES_LEAST: Final = 8  # of a sum that adds up, where it falls in no more than a fifth as many places
RISES_CLEAR: Final = 48  # so many are enough without a rest
RESTS_LEAST: Final = 3
FALLS_MOST: Final = 0.2
ANEW_LEAST: Final = 3  # times that a sum of the day begins anew, and readings of a day between
ANEW_SHARE: Final = 0.6  # of the times when it begins anew, a sum falls so often at least: else more fell than before
HOUR_S: Final = 3600.0
OVERLAP_SHARE: Final = 0.05  # so much shorter than stated intervals may be: clocks differ


@dataclass(slots=True)
class _Fall:
    """A counter that fell: at which reading, what it had shown, the least it showed since, and whether as a reset."""

    at: int
    top: float
    low: float
    was_reset: bool

    def is_back(self, before: float, value: float) -> bool:
        """Whether the counter is where it was before, most of the way in one step: rain takes its time."""
        rise = value - before
        if rise <= 0.0 or rise < 0.5 * (self.top - self.low):
            return False
        if self.was_reset:
            return (1.0 - RESET_SHARE) * self.top <= value <= self.top + GLITCH_SHARE * rise
        return value >= self.top - GLITCH_SHARE * (self.top - self.low)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one reading says: what fell, whether all of it, or since a reset; a fall; from where another level holds."""

    amount_mm: float
    is_known: bool = True
    is_anew: bool = False
    fall: _Fall | None = None
    undoes: tuple[int, float] | None = None


@dataclass(slots=True)
class Counted:
    """What a counter counted, reading by reading."""

    interval_s: float  # between two readings
    period_s: float = DAY_S  # a day or an hour, where a sum begins anew each time
    # when in it, half an interval before its first reading, UTC; two where a clock goes to summer time
    starts_s: tuple[float, ...] = ()
    is_sure: bool = False  # it does so each time, also where it shows more than before
    times_s: list[float] = field(default_factory=list)  # of its readings
    amounts_mm: list[float] = field(default_factory=list)  # since the reading before
    unknown: list[tuple[float, float]] = field(default_factory=list)  # stretches in which nobody knows what fell
    # readings at which it had begun anew: what fell before that is lost
    resets_s: list[float] = field(default_factory=list)
    _shown: list[float] = field(default_factory=list)
    _falls: list[_Fall] = field(default_factory=list)
    _jumps: list[int] = field(default_factory=list)  # readings that rose as hardly any rain does
    _odd: tuple[float, float] | None = None  # a jump beyond any rain, at the reading before

    @property
    def known(self) -> list[tuple[float, float]]:
        """(instant, mm since the reading before) where all of it is known: not of the first reading."""
        ends = {*self.resets_s, *(to_s for _, to_s in self.unknown)}
        return [(t, mm) for t, mm in list(zip(self.times_s, self.amounts_mm, strict=True))[1:] if t not in ends]

    def take(self, at_s: float, value: float) -> None:
        """What fell by one more reading, and what earlier ones mean beside it."""
        before = self._shown[-1] if self._shown else value
        at_before = self.times_s[-1] if self._shown else at_s
        if self._odd is not None:
            odd_s, odd = self._odd
            if 0.0 <= value - odd <= most_mm(max(self.interval_s, at_s - odd_s)):  # it stays: another counter
                self.unknown.append((at_before, odd_s))
                before = odd
        if before * (1.0 - ROUNDING) <= value < before:
            value = before
        most = most_mm(max(self.interval_s, at_s - at_before))
        restarts = any((at_s - s) // self.period_s > (at_before - s) // self.period_s for s in self.starts_s)
        step = self._classify_step(before, value, most, restarts=restarts)
        self._odd = (at_s, value) if step.amount_mm > most else None
        if self._odd is not None:
            return
        if step.undoes is not None:
            self._undo(*step.undoes)
        self._falls = [*self._falls, *([step.fall] if step.fall else [])][-BACK_READINGS:]
        self._jumps += [len(self._shown)] if value - before > RARE_SHARE * most else []
        for fall in self._falls:
            fall.low = min(fall.low, value)
        self.unknown += [] if step.is_known else [(at_before, at_s)]
        self.resets_s += [at_s] if step.is_anew else []
        self.times_s.append(at_s)
        self.amounts_mm.append(step.amount_mm)
        self._shown.append(value)

    def _classify_step(self, before: float, value: float, most: float, *, restarts: bool) -> _Step:
        if restarts and before > 0.0 and (value < before or self.is_sure):
            return _Step(value, is_anew=True)
        since = 0 if value - before > RARE_SHARE * most else len(self._shown) - BACK_READINGS
        back = next((fall for fall in self._falls if fall.at > since and fall.is_back(before, value)), None)
        if back is not None:
            is_whole = value >= back.top * (1.0 - ROUNDING)
            return _Step(max(0.0, value - back.top), is_whole, undoes=(back.at, back.top))
        if value >= before:
            return _Step(value - before)
        wrapped = _unwrap(before, value, most)
        if wrapped is not None:
            return _Step(wrapped)
        is_reset = value <= RESET_SHARE * before
        undone = None if is_reset else self._find_undone(value)
        if undone is not None:
            start = self._shown[undone - 1]
            return _Step(max(0.0, value - start), undoes=(undone, start))
        fall = _Fall(len(self._shown), before, value, is_reset)
        return _Step(value if is_reset else 0.0, is_reset, is_reset, fall)

    def _find_undone(self, value: float) -> int | None:
        """The reading at which the counter jumped up, to be back now about where it had been."""
        shown = self._shown
        recent = max(1, len(shown) - BACK_READINGS + 1)
        for number in chain(range(len(shown) - 1, recent - 1, -1), (n for n in reversed(self._jumps) if n < recent)):
            start, rise = shown[number - 1], shown[number] - shown[number - 1]
            if rise > 0.0 and start * (1.0 - ROUNDING) <= value <= start + GLITCH_SHARE * rise:
                return number
            if start < value:
                return None
        return None

    def _undo(self, number: int, level: float) -> None:
        """Nothing fell from a reading on, and that is known; what the counter showed meanwhile says nothing."""
        count, from_s = len(self._shown) - number, self.times_s[number - 1]
        self.amounts_mm[number:] = [0.0] * count
        self._shown[number:] = [level] * count
        self._falls = [fall for fall in self._falls if fall.at < number]
        self._jumps = [at for at in self._jumps if at < number]
        self.unknown = [one for one in self.unknown if one[0] < from_s]
        self.resets_s = [at_s for at_s in self.resets_s if at_s <= from_s]


def most_mm(span_s: float) -> float:
    """The greatest rain ever measured in a time, mm."""
    return RECORD_MM * float((span_s / 3600.0) ** RECORD_EXPONENT)


def count_up(rows: Sequence[tuple[float, float]], interval_s: float) -> Counted:
    """What fell between the readings of a counter.

    A jump beyond any rain is left out, and believed to be another counter when it stays. `rows`: instant in seconds and
    what the counter showed in mm, in order of time.

    >>> reset = count_up([(0.0, 5.0), (60.0, 5.5), (120.0, 0.0), (180.0, 0.25)], 60.0)
    >>> reset.amounts_mm, reset.known
    ([0.0, 0.5, 0.0, 0.25], [(60.0, 0.5), (180.0, 0.25)])
    """
    counter = Counted(interval_s)
    for at_s, value in rows:
        counter.take(at_s, value)
    anew = _find_restart(rows, counter) or counter
    for at_s, value in rows if anew is not counter else ():
        anew.take(at_s, value)
    return anew


def _find_restart(rows: Sequence[tuple[float, float]], counter: Counted) -> Counted | None:
    """A counter that knows when it begins anew each day or hour: it falls then alone, to stay; None: it never does."""
    interval_s, ends = counter.interval_s, {*counter.resets_s, *(to_s for _, to_s in counter.unknown)}
    falls = [at_s for (_, before), (at_s, value) in pairwise(rows) if value < before and at_s in ends]
    if len(falls) < 2 or not (counter.resets_s or len(falls) >= ANEW_LEAST):
        return None
    for period_s in (DAY_S, HOUR_S):
        clocks = {_find_clock(at_s, interval_s, period_s) for at_s in falls}
        fell = [
            value < before
            for (_, before), (at_s, value) in pairwise(rows)
            if before > 0.0 and _find_clock(at_s, interval_s, period_s) in clocks
        ]
        is_sure = len(clocks) == 1 and fell.count(True) >= max(ANEW_LEAST, ANEW_SHARE * len(fell))
        is_daily = len(clocks) == 1 or _is_summer_time(clocks, falls, interval_s)
        is_one = is_daily if period_s == DAY_S else is_sure
        if is_one and len({_find_clock(at_s, interval_s, period_s) for at_s, _ in rows}) > ANEW_LEAST:
            return Counted(interval_s, period_s, tuple((clock - 0.5) * interval_s for clock in clocks), is_sure)
    return None


def _is_summer_time(clocks: set[int], falls: Sequence[float], interval_s: float) -> bool:
    """Whether a sum of the day begins anew an hour apart, by the two clocks of a year: once a day, both often."""
    is_once_a_day = ANEW_LEAST < len(falls) == len({at_s // DAY_S for at_s in falls})
    apart_s = (max(clocks) - min(clocks)) * interval_s
    return len(clocks) == 2 and is_once_a_day and apart_s in (HOUR_S, DAY_S - HOUR_S)


def _find_clock(at_s: float, interval_s: float, period_s: float) -> int:
    return round(at_s % period_s / interval_s) % max(1, round(period_s / interval_s))


def _unwrap(before: float, value: float, most: float) -> float | None:
    """What fell while a count of 16 or 32 bits was full and began anew, mm; None where it was not full."""
    if value > RESET_SHARE * before:
        return None
    counts = [count for count in reversed(COUNTS_MM) if _is_counted(before, count) and _is_counted(value, count)]
    fallen = [
        (full * count - before + value, WRAP_SHARES[0 if count == counts[0] else 1] * most)
        for full in FULL
        for count in counts
        if before < full * count
    ]
    return min((mm for mm, least in fallen if mm <= least), default=None)


def _is_counted(value: float, count_mm: float) -> bool:
    number = value / count_mm
    return abs(number - round(number)) <= max(0.01, ROUNDING * number)


# ---- sums of intervals -------------------------------------------------------------------------------------------


def pick_sums(rows: Sequence[tuple[float, float]], interval_s: float) -> list[tuple[float, float]]:
    """Of sums nearer to each other than half an interval the one on the beat of those before; else the first.

    A last one that comes early after a regular beat waits for the next, which says whether it is of that beat. `rows`:
    end of the interval in seconds and what fell in it, in order of time.

    >>> pick_sums([(600.0, 4.0), (648.0, 4.0), (1200.0, 2.0), (1248.0, 2.0)], 600.0)
    [(600.0, 4.0), (1200.0, 2.0)]
    """
    found: list[tuple[float, float]] = []
    half_s, first = 0.5 * interval_s, 0
    times_s = [at_s for at_s, _ in rows]
    if min(map(sub, times_s[1:], times_s), default=half_s) >= half_s:  # the usual case: none is near another
        found, first = list(rows), len(rows)
    while first < len(rows):
        last = first + 1
        while last < len(rows) and rows[last][0] - rows[first][0] < half_s:
            last += 1
        one = rows[first]
        if found and last - first > 1:
            beat_s = found[-1][0]
            one = min(rows[first:last], key=lambda row: abs((row[0] - beat_s + half_s) % interval_s - half_s))
        found.append(one)
        while last < len(rows) and rows[last][0] - one[0] < half_s:
            last += 1
        first = last
    *gaps, last_gap = [b - a for (a, _), (b, _) in pairwise(found[-EARLY_AFTER - 1 :])] or [interval_s]
    is_regular = all(abs(gap - interval_s) <= OVERLAP_SHARE * interval_s for gap in gaps)
    if len(found) > EARLY_AFTER and is_regular and last_gap < (1.0 - OVERLAP_SHARE) * interval_s:
        found.pop()
    return found


def drop_totals(rows: Sequence[tuple[float, float, float | None]], interval_s: float) -> list[tuple[float, float]]:
    """Sums of intervals, where an interval whose sum was replaced by the total of an hour or a day keeps its own.

    `rows`: end of the interval in seconds, what it says now and what it said first (None: the same), by time.

    >>> drop_totals([(600.0 * k, 2.0, None) for k in range(1, 6)] + [(3600.0, 12.0, 2.0)], 600.0)[-1]
    (3600.0, 2.0)
    """
    found: list[tuple[float, float]] = []
    for at_s, value, first in rows:
        own = value
        for span_s in TOTALS_S if first is not None and value > first else ():
            count = round(span_s / interval_s) - 1  # sums before this one
            parts = found[-count:] if 1 <= count <= len(found) else []
            is_whole = bool(parts) and abs(parts[0][0] - (at_s - count * interval_s)) < 0.5 * interval_s
            total = fsum([first or 0.0, *(mm for _, mm in parts)])
            if is_whole and abs(total - value) <= max(0.06, 0.005 * value):  # tenths that were rounded
                own = first or 0.0
        found.append((at_s, own))
    return found


def find_overlaps(times_s: Sequence[float], interval_s: float) -> list[float]:
    """Ends of sums by which more time was covered than passed, whatever the jitter: a fault of the gauge.

    `times_s`: ends of the intervals, of which none is nearer than half an interval to another.

    >>> find_overlaps([600.0, 1200.0, 1800.0], 600.0), find_overlaps([600.0, 900.0, 1200.0], 600.0)
    ([], [1200.0])
    """
    found: list[float] = []
    over_s = 0.0
    if min(map(sub, times_s[1:], times_s), default=interval_s) >= (1.0 - OVERLAP_SHARE) * interval_s:
        return found  # the usual case
    for before_s, at_s in pairwise(times_s):
        over_s = max(0.0, over_s + (1.0 - OVERLAP_SHARE) * interval_s - (at_s - before_s))
        if over_s > 0.5 * interval_s:
            found.append(at_s)
    return found


def find_interval(times_s: Sequence[float]) -> tuple[float, bool]:
    """The interval of sums that nobody states, and whether so many gaps agree that it is one.

    It is the usual gap, or that to the next but one where each sum comes twice.

    >>> find_interval([0.0, 48.0, 600.0, 648.0, 1200.0, 1248.0]), find_interval([0.0, 60.0, 120.0])
    ((600.0, True), (60.0, True))
    """
    if len(times_s) < 2:
        raise ValueError("one reading is no series")
    agreeing = []
    for lag in (1, 2):
        gaps = [b - a for a, b in zip(times_s, times_s[lag:], strict=False)]
        middle = median(gaps or [0.0])
        agreeing.append((middle, sum(abs(gap - middle) <= OVERLAP_SHARE * middle for gap in gaps) / max(1, len(gaps))))
    (each, share), (twice, of_two) = agreeing
    return (twice, True) if share < TWICE_SHARE <= of_two else (each, share >= TWICE_SHARE)


def count_undeclared(rows: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What fell by the readings of a gauge of which nobody states what they are; tips stay as they are.

    `rows`: instant in seconds and amount in mm, in order of time.

    >>> count_undeclared([(600.0 * k, 0.5 * (k // 2)) for k in range(40)])[:3]
    [(600.0, 0.0), (1200.0, 0.5), (1800.0, 0.0)]
    """
    if len(rows) < 2:
        return list(rows)
    interval_s, is_one = find_interval([at_s for at_s, _ in rows])
    if adds_up(rows):
        return count_up(rows, interval_s).known
    return pick_sums(rows, interval_s) if is_one else list(rows)


# ---- running sums ------------------------------------------------------------------------------------------------


def adds_up(rows: Sequence[tuple[float, float]]) -> bool | None:
    """Whether amounts add up from a beginning, as those of a counter or since midnight; None where nobody can tell.

    Sums of intervals fall about as often as they rise. A running sum falls where it begins anew alone.

    >>> adds_up([(600.0 * k, 0.2 * (k // 2)) for k in range(40)]), adds_up([(0.0, 0.0), (600.0, 0.2)])
    (True, None)
    >>> adds_up([(600.0 * k, 0.2 * (k % 2)) for k in range(40)])
    False
    """
    pairs = list(pairwise(rows))
    rises = sum(b > a for (_, a), (_, b) in pairs)
    falls = [at_s for (_, a), (at_s, b) in pairs if b < a]
    rests = sum(a == b > 0.0 for (_, a), (_, b) in pairs)  # sums of intervals are nothing while it is dry
    if rises >= RISES_LEAST and len(falls) <= FALLS_MOST * rises and (rests >= RESTS_LEAST or rises >= RISES_CLEAR):
        return True
    # it begins anew at one time of the day, and never falls between: sums of intervals fall whenever rain ends
    is_wet = sum(value > 0.0 for _, value in rows) >= ANEW_LEAST * len(falls)
    are_alike = len({at_s % DAY_S for at_s in falls}) == 1 and len({at_s % DAY_S for at_s, _ in rows}) > ANEW_LEAST
    if len(falls) >= ANEW_LEAST and is_wet and are_alike:
        return True
    return False if len(falls) > max(1, 2 * FALLS_MOST * rises) else None
