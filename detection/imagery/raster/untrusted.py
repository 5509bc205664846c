"""The door for rasters from outside: few formats, no network, no other folder, no file larger than the limits."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from detection.imagery.errors import ForbiddenSourceError, NotARasterError, TooLargeError
from detection.imagery.raster.local_grid import place_locally, turn_up
from detection.imagery.raster.vrt import add_side_file, list_sources, read_vrt, rebuild

# What a file begins with -> the only driver that may read it.
SIGNATURES = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",
}
OTHERS = {b"\x89PNG": "a PNG", b"\xff\xd8\xff": "a JPEG", b"PK\3\4": "a ZIP archive", b"\x89HDF": "an HDF5 file"}
VRT_BEGINS = (b"<vrtdataset", b"<?xml")
# The block cache is bounded, whatever the machine has; nothing beside the named file is looked for.
SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 48 << 20,  # bytes for rasterio
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_VRT_ENABLE_PYTHON": False,
    "GDAL_VRT_ENABLE_RAWRASTERBAND": False,
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_MAX_RETRY": 0,
}


@dataclass(frozen=True, slots=True)
class RasterLimits:
    """How much of a raster is taken."""

    pixels: int = 4_000_000_000  # of one file (an orthophoto of 3 cm over 3.6 km² has 4e9)
    side: int = 500_000  # columns or rows of one file: work goes by strips of full width
    bands: int = 256  # of one file
    block_bytes: int = 1 << 29  # of one block over all bands, which is what the reader must hold at once


Through = Callable[[Any, ExitStack], Any]
LIMITS = RasterLimits()
# For a look at a header, and for what was let in before.
NO_LIMITS = RasterLimits(pixels=1 << 62, side=1 << 62, bands=1 << 16, block_bytes=1 << 62)


@contextmanager
def open_raster(path: Path, limits: RasterLimits = LIMITS, through: Through | None = None) -> Iterator[Any]:
    """Open a raster for reading, with no more rights than reading needs.

    GeoTIFF, VRT (mosaics and stacks of files below its own folder) and JPEG 2000 are read, each by its own driver
    alone; of files beside it (masks, statistics, overviews) nothing but what `vrt` takes. A raster of a local
    system is given on the grid that the site says, one that runs from south to north or from east to west as images do
    (`local_grid`).

    `through`: makes of the opened file what is placed and given; see `values`, the reader of numbers.

    Raises:
        NotARasterError: absent, empty, an HTML page, or none of these formats.
        ForbiddenSourceError: it would open something else.
        TooLargeError: beyond the limits.
    """
    driver = find_driver(path)
    if driver == "VRT":
        for file in check_vrt(path, path.parent.resolve()):
            if find_driver(file) != "VRT":
                with open_raster(file, limits):  # what it is made of keeps the same rules
                    pass
    if path.with_name(f"{path.name}.msk").exists():
        raise ForbiddenSourceError(f"{path}: a mask file .msk beside a raster is not read; name it in scene.toml")
    with rasterio.Env(**SETTINGS), ExitStack() as stack:
        try:
            name = str(path.resolve())
            if driver == "VRT":  # nothing of the file itself reaches the driver
                name = rebuild(path, path.parent.resolve(), stack, is_vrt)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                source = rasterio.open(name, driver=driver)
        except (RasterioError, ValueError, OverflowError, MemoryError, UnicodeDecodeError):
            raise NotARasterError(f"{path}: not a raster that GDAL can read (damaged header?)") from None
        with source:
            if kinds := [band for band, kind in enumerate(source.dtypes, start=1) if kind.startswith("complex")]:
                raise NotARasterError(f"{path}: band {kinds[0]} holds complex values; give its amplitude or its phase")
            _check_size(source, path, limits)
            # Overviews named by a tag may be any file of the disk or the net; they would be read when warping.
            if source.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
                raise ForbiddenSourceError(f"{path}: the tag OVERVIEW_FILE points to another file")
            completed = source if driver == "VRT" else add_side_file(source, path, stack)
            made = completed if through is None else through(completed, stack)
            placed = place_locally(turn_up(made, stack), stack)
            _check_size(placed, path, limits)
            yield placed


def find_driver(path: Path) -> str:
    """Return the driver for a file by what it begins with; refuse what no driver here reads."""
    if not path.is_file():
        raise NotARasterError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise NotARasterError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise NotARasterError(f"{path}: the file is empty (0 bytes)")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        raise NotARasterError(f"{path}: an HTML page, not a raster (a failed download?)")
    for signature, driver in SIGNATURES.items():
        if head.startswith(signature):
            return driver
    if text.startswith(VRT_BEGINS):
        return "VRT"
    kind = next((name for signature, name in OTHERS.items() if head.startswith(signature)), "something else")
    raise NotARasterError(f"{path}: not a raster in GeoTIFF, VRT or JPEG 2000 ({kind})")


def is_vrt(path: Path) -> bool:
    """Whether a file would be read as a VRT, whatever its name says."""
    try:
        with path.open("rb") as file:
            return file.read(256).lstrip().lower().startswith(VRT_BEGINS)
    except OSError:
        return False


def list_files(path: Path) -> tuple[Path, ...]:
    """Return the file and, for a VRT, all files that it is made of."""
    if find_driver(path) != "VRT":
        return (path,)
    return (path, *check_vrt(path, path.parent.resolve()))


def check_vrt(path: Path, root: Path, depth: int = 0) -> tuple[Path, ...]:
    """Return the files of a VRT, those of nested ones too.

    Raises:
        ForbiddenSourceError: it does more than put files of its folder together, see `vrt`.
        NotARasterError: no XML, or a file of it is not there.
    """
    files: list[Path] = []
    for _, file in list_sources(read_vrt(path, depth), path, root):
        files.append(file)
        if find_driver(file) == "VRT":
            files.extend(check_vrt(file, root, depth + 1))
    return tuple(dict.fromkeys(files))


def _check_size(source: Any, path: Path, limits: RasterLimits) -> None:
    pixels = source.width * source.height
    if pixels > limits.pixels:
        raise TooLargeError(
            f"{path}: {source.width} x {source.height} = {pixels:,} pixels, the limit is {limits.pixels:,}"
        )
    if max(source.width, source.height) > limits.side:
        raise TooLargeError(
            f"{path}: {source.width} x {source.height} pixels, the longest side is {limits.side:,}; cut the file"
        )
    if source.count > limits.bands:
        raise TooLargeError(f"{path}: {source.count} bands, the limit is {limits.bands}")
    sizes = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float32": 4, "int32": 4, "uint32": 4}
    high, wide = source.block_shapes[0] if source.block_shapes else (1, source.width)
    # Interleaved by pixel, a block holds all bands.
    bands = source.count if source.profile.get("interleave") == "pixel" else 1
    if (block := high * wide * bands * sizes.get(source.dtypes[0], 8)) > limits.block_bytes:
        raise TooLargeError(
            f"{path}: blocks of {wide} x {high} pixels take {block >> 20} MiB, the limit is "
            f"{limits.block_bytes >> 20} MiB; write it in tiles"
        )
