"""Whatever geometry comes in: its ground is taken or named, rings keep their roles, and systems are honoured."""

import json
import struct

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, box

from detection.imagery.errors import AoiError
from detection.imagery.raster.aoi import make_mask, read_outlines
from detection.imagery.raster.grid import LONLAT, Grid
from detection.imagery.raster.reading.shapes import extract_outlines
from detection.imagery.raster.vectors import read_vectors
from tests.data.described_errors import raises_text
from tests.data.surveys.rasters import write_raster


def ring(x0, y0, x1, y1, *, against=False):
    points = [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)]
    return np.array(points[::-1] if against else points, float)


def write_shapefile(path, rings):
    """One record with these rings as they come, which no library writes."""
    points = np.concatenate(rings)
    starts = np.cumsum([0, *(len(one) for one in rings[:-1])])
    box = struct.pack("<4d", *points.min(axis=0), *points.max(axis=0))
    record = struct.pack("<i", 5) + box + struct.pack("<2i", len(rings), len(points))
    record += starts.astype("<i4").tobytes() + points.astype("<f8").tobytes()
    words = 50 + 4 + len(record) // 2
    header = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, words) + struct.pack("<2i", 1000, 5) + box + bytes(32)
    path.write_bytes(header + struct.pack(">2i", 1, len(record) // 2) + record)
    path.with_suffix(".prj").write_text(pyproj.CRS.from_epsg(32632).to_wkt("WKT1_ESRI"))
    return path


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=4), st.permutations(range(4)))
def test_rings_of_a_shapefile_mean_the_same_whichever_way_and_in_which_order_they_come(tmp_path_factory, ways, order):
    boxes = [(0, 0, 10, 10), (2, 2, 8, 8), (4, 4, 6, 6), (20, 20, 21, 21)]  # ground, hole, island, another part
    path = tmp_path_factory.mktemp("rings") / "a.shp"
    write_shapefile(path, [ring(*boxes[k], against=ways[k]) for k in order])
    assert read_vectors(path).shapes[0].area == 100 - 36 + 4 + 1


def test_a_hole_at_the_rim_stays_a_hole(tmp_path):
    rings = [ring(0, 0, 10, 10), ring(0, 2, 4, 6, against=True)]
    read = read_vectors(write_shapefile(tmp_path / "a.shp", rings)).shapes
    assert extract_outlines(read).shapes[0].area == 84
    beyond = [ring(0, 0, 10, 10), ring(-1, 2, 4, 6, against=True)]
    read = read_vectors(write_shapefile(tmp_path / "a.shp", beyond)).shapes
    assert extract_outlines(read).notes == ("1 outlines cross themselves; check them",)
    twice = read_vectors(write_shapefile(tmp_path / "a.shp", [ring(0, 0, 10, 10)] * 2)).shapes
    assert extract_outlines(twice).shapes[0].area == 100
    rim = shapely.Polygon(ring(0, 0, 10, 10), [ring(0, 2, 4, 6)])
    assert not rim.is_valid
    assert extract_outlines([rim]).shapes[0].area == 84
    assert shapely.make_valid(rim).area == 100  # what the other way of mending makes of it


KINDS = {
    "polygon": lambda b: b,
    "several": lambda b: MultiPolygon([b]),
    "collection": lambda b: GeometryCollection([b, Point(0, 0)]),
    "nested": lambda b: GeometryCollection([GeometryCollection([b])]),
    "closed line": lambda b: LineString(b.exterior.coords),
    "ring": lambda b: b.exterior,
    "crossing": lambda b: shapely.Polygon([*b.exterior.coords[:4], b.exterior.coords[0]]),
    "open line": lambda b: LineString(b.exterior.coords[:3]),
    "point": lambda b: b.centroid,
    "none": lambda _: None,
    "empty": lambda _: shapely.Polygon(),
}
TAKEN = {"polygon", "several", "collection", "nested", "closed line", "ring", "crossing"}


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12))
def test_what_goes_in_is_taken_or_counted(kinds):
    given_ = [KINDS[kind](box(3 * k, 0, 3 * k + 1, 1)) for k, kind in enumerate(kinds)]
    taken = extract_outlines(given_)
    assert [one is not None for one in taken.shapes] == [kind in TAKEN for kind in kinds]
    assert all(one.is_valid and one.area == 1 for one in taken.shapes if one is not None)
    lost = sum(kind not in TAKEN for kind in kinds)
    assert any(line.startswith(f"{lost} of {len(kinds)} geometries are left out") for line in taken.notes) == bool(lost)
    assert any("closed lines" in line for line in taken.notes) == bool({"closed line", "ring"} & set(kinds))


def test_points_stay_where_they_are_asked_for():
    assert extract_outlines([Point(1, 1)], points=True).shapes[0] == Point(1, 1)
    assert extract_outlines([Point(1, 1)]).shapes[0] is None


