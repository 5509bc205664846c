"""From irregular samples to a regular grid with gaps left open, and to windows that look backwards only."""

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


@dataclass(frozen=True, slots=True)
class Series:
    """One station on a regular grid."""

    times_s: Array  # instant of the newest sample of each cell, or the cell's own instant where none came; shape (n,)
    values: Array  # naN where nothing was observed, never interpolated; shape (n,)
    step_s: float  # nominal interval, seconds

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Mask of the cells that hold a sample, shape (n,)."""
        return np.isfinite(self.values)

    @property
    def first_cell(self) -> int:
        """The number of the first cell on a grid that all series of this interval share."""
        return int(np.floor(self.times_s[0] / self.step_s + 0.5)) if len(self.times_s) else 0

    def steps(self, days: float, at_least: int = 1) -> int:
        """How many cells a backward window of so many days has (`count_steps`)."""
        return count_steps(self.step_s, days, at_least)

    def cells(self, days: float) -> int:
        """How many cells so many days are, at least one."""
        return max(1, round(days * DAY_S / self.step_s))


def build_series(times_s: Sequence[float], values: Sequence[float], step_s: float) -> Series:
    """Put samples into cells of one nominal interval, centred on the first sample's phase.

    A cell takes its newest sample. Non-finite values count as not observed. Order of the input does not matter.

    Raises:
        InputError: lengths differ, the interval is not positive, a time is not finite, nothing was given, or the
            record spans more than ten million intervals (a wrong clock or unit).

    >>> build_series([0.0, 61.0, 240.0], [1.0, 2.0, 3.0], 60.0).values.tolist()
    [1.0, 2.0, nan, nan, 3.0]
    """
    times = np.asarray(times_s, dtype=np.float64)
    numbers = np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
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
    if cells[-1] > 10_000_000:
        raise InputError(f"the record spans {cells[-1]} intervals of {step_s:g} s: is a clock or the interval wrong?")
    grid_times = times[0] + step_s * np.arange(cells[-1] + 1, dtype=np.float64)
    grid_values = np.full(cells[-1] + 1, np.nan)
    good = np.isfinite(numbers)
    # Ascending times: the last assignment of a cell is its newest sample.
    grid_values[cells[good]] = numbers[good]
    grid_times[cells[good]] = times[good]
    return Series(grid_times, grid_values, float(step_s))


def pad(values: Array, before: int) -> Array:
    """One row for the stages: so many unknown cells, then the values; shape (1, before + n)."""
    return np.concatenate([np.full(before, np.nan), values])[None]


def as_row(rows: Array) -> Array:
    """What stages made of the only row, shape (n,)."""
    only: Array = rows[0]
    return only


def long_scale(values: Array, series: Series) -> Array:
    """The larger of the robust scales of the previous ninety days and two years, shape (n,)."""
    if not len(values):
        return values
    spans = (series.steps(days, at_least=30) for days in (90.0, 730.0))
    return np.fmax(*(as_row(RobustScale(1, width).feed(values[None], series.first_cell, 0)) for width in spans))


def residuals(series: Series) -> Array:
    """Value minus the median of the previous seven days, same unit as the values, shape (n,), NaN where unknown.

    At least five cells and half of them observed; slower series look back five cells.
    """
    width = series.steps(7.0, at_least=5)
    return as_row(beyond_median(pad(series.values, width), len(series.values), width))


def scaled_residuals(series: Series) -> Array:
    """`residuals` divided by their own robust scale over the previous ninety days, shape (n,).

    NaN until twenty residuals are known, and where the record has no noise at all to scale by.
    """
    stage = Standardise(1, series.step_s, (90.0,))
    stuck = StuckRuns(1).feed(series.values[None], 0)
    return as_row(stage.feed(residuals(series)[None], series.first_cell, 0, stuck))


def fewest_readings(series: Series) -> int:
    """How many readings without a gap `scaled_residuals` needs before its first number."""
    width = series.steps(90.0, at_least=30)
    stride = max(1, width // SCALE_POINTS)
    return (series.steps(7.0, at_least=5) + 1) // 2 + (20 if stride == 1 else 10 * stride) + 1


def stack_windows(values: Array, width: int, coverage: float = 0.7) -> tuple[NDArray[np.int64], Array, Array]:
    """Windows ending at each observed cell that are complete enough for a network.

    Args:
        width: cells per window, the ending cell included.
        coverage: least share of known cells.

    Returns index of the ending cell (k,), values with zero where unknown (k, width), mask of the known (k, width).
    """
    if len(values) < width:
        return np.zeros(0, dtype=np.int64), np.zeros((0, width)), np.zeros((0, width))
    view = np.lib.stride_tricks.sliding_window_view(values, width)
    known = np.isfinite(view)
    chosen = np.flatnonzero(known[:, -1] & (known.mean(axis=1) >= coverage))
    mask = known[chosen].astype(np.float64)
    return chosen + width - 1, np.where(known[chosen], view[chosen], 0.0), mask
