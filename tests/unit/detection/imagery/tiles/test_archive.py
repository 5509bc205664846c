"""Files of tiles hold what was put in, also with directories below the root; what is brought is checked."""

import json
import sqlite3
from contextlib import closing

import pytest
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import zxy_to_tileid

from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, ArchiveFacts, write_archive
from detection.imagery.tiles.packing import NotTilesError, pack

ABOUT = ArchiveFacts("png", (8.0, 46.0, 9.0, 47.0), zipped=False, metadata={"name": "Täler"})


def read_tiles(path):
    source = MemorySource(path.read_bytes())
    header = Reader(source).header()
    assert header["root_offset"] + header["root_length"] <= FIRST_BYTES
    return {zxy_to_tileid(*place): tile for place, tile in all_tiles(source)}, Reader(source).metadata()


@pytest.mark.parametrize("count", [3, 20_000])
def test_what_is_written_is_read_again(tmp_path, count):
    tiles = {5 * k + k % 3: (b"sea" if k % 5 == 0 else f"tile {k * 7919}".encode()) for k in range(count)}
    tiles |= {10**9 + k: b"sea" for k in range(4)}
    path = tmp_path / "t.pmtiles"
    assert write_archive(path, sorted(tiles.items()), ABOUT) == len(tiles)
    assert read_tiles(path) == (tiles, {"name": "Täler"})
    assert [p.name for p in tmp_path.iterdir()] == ["t.pmtiles"]
    found = pack(path, tmp_path / "copy.pmtiles")
    assert (found.tiles, found.kind, found.zooms) == (len(tiles), "png", (0, 15))
    assert found.bounds == pytest.approx((8.0, 46.0, 9.0, 47.0))


def make_mbtiles(path, tiles, **said):
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE metadata (name, value)")
        base.execute("CREATE TABLE images (zoom_level, tile_column, tile_row, tile_data)")
        base.execute("CREATE VIEW tiles AS SELECT * FROM images")
        base.executemany("INSERT INTO metadata VALUES (?, ?)", [("format", "png"), *said.items()])
        base.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", tiles)
    return path


def test_mbtiles_are_packed_anew_with_their_rows_from_the_north(tmp_path):
    said = {"attribution": "Canton", "bounds": "8,46,9,47", "json": json.dumps({"vector_layers": [{"id": "water"}]})}
    source = make_mbtiles(tmp_path / "a.mbtiles", [(1, 0, 1, b"north west"), (1, 1, 0, b"south east")], **said)
    found = pack(source, tmp_path / "a.pmtiles")
    assert (found.tiles, found.kind, found.zooms, found.bounds) == (2, "png", (1, 1), (8.0, 46.0, 9.0, 47.0))
    tiles, said = read_tiles(tmp_path / "a.pmtiles")
    assert tiles == {zxy_to_tileid(1, 0, 0): b"north west", zxy_to_tileid(1, 1, 1): b"south east"}
    assert said == {"attribution": "Canton", "vector_layers": [{"id": "water"}]}


def test_what_is_no_file_of_tiles_is_one_line(tmp_path):
    header = b"PMTiles\3" + bytes(88) + b"\1\2\x09\1" + bytes(27)  # tiles in a compression that nobody knows
    assert len(header) == HEAD_BYTES
    cases = {
        "text": (b"<!doctype html>", "neither PMTiles nor MBTiles"),
        "torn": (b"PMTiles\3", "torn"),
        "old": (b"PMTiles\2" + header[8:], "version 2"),
        "packed": (header, "do not read"),
        "bent": (b"SQLite format 3\0" + bytes(200), "not MBTiles"),
    }
    for name, (content, why) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(NotTilesError, match=why):
            pack(path, tmp_path / "out.pmtiles")
    for tiles, why in (
        ([(0, 0, 1, b"")], "cannot be"),
        ([(99, 0, 0, b"")], "cannot be"),
        ([("1", 0, 0, b"")], "cannot be"),
        ([], "no tile"),
    ):
        source = make_mbtiles(tmp_path / "b.mbtiles", tiles)
        with pytest.raises(NotTilesError, match=why):
            pack(source, tmp_path / "out.pmtiles")
        source.unlink()
    assert not (tmp_path / "out.pmtiles").exists()
