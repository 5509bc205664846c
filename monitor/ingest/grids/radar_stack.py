"""Time series of radar displacement in HDF5: displacement by date, row and column, beside a list of dates."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from monitor.errors import ConfigError
from monitor.ingest.grids.quality import QualityLayer, QualityRule
from monitor.ingest.grids.stack import MOST_TIMES, Array


def read_days(path: Path, values: xr.Variable, dates: xr.Variable) -> list[datetime]:
    """Return the dates of the layers.

    Raises:
        ConfigError: there is not one date for each layer.
    """
    if values.ndim != 3 or dates.shape != values.shape[:1] or len(dates) > MOST_TIMES:
        raise ConfigError(f"{path}: {values.shape} values and {dates.shape} dates do not fit")
    return [read_day(date.decode("ascii") if isinstance(date, bytes) else str(date)) for date in dates.values]


def read_day(text: str) -> datetime:
    """Return the start of a day that is written as YYYYMMDD."""
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)


def make_reader(values: xr.Variable) -> Callable[[slice, slice, slice], Array]:
    """Return a function that reads layers, rows and columns of a time series."""

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        return np.asarray(values[layers, rows, columns].values, np.float64)

    return read


def make_layer(name: str, variable: xr.Variable, rule: QualityRule | None) -> QualityLayer:
    """Return a variable of rows and columns as a quality layer, which holds for all dates."""

    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  the layer holds for all dates
        return np.asarray(variable[rows, columns].values, np.float64)[None]

    return QualityLayer(name, read, rule)
