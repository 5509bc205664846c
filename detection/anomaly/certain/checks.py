"""Checks that find faults without a score: stuck and replayed readings, gaps, another unit, wrong times."""

from collections.abc import Mapping, Sequence
from math import ceil, log
from typing import Final

import numpy as np

from detection.anomaly.certain.timing import find_timing_faults
from detection.anomaly.certain.unit_jump import find_unit_jumps
from detection.anomaly.records import HOLE, LENGTHS, CertainFault
from detection.anomaly.stages import CHANCE, COARSE, StuckRuns
from detection.anomaly.windows import Series

# A run of equal readings that is longer was found stuck before, or is never found stuck.
MAX_EQUAL: Final = 1 + ceil(log(CHANCE) / log(COARSE))
REPLAY_CELLS: Final = 8
GAP_CELLS: Final = 3
# Steps before a hole from which the usual interval is found, and how many of them are needed.
USUAL: Final = 20
MIN_STEPS: Final = 10
# If the median step is longer than this many intervals, readings come only when the value changes.
REGULAR: Final = 1.5


def find_stuck(series: Series) -> list[CertainFault]:
    """Find runs of equal readings that are too long for the resolution of this sensor (`StuckRuns`).

    The share of unchanged readings before the run gives the length of a run that chance cannot explain, so a coarse
    sensor needs a longer run. A sensor whose readings are unchanged half of the time (a rain gauge in dry weather) is
    not checked, nor is the begin of a record. Each run gives one finding, at the reading that proved it.
    """
    findings = []
    index = np.flatnonzero(series.observed)
    values, is_stuck = series.values[index], StuckRuns(1).feed(series.values[None], 0)[0, index]
    begins = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    for k in np.flatnonzero(is_stuck & ~np.concatenate([[False], is_stuck[:-1]])).tolist():
        run = k - int(begins[np.searchsorted(begins, k, side="right") - 1]) + 1
        text = f"{run} equal readings of {values[k]:g}"
        findings.append(CertainFault(float(series.times_s[index[k]]), "stuck", text))
    return findings


def find_replay(series: Series, cells: int = REPLAY_CELLS) -> list[CertainFault]:
    """Find blocks of readings that equal an earlier block: a buffer or a file that was sent again as new.

    At least half of the readings of a block have to differ from each other; `find_stuck` finds constant blocks. Each
    replayed stretch gives one finding.

    Args:
        cells: Readings of a block.
    """
    findings: list[CertainFault] = []
    index = np.flatnonzero(series.observed)
    first_ends: dict[tuple[float, ...], int] = {}
    last = -cells
    for k in range(cells - 1, len(index)):
        block = tuple(series.values[index[k - cells + 1 : k + 1]].tolist())
        if len(set(block)) * 2 < cells:
            continue
        earlier = first_ends.setdefault(block, k)
        if k - earlier >= cells:
            if k - last > 1:
                source_s = float(series.times_s[index[earlier]])
                text = f"{cells} readings equal those up to {source_s:.0f} s"
                findings.append(CertainFault(float(series.times_s[index[k]]), "replay", text))
            last = k
    return findings


def find_empty_cells(series: Series, cells: int = GAP_CELLS) -> list[CertainFault]:
    """Find more than `cells` empty cells in a row, at the first reading after them.

    This finds the gaps that a benchmark injects, where a series has no declared interval. The service uses
    `find_holes`, which works on the times of readings: there, a reading that was set aside is no gap, and a series that
    is sent on change has no gaps.
    """
    index = np.flatnonzero(series.observed)
    return [
        CertainFault(
            float(series.times_s[index[k + 1]]),
            "gap",
            f"{int(index[k + 1] - index[k] - 1)} intervals without a reading",
        )
        for k in np.flatnonzero(np.diff(index) > cells)
    ]


def check_series(
    series: Series, times_s: Sequence[float], factors: Mapping[float, int] = LENGTHS
) -> list[CertainFault]:
    """Return all faults that checks find in a series, in order of time.

    Args:
        times_s: Times of the readings in the order in which they were received, epoch seconds.
        factors: Factors between the units of the quantity (`FACTORS`); empty if units are not checked.
    """
    findings = [
        *find_stuck(series),
        *find_replay(series),
        *find_empty_cells(series),
        *find_unit_jumps(series, factors),
        *find_timing_faults(times_s),
    ]
    return sorted(findings, key=lambda finding: (finding.at_s, finding.kind))


def find_holes(times_s: Sequence[float], interval_s: float) -> list[tuple[float, float]]:
    """Return the last reading before each hole and the first one after it, epoch seconds.

    Args:
        times_s: Times of readings, ascending.
        interval_s: Declared interval. A series whose usual interval is longer has no holes.

    >>> hours = [*range(12), 16, 17, 20]
    >>> find_holes(hours, 1.0)
    [(11.0, 16.0)]
    >>> find_holes([5 * hour for hour in hours], 1.0)
    []
    """
    times = np.asarray(times_s, dtype=np.float64)
    steps = np.diff(times)
    holes = []
    for k in np.flatnonzero(steps > HOLE * interval_s).tolist():
        before = steps[max(0, k - USUAL) : k]
        if len(before) >= MIN_STEPS and np.median(before) <= REGULAR * interval_s:
            holes.append((float(times[k]), float(times[k + 1])))
    return holes
