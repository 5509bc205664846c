"""Metadata of the CF conventions (cfconventions.org): axes, times, coordinate systems."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite, prod
from typing import Any, Final

import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from monitor.errors import ConfigError
from monitor.ingest.grids.dataset import read_text
from monitor.ingest.grids.packing import unpack
from monitor.ingest.grids.stack import MOST_SIDE, MOST_TIMES, Array
from monitor.ingest.text.counts import read_since

_STANDARD_NAMES: Final = {
    "x": frozenset({"projection_x_coordinate", "longitude"}),
    "y": frozenset({"projection_y_coordinate", "latitude"}),
}
_AXIS_NAMES: Final = {
    "x": frozenset({"x", "easting", "lon", "longitude"}),
    "y": frozenset({"y", "northing", "lat", "latitude"}),
}
_METRES: Final = {"km": 1000.0, "kilometre": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0}
_CALENDARS: Final = frozenset({"standard", "gregorian", "proleptic_gregorian", ""})
# Start of the Gregorian calendar. The standard calendar is Julian before.
_GREGORIAN_START: Final = datetime(1582, 10, 15, tzinfo=UTC)

Variables = Mapping[Any, xr.Variable]
"""Variables of a file by name."""


def list_grids(variables: Variables) -> dict[str, xr.Variable]:
    """Return the variables that have coordinates for rows and columns."""
    return {
        str(name): variable
        for name, variable in variables.items()
        if variable.ndim >= 2
        and name not in variable.dims
        and any(_is_axis(variables, dimension, "x") for dimension in variable.dims)
        and any(_is_axis(variables, dimension, "y") for dimension in variable.dims)
    }


def choose_grid(file: str, variables: Variables, wanted: str | None) -> tuple[str, xr.Variable]:
    """Return name and variable of the grid that the user named, or of the only one.

    Raises:
        ConfigError: there is no such grid, or more than one.
    """
    grids = list_grids(variables)
    if wanted is not None:
        if wanted not in grids:
            raise ConfigError(f"{file}: no grid {wanted!r}; there are: {', '.join(sorted(grids)) or 'none'}")
        return wanted, grids[wanted]
    if len(grids) != 1:
        names = ", ".join(sorted(grids)) or "none (rows and columns need coordinates of one dimension)"
        raise ConfigError(f"{file}: expected one grid, or --variable; there are: {names}")
    return next(iter(grids.items()))


def _is_axis(variables: Variables, dimension: Any, axis: str) -> bool:
    coordinate = variables.get(dimension)
    if coordinate is None or coordinate.ndim != 1:
        return False
    standard_name = read_text(coordinate.attrs, "standard_name")
    if standard_name in _STANDARD_NAMES[axis] or read_text(coordinate.attrs, "axis").lower() == axis:
        return True
    return not standard_name and str(dimension).lower() in _AXIS_NAMES[axis]


def find_axis(file: str, variables: Variables, values: xr.Variable, axis: str) -> str:
    """Return the dimension of a grid that is its axis x or y.

    Raises:
        ConfigError: there is none, more than one, or it is too long.
    """
    dimensions = [str(dimension) for dimension in values.dims if _is_axis(variables, dimension, axis)]
    if len(dimensions) != 1 or values.sizes[dimensions[0]] > MOST_SIDE:
        raise ConfigError(f"{file}: expected one dimension {axis} of at most {MOST_SIDE} cells")
    return dimensions[0]


def list_layer_dimensions(values: xr.Variable, x: str, y: str) -> list[str]:
    """Return the dimensions of a grid besides rows and columns that have more than one value."""
    return [str(dimension) for dimension, size in values.sizes.items() if dimension not in {x, y} and size > 1]


def find_time(file: str, variables: Variables, values: xr.Variable, layers: list[str]) -> xr.Variable:
    """Return the times of the layers of a grid, or the time of its only layer.

    Args:
        layers: Dimensions of `list_layer_dimensions`.

    Raises:
        ConfigError: the layers have no times.
    """
    if len(layers) > 1:
        raise ConfigError(f"{file}: dimensions {', '.join(layers)} beside x and y; expected time alone")
    if layers:
        coordinate = variables.get(layers[0])
        if coordinate is None or not is_time(coordinate):
            raise ConfigError(f"{file}: dimension {layers[0]!r} has no times")
        return coordinate
    names = [*values.dims, *read_text(values.attrs, "coordinates").split()]
    times = [variables[name] for name in names if name in variables and is_time(variables[name])]
    times = times or [
        variable
        for name, variable in variables.items()
        if is_time(variable)
        and prod(variable.shape) == 1
        and (name == "time" or read_text(variable.attrs, "standard_name") == "time")
    ]
    if len(times) != 1:
        hint = "" if times else "; a time has units such as 'hours since 2026-01-01' (CF conventions)"
        raise ConfigError(f"{file}: expected one time of the grid, found {len(times)}{hint}")
    return times[0]


def is_time(variable: xr.Variable) -> bool:
    """Return whether a variable holds times."""
    return " since " in read_text(variable.attrs, "units").lower()


def find_bounds(variables: Variables, time: xr.Variable) -> xr.Variable | None:
    """Return the start and end of the interval of each time, if the file has them."""
    bounds = variables.get(read_text(time.attrs, "bounds"))
    return bounds if bounds is not None and bounds.shape == (*time.shape, 2) else None


def read_instants(file: str, variables: Variables, time: xr.Variable, *, use_end: bool) -> tuple[datetime, ...]:
    """Return the times of layers.

    Args:
        use_end: Return the ends of intervals, if the file has bounds of the times.

    Raises:
        ConfigError: there are too many times, or they cannot be read.
    """
    if prod(time.shape) > MOST_TIMES:
        raise ConfigError(f"{file}: more than {MOST_TIMES} times")
    bounds = find_bounds(variables, time)
    numbers = np.ravel(unpack(time))
    if use_end and bounds is not None:
        numbers = unpack(bounds).reshape(-1, 2).max(axis=1)
    return read_times(numbers.tolist(), read_text(time.attrs, "units"), read_text(time.attrs, "calendar"), file)


def read_times(numbers: Iterable[float], units: str, calendar: str, file: str) -> tuple[datetime, ...]:
    """Return the instants of a time axis. Without a time zone, it counts in UTC, as the CF conventions define.

    xarray is not used here, because without cftime it rejects many units of UDUNITS, such as `ms` and `d`.

    >>> read_times([0, 1.5], "hours since 2020-10-31 06:00:00", "", "a.nc")[1].isoformat()
    '2020-10-31T07:30:00+00:00'
    >>> read_times([10], "days since 2020-10-31T00:00:00Z", "standard", "a.nc")[0].isoformat()
    '2020-11-10T00:00:00+00:00'
    >>> read_times([1500], "ms since 2020-10-31", "", "a.nc")[0].isoformat()
    '2020-10-31T00:00:01.500000+00:00'

    Raises:
        ConfigError: the unit or the calendar is not supported, or a time is invalid.
    """
    unsupported = ConfigError(
        f"{file}: time in {units[:60]!r}, calendar {calendar[:30] or 'standard'!r}, cannot be read"
    )
    if calendar.lower() not in _CALENDARS:
        raise unsupported
    try:
        second, start = read_since(units)
        instants = []
        for number in numbers:
            if not isfinite(number):
                raise ValueError
            instants.append(start + timedelta(seconds=round(float(number) * second, 3)))
    except LookupError:
        raise unsupported from None
    except (ValueError, OverflowError):
        raise ConfigError(f"{file}: a time in {units[:60]!r} is invalid") from None
    if start < _GREGORIAN_START and not calendar.lower().startswith("proleptic"):
        raise unsupported
    return tuple(instants)


def find_crs(file: str, variables: Variables, values: xr.Variable, x: str) -> CRS:
    """Return the coordinate system of a grid: its grid mapping, or latitude and longitude.

    Raises:
        ConfigError: the file does not state it, or it cannot be used.
    """
    mapping = variables.get(read_text(values.attrs, "grid_mapping").split(":")[0])
    if mapping is None:
        axis = variables[x]
        is_longitude = read_text(axis.attrs, "standard_name") == "longitude"
        if is_longitude or read_text(axis.attrs, "units").lower().startswith("degree"):
            return CRS.from_epsg(4326)
        raise ConfigError(f"{file}: there is no grid_mapping that states the meaning of x and y")
    attributes = {str(name): _to_plain(value) for name, value in mapping.attrs.items()}
    try:
        return CRS.from_cf(attributes)
    except (CRSError, KeyError) as error:
        raise ConfigError(f"{file}: its grid_mapping cannot be used: {str(error)[:120]}") from None


def _to_plain(value: Any) -> Any:
    """Return an attribute as a Python value, which pyproj requires."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def read_axis(coordinate: xr.Variable, crs: CRS) -> Array:
    """Return the centres of rows or columns, in degrees or in metres."""
    numbers = unpack(coordinate)
    if crs.is_geographic:
        return numbers
    return numbers * _METRES.get(read_text(coordinate.attrs, "units").lower(), 1.0)
