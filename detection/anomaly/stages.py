"""Stages of scoring: series are rows, and each stage carries what it needs of the past from one block to the next.

A stage is fed blocks of cells in order of time. A whole record is one block, a cycle of the service a block of one to
three cells: both go through the same lines. What a stage keeps is bounded, whatever the length of the record.
"""

from collections.abc import Sequence
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
SORTED_AT_ONCE: Final = 400_000  # numbers: what fits into the fast memory of a processor


class Stage(Protocol):
    """One step from readings to scores, for many series at once."""

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """What this stage makes of a block of cells.

        Args:
            new: one row per series, one column per cell, NaN where nothing is known; shape (rows, k).
            first: number of the first new cell; it fixes which cells thinned windows take.
            keep: so many of the new cells are final and go into the memory of the stage; the others come again.

        Returns:
            Shape (rows, k); a column depends on the cells up to it and on no later one.
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

    Returns:
        Slope per cell and the line's value at the cell just before, both (rows, k); NaN where unknown.
    """
    rows = max(1, SORTED_AT_ONCE // joined.shape[1])
    lines = [_fit_lines(joined[first : first + rows], k, width) for first in range(0, len(joined), rows)]
    return np.concatenate([slope for slope, _ in lines]), np.concatenate([level for _, level in lines])


def _fit_lines(joined: Array, k: int, width: int) -> tuple[Array, Array]:
    """`line_before` for as many rows as fit into the fast memory of a processor."""
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
class Scale:
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
        self.held: Array | None = None  # median of the tail, where it is known already

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """The scale before each cell, shape (rows, k)."""
        taken = np.arange(-first % self.stride, new.shape[1], self.stride)
        with np.errstate(over="ignore"):  # beyond single precision: not a size that anything is measured by
            joined = np.concatenate([self.tail, np.abs(new[:, taken]).astype(np.float32)], axis=1)
        before = np.searchsorted(taken, np.arange(new.shape[1]))  # windows move when a taken cell lies behind
        count = int(before[-1]) + 1
        if self.held is None or count > 1:
            medians = median_of_windows(joined, self.points, self.at_least, count)
        else:
            medians = self.held[:, None]
        kept = int((taken < keep).sum())
        self.tail = joined[:, kept : kept + self.points].copy()
        self.held = medians[:, kept].copy() if kept < count else None
        return MAD_TO_SIGMA * medians[:, before]


class Standardise:
    """Divides by the larger of the robust scales of several spans before, NaN where there is none.

    A long one keeps a quiet season from making the next noisy one look strange, a short one follows a sensor that has
    become noisier.
    """

    def __init__(self, rows: int, step_s: float, days: Sequence[float] = (90.0, 730.0), at_least: int = 20) -> None:
        self.scales = [Scale(rows, count_steps(step_s, span, at_least=30), at_least) for span in days]

    def feed(self, new: Array, first: int, keep: int, stuck: NDArray[np.bool_] | None = None) -> Array:
        """Values in units of their scale, shape (rows, k); scales learn nothing from a sensor that is stuck."""
        learnt = new if stuck is None else np.where(stuck, np.nan, new)
        scale = self.scales[0].feed(learnt, first, keep)
        for one in self.scales[1:]:
            scale = np.fmax(scale, one.feed(learnt, first, keep))
        return divide_by_scale(new, scale)


class Size:
    """The distance from zero."""

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """Shape (rows, k)."""
        return np.abs(new)


class Smooth:
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


class AddUp:
    """Sum of what lies more than half a scale to one side, the larger of both; it ends at zero, a gap holds it.

    Page (1954), Hinkley (1971). Values are clipped at five: one spike is no slow change.

    >>> AddUp(1).feed(np.array([[1.5, 1.5, np.nan, -0.5, -2.5]]), 0, 5).ravel().tolist()
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


class Spread:
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


class Stuck:
    """Where a reading is one of a run that `certain.checks.find_stuck` finds, for many series block by block."""

    def __init__(self, rows: int) -> None:
        self._last = np.full(rows, np.nan)
        self._run, self._unchanged, self._changes = (np.zeros(rows, dtype=np.int64) for _ in range(3))

    def feed(self, new: Array, keep: int) -> NDArray[np.bool_]:
        """Shape (rows, k); the first `keep` cells are final."""
        out = np.zeros(new.shape, dtype=bool)
        last, run, unchanged, changes = self._last, self._run, self._unchanged, self._changes
        for k in range(new.shape[1]):
            known, same = np.isfinite(new[:, k]), new[:, k] == last
            ends = known & ~same & (run > 0)
            unchanged = unchanged + np.where(ends & ~_is_too_long(run, unchanged, changes), run - 1, 0)
            changes = changes + ends
            run = np.where(same, run + 1, np.where(known, 1, run))
            last = np.where(known, new[:, k], last)
            out[:, k] = same & _is_too_long(run, unchanged, changes)
            if k + 1 == keep:
                self._last, self._run, self._unchanged, self._changes = last, run, unchanged, changes
        return out


def _is_too_long(run: NDArray[np.int64], unchanged: NDArray[np.int64], changes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether runs of equal readings are longer than chance makes them, given how often the sensors repeated."""
    known = unchanged + changes
    share = np.clip(unchanged / np.maximum(known, 1), LEAST_SHARE, None)
    judged = (known >= FEWEST_KNOWN) & (share < COARSE)
    longest = np.ceil(np.log(CHANCE) / np.log(np.where(judged, share, COARSE)))
    too_long: NDArray[np.bool_] = judged & (run >= 1 + longest)
    return too_long


def divide_by_scale(values: Array, scale: Array) -> Array:
    """Values in units of a scale, NaN where there is none; the shape of the values."""
    scaled: Array = np.divide(values, scale, out=np.full(values.shape, np.nan), where=np.isfinite(scale) & (scale > 0))
    return scaled
