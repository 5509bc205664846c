"""A stack: values on a grid at several instants, read by windows, wherever the file keeps them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from detection.imagery.raster.reading.fills import ValueStatistics, is_fill
from monitor.errors import ConfigError
from monitor.ingest.files.reader import StationPlace
from monitor.sites.ground import wrap_longitude

Array = NDArray[np.float64]
METRES_PER_DEGREE: Final = 111_195.0
ONE_CELL_M: Final = 16_000.0  # half of the coarsest cell in use, 0.25 degrees with room
WINDOW_BYTES: Final = 32 << 20
MOST_BYTES: Final = 512 << 20
MOST_TIMES: Final = 100_000
MOST_SIDE: Final = 200_000


@dataclass(frozen=True, slots=True)
class GridStack:
    """Values on a grid."""

    name: str  # of the file, for lines that people read
    times: tuple[datetime, ...]  # of its layers, aware UTC
    x: Array  # of the centres of its columns, in the units of `crs`
    y: Array  # of the centres of its rows
    crs: CRS  # what x and y mean
    unit: str  # as the file says it, "" where it does not
    # values of layers, rows and columns, NaN where there is none; shape (layers, rows, columns)
    read: Callable[[slice, slice, slice], Array]
    rows_kept: int = 1  # rows that the file keeps in one piece: reading a part of it unpacks all
    # whether the file says that its values add up from a beginning; None where it does not say it
    adds_up: bool | None = None
    may_add_up: bool = False  # it is called as rain that does
    no_rain: str = ""  # what the file says of its values that sums of rain are not; empty where it says no such thing
    reference_at: datetime | None = None  # the date from which displacements count, where the file says it
    reference_point: str | None = None  # the place against which they count, where the file says it
    mask_name: str = ""  # the quality layers that `read_good` applies, "" where it is None
    # which cells a quality layer calls good, shape (layers or 1, rows, columns); None: no quality layer applies
    read_good: Callable[[slice, slice, slice], NDArray[np.bool_]] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no grid, or larger than any that is read."""
        if not self.times or len(self.times) > MOST_TIMES:
            raise ConfigError(f"{self.name}: {len(self.times)} times; expected 1 to {MOST_TIMES}")
        for axis, name in ((self.x, "column"), (self.y, "row")):
            steps = np.diff(axis)
            if not 1 <= len(axis) <= MOST_SIDE or not np.isfinite(axis).all() or not (all_up(steps) or all_up(-steps)):
                raise ConfigError(f"{self.name}: {len(axis)} {name}s that neither rise nor fall are no grid")

    def read_masked(self, layers: slice, rows: slice, columns: slice, *, zero: bool) -> tuple[Array, NDArray[np.bool_]]:
        """Read values without fills and without the cells that the quality layers reject.

        Args:
            zero: as in `leave_fills`.

        Returns:
            the values, NaN where there is none, and where a quality layer took a value away.
        """
        values = leave_fills(self.read(layers, rows, columns), zero=zero)
        if self.read_good is None:
            return values, np.zeros(values.shape, bool)
        rejected = np.isfinite(values) & ~np.broadcast_to(self.read_good(layers, rows, columns), values.shape)
        return np.where(rejected, np.nan, values), rejected

    def find_cells(self, place: StationPlace, window_m: float | None) -> tuple[slice, slice, NDArray[np.bool_]] | None:
        """Rows and columns around a station, and which of these cells count; None where it stands outside of the grid.

        Args:
            window_m: cells whose centre is not farther away; None: the nearest one alone.
        """
        x, y = self._project(place)
        east_m, north_m = self._scale(place.latitude)
        row = _find_nearest(self.y, y, self.x, ONE_CELL_M / north_m)
        column = _find_nearest(self.x, x, self.y, ONE_CELL_M / east_m)
        if row is None or column is None:
            return None
        if window_m is None:
            return slice(row, row + 1), slice(column, column + 1), np.ones((1, 1), bool)
        rows, columns = (
            np.flatnonzero(np.abs(axis - at) * scale <= window_m)
            for axis, at, scale in ((self.y, y, north_m), (self.x, x, east_m))
        )
        if not len(rows) or not len(columns):
            raise ConfigError(f"{self.name}: no centre of a cell lies within {window_m:g} m of station {place.station}")
        high, wide = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        apart = np.hypot((self.y[high] - y)[:, None] * north_m, (self.x[wide] - x)[None, :] * east_m)
        return high, wide, apart <= window_m

    def walk_places(self) -> Iterator[tuple[int, Array, Array]]:
        """Blocks of rows: the first row, and latitude and longitude of each cell, shape (rows, columns)."""
        row_bytes = 8 * len(self.x) * (len(self.times) + 4)
        many = max(1, WINDOW_BYTES // row_bytes)
        if many >= self.rows_kept:
            many -= many % self.rows_kept
        elif self.rows_kept * row_bytes <= MOST_BYTES:
            many = self.rows_kept
        to_degrees = self._transformer(inverse=True)
        for first in range(0, len(self.y), many):
            wide, high = np.meshgrid(self.x, self.y[first : first + many])
            # of one cell as numbers: before numpy 2.4 an array of one is taken for a number, with a warning
            found = to_degrees.transform(*((wide, high) if wide.size > 1 else (wide.item(), high.item())))
            longitude, latitude = (np.reshape(one, wide.shape) for one in found)
            yield first, latitude, wrap_longitude(longitude)

    def _project(self, place: StationPlace) -> tuple[float, float]:
        x, y = self._transformer(inverse=False).transform(place.longitude, place.latitude)
        if self.crs.is_geographic:  # columns may count from 0 to 360, or from -360 to 0
            x = min((x, x + 360.0, x - 360.0), key=lambda one: float(np.abs(self.x - one).min()))
        return float(x), float(y)

    def _transformer(self, *, inverse: bool) -> Transformer:
        pair = (self.crs, CRS.from_epsg(4326))
        try:
            return Transformer.from_crs(*(pair if inverse else pair[::-1]), always_xy=True)
        except ProjError as error:
            raise ConfigError(f"{self.name}: its coordinates cannot be used: {error}") from None

    def _scale(self, latitude: float) -> tuple[float, float]:
        if not self.crs.is_geographic:
            return 1.0, 1.0
        return METRES_PER_DEGREE * float(np.cos(np.radians(latitude))), METRES_PER_DEGREE


def name_reference(given: Mapping[str, str]) -> str | None:
    """The place against which displacements count, as attributes of MintPy or the tags of its GeoTIFF say it."""
    return ", ".join(given[key].strip() for key in ("REF_LAT", "REF_LON") if key in given) or None


def leave_fills(values: Array, *, zero: bool) -> Array:
    """Values, layers first, without fills that nobody declared: numbers that stand alone, and pixels that never change.

    Args:
        values: NaN where there is none.
        zero: a pixel of 0 on all layers is masked; of rain it is dry.
    """
    record, valid = ValueStatistics(), np.isfinite(values)
    record.feed(values, valid)
    for fill in record.find_fills():
        valid &= values != fill
    first = values[0]
    still = (values == first).all(axis=0)
    masked = np.zeros(first.shape, bool)
    for number in np.unique(first[still]):
        if is_fill(float(number), zero=zero):
            masked |= still & (first == number)
    if len(values) > 1 or not (first == 0).all():  # one date of nothing but 0 is that from which others count
        valid &= ~masked
    plain: Array = np.where(valid, values, np.nan)
    return plain


def all_up(steps: Array) -> bool:
    """Whether every step rises."""
    return bool((steps > 0).all())


def _find_nearest(axis: Array, at: float, other: Array, most: float) -> int | None:
    """The cell that holds a coordinate; None beyond half a cell of the outermost centres.

    A single row or column is as wide as the cells of the other axis. How large a single cell is, nobody says: it counts
    as far as `most`.
    """
    k = int(np.abs(axis - at).argmin())
    if len(axis) == 1:
        if len(other) == 1:
            return k if abs(float(axis[0]) - at) <= most else None
        step = abs(float(other[-1] - other[0])) / (len(other) - 1)
        return k if abs(float(axis[0]) - at) <= step * (0.5 + 1e-9) else None
    inner = 0 < k < len(axis) - 1
    span = abs(float(axis[min(k + 1, len(axis) - 1)] - axis[max(k - 1, 0)]))
    step = span / 2.0 if inner else span
    return k if abs(float(axis[k]) - at) <= step * (0.5 + 1e-9) else None


def find_near(latitude: Array, longitude: Array, places: Sequence[StationPlace], within_m: float) -> Any:
    """Which cells lie so near to any of the stations."""
    near = np.zeros(latitude.shape, bool)
    for place in places:
        east_m = METRES_PER_DEGREE * np.cos(np.radians(place.latitude))
        apart = np.hypot((latitude - place.latitude) * METRES_PER_DEGREE, (longitude - place.longitude) * east_m)
        near |= apart <= within_m
    return near
