"""A series at several grains: windows are fixed in time and cost the same whether data come daily or every minute."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, fsum, sqrt

from forecasting.kinematics.noise import measure_sigma, median
from forecasting.kinematics.velocity import DAY_S

SHORTEST = 3  # cells of the shortest window
USUAL = 8  # cells of a window wherever the sampling allows: a window then ages by an eighth at most
FILLED = 0.6  # of a window's cells that must hold data, and of its length that they must span
NOISE_CELLS = 64  # cells from which the noise of a grain is measured


@dataclass(frozen=True, slots=True)
class Speed:
    """A least-squares velocity over one window of cells."""

    rate: float  # per day
    error: float  # one standard error
    stamp_s: float  # mean instant of its data: the middle of the window, never its end


@dataclass(frozen=True, slots=True)
class Window:
    """A velocity window: so many cells of one grain."""

    level: int
    cells: int
    cell_s: float

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.cells * self.cell_s


class Grains:
    """Cells of interval, 2 interval, 4 interval ... on a grid of absolute time, filled when first asked for.

    A cell holds the mean of its data and is used only once it is over, so what is computed for an instant depends on
    no later datum and, a window being short, on nothing long before it: the same numbers whoever asks and from
    wherever the series begins.
    """

    def __init__(
        self,
        times_s: Sequence[float],
        values: Sequence[float],
        sigmas: Sequence[float],
        interval_s: float,
        sigma: float,
    ) -> None:
        """Keep references; nothing is computed yet."""
        self.times_s, self.values, self.sigmas = times_s, values, sigmas
        self.interval_s, self.sigma = interval_s, sigma
        self.cells_filled: dict[tuple[int, int], tuple[float, float, int] | None] = {}
        self._rates: dict[tuple[int, int, int], tuple[float, float, float] | None] = {}
        self._speeds: dict[tuple[int, int, int], Speed | None] = {}
        self._noises: dict[tuple[int, int], float] = {}

    def windows(self, longest_s: float) -> list[Window]:
        """Window lengths, a factor of about 1.4 apart, from 4 intervals to the longest."""
        found: list[Window] = []
        exact = float(SHORTEST)
        while exact * self.interval_s <= longest_s * 1.001 or not found:
            level = 0
            while exact / 2 ** (level + 1) >= USUAL:
                level += 1
            found.append(Window(level, round(exact / 2**level), self.interval_s * 2**level))
            exact *= sqrt(2.0)
        return found

    def last_cell(self, window: Window, index: int) -> int:
        """Newest cell of the window's grain that is over once datum `index` is known."""
        # half an interval of grace: a daily datum is the day's last word, not the first of a day to wait for
        return floor((self.times_s[index] + 0.5 * self.interval_s) / window.cell_s) - 1

    def first_with(self, cell_s: float, index: int) -> int:
        """The first datum that knew the same newest cell as datum `index`."""
        begin_s = floor((self.times_s[index] + 0.5 * self.interval_s) / cell_s) * cell_s - 0.5 * self.interval_s
        return min(index, bisect_left(self.times_s, begin_s, 0, index + 1))

    def cell(self, level: int, k: int) -> tuple[float, float, int] | None:
        """Mean time, mean value and count of a cell; None where it is empty."""
        key = (level, k)
        if key not in self.cells_filled:
            cell_s = self.interval_s * 2**level
            half = 0.5 * self.interval_s
            low = bisect_left(self.times_s, k * cell_s - half)
            high = bisect_left(self.times_s, (k + 1) * cell_s - half)
            n = high - low
            if n > 1:
                self.cells_filled[key] = fsum(self.times_s[low:high]) / n, fsum(self.values[low:high]) / n, n
            else:
                self.cells_filled[key] = (self.times_s[low], self.values[low], 1) if n else None
        return self.cells_filled[key]

    def _cells(self, level: int, first: int, last: int) -> list[tuple[float, float, int]]:
        filled = self.cells_filled
        return [
            c
            for j in range(first, last + 1)
            if (c := filled[level, j] if (level, j) in filled else self.cell(level, j)) is not None
        ]

    def noise(self, level: int, k: int) -> float:
        """Noise of one cell of a grain, measured on cells up to k: coloured noise shows here as it acts here."""
        anchor = k - k % USUAL
        key = (level, anchor)
        if key not in self._noises:
            cells = self._cells(level, anchor - NOISE_CELLS + 1, anchor)
            cell_s = self.interval_s * 2**level
            shown = measure_sigma([c[0] for c in cells], [c[1] for c in cells], longest_gap_s=2.0 * cell_s)
            newest = bisect_right(self.times_s, (anchor + 1) * cell_s)
            stated = max(self.sigma, median(self.sigmas[max(0, newest - 32) : newest]) if newest else 0.0)
            per_cell = median([float(c[2]) for c in cells]) if cells else 1.0
            rounding = 1e-12 * max((abs(c[1]) for c in cells), default=1.0)
            self._noises[key] = max(shown, stated / sqrt(per_cell), rounding)
        return self._noises[key]

    def rate(self, window: Window, k: int) -> float | None:
        """Velocity per day over the cells k - m + 1 .. k, without its error; None where too few hold data."""
        found = self._fit(window, k)
        return None if found is None else found[0]

    def speed(self, window: Window, k: int) -> Speed | None:
        """Velocity over the cells k - m + 1 .. k; None where too few hold data."""
        key = (window.level, window.cells, k)
        if key not in self._speeds:
            found = self._fit(window, k)
            self._speeds[key] = (
                None if found is None else Speed(found[0], self.noise(window.level, k) / sqrt(found[1]), found[2])
            )
        return self._speeds[key]

    def _fit(self, window: Window, k: int) -> tuple[float, float, float] | None:
        """Velocity, spread of its instants in square days and their mean; None where too few cells hold data."""
        key = (window.level, window.cells, k)
        if key not in self._rates:
            self._rates[key] = self._fit_line(window, k)
        return self._rates[key]

    def _fit_line(self, window: Window, k: int) -> tuple[float, float, float] | None:
        cells = self._cells(window.level, k - window.cells + 1, k)
        n = len(cells)
        if n < max(3, FILLED * window.cells) or cells[-1][0] - cells[0][0] < FILLED * (window.length_s - window.cell_s):
            return None
        times, values, _ = zip(*cells, strict=True)
        mean_t = fsum(times) / n
        mean_y = fsum(values) / n
        spread = product = 0.0
        for t, y in zip(times, values, strict=True):
            x = (t - mean_t) / DAY_S
            spread += x * x
            product += x * (y - mean_y)
        return (product / spread, spread, mean_t) if spread > 0.0 else None
