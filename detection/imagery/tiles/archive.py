"""Map tiles in one file that a browser reads by ranges: PMTiles version 3 (Protomaps, specification 3.4), written."""

import gzip
import json
import shutil
import struct
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from detection.whole_file import replacing

MAGIC: Final = b"PMTiles"
VERSION: Final = 3
HEADER: Final = struct.Struct("<7sB11Q6B4iB2i")
KINDS: Final = {"pbf": 1, "mvt": 1, "png": 2, "jpg": 3, "jpeg": 3, "webp": 4}
PLAIN: Final = 1
GZIP: Final = 2
FIRST_BYTES: Final = 16384  # header and root directory fit into what a reader asks for first
LEAF: Final = 4096  # entries of one directory below the root


@dataclass(frozen=True, slots=True)
class About:
    """What a file of tiles says of itself.

    Attributes:
        kind: of its tiles, of `KINDS`.
        bounds: west, south, east, north in degrees.
        zooms: lowest, highest.
        zipped: whether each tile is a gzip stream.
        metadata: name, attribution, layers.
    """

    kind: str
    bounds: tuple[float, float, float, float]
    zooms: tuple[int, int]
    zipped: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A run of equal tiles; with `run` 0 a directory of further entries."""

    number: int
    offset: int
    length: int
    run: int = 1


def number_tile(zoom: int, column: int, row: int) -> int:
    """The place of a tile along the Hilbert curves of all zooms; row 0 is the northernmost.

    >>> [number_tile(*place) for place in ((0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0), (2, 0, 0))]
    [0, 1, 2, 3, 4, 5]
    """
    number: int = (4**zoom - 1) // 3
    for power in range(zoom - 1, -1, -1):
        side = 1 << power
        right, below = column & side, row & side
        number += ((3 * right) ^ below) << power
        if not below:
            if right:
                column, row = side - 1 - column, side - 1 - row
            column, row = row, column
    return number


def write_archive(path: Path, tiles: Iterable[tuple[int, bytes]], about: About) -> int:
    """Write tiles into a file that comes into place whole; returns how many.

    Args:
        path: the file.
        tiles: number (`number_tile`) and bytes, by rising number.
        about: what the file says of itself.

    Raises:
        ValueError: the numbers do not rise.
    """
    entries: list[Entry] = []
    known: dict[bytes, tuple[int, int]] = {}
    with tempfile.TemporaryFile(dir=path.parent) as data:
        for number, tile in tiles:
            last = entries[-1] if entries else None
            if last is not None and number < last.number + last.run:
                raise ValueError(f"tile {number} comes after tile {last.number + last.run - 1}")
            mark = sha256(tile).digest()[:16]  # of the sea and of empty ground there are thousands
            place = known.get(mark)
            if place is None:
                place = known[mark] = (data.tell(), len(tile))
                data.write(tile)
            if last is not None and (last.offset, last.length) == place and number == last.number + last.run:
                entries[-1] = replace(last, run=last.run + 1)
            else:
                entries.append(Entry(number, *place))
        root, leaves = _pack_directories(entries)
        said = gzip.compress(json.dumps(about.metadata, ensure_ascii=False).encode(), mtime=0)
        with replacing(path) as work, work.open("wb") as file:
            file.write(_pack_header(about, entries, len(known), (len(root), len(said), len(leaves), data.tell())))
            for part in (root, said, leaves):
                file.write(part)
            data.seek(0)
            shutil.copyfileobj(data, file)
    return sum(entry.run for entry in entries)


def _pack_header(about: About, entries: Sequence[Entry], contents: int, lengths: Sequence[int]) -> bytes:
    places, offset = [], HEADER.size
    for length in lengths:
        places += [offset, length]
        offset += length
    west, south, east, north = (round(degrees * 1e7) for degrees in about.bounds)
    middle = ((west + east) // 2, (south + north) // 2)
    counts = (sum(entry.run for entry in entries), len(entries), contents)
    return HEADER.pack(
        MAGIC, VERSION, *places, *counts, 1, GZIP, GZIP if about.zipped else PLAIN, KINDS[about.kind], *about.zooms,
        west, south, east, north, about.zooms[0], *middle,
    )  # fmt: skip


def _pack_directories(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """The root directory, and what lies below it where it would be larger than a first look."""
    root = _pack(entries)
    if HEADER.size + len(root) <= FIRST_BYTES:
        return root, b""
    size = LEAF
    while True:
        above, leaves = [], b""
        for begin in range(0, len(entries), size):
            leaf = _pack(entries[begin : begin + size])
            above.append(Entry(entries[begin].number, len(leaves), len(leaf), 0))
            leaves += leaf
        root = _pack(above)
        if HEADER.size + len(root) <= FIRST_BYTES:
            return root, leaves
        size *= 2


def _pack(entries: Sequence[Entry]) -> bytes:
    """A directory: its columns one after the other, each number in as few bytes as it takes."""
    out = bytearray(_varint(len(entries)))
    before = 0
    for entry in entries:
        out += _varint(entry.number - before)
        before = entry.number
    for entry in entries:
        out += _varint(entry.run)
    for entry in entries:
        out += _varint(entry.length)
    end = None
    for entry in entries:
        out += _varint(0 if entry.offset == end else entry.offset + 1)
        end = entry.offset + entry.length
    return gzip.compress(bytes(out), mtime=0)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
