"""Fill values that a file does not declare: numbers that programs use for "no value", far from all other numbers.

A number with the form of a fill is one only if it lies outside of the range of all other numbers of its raster or
stack, and far enough from them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Limits of 16 and 32 bits, short runs of nines, and other numbers that programs write for "no value".
NUMBERS: Final = frozenset(
    {
        *(-99.99, -32767.0, 32767.0, -32768.0, 65535.0),
        *(-2147483647.0, -2147483648.0, 2147483647.0, 4294967295.0),
        *(sign * number for number in (8888.0, 88888.0, 1e10, 1e15) for sign in (-1, 1)),
    }
)
_NINES: Final = re.compile(r"-?9{3,}(?:\.9*0*)?")  # -9999, 9999.9, 999.99
HUGE: Final = 1e19  # no quantity reaches it, but fills do: 1e20, 9.97e36 and the limits of floating point
# Negative whole numbers count as candidates up to this number of candidates, because heights below the sea are many.
MOST_CANDIDATES: Final = 8
# A fill is at least this many typical steps between neighbours away from all other numbers.
LEAST_STEPS: Final = 5.0
STEPS_PX: Final = 1 << 18  # pixels of a part from which the typical step is computed; of larger parts only some rows
# If the quantity states no distance, a fill is at least this share of the range away from all other numbers.
LEAST_RANGE_SHARE: Final = 0.25


def is_fill(value: float, *, zero: bool = False, below: bool = False) -> bool:
    """Return whether a number has the form of a fill, also after it was stored in 32 bits.

    Args:
        zero: 0 counts as a fill.
        below: negative whole numbers count as fills.

    >>> is_fill(-9999.0), is_fill(float(np.float32(-3.4028234663852886e38))), is_fill(12.5), is_fill(0.0, zero=True)
    (True, True, False, True)
    >>> is_fill(9999.9), is_fill(float(np.float32(-9999.9))), is_fill(-999.99), is_fill(99.9), is_fill(-9990.0)
    (True, True, True, False, False)
    >>> is_fill(-99.0), is_fill(-99.0, below=True), is_fill(-99.5, below=True)
    (False, True, False)
    """
    rounded = round(value, 4)
    is_nines = abs(rounded) < HUGE and _NINES.fullmatch(f"{rounded:.7g}") is not None
    if rounded in NUMBERS or is_nines or abs(value) >= HUGE or (zero and value == 0):
        return True
    return below and value < 0 and value.is_integer()


@dataclass(slots=True)
class ValueStatistics:
    """Statistics of the numbers of a raster or stack, collected part by part."""

    zero: bool = False  # whether 0 and negative whole numbers can be fills
    low: float = np.inf  # smallest number that is no candidate
    high: float = -np.inf  # largest number that is no candidate
    steps: list[float] = field(default_factory=list)  # median step between neighbours of a row, one for each part
    candidates: Counter[float] = field(default_factory=Counter)  # outermost numbers with the form of a fill -> count

    def feed(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Add a part: its numbers, and which of them are valid."""
        numbers = values.ravel() if valid.all() else values[valid]
        # Numbers with the form of a fill are removed from both ends, until the outermost numbers have another form.
        while numbers.size:
            low, high = float(numbers.min()), float(numbers.max())
            below = self.zero and len(self.candidates) < MOST_CANDIDATES
            candidate = next((end for end in (low, high) if is_fill(end, zero=self.zero, below=below)), None)
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

    def find_fills(self, apart: float | None = None) -> dict[float, int]:
        """Return the fills with their counts; all other candidates become part of the range of values.

        Args:
            apart: distance of a fill from all other numbers; None: a share of their range.
        """
        if self.low > self.high:  # only candidates, of which any can be a value
            self._include(self.candidates)
            return {}
        distance = LEAST_STEPS * float(np.median(self.steps)) if self.steps else 0.0
        distance = max(distance, LEAST_RANGE_SHARE * (self.high - self.low) if apart is None else apart)
        for number in sorted(self.candidates, key=lambda number: max(self.low - number, number - self.high)):
            if max(self.low - number, number - self.high) <= distance:
                self._include((number,))
                del self.candidates[number]
        return dict(self.candidates)

    def _include(self, numbers: Iterable[float]) -> None:
        for number in numbers:
            self.low, self.high = min(self.low, number), max(self.high, number)
