"""Experts with a period: the same season last year, the same time yesterday, and harmonics of year and tides.

Harmonics are fitted by recursive least squares to differences of the readings over a quarter of the shortest period, so
that a motion that changes its velocity does not disturb them. The readings without the harmonics are continued by
polynomials like the readings themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.least_squares import solve_ridge, weigh_misses
from forecasting.combination.state import Arrays, ArrayState, add_prefix, take_prefix
from forecasting.combination.weights import Expert
from forecasting.data.series import DAY_S, Floats

# The season that networks read has 365.2425 days (`forecasting.data.covariates`). The difference of 11 minutes per year
# does not matter here, and stored states and networks depend on both values.
YEAR_S: Final = 365.25 * DAY_S

# M2, S2, the day and O1. The day stands for the tide K1 (23.93 h) too: months are needed to separate them.
TIDE_HOURS: Final = (12.4206, 12.0, 24.0, 25.8193)
PENALTY: Final = 1.0  # ridge penalty, as a number of differences
LEAST_ROWS_A_PERIOD: Final = 3.0

# A season of a year matters only for forecasts over this time: within less it moves less than the noise of a reading.
SHORTEST_FOR_YEAR_S: Final = 7.0 * DAY_S
LEAST_ROWS_A_YEAR: Final = 8
FEWEST_FORECASTS: Final = 24  # on trial before a season has a weight
LONGEST_FOR_DAY_S: Final = 6.0 * 3600.0  # interval between readings
MOST_AROUND: Final = 13  # readings that an earlier one is averaged over, evenly taken
LONGEST_MEMORY: Final = 5_000_000  # readings that are stored for earlier periods at most, over all stations


class EarlierPeriods(ArrayState):
    """Expert that adds the mean change of earlier periods, such as years or days, to the newest reading.

        y(t + h) = y(t) + mean over k of (y(t + h - k P) - y(t - k P))

    `P` is the period in rows, and `k` counts the earlier periods whose change is known at the row `t`.
    """

    state_names: ClassVar = ("history_mm",)

    def __init__(self, stations: int, lead_times: Sequence[int], period: int, cycles: int, halfwidth: int) -> None:
        """Create an expert without readings.

        Args:
            stations: Number of stations.
            lead_times: Rows ahead at which it forecasts.
            period: Rows.
            cycles: Earlier periods that are averaged.
            halfwidth: Rows before and after each earlier reading that it is averaged with.
        """
        self.trial_forecasts = max(FEWEST_FORECASTS, period)
        # The first whole number of periods that lies before the target.
        whole = -(-(np.array(lead_times) + halfwidth) // period)
        back = (whole[:, None] + np.arange(cycles)) * period
        count = min(2 * halfwidth + 1, MOST_AROUND)
        around = np.linspace(-halfwidth, halfwidth, count).round().astype(np.int64)
        self._origin_lags = (back[..., None] + around).reshape(len(lead_times), -1)
        self._target_lags = self._origin_lags - np.array(lead_times)[:, None]
        self._rows = int(self._origin_lags.max()) + 1
        self._first_row = int(self._origin_lags.min())  # before it no earlier period is recorded
        self.history_mm = np.full((self._rows, stations), np.nan)

    def advance(self, row: int, carried_mm: Floats) -> None:
        """Store one row of readings, shape (S,), in which gaps of up to 3 rows are filled with the reading before."""
        self.history_mm[row % self._rows] = carried_mm

    def forecast(self, row: int, carried_mm: Floats) -> Floats:
        """Return forecasts in mm, shape (R, S), NaN where no earlier period is recorded."""
        if row < self._first_row:
            return np.full((self._origin_lags.shape[0], carried_mm.size), np.nan)
        later = self.history_mm[(row - self._target_lags) % self._rows]
        earlier = self.history_mm[(row - self._origin_lags) % self._rows]
        moved = later - earlier  # (R, cycles and readings around, S)
        is_known = np.isfinite(moved)
        count = is_known.sum(axis=1)
        total = np.where(is_known, moved, 0.0).sum(axis=1)
        return np.asarray(carried_mm + total / np.where(count > 0, count, np.nan))


@dataclass(frozen=True, slots=True)
class HarmonicSettings:
    """Which harmonics are fitted."""

    name: str
    periods: tuple[float, ...]  # rows
    difference: int  # rows between two readings of a difference
    memory: float  # differences that the fit effectively uses
    least_rows: int  # differences before the harmonics are used
    trial_forecasts: int  # number of scored forecasts before an expert with these harmonics gets a weight


class Harmonics(ArrayState):
    """Sines and cosines of several periods, fitted to the readings of every station."""

    state_names: ClassVar = ("square", "product", "usual_miss_mm", "history_mm", "differences", "coefficients")

    def __init__(self, stations: int, settings: HarmonicSettings) -> None:
        self._settings = settings
        self._turns = 2.0 * np.pi / np.array(settings.periods)
        terms = 1 + 2 * len(settings.periods)
        self._keep = 1.0 - 1.0 / settings.memory
        # Normal equations of every station. The first term is the velocity.
        self.square = np.zeros((stations, terms, terms))
        self.product = np.zeros((stations, terms))
        self.coefficients = np.zeros((stations, terms))
        self.usual_miss_mm = np.full(stations, np.nan)
        self.history_mm = np.full((settings.difference + 1, stations), np.nan)
        self.differences = np.zeros(stations)  # learnt so far

    @property
    def name(self) -> str:
        """Return what the harmonics stand for."""
        return self._settings.name

    @property
    def trial_forecasts(self) -> int:
        """Return how many forecasts are scored before an expert with these harmonics has a weight."""
        return self._settings.trial_forecasts

    def advance(self, row: int, values_mm: Floats) -> Floats:
        """Learn from one row of readings, shape (S,), and return the readings without the harmonics."""
        rows = self.history_mm.shape[0]
        self.history_mm[row % rows] = values_mm
        lag = self._settings.difference
        if row >= lag:
            self._learn(row, values_mm - self.history_mm[(row - lag) % rows])
        return np.asarray(values_mm - self._compute_waves(np.array([row]))[0])

    def forecast(self, row: int, lead_times: Floats) -> Floats:
        """Return the harmonics in mm at lead times after a row, shape (R, S), NaN where too little is learnt."""
        is_ready = self.differences >= self._settings.least_rows
        return np.where(is_ready, self._compute_waves(row + lead_times), np.nan)

    def _learn(self, row: int, moved_mm: Floats) -> None:
        lag = self._settings.difference
        terms = np.concatenate([[float(lag)], self._compute_terms(np.array([row, row - lag]))])
        is_known = np.isfinite(moved_mm)
        moved_mm = np.where(is_known, moved_mm, 0.0)
        miss_mm = np.abs(moved_mm - (self.coefficients * terms).sum(axis=1))
        weight, self.usual_miss_mm = weigh_misses(miss_mm, self.usual_miss_mm, is_known, self._keep)
        keep = np.where(is_known, self._keep, 1.0)
        self.square = keep[:, None, None] * self.square + weight[:, None, None] * (terms[:, None] * terms)
        self.product = keep[:, None] * self.product + (weight * moved_mm)[:, None] * terms
        self.coefficients = solve_ridge(self.square, self.product, PENALTY)
        self.differences = self.differences + is_known

    def _compute_terms(self, rows: Floats) -> Floats:
        """Return what cosines and sines change between two rows."""
        angles = self._turns * rows[:, None]
        later, earlier = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray(later - earlier)

    def _compute_waves(self, rows: Floats) -> Floats:
        """Return the harmonics at some rows in mm, shape (N, S)."""
        angles = self._turns * rows[:, None]
        terms = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray((terms[:, None] * self.coefficients[:, 1:]).sum(axis=2))


class Seasons:
    """Every expert with a period that the interval between readings and the horizons allow."""

    def __init__(self, stations: int, step_s: float, steps: Sequence[int], lead_times: Sequence[int]) -> None:
        self._lead_times = np.array(lead_times, dtype=np.float64)
        self._earlier: dict[str, EarlierPeriods] = {}
        self.harmonics: list[Harmonics] = []
        longest_s = max(steps) * step_s
        year = YEAR_S / step_s
        day = round(DAY_S / step_s)
        if year >= LEAST_ROWS_A_YEAR and longest_s >= SHORTEST_FOR_YEAR_S:
            if 3 * year * stations <= LONGEST_MEMORY:
                halfwidth = int(year // 60)
                self._earlier["last-year"] = EarlierPeriods(stations, lead_times, round(year), 1, halfwidth)
                self._earlier["last-years"] = EarlierPeriods(stations, lead_times, round(year), 3, halfwidth)
            self.harmonics.append(Harmonics(stations, _describe_year(year)))
        if step_s <= LONGEST_FOR_DAY_S:
            if 5 * day * stations <= LONGEST_MEMORY:
                self._earlier["yesterday"] = EarlierPeriods(stations, lead_times, day, 1, 0)
                self._earlier["last-days"] = EarlierPeriods(stations, lead_times, day, 4, 0)
            periods = tuple(hours * 3600.0 / step_s for hours in TIDE_HOURS)
            periods = tuple(period for period in periods if period >= LEAST_ROWS_A_PERIOD)
            self.harmonics.append(Harmonics(stations, _describe_tides(periods, day)))

    def advance(self, row: int, values_mm: Floats, carried_mm: Floats) -> list[Floats]:
        """Add one row of readings and return the readings without each of the harmonics.

        Args:
            row: Number of the row.
            values_mm: Readings, shape (S,).
            carried_mm: Readings in which gaps of up to 3 rows are filled with the reading before, shape (S,).
        """
        for earlier in self._earlier.values():
            earlier.advance(row, carried_mm)
        return [harmonics.advance(row, values_mm) for harmonics in self.harmonics]

    def forecast(self, row: int, carried_mm: Floats) -> list[Floats]:
        """Return what earlier periods forecast in mm, each of shape (R, S)."""
        return [part.forecast(row, carried_mm) for part in self._earlier.values()]

    def forecast_harmonics(self, row: int) -> list[Floats]:
        """Return each of the harmonics at the lead times in mm, shape (R, S)."""
        return [part.forecast(row, self._lead_times) for part in self.harmonics]

    def list_experts(self) -> list[Expert]:
        """Return the experts of earlier periods."""
        return [Expert(name, trial_forecasts=part.trial_forecasts) for name, part in self._earlier.items()]

    def to_arrays(self) -> Arrays:
        """Return copies of all arrays."""
        out: Arrays = {}
        for name, part in self._list_parts().items():
            out |= add_prefix(name, part.to_arrays())
        return out

    def restore(self, arrays: Arrays) -> None:
        """Replace the state by arrays that `to_arrays` returned."""
        for name, part in self._list_parts().items():
            part.restore(take_prefix(name, arrays))

    def _list_parts(self) -> dict[str, ArrayState]:
        return {**self._earlier, **{part.name: part for part in self.harmonics}}


def _describe_year(year: float) -> HarmonicSettings:
    count = 2 if year >= 24 else 1
    return HarmonicSettings(
        name="year",
        periods=tuple(year / order for order in range(1, count + 1)),
        difference=max(1, round(year / 4)),
        memory=3.0 * year,
        least_rows=round(year),
        trial_forecasts=max(FEWEST_FORECASTS, round(year / 4)),
    )


def _describe_tides(periods: tuple[float, ...], day: int) -> HarmonicSettings:
    return HarmonicSettings(
        name="tide",
        periods=periods,
        difference=max(1, round(min(periods) / 4)),
        memory=30.0 * day,
        least_rows=2 * day,
        trial_forecasts=max(FEWEST_FORECASTS, day),
    )
