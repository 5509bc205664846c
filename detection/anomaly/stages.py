"""Stages of scoring. Series are rows, and each stage keeps what it needs of the past from one block to the next.

A stage reads blocks of cells in order of time. A whole record is one block, and a scoring of the service is a block of
one to three cells, so both use the same code. The memory of a stage does not grow with the record.
"""

from collections.abc import Sequence
from math import ceil, log
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DAY_S: Final = 86400.0
FINEST_WINDOW_S: Final = 3600.0
# The standard deviation of a normal distribution in median absolute deviations.
MAD_TO_SIGMA: Final = 1.4826
SCALE_POINTS: Final = 180
# Relative rounding error of a value.
ROUNDING: Final = 1e-9
# A sensor is stuck if chance makes its run of equal readings less often than once in a million readings.
CHANCE: Final = 1e-6
# Readings from which the share of unchanged readings is found.
MIN_KNOWN: Final = 20
# A sensor is not checked if this share of its readings is unchanged.
COARSE: Final = 0.5
# Smallest share of unchanged readings that is assumed.
MIN_SHARE: Final = 0.01
# A shorter run is never stuck.
MIN_EQUAL: Final = 1 + ceil(log(CHANCE) / log(MIN_SHARE))
# Cells from which the share of unchanged readings is found. Together with the windows of the other stages, they are
# within the readings that the service loads.
SHARE_CELLS: Final = 300
# Numbers that are sorted at once. They fit into the cache of a processor.
SORTED_AT_ONCE: Final = 400_000


