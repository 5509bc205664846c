"""What the stations of a site do together: a reference that moved, or ground that moves."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.parts import lay_out
from detection.anomaly.stages import (
    MAD_TO_SIGMA,
    Array,
    Standardise,
    beyond_line,
    count_steps,
    median_of_windows,
)
from detection.anomaly.windows import Series

Row = TypeVar("Row", bound=np.generic)
FEWEST: Final = 4
LINE_DAYS: Final = 30.0
CLOSE_DAYS: Final = 5.0
TAKES_PART: Final = 0.3  # of what the middle station does
ALIKE: Final = 2.5  # times what their noise alone lets them differ


def score_common(samples: Mapping[str, Series]) -> dict[str, Array]:
    """How far the middle station is from its line of thirty days, in the scale that this has otherwise.

    Stations that do not take part, or do the opposite, score zero: what is common is reported where it happens. Fewer
    than four stations have nothing in common that could be told from a fault of one.

    Returns:
        Per station one score per cell, NaN where unknown.
    """
    names, table, first, places = lay_out(samples)
    step_s = samples[names[0]].step_s
    signed = Standardise(len(names), step_s).feed(_leave_line(table, step_s), first, 0)
    middle = _middle(signed)
    size = np.abs(Standardise(1, step_s).feed(middle, first, 0))
    takes_part = signed * np.sign(middle) > TAKES_PART * np.abs(middle)
    rows = np.where(np.isfinite(signed) & np.isfinite(size), np.where(takes_part, size, 0.0), np.nan)
    return _cut(rows, names, places, samples)


def name_common(samples: Mapping[str, Series]) -> dict[str, list[str]]:
    """Per station and cell: ``common-mode`` where all shifted by the same amount, else ``movement``.

    A reference that moved shifts every station alike, a slope and an earthquake do not.
    """
    names, table, first, places = lay_out(samples)
    step_s = samples[names[0]].step_s
    ahead = _leave_line(table, step_s)
    close = count_steps(step_s, CLOSE_DAYS, 3)
    begun = np.concatenate([np.full((len(names), close - 1), np.nan), ahead], axis=1)
    alike = np.ones(table.shape[1], dtype=bool)
    for shift in (ahead, median_of_windows(begun, close, 1, table.shape[1])):
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.abs(shift / Standardise(len(names), step_s).feed(shift, first, 0))
        scatter = MAD_TO_SIGMA * _middle(np.abs(shift - _middle(shift)))
        alike &= ~(scatter > ALIKE * _middle(noise))[0]
    row = np.where(alike, "common-mode", "movement")[None].repeat(len(names), axis=0)
    return {name: one.tolist() for name, one in _cut(row, names, places, samples).items()}


def _leave_line(table: Array, step_s: float) -> Array:
    """Values minus the line through the thirty days before; shape of the table."""
    width = count_steps(step_s, LINE_DAYS, 15)
    joined = np.concatenate([np.full((len(table), width), np.nan), table], axis=1)
    return beyond_line(joined, table.shape[1], width)


def _middle(table: Array) -> Array:
    """Median of the stations at each cell, NaN where fewer than four are known; shape (1, cells)."""
    return median_of_windows(np.ascontiguousarray(table.T), len(table), FEWEST, 1).T


def _cut(
    table: NDArray[Row], names: Sequence[str], places: Sequence[int], samples: Mapping[str, Series]
) -> dict[str, NDArray[Row]]:
    return {
        name: row[place : place + len(samples[name].values)]
        for name, row, place in zip(names, table, places, strict=True)
    }
