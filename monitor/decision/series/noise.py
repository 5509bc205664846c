"""How much a series scatters by itself, robustly from the differences of neighbours: over its length, and lately.

And what is believed of one that has just begun, and of whose noise nobody said anything; and when it shows too little,
or far more than it used to.
"""

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise
from math import fsum, log, sqrt
from operator import lt
from statistics import median
from typing import Final, NamedTuple

from monitor.decision.series.vectors import Vector, minus, norm
from monitor.sites.records import SeriesSpec
from monitor.sites.watched import NOTHING, WATCHED

EPOCHS: Final = 8  # fewer say nothing of a series' own scatter
LATELY: Final = 16  # newest differences: one that begins to scatter is asked about for days, not until half of all do
OTHERS: Final = 3  # quiet differences beside a jump: fewer say nothing of it
LARGE: Final = 3.0  # times what is usual beside it: noise is seldom so large
STUCK_EPOCHS: Final = 6  # no shorter run of equal values is stuck
DOUBT_EPOCHS: Final = 3  # no shorter run of equal values is doubtful
DOUBT_CHANCE: Final = 1e-4  # a run that chance makes less often proves no rest
CHANCE: Final = 1e-8  # a run that chance makes less often is none; the share is uncertain, so less than by detectors
FEWEST_KNOWN: Final = 20  # epochs before the run that say how often the instrument repeats itself
LEAST_SHARE: Final = 0.01
COARSE: Final = 0.5  # what repeats itself so often is not judged
DENSITY: Final = 0.4  # of a normal law at its middle: the share of values in a cell that is small beside the noise
ROUNDING: Final = 1e-9  # of a value
PRESENT: Final = 9  # epochs that show the present scatter: one spike among them makes none
USUAL: Final = 32  # epochs before these that show the usual one; of fewer than
FEW: Final = 12  # it is not known
LEARNT: Final = PRESENT + USUAL // 2  # readings after which a new scatter is the usual one
BURST: Final = 10.0  # times the usual: such a series cannot be judged, until it scatters less than
CALM: Final = 3.0  # times the usual, or that has become the usual
WANDERS: Final = 3.0  # times longer than the way from end to end is the path of what scatters; motion goes straight


class Scatter:
    """Differences of neighbours by axis, in order of size, from a first epoch on; found when somebody measures."""

    def __init__(self, axes: int = 0, first: int = 0) -> None:
        self._steps: list[list[float]] = [[] for _ in range(axes)]
        self._known = first  # the last epoch whose difference is among them

    def measure(self, values: Sequence[Vector], last: int) -> Vector:
        """One standard deviation by axis, from all differences up to an epoch."""
        news = values[self._known : last + 1]
        for axis, steps in enumerate(self._steps):
            found = [b[axis] - a[axis] for a, b in pairwise(news)]
            if len(found) > LATELY:
                steps.extend(found)
                steps.sort()
            else:
                for step in found:
                    insort(steps, step)
        self._known = max(self._known, last)
        return tuple(map(scatter_of, self._steps))


def measure_plain(values: Sequence[Vector]) -> Vector:
    """One standard deviation by axis of a short series.

    >>> measure_plain([(0.0, 5.0)] * 9)
    (0.0, 0.0)
    """
    return tuple(scatter_of(sorted(b - a for a, b in pairwise(column))) for column in zip(*values, strict=True))


def scatter_of(steps: Sequence[float]) -> float:
    """Noise of a series from the first differences of its values, in order of size.

    The median absolute deviation; the k-th smallest distance from the median lies at an end of some k + 1 neighbours.

    >>> round(scatter_of([-2.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 2.0, 50.0]), 4)
    2.0967
    """
    count = len(steps)
    if count < EPOCHS - 1:
        return 0.0
    k = count // 2
    middle = steps[k]
    low, high = 0, count - 1 - k
    while low < high:  # the distance to the left end falls with its place, that to the right end rises
        at = (low + high) // 2
        if middle - steps[at] <= steps[at + k] - middle:
            high = at
        else:
            low = at + 1
    end = max(middle - steps[low], steps[low + k] - middle)
    if low:
        end = min(end, max(middle - steps[low - 1], steps[low - 1 + k] - middle))
    return 1.4826 * end / sqrt(2.0)


