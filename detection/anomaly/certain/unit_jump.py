"""Find changes of the unit of a series: level and noise change by the same factor from one reading to the next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LENGTHS, CertainFault
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

# Largest error of the ratio of levels, as a logarithm.
RATIO_ERROR: Final = 0.05
# Readings before a change that are used.
BEFORE: Final = 40
# Smallest jump in multiples of the usual difference between readings.
CLEAR: Final = 20.0
# Readings that show whether a known change has ended.
MIN_READINGS: Final = 5
# The ratio of the noise may differ from the factor by this, either way.
NOISE_ERROR: Final = 1.7


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A change of the unit.

    Attributes:
        begin_s: Time of the first reading in the other unit, epoch seconds.
        at_s: Time of the reading that proved the change.
        times: Factor of the readings after it.
        level: Level of the readings before it.
        noise: Noise of the readings before it (`find_noise`).
    """

    begin_s: float
    at_s: float
    times: float
    level: float
    noise: float


def find_unit_jumps(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[CertainFault]:
    """Return a finding for each change of the unit, at the reading that proved it."""
    return [
        CertainFault(change.at_s, "unit", f"level and noise are {change.times:g} times as large: another unit?")
        for change in find_changes(series, factors)
    ]


def find_changes(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[UnitChange]:
    """Find readings from which on level and noise are larger or smaller by a factor between two units.

    A series around zero has no level that could change. Its change of unit is found as noise by `rules`.

    Args:
        factors: Factors between units, with the readings that each needs (`FACTORS`).
    """
    index = np.flatnonzero(series.observed)
    values = series.values[index]
    # The median size of the differences before each reading; infinite if there are too few.
    steps = np.abs(np.diff(values))
    usual = np.full(len(values), np.inf)
    if len(steps) >= BEFORE // 2:
        rows = np.lib.stride_tricks.sliding_window_view(steps, BEFORE // 2)
        usual[BEFORE // 2 + 1 :] = np.maximum(np.median(rows, axis=1)[:-1], 1e-12)
    jumps = np.abs(np.diff(values, prepend=np.nan))
    changes, last = list[UnitChange](), 0
    for k in np.flatnonzero(jumps > CLEAR * usual).tolist():
        before = values[max(last, k - BEFORE) : k]
        if len(before) < BEFORE // 2:
            continue
        for count, factor in list_attempts(factors):
            after = values[k : k + count]
            times = _find_factor(before, after, factor) if len(after) == count else 0.0
            if times:
                changes.append(
                    UnitChange(
                        begin_s=float(series.times_s[index[k]]),
                        at_s=float(series.times_s[index[k + count - 1]]),
                        times=times,
                        level=float(np.median(before[-5:])),
                        noise=find_noise(before),
                    )
                )
                last = k
                break
    return changes


def list_attempts(factors: Mapping[float, int]) -> list[tuple[int, float]]:
    """Return after how many readings each factor is tested, the first test first.

    Each factor is tested again with twice as many readings, because by chance the noise of five readings is wrong by
    more than a factor of three in one of eight cases.

    >>> list_attempts({3.28: 20, 100.0: 5})
    [(5, 100.0), (10, 100.0), (20, 3.28), (40, 3.28)]
    """
    return sorted((times * count, factor) for factor, count in factors.items() for times in (1, 2))


def _find_factor(before: Array, after: Array, factor: float) -> float:
    """Return the factor or its inverse if both level and noise changed by it, else 0."""
    old, new = float(np.median(before[-5:])), float(np.median(after[:5]))
    old_noise, new_noise = find_noise(before), find_noise(after)
    if old * new <= 0 or old_noise <= 0 or new_noise <= 0:
        return 0.0
    for times in (factor, 1.0 / factor):
        level, noise = abs(np.log(new / old / times)), abs(np.log(new_noise / old_noise / times))
        # Near zero the noise affects the ratio of the levels, so only a large factor is unambiguous there.
        level_error = RATIO_ERROR if factor < 10.0 else float(np.clip(old_noise / abs(old), RATIO_ERROR, 0.2))
        if level < level_error and noise < np.log(NOISE_ERROR if factor < 25.0 else 3.0):
            return times
    return 0.0


def is_as_before(values: Sequence[float], change: UnitChange) -> bool:
    """Return whether level and noise of some readings are closer to those before a change than to those after it.

    The factor is known here, so fewer readings are needed than to find a change.
    """
    if len(values) < MIN_READINGS:
        return False
    readings = np.array(values)
    ratios = (np.median(readings) / change.level, find_noise(readings) / change.noise)
    logarithms = [math.log(ratio) for ratio in ratios if ratio > 0]
    factor = math.log(change.times)
    return sum(abs(value) for value in logarithms) < sum(abs(value - factor) for value in logarithms)


def find_noise(values: Array) -> float:
    """Return the median size of second differences, in which motion has no effect; of at least three values."""
    return float(np.median(np.abs(np.diff(values, 2))))
