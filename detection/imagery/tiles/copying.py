"""Check and copy a file of tiles (PMTiles) that a user provides, such as a base map."""

import shutil
from pathlib import Path
from typing import Final

from pmtiles.tile import Compression, SpecVersionUnsupported, deserialize_header

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.archive import HEAD_BYTES, KINDS, get_bounds
from detection.imagery.tiles.records import Tiles, TilesRequest
from detection.reasons import explain_error
from detection.whole_file import replacing

MAGIC: Final = b"PMTiles"
SQLITE_MAGIC: Final = b"SQLite format 3\0"  # of MBTiles
COMPRESSIONS: Final = frozenset({Compression.NONE, Compression.GZIP})  # that browsers read
# Positions in the header.
VERSION_BYTE: Final = 7
KIND_BYTE: Final = 99


class NotTilesError(ImageryError):
    """A file that is no PMTiles file, or that contains tiles that browsers cannot draw."""


def run_copy_request(request: TilesRequest) -> Tiles:
    """Copy a file of tiles, as a task of a worker. If the file is refused, the result contains the error."""
    try:
        return copy_tiles(request.source, request.out)
    except (ImageryError, OSError) as error:
        return Tiles(error=explain_error(error))


def copy_tiles(source: Path, out: Path) -> Tiles:
    """Check and copy a file of tiles (PMTiles 3).

    Raises:
        NotTilesError: the file is no PMTiles file, has another version, or has tiles that browsers cannot draw.
        OSError: the file cannot be read or copied.
    """
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(SQLITE_MAGIC):
        raise NotTilesError(f"{source}: no PMTiles file; convert MBTiles first: `pmtiles-convert {source} {out.name}`")
    if not head.startswith(MAGIC):
        raise NotTilesError(f"{source}: no PMTiles file")
    if len(head) < HEAD_BYTES:
        raise NotTilesError(f"{source}: cut off within its header")
    unreadable = NotTilesError(
        f"{source}: its tiles or their compression are of a kind that browsers do not read (kind {head[KIND_BYTE]}); "
        f"expected: {', '.join(KINDS)}, without compression or with gzip"
    )
    try:
        header = deserialize_header(head)
    except SpecVersionUnsupported:
        raise NotTilesError(
            f"{source}: PMTiles of version {head[VERSION_BYTE]}; convert it to version 3: `pmtiles convert`"
        ) from None
    except ValueError:
        raise unreadable from None
    kind = next((name for name, number in KINDS.items() if number == header["tile_type"]), None)
    compressions = {header["internal_compression"], header["tile_compression"]}
    if kind is None or not compressions <= COMPRESSIONS:
        raise unreadable
    with replacing(out) as partial:
        shutil.copyfile(source, partial)
    return Tiles(
        tiles=header["addressed_tiles_count"],
        kind=kind,
        zooms=(header["min_zoom"], header["max_zoom"]),
        bounds=get_bounds(header),
    )
