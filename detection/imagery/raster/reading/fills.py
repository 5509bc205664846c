"""Find fill values that a file does not declare: numbers that programs use for "no value".

A number with the form of a fill, such as -9999, counts as a fill only if it is outside of the range of all other
numbers of its raster or stack, and far enough from them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Limits of 16 and 32 bits, short runs of nines, and other numbers that programs write for "no value".
FILL_NUMBERS: Final = frozenset(
    {
        *(-99.99, -32767.0, 32767.0, -32768.0, 65535.0),
        *(-2147483647.0, -2147483648.0, 2147483647.0, 4294967295.0),
        *(sign * number for number in (8888.0, 88888.0, 1e10, 1e15) for sign in (-1, 1)),
    }
)
_NINES: Final = re.compile(r"-?9{3,}(?:\.9*0*)?")  # -9999, 9999.9, 999.99
# No value of a quantity is so large, but fills are: 1e20, 9.97e36 and the limits of floating point.
HUGE: Final = 1e19
# Negative whole numbers have the form of a fill only until there are so many candidates: heights below the sea are many
# different numbers.
MOST_CANDIDATES: Final = 8
# A fill is farther from all other numbers than this many typical differences between neighbouring pixels.
LEAST_STEPS: Final = 5.0
STEPS_PX: Final = 1 << 18  # pixels of a part from which the typical difference is computed; larger parts are thinned
# If the quantity states no distance, a fill is farther than this share of the range from all other numbers.
LEAST_RANGE_SHARE: Final = 0.25


def has_fill_form(value: float, *, zero: bool = False, negative: bool = False) -> bool:
    """Return whether a number has the form of a fill, also after it was stored in 32 bits.

    Args:
        value: the number.
        zero: 0 has the form of a fill.
        negative: negative whole numbers have the form of a fill.

    >>> fills = (-9999.0, float(np.float32(-3.4028234663852886e38)), 9999.9, float(np.float32(-9999.9)), -999.99)
    >>> [has_fill_form(fill) for fill in fills]
    [True, True, True, True, True]
    >>> [has_fill_form(number) for number in (12.5, 99.9, -9990.0, 0.0, -99.0)]
    [False, False, False, False, False]
    >>> has_fill_form(0.0, zero=True), has_fill_form(-99.0, negative=True), has_fill_form(-99.5, negative=True)
    (True, True, False)
    """
    rounded = round(value, 4)
    is_nines = abs(rounded) < HUGE and _NINES.fullmatch(f"{rounded:.7g}") is not None
    if rounded in FILL_NUMBERS or is_nines or abs(value) >= HUGE or (zero and value == 0):
        return True
    return negative and value < 0 and value.is_integer()


@dataclass(slots=True)
class ValueStatistics:
    """Statistics of the numbers of a raster or stack, collected part by part."""

    zero_can_be_fill: bool = False  # whether 0 and negative whole numbers have the form of a fill
    low: float = np.inf  # smallest number that is no candidate for a fill
    high: float = -np.inf  # largest number that is no candidate for a fill
    # median difference between neighbours in a row, one for each part
    steps: list[float] = field(default_factory=list)
    # outermost numbers with the form of a fill -> count
    candidates: Counter[float] = field(default_factory=Counter)

    def add(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Add a part: its numbers, and which of them are valid."""
        numbers = values.ravel() if valid.all() else values[valid]
        # Numbers with the form of a fill are removed from both ends, until the outermost numbers have another form.
        while numbers.size:
            low, high = float(numbers.min()), float(numbers.max())
            negative = self.zero_can_be_fill and len(self.candidates) < MOST_CANDIDATES
            candidate = next(
                (end for end in (low, high) if has_fill_form(end, zero=self.zero_can_be_fill, negative=negative)), None
            )
            if candidate is None:
                self.low, self.high = min(self.low, low), max(self.high, high)
                break
            is_candidate = numbers == candidate
            self.candidates[candidate] += int(np.count_nonzero(is_candidate))
            numbers = numbers[~is_candidate]
        if values.ndim > 1 and values.shape[-1] > 1 and numbers.size:
            rows = slice(None, None, max(1, values.size // STEPS_PX))
            values, valid = values[rows], valid[rows]
            inside = valid & (values >= self.low) & (values <= self.high)
            both_inside = inside[..., 1:] & inside[..., :-1]
            if both_inside.any():
                steps = np.abs(np.diff(values.astype(np.float64, copy=False), axis=-1)[both_inside])
                self.steps.append(float(np.median(steps)))

    def find_fills(self, distance_least: float | None = None) -> dict[float, int]:
        """Return the fills with their counts, and include all other candidates in the range from `low` to `high`.

        Args:
            distance_least: a fill is farther than this from all other numbers; None: a share of their range.
        """
        if self.low > self.high:  # all numbers are candidates, so none of them is certain to be a fill
            self._include(self.candidates)
            return {}
        if distance_least is None:
            distance_least = LEAST_RANGE_SHARE * (self.high - self.low)
        step_distance = LEAST_STEPS * float(np.median(self.steps)) if self.steps else 0.0
        distance_least = max(step_distance, distance_least)
        for number in sorted(self.candidates, key=self._measure_distance):
            if self._measure_distance(number) <= distance_least:
                self._include((number,))
                del self.candidates[number]
        return dict(self.candidates)

    def _measure_distance(self, number: float) -> float:
        """Return how far a number is outside of the range from `low` to `high`."""
        return max(self.low - number, number - self.high)

    def _include(self, numbers: Iterable[float]) -> None:
        for number in numbers:
            self.low, self.high = min(self.low, number), max(self.high, number)
