"""Heights: terrain in metres in its place on any grid, tiles joined without a seam; masks and names of bands.
A raster that is warped or packed is what the plain way gives, or an error; fills are told from values.
"""

import math
import resource
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio._env
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling
from shapely.affinity import rotate

from detection.imagery.data.generate import write_scene
from detection.imagery.errors import CoverageError, NotARasterError, OutputError, TooLargeError, TruncatedRasterError
from detection.imagery.raster import height_tiles, warping
from detection.imagery.raster.areas import map_outline, measure_rectangles
from detection.imagery.raster.grid import LONLAT, Grid, apply_affine, grid_around
from detection.imagery.raster.height_tiles import join_tiles
from detection.imagery.raster.raster import VERTICAL_TAG, is_cog, pack_cog, write_geotiff
from detection.imagery.raster.reading.fills import FILL_NUMBERS, ValueStatistics, has_fill_form
from detection.imagery.raster.terrain import derive_terrain, open_terrain
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.scene.band_names import name_band
from detection.imagery.scene.reader import BandReader, ReaderOptions, open_scene
from detection.imagery.scene.scene import Scene, list_masks, read_scene
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import change_raster, write_raster

LON, LAT = 141.95, 42.73


def hill(x, y):
    """Metres over a place, and its slope in degrees: a paraboloid 200 m high, 30 m/km² curved."""
    height = 200.0 - 3e-5 * (x**2 + y**2)
    return height, np.degrees(np.arctan(6e-5 * np.hypot(x, y)))


def write_hill(path, grid: Grid, nodata=None, hole=None):
    """The same hill on any grid, by the local metres of UTM 54."""
    into = pyproj.Transformer.from_crs(grid.crs, 32654, always_xy=True)
    here = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(LON, LAT)
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = into.transform(*grid.to_crs(columns, rows))
    height = hill(x - here[0], y - here[1])[0].astype(np.float32)
    if hole:
        height[hole] = nodata
    write_geotiff(path, height[None], grid, nodata=nodata)


def test_a_plane_has_its_slope_and_aspect_and_a_ridge_its_curvature():
    rows, columns = np.indices((12, 14), dtype=np.float64)
    plane = 100 + 3.0 * columns - 4.0 * rows  # up to the east by .3, up to the north by .4 at 10 m
    fields = derive_terrain(plane, 10.0, 10.0)
    assert np.allclose(fields["slope"], math.degrees(math.atan(0.5)))
    aspect = np.degrees(np.arctan2(fields["eastness"], fields["northness"])) % 360
    assert np.allclose(aspect, 180 + math.degrees(math.atan2(0.3, 0.4)))
    assert np.allclose(fields["curvature"], 0, atol=1e-12)
    assert np.allclose(fields["roughness"], 2 * (3 + 4))
    flat = derive_terrain(np.full((5, 5), 7.0), 10.0, 10.0)
    assert (flat["slope"] == 0).all()
    assert (flat["northness"] == 0).all()
    rows, columns = np.indices((9, 9), dtype=np.float64)
    dome = -0.001 * 100 * ((rows - 4) ** 2 + (columns - 4) ** 2)
    assert np.allclose(derive_terrain(dome, 10.0, 10.0)["curvature"], 0.004)


