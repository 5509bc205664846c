"""Find changes of the unit of a series: level and noise change by the same factor from one reading to the next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LENGTHS, CertainFault
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

# Largest difference between the ratio of the levels and the factor between two units, as a logarithm.
RATIO_ERROR: Final = 0.05
# Level and noise before a change are found from at most this many readings, and from at least half of them.
BEFORE: Final = 40
# Smallest jump, in multiples of the median difference between consecutive readings.
MIN_JUMP: Final = 20.0
# Smallest number of readings from which `is_as_before` finds the unit.
MIN_READINGS: Final = 5
# The ratio of the noise may be larger or smaller than the factor between two units by this factor.
NOISE_ERROR: Final = 1.7


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A change of the unit.

    Attributes:
        begin_s: Time of the first reading in the other unit, epoch seconds.
        found_s: Time of the reading with which the change was found, epoch seconds.
        factor: Level and noise after the change are this many times as large as before.
        level: Level of the readings before the change, in the unit of the series.
        noise: Noise of the readings before the change (`find_noise`), in the unit of the series.
    """

    begin_s: float
    found_s: float
    factor: float
    level: float
    noise: float


def find_unit_jumps(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[CertainFault]:
    """Return a finding for each change of the unit, at the reading with which the change was found."""
    return [
        CertainFault(change.found_s, "unit", f"level and noise are {change.factor:g} times as large: another unit?")
        for change in find_changes(series, factors)
    ]


def find_changes(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[UnitChange]:
    """Find readings from which on level and noise are larger or smaller by the factor between two units.

    In a series around zero, a change of the unit changes only the noise. The detector `rules` finds it.

    Args:
        factors: Number of readings that distinguish a change of the unit from a step of the ground, by factor between
            two units (a value of `records.FACTORS`).
    """
    index = np.flatnonzero(series.observed)
    values = series.values[index]
    # Median of the absolute differences before each reading; infinite if there are too few of them.
    steps = np.abs(np.diff(values))
    usual_steps = np.full(len(values), np.inf)
    if len(steps) >= BEFORE // 2:
        rows = np.lib.stride_tricks.sliding_window_view(steps, BEFORE // 2)
        usual_steps[BEFORE // 2 + 1 :] = np.maximum(np.median(rows, axis=1)[:-1], 1e-12)
    jumps = np.abs(np.diff(values, prepend=np.nan))
    changes: list[UnitChange] = []
    last_change = 0
    for k in np.flatnonzero(jumps > MIN_JUMP * usual_steps).tolist():
        before = values[max(last_change, k - BEFORE) : k]
        if len(before) < BEFORE // 2:
            continue
        for count, factor in list_attempts(factors):
            after = values[k : k + count]
            measured_factor = _find_factor(before, after, factor) if len(after) == count else 0.0
            if measured_factor:
                changes.append(
                    UnitChange(
                        begin_s=float(series.times_s[index[k]]),
                        found_s=float(series.times_s[index[k + count - 1]]),
                        factor=measured_factor,
                        level=float(np.median(before[-5:])),
                        noise=find_noise(before),
                    )
                )
                last_change = k
                break
    return changes


def list_attempts(factors: Mapping[float, int]) -> list[tuple[int, float]]:
    """Return the number of readings after a jump and the factor of each test, in the order of the tests.

    Each factor is tested again with twice as many readings, because by chance the noise of five readings is wrong by
    more than a factor of three in one of eight cases.

    >>> list_attempts({3.28: 20, 100.0: 5})
    [(5, 100.0), (10, 100.0), (20, 3.28), (40, 3.28)]
    """
    return sorted((multiple * count, factor) for factor, count in factors.items() for multiple in (1, 2))


def _find_factor(before: Array, after: Array, factor: float) -> float:
    """Return the factor or its inverse if both level and noise changed by it, else 0."""
    old_level = float(np.median(before[-5:]))
    new_level = float(np.median(after[:5]))
    old_noise = find_noise(before)
    new_noise = find_noise(after)
    if old_level * new_level <= 0 or old_noise <= 0 or new_noise <= 0:
        return 0.0
    # Near zero the noise affects the ratio of the levels, so only a large factor is unambiguous there.
    max_level_error = RATIO_ERROR if factor < 10.0 else float(np.clip(old_noise / abs(old_level), RATIO_ERROR, 0.2))
    max_noise_error = np.log(NOISE_ERROR if factor < 25.0 else 3.0)
    for candidate in (factor, 1.0 / factor):
        level_error = abs(np.log(new_level / old_level / candidate))
        noise_error = abs(np.log(new_noise / old_noise / candidate))
        if level_error < max_level_error and noise_error < max_noise_error:
            return candidate
    return 0.0


def is_as_before(values: Sequence[float], change: UnitChange) -> bool:
    """Return whether level and noise of readings are closer to those before a change than to those after it.

    Fewer readings are needed than to find a change, because its factor is known. With fewer than `MIN_READINGS` the
    result is false.
    """
    if len(values) < MIN_READINGS:
        return False
    readings = np.array(values)
    ratios = (np.median(readings) / change.level, find_noise(readings) / change.noise)
    logarithms = [math.log(ratio) for ratio in ratios if ratio > 0]
    change_logarithm = math.log(change.factor)
    return sum(map(abs, logarithms)) < sum(abs(value - change_logarithm) for value in logarithms)


def find_noise(values: Array) -> float:
    """Return the median of the absolute second differences of at least three values.

    Motion at a constant rate does not change it.
    """
    return float(np.median(np.abs(np.diff(values, 2))))
