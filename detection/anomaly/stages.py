"""Stages of scoring: series are rows, and each stage carries what it needs of the past from one block to the next.

A stage is fed blocks of cells in order of time. A whole record is one block, a cycle of the service a block of one to
three cells: both go through the same lines. What a stage keeps is bounded, whatever the length of the record.
"""

from collections.abc import Sequence
from math import ceil, log
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DAY_S: Final = 86400.0
FINEST_WINDOW_S: Final = 3600.0
# 1.4826 makes the median absolute deviation the standard deviation of a normal law.
MAD_TO_SIGMA: Final = 1.4826
SCALE_POINTS: Final = 180
ROUNDING: Final = 1e-9  # of a value
# A run of equal readings is stuck when chance would make it less often than once in a million readings.
CHANCE: Final = 1e-6
FEWEST_KNOWN: Final = 20
COARSE: Final = 0.5
LEAST_SHARE: Final = 0.01
FEWEST_EQUAL: Final = 1 + ceil(log(CHANCE) / log(LEAST_SHARE))  # no shorter run is stuck
# Cells that say how often a sensor repeats itself; with the windows of the other stages within what a service reads.
SHARE_CELLS: Final = 300
SORTED_AT_ONCE: Final = 400_000  # numbers: what fits into the fast memory of a processor


class ScoringStage(Protocol):
    """One step from readings to scores, for many series at once."""

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """What this stage makes of a block of cells.

        Args:
            new: one row per series, one column per cell, NaN where nothing is known; shape (rows, k).
            first: number of the first new cell; it fixes which cells thinned windows take.
            keep: so many of the new cells are final and go into the memory of the stage; the others come again.

        Returns shape (rows, k); a column depends on the cells up to it and on no later one.
        """
        ...


def count_steps(step_s: float, days: float, at_least: int = 1) -> int:
    """How many cells a backward window of so many days has, at least the given number.

    Sensors faster than hourly look back as many readings as an hourly one: memory and time stay bounded, and a sensor
    of every minute does not need a week of minutes to know its own noise.
    """
    return max(at_least, round(days * DAY_S / max(step_s, FINEST_WINDOW_S)))