@pytest.mark.parametrize("kind", ["utm", "degrees", "mercator", "local", "turned"])
def test_terrain_of_any_grid_lands_on_the_scene(tmp_path, kind):
    """A model in degrees, in Web Mercator or turned by 20 degrees gives the slopes of the hill; scaling would not."""
    scene = grid_around(LON, LAT, 90, 10.0)
    if kind == "utm":
        dem = grid_around(LON, LAT, 70, 30.0)
    elif kind == "degrees":
        dem = grid_around(LON + 2e-4, LAT - 1e-4, 70, 30.0, geographic=True)
    elif kind == "turned":
        turn = Affine.rotation(20.0)
        x, y = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(LON, LAT)
        step = Affine(20 * turn.a, 20 * turn.b, 0, 20 * turn.d, -20 * turn.e, 0)
        left, top = x - step.a * 60 - step.b * 60, y - step.d * 60 - step.e * 60
        dem = Grid(Affine(step.a, step.b, left, step.d, step.e, top), scene.crs_wkt, 120, 120)
    else:
        code, step_m = (3857, 40.0) if kind == "mercator" else (6680, 30.0)
        x, y = pyproj.Transformer.from_crs(4326, code, always_xy=True).transform(LON, LAT)
        turn = Affine(step_m, 0, x - 35 * step_m, 0, -step_m, y + 35 * step_m)
        dem = Grid(turn, pyproj.CRS.from_epsg(code).to_wkt(), 70, 70)
    write_hill(tmp_path / "dem.tif", dem)
    columns, rows = np.meshgrid(np.arange(90) + 0.5, np.arange(90) + 0.5)
    x, y = scene.to_crs(columns, rows)
    here = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(LON, LAT)
    height, slope = hill(x - here[0], y - here[1])
    with open_terrain(tmp_path / "dem.tif", scene, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 90, 90)
        part, _ = terrain.read(30, 40, 20, 10)
    assert known.all()
    assert terrain.covered_share == 1.0
    assert np.abs(fields["dem"] - height).max() < 0.3
    assert np.abs(fields["slope"] - slope).mean() < 0.1
    assert np.abs(fields["slope"] - slope).max() < 0.6
    assert np.array_equal(part["slope"], fields["slope"][40:50, 30:50])
    away = np.degrees(np.arctan2(x - here[0], y - here[1])) % 360
    far = np.hypot(x - here[0], y - here[1]) > 150
    off = (fields["aspect"] - away + 180) % 360 - 180
    assert np.abs(off[far]).max() < 6  # grid north differs between the systems


def test_holes_of_the_elevation_model_are_unknown(tmp_path):
    scene = grid_around(LON, LAT, 60, 10.0)
    write_hill(tmp_path / "dem.tif", scene, nodata=-9999.0, hole=(slice(20, 25), slice(30, 40)))
    with open_terrain(tmp_path / "dem.tif", scene, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 60, 60)
    assert not known[20:25, 30:40].any()
    assert known[:18].all()
    assert (fields["slope"][~known] == 0).all()
    assert terrain.covered_share == pytest.approx(known.mean())


def test_a_model_may_ask_for_terrain_by_name(tmp_path):
    write_scene(tmp_path / "scene", 5, size_px=80)
    scene = read_scene(tmp_path / "scene")
    grid = grid_around(LON, LAT, 80, 10.0)
    with (
        open_terrain(scene.dem, grid, tmp_path) as terrain,
        open_scene(scene, ("B4", "B3", "slope", "dem"), terrain=terrain) as reader,
    ):
        values, valid = reader.read(0, 0, 80, 80)
        fields, _ = terrain.read(0, 0, 80, 80)
        assert reader.names == ("B4", "B3", "slope", "dem")
    assert np.array_equal(values[2][valid], fields["slope"][valid])
    assert np.array_equal(values[3][valid], fields["dem"][valid])


@pytest.mark.soak
def test_footprints_know_their_ground(tmp_path):
    write_scene(tmp_path / "scene", 5, size_px=160)
    grid = grid_around(LON, LAT, 160, 10.0)
    prior = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (160, 1))
    write_geotiff(tmp_path / "scene" / "prior.tif", prior[None], grid)
    write_geotiff(tmp_path / "scene" / "shadow.tif", np.ones((1, 160, 160), np.uint8), grid)
    manifest = tmp_path / "scene" / "scene.toml"
    manifest.write_text('prior = "prior.tif"\nshadow = "shadow.tif"\n' + manifest.read_text())
    payload = {"weights": "generated", "scene_path": str(tmp_path / "scene")}
    found = detect(payload)["polygons"]
    assert found
    for footprint in found:
        column, _ = grid.pixel_of(*footprint["centroid"])
        assert footprint["prior"] == pytest.approx(column / 159, abs=0.05)
        assert footprint["min_elevation_m"] < footprint["max_elevation_m"]
        assert 0 < footprint["mean_slope_deg"] < 60
        assert footprint["shadow_share"] == 1.0
        assert footprint["length_m"] >= footprint["width_m"] > 0
        assert footprint["perimeter_m"] > 2 * footprint["width_m"]
    steepest = max(footprint["mean_slope_deg"] for footprint in found)
    gated = detect({**payload, "slope_gate_deg": steepest - 0.01})
    assert len(gated["polygons"]) == 1
    assert len(found) == 1 or any("on ground of less than" in warning for warning in gated["warnings"])


