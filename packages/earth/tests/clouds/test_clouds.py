"""Drawn clouds whose ground is known: heights and distances, and whether their stated errors cover the truth.
Damaged and hostile point clouds: one line each, before anything large is allocated.
"""

import json
import struct
from dataclasses import replace

import laspy
import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from detection.imagery.errors import AoiError
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import VERTICAL_TAG, inspect, read_grid, write_geotiff
from slopeward_earth.clouds.distance import CloudDistanceRequest, compare_clouds
from slopeward_earth.clouds.grid import CloudGridRequest, grid_clouds
from slopeward_earth.clouds.header import CloudError, DamagedCloudError, NoPlaceError, NoPointsError
from slopeward_earth.clouds.reader import read_place
from slopeward_earth.surface.difference import subtract
from tests.data.surveys.clouds import ORIGIN, draw, ground, write_cloud
from tests.data.surveys.rasters import write_raster


def read(path):
    """Bands with nodata as NaN, and the middles of the cells in metres from the corner of the drawn ground."""
    with rasterio.open(path) as source:
        bands, turn = source.read(masked=True).filled(np.nan), source.transform
        assert source.descriptions == ("height_m", "sigma_m", "points_per_m2", "spread_m")
    rows, columns = np.indices(bands[0].shape)
    return bands, turn.c + (columns + 0.5) * turn.a - ORIGIN[0], turn.f + (rows + 0.5) * turn.e - ORIGIN[1]


@pytest.mark.parametrize("per_m2", [3, 30])
def test_the_stated_error_covers_the_ground(tmp_path, per_m2):
    rng = np.random.default_rng(7)
    cloud = write_cloud(tmp_path / "a.laz", draw(rng, side_m=25.0, per_m2=per_m2)[0])
    found = grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    (height, sigma, density, spread), x, y = read(tmp_path / "a.tif")
    held = np.isfinite(height)
    covered = np.abs(height - ground(x, y))[held] < 1.96 * sigma[held]
    assert 0.92 < covered.mean() < 0.99  # 95 % is said
    assert found.covered_share == pytest.approx(held.mean(), abs=1e-6)
    assert (density[held] > 0).all()
    if per_m2 == 30:
        assert found.spread_m == pytest.approx(0.03, rel=0.1)
        assert np.nanmedian(spread) == pytest.approx(0.03, rel=0.1)
    assert json.loads((tmp_path / "a.json").read_text())["points"] == found.points


@pytest.mark.soak
def test_trees_are_left_out_by_class_or_by_cloth(tmp_path):
    points, wood = draw(np.random.default_rng(3), trees=12)
    kind = np.where(wood, 5, 2).astype(np.uint8)
    rules = {}
    for name, kinds in (("classified", kind), ("bare", None)):
        cloud = write_cloud(tmp_path / f"{name}.las", points, kind=kinds)
        rules[name] = grid_clouds([cloud], tmp_path / f"{name}.tif", CloudGridRequest()).ground_rule
        (height, *_), x, y = read(tmp_path / f"{name}.tif")
        held = np.isfinite(height)
        assert held.mean() > 0.9
        assert np.abs(height - ground(x, y))[held].max() < 0.3  # crowns begin at 1 m
    assert rules == {"classified": "class", "bare": "cloth"}
    grid_clouds([tmp_path / "bare.las"], tmp_path / "all.tif", CloudGridRequest(ground="all"))
    (height, *_), x, y = read(tmp_path / "all.tif")
    assert np.nanmax(height - ground(x, y)) > 1


