"""Footprints have their true area on any grid, as GeoJSON that others can read and as a GeoPackage of its standard.
Ground at 180 degrees: areas, measures and distances are those of the same ground elsewhere.
"""

import math
import sqlite3
import struct
import weakref
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from scipy import ndimage
from shapely.geometry import mapping, shape

from detection.imagery.footprints import geopackage, polygons
from detection.imagery.footprints.geopackage import write_geopackage
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.footprints.proximity import list_distances
from detection.imagery.footprints.records import Footprint
from detection.imagery.raster.areas import pixel_area_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid, grid_around
from tests.tables import tabulated

HOKKAIDO_STEP = 8.983152841195215e-05


def crs_wkt(code: int) -> str:
    return pyproj.CRS.from_epsg(code).to_wkt()


def hokkaido_grid() -> Grid:
    transform = Affine(HOKKAIDO_STEP, 0, 141.89033643113302, 0, -HOKKAIDO_STEP, 42.769509329157714)
    return Grid(transform, crs_wkt(4326), 1533, 970)


def footprints_of(steps: np.ndarray, grid: Grid, on_small=lambda: None, **options) -> list[Footprint]:
    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    settings = {"threshold": 0.5, "minimum_area_m2": 0.0, "minimum_hole_m2": 0.0, "identity": "scene"} | options
    return list(find_footprints(read, grid, OutlineRule(**settings), on_small=on_small))


