"""Jumps in a series: one causal walk that tells a step from a spike, from noise and from motion, and judges none.

Ours because a decision knows the past alone; of clear steps ruptures, which sees all, finds the same (a test).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import fsum, inf, sqrt
from operator import add, mul
from typing import Final

from monitor.decision.series.noise import LATELY, WANDERS, Scatter, is_stated, measure_plain, stands_out
from monitor.decision.series.vectors import Vector, minus, norm
from monitor.text.message import Figure, Message, Template

_AT_START: Final = Template("spike.at_start", "spike at the start of the window")()
_AROUND: Final = Template("spike.around", "spike: the values around it agree")()
_WITHIN_ERROR: Final = Template("reading.within_error", "off by {size}, less than its own error of {error}")
_JUMP: Final = Template("reading.jump", "jump of {size}: to be verified")
STEP_SIGMAS: Final = 5.0  # a jump within five of its own errors is noise of that series
PATIENCE: Final = 36.0  # intervals: what has sent fewer epochs by then is asked about as it is
OPENING: Final = 24  # the first epochs are judged together: nothing lies before them, and they show the scatter
AGREEING: Final = 6  # of the first epochs, among which the walk looks where to begin
CALM_EPOCHS: Final = 32  # looked at together, where nothing happens
FEW: Final = 12  # differences of which the scatter may be half of what it is
REST_OF_STEP: Final = 0.25  # of a jump: what follows it the same way and is less belongs to it
SPIKE_EPOCHS: Final = 6  # at the new place, and
SPIKE_S: Final = 86400.0  # since the jump: what comes back after both was no spike, and jumps anew
TAIL: Final = 6  # epochs that say where a series was heading
ERRATIC: Final = Template("spike.erratic", "erratic: the next value did not confirm it")()
RETURNED: Final = Template("spike.returned", "spike: the value returned")()  # of epochs behind a jump that came back


@dataclass(frozen=True, slots=True)
class Jump:
    """A sudden step found in a track: first epoch after it, what was before, and its size."""

    at_s: float
    before_s: float
    known_s: float
    size: Vector

    @property
    def length(self) -> float:
        """Euclidean size, unit of the series."""
        return norm(self.size)


@dataclass(slots=True)
class StepDetector:
    """Detects steps epoch by epoch, each from earlier epochs alone; it can be continued with newer ones.

    A jump must exceed `limit` and five of its own errors; an error is the stated one or the scatter of the series up to
    there, over its length or lately, whichever is larger. The epoch after a jump settles it: back where it was = the
    jump was a spike; at the new place = a step that lasts, unless it comes back within a day or six epochs; clearly
    further the same way = motion, no step; anything else = erratic, asked anew. Where a scatter ends at another place,
    or epochs agree that state large errors, six together show the step that none of them can (`settling`).
    Whether a series comes in one piece or epoch by epoch, the walk ends in the same state, bit for bit.

    The first epochs of a series of which nobody states an error say little of its scatter. Until there are enough of
    them a jump must stand out among all that came; one that does not is a value like any other.

    Attributes:
        limit: The jump beyond which one asks; None asks nothing.
        times: Rising epoch seconds.
        values: Components, n tuples of k.
        sigmas: One standard deviation each.
        kept: Indexes that count as evidence, rising.
        level: Value of each kept epoch with open jumps taken out.
        jumps: (index of first epoch after it, jump), oldest first.
        aside: Why an epoch does not count, by epoch.
        rewrites: How often something that was kept was taken out again; while it stands, `kept` only grew.
        patience_s: So long after its first epoch a series is held against the scatter that it has shown, if any.
        early: What may be a jump when the scatter is known: larger than all others, and not clearly; oldest first.
    """

    limit: float | None
    times: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    values: list[Vector] = field(default_factory=list)
    sigmas: list[Vector] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    level: dict[int, Vector] = field(default_factory=dict)
    jumps: list[tuple[int, Jump]] = field(default_factory=list)
    aside: dict[float, Message] = field(default_factory=dict)
    rewrites: int = 0
    unit: str = ""
    patience_s: float = inf
    early: list[Jump] = field(default_factory=list)
    _shift: Vector = ()
    _opening: Vector = ()  # scatter of the first epochs
    _scattered: Scatter = field(default_factory=Scatter)
    _consulted: bool = False  # a scatter was asked for in the opening
    _at: int = 0  # the epoch in hand
    _measured: tuple[int, Vector] = (-1, ())
    _settled: int = -1  # first epoch after the newest scatter that ended
    _doubted: list[tuple[int, Vector]] = field(default_factory=list)  # newest set aside within their own errors

    def extend(
        self, times: Sequence[float], received: Sequence[float], values: Sequence[Vector], sigmas: Sequence[Vector]
    ) -> None:
        """Take the walk over further epochs, all newer than those before."""
        if not times:
            return
        start = len(self.times)
        self.times += times
        self.received += received
        self.values += values
        self.sigmas += sigmas
        if start < OPENING:
            start = self._open() if start < AGREEING or self._consulted else self._go_on(start)
        if not self.kept and start < len(self.times):
            self._keep(start, self.values[start])
            start += 1
        for i in range(self._take_calm(start), len(self.times)):
            if self.limit is None or not self.kept:
                self._keep(i, self.values[i])
                continue
            self._at = i
            if not self._settle_jump(i, self.limit):
                self._classify(i, self.limit)
            if i >= OPENING and self.kept[-1] == i:
                self._end_scatter(i, self.limit)

    def _take_calm(self, start: int) -> int:
        """Keep the epochs that differ too little to ask anything of them; returns the first that may not be such.

        On each of three axes at most all lie within half of the limit, so no two of them are farther apart.
        """
        limit, place = self.limit, start
        if limit is None or self.jumps or self._settled >= 0 or len(self._shift) > 3:
            return start
        while place < len(self.times) and self.kept and self.kept[-1] == place - 1:
            end = min(place + CALM_EPOCHS, len(self.times))
            levels = [self.level[k] for k in self.kept[1 - ROUGH - QUIET :]]
            news = self.values[place:end]
            if levels[-1] != self.values[place - 1] or not is_steady([*levels, *news], limit):
                break
            self.kept += range(place, end)
            self.level |= zip(range(place, end), news, strict=True)
            self._doubted.clear()
            self._at, place = end - 1, end
        return place

    @property
    def learning(self) -> int | None:
        """Epochs so far of a series whose scatter is not known yet; None where it is, or where errors are stated."""
        count = len(self.times)
        waits = self.limit is not None and count < OPENING and not is_stated(self.sigmas)
        waits = waits and (not count or self.times[-1] - self.times[0] < self.patience_s)
        return count if waits else None

    def _go_on(self, start: int) -> int:
        """Take the opening further where none of its epochs asked for a scatter: all of them stay as they are."""
        if self.limit is not None:
            self._opening = self._scattered.measure(self.values, min(OPENING, len(self.values)) - 1)
        return start

    def _open(self) -> int:
        """Begin anew while the first epochs are not complete; returns the first that counts."""
        self.rewrites += 1
        self._consulted = False
        self.kept, self.level, self.jumps, self.early, self.aside, self._doubted = [], {}, [], [], {}, []
        self._shift = tuple(0.0 for _ in self.values[0])
        if self.limit is None:
            return 0
        self._scattered = Scatter(len(self._shift))
        self._opening = self._scattered.measure(self.values, min(OPENING, len(self.values)) - 1)
        start = self._first_agreeing(self.limit)
        for i in range(start):
            self.aside[self.times[i]] = _AT_START
        return start

    def _first_agreeing(self, limit: float) -> int:
        """The first epochs have nothing before them: begin where two neighbours agree."""
        for i in range(min(len(self.values), AGREEING) - 1):
            if norm(minus(self.values[i], self.values[i + 1])) <= limit:
                return i
        return 0

    def _settle_jump(self, i: int, limit: float) -> bool:
        """True when this epoch shows that the newest jump was a spike."""
        if not self.jumps:
            return False
        index, jump = self.jumps[-1]
        if index == self._settled or self._lasts(index):
            return False
        home = self.kept[: bisect_left(self.kept, index)][-TAIL:]
        before = minus(self._shift, jump.size)
        plain = minus(self.values[i], before)
        off = minus(plain, self._expect(home, self.times[i]))
        # what is left of a large jump is asked about like any other
        near = norm(off) <= min(max(0.25 * jump.length, 0.5 * limit), limit) < jump.length
        # a noisy epoch that fits both places goes to the nearer one
        fits = norm(off) < norm(minus(off, jump.size)) and self._weight(off, i, home[-1]) <= STEP_SIGMAS
        if not (near or fits):
            return False
        for k in self.kept:
            if k > index:
                self.aside[self.times[k]] = RETURNED
        self.aside[jump.at_s] = RETURNED
        self._go_back(index, before)
        self._keep(i, plain)
        return True

    def _lasts(self, index: int) -> bool:
        """True when a series has stood at the new place for so long that no return makes a spike of it."""
        count = len(self.kept) - bisect_left(self.kept, index)
        return count >= SPIKE_EPOCHS and self.times[self._at] - self.times[index] > SPIKE_S

    def _classify(self, i: int, limit: float) -> None:
        value = minus(self.values[i], self._shift) if any(self._shift) else self.values[i]
        last = self.kept[-1]
        if norm(minus(value, self.level[last])) <= limit:
            self._keep(i, value)
            return
        excess = minus(value, self._expect(self.kept, self.times[i]))
        if norm(excess) <= limit:
            self._keep(i, value)
            return
        if self._weight(excess, i, last) <= STEP_SIGMAS:
            if max(self.sigmas[i]) > 3.0 * max(*self._noise(last), *self._scatter()):
                own = Figure(max(self.sigmas[i]), ".1f", self.unit)
                self.aside[self.times[i]] = _WITHIN_ERROR(size=Figure(norm(excess), ".1f", self.unit), error=own)
                self._doubt(i, excess, limit)
            else:
                self._keep(i, value)
            return
        if self._was_outlier(i, value, excess, limit):
            return
        if self.learning is not None:
            clear = stands_out(self.values, i, norm(excess))
            if clear is None:
                self.early.append(Jump(self.times[i], self.times[last], self.received[i], excess))
            if not clear:
                self._keep(i, value)
                return
        if self.jumps and last < self.jumps[-1][0]:
            index, jump = self.jumps[-1]
            before = minus(self._shift, jump.size)
            onwards = index == i - 1 and fsum(map(mul, excess, jump.size)) > 0
            if onwards and norm(excess) < REST_OF_STEP * jump.length:
                self._complete_step(i, excess)
                return
            self._go_back(index, before)
            if onwards:
                # a second jump right after the first and the same way: this is motion, not a step
                del self.aside[jump.at_s]
                self._keep(index, minus(self.values[index], before))
                self._keep(i, minus(self.values[i], before))
                return
            self.aside[jump.at_s] = ERRATIC
            excess = minus(minus(self.values[i], before), self._expect(self.kept, self.times[i]))
        self.jumps.append((i, Jump(self.times[i], self.times[self.kept[-1]], self._known_s(i), excess)))
        self.aside[self.times[i]] = _JUMP(size=Figure(norm(excess), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, excess))
        self._doubted.clear()

    def _known_s(self, i: int) -> float:
        """When a jump could be known: not before what it is held against was known, or waited for no more."""
        if i >= OPENING or is_stated(self.sigmas[:OPENING]):
            return self.received[i]
        patient = bisect_left(self.times, self.times[0] + self.patience_s)
        return max(self.received[i], self.received[min(len(self.times), OPENING, patient + 1) - 1])

    def _doubt(self, i: int, excess: Vector, limit: float) -> None:
        """Set aside one by one, but six that agree at another place are a step at the first of them."""
        self._doubted = [*self._doubted[1 - LATELY :], (i, excess)]
        indexes = [k for k, _ in self._doubted]
        last = self.kept[-1]
        size = find_agreement(
            [e for _, e in self._doubted], [self.sigmas[k] for k in indexes], self._noise(last), limit
        )
        if size is None:
            return
        index, at_s = indexes[0], self.times[indexes[0]]
        self.jumps.append((index, Jump(at_s, self.times[last], self.received[i], size)))
        self.aside[at_s] = _JUMP(size=Figure(norm(size), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, size))
        for k in indexes[1:]:
            del self.aside[self.times[k]]
            self._keep(k, minus(self.values[k], self._shift))

    def _complete_step(self, i: int, rest: Vector) -> None:
        """A solution over a day shows one step in two epochs, and slip follows an earthquake: still one step."""
        index, jump = self.jumps[-1]
        whole = tuple(map(add, jump.size, rest))
        self.jumps[-1] = (index, replace(jump, size=whole))
        self.aside[jump.at_s] = _JUMP(size=Figure(norm(whole), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, rest))
        self._keep(i, minus(self.values[i], self._shift))

    def _end_scatter(self, i: int, limit: float) -> None:
        """Where a series that scattered stands quiet again, at another place: a step at the first quiet epoch.

        Six epochs have shown it, so no later one makes a spike of it; and what scattered no longer says how much this
        series scatters.
        """
        tail = self.kept[-(ROUGH + QUIET) :]
        if len(tail) < ROUGH + QUIET or (self.jumps and self.jumps[-1][0] >= tail[ROUGH]):
            return
        levels = [self.level[k] for k in tail]
        if is_steady(levels, limit):
            return
        size = find_settling(levels, [self.sigmas[k] for k in tail], limit)
        if size is None:
            return
        index, last = tail[ROUGH], tail[ROUGH - 1]
        for k in tail[ROUGH:]:
            self.level[k] = minus(self.level[k], size)
        self.jumps.append((index, Jump(self.times[index], self.times[last], self.received[i], size)))
        self._shift = tuple(map(add, self._shift, size))
        self.rewrites += 1
        self._settled = index
        self._scattered = Scatter(len(size), index)
        self._measured = (-1, ())

    def _was_outlier(self, i: int, value: Vector, excess: Vector, limit: float) -> bool:
        """True when it is the epoch before that stands out: a spike just under the limit looks like a jump back."""
        if len(self.kept) < 3:
            return False
        off = norm(minus(value, self._expect(self.kept[:-1], self.times[i])))
        if off > 0.5 * norm(excess) or off > limit:
            return False
        self.aside[self.times[self.kept.pop()]] = _AROUND
        self.rewrites += 1
        self._keep(i, value)
        return True

    def _keep(self, i: int, value: Vector) -> None:
        self.kept.append(i)
        self.level[i] = value
        self._doubted.clear()

    def _go_back(self, index: int, shift: Vector) -> None:
        count = bisect_left(self.kept, index)
        if count < len(self.kept):
            del self.kept[count:]
            self.rewrites += 1
        self.jumps.pop()
        self._shift = shift

    def _scatter(self) -> Vector:
        """Noise of the series itself, from all that came up to the epoch in hand."""
        if self._at < OPENING:
            self._consulted = True
            return self._opening
        if self._measured[0] != self._at:
            lately = self.values[max(self._at - LATELY, self._settled) : self._at + 1]
            scatter = self._scattered.measure(self.values, self._at)
            self._measured = (self._at, tuple(map(max, scatter, measure_plain(lately))))
        return self._measured[1]

    def _noise(self, i: int) -> Vector:
        """What an epoch states, or the scatter; where nothing is stated and few came it counts for more."""
        count = max(self._at, min(len(self.times), OPENING) - 1)
        unsure = 1.0 + FEW / count
        return tuple(max(s, c) if s > 0.0 else c * unsure for s, c in zip(self.sigmas[i], self._scatter(), strict=True))

    def _weight(self, jump: Vector, i: int, before: int) -> float:
        square = 0.0
        for size, a, b in zip(jump, self._noise(i), self._noise(before), strict=True):
            variance = a * a + b * b
            if variance <= 0.0:
                return inf
            square += size * size / variance
        return sqrt(square)

    def _expect(self, kept: Sequence[int], at_s: float) -> Vector:
        """Where the last kept epochs lead; standing still unless they clearly move, and never far ahead of them."""
        tail = kept[-TAIL:]
        last = self.level[tail[-1]]
        if len(tail) < 3:
            return last
        days = [(self.times[k] - self.times[tail[-1]]) / 86400.0 for k in tail]
        mean_t = fsum(days) / len(days)
        spread = fsum((d - mean_t) ** 2 for d in days)
        lead = min((at_s - self.times[tail[-1]]) / 86400.0, -days[0])
        out = []
        for axis, base in enumerate(last):
            series = [self.level[k][axis] for k in tail]
            mean_y = fsum(series) / len(series)
            rate = fsum((d - mean_t) * (y - mean_y) for d, y in zip(days, series, strict=True)) / spread
            rest = fsum((y - mean_y - rate * (d - mean_t)) ** 2 for d, y in zip(days, series, strict=True))
            stated = max(self.sigmas[k][axis] for k in tail)
            error = max(sqrt(rest / (len(days) - 2)), stated) / sqrt(spread)
            out.append(base + rate * lead if abs(rate) > 3.0 * error else base)
        return tuple(out)


QUIET: Final = 6  # epochs that agree, before the end of a scatter is believed
ROUGH: Final = 8  # epochs before them, of which the scatter is measured
CALMER: Final = 5.0  # times less than before: by chance less than once in a thousand
REAL: Final = 5.0  # standard errors of the difference of both means


def is_steady(levels: Sequence[Vector], limit: float) -> bool:
    """True where no mean of some epochs can differ from that of others by the limit: the usual case, cheaply seen.

    On each of three axes at most all of them lie within half of it.

    >>> is_steady([(0.0, 9.0), (1.0, 8.0), (9.0, 9.5)], 20.0), is_steady([(0.0,), (11.0,)], 20.0)
    (True, False)
    """
    most = limit / 2.0
    widths = [max(column) - min(column) for column in zip(*levels, strict=True)]
    return max(widths, default=0.0) <= most


def find_settling(levels: Sequence[Vector], sigmas: Sequence[Vector], limit: float) -> Vector | None:
    """How far the newest `QUIET` epochs stand from the `ROUGH` ones before them; None unless those scattered.

    No single epoch can show it: within the scatter of before, each lies where any other might. So the means are
    compared (Welch 1947, Biometrika 34), and only where the scatter ended at the same instant.

    Args:
        levels: The last `ROUGH + QUIET` epochs, tuples of k.
        sigmas: Stated standard deviations, tuples of k.

    >>> rough = [(x,) for x in (-60.0, -20.0, -90.0, -50.0, -110.0, -40.0, -100.0, -70.0)]
    >>> quiet = [(x,) for x in (1.0, 0.0, -1.0, 0.0, 1.0, 0.0)]
    >>> find_settling(rough + quiet, [(1.0,)] * 14, 20.0)
    (67.66666666666667,)
    >>> find_settling([(10.0 * i,) for i in range(8)] + [(70.0,)] * 6, [(1.0,)] * 14, 20.0) is None
    True
    """
    rough, quiet = levels[:ROUGH], levels[ROUGH:]
    size = minus(_mean(quiet), _mean(rough))
    if norm(size) <= limit:
        return None
    errors, calm = [], []
    for axis in range(len(size)):
        before, after = [v[axis] for v in rough], [v[axis] for v in quiet]
        stated = max(s[axis] for s in sigmas)
        calm.append(_spread(after, stated))
        errors.append(sqrt(_spread(before, stated) ** 2 / ROUGH + calm[-1] ** 2 / QUIET))
    path = fsum(norm(minus(b, a)) for a, b in pairwise(rough))
    if norm(measure_plain(rough)) < CALMER * norm(tuple(calm)) or path < WANDERS * norm(minus(rough[-1], rough[0])):
        return None
    surprise = fsum((a / e) ** 2 if e > 0.0 else 0.0 for a, e in zip(size, errors, strict=True))
    return size if surprise >= REAL * REAL else None


def find_agreement(excess: Sequence[Vector], sigmas: Sequence[Vector], error: Vector, limit: float) -> Vector | None:
    """Where epochs that state large errors stand together; None unless six agree beyond chance.

    One of them may be as far off as it says; six at one place are not, and what moved must not hide behind its sigma.

    Args:
        excess: How far each lies off what was expected, tuples of k.
        sigmas: Stated standard deviations, tuples of k.
        error: Of what was expected.

    >>> find_agreement([(300.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0)
    (300.0,)
    >>> find_agreement([(300.0,)] * 5, [(100.0,)] * 5, (1.0,), 20.0) is None
    True
    >>> find_agreement([(90.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0) is None
    True
    """
    count = len(excess)
    size = _mean(excess)
    if count < QUIET or norm(size) <= limit:
        return None
    square = 0.0
    for axis, middle in enumerate(size):
        stated = fsum(s[axis] ** 2 for s in sigmas) / count**2
        own = _spread([e[axis] for e in excess], 0.0) ** 2 / count
        variance = max(stated, own) + error[axis] ** 2
        square += middle * middle / variance if variance > 0.0 else 0.0
    return size if square >= REAL * REAL else None


def _mean(vectors: Sequence[Vector]) -> Vector:
    count = len(vectors)
    return tuple([fsum(column) / count for column in zip(*vectors, strict=True)])


def _spread(values: Sequence[float], stated: float) -> float:
    mean = fsum(values) / len(values)
    return max(stated, sqrt(fsum((v - mean) ** 2 for v in values) / (len(values) - 1)))