def median_of_windows(joined: NDArray[np.floating], width: int, at_least: int, count: int) -> Array:
    """Median of the known numbers of the windows that begin at the first `count` columns; shape (rows, count).

    NaN where fewer than `at_least` are known.
    """
    view = np.lib.stride_tricks.sliding_window_view(joined, width, axis=1)[:, :count]
    out = np.empty(view.shape[:2])
    rows = max(1, SORTED_AT_ONCE // max(1, count * width))
    for begin in range(0, len(view), rows):
        ordered = np.sort(view[begin : begin + rows], axis=2)  # NaN sorts last
        known = np.isfinite(ordered).sum(axis=2, keepdims=True)
        low = np.take_along_axis(ordered, np.clip((known - 1) // 2, 0, width - 1), axis=2)
        high = np.take_along_axis(ordered, np.clip(known // 2, 0, width - 1), axis=2)
        middle = 0.5 * (low.astype(np.float64) + high)
        out[begin : begin + rows] = np.where(known >= max(at_least, 1), middle, np.nan)[:, :, 0]
    return out


def sums_of_windows(rows: Array, width: int, count: int) -> Array:
    """Sum of the windows that begin at the first `count` columns; shape (rows, count)."""
    if count <= 4:
        inner = slice(count - 1, max(width, count - 1))  # what the windows have in common is added once
        edges = (np.r_[k : min(count - 1, k + width), max(width, count - 1) : k + width] for k in range(count))
        common = rows[:, inner].sum(axis=1)
        return np.stack([common + rows[:, edge].sum(axis=1) for edge in edges], axis=1)
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    sums: Array = total[:, width : width + count] - total[:, :count]
    return sums


# ---- residuals: `joined` ends with the k new cells, and before them comes the window that is looked back -------------
def beyond_median(joined: Array, k: int, width: int) -> Array:
    """Value minus the median of the `width` cells before, of which half must be known; shape (rows, k)."""
    before = joined[:, joined.shape[1] - k - width : -1]
    return joined[:, -k:] - median_of_windows(before, width, (width + 1) // 2, k)


def beyond_line(joined: Array, k: int, width: int) -> Array:
    """Value minus the line through the `width` cells before, carried to now; shape (rows, k)."""
    slope, level = line_before(joined, k, width)
    left = joined[:, -k:] - (level + slope)
    # a sensor that stands still leaves what arithmetic rounds, which is no noise to measure by
    return np.where(np.abs(left) <= ROUNDING * np.abs(level), 0.0, left)


def beyond_last(joined: Array, k: int) -> Array:
    """Value minus that of the cell before; shape (rows, k)."""
    return joined[:, -k:] - joined[:, -k - 1 : -1]


def line_before(joined: Array, k: int, width: int) -> tuple[Array, Array]:
    """Least-squares line through the `width` cells before each new cell, at least half of them known.

    Returns slope per cell and the line's value at the cell just before, both (rows, k); NaN where unknown.
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
    good = (count * 2 >= width) & (spread > 0)
    slope = np.divide(count * stx - st * sx, spread, out=np.full(count.shape, np.nan), where=good)
    mean = np.divide(sx - slope * st, count, out=np.full(count.shape, np.nan), where=good)
    return slope, origin + mean + slope * (np.arange(k) + width - 1.0)


# ---- stages with a memory ------------------------------------------------------------------------------------------
class RobustScale:
    """Robust standard deviation about zero of the `width` cells before each: 1.4826 x median |value|.

    Windows longer than 180 cells are thinned: a scale needs no more, fast series stay fast and the memory bounded. They
    take the cells whose number is a multiple of the stride. Of a thinned window half of `at_least` points will do, for
    they stand further apart. Sizes are kept in single precision.
    """

    def __init__(self, rows: int, width: int, at_least: int = 20) -> None:
        self.stride = max(1, width // SCALE_POINTS)
        self.points = -(-width // self.stride)
        self.at_least = at_least if self.stride == 1 else (at_least + 1) // 2
        self.tail = np.full((rows, self.points), np.nan, dtype=np.float32)
        # medians of the first windows of the next block, known already where the cells `ahead` of the tail come again
        self.held = np.zeros((rows, 0))
        self.ahead = np.zeros((rows, 0), dtype=np.float32)

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """The scale before each cell, shape (rows, k)."""
        taken = np.arange(-first % self.stride, new.shape[1], self.stride)
        with np.errstate(over="ignore"):  # beyond single precision: not a size that anything is measured by
            joined = np.concatenate([self.tail, np.abs(new[:, taken]).astype(np.float32)], axis=1)
        before = np.searchsorted(taken, np.arange(new.shape[1]))  # windows move when a taken cell lies behind
        count = int(before[-1]) + 1
        medians = self._find_medians(joined, count)
        kept = int((taken < keep).sum())
        self.tail = joined[:, kept : kept + self.points].copy()
        self.held = medians[:, kept:].copy()
        self.ahead = joined[:, kept + self.points : count + self.points - 1].copy()
        return MAD_TO_SIGMA * medians[:, before]

    def _find_medians(self, joined: NDArray[np.float32], count: int) -> Array:
        known = min(self.held.shape[1], count)
        medians = np.empty((len(joined), count))
        medians[:, :known] = self.held[:, :known]
        if known < count:
            medians[:, known:] = median_of_windows(joined[:, known:], self.points, self.at_least, count - known)
        if known > 1:  # the first window is the tail alone
            came = joined[:, self.points : self.points + known - 1]
            other = np.flatnonzero((came.view(np.int32) != self.ahead[:, : known - 1].view(np.int32)).any(axis=1))
            if len(other):
                medians[other, 1:known] = median_of_windows(joined[other, 1:], self.points, self.at_least, known - 1)
        return medians


class Standardise:
    """Divides by the larger of the robust scales of several spans before, NaN where there is none.

    A long one keeps a quiet season from making the next noisy one look strange, a short one follows a sensor that has
    become noisier.
    """

    def __init__(self, rows: int, step_s: float, days: Sequence[float] = (90.0, 730.0), at_least: int = 20) -> None:
        self.scales = [RobustScale(rows, count_steps(step_s, span, at_least=30), at_least) for span in days]

    def feed(self, new: Array, first: int, keep: int, stuck: NDArray[np.bool_] | None = None) -> Array:
        """Values in units of their scale, shape (rows, k); scales learn nothing from a sensor that is stuck."""
        learnt = new if stuck is None else np.where(stuck, np.nan, new)
        scale = self.scales[0].feed(learnt, first, keep)
        for one in self.scales[1:]:
            scale = np.fmax(scale, one.feed(learnt, first, keep))
        return divide_by_scale(new, scale)


class AbsoluteSize:
    """The distance from zero."""

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """Shape (rows, k)."""
        return np.abs(new)


class SmoothedMean:
    """Size of the exponentially weighted mean of standardised values, over its own under white noise.

    Roberts (1959). Values are clipped at five so that one spike is the spike detector's business; a gap holds the mean.
    """

    def __init__(self, rows: int, weight: float = 0.15) -> None:
        self.weight, self.means = weight, np.zeros(rows)

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Shape (rows, k)."""
        return np.abs(self.feed_signed(new, first, keep))

    def feed_signed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """With the side to which it lies, shape (rows, k)."""
        means, out, values = self.means, np.empty(new.shape), np.clip(new, -5.0, 5.0)
        for k in range(new.shape[1]):
            means = means + np.nan_to_num(self.weight * (values[:, k] - means), nan=0.0)
            out[:, k] = means
            if k + 1 == keep:
                self.means = means
        return np.where(np.isfinite(new), out / np.sqrt(self.weight / (2.0 - self.weight)), np.nan)


class Cusum:
    """Sum of what lies more than half a scale to one side, the larger of both; it ends at zero, a gap holds it.

    Page (1954), Hinkley (1971). Values are clipped at five: one spike is no slow change.

    >>> Cusum(1).feed(np.array([[1.5, 1.5, np.nan, -0.5, -2.5]]), 0, 5).ravel().tolist()
    [1.0, 2.0, nan, 1.0, 2.0]
    """

    ALLOWED: Final = 0.5

    def __init__(self, rows: int) -> None:
        self.sums = np.zeros((2, rows))

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """Shape (rows, k)."""
        beyond = np.clip(new, -5.0, 5.0)
        beyond = np.nan_to_num(np.stack([beyond, -beyond]) - self.ALLOWED, nan=0.0)
        sums, out = self.sums, np.empty(new.shape)
        for k in range(new.shape[1]):
            sums = np.maximum(sums + beyond[:, :, k], 0.0)
            out[:, k] = sums.max(axis=0)
            if k + 1 == keep:
                self.sums = sums
        return np.where(np.isfinite(new), out, np.nan)


class RollingRms:
    """Root mean square of the last cells, clipped at four; NaN where half of them or fewer are known."""

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.tail = np.full((rows, width - 1), np.nan)

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """Shape (rows, k)."""
        joined = np.concatenate([self.tail, np.clip(new, -4.0, 4.0)], axis=1)
        self.tail = joined[:, keep : keep + self.width - 1].copy()
        known = np.isfinite(joined)
        count = sums_of_windows(known.astype(np.float64), self.width, new.shape[1])
        squares = sums_of_windows(np.where(known, joined * joined, 0.0), self.width, new.shape[1])
        good = (count * 2 > self.width) & np.isfinite(new)
        mean = np.divide(np.maximum(squares, 0.0), count, out=np.full(new.shape, np.nan), where=good)
        size: Array = np.sqrt(mean)
        return size


class StuckRuns:
    """Where a reading is one of a run that is too long for chance, for many series block by block.

    The share of repeats among the readings before the run says how long chance makes one. Runs that ended in the last
    `SHARE_CELLS` before it count; of them, those too long for what all of them repeated count with no repeat.
    """

    def __init__(self, rows: int) -> None:
        self._last, self._run = np.full(rows, np.nan), np.zeros(rows, dtype=np.int64)
        # each a table of the cells where runs ended, its sum over them, and the sum where the present run began
        self._ends, self._repeats, self._fair = (_PastRuns(rows) for _ in range(3))

    def feed(self, new: Array, keep: int) -> NDArray[np.bool_]:
        """Shape (rows, k); the first `keep` cells are final."""
        k = new.shape[1]
        if not k:
            return np.zeros(new.shape, dtype=bool)
        known, place = np.isfinite(new), np.arange(1, k + 1)
        values = np.concatenate([self._last[:, None], new], axis=1)
        newest = _carry_on(known, place)
        same: NDArray[np.bool_] = new == np.take_along_axis(values, newest[:, :-1], axis=1)
        begins = known & ~same
        count = np.cumsum(known, axis=1)
        base = np.maximum.accumulate(np.where(begins, count - 1, -self._run[:, None]), axis=1)
        run = np.concatenate([self._run[:, None], count - base], axis=1)
        start = _carry_on(begins, place)
        ended = begins & (run[:, :-1] > 0)
        ends = self._ends.feed(ended, start, keep)
        repeated = np.where(ended, run[:, :-1] - 1, 0)
        repeats = self._repeats.feed(repeated, start, keep)
        fair = repeated * ~_is_too_long(run[:, :-1], repeats[:, :-1], ends[:, :-1])
        unchanged = self._fair.feed(fair, start, keep)
        if keep:
            self._last = np.take_along_axis(values, newest[:, keep, None], axis=1)[:, 0]
            self._run = run[:, keep].copy()
        return same & _is_too_long(run[:, 1:], unchanged[:, 1:], ends[:, 1:])


class _PastRuns:
    """What the runs that ended in the `SHARE_CELLS` before the present one add up to."""

    def __init__(self, rows: int) -> None:
        self._tail = np.zeros((rows, SHARE_CELLS), dtype=np.int32)
        self._sum, self._at_start = np.zeros((rows, 1), dtype=np.int64), np.zeros((rows, 1), dtype=np.int64)

    def feed(self, new: NDArray[np.generic], start: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
        """The sum where the present run began, of the cell before the block and of each of it, shape (rows, 1 + k)."""
        joined = np.concatenate([self._tail, new.astype(np.int32)], axis=1)
        k = new.shape[1]
        sums = self._sum + np.cumsum(joined[:, -k:].astype(np.int64) - joined[:, :k], axis=1)
        at_start = np.take_along_axis(np.concatenate([self._at_start, sums], axis=1), start, axis=1)
        if keep:
            self._tail = joined[:, keep : keep + SHARE_CELLS].copy()
            self._sum, self._at_start = sums[:, keep - 1 : keep].copy(), at_start[:, keep : keep + 1].copy()
        return at_start


def _carry_on(marks: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The newest marked place up to each, zero where there is none, for the cell before as well; (rows, 1 + k)."""
    zeros = np.zeros((len(marks), 1), dtype=np.int64)
    return np.concatenate([zeros, np.maximum.accumulate(np.where(marks, place, 0), axis=1)], axis=1)


def _is_too_long(run: NDArray[np.int64], unchanged: NDArray[np.int64], changes: NDArray[np.int64]) -> NDArray[np.bool_]:
    too_long = run >= FEWEST_EQUAL
    if too_long.any():
        long, repeats, known = run[too_long], unchanged[too_long], (unchanged + changes)[too_long]
        share = np.clip(repeats / np.maximum(known, 1), LEAST_SHARE, None)
        judged = (known >= FEWEST_KNOWN) & (share < COARSE)
        longest = np.ceil(np.log(CHANCE) / np.log(np.where(judged, share, COARSE)))
        too_long[too_long] = judged & (long >= 1 + longest)
    return too_long


def divide_by_scale(values: Array, scale: Array) -> Array:
    """Values in units of a scale, NaN where there is none; the shape of the values."""
    scaled: Array = np.divide(values, scale, out=np.full(values.shape, np.nan), where=np.isfinite(scale) & (scale > 0))
    return scaled
