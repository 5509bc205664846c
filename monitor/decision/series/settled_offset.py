"""What no single epoch can show: a scatter that ended at another place, and epochs within their errors that agree."""

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, sqrt
from typing import Final

from monitor.decision.series.noise import WANDERS, measure_plain
from monitor.decision.series.vectors import Vector, minus, norm

QUIET: Final = 6  # epochs that agree, before the end of a scatter is believed
ROUGH: Final = 8  # epochs before them, of which the scatter is measured
CALMER: Final = 5.0  # times less than before: by chance less than once in a thousand
REAL: Final = 5.0  # standard errors of the difference of both means


def is_steady(levels: Sequence[Vector], limit: float) -> bool:
    """True where no mean of some epochs can differ from that of others by the limit: the usual case, cheaply seen.

    On each of three axes at most all of them lie within half of it.

    >>> is_steady([(0.0, 9.0), (1.0, 8.0), (9.0, 9.5)], 20.0), is_steady([(0.0,), (11.0,)], 20.0)
    (True, False)
    """
    most = limit / 2.0
    widths = [max(column) - min(column) for column in zip(*levels, strict=True)]
    return max(widths, default=0.0) <= most


def find_settling(levels: Sequence[Vector], sigmas: Sequence[Vector], limit: float) -> Vector | None:
    """How far the newest `QUIET` epochs stand from the `ROUGH` ones before them; None unless those scattered.

    No single epoch can show it: within the scatter of before, each lies where any other might. So the means are
    compared (Welch 1947, Biometrika 34), and only where the scatter ended at the same instant.

    Args:
        levels: The last `ROUGH + QUIET` epochs, tuples of k.
        sigmas: Stated standard deviations, tuples of k.
        limit: The step beyond which one asks.

    >>> rough = [(x,) for x in (-60.0, -20.0, -90.0, -50.0, -110.0, -40.0, -100.0, -70.0)]
    >>> quiet = [(x,) for x in (1.0, 0.0, -1.0, 0.0, 1.0, 0.0)]
    >>> find_settling(rough + quiet, [(1.0,)] * 14, 20.0)
    (67.66666666666667,)
    >>> find_settling([(10.0 * i,) for i in range(8)] + [(70.0,)] * 6, [(1.0,)] * 14, 20.0) is None
    True
    """
    rough, quiet = levels[:ROUGH], levels[ROUGH:]
    size = minus(_mean(quiet), _mean(rough))
    if norm(size) <= limit:
        return None
    errors, calm = [], []
    for axis in range(len(size)):
        before, after = [v[axis] for v in rough], [v[axis] for v in quiet]
        stated = max(s[axis] for s in sigmas)
        calm.append(_spread(after, stated))
        errors.append(sqrt(_spread(before, stated) ** 2 / ROUGH + calm[-1] ** 2 / QUIET))
    path = fsum(norm(minus(b, a)) for a, b in pairwise(rough))
    if norm(measure_plain(rough)) < CALMER * norm(tuple(calm)) or path < WANDERS * norm(minus(rough[-1], rough[0])):
        return None
    surprise = fsum((a / e) ** 2 if e > 0.0 else 0.0 for a, e in zip(size, errors, strict=True))
    return size if surprise >= REAL * REAL else None


def find_agreement(excess: Sequence[Vector], sigmas: Sequence[Vector], error: Vector, limit: float) -> Vector | None:
    """Where epochs that state large errors stand together; None unless six agree beyond chance.

    One of them may be as far off as it says; six at one place are not, and what moved must not hide behind its sigma.

    Args:
        excess: How far each lies off what was expected, tuples of k.
        sigmas: Stated standard deviations, tuples of k.
        error: Of what was expected.
        limit: The step beyond which one asks.

    >>> find_agreement([(300.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0)
    (300.0,)
    >>> find_agreement([(300.0,)] * 5, [(100.0,)] * 5, (1.0,), 20.0) is None
    True
    >>> find_agreement([(90.0,)] * 6, [(100.0,)] * 6, (1.0,), 20.0) is None
    True
    """
    count = len(excess)
    size = _mean(excess)
    if count < QUIET or norm(size) <= limit:
        return None
    square = 0.0
    for axis, middle in enumerate(size):
        stated = fsum(s[axis] ** 2 for s in sigmas) / count**2
        own = _spread([e[axis] for e in excess], 0.0) ** 2 / count
        variance = max(stated, own) + error[axis] ** 2
        square += middle * middle / variance if variance > 0.0 else 0.0
    return size if square >= REAL * REAL else None


def _mean(vectors: Sequence[Vector]) -> Vector:
    count = len(vectors)
    return tuple([fsum(column) / count for column in zip(*vectors, strict=True)])


def _spread(values: Sequence[float], stated: float) -> float:
    """Standard deviation, never below what is stated."""
    mean = fsum(values) / len(values)
    return max(stated, sqrt(fsum((v - mean) ** 2 for v in values) / (len(values) - 1)))
