"""Files of tiles hold what was put in; what is brought is checked; relief is lit and lies in its place."""

import warnings

import numpy as np
import pytest
from affine import Affine
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import zxy_to_tileid
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from detection.imagery.errors import NoCrsError, NoValidPixelsError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.tiles.archive import FIRST_BYTES, HEAD_BYTES, ArchiveFacts, write_archive
from detection.imagery.tiles.packing import NotTilesError, copy_tiles
from detection.imagery.tiles.records import ReliefRequest
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
