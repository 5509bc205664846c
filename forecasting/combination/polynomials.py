"""Last value, means, straight lines, fading lines and parabolas with exponential forgetting.

Each of them is a weighted least squares fit in closed form. The weight of a reading falls by a constant factor with
every later reading, while distances in time are counted in rows, so that gaps change neither the fit of a line nor its
slope. The sums that a fit needs are updated recursively: a row costs the same however long the record is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats

# Number of readings that a fit effectively uses once the record is long.
MEMORIES: Final = (1.1, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

# Readings before a fit forecasts: a line through two and a parabola through three readings follow their noise alone.
MEAN_READINGS: Final = 2
LINE_READINGS: Final = 3
PARABOLA_READINGS: Final = 6

# Times of readings whose weighted scatter (rows²) is smaller than this are one instant: no slope can be computed.
LEAST_SCATTER: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Curves:
    """Fits at the newest reading of each station. Arrays have shape (memories, stations) unless noted."""

    newest_mm: Floats  # newest reading, shape (S,)
    age: Floats  # rows since the newest reading, shape (S,)
    readings: Floats  # readings so far, shape (S,)
    effective: Floats  # sum of the weights: readings that the fit effectively uses
    mean_mm: Floats
    mean_age: Floats  # weighted mean age of the readings at the newest one, rows
    level_mm: Floats  # straight line at the newest reading
    slope: Floats  # of the straight line, mm per row
    bent_level_mm: Floats  # parabola at the newest reading
    bent_slope: Floats  # of the parabola at the newest reading, mm per row
    bend: Floats  # of the parabola, mm per row²

    def take(self, first: int, end: int) -> "Curves":
        """Return the fits of the columns from `first` to `end`, `end` excluded."""
        return Curves(*(getattr(self, field.name)[..., first:end] for field in fields(self)))


class Polynomials(ArrayState):
    """Weighted sums of the readings of every station for several memories."""

    state_names: ClassVar = ("sums", "newest_mm", "age", "readings")

    def __init__(self, stations: int, memories: Sequence[float] = MEMORIES) -> None:
        self.memories = tuple(memories)
        self._keep = 1.0 - 1.0 / np.array(memories)[:, None]
        # Sums of weight * x^k for k = 0..4 and of weight * x^k * y for k = 0..2. The newest reading is x = 0, y = 0.
        self.sums = np.zeros((8, len(memories), stations))
        self.newest_mm = np.full(stations, np.nan)
        self.age = np.full(stations, np.inf)
        self.readings = np.zeros(stations)

    def advance(self, values_mm: Floats) -> None:
        """Add one row of readings, shape (S,), NaN where nothing was observed."""
        observed = np.isfinite(values_mm)
        self.age = self.age + 1.0
        first = observed & (self.readings == 0.0)
        gap = np.where(observed & ~first, self.age, 0.0)
        rise = np.where(observed & ~first, values_mm - self.newest_mm, 0.0)
        moved = self._keep * _move_origin(self.sums, gap, rise)
        moved[0] += 1.0
        self.sums = np.where(observed, moved, self.sums)
        self.newest_mm = np.where(observed, values_mm, self.newest_mm)
        self.age = np.where(observed, 0.0, self.age)
        self.readings = self.readings + observed

    def fit(self) -> Curves:
        """Return the fits to the readings so far; NaN where there are too few."""
        s0, s1, s2, s3, s4, t0, t1, t2 = self.sums
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = s1 / s0, t0 / s0
            # Moments about the weighted mean time: `m` of the times, `c` of times and values.
            m2 = s2 / s0 - x * x
            m3 = s3 / s0 - x * (3.0 * s2 / s0 - 2.0 * x * x)
            m4 = s4 / s0 - x * (4.0 * s3 / s0 - x * (6.0 * s2 / s0 - 3.0 * x * x))
            c1 = t1 / s0 - x * y
            c2 = t2 / s0 - x * (2.0 * t1 / s0 - x * y) - m2 * y
            m2 = np.where(m2 > LEAST_SCATTER, m2, np.nan)
            slope = c1 / m2
            excess = m4 - m2 * m2
            determinant = m2 * excess - m3 * m3
            determinant = np.where(determinant > LEAST_SCATTER * m2 * m4, determinant, np.nan)
            steepness = (c1 * excess - c2 * m3) / determinant
            curvature = (m2 * c2 - m3 * c1) / determinant
        has_mean = self.readings >= MEAN_READINGS
        has_line = self.readings >= LINE_READINGS
        has_parabola = self.readings >= PARABOLA_READINGS
        newest = self.newest_mm
        return Curves(
            newest_mm=newest,
            age=self.age,
            readings=self.readings,
            effective=s0,
            mean_mm=np.where(has_mean, newest + y, np.nan),
            mean_age=-x,
            level_mm=np.where(has_line, newest + y - slope * x, np.nan),
            slope=np.where(has_line, slope, np.nan),
            bent_level_mm=np.where(has_parabola, newest + y - steepness * x + curvature * (x * x - m2), np.nan),
            bent_slope=np.where(has_parabola, steepness - 2.0 * curvature * x, np.nan),
            bend=np.where(has_parabola, 2.0 * curvature, np.nan),
        )


def _move_origin(sums: Floats, gap: Floats, rise: Floats) -> Floats:
    """Return the sums about an origin `gap` rows later and `rise` mm higher, each of shape (S,)."""
    s0, s1, s2, s3, s4, t0, t1, t2 = sums
    t0 = t0 - rise * s0
    t1 = t1 - rise * s1
    t2 = t2 - rise * s2
    out = np.empty(sums.shape)
    out[0] = s0
    out[1] = s1 - gap * s0
    out[2] = s2 - gap * (2.0 * s1 - gap * s0)
    out[3] = s3 - gap * (3.0 * s2 - gap * (3.0 * s1 - gap * s0))
    out[4] = s4 - gap * (4.0 * s3 - gap * (6.0 * s2 - gap * (4.0 * s1 - gap * s0)))
    out[5] = t0
    out[6] = t1 - gap * t0
    out[7] = t2 - gap * (2.0 * t1 - gap * t0)
    return out


# ---- forecasts from the fits ----------------------------------------------------------------------------------------
# Each function takes rows from the newest reading to the target, shape (R, 1, S), and returns mm, shape (R, M, S).
def extend_means(curves: Curves, ahead: Floats) -> Floats:
    """Continue each mean as a constant."""
    return np.broadcast_to(curves.mean_mm, (ahead.shape[0], *curves.mean_mm.shape))


def extend_lines(curves: Curves, ahead: Floats) -> Floats:
    """Continue each straight line."""
    return np.asarray(curves.level_mm + curves.slope * ahead)


def extend_newest(curves: Curves, ahead: Floats) -> Floats:
    """Continue from the newest reading with the slope of each straight line."""
    return np.asarray(curves.newest_mm + curves.slope * ahead)


def extend_mean(curves: Curves, ahead: Floats, position: int, damping: float) -> Floats:
    """Continue from one mean with a share of the slope of each straight line.

    Args:
        curves: The fits.
        ahead: Rows from the newest reading to the target.
        position: Position of the memory of the mean.
        damping: Share of the slope that lasts after the newest reading.
    """
    level_mm = curves.mean_mm[position] + curves.slope * curves.mean_age[position]
    return np.asarray(level_mm + damping * curves.slope * ahead)


def extend_fading_lines(curves: Curves, ahead: Floats) -> Floats:
    """Continue each straight line with a slope that fades over as many rows as the line was observed."""
    return np.asarray(curves.level_mm - curves.slope * curves.effective * np.expm1(-ahead / curves.effective))


def extend_parabolas(curves: Curves, ahead: Floats) -> Floats:
    """Continue each parabola, its acceleration only for as long as it was observed.

    The acceleration also lasts no longer than the motion that it made from rest, and no longer than it takes to bring
    the motion to rest: a slide that slows down is not forecast to run back.
    """
    speed = np.abs(curves.bent_slope)
    bend = np.abs(curves.bend)
    is_shorter = speed < curves.effective * bend
    lasting = np.where(is_shorter, speed / np.where(is_shorter, bend, 1.0), curves.effective)
    lasting = np.minimum(np.maximum(lasting, 1.0), ahead)
    return np.asarray(
        curves.bent_level_mm + curves.bent_slope * ahead + curves.bend * lasting * (ahead - 0.5 * lasting)
    )
