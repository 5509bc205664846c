"""Rasters in and out: what a header says, and files written whole or window by window."""

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
from detection.imagery.raster.grid import Grid, apply_affine, check_place, flatten
from detection.imagery.raster.local_grid import describe_local_grid, original_of
from detection.imagery.raster.untrusted import NO_LIMITS, SETTINGS, open_raster
from detection.whole_file import replacing

# Runs alone cost a quarter of what deflate costs at its fastest, and hold a map of few marks as well.
RUNS: Final = {"compress": "packbits"}
NO_ORTHO_IMAGE: Final = (
    "carries RPC beside its transform, so it may be no ortho image: on slopes places can be off by as much as the "
    "height differs from the mean; write an ortho image with gdalwarp -rpc -to RPC_DEM=dem.tif"
)
_WAYS: Final = {"-rpc": "RPC", "-tps": "control points"}  # what places a raster -> the option that brings it to a grid
VERTICAL_TAG: Final = "VERTICAL_SYSTEM"  # of a raster of heights: the system that they are in


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """What a raster's header says."""

    width: int
    height: int
    count: int
    descriptions: tuple[str | None, ...]
    colours: tuple[str, ...]
    tags: Mapping[str, str]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str | None, ...] = ()  # of the bands
    placing: tuple[str, ...] = ()  # what one must know of its place
    placed_by: str = ""  # the affine of the site's local grid, where that places it
    vertical: str = ""  # the system of its heights, from its tag or its compound system; empty where nobody says it


def inspect(path: Path) -> RasterFacts:
    """Read the header of a raster."""
    with open_raster(path, NO_LIMITS) as placed:
        source = original_of(placed)
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
            placing=_list_placing(placed),
            placed_by=describe_local_grid(placed),
            vertical=source.tags().get(VERTICAL_TAG) or _name_vertical(source.crs),
        )


def _list_placing(source: Any) -> tuple[str, ...]:
    if note := getattr(source, "note", ""):
        return (note,)
    original = original_of(source)
    return () if original.rpcs is None or original.crs is None else (NO_ORTHO_IMAGE,)


def _name_vertical(crs: Any) -> str:
    if crs is None:
        return ""
    with contextlib.suppress(CRSError, ProjectionError):
        parts = pyproj.CRS(crs.to_wkt()).sub_crs_list
        return str(parts[1].name) if len(parts) == 2 else ""
    return ""


def read_grid(path: Path) -> Grid:
    """Read and check the grid of a raster.

    Raises:
        NoCrsError: no CRS, or no transform beside it.
        ImpossibleCrsError: coordinates that the CRS cannot have.
    """
    with open_raster(path) as source:
        return grid_of(source, path)


def grid_of(source: Any, path: Path) -> Grid:
    """Return the grid of an open raster, checked as `read_grid` does."""
    if source.crs is None or source.transform.is_identity:
        way = next((option for option, given in (("-rpc", source.rpcs), ("-tps", source.gcps[0])) if given), None)
        if way is None:
            raise NoCrsError(f"{path}: no coordinate reference system, so neither place nor area can be given")
        raise NoCrsError(f"{path}: placed by {_WAYS[way]} alone; write an ortho image first (gdalwarp {way})")
    try:
        grid = Grid(source.transform, flatten(source.crs.to_wkt()), source.width, source.height)
        check_place(grid, path)
    except (CRSError, ProjectionError):
        raise ImpossibleCrsError(f"{path}: the coordinate reference system cannot be understood") from None
    return grid


def write_geotiff(
    path: Path, array: NDArray[Any], grid: Grid, *, nodata: float | None = None, descriptions: tuple[str, ...] = ()
) -> None:
    """Write bands x H x W as a tiled, deflated GeoTIFF, by temporary name and rename."""
    with replacing(path) as partial, _writer(partial, grid, array.shape[0], array.dtype.name, nodata) as target:
        target.write(array)
        for index, name in enumerate(descriptions, start=1):
            target.set_band_description(index, name)


