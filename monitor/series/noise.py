"""How much a series scatters by itself, robustly from the differences of neighbours: over its length, and lately."""

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Final

from monitor.series.vectors import Vector

EPOCHS: Final = 8  # fewer say nothing of a series' own scatter
LATELY: Final = 16  # newest differences: one that begins to scatter is asked about for days, not until half of all do


class Scatter:
    """Differences of neighbours by axis, in order of size; measured as often as somebody asks."""

    def __init__(self, axes: int = 0) -> None:
        self._steps: list[list[float]] = [[] for _ in range(axes)]
        self._news: list[list[float]] = [[] for _ in range(axes)]

    def note(self, before: Vector, after: Vector) -> None:
        """Take one more difference."""
        for news, a, b in zip(self._news, before, after, strict=True):
            news.append(b - a)

    def measure(self) -> Vector:
        """One standard deviation by axis, from all differences noted so far."""
        for steps, news in zip(self._steps, self._news, strict=True):
            if len(news) > LATELY:
                steps.extend(news)
                steps.sort()
            else:
                for step in news:
                    insort(steps, step)
            news.clear()
        return tuple(scatter_of(steps) for steps in self._steps)


def measure_plain(values: Sequence[Vector]) -> Vector:
    """One standard deviation by axis of a short series.

    >>> measure_plain([(0.0, 5.0)] * 9)
    (0.0, 0.0)
    """
    return tuple(scatter_of(sorted(b - a for a, b in pairwise(column))) for column in zip(*values, strict=True))


def scatter_of(steps: Sequence[float]) -> float:
    """Noise of a series from the first differences of its values, in order of size.

    The median absolute deviation; the k-th smallest distance from the median lies at an end of some k + 1 neighbours.

    >>> round(scatter_of([-2.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 2.0, 50.0]), 4)
    2.0967
    """
    if len(steps) < EPOCHS - 1:
        return 0.0
    k = len(steps) // 2
    middle = steps[k]
    low, high = 0, len(steps) - 1 - k
    while low < high:  # the distance to the left end falls with its place, that to the right end rises
        at = (low + high) // 2
        if middle - steps[at] <= steps[at + k] - middle:
            high = at
        else:
            low = at + 1
    ends = [max(middle - steps[at], steps[at + k] - middle) for at in {max(low - 1, 0), low}]
    return 1.4826 * min(ends) / sqrt(2.0)
