"""Read single tiles of a PMTiles 3 file. The file is not trusted: every number in it is checked."""

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
from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, bounds_of
from detection.imagery.tiles.records import METADATA_FILE

LARGEST_TILE: Final = 4 << 20
LARGEST_DIRECTORY: Final = 4 << 20  # unpacked
MOST_ENTRIES: Final = 1 << 18
LONGEST_NUMBER: Final = re.compile(rb"[\x80-\xff]{10}")  # a longer varint does not fit into 64 bits
FINEST: Final = 24
LONGEST_METADATA: Final = 1 << 14


class TornTilesError(ImageryError):
    """A file of tiles whose content contradicts its header or directories."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open file of tiles."""

    path: Path  # the file
    mark: str  # time and size of the file; another mark means another file
    type: str  # media type of its tiles
    zooms: tuple[int, int]  # lowest, highest
    bounds: tuple[float, float, float, float]  # west, south, east, north in degrees
    root: tuple[int, int]  # offset and length of the root directory
    leaves: int  # offset of the leaf directories
    data: int  # offset of the tiles


def _mark(known: os.stat_result) -> str:
    return f"{known.st_mtime_ns:x}-{known.st_size:x}"


@contextmanager
def _regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading (OSError: it is a link, pipe or folder)."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise FileNotFoundError(path)
        yield file, known
    finally:
        os.close(file)


def open_archive(path: Path) -> Archive | None:
    """Read the header of a file of tiles. Return None if there is no such file.

    Raises:
        TornTilesError: It is no file of image tiles.
    """
    try:
        with _regular(path) as (file, known):
            mark, head = _mark(known), os.pread(file, HEAD_BYTES, 0)
    except OSError:
        return None
    return _open(path, mark, head)


@lru_cache(maxsize=256)
def _open(path: Path, mark: str, head: bytes) -> Archive:
    if len(head) < HEAD_BYTES:
        raise TornTilesError(f"{path}: torn, its header is not whole")
    try:
        header = format3.deserialize_header(head)
    except (format3.MagicNumberNotFound, format3.SpecVersionUnsupported, ValueError):
        raise TornTilesError(f"{path}: no file of tiles") from None
    kind, zipped = header["tile_type"], header["internal_compression"] == Compression.GZIP
    if kind not in {TileType.PNG, TileType.JPEG, TileType.WEBP} or header["tile_compression"] != Compression.NONE:
        raise TornTilesError(f"{path}: no file of pictures in tiles")
    low, high = header["min_zoom"], header["max_zoom"]
    if not low <= high <= FINEST or not zipped:
        raise TornTilesError(f"{path}: zooms {low} to {high}")
    return Archive(
        path,
        mark,
        f"image/{kind.name.lower()}",
        (low, high),
        bounds_of(header),
        (header["root_offset"], header["root_length"]),
        header["leaf_directory_offset"],
        header["tile_data_offset"],
    )


def find_tile(archive: Archive, zoom: int, column: int, row: int) -> bytes | None:
    """Return the bytes of a tile. None if the file has no tile there.

    Raises:
        TornTilesError: The content contradicts the header, or the file was replaced.
    """
    low, high = archive.zooms
    if not low <= zoom <= high or not (0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
        return None
    number, (offset, length) = format3.zxy_to_tileid(zoom, column, row), archive.root
    for _ in range(3):  # a root, what lies below it, a tile
        found = format3.find_tile(_read_directory(archive, offset, length), number)
        if found is None:
            return None
        if found.run_length:
            if found.length > LARGEST_TILE:
                raise TornTilesError(f"{archive.path}: a tile of {found.length} bytes")
            return _read(archive, archive.data + found.offset, found.length)
        offset, length = archive.leaves + found.offset, found.length
    raise TornTilesError(f"{archive.path}: directories below directories")


def _read(archive: Archive, offset: int, length: int) -> bytes:
    try:
        with _regular(archive.path) as (file, known):
            mark, content = _mark(known), os.pread(file, length, offset)
    except (OSError, OverflowError):
        raise TornTilesError(f"{archive.path}: cannot be read") from None
    if mark != archive.mark:
        raise TornTilesError(f"{archive.path}: another file by now")
    if len(content) != length:
        raise TornTilesError(f"{archive.path}: shorter than it says")
    return content


@lru_cache(maxsize=64)
def _read_directory(archive: Archive, offset: int, length: int) -> list[Entry]:
    """A directory; kept, for the tiles of a view lie in one."""
    if length > max(FIRST_BYTES, LARGEST_DIRECTORY):
        raise TornTilesError(f"{archive.path}: a directory of {length} bytes")
    packed = _read(archive, offset, length)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(LARGEST_DIRECTORY + 1)
        if len(content) > LARGEST_DIRECTORY:
            raise TornTilesError(f"{archive.path}: a directory larger than {LARGEST_DIRECTORY >> 20} MiB")
        if LONGEST_NUMBER.search(content) or format3.read_varint(io.BytesIO(content)) > MOST_ENTRIES:
            raise TornTilesError(f"{archive.path}: a directory of numbers that cannot be")
        return format3.deserialize_directory(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise TornTilesError(f"{archive.path}: a directory cannot be read ({error})") from None


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """Return the metadata of the tiles of a folder. None if they were not cut."""
    try:
        with _regular(folder / METADATA_FILE) as (file, _):
            found = json.loads(os.pread(file, LONGEST_METADATA, 0))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
