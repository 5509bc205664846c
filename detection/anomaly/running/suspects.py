"""Select the series that the checks have to examine, from the newest readings of all series.

A check of the whole record of a series takes milliseconds, which is too long for ten thousand series. The selection
tests all series at once for conditions that every fault meets, so it misses no fault. The checks then examine the few
selected series.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.certain.checks import MAX_EQUAL, REPLAY_CELLS
from detection.anomaly.certain.timing import MIN_SHIFT, NEWEST, USUAL
from detection.anomaly.certain.unit_jump import BEFORE, MIN_JUMP, list_attempts
from detection.anomaly.records import LENGTHS
from detection.anomaly.stages import MIN_EQUAL, Array

# Number of readings that are stored for each series.
READINGS: Final = 64
# Number of hashes of earlier blocks of readings that are stored for each series, to find replayed readings.
BLOCKS: Final = 2500
# With more new cells than this, the checks examine every series with new readings.
MANY_CELLS: Final = 8
# Odd random factors of the readings in a hash.
_FACTORS: Final = np.random.default_rng(20260).integers(1, 2**63, REPLAY_CELLS, dtype=np.uint64) | np.uint64(1)
Mask = NDArray[np.bool_]


class RecentReadings:
    """The newest readings of many series, and hashes of earlier blocks of their readings.

    Each series is one row of the tables. The newest reading is in the last column.
    """

    def __init__(self, rows: int) -> None:
        self._values = np.full((rows, READINGS), np.nan)
        self._times = np.full((rows, READINGS), np.nan)
        # 0 is the hash of no block. When all columns of a row are in use, a new hash replaces the oldest one.
        self._hashes = np.zeros((rows, BLOCKS), dtype=np.uint32)
        self._hash_counts = np.zeros(rows, dtype=np.int64)

    def find_suspects(self, values: Array, times: Array, touched: Mask, keep: int) -> dict[int, float]:
        """Add readings, and return the rows that the checks have to examine.

        Args:
            values: Values of the cells, NaN without a reading; shape (rows, k).
            times: Times of the readings, epoch seconds; shape (rows, k).
            touched: Cells with a reading that was not examined before; shape (rows, k).
            keep: Number of cells that are final. The later cells are passed again by the next call, so their readings
                are forgotten at the end of this call.

        Returns:
            By row, the time of the last reading before its new readings, epoch seconds; -inf if there is none.
        """
        suspects: dict[int, float] = {}
        has_many_cells = values.shape[1] > MANY_CELLS
        final_state: tuple[Array, Array] | None = None
        for cell in range(values.shape[1]):
            if cell == keep:
                final_state = self._values.copy(), self._times.copy()
            rows = np.flatnonzero(np.isfinite(values[:, cell]))
            new_rows = rows[touched[rows, cell]]
            before_s = self._times[new_rows, -1]
            self._push(rows, values[rows, cell], times[rows, cell])
            if not len(new_rows) and cell >= keep:
                continue
            hashes = self._hash_newest_block(rows)
            if has_many_cells:
                is_suspect = np.ones(len(new_rows), dtype=bool)
            else:
                is_suspect = self._is_suspect(new_rows, hashes[touched[rows, cell]])
            for row, at_s in zip(new_rows[is_suspect].tolist(), before_s[is_suspect].tolist(), strict=True):
                suspects[row] = min(suspects.get(row, np.inf), at_s if np.isfinite(at_s) else -np.inf)
            if cell < keep:
                self._hashes[rows, self._hash_counts[rows] % BLOCKS] = hashes
                self._hash_counts[rows] += 1
        if final_state is not None:
            self._values, self._times = final_state
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
        """Return the hash of the newest block of readings of each row; 0 if it cannot be recognised as replayed."""
        block = np.ascontiguousarray(self._values[rows, -REPLAY_CELLS:])
        with np.errstate(over="ignore"):
            mixed = (block.view(np.uint64) * _FACTORS).sum(axis=1, dtype=np.uint64)
        hashes = (mixed >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        # A sensor at rest repeats blocks of few different readings. A block with NaN is incomplete.
        distinct = (np.diff(np.sort(block, axis=1), axis=1) > 0).sum(axis=1) + 1
        is_block = (2 * distinct >= REPLAY_CELLS) & np.isfinite(block).all(axis=1)
        return np.where(is_block, hashes, np.uint32(0)).astype(np.uint32)

    def _is_suspect(self, rows: NDArray[np.int64], hashes: NDArray[np.uint32]) -> Mask:
        """Return whether any fault may end at the newest reading of each row, shape (len(rows),)."""
        values, times = self._values[rows], self._times[rows]
        equal = values == values[:, -1:]
        is_stuck = equal[:, -MIN_EQUAL:].all(axis=1) & ~equal[:, -MAX_EQUAL - 1 :].all(axis=1)
        earlier = self._hashes[:, : int(self._hash_counts.max(initial=0))]  # the other columns are still empty
        earlier_of_rows = earlier if len(rows) == len(earlier) else earlier[rows]
        is_replayed = (hashes > 0) & (earlier_of_rows == hashes[:, None]).any(axis=1)
        is_suspect: Mask = is_stuck | is_replayed | _may_have_other_unit(values) | _may_have_timing_fault(times)
        return is_suspect


def _may_have_other_unit(values: Array) -> Mask:
    """Return which rows have a jump so many readings ago that a change of the unit can be found now."""
    steps = np.abs(np.diff(values, axis=1))
    has_jump = np.zeros(len(values), dtype=bool)
    for count in sorted({count for count, _ in list_attempts(LENGTHS)}):
        jump = steps.shape[1] - count  # the step to the first reading after the change
        before = steps[:, jump - BEFORE // 2 : jump]
        usual = np.median(before, axis=1)
        has_jump |= steps[:, jump] > MIN_JUMP * np.maximum(usual, 1e-12)
    return has_jump


def _may_have_timing_fault(times: Array) -> Mask:
    """Return which rows have newest intervals that differ from the usual interval."""
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
