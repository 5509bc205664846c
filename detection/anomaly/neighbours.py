"""Remove from a series what the other stations of a site explain: a moved reference, weather, a common movement."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import MAD_TO_SIGMA, Array, SmoothedMean, Standardise, count_steps, median_of_windows

# A median of fewer than three other stations follows a single faulty one.
FEWEST_OTHERS: Final = 3
# The scatter of a day needs more stations than its median.
FEWEST_FOR_SCALE: Final = 5
# Residuals are clipped before the regression, so that unusual readings do not change it. The prior is a number of
# readings without dependence, so that a short record shows none by chance.
CLIP: Final = 4.0
PRIOR: Final = 10.0
MAX_SHARE: Final = 1.5
MIN_YEAR_CELLS: Final = 180
# Stations move together if their smoothed median is this many scales from zero.
COMMON: Final = 3.0
# Names of other stations that are stored with a score.
NAMED: Final = 5
# The year before a cell begins at one of this many places, about every eight days.
YEAR_PARTS: Final = 45


class NeighbourResidual:
    """Subtract from each station the part of the median of the other stations that explains it.

    The share of the median is a regression over the year before each cell, so stations that have nothing in common are
    not changed. Three other stations at least have to be known, so a fault of one station does not affect the others.
    """

    def __init__(self, rows: int, step_s: float) -> None:
        self.width = max(MIN_YEAR_CELLS, count_steps(step_s, 365.0))
        self.part = max(1, self.width // YEAR_PARTS)
        # Sums of products since the start: now, and where a year may begin.
        self.total = np.zeros((2, rows, 1))
        self.begins = np.zeros((2, rows, self.width // self.part + 3))

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Return the residuals, shape (rows, k). Rows are the stations of one site on the same cells."""
        if len(new) <= FEWEST_OTHERS:
            return new
        others = median_of_others(new)
        return new - self._share(new, others, first, keep) * np.nan_to_num(others, nan=0.0)

    def _share(self, own: Array, others: Array, first: int, keep: int) -> Array:
        known = np.isfinite(own) & np.isfinite(others)
        x = np.where(known, np.clip(others, -CLIP, CLIP), 0.0)
        y = np.where(known, np.clip(own, -CLIP, CLIP), 0.0)
        k = own.shape[1]
        total = np.concatenate([self.total, self.total + np.cumsum(np.stack([x * y, x * x]), axis=2)], axis=2)
        # Totals at the cells where a year may begin. The newest of the stored ones is at cell (first - 1) // part.
        begun = np.arange(-first % self.part, k, self.part)
        begins = np.concatenate([self.begins, total[:, :, begun]], axis=2)
        size = self.begins.shape[2]
        wanted = (first + np.arange(k) - self.width) // self.part - (first - 1) // self.part + size - 1
        xy, xx = total[:, :, :k] - begins[:, :, wanted]
        kept = int((begun < keep).sum())
        self.total = total[:, :, keep : keep + 1].copy()
        self.begins = begins[:, :, kept : kept + size].copy()
        share: Array = np.clip(xy / (xx + PRIOR), 0.0, MAX_SHARE)
        return share


class NeighbourScale:
    """Divide the residual of each station by the usual size of the residuals of the other stations, if it is above 1.

    On a day of bad weather or bad orbits all stations scatter, each in its own way. The median size of the residuals of
    the others is then the noise of the day. Five other stations at least have to be known, so a faulty station does not
    affect it.
    """

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the interface of a stage
        """Return the scaled residuals, shape (rows, k). Rows are the stations of one site on the same cells."""
        if len(new) <= FEWEST_FOR_SCALE:
            return new
        usual = np.fmax(1.0, MAD_TO_SIGMA * median_of_others(np.abs(new), FEWEST_FOR_SCALE))
        scaled: Array = new / usual
        return scaled


class CommonMovement:
    """Find cells in which a station moves with the others: most have moved unusually far, in its direction, for days.

    On a moving slope some stations move farther than others. What they move beyond their share is no fault.
    """

    def __init__(self, rows: int, step_s: float) -> None:
        self._scale = Standardise(1, step_s)
        self._median, self._own = SmoothedMean(1), SmoothedMean(rows)

    def feed(self, new: Array, first: int, keep: int) -> NDArray[np.bool_]:
        """Return where a station moves with the others, shape (rows, k). Rows are the stations of one site."""
        if len(new) <= FEWEST_OTHERS:
            return np.zeros(new.shape, dtype=bool)
        median = median_of_windows(np.ascontiguousarray(new.T), len(new), FEWEST_OTHERS + 1, 1).T
        common = self._median.feed_signed(self._scale.feed(median, first, keep), first, keep)
        own = self._own.feed_signed(new, first, keep)
        with np.errstate(invalid="ignore"):
            moves_together: NDArray[np.bool_] = (np.abs(common) > COMMON) & (own * common > 0)
        return moves_together


class ComparedSeries:
    """The other series with which the scores of one cell were compared.

    Attributes:
        known: Series that had a residual; shape (rows,).
    """

    def __init__(self, names: Sequence[str], known: NDArray[np.bool_]) -> None:
        self.known = known
        self._count = int(known.sum())
        self._first = [names[row] for row in np.flatnonzero(known)[: NAMED + 1].tolist()]

    def count(self, row: int) -> int:
        """Return the number of other series for this row; 0 if they were too few to compare with."""
        others = self._count - 1
        return others if self.known[row] and others >= FEWEST_OTHERS else 0

    def name(self, own: str) -> tuple[str, ...]:
        """Return the names of the first of them."""
        return tuple(name for name in self._first if name != own)[:NAMED]


def median_of_others(table: Array, at_least: int = FEWEST_OTHERS) -> Array:
    """Return for each cell the median of the known values of all other rows, shape (rows, k).

    Args:
        at_least: With fewer other values the median is NaN.

    >>> median_of_others(np.array([[1.0], [2.0], [3.0], [9.0]])).ravel().tolist()
    [3.0, 3.0, 2.0, 2.0]
    """
    own = np.ascontiguousarray(table.T)
    ordered = np.sort(own, axis=1)  # NaN sorts last
    known = np.isfinite(own)
    count = known.sum(axis=1, keepdims=True) - known
    last = own.shape[1] - 1

    def select(rank: NDArray[np.int64]) -> Array:
        """Return the value of a rank among the other rows."""
        value = np.take_along_axis(ordered, np.clip(rank, 0, last), axis=1)
        next_value = np.take_along_axis(ordered, np.clip(rank + 1, 0, last), axis=1)
        return np.where(known & (value >= own), next_value, value)

    median = 0.5 * (select((count - 1) // 2) + select(count // 2))
    return np.where(count >= at_least, median, np.nan).T