def test_degrees_are_never_taken_for_metres_and_those_of_web_mercator_not_believed():
    """A Hokkaido pixel is 73.4 m² on the ground, not the 100 m² that 10 m by 10 m would give."""
    grid = hokkaido_grid()
    utm = pyproj.Transformer.from_crs(4326, 32654, always_xy=True)
    column, row = grid.width / 2, grid.height / 2
    corners = [(column + right, row + down) for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
    lonlat = [(141.89033643113302 + HOKKAIDO_STEP * c, 42.769509329157714 - HOKKAIDO_STEP * r) for c, r in corners]
    in_utm = shapely.Polygon([utm.transform(*place) for place in lonlat]).area
    assert in_utm == pytest.approx(73.36, abs=0.05)
    assert pixel_area_m2(grid) == pytest.approx(in_utm, rel=0.002)
    # At 60 degrees north a square of Web Mercator holds a quarter of its planar area.
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(10.0, 60.0)
    grid = Grid(Affine(10, 0, x, 0, -10, y), crs_wkt(3857), 30, 30)
    assert pixel_area_m2(grid) == pytest.approx(25.0, rel=0.02)


def test_geodesic_and_planar_area_of_a_large_footprint_agree_within_two_per_mille():
    grid = hokkaido_grid()
    steps = np.zeros((grid.height, grid.width), np.uint8)
    steps[100:900, 100:1400] = 180
    found = footprints_of(steps, grid)
    assert len(found) == 1
    utm = pyproj.Transformer.from_crs(4326, 32654, always_xy=True)
    dense = shapely.segmentize(shape(found[0].geometry), HOKKAIDO_STEP)
    planar = shapely.transform(dense, lambda x, y: utm.transform(x, y), interleaved=False).area
    assert found[0].area_m2 == pytest.approx(planar, rel=0.002)
    assert found[0].area_m2 / (800 * 1300 * 100) == pytest.approx(0.734, abs=0.001)


@pytest.mark.parametrize("angle_deg", [0.0, 15.0, 45.0, -30.0])
def test_a_rotated_grid_keeps_its_area(angle_deg):
    """By the determinant; width times height of the affine would give 93.3 m² at 15 degrees."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    grid = Grid(Affine(10 * cos, 10 * sin, 5e5, 10 * sin, -10 * cos, 4.7e6), crs_wkt(32654), 40, 40)
    steps = np.zeros((40, 40), np.uint8)
    steps[10:20, 5:25] = 200
    (found,) = footprints_of(steps, grid)
    assert found.area_m2 == pytest.approx(200 * 100, abs=0.01)


def test_geojson_follows_its_standard():
    grid = grid_around(141.95, 42.73, 60, 10.0)
    steps = np.zeros((60, 60), np.uint8)
    steps[10:40, 10:40] = 160
    steps[20:30, 20:30] = 0
    (found,) = footprints_of(steps, grid)
    outline = shape(found.geometry)
    assert outline.exterior.is_ccw
    assert not outline.interiors[0].is_ccw
    assert all(round(value, 7) == value for ring in found.geometry["coordinates"] for place in ring for value in place)
    assert (found.bbox, found.area_m2) == (outline.bounds, pytest.approx((900 - 100) * 100))
    assert shapely.Point(found.centroid).distance(shapely.Point(141.95, 42.73)) < 0.002
    assert (found.mean_probability, found.max_probability) == (0.8, 0.8)
    assert not found.touches_edge


def test_an_outline_of_a_tenth_of_a_millimetre_is_left_out_and_counted():
    """It has no area at the seven decimals of GeoJSON; those beside it are kept."""
    grid = Grid(Affine(1e-4, 0, 5e5, 0, -1e-4, 4.7e6), crs_wkt(32654), 600, 600)
    steps, left_out = np.zeros((600, 600), np.uint8), []
    steps[5, 5] = 200
    assert footprints_of(steps, grid, on_small=lambda: left_out.append(1)) == []
    assert len(left_out) == 1
    steps[50:550, 50:550] = 200
    (found,) = footprints_of(steps, grid, on_small=lambda: left_out.append(1))
    assert (found.perimeter_m, len(left_out)) == (0.2, 2)


@pytest.mark.parametrize("wide", [60, 400])
def test_bodies_outlined_together_are_those_outlined_one_by_one(wide, monkeypatch):
    draw = np.random.default_rng(wide)
    field = ndimage.gaussian_filter(draw.normal(size=(300, wide)), (2, wide / 40))
    steps = np.where(field > np.quantile(field, 0.6), 180, 20).astype(np.uint8)
    steps[draw.random(steps.shape) < 0.004] = NODATA
    grid = replace(grid_around(141.95, 42.73, 300, 10.0), width=wide)
    together = footprints_of(steps, grid, minimum_hole_m2=500.0)
    monkeypatch.setattr(polygons, "STACK_PX", 1)
    assert together == footprints_of(steps, grid, minimum_hole_m2=500.0)
    assert len(together) > 20


def test_small_holes_are_filled_large_ones_and_nodata_are_not():
    grid = grid_around(141.95, 42.73, 60, 10.0)
    steps = np.zeros((60, 60), np.uint8)
    steps[5:55, 5:55] = 200
    steps[10:12, 10:12] = 0
    steps[20:30, 20:30] = 0
    steps[40:42, 40:42] = NODATA
    (found,) = footprints_of(steps, grid, minimum_hole_m2=900.0)
    assert found.area_m2 == pytest.approx((2500 - 100 - 4) * 100)
    assert len(found.geometry["coordinates"]) == 3
    assert found.touches_nodata
    assert not found.hugs_nodata


def test_the_minimum_is_an_area_on_the_ground_after_filling():
    steps = np.zeros((40, 40), np.uint8)
    steps[10:13, 10:13] = 120
    steps[11, 11] = 0
    grid = grid_around(141.95, 42.73, 40, 10.0)
    assert len(footprints_of(steps, grid, minimum_area_m2=900.0, minimum_hole_m2=900.0)) == 1
    assert footprints_of(steps, grid, minimum_area_m2=900.0) == []
    steps[11, 11] = 120
    assert footprints_of(steps, replace(hokkaido_grid(), width=40, height=40), minimum_area_m2=900.0) == []


def test_ids_are_stable_and_depend_on_scene_and_first_pixel():
    grid = grid_around(141.95, 42.73, 20, 10.0)
    steps = np.zeros((20, 20), np.uint8)
    steps[5:9, 5:9] = 140
    first, again, other = (footprints_of(steps, grid, identity=name)[0].polygon_id for name in ("a", "a", "b"))
    assert first == again != other
    steps[4, 8] = 140
    assert footprints_of(steps, grid, identity="a")[0].polygon_id != first


def test_what_only_follows_the_edge_of_nodata_is_marked():
    grid = grid_around(141.95, 42.73, 60, 10.0)
    steps = np.zeros((60, 60), np.uint8)
    steps[:20] = NODATA
    steps[20:22, 5:50] = 180
    steps[40:50, 5:50] = 180
    edge, clear = footprints_of(steps, grid)
    assert edge.hugs_nodata
    assert not clear.hugs_nodata
    assert not clear.touches_nodata


def test_a_threshold_of_zero_does_not_make_the_whole_scene_a_footprint():
    grid = grid_around(141.95, 42.73, 20, 10.0)
    assert footprints_of(np.zeros((20, 20), np.uint8), grid, threshold=0.0) == []
    assert footprints_of(np.full((20, 20), NODATA, np.uint8), grid, threshold=0.0) == []


@pytest.mark.soak
def test_footprints_are_the_same_however_many_are_measured_at_once(monkeypatch):
    rng = np.random.default_rng(5)
    steps = np.where(rng.random((150, 140)) < 0.3, 180, 0).astype(np.uint8)
    steps[rng.random(steps.shape) < 0.02] = NODATA
    grid, small = replace(grid_around(141.0, 42.73, 150, 10.0), width=140), []
    options = {"minimum_area_m2": 900.0, "on_small": lambda: small.append(1)}
    whole = footprints_of(steps, grid, **options)
    left_out = len(small)
    monkeypatch.setattr(polygons, "MEASURED_AT_ONCE", 3)
    assert footprints_of(steps, grid, **options) == whole
    assert len(whole) > 20
    assert len(small) == 2 * left_out > 0
    labels, _ = ndimage.label((steps >= 100) & (steps != NODATA), structure=np.ones((3, 3)))
    areas = sorted(100.0 * size for size in np.bincount(labels.ravel())[1:] if size >= 9)
    assert sorted(one.area_m2 for one in whole) == pytest.approx(areas)
    assert {one.mean_probability for one in whole} == {0.9}


AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
COLUMNS = {"polygon_id": "TEXT", "area_m2": "REAL", "touches_edge": "BOOLEAN"}
HOLED = shapely.Polygon([(8, 46), (8.2, 46), (8.2, 46.1), (8, 46.1)], [[(8.05, 46.02), (8.05, 46.05), (8.1, 46.05)]])
LONE = shapely.MultiPolygon([shapely.box(9, 47, 9.1, 47.1)])
FEATURES = [
    {"geometry": mapping(HOLED), "polygon_id": "a", "area_m2": 12.5, "touches_edge": 1},
    {"geometry": mapping(LONE), "polygon_id": "b", "area_m2": None, "touches_edge": 0},
]


def write(path, features=FEATURES, **options):
    write_geopackage(path, features, COLUMNS, table="landslides", changed_at=AT, **options)
    return path


def test_the_same_features_give_the_same_bytes_in_any_blocks_of_which_one_is_held(tmp_path, monkeypatch):
    whole = write(tmp_path / "a.gpkg").read_bytes()
    assert write(tmp_path / "again.gpkg").read_bytes() == whole
    monkeypatch.setattr(geopackage, "BLOCK", 1)
    alive = weakref.WeakSet()

    class Feature(dict):
        __hash__ = object.__hash__

    def give():
        for one in FEATURES * 5:
            assert len(alive) <= 2  # that of the block before, and this one
            given = Feature(one)
            alive.add(given)
            yield given
            del given

    write(tmp_path / "b.gpkg", give())
    assert write(tmp_path / "c.gpkg", iter(FEATURES)).read_bytes() == whole


def test_the_tables_are_those_of_the_standard_also_without_features_and_place(tmp_path):
    content = write(tmp_path / "a.gpkg").read_bytes()
    assert (content[:16], content[68:72]) == (b"SQLite format 3\0", b"GPKG")
    assert struct.unpack(">I", content[60:64])[0] == 10300
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert {row[0] for row in db.execute("SELECT srs_id FROM gpkg_spatial_ref_sys")} == {-1, 0, 4326}
        columns = db.execute("SELECT * FROM gpkg_geometry_columns").fetchall()
        assert columns == [("landslides", "geom", "MULTIPOLYGON", 4326, 0, 0)]
        facts = db.execute("SELECT data_type, last_change, min_x, min_y, max_x, max_y, srs_id FROM gpkg_contents")
        assert facts.fetchall() == [("features", "2024-05-06T07:08:09.000Z", 8.0, 46.0, 9.1, 47.1, 4326)]
        blobs = [blob for (blob,) in db.execute("SELECT geom FROM landslides ORDER BY fid")]
        for blob, (left, bottom, right, top) in zip(blobs, (HOLED.bounds, LONE.bounds), strict=True):
            assert struct.unpack("<2sBBi4d", blob[:40]) == (b"GP", 0, 3, 4326, left, right, bottom, top)
    db.close()
    with closing(sqlite3.connect(write(tmp_path / "b.gpkg", [], placed=False))) as db:
        assert db.execute("SELECT min_x, srs_id FROM gpkg_contents").fetchall() == [(None, -1)]
        assert db.execute("SELECT count(*) FROM landslides").fetchone() == (0,)
    db.close()


def test_gdal_reads_back_what_was_written(tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    path = write(tmp_path / "a.gpkg")
    assert pyogrio.list_layers(path).tolist() == [["landslides", "MultiPolygon"]]
    facts = pyogrio.read_info(path)
    assert (facts["crs"], facts["features"]) == ("EPSG:4326", 2)
    assert tuple(facts["total_bounds"]) == (8.0, 46.0, 9.1, 47.1)
    assert facts["fields"].tolist() == ["polygon_id", "area_m2", "touches_edge"]
    assert list(facts["ogr_types"]) == ["OFTString", "OFTReal", "OFTInteger"]
    _, _, outlines, (names, areas, touching) = pyogrio.raw.read(path)
    assert names.tolist() == ["a", "b"]
    assert areas[0] == 12.5
    assert areas[1] != areas[1]  # none is NaN there
    assert touching.tolist() == [True, False]
    for outline, feature in zip(shapely.from_wkb(outlines), FEATURES, strict=True):
        assert outline.equals(shapely.geometry.shape(feature["geometry"]))
    # a window finds what lies in it
    assert pyogrio.raw.read(path, bbox=(8.9, 46.9, 9.5, 47.5))[3][0].tolist() == ["b"]
    assert pyogrio.read_info(write(tmp_path / "b.gpkg", [], placed=False))["features"] == 0


def find(lon, *, geographic):
    """Two footprints of 10,000 and 6,000 m2 by the grid, the second one around its middle."""
    steps = np.zeros((60, 60), np.uint8)
    steps[10:20, 10:20] = steps[28:34, 25:35] = 150
    grid = grid_around(lon, 10.0, 60, 10.0, geographic=geographic)
    rule = OutlineRule(0.5, 900.0, 900.0, "x")
    return grid, list(find_footprints(lambda c, r, w, h: steps[r : r + h, c : c + w], grid, rule))


def distance_m(geometry, place):
    return list_distances([geometry], {"here": place})[0][0][0]


@tabulated("geographic", [False, True])
@tabulated("lon", [180.0, 179.9999, -179.9999, -180.0])
def test_a_footprint_across_the_line_is_as_large_as_elsewhere(lon, geographic):
    grid, found = find(lon, geographic=geographic)
    other, elsewhere = find(179.9 if lon > 0 else -179.9, geographic=geographic)
    assert pixel_area_m2(grid) == pytest.approx(pixel_area_m2(other), rel=3e-3)
    assert len(found) == len(elsewhere) == 2
    for here, there in zip(found, elsewhere, strict=True):
        for name in ("area_m2", "length_m", "width_m", "perimeter_m"):
            assert getattr(here, name) == pytest.approx(getattr(there, name), rel=5e-3), name
    crossing = shape(found[1].geometry)
    assert (crossing.geom_type, crossing.is_valid) == ("MultiPolygon", True)
    assert crossing.bounds[0] >= -180
    assert crossing.bounds[2] <= 180
    assert abs(found[1].centroid[0]) == pytest.approx(180.0, abs=5e-4)
    assert abs(found[1].centroid[0]) <= 180


def test_a_station_across_the_line_is_near():
    east = shapely.geometry.mapping(shapely.box(-180.0, 10.0, -179.999, 10.001))
    assert distance_m(east, (179.999, 10.0005)) == pytest.approx(109.5, abs=0.2)
    assert distance_m(east, (-179.9995, 10.0005)) == 0.0
    both = shapely.geometry.mapping(
        shapely.MultiPolygon([shapely.box(-180.0, 10.0, -179.999, 10.001), shapely.box(179.999, 10.0, 180.0, 10.001)])
    )
    assert distance_m(both, (179.9995, 10.0005)) == 0.0
    assert distance_m(both, (-179.9985, 10.0005)) == pytest.approx(54.8, abs=0.2)
    assert distance_m(both, (-0.0005, 10.0005)) > 1e7, "nor is a ring stretched round the earth"


def test_many_outlines_are_measured_as_each_by_itself():
    square = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]
    hole = [[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [0.5, 1.5], [0.5, 0.5]]
    other = [[5, 0], [6, 0], [6, 1], [5, 0]]
    geometries = [{"type": "Polygon", "coordinates": rings} for rings in ([square, hole], [other])]
    geometries.insert(1, {"type": "MultiPolygon", "coordinates": [[square], [other]]})
    places = {"in": (0.2, 0.2), "hole": (1.0, 1.0), "beside": (2.5, 1.0), "far": (9.0, 3.0), "corner": (5.0, 0.0)}
    found = list_distances(geometries, places)
    assert found == [list_distances([one], places)[0] for one in geometries]
    assert {name: away for away, name in found[0]}["hole"] == 0.0, "outer rings only"
    degree_m = np.radians(1.0) * 6_371_008.8
    for one, geometry in zip(found, geometries, strict=True):
        assert one == sorted(one)
        outer = shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(shape(geometry))])
        for away, name in one:  # at the equator a degree is as long to the north as to the east
            assert away == pytest.approx(outer.distance(shapely.Point(places[name])) * degree_m, rel=2e-3)
    assert (list_distances([], places), list_distances(geometries, {})) == ([], [[], [], []])
