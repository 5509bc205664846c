"""Readers of grids: values at the stations of a site, or every pixel as a point of satellite radar."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.reader import (
    DIRECTIONS,
    BadRow,
    ImportOptions,
    PointLine,
    ReadingLine,
    ValueMeaning,
    is_companion,
    list_companions,
)
from monitor.ingest.grids.beside import list_layers_beside
from monitor.ingest.grids.geotiff import open_geotiff
from monitor.ingest.grids.quality import NONE, GridGeometry, QualityLayer
from monitor.ingest.grids.rain import are_accumulated, check_stamp
from monitor.ingest.grids.stack import Array, GridStack, find_near
from monitor.ingest.grids.units import choose_unit, read_unit
from monitor.readings.queries.points import Point, PointValue
from monitor.sites.quantities import QUANTITIES, convert, is_unit_of

# Rain of less than 0 by at most this much comes from rounding of packed numbers, or from a difference of sums.
_ROUNDING_MM: Final = 0.05
_MOST_POINTS: Final = 2_000_000
_LEAST_SHARE: Final = 0.5  # of the cells of a window that must have a value
_LAYERS_AT_ONCE: Final = 512
_RAIN: Final = "rain"
_MOTION: Final = "displacement"
_VELOCITY: Final = "velocity"
_MOTION_UNITS: Final = frozenset({"mm", "cm", "m", "mm/yr", "cm/yr", "m/yr", "mm/day", "m/day"})
_TOWARDS: Final = "los-towards"
_DAILY_RATES: Final = {"mm/day": "mm", "m/day": "m"}  # rate of rain -> unit of the sum of a day
_DAY: Final = timedelta(days=1)
_HEAD_BYTES: Final = 8
_CLASSIC_NETCDF: Final = b"CDF"
_HDF5: Final = b"\x89HDF\r\n\x1a\n"

Cells = tuple[slice, slice, NDArray[np.bool_]]
"""Rows and columns around a station, and which of their cells count."""
OpenedPoints = Iterator[tuple[ValueMeaning, Iterator[PointLine]]]


def _open_stack(path: Path, options: ImportOptions, *, use_end: bool) -> AbstractContextManager[GridStack]:
    """Open a netCDF file or a raster."""
    # Quality layers mask displacement and velocity, but not rain and other quantities.
    mask = options.mask if options.mask is not None or options.is_motion else NONE
    companions: Sequence[Path] = ()
    if mask != NONE:
        companions = list_companions(path) if options.companions is None else options.companions
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.startswith((_CLASSIC_NETCDF, _HDF5)):
        if options.variable is not None:
            raise ConfigError(f"{path}: --variable is an option for netCDF files")
        return open_geotiff(path, use_end=use_end, mask=mask, companions=companions)
    from monitor.ingest.grids.netcdf import open_netcdf

    def open_companions(geometry: GridGeometry, stack: ExitStack) -> list[QualityLayer]:
        return list_layers_beside(path, geometry, companions, stack)

    return open_netcdf(path, options.variable, use_end=use_end, mask=mask, open_companions=open_companions)


# ---- values at stations --------------------------------------------------------------------------------------------


@contextmanager
def open_grid(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open the values of a grid at the stations of the site.

    A station gets the value of the nearest cell, or the mean of the cells within `options.window_m` if at least half
    of them have a value. Rain is the sum of an interval and has the time of its end.

    Raises:
        ConfigError: it is no such grid, its values cannot be the quantity, or no station is on it.
    """
    quantity = str(options.quantity)
    with _open_station_stack(path, options, quantity) as stack:
        unit = _choose_station_unit(stack, options, quantity)
        _check_times(stack)
        cells: dict[str, Cells] = {}
        for place in options.places:
            if (found := stack.find_cells(place, options.window_m)) is not None:
                cells[place.station] = found
        if not cells:
            raise ConfigError(f"{stack.name}: none of {len(options.places)} stations with coordinates is on this grid")
        if quantity == _RAIN:
            _check_rain(stack, cells, options, unit)
        yield _walk_times(stack, cells, quantity, unit)


def _open_station_stack(path: Path, options: ImportOptions, quantity: str) -> AbstractContextManager[GridStack]:
    """Open a netCDF file, a raster, or an HDF5 file of MintPy or LiCSBAS."""
    with path.open("rb") as file:
        is_hdf5 = file.read(_HEAD_BYTES) == _HDF5
    if is_hdf5:
        from monitor.ingest.grids.radar_stack import LICSBAS, MINTPY, find_program

        is_velocity = quantity == _VELOCITY
        program = find_program(path)
        if program == MINTPY:
            from monitor.ingest.grids.mintpy import open_mintpy

            return open_mintpy(path, options.mask, options.companions, is_velocity=is_velocity)
        if program == LICSBAS:
            from monitor.ingest.grids.licsbas import open_licsbas

            return open_licsbas(path, options.mask, options.companions, is_velocity=is_velocity)
    return _open_stack(path, options, use_end=quantity == _RAIN)


