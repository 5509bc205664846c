"""What a network of a whole site reads: residuals of all stations on one axis of time."""

from collections.abc import Mapping, Sequence

import numpy as np

from detection.anomaly.parts import lay_out
from detection.anomaly.robust import drift_residual
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series, scaled_residuals


def stack_site(samples: Mapping[str, Series], stations: Sequence[str]) -> tuple[Array, dict[str, int]]:
    """Of all stations the residual to the median of a week, then that to the line of sixty days.

    Args:
        samples: what is scored.
        stations: which columns there are; one that is gone is missing.

    Returns:
        The table, NaN where unknown, shape (cells, 2 stations), and the first cell of each station.
    """
    names, table, _, begins = lay_out(samples)
    places = dict(zip(names, begins, strict=True))
    out = np.full((table.shape[1], 2 * len(stations)), np.nan)
    for column, name in enumerate(stations):
        if name in samples:
            series, place = samples[name], places[name]
            rows = slice(place, place + len(series.values))
            out[rows, column] = scaled_residuals(series)
            out[rows, len(stations) + column] = drift_residual(series)
    return out, places
