"""Divide a record into blocks for fit, early stop, calibration and test, with an embargo of one horizon between."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.errors import NotEnoughDataError

EARLY_STOP_SHARE = 0.15
CALIBRATION_SHARE = 0.20
# In a short record (monthly readings) the calibration block has this many rows, but at most a share of
# `MOST_CALIBRATION`. 20 % of three years of months would be too few rows.
CALIBRATION_ROWS = 36
MOST_CALIBRATION = 0.60
# Targets of a horizon that each block of a training needs.
MINIMUM_TARGETS: Final = 10


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [first, end).

    The embargo: an origin belongs to a block only if its target does too.
    """

    first: int
    end: int

    @property
    def origins(self) -> Ints:
        """All rows of the block."""
        return np.arange(self.first, self.end, dtype=np.int64)

    def targets(self, values: Floats, origins: Ints, steps: int) -> Floats:
        """Return the values `steps` rows after the origins, shape (N, S).

        They are NaN if the origin or the target is outside the block.
        """
        target_values = np.full((origins.size, values.shape[1]), np.nan)
        is_inside = (origins >= self.first) & (origins + steps < self.end)
        target_values[is_inside] = values[origins[is_inside] + steps]
        return target_values


@dataclass(frozen=True, slots=True)
class Split:
    """The blocks of one training and its test, in order of time."""

    fit: Block
    early_stop: Block
    calibration: Block
    test: Block


def split(rows: int, test_first: int | None = None, test_end: int | None = None) -> Split:
    """Divide the rows before `test_first` into 65 % fit, 15 % early stop and 20 % calibration.

    The calibration block of a short record is larger (`CALIBRATION_ROWS`).

    Args:
        rows: Rows of the record.
        test_first: First row of the test; None for a split without a test.
        test_end: Row after the test; None for the end of the record.

    Raises:
        NotEnoughDataError: There are fewer than 10 rows before the test.
    """
    training_rows = rows if test_first is None else test_first
    if training_rows < 10:
        raise NotEnoughDataError(f"{training_rows} rows are too few to divide into fit, early stop and calibration")
    least_rows = min(CALIBRATION_ROWS, round(training_rows * MOST_CALIBRATION))
    calibration_first = training_rows - max(1, least_rows, round(training_rows * CALIBRATION_SHARE))
    early_stop_first = max(1, calibration_first - max(1, round(training_rows * EARLY_STOP_SHARE)))
    return Split(
        fit=Block(0, early_stop_first),
        early_stop=Block(early_stop_first, calibration_first),
        calibration=Block(calibration_first, training_rows),
        test=Block(training_rows, rows if test_end is None else test_end),
    )


def taught_blocks(parts: Split, *, short: bool) -> tuple[Block, ...]:
    """Return the blocks that need targets.

    Args:
        short: Whether the training begins with shipped weights, which needs the calibration block only.
    """
    return (parts.calibration,) if short else (parts.fit, parts.early_stop, parts.calibration)


def count_rows(steps: int, *, short: bool = False) -> int:
    """Return how many rows without gaps a record needs before a horizon of `steps` rows can be learned.

    Args:
        short: Whether the training begins with shipped weights.

    >>> count_rows(1), count_rows(30), count_rows(30, short=True)
    (71, 264, 198)
    """

    def is_enough(rows: int) -> bool:
        blocks = taught_blocks(split(rows), short=short)
        return all(block.end - block.first - steps >= MINIMUM_TARGETS for block in blocks)

    return bisect_left(range(1_000_000), x=True, lo=10, key=is_enough)


def rolling_folds(rows: int, folds: int = 3, test_share: float = 0.196, *, last: int | None = None) -> list[Split]:
    """Return expanding splits whose tests follow each other and end with the record.

    Args:
        rows: Rows of the record.
        folds: Number of splits.
        test_share: Share of the record in each test.
        last: Number of targets one row ahead in all tests together; replaces `test_share`.

    Raises:
        NotEnoughDataError: The record is too short.
    """
    # A target belongs to a test only if its origin does, so a test needs one row more than it has targets.
    length = int(rows * test_share) if last is None else -(-last // folds) + 1
    first = rows - folds * length
    if length < 5 or first < 20:
        raise NotEnoughDataError(f"{rows} rows are too few for {folds} test folds")
    return [split(rows, first + i * length, first + (i + 1) * length) for i in range(folds)]
