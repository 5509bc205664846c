"""Select the series that checks have to examine, from the newest readings of all series.

A check reads the whole record of a series, which takes milliseconds. The selection tests ten thousand series at once
for conditions that every fault meets, so it misses no fault. The checks decide on the few series that are left.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.certain.checks import MAX_EQUAL, REPLAY_CELLS
from detection.anomaly.certain.timing import MIN_SHIFT, NEWEST, USUAL
from detection.anomaly.certain.unit_jump import BEFORE, CLEAR, list_attempts
from detection.anomaly.records import LENGTHS
from detection.anomaly.stages import MIN_EQUAL, Array

# Stored readings of each series.
LENGTH: Final = 64
# Stored hashes of earlier blocks of readings of each series, to find replayed readings.
BLOCKS: Final = 2500
# With more new cells than this, the checks examine every series with new readings.
MANY_CELLS: Final = 8
_MIX: Final = np.random.default_rng(20260).integers(1, 2**63, REPLAY_CELLS, dtype=np.uint64) | np.uint64(1)
Mask = NDArray[np.bool_]


class RecentReadings:
    """The newest readings of many series, and a hash of each earlier block of readings."""

    def __init__(self, rows: int) -> None:
        self._values = np.full((rows, LENGTH), np.nan)
        self._times = np.full((rows, LENGTH), np.nan)
        self._hashes = np.zeros((rows, BLOCKS), dtype=np.uint32)  # 0: no block
        self._next = np.zeros(rows, dtype=np.int64)

    def find_suspects(self, values: Array, times: Array, touched: Mask, keep: int) -> dict[int, float]:
        """Return the rows that checks have to examine, with the time before their new readings, epoch seconds.

        Args:
            values: Values of the new cells, NaN without a reading; shape (rows, k).
            times: Times of the readings, epoch seconds; shape (rows, k).
            touched: Cells with a reading that is new.
            keep: How many of the cells are final.
        """
        suspects: dict[int, float] = {}
        is_long = values.shape[1] > MANY_CELLS
        ahead: tuple[Array, Array] | None = None
        for cell in range(values.shape[1]):
            if cell == keep:
                ahead = self._values.copy(), self._times.copy()
            rows = np.flatnonzero(np.isfinite(values[:, cell]))
            new_rows = rows[touched[rows, cell]]
            before_s = self._times[new_rows, -1]
            self._push(rows, values[rows, cell], times[rows, cell])
            if not len(new_rows) and cell >= keep:
                continue
            hashes = self._hash_newest_block(rows)
            if is_long:
                is_suspect = np.ones(len(new_rows), dtype=bool)
            else:
                is_suspect = self._is_suspect(new_rows, hashes[touched[rows, cell]])
            for row, at_s in zip(new_rows[is_suspect].tolist(), before_s[is_suspect].tolist(), strict=True):
                suspects[row] = min(suspects.get(row, np.inf), at_s if np.isfinite(at_s) else -np.inf)
            if cell < keep:
                self._hashes[rows, self._next[rows] % BLOCKS] = hashes
                self._next[rows] += 1
        if ahead is not None:
            self._values, self._times = ahead
        return suspects

    def _push(self, rows: NDArray[np.int64], values: Array, times: Array) -> None:
        for table, new in ((self._values, values), (self._times, times)):
            if len(rows) == len(table):
                table[:, :-1] = table[:, 1:]
                table[:, -1] = new
            else:
                table[rows, :-1] = table[rows, 1:]
                table[rows, -1] = new

    def _hash_newest_block(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return a hash of the newest block of readings of some rows; 0 without a block."""
        block = np.ascontiguousarray(self._values[rows, -REPLAY_CELLS:])
        with np.errstate(over="ignore"):
            mixed = (block.view(np.uint64) * _MIX).sum(axis=1, dtype=np.uint64)
        hashes = (mixed >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        # A block with few different readings is no replay. A block with NaN is incomplete.
        differ = (np.diff(np.sort(block, axis=1), axis=1) > 0).sum(axis=1) + 1
        is_block = (2 * differ >= REPLAY_CELLS) & np.isfinite(block).all(axis=1)
        return np.where(is_block, hashes, np.uint32(0)).astype(np.uint32)

    def _is_suspect(self, rows: NDArray[np.int64], hashes: NDArray[np.uint32]) -> Mask:
        """Return whether any fault may end at the newest reading of each row, shape (len(rows),)."""
        values, times = self._values[rows], self._times[rows]
        equal = values == values[:, -1:]
        is_stuck = equal[:, -MIN_EQUAL:].all(axis=1) & ~equal[:, -MAX_EQUAL - 1 :].all(axis=1)
        earlier = self._hashes[:, : int(self._next.max(initial=0))]  # the other columns are still empty
        of_rows = earlier if len(rows) == len(earlier) else earlier[rows]
        is_replayed = (hashes > 0) & (of_rows == hashes[:, None]).any(axis=1)
        is_suspect: Mask = is_stuck | is_replayed | _may_have_other_unit(values) | _may_have_timing_fault(times)
        return is_suspect


def _may_have_other_unit(values: Array) -> Mask:
    """Return where a clear jump is as many readings ago as a change of unit takes to be found."""
    steps = np.abs(np.diff(values, axis=1))
    has_jump = np.zeros(len(values), dtype=bool)
    for count in sorted({count for count, _ in list_attempts(LENGTHS)}):
        jump = steps.shape[1] - count  # the step to the first reading after the change
        before = steps[:, jump - BEFORE // 2 : jump]
        usual = np.median(before, axis=1)
        has_jump |= steps[:, jump] > CLEAR * np.maximum(usual, 1e-12)
    return has_jump


def _may_have_timing_fault(times: Array) -> Mask:
    """Return where the newest intervals differ from the usual one."""
    steps = np.diff(times[:, -(USUAL + NEWEST + 1) :], axis=1)
    is_complete: Mask = np.asarray(np.isfinite(steps).all(axis=1))
    steps = np.where(is_complete[:, None], steps, 1.0)
    usual = np.median(steps[:, :USUAL], axis=1, keepdims=True)
    usual = np.where(usual > 0, usual, 1.0)
    phase = np.cumsum(steps - usual * np.round(steps / usual), axis=1)
    is_uneven = phase.max(axis=1) - phase.min(axis=1) > 0.9 * MIN_SHIFT * usual[:, 0]
    is_faster = (steps[:, -NEWEST:] < 0.8 * usual).any(axis=1)
    runs_backwards = (steps <= 0).any(axis=1)
    return np.asarray(is_complete & (is_uneven | is_faster | runs_backwards))
