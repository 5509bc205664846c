"""What an alarm looks like so far, said from the past alone: a spike may turn out to be a step one reading later."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import Array

# What the score of each detector was compared with; of `rules` by the kind that it gives.
COMPARED: Final[Mapping[str, str]] = {
    "persistence-z": "the median of its last 7 days",
    "robust-z": "its last reading",
    "ewma": "the line of its last 60 days",
    "page-hinkley": "the line of its last 60 days",
    "slope-change": "its slope of the 60 days before",
    "variance": "its usual increments",
    "matrix-profile": "all its earlier shapes",
    "common-mode": "the lines of all stations of the last 30 days",
    "rules": "its last 7 to 10 days and its neighbours",
    "rules drift": "the lines of its last 30 and 60 days and its neighbours",
    "rules noise": "its usual increments and its neighbours",
    "ae": "what a network expects of its last 30 readings",
    "conv-ae": "what a network expects of its last 30 readings",
    "lstm-ae": "what a network expects of its last 30 readings",
    "gru-ae": "what a network expects of its last 30 readings",
    "vae": "what a network expects of its last 30 readings",
    "site-ae": "what a network expects from all stations",
    "flatline": "its usual resolution",
    "replay": "its earlier readings",
    "unit-jump": "its level and noise before",
    "timing": "its usual interval",
}

# Scaled residuals above this belong to the same disturbance as the alarm.
STRANGE = 3.0
GROWTH = 2.0
_ORDINARY = (0.0, False)
State = tuple[float, bool]  # the residual that a disturbance began with (0: there is none), and whether sides changed


class KindSoFar:
    """The kinds of many series, block by block."""

    def __init__(self, rows: int) -> None:
        self._states: list[State] = [_ORDINARY] * rows

    def feed(self, scaled: Array, keep: int, wanted: NDArray[np.int64]) -> dict[int, list[str]]:
        """Kinds of the new cells of the rows wanted; the first `keep` cells of all rows are taken as final.

        Rows whose cells are all ordinary are passed by quickly: most are.
        """
        walked = np.asarray((np.abs(scaled) > STRANGE).any(axis=1))
        walked[wanted] = True
        out: dict[int, list[str]] = {}
        for row in np.flatnonzero(walked).tolist():
            names, self._states[row] = _walk(scaled[row].tolist(), self._states[row], keep)
            out[row] = names
        if keep:
            for row in np.flatnonzero(~walked & np.isfinite(scaled[:, :keep]).any(axis=1)).tolist():
                self._states[row] = _ORDINARY
        return out


def compared_with(detector: str, kind: str) -> str:
    """What a score of this kind was compared with, in words; empty for a detector of another version.

    >>> compared_with("rules", "drift"), compared_with("rules", "spike")
    ('the lines of its last 30 and 60 days and its neighbours', 'its last 7 to 10 days and its neighbours')
    """
    return COMPARED.get(f"{detector} {kind}") or COMPARED.get(detector, "")


def name_kinds(scaled: Array) -> list[str]:
    """A kind for every cell from its scaled residual and those of the cells before it.

    Returns:
        Per cell: ``spike`` (first strange reading), ``step`` (strange on one side and holding), ``movement`` (strange
        on one side and still growing), ``unknown`` (sides change, or the residual itself is ordinary).

    >>> name_kinds(np.array([0.0, 6.0, 6.1, 9.5, 0.0]))
    ['unknown', 'spike', 'step', 'movement', 'unknown']
    """
    return _walk(scaled.tolist(), _ORDINARY, 0)[0]


def _walk(scaled: Sequence[float], state: State, keep: int) -> tuple[list[str], State]:
    """Kinds of cells, and the state after the first `keep` of them."""
    names: list[str] = []
    begun, mixed = state
    for cell, value in enumerate(scaled):
        if cell == keep:
            state = begun, mixed
        if value != value:  # noqa: PLR0124 - not known
            names.append("unknown")
        elif abs(value) <= STRANGE:
            begun, mixed = _ORDINARY
            names.append("unknown")
        elif not begun:
            begun, mixed = value, False
            names.append("spike")
        else:
            mixed = mixed or (value > 0) != (begun > 0)
            names.append("unknown" if mixed else "movement" if abs(value) - abs(begun) > GROWTH else "step")
    return names, (begun, mixed) if keep == len(names) else state