def _choose_station_unit(stack: GridStack, options: ImportOptions, quantity: str) -> str:
    if quantity == _RAIN and is_unit_of(read_unit(stack.unit), _VELOCITY):
        return _choose_daily_unit(stack, options)
    unit = choose_unit(stack.unit, options.unit, stack.name)
    if quantity in QUANTITIES and not is_unit_of(unit, quantity):
        hint = "rain is the sum of an interval" if quantity == _RAIN else "import a file in a unit of the quantity"
        raise ConfigError(f"{stack.name}: {unit!r} is no unit of {quantity}: {hint}")
    return unit


def _choose_daily_unit(stack: GridStack, options: ImportOptions) -> str:
    """Return the unit of daily rain sums that the file gives as a rate per day, if the user confirms it with --unit.

    Raises:
        ConfigError: the user did not confirm it, the rate is not per day, or the layers are not one day apart.
    """
    rate = read_unit(stack.unit)
    amount = _DAILY_RATES.get(rate)
    times = sorted(stack.times)
    steps = [after - before for before, after in pairwise(times)]
    # A day may be missing among the layers.
    is_daily = not steps or (min(steps) == _DAY and not any(step % _DAY for step in steps))
    if amount is None or not is_daily:
        layers = "" if is_daily else " and its layers are not one day apart"
        raise ConfigError(
            f"{stack.name}: its unit {rate!r} is a rate{layers}: multiply the values by the length of their interval, "
            f"write the unit {amount or 'mm'} into the file, and import that file"
        )
    if options.unit != amount:
        raise ConfigError(
            f"{stack.name}: its unit {rate!r} is a rate. If each layer is the rain of the day that ends at its time, "
            f"give --unit {amount}"
        )
    return amount


def _check_times(stack: GridStack) -> None:
    if len(set(stack.times)) < len(stack.times):
        raise ConfigError(f"{stack.name}: two layers have the same time")


def _check_rain(stack: GridStack, cells: Mapping[str, Cells], options: ImportOptions, unit: str) -> None:
    """Raise ConfigError if the values are no rain, or not the rain that the site file declares."""
    if stack.not_rain_sums and options.variable is None and options.stamp is None:
        raise ConfigError(
            f"{stack.name}: the file states {stack.not_rain_sums}: no sums of rain. If they are, give "
            "--stamp interval_end"
        )
    values: dict[str, list[tuple[float, float]]] = {station: [] for station in cells}
    for line in _walk_times(stack, cells, _RAIN, unit):
        for row, _ in line.rows:
            values[row["station"]].append((row["time"].timestamp(), row["value"]))
    is_accumulated = stack.is_accumulated
    if is_accumulated is None:
        is_accumulated = are_accumulated(values.values())
    has_rain = any(value > 0.0 for station_values in values.values() for _, value in station_values)
    places = [place for place in options.places if place.station in cells]
    is_doubtful = stack.may_be_accumulated and has_rain
    check_stamp(stack.name, places, options.stamp, is_accumulated=is_accumulated, is_doubtful=is_doubtful)


def _walk_times(stack: GridStack, cells: Mapping[str, Cells], quantity: str, unit: str) -> Iterator[ReadingLine]:
    """Yield a line of readings for each layer."""
    rounding = 0.0
    if quantity == _RAIN and is_unit_of(unit, _RAIN):
        rounding = _ROUNDING_MM / convert(1.0, unit, "mm")
    is_zero_missing = quantity.startswith(_MOTION)
    for first in range(0, len(stack.times), _LAYERS_AT_ONCE):
        layers = slice(first, min(first + _LAYERS_AT_ONCE, len(stack.times)))
        means: dict[str, Array] = {}
        rejected: dict[str, NDArray[np.bool_]] = {}
        for station, (rows, columns, counts) in cells.items():
            values, is_rejected = stack.read_masked(layers, rows, columns, zero=is_zero_missing)
            mean = _average(values[:, counts])
            means[station] = np.where((mean < 0.0) & (mean > -rounding), 0.0, mean)
            rejected[station] = np.asarray(is_rejected[:, counts].any(axis=1))
        for k, at in enumerate(stack.times[layers]):
            facts = {"time": at, "quantity": quantity, "unit": unit}
            if stack.component and quantity == _VELOCITY:
                facts["component"] = stack.component
            rows_of_layer = [
                (facts | {"station": station, "value": float(mean[k])}, None)
                for station, mean in means.items()
                if np.isfinite(mean[k])
            ]
            masked = sum(bool(rejected[station][k]) and not np.isfinite(mean[k]) for station, mean in means.items())
            yield ReadingLine(tuple(rows_of_layer), len(means) - len(rows_of_layer), stack.mask_name, masked)


def _average(values: Array) -> Array:
    """Return the mean of the cells of each layer (layers, cells); NaN if fewer than half of them have a value."""
    valid = np.isfinite(values)
    counts = valid.sum(axis=1)
    is_enough = counts >= max(1, _LEAST_SHARE * values.shape[1])
    sums = np.where(valid, values, 0.0).sum(axis=1)
    mean: Array = np.where(is_enough, sums / np.maximum(counts, 1), np.nan)
    return mean


# ---- pixels as points ----------------------------------------------------------------------------------------------