@contextmanager
def writing_geotiff(
    path: Path, grid: Grid, dtype: str, *, nodata: float | None = None, count: int = 1
) -> Iterator[Any]:
    """Write a GeoTIFF by windows, by temporary name and rename; gives `write([bands x] h x w, column, row)`."""
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
    """A uint8 GeoTIFF on disk, written in any order by windows and read back by windows; 255 = nodata.

    It lives for one run: it is packed as fast as can be, not as small.
    """

    def __init__(self, path: Path, grid: Grid, count: int = 1, nodata: int | None = 255) -> None:
        self.path, self.grid, self.count, self._nodata = path, grid, count, nodata

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Open for writing; gives `write(array h x w or bands x h x w, column, row)`."""
        with _quiet(), _writer(self.path, self.grid, self.count, "uint8", self._nodata, RUNS) as target:

            def write(array: NDArray[np.uint8], column: int, row: int) -> None:
                _write_part(target, array, column, row)

            yield write

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Open for reading; gives `read(column, row, width, height, band=1) -> uint8 array`."""
        with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(self.path, driver="GTiff") as source:

            def read(column: int, row: int, width: int, height: int, band: int = 1) -> NDArray[np.uint8]:
                return np.asarray(source.read(band, window=window_of(column, row, width, height)))

            yield read


def window_of(column: int, row: int, width: int, height: int) -> Window:
    """A window as rasterio takes it."""
    return Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]


def window_below(source: Any, ground: Grid, around: int = 4) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels of a raster below a grid, some pixels wider; empty where none are.

    Raises:
        RasterioError: its system cannot be brought into that of the grid.
    """
    xs, ys = ground.to_crs(np.array([0, ground.width, ground.width, 0]), np.array([0, 0, ground.height, ground.height]))
    bounds = transform_bounds(ground.crs_wkt, source.crs, min(xs), min(ys), max(xs), max(ys))
    if not np.isfinite(bounds).all():
        raise WarpOperationError("no finite bounds")
    corners = [apply_affine(~source.transform, x, y) for x in bounds[::2] for y in bounds[1::2]]
    columns, rows = zip(*corners, strict=True)
    left, top = (max(0, math.floor(min(at)) - around) for at in (columns, rows))
    right, bottom = (math.ceil(max(at)) + around for at in (columns, rows))
    return left, top, min(source.width, right), min(source.height, bottom)


@contextmanager
def _quiet() -> Iterator[None]:
    """A raster in pixel space has no geotransform, and is meant so."""
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
    """Copy a GeoTIFF to a cloud-optimised one, without time stamp.

    Args:
        source: the GeoTIFF; it gets the tags, descriptions and units too.
        overviews: how they are made: `average`, `mode` or `nearest`.
        vertical_wkt: the system of heights, in metres: that of the file becomes a compound one of both.
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
    """Write into a GeoTIFF, as it lies there, what it says of itself; see `write_cog`."""
    with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(path, "r+", driver="GTiff") as edited:
        edited.update_tags(**tags)
        if vertical_wkt:
            flat, heights = pyproj.CRS(edited.crs.to_wkt()), pyproj.CRS(vertical_wkt)
            edited.crs = CompoundCRS(f"{flat.name} + {heights.name}", [flat, heights]).to_wkt()
        for index, name in enumerate(descriptions, start=1):
            edited.set_band_description(index, name)
        for index, unit in enumerate(units, start=1):
            edited.set_band_unit(index, unit)


def pack_cog(source: Path, target: Path, *, overviews: str, level: int) -> None:
    """Copy a GeoTIFF with all that it says of itself to a cloud-optimised one; see `write_cog`.

    Raises:
        OutputError: the end of it is not there: a disk that is full then is no error of GDAL, which closes the file.
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
    """Whether a GeoTIFF says that it is a cloud-optimised one."""
    with rasterio.Env(**SETTINGS), _quiet(), rasterio.open(path, driver="GTiff") as source:
        return bool(source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG")


PICTURE_PIXELS = 100_000_000  # of a picture that is read at once, whatever its file takes on the disk


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG to bands x H x W, by the reader of PNG alone: a VRT under that name would open other files.

    Raises:
        RasterioError: it is no PNG.
        TooLargeError: more than `PICTURE_PIXELS`; nothing is decoded.
    """
    with rasterio.Env(**SETTINGS), _quiet(), MemoryFile(content) as memory, memory.open(driver="PNG") as source:
        if source.width * source.height > PICTURE_PIXELS:
            size = f"{source.width} x {source.height} pixels"
            raise TooLargeError(f"{size}; a picture that is read at once has at most {PICTURE_PIXELS:,}")
        return np.asarray(source.read())


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write bands x H x W uint8 (3 = RGB, 4 = RGBA) as a PNG without side-car file, by temporary name and rename."""
    with replacing(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            bands, height, width = image.shape
            size = {"width": width, "height": height, "count": bands, "dtype": "uint8"}
            # A picture shrinks hardly any further at the higher levels, which cost three times as much.
            with memory.open(driver="PNG", ZLEVEL=1, **size) as target:
                target.write(image)
            partial.write_bytes(memory.read())
