"""Map tiles in one file that a browser reads by ranges: PMTiles version 3, written."""

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pmtiles.tile import Compression, Entry, HeaderDict, TileType, serialize_header
from pmtiles.writer import optimize_directories

from detection.whole_file import replacing

HEAD_BYTES: Final = 127
FIRST_BYTES: Final = 16384  # header and root directory fit into what a reader asks for first
KINDS: Final = {
    "pbf": TileType.MVT,
    "mvt": TileType.MVT,
    "png": TileType.PNG,
    "jpeg": TileType.JPEG,
    "jpg": TileType.JPEG,
    "webp": TileType.WEBP,
}


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What a file of tiles says of itself."""

    kind: str  # of its tiles, of `KINDS`
    bounds: tuple[float, float, float, float]  # west, south, east, north in degrees
    zooms: tuple[int, int]  # lowest, highest
    zipped: bool  # whether each tile is a gzip stream
    metadata: Mapping[str, Any]  # name, attribution, layers


def write_archive(path: Path, tiles: Iterable[tuple[int, bytes]], about: ArchiveFacts) -> int:
    """Write tiles into a file that comes into place whole; returns how many.

    `tiles`: number (`pmtiles.tile.zxy_to_tileid`) and bytes, by rising number.

    Raises:
        ValueError: the numbers do not rise.
    """
    entries: list[Entry] = []
    known: dict[bytes, tuple[int, int]] = {}
    with tempfile.TemporaryFile(dir=path.parent) as data:
        for number, tile in tiles:
            last = entries[-1] if entries else None
            if last is not None and number < last.tile_id + last.run_length:
                raise ValueError(f"tile {number} comes after tile {last.tile_id + last.run_length - 1}")
            mark = sha256(tile).digest()[:16]  # of the sea and of empty ground there are thousands
            place = known.get(mark)
            if place is None:
                place = known[mark] = (data.tell(), len(tile))
                data.write(tile)
            if last is not None and (last.offset, last.length) == place and number == last.tile_id + last.run_length:
                last.run_length += 1
            else:
                entries.append(Entry(number, *place, 1))
        root, leaves, _ = optimize_directories(entries, FIRST_BYTES - HEAD_BYTES)
        metadata = gzip.compress(json.dumps(about.metadata, ensure_ascii=False).encode(), mtime=0)
        count = sum(entry.run_length for entry in entries)
        header: Any = {
            "addressed_tiles_count": count,
            "tile_entries_count": len(entries),
            "tile_contents_count": len(known),
            "clustered": True,
            "internal_compression": Compression.GZIP,
            "tile_compression": Compression.GZIP if about.zipped else Compression.NONE,
            "tile_type": KINDS[about.kind],
            "min_zoom": about.zooms[0],
            "max_zoom": about.zooms[1],
        }
        end = HEAD_BYTES
        for name, size in (
            ("root", len(root)),
            ("metadata", len(metadata)),
            ("leaf_directory", len(leaves)),
            ("tile_data", data.tell()),
        ):
            header |= {f"{name}_offset": end, f"{name}_length": size}
            end += size
        for name, degrees in zip(("min_lon", "min_lat", "max_lon", "max_lat"), about.bounds, strict=True):
            header[f"{name}_e7"] = round(degrees * 1e7)
        with replacing(path) as work, work.open("wb") as file:
            for part in (serialize_header(header), root, metadata, leaves):
                file.write(part)
            data.seek(0)
            shutil.copyfileobj(data, file)
    return count


def bounds_of(header: HeaderDict) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees."""
    west, south, east, north = header["min_lon_e7"], header["min_lat_e7"], header["max_lon_e7"], header["max_lat_e7"]
    return west / 1e7, south / 1e7, east / 1e7, north / 1e7
