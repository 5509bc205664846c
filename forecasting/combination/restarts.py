"""Lines that restart when the motion changes.

Each line is a Kalman filter of level and slope (Harvey 1989). The misses of its forecasts one row ahead are added up
in two cumulative sums, one per direction (Page 1954). Where a sum exceeds its limit, the motion has changed: the filter
forgets its level or its slope, so that the line after a bend, a stop or a step uses only rows after the change
(Gustafsson 2000).
"""

from typing import ClassVar, Final

import numpy as np

from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats

NAMES: Final = (
    "restarting-mean",
    "restarting-level",
    "restarting-stop",
    "restarting-line",
    "restarting-drift",
)

# One row per line. A line without a slope is a mean.
_HAS_SLOPE: Final = np.array([False, True, True, True, True])[:, None]
# Variance that the slope gains per row, as a share of the variance of a reading: the last line follows slow changes.
_SLOPE_NOISE: Final = np.array([0.0, 0.0, 0.0, 0.0, 1e-5])[:, None]
# Lines that forget their slope at a change. The others forget only their level: a step is not a new velocity.
_FORGETS_SLOPE: Final = np.array([False, False, True, True, True])[:, None]
# Lines that forget the slope after a single reading where the motion slows down, so that one reading shows a stop.
_DETECTS_STOP: Final = np.array([False, False, True, False, False])[:, None]

# A miss adds to a cumulative sum only what exceeds the allowance. A sum above the limit is a change. Both are standard
# deviations of a miss.
ALLOWANCE: Final = 0.5
LIMIT: Final = 6.0

UNKNOWN_SLOPE: Final = 1e7  # variance of a slope before two readings
USUAL_MISSES: Final = 40.0  # misses that the usual miss is averaged over
FEWEST_MISSES: Final = 6.0  # misses before a change is detected
FEWEST_READINGS: Final = 4  # readings before a line forecasts
LARGEST_JUMP: Final = 1e3  # standard deviations; enough to forget everything before the change
LEAST_MISS_MM: Final = 1e-9


