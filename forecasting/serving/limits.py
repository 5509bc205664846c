"""Physical limits on forecasts, and the least width of their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.kinematics.extrapolation import measure_grid_noise
from forecasting.reasons import Reason, join_reasons, split_reason
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Forecast, Limits, name_quantiles

NOISE_SIGMAS: Final = 3.0  # a difference of two readings smaller than this many standard deviations is no motion
LEAST_WIDTH: Final = 0.85  # share of the width that the noise of a reading requires; the noise is an estimate
NOISE_ROWS: Final = 365  # newest rows from which the noise is measured
_NO_LIMITS: Final = Limits()


def widen(quantiles: Floats, noise: float) -> Floats:
    """Return the quantiles of one target, with intervals that are not narrower than the noise of a reading.

    Most readings of a logger that rounds are equal to the reading before, so that most past errors are 0.

    >>> widen(np.array([0.0, 0.0, 0.0, 0.0, 5.0]), 1.0).round(2).tolist()
    [-1.67, -1.09, 0.0, 1.09, 5.0]

    Args:
        quantiles: Shape (5,), ascending.
        noise: Standard deviation of one reading.
    """
    least = quantiles[2] + LEAST_WIDTH * noise * NORMAL
    widened: Floats = np.where(NORMAL < 0.0, np.minimum(quantiles, least), np.maximum(quantiles, least))
    widened[2] = quantiles[2]
    return widened


def clip_to_limits(quantiles: Floats, value: float, noise: float, limits: Limits) -> Floats:
    """Return the quantiles of one target, clipped to the limits; their order is kept.

    `may_fall` and `may_rise` count from the newest reading. Because that reading has noise, a fall or rise within
    `NOISE_SIGMAS` is allowed. If the newest reading is itself beyond a limit, the limit or an offset is wrong, and the
    reading replaces the limit.

    >>> quantiles = np.array([60.0, 70.0, 76.0, 82.0, 140.0])
    >>> clip_to_limits(quantiles, 138.0, 0.0, Limits(may_fall=50.0, high=139.0)).tolist()
    [88.0, 88.0, 88.0, 88.0, 139.0]

    Args:
        quantiles: Shape (5,), ascending.
        value: Newest reading.
        noise: Standard deviation of one reading.
    """
    tolerance = NOISE_SIGMAS * np.sqrt(2.0) * noise
    spread = LEAST_WIDTH * noise * NORMAL
    lowest = value - limits.may_fall - tolerance + spread
    highest = value + limits.may_rise + tolerance + spread
    within = np.minimum(np.maximum(quantiles, lowest), highest)
    clipped: Floats = np.clip(within, min(limits.low, value), max(limits.high, value))
    return clipped


def apply_limits(panel: Panel, rows: Sequence[Forecast], limits: Mapping[str, Limits]) -> list[Forecast]:
    """Return the forecasts clipped to the limits of their stations, with intervals of at least the noise of a reading.

    The reason of a clipped forecast names the limit.
    """
    noise_by_station: dict[str, float] = {}
    limited_rows = []
    for row in rows:
        if row.station not in noise_by_station:
            column = panel.values[:, panel.stations.index(row.station)]
            noise_by_station[row.station] = measure_grid_noise(column, NOISE_ROWS)
        noise = noise_by_station[row.station]
        quantiles = widen(np.array(row.quantiles), noise)
        station_limits = limits.get(row.station, _NO_LIMITS)
        if station_limits == _NO_LIMITS:
            limited_rows.append(replace(row, **name_quantiles(quantiles)))
            continue
        clipped = clip_to_limits(quantiles, row.data_value, noise, station_limits)
        reasons = [*split_reason(row.reason)]
        if (clipped > quantiles).any():
            lowest = max(min(station_limits.low, row.data_value), row.data_value - station_limits.may_fall)
            reasons.append(Reason("forecast.held_above", {"bound": (lowest, panel.unit)}))
        if (clipped < quantiles).any():
            highest = min(max(station_limits.high, row.data_value), row.data_value + station_limits.may_rise)
            reasons.append(Reason("forecast.held_below", {"bound": (highest, panel.unit)}))
        limited_rows.append(replace(row, **name_quantiles(clipped), reason=join_reasons(reasons)))
    return limited_rows
