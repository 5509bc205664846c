"""Open untrusted rasters: only some formats, within limits of size, without the network and without other files."""

import shlex
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from detection.imagery.errors import ForbiddenSourceError, NotARasterError, TooLargeError
from detection.imagery.raster.local_grid import place_locally, turn_source_north_up
from detection.imagery.raster.rewriting import add_side_file

# First bytes of a file -> the only driver that may read it.
SIGNATURES: Final = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",
}
# First bytes of a file that is not read -> its format, for the message.
OTHER_SIGNATURES: Final = {
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"PK\3\4": "a ZIP archive",
    b"\x89HDF": "an HDF5 file",
    b"<?xml": "an XML file",
}
# GDAL searches the element of a VRT in as many bytes.
HEAD_BYTES: Final = 1024
VRT_ELEMENT: Final = b"<vrtdataset"
# The block cache has a fixed size that does not depend on the memory of the machine. GDAL opens no file beside the
# named file.
SETTINGS: Final[dict[str, Any]] = {
    "GDAL_CACHEMAX": 48 << 20,  # bytes, as rasterio expects it
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_VRT_ENABLE_PYTHON": False,
    "GDAL_VRT_ENABLE_RAWRASTERBAND": False,
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_MAX_RETRY": 0,
}
SAMPLE_BYTES: Final = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float32": 4, "int32": 4, "uint32": 4}


@dataclass(frozen=True, slots=True)
class RasterLimits:
    """The largest raster that is read."""

    pixels: int = 4_000_000_000  # of one file (an orthophoto of 3 cm over 3.6 km² has 4e9)
    side: int = 500_000  # columns or rows of one file, because strips of full width are held in memory
    bands: int = 256  # in one file
    block_bytes: int = 1 << 29  # of one block over all bands, which GDAL holds in memory at once


Prepare = Callable[[Any, ExitStack], Any]
"""Returns what is read instead of an open raster. The stack closes what it opens."""
LIMITS = RasterLimits()
# For headers, and for files that were opened within the limits before.
NO_LIMITS = RasterLimits(pixels=1 << 62, side=1 << 62, bands=1 << 16, block_bytes=1 << 62)


@contextmanager
def open_raster(path: Path, limits: RasterLimits = LIMITS, prepare: Prepare | None = None) -> Iterator[Any]:
    """Open a GeoTIFF or JPEG 2000 for reading.

    Only the driver of its format may read the file. Of the files beside it only the band properties in an `.aux.xml`
    file are read. The opened raster is north up. A raster in a local system is on the grid that the site file declares;
    see `local_grid`.

    Args:
        path: the file.
        limits: the largest raster that is accepted.
        prepare: replaces the opened raster before it is turned and placed; see `reading.values`.

    Raises:
        NotARasterError: the file is absent, empty, an HTML page, or in another format.
        ForbiddenSourceError: the path is virtual, or the file is a VRT or refers to another file.
        TooLargeError: the raster is beyond the limits.
    """
    driver = find_driver(path)
    if path.with_name(f"{path.name}.msk").exists():
        raise ForbiddenSourceError(f"{path}: a mask file .msk beside a raster is not read; name it in scene.toml")
    with rasterio.Env(**SETTINGS), ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                source = rasterio.open(str(path.resolve()), driver=driver)
        except (RasterioError, ValueError, OverflowError, MemoryError, UnicodeDecodeError):
            raise NotARasterError(f"{path}: not a raster that GDAL can read (damaged header?)") from None
        with source:
            complex_bands = [band for band, kind in enumerate(source.dtypes, start=1) if kind.startswith("complex")]
            if complex_bands:
                raise NotARasterError(
                    f"{path}: band {complex_bands[0]} holds complex values; give its amplitude or its phase"
                )
            _check_size(source, path, limits)
            # The tag could name any file or address as overviews, which GDAL would read when it warps.
            if source.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
                raise ForbiddenSourceError(f"{path}: the tag OVERVIEW_FILE names another file")
            prepared = add_side_file(source, path, stack)
            if prepare is not None:
                prepared = prepare(prepared, stack)
            placed = place_locally(turn_source_north_up(prepared, stack), stack)
            _check_size(placed, path, limits)
            yield placed


def find_driver(path: Path) -> str:
    """Return the driver for a file by its first bytes; its name does not matter.

    Raises:
        NotARasterError: the file is absent, empty, or in a format that is not read.
        ForbiddenSourceError: the file is a VRT, or the path is a virtual path of GDAL.
    """
    if path.parts[:1] == ("/",) and path.parts[1:2] and path.parts[1].startswith("vsi"):
        raise ForbiddenSourceError(f"{path}: a virtual path of GDAL is not read; unpack or download the file first")
    if not path.is_file():
        raise NotARasterError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise NotARasterError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise NotARasterError(f"{path}: the file is empty (0 bytes)")
    for signature, driver in SIGNATURES.items():
        if head.startswith(signature):
            return driver
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if VRT_ELEMENT in text or (path.suffix.lower() == ".vrt" and text.startswith(b"<")):
        # The suffix keeps the command from overwriting a source: `B4.tif` beside `B4.vrt` may be one.
        converted = path.with_name(f"{path.stem}-cog.tif")
        command = shlex.join(["gdal_translate", "-of", "COG", str(path), str(converted)])
        raise ForbiddenSourceError(
            f"{path}: a VRT is not read, because it can name any other file or address; convert it: {command}"
        )
    if text.startswith((b"<!doctype html", b"<html")):
        raise NotARasterError(f"{path}: an HTML page, not a raster (a failed download?)")
    formats = (name for signature, name in OTHER_SIGNATURES.items() if text.startswith(signature.lower()))
    raise NotARasterError(f"{path}: not a raster in GeoTIFF or JPEG 2000 ({next(formats, 'something else')})")


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
    block_height, block_width = source.block_shapes[0] if source.block_shapes else (1, source.width)
    # A block holds all bands if they are interleaved by pixel.
    block_bands = source.count if source.profile.get("interleave") == "pixel" else 1
    block_bytes = block_height * block_width * block_bands * SAMPLE_BYTES.get(source.dtypes[0], 8)
    if block_bytes > limits.block_bytes:
        raise TooLargeError(
            f"{path}: blocks of {block_width} x {block_height} pixels take {block_bytes >> 20} MiB, the limit is "
            f"{limits.block_bytes >> 20} MiB; write it in tiles"
        )
