"""Radar displacement and velocity in HDF5 files of MintPy and LiCSBAS."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from monitor.errors import ConfigError
from monitor.ingest.grids.dataset import READ_ERRORS, make_read_error, open_dataset
from monitor.ingest.grids.quality import QualityLayer, QualityRule
from monitor.ingest.grids.stack import MOST_TIMES, Array

MINTPY: Final = "MintPy"
LICSBAS: Final = "LiCSBAS"
TOWARDS: Final = "los-towards"  # the sign of both programs
_MINTPY_ATTRIBUTES: Final = ("X_FIRST", "Y_FIRST", "FILE_TYPE")


def find_program(path: Path) -> str:
    """Return the program that wrote an HDF5 file; empty if it is neither MintPy nor LiCSBAS.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with open_dataset(path) as dataset:
            if all(name in dataset.attrs for name in _MINTPY_ATTRIBUTES):
                return MINTPY
            return LICSBAS if "imdates" in dataset.variables else ""
    except READ_ERRORS as error:
        raise make_read_error(path, "HDF5", error) from None


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


def make_velocity_reader(velocity: xr.Variable) -> Callable[[slice, slice, slice], Array]:
    """Return a function that reads rows and columns of a velocity.

    A velocity of 0 is missing: MintPy writes it where it estimated none.
    """

    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  there is one layer
        values = np.asarray(velocity[rows, columns].values, np.float64)[None]
        return np.where(values == 0.0, np.nan, values)

    return read


def make_layer(name: str, variable: xr.Variable, rule: QualityRule | None) -> QualityLayer:
    """Return a variable of rows and columns as a quality layer, which holds for all dates."""

    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  the layer holds for all dates
        return np.asarray(variable[rows, columns].values, np.float64)[None]

    return QualityLayer(name, read, rule)
