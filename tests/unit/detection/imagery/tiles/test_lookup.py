"""A tile is found as it was written, and a file that says what is not so gives one error, nothing else."""

import gzip
import os
import random

import pytest
from pmtiles.tile import deserialize_header, serialize_header, zxy_to_tileid

from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, ArchiveFacts, write_archive
from detection.imagery.tiles.lookup import TornTilesError, find_tile, open_archive, read_metadata
from detection.imagery.tiles.records import METADATA_FILE

ABOUT = ArchiveFacts("webp", (8.0, 46.0, 9.0, 47.0), metadata={})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Tiles of eight zooms with a hole and a run of equal ones; its directory has leaves."""
    path = tmp_path_factory.mktemp("tiles") / "a.pmtiles"
    places = [(z, x, y) for z in range(8) for x in range(2**z) for y in range(2**z) if (z, x, y) != (3, 4, 5)]
    # contents of odd lengths, so that directories do not pack well
    draw = random.Random(7)
    tiles = {zxy_to_tileid(*p): draw.randbytes(draw.randint(1, 40)) if p[0] != 2 else b"sea" for p in places}
    write_archive(path, sorted(tiles.items()), ABOUT)
    return path, places, tiles


def test_every_tile_is_found_and_no_other_and_a_directory_without_end_is_refused(archive, tmp_path):
    path, places, tiles = archive
    found = open_archive(path)
    assert (found.type, found.zooms, found.bounds) == ("image/webp", (0, 7), (8.0, 46.0, 9.0, 47.0))
    assert deserialize_header(path.read_bytes()[:HEAD_BYTES])["leaf_directory_length"] > 0, (
        "there are directories below the root"
    )
    assert all(find_tile(found, *p) == tiles[zxy_to_tileid(*p)] for p in places)
    for beside in ((3, 4, 5), (8, 0, 0), (-1, 0, 0), (2, 4, 0), (2, 0, -1), (10**9, 0, 0)):
        assert find_tile(found, *beside) is None
    path, _, _ = archive
    content = bytearray(path.read_bytes())
    bomb = gzip.compress(bytes(64 << 20))
    head = deserialize_header(content[:HEAD_BYTES]) | {"root_offset": len(content), "root_length": len(bomb)}
    (tmp_path / "bomb.pmtiles").write_bytes(serialize_header(head) + content[HEAD_BYTES:] + bomb)
    with pytest.raises(TornTilesError, match="larger than"):
        find_tile(open_archive(tmp_path / "bomb.pmtiles"), 5, 0, 0)


def test_no_tile_of_a_file_that_took_its_place_comes_under_the_old_mark(tmp_path):
    path = tmp_path / "a.pmtiles"
    write_archive(path, [(0, b"before")], ABOUT)
    before = open_archive(path)
    assert find_tile(before, 0, 0, 0) == b"before"
    write_archive(tmp_path / "b.pmtiles", [(0, b"as it is now")], ABOUT)
    os.replace(tmp_path / "b.pmtiles", path)
    with pytest.raises(TornTilesError, match="another file"):
        find_tile(before, 0, 0, 0)


def test_what_is_no_file_of_tiles_is_none_or_one_error(tmp_path):
    assert open_archive(tmp_path / "absent.pmtiles") is None
    assert open_archive(tmp_path) is None
    (tmp_path / "link.pmtiles").symlink_to("/etc/hostname")
    assert open_archive(tmp_path / "link.pmtiles") is None
    os.mkfifo(tmp_path / "pipe.pmtiles")
    assert open_archive(tmp_path / "pipe.pmtiles") is None
    for said in ("[" * 9000, "[]", "{"):
        (tmp_path / METADATA_FILE).write_text(said)
        assert read_metadata(tmp_path) is None
    (tmp_path / METADATA_FILE).unlink()
    (tmp_path / METADATA_FILE).symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "elsewhere.json").write_text('{"error": "of somebody else"}')
    assert read_metadata(tmp_path) is None
    for content in (b"", b"PMTiles", b"GIF89a" * 40):
        (tmp_path / "odd.pmtiles").write_bytes(content)
        with pytest.raises(TornTilesError):
            open_archive(tmp_path / "odd.pmtiles")


def test_any_byte_may_lie(archive, tmp_path):
    """Header and root are changed byte by byte: a tile, nothing or one error, and never more than a tile in memory."""
    path, _, _ = archive
    whole, draw = path.read_bytes(), random.Random(3)
    for turn in range(150):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(FIRST_BYTES // 8 if turn % 2 else HEAD_BYTES)] = draw.randrange(256)
        file = tmp_path / f"{turn}.pmtiles"
        file.write_bytes(content[: draw.choice((len(content), 3000))])
        try:
            found = open_archive(file)
            find_tile(found, 5, draw.randrange(32), draw.randrange(32))
        except TornTilesError:
            pass
