"""Tiles of a scene show each pixel where it lies; and beside a map: least sure tiles, susceptibility, cuts."""

import io
import math
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Transformer

from detection.imagery.errors import SceneError
from detection.imagery.footprints.detect import plan_tiles
from detection.imagery.footprints.doubt import SIDE_PX, find_doubtful
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.footprints.scene_tiles import make_tiles
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff, writing_geotiff
from detection.imagery.tiles.lookup import find_tile, open_archive
from detection.imagery.tiles.records import SceneTilesRequest
from monitor.text.reasons import convert_reason
from tests.data.asked_detection import read_options

AT = datetime(2026, 5, 12, tzinfo=UTC)
UTM = "EPSG:32632"
PLACE = Affine(10, 0, 480_000, 0, -10, 5_120_000)


def write(path, bands, **options):
    count, height, width = bands.shape
    shape = {"width": width, "height": height, "count": count, "dtype": bands.dtype}
    with rasterio.open(path, "w", "GTiff", **shape | {"crs": UTM, "transform": PLACE} | options) as file:
        file.write(bands)
        for index, name in enumerate(("red", "green", "blue")[: len(bands)], start=1):
            file.set_band_description(index, name)
    return path


@pytest.fixture
def cut(tmp_path):
    def make(bands, steps=None, **options):
        steps = np.zeros(bands.shape[1:], np.uint8) if steps is None else steps
        scene = write(tmp_path / "20260512.tif", bands, **options)
        place = {key: options[key] for key in ("crs", "transform") if key in options}
        prob = write(tmp_path / "prob.tif", steps[None], nodata=255, **place)
        return make_tiles(SceneTilesRequest(scene, AT, prob, tmp_path)), tmp_path

    return make


def look(path, lon, lat, zoom):
    """The colours of the pixel of a tile that lies at a place, clear where there is no tile."""
    side = 2**zoom
    x = (lon + 180) / 360 * side
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * side
    tile = find_tile(open_archive(path), zoom, int(x), int(y))
    if tile is None:
        return (0, 0, 0, 0)
    picture = Image.open(io.BytesIO(tile)).convert("RGBA")
    return picture.getpixel((int(x % 1 * 512), int(y % 1 * 512)))


def lonlat(column, row):
    x, y = 480_000 + 10 * (column + 0.5), 5_120_000 - 10 * (row + 0.5)
    return Transformer.from_crs(UTM, 4326, always_xy=True).transform(x, y)