@pytest.mark.soak
def test_change_between_two_clouds_with_errors_of_cells(tmp_path):
    rng = np.random.default_rng(4)

    def slide(x, y):
        return np.where(np.hypot(x - 20, y - 20) < 8, -0.2, 0.0)

    older = write_cloud(tmp_path / "a.laz", draw(rng)[0])
    newer = write_cloud(tmp_path / "b.laz", draw(rng, noise_m=0.05, raised=slide)[0] + [0, 0, 0.15])
    grid_clouds([older], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    grid_clouds([newer], tmp_path / "b.tif", CloudGridRequest(ground="all", like=tmp_path / "a.tif"))
    _, x, y = read(tmp_path / "a.tif")
    still = (np.hypot(x - 20, y - 20) > 9)[None].astype(np.uint8)
    write_geotiff(tmp_path / "still.tif", still, read_grid(tmp_path / "a.tif"))
    both, folders = (tmp_path / "a.tif", tmp_path / "b.tif"), {"stable": tmp_path / "still.tif"}
    found = subtract(*both, **folders, minimum_area_m2=5.0, out_dir=tmp_path / "out")
    assert (found.sigma_from, found.offset_m) == ("cells", pytest.approx(0.15, abs=0.005))
    assert (found.loss.volume_m3, found.gain.bodies) == (pytest.approx(np.pi * 8**2 * 0.2, rel=0.03), 0)
    assert not any("warped" in line for line in found.warnings)
    with rasterio.open(tmp_path / "out" / "difference.tif") as source:
        difference, limit = source.read(masked=True).filled(np.nan)
    still = np.isfinite(difference) & (np.hypot(x - 20, y - 20) > 9)
    assert 0.93 < (np.abs(difference) < limit)[still].mean() < 0.98


@pytest.mark.soak
def test_errors_of_cells_that_are_too_small_are_raised(tmp_path):
    """What all points of a flight share does not scatter: stable ground shows it."""
    rng = np.random.default_rng(5)
    for name in "ab":
        swell = rng.normal(0, 0.05, (9, 9))

        def bent(x, y, swell=swell):
            return swell[(y // 5).astype(int) % 9, (x // 5).astype(int) % 9]

        write_cloud(tmp_path / f"{name}.laz", draw(rng, raised=bent)[0])
        grid_clouds([tmp_path / f"{name}.laz"], tmp_path / f"{name}.tif", CloudGridRequest(ground="all"))
    found = subtract(tmp_path / "a.tif", tmp_path / "b.tif")
    assert any("times more than the errors of the cells say" in line for line in found.warnings)
    assert found.sigma_m == pytest.approx(np.hypot(0.05, 0.05), rel=0.35)


def test_squares_join_without_a_trace(tmp_path, monkeypatch):
    cloud = write_cloud(tmp_path / "a.laz", draw(np.random.default_rng(6), per_m2=6)[0])
    for name, points in (("one", 1_000_000), ("many", 1)):
        monkeypatch.setattr("slopeward_earth.clouds.spool.SQUARE_POINTS", points)
        grid_clouds([cloud], tmp_path / f"{name}.tif", CloudGridRequest(ground="all"))
    one, many = (read(tmp_path / f"{name}.tif")[0] for name in ("one", "many"))
    np.testing.assert_allclose(one[0], many[0], atol=2e-4)
    assert np.nanmax(np.abs(one[1] - many[1])) < 0.01  # cells without a plane take the usual slope of their square
    assert not list(tmp_path.glob(".slopeward-points-*"))


def test_more_points_than_memory_are_thinned_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("slopeward_earth.clouds.spool.SQUARE_MOST", 5_000)
    cloud = write_cloud(tmp_path / "a.laz", draw(np.random.default_rng(6), per_m2=10)[0])
    found = grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    assert "every n-th" in found.warnings[0]
    assert found.ground_points <= 5_000 * len(found.warnings) * 9
    monkeypatch.setattr("slopeward_earth.clouds.spool.HALO_MOST", 4_000)
    with pytest.raises(CloudError, match="take smaller radii or depth"):
        grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(ground="all"))


def test_a_map_whose_metres_are_none_on_the_ground_is_refused(tmp_path):
    points = draw(np.random.default_rng(6), per_m2=3)[0]
    with pytest.raises(NoPlaceError, match=r"EPSG:3857 is 0\.7.. m on the ground"):
        grid_clouds([write_cloud(tmp_path / "a.laz", points, crs="EPSG:3857")], tmp_path / "a.tif", CloudGridRequest())
    grid = Grid(Affine(1, 0, ORIGIN[0], 0, -1, ORIGIN[1] + 40), "EPSG:3857", 40, 40)
    write_geotiff(tmp_path / "like.tif", np.zeros((1, 40, 40), np.float32), grid)
    cloud = write_cloud(tmp_path / "b.laz", points)
    with pytest.raises(NoPlaceError, match=r"like\.tif"):
        grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(like=tmp_path / "like.tif"))


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize(
    ("crs", "unit_m", "height_unit", "cell_m"),
    [
        ("EPSG:2227+6360", 1200 / 3937, None, 1.0),  # map and heights in US survey feet
        ("EPSG:2227", 1200 / 3937, "us-ft", 1.0),
        ("EPSG:2227", 1200 / 3937, "us-ft", 0.5),
        ("EPSG:32610", 1.0, "m", 1.0),
    ],
)
def test_surfaces_of_clouds_in_any_unit_are_subtracted_in_metres(tmp_path, crs, unit_m, height_unit, cell_m):
    rng = np.random.default_rng(5)
    for name, raised in (("a", None), ("b", lambda x, y: np.where(np.hypot(x - 20, y - 20) < 8, -0.5, 0.0))):
        points = draw(rng, **({} if raised is None else {"raised": raised}))[0]
        cloud = write_cloud(tmp_path / f"{name}.laz", points, crs=crs, unit_m=unit_m)
        request = CloudGridRequest(ground="all", height_unit=height_unit, cell_m=cell_m)
        grid_clouds([cloud], tmp_path / f"{name}.tif", request)
    assert inspect(tmp_path / "a.tif").units == ("m", "m", "1/m2", "m")
    found = subtract(tmp_path / "a.tif", tmp_path / "b.tif", minimum_area_m2=10.0)
    assert found.loss.volume_m3 == pytest.approx(np.pi * 8**2 * 0.5, rel=0.05)
    assert found.gain.bodies == 0


def test_feet_become_metres(tmp_path):
    points = draw(np.random.default_rng(8), per_m2=12)[0]
    foot = 1200 / 3937
    cloud = write_cloud(tmp_path / "a.laz", points, crs="EPSG:2227", unit_m=foot)  # US survey feet; says no heights
    with pytest.raises(NoPlaceError, match="unit of heights is not said; give --height-unit"):
        grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest())
    found = grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(ground="all", height_unit="us-ft"))
    assert found.cell_m == pytest.approx(0.5)
    with rasterio.open(tmp_path / "a.tif") as source:
        height, turn = source.read(1, masked=True).filled(np.nan), source.transform
    rows, columns = np.indices(height.shape)
    x, y = ((turn.c + (columns + 0.5) * turn.a - ORIGIN[0]) * foot, (turn.f + (rows + 0.5) * turn.e - ORIGIN[1]) * foot)
    assert np.nanmax(np.abs(height - ground(x, y))) < 0.2
    both = write_cloud(tmp_path / "b.laz", points, crs="EPSG:2227+6360", unit_m=foot)  # heights in US survey feet
    again = grid_clouds([both], tmp_path / "b.tif", CloudGridRequest(ground="all"))
    assert again.covered_share == found.covered_share


