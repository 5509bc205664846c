"""Read single tiles of a PMTiles 3 file. The file is not trusted, so every number in it is checked before use."""

import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pmtiles import tile as format3
from pmtiles.tile import Compression, Entry, TileType

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.archive import HEAD_BYTES, get_bounds
from detection.imagery.tiles.records import METADATA_FILE

TILE_BYTES: Final = 4 << 20  # of one tile at most
DIRECTORY_BYTES: Final = 4 << 20  # of one directory at most, packed or unpacked
MOST_ENTRIES: Final = 1 << 18  # of one directory
# A varint with ten bytes that announce another byte does not fit into 64 bits.
OVERLONG_VARINT: Final = re.compile(rb"[\x80-\xff]{10}")
FINEST_ZOOM: Final = 24
METADATA_BYTES: Final = 1 << 14
# The format allows a root directory, one level of leaf directories, and the tiles below.
MOST_LOOKUPS: Final = 3


class DamagedTilesError(ImageryError):
    """A file of tiles that cannot be read, or whose content contradicts its header or directories."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open file of tiles."""

    path: Path  # the file
    version: str  # time of change and size of the file; another version means that the file was replaced
    type: str  # media type of its tiles
    zooms: tuple[int, int]  # lowest, highest
    bounds: tuple[float, float, float, float]  # west, south, east, north in degrees
    root: tuple[int, int]  # offset and length of the root directory
    leaves: int  # offset of the leaf directories
    data: int  # offset of the tiles


def open_archive(path: Path) -> Archive | None:
    """Read the header of a file of tiles; None if the path is no regular file.

    Raises:
        DamagedTilesError: the file contains no image tiles.
    """
    try:
        with _open_regular_file(path) as (file, status):
            version = _get_version(status)
            head = os.pread(file, HEAD_BYTES, 0)
    except OSError:
        return None
    return _parse_header(path, version, head)


@contextmanager
def _open_regular_file(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Open a file for reading; give its descriptor and status.

    Raises:
        OSError: the path is a link, pipe or folder, or does not exist.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        yield file, status
    finally:
        os.close(file)


def _get_version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@lru_cache(maxsize=256)
def _parse_header(path: Path, version: str, head: bytes) -> Archive:
    if len(head) < HEAD_BYTES:
        raise DamagedTilesError(f"{path}: cut off within its header")
    try:
        header = format3.deserialize_header(head)
    except (format3.MagicNumberNotFound, format3.SpecVersionUnsupported, ValueError):
        raise DamagedTilesError(f"{path}: not a PMTiles file of version 3") from None
    kind = header["tile_type"]
    if kind not in {TileType.PNG, TileType.JPEG, TileType.WEBP} or header["tile_compression"] != Compression.NONE:
        raise DamagedTilesError(f"{path}: its tiles are not PNG, JPEG or WebP images")
    low, high = header["min_zoom"], header["max_zoom"]
    if not low <= high <= FINEST_ZOOM:
        raise DamagedTilesError(f"{path}: zooms {low} to {high}; possible are 0 to {FINEST_ZOOM}")
    if header["internal_compression"] != Compression.GZIP:
        raise DamagedTilesError(f"{path}: its directories are not compressed by gzip")
    return Archive(
        path=path,
        version=version,
        type=f"image/{kind.name.lower()}",
        zooms=(low, high),
        bounds=get_bounds(header),
        root=(header["root_offset"], header["root_length"]),
        leaves=header["leaf_directory_offset"],
        data=header["tile_data_offset"],
    )


def find_tile(archive: Archive, zoom: int, column: int, row: int) -> bytes | None:
    """Return the bytes of a tile; None if the file has no tile there.

    Raises:
        DamagedTilesError: the content contradicts the header, or the file was replaced.
    """
    low, high = archive.zooms
    if not low <= zoom <= high or not (0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
        return None
    number = format3.zxy_to_tileid(zoom, column, row)
    offset, length = archive.root
    for _ in range(MOST_LOOKUPS):
        entry = format3.find_tile(_read_directory(archive, offset, length), number)
        if entry is None:
            return None
        is_tile = entry.run_length > 0  # else a leaf directory
        if is_tile:
            if entry.length > TILE_BYTES:
                raise DamagedTilesError(f"{archive.path}: a tile of {entry.length} bytes")
            return _read_bytes(archive, archive.data + entry.offset, entry.length)
        offset = archive.leaves + entry.offset
        length = entry.length
    raise DamagedTilesError(f"{archive.path}: its leaf directories contain leaf directories")


def _read_bytes(archive: Archive, offset: int, length: int) -> bytes:
    try:
        with _open_regular_file(archive.path) as (file, status):
            version = _get_version(status)
            content = os.pread(file, length, offset)
    except (OSError, OverflowError):
        raise DamagedTilesError(f"{archive.path}: cannot be read") from None
    if version != archive.version:
        raise DamagedTilesError(f"{archive.path}: replaced by another file since it was opened")
    if len(content) != length:
        raise DamagedTilesError(f"{archive.path}: shorter than its directories state")
    return content


@lru_cache(maxsize=64)
def _read_directory(archive: Archive, offset: int, length: int) -> list[Entry]:
    """Return the entries of a directory, cached because the tiles of one view are usually in the same directory."""
    if length > DIRECTORY_BYTES:
        raise DamagedTilesError(f"{archive.path}: a directory of {length} bytes")
    packed = _read_bytes(archive, offset, length)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(DIRECTORY_BYTES + 1)
        if len(content) > DIRECTORY_BYTES:
            raise DamagedTilesError(f"{archive.path}: a directory larger than {DIRECTORY_BYTES >> 20} MiB")
        # The search comes first, because an overlong number takes long to decode.
        if OVERLONG_VARINT.search(content) or format3.read_varint(io.BytesIO(content)) > MOST_ENTRIES:
            raise DamagedTilesError(f"{archive.path}: a directory with impossible numbers")
        return format3.deserialize_directory(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedTilesError(f"{archive.path}: a directory cannot be read ({error})") from None


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """Return the metadata of the tiles in a folder; None if the folder has no readable metadata."""
    try:
        with _open_regular_file(folder / METADATA_FILE) as (file, _):
            metadata = json.loads(os.pread(file, METADATA_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None
