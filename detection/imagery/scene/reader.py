"""Read windows of a scene: bands and terrain on one grid, and the pixels where all of them are valid."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from detection.imagery.errors import (
    BandMissingError,
    ImpossibleCrsError,
    MismatchedBandsError,
    NoCrsError,
    TruncatedRasterError,
)
from detection.imagery.raster.grid import Grid, corner_shift_px, same_grid
from detection.imagery.raster.integrity import Checker, make_checker
from detection.imagery.raster.masks import MASK_CODES, SHADOW_KINDS, Mask, apply_mask, find_shadow
from detection.imagery.raster.raster import grid_of, window_of
from detection.imagery.raster.reading.values import HEIGHT, SHARE, open_values
from detection.imagery.raster.terrain import TERRAIN, TerrainReader
from detection.imagery.raster.untrusted import LIMITS, RasterLimits, open_raster
from detection.imagery.raster.warping import has_alpha, read_warped_mask, store_warped, warp
from detection.imagery.scene.scene import Scene, list_masks

# Two bands show the same ground if their corners are at most this far apart, in pixels of the coarser band.
MOST_CORNER_SHIFT_PX = 3.0
# A window with an unreadable block is read in cells of this side, pixels.
CELL_PX = 64
# Bands that contain a quantity with a known unit. The others contain brightness, which `radiometry` stretches.
QUANTITIES = {"dem": HEIGHT, "prior": SHARE}


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Which rasters are accepted, and how their values are read."""

    # a block that cannot be read is nodata instead of an error; `BandReader.unreadable` lists its cells
    allow_unreadable: bool = False
    allow_ungeoreferenced: bool = False  # accept rasters without georeference, in pixel coordinates
    gain: float = 1.0  # factor for the values of every band, except terrain
    offset: float = 0.0  # added to these products
    nodata: float | None = None  # nodata value of spectral bands whose files declare none
    require_coverage: bool = True  # refuse bands that do not cover the grid; if false, pixels that they lack are nodata
    limits: RasterLimits = LIMITS
    warped_folder: Path | None = None  # folder for copies of warped rasters; None: warp each window when it is read


