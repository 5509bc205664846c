"""Holes in the record of a regular series: readings that are missing between two that are there."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detection.anomaly.records import HOLE

USUAL: Final = 20  # steps before a hole, by which a series is judged
FEWEST: Final = 10  # of them at least
REGULAR: Final = 1.5  # intervals: where the middle step is longer, readings come when something changes


def find_holes(times_s: Sequence[float], interval_s: float) -> list[tuple[float, float]]:
    """The last reading before each hole, and the first one after it.

    Args:
        times_s: Instants of readings, in order.
        interval_s: As declared. A series that comes otherwise has no holes.

    >>> hours = [*range(12), 16, 17, 20]
    >>> find_holes(hours, 1.0)
    [(11.0, 16.0)]
    >>> find_holes([5 * hour for hour in hours], 1.0)
    []
    """
    times = np.asarray(times_s, dtype=np.float64)
    steps, found = np.diff(times), []
    for k in np.flatnonzero(steps > HOLE * interval_s).tolist():
        before = steps[max(0, k - USUAL) : k]
        if len(before) >= FEWEST and np.median(before) <= REGULAR * interval_s:
            found.append((float(times[k]), float(times[k + 1])))
    return found
