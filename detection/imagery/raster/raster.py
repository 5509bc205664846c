"""Read the headers and grids of rasters, and write rasters whole or window by window."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from pyproj.crs import CompoundCRS
from pyproj.exceptions import CRSError as ProjectionError
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioIOError, WarpOperationError
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from detection.imagery.errors import ImpossibleCrsError, NoCrsError, OutputError, TooLargeError
from detection.imagery.raster.grid import Grid, apply_affine, check_place, horizontal_wkt
from detection.imagery.raster.local_grid import describe_local_grid, unwrap_placed
from detection.imagery.raster.untrusted import NO_LIMITS, SETTINGS, open_raster
from detection.whole_file import replacing

# Run-length encoding takes a quarter of the time of the fastest deflate. Maps with few marks become as small.
RUN_LENGTHS: Final = {"compress": "packbits"}
NO_ORTHO_IMAGE: Final = (
    "carries RPC beside its transform, so it may be no ortho image: on slopes places can be off by as much as the "
    "height differs from the mean; write an ortho image with gdalwarp -rpc -to RPC_DEM=dem.tif"
)
# Option of gdalwarp that warps a raster without a transform to a grid -> what places that raster.
_GDALWARP_OPTIONS: Final = {"-rpc": "RPC", "-tps": "control points"}
VERTICAL_TAG: Final = "VERTICAL_SYSTEM"  # tag with the vertical system of a raster of heights
PICTURE_PIXELS: Final = 100_000_000  # most pixels of a PNG that is decoded, which its file size does not limit


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """Header of a raster."""

    width: int
    height: int
    count: int
    descriptions: tuple[str | None, ...]
    colours: tuple[str, ...]
    tags: Mapping[str, str]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str | None, ...] = ()  # of the bands
    place_notes: tuple[str, ...] = ()  # sentences about the position of the raster, for the user
    placed_by: str = ""  # transform of the site's local grid; empty if that does not place the raster
    vertical: str = ""  # vertical system by tag or compound system; empty if the file states none


def inspect(path: Path) -> RasterFacts:
    """Read the header of a raster."""
    with open_raster(path, NO_LIMITS) as placed:
        source = unwrap_placed(placed)
        return RasterFacts(
            width=placed.width,
            height=placed.height,
            count=source.count,
            descriptions=tuple(source.descriptions),
            colours=tuple(ColorInterp(colour).name for colour in source.colorinterp),
            tags=dict(source.tags()),
            scales=tuple(source.scales),
            offsets=tuple(source.offsets),
            units=tuple(source.units),
            place_notes=_list_place_notes(placed),
            placed_by=describe_local_grid(placed),
            vertical=source.tags().get(VERTICAL_TAG) or _name_vertical(source.crs),
        )


def _list_place_notes(source: Any) -> tuple[str, ...]:
    if note := getattr(source, "note", ""):
        return (note,)
    original = unwrap_placed(source)
    return () if original.rpcs is None or original.crs is None else (NO_ORTHO_IMAGE,)


def _name_vertical(crs: Any) -> str:
    if crs is None:
        return ""
    with contextlib.suppress(CRSError, ProjectionError):
        parts = pyproj.CRS(crs.to_wkt()).sub_crs_list
        if len(parts) == 2:  # horizontal and vertical system of a compound system
            return str(parts[1].name)
    return ""


def read_grid(path: Path) -> Grid:
    """Read and check the grid of a raster.

    Raises:
        NoCrsError: the raster has no CRS or no transform.
        ImpossibleCrsError: the CRS cannot have the coordinates of the raster.
    """
    with open_raster(path) as source:
        return grid_of(source, path)


def grid_of(source: Any, path: Path) -> Grid:
    """Return the grid of an open raster, checked as `read_grid` does."""
    if source.crs is None or source.transform.is_identity:
        option = "-rpc" if source.rpcs else "-tps" if source.gcps[0] else None
        if option is None:
            raise NoCrsError(f"{path}: no coordinate reference system, so neither place nor area can be given")
        raise NoCrsError(
            f"{path}: placed by {_GDALWARP_OPTIONS[option]} alone; write an ortho image first (gdalwarp {option})"
        )
    try:
        grid = Grid(source.transform, horizontal_wkt(source.crs.to_wkt()), source.width, source.height)
        check_place(grid, path)
    except (CRSError, ProjectionError):
        raise ImpossibleCrsError(f"{path}: the coordinate reference system cannot be understood") from None
    return grid


def write_geotiff(
    path: Path, array: NDArray[Any], grid: Grid, *, nodata: float | None = None, descriptions: tuple[str, ...] = ()
) -> None:
    """Write an array, bands x H x W, as a tiled and deflated GeoTIFF, by temporary name and rename."""
    with replacing(path) as partial, _writer(partial, grid, array.shape[0], array.dtype.name, nodata) as target:
        target.write(array)
        for index, name in enumerate(descriptions, start=1):
            target.set_band_description(index, name)


@contextmanager
def writing_geotiff(
    path: Path, grid: Grid, dtype: str, *, nodata: float | None = None, count: int = 1
) -> Iterator[Any]:
    """Write a GeoTIFF by windows, by temporary name and rename; yield `write([bands x] h x w, column, row)`."""
    with replacing(path) as partial, rasterio.Env(**SETTINGS), _writer(partial, grid, count, dtype, nodata) as target:

        def write(array: NDArray[Any], column: int, row: int) -> None:
            _write_part(target, array, column, row)

        yield write


def _write_part(target: Any, array: NDArray[Any], column: int, row: int) -> None:
    bands = array if array.ndim == 3 else array[None]
    target.write(bands, window=window_of(column, row, bands.shape[2], bands.shape[1]))


@contextmanager
def _writer(
    path: Path, grid: Grid, count: int, dtype: str, nodata: float | None, packing: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    deflated = {"compress": "deflate", "predictor": 3 if dtype.startswith("float") else 2}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        count=count,
        dtype=dtype,
        crs=grid.crs_wkt or None,
        transform=grid.transform,
        nodata=nodata,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        bigtiff="if_safer",
        **(deflated if packing is None else packing),
    ) as target:
        yield target


class ByteRaster:
    """A temporary uint8 GeoTIFF that is written by windows in any order and read back by windows; 255 is nodata."""

    def __init__(self, path: Path, grid: Grid, count: int = 1, nodata: int | None = 255) -> None:
        self.path = path
        self.grid = grid
        self.count = count
        self._nodata = nodata

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Open for writing; yield `write([bands x] h x w, column, row)`."""
        with _quiet(), _writer(self.path, self.grid, self.count, "uint8", self._nodata, RUN_LENGTHS) as target:

            def write(array: NDArray[np.uint8], column: int, row: int) -> None:
                _write_part(target, array, column, row)

            yield write

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Open for reading; yield `read(column, row, width, height, band=1)`, which returns h x w."""
        with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(self.path, driver="GTiff") as source:

            def read(column: int, row: int, width: int, height: int, band: int = 1) -> NDArray[np.uint8]:
                return np.asarray(source.read(band, window=window_of(column, row, width, height)))

            yield read


def window_of(column: int, row: int, width: int, height: int) -> Window:
    """Return a window of rasterio."""
    return Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]


def window_below(source: Any, ground: Grid, around: int = 4) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the pixels of a raster over the same ground as a grid.

    If the raster shows no ground of the grid, right is not above left, or bottom is not above top.

    Args:
        source: an open raster, or its grid.
        ground: the grid.
        around: additional pixels on each side, as far as the raster has them.

    Raises:
        RasterioError: the bounds of the grid cannot be transformed to the system of the raster.
    """
    xs, ys = ground.to_crs(np.array([0, ground.width, ground.width, 0]), np.array([0, 0, ground.height, ground.height]))
    bounds = transform_bounds(ground.crs_wkt, source.crs, min(xs), min(ys), max(xs), max(ys))
    if not np.isfinite(bounds).all():
        raise WarpOperationError("no finite bounds")
    corners = [apply_affine(~source.transform, x, y) for x in bounds[::2] for y in bounds[1::2]]
    columns, rows = zip(*corners, strict=True)
    left = max(0, math.floor(min(columns)) - around)
    top = max(0, math.floor(min(rows)) - around)
    right = math.ceil(max(columns)) + around
    bottom = math.ceil(max(rows)) + around
    return left, top, min(source.width, right), min(source.height, bottom)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warning that a raster has no geotransform: rasters in pixel coordinates need none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def write_cog(
    source: Path,
    target: Path,
    *,
    overviews: str,
    tags: Mapping[str, str],
    descriptions: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    vertical_wkt: str = "",
) -> None:
    """Copy a GeoTIFF to a cloud-optimised one, without a time stamp, and label both.

    Args:
        source: the GeoTIFF.
        target: the copy.
        overviews: resampling of the overviews: `average`, `mode` or `nearest`.
        vertical_wkt: vertical system in metres, which is added to the horizontal system of the file.
    """
    label_geotiff(source, tags, descriptions, units, vertical_wkt)
    pack_cog(source, target, overviews=overviews, level=6)


