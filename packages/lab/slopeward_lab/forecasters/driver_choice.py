"""Choose the drivers of a network by their mutual information with the movement.

The paper on the landslide of Outang (Yang et al. 2023, doi:10.3390/rs15204971) uses the maximal information coefficient
(MIC, Reshef et al. 2011, doi:10.1126/science.1205438). Scikit-learn estimates the mutual information itself, from the
distances to the nearest neighbours (Kraskov et al. 2004, doi:10.1103/PhysRevE.69.066138). The differences are:

* MIC is normalised to values from 0 to 1, and papers use a fixed threshold. Mutual information is in nats and has no
  upper bound, so that a fixed threshold has no meaning. A driver is compared with copies of itself instead, which are
  shifted in time.
* MIC is the maximum over many grids, and is therefore positive for independent series of finite length. The estimate
  by neighbours is near 0.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats

SHIFTS: Final = 19
"""Shifted copies that a driver must exceed. A driver without information passes with a chance of 1 in 20."""
FEWEST_PAIRS: Final = 60
"""Rows with driver and movement that a choice needs."""
MOST_PAIRS: Final = 600
"""Rows that are used, evenly taken from all. The estimate takes a few milliseconds for so many."""
AHEAD: Final = frozenset({"outlook", "season"})
"""Kinds of drivers about the time after the issue time. They are always read, because the movement before it does not
depend on them."""


def choose_drivers(values: Floats, drivers: DriverRows, *, lag: int) -> tuple[str, ...]:
    """Return the channels whose mutual information with the movement exceeds that of every shifted copy.

    Args:
        values: Displacement, mm, shape (T, S). Later rows of the drivers are not read.
        drivers: Drivers on at least these rows.
        lag: Rows of the change that is the movement.
    """
    information = measure_information(values, drivers, lag=lag)
    chosen = []
    for name, kind in zip(drivers.names, drivers.kinds, strict=True):
        has_information = name in information and information[name][0] > information[name][1]
        if kind in AHEAD or has_information:
            chosen.append(name)
    return tuple(chosen)


def measure_information(values: Floats, drivers: DriverRows, *, lag: int) -> Mapping[str, tuple[float, float]]:
    """Return the mutual information of each channel with the movement, and the largest of its shifted copies, nats.

    The copies are shifted in a circle by twentieths of the record. They have the autocorrelation of the driver, and no
    relation to the movement. A channel with fewer than `FEWEST_PAIRS` values is left out.

    Args:
        values: Displacement, mm, shape (T, S).
        drivers: Drivers on at least these rows.
        lag: Rows of the change that is the movement.
    """
    from sklearn.feature_selection import mutual_info_regression

    movement = _average_movement(values, lag)
    information = {}
    for name, channel in zip(drivers.names, drivers.values[lag : values.shape[0]].T, strict=True):
        is_known = np.isfinite(channel) & np.isfinite(movement)
        if is_known.sum() < FEWEST_PAIRS:
            continue
        known_driver = channel[is_known]
        shifts = [known_driver.size * number // (SHIFTS + 1) for number in range(SHIFTS + 1)]
        copies = np.stack([np.roll(known_driver, shift) for shift in shifts], axis=1)
        step = -(-known_driver.size // MOST_PAIRS)
        # The estimate adds a tiny noise to break ties, so that it needs a seed.
        estimates = mutual_info_regression(copies[::step], movement[is_known][::step], random_state=0)
        information[name] = (float(estimates[0]), float(estimates[1:].max()))
    return information


def _average_movement(values: Floats, lag: int) -> Floats:
    """Return the change over `lag` rows, the mean of all stations in units of their own spread, shape (T - lag,).

    NaN in a row in which no station has a change.
    """
    changes = values[lag:] - values[:-lag]
    is_known = np.isfinite(changes)
    count = np.maximum(is_known.sum(axis=0), 1)
    means = np.where(is_known, changes, 0.0).sum(axis=0) / count
    deviations = np.where(is_known, changes - means, 0.0)
    spread = np.sqrt(np.square(deviations).sum(axis=0) / count)
    scaled = deviations / np.where(spread > 0.0, spread, 1.0)
    stations = is_known.sum(axis=1)
    return np.where(stations > 0, scaled.sum(axis=1) / np.maximum(stations, 1), np.nan)
