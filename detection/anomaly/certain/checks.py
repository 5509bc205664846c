"""Faults that need no score because they are certain: stuck and replayed readings, gaps, another unit, wrong times."""

from collections.abc import Mapping, Sequence
from math import ceil, log
from typing import Final

import numpy as np

from detection.anomaly.certain.timing import find_timing_faults
from detection.anomaly.certain.unit_jump import find_unit_jumps
from detection.anomaly.records import HOLE, LENGTHS, CertainFault
from detection.anomaly.stages import CHANCE, COARSE, StuckRuns
from detection.anomaly.windows import Series

MOST_EQUAL = 1 + ceil(log(CHANCE) / log(COARSE))  # no longer run is found stuck later
REPLAY_CELLS = 8
GAP_CELLS = 3


def find_stuck(series: Series) -> list[CertainFault]:
    """Runs of equal readings that are too long for this sensor's own resolution (`stages.Stuck`).

    The share of unchanged readings before the run gives the run length that chance cannot explain, so a coarse sensor
    needs a longer run. A sensor that repeats itself half of the time (a rain gauge in dry weather) is not judged, nor
    is the beginning of a record. One finding per run, at the reading that made it certain.
    """
    found = []
    index = np.flatnonzero(series.observed)
    values, is_stuck = series.values[index], StuckRuns(1).feed(series.values[None], 0)[0, index]
    begins = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    for now in np.flatnonzero(is_stuck & ~np.concatenate([[False], is_stuck[:-1]])).tolist():
        run = now - int(begins[np.searchsorted(begins, now, side="right") - 1]) + 1
        text = f"{run} equal readings of {values[now]:g}"
        found.append(CertainFault(float(series.times_s[index[now]]), "stuck", text))
    return found


def find_replay(series: Series, cells: int = REPLAY_CELLS) -> list[CertainFault]:
    """Blocks of readings that repeat an earlier block digit by digit: a buffer or a file sent again as new.

    A block counts when at least half of its readings differ from each other; flat blocks are `find_stuck`'s. One
    finding per replayed stretch.
    """
    found: list[CertainFault] = []
    index = np.flatnonzero(series.observed)
    seen: dict[tuple[float, ...], int] = {}
    last = -cells
    for k in range(cells - 1, len(index)):
        block = tuple(series.values[index[k - cells + 1 : k + 1]].tolist())
        if len(set(block)) * 2 < cells:
            continue
        earlier = seen.setdefault(block, k)
        if k - earlier >= cells:
            if k - last > 1:
                source = float(series.times_s[index[earlier]])
                text = f"{cells} readings equal those up to {source:.0f} s"
                found.append(CertainFault(float(series.times_s[index[k]]), "replay", text))
            last = k
    return found


def find_empty_cells(series: Series, cells: int = GAP_CELLS) -> list[CertainFault]:
    """More than so many cells of the grid without a reading, known when readings come back.

    It judges gaps that a benchmark injects; a series on its grid has no declared interval. What is served are the holes
    of `find_holes`: by instants, a reading that is set aside is there, and what comes on change has none.
    """
    index = np.flatnonzero(series.observed)
    holes = np.flatnonzero(np.diff(index) > cells)
    return [
        CertainFault(
            float(series.times_s[index[k + 1]]),
            "gap",
            f"{int(index[k + 1] - index[k] - 1)} intervals without a reading",
        )
        for k in holes
    ]


def check_series(
    series: Series, times_s: Sequence[float], factors: Mapping[float, int] = LENGTHS
) -> list[CertainFault]:
    """All certain faults of one station, in time order.

    Args:
        times_s: instants as they came.
        factors: between the units in use for its quantity ; where there are none, its unit is not judged.
    """
    found = [
        *find_stuck(series),
        *find_replay(series),
        *find_empty_cells(series),
        *find_unit_jumps(series, factors),
        *find_timing_faults(times_s),
    ]
    return sorted(found, key=lambda f: (f.at_s, f.kind))


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
