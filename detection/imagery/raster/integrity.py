"""Verify the checksums of compressed blocks. libtiff does not, so damaged blocks can decode to wrong values."""

import zlib
from pathlib import Path
from typing import Any, Final, Protocol

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.local_grid import PlacedSource, unwrap_placed
from detection.imagery.raster.rewriting import unwrap_rewritten
from detection.imagery.raster.untrusted import LIMITS

DEFLATE: Final = "DEFLATE"


class Checker(Protocol):
    """Verifies the blocks of a raster."""

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """Raise `TruncatedRasterError` if a window of a band touches a damaged block."""

    def check_all(self, index: int) -> None:
        """Raise `TruncatedRasterError` if any block of a band is damaged."""


def make_checker(source: Any, path: Path) -> Checker:
    """Return the checker of an open raster; `path` is its file."""
    if isinstance(source, PlacedSource):
        return WholeChecker(make_checker(unwrap_placed(source), path), source.src_dataset.count)
    # A rewritten raster has the bands and pixels of its file.
    return BlockChecker(unwrap_rewritten(source), path)


class BlockChecker:
    """Verifies the deflated blocks of a GeoTIFF by their Adler-32 checksum (RFC 1950).

    Each block is verified once, when a window first touches it. Blocks of other compressions carry no checksum and are
    not verified.
    """

    def __init__(self, source: Any, path: Path) -> None:
        structure = source.tags(ns="IMAGE_STRUCTURE")
        self._source = source
        self._path = path
        self._has_checksums = source.driver == "GTiff" and structure.get("COMPRESSION") == DEFLATE
        self._interleaved_by_pixel = structure.get("INTERLEAVE") == "PIXEL"
        self._is_intact: dict[tuple[int, int, int], bool] = {}

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """Verify the blocks of a band that a window touches.

        Raises:
            TruncatedRasterError: one of them is damaged.
        """
        if not self._has_checksums:
            return
        band = 1 if self._interleaved_by_pixel else index
        block_height, block_width = self._source.block_shapes[band - 1]
        for block_row in range(row // block_height, -(-(row + height) // block_height)):
            for block_column in range(column // block_width, -(-(column + width) // block_width)):
                block = band, block_column, block_row
                if block not in self._is_intact:
                    self._is_intact[block] = self._verify(*block)
                if not self._is_intact[block]:
                    raise TruncatedRasterError(
                        f"{self._path}: a block from row {block_row * block_height} on is damaged (its checksum "
                        "differs)"
                    )

    def check_all(self, index: int) -> None:
        """Verify all blocks of a band; see `check`."""
        self.check(index, 0, 0, self._source.width, self._source.height)

    def _verify(self, band: int, column: int, row: int) -> bool:
        start, size = (
            self._source.get_tag_item(f"BLOCK_{name}_{column}_{row}", "TIFF", bidx=band) for name in ("OFFSET", "SIZE")
        )
        if not start or not size:
            return True  # a sparse block: the file stores nothing, and all pixels are nodata
        with self._path.open("rb") as file:
            file.seek(int(start))
            stored = file.read(int(size))
        stream = zlib.decompressobj()
        remaining_bytes = 2 * LIMITS.block_bytes  # more than a block can have
        try:
            while stored and not stream.eof and remaining_bytes > 0:
                remaining_bytes -= len(stream.decompress(stored, 1 << 20))
                stored = stream.unconsumed_tail
        except zlib.error:
            return False
        return stream.eof


class WholeChecker:
    """Verifies all blocks of the file of a placed raster, because the pixels of a window can be in any of them.

    Args:
        checker: checker of the file.
        count: number of bands of the file; a placed raster may have an alpha band after them.
    """

    def __init__(self, checker: Checker, count: int) -> None:
        self._checker = checker
        self._count = count

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:  # noqa: ARG002 - a Checker's
        """Verify all blocks of a band."""
        self.check_all(index)

    def check_all(self, index: int) -> None:
        """Verify all blocks of a band."""
        if index <= self._count:
            self._checker.check_all(index)
