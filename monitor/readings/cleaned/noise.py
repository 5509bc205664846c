"""Measure the scatter of a series, and detect series that scatter too little or too much to be judged.

* Scatter: the standard deviation of one value, measured from differences between neighbours (`compute_scatter`,
  `Scatter`), or from second differences, which motion does not change (`measure_bent`).
* Bursts: scatter far larger than usual (`find_burst`).
* Repeated values: runs of equal values, which do not show the noise that an instrument must have (`RunDetector`).
* Jumps in short series: whether a jump is larger than the scatter of the other values (`exceeds_scatter`).
"""

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise
from math import fsum, log, sqrt
from operator import lt
from statistics import median
from typing import Final, NamedTuple

from monitor.readings.cleaned.vectors import Vector, minus, norm
from monitor.sites.records import SeriesSpec
from monitor.sites.watched import CHECKS_BY_QUANTITY, NO_CHECKS

# Fewer epochs do not show the scatter of a series.
MIN_SCATTER_EPOCHS: Final = 8
# Number of newest differences that show a recent increase of the scatter long before half of all differences do.
RECENT_DIFFERENCES: Final = 16
# A jump is compared with at least this many quiet differences.
MIN_QUIET_DIFFERENCES: Final = 3
# Noise seldom exceeds the usual difference by this factor.
LARGE_FACTOR: Final = 3.0
# Lengths of the shortest runs of equal values that count as stuck or as doubtful.
STUCK_EPOCHS: Final = 6
DOUBT_EPOCHS: Final = 3
# A run does not show rest if chance produces it less often than this.
DOUBT_CHANCE: Final = 1e-4
# A run is stuck if chance produces it less often than this. The limit is lower than usual for such tests, because the
# share of repeated values is only estimated.
STUCK_CHANCE: Final = 1e-8
# Number of epochs before a run that show how often the instrument repeats a value.
MIN_SHARE_EPOCHS: Final = 20
# Least share of repeated values that is assumed.
MIN_REPEATED_SHARE: Final = 0.01
# A series with at least this share of repeated values is not judged.
MAX_REPEATED_SHARE: Final = 0.5
# Density of the standard normal distribution at its mean. It gives the share of values in a cell that is small compared
# with the noise.
NORMAL_DENSITY: Final = 0.4
# Relative rounding error of a value.
ROUNDING: Final = 1e-9
# Number of newest epochs that show the present scatter. One spike among them does not change it.
PRESENT_EPOCHS: Final = 9
# Number of epochs before these that show the usual scatter, and how many of them are needed.
USUAL_EPOCHS: Final = 32
MIN_USUAL_EPOCHS: Final = 12
# Number of readings after which an increased scatter is the usual one.
ACCEPTANCE_EPOCHS: Final = PRESENT_EPOCHS + USUAL_EPOCHS // 2
# A series with this many times its usual scatter cannot be judged, until the factor is below `CALM_FACTOR`.
BURST_FACTOR: Final = 10.0
CALM_FACTOR: Final = 3.0
# The path of scatter is longer than the distance between its ends by this factor. Motion is straighter.
MIN_PATH_FACTOR: Final = 3.0


class Scatter:
    """Scatter of a growing series, from all differences between neighbours since a first epoch."""

    def __init__(self, axes: int = 0, first: int = 0) -> None:
        """Start without values.

        Args:
            axes: How many components a value has.
            first: Index of the first epoch that counts.
        """
        self._differences: list[list[float]] = [[] for _ in range(axes)]  # sorted, by axis
        self._last = first  # index of the last epoch whose difference is included

    def measure(self, values: Sequence[Vector], last: int) -> Vector:
        """Return one standard deviation by axis, from all differences up to an epoch."""
        added_values = values[self._last : last + 1]
        for axis, differences in enumerate(self._differences):
            added = [b[axis] - a[axis] for a, b in pairwise(added_values)]
            if len(added) > RECENT_DIFFERENCES:
                differences.extend(added)
                differences.sort()
            else:
                for difference in added:
                    insort(differences, difference)
        self._last = max(self._last, last)
        return tuple(map(compute_scatter, self._differences))


def measure_plain(values: Sequence[Vector]) -> Vector:
    """Return the scatter of a short series, one standard deviation by axis.

    >>> measure_plain([(0.0, 5.0)] * 9)
    (0.0, 0.0)
    """
    return tuple(compute_scatter(sorted(b - a for a, b in pairwise(column))) for column in zip(*values, strict=True))


