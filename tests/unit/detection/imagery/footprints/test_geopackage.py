"""The GeoPackage keeps to its standard (OGC 12-128), and has the same bytes each time."""

import sqlite3
import struct
import weakref
from contextlib import closing
from datetime import UTC, datetime

import pytest
import shapely
from shapely.geometry import mapping

from detection.imagery.footprints import geopackage
from detection.imagery.footprints.geopackage import write_geopackage

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
    db.close()
    with closing(sqlite3.connect(write(tmp_path / "b.gpkg", [], placed=False))) as db:
        assert db.execute("SELECT min_x, srs_id FROM gpkg_contents").fetchall() == [(None, -1)]
        assert db.execute("SELECT count(*) FROM landslides").fetchone() == (0,)
    db.close()


def test_geometries_come_back_as_they_were(tmp_path):
    with closing(sqlite3.connect(write(tmp_path / "a.gpkg"))) as db:
        rows = db.execute("SELECT geom, polygon_id, area_m2, touches_edge FROM landslides ORDER BY fid").fetchall()
    db.close()
    assert [row[1:] for row in rows] == [("a", 12.5, 1), ("b", None, 0)]
    for (blob, *_), feature in zip(rows, FEATURES, strict=True):
        magic, version, flags, srs, *envelope = struct.unpack("<2sBBi4d", blob[:40])
        assert (magic, version, flags, srs) == (b"GP", 0, 3, 4326)
        outline = shapely.from_wkb(blob[40:])
        assert outline.geom_type == "MultiPolygon"
        assert outline.equals(shapely.geometry.shape(feature["geometry"]))
        left, bottom, right, top = outline.bounds
        assert envelope == [left, right, bottom, top]


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