def measure_bent(values: Sequence[Vector]) -> Vector:
    """One standard deviation by axis around the local trend: motion, and what makes it steadily faster, are none of it.

    >>> measure_bent([(1.0 * n * n,) for n in range(9)])
    (0.0,)
    """
    bends = [bend(*three) for three in zip(values, values[1:], values[2:], strict=False)]
    return _measure_bends(bends) if bends else tuple(0.0 for _ in values[:1] for _ in values[0])


def bend(before: Vector, at: Vector, after: Vector) -> Vector:
    """How far the middle of three epochs lies off the line of the others, twice, by axis."""
    return tuple([a - 2.0 * b + c for a, b, c in zip(before, at, after, strict=True)])


def _measure_bends(bends: Sequence[Vector]) -> Vector:
    rest = sqrt(3.0)
    return tuple([scatter_of(sorted(axis)) / rest for axis in zip(*bends, strict=True)])


class Burst(NamedTuple):
    """One standard deviation of a series now, and as it is usually."""

    size: float
    usual: float

    @property
    def begins(self) -> bool:
        """Whether it is so large that the series cannot be judged from now on."""
        return self.size >= BURST * self.usual


class LateBends:
    """The newest bends of a series that grows, each found once."""

    def __init__(self) -> None:
        self._bends: list[Vector] = []
        self._count = 0  # epochs so far

    def measure(self, values: Sequence[Vector]) -> Vector:
        """What `measure_bent` gives of the newest `PRESENT` epochs; behind those of the last call new ones came."""
        for last in range(max(2, self._count, len(values) - PRESENT + 2), len(values)):
            self._bends.append(bend(*values[last - 2 : last + 1]))
        del self._bends[: 2 - PRESENT]
        self._count = len(values)
        return _measure_bends(self._bends)


