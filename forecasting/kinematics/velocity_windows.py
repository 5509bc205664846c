"""Velocities over windows of several lengths, from averages of the readings in cells of fixed time."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, fsum, sqrt
from typing import Final

from forecasting.kinematics.noise import measure_sigma, median
from forecasting.kinematics.velocity import DAY_S

# Cells of the shortest window, and of a window where the sampling allows it. A window of eight cells becomes older by
# at most an eighth of its length before the next cell is complete.
MIN_CELLS: Final = 3
USUAL_CELLS: Final = 8
# Share of the cells of a window that must contain readings, and share of its length that these cells must span.
MIN_FILLED_SHARE: Final = 0.6
# Number of cells from which the noise is measured, and of readings from which the stated noise is taken.
NOISE_CELLS: Final = 64
NOISE_READINGS: Final = 32
# Rounding noise of the values, as a share of their size.
ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class WindowVelocity:
    """A least-squares velocity over one window."""

    rate: float  # per day
    error: float  # one standard error
    stamp_s: float  # mean instant of its cells, near the middle of the window


@dataclass(frozen=True, slots=True)
class VelocityWindow:
    """A length of window: a number of cells of 2**level sampling intervals each."""

    level: int
    cells: int
    cell_s: float

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.cells * self.cell_s


@dataclass(frozen=True, slots=True)
class Cell:
    """The mean of the readings in a cell."""

    at_s: float  # mean instant
    value: float
    count: int  # number of readings


@dataclass(frozen=True, slots=True)
class _Line:
    rate: float  # per day
    spread: float  # sum of squares of the instants about their mean, square days
    stamp_s: float


class WindowVelocities:
    """Compute velocities of one series on demand, and keep them.

    Cells of 1, 2, 4, ... sampling intervals lie on a grid of absolute time. A cell contains the mean of its readings
    and is used only once it is complete. So a velocity depends on no later reading and on nothing before its window: it
    is the same wherever the series starts. Windows cost the same for daily readings and for readings of every minute.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,). Readings may be appended later.
        values: Readings along the movement, shape (n,).
        sigmas: Standard deviation of each reading, 0 = unknown, shape (n,).
        interval_s: Nominal sampling interval in seconds.
        sigma: Stated noise of one reading, a lower bound of the measured noise.
    """

    def __init__(
        self,
        times_s: Sequence[float],
        values: Sequence[float],
        sigmas: Sequence[float],
        interval_s: float,
        sigma: float,
    ) -> None:
        self.times_s = times_s
        self.values = values
        self.sigmas = sigmas
        self.interval_s = interval_s
        self.sigma = sigma
        # by level and number of the cell; None for a cell without readings
        self.cells: dict[tuple[int, int], Cell | None] = {}
        self._lines: dict[tuple[int, int, int], _Line | None] = {}
        self._velocities: dict[tuple[int, int, int], WindowVelocity | None] = {}
        self._means: dict[tuple[int, int, int, int], WindowVelocity | None] = {}
        self._noises: dict[tuple[int, int], float] = {}

    def list_windows(self, longest_s: float) -> list[VelocityWindow]:
        """Return windows from three sampling intervals to the longest, each about 1.4 times as long as the previous."""
        windows: list[VelocityWindow] = []
        intervals = float(MIN_CELLS)
        while intervals * self.interval_s <= longest_s * 1.001 or not windows:
            level = 0
            while intervals / 2 ** (level + 1) >= USUAL_CELLS:
                level += 1
            windows.append(VelocityWindow(level, round(intervals / 2**level), self.interval_s * 2**level))
            intervals *= sqrt(2.0)
        return windows

    def find_last_cell(self, window: VelocityWindow, index: int) -> int:
        """Return the number of the newest cell that is complete once reading `index` is known."""
        # A reading up to half an interval early completes its cell: a daily reading belongs to the day that it ends.
        return floor((self.times_s[index] + 0.5 * self.interval_s) / window.cell_s) - 1

    def find_first_reading(self, cell_s: float, index: int) -> int:
        """Return the first reading at which the same cells were complete as at reading `index`."""
        begin_s = floor((self.times_s[index] + 0.5 * self.interval_s) / cell_s) * cell_s - 0.5 * self.interval_s
        return min(index, bisect_left(self.times_s, begin_s, 0, index + 1))

    def find_rate(self, window: VelocityWindow, last_cell: int) -> float | None:
        """Return the velocity per day of the window that ends with a cell; None if too few cells contain readings."""
        line = self._fit(window, last_cell)
        return None if line is None else line.rate

    def find_velocity(self, window: VelocityWindow, last_cell: int) -> WindowVelocity | None:
        """Return the velocity of the window that ends with a cell; None if too few cells contain readings."""
        key = (window.level, window.cells, last_cell)
        if key not in self._velocities:
            line = self._fit(window, last_cell)
            velocity = None
            if line is not None:
                error = self._measure_noise(window.level, last_cell) / sqrt(line.spread)
                velocity = WindowVelocity(line.rate, error, line.stamp_s)
            self._velocities[key] = velocity
        return self._velocities[key]

    def find_mean_velocity(self, window: VelocityWindow, last_cell: int, count: int) -> WindowVelocity | None:
        """Return the mean velocity of `count` windows, each a cell later than the previous one.

        Args:
            window: Length of the windows.
            last_cell: Cell at which the last window ends.
            count: Number of windows. Windows without a velocity are left out.

        Returns:
            The mean of rates, errors and instants; None if no window has a velocity.
        """
        if count == 1:
            return self.find_velocity(window, last_cell)
        key = (window.level, window.cells, last_cell, count)
        if key not in self._means:
            cells = range(last_cell - count + 1, last_cell + 1)
            found = [self.find_velocity(window, cell) for cell in cells]
            self._means[key] = _average([velocity for velocity in found if velocity is not None])
        return self._means[key]

    def _find_cell(self, level: int, number: int) -> Cell | None:
        key = (level, number)
        if key not in self.cells:
            cell_s = self.interval_s * 2**level
            half_s = 0.5 * self.interval_s
            low = bisect_left(self.times_s, number * cell_s - half_s)
            high = bisect_left(self.times_s, (number + 1) * cell_s - half_s)
            count = high - low
            if count > 1:
                at_s = fsum(self.times_s[low:high]) / count
                self.cells[key] = Cell(at_s, fsum(self.values[low:high]) / count, count)
            else:
                self.cells[key] = Cell(self.times_s[low], self.values[low], 1) if count else None
        return self.cells[key]

    def _list_cells(self, level: int, first: int, last: int) -> list[Cell]:
        """Return the cells with readings."""
        cells = []
        for number in range(first, last + 1):
            key = (level, number)
            cell = self.cells[key] if key in self.cells else self._find_cell(level, number)
            if cell is not None:
                cells.append(cell)
        return cells

    def _measure_noise(self, level: int, last_cell: int) -> float:
        """Return the noise of one cell, measured on the cells of this length, so that coloured noise is included."""
        anchor = last_cell - last_cell % USUAL_CELLS
        key = (level, anchor)
        if key not in self._noises:
            cells = self._list_cells(level, anchor - NOISE_CELLS + 1, anchor)
            cell_s = self.interval_s * 2**level
            times_s = [cell.at_s for cell in cells]
            measured = measure_sigma(times_s, [cell.value for cell in cells], longest_gap_s=2.0 * cell_s)
            end = bisect_right(self.times_s, (anchor + 1) * cell_s)
            stated = max(self.sigma, median(self.sigmas[max(0, end - NOISE_READINGS) : end]) if end else 0.0)
            readings_per_cell = median([float(cell.count) for cell in cells]) if cells else 1.0
            rounding = ROUNDING * max((abs(cell.value) for cell in cells), default=1.0)
            self._noises[key] = max(measured, stated / sqrt(readings_per_cell), rounding)
        return self._noises[key]

    def _fit(self, window: VelocityWindow, last_cell: int) -> _Line | None:
        key = (window.level, window.cells, last_cell)
        if key not in self._lines:
            self._lines[key] = self._fit_line(window, last_cell)
        return self._lines[key]

    def _fit_line(self, window: VelocityWindow, last_cell: int) -> _Line | None:
        cells = self._list_cells(window.level, last_cell - window.cells + 1, last_cell)
        count = len(cells)
        if count < max(MIN_CELLS, MIN_FILLED_SHARE * window.cells):
            return None
        if cells[-1].at_s - cells[0].at_s < MIN_FILLED_SHARE * (window.length_s - window.cell_s):
            return None
        mean_s = fsum([cell.at_s for cell in cells]) / count
        mean = fsum([cell.value for cell in cells]) / count
        spread = product = 0.0
        for cell in cells:
            day = (cell.at_s - mean_s) / DAY_S
            spread += day * day
            product += day * (cell.value - mean)
        return _Line(product / spread, spread, mean_s) if spread > 0.0 else None


def _average(velocities: Sequence[WindowVelocity]) -> WindowVelocity | None:
    count = len(velocities)
    if count == 0:
        return None
    return WindowVelocity(
        fsum([velocity.rate for velocity in velocities]) / count,
        fsum([velocity.error for velocity in velocities]) / count,
        fsum([velocity.stamp_s for velocity in velocities]) / count,
    )
