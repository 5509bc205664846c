"""Which series a check should look at: the newest readings of all series, sifted so that no certain fault is missed.

A check looks back over a whole record and takes milliseconds of one series. Here ten thousand are sifted at once by
conditions that every fault meets; what is left over is few, and a check decides.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.certain.checks import MOST_EQUAL, REPLAY_CELLS
from detection.anomaly.certain.timing import MOVED, NEWEST, USUAL
from detection.anomaly.certain.unit_jump import BEFORE, CLEAR, list_looks
from detection.anomaly.records import LENGTHS
from detection.anomaly.stages import FEWEST_EQUAL, Array

LENGTH: Final = 64  # readings kept of each series
BLOCKS: Final = 2500  # marks of earlier blocks of readings, among which a replay is found
MANY_CELLS: Final = 8  # a longer block of new readings is looked at by the checks themselves
_MIX: Final = np.random.default_rng(20260).integers(1, 2**63, REPLAY_CELLS, dtype=np.uint64) | np.uint64(1)
Mask = NDArray[np.bool_]


class RecentReadings:
    """The newest readings of many series, and a mark of each block of readings that was there before."""

    def __init__(self, rows: int) -> None:
        self._values = np.full((rows, LENGTH), np.nan)
        self._times = np.full((rows, LENGTH), np.nan)
        self._marks = np.zeros((rows, BLOCKS), dtype=np.uint32)  # 0: none
        self._next = np.zeros(rows, dtype=np.int64)

    def find_suspects(self, values: Array, times: Array, touched: Mask, keep: int) -> dict[int, float]:
        """Rows that a check should look at, and the instant before their new readings.

        Args:
            values: new cells, NaN where nothing was read; shape (rows, k).
            touched: cells that hold what was not there before.
            keep: so many cells are final.
        """
        found: dict[int, float] = {}
        is_long = values.shape[1] > MANY_CELLS
        ahead: tuple[Array, Array] | None = None
        for cell in range(values.shape[1]):
            if cell == keep:
                ahead = self._values.copy(), self._times.copy()
            rows = np.flatnonzero(np.isfinite(values[:, cell]))
            news = rows[touched[rows, cell]]
            before = self._times[news, -1]
            self._push(rows, values[rows, cell], times[rows, cell])
            if not len(news) and cell >= keep:
                continue
            marks = self._mark(rows)
            suspicious = np.ones(len(news), dtype=bool) if is_long else self._sift(news, marks[touched[rows, cell]])
            for row, at_s in zip(news[suspicious].tolist(), before[suspicious].tolist(), strict=True):
                found[row] = min(found.get(row, np.inf), at_s if np.isfinite(at_s) else -np.inf)
            if cell < keep:
                self._marks[rows, self._next[rows] % BLOCKS] = marks
                self._next[rows] += 1
        if ahead is not None:
            self._values, self._times = ahead
        return found

    def _push(self, rows: NDArray[np.int64], values: Array, times: Array) -> None:
        for table, new in ((self._values, values), (self._times, times)):
            if len(rows) == len(table):
                table[:, :-1] = table[:, 1:]
                table[:, -1] = new
            else:
                table[rows, :-1] = table[rows, 1:]
                table[rows, -1] = new

    def _mark(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """A number for the newest block of readings, equal for equal blocks; 0 where there is none yet."""
        block = np.ascontiguousarray(self._values[rows, -REPLAY_CELLS:])
        with np.errstate(over="ignore"):
            mixed = (block.view(np.uint64) * _MIX).sum(axis=1, dtype=np.uint64)
        marks = (mixed >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        # a block of few different readings is no replay, and NaN differs from itself: it is no block
        differ = (np.diff(np.sort(block, axis=1), axis=1) > 0).sum(axis=1) + 1
        is_block = (2 * differ >= REPLAY_CELLS) & np.isfinite(block).all(axis=1)
        return np.where(is_block, marks, np.uint32(0)).astype(np.uint32)

    def _sift(self, rows: NDArray[np.int64], marks: NDArray[np.uint32]) -> Mask:
        values, times = self._values[rows], self._times[rows]
        equal = values == values[:, -1:]
        stuck = equal[:, -FEWEST_EQUAL:].all(axis=1) & ~equal[:, -MOST_EQUAL - 1 :].all(axis=1)
        earlier = self._marks[:, : int(self._next.max(initial=0))]  # the others hold nothing yet
        of_rows = earlier if len(rows) == len(earlier) else earlier[rows]
        replayed = (marks > 0) & (of_rows == marks[:, None]).any(axis=1)
        suspicious: Mask = stuck | replayed | _may_have_jumped(values) | _may_be_off(times)
        return suspicious


def _may_have_jumped(values: Array) -> Mask:
    """A jump many times the usual difference, as many readings ago as a change of unit takes to be certain."""
    steps = np.abs(np.diff(values, axis=1))
    out = np.zeros(len(values), dtype=bool)
    for enough in sorted({enough for enough, _ in list_looks(LENGTHS)}):
        jump = steps.shape[1] - enough  # the step to the reading that began it
        before = steps[:, jump - BEFORE // 2 : jump]
        usual = np.median(before, axis=1)
        out |= steps[:, jump] > CLEAR * np.maximum(usual, 1e-12)
    return out


def _may_be_off(times: Array) -> Mask:
    steps = np.diff(times[:, -(USUAL + NEWEST + 1) :], axis=1)
    full: Mask = np.asarray(np.isfinite(steps).all(axis=1))
    steps = np.where(full[:, None], steps, 1.0)
    usual = np.median(steps[:, :USUAL], axis=1, keepdims=True)
    usual = np.where(usual > 0, usual, 1.0)
    phase = np.cumsum(steps - usual * np.round(steps / usual), axis=1)
    uneven = phase.max(axis=1) - phase.min(axis=1) > 0.9 * MOVED * usual[:, 0]
    faster = (steps[:, -NEWEST:] < 0.8 * usual).any(axis=1)
    back = (steps <= 0).any(axis=1)
    return np.asarray(full & (uneven | faster | back))