def test_a_cloud_without_a_place_is_asked_for_it(tmp_path):
    points = draw(np.random.default_rng(8), per_m2=2)[0]
    bare = write_cloud(tmp_path / "a.las", points, crs=None)
    with pytest.raises(NoPlaceError, match="give --crs"):
        grid_clouds([bare], tmp_path / "a.tif", CloudGridRequest())
    grid_clouds([bare], tmp_path / "a.tif", CloudGridRequest(crs="EPSG:32632", ground="all"))
    with pytest.raises(NoPlaceError, match="no projected system"):
        grid_clouds([bare], tmp_path / "a.tif", CloudGridRequest(crs="EPSG:4326"))
    placed = write_cloud(tmp_path / "b.las", points)
    with pytest.raises(NoPlaceError, match="leave --crs out"):
        grid_clouds([placed], tmp_path / "a.tif", CloudGridRequest(crs="EPSG:32633"))
    with pytest.raises(NoPlaceError, match="another coordinate reference system"):
        grid_clouds(
            [placed, write_cloud(tmp_path / "c.las", points, crs="EPSG:32633")], tmp_path / "a.tif", CloudGridRequest()
        )
    with pytest.raises(CloudError, match="class 2"):
        grid_clouds([placed], tmp_path / "a.tif", CloudGridRequest(ground="class"))
    with pytest.raises(CloudError, match="take larger ones"):
        grid_clouds([placed], tmp_path / "a.tif", CloudGridRequest(cell_m=0.001))
    low = write_cloud(tmp_path / "d.las", points, kind=np.full(len(points), 7, np.uint8))
    with pytest.raises(NoPointsError):
        grid_clouds([low], tmp_path / "a.tif", CloudGridRequest())
    assert not list(tmp_path.glob(".slopeward-points-*"))


