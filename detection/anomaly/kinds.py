"""Name the shape of unusual readings from the past alone. A spike may turn out to be a step one reading later."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import Array

# Scaled residuals above this belong to the same disturbance.
UNUSUAL = 3.0
# A disturbance that grows by this many scales is a movement.
GROWTH = 2.0
_UNKNOWN = "unknown"
# The residual with which a disturbance began, or 0 without a disturbance; and whether its sign has changed.
Disturbance = tuple[float, bool]
_NO_DISTURBANCE: Disturbance = (0.0, False)


class RunningClassification:
    """The shapes of many series, block by block."""

    def __init__(self) -> None:
        self._disturbances: dict[int, Disturbance] = {}  # by row; rows without a disturbance are absent

    def feed(self, scaled: Array, keep: int, wanted: NDArray[np.int64]) -> dict[int, list[str]]:
        """Return the shapes of the new cells of some rows. The first `keep` cells of all rows are final.

        Rows whose cells are all ordinary, which are most rows, are handled without a loop over their cells.
        """
        is_unusual = np.asarray((np.abs(scaled) > UNUSUAL).any(axis=1))
        shapes = dict.fromkeys(wanted.tolist(), [_UNKNOWN] * scaled.shape[1])
        ended = [row for row in self._disturbances if not is_unusual[row] and np.isfinite(scaled[row, :keep]).any()]
        for row in ended:
            del self._disturbances[row]
        for row in np.flatnonzero(is_unusual).tolist():
            before = self._disturbances.pop(row, _NO_DISTURBANCE)
            shapes[row], disturbance = _walk(scaled[row].tolist(), before, keep)
            if disturbance != _NO_DISTURBANCE:
                self._disturbances[row] = disturbance
        return shapes


def classify_shapes(scaled: Array) -> list[str]:
    """Classify the shape of every cell from its scaled residual and those of earlier cells.

    Returns:
        For each cell `spike` (the first unusual reading), `step` (unusual on one side, without growth), `movement`
        (unusual on one side, and growing), or `unknown` (the sign changes, or the residual is ordinary).

    >>> classify_shapes(np.array([0.0, 6.0, 6.1, 9.5, 0.0]))
    ['unknown', 'spike', 'step', 'movement', 'unknown']
    """
    return _walk(scaled.tolist(), _NO_DISTURBANCE, 0)[0]


def _walk(scaled: Sequence[float], before: Disturbance, keep: int) -> tuple[list[str], Disturbance]:
    """Return the shapes of the cells of one row, and the disturbance after the first `keep` of them."""
    shapes: list[str] = []
    kept = before
    begun, has_both_signs = before
    for cell, value in enumerate(scaled):
        if cell == keep:
            kept = begun, has_both_signs
        if value != value:  # noqa: PLR0124 - NaN
            shapes.append(_UNKNOWN)
        elif abs(value) <= UNUSUAL:
            begun, has_both_signs = _NO_DISTURBANCE
            shapes.append(_UNKNOWN)
        elif not begun:
            begun, has_both_signs = value, False
            shapes.append("spike")
        else:
            has_both_signs = has_both_signs or (value > 0) != (begun > 0)
            if has_both_signs:
                shapes.append(_UNKNOWN)
            elif abs(value) - abs(begun) > GROWTH:
                shapes.append("movement")
            else:
                shapes.append("step")
    return shapes, (begun, has_both_signs) if keep == len(scaled) else kept
