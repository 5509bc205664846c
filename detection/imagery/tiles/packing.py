"""Tiles that somebody brings: MBTiles packed anew, PMTiles looked at and copied."""

import json
import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pmtiles.tile import Compression, SpecVersionUnsupported, deserialize_header, zxy_to_tileid

from detection.imagery.errors import ImageryError
from detection.imagery.tiles.archive import HEAD_BYTES, KINDS, ArchiveFacts, bounds_of, write_archive
from detection.imagery.tiles.records import Tiles, TilesRequest
from forecasting.whole_file import replacing

MAGIC: Final = b"PMTiles"
SQLITE: Final = b"SQLite format 3\0"
MOST_TILES: Final = 5_000_000
LARGEST_TILE: Final = 4 << 20
FINEST: Final = 24


class NotTilesError(ImageryError):
    """A file that holds no map tiles, or not as its format has them."""


def take_tiles(request: TilesRequest) -> Tiles:
    """What a worker does: one file of tiles into its place, or one line that says why not."""
    try:
        return pack(request.source, request.out)
    except (ImageryError, OSError) as error:
        return Tiles(error=str(error))


def pack(source: Path, out: Path) -> Tiles:
    """Take a file of tiles; MBTiles 1.3 are written anew as PMTiles 3.

    Raises:
        NotTilesError: it is neither, or holds what is no tile.
    """
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(MAGIC):
        found = read_header(head, source)
        with replacing(out) as work:
            shutil.copyfile(source, work)
        return found
    if not head.startswith(SQLITE):
        raise NotTilesError(f"{source}: neither PMTiles nor MBTiles")
    try:
        return _pack_database(source, out)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise NotTilesError(f"{source}: not MBTiles as its specification has them ({error})") from None


def read_header(head: bytes, path: Path) -> Tiles:
    """What the first bytes of a file of PMTiles say.

    Raises:
        NotTilesError: another version, or tiles of a kind that no browser draws.
    """
    if len(head) < HEAD_BYTES:
        raise NotTilesError(f"{path}: torn, its header is not whole")
    try:
        header = deserialize_header(head)
    except SpecVersionUnsupported:
        raise NotTilesError(f"{path}: PMTiles of version {head[7]}; `pmtiles convert` makes version 3 of it") from None
    except ValueError:
        raise NotTilesError(f"{path}: tiles or a compression that browsers do not read (kind {head[99]})") from None
    kind = {number: name for name, number in KINDS.items()}.get(header["tile_type"])
    read = {Compression.NONE, Compression.GZIP}
    if kind is None or not {header["internal_compression"], header["tile_compression"]} <= read:
        raise NotTilesError(f"{path}: tiles or a compression that browsers do not read (kind {head[99]})")
    return Tiles(header["addressed_tiles_count"], kind, (header["min_zoom"], header["max_zoom"]), bounds_of(header))


def _pack_database(source: Path, out: Path) -> Tiles:
    with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
        base.execute("PRAGMA trusted_schema = OFF")
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_TILE)
        metadata = dict(base.execute("SELECT name, value FROM metadata"))
        kind = str(metadata.get("format", ""))
        if kind not in KINDS:
            raise NotTilesError(f"{source}: tiles of the format {kind[:20]!r}; pbf, png, jpg and webp can be shown")
        places = [
            (zxy_to_tileid(zoom, column, 2**zoom - 1 - row), zoom, column, row)
            for zoom, column, row in _list_places(base, source)
        ]
        if not places:
            raise NotTilesError(f"{source}: holds no tile")
        places.sort()
        zooms = (min(place[1] for place in places), max(place[1] for place in places))
        first = _read_tile(base, *places[0][1:])
        about = ArchiveFacts(
            kind, _read_bounds(metadata.get("bounds")), first.startswith(b"\x1f\x8b"), _describe(metadata)
        )
        tiles = ((place[0], _read_tile(base, *place[1:])) for place in places)
        return Tiles(write_archive(out, tiles, about), "mvt" if kind == "pbf" else kind, zooms, about.bounds)


def _list_places(base: sqlite3.Connection, source: Path) -> Iterator[tuple[int, int, int]]:
    query = "SELECT DISTINCT zoom_level, tile_column, tile_row FROM tiles LIMIT ?"
    for count, (zoom, column, row) in enumerate(base.execute(query, (MOST_TILES + 1,))):
        if count == MOST_TILES:
            raise NotTilesError(f"{source}: more than {MOST_TILES:,} tiles; cut it to the region")
        whole = all(isinstance(number, int) for number in (zoom, column, row))
        if not whole or not 0 <= zoom <= FINEST or not (0 <= column < 2**zoom and 0 <= row < 2**zoom):
            raise NotTilesError(f"{source}: a tile at zoom {zoom!r}, column {column!r}, row {row!r} cannot be")
        yield zoom, column, row


def _read_tile(base: sqlite3.Connection, zoom: int, column: int, row: int) -> bytes:
    query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
    (tile,) = base.execute(query, (zoom, column, row)).fetchone()
    return tile if isinstance(tile, bytes) else b""


def _read_bounds(text: Any) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in str(text).split(","))
    except ValueError:
        return (-180.0, -85.0, 180.0, 85.0)
    if not all(map(math.isfinite, (west, south, east, north))) or not (-180 <= west < east <= 180 and south < north):
        return (-180.0, -85.0, 180.0, 85.0)
    return (west, max(south, -85.0), east, min(north, 85.0))


def _describe(metadata: dict[str, Any]) -> dict[str, Any]:
    """Name, attribution and layers; what else stands there is of no use to a reader."""
    found: dict[str, Any] = {
        k: str(metadata[k])[:2000] for k in ("name", "attribution", "description") if k in metadata
    }
    try:
        more = json.loads(metadata.get("json", "{}"))
    except (TypeError, ValueError):
        more = {}
    if isinstance(more, dict) and isinstance(more.get("vector_layers"), list):
        found["vector_layers"] = more["vector_layers"]
    return found
