"""Read rasters of other dates, sensors or surfaces by windows on one grid, and draw outlines on it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from shapely.geometry import shape as shape_of

from detection.geojson import Geometry
from detection.imagery.errors import BandMissingError, TruncatedRasterError
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid, apply_affine, from_lonlat, same_grid
from detection.imagery.raster.raster import inspect, read_grid, window_of
from detection.imagery.raster.reading.bands import choose_band
from detection.imagery.raster.reading.values import BandQuantity, open_values
from detection.imagery.raster.rewriting import EMPTY_VALUE
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.raster.warping import warp

STRIP_ROWS = 512
STRIP_PX = 1 << 23  # most pixels of a strip; on wide grids a strip has fewer rows
# In windows of at most so many pixels, testing each pixel is faster than drawing a raster.
SAMPLED_PX = 1 << 14
# Greatest distance of the vertices along the sides of windows that are transformed to another grid.
VERTEX_STEP_PX = 64.0
Box = tuple[int, int, int, int]  # column, row, width, height


class Layer(ExitStack):
    """A band that is read by windows of a grid; use as a context manager.

    A band on another grid is warped. Pixels that the raster does not cover are not valid.

    Args:
        path: the raster.
        grid: the grid of the windows.
        index: number of the band; None: the band that `choose_band` finds for the quantity, or band 1.
        nearest: warp by nearest neighbour (classes, masks) instead of bilinearly.
        nodata: stored number that marks nodata, in addition to the nodata value of the file.
        offset: added to the values.
        quantity: quantity of the values; None: numbers as they are stored, such as classes.

    Attributes:
        notes: a sentence for each kind of values that is left out.
        warped: whether the band is on another grid.

    Raises:
        BandMissingError: the raster has no such band.
        RadiometryError: a scale, unit or value is impossible.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        index: int | None = None,
        *,
        nearest: bool = False,
        nodata: float | None = None,
        offset: float = 0.0,
        quantity: BandQuantity | None = None,
    ) -> None:
        if index is None:
            content = "" if quantity is None else quantity.content
            index = choose_band(path, inspect(path), content) if content else 1
        self.path = path
        self.grid = grid
        self.index = index
        self.notes: list[str] = []
        self._offset = np.float32(offset)
        super().__init__()
        try:
            path_grid = read_grid(path)
            reading = (
                open_raster(path)
                if quantity is None
                else open_values(path, quantity, index, notes=self.notes, empty=nodata)
            )
            source = self.enter_context(reading)
            is_rewritten = quantity is not None and source.nodatavals[index - 1] == EMPTY_VALUE
            self._stated_nodata = None if is_rewritten else nodata
            if not 1 <= index <= source.count:
                raise BandMissingError(f"{path}: band {index} was asked for, the file has {source.count}")
            self.tags: dict[str, str] = dict(source.tags())
            self.dtype = np.dtype(source.dtypes[index - 1])
            src_nodata = source.nodata if source.nodata is not None else nodata
            self.warped = not same_grid(grid, path_grid)
            if self.warped:
                resampling = Resampling.nearest if nearest else Resampling.bilinear
                source = self.enter_context(warp(source, grid, resampling, src_nodata=src_nodata))
            # The mask flags do not contain the alpha band that the warp adds, so it is read explicitly.
            self._alpha_index = source.count if self.warped and src_nodata is None else 0
            self._source = source
            self._flags = tuple(source.mask_flag_enums[index - 1])
            # If only a nodata value marks invalid pixels, a comparison with it saves reading the mask.
            has_only_nodata = (
                self._flags == (MaskFlags.nodata,) and np.issubdtype(self.dtype, np.integer) and not self.warped
            )
            self._only_nodata = source.nodatavals[index - 1] if has_only_nodata else None
        except BaseException:
            self.close()
            raise

    def read(
        self, column: int, row: int, width: int, height: int, every: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window: values as float32, 0 where they are not valid, and where they are valid.

        Args:
            column: of the first pixel.
            row: of the first pixel.
            width: of the window.
            height: of the window.
            every: return only each n-th row and column.

        Raises:
            TruncatedRasterError: a block cannot be read.
        """
        window = window_of(column, row, width, height)
        try:
            stored = self._source.read(self.index, window=window)[::every, ::every]
            values = np.asarray(stored, np.float32)
            valid = np.isfinite(values) if self.dtype.kind == "f" else np.ones(values.shape, bool)
            if self._alpha_index:
                valid &= self._source.read(self._alpha_index, window=window)[::every, ::every] > 0
            elif self._only_nodata is not None:
                valid &= stored != self._only_nodata
            elif MaskFlags.all_valid not in self._flags:
                valid &= self._source.read_masks(self.index, window=window)[::every, ::every] > 0
        except RasterioError:
            raise TruncatedRasterError(f"{self.path}: a block from row {row} on cannot be read") from None
        if self._stated_nodata is not None:
            valid &= values != self._stated_nodata
        if self._offset:
            values = values + self._offset
        return np.where(valid, values, np.float32(0)), valid

    def read_steps(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a window of stored probability steps as uint8, `NODATA` where they are not valid.

        Raises:
            TruncatedRasterError: a block cannot be read.
        """
        values, valid = self.read(column, row, width, height)
        return np.where(valid, np.rint(values), NODATA).astype(np.uint8)

    def read_values(self, column: int, row: int, width: int, height: int) -> NDArray[np.float32]:
        """Read the stored numbers of a window as float32, without mask and offset."""
        window = window_of(column, row, width, height)
        return np.asarray(self._source.read(self.index, window=window), np.float32)


def strips(grid: Grid, rows: int = STRIP_ROWS) -> Iterator[Box]:
    """Yield windows of full width from top to bottom, with at most `rows` rows.

    >>> from affine import Affine
    >>> [box for box in strips(Grid(Affine.identity(), "", 7, 5), 3)]
    [(0, 0, 7, 3), (0, 3, 7, 2)]
    """
    rows = max(1, min(rows, STRIP_PX // grid.width))
    for row in range(0, grid.height, rows):
        yield 0, row, grid.width, min(rows, grid.height - row)


def burn(outline: Any, box: Box) -> NDArray[np.bool_]:
    """Return the pixels of a window whose centre lies in an outline given in (column, row) of the grid."""
    column, row, width, height = box
    if outline.is_empty:
        return np.zeros((height, width), bool)
    if width * height <= SAMPLED_PX:
        shapely.prepare(outline)
        x, y = np.arange(column, column + width) + 0.5, np.arange(row, row + height) + 0.5
        return np.asarray(shapely.contains_xy(outline, *np.meshgrid(x, y)))
    shifted = shapely.transform(outline, lambda points: points - np.array([column, row]))
    return np.asarray(rasterio.features.rasterize([shifted], out_shape=(height, width), dtype="uint8")).astype(bool)


def to_pixels(geometry: Any, grid: Grid) -> Any:
    """Return a geometry in longitude and latitude, or an array of them, in (column, row) of a grid."""

    def transform(lon: NDArray[Any], lat: NDArray[Any]) -> tuple[Any, Any]:
        x, y = from_lonlat(grid, lon, lat)
        return apply_affine(~grid.transform, np.asarray(x), np.asarray(y))

    return shapely.transform(geometry, transform, interleaved=False)  # type: ignore[arg-type]


def join_windows(windows: Iterable[Sequence[int]], windows_grid: Grid, grid: Grid) -> Any:
    """Return the union of windows of one grid as an outline in pixels of another; None without windows.

    Args:
        windows: column, row, width and height of each.
        windows_grid: grid of the windows.
        grid: grid of the outline.
    """
    boxes = [shapely.box(column, row, column + width, row + height) for column, row, width, height in windows]
    if not boxes:
        return None
    joined = shapely.union_all(boxes)
    if same_grid(windows_grid, grid):
        return joined
    ground = map_outline(shapely.segmentize(joined, VERTEX_STEP_PX), windows_grid.to_crs)
    return to_pixels(map_outline(ground, windows_grid.to_lonlat), grid)


def shapes_of(geometries: Sequence[Geometry]) -> NDArray[Any]:
    """Return GeoJSON geometries as an array of shapes."""
    return np.array([shape_of({**geometry}) for geometry in geometries], object)


def burn_outlines(outlines: NDArray[Any], grid: Grid, margin: int) -> Iterator[tuple[int, Box, NDArray[np.bool_]]]:
    """Yield the index, the window and the pixels of each outline that contains the centre of a pixel of the grid.

    The outlines come from top to bottom, so that a `RowBuffer` reads each row about once.

    Args:
        outlines: in pixels of the grid.
        grid: the grid.
        margin: see `window_around`.
    """
    windows = [window_around(outline, grid, margin) for outline in outlines]
    tops = [0 if window is None else window[1] for window in windows]
    for index in np.argsort(tops, kind="stable").tolist():
        window = windows[index]
        if window is None:
            continue
        pixels = burn(outlines[index], window)
        if pixels.any():
            yield index, window, pixels


def window_around(outline: Any, grid: Grid, margin: int) -> Box | None:
    """Return the window of whole pixels around an outline in (column, row); None if the outline is outside of the grid.

    Args:
        outline: in pixels of the grid.
        grid: the grid.
        margin: additional pixels on each side, as far as the grid has them.
    """
    left, top, right, bottom = outline.bounds
    first_column, first_row = max(0, int(np.floor(left)) - margin), max(0, int(np.floor(top)) - margin)
    last_column = min(grid.width, int(np.ceil(right)) + margin)
    last_row = min(grid.height, int(np.ceil(bottom)) + margin)
    if last_column <= first_column or last_row <= first_row:
        return None
    return first_column, first_row, last_column - first_column, last_row - first_row