@pytest.mark.soak
def test_systems_of_heights_are_kept_and_not_mixed(tmp_path):
    points = draw(np.random.default_rng(8), side_m=16.0, per_m2=6)[0]
    old, new = (
        write_cloud(tmp_path / f"{name}.las", points, crs=f"EPSG:32632+{code}")
        for name, code in (("old", 5773), ("new", 3855))
    )
    bare = write_cloud(tmp_path / "bare.las", points)
    with pytest.raises(NoPlaceError, match=r"heights are EGM2008 height, those of .* are EGM96 height"):
        grid_clouds([old, bare, new], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    for name, files in (("a", [old, bare]), ("b", [new])):
        grid_clouds(files, tmp_path / f"{name}.tif", CloudGridRequest(cell_m=1.0, ground="all"))
    assert json.loads((tmp_path / "a.json").read_text())["vertical"] == "EGM96 height"
    with rasterio.open(tmp_path / "a.tif") as source:
        said, source_tags = pyproj.CRS(source.crs.to_wkt()), source.tags()
    assert [part.to_epsg() for part in said.sub_crs_list] == [32632, 5773], "any program knows the system of heights"
    assert source_tags[VERTICAL_TAG] == inspect(tmp_path / "a.tif").vertical == "EGM96 height"
    assert read_grid(tmp_path / "a.tif").crs_name == "EPSG:32632", "a grid has x and y alone"
    found = subtract(tmp_path / "a.tif", tmp_path / "b.tif")
    assert not any("warped" in line for line in found.warnings)
    compared = compare_clouds([old], [new], CloudDistanceRequest(ground="all"))
    for warnings in (found.warnings, compared.warnings):
        assert any("EGM96 height" in line and "EGM2008 height" in line for line in warnings)


def test_a_grid_that_cannot_hold_heights_is_refused(tmp_path):
    cloud = write_cloud(tmp_path / "a.las", draw(np.random.default_rng(8), per_m2=2)[0])
    degrees = grid_around(9.0, 46.0, 8, 1.0, geographic=True)
    write_geotiff(tmp_path / "like.tif", np.zeros((1, 8, 8), np.float32), degrees)
    with pytest.raises(CloudError, match="in degrees"):
        grid_clouds([cloud], tmp_path / "a.tif", CloudGridRequest(like=tmp_path / "like.tif"))
    for wrong in (CloudGridRequest(cell_m=float("nan")), CloudGridRequest(ground="trees")):
        with pytest.raises(CloudError):
            grid_clouds([cloud], tmp_path / "a.tif", wrong)


def test_two_parts_apart_and_flat_ground(tmp_path):
    flat = draw(np.random.default_rng(8), side_m=20.0, per_m2=8)[0]
    flat[:, 2] = 5.0
    parts = [write_cloud(tmp_path / f"{k}.las", flat + np.array([k * 300, 0, 0])) for k in range(2)]
    grid_clouds(parts, tmp_path / "a.tif", CloudGridRequest(ground="all"))
    (height, sigma, *_), x, _ = read(tmp_path / "a.tif")
    assert np.isnan(height[(x > 21) & (x < 299)]).all()
    assert np.nanmax(np.abs(height - 5)) < 1e-4
    assert np.nanmin(sigma) > 0


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        (((4096, 6360),), 1200 / 3937),
        (((4096, 5703),), 1.0),
        (((4096, 5703), (4099, 9003)), 1200 / 3937),
        (((4099, 9005),), 0.3047972654),
        ((), 1.0),
        (((4099, 12345),), None),
    ],
)
def test_the_unit_of_heights_is_that_of_their_key_or_of_their_system(tmp_path, keys, factor):
    """A vertical system in feet without a key of units is in feet; a unit that nobody knows is no metre."""
    from laspy.vlrs.known import GeoKeyDirectoryVlr, GeoKeyEntryStruct

    record, entries = GeoKeyDirectoryVlr(), ((1024, 1), (3072, 32632), *keys)
    record.geo_keys = [GeoKeyEntryStruct(id=k, tiff_tag_location=0, count=1, value_offset=v) for k, v in entries]
    facts = {"key_direction_version": 1, "key_revision": 1, "minor_revision": 0, "number_of_keys": len(entries)}
    for name, value in facts.items():
        setattr(record.geo_keys_header, name, value)
    points = draw(np.random.default_rng(1), per_m2=1)[0]
    path = write_cloud(tmp_path / "a.las", points, crs=None, point_format=3, version="1.2")
    las = laspy.read(path)
    las.header.vlrs.append(record)
    las.write(path)
    if factor is None:
        with pytest.raises(NoPlaceError, match="in the unit 12345, which nobody knows"):
            read_place(path)
    else:
        assert read_place(path).height_m == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize("height", [-9999.0, 12_000.0])