def checkers(size=300):
    """A dark ground with a bright square in its red band, and nodata along the left side."""
    bands = np.full((3, size, size), 1000, np.uint16)
    bands += np.uint16(200) * (np.arange(size) // 40 % 2 == 0).astype(np.uint16)
    bands[0, 150:190, 200:240] = 3000
    bands[:, :, :25] = 0
    return bands


@pytest.mark.parametrize("layout", [{"blockysize": 16}, {"tiled": True, "blockxsize": 128, "blockysize": 128}])
def test_a_pixel_lies_where_the_scene_has_it_at_every_zoom(cut, layout):
    told, out = cut(checkers(), nodata=0, **layout)
    assert (told.error, told.kind) == ("", "webp")
    low, high = told.zooms
    scene = out / "scene.pmtiles"
    for zoom in range(low, high + 1):
        red, green, _, alpha = look(scene, *lonlat(220, 170), zoom)
        assert alpha == 255
        assert red > green + 40, f"zoom {zoom}: the square is red"
        assert look(scene, *lonlat(10, 150), zoom)[3] == 0, "nodata is transparent"
        assert look(scene, *lonlat(30, 150), zoom)[3] == 255
    beside = [look(scene, *lonlat(column, 170), high) for column in (197, 202, 237, 242)]
    assert [red > green + 40 for red, green, _, _ in beside] == [False, True, True, False]


def test_a_pixel_of_a_landslide_is_seen_from_afar(cut):
    steps = np.zeros((300, 300), np.uint8)
    steps[170, 220], steps[:, :25] = 190, 255
    told, out = cut(checkers(), steps)
    assert told.error == ""
    probability = out / "probability.pmtiles"
    low, high = open_archive(probability).zooms
    lon, lat = lonlat(220, 170)
    assert look(probability, lon, lat, high)[3] == 255
    size = 2 * 20037508.34 / 2**low / 512
    degree = size / 111_320
    around = [look(probability, lon + k * degree, lat + n * degree, low) for k in (-1, 0, 1) for n in (-1, 0, 1)]
    assert max(colour[3] for colour in around) == 255
    assert look(probability, *lonlat(10, 150), high)[3] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crs": None}, "no CRS|no place|no coordinate"),
        ({"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 10, 0, -1e-4, 89.9)}, "85 degrees"),
        ({"crs": "EPSG:4326", "transform": Affine(1e-3, 0, 179.98, 0, -1e-3, 10)}, "date line"),
    ],
)
def test_what_has_no_place_on_a_web_map_is_one_line(cut, options, said):
    told, out = cut(checkers(64), **options)
    assert re.search(said, convert_reason(told.error)), told.error
    assert not (out / "scene.pmtiles").exists()


def test_one_band_another_grid_a_turned_one_and_no_pixel(cut):
    upright, _ = cut(checkers(64))
    turned, _ = cut(checkers(64), transform=Affine(8, 6, 480_000, 6, -8, 5_120_000))
    assert turned.zooms[1] == upright.zooms[1]
    told, _ = cut(np.zeros((3, 64, 64), np.uint16), nodata=0)
    assert "no pixel" in convert_reason(told.error)
    told, out = cut(checkers()[:1], crs="EPSG:4326", transform=Affine(1e-4, 0, 8.7, 0, -1e-4, 46.2))
    assert told.error == ""
    red, green, blue, alpha = look(out / "scene.pmtiles", 8.7 + 220.5e-4, 46.2 - 170.5e-4, told.zooms[1])
    assert max(red, green, blue) - min(red, green, blue) < 12
    assert (red > 200, alpha) == (True, 255)


def test_a_torn_scene_is_one_line(cut, tmp_path):
    told, _ = cut(checkers(), nodata=0)
    scene = tmp_path / "20260512.tif"
    scene.write_bytes(scene.read_bytes()[:60_000])
    told = make_tiles(SceneTilesRequest(scene, AT, tmp_path / "prob.tif", tmp_path))
    assert "\n" not in convert_reason(told.error)
    assert told.error


UTM_WKT = pyproj.CRS.from_epsg(32632).to_wkt()


def write_steps(path, bands):
    grid = Grid(Affine(10, 0, 5e5, 0, -10, 5.1e6), UTM_WKT, bands[0].shape[1], bands[0].shape[0])
    with writing_geotiff(path, grid, "uint8", count=len(bands), nodata=255) as put:
        put(np.stack(bands), 0, 0)
    return grid


def test_the_tiles_nearest_to_the_threshold_come_first_apart_from_each_other(tmp_path):
    steps = np.zeros((4 * SIDE_PX - 40, 6 * SIDE_PX), np.uint8)
    tile = lambda down, across: np.s_[down * SIDE_PX : (down + 1) * SIDE_PX, across * SIDE_PX : (across + 1) * SIDE_PX]  # noqa: E731
    steps[tile(1, 1)] = 80  # at the threshold of .4
    steps[tile(1, 2)] = 75  # beside it
    steps[tile(1, 4)] = 140
    steps[tile(0, 0)] = 200  # sure of a landslide
    steps[tile(2, 5)] = 80
    steps[tile(2, 5)][:, :40] = 255  # most of it is nodata
    steps[tile(3, 2)] = 80  # the rim of the scene cuts it
    grid = write_steps(tmp_path / "prob.tif", [steps])
    first, second = find_doubtful(tmp_path / "prob.tif", 0.4)
    assert (first.doubt, second.doubt) == (1.0, 0.5)
    column, row = grid.pixel_of((first.box[0] + first.box[2]) / 2, (first.box[1] + first.box[3]) / 2)
    assert (column, row) == pytest.approx((1.5 * SIDE_PX, 1.5 * SIDE_PX), abs=1.0)
    assert len(find_doubtful(tmp_path / "prob.tif", 0.4, most=1)) == 1


def test_of_several_classes_the_likeliest_counts_and_a_sure_scene_has_none(tmp_path):
    sure, doubtful = np.full((SIDE_PX, SIDE_PX), 200, np.uint8), np.full((SIDE_PX, SIDE_PX), 100, np.uint8)
    write_steps(tmp_path / "two.tif", [doubtful, sure])
    assert find_doubtful(tmp_path / "two.tif", 0.5, 2) == ()
    assert [one.doubt for one in find_doubtful(tmp_path / "two.tif", 0.5, 1)] == [1.0]


@pytest.mark.parametrize(
    ("values", "nodata", "line"),
    [
        ((0.0, 1.0), None, None),
        ((-1.0, 0.3), -1.0, None),
        ((np.nan, 0.3), None, None),
        ((0.0, 80.0), None, "probabilities from 0 to 80: possible are"),
        ((-1.0, 0.3), None, "as nodata"),
    ],
)
def test_values_are_probabilities(tmp_path, values, nodata, line):
    path = tmp_path / "prior.tif"
    raster = np.resize(np.array(values, np.float32), (1, 8, 8))
    write_geotiff(path, raster, grid_around(9.0, 46.0, 8, 20.0), nodata=nodata)
    if line is None:
        assert describe_prior(path)["file"] == "prior.tif"
        return
    with pytest.raises(SceneError, match=line):
        describe_prior(path)


@pytest.mark.parametrize(
    ("network", "asked", "blend", "tile", "halo"),
    [
        ("unet", {}, "rows", 2048, 112),
        ("unet", {"tile": 256}, "crop", 256, 112),
        ("unet", {"halo": 96}, "crop", 512, 96),
        ("drs-unet", {}, "hann", 128, 0),
    ],
)
def test_rows_where_the_network_takes_them_and_nobody_asks_for_tiles(network, asked, blend, tile, halo):
    model = SimpleNamespace(card={"name": "x", "network": {"name": network, "width": 0.125}})
    plan = plan_tiles(model, read_options({"scene_path": "x.tif", **asked}))
    assert (plan.blend, plan.tile, plan.halo) == (blend, tile, halo)
