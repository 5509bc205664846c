"""Readings that are another unit's from one reading to the next: level and noise grow by the same factor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LENGTHS, CertainFault
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

RATIO_ERROR: Final = 0.05
BEFORE: Final = 40
CLEAR: Final = 20.0  # a jump is many times the usual difference of neighbours
FEWEST: Final = 5  # readings that are judged by a known factor
NOISE_ERROR: Final = 1.7  # the noise follows the factor this closely, either way


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A change of the unit."""

    begin_s: float  # its first reading
    at_s: float  # the reading that made it certain
    times: float  # so many times as large are readings after it
    level: float  # of the readings before it
    noise: float  # of them, see `find_noise`


def find_unit_jumps(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[CertainFault]:
    """One finding per change (`find_changes`), at the reading that made it certain."""
    return [
        CertainFault(one.at_s, "unit", f"level and noise are {one.times:g} times as large: another unit?")
        for one in find_changes(series, factors)
    ]


def find_changes(series: Series, factors: Mapping[float, int] = LENGTHS) -> list[UnitChange]:
    """Readings whose level and noise became so many times as large, or as small, as units differ (`units`).

    A series that stands at zero has no level to grow: there it is `noise` that alarms.
    """
    index = np.flatnonzero(series.observed)
    values = series.values[index]
    # median of the sizes of the differences before each reading, infinite where too few are known
    steps = np.abs(np.diff(values))
    out = np.full(len(values), np.inf)
    if len(steps) >= BEFORE // 2:
        rows = np.lib.stride_tricks.sliding_window_view(steps, BEFORE // 2)
        out[BEFORE // 2 + 1 :] = np.maximum(np.median(rows, axis=1)[:-1], 1e-12)
    usual = out
    jumps = np.abs(np.diff(values, prepend=np.nan))
    found, last = list[UnitChange](), 0
    for k in np.flatnonzero(jumps > CLEAR * usual).tolist():
        before = values[max(last, k - BEFORE) : k]
        if len(before) < BEFORE // 2:
            continue
        for enough, factor in list_looks(factors):
            after = values[k : k + enough]
            if len(after) == enough and (times := _find_factor(before, after, factor)):
                begin, certain = index[[k, k + enough - 1]]
                found.append(
                    UnitChange(
                        float(series.times_s[begin]),
                        float(series.times_s[certain]),
                        times,
                        float(np.median(before[-5:])),
                        find_noise(before),
                    )
                )
                last = k
                break
    return found


def list_looks(factors: Mapping[float, int]) -> list[tuple[int, float]]:
    """After how many readings each factor is looked for, the soonest first: once more at twice as many.

    The noise of five readings is off by more than a factor of three in one case of eight, by chance.

    >>> list_looks({3.28: 20, 100.0: 5})
    [(5, 100.0), (10, 100.0), (20, 3.28), (40, 3.28)]
    """
    return sorted((times * enough, factor) for factor, enough in factors.items() for times in (1, 2))


def _find_factor(before: Array, after: Array, factor: float) -> float:
    """The factor, or one over it, by which both level and noise changed; 0 where neither fits."""
    old, new = float(np.median(before[-5:])), float(np.median(after[:5]))
    was, now = find_noise(before), find_noise(after)
    if old * new <= 0 or was <= 0 or now <= 0:
        return 0.0
    for times in (factor, 1.0 / factor):
        level, noise = abs(np.log(new / old / times)), abs(np.log(now / was / times))
        # near zero the noise blurs the ratio of the levels; only a large factor leaves no doubt there
        level_error = RATIO_ERROR if factor < 10.0 else float(np.clip(was / abs(old), RATIO_ERROR, 0.2))
        if level < level_error and noise < np.log(NOISE_ERROR if factor < 25.0 else 3.0):
            return times
    return 0.0


def is_as_before(values: Sequence[float], change: UnitChange) -> bool:
    """Whether the level and noise of some readings are nearer to those before a change than to those after it.

    The factor is known here: fewer signs tell than a check needs that knows nothing.
    """
    if len(values) < FEWEST:
        return False
    known = np.array(values)
    signs = [math.log(one) for one in (np.median(known) / change.level, find_noise(known) / change.noise) if one > 0]
    factor = math.log(change.times)
    return sum(abs(one) for one in signs) < sum(abs(one - factor) for one in signs)


def find_noise(values: Array) -> float:
    """The median size of second differences: motion is no noise. At least three values."""
    return float(np.median(np.abs(np.diff(values, 2))))