class RestartingLines(ArrayState):
    """Five lines per station. Arrays have shape (lines, stations) unless noted; variances are in those of a reading."""

    state_names: ClassVar = (
        "level_mm",
        "slope",
        "level_variance",
        "covariance",
        "slope_variance",
        "sums",
        "rows_in_sum",
        "usual_miss_mm",
        "readings",
    )

    def __init__(self, stations: int) -> None:
        shape = (len(NAMES), stations)
        self.level_mm = np.full(shape, np.nan)
        self.slope = np.zeros(shape)  # mm per row
        self.level_variance = np.ones(shape)
        self.covariance = np.zeros(shape)
        self.slope_variance = np.where(_HAS_SLOPE, UNKNOWN_SLOPE, np.zeros(shape))
        self.sums = np.zeros((2, *shape))  # cumulative sums of misses upwards and downwards
        self.rows_in_sum = np.zeros((2, *shape))
        self.usual_miss_mm = np.ones(shape)
        self.readings = np.zeros(stations)  # shape (S,)

    def advance(self, values_mm: Floats) -> None:
        """Add one row of readings, shape (S,), NaN where nothing was observed."""
        observed = np.isfinite(values_mm)
        started = self.readings > 0.0
        first = observed & ~started
        self._predict(started)
        is_known = observed & started
        miss_mm = np.where(is_known, values_mm - self.level_mm, 0.0)
        self._detect_changes(miss_mm, is_known)
        self._correct(miss_mm, is_known)
        self.level_mm = np.where(first, values_mm, self.level_mm)
        self.readings = self.readings + observed

    def forecast(self, reaches: Floats) -> Floats:
        """Return mm for so many rows after the newest row, reaches (R, 1, 1), result (R, lines, S)."""
        level_mm = np.where(self.readings >= FEWEST_READINGS, self.level_mm, np.nan)
        return np.asarray(level_mm + self.slope * reaches)

    def _predict(self, started: np.ndarray) -> None:
        """Move level and variances to the next row, also where nothing was observed."""
        self.level_mm = self.level_mm + self.slope
        # The variances of a station without a reading keep their initial values.
        covariance = self.covariance + self.slope_variance
        level_variance = self.level_variance + self.covariance + covariance
        self.level_variance = np.where(started, level_variance, self.level_variance)
        self.covariance = np.where(started, covariance, self.covariance)
        self.slope_variance = self.slope_variance + np.where(started, _SLOPE_NOISE, 0.0)

    def _detect_changes(self, miss_mm: Floats, is_known: np.ndarray) -> None:
        """Update the cumulative sums and raise the variances of the lines whose motion has changed."""
        spread = np.sqrt(self.level_variance + 1.0)
        relative = miss_mm / (spread * self.usual_miss_mm)
        # The first reading of a station is no miss.
        misses = np.maximum(self.readings - 1.0, 0.0)
        judged = is_known & (misses >= FEWEST_MISSES)
        grown = np.maximum(self.sums + np.stack([relative, -relative]) - ALLOWANCE, 0.0)
        self.sums = np.where(judged, grown, self.sums)
        self.rows_in_sum = np.where(self.sums > 0.0, self.rows_in_sum + judged, 0.0)
        changed = (self.sums > LIMIT).any(axis=0)
        rows = np.maximum(np.where(self.sums[0] > self.sums[1], self.rows_in_sum[0], self.rows_in_sum[1]), 1.0)
        rows = np.where(_DETECTS_STOP & (np.abs(relative) > LIMIT), 1.0, rows)
        jump = np.where(changed, np.minimum(np.abs(miss_mm) / self.usual_miss_mm, LARGEST_JUMP), 0.0)
        self.sums = np.where(changed, 0.0, self.sums)
        self.rows_in_sum = np.where(changed, 0.0, self.rows_in_sum)
        self._average_misses(relative, is_known, judged, misses)
        # A single large miss is a step or the first row of a new velocity. Only where the motion slows down is it taken
        # for a new velocity at once: a step taken for a velocity would be carried far ahead.
        slows = miss_mm * self.slope < 0.0
        within_slope = np.abs(miss_mm) <= np.abs(self.slope) + 3.0 * self.usual_miss_mm
        stops = _DETECTS_STOP & (rows == 1.0) & slows & within_slope
        self.level_variance = self.level_variance + np.square(jump)
        self.covariance = self.covariance + np.where(stops, np.square(jump), 0.0)
        self.slope_variance = self.slope_variance + np.where(_FORGETS_SLOPE, np.square(jump / rows), 0.0)

    def _average_misses(self, relative: Floats, is_known: np.ndarray, judged: np.ndarray, misses: Floats) -> None:
        share = is_known / np.minimum(misses + 1.0, USUAL_MISSES)
        # The mean |miss| of normal noise is sqrt(2 / pi) standard deviations. A change says nothing about the noise, so
        # a miss counts for three usual ones at most.
        newest = np.minimum(np.abs(relative), np.where(judged, 3.0, np.inf)) * self.usual_miss_mm * np.sqrt(np.pi / 2.0)
        self.usual_miss_mm = np.maximum((1.0 - share) * self.usual_miss_mm + share * newest, LEAST_MISS_MM)

    def _correct(self, miss_mm: Floats, is_known: np.ndarray) -> None:
        """Move level and slope towards the reading."""
        gain = is_known / (self.level_variance + 1.0)
        level_gain = self.level_variance * gain
        slope_gain = self.covariance * gain
        self.level_mm = self.level_mm + level_gain * miss_mm
        self.slope = self.slope + slope_gain * miss_mm
        self.slope_variance = self.slope_variance - slope_gain * self.covariance
        self.covariance = self.covariance - level_gain * self.covariance
        self.level_variance = self.level_variance - level_gain * self.level_variance