def compute_scatter(differences: Sequence[float]) -> float:
    """Return the scatter of a series, one standard deviation, from the sorted first differences of its values.

    It is the median absolute deviation of the differences, scaled to a standard deviation of one value. The median of
    the absolute deviations is found by a binary search: the differences nearest to the median are neighbours in the
    sorted sequence, and the farthest of them is at one of their ends. The result is 0 for fewer than
    `MIN_SCATTER_EPOCHS` values.

    >>> round(compute_scatter([-2.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 2.0, 50.0]), 4)
    2.0967
    """
    count = len(differences)
    if count < MIN_SCATTER_EPOCHS - 1:
        return 0.0
    half = count // 2
    center = differences[half]
    low = 0
    high = count - 1 - half
    # If the neighbours start later, the distance to their left end decreases and that to their right end increases.
    while low < high:
        start = (low + high) // 2
        if center - differences[start] <= differences[start + half] - center:
            high = start
        else:
            low = start + 1
    deviation = max(center - differences[low], differences[low + half] - center)
    if low:
        deviation = min(deviation, max(center - differences[low - 1], differences[low - 1 + half] - center))
    return 1.4826 * deviation / sqrt(2.0)


def measure_bent(values: Sequence[Vector]) -> Vector:
    """Return the scatter around the local trend, one standard deviation by axis.

    Neither steady motion nor a constant acceleration contributes to it.

    >>> measure_bent([(1.0 * n * n,) for n in range(9)])
    (0.0,)
    """
    bends = [bend(*three) for three in zip(values, values[1:], values[2:], strict=False)]
    return _measure_bends(bends) if bends else tuple(0.0 for _ in values[:1] for _ in values[0])


def bend(before: Vector, middle: Vector, after: Vector) -> Vector:
    """Return the second difference of three epochs by axis.

    It is twice the distance of the middle value from the mean of the other two.
    """
    return tuple([a - 2.0 * b + c for a, b, c in zip(before, middle, after, strict=True)])


def _measure_bends(bends: Sequence[Vector]) -> Vector:
    # The variance of a second difference is six times that of a value; `compute_scatter` divides by sqrt(2) already.
    factor = sqrt(3.0)
    return tuple([compute_scatter(sorted(axis)) / factor for axis in zip(*bends, strict=True)])


class Burst(NamedTuple):
    """Present and usual scatter of a series, one standard deviation each."""

    size: float
    usual: float

    @property
    def begins(self) -> bool:
        """Whether the scatter is so large that the series cannot be judged from now on."""
        return self.size >= BURST_FACTOR * self.usual


class LateBends:
    """Newest second differences of a growing series, each computed once."""

    def __init__(self) -> None:
        self._bends: list[Vector] = []
        self._count = 0  # number of processed epochs

    def measure(self, values: Sequence[Vector]) -> Vector:
        """Return `measure_bent` of the newest `PRESENT_EPOCHS` epochs.

        The values of the last call must not have changed. New values may follow them.
        """
        for last in range(max(2, self._count, len(values) - PRESENT_EPOCHS + 2), len(values)):
            self._bends.append(bend(*values[last - 2 : last + 1]))
        del self._bends[: 2 - PRESENT_EPOCHS]
        self._count = len(values)
        return _measure_bends(self._bends)


