"""Checksums of compressed blocks: the TIFF library stops before them, so that garbage may come out as values."""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree as ET

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.local_grid import PlacedSource, original_of
from detection.imagery.raster.untrusted import LIMITS, NO_LIMITS, find_driver, open_raster
from detection.imagery.raster.vrt import VRT_SOURCES

DEFLATE = "DEFLATE"
# What resampling inside of a VRT reads beyond a pixel.
REACH_PX = 2
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Checker(Protocol):
    """What proves the blocks of a raster."""

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """Raise `TruncatedRasterError` where a window of a band touches a damaged block."""

    def check_all(self, index: int) -> None:
        """The same for all of a band."""


def make_checker(source: Any, path: Path) -> Checker:
    """Return what proves the blocks of an open raster."""
    if isinstance(source, PlacedSource):
        return WholeChecker(make_checker(original_of(source), path), source.src_dataset.count)
    return MosaicChecker(source, path) if source.driver == "VRT" else BlockChecker(source, path)


class BlockChecker:
    """Proves the deflated blocks of a GeoTIFF by their Adler-32 (RFC 1950), each once, as windows ask for them.

    Other compressions carry no checksum; of them nothing is said.
    """

    def __init__(self, source: Any, path: Path) -> None:
        structure = source.tags(ns="IMAGE_STRUCTURE")
        self._source, self._path = source, path
        self._wanted = source.driver == "GTiff" and structure.get("COMPRESSION") == DEFLATE
        self._by_pixel = structure.get("INTERLEAVE") == "PIXEL"
        self._known: dict[tuple[int, int, int], bool] = {}

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """Prove the blocks of a band that a window touches.

        Raises:
            TruncatedRasterError: one of them is damaged.
        """
        if not self._wanted:
            return
        band = 1 if self._by_pixel else index
        high, wide = self._source.block_shapes[band - 1]
        for block_row in range(row // high, -(-(row + height) // high)):
            for block_column in range(column // wide, -(-(column + width) // wide)):
                key = band, block_column, block_row
                if key not in self._known:
                    self._known[key] = self._prove(*key)
                if not self._known[key]:
                    raise TruncatedRasterError(
                        f"{self._path}: a block from row {block_row * high} on is damaged (its checksum differs)"
                    )

    def check_all(self, index: int) -> None:
        """Prove all blocks of a band."""
        self.check(index, 0, 0, self._source.width, self._source.height)

    def list_damaged(self, index: int) -> Iterator[Box]:
        """Yield the blocks of a band that are damaged."""
        if not self._wanted:
            return
        high, wide = self._source.block_shapes[index - 1]
        for row in range(0, self._source.height, high):
            for column in range(0, self._source.width, wide):
                try:
                    self.check(index, column, row, 1, 1)
                except TruncatedRasterError:
                    yield column, row, column + wide, row + high

    def _prove(self, band: int, column: int, row: int) -> bool:
        place, size = (
            self._source.get_tag_item(f"BLOCK_{name}_{column}_{row}", "TIFF", bidx=band) for name in ("OFFSET", "SIZE")
        )
        if not place or not size:
            return True  # a sparse block: nothing is stored, all of it is nodata
        with self._path.open("rb") as file:
            file.seek(int(place))
            stored = file.read(int(size))
        stream, left = zlib.decompressobj(), 2 * LIMITS.block_bytes
        try:
            while stored and not stream.eof and left > 0:
                left -= len(stream.decompress(stored, 1 << 20))
                stored = stream.unconsumed_tail
        except zlib.error:
            return False
        return stream.eof


class WholeChecker:
    """Proves all of a raster when a window of it is first asked for: warping may take its pixels from anywhere.

    `checker`: of the raster as its file has it.
    """

    def __init__(self, checker: Checker, count: int) -> None:
        self._checker, self._count = checker, count

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:  # noqa: ARG002 - a Checker's
        """Prove all blocks of a band."""
        self.check_all(index)

    def check_all(self, index: int) -> None:
        """Prove all blocks of a band."""
        if index <= self._count:  # beyond them lies the alpha of the warp
            self._checker.check_all(index)


class MosaicChecker:
    """Proves the files that a VRT is made of, all of them when a band is first asked for.

    `source`: the open VRT, let in by `sources.open_raster`.
    """

    def __init__(self, source: Any, path: Path) -> None:
        self._size, self._path = (source.width, source.height), path
        self._damaged: dict[int, list[tuple[Box, Path]]] = {}

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """Prove what a window of a band is made of.

        Raises:
            TruncatedRasterError: a block of one of the files is damaged.
        """
        if index not in self._damaged:
            self._damaged[index] = list(_list_damaged(self._path, index))
        for (left, top, right, bottom), file in self._damaged[index]:
            if left < column + width and right > column and top < row + height and bottom > row:
                raise TruncatedRasterError(
                    f"{self._path}: a block of {file.name} over row {max(0, math.floor(top))} is damaged (its checksum "
                    "differs)"
                )

    def check_all(self, index: int) -> None:
        """Prove all that a band is made of."""
        self.check(index, 0, 0, *self._size)


def _list_damaged(path: Path, index: int) -> Iterator[tuple[Box, Path]]:
    if find_driver(path) != "VRT":
        with open_raster(path, NO_LIMITS) as source:
            if index <= source.count:
                yield from ((box, path) for box in BlockChecker(original_of(source), path).list_damaged(index))
        return
    tree = ET.fromstring(path.read_bytes())  # noqa: S314 - read and bounded by `sources.check_vrt` before
    for band in tree.findall("VRTRasterBand")[index - 1 : index]:
        for part in (element for element in band.iter() if element.tag in VRT_SOURCES):
            file, number = (
                path.parent / (part.findtext("SourceFilename") or "").strip(),
                part.findtext("SourceBand", "1"),
            )
            if not number.isdecimal():
                continue  # `mask,1`: the file's own mask, which has no checksum that could be asked
            for box, fault in _list_damaged(file, int(number)):
                try:
                    yield _place(box, part), fault
                except (ValueError, ZeroDivisionError):  # a window that nobody can tell may be anywhere
                    yield (0, 0, math.inf, math.inf), fault


def _place(box: Box, part: ET.Element) -> Box:
    own, whole = part.find("SrcRect"), part.find("DstRect")
    if own is None or whole is None:
        return box
    found = []
    for axis, size in (("xOff", "xSize"), ("yOff", "ySize")):
        scale = float(whole.get(size, 1)) / float(own.get(size, 1))
        first = float(whole.get(axis, 0)) - float(own.get(axis, 0)) * scale
        reach = REACH_PX * max(1.0, scale) if scale != 1 else 0.0
        low, high = (float(whole.get(axis, 0)), float(whole.get(axis, 0)) + float(whole.get(size, 0)))
        at = 0 if axis == "xOff" else 1
        found.append((max(low, first + box[at] * scale - reach), min(high, first + box[at + 2] * scale + reach)))
    (left, right), (top, bottom) = found
    return left, top, right, bottom
