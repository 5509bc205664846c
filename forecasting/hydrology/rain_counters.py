"""Rain from the readings of a counter.

A counter that rises counted rain. A counter that falls is one of these, in the order in which they are tried:

1. **Rounding**: a fall within single precision is none.
2. **Glitch**: later readings prove that the fall never happened. The counter returns to where it was in one step that
   no plausible rain explains, or a rise is undone by a fall that no plausible rain explains.
3. **Wrap**: a count of 16 or 32 bits was full. Nothing is lost.
4. **Restart**: the value is plausible as the rain since a restart. That amount counts. What fell between the reading
   before and the restart is lost, so the interval is unknown.
5. **Correction**: somebody set the counter to another value. Nothing counts, and the interval is unknown.

Between a restart and a correction the readings often leave both open. The restart is tried first because it counts
more. Counters that restart at a fixed time of the hour or day are recognised by their falls. They restart each time,
also where the counter then shows more than before.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from forecasting.hydrology.rain_amounts import (
    DAY_S,
    HOUR_S,
    LeftOutReason,
    LeftOutRow,
    RainAmounts,
    UnknownRain,
    UnknownReason,
    most_mm,
)

Row = tuple[float, float]

# Single precision: a fall by this share of the value is none.
ROUNDING: Final = 1e-6
# A fall by less than this share is scatter of the gauge or a correction. After a restart a counter shows almost the
# same value again only by chance.
SCATTER_SHARE: Final = 0.05
# What may fall in one interval in any weather, as a share of the greatest rain ever measured: 9 mm in 10 min.
HEAVY_SHARE: Final = 0.05
# More than this share of the greatest rain ever measured is no rain unless it rains like that for some time.
RARE_SHARE: Final = 0.1
# Rain may be this many times as heavy as in the readings before and after.
NEIGHBOUR_FACTOR: Final = 4.0
NEIGHBOURS: Final = 6
# A counter that returns in one step comes back to where it was within this share of the step.
RETURN_TOLERANCE: Final = 0.2
# A counter returns within this many readings, or later in one of so many rises that are no rain.
RETURN_READINGS: Final = 12

FULL_COUNTS: Final = (2.0**16, 2.0**32)
# What one count stands for in mm: tips of 0.01 in to 1 mm, and tenths and hundredths as loggers write them.
COUNTS_MM: Final = (0.01, 0.02, 0.05, 0.1, 0.127, 0.2, 0.25, 0.254, 0.5, 1.0)
# A counter that falls to more than this share of its value did not wrap.
WRAP_SHARE: Final = 0.1
# What may have fallen across a wrap, as a share of the record: for the coarsest count that fits, and for finer counts,
# of which one or the other is full almost anywhere.
WRAP_MOST_SHARES: Final = (RARE_SHARE, 0.01)

RESTART_PERIODS_S: Final = (DAY_S, 0.5 * DAY_S, 0.25 * DAY_S, 3.0 * HOUR_S, HOUR_S)
# Falls at one phase of a period may be chance above this probability. Many runs of falls and five periods are tried.
RESTART_CHANCE: Final = 0.005
# Share of its restart times at which a counter has to fall. At the others it shows more than before.
RESTART_FALLS_SHARE: Final = 0.6
# Clocks differ from UTC by multiples of this, so restarts on the hour happen at such instants.
ZONE_STEP_S: Final = 900.0
ON_CLOCK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class CounterAmounts(RainAmounts):
    """What a counter counted: one amount for each reading that counts, 0 for the first.

    Attributes:
        restarts_s: Readings at which the counter had restarted.
    """

    restarts_s: tuple[float, ...] = ()

    @property
    def known(self) -> list[Row]:
        """(instant, mm since the reading before) where all of it is known. The first reading is no amount."""
        ends = {interval.to_s for interval in self.unknown}
        return [(at_s, mm) for at_s, mm in self.rows[1:] if at_s not in ends]


@dataclass(frozen=True, slots=True)
class _RestartClock:
    """A counter restarts each `period_s`, between the readings `first` and `last` (inclusive)."""

    period_s: float
    phase_s: float  # latest instant within the period at which it may happen
    first: int
    last: int
    shows_rain: bool  # it showed rain at the reading after a restart

    def restarts_between(self, from_s: float, to_s: float) -> bool:
        """Return whether a restart lies in (from_s, to_s]."""
        return (to_s - self.phase_s) // self.period_s > (from_s - self.phase_s) // self.period_s

    def is_complete(self, from_s: float, to_s: float) -> bool:
        """Return whether the reading at `from_s` was the last before the restart, so that no rain is lost.

        Restarts happen on the hour of some time zone. The reading has to lie on such an instant, and no other such
        instant may follow before `to_s`. One at `to_s` itself is excluded if the counter ever shows rain at once.
        """
        instant_s = round(from_s / ZONE_STEP_S) * ZONE_STEP_S
        next_s = instant_s + ZONE_STEP_S
        is_last = next_s > to_s + ON_CLOCK_S or (self.shows_rain and next_s > to_s - ON_CLOCK_S)
        return abs(from_s - instant_s) <= ON_CLOCK_S and is_last


@dataclass(slots=True)
class _Run:
    """Falls that may have happened at one instant of a period: in the `width_s` seconds before `latest_s`."""

    falls: list[int]
    latest_s: float
    width_s: float

    def add(self, fall: int, at_s: float, span_s: float, period_s: float) -> bool:
        """Add a fall that happened in the `span_s` seconds before `at_s`; return False if no common instant is left."""
        ahead_s = (at_s - self.latest_s) % period_s
        behind_s = (self.latest_s - at_s) % period_s
        if ahead_s < span_s:
            self.width_s = min(self.width_s, span_s - ahead_s)
        elif behind_s < self.width_s:
            self.latest_s = at_s
            self.width_s = min(self.width_s - behind_s, span_s)
        else:
            return False
        self.falls.append(fall)
        return True


def count_up(rows: Sequence[Row], interval_s: float) -> CounterAmounts:
    """Return what fell between the readings of a counter.

    Args:
        rows: Instant in seconds and what the counter showed in mm, in order of time.
        interval_s: The usual time between two readings.

    >>> reset = count_up([(0.0, 5.0), (60.0, 5.5), (120.0, 0.0), (180.0, 0.25)], 60.0)
    >>> reset.amounts_mm, reset.known
    ((0.0, 0.5, 0.0, 0.25), [(60.0, 0.5), (180.0, 0.25)])
    """
    readings, left_out, unknown = _leave_out_jumps(rows, interval_s)
    reader = _CounterReader(readings, interval_s)
    reader.flatten_glitches()
    amounts, restarts_s = reader.count()
    unknown = sorted([*unknown, *reader.unknown], key=lambda interval: interval.to_s)
    return CounterAmounts(
        times_s=tuple([at_s for at_s, _ in readings]),
        amounts_mm=tuple(amounts),
        unknown=tuple(unknown),
        left_out=tuple(left_out),
        restarts_s=tuple(restarts_s),
    )


def _leave_out_jumps(rows: Sequence[Row], interval_s: float) -> tuple[list[Row], list[LeftOutRow], list[UnknownRain]]:
    """Leave out jumps beyond any rain. A jump that the next reading confirms is another counter: its rise is unknown.

    The row of a confirmed jump stays, and `_CounterReader` counts nothing for it.
    """
    readings: list[Row] = []
    left_out: list[LeftOutRow] = []
    unknown: list[UnknownRain] = []
    highest = 0.0
    jump: Row | None = None
    for at_s, shown in rows:
        value = shown
        if readings:
            before_s, before = readings[-1]
            if jump is not None:
                jump_s, jumped = jump
                if 0.0 <= value - jumped <= most_mm(max(interval_s, at_s - jump_s)):
                    readings.append(jump)
                    before_s, before = jump
                else:
                    left_out.append(LeftOutRow(jump_s, jumped, LeftOutReason.JUMP))
                jump = None
            if before * (1.0 - ROUNDING) <= value < before:
                value = before
            limit = most_mm(max(interval_s, at_s - before_s))
            # a step back to a value that the counter showed before is judged as the end of a glitch
            if value - before > limit and value > highest + limit:
                jump = (at_s, value)
                continue
        readings.append((at_s, value))
        highest = max(highest, value)
    if jump is not None:
        left_out.append(LeftOutRow(*jump, LeftOutReason.JUMP))
        unknown.append(UnknownRain(readings[-1][0], jump[0], UnknownReason.JUMP))
    return readings, left_out, unknown


class _CounterReader:
    """Readings of a counter without glitches, step by step.

    `steps[i]` is the rise from the reading before reading `i`. `limits[i]` is the greatest rain ever measured in that
    time.
    """

    def __init__(self, readings: Sequence[Row], interval_s: float) -> None:
        self.times_s: list[float] = [at_s for at_s, _ in readings]
        self.values: list[float] = [value for _, value in readings]
        self.unknown: list[UnknownRain] = []
        self._spans_s = [interval_s, *(b - a for a, b in pairwise(self.times_s))]
        self._limits = [most_mm(max(interval_s, span_s)) for span_s in self._spans_s]
        self._steps: list[float] = [0.0, *(b - a for a, b in pairwise(self.values))]
        self._returns: set[int] = set()  # readings at which a glitch ends

    # ---- plausible rain ---------------------------------------------------------------------------------------

    def _is_plausible(self, index: int, amount_mm: float) -> bool:
        """Return whether an amount may have fallen before this reading, as heavy rain or beside what fell around it."""
        limit = self._limits[index]
        if amount_mm <= HEAVY_SHARE * limit:
            return True
        return amount_mm <= min(limit, NEIGHBOUR_FACTOR * self._sustained_rain(index))

    def _sustained_rain(self, index: int) -> float:
        """Return the second heaviest rain around a reading, or the only one, scaled to its interval, mm.

        A single heavy rise needs an explanation itself, and a rise right after a fall may be the end of a glitch.
        """
        first = max(1, index - NEIGHBOURS)
        last = min(len(self._steps) - 1, index + NEIGHBOURS)
        rates = []
        for number in range(first, last + 1):
            step = self._steps[number]
            follows_fall = self._steps[number - 1] < 0.0
            if number != index and step > 0.0 and not follows_fall:
                rates.append(step / max(1e-9, self._spans_s[number]))
        rates.sort()
        if len(rates) >= 2:
            return rates[-2] * self._spans_s[index]
        if rates and rates[0] * self._spans_s[index] <= RARE_SHARE * self._limits[index]:
            return rates[0] * self._spans_s[index]
        return 0.0

    # ---- glitches ---------------------------------------------------------------------------------------------

    def flatten_glitches(self) -> None:
        """Replace the readings of proven glitches by the value from before."""
        rare_rises = [i for i, step in enumerate(self._steps) if step > RARE_SHARE * self._limits[i]]
        index = 1
        while index < len(self.values):
            if self._steps[index] < 0.0:
                end = self._find_return(index, rare_rises)
                if end is not None:
                    self._flatten_dip(index, end)
                    index = end
                else:
                    begin = self._find_undone_rise(index, rare_rises)
                    if begin is not None:
                        self._flatten_peak(begin, index)
            index += 1

    def _find_return(self, fall: int, rare_rises: Sequence[int]) -> int | None:
        """Return the reading at which a counter that fell is back where it was; None if nothing proves it."""
        soon: Sequence[int] = range(fall + 1, min(len(self.values), fall + RETURN_READINGS + 1))
        place = bisect_right(rare_rises, fall + RETURN_READINGS)
        later = rare_rises[place : place + RETURN_READINGS]
        top = self.values[fall - 1]
        for number in [*soon, *later]:
            if self.values[number] < (1.0 - RETURN_TOLERANCE) * top:
                continue
            between = self.values[fall:number]
            if max(between) >= top:  # it rained up to where the counter was before
                return None
            if self._is_return(fall, number, top, min(between)):
                return number
        return None

    def _is_return(self, fall: int, number: int, top: float, lowest: float) -> bool:
        value = self.values[number]
        rise = self._steps[number]
        drop = top - lowest
        if rise <= 0.0 or rise < 0.5 * drop:
            return False
        if self._is_restart(fall, self.values[fall], top):
            # the counter may have restarted, so only a step that is no rain proves the return
            is_near_top = (1.0 - WRAP_SHARE) * top <= value <= top + RETURN_TOLERANCE * rise
            return is_near_top and not self._is_plausible(number, rise)
        if drop <= SCATTER_SHARE * top and value >= top:
            return True
        return top - RETURN_TOLERANCE * drop <= value <= top + RETURN_TOLERANCE * max(drop, rise)

    def _flatten_dip(self, begin: int, end: int) -> None:
        top = self.values[begin - 1]
        for number in range(begin, end):
            self.values[number] = top
        self._replace_steps(begin, end)
        self._returns.add(end)

    def _find_undone_rise(self, fall: int, rare_rises: Sequence[int]) -> int | None:
        """Return the reading at which the counter rose by mistake, if it falls back to where it was.

        The value must be no plausible rain since a restart: rain that was counted stays counted otherwise.
        """
        value = self.values[fall]
        if self._is_restart(fall, value, self.values[fall - 1]):
            return None
        recent = max(1, fall - RETURN_READINGS + 1)
        place = bisect_right(rare_rises, recent - 1)
        earlier = list(rare_rises[max(0, place - RETURN_READINGS) : place])
        candidates: list[int] = [*range(fall - 1, recent - 1, -1), *reversed(earlier)]
        for number in candidates:
            start = self.values[number - 1]
            rise = self._steps[number]
            if rise > 0.0 and start * (1.0 - ROUNDING) <= value <= start + RETURN_TOLERANCE * rise:
                return number
            if start < value:
                return None
        return None

    def _flatten_peak(self, begin: int, end: int) -> None:
        start = self.values[begin - 1]
        for number in range(begin, end):
            self.values[number] = start
        self.values[end] = max(start, self.values[end])
        self._replace_steps(begin, end)

    def _replace_steps(self, begin: int, end: int) -> None:
        for number in range(begin, min(end + 2, len(self.values))):
            self._steps[number] = self.values[number] - self.values[number - 1]

    # ---- counting ---------------------------------------------------------------------------------------------

    def count(self) -> tuple[list[float], list[float]]:
        """Return the amount of each reading, and the readings at which the counter had restarted."""
        amounts = [0.0] * len(self.values)
        restarts_s: list[float] = []
        clocks = self._find_clocks()
        place = 0
        for index in range(1, len(self.values)):
            while place < len(clocks) and clocks[place].last < index:
                place += 1
            clock = clocks[place] if place < len(clocks) and clocks[place].first <= index else None
            amounts[index], reason = self._classify(index, clock)
            before_s, at_s = self.times_s[index - 1], self.times_s[index]
            if reason is not None:
                self.unknown.append(UnknownRain(before_s, at_s, reason))
            has_restarted = clock is not None and clock.restarts_between(before_s, at_s) and self.values[index - 1] > 0
            if reason is UnknownReason.RESTART or has_restarted:
                restarts_s.append(at_s)
        return amounts, restarts_s

    def _classify(self, index: int, clock: _RestartClock | None) -> tuple[float, UnknownReason | None]:
        """Return what fell before a reading, and why it is not known."""
        before, value, step = self.values[index - 1], self.values[index], self._steps[index]
        before_s, at_s = self.times_s[index - 1], self.times_s[index]
        if clock is not None and clock.restarts_between(before_s, at_s):
            is_dry = before == 0.0 and value == 0.0
            is_known = is_dry or clock.is_complete(before_s, at_s)
            return value, None if is_known else UnknownReason.RESTART
        if step >= 0.0:
            return (step, None) if step <= self._limits[index] else (0.0, UnknownReason.JUMP)
        wrapped = _unwrap(before, value, self._limits[index])
        if wrapped is not None:
            return wrapped, None
        if index not in self._returns and self._is_restart(index, value, before):
            return value, UnknownReason.RESTART
        return 0.0, UnknownReason.CORRECTION

    def _is_restart(self, index: int, value: float, before: float) -> bool:
        """Return whether a counter that shows less than before may have restarted: what it shows fell since then."""
        return value < (1.0 - SCATTER_SHARE) * before and self._is_plausible(index, value)

    # ---- restarts by the clock --------------------------------------------------------------------------------

    def _find_clocks(self) -> list[_RestartClock]:
        """Return the stretches in which the counter restarts at a fixed time of the hour or day.

        Falls are grouped into runs with a common phase of a period. A clock that goes to summer time, or a logger that
        is set up again, starts another run.
        """
        falls = [
            index
            for index, step in enumerate(self._steps)
            if step < 0.0 and self._is_restart(index, self.values[index], self.values[index - 1])
        ]
        best: list[_RestartClock] = []
        most_explained = 0
        for period_s in RESTART_PERIODS_S:
            runs = self._group_falls(falls, period_s)
            clocks: list[_RestartClock] = []
            explained = 0
            for number, run in enumerate(runs):
                first = 1 if number == 0 else runs[number - 1].falls[-1] + 1
                last = len(self.values) - 1 if number == len(runs) - 1 else runs[number + 1].falls[0] - 1
                clock = self._check_clock(run, period_s, first, last)
                if clock is not None:
                    clocks.append(clock)
                    explained += len(run.falls)
            if explained > most_explained:
                best, most_explained = clocks, explained
        return best

    def _group_falls(self, falls: Sequence[int], period_s: float) -> list["_Run"]:
        """Group falls into runs that may share one instant of the period."""
        runs: list[_Run] = []
        for fall in falls:
            at_s = self.times_s[fall]
            span_s = at_s - self.times_s[fall - 1]
            if not (runs and runs[-1].add(fall, at_s, span_s, period_s)):
                runs.append(_Run([fall], at_s, span_s))
        return runs

    def _check_clock(self, run: "_Run", period_s: float, first: int, last: int) -> _RestartClock | None:
        falls = run.falls
        chance = 1.0
        for fall in falls[1:]:
            chance *= min(1.0, (self.times_s[fall] - self.times_s[fall - 1]) / period_s)
        if len(falls) < 2 or chance > RESTART_CHANCE:
            return None
        shows_rain = any(self.values[fall] > 0.0 for fall in falls)
        clock = _RestartClock(period_s, run.latest_s % period_s, first, last, shows_rain)
        passes = [
            index
            for index in range(first, last + 1)
            if self.values[index - 1] > 0.0 and clock.restarts_between(self.times_s[index - 1], self.times_s[index])
        ]
        if not all(self._is_plausible(index, self.values[index]) for index in passes):
            return None
        if sum(self._steps[index] < 0.0 for index in passes) < RESTART_FALLS_SHARE * len(passes):
            return None
        return clock


# ---- full counts --------------------------------------------------------------------------------------------------


def _unwrap(before: float, value: float, most: float) -> float | None:
    """Return what fell across the wrap of a 16- or 32-bit count, mm; None if the count was not full."""
    if value > WRAP_SHARE * before:
        return None
    fitting = [count for count in reversed(COUNTS_MM) if _is_counted(before, count) and _is_counted(value, count)]
    amounts = []
    for full in FULL_COUNTS:
        for count in fitting:
            share = WRAP_MOST_SHARES[0 if count == fitting[0] else 1]
            amount = full * count - before + value
            if before < full * count and amount <= share * most:
                amounts.append(amount)
    return min(amounts, default=None)


def _is_counted(value: float, count_mm: float) -> bool:
    number = value / count_mm
    return abs(number - round(number)) <= max(0.01, ROUNDING * number)
