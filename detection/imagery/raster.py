"""Rasters in and out: the only room that knows rasterio; windows are read as they are asked for."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from detection.imagery.errors import (
    BandMissingError,
    MismatchedBandsError,
    NoCrsError,
    NotARasterError,
    TruncatedRasterError,
)
from detection.imagery.grid import Grid, check_place, corner_shift_px, lonlat_frame, same_grid

# Bands whose corners lie farther apart than this, in pixels of the coarser band, are not of one scene.
MISMATCH_PX = 3.0


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """What a raster's header says."""

    width: int
    height: int
    count: int
    descriptions: tuple[str | None, ...]
    colours: tuple[str, ...]
    tags: Mapping[str, str]


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """Open a raster for reading.

    Raises:
        NotARasterError: absent, empty, an HTML page, or nothing that GDAL reads.
    """
    if not path.is_file():
        raise NotARasterError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(256).lstrip().lower()
    if not head:
        raise NotARasterError(f"{path}: the file is empty (0 bytes)")
    if head.startswith((b"<!doctype html", b"<html")):
        raise NotARasterError(f"{path}: an HTML page, not a raster (a failed download?)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path)
    except RasterioIOError:
        raise NotARasterError(f"{path}: not a raster that GDAL can read") from None
    with source:
        yield source


def inspect(path: Path) -> RasterFacts:
    """Read the header of a raster."""
    with open_raster(path) as source:
        return RasterFacts(
            width=source.width,
            height=source.height,
            count=source.count,
            descriptions=tuple(source.descriptions),
            colours=tuple(ColorInterp(colour).name for colour in source.colorinterp),
            tags=dict(source.tags()),
        )


def read_grid(path: Path) -> Grid:
    """Read and check the grid of a raster.

    Raises:
        NoCrsError: no CRS, or no transform beside it.
        ImpossibleCrsError: coordinates that the CRS cannot have.
    """
    with open_raster(path) as source:
        return _grid_of(source, path)


def _grid_of(source: Any, path: Path) -> Grid:
    if source.crs is None or source.transform.is_identity:
        raise NoCrsError(f"{path}: no coordinate reference system, so neither place nor area can be given")
    grid = Grid(source.transform, source.crs.to_wkt(), source.width, source.height)
    check_place(grid, path)
    return grid


class BandReader:
    """Windowed reads of several bands on one grid, with the pixels where all of them are valid.

    Bands on another grid are warped onto the first band's (bilinear); a mask band, if given, is warped by nearest
    neighbour and is valid where it is not 0. Use as a context manager.

    Args:
        bands: name -> (path, index from 1); the first one gives the grid unless `reference` names another.
        mask: optional raster that is 0 where the scene must not be used.
        reference: name of the band that gives the grid.
    """

    def __init__(
        self, bands: Mapping[str, tuple[Path, int]], mask: Path | None = None, reference: str | None = None
    ) -> None:
        self.names = tuple(bands)
        self._bands, self._mask_path = dict(bands), mask
        self._stack = ExitStack()
        self.warped: list[str] = []
        try:
            reference_path = self._bands[reference or self.names[0]][0]
            self.grid = read_grid(reference_path)
            self._sources = {name: self._open(path, index, name) for name, (path, index) in self._bands.items()}
            self._mask = self._open(mask, 1, "mask") if mask else None
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, path: Path, index: int, name: str) -> tuple[Any, int, Path]:
        source = self._stack.enter_context(open_raster(path))
        if not 1 <= index <= source.count:
            raise BandMissingError(f"{path}: band {name} is said to be number {index}, the file has {source.count}")
        grid = _grid_of(source, path)
        if same_grid(self.grid, grid):
            return source, index, path
        if name != "mask" and (shift := corner_shift_px(self.grid, grid)) > MISMATCH_PX:
            raise MismatchedBandsError(
                f"{path}: band {name} ({grid.width} x {grid.height}, {grid.crs_name}) does not cover the ground of the "
                f"reference ({self.grid.width} x {self.grid.height}, {self.grid.crs_name}): "
                f"corners up to {shift:.1f} px apart"
            )
        self.warped.append(name)
        warped = WarpedVRT(
            source,
            crs=self.grid.crs_wkt,
            transform=self.grid.transform,
            width=self.grid.width,
            height=self.grid.height,
            resampling=Resampling.nearest if name == "mask" else Resampling.bilinear,
            src_nodata=source.nodata,
            # An alpha band marks what the source does not cover when there is no nodata value to say so.
            add_alpha=source.nodata is None,
        )
        return self._stack.enter_context(warped), index, path

    def read(self, column: int, row: int, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window: values bands x height x width float32, and height x width where all bands are valid.

        Raises:
            TruncatedRasterError: a block cannot be read.
        """
        window = Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]
        values = np.empty((len(self.names), height, width), np.float32)
        valid = np.ones((height, width), bool)
        for position, name in enumerate(self.names):
            source, index, path = self._sources[name]
            values[position] = _read_block(source.read, index, window, path)
            valid &= np.isfinite(values[position])
            if MaskFlags.all_valid not in source.mask_flag_enums[index - 1]:
                valid &= _read_block(source.read_masks, index, window, path) > 0
        if self._mask is not None:
            source, index, path = self._mask
            valid &= _read_block(source.read, index, window, path) != 0
        values[:, ~valid] = 0
        return values, valid


def _read_block(method: Any, index: int, window: Window, path: Path) -> NDArray[Any]:
    try:
        return np.asarray(method(index, window=window))
    except RasterioError:
        row = int(window.row_off)
        raise TruncatedRasterError(
            f"{path}: a block from row {row} on cannot be read (truncated or damaged file)"
        ) from None


def write_geotiff(
    path: Path, array: NDArray[Any], grid: Grid, *, nodata: float | None = None, descriptions: tuple[str, ...] = ()
) -> None:
    """Write bands x H x W as a tiled, deflated GeoTIFF, by temporary name and rename."""
    partial = path.with_name(f".{path.name}.part")
    with _writer(partial, grid, array.shape[0], array.dtype.name, nodata) as target:
        target.write(array)
        for index, name in enumerate(descriptions, start=1):
            target.set_band_description(index, name)
    partial.replace(path)


@contextmanager
def _writer(path: Path, grid: Grid, count: int, dtype: str, nodata: float | None) -> Iterator[Any]:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        count=count,
        dtype=dtype,
        crs=grid.crs_wkt,
        transform=grid.transform,
        nodata=nodata,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
        predictor=3 if dtype.startswith("float") else 2,
        bigtiff="if_safer",
    ) as target:
        yield target


class ByteRaster:
    """A one-band uint8 GeoTIFF on disk, written in any order by windows and read back by windows; 255 = nodata."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path, self.grid = path, grid

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Open for writing; gives `write(array, column, row)`."""
        with _writer(self.path, self.grid, 1, "uint8", 255) as target:

            def write(array: NDArray[np.uint8], column: int, row: int) -> None:
                window = Window(column, row, array.shape[1], array.shape[0])  # type: ignore[call-arg,unused-ignore]
                target.write(array, 1, window=window)

            yield write

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Open for reading; gives `read(column, row, width, height) -> uint8 array`."""
        with rasterio.open(self.path) as source:

            def read(column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
                window = Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]
                return np.asarray(source.read(1, window=window))

            yield read


def write_cog(source: Path, target: Path, *, overviews: str, tags: Mapping[str, str]) -> None:
    """Copy a GeoTIFF to a cloud-optimised one, without time stamp; `overviews` is `average` or `mode`."""
    with rasterio.open(source, "r+") as edited:
        edited.update_tags(**tags)
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        COMPRESS="DEFLATE",
        PREDICTOR="YES",
        BLOCKSIZE=512,
        OVERVIEW_RESAMPLING=overviews.upper(),
        NUM_THREADS="1",
    )