class ScoringStage(Protocol):
    """One step from readings to scores, for many series at once."""

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Return the output of this stage for a block of cells, shape (rows, k).

        A column of the output depends only on the cells up to it.

        Args:
            new: One row for each series, one column for each cell, NaN where unknown; shape (rows, k).
            first: Number of the first new cell. It decides which cells are in thinned windows.
            keep: How many of the new cells are final and enter the memory of the stage. The others are fed again.
        """
        ...


def count_steps(step_s: float, days: float, at_least: int = 1) -> int:
    """Return the number of cells in a backward window of some days, at least `at_least`.

    The window of a sensor that is faster than hourly has as many readings as that of an hourly one. This bounds memory
    and time, and a reading every minute needs no week of minutes to find its noise.
    """
    return max(at_least, round(days * DAY_S / max(step_s, FINEST_WINDOW_S)))


def median_of_windows(joined: NDArray[np.floating], width: int, at_least: int, count: int) -> Array:
    """Return the medians of the windows that begin at the first `count` columns, shape (rows, count).

    A median is NaN if fewer than `at_least` numbers of its window are known.
    """
    view = np.lib.stride_tricks.sliding_window_view(joined, width, axis=1)[:, :count]
    medians = np.empty(view.shape[:2])
    rows = max(1, SORTED_AT_ONCE // max(1, count * width))
    for begin in range(0, len(view), rows):
        ordered = np.sort(view[begin : begin + rows], axis=2)  # NaN sorts last
        known = np.isfinite(ordered).sum(axis=2, keepdims=True)
        low = np.take_along_axis(ordered, np.clip((known - 1) // 2, 0, width - 1), axis=2)
        high = np.take_along_axis(ordered, np.clip(known // 2, 0, width - 1), axis=2)
        median = 0.5 * (low.astype(np.float64) + high)
        medians[begin : begin + rows] = np.where(known >= max(at_least, 1), median, np.nan)[:, :, 0]
    return medians


def sums_of_windows(rows: Array, width: int, count: int) -> Array:
    """Return the sums of the windows that begin at the first `count` columns, shape (rows, count)."""
    if count <= 4:
        inner = slice(count - 1, max(width, count - 1))  # cells that all windows contain are added once
        edges = (np.r_[k : min(count - 1, k + width), max(width, count - 1) : k + width] for k in range(count))
        common = rows[:, inner].sum(axis=1)
        return np.stack([common + rows[:, edge].sum(axis=1) for edge in edges], axis=1)
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    sums: Array = total[:, width : width + count] - total[:, :count]
    return sums


# ---- residuals: `joined` ends with the k new cells, after the cells of the window before them ------------------------
def beyond_median(joined: Array, k: int, width: int) -> Array:
    """Return each value minus the median of the `width` cells before, half of them known; shape (rows, k)."""
    before = joined[:, joined.shape[1] - k - width : -1]
    return joined[:, -k:] - median_of_windows(before, width, (width + 1) // 2, k)


def beyond_line(joined: Array, k: int, width: int) -> Array:
    """Return each value minus the line through the `width` cells before, extended to its cell; shape (rows, k)."""
    slope, level = line_before(joined, k, width)
    residual = joined[:, -k:] - (level + slope)
    # The residual of a sensor whose value never changes is a rounding error and no noise.
    return np.where(np.abs(residual) <= ROUNDING * np.abs(level), 0.0, residual)


def beyond_last(joined: Array, k: int) -> Array:
    """Return each value minus that of the cell before, shape (rows, k)."""
    return joined[:, -k:] - joined[:, -k - 1 : -1]


def line_before(joined: Array, k: int, width: int) -> tuple[Array, Array]:
    """Fit a line by least squares to the `width` cells before each new cell, half of which have to be known.

    Returns:
        The slope per cell, and the value of the line at the cell before the new one; both (rows, k), NaN where unknown.
    """
    rows = max(1, SORTED_AT_ONCE // joined.shape[1])
    lines = [_fit_lines(joined[first : first + rows], k, width) for first in range(0, len(joined), rows)]
    return np.concatenate([slope for slope, _ in lines]), np.concatenate([level for _, level in lines])


def _fit_lines(joined: Array, k: int, width: int) -> tuple[Array, Array]:
    before = joined[:, joined.shape[1] - k - width : -1]
    known = np.isfinite(before)
    place = np.argmax(known, axis=1)[:, None]
    origin = np.nan_to_num(np.take_along_axis(before, place, axis=1))
    t = np.arange(before.shape[1], dtype=np.float64)
    m = known.astype(np.float64)
    x = np.where(known, before - origin, 0.0)
    count, st, stt, sx, stx = (sums_of_windows(row, width, k) for row in (m, m * t, m * (t * t), x, x * t))
    spread = count * stt - st * st
    is_known = (count * 2 >= width) & (spread > 0)
    slope = np.divide(count * stx - st * sx, spread, out=np.full(count.shape, np.nan), where=is_known)
    mean = np.divide(sx - slope * st, count, out=np.full(count.shape, np.nan), where=is_known)
    return slope, origin + mean + slope * (np.arange(k) + width - 1.0)


# ---- stages with a memory ------------------------------------------------------------------------------------------
class RobustScale:
    """Robust standard deviation about zero of the `width` cells before each cell: 1.4826 x median |value|.

    Windows longer than 180 cells are thinned to the cells whose number is a multiple of a stride. A scale needs no more
    points, and this bounds time and memory. A thinned window needs half of `at_least` points, because they are farther
    apart. Sizes are stored in single precision.
    """

    def __init__(self, rows: int, width: int, at_least: int = 20) -> None:
        self.stride = max(1, width // SCALE_POINTS)
        self.points = -(-width // self.stride)
        self.at_least = at_least if self.stride == 1 else (at_least + 1) // 2
        self.tail = np.full((rows, self.points), np.nan, dtype=np.float32)
        # The cells after the final ones, and the medians of the windows that contain them. The medians are used again
        # if the next block has the same values in these cells.
        self.next_medians = np.zeros((rows, 0))
        self.next_cells = np.zeros((rows, 0), dtype=np.float32)

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Return the scale before each cell, shape (rows, k)."""
        columns = np.arange(-first % self.stride, new.shape[1], self.stride)
        with np.errstate(over="ignore"):  # a size beyond single precision is no scale
            joined = np.concatenate([self.tail, np.abs(new[:, columns]).astype(np.float32)], axis=1)
        before = np.searchsorted(columns, np.arange(new.shape[1]))  # a window moves with each of its columns
        count = int(before[-1]) + 1
        medians = self._find_medians(joined, count)
        kept = int((columns < keep).sum())
        self.tail = joined[:, kept : kept + self.points].copy()
        self.next_medians = medians[:, kept:].copy()
        self.next_cells = joined[:, kept + self.points : count + self.points - 1].copy()
        return MAD_TO_SIGMA * medians[:, before]

    def _find_medians(self, joined: NDArray[np.float32], count: int) -> Array:
        known = min(self.next_medians.shape[1], count)
        medians = np.empty((len(joined), count))
        medians[:, :known] = self.next_medians[:, :known]
        if known < count:
            medians[:, known:] = median_of_windows(joined[:, known:], self.points, self.at_least, count - known)
        if known > 1:  # the first window contains the tail only
            new_cells = joined[:, self.points : self.points + known - 1]
            changed = np.flatnonzero(
                (new_cells.view(np.int32) != self.next_cells[:, : known - 1].view(np.int32)).any(axis=1)
            )
            if len(changed):
                medians[changed, 1:known] = median_of_windows(
                    joined[changed, 1:], self.points, self.at_least, known - 1
                )
        return medians


