"""One tile out of a file of tiles (PMTiles 3), by the standard library alone: nothing in the file is believed."""

import gzip
import io
import json
import os
import stat
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.archive import FIRST_BYTES, HEADER, KINDS, MAGIC, VERSION, number_tile
from detection.imagery.tiles.records import SAID
from forecasting.message import gather

LARGEST_TILE: Final = 4 << 20
LARGEST_DIRECTORY: Final = 4 << 20  # unpacked
MOST_ENTRIES: Final = 1 << 18
FINEST: Final = 24
LONGEST_SAID: Final = 1 << 14
TYPES: Final = {KINDS["png"]: "image/png", KINDS["jpg"]: "image/jpeg", KINDS["webp"]: "image/webp"}


class TornTilesError(ImageryError):
    """A file of tiles that does not hold what it says."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file of tiles as it lies there now.

    Attributes:
        path: the file.
        mark: changes when another file lies there.
        type: media type of its tiles.
        zooms: lowest, highest.
        bounds: west, south, east, north in degrees.
        root: where its directory lies: offset, length.
        leaves: where those below it begin.
        data: where its tiles begin.
    """

    path: Path
    mark: str
    type: str
    zooms: tuple[int, int]
    bounds: tuple[float, float, float, float]
    root: tuple[int, int]
    leaves: int
    data: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """Entries by rising number: columns of it."""

    numbers: "array[int]"
    runs: "array[int]"
    lengths: "array[int]"
    offsets: "array[int]"


def _mark(known: os.stat_result) -> str:
    return f"{known.st_mtime_ns:x}-{known.st_size:x}"


@contextmanager
def _regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A file that is no link, pipe or folder, open for reading; OSError otherwise."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise FileNotFoundError(path)
        yield file, known
    finally:
        os.close(file)


def open_archive(path: Path) -> Archive | None:
    """What a file of tiles is; None where there is no such file.

    Raises:
        TornTilesError: it is no file of pictures in tiles.
    """
    try:
        with _regular(path) as (file, known):
            mark, head = _mark(known), os.pread(file, HEADER.size, 0)
    except OSError:
        return None
    return _open(path, mark, head)


@lru_cache(maxsize=256)
def _open(path: Path, mark: str, head: bytes) -> Archive:
    if len(head) < HEADER.size:
        raise TornTilesError(f"{path}: torn, its header is not whole")
    magic, version, *rest = HEADER.unpack(head)
    kind = TYPES.get(rest[14])
    if magic != MAGIC or version != VERSION or kind is None or rest[13] != 1 or rest[12] not in {1, 2}:
        raise TornTilesError(f"{path}: no file of pictures in tiles")
    low, high = rest[15], rest[16]
    if not 0 <= low <= high <= FINEST:
        raise TornTilesError(f"{path}: zooms {low} to {high}")
    west, south, east, north = (degrees / 1e7 for degrees in rest[17:21])
    return Archive(path, mark, kind, (low, high), (west, south, east, north), (rest[0], rest[1]), rest[4], rest[6])


def find_tile(archive: Archive, zoom: int, column: int, row: int) -> bytes | None:
    """The bytes of a tile; None where the file has none there.

    Raises:
        TornTilesError: the file does not hold what it says, or is another by now.
    """
    low, high = archive.zooms
    if not low <= zoom <= high or not (0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
        return None
    number, (offset, length) = number_tile(zoom, column, row), archive.root
    for _ in range(3):  # a root, what lies below it, a tile
        directory = _read_directory(archive, offset, length)
        place = bisect_right(directory.numbers, number) - 1
        if place < 0:
            return None
        run, length = directory.runs[place], directory.lengths[place]
        if run:
            if number >= directory.numbers[place] + run:
                return None
            if length > LARGEST_TILE:
                raise TornTilesError(f"{archive.path}: a tile of {length} bytes")
            return _read(archive, archive.data + directory.offsets[place], length)
        offset = archive.leaves + directory.offsets[place]
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
def _read_directory(archive: Archive, offset: int, length: int) -> _Directory:
    """A directory; kept, for the tiles of a view lie in one."""
    if length > max(FIRST_BYTES, LARGEST_DIRECTORY):
        raise TornTilesError(f"{archive.path}: a directory of {length} bytes")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(_read(archive, offset, length))) as packed:
            content = packed.read(LARGEST_DIRECTORY + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TornTilesError(f"{archive.path}: a directory cannot be read ({error})") from None
    if len(content) > LARGEST_DIRECTORY:
        raise TornTilesError(f"{archive.path}: a directory larger than {LARGEST_DIRECTORY >> 20} MiB")
    numbers = _read_numbers(content)
    count = numbers[0] if numbers else 0
    if count > MOST_ENTRIES or len(numbers) != 4 * count + 1:
        raise TornTilesError(f"{archive.path}: a directory of {count} entries that holds others")
    return _unpack(archive, numbers, count)


def _unpack(archive: Archive, numbers: list[int], count: int) -> _Directory:
    steps, runs, lengths, places = (numbers[1 + part * count : 1 + (part + 1) * count] for part in range(4))
    try:
        found = _Directory(array("Q"), array("Q", runs), array("Q", lengths), array("Q"))
        number = end = 0
        for step, length, place in zip(steps, lengths, places, strict=True):
            number += step
            offset = end if place == 0 else place - 1
            end = offset + length
            found.numbers.append(number)
            found.offsets.append(offset)
    except OverflowError:
        raise TornTilesError(f"{archive.path}: a directory of numbers that cannot be") from None
    return found


def _read_numbers(content: bytes) -> list[int]:
    """Numbers of seven bits a byte, each as long as its bytes say that it goes on."""
    found, number, shift = [], 0, 0
    for byte in content:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(number)
            number = shift = 0
        elif shift > 63:
            return []
    return found


def read_said(folder: Path) -> dict[str, Any] | None:
    """What was said of the tiles of a folder; None where they were not cut."""
    try:
        with _regular(folder / SAID) as (file, _):
            found = gather(json.loads(os.pread(file, LONGEST_SAID, 0)))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