def test_heights_of_a_cloud_that_cannot_be_are_refused(tmp_path, height):
    points = draw(np.random.default_rng(1), per_m2=1)[0]
    kind = np.full(len(points), 2, np.uint8)
    points[:5, 2] = height
    with pytest.raises(DamagedCloudError, match="possible are -500 to"):
        grid_clouds([write_cloud(tmp_path / "a.las", points, kind=kind)], tmp_path / "a.tif", CloudGridRequest())
    kind[:5] = 7
    grid_clouds([write_cloud(tmp_path / "b.las", points, kind=kind)], tmp_path / "b.tif", CloudGridRequest())


OFF = np.array([0.05, -0.03, 0.04])


def slide(x, y):
    return np.where(np.hypot(x - 20, y - 20) < 8, -0.3, 0.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(11)
    older = write_cloud(folder / "a.laz", draw(rng, per_m2=20)[0])
    return older, write_cloud(folder / "b.laz", draw(rng, per_m2=20, noise_m=0.05, raised=slide)[0] + OFF)


def write_still(folder, is_still=lambda x, y: np.hypot(x - 20, y - 20) > 10):
    """A raster of half-metre cells that is 1 on still ground."""
    xs, ys = np.meshgrid(np.arange(80) * 0.5 + 0.25, 39.75 - np.arange(80) * 0.5)
    turn = Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1] + 40)
    return write_raster(folder / "still.tif", is_still(xs, ys)[None].astype(np.uint8), crs="EPSG:32632", transform=turn)