def find_burst(values: Sequence[Vector], sigmas: Sequence[Vector], bends: LateBends | None = None) -> Burst | None:
    """The scatter of a series where it is three times the usual on one of its axes; None of others.

    The usual one is what its epochs state or show, whichever is larger, and never less than its smallest step. What
    goes on the same way, but for one epoch, is motion, however fast it becomes.

    >>> calm = [(0.0,), (1.0,), (0.5,), (0.25,)] * 4
    >>> wild = [(0.0,), (90.0,), (-70.0,), (20.0,), (-95.0,), (60.0,), (-30.0,), (80.0,), (10.0,)]
    >>> find_burst(calm + wild, [(1.0,)] * 25)
    Burst(size=42.368824080920625, usual=1.0)
    >>> find_burst(calm + [(30.0 * 2.0**n,) for n in range(9)], [(1.0,)] * 25) is None
    True
    """
    if len(values) < PRESENT + FEW:
        return None
    stated, sizes = sigmas[-PRESENT - USUAL : -PRESENT], (bends or LateBends()).measure(values)
    alike = stated.count(stated[0]) == len(stated)
    if alike and all(map(lt, sizes, [CALM * usual for usual in stated[0]])):
        return None
    found, lately, before = Burst(0.0, 0.0), values[-PRESENT:], values[-PRESENT - USUAL : -PRESENT]
    for axis, size in enumerate(sizes):
        usual = stated[0][axis] if alike else sorted([s[axis] for s in stated])[len(stated) // 2]
        if size < CALM * usual:  # where an error is stated, what the epochs show is seldom needed
            continue
        (shown,) = measure_bent([v[axis : axis + 1] for v in before])
        steps = (abs(b[axis] - a[axis]) for a, b in pairwise([*before, *lately]) if a[axis] != b[axis])
        usual = max(shown, usual, min(steps, default=0.0))
        found = max(found, Burst(size, usual) if size >= CALM * usual > 0.0 else found)
    if found.size <= 0.0:
        return None
    first, last = (tuple(map(median, zip(*part, strict=True))) for part in (lately[:4], lately[-4:]))
    paths = [fsum(norm(minus(b, a)) for a, b in pairwise([*lately[:i], *lately[i + 1 :]])) for i in range(PRESENT)]
    return found if min(paths) >= WANDERS * norm(minus(last, first)) else None


def is_stated(sigmas: Sequence[Vector]) -> bool:
    """True where each epoch says how sure it is, by itself or by the noise floor of its series.

    >>> is_stated([(1.5,)] * 5), is_stated([(1.5,), (0.0,)])
    (True, False)
    """
    return all(all(s > 0.0 for s in row) for row in sigmas)


def stands_out(values: Sequence[Vector], index: int, length: float) -> bool | None:
    """True for a jump that the scatter beside it does not explain; None for the largest, which may be.

    Differences of neighbours fall into quiet ones and some, half as many at most, that are far larger: ten times the
    largest quiet one where there are three of these, six times of six, three times of twenty-two. White noise alone
    does so in the first epochs of 4 of 1,000 scalar series.

    What may be either is the newest, one beside fewer than three others, or one that is three times as large as usual.

    >>> quiet = [(0.0,), (1.0,), (0.0,), (1.0,)]
    >>> stands_out([*quiet, (30.0,)], 4, 29.5), stands_out([(0.0,), (1.0,), (30.0,)], 2, 29.5) is None
    (True, True)
    >>> stands_out([*quiet, (0.0,), (1.0,), (30.0,), (30.5,), (75.0,)], 6, 29.5), stands_out(quiet, 2, 1.0)
    (True, False)
    """
    others = sorted(norm(minus(b, a)) for i, (a, b) in enumerate(pairwise(values), 1) if i != index)
    for count in range(OTHERS, len(others) + 1):
        larger = [*others[count : count + 1], length]
        if len(others) - count < count // 2 and min(larger) > (2.0 + 24.0 / count) * others[count - 1]:
            return True
    is_open = index == len(values) - 1 or len(others) < OTHERS or length > LARGE * others[len(others) // 2]
    return None if is_open and length > max(others, default=0.0) else False


class RepeatDetector:
    """Find runs of equal values that are too long for chance, in a series that grows.

    How often the instrument repeated itself before a run says how long a run chance would make. Two limits apply:

    * **Stuck**: so long that chance makes it less often than `CHANCE`. The instrument must be broken. Before it is
      known how often the instrument repeats itself, six epochs are enough where the site file states a noise.
    * **Doubtful**: less often than `DOUBT_CHANCE`, by a cautious estimate of how often the instrument repeats itself,
      and longer than every run before that was not stuck. The values are used, but they prove no rest.

    Where the site file states no noise, the noise is measured beside the smallest step of the values: a crack gauge
    that reads tenths may have moved at each epoch and then come to rest.

    A still slope and a frozen instrument look the same if the last digit is coarse beside the noise: such a series
    repeats itself at least half of the time (`COARSE`) and is not judged.
    """

    def __init__(self, *, is_noise_stated: bool, has_varied: bool = False) -> None:
        """Start without values.

        Args:
            is_noise_stated: The site file states the noise of the series.
            has_varied: A run counts only after `FEWEST_KNOWN` epochs that say how often the values repeat, also where
                a noise is stated. A component that a publisher always sends as zero is not stuck.
        """
        self._is_stated = is_noise_stated
        self._has_varied = has_varied
        self._count = 0
        self._first = 0
        self._closed = 0
        self._repeats = 0
        self._longest = 1
        self._share: float | None = None
        self._stuck_runs: list[tuple[int, int]] = []

    def extend(self, values: Sequence[Vector]) -> None:
        """Read the values behind those of the last call; earlier values must not have changed."""
        for index in range(max(1, self._count), len(values)):
            if values[index] != values[index - 1]:
                self._close(values, index)
        self._count = len(values)

    def is_stuck(self, values: Sequence[Vector]) -> bool:
        """Whether the newest run of equal values is so long that the instrument must be broken."""
        return self._is_stuck(values, self._count - self._first)

    def list_runs(self, values: Sequence[Vector]) -> list[tuple[int, int]]:
        """List first and last index of runs that were stuck, and of the newest run if it is stuck or doubtful."""
        length = self._count - self._first
        if self._is_stuck(values, length) or self._is_doubtful(values, length):
            return [*self._stuck_runs, (self._first, self._count - 1)]
        return list(self._stuck_runs)

    def _close(self, values: Sequence[Vector], end: int) -> None:
        length = end - self._first
        if self._is_stuck(values, length):
            self._stuck_runs.append((self._first, end - 1))
        else:
            self._longest = max(self._longest, length)
        # a stretch in which it was stuck before must not make it a coarse instrument
        self._repeats += min(length, STUCK_EPOCHS) - 1
        self._closed += 1
        self._first = end
        self._share = None

    def _is_stuck(self, values: Sequence[Vector], length: int) -> bool:
        if length < STUCK_EPOCHS:
            return False
        if self._repeats + self._closed < FEWEST_KNOWN:
            return self._is_stated and not self._has_varied
        return self._is_beyond(values, length, CHANCE, self._repeats / (self._repeats + self._closed))

    def _is_doubtful(self, values: Sequence[Vector], length: int) -> bool:
        if length < max(DOUBT_EPOCHS, self._longest + 1):
            return False
        known = self._repeats + self._closed
        if known < FEWEST_KNOWN:
            return False
        # the largest share that is compatible with so many repeats, by two standard deviations of a Poisson count
        most = (self._repeats + 2.0 * sqrt(self._repeats + 1.0) + 1.0) / known
        return self._is_beyond(values, length, DOUBT_CHANCE, most)

    def _is_beyond(self, values: Sequence[Vector], length: int, chance: float, shown: float) -> bool:
        """Whether chance makes a run of this length less often than stated, given the share of repeats."""
        shown = max(LEAST_SHARE, shown)
        if shown >= COARSE or length - 1 < log(chance) / log(shown):
            return False
        if self._is_stated:
            return True
        if self._share is None:
            self._share = min(map(_expect_share, zip(*values[: self._first], strict=True)))
        share = max(shown, self._share)
        return share < COARSE and length - 1 >= log(chance) / log(share)


class RepeatedValues:
    """Find the stretches in which a series repeats one value, as a whole or in one of its components.

    A component that repeats one value while the others change proves no rest along its axis. The instrument is not
    stuck: the other components still show motion.

    What a person reads and types is never judged. A temperature, and other quantities in which detectors find nothing
    stuck, are judged only if the site file states a noise.
    """

    def __init__(self, spec: SeriesSpec, axes: int) -> None:
        """Start without values.

        Args:
            axes: How many components a value has.
        """
        is_stated = spec.noise_floor > 0.0
        is_watched = "flatline" in WATCHED.get(spec.quantity, NOTHING).checks
        is_judged = not spec.by_hand and (is_stated or is_watched)
        self._whole = RepeatDetector(is_noise_stated=is_stated) if is_judged else None
        self._parts: list[RepeatDetector] = []
        if is_judged and axes > 1:
            self._parts = [RepeatDetector(is_noise_stated=is_stated, has_varied=True) for _ in range(axes)]
        self._columns: list[list[Vector]] = [[] for _ in self._parts]

    def extend(self, values: Sequence[Vector]) -> None:
        """Read the values behind those of the last call."""
        if self._whole is not None:
            self._whole.extend(values)
        for axis, (detector, column) in enumerate(zip(self._parts, self._columns, strict=True)):
            column += [(value[axis],) for value in values[len(column) :]]
            detector.extend(column)

    def is_stuck(self, values: Sequence[Vector]) -> bool:
        """Whether the newest values are equal for so long that the instrument must be broken."""
        return self._whole is not None and self._whole.is_stuck(values)

    def list_runs(self, values: Sequence[Vector]) -> list[tuple[int, int]]:
        """List first and last index of each run that is too long for chance, oldest first."""
        found: set[tuple[int, int]] = set()
        if self._whole is not None:
            found.update(self._whole.list_runs(values))
        for detector, column in zip(self._parts, self._columns, strict=True):
            found.update(detector.list_runs(column))
        return sorted(found)


def is_stuck(values: Sequence[Vector], spec: SeriesSpec) -> bool:
    """Whether the newest values are equal for so long that the instrument must be broken.

    >>> from random import Random
    >>> plain = SeriesSpec("A", "crack_opening", "mm", 3600.0, 10800.0)
    >>> draw = Random(1)
    >>> noisy = [(draw.gauss(),) for _ in range(60)]
    >>> is_stuck([*noisy, *[(0.5,)] * 6], plain), is_stuck([*noisy, *[(0.5,)] * 5], plain)
    (True, False)
    >>> came_to_rest = [(round(0.37 * n, 1),) for n in range(30)]
    >>> is_stuck([*came_to_rest, *came_to_rest[-1:] * 40], plain)
    False
    """
    repeated = RepeatedValues(spec, 1)
    repeated.extend(values)
    return repeated.is_stuck(values)


def _expect_share(values: Sequence[float]) -> float:
    """How many values of an instrument at rest would equal the one before, by its noise and its smallest step."""
    steps = [abs(b - a) for a, b in pairwise(values) if abs(b - a) > ROUNDING * max(abs(a), abs(b))]
    (noise,) = measure_bent([(v,) for v in values])
    return 1.0 if not steps or noise <= 0.0 else DENSITY * min(steps) / noise