class Standardise:
    """Divide by the largest of the robust scales of several spans before each cell; NaN where there is none.

    With a long span, a noisy season after a quiet one is not unusual. A short span follows a sensor that has become
    noisier.
    """

    def __init__(self, rows: int, step_s: float, days: Sequence[float] = (90.0, 730.0), at_least: int = 20) -> None:
        self.scales = [RobustScale(rows, count_steps(step_s, span, at_least=30), at_least) for span in days]

    def feed(self, new: Array, first: int, keep: int, stuck: NDArray[np.bool_] | None = None) -> Array:
        """Return values in units of their scale, shape (rows, k). A stuck sensor does not change the scale."""
        usable = new if stuck is None else np.where(stuck, np.nan, new)
        scale = self.scales[0].feed(usable, first, keep)
        for longer in self.scales[1:]:
            scale = np.fmax(scale, longer.feed(usable, first, keep))
        return divide_by_scale(new, scale)


class AbsoluteSize:
    """Distance from zero."""

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the interface of a stage
        """Return the scores, shape (rows, k)."""
        return np.abs(new)


class SmoothedMean:
    """Size of the exponentially weighted mean (Roberts 1959), relative to its standard deviation for white noise.

    Values are standardised and clipped at five, so that one spike has little effect. A gap does not change the mean.
    """

    def __init__(self, rows: int, weight: float = 0.15) -> None:
        self.weight, self.means = weight, np.zeros(rows)

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Return the scores, shape (rows, k)."""
        return np.abs(self.feed_signed(new, first, keep))

    def feed_signed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the interface of a stage
        """Return the mean with its sign, shape (rows, k)."""
        means, smoothed, values = self.means, np.empty(new.shape), np.clip(new, -5.0, 5.0)
        for k in range(new.shape[1]):
            means = means + np.nan_to_num(self.weight * (values[:, k] - means), nan=0.0)
            smoothed[:, k] = means
            if k + 1 == keep:
                self.means = means
        return np.where(np.isfinite(new), smoothed / np.sqrt(self.weight / (2.0 - self.weight)), np.nan)


class Cusum:
    """Cumulative sum of values beyond half a scale, to the side where it is larger (Page 1954, Hinkley 1971).

    The sum is not negative, and a gap does not change it. Values are clipped at five, so that one spike has little
    effect.

    >>> Cusum(1).feed(np.array([[1.5, 1.5, np.nan, -0.5, -2.5]]), 0, 5).ravel().tolist()
    [1.0, 2.0, nan, 1.0, 2.0]
    """

    ALLOWED: Final = 0.5

    def __init__(self, rows: int) -> None:
        self.sums = np.zeros((2, rows))

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the interface of a stage
        """Return the scores, shape (rows, k)."""
        clipped = np.clip(new, -5.0, 5.0)
        excess = np.nan_to_num(np.stack([clipped, -clipped]) - self.ALLOWED, nan=0.0)
        sums, largest = self.sums, np.empty(new.shape)
        for k in range(new.shape[1]):
            sums = np.maximum(sums + excess[:, :, k], 0.0)
            largest[:, k] = sums.max(axis=0)
            if k + 1 == keep:
                self.sums = sums
        return np.where(np.isfinite(new), largest, np.nan)


class RollingRms:
    """Root mean square of the last cells, clipped at four; NaN if half of them or fewer are known."""

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.tail = np.full((rows, width - 1), np.nan)

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the interface of a stage
        """Return the scores, shape (rows, k)."""
        joined = np.concatenate([self.tail, np.clip(new, -4.0, 4.0)], axis=1)
        self.tail = joined[:, keep : keep + self.width - 1].copy()
        known = np.isfinite(joined)
        count = sums_of_windows(known.astype(np.float64), self.width, new.shape[1])
        squares = sums_of_windows(np.where(known, joined * joined, 0.0), self.width, new.shape[1])
        is_known = (count * 2 > self.width) & np.isfinite(new)
        mean = np.divide(np.maximum(squares, 0.0), count, out=np.full(new.shape, np.nan), where=is_known)
        size: Array = np.sqrt(mean)
        return size


class StuckRuns:
    """Find readings in a run of equal readings that is too long for chance, for many series block by block.

    How long a run chance makes depends on the share of unchanged readings before the run. The runs that ended in the
    last `SHARE_CELLS` before it count. Runs that are themselves too long for chance count without unchanged readings.
    """

    def __init__(self, rows: int) -> None:
        self._last, self._run = np.full(rows, np.nan), np.zeros(rows, dtype=np.int64)
        # Of the runs before the present one: their number, their unchanged readings, and those of plausible runs.
        self._ends, self._repeats, self._plausible = (_PastRuns(rows) for _ in range(3))

    def feed(self, new: Array, keep: int) -> NDArray[np.bool_]:
        """Return where a sensor is stuck, shape (rows, k). The first `keep` cells are final."""
        k = new.shape[1]
        if not k:
            return np.zeros(new.shape, dtype=bool)
        known, place = np.isfinite(new), np.arange(1, k + 1)
        values = np.concatenate([self._last[:, None], new], axis=1)
        newest = _find_newest(known, place)
        same: NDArray[np.bool_] = new == np.take_along_axis(values, newest[:, :-1], axis=1)
        begins = known & ~same
        count = np.cumsum(known, axis=1)
        base = np.maximum.accumulate(np.where(begins, count - 1, -self._run[:, None]), axis=1)
        run = np.concatenate([self._run[:, None], count - base], axis=1)
        start = _find_newest(begins, place)
        ended = begins & (run[:, :-1] > 0)
        ends = self._ends.feed(ended, start, keep)
        repeated = np.where(ended, run[:, :-1] - 1, 0)
        repeats = self._repeats.feed(repeated, start, keep)
        plausible = repeated * ~_is_too_long(run[:, :-1], repeats[:, :-1], ends[:, :-1])
        unchanged = self._plausible.feed(plausible, start, keep)
        if keep:
            self._last = np.take_along_axis(values, newest[:, keep, None], axis=1)[:, 0]
            self._run = run[:, keep].copy()
        return same & _is_too_long(run[:, 1:], unchanged[:, 1:], ends[:, 1:])


class _PastRuns:
    """Sum over the runs that ended in the `SHARE_CELLS` before the present run."""

    def __init__(self, rows: int) -> None:
        self._tail = np.zeros((rows, SHARE_CELLS), dtype=np.int32)
        self._sum, self._at_start = np.zeros((rows, 1), dtype=np.int64), np.zeros((rows, 1), dtype=np.int64)

    def feed(self, new: NDArray[np.generic], start: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
        """Return the sum at the begin of the present run, from the cell before the block on; shape (rows, 1 + k)."""
        joined = np.concatenate([self._tail, new.astype(np.int32)], axis=1)
        k = new.shape[1]
        sums = self._sum + np.cumsum(joined[:, -k:].astype(np.int64) - joined[:, :k], axis=1)
        at_start = np.take_along_axis(np.concatenate([self._at_start, sums], axis=1), start, axis=1)
        if keep:
            self._tail = joined[:, keep : keep + SHARE_CELLS].copy()
            self._sum, self._at_start = sums[:, keep - 1 : keep].copy(), at_start[:, keep : keep + 1].copy()
        return at_start


def _find_newest(marks: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the newest marked place up to each cell, zero without one, for the cell before as well; (rows, 1 + k)."""
    zeros = np.zeros((len(marks), 1), dtype=np.int64)
    return np.concatenate([zeros, np.maximum.accumulate(np.where(marks, place, 0), axis=1)], axis=1)


def _is_too_long(run: NDArray[np.int64], unchanged: NDArray[np.int64], changes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which runs chance does not explain, given unchanged readings and changes before them."""
    too_long = run >= MIN_EQUAL
    if too_long.any():
        long, repeats, known = run[too_long], unchanged[too_long], (unchanged + changes)[too_long]
        share = np.clip(repeats / np.maximum(known, 1), MIN_SHARE, None)
        is_checked = (known >= MIN_KNOWN) & (share < COARSE)
        longest = np.ceil(np.log(CHANCE) / np.log(np.where(is_checked, share, COARSE)))
        too_long[too_long] = is_checked & (long >= 1 + longest)
    return too_long


def divide_by_scale(values: Array, scale: Array) -> Array:
    """Return values in units of a scale, NaN where there is none."""
    scaled: Array = np.divide(values, scale, out=np.full(values.shape, np.nan), where=np.isfinite(scale) & (scale > 0))
    return scaled
