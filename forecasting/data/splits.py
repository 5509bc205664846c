"""Where fit, early stop, calibration and test lie in a record, with an embargo of one horizon between them."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.errors import NotEnoughDataError

EARLY_STOP_SHARE = 0.15
CALIBRATION_SHARE = 0.20
CALIBRATION_ROWS = 36
"""A short record (monthly readings) gives up to 60 % of its rows to calibration, until 36 are reached: of three years
of months 20 % would be a handful, on which no choice can be made."""
MOST_CALIBRATION = 0.60
MINIMUM_TARGETS: Final = 10  # targets of a horizon that each block of a training holds


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [first, end). An origin belongs to a block only if its target does too: that is the embargo."""

    first: int
    end: int

    @property
    def origins(self) -> Ints:
        """Every row of the block."""
        return np.arange(self.first, self.end, dtype=np.int64)

    def targets(self, values: Floats, origins: Ints, steps: int) -> Floats:
        """Values `steps` rows after the origins, NaN where origin or target lies outside the block, shape (N, S)."""
        out = np.full((origins.size, values.shape[1]), np.nan)
        inside = (origins >= self.first) & (origins + steps < self.end)
        out[inside] = values[origins[inside] + steps]
        return out


@dataclass(frozen=True, slots=True)
class Split:
    """The blocks of one training, in order of time."""

    fit: Block
    early_stop: Block
    calibration: Block
    test: Block


def split(rows: int, test_first: int | None = None, test_end: int | None = None) -> Split:
    """Cut the rows before `test_first` into 65 % fit, 15 % early stop, 20 % calibration (more of a short record)."""
    known = rows if test_first is None else test_first
    if known < 10:
        raise NotEnoughDataError(f"{known} rows are too few to cut into fit, early stop and calibration")
    least = min(CALIBRATION_ROWS, round(known * MOST_CALIBRATION))
    calibration = known - max(1, least, round(known * CALIBRATION_SHARE))
    early = max(1, calibration - max(1, round(known * EARLY_STOP_SHARE)))
    return Split(
        Block(0, early),
        Block(early, calibration),
        Block(calibration, known),
        Block(known, rows if test_end is None else test_end),
    )


def taught_blocks(parts: Split, *, short: bool) -> tuple[Block, ...]:
    """Blocks that must hold targets; with shipped weights (`short`) the calibration block alone."""
    return (parts.calibration,) if short else (parts.fit, parts.early_stop, parts.calibration)


def count_rows(steps: int, *, short: bool = False) -> int:
    """Rows of a record without gaps from which a horizon of so many rows can be learnt.

    >>> count_rows(1), count_rows(30), count_rows(30, short=True)
    (71, 264, 198)
    """

    def is_enough(rows: int) -> bool:
        blocks = taught_blocks(split(rows), short=short)
        return all(block.end - block.first - steps >= MINIMUM_TARGETS for block in blocks)

    return bisect_left(range(1_000_000), x=True, lo=10, key=is_enough)


def rolling_folds(rows: int, folds: int = 3, test_share: float = 0.196, *, last: int | None = None) -> list[Split]:
    """Expanding splits whose tests follow one another and end with the record.

    `last`: targets one row ahead that all tests together hold, in place of the share.
    """
    # a target belongs to a test only if its origin does, so a test needs one row more than it has targets
    length = int(rows * test_share) if last is None else -(-last // folds) + 1
    first = rows - folds * length
    if length < 5 or first < 20:
        raise NotEnoughDataError(f"{rows} rows are too few for {folds} test folds")
    return [split(rows, first + i * length, first + (i + 1) * length) for i in range(folds)]
