"""Offset between a sensor and the one that replaced it, for a person to confirm.

The levels just before and just after the work differ by the offset and by the motion of the ground meanwhile. The
motion at the usual velocity is subtracted from the offset and reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum, hypot, sqrt
from statistics import median
from typing import Final

from forecasting.kinematics.noise import MAD_TO_SIGMA
from forecasting.kinematics.velocity import DAY_S
from forecasting.reasons import Reason

# Readings of one side: for its level, for its velocity, and at most (the nearest ones).
MIN_READINGS: Final = 3
MIN_READINGS_OF_RATE: Final = 6
MAX_READINGS: Final = 60
# A quantity is clear of the noise if it exceeds so many of its standard errors.
CLEAR_ERRORS: Final = 3.0
# Standard error of a median, in those of a mean.
MEDIAN_ERROR: Final = 1.2533
# Factors between units that people confuse, and the relative deviation from such a factor.
UNIT_FACTORS: Final = (1000.0, 304.8, 100.0, 25.4, 10.0, 9.80665)
FACTOR_TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Side:
    """A sensor next to the work: its level and its velocity at its nearest reading."""

    at_s: float
    level: float
    error: float
    rate_per_day: float | None  # None for too few readings
    rate_error_per_day: float
    count: int


@dataclass(frozen=True, slots=True)
class ProposedOffset:
    """The offset of the new sensor, in the unit of the series."""

    at_s: float  # first reading of the new sensor
    size: float  # level of the new sensor minus that of the old one, without the motion meanwhile
    error: float  # one standard deviation
    motion: float  # motion of the ground between the two readings, which stays in the record
    motion_error: float  # one standard deviation of it; included in `error`
    gap_s: float  # between the last reading before the work and the first one after it
    counts: tuple[int, int]  # readings used, before and after
    doubts: tuple[Reason, ...] = ()  # what an offset does not correct

    @property
    def is_needed(self) -> bool:
        """Whether the levels differ by more than noise."""
        return abs(self.size) > CLEAR_ERRORS * self.error


def propose_offset(
    times_s: Sequence[float], values: Sequence[float], from_s: float, to_s: float, noise: float = 0.0
) -> ProposedOffset | Reason:
    """Return the offset to subtract from the readings of a new sensor, or the reason why it cannot be measured.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings, shape (n,).
        from_s: Start of the work. Earlier readings are those of the old sensor.
        to_s: End of the work. Readings from then on are those of the new sensor.
        noise: Smallest standard deviation of a reading, in the unit of the readings.

    >>> days = [DAY_S * k for k in range(40)]
    >>> offset = propose_offset(days, [0.5 * k + 12.0 * (k >= 20) for k in range(40)], 20 * DAY_S, 20 * DAY_S)
    >>> round(offset.size, 6), round(offset.motion, 6)
    (12.0, 0.5)
    """
    readings = list(zip(times_s, values, strict=True))
    old = [reading for reading in readings if reading[0] < from_s][-MAX_READINGS:]
    new = [reading for reading in readings if reading[0] >= to_s][:MAX_READINGS]
    if len(old) < MIN_READINGS:
        return Reason("replaced.before", {"n": len(old)})
    if len(new) < MIN_READINGS:
        return Reason("replaced.after", {"n": len(new), "least": MIN_READINGS})
    before = _fit_side(old, old[-1][0], noise)
    after = _fit_side(new, new[0][0], noise)
    gap_s = after.at_s - before.at_s
    gap_days = gap_s / DAY_S
    rates = [side.rate_per_day for side in (before, after) if side.rate_per_day is not None]
    rate = fsum(rates) / len(rates) if rates else 0.0
    difference = max(rates) - min(rates) if rates else 0.0
    rate_error = hypot(before.rate_error_per_day, after.rate_error_per_day) / max(1, len(rates))
    motion = rate * gap_days
    motion_error = max(rate_error, difference / 2.0) * gap_days
    doubts = _find_doubts(before, after)
    if not rates:
        doubts.append(Reason("replaced.no_pace"))
    return ProposedOffset(
        after.at_s,
        after.level - before.level - motion,
        sqrt(before.error**2 + after.error**2 + motion_error**2),
        motion,
        motion_error,
        gap_s,
        (before.count, after.count),
        tuple(doubts),
    )


def _fit_side(readings: Sequence[tuple[float, float]], edge_s: float, noise: float) -> Side:
    """Fit the level and the velocity of a sensor at its reading nearest to the work, both by medians."""
    days = [(at_s - edge_s) / DAY_S for at_s, _ in readings]
    values = [value for _, value in readings]
    count = len(readings)
    rate = None
    if count >= MIN_READINGS_OF_RATE:
        pairs = combinations(range(count), 2)
        rate = median((values[k] - values[i]) / (days[k] - days[i]) for i, k in pairs)
    detrended = [value - (rate or 0.0) * day for value, day in zip(values, days, strict=True)]
    level = median(detrended)
    sigma = max(MAD_TO_SIGMA * median(abs(value - level) for value in detrended), noise)
    error = MEDIAN_ERROR * sigma / sqrt(count)
    if rate is None:
        return Side(edge_s, level, error, None, 0.0, count)
    rate_error = MEDIAN_ERROR * sigma * sqrt(12.0 / count) / (days[-1] - days[0])
    # At the end of a line the error is twice that in its middle.
    return Side(edge_s, level, 2.0 * error, rate, rate_error, count)


def _find_doubts(before: Side, after: Side) -> list[Reason]:
    """Return whether the new sensor seems to have another sign or another unit."""
    old_rate, new_rate = before.rate_per_day, after.rate_per_day
    are_rates_clear = all(
        side.rate_per_day is not None and abs(side.rate_per_day) > CLEAR_ERRORS * side.rate_error_per_day
        for side in (before, after)
    )
    if are_rates_clear and old_rate is not None and new_rate is not None:
        if old_rate * new_rate < 0.0 and abs(old_rate + new_rate) < max(abs(old_rate), abs(new_rate)) / 2.0:
            return [Reason("replaced.turned")]
        factor = _find_unit_factor(new_rate / old_rate)
        if factor is not None:
            return [Reason("replaced.factor", {"what": Reason("replaced.pace"), "factor": factor})]
    are_levels_clear = all(abs(side.level) > 10.0 * CLEAR_ERRORS * side.error for side in (before, after))
    if are_levels_clear and not are_rates_clear:
        factor = _find_unit_factor(after.level / before.level)
        if factor is not None:
            return [Reason("replaced.factor", {"what": Reason("replaced.level"), "factor": factor})]
    return []


def _find_unit_factor(ratio: float) -> float | None:
    """Return the factor between two units that a ratio is close to; None if there is none."""
    for factor in UNIT_FACTORS:
        for candidate in (factor, 1.0 / factor):
            if abs(abs(ratio) / candidate - 1.0) < FACTOR_TOLERANCE:
                return candidate
    return None
