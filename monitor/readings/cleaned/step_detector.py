"""Detect jumps in a series and distinguish steps from spikes, noise and motion.

The detector processes epochs in their order and uses only earlier ones, because a decision must not depend on readings
that were received later. Libraries for change points (`ruptures`) use the whole series. A test shows that both find the
same clear steps.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import fsum, inf, sqrt
from operator import add, mul
from typing import Final

from monitor.readings.cleaned.noise import (
    MIN_PATH_FACTOR,
    RECENT_DIFFERENCES,
    Scatter,
    exceeds_scatter,
    is_stated,
    measure_plain,
)
from monitor.readings.cleaned.vectors import Vector, minus, norm
from monitor.text.message import Figure, Message, Template

_AT_START: Final = Template("spike.at_window_start", "a spike at the start of the loaded readings")()
_AROUND: Final = Template("spike.single_value", "a spike: the values before and after it agree")()
_WITHIN_ERROR: Final = Template(
    "reading.inaccurate",
    "it differs by {size} from the expected value, which is within its large stated error of {error}",
)
_JUMP: Final = Template("reading.unverified_jump", "a jump of {size}")
ERRATIC: Final = Template("spike.unconfirmed", "erratic: the next value did not confirm the jump")()
# Reason of each epoch between a jump and the return to the earlier level.
SPIKE_REASON: Final = Template("spike.value_returned", "a spike: the value returned to its earlier level")()

# A jump of less than five of its standard errors is noise.
STEP_SIGMAS: Final = 5.0
# A series with fewer than `OPENING_EPOCHS` after this many intervals is judged by the scatter of its epochs so far.
OPENING_PATIENCE_INTERVALS: Final = 36.0
# The first epochs are judged together, because their scatter is measured from all of them.
OPENING_EPOCHS: Final = 24
# A series starts at the first of two successive epochs that agree, among this many.
AGREEING_EPOCHS: Final = 6
# Number of epochs without an unusual value that are processed together.
CALM_EPOCHS: Final = 32
# A scatter measured from this many differences may be half of the true one, so it is doubled.
FEW_DIFFERENCES: Final = 12
# A change in the same direction right after a jump, and less than this share of it, belongs to the jump.
CONTINUATION_SHARE: Final = 0.25
# A jump whose value returns after at least this many epochs and this time was no spike. The return is a new jump.
SPIKE_EPOCHS: Final = 6
SPIKE_S: Final = 86400.0
# The expected value is extrapolated from this many epochs.
TAIL_EPOCHS: Final = 6
# Number of agreeing epochs that show the end of strong scatter, and of the epochs before them that show the scatter.
QUIET_EPOCHS: Final = 6
SCATTERED_EPOCHS: Final = 8
# The scatter must decrease by this factor. Chance does so less than once in a thousand.
MIN_SCATTER_RATIO: Final = 5.0
# Least difference of the two means in standard errors.
MIN_MEAN_SIGMAS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Jump:
    """A sudden change of a series.

    Attributes:
        at_s: First epoch after the jump.
        before_s: Last epoch before it that counts.
        detectable_s: When the jump could be detected: reception of the reading that shows it, in epoch seconds.
        size: Change by component, unit of the series.
    """

    at_s: float
    before_s: float
    detectable_s: float
    size: Vector

    @property
    def length(self) -> float:
        """Euclidean length of the jump, unit of the series."""
        return norm(self.size)


@dataclass(slots=True)
class StepDetector:
    """Detect steps epoch by epoch, each from epochs that are not later than those that show it.

    A jump must exceed `limit` and five of its standard errors. An error is the stated one, or the scatter of the series
    up to this epoch, over its whole length or recently, whichever is larger. The jump is listed in `jumps` and
    subtracted at once, and its first epoch is set aside. That epoch counts again only if the next one shows motion. The
    next epoch decides what the jump was, and removes it again if it was no step:

    * back at the earlier value: the jump was a spike;
    * at the new value: a step that lasts, unless it returns within a day or six epochs, whichever is longer;
    * clearly further in the same direction: motion, no step;
    * anything else: erratic, and the new value is compared again with the epochs before the jump.

    Six epochs together show a step that none of them can show alone: if strong scatter ends at another level
    (`find_end_of_scatter`), or if epochs with large stated errors agree (`find_agreement`).

    The first epochs of a series without stated errors show little of its scatter. Until there are `OPENING_EPOCHS` of
    them, a jump must be clearly larger than all other changes; otherwise the epoch counts like any other.

    The final state does not depend on how the epochs are divided among calls of `extend`, bit for bit.

    Attributes:
        limit: The jump above which a step must be verified; None if none must.
        times: Epoch seconds, ascending.
        received: When each epoch was received, epoch seconds.
        values: Components, n tuples of k.
        sigmas: One standard deviation each.
        counting: Indexes of the epochs that count, ascending.
        values_without_jumps: Value of each counting epoch with all jumps in `jumps` subtracted, by index.
        jumps: (index of the first epoch after it, jump), oldest first.
        set_aside: Why an epoch does not count, by epoch.
        rewrites: How often an epoch that counted was removed. Between two removals `counting` only grows.
        unit: Unit of the series, for messages.
        patience_s: After this time a short series is judged by the scatter that it has shown, if any.
        unconfirmed_jumps: Jumps of a short series that are larger than all other changes, but not clearly, oldest
            first.
    """

    limit: float | None
    times: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    values: list[Vector] = field(default_factory=list)
    sigmas: list[Vector] = field(default_factory=list)
    counting: list[int] = field(default_factory=list)
    values_without_jumps: dict[int, Vector] = field(default_factory=dict)
    jumps: list[tuple[int, Jump]] = field(default_factory=list)
    set_aside: dict[float, Message] = field(default_factory=dict)
    rewrites: int = 0
    unit: str = ""
    patience_s: float = inf
    unconfirmed_jumps: list[Jump] = field(default_factory=list)
    _shift: Vector = ()
    _opening_scatter: Vector = ()
    _differences: Scatter = field(default_factory=Scatter)
    _has_used_opening_scatter: bool = False
    _current: int = 0  # index of the epoch that is being processed
    _measured_scatter: tuple[int, Vector] = (-1, ())  # index up to which it was measured, and the result
    _end_of_scatter: int = -1  # index of the first epoch after the latest end of strong scatter
    # Newest epochs that were set aside within their stated errors: index, difference from the expected value.
    _inaccurate: list[tuple[int, Vector]] = field(default_factory=list)

    def extend(
        self, times: Sequence[float], received: Sequence[float], values: Sequence[Vector], sigmas: Sequence[Vector]
    ) -> None:
        """Process further epochs, all newer than those before."""
        if not times:
            return
        start = len(self.times)
        self.times += times
        self.received += received
        self.values += values
        self.sigmas += sigmas
        if start < OPENING_EPOCHS:
            if start < AGREEING_EPOCHS or self._has_used_opening_scatter:
                start = self._restart()
            else:
                self._measure_opening_scatter()
        if not self.counting and start < len(self.times):
            self._keep(start, self.values[start])
            start += 1
        for i in range(self._keep_calm_epochs(start), len(self.times)):
            if self.limit is None or not self.counting:
                self._keep(i, self.values[i])
                continue
            self._current = i
            if not self._is_return(i, self.limit):
                self._classify(i, self.limit)
            if i >= OPENING_EPOCHS and self.counting[-1] == i:
                self._detect_end_of_scatter(i, self.limit)

    def _keep_calm_epochs(self, start: int) -> int:
        """Keep epochs that differ too little from each other to contain a jump, several at a time.

        On each of at most three axes all values are within half of the limit (`is_steady`), so no two of them differ by
        more than the limit.

        Returns:
            The index of the first epoch that must be processed alone.
        """
        limit = self.limit
        place = start
        if limit is None or self.jumps or self._end_of_scatter >= 0 or len(self._shift) > 3:
            return start
        while place < len(self.times) and self.counting and self.counting[-1] == place - 1:
            end = min(place + CALM_EPOCHS, len(self.times))
            levels = [self.values_without_jumps[k] for k in self.counting[1 - SCATTERED_EPOCHS - QUIET_EPOCHS :]]
            added = self.values[place:end]
            if levels[-1] != self.values[place - 1] or not is_steady([*levels, *added], limit):
                break
            self.counting += range(place, end)
            self.values_without_jumps |= zip(range(place, end), added, strict=True)
            self._inaccurate.clear()
            self._current = end - 1
            place = end
        return place

    @property
    def epochs_without_known_noise(self) -> int | None:
        """Number of epochs of a series with unknown scatter; None if it is known or errors are stated."""
        count = len(self.times)
        if self.limit is None or count >= OPENING_EPOCHS or is_stated(self.sigmas):
            return None
        if count and self.times[-1] - self.times[0] >= self.patience_s:
            return None
        return count

    def _measure_opening_scatter(self) -> None:
        """Measure the scatter again for further opening epochs.

        Earlier results stay valid, because none of them depended on the scatter.
        """
        if self.limit is not None:
            self._opening_scatter = self._differences.measure(self.values, min(OPENING_EPOCHS, len(self.values)) - 1)

    def _restart(self) -> int:
        """Process the first epochs again with their present scatter, and return the index of the first that counts."""
        self.rewrites += 1
        self._has_used_opening_scatter = False
        self.counting = []
        self.values_without_jumps = {}
        self.jumps = []
        self.unconfirmed_jumps = []
        self.set_aside = {}
        self._inaccurate = []
        self._shift = tuple(0.0 for _ in self.values[0])
        if self.limit is None:
            return 0
        self._differences = Scatter(len(self._shift))
        self._opening_scatter = self._differences.measure(self.values, min(OPENING_EPOCHS, len(self.values)) - 1)
        start = self._find_start(self.limit)
        for i in range(start):
            self.set_aside[self.times[i]] = _AT_START
        return start

    def _find_start(self, limit: float) -> int:
        """Return the index of the first epoch that agrees with its successor; 0 if none does."""
        for i in range(min(len(self.values), AGREEING_EPOCHS) - 1):
            if norm(minus(self.values[i], self.values[i + 1])) <= limit:
                return i
        return 0

    def _is_return(self, i: int, limit: float) -> bool:
        """Return whether this epoch shows that the newest jump was a spike, and remove that jump if so."""
        if not self.jumps:
            return False
        index, jump = self.jumps[-1]
        if index == self._end_of_scatter or self._has_lasted(index):
            return False
        before_jump = self.counting[: bisect_left(self.counting, index)][-TAIL_EPOCHS:]
        shift = minus(self._shift, jump.size)
        value = minus(self.values[i], shift)
        difference = minus(value, self._extrapolate(before_jump, self.times[i]))
        # A remaining difference above the limit must be verified like any other jump.
        is_near = norm(difference) <= min(max(0.25 * jump.length, 0.5 * limit), limit) < jump.length
        # A noisy epoch that is compatible with both levels belongs to the nearer one.
        is_nearer = norm(difference) < norm(minus(difference, jump.size))
        is_compatible = is_nearer and self._count_sigmas(difference, i, before_jump[-1]) <= STEP_SIGMAS
        if not (is_near or is_compatible):
            return False
        for k in self.counting:
            if k > index:
                self.set_aside[self.times[k]] = SPIKE_REASON
        self.set_aside[jump.at_s] = SPIKE_REASON
        self._remove_jump(index, shift)
        self._keep(i, value)
        return True

    def _has_lasted(self, index: int) -> bool:
        """Return whether a series has been at the new level for so long that a return is no spike."""
        count = len(self.counting) - bisect_left(self.counting, index)
        return count >= SPIKE_EPOCHS and self.times[self._current] - self.times[index] > SPIKE_S

    def _classify(self, i: int, limit: float) -> None:
        """Keep an epoch, set it aside, or record a jump."""
        value = minus(self.values[i], self._shift) if any(self._shift) else self.values[i]
        last = self.counting[-1]
        if norm(minus(value, self.values_without_jumps[last])) <= limit:
            self._keep(i, value)
            return
        excess = minus(value, self._extrapolate(self.counting, self.times[i]))
        if norm(excess) <= limit:
            self._keep(i, value)
            return
        if self._count_sigmas(excess, i, last) <= STEP_SIGMAS:
            self._process_noise(i, value, excess, limit)
            return
        if self._is_previous_outlier(i, value, excess, limit):
            return
        if self.epochs_without_known_noise is not None and not self._is_clear_in_short_series(i, excess):
            self._keep(i, value)
            return
        if self.jumps and last < self.jumps[-1][0]:
            # The previous epoch is after a jump that no epoch has confirmed.
            remaining = self._decide_newest_jump(i, excess)
            if remaining is None:
                return
            excess = remaining
        self.jumps.append((i, Jump(self.times[i], self.times[self.counting[-1]], self._find_detection_time(i), excess)))
        self.set_aside[self.times[i]] = _JUMP(size=Figure(norm(excess), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, excess))
        self._inaccurate.clear()

    def _process_noise(self, i: int, value: Vector, excess: Vector, limit: float) -> None:
        """Keep an epoch that differs by no more than the noise. Set it aside if its own stated error is that large."""
        stated = max(self.sigmas[i])
        if stated <= 3.0 * max(*self._find_noise(self.counting[-1]), *self._measure_scatter()):
            self._keep(i, value)
            return
        error = Figure(stated, ".1f", self.unit)
        self.set_aside[self.times[i]] = _WITHIN_ERROR(size=Figure(norm(excess), ".1f", self.unit), error=error)
        self._set_aside_inaccurate(i, excess, limit)

    def _is_clear_in_short_series(self, i: int, excess: Vector) -> bool:
        """Return whether a jump is clearly larger than the other changes of a series with unknown noise.

        A jump that may be either is added to `early`.
        """
        is_clear = exceeds_scatter(self.values, i, norm(excess))
        if is_clear is None:
            self.unconfirmed_jumps.append(Jump(self.times[i], self.times[self.counting[-1]], self.received[i], excess))
        return bool(is_clear)

    def _decide_newest_jump(self, i: int, excess: Vector) -> Vector | None:
        """Decide what the newest jump was, from the first epoch after it, which is at another value.

        Returns:
            The difference from the value expected before the jump if the jump was erratic, so that this epoch must be
            compared again. None if this epoch belongs to the same step, or if both are motion.
        """
        index, jump = self.jumps[-1]
        shift = minus(self._shift, jump.size)
        is_onwards = index == i - 1 and fsum(map(mul, excess, jump.size)) > 0
        if is_onwards and norm(excess) < CONTINUATION_SHARE * jump.length:
            self._complete_step(i, excess)
            return None
        self._remove_jump(index, shift)
        if is_onwards:
            # A second jump right after the first, in the same direction, is motion and no step.
            del self.set_aside[jump.at_s]
            self._keep(index, minus(self.values[index], shift))
            self._keep(i, minus(self.values[i], shift))
            return None
        self.set_aside[jump.at_s] = ERRATIC
        return minus(minus(self.values[i], shift), self._extrapolate(self.counting, self.times[i]))

    def _find_detection_time(self, i: int) -> float:
        """Return when a jump could be detected: when its epoch was received.

        During the first epochs of a series without stated errors, this is not before the scatter was known or
        `patience_s` had passed, whichever was earlier.
        """
        if i >= OPENING_EPOCHS or is_stated(self.sigmas[:OPENING_EPOCHS]):
            return self.received[i]
        end_of_patience = bisect_left(self.times, self.times[0] + self.patience_s)
        needed = min(len(self.times), OPENING_EPOCHS, end_of_patience + 1)
        return max(self.received[i], self.received[needed - 1])

    def _set_aside_inaccurate(self, i: int, excess: Vector, limit: float) -> None:
        """Add an epoch to those that were set aside. Six that agree at another level are a step at the first one."""
        self._inaccurate = [*self._inaccurate[1 - RECENT_DIFFERENCES :], (i, excess)]
        indexes = [k for k, _ in self._inaccurate]
        last = self.counting[-1]
        size = find_agreement(
            [e for _, e in self._inaccurate], [self.sigmas[k] for k in indexes], self._find_noise(last), limit
        )
        if size is None:
            return
        index = indexes[0]
        at_s = self.times[index]
        self.jumps.append((index, Jump(at_s, self.times[last], self.received[i], size)))
        self.set_aside[at_s] = _JUMP(size=Figure(norm(size), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, size))
        for k in indexes[1:]:
            del self.set_aside[self.times[k]]
            self._keep(k, minus(self.values[k], self._shift))

    def _complete_step(self, i: int, remainder: Vector) -> None:
        """Add the change of this epoch to the newest step.

        A solution over a day shows one step in two epochs, and slip continues after an earthquake.
        """
        index, jump = self.jumps[-1]
        whole = tuple(map(add, jump.size, remainder))
        self.jumps[-1] = (index, replace(jump, size=whole))
        self.set_aside[jump.at_s] = _JUMP(size=Figure(norm(whole), ".1f", self.unit))
        self._shift = tuple(map(add, self._shift, remainder))
        self._keep(i, minus(self.values[i], self._shift))

    def _detect_end_of_scatter(self, i: int, limit: float) -> None:
        """Record a step at the first quiet epoch where strong scatter ended at another level.

        Six epochs confirm the step, so no later epoch turns it into a spike. The scatter of the series is
        measured from that epoch on.
        """
        tail = self.counting[-(SCATTERED_EPOCHS + QUIET_EPOCHS) :]
        if len(tail) < SCATTERED_EPOCHS + QUIET_EPOCHS or (self.jumps and self.jumps[-1][0] >= tail[SCATTERED_EPOCHS]):
            return
        levels = [self.values_without_jumps[k] for k in tail]
        if is_steady(levels, limit):
            return
        size = find_end_of_scatter(levels, [self.sigmas[k] for k in tail], limit)
        if size is None:
            return
        index = tail[SCATTERED_EPOCHS]
        last = tail[SCATTERED_EPOCHS - 1]
        for k in tail[SCATTERED_EPOCHS:]:
            self.values_without_jumps[k] = minus(self.values_without_jumps[k], size)
        self.jumps.append((index, Jump(self.times[index], self.times[last], self.received[i], size)))
        self._shift = tuple(map(add, self._shift, size))
        self.rewrites += 1
        self._end_of_scatter = index
        self._differences = Scatter(len(size), index)
        self._measured_scatter = (-1, ())

    def _is_previous_outlier(self, i: int, value: Vector, excess: Vector, limit: float) -> bool:
        """Return whether the previous epoch is the outlier, and set it aside if so.

        The return from a spike that is just below the limit looks like a jump.
        """
        if len(self.counting) < 3:
            return False
        difference = norm(minus(value, self._extrapolate(self.counting[:-1], self.times[i])))
        if difference > 0.5 * norm(excess) or difference > limit:
            return False
        self.set_aside[self.times[self.counting.pop()]] = _AROUND
        self.rewrites += 1
        self._keep(i, value)
        return True

    def _keep(self, i: int, value: Vector) -> None:
        self.counting.append(i)
        self.values_without_jumps[i] = value
        self._inaccurate.clear()

    def _remove_jump(self, index: int, shift: Vector) -> None:
        """Remove the newest jump and the epochs since, and restore the shift before it."""
        count = bisect_left(self.counting, index)
        if count < len(self.counting):
            del self.counting[count:]
            self.rewrites += 1
        self.jumps.pop()
        self._shift = shift

    def _measure_scatter(self) -> Vector:
        """Return the scatter of the series up to the current epoch, one standard deviation by axis."""
        if self._current < OPENING_EPOCHS:
            self._has_used_opening_scatter = True
            return self._opening_scatter
        if self._measured_scatter[0] != self._current:
            recent = self.values[max(self._current - RECENT_DIFFERENCES, self._end_of_scatter) : self._current + 1]
            scatter = self._differences.measure(self.values, self._current)
            self._measured_scatter = (self._current, tuple(map(max, scatter, measure_plain(recent))))
        return self._measured_scatter[1]

    def _find_noise(self, i: int) -> Vector:
        """Return the noise of an epoch by axis: its stated error or the scatter, whichever is larger.

        Without a stated error, the scatter is increased while it was measured from few epochs.
        """
        count = max(self._current, min(len(self.times), OPENING_EPOCHS) - 1)
        increase = 1.0 + FEW_DIFFERENCES / count
        noise = []
        for stated, scatter in zip(self.sigmas[i], self._measure_scatter(), strict=True):
            noise.append(max(stated, scatter) if stated > 0.0 else scatter * increase)
        return tuple(noise)

    def _count_sigmas(self, jump: Vector, i: int, before: int) -> float:
        """Return a jump between two epochs in standard errors; infinity if the noise is zero."""
        square = 0.0
        for size, a, b in zip(jump, self._find_noise(i), self._find_noise(before), strict=True):
            variance = a * a + b * b
            if variance <= 0.0:
                return inf
            square += size * size / variance
        return sqrt(square)

    def _extrapolate(self, counting: Sequence[int], at_s: float) -> Vector:
        """Return the expected value at an instant.

        It is the newest value that counts, or its extrapolation if the last ones clearly move. The extrapolation goes
        no further ahead than these epochs reach back.
        """
        tail = counting[-TAIL_EPOCHS:]
        last = self.values_without_jumps[tail[-1]]
        if len(tail) < 3:
            return last
        days = [(self.times[k] - self.times[tail[-1]]) / 86400.0 for k in tail]
        mean_t = fsum(days) / len(days)
        spread = fsum((d - mean_t) ** 2 for d in days)
        lead = min((at_s - self.times[tail[-1]]) / 86400.0, -days[0])
        expected = []
        for axis, base in enumerate(last):
            series = [self.values_without_jumps[k][axis] for k in tail]
            mean_y = fsum(series) / len(series)
            rate = fsum((d - mean_t) * (y - mean_y) for d, y in zip(days, series, strict=True)) / spread
            residuals = fsum((y - mean_y - rate * (d - mean_t)) ** 2 for d, y in zip(days, series, strict=True))
            stated = max(self.sigmas[k][axis] for k in tail)
            error = max(sqrt(residuals / (len(days) - 2)), stated) / sqrt(spread)
            expected.append(base + rate * lead if abs(rate) > 3.0 * error else base)
        return tuple(expected)


def is_steady(levels: Sequence[Vector], limit: float) -> bool:
    """Return whether all values lie within half of the limit on each axis.

    Then the means of any two groups of epochs differ by less than the limit, for up to three axes, and no step needs to
    be searched.

    >>> is_steady([(0.0, 9.0), (1.0, 8.0), (9.0, 9.5)], 20.0), is_steady([(0.0,), (11.0,)], 20.0)
    (True, False)
    """
    widths = [max(column) - min(column) for column in zip(*levels, strict=True)]
    return max(widths, default=0.0) <= limit / 2.0


def find_end_of_scatter(levels: Sequence[Vector], sigmas: Sequence[Vector], limit: float) -> Vector | None:
    """Return the step from `SCATTERED_EPOCHS` scattered epochs to the newest `QUIET_EPOCHS`; None if there is none.

    A single epoch cannot show such a step, because it lies within the scatter before. The means are therefore compared
    (Welch 1947, Biometrika 34), and only if the scatter ended at the same instant.

    Args:
        levels: The last `SCATTERED_EPOCHS + QUIET_EPOCHS` epochs, tuples of k.
        sigmas: Stated standard deviations, tuples of k.
        limit: The least length of a step, unit of the series.

    >>> rough = [(x,) for x in (-60.0, -20.0, -90.0, -50.0, -110.0, -40.0, -100.0, -70.0)]
    >>> quiet = [(x,) for x in (1.0, 0.0, -1.0, 0.0, 1.0, 0.0)]
    >>> find_end_of_scatter(rough + quiet, [(1.0,)] * 14, 20.0)
    (67.66666666666667,)
    >>> find_end_of_scatter([(10.0 * i,) for i in range(8)] + [(70.0,)] * 6, [(1.0,)] * 14, 20.0) is None
    True
    """
    rough = levels[:SCATTERED_EPOCHS]
    quiet = levels[SCATTERED_EPOCHS:]
    size = minus(_mean(quiet), _mean(rough))
    if norm(size) <= limit:
        return None
    errors = []
    quiet_scatter = []
    for axis in range(len(size)):
        stated = max(sigma[axis] for sigma in sigmas)
        before = _spread([value[axis] for value in rough], stated)
        after = _spread([value[axis] for value in quiet], stated)
        quiet_scatter.append(after)
        errors.append(sqrt(before**2 / SCATTERED_EPOCHS + after**2 / QUIET_EPOCHS))
    if norm(measure_plain(rough)) < MIN_SCATTER_RATIO * norm(tuple(quiet_scatter)):
        return None
    path = fsum(norm(minus(b, a)) for a, b in pairwise(rough))
    is_straight = path < MIN_PATH_FACTOR * norm(minus(rough[-1], rough[0]))
    if is_straight:
        # The epochs before the quiet ones moved in one direction: this is motion and no scatter.
        return None
    chi_square = fsum((a / e) ** 2 if e > 0.0 else 0.0 for a, e in zip(size, errors, strict=True))
    return size if chi_square >= MIN_MEAN_SIGMAS * MIN_MEAN_SIGMAS else None


def find_agreement(excess: Sequence[Vector], sigmas: Sequence[Vector], error: Vector, limit: float) -> Vector | None:
    """Return the step that epochs with large stated errors show together; None unless six agree beyond chance.

    A single epoch may differ by as much as its stated error. Six epochs at one level do not, and a large stated error
    must not hide motion.

    Args:
        excess: Difference of each epoch from the expected value, tuples of k.
        sigmas: Stated standard deviations, tuples of k.
        error: Standard deviation of the expected value by axis.
        limit: The least length of a step, unit of the series.

    >>> find_agreement([(300.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0)
    (300.0,)
    >>> find_agreement([(300.0,)] * 5, [(100.0,)] * 5, (1.0,), 20.0) is None
    True
    >>> find_agreement([(90.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0) is None
    True
    """
    count = len(excess)
    size = _mean(excess)
    if count < QUIET_EPOCHS or norm(size) <= limit:
        return None
    square = 0.0
    for axis, middle in enumerate(size):
        stated = fsum(s[axis] ** 2 for s in sigmas) / count**2
        observed = _spread([difference[axis] for difference in excess], 0.0) ** 2 / count
        variance = max(stated, observed) + error[axis] ** 2
        square += middle * middle / variance if variance > 0.0 else 0.0
    return size if square >= MIN_MEAN_SIGMAS * MIN_MEAN_SIGMAS else None


def _mean(vectors: Sequence[Vector]) -> Vector:
    count = len(vectors)
    return tuple([fsum(column) / count for column in zip(*vectors, strict=True)])


def _spread(values: Sequence[float], stated: float) -> float:
    """Return the standard deviation of values, or the stated one if that is larger."""
    mean = fsum(values) / len(values)
    return max(stated, sqrt(fsum((v - mean) ** 2 for v in values) / (len(values) - 1)))
