"""Write map tiles into one file of which browsers read ranges (PMTiles version 3)."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pmtiles.tile import Compression, HeaderDict, TileType
from pmtiles.writer import Writer

from detection.whole_file import replacing

HEAD_BYTES: Final = 127  # length of the header
# A reader requests this many bytes first. Header and root directory fit into them.
FIRST_BYTES: Final = 16384
# Kind of tiles -> its type in the header.
KINDS: Final = {"mvt": TileType.MVT, "png": TileType.PNG, "jpg": TileType.JPEG, "webp": TileType.WEBP}


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What the header and the metadata of a file of tiles state."""

    kind: str  # of its tiles, a key of `KINDS`
    bounds: tuple[float, float, float, float]  # west, south, east, north in degrees
    metadata: Mapping[str, Any]  # name, attribution, layers


def write_archive(path: Path, tiles: Iterable[tuple[int, bytes]], facts: ArchiveFacts) -> int:
    """Write tiles into a file, by temporary name and rename, and return their number. Without tiles the file is empty.

    Args:
        path: the file.
        tiles: number (`pmtiles.tile.zxy_to_tileid`) and bytes of each tile, in ascending order of the numbers.
        facts: what the header and the metadata state.
    """
    west, south, east, north = (round(degrees * 1e7) for degrees in facts.bounds)
    header: Any = {
        "tile_type": KINDS[facts.kind],
        "tile_compression": Compression.NONE,
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
    }
    with replacing(path) as work, work.open("wb") as file:
        writer = Writer(file)
        with closing(writer.tile_f):
            for number, tile in tiles:
                writer.write_tile(number, tile)
            if writer.addressed_tiles:
                writer.finalize(header, dict(facts.metadata))
    return int(writer.addressed_tiles)


def get_bounds(header: HeaderDict) -> tuple[float, float, float, float]:
    """Return the bounds in a header: west, south, east and north in degrees."""
    west, south, east, north = header["min_lon_e7"], header["min_lat_e7"], header["max_lon_e7"], header["max_lat_e7"]
    return west / 1e7, south / 1e7, east / 1e7, north / 1e7