def test_masks_by_kind(tmp_path):
    grid = grid_around(LON, LAT, 40, 10.0)
    write_geotiff(tmp_path / "band.tif", np.full((1, 40, 40), 5, np.uint16), grid, nodata=0)
    classes = np.full((1, 20, 20), 4, np.uint8)  # 20 m: nearest, not blended
    classes[0, 0], classes[0, 5] = 9, 2
    coarse = Grid(Affine(20, 0, grid.transform.c, 0, -20, grid.transform.f), grid.crs_wkt, 20, 20)
    write_geotiff(tmp_path / "classification.tif", classes, coarse)
    clouds, udm2 = np.zeros((1, 40, 40), np.uint8), np.zeros((8, 40, 40), np.uint8)
    clouds[0, :, 0] = udm2[0, :36] = udm2[2, 30:36] = 1  # usable ground, and shadow
    for name, mask in (("clouds", clouds), ("udm2", udm2)):
        write_geotiff(tmp_path / f"{name}.tif", mask, grid)
    companions = {name: tmp_path / f"{name}.tif" for name in ("classification", "clouds", "udm2")}
    masks = list_masks(Scene(tmp_path, {}, datetime(2026, 5, 1, tzinfo=UTC), **companions))
    with BandReader({"B4": (tmp_path / "band.tif", 1)}, masks, options=ReaderOptions(offset=-1.0)) as reader:
        values, valid = reader.read(0, 0, 40, 40)
        shadow = reader.read_shadow(0, 0, 40, 40)
    assert not valid[:2].any()
    assert not valid[:, 0].any()
    assert not valid[36:].any()
    assert valid[2:36, 1:].all()
    assert (values[0][valid] == 4.0).all()
    assert np.array_equal(np.flatnonzero(shadow.all(axis=1)), [10, 11, *range(30, 36)])
    assert np.count_nonzero(shadow) == 8 * 40


def test_names_of_two_satellites():
    planet = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
    assert [name_band(name) for name in planet] == ["B1", "B2", "green_i", "B3", "yellow", "B4", "B5", "B8"]
    sentinel = [f"B{number:02d}" for number in range(1, 13)] + ["B8A"]
    assert [name_band(name) for name in sentinel] == [f"B{number}" for number in range(1, 13)] + ["B8A"]


@pytest.mark.parametrize("azimuth", [0.0, 30.0, 90.0, 135.0])
def test_a_rectangle_is_measured_in_metres_and_from_north(azimuth):
    east = 1 / (111_319.49 * math.cos(math.radians(LAT)))
    box = rotate(shapely.box(-20, -100, 20, 100), -azimuth, origin=(0, 0))
    lonlat = map_outline(box, lambda x, y: (LON + x * east, LAT + y / 111_080.0))
    [(length, width, found)] = measure_rectangles(np.array([lonlat]))
    assert (length, width) == (pytest.approx(200, rel=0.01), pytest.approx(40, rel=0.02))
    assert min(abs(found - azimuth), 180 - abs(found - azimuth)) < 1


SEAM_LON, SEAM_LAT = 141.95, 42.0  # on the corner of four squares of a degree, nearly: the seam goes through the scene
SCENE = grid_around(SEAM_LON, SEAM_LAT, 90, 10.0)


