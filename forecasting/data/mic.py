"""Maximal information coefficient (Reshef et al. 2011, 10.1126/science.1205438), and the drivers that pass it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats

POWER = 0.6
"""A grid has at most n^0.6 cells, as in the paper."""
SHIFTS = 19
"""A driver must beat each of so many copies of it shifted in time: one chance in twenty for a useless one."""
LEAST = 60
"""Pairs below which nothing is judged."""


def mic(x: Floats, y: Floats) -> float:
    """Largest mutual information over grids, each divided by the logarithm of its shorter side; from 0 to 1.

    An approximation: cells are equally filled along both axes. The paper moves the lines of one axis to the best place,
    so ours is a lower bound of its figure. Equal values share a cell.

    Args:
        x: Shape (n,), finite.
        y: Likewise.

    >>> line = np.linspace(-1.0, 1.0, 400)
    >>> round(mic(line, line), 2), round(mic(line, line**2), 2), mic(line, np.tile([0.0, 1.0], 200)) < 0.1
    (1.0, 1.0, True)
    """
    return _over_grids(_cells(x), _cells(y))


def rank_drivers(values: Floats, drivers: DriverRows, *, lag: int) -> dict[str, tuple[float, float]]:
    """MIC of each channel with the movement, and the largest of its shifted copies.

    The movement is the change over `lag` rows, each station in units of its own spread, mean of those that are known.
    Copies are shifted in a circle by twentieths of the record: they keep the ups and downs of driver and slope, and
    nothing of what ties them.

    Args:
        values: Rows that may be learnt from alone, shape (T, S).
        drivers: At least these rows.
        lag: Rows of the change.
    """
    moved = _movement(values, lag)
    out = {}
    for name, channel in zip(drivers.names, drivers.values[lag : values.shape[0]].T, strict=True):
        both = np.isfinite(channel) & np.isfinite(moved)
        if both.sum() < LEAST:
            continue
        own, of = _cells(channel[both]), _cells(moved[both])
        count = int(both.sum())
        shifted = [_over_grids([np.roll(c, k * count // (SHIFTS + 1)) for c in own], of) for k in range(1, SHIFTS + 1)]
        out[name] = _over_grids(own, of), max(shifted)
    return out


def choose_drivers(values: Floats, drivers: DriverRows, *, lag: int) -> tuple[str, ...]:
    """Channels with more to do with the movement than every shifted copy of theirs, and those that no past can judge.

    Expected rain and the season are known ahead; they are for the head, and are kept.
    """
    ranked = rank_drivers(values, drivers, lag=lag)
    ahead = {name for name, kind in zip(drivers.names, drivers.kinds, strict=True) if kind in {"outlook", "season"}}
    return tuple(n for n in drivers.names if n in ahead or (n in ranked and ranked[n][0] > ranked[n][1]))


def _movement(values: Floats, lag: int) -> Floats:
    """Shape (T - lag,), NaN where no station is known."""
    moved = values[lag:] - values[:-lag]
    known = np.isfinite(moved)
    count = known.sum(axis=0)
    mean = np.where(known, moved, 0.0).sum(axis=0) / np.maximum(count, 1)
    off = np.where(known, moved - mean, 0.0)
    spread = np.sqrt((off * off).sum(axis=0) / np.maximum(count, 1))
    scaled = off / np.where(spread > 0, spread, 1.0)
    each = known.sum(axis=1)
    return np.asarray(np.where(each > 0, scaled.sum(axis=1) / np.maximum(each, 1), np.nan), dtype=np.float64)


def _cells(values: Floats) -> list[NDArray[np.int64]]:
    """The cell of each value in 2, 3, ... equally filled cells."""
    most = max(2, int(values.size**POWER) // 2)
    ordered = np.sort(values)
    out = []
    for count in range(2, most + 1):
        edges = ordered[np.arange(1, count) * values.size // count]
        out.append(np.searchsorted(edges, values, side="right"))
    return out


def _over_grids(x: Sequence[NDArray[np.int64]], y: Sequence[NDArray[np.int64]]) -> float:
    size = x[0].size
    limit = size**POWER
    best = 0.0
    for a, columns in enumerate(x, start=2):
        for b, rows in enumerate(y, start=2):
            if a * b > limit:
                break
            table = np.bincount(columns * b + rows, minlength=a * b).reshape(a, b) / size
            outer = table.sum(axis=1)[:, None] * table.sum(axis=0)
            full = table > 0
            told = float((table[full] * np.log(table[full] / outer[full])).sum())
            best = max(best, told / float(np.log(min(a, b))))
    return round(best, 12)
