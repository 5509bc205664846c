"""Files of tiles hold what was put in; what is brought is checked; relief is lit and lies in its place.
A tile is found as it was written, and a file that says what is not so gives one error, nothing else.
"""

import gzip
import os
import random
import warnings

import numpy as np
import pytest
from affine import Affine
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import deserialize_header, serialize_header, zxy_to_tileid
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from detection.imagery.errors import NoCrsError, NoValidPixelsError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, ArchiveFacts, write_archive
from detection.imagery.tiles.copying import NotTilesError, copy_tiles
from detection.imagery.tiles.lookup import DamagedTilesError, find_tile, open_archive, read_metadata
from detection.imagery.tiles.records import METADATA_FILE, ReliefRequest
from detection.imagery.tiles.relief import SIDE_PX, draw_relief, make_relief, shade_heights
from tests.data.surveys.rasters import write_raster

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


def test_file_without_tiles_is_one_line_of_error(tmp_path):
    header = b"PMTiles\3" + bytes(88) + b"\1\2\x09\1" + bytes(27)  # tiles in a compression that nobody knows
    assert len(header) == HEAD_BYTES
    cases = {
        "text": (b"<!doctype html>", "no PMTiles"),
        "torn": (b"PMTiles\3", "cut off"),
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


LON, LAT = 8.9, 46.2


def plane(east, north, size=5):
    rows, columns = np.mgrid[0:size, 0:size].astype(float)
    return east * columns - north * rows


def test_a_slope_that_faces_the_light_is_bright_and_its_back_is_dark():
    faces_northwest, faces_southeast = plane(1.0, -1.0), plane(-1.0, 1.0)
    bright, dark = (float(shade_heights(h, 1.0).mean()) for h in (faces_northwest, faces_southeast))
    assert bright > 0.9 > 0.71 > 0.2 > dark
    assert shade_heights(np.zeros((4, 4)), 2.0) == pytest.approx(np.full((2, 2), 2**-0.5), abs=1e-6)


def read_png(tile):
    with warnings.catch_warnings(), MemoryFile(tile) as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open() as source:
            return source.read()


@pytest.mark.parametrize("geographic", [False, True])
def test_relief_lies_in_its_place_and_holes_are_clear(tmp_path, geographic):
    grid = grid_around(LON, LAT, 64, 10.0, geographic=geographic)
    heights = np.full((1, 64, 64), 500.0, np.float32)
    heights[0, :, :32] += np.arange(32)[::-1] * 8.0  # the west half falls to the east: its light comes from behind
    heights[0, 40:60, 40:60] = -9999.0
    write_geotiff(tmp_path / "dem.tif", heights, grid, nodata=-9999.0)
    found = draw_relief(tmp_path / "dem.tif", tmp_path / "r.pmtiles")
    west, south, east, north = found.bounds
    assert west < LON < east
    assert south < LAT < north
    assert (found.kind, found.zooms[1] - found.zooms[0]) == ("png", 3)
    tiles, _ = read_tiles(tmp_path / "r.pmtiles")
    zoom = found.zooms[1]

    def look(lon, lat):
        x = (lon + 180) / 360 * 2**zoom
        y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom
        image = read_png(tiles[zxy_to_tileid(zoom, int(x), int(y))])
        return image[:, int(y % 1 * SIDE_PX), int(x % 1 * SIDE_PX)]

    metre = 1 / 111_000
    assert look(LON - 160 * metre / 0.69, LAT)[0] < 120  # in the shade
    assert look(LON + 160 * metre / 0.69, LAT + 150 * metre)[0] == pytest.approx(180, abs=4)  # flat
    assert look(LON + 180 * metre / 0.69, LAT - 180 * metre)[1] == 0  # the hole
    assert look(LON + 160 * metre / 0.69, LAT + 150 * metre)[1] == 255


def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(tmp_path):
    grid = grid_around(LON, LAT, 16, 10.0)
    write_geotiff(tmp_path / "void.tif", np.full((1, 16, 16), -9999.0, np.float32), grid, nodata=-9999.0)
    with pytest.raises(NoValidPixelsError):
        draw_relief(tmp_path / "void.tif", tmp_path / "r.pmtiles")
    polar = tmp_path / "polar.tif"
    place = Affine(0.125, 0, 0, 0, -0.125, 89)
    write_raster(polar, np.ones((1, 8, 8), np.float32), crs="EPSG:4326", transform=place)
    with pytest.raises(NoCrsError):
        draw_relief(polar, tmp_path / "r.pmtiles")
    (tmp_path / "text.tif").write_text("no raster")
    assert "not a raster" in make_relief(ReliefRequest(tmp_path / "text.tif", tmp_path / "r.pmtiles")).error
    assert not (tmp_path / "r.pmtiles").exists()


ABOUT_TILES = ArchiveFacts("webp", (8.0, 46.0, 9.0, 47.0), metadata={})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Tiles of eight zooms with a hole and a run of equal ones; its directory has leaves."""
    path = tmp_path_factory.mktemp("tiles") / "a.pmtiles"
    places = [(z, x, y) for z in range(8) for x in range(2**z) for y in range(2**z) if (z, x, y) != (3, 4, 5)]
    # contents of odd lengths, so that directories do not pack well
    draw = random.Random(7)
    tiles = {zxy_to_tileid(*p): draw.randbytes(draw.randint(1, 40)) if p[0] != 2 else b"sea" for p in places}
    write_archive(path, sorted(tiles.items()), ABOUT_TILES)
    return path, places, tiles


@pytest.mark.soak
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
    with pytest.raises(DamagedTilesError, match="larger than"):
        find_tile(open_archive(tmp_path / "bomb.pmtiles"), 5, 0, 0)


def test_no_tile_of_a_file_that_took_its_place_comes_under_the_old_mark(tmp_path):
    path = tmp_path / "a.pmtiles"
    write_archive(path, [(0, b"before")], ABOUT_TILES)
    before = open_archive(path)
    assert find_tile(before, 0, 0, 0) == b"before"
    write_archive(tmp_path / "b.pmtiles", [(0, b"as it is now")], ABOUT_TILES)
    os.replace(tmp_path / "b.pmtiles", path)
    with pytest.raises(DamagedTilesError, match="replaced by another file"):
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
        with pytest.raises(DamagedTilesError):
            open_archive(tmp_path / "odd.pmtiles")


def test_any_altered_byte_of_tiles_is_an_error_or_harmless(archive, tmp_path):
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
        except DamagedTilesError:
            pass