def label_geotiff(
    path: Path,
    tags: Mapping[str, str],
    descriptions: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    vertical_wkt: str = "",
) -> None:
    """Write tags, descriptions, units and vertical system into an existing GeoTIFF; see `write_cog`."""
    with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(path, "r+", driver="GTiff") as edited:
        edited.update_tags(**tags)
        if vertical_wkt:
            horizontal, vertical = pyproj.CRS(edited.crs.to_wkt()), pyproj.CRS(vertical_wkt)
            edited.crs = CompoundCRS(f"{horizontal.name} + {vertical.name}", [horizontal, vertical]).to_wkt()
        for index, name in enumerate(descriptions, start=1):
            edited.set_band_description(index, name)
        for index, unit in enumerate(units, start=1):
            edited.set_band_unit(index, unit)


def pack_cog(source: Path, target: Path, *, overviews: str, level: int) -> None:
    """Copy a GeoTIFF with its labels to a cloud-optimised one; see `write_cog`.

    Raises:
        OutputError: the last pixel of the copy cannot be read. GDAL does not report that the disk is full.
    """
    with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(source, driver="GTiff") as finished:
        rasterio.shutil.copy(
            finished,
            target,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL=level,
            PREDICTOR="YES",
            BLOCKSIZE=512,
            OVERVIEW_RESAMPLING=overviews.upper(),
            NUM_THREADS="1",
        )
        try:
            with rasterio.open(target, driver="GTiff") as packed:
                packed.read(window=Window(packed.width - 1, packed.height - 1, 1, 1))
        except RasterioIOError as error:
            raise OutputError(f"{target.name}: cannot be written to its end; is the disk full?") from error


