"""Numbers that stand for no value although nobody says so: known by their look, and by standing alone.

A number of the list is one only where it lies outside of all others of its raster or stack, and well away from them.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Ends of 16 and 32 bits, short nines, and other numbers that programs write for "no value".
NUMBERS: Final = frozenset(
    {
        *(-99.99, -32767.0, 32767.0, -32768.0, 65535.0),
        *(-2147483647.0, -2147483648.0, 2147483647.0, 4294967295.0),
        *(sign * number for number in (8888.0, 88888.0, 1e10, 1e15) for sign in (-1, 1)),
    }
)
_NINES: Final = re.compile(r"-?9{3,}(?:\.9*0*)?")  # -9999, 9999.9, 999.99
HUGE: Final = 1e19  # 1e20, 9.97e36 and the ends of floating point: no quantity reaches them
ENDS_MOST: Final = 8  # of whole numbers below 0: heights below the sea are many of them
STEPS: Final = 5.0  # typical steps between neighbours that a fill lies away from all others
STEPS_PX: Final = 1 << 18  # numbers of a part of which steps are taken: row for row among more
RANGE_SHARE: Final = 0.25  # and of the range of all others, where the quantity says no distance of its own


def is_fill(value: float, *, zero: bool = False, below: bool = False) -> bool:
    """Whether a number looks like a fill; one that was packed into 32 bits too.

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
    """What the numbers of a raster or stack are, fed part by part."""

    zero: bool = False  # whether 0 can be a fill, where all others lie on one side of it, or a whole number below it
    low: float = np.inf  # the least of those that do not look like fills
    high: float = -np.inf  # the greatest
    steps: list[float] = field(default_factory=list)  # typical steps between neighbours of a row, one a part
    ends: Counter[float] = field(default_factory=Counter)  # numbers at the ends that look like fills -> how many

    def feed(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Look at a part: numbers, and which of them are values."""
        rest = values.ravel() if valid.all() else values[valid]
        while rest.size:
            low, high = float(rest.min()), float(rest.max())
            below = self.zero and len(self.ends) < ENDS_MOST
            end = next((one for one in (low, high) if is_fill(one, zero=self.zero, below=below)), None)
            if end is None:
                self.low, self.high = min(self.low, low), max(self.high, high)
                break
            same = rest == end
            self.ends[end] += int(np.count_nonzero(same))
            rest = rest[~same]
        if values.ndim > 1 and values.shape[-1] > 1 and rest.size:
            every = slice(None, None, max(1, values.size // STEPS_PX))
            values, valid = values[every], valid[every]
            inside = valid & (values >= self.low) & (values <= self.high)
            near = inside[..., 1:] & inside[..., :-1]
            if near.any():
                plain = values.astype(np.float64, copy=False)
                self.steps.append(float(np.median(np.abs(np.diff(plain, axis=-1)[near]))))

    def find_fills(self, apart: float | None = None) -> dict[float, int]:
        """Fills -> how many; what looks like one and lies among the others counts among them from then on.

        `apart`: how far away from all others a fill lies at least; None: a share of their range.
        """
        if self.low > self.high:  # nothing but ends: nobody can say which of them are values
            self._take(self.ends)
            return {}
        least = STEPS * float(np.median(self.steps)) if self.steps else 0.0
        least = max(least, RANGE_SHARE * (self.high - self.low) if apart is None else apart)
        for end in sorted(self.ends, key=lambda one: max(self.low - one, one - self.high)):
            if max(self.low - end, end - self.high) <= least:
                self._take((end,))
                del self.ends[end]
        return dict(self.ends)

    def _take(self, ends: Any) -> None:
        for end in ends:
            self.low, self.high = min(self.low, end), max(self.high, end)