class BandReader(ExitStack):
    """Read several bands by windows of one grid, with the pixels where all of them are valid.

    Bands on another grid are warped onto this grid (bilinear), masks by nearest neighbour, through `WarpedVRT`. Use as
    a context manager.

    Args:
        bands: name -> (path, index from 1).
        masks: rasters that exclude pixels.
        reference: name of the band whose grid is used; the first band if None.
        grid: the grid to read on; that of the reference if None.
        terrain: computes the names that no band has, such as slope.
        names: order of the values that `read` returns, bands and terrain; that of `bands` if None.
        options: which rasters are accepted, and how values are read.

    Attributes:
        grid: the grid of the windows.
        names: order of the values that `read` returns.
        notes: a sentence for each kind of values that was left out of a quantity.
        warped: names of the bands and kinds of the masks that are warped, because they are on another grid.
        unreadable: first pixel (column, row) of each cell that could not be read; empty unless `allow_unreadable`.
    """

    def __init__(
        self,
        bands: Mapping[str, tuple[Path, int]],
        masks: Sequence[Mask] = (),
        reference: str | None = None,
        *,
        grid: Grid | None = None,
        terrain: TerrainReader | None = None,
        names: tuple[str, ...] | None = None,
        options: ReaderOptions = ReaderOptions(),
    ) -> None:
        self._terrain_names = tuple(name for name in names or () if name not in bands and name in TERRAIN)
        self._read_names = (*bands, *self._terrain_names)
        self.names = self._read_names if names is None else names
        self._order = [self._read_names.index(name) for name in self.names]
        self._bands = dict(bands)
        self._options = options
        self._terrain = terrain
        self._gain = np.float32(options.gain)
        self._offset = np.float32(options.offset)
        self._spectral = [position for position, name in enumerate(self._bands) if name not in TERRAIN]
        super().__init__()
        self._warped: dict[tuple[Any, ...], Any] = {}
        self._files: dict[tuple[Path, str], tuple[Any, Checker]] = {}
        self._checkers: dict[str, Checker] = {}
        self.notes: list[str] = []
        self.warped: list[str] = []
        self.unreadable: set[tuple[int, int]] = set()
        try:
            if grid is None:
                path = self._bands[reference or next(iter(self._bands))][0]
                with open_raster(path, self._options.limits) as source:
                    grid = self._get_grid(source, path)
            self.grid = grid
            self._sources = {name: self._open(path, index, name) for name, (path, index) in self._bands.items()}
            self._fills = {name: find_fill(source, index) for name, (source, index, _) in self._sources.items()}
            self._masks = [(mask.kind, self._open(mask.path, mask.index, mask.kind, mask=True)) for mask in masks]
            # `add_mask` appends masks that are not part of the scene
            self._scene_mask_count = len(self._masks)
            # positions of the masks by which at least one pixel that was read is usable
            self._masks_with_ground: set[int] = set()
        except BaseException:
            self.close()
            raise

    def _get_grid(self, source: Any, path: Path) -> Grid:
        try:
            return grid_of(source, path)
        except (NoCrsError, ImpossibleCrsError):
            if not self._options.allow_ungeoreferenced:
                raise
            return Grid(Affine.identity(), "", source.width, source.height)

    def _open(self, path: Path, index: int, name: str, *, mask: bool = False) -> tuple[Any, int, Path]:
        # all bands of a file share an open file, so that a block with several bands is decoded once
        quantity = None if mask else QUANTITIES.get(name)
        key = path, "" if quantity is None else name
        if key not in self._files:
            opened = self.enter_context(
                open_raster(path, self._options.limits)
                if quantity is None
                else open_values(path, quantity, index, limits=self._options.limits, notes=self.notes)
            )
            self._files[key] = opened, make_checker(opened, path)
        source, checker = self._files[key]
        self._checkers[name] = checker
        if not 1 <= index <= source.count:
            raise BandMissingError(
                f"{path}: band {name} is stated to be number {index}, the file has {source.count} bands"
            )
        grid = self._get_grid(source, path)
        if same_grid(self.grid, grid):
            return source, index, path
        shift = corner_shift_px(self.grid, grid)
        must_cover = not mask and name not in TERRAIN and self._options.require_coverage
        if not np.isfinite(shift) or (shift > MOST_CORNER_SHIFT_PX and must_cover):
            apart = f"corners up to {shift:.1f} px apart" if np.isfinite(shift) else "not comparable"
            raise MismatchedBandsError(
                f"{path}: band {name} ({grid.width} x {grid.height}, {grid.crs_name}) does not cover the ground of the "
                f"reference ({self.grid.width} x {self.grid.height}, {self.grid.crs_name}): {apart}"
            )
        checker.check_all(index)
        self.warped.append(name)
        src_nodata = source.nodata
        if src_nodata is None and not (mask or name in TERRAIN or has_alpha(source)):
            src_nodata = self._options.nodata
        return self._warp(source, key, src_nodata, mask=mask), index, path

    def _warp(self, source: Any, key: tuple[Path, str], src_nodata: float | None, *, mask: bool) -> Any:
        warp_key = *key, src_nodata, mask
        if warp_key not in self._warped:
            warped = self.enter_context(
                warp(source, self.grid, Resampling.nearest if mask else Resampling.bilinear, src_nodata=src_nodata)
            )
            if self._options.warped_folder is not None:
                path = self._options.warped_folder / f"warped-{len(self._warped)}.tif"
                warped = self.enter_context(store_warped(warped, path))
            self._warped[warp_key] = warped
        return self._warped[warp_key]

    def read(self, column: int, row: int, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window.

        Returns:
            Values bands x height x width, float32, 0 where invalid; and height x width where all bands are valid.

        Raises:
            TruncatedRasterError: a block cannot be read, unless `allow_unreadable`.
        """
        if not self._options.allow_unreadable:
            return self._read(column, row, width, height)
        try:
            return self._read(column, row, width, height)
        except TruncatedRasterError:
            # cells have fixed places in the grid, so that the same ground is unreadable in every window
            values = np.zeros((len(self.names), height, width), np.float32)
            valid = np.zeros((height, width), bool)
            for top in range(row - row % CELL_PX, row + height, CELL_PX):
                for left in range(column - column % CELL_PX, column + width, CELL_PX):
                    first = max(left, column), max(top, row)
                    last = min(left + CELL_PX, column + width), min(top + CELL_PX, row + height)
                    rows, columns = slice(first[1] - row, last[1] - row), slice(first[0] - column, last[0] - column)
                    try:
                        part = self._read(*first, last[0] - first[0], last[1] - first[1])
                    except TruncatedRasterError:
                        self.unreadable.add((left, top))
                    else:
                        values[:, rows, columns], valid[rows, columns] = part
            return values, valid

    @property
    def unreadable_share(self) -> float:
        """Share of the pixels of the scene in cells that could not be read."""
        grid = self.grid
        sizes = (min(CELL_PX, grid.width - column) * min(CELL_PX, grid.height - row) for column, row in self.unreadable)
        return sum(sizes) / (grid.width * grid.height)

    def _read(self, column: int, row: int, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        window = window_of(column, row, width, height)
        values, valid = self._read_bands(column, row, width, height)
        if self._gain != 1:
            values[self._spectral] *= self._gain
        if self._offset:
            values[self._spectral] += self._offset
        if self._terrain_names and self._terrain is not None:
            terrain, terrain_valid = self._terrain.read(column, row, width, height)
            for position, name in enumerate(self._terrain_names, start=len(self._bands)):
                values[position] = terrain[name]
            valid &= terrain_valid
        for number, (kind, (source, index, path)) in enumerate(self._masks):
            flags = read_block(source.read, index, window, path)
            usable = apply_mask(kind, flags)
            valid &= usable
            if number not in self._masks_with_ground and usable.any():
                self._masks_with_ground.add(number)
            if kind == "mask":  # pixels that the mask does not cover are not usable
                valid &= _read_valid(source, index, window, path)
        if not valid.all():
            values[:, ~valid] = 0
        return (values if self.names == self._read_names else values[self._order]), valid

    def explain_empty(self) -> str:
        """Return why no pixel that was read is valid: masks that exclude all of them, or nodata."""
        excluding = [
            f"{path.name} ({kind}: {MASK_CODES[kind]})"
            for number, (kind, (_, _, path)) in enumerate(self._masks[: self._scene_mask_count])
            if number not in self._masks_with_ground and kind in MASK_CODES
        ]
        if not excluding:
            return "all pixels of the scene are nodata"
        return (
            f"the mask {' and '.join(excluding)} marks every pixel as unusable: does it have other codes? Convert it, "
            "or leave it out of the scene"
        )

    def _read_bands(
        self, column: int, row: int, width: int, height: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        window = window_of(column, row, width, height)
        values = np.empty((len(self._read_names), height, width), np.float32)
        valid = np.ones((height, width), bool)
        for position, name in enumerate(self._bands):
            source, index, path = self._sources[name]
            if name not in self.warped:
                self._checkers[name].check(index, column, row, width, height)
            stored = read_block(source.read, index, window, path)
            with np.errstate(over="ignore"):  # a number beyond 3e38 becomes infinite, and so nodata
                values[position] = stored
            if not np.issubdtype(stored.dtype, np.integer):
                valid &= np.isfinite(values[position])
            fill: float | None = self._fills[name]
            declares_no_nodata = (
                not isinstance(source, WarpedVRT) and MaskFlags.all_valid in source.mask_flag_enums[index - 1]
            )
            if fill is None and name not in TERRAIN and declares_no_nodata:
                fill = self._options.nodata
            valid &= _read_valid(source, index, window, path) if fill is None else stored != fill
        return values, valid

    def read_spectral(
        self, column: int, row: int, width: int, height: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the spectral bands of a window as stored, and where the files declare them valid.

        Gain, offset and masks are not applied.

        Raises:
            TruncatedRasterError: a block cannot be read.
        """
        values, valid = self._read_bands(column, row, width, height)
        return values[self._spectral], valid

    @property
    def spectral_types(self) -> set[str]:
        """The data types of the spectral bands in their files."""
        sources = (self._sources[name] for name in self._bands if name not in TERRAIN)
        return {source.dtypes[index - 1] for source, index, _ in sources}

    def add_mask(self, mask: Mask) -> None:
        """Exclude the pixels that another mask excludes from all further reads."""
        self._masks.append((mask.kind, self._open(mask.path, mask.index, mask.kind, mask=True)))

    @property
    def in_tiles(self) -> bool:
        """Whether all files are tiled. If not, GDAL reads whole rows for a window."""
        return all(source.block_shapes[index - 1][1] < source.width for source, index, _ in self._sources.values())

    @property
    def has_shadow_mask(self) -> bool:
        """Whether a mask marks shadow."""
        return any(kind in SHADOW_KINDS for kind, _ in self._masks)

    def read_shadow(self, column: int, row: int, width: int, height: int) -> NDArray[np.bool_]:
        """Return where the masks mark shadow, height x width."""
        window = window_of(column, row, width, height)
        shadow = np.zeros((height, width), bool)
        for kind, (source, index, path) in self._masks:
            if kind not in SHADOW_KINDS:
                continue
            shadow |= find_shadow(kind, read_block(source.read, index, window, path))
        return shadow


def open_scene(
    scene: Scene,
    names: tuple[str, ...],
    *,
    masks: Sequence[Mask] | None = None,
    grid: Grid | None = None,
    terrain: TerrainReader | None = None,
    options: ReaderOptions = ReaderOptions(),
) -> BandReader:
    """Open the named bands of a scene.

    Args:
        scene: the scene.
        names: bands and terrain, in the order in which they are read.
        masks: replace the masks of the scene.
        grid: the grid to read on; that of B4, or of the first band, if None.
        terrain: computes fields of terrain that the scene does not have as bands, such as slope.
        options: how values are read. The scene replaces gain, offset and nodata.

    Raises:
        BandMissingError: the scene lacks a band.
    """
    computed = {name for name in names if terrain is not None and name in TERRAIN and name not in scene.bands}
    from_files = tuple(name for name in names if name not in computed)
    return BandReader(
        scene.locate_bands(from_files),
        list_masks(scene) if masks is None else masks,
        "B4" if "B4" in from_files else None,
        grid=grid,
        terrain=terrain,
        names=names,
        options=replace(options, gain=scene.gain, offset=scene.offset, nodata=scene.nodata),
    )


def find_fill(source: Any, index: int) -> int | None:
    """Return the nodata value of an integer band if nothing else marks nodata; then its mask need not be read."""
    if isinstance(source, WarpedVRT) or source.mask_flag_enums[index - 1] != [MaskFlags.nodata]:
        return None
    fill = source.nodatavals[index - 1]
    is_whole = np.issubdtype(source.dtypes[index - 1], np.integer) and float(fill).is_integer()
    return int(fill) if is_whole else None


def _read_valid(source: Any, index: int, window: Window, path: Path) -> NDArray[np.bool_] | np.bool_:
    if isinstance(source, WarpedVRT):
        return read_block(partial(read_warped_mask, source), index, window, path)
    if MaskFlags.all_valid in source.mask_flag_enums[index - 1]:
        return np.True_
    return np.asarray(read_block(source.read_masks, index, window, path) > 0)


def read_block(method: Any, index: int, window: Window, path: Path) -> NDArray[Any]:
    """Read a window of a band by a method of its open raster: `read`, `read_masks` or another one with this signature.

    Raises:
        TruncatedRasterError: a block cannot be read.
    """
    try:
        return np.asarray(method(index, window=window))
    except (RasterioError, MemoryError):
        row = int(window.row_off)
        raise TruncatedRasterError(
            f"{path}: a block from row {row} on cannot be read (truncated or damaged file)"
        ) from None
