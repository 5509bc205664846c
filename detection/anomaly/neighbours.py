"""What the other stations of a site explain: a reference that moved, weather on all, a slope that moves as one."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import MAD_TO_SIGMA, Array, SmoothedMean, Standardise, count_steps, median_of_windows

# A median of fewer than three others follows a single faulty one.
FEWEST_OTHERS: Final = 3
# The scatter of a day takes more of them than its middle.
FEWEST_AT_ONCE: Final = 5
# Strange readings teach no dependence; the prior keeps a short record from inventing one.
CLIP: Final = 4.0
PRIOR: Final = 10.0
MOST: Final = 1.5
SHORTEST_YEAR: Final = 180  # cells
COMMON: Final = 3.0  # scales that the smoothed middle of the stations is away, where they move together
NAMED: Final = 5  # so many others are kept by name beside a score
YEAR_PARTS: Final = 45  # at which the year before may begin: about every eight days


class NeighbourResidual:
    """Signed strangeness of each station without what the median of the others explains.

    The share that is explained is regressed on the year before each cell, so stations that have nothing in common keep
    what they have. A fault of one station does not reach the others: three others at least have to agree.
    """

    def __init__(self, rows: int, step_s: float) -> None:
        self.width = max(SHORTEST_YEAR, count_steps(step_s, 365.0))
        self.part = max(1, self.width // YEAR_PARTS)
        self.total = np.zeros((2, rows, 1))
        self.begins = np.zeros((2, rows, self.width // self.part + 3))

    def feed(self, new: Array, first: int, keep: int) -> Array:
        """Shape (rows, k); rows are the stations of one site on the same cells."""
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
        # totals as they stood where a year may begin; the newest one known is that of cell (first - 1) // part
        begun = np.arange(-first % self.part, k, self.part)
        begins = np.concatenate([self.begins, total[:, :, begun]], axis=2)
        size = self.begins.shape[2]
        wanted = (first + np.arange(k) - self.width) // self.part - (first - 1) // self.part + size - 1
        xy, xx = total[:, :, :k] - begins[:, :, wanted]
        kept = int((begun < keep).sum())
        self.total = total[:, :, keep : keep + 1].copy()
        self.begins = begins[:, :, kept : kept + size].copy()
        share: Array = np.clip(xy / (xx + PRIOR), 0.0, MOST)
        return share


class NeighbourScale:
    """Strangeness of each station in units of what the other stations show at the same cell, where that is much.

    On a day of bad weather or of bad orbits all stations scatter, each its own way: the middle size of what is left of
    the others is the noise of the day. A faulty station does not reach it. Five others at least have to be known.
    """

    def feed(self, new: Array, first: int, keep: int) -> Array:  # noqa: ARG002 - the shape of a stage
        """Shape (rows, k); rows are the stations of one site on the same cells."""
        if len(new) <= FEWEST_AT_ONCE:
            return new
        usual = np.fmax(1.0, MAD_TO_SIGMA * median_of_others(np.abs(new), FEWEST_AT_ONCE))
        settled: Array = new / usual
        return settled


class CommonMovement:
    """Where most stations have gone the same way as this one for days, farther than usual: it moves with them.

    A slope that moves carries some stations farther than others. What these have more than their share is no fault.
    """

    def __init__(self, rows: int, step_s: float) -> None:
        self._scale = Standardise(1, step_s)
        self._middle, self._own = SmoothedMean(1), SmoothedMean(rows)

    def feed(self, new: Array, first: int, keep: int) -> NDArray[np.bool_]:
        """Shape (rows, k); rows are the stations of one site on the same cells."""
        if len(new) <= FEWEST_OTHERS:
            return np.zeros(new.shape, dtype=bool)
        middle = median_of_windows(np.ascontiguousarray(new.T), len(new), FEWEST_OTHERS + 1, 1).T
        common = self._middle.feed_signed(self._scale.feed(middle, first, keep), first, keep)
        own = self._own.feed_signed(new, first, keep)
        with np.errstate(invalid="ignore"):
            found: NDArray[np.bool_] = (np.abs(common) > COMMON) & (own * common > 0)
        return found


class ComparedSeries:
    """Which other series the scores of one cell were compared with, by name.

    Attributes:
        known: series that had something to compare with; shape (rows,).
    """

    def __init__(self, names: Sequence[str], known: NDArray[np.bool_]) -> None:
        self.known = known
        self._count = int(known.sum())
        self._first = [names[row] for row in np.flatnonzero(known)[: NAMED + 1].tolist()]

    def count(self, row: int) -> int:
        """How many they were for this row; 0 where they were too few to be compared with."""
        others = self._count - 1
        return others if self.known[row] and others >= FEWEST_OTHERS else 0

    def name(self, own: str) -> tuple[str, ...]:
        """The first of them."""
        return tuple(name for name in self._first if name != own)[:NAMED]


def median_of_others(table: Array, at_least: int = FEWEST_OTHERS) -> Array:
    """Per cell the median of the known values of all other rows, NaN where too few are; shape (rows, k).

    >>> median_of_others(np.array([[1.0], [2.0], [3.0], [9.0]])).ravel().tolist()
    [3.0, 3.0, 2.0, 2.0]
    """
    own = np.ascontiguousarray(table.T)
    ordered = np.sort(own, axis=1)  # NaN sorts last
    known = np.isfinite(own)
    left = known.sum(axis=1, keepdims=True) - known
    last = own.shape[1] - 1

    def pick(rank: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Array:
        """The number of this rank when one's own is taken out of the row."""
        at = np.take_along_axis(ordered, np.clip(rank, 0, last), axis=1)
        after = np.take_along_axis(ordered, np.clip(rank + 1, 0, last), axis=1)
        return np.where(known & (at >= own), after, at)

    middle = 0.5 * (pick((left - 1) // 2) + pick(left // 2))
    return np.where(left >= at_least, middle, np.nan).T