def test_slide_shift_and_level_of_detection(pair, tmp_path):
    older, newer = pair
    asked = CloudDistanceRequest(ground="all", out_dir=tmp_path, stable=write_still(tmp_path))
    found = compare_clouds([older], [newer], asked)
    assert (found.shift_m, found.asked) == (pytest.approx(OFF, abs=0.01), 1600)
    loss, *others = found.zones
    assert not others
    assert (loss.kind, loss.area_m2) == ("loss", pytest.approx(np.pi * 64, rel=0.15))
    # the fall is vertical; distances lie along the normals
    xs, ys = np.meshgrid(np.linspace(12, 28, 40), np.linspace(12, 28, 40))
    inside = np.hypot(xs - 20, ys - 20) < 8
    tilt = np.hypot(0.6 - 0.16 * np.sin(xs / 5), 1.5 / 7 * np.cos(ys / 7))
    expected = -0.3 * np.cos(np.arctan(tilt))[inside].mean()
    assert loss.mean_m == pytest.approx(expected, abs=0.05)  # the rim is averaged with what stands
    with rasterio.open(tmp_path / "m3c2.tif") as source:
        distance, limit, significant = source.read(masked=True).filled(np.nan)
        turn = source.transform
    rows, columns = np.indices(distance.shape)
    x, y = turn.c + columns + 0.5 - ORIGIN[0], turn.f - rows - 0.5 - ORIGIN[1]
    still = np.isfinite(distance) & (np.hypot(x - 20, y - 20) > 10)
    assert 0.93 < (np.abs(distance) < limit)[still].mean() < 0.985
    assert (np.isfinite(significant) == (np.abs(distance) > limit)).all()
    assert json.loads((tmp_path / "m3c2.json").read_text())["zones"][0]["kind"] == "loss"
    assert not list(tmp_path.glob("*.log"))