def find_burst(values: Sequence[Vector], sigmas: Sequence[Vector], bends: LateBends | None = None) -> Burst | None:
    """Return the present and usual scatter of a series; None if the present one is not unusually large.

    It is unusually large if it is at least `CALM_FACTOR` times the usual one on an axis. If several axes qualify, the
    largest present scatter is returned.

    The usual scatter is the stated or the observed one, whichever is larger, and at least the smallest difference of
    the values. Values that move in one direction, except for one epoch, are motion, however fast.

    Args:
        values: All values of the series.
        sigmas: Their stated standard deviations; 0 = unknown.
        bends: Cache for a growing series.

    >>> calm = [(0.0,), (1.0,), (0.5,), (0.25,)] * 4
    >>> wild = [(0.0,), (90.0,), (-70.0,), (20.0,), (-95.0,), (60.0,), (-30.0,), (80.0,), (10.0,)]
    >>> find_burst(calm + wild, [(1.0,)] * 25)
    Burst(size=42.368824080920625, usual=1.0)
    >>> find_burst(calm + [(30.0 * 2.0**n,) for n in range(9)], [(1.0,)] * 25) is None
    True
    """
    if len(values) < PRESENT_EPOCHS + MIN_USUAL_EPOCHS:
        return None
    stated = sigmas[-PRESENT_EPOCHS - USUAL_EPOCHS : -PRESENT_EPOCHS]
    sizes = (bends or LateBends()).measure(values)
    is_constant = stated.count(stated[0]) == len(stated)
    if is_constant and all(map(lt, sizes, [CALM_FACTOR * usual for usual in stated[0]])):
        return None
    newest = values[-PRESENT_EPOCHS:]
    before = values[-PRESENT_EPOCHS - USUAL_EPOCHS : -PRESENT_EPOCHS]
    largest = Burst(0.0, 0.0)
    for axis, size in enumerate(sizes):
        usual = stated[0][axis] if is_constant else sorted([s[axis] for s in stated])[len(stated) // 2]
        if size < CALM_FACTOR * usual:
            # The observed scatter need not be computed, because it can only increase the usual one.
            continue
        (observed,) = measure_bent([v[axis : axis + 1] for v in before])
        differences = (abs(b[axis] - a[axis]) for a, b in pairwise([*before, *newest]) if a[axis] != b[axis])
        usual = max(observed, usual, min(differences, default=0.0))
        if size >= CALM_FACTOR * usual > 0.0:
            largest = max(largest, Burst(size, usual))
    if largest.size <= 0.0:
        return None
    start = tuple(map(median, zip(*newest[:4], strict=True)))
    end = tuple(map(median, zip(*newest[-4:], strict=True)))
    distance = norm(minus(end, start))
    # The shortest path without one of the epochs, so that one spike does not turn motion into scatter.
    paths = []
    for left_out in range(PRESENT_EPOCHS):
        others = [*newest[:left_out], *newest[left_out + 1 :]]
        paths.append(fsum(norm(minus(b, a)) for a, b in pairwise(others)))
    return largest if min(paths) >= MIN_PATH_FACTOR * distance else None


def is_stated(sigmas: Sequence[Vector]) -> bool:
    """Return whether each epoch has a stated error, its own or the noise floor of the series.

    >>> is_stated([(1.5,)] * 5), is_stated([(1.5,), (0.0,)])
    (True, False)
    """
    return all(all(s > 0.0 for s in row) for row in sigmas)


def exceeds_scatter(values: Sequence[Vector], index: int, length: float) -> bool | None:
    """Return whether a jump is larger than the scatter of the other values explains.

    True if the differences between neighbours divide into quiet ones and at most half as many far larger ones: ten
    times the largest quiet one for three quiet ones, six times for six, three times for twenty-two. White noise alone
    gives True in the first epochs of 4 of 1,000 scalar series.

    Args:
        values: All values of a short series.
        index: First epoch after the jump.
        length: Length of the jump.

    Returns:
        None if the jump is the largest difference and may be either: it is the newest, there are fewer than three
        others, or it is three times as large as the usual difference.

    >>> quiet = [(0.0,), (1.0,), (0.0,), (1.0,)]
    >>> exceeds_scatter([*quiet, (30.0,)], 4, 29.5), exceeds_scatter([(0.0,), (1.0,), (30.0,)], 2, 29.5) is None
    (True, True)
    >>> exceeds_scatter([*quiet, (0.0,), (1.0,), (30.0,), (30.5,), (75.0,)], 6, 29.5), exceeds_scatter(quiet, 2, 1.0)
    (True, False)
    """
    others = sorted(norm(minus(b, a)) for i, (a, b) in enumerate(pairwise(values), 1) if i != index)
    for count in range(MIN_QUIET_DIFFERENCES, len(others) + 1):
        larger = [*others[count : count + 1], length]
        if len(others) - count < count // 2 and min(larger) > (2.0 + 24.0 / count) * others[count - 1]:
            return True
    is_undecided = (
        index == len(values) - 1
        or len(others) < MIN_QUIET_DIFFERENCES
        or length > LARGE_FACTOR * others[len(others) // 2]
    )
    return None if is_undecided and length > max(others, default=0.0) else False


class RunDetector:
    """Find runs of equal values that are too long for chance in a growing series.

    The share of repeated values before a run shows how long a run chance would produce. Two limits apply:

    * **Stuck**: chance produces such a run less often than `STUCK_CHANCE`. The instrument must be broken. Until the
      share of repeated values is known, six epochs are enough if the site file states a noise.
    * **Doubtful**: chance produces it less often than `DOUBT_CHANCE`, for a cautious estimate of that share, and it is
      longer than every earlier run that was not stuck. The values are used, but they do not show rest.

    If the site file states no noise, the measured noise is compared with the smallest difference of the values. A crack
    gauge that reads tenths may have moved at each epoch and then come to rest.

    If the last digit is large compared with the noise, a slope at rest and a broken instrument cannot be distinguished.
    Such a series repeats a value at least half of the time (`MAX_REPEATED_SHARE`) and is not judged.
    """

    def __init__(self, *, is_noise_stated: bool, needs_known_share: bool = False) -> None:
        """Start without values.

        Args:
            is_noise_stated: The site file states the noise of the series.
            needs_known_share: Whether a run counts only after `MIN_SHARE_EPOCHS` epochs that show the share of repeated
                values, even if a noise is stated. A component that a publisher always sends as zero is not stuck.
        """
        self._is_stated = is_noise_stated
        self._needs_known_share = needs_known_share
        self._count = 0
        self._first = 0
        self._closed = 0
        self._repeats = 0
        self._longest = 1
        self._share: float | None = None
        self._stuck_runs: list[tuple[int, int]] = []

    def extend(self, values: Sequence[Vector]) -> None:
        """Add the values after those of the last call. Earlier values must not have changed."""
        for index in range(max(1, self._count), len(values)):
            if values[index] != values[index - 1]:
                self._close(values, index)
        self._count = len(values)

    def is_stuck(self, values: Sequence[Vector]) -> bool:
        """Return whether the newest run of equal values is so long that the instrument must be broken."""
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
        # An earlier stuck run must not increase the share of repeated values.
        self._repeats += min(length, STUCK_EPOCHS) - 1
        self._closed += 1
        self._first = end
        self._share = None

    def _is_stuck(self, values: Sequence[Vector], length: int) -> bool:
        if length < STUCK_EPOCHS:
            return False
        if self._repeats + self._closed < MIN_SHARE_EPOCHS:
            return self._is_stated and not self._needs_known_share
        return self._is_beyond(values, length, STUCK_CHANCE, self._repeats / (self._repeats + self._closed))

    def _is_doubtful(self, values: Sequence[Vector], length: int) -> bool:
        if length < max(DOUBT_EPOCHS, self._longest + 1):
            return False
        count = self._repeats + self._closed
        if count < MIN_SHARE_EPOCHS:
            return False
        # The largest share that is compatible with the number of repeats: two standard deviations of a Poisson count.
        largest_share = (self._repeats + 2.0 * sqrt(self._repeats + 1.0) + 1.0) / count
        return self._is_beyond(values, length, DOUBT_CHANCE, largest_share)

    def _is_beyond(self, values: Sequence[Vector], length: int, chance: float, observed_share: float) -> bool:
        """Return whether chance produces a run of this length less often than stated, given the share of repeats."""
        observed_share = max(MIN_REPEATED_SHARE, observed_share)
        if observed_share >= MAX_REPEATED_SHARE or length - 1 < log(chance) / log(observed_share):
            return False
        if self._is_stated:
            return True
        if self._share is None:
            self._share = min(map(_expect_share, zip(*values[: self._first], strict=True)))
        share = max(observed_share, self._share)
        return share < MAX_REPEATED_SHARE and length - 1 >= log(chance) / log(share)


class RepeatedValues:
    """Find the stretches in which a series repeats one value, as a whole or in one of its components.

    A component that repeats one value while the others change does not show rest along its axis. The instrument is not
    stuck: the other components still show motion.

    Values that a person reads and types are not judged. A temperature and other quantities without the check
    `flatline` are judged only if the site file states a noise.
    """

    def __init__(self, spec: SeriesSpec, axes: int) -> None:
        """Start without values.

        Args:
            axes: How many components a value has.
        """
        is_stated = spec.noise_floor > 0.0
        is_watched = "flatline" in CHECKS_BY_QUANTITY.get(spec.quantity, NO_CHECKS).checks
        is_judged = not spec.by_hand and (is_stated or is_watched)
        self._whole = RunDetector(is_noise_stated=is_stated) if is_judged else None
        self._parts: list[RunDetector] = []
        if is_judged and axes > 1:
            self._parts = [RunDetector(is_noise_stated=is_stated, needs_known_share=True) for _ in range(axes)]
        self._columns: list[list[Vector]] = [[] for _ in self._parts]

    def extend(self, values: Sequence[Vector]) -> None:
        """Add the values after those of the last call."""
        if self._whole is not None:
            self._whole.extend(values)
        for axis, (detector, column) in enumerate(zip(self._parts, self._columns, strict=True)):
            column += [(value[axis],) for value in values[len(column) :]]
            detector.extend(column)

    def is_stuck(self, values: Sequence[Vector]) -> bool:
        """Return whether the newest values are equal for so long that the instrument must be broken."""
        return self._whole is not None and self._whole.is_stuck(values)

    def list_runs(self, values: Sequence[Vector]) -> list[tuple[int, int]]:
        """List first and last index of each run that is too long for chance, oldest first."""
        runs: set[tuple[int, int]] = set()
        if self._whole is not None:
            runs.update(self._whole.list_runs(values))
        for detector, column in zip(self._parts, self._columns, strict=True):
            runs.update(detector.list_runs(column))
        return sorted(runs)


def _expect_share(values: Sequence[float]) -> float:
    """Return the share of values of an instrument at rest that equal the one before.

    It follows from the noise and the smallest difference of the values.
    """
    differences = [abs(b - a) for a, b in pairwise(values) if abs(b - a) > ROUNDING * max(abs(a), abs(b))]
    (noise,) = measure_bent([(value,) for value in values])
    return 1.0 if not differences or noise <= 0.0 else NORMAL_DENSITY * min(differences) / noise