def outline_pixels(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Outline the true pixels as GeoJSON polygons in (column, row), 4-connected so that each one is valid."""
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return [geometry for geometry, _ in shapes]


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG to bands x H x W."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(content) as memory, memory.open() as source:
            return np.asarray(source.read())


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write bands x H x W uint8 (3 = RGB, 4 = RGBA) as a PNG without side-car file, by temporary name and rename."""
    partial = path.with_name(f".{path.name}.part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            bands, height, width = image.shape
            with memory.open(driver="PNG", width=width, height=height, count=bands, dtype="uint8") as target:
                target.write(image)
            partial.write_bytes(memory.read())
    partial.replace(path)


def read_overview(
    bands: list[tuple[Path, int]], longest_px: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Grid]:
    """Read bands onto a lon/lat grid of at most `longest_px`, for looking at: values, valid pixels, grid."""
    source_grid = read_grid(bands[0][0])
    grid = lonlat_frame(source_grid, longest_px)
    shape = grid.height, grid.width
    factor = max(source_grid.width, source_grid.height) / longest_px
    values, valid = np.empty((len(bands), *shape), np.float32), np.ones(shape, bool)
    for position, (path, index) in enumerate(bands):
        with (
            open_raster(path) as source,
            WarpedVRT(
                source,
                crs=grid.crs_wkt,
                transform=grid.transform,
                width=shape[1],
                height=shape[0],
                resampling=Resampling.average if factor > 1.5 else Resampling.nearest,
                add_alpha=source.nodata is None,
            ) as warped,
        ):
            window = Window(0, 0, shape[1], shape[0])  # type: ignore[call-arg,unused-ignore]
            values[position] = _read_block(warped.read, index, window, path)
            valid &= _read_block(warped.read_masks, index, window, path) > 0
    return values, valid, grid
