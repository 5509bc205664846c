"""The five quantiles of a forecast."""

import numpy as np

from forecasting.data.series import Floats

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
NORMAL = np.array([-1.959964, -1.281552, 0.0, 1.281552, 1.959964])
"""The same quantiles of the standard normal distribution."""
LEVELS = {0.8: (1, 3), 0.95: (0, 4)}
"""Coverage of an interval to the positions of its two quantiles."""


def select_interval(quantiles: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the lower and the upper end of the interval with this coverage.

    >>> [end.tolist() for end in select_interval(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]), 0.8)]
    [[-1.0], [1.0]]
    """
    low, high = LEVELS[level]
    return quantiles[..., low], quantiles[..., high]
