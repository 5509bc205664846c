"""What an alarm looks like so far, said from the past alone: a spike may turn out to be a step one reading later."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import Array

# Scaled residuals above this belong to the same disturbance as the alarm.
STRANGE = 3.0
GROWTH = 2.0
_ORDINARY = (0.0, False)
_NOTHING = "unknown"
State = tuple[float, bool]  # the residual that a disturbance began with (0: there is none), and whether sides changed


class RunningClassification:
    """The kinds of many series, block by block."""

    def __init__(self) -> None:
        self._begun: dict[int, State] = {}  # of rows that are not ordinary

    def feed(self, scaled: Array, keep: int, wanted: NDArray[np.int64]) -> dict[int, list[str]]:
        """Kinds of the new cells of the rows wanted; the first `keep` cells of all rows are taken as final.

        Rows whose cells are all ordinary are passed by quickly: most are.
        """
        strange = np.asarray((np.abs(scaled) > STRANGE).any(axis=1))
        out = dict.fromkeys(wanted.tolist(), [_NOTHING] * scaled.shape[1])
        for row in [row for row in self._begun if not strange[row] and np.isfinite(scaled[row, :keep]).any()]:
            del self._begun[row]
        for row in np.flatnonzero(strange).tolist():
            out[row], state = _walk(scaled[row].tolist(), self._begun.pop(row, _ORDINARY), keep)
            if state != _ORDINARY:
                self._begun[row] = state
        return out


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
    names: list[str] = []
    begun, mixed = state
    for cell, value in enumerate(scaled):
        if cell == keep:
            state = begun, mixed
        if value != value:  # noqa: PLR0124 - not known
            names.append(_NOTHING)
        elif abs(value) <= STRANGE:
            begun, mixed = _ORDINARY
            names.append(_NOTHING)
        elif not begun:
            begun, mixed = value, False
            names.append("spike")
        else:
            mixed = mixed or (value > 0) != (begun > 0)
            names.append(_NOTHING if mixed else "movement" if abs(value) - abs(begun) > GROWTH else "step")
    return names, (begun, mixed) if keep == len(names) else state
