"""Checksums of compressed blocks: the TIFF library stops before them, so that garbage may come out as values."""

import zlib
from pathlib import Path
from typing import Any

from detection.imagery.errors import TruncatedRasterError

DEFLATE = "DEFLATE"


class BlockChecker:
    """Proves the deflated blocks of a GeoTIFF by their Adler-32 (RFC 1950), each once, as windows ask for them.

    Other compressions carry no checksum; of them nothing is said.

    Args:
        source: the open raster.
        path: its file.
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

    def _prove(self, band: int, column: int, row: int) -> bool:
        place, size = (
            self._source.get_tag_item(f"BLOCK_{name}_{column}_{row}", "TIFF", bidx=band) for name in ("OFFSET", "SIZE")
        )
        if not place or not size:
            return True  # a sparse block: nothing is stored, all of it is nodata
        with self._path.open("rb") as file:
            file.seek(int(place))
            stored = file.read(int(size))
        stream = zlib.decompressobj()
        try:
            while stored and not stream.eof:
                stream.decompress(stored, 1 << 20)
                stored = stream.unconsumed_tail
        except zlib.error:
            return False
        return stream.eof
