"""Check and copy files of tiles (PMTiles) that people provide."""

import shutil
from pathlib import Path
from typing import Final

from pmtiles.tile import Compression, SpecVersionUnsupported, deserialize_header

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.archive import HEAD_BYTES, KINDS, bounds_of
from detection.imagery.tiles.records import Tiles, TilesRequest
from detection.reasons import explain_error
from detection.whole_file import replacing

MAGIC: Final = b"PMTiles"
SQLITE: Final = b"SQLite format 3\0"


class NotTilesError(ImageryError):
    """A file that contains no map tiles, or not as the format requires."""


def take_tiles(request: TilesRequest) -> Tiles:
    """Copy a file of tiles, as task of a worker. The answer contains the error if it is refused."""
    try:
        return copy_tiles(request.source, request.out)
    except (ImageryError, OSError) as error:
        return Tiles(error=explain_error(error))


def copy_tiles(source: Path, out: Path) -> Tiles:
    """Check and copy a file of tiles (PMTiles 3).

    Raises:
        NotTilesError: It is no PMTiles file, has another version, or has tiles that browsers do not draw.
    """
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(SQLITE):
        raise NotTilesError(f"{source}: no PMTiles; MBTiles: run `pmtiles-convert {source} {out.name}` first")
    if not head.startswith(MAGIC):
        raise NotTilesError(f"{source}: no PMTiles")
    if len(head) < HEAD_BYTES:
        raise NotTilesError(f"{source}: torn, its header is not whole")
    strange = NotTilesError(f"{source}: tiles or a compression that browsers do not read (kind {head[99]})")
    try:
        header = deserialize_header(head)
    except SpecVersionUnsupported:
        raise NotTilesError(
            f"{source}: PMTiles of version {head[7]}; `pmtiles convert` makes version 3 of it"
        ) from None
    except ValueError:
        raise strange from None
    kind = {number: name for name, number in KINDS.items()}.get(header["tile_type"])
    read = {Compression.NONE, Compression.GZIP}
    if kind is None or not {header["internal_compression"], header["tile_compression"]} <= read:
        raise strange
    with replacing(out) as work:
        shutil.copyfile(source, work)
    return Tiles(header["addressed_tiles_count"], kind, (header["min_zoom"], header["max_zoom"]), bounds_of(header))
