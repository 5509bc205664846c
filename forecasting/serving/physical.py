"""Physical bounds: no quantile of a forecast passes what was declared that the values of its series cannot pass."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.kinematics.extrapolation import measure_grid_noise
from forecasting.message import Figure, Template, join, list_parts
from forecasting.serving.path import CHANCE, LEAST_WIDTH, NOISE_ROWS
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Forecast, Limits, name_quantiles

ABOVE: Final = Template("forecast.held_above", "held above {bound} mm, a physical bound")
BELOW: Final = Template("forecast.held_below", "held below {bound} mm, a physical bound")
"""They follow the reason of a forecast of which a quantile was held."""
NONE: Final = Limits()


def hold(quantiles: Floats, value: float, noise: float, limits: Limits) -> Floats:
    """The quantiles of one target within the limits; their order stays.

    What may fall or rise counts from the newest reading, which has noise of its own: a motion that is only noise is no
    motion, and no interval becomes narrower than a reading allows. Where the newest reading itself lies beyond a
    limit, the limit is wrong or its offset is, and the reading stands in its place.

    >>> quantiles = np.array([60.0, 70.0, 76.0, 82.0, 140.0])
    >>> hold(quantiles, 138.0, 0.0, Limits(may_fall=50.0, high=139.0)).tolist()
    [88.0, 88.0, 88.0, 88.0, 139.0]
    """
    chance = CHANCE * np.sqrt(2.0) * noise
    spread = LEAST_WIDTH * noise * NORMAL
    lowest = value - limits.may_fall - chance + spread
    highest = value + limits.may_rise + chance + spread
    within = np.minimum(np.maximum(quantiles, lowest), highest)
    out: Floats = np.clip(within, min(limits.low, value), max(limits.high, value))
    return out


def hold_rows(panel: Panel, rows: Sequence[Forecast], limits: Mapping[str, Limits]) -> list[Forecast]:
    """The rows of any models within the limits of their stations; the reason says where a quantile was held."""
    noise: dict[str, float] = {}
    out = []
    for row in rows:
        own = limits.get(row.station, NONE)
        if own == NONE:
            out.append(row)
            continue
        if row.station not in noise:
            column = panel.values[:, panel.stations.index(row.station)]
            noise[row.station] = measure_grid_noise(column, NOISE_ROWS)
        quantiles = np.array(row.quantiles)
        held = hold(quantiles, row.data_value, noise[row.station], own)
        reasons = [*list_parts(row.reason)]
        if (held > quantiles).any():
            reasons.append(ABOVE(bound=Figure(float(held[0]), ".6g")))
        if (held < quantiles).any():
            reasons.append(BELOW(bound=Figure(float(held[-1]), ".6g")))
        out.append(replace(row, **name_quantiles(held), reason=join(reasons)))
    return out
