"""Outlines that people bring: of today, of 2008 with their own system, with a byte order mark, and what is refused."""

import json

import pyproj
import pytest
import shapely

from detection.imagery.errors import AoiError
from detection.imagery.raster.aoi import read_outlines
from detection.imagery.raster.grid import LONLAT
from detection.susceptibility.vectors import read_vectors

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
    with pytest.raises(AoiError, match=line) as caught:
        read_outlines(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("crs", "line"),
    [
        ({"type": "EPSG", "properties": {"code": 32632}}, ""),
        (None, ""),
        (
            {"type": "link", "properties": {"href": "http://a.example/32632", "type": "proj4"}},
            "in 'http://a.example/32632'",
        ),
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
        with pytest.raises(AoiError, match=line):
            read_outlines(path)
        return
    told = []
    ((_, found),) = read_outlines(path, told)
    assert found.equals_exact(shapely.Polygon(SQUARE), 1e-7)
    assert "1 without geometry" in told[0]
