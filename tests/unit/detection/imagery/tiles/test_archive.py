"""Files of tiles hold what was put in, also with directories below the root; what is brought is checked."""

import gzip
import itertools
import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.imagery.tiles.archive import FIRST_BYTES, HEADER, About, number_tile, write_archive
from detection.imagery.tiles.packing import NotTilesError, pack

ABOUT = About("png", (8.0, 46.0, 9.0, 47.0), (0, 9), zipped=False, metadata={"name": "Täler"})


def read_varints(data):
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0


def read_tiles(path):
    """Number -> bytes of a whole file, and its metadata, as the specification has them."""
    data = path.read_bytes()
    _, _, *head = HEADER.unpack(data[: HEADER.size])
    found = {}

    def walk(offset, length):
        numbers = read_varints(gzip.decompress(data[offset : offset + length]))
        count = next(numbers)
        ids = list(itertools.accumulate(itertools.islice(numbers, count)))
        runs, lengths = list(itertools.islice(numbers, count)), list(itertools.islice(numbers, count))
        end = 0
        for number, run, size in zip(ids, runs, lengths, strict=True):
            offset = next(numbers)
            begin = offset - 1 if offset else end
            end = begin + size
            if run == 0:
                walk(head[4] + begin, size)
            for k in range(run):
                found[number + k] = data[head[6] + begin : head[6] + end]

    assert head[0] + head[1] <= FIRST_BYTES
    walk(head[0], head[1])
    return found, json.loads(gzip.decompress(data[head[2] : head[2] + head[3]]))


@given(st.integers(0, 12).flatmap(lambda z: st.tuples(st.just(z), st.integers(0, 2**z - 1), st.integers(0, 2**z - 1))))
def test_numbers_of_a_zoom_fill_its_range(place):
    zoom = place[0]
    first = (4**zoom - 1) // 3
    assert first <= number_tile(*place) < first + 4**zoom
    if zoom <= 4:
        every = {number_tile(zoom, x, y) for x in range(2**zoom) for y in range(2**zoom)}
        assert every == set(range(first, first + 4**zoom))


@pytest.mark.parametrize("count", [3, 20_000])
def test_what_is_written_is_read_again(tmp_path, count):
    tiles = {5 * k + k % 3: (b"sea" if k % 5 == 0 else f"tile {k * 7919}".encode()) for k in range(count)}
    tiles |= {10**9 + k: b"sea" for k in range(4)}
    path = tmp_path / "t.pmtiles"
    assert write_archive(path, sorted(tiles.items()), ABOUT) == len(tiles)
    assert read_tiles(path) == (tiles, {"name": "Täler"})
    assert [p.name for p in tmp_path.iterdir()] == ["t.pmtiles"]
    found = pack(path, tmp_path / "copy.pmtiles")
    assert (found.tiles, found.kind, found.zooms) == (len(tiles), "png", (0, 9))
    assert found.bounds == pytest.approx((8.0, 46.0, 9.0, 47.0))


def test_tiles_out_of_order_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tile 1 comes after tile 2"):
        write_archive(tmp_path / "t.pmtiles", [(2, b"a"), (1, b"b")], ABOUT)
    assert list(tmp_path.iterdir()) == []


def make_mbtiles(path, tiles, **said):
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE metadata (name, value)")
        base.execute("CREATE TABLE images (zoom_level, tile_column, tile_row, tile_data)")
        base.execute("CREATE VIEW tiles AS SELECT * FROM images")
        base.executemany("INSERT INTO metadata VALUES (?, ?)", [("format", "png"), *said.items()])
        base.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", tiles)
    return path


def test_mbtiles_are_packed_anew_with_their_rows_from_the_north(tmp_path):
    source = make_mbtiles(
        tmp_path / "a.mbtiles", [(1, 0, 1, b"north west"), (1, 1, 0, b"south east")],
        attribution="Canton", bounds="8,46,9,47", json=json.dumps({"vector_layers": [{"id": "water"}]}),
    )  # fmt: skip
    found = pack(source, tmp_path / "a.pmtiles")
    assert (found.tiles, found.kind, found.zooms, found.bounds) == (2, "png", (1, 1), (8.0, 46.0, 9.0, 47.0))
    tiles, said = read_tiles(tmp_path / "a.pmtiles")
    assert tiles == {number_tile(1, 0, 0): b"north west", number_tile(1, 1, 1): b"south east"}
    assert said == {"attribution": "Canton", "vector_layers": [{"id": "water"}]}


def test_what_is_no_file_of_tiles_is_one_line(tmp_path):
    header = HEADER.pack(b"PMTiles", 3, *[0] * 11, 1, 2, 9, 1, 0, 0, *[0] * 7)
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
        ([(0, 0, 1, b"")], "cannot be"), ([(99, 0, 0, b"")], "cannot be"), ([("1", 0, 0, b"")], "cannot be"),
        ([], "no tile"),
    ):  # fmt: skip
        source = make_mbtiles(tmp_path / "b.mbtiles", tiles)
        with pytest.raises(NotTilesError, match=why):
            pack(source, tmp_path / "out.pmtiles")
        source.unlink()
    assert not (tmp_path / "out.pmtiles").exists()
