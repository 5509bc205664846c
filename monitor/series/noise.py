"""How much a series scatters by itself, robustly from the differences of neighbours: over its length, and lately.

And what is believed of one that has just begun, and of whose noise nobody said anything.
"""

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Final

from monitor.series.vectors import Vector, minus, norm

EPOCHS: Final = 8  # fewer say nothing of a series' own scatter
LATELY: Final = 16  # newest differences: one that begins to scatter is asked about for days, not until half of all do
OTHERS: Final = 3  # quiet differences beside a jump: fewer say nothing of it
LARGE: Final = 3.0  # times what is usual beside it: noise is seldom so large


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


def is_stated(sigmas: Sequence[Vector]) -> bool:
    """True where each epoch says how sure it is, by itself or by the noise floor of its series.

    >>> is_stated([(1.5,)] * 5), is_stated([(1.5,), (0.0,)])
    (True, False)
    """
    return all(all(s > 0.0 for s in row) for row in sigmas)


def stands_out(values: Sequence[Vector], index: int, length: float) -> bool | None:
    """True for a jump that the scatter beside it does not explain; None for the largest, which may be.

    Differences of neighbours fall into quiet ones and some, half as many at most, that are far larger: ten times the
    largest quiet one where there are three of these, six times of six, three times of twenty-two. White noise alone
    does so in the first epochs of 4 of 1,000 scalar series (`python -m tests.bench.service.bench_first_hours`).

    What may be either is the newest, one beside fewer than three others, or one that is three times as large as usual.

    Args:
        values: All that came so far.
        index: The first epoch after the jump.
        length: Of the jump.

    >>> quiet = [(0.0,), (1.0,), (0.0,), (1.0,)]
    >>> stands_out([*quiet, (30.0,)], 4, 29.5), stands_out([(0.0,), (1.0,), (30.0,)], 2, 29.5) is None
    (True, True)
    >>> stands_out([*quiet, (0.0,), (1.0,), (30.0,), (30.5,), (75.0,)], 6, 29.5), stands_out(quiet, 2, 1.0)
    (True, False)
    """
    others = sorted(norm(minus(b, a)) for i, (a, b) in enumerate(pairwise(values), 1) if i != index)
    for count in range(OTHERS, len(others) + 1):
        larger = [*others[count : count + 1], length]
        if len(others) - count < count // 2 and min(larger) > (2.0 + 24.0 / count) * others[count - 1]:
            return True
    is_open = index == len(values) - 1 or len(others) < OTHERS or length > LARGE * others[len(others) // 2]
    return None if is_open and length > max(others, default=0.0) else False
