"""A raster as tiles of web maps, in one pass from north to south: coarser tiles are folded of finer ones."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pmtiles.tile import zxy_to_tileid

from detection.imagery.tiles.archive import ArchiveFacts, write_archive
from detection.imagery.tiles.records import Tiles
from detection.imagery.tiles.web_grid import SIDE_PX, WebMapExtent, span_tiles

Tile = NDArray[np.uint8]  # bands x 512 x 512
Draw = Callable[[int, int, int], Tile | None]
"""The tile at a zoom, column and row; None where there is nothing."""


@dataclass(frozen=True, slots=True)
class TileEncoding:
    """File format of tiles, how four become a coarser one, and how one is encoded."""

    kind: str  # of their files, see `archive.KINDS`
    fold: Callable[[Tile], Tile]  # a tile at half its size
    encode: Callable[[Tile], bytes | None]  # its file; None where it shows nothing


@dataclass(slots=True)
class _Pyramid:
    """Tiles as far as they are drawn: encoded ones in a file, of coarser zooms what the finer rows have filled."""

    encoding: TileEncoding
    lowest: int
    data: IO[bytes]
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    begun: dict[tuple[int, int], dict[int, Tile]] = field(default_factory=dict)  # zoom, row -> column -> tile

    def add(self, zoom: int, column: int, row: int, tile: Tile) -> None:
        content = self.encoding.encode(tile)
        if content is not None:
            self.places[zxy_to_tileid(zoom, column, row)] = (self.data.tell(), len(content))
            self.data.write(content)
        if zoom == self.lowest:
            return
        half = SIDE_PX // 2
        above = self.begun.setdefault((zoom - 1, row // 2), {})
        if column // 2 not in above:
            above[column // 2] = np.zeros_like(tile)
        top, left = row % 2 * half, column % 2 * half
        above[column // 2][:, top : top + half, left : left + half] = self.encoding.fold(tile)

    def end_row(self, zoom: int, row: int, last: int) -> None:
        """After the last tile of a row: the coarser row above is whole when it has all of its rows."""
        if zoom == self.lowest or not (row % 2 or row == last):
            return
        for column, tile in sorted(self.begun.pop((zoom - 1, row // 2), {}).items()):
            self.add(zoom - 1, column, row // 2, tile)
        self.end_row(zoom - 1, row // 2, last // 2)

    def read(self) -> Iterator[tuple[int, bytes]]:
        for number, (offset, length) in sorted(self.places.items()):
            self.data.seek(offset)
            yield number, self.data.read(length)


def write_pyramid(
    out: Path,
    extent: WebMapExtent,
    zooms: tuple[int, int],
    draw: Draw,
    encoding: TileEncoding,
    metadata: Mapping[str, Any],
) -> Tiles:
    """Draw the tiles of the highest zoom, fold those of the others, and write all into one file.

    Args:
        zooms: lowest, highest.
        draw: asked for the tiles of the highest zoom alone, row by row from west to east.
    """
    lowest, highest = zooms
    columns, rows = span_tiles(highest, extent)
    with tempfile.TemporaryFile(dir=out.parent) as data:
        pyramid = _Pyramid(encoding, lowest, data)
        for row in rows:
            for column in columns:
                if (tile := draw(highest, column, row)) is not None:
                    pyramid.add(highest, column, row, tile)
            pyramid.end_row(highest, row, rows[-1])
        about = ArchiveFacts(encoding.kind, extent.lonlat, zipped=False, metadata=metadata)
        tiles = write_archive(out, pyramid.read(), about)
    return Tiles(tiles, encoding.kind, zooms, extent.lonlat)