def test_named_areas_and_a_given_registration(pair, tmp_path):
    older, newer = pair
    areas = tmp_path / "areas.geojson"

    def area(name, low, high):
        turn = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
        corners = [(low, low), (high, low), (high, high), (low, high), (low, low)]
        ring = [turn.transform(ORIGIN[0] + x, ORIGIN[1] + y) for x, y in corners]
        return {"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    content = {"type": "FeatureCollection", "features": [area("scar", 17, 23), area("road", 2, 9), area("off", 90, 99)]}
    areas.write_text(json.dumps(content))
    asked = CloudDistanceRequest(ground="all", places=areas, registration_m=0.02)
    found = compare_clouds([older], [newer], asked)
    assert found.registration_from == "given"
    assert found.level_of_detection_m > 1.96 * 0.02
    scar, road = (zone for zone in found.zones if zone.kind == "area")
    assert (scar.name, road.name, scar.significant_share) == ("scar", "road", 1)
    assert abs(road.mean_m) < 1.96 * road.mean_error_m
    areas.write_text(json.dumps(area("off", 90, 99)))
    with pytest.raises(AoiError, match="no area"):
        compare_clouds([older], [newer], asked)


def test_clouds_that_do_not_meet(pair, tmp_path):
    away = write_cloud(tmp_path / "c.las", draw(np.random.default_rng(1), per_m2=5)[0] + [500, 0, 0])
    with pytest.raises(NoPointsError):
        compare_clouds([pair[0]], [away], CloudDistanceRequest(ground="all"))
    for wrong in ({"depth_m": 1e9}, {"radius_m": float("nan")}, {"registration_m": float("nan")}, {"spacing_m": 0.0}):
        with pytest.raises(CloudError):
            compare_clouds([pair[0]], [pair[1]], CloudDistanceRequest(**wrong))
    with pytest.raises(CloudError, match="wider --spacing"):
        compare_clouds([pair[0]], [pair[1]], CloudDistanceRequest(spacing_m=0.01))


def test_still_ground_of_a_flat_place_shifts_upwards_only(tmp_path):
    rng = np.random.default_rng(2)
    flat = [np.column_stack([*rng.uniform(0, 20, (2, 6000)), rng.normal(5, 0.02, 6000)]) for _ in range(2)]
    older, newer = (write_cloud(tmp_path / f"{k}.las", one) for k, one in enumerate((flat[0], flat[1] + [0, 0, 0.1])))
    found = compare_clouds([older], [newer], CloudDistanceRequest(ground="all", stable=write_still(tmp_path)))
    assert found.shift_m == pytest.approx((0, 0, 0.1), abs=0.005)
    assert found.significant_share < 0.1


def test_without_stable_ground_most_that_moved_is_not_taken_for_still(tmp_path):
    rng = np.random.default_rng(12)
    older, newer = (
        write_cloud(tmp_path / f"{k}.las", draw(rng, 24.0, 15, raised=lambda x, y, d=depth: np.where(y > 8, d, 0))[0])
        for k, depth in enumerate((0.0, -0.3))
    )
    found = compare_clouds([older], [newer], CloudDistanceRequest(ground="all"))
    assert found.shift_m == (0, 0, 0)
    assert not found.zones
    assert found.registration_from == "what differs as a whole"
    assert any("either it lay off or this ground moved" in line for line in found.warnings)
    given = compare_clouds([older], [newer], CloudDistanceRequest(ground="all", registration_m=0.01))
    assert [zone.kind for zone in given.zones] == ["loss"]


@pytest.mark.parametrize("lean", [-0.3, -0.15, 0.0, 0.15])
def test_a_wall_that_moved_outwards_is_a_gain_or_set_aside(tmp_path, lean):
    """Its northern half came 0.2 m westwards, which is out; a negative lean overhangs by up to 17 degrees."""
    rng, clouds = np.random.default_rng(13), []
    for k, out_m in enumerate((0.0, 0.2)):
        y, z = rng.uniform(0, 20, (2, 30_000))
        x = 20 - np.where(y > 10, out_m, 0) + lean * z + rng.normal(0, 0.02, 30_000)
        clouds.append([write_cloud(tmp_path / f"{k}.las", np.column_stack([x, y, z]))])
    sizes = {"spacing_m": 0.5, "radius_m": 0.5, "depth_m": 2.0, "registration_m": 0.02, "minimum_area_m2": 0.5}
    asked = CloudDistanceRequest(**sizes, ground="all", stable=write_still(tmp_path, lambda x, y: y < 9))
    found = compare_clouds(*clouds, replace(asked, outward_deg=270.0))
    assert {zone.kind for zone in found.zones} == {"gain"}
    assert max(zone.mean_m for zone in found.zones) == pytest.approx(0.2, abs=0.05)
    with pytest.raises(NoPointsError, match="--outward"):
        compare_clouds(*clouds, asked)


def test_the_roof_of_a_cave_and_what_lies_below_it_bear_a_caution(tmp_path):
    rng, clouds = np.random.default_rng(14), []
    for k, fallen_m in enumerate((0.0, 0.3)):
        x, y = rng.uniform(0, 20, (2, 16_000))
        roof_x, roof_y = rng.uniform(0, 6, (2, 1_500))
        floor = np.column_stack([x, y, 5 + 0.1 * x + rng.normal(0, 0.02, 16_000)])
        roof = np.column_stack([roof_x, roof_y, 9 - fallen_m + rng.normal(0, 0.02, 1_500)])
        clouds.append([write_cloud(tmp_path / f"{k}.las", np.concatenate([floor, roof]))])
    sizes = {"spacing_m": 1.0, "radius_m": 0.5, "depth_m": 1.0, "registration_m": 0.02, "minimum_area_m2": 2.0}
    asked = CloudDistanceRequest(**sizes, ground="all", stable=write_still(tmp_path, lambda x, y: x > 8))
    found = compare_clouds(*clouds, asked)
    assert 30 <= found.overlaid <= 36
    assert any("two surfaces lie over each other" in line for line in found.warnings)
    assert found.zones
    assert all("the sign may be wrong" in zone.caution for zone in found.zones)
    still = write_cloud(tmp_path / "b.las", draw(rng, 12.0, 10)[0])
    bare = compare_clouds([still], [still], CloudDistanceRequest(ground="all"))
    assert bare.overlaid == 0


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    points = draw(np.random.default_rng(1), per_m2=3)[0]
    return {end: write_cloud(folder / f"a.{end}", points).read_bytes() for end in ("las", "laz")}


def put(form, at, *values):
    return lambda b: b[:at] + struct.pack("<" + form, *values) + b[at + struct.calcsize("<" + form) :]


def chunks(number):
    """A table of packed parts that says another number of them."""

    def change(content):
        begin = struct.unpack_from("<I", content, 96)[0]
        at = struct.unpack_from("<q", content, begin)[0]
        return put("I", at + 4, number)(content)

    return change


CASES = {
    "empty": ("las", lambda b: b"", "0 bytes"),
    "another format": ("las", lambda b: b"<html>" + b, "does not begin with LASF"),
    "header cut": ("las", lambda b: b[:200], "cut off"),
    "cut": ("las", lambda b: b[: len(b) // 2], "truncated"),
    "packed and cut": ("laz", lambda b: b[: len(b) // 2], "truncated"),
    "count too large": ("las", put("Q", 247, 1 << 40), "the file holds 4,800: truncated"),
    "count too small": ("las", put("Q", 247, 10), "its header is wrong"),
    "no point": ("las", put("Q", 247, 0), "there is no point"),
    "bomb": ("laz", put("Q", 247, 1 << 40), "made to fill a disk"),
    "packed count": ("laz", put("Q", 247, 9_000), "of 9,000 points it cannot be read"),
    "parts": ("laz", chunks(0xFFFFFFF0), "packed parts cannot be"),
    "records": ("las", put("I", 100, 0xFFFFFFFF), "beyond the end"),
    "records beyond": ("las", put("I", 96, 0xFFFFFFF0), "beyond the end"),
    "extended records": ("las", put("QI", 235, 1 << 50, 3), "beyond the end"),
    "record length": ("las", put("H", 105, 3), "in 3 bytes are not possible"),
    "format": ("las", put("B", 104, 60), "are not possible"),
    "scale": ("las", put("3d", 131, 0.0, 0.001, 0.001), "scale .* cannot be"),
    "scale by another": ("las", put("3d", 131, 0.01, 0.01, 0.01), "outside of the bounds"),
    "offset": ("las", put("3d", 155, float("nan"), 0, 0), "offset .* cannot be"),
    "offset by another": ("las", put("3d", 155, 0.0, 0.0, 0.0), "outside of the bounds"),
    "bounds": ("las", put("2d", 179, 1e300, -1e300), "are not a slope"),
    "bounds turned": ("las", put("2d", 179, 1.0, 2.0), "are not a slope"),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_one_line(sound, tmp_path, case):
    end, change, line = CASES[case]
    path = tmp_path / f"a.{end}"
    path.write_bytes(change(sound[end]))
    with pytest.raises(CloudError, match=line) as told:
        grid_clouds([path], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)
    assert isinstance(told.value, NoPointsError) == (case == "no point")
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


@pytest.mark.soak
def test_any_damaged_octet_ends_in_a_line_or_in_heights(sound, tmp_path):
    rng = np.random.default_rng(2)
    lines = []
    for _ in range(30):
        content = bytearray(sound["laz"])
        for at in rng.integers(0, len(content) if rng.random() < 0.5 else 700, 3):
            content[at] = rng.integers(0, 256)
        (tmp_path / "a.laz").write_bytes(bytes(content))
        try:
            grid_clouds([tmp_path / "a.laz"], tmp_path / "a.tif", CloudGridRequest(ground="all"))
        except CloudError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)
