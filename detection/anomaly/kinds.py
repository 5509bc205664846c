"""What an alarm looks like so far, said from the past alone: a spike may turn out to be a step one reading later."""

import numpy as np

from detection.anomaly.stages import Array

# Scaled residuals above this belong to the same disturbance as the alarm.
STRANGE = 3.0
GROWTH = 2.0


def name_kinds(scaled: Array) -> list[str]:
    """A kind for every cell from its scaled residual and those of the cells before it.

    Returns:
        Per cell: ``spike`` (first strange reading), ``step`` (strange on one side and holding), ``level`` (strange on
        one side and still growing), ``unknown`` (sides change, or the residual itself is ordinary).

    >>> name_kinds(np.array([0.0, 6.0, 6.1, 9.5, 0.0]))
    ['unknown', 'spike', 'step', 'level', 'unknown']
    """
    names: list[str] = []
    begun: float | None = None
    mixed = False
    for value in scaled:
        if not np.isfinite(value):
            names.append("unknown")
            continue
        if abs(value) <= STRANGE:
            begun, mixed = None, False
            names.append("unknown")
        elif begun is None:
            begun, mixed = float(value), False
            names.append("spike")
        else:
            mixed = mixed or (value > 0) != (begun > 0)
            names.append("unknown" if mixed else "level" if abs(value) - abs(begun) > GROWTH else "step")
    return names