def height_at(lon, lat):
    """A slope of one in two to the east and some waves, metres."""
    x = (lon - SEAM_LON) * 111_320 * np.cos(np.radians(lat))
    y = (lat - SEAM_LAT) * 111_320
    return 500 + 0.5 * x + 20 * np.sin(y / 300)


def write_tile(path, grid, change=None, **more):
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = grid.to_crs(columns, rows)
    lon, lat = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    height = height_at(lon, lat).astype(np.float32)
    if change:
        change(height)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_geotiff(path, height[None], grid, **more)
    return path


def degrees(west, north, step_x=1 / 3600, step_y=1 / 3600, size=(200, 200)):
    return Grid(Affine(step_x, 0, west, 0, -step_y, north), LONLAT.to_wkt(), *size)


def write_copernicus(folder, *, coarse_north=False):
    """Two tiles that meet at the latitude of the scene, with what comes beside them, and one far away."""
    north = "Copernicus_DSM_COG_10_N42_00_E141_00_DEM"
    size, step = ((134, 200), 1.5 / 3600) if coarse_north else ((200, 200), 1 / 3600)
    write_tile(folder / north / f"{north}.tif", degrees(SEAM_LON - 0.03, SEAM_LAT + 200 / 3600, step, size=size))
    south = "Copernicus_DSM_COG_10_N41_00_E141_00_DEM"
    write_tile(folder / south / f"{south}.tif", degrees(SEAM_LON - 0.03, SEAM_LAT))
    beside = folder / north / "AUXFILES"
    beside.mkdir()
    for name, kind in ((f"{north[:-3]}HEM.tif", np.float32), ("water.tif", np.uint8)):
        write_geotiff(beside / name, np.ones((1, 200, 200), kind), degrees(SEAM_LON - 0.03, SEAM_LAT))
    far = "Copernicus_DSM_COG_10_S10_00_W060_00_DEM"
    write_tile(folder / far / f"{far}.tif", degrees(-60, -9))
    return folder


def read(path):
    with rasterio.open(path) as source:
        return source.read(1, masked=True), source.transform, source.crs


def check_heights(path, most_m):
    """Every known height is that of the ground; returns how many are known."""
    heights, transform, crs = read(path)
    rows, columns = np.nonzero(~np.ma.getmaskarray(heights))
    x, y = apply_affine(transform, columns + 0.5, rows + 0.5)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    assert np.abs(heights[rows, columns] - height_at(lon, lat)).max() < most_m
    return len(rows)


def test_tiles_of_one_grid_are_joined_bit_for_bit(tmp_path):
    folder = write_copernicus(tmp_path / "dem")
    joined = join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert [path.name[22:29] for path in joined.tiles] == ["N41_00_", "N42_00_"]
    assert joined.notes == ()
    check_heights(tmp_path / "out.tif", 1e-3)
    heights, transform, _ = read(tmp_path / "out.tif")
    assert not heights.mask.any()
    with rasterio.open(joined.tiles[0]) as south:
        column, row = (round(one) for one in apply_affine(~transform, south.transform.c, south.transform.f))
        own = south.read(1)[: heights.shape[0] - row, -column : heights.shape[1] - column]
        assert np.array_equal(heights.data[row:], own)
    with open_terrain(tmp_path / "out.tif", SCENE, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 90, 90)
    assert known.all()
    # 26.6 degrees to the east, nearly; a seam would be a wall
    assert 26 < fields["slope"].min() < fields["slope"].max() < 29


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["coarser to the north", "another system", "a model of one metre in a part"])
def test_tiles_of_several_grids_are_joined_without_a_wall(tmp_path, kind):
    folder = write_copernicus(tmp_path / "dem", coarse_north=kind == "coarser to the north")
    if kind == "another system":
        north = next(folder.glob("*N42*/*.tif"))
        north.unlink()
        x, y = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(SEAM_LON, SEAM_LAT)
        grid = Grid(Affine(25, 0, x - 2000, 0, -25, y + 3000), pyproj.CRS.from_epsg(32654).to_wkt(), 200, 121)
        write_tile(north, grid)
    if kind.startswith("a model"):
        x, y = pyproj.Transformer.from_crs(4326, 32654, always_xy=True).transform(SEAM_LON, SEAM_LAT)
        grid = Grid(Affine(5, 0, x - 200, 0, -5, y + 200), pyproj.CRS.from_epsg(32654).to_wkt(), 80, 80)
        write_tile(folder / "z-lidar.tif", grid)
    joined = join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert len(joined.tiles) == (3 if kind.startswith("a model") else 2)
    if kind.startswith("a model"):
        assert joined.tiles[0].name == "z-lidar.tif"  # the finest comes first
    check_heights(tmp_path / "out.tif", 8.0)  # half a coarse pixel at the outer border is 7 m of this slope
    with open_terrain(tmp_path / "out.tif", SCENE, tmp_path) as terrain:
        fields, known = terrain.read(0, 0, 90, 90)
    assert known.all()
    assert 25 < fields["slope"].min() < fields["slope"].max() < 30