def is_cog(path: Path) -> bool:
    """Return whether a GeoTIFF states that it is cloud-optimised."""
    with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(path, driver="GTiff") as source:
        return bool(source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG")


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG to bands x H x W. No other driver may read it, because a VRT would open other files.

    Raises:
        RasterioError: the content is no PNG.
        TooLargeError: the picture has more than `PICTURE_PIXELS`; nothing is decoded.
    """
    with rasterio.Env(**SETTINGS), _quiet(), MemoryFile(content) as memory, memory.open(driver="PNG") as source:
        if source.width * source.height > PICTURE_PIXELS:
            size = f"{source.width} x {source.height} pixels"
            raise TooLargeError(f"{size}; a picture that is read at once has at most {PICTURE_PIXELS:,}")
        return np.asarray(source.read())


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write bands x H x W uint8 (3 = RGB, 4 = RGBA) as a PNG without side-car file, by temporary name and rename."""
    bands, height, width = image.shape
    profile = {"width": width, "height": height, "count": bands, "dtype": "uint8"}
    with replacing(path) as partial, _quiet(), MemoryFile() as memory:
        # Higher levels take three times as long, and the file is hardly smaller.
        with memory.open(driver="PNG", ZLEVEL=1, **profile) as target:
            target.write(image)
        partial.write_bytes(memory.read())