SQUARE = [[8.9, 46.2], [8.91, 46.2], [8.91, 46.21], [8.9, 46.21], [8.9, 46.2]]
NAMES = ("EPSG:32632", "urn:ogc:def:crs:EPSG::32632", "urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326")


def write(path, ring, crs=None, *, start=""):
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    said = {"type": "FeatureCollection", "features": [feature]}
    said |= {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    path.write_text(start + json.dumps(said), encoding="utf-8")
    return path


@pytest.mark.parametrize("crs", NAMES)
def test_the_named_system_and_a_byte_order_mark_are_honoured_by_all_who_read(tmp_path, crs):
    into = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True)
    path = write(tmp_path / "old.geojson", [into.transform(*corner) for corner in SQUARE], crs, start="\ufeff")
    expected = shapely.Polygon(SQUARE)
    ((name, found),) = read_outlines(path)
    assert name == "a"
    assert found.equals_exact(expected, 1e-7)
    assert read_vectors(path).crs == pyproj.CRS.from_user_input(crs)


@pytest.mark.parametrize(
    ("ring", "crs", "line"),
    [
        (SQUARE, "EPSG:999999", "its coordinates are in 'EPSG:999999', which nobody knows"),
        ([[x * 6e4, y * 1e5] for x, y in SQUARE], None, "coordinates beyond longitude and latitude; no member `crs`"),
        ([[1e300, y] for _, y in SQUARE], "EPSG:32632", "coordinates beyond"),
        (SQUARE, {}, "which nobody knows"),
    ],
)
def test_a_system_that_cannot_be_is_refused_in_one_line(tmp_path, ring, crs, line):
    path = write(tmp_path / "a.geojson", ring, crs)
    with raises_text(AoiError, line):
        read_outlines(path)


LINK = {"type": "link", "properties": {"href": "http://a.example/32632", "type": "proj4"}}


@pytest.mark.parametrize(
    ("crs", "line"),
    [
        ({"type": "EPSG", "properties": {"code": 32632}}, ""),
        (None, ""),
        (LINK, "in 'http://a.example/32632'"),
        ({"type": "name", "properties": {}}, "which nobody knows"),
    ],
)
def test_every_way_to_name_a_system_and_a_feature_without_geometry(tmp_path, crs, line):
    into = pyproj.Transformer.from_crs(LONLAT, "EPSG:32632", always_xy=True)
    ring = [into.transform(*corner) if crs else corner for corner in SQUARE]
    outline = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    said = {"type": "FeatureCollection", "crs": crs, "features": [outline, {"type": "Feature", "properties": {}}]}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(said))
    if line:
        with raises_text(AoiError, line):
            read_outlines(path)
        return
    told = []
    ((_, found),) = read_outlines(path, told)
    assert found.equals_exact(shapely.Polygon(SQUARE), 1e-7)
    assert "1 without geometry" in told[0]


@given(st.integers(1, 3), st.sampled_from([0, 1]))
def test_an_outline_with_a_corner_that_is_no_number_is_left_out_whole(corner, axis):
    points = ring(0, 0, 10, 10)
    points[corner, axis] = np.nan
    with np.errstate(invalid="ignore"):
        broken = shapely.Polygon(points)
    taken = extract_outlines([broken, box(20, 0, 21, 1)])
    assert [one is None for one in taken.shapes] == [True, False]
    assert taken.notes == ("1 of 2 geometries are left out: 1 with coordinates that are no numbers",)


def test_an_outline_that_crosses_itself_is_named():
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10), (0, 0)])
    taken = extract_outlines([bow, box(20, 0, 21, 1)])
    assert taken.shapes[0].area == 50
    assert taken.notes == ("1 outlines cross themselves; check them",)


@pytest.mark.parametrize(
    ("inside", "outside", "is_one"),
    [(1, 0, True), (255, 0, True), (7, 0, True), (0.6, np.nan, True), (1, -9999, True), (7, 3, False), (2, 1, False)],
)
def test_an_area_of_several_values_is_asked_about(tmp_path, inside, outside, is_one):
    values = np.full((1, 40, 40), outside, "float32")
    values[:, 5:30, 5:30] = inside
    at = Affine(10, 0, 500_000, 0, -10, 5_100_000)
    path = write_raster(tmp_path / "area.tif", values, crs="EPSG:32632", transform=at)
    grid = Grid(at, pyproj.CRS.from_epsg(32632).to_wkt(), 40, 40)
    if is_one:
        assert make_mask(path, grid, tmp_path).path == path
        values[:, 5, 5:30] *= 0.5  # a rim that resampling made
        write_raster(path, values, crs="EPSG:32632", transform=at)
        assert make_mask(path, grid, tmp_path).path == path
        return
    with pytest.raises(AoiError, match="2 values above 0"):
        make_mask(path, grid, tmp_path)
