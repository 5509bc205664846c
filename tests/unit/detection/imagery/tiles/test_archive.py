"""Files of tiles hold what was put in, also with directories below the root; what is brought is checked."""

import pytest
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import zxy_to_tileid

from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, ArchiveFacts, write_archive
from detection.imagery.tiles.packing import NotTilesError, copy_tiles

ABOUT = ArchiveFacts("png", (8.0, 46.0, 9.0, 47.0), metadata={"name": "Täler"})


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
    found = copy_tiles(path, tmp_path / "copy.pmtiles")
    assert (found.tiles, found.kind, found.zooms) == (len(tiles), "png", (0, 15))
    assert found.bounds == pytest.approx((8.0, 46.0, 9.0, 47.0))


def test_what_is_no_file_of_tiles_is_one_line(tmp_path):
    header = b"PMTiles\3" + bytes(88) + b"\1\2\x09\1" + bytes(27)  # tiles in a compression that nobody knows
    assert len(header) == HEAD_BYTES
    cases = {
        "text": (b"<!doctype html>", "no PMTiles"),
        "torn": (b"PMTiles\3", "torn"),
        "old": (b"PMTiles\2" + header[8:], "version 2"),
        "packed": (header, "do not read"),
        "bent": (b"SQLite format 3\0" + bytes(200), "pmtiles-convert"),
    }
    for name, (content, why) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(NotTilesError, match=why):
            copy_tiles(path, tmp_path / "out.pmtiles")
    assert not (tmp_path / "out.pmtiles").exists()
