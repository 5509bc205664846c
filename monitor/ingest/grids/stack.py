"""A stack of layers on one grid, one layer for each time, which is read in windows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from detection.imagery.raster.reading.fills import ValueStatistics, has_fill_form
from monitor.errors import ConfigError
from monitor.ingest.files.reader import StationPlace
from monitor.sites.ground import wrap_longitude

Array = NDArray[np.float64]
METRES_PER_DEGREE: Final = 111_195.0
# Distance within which a station belongs to a grid of one cell: half of a cell of 0.25 degrees, with a margin.
ONE_CELL_M: Final = 16_000.0
WINDOW_BYTES: Final = 32 << 20
CHUNK_ROWS_BYTES: Final = 512 << 20  # largest window that is read to avoid unpacking a chunk twice
MOST_TIMES: Final = 100_000
MOST_SIDE: Final = 200_000  # rows or columns


@dataclass(frozen=True, slots=True)
class GridStack:
    """Values on a grid at several times.

    Attributes:
        name: Name of the file, for messages.
        times: Times of the layers, with time zone UTC.
        x: Centres of the columns, in the units of `crs`.
        y: Centres of the rows.
        unit: Unit as the file spells it; empty if the file states none.
        read: Reads layers, rows and columns; shape (layers, rows, columns), NaN where there is no value.
        chunk_rows: Rows that the file stores in one chunk. Reading a part of a chunk unpacks all of it.
        is_accumulated: Whether the file states that values accumulate from a start; None if it states nothing.
        may_be_accumulated: Whether the variable has a name under which models publish accumulated rain.
        not_rain_sums: What the file states about its values that excludes sums of rain; empty if nothing does.
        reference_at: Date from which displacements count, if the file states it.
        reference_point: Place against which displacements count, if the file states it.
        mask_name: Quality layers that `read_good` applies; empty if there are none.
        read_good: Reads which cells are good by the quality layers, shape (layers or 1, rows, columns).
        component: Direction of positive velocities, such as los-towards; empty if it is not known.
    """

    name: str
    times: tuple[datetime, ...]
    x: Array
    y: Array
    crs: CRS
    unit: str
    read: Callable[[slice, slice, slice], Array]
    chunk_rows: int = 1
    is_accumulated: bool | None = None
    may_be_accumulated: bool = False
    not_rain_sums: str = ""
    reference_at: datetime | None = None
    reference_point: str | None = None
    mask_name: str = ""
    read_good: Callable[[slice, slice, slice], NDArray[np.bool_]] | None = None
    component: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError if times or axes are not those of a grid, or the grid is too large."""
        if not self.times or len(self.times) > MOST_TIMES:
            raise ConfigError(f"{self.name}: {len(self.times)} times; expected 1 to {MOST_TIMES}")
        for axis, name in ((self.x, "column"), (self.y, "row")):
            steps = np.diff(axis)
            is_monotonic = bool((steps > 0).all() or (steps < 0).all())
            if not 1 <= len(axis) <= MOST_SIDE or not np.isfinite(axis).all() or not is_monotonic:
                raise ConfigError(
                    f"{self.name}: the coordinates of its {len(axis)} {name}s must rise or fall, and be at most "
                    f"{MOST_SIDE}"
                )

    def read_masked(self, layers: slice, rows: slice, columns: slice, *, zero: bool) -> tuple[Array, NDArray[np.bool_]]:
        """Read values without undeclared fills and without cells that the quality layers reject.

        Args:
            zero: As in `mask_fills`.

        Returns:
            The values, NaN where there is none, and where a quality layer rejected a value.
        """
        values = mask_fills(self.read(layers, rows, columns), zero=zero)
        if self.read_good is None:
            return values, np.zeros(values.shape, bool)
        good = np.broadcast_to(self.read_good(layers, rows, columns), values.shape)
        rejected = np.isfinite(values) & ~good
        return np.where(rejected, np.nan, values), rejected

    def find_cells(self, place: StationPlace, window_m: float | None) -> tuple[slice, slice, NDArray[np.bool_]] | None:
        """Return rows and columns around a station, and which of their cells count; None if it is outside the grid.

        Args:
            window_m: Cells count whose centre is at most this far away. None: only the nearest cell counts.

        Raises:
            ConfigError: no centre of a cell is in the window.
        """
        x, y = self._project(place)
        east_m, north_m = self._find_unit_lengths_m(place.latitude)
        row = _find_nearest(self.y, y, self.x, ONE_CELL_M / north_m)
        column = _find_nearest(self.x, x, self.y, ONE_CELL_M / east_m)
        if row is None or column is None:
            return None
        if window_m is None:
            return slice(row, row + 1), slice(column, column + 1), np.ones((1, 1), bool)
        rows = np.flatnonzero(np.abs(self.y - y) * north_m <= window_m)
        columns = np.flatnonzero(np.abs(self.x - x) * east_m <= window_m)
        if not len(rows) or not len(columns):
            raise ConfigError(f"{self.name}: no centre of a cell is within {window_m:g} m of station {place.station}")
        row_range = slice(rows[0], rows[-1] + 1)
        column_range = slice(columns[0], columns[-1] + 1)
        distances_m = np.hypot((self.y[row_range] - y)[:, None] * north_m, (self.x[column_range] - x)[None, :] * east_m)
        return row_range, column_range, distances_m <= window_m

    def walk_places(self) -> Iterator[tuple[int, Array, Array]]:
        """Yield blocks of rows: number of the first row, and latitude and longitude of the cells (rows, columns)."""
        row_bytes = 8 * len(self.x) * (len(self.times) + 4)
        block_rows = max(1, WINDOW_BYTES // row_bytes)
        if block_rows >= self.chunk_rows:
            block_rows -= block_rows % self.chunk_rows
        elif self.chunk_rows * row_bytes <= CHUNK_ROWS_BYTES:
            block_rows = self.chunk_rows
        to_degrees = self._make_transformer(inverse=True)
        for first in range(0, len(self.y), block_rows):
            x, y = np.meshgrid(self.x, self.y[first : first + block_rows])
            # pyproj passes an array of one cell to float(), for which numpy before 2.4 raises a warning
            cells = (x, y) if x.size > 1 else (x.item(), y.item())
            longitude, latitude = (np.reshape(degrees, x.shape) for degrees in to_degrees.transform(*cells))
            yield first, latitude, wrap_longitude(longitude)

    def _project(self, place: StationPlace) -> tuple[float, float]:
        x, y = self._make_transformer(inverse=False).transform(place.longitude, place.latitude)
        if self.crs.is_geographic:
            # columns may count from 0 to 360, or from -360 to 0
            x = min((x, x + 360.0, x - 360.0), key=lambda turned: float(np.abs(self.x - turned).min()))
        return float(x), float(y)

    def _make_transformer(self, *, inverse: bool) -> Transformer:
        degrees = CRS.from_epsg(4326)
        source, target = (self.crs, degrees) if inverse else (degrees, self.crs)
        try:
            return Transformer.from_crs(source, target, always_xy=True)
        except ProjError as error:
            raise ConfigError(f"{self.name}: its coordinates cannot be used: {error}") from None

    def _find_unit_lengths_m(self, latitude: float) -> tuple[float, float]:
        """Return the length of one unit of x and of y at a latitude, m."""
        if not self.crs.is_geographic:
            return 1.0, 1.0
        return METRES_PER_DEGREE * float(np.cos(np.radians(latitude))), METRES_PER_DEGREE


def name_reference(attributes: Mapping[str, str]) -> str | None:
    """Return the place against which displacements count, from attributes of MintPy or the tags of its GeoTIFF."""
    return ", ".join(attributes[key].strip() for key in ("REF_LAT", "REF_LON") if key in attributes) or None


def mask_fills(values: Array, *, zero: bool) -> Array:
    """Return values with NaN for undeclared fills: numbers far from all others, and pixels that never change.

    Args:
        values: Shape (layers, rows, columns), NaN where there is no value.
        zero: Whether a pixel that is 0 in all layers is masked. A pixel without rain is not.
    """
    valid = np.isfinite(values)
    statistics = ValueStatistics()
    statistics.add(values, valid)
    for fill in statistics.find_fills():
        valid &= values != fill
    first = values[0]
    is_constant = (values == first).all(axis=0)
    masked = np.zeros(first.shape, bool)
    for number in np.unique(first[is_constant]):
        if has_fill_form(float(number), zero=zero):
            masked |= is_constant & (first == number)
    # A single layer of zeros is the reference date, from which the displacements of the others count.
    if len(values) > 1 or not (first == 0).all():
        valid &= ~masked
    unmasked: Array = np.where(valid, values, np.nan)
    return unmasked


def _find_nearest(axis: Array, position: float, other: Array, one_cell: float) -> int | None:
    """Return the index of the cell that contains a position; None beyond half a cell of the outermost centres.

    A single row or column is as wide as the cells of the other axis. The size of a single cell is not known: it reaches
    as far as `one_cell`.
    """
    k = int(np.abs(axis - position).argmin())
    distance = abs(float(axis[k]) - position)
    if len(axis) == 1:
        if len(other) == 1:
            return k if distance <= one_cell else None
        step = abs(float(other[-1] - other[0])) / (len(other) - 1)
    else:
        before, after = max(k - 1, 0), min(k + 1, len(axis) - 1)
        step = abs(float(axis[after] - axis[before])) / (after - before)
    return k if distance <= step * (0.5 + 1e-9) else None


def find_near(latitude: Array, longitude: Array, places: Sequence[StationPlace], within_m: float) -> Any:
    """Return which cells are at most `within_m` from one of the stations."""
    near = np.zeros(latitude.shape, bool)
    for place in places:
        east_m = METRES_PER_DEGREE * np.cos(np.radians(place.latitude))
        distance_m = np.hypot((latitude - place.latitude) * METRES_PER_DEGREE, (longitude - place.longitude) * east_m)
        near |= distance_m <= within_m
    return near
