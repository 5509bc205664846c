"""The channels of stations as arrays: what the autoencoder reads of one station, of its neighbours and of rain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.neighbours import median_of_others
from detection.anomaly.networks import NetworkRecord
from detection.anomaly.parts import lay_out
from detection.anomaly.stages import (
    DAY_S,
    Array,
    Standardise,
    StuckRuns,
    beyond_line,
    beyond_median,
    count_steps,
)
from detection.anomaly.windows import Series

# Residuals of each channel: to the median of 7 days, and to the line of 60 days. A fault of a few days is clear in the
# first one, a drift of weeks in the second one.
RESIDUALS: Final = 2
LEVEL: Final = 0
LINE: Final = 1
LEVEL_DAYS: Final = 7.0
LINE_DAYS: Final = 60.0
# Time constants of the sums of rain, days. Older rain counts less.
RAIN_DAYS: Final = (1.0, 7.0, 30.0)


@dataclass(frozen=True, slots=True)
class StationChannels:
    """Residuals of the channels of all stations on common cells.

    Attributes:
        stations: Names of the stations, sorted.
        quantities: Quantities in the order of channels.
        own: Residuals in robust standard deviations of each channel, NaN where unknown; shape (stations, quantities,
            `RESIDUALS`, cells).
        others: The median of the same residuals over the other stations; the shape of `own`. NaN with fewer than three
            other stations.
        rain: Decaying sums of rain, shape (`len(RAIN_DAYS)`, cells); None without rain.
        places: Cell of the first reading of each series, by label.
    """

    stations: Sequence[str]
    quantities: Sequence[str]
    own: Array
    others: Array
    rain: Array | None
    places: Mapping[str, int]


def split_label(label: str) -> tuple[str, str]:
    """Return station and quantity of a series. A label without a dot is a station with one unnamed quantity.

    >>> split_label("G1.tilt_x"), split_label("G1")
    (('G1', 'tilt_x'), ('G1', ''))
    """
    station, _, quantity = label.partition(".")
    return station, quantity


def list_quantities(samples: Mapping[str, Series]) -> list[str]:
    """Return the quantities of some series, sorted."""
    return sorted({split_label(label)[1] for label in samples})


def make_channels(record: NetworkRecord, quantities: Sequence[str]) -> StationChannels:
    """Arrange the series of a record by station and channel.

    Args:
        quantities: The channels. Series of other quantities are left out.
    """
    samples = {label: one for label, one in record.samples.items() if split_label(label)[1] in quantities}
    stations = sorted({split_label(label)[0] for label in samples})
    labels, table, first, places = lay_out(samples)
    step_s = samples[labels[0]].step_s
    residuals = _find_residuals(table, step_s, first)
    own = np.full((len(stations), len(quantities), RESIDUALS, table.shape[1]), np.nan)
    for row, label in enumerate(labels):
        station, quantity = split_label(label)
        own[stations.index(station), quantities.index(quantity)] = residuals[row]
    others = np.stack(
        [
            np.stack([median_of_others(own[:, channel, kind]) for kind in range(RESIDUALS)], axis=1)
            for channel in range(len(quantities))
        ],
        axis=1,
    )
    begin_s = min(float(one.times_s[0]) for one in samples.values())
    rain = None if record.rain is None else _sum_rain(record.rain, begin_s, step_s, table.shape[1])
    return StationChannels(stations, quantities, own, others, rain, dict(zip(labels, places, strict=True)))


def _find_residuals(table: Array, step_s: float, first: int) -> Array:
    """Return both residuals of each row in their own robust scale, shape (rows, RESIDUALS, cells)."""
    rows, cells = table.shape
    stuck = StuckRuns(rows).feed(table, cells)
    level_width = count_steps(step_s, LEVEL_DAYS, at_least=5)
    line_width = count_steps(step_s, LINE_DAYS, at_least=15)
    level = beyond_median(_pad_rows(table, level_width), cells, level_width)
    line = beyond_line(_pad_rows(table, line_width), cells, line_width)
    return np.stack(
        [
            Standardise(rows, step_s, (90.0,)).feed(level, first, cells, stuck),
            Standardise(rows, step_s, (90.0, 730.0)).feed(line, first, cells, stuck),
        ],
        axis=1,
    )


def _pad_rows(table: Array, before: int) -> Array:
    return np.concatenate([np.full((len(table), before), np.nan), table], axis=1)


def _sum_rain(rain: Series, begin_s: float, step_s: float, cells: int) -> Array:
    """Return sums of rain up to each cell in which older rain decays; cells without a reading count as dry."""
    amounts = np.zeros(cells)
    places = np.floor((rain.times_s - begin_s) / step_s + 0.5).astype(np.int64)
    is_inside = rain.observed & (places >= 0) & (places < cells)
    np.add.at(amounts, places[is_inside], rain.values[is_inside])
    decays = np.exp(-step_s / (DAY_S * np.array(RAIN_DAYS)))
    sums = np.empty((len(RAIN_DAYS), cells))
    total = np.zeros(len(RAIN_DAYS))
    for cell in range(cells):
        total = total * decays + amounts[cell]
        sums[:, cell] = total
    return sums
