"""Put irregular readings on a regular grid, and compute residuals to the past of a series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.records import InputError
from detection.anomaly.stages import (
    DAY_S,
    SCALE_POINTS,
    Array,
    RobustScale,
    Standardise,
    StuckRuns,
    beyond_median,
    count_steps,
)

# A longer record suggests a wrong clock or unit.
MAX_CELLS = 10_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one series on a regular grid.

    Attributes:
        times_s: Time of the newest reading of each cell, or the time of the cell if it has none; epoch seconds, shape
            (n,).
        values: Values, NaN in cells without a reading; never interpolated; shape (n,).
        step_s: Length of a cell, seconds.
    """

    times_s: Array
    values: Array
    step_s: float

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Mask of the cells with a reading, shape (n,)."""
        return np.isfinite(self.values)

    @property
    def first_cell(self) -> int:
        """Number of the first cell on a grid that all series with this interval share."""
        return int(np.floor(self.times_s[0] / self.step_s + 0.5)) if len(self.times_s) else 0

    def steps(self, days: float, at_least: int = 1) -> int:
        """Return the number of cells in a backward window of some days (`count_steps`)."""
        return count_steps(self.step_s, days, at_least)

    def cells(self, days: float) -> int:
        """Return the number of cells in some days, at least one."""
        return max(1, round(days * DAY_S / self.step_s))


def build_series(times_s: Sequence[float], values: Sequence[float], step_s: float) -> Series:
    """Put readings into cells of one interval. The first reading is in the middle of the first cell.

    A cell takes its newest reading. Values that are not finite count as missing. The readings may have any order.

    Args:
        step_s: Length of a cell, seconds.

    Raises:
        InputError: The lengths differ, the interval is not positive, a time is not finite, there is no reading, or the
            record spans more than `MAX_CELLS` intervals.

    >>> build_series([0.0, 61.0, 240.0], [1.0, 2.0, 3.0], 60.0).values.tolist()
    [1.0, 2.0, nan, nan, 3.0]
    """
    times, numbers, cells = _find_cells(times_s, values, step_s)
    grid_times = times[0] + step_s * np.arange(cells[-1] + 1, dtype=np.float64)
    grid_values = np.full(cells[-1] + 1, np.nan)
    is_finite = np.isfinite(numbers)
    # Times ascend, so the newest reading of a cell is assigned last.
    grid_values[cells[is_finite]] = numbers[is_finite]
    grid_times[cells[is_finite]] = times[is_finite]
    return Series(grid_times, grid_values, float(step_s))


def sum_cells(times_s: Sequence[float], amounts: Sequence[float], step_s: float) -> Series:
    """Sum amounts, such as rain, over cells of one interval. Cells without a reading are NaN.

    Raises:
        InputError: As `build_series`.

    >>> sum_cells([0.0, 10.0, 130.0], [1.0, 2.0, 4.0], 60.0).values.tolist()
    [3.0, nan, 4.0]
    """
    times, numbers, cells = _find_cells(times_s, amounts, step_s)
    totals = np.zeros(cells[-1] + 1)
    is_finite = np.isfinite(numbers)
    np.add.at(totals, cells[is_finite], numbers[is_finite])
    has_reading = np.zeros(cells[-1] + 1, dtype=bool)
    has_reading[cells[is_finite]] = True
    grid_times = times[0] + step_s * np.arange(cells[-1] + 1, dtype=np.float64)
    return Series(grid_times, np.where(has_reading, totals, np.nan), float(step_s))


def _find_cells(
    times_s: Sequence[float], values: Sequence[float], step_s: float
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return times in ascending order, their values, and the cell of each."""
    times = np.asarray(times_s, dtype=np.float64)
    numbers = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    if times.shape != numbers.shape or times.ndim != 1:
        raise InputError(f"{times.size} times and {numbers.size} values: they must be lists of equal length")
    if not np.isfinite(step_s) or step_s <= 0:
        raise InputError(f"step_s must be a positive number of seconds, not {step_s!r}")
    if times.size == 0:
        raise InputError("no samples")
    if not np.isfinite(times).all():
        raise InputError("a time is not a finite number of seconds")
    order = np.argsort(times, kind="stable")
    times, numbers = times[order], numbers[order]
    cells = np.floor((times - times[0]) / step_s + 0.5).astype(np.int64)
    if cells[-1] > MAX_CELLS:
        raise InputError(f"the record spans {cells[-1]} intervals of {step_s:g} s: is a clock or the interval wrong?")
    return times, numbers, cells


def pad(values: Array, before: int) -> Array:
    """Return one row for the stages: `before` unknown cells, then the values; shape (1, before + n)."""
    return np.concatenate([np.full(before, np.nan), values])[None]


def as_row(rows: Array) -> Array:
    """Return the only row of the output of a stage, shape (n,)."""
    only: Array = rows[0]
    return only


def long_scale(values: Array, series: Series) -> Array:
    """Return the larger of the robust scales of the previous ninety days and two years, shape (n,)."""
    if not len(values):
        return values
    widths = (series.steps(days, at_least=30) for days in (90.0, 730.0))
    return np.fmax(*(as_row(RobustScale(1, width).feed(values[None], series.first_cell, 0)) for width in widths))


def residuals(series: Series) -> Array:
    """Return each value minus the median of the previous seven days, in the unit of the values; shape (n,).

    The median needs half of these cells. Series that are slower than daily use the previous five cells. NaN where
    unknown.
    """
    width = series.steps(7.0, at_least=5)
    return as_row(beyond_median(pad(series.values, width), len(series.values), width))


def compute_scaled_residuals(series: Series) -> Array:
    """Return `residuals` divided by their robust scale over the previous ninety days, shape (n,).

    NaN until twenty residuals are known, and where the record has no noise to scale by.
    """
    stage = Standardise(1, series.step_s, (90.0,))
    stuck = StuckRuns(1).feed(series.values[None], 0)
    return as_row(stage.feed(residuals(series)[None], series.first_cell, 0, stuck))


def count_needed_readings(series: Series) -> int:
    """Return how many readings without a gap `compute_scaled_residuals` needs before its first number."""
    width = series.steps(90.0, at_least=30)
    stride = max(1, width // SCALE_POINTS)
    return (series.steps(7.0, at_least=5) + 1) // 2 + (20 if stride == 1 else 10 * stride) + 1
