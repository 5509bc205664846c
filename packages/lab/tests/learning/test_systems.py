"""Outlines of a file lie at the same place for `scenes learn` and for the page, or both refuse it in a line."""

import json

import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from detection.imagery.errors import VectorError
from detection.imagery.raster.grid import LONLAT
from monitor.errors import RefusedError
from monitor.features.scenes.outline_acts import read_geometry
from monitor.features.scenes.outline_files import read_collection
from monitor.text.reasons import describe_error
from slopeward_lab.learning.labels import read_labels
from slopeward_lab.learning.records import LearningError
from tests.data.described_errors import raises_text

URN = "urn:ogc:def:crs:"
LONLATS = (
    None,
    "EPSG:4326",
    f"{URN}EPSG::4326",
    f"{URN}OGC:1.3:CRS84",
    4326,
    "http://www.opengis.net/def/crs/EPSG/0/4326",
)
OTHERS = ("EPSG:32632", f"{URN}EPSG::32632", "EPSG:2056", "EPSG:3857", "EPSG:4258", 25832, "EPSG:32632+5773")
REFUSED = (
    *("EPSG:999999", "EPSG:4978", "EPSG:5773", "IAU_2015:30100", "+proj=longlat +datum=WGS84", "proj=utm +zone=32"),
    *("", "north-bench", "EPSG:\0", 7, [4326], {}, LONLAT.to_wkt(), f"{URN}OGC:1.3:CRS85"),
)


def write(rings, name, key, form):
    """A file of today or of 2008; `form`: one geometry, one feature or all of them."""
    geometries = [{"type": "Polygon", "coordinates": [ring]} for ring in rings]
    features = [{"type": "Feature", "properties": {"kind": "landslide"}, "geometry": one} for one in geometries]
    several = {"type": "MultiPolygon", "coordinates": [one["coordinates"] for one in geometries]}
    found = {
        "collection": {"type": "FeatureCollection", "features": features},
        "feature": {"type": "Feature", "properties": None, "geometry": several},
        "geometry": several,
    }[form]
    return json.dumps(found | ({} if name is None else {"crs": {"type": "name", "properties": {key: name}}}))


def read_learnt(path):
    return [part for one in read_labels(path)[0] for part in shapely.get_parts(one.shape)]


def read_drawn(text):
    return list(shapely.get_parts(shapely.geometry.shape(read_geometry(text))))


@st.composite
def squares(draw):
    """Squares in longitude and latitude that do not touch."""
    west, south = draw(st.floats(6.0, 10.5)), draw(st.floats(45.9, 47.5))
    side = draw(st.floats(1e-4, 1e-2))
    count = draw(st.integers(1, 3))
    return [shapely.box(west + 2 * k * side, south, west + (2 * k + 1) * side, south + side) for k in range(count)]


@pytest.mark.soak
@given(
    squares(),
    st.sampled_from([*LONLATS, *OTHERS]),
    st.sampled_from(("name", "code", "href")),
    st.sampled_from(("collection", "feature", "geometry")),
    st.sampled_from(("", "\ufeff")),
)
def test_a_file_lies_where_its_system_says_for_both_who_read_it(tmp_path_factory, shapes, name, key, form, start):
    into = pyproj.Transformer.from_crs(LONLAT, LONLAT if name is None else name, always_xy=True)
    rings = [[list(into.transform(*corner)) for corner in one.exterior.coords] for one in shapes]
    text = start + write(rings, name, key, form)
    path = tmp_path_factory.getbasetemp() / "drawn.geojson"
    path.write_text(text, encoding="utf-8")
    for found in (read_learnt(path), read_drawn(text)):
        assert len(found) == len(shapes)
        for one, wanted in zip(found, shapes, strict=True):
            assert one.hausdorff_distance(wanted) < 2e-7
    assert [kind for kind, _, _ in read_collection(text, "landslide")] == ["landslide"] * len(shapes)


@pytest.mark.soak
@given(squares(), st.sampled_from(REFUSED), st.sampled_from(("name", "code", "href")))
def test_a_system_from_which_no_way_leads_is_refused_by_both_in_a_line(tmp_path_factory, shapes, name, key):
    text = write([list(one.exterior.coords) for one in shapes], name, key, "collection")
    path = tmp_path_factory.getbasetemp() / "drawn.geojson"
    path.write_text(text)
    with pytest.raises(RefusedError, match="which nobody knows") as drawn:
        read_collection(text, "landslide")
    with raises_text((VectorError, LearningError), "which nobody knows") as learnt:
        read_labels(path)
    assert describe_error(learnt.value) == f"{path}: {drawn.value}"


def test_metres_without_a_system_are_refused_by_both(tmp_path):
    text = write([[[5e5, 5.1e6], [5.001e5, 5.1e6], [5e5, 5.101e6]]], None, "name", "geometry")
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(RefusedError, match="longitude, latitude"):
        read_geometry(text)
    with raises_text(VectorError, "beyond longitude and latitude"):
        read_labels(tmp_path / "a.geojson")