@contextmanager
def open_pixels(path: Path, options: ImportOptions, now: datetime) -> OpenedPoints:
    """Open the pixels of a stack of displacement as points.

    With `options.within_m`, only pixels near a station are points.

    Raises:
        ConfigError: it is no such stack, or the meaning of its values was not given.
    """
    if options.point_set is None or options.direction not in DIRECTIONS:
        raise ConfigError(f"{path}: give --set and --direction: the meaning of the sign is never guessed")
    with _open_stack(path, options, use_end=False) as stack:
        if is_companion(path) and read_unit(stack.unit) not in _MOTION_UNITS:
            raise ConfigError(
                f"{path}: is a mask or a quality layer by its name, not displacement: import the displacement, and "
                "name this layer by --mask. If it does contain displacement, rename the file or write the unit into it"
            )
        unit = choose_unit(stack.unit, options.unit, stack.name)
        yield _declare(stack, options, options.direction, unit), _walk_pixels(stack, options, now)


@contextmanager
def open_mintpy_points(path: Path, options: ImportOptions, now: datetime) -> OpenedPoints:
    """Open the pixels of a MintPy time series as points; raises ConfigError."""
    from monitor.ingest.grids.mintpy import open_mintpy

    _check_direction(path, options, "MintPy")
    with open_mintpy(path, options.mask, options.companions) as stack:
        unit = choose_unit(stack.unit, options.unit, stack.name)
        yield _declare(stack, options, _TOWARDS, unit), _walk_pixels(stack, options, now)


@contextmanager
def open_licsbas_points(path: Path, options: ImportOptions, now: datetime) -> OpenedPoints:
    """Open the pixels of a LiCSBAS time series as points; raises ConfigError."""
    from monitor.ingest.grids.licsbas import open_licsbas

    _check_direction(path, options, "LiCSBAS")
    with open_licsbas(path, options.mask, options.companions) as stack:
        unit = choose_unit(stack.unit, options.unit, stack.name)
        yield _declare(stack, options, _TOWARDS, unit), _walk_pixels(stack, options, now)


def _check_direction(path: Path, options: ImportOptions, program: str) -> None:
    if options.direction not in (None, _TOWARDS):
        raise ConfigError(
            f"{path}: displacement of {program} is positive towards the satellite, not {options.direction}: "
            f"leave out --direction, or give {_TOWARDS}"
        )


def _declare(stack: GridStack, options: ImportOptions, direction: str, unit: str) -> ValueMeaning:
    if unit not in {"mm", "cm", "m"}:
        raise ConfigError(f"{stack.name}: displacement in {unit!r}; expected mm, cm or m (rates are no displacement)")
    _check_times(stack)
    name = options.point_set or Path(options.name or stack.name).stem[:64]
    return ValueMeaning(name, direction, unit, None, stack.reference_at, stack.reference_point, stack.mask_name)


def _walk_pixels(stack: GridStack, options: ImportOptions, now: datetime) -> Iterator[PointLine]:
    """Yield a point for each pixel with a value, and the number of pixels that the quality layers reject."""
    future = [at for at in stack.times if at > now]
    if future:
        raise ConfigError(f"{stack.name}: a layer is in the future: {future[0].isoformat()}")
    count = 0
    all_layers = slice(0, len(stack.times))
    all_columns = slice(0, len(stack.x))
    for first, latitude, longitude in stack.walk_places():
        wanted = np.isfinite(latitude) & np.isfinite(longitude)
        if options.within_m is not None:
            wanted &= find_near(latitude, longitude, options.places, options.within_m)
        if not wanted.any():
            continue
        rows = slice(first, first + len(latitude))
        values, rejected = stack.read_masked(all_layers, rows, all_columns, zero=True)
        valid = np.isfinite(values)
        has_value = valid.any(axis=0)
        rejected_values = int((rejected & (wanted & ~has_value)).sum())
        if rejected_values:
            yield PointLine(None, missing=rejected_values, masked=rejected_values)
        for row, column in zip(*np.nonzero(wanted & has_value), strict=True):
            count += 1
            if count > _MOST_POINTS:
                raise ConfigError(
                    f"{stack.name}: more than {_MOST_POINTS} pixels; give --within METRES of the stations"
                )
            yield _make_point(
                stack,
                float(latitude[row, column]),
                float(longitude[row, column]),
                values[:, row, column],
                valid[:, row, column],
                int(rejected[:, row, column].sum()),
            )


def _make_point(
    stack: GridStack, latitude: float, longitude: float, values: Array, valid: NDArray[np.bool_], masked: int
) -> PointLine:
    """Return a pixel as a point. Its id is its place: a part of the same grid has the same points."""
    pid = f"{latitude:.5f} {longitude:.5f}"
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        error = PayloadError("bad_place", f"pixel {pid} is no latitude and longitude")
        return PointLine(None, bad=(BadRow({"point": pid}, error, int(valid.sum())),))
    point_values = tuple(
        PointValue(pid, at, float(value))
        for at, value, is_valid in zip(stack.times, values, valid, strict=True)
        if is_valid
    )
    return PointLine(Point(pid, latitude, longitude), point_values, int((~valid).sum()), masked=masked)