def test_holes_stay_holes_and_what_overlaps_fills_them(tmp_path):
    def hollow(height):
        height[50:150, 50:150] = -32767

    folder = tmp_path / "dem"
    write_tile(folder / "a.tif", degrees(SEAM_LON - 0.03, SEAM_LAT + 100 / 3600), hollow, nodata=-32767)
    join_tiles(folder, SCENE, tmp_path / "out.tif")
    heights, *_ = read(tmp_path / "out.tif")
    assert heights.mask.any()
    check_heights(tmp_path / "out.tif", 1e-3)
    write_tile(folder / "b.tif", degrees(SEAM_LON - 0.03, SEAM_LAT + 100 / 3600))
    assert len(join_tiles(folder, SCENE, tmp_path / "out.tif").tiles) == 2
    assert not read(tmp_path / "out.tif")[0].mask.any()


def test_what_cannot_be_used_is_said_in_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "dem"
    folder.mkdir()
    with pytest.raises(CoverageError, match=r"no tile of heights shows the ground of the scene$"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    with pytest.raises(CoverageError, match="no such file"):
        join_tiles(tmp_path / "gone", SCENE, tmp_path / "out.tif")
    (folder / "page.tif").write_text("<html>")
    tile = write_tile(folder / "a.tif", degrees(SEAM_LON - 0.03, SEAM_LAT + 100 / 3600))
    assert "page.tif: an HTML page" in join_tiles(folder, SCENE, tmp_path / "out.tif").notes[0]
    change_raster(tile, **{VERTICAL_TAG: "EGM2008 height"})
    write_tile(folder / "b.tif", degrees(SEAM_LON - 0.03, SEAM_LAT + 100 / 3600))
    assert len(join_tiles(folder, SCENE, tmp_path / "out.tif").tiles) == 2
    change_raster(folder / "b.tif", **{VERTICAL_TAG: "ellipsoid"})
    with pytest.raises(NotARasterError, match="several systems"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    (folder / "b.tif").unlink()
    monkeypatch.setattr(height_tiles, "MOST_FILES", 1)
    with pytest.raises(TooLargeError, match="name the folder of your region"):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    content = tile.read_bytes()
    tile.write_bytes(content[:20_000] + bytes(500) + content[20_500:])
    (folder / "page.tif").unlink()
    with pytest.raises(TruncatedRasterError):
        join_tiles(folder, SCENE, tmp_path / "out.tif")
    assert not list(tmp_path.glob("*.part*"))


UTM, SIDE = "EPSG:32632", 96


def write(path, dtype, nodata, *, alpha, turn, side=SIDE):
    """Three bands with a hole, and where that is by nodata, an alpha band or nothing."""
    rng = np.random.default_rng(3)
    bands = rng.uniform(1, 200, (3, side, side))
    bands[:, 20:44, 10:60] = 0
    east, north = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    transform = Affine(east, north, 5e5, north, -east, 5.1e6)
    shape = {"width": side, "height": side, "count": 3 + alpha, "dtype": dtype, "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", crs=UTM, transform=transform, **shape) as target:
        target.write(bands.astype(dtype), [1, 2, 3])
        if alpha:
            target.write(((bands[0] > 0) * np.iinfo(dtype).max).astype(dtype), 4)
            target.colorinterp = [*[ColorInterp.gray] * 3, ColorInterp.alpha]
    return transform


def scale(transform, step):
    a, b, c, d, e, f = transform[:6]
    return Affine(a * step, b * step, c, d * step, e * step, f)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("hidden", ["", "nodata", "alpha"])
@pytest.mark.parametrize(("step", "turn"), [(0.4, 0), (4.0, 0), (12.3, 25)])
@pytest.mark.parametrize("room", [True, False])
def test_what_is_read_is_what_the_warper_gives(tmp_path, monkeypatch, dtype, hidden, step, turn, room):
    if not room:
        monkeypatch.setattr(warping, "STORED_BYTES", 1)
    alpha = hidden == "alpha" and dtype in {"uint8", "uint16"}
    transform = write(tmp_path / "a.tif", dtype, 0 if hidden == "nodata" else None, alpha=alpha, turn=turn)
    side = round(SIDE / step)
    grid = Grid(scale(transform, step), rasterio.crs.CRS.from_string(UTM).to_wkt(), side, side)
    bands = {f"B{number}": (tmp_path / "a.tif", number) for number in (1, 3)}
    (work := tmp_path / "work").mkdir()
    with (
        BandReader(bands, grid=grid) as plain,
        BandReader(bands, grid=grid, options=ReaderOptions(warped_folder=work)) as kept,
    ):
        for box in ((0, 0, side, side), (3, 2, side - 3, 4)):
            (values, valid), (wanted, there) = kept.read(*box), plain.read(*box)
            assert np.array_equal(valid, there)
            assert np.array_equal(values, wanted)
    assert len(list(work.iterdir())) == room, "one file for all bands"


FILLS = [*sorted(FILL_NUMBERS), 1e20, float(np.finfo("float32").min), 9.96921e36]


def look(values, *, zero=False, apart=None):
    record = ValueStatistics(zero_can_be_fill=zero)
    for part in np.array_split(values, 3):
        record.add(part, np.isfinite(part))
    return record.find_fills(apart), record


@given(st.sampled_from(FILLS), st.floats(-200, 200), st.floats(0.1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_stands_alone_is_left_out_and_nothing_else(fill, middle, spread, many, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(middle, spread, (30, 40))
    places = rng.choice(values.size, many, replace=False)
    holed = values.copy()
    holed.flat[places] = fill
    others = np.delete(values.ravel(), places)
    away = max(others.min() - fill, fill - others.max())
    found, record = look(holed)
    steps = 5 * float(np.median(np.abs(np.diff(holed, axis=1)))) + 0.25 * float(np.ptp(others))
    if away > 1.5 * steps:
        assert (found, record.low, record.high) == ({fill: many}, others.min(), others.max())
    elif away <= 0:
        assert found == {}


@given(st.sampled_from(FILLS), st.integers(0, 2**32 - 1))
def test_a_number_within_the_record_stays(fill, seed):
    rng = np.random.default_rng(seed)
    values = fill * (1 + rng.normal(0, 0.2, (30, 40)))
    values[3, 3] = fill
    assert has_fill_form(fill)  # it is the company that makes it a value
    if abs(fill) < 1e19:
        assert look(values)[0] == {}


@pytest.mark.parametrize(
    ("ground", "is_hole"),
    [
        (np.add.outer(np.arange(30), np.arange(40)) * 0.5 + 480, True),
        (np.maximum(0, np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 10), False),  # sea, and land that rises
        (np.add.outer(np.arange(30), np.arange(40)) * 1.0 - 20, False),  # below and above the sea
    ],
)
def test_zero_is_a_hole_in_the_mountains_and_water_at_the_coast(ground, is_hole):
    ground = ground.astype(float)
    ground[4:7, 4:7] = 0.0
    assert bool(look(ground, zero=True, apart=3.0)[0]) == is_hole
    assert look(ground, zero=False, apart=3.0)[0] == {}


def test_several_fills_are_found_together_and_nothing_but_fills_is_none():
    values = np.random.default_rng(1).normal(500, 5, (30, 40))
    values[0, :4], values[1, :3], values[2, :2] = -9999, 0, np.float32(-3.4028235e38)
    found, _ = look(values, zero=True, apart=3.0)
    assert sorted(found.values()) == [2, 3, 4]
    assert look(np.full((30, 40), -9999.0))[0] == {}


PACKED_SIDE = 700


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_disk_that_is_full_at_the_end_of_a_file_is_an_error(tmp_path: Path, share: float) -> None:
    plain, packed = tmp_path / "plain.tif", tmp_path / "packed.tif"
    rng = np.random.default_rng(0)
    values = np.where(rng.random((1, PACKED_SIDE, PACKED_SIDE)) < share, 200, 0).astype(np.uint8)
    write_raster(plain, values, crs="EPSG:32633", transform=Affine(10, 0, 4e5, 0, -10, 5e6), tiled=True)
    pack_cog(plain, packed, overviews="average", level=1)
    size = packed.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for lacking in (1, 500, size // 2):
        packed.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, hard))
        try:
            with pytest.raises(OutputError, match="is the disk full"):
                pack_cog(plain, packed, overviews="average", level=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    packed.unlink(missing_ok=True)
    pack_cog(plain, packed, overviews="average", level=1)
    assert is_cog(packed)
    with rasterio.open(packed) as file:
        assert (file.read() == values).all()


def test_the_cache_of_blocks_holds_rows_of_tiles_of_a_wide_scene(tmp_path):
    """Rasterio takes bytes where GDAL's own setting takes MiB: 64 of them hold no block."""
    path = tmp_path / "scene.tif"
    write_geotiff(path, np.ones((1, 8, 8), np.uint8), grid_around(141.0, 42.7, 8, 10.0))
    with open_raster(path):
        kept = int(rasterio._env.get_gdal_config("GDAL_CACHEMAX"))
    assert kept >= 512 * 2048 * 13 * 2, "of thirteen bands of Sentinel-2"
    assert kept <= 64 << 20, "bounded, whatever the machine has"


@pytest.mark.parametrize("src_nodata", [None, 0])
@pytest.mark.parametrize("resampling", [Resampling.nearest, Resampling.bilinear])
def test_windows_of_a_warped_raster_are_parts_of_the_whole_and_end_where_the_file_ends(
    tmp_path, src_nodata, resampling
):
    values = np.random.default_rng(3).integers(1, 255, (1, 60, 60), dtype=np.uint8)
    grid = grid_around(LON, LAT, 60, 10.0)
    write_geotiff(tmp_path / "a.tif", values, grid)
    larger = Grid(scale(grid.transform_at(-20, -20), 0.7), grid.crs_wkt, 140, 140)
    with open_raster(tmp_path / "a.tif") as source:
        with warping.warp(source, larger, resampling, src_nodata=src_nodata) as warped:
            whole, mask = warped.read(1), warping.read_warped_mask(warped, 1, ((0, 140), (0, 140)))
            for row, column in ((0, 0), (31, 47), (90, 100)):
                window = ((row, row + 40), (column, column + 40))
                part = whole[row : row + 40, column : column + 40]
                assert np.array_equal(warped.read(1, window=window), part)
                covered = warping.read_warped_mask(warped, 1, window)
                assert np.array_equal(covered, mask[row : row + 40, column : column + 40])
        with warping.warp(source, grid, resampling, src_nodata=src_nodata) as same:
            assert np.array_equal(same.read(1), values[0])
    rows, columns = (np.indices((140, 140)) + 0.5) * 0.7 - 20
    inside = (rows > 0) & (rows < 60) & (columns > 0) & (columns < 60)
    assert np.array_equal(mask, inside)
