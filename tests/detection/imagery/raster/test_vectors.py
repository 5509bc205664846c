"""Vector files: the formats that pyogrio reads, their limits, and hostile files that are refused in one line."""

import json
import sqlite3
import struct
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine

from detection.imagery.errors import AoiError, VectorError
from detection.imagery.raster import vectors
from detection.imagery.raster.aoi import make_mask, read_outlines
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.vectors import read_vectors
from tests.data.described_errors import raises_text

SQUARES = [shapely.box(8.9 + k / 100, 46.2, 8.905 + k / 100, 46.205) for k in range(40)]
DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".kml": "KML", ".geojson": "GeoJSON"}


def write_layer(path, shapes=SQUARES, crs="EPSG:4326", **options):
    names = np.array([f"slide {number}" for number in range(len(shapes))], object)
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes)),
        [names],
        ["name"],
        crs=crs,
        geometry_type="Polygon",
        driver=DRIVERS[path.suffix],
        **options,
    )
    return path


@pytest.mark.parametrize("suffix", DRIVERS)
@pytest.mark.parametrize("copied_as", ["", ".data"])
def test_each_format_is_read_by_its_content(tmp_path, suffix, copied_as):
    path = write_layer(tmp_path / f"outlines{suffix}")
    if copied_as:
        path = path.rename(path.with_suffix(copied_as))
    vectors_ = read_vectors(path, "name")
    # FlatGeobuf orders features by their position in space.
    order = np.argsort([shapely.bounds(outline)[0] for outline in vectors_.shapes])
    for outline, square in zip(vectors_.shapes[order], SQUARES, strict=True):
        assert shapely.equals_exact(shapely.normalize(outline), shapely.normalize(square), 1e-9)
    assert vectors_.crs.name.startswith("WGS 84")
    expected = None if suffix == ".shp" else "slide 0"
    assert vectors_.values[order[0]] == expected
    # The case of a property does not matter in any format.
    assert read_vectors(path, "NAME").values[order[0]] == expected


def write_geojson(path, features):
    features = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(square)), **feature}
        for square, feature in zip(SQUARES, features, strict=False)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_outlines_are_named_by_name_id_or_position(tmp_path):
    """The id 0 is a name of its own, so that it does not become the name of the next outline."""
    features = [
        {"id": 0, "properties": {}},
        {"id": 1, "properties": {"name": ""}},
        {"id": 2, "properties": {"name": "scarp"}},
        {"properties": {"ID": 7}},
        {"properties": {}},
    ]
    outlines = read_outlines(write_geojson(tmp_path / "areas.geojson", features))
    assert [name for name, _ in outlines] == ["0", "1", "scarp", "7", "5"]


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".fgb", ".kml"])
def test_an_area_of_interest_of_each_format_is_drawn_on_the_grid(tmp_path, suffix):
    grid = Grid(Affine(1e-4, 0, 8.89, 0, -1e-4, 46.21), pyproj.CRS.from_epsg(4326).to_wkt(), 300, 100)
    plain = write_layer(tmp_path / "a.geojson", SQUARES[:1])
    given = write_layer(tmp_path / f"b{suffix}", SQUARES[:1])
    masks = []
    for path in (plain, given):
        work = tmp_path / path.suffix[1:]
        work.mkdir()
        mask = make_mask(path, grid, work)
        with ByteRaster(mask.path, grid).reading() as read:
            masks.append(read(0, 0, 300, 100))
    assert masks[0].any()
    assert np.array_equal(*masks)
    ((name, _),) = read_outlines(given)
    assert name == ("1" if suffix == ".shp" else "slide 0")


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".fgb", ".kml"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = write_layer(tmp_path / f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with raises_text(VectorError, "damaged|cut off|no feature in it"):
        read_vectors(path)


def test_limits_of_features_and_vertices(tmp_path, monkeypatch):
    paths = [write_layer(tmp_path / f"a{suffix}") for suffix in DRIVERS]
    monkeypatch.setattr(vectors, "MOST_VERTICES", 5 * len(SQUARES) - 1)
    for path in paths:
        with raises_text(VectorError, "200 vertices, the limit is 199"):
            read_vectors(path)
    monkeypatch.setattr(vectors, "MOST_FEATURES", len(SQUARES) - 1)
    for path in paths:
        with raises_text(VectorError, "more than 39 features"):
            read_vectors(path)
    for path in paths:
        with raises_text(VectorError, "more than 0 MiB"):
            vectors.load_features(path, most_bytes=100)


def test_a_layer_without_a_system_is_refused(tmp_path):
    for suffix in (".gpkg", ".fgb"):
        with pytest.warns(UserWarning, match="'crs' was not provided"):
            path = write_layer(tmp_path / f"a{suffix}", crs=None)
        with raises_text(VectorError, "does not state its coordinate reference system"):
            read_vectors(path)
    path = write_layer(tmp_path / "a.shp")
    path.with_suffix(".prj").unlink()
    with raises_text(VectorError, r"no a\.prj beside it"):
        read_vectors(path)


def test_view_of_a_geopackage_is_not_executed(tmp_path):
    path = write_layer(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE VIEW aaa AS SELECT * FROM a")
        database.execute("INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('aaa', 'features', 4326)")
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('aaa', 'geom', 'POLYGON', 4326, 0, 0)")
        database.commit()
    assert len(read_vectors(path).shapes) == len(SQUARES)
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE gpkg_contents RENAME TO contents")
        database.execute("CREATE VIEW gpkg_contents AS SELECT * FROM contents")
        database.commit()
    with raises_text(VectorError, "damaged or not what it seems"):
        read_vectors(path)


def test_a_database_that_is_no_geopackage_is_refused(tmp_path):
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE a (b)")
        database.commit()
    with raises_text(VectorError, "damaged or not what it seems"):
        read_vectors(path)


KML = """<?xml version="1.0"?>{doctype}<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>d</name>
<NetworkLink><Link><href>{address}/link.kml</href></Link></NetworkLink>
<Placemark><name>a</name><styleUrl>{address}/style.kml#x</styleUrl><Polygon><outerBoundaryIs><LinearRing>
<coordinates>8,46,0 8.1,46,0 8.1,46.1,0 8,46,0</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>
</Document></kml>"""


@pytest.fixture
def requests():
    """Paths that were requested from a server, and its address."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield paths, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_address_in_a_file_is_requested(tmp_path, requests):
    paths, address = requests
    kml = tmp_path / "a.kml"
    kml.write_text(KML.format(address=address, doctype=""))
    assert len(read_vectors(kml).shapes) == 1
    link = {"type": "link", "properties": {"href": f"{address}/crs", "type": "proj4"}}
    point = {"type": "Point", "coordinates": [8, 46]}
    geojson = tmp_path / "a.geojson"
    geojson.write_text(json.dumps({"type": "FeatureCollection", "crs": link, "features": [point]}))
    with raises_text(VectorError, "which nobody knows"):
        read_vectors(geojson)
    assert paths == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (KML.format(address="", doctype='<!DOCTYPE a [<!ENTITY b "c">]>'), "document type or entities"),
        ("<OGRVRTDataSource><OGRVRTLayer name='a'/></OGRVRTDataSource>", "neither GeoJSON"),
        ("PK\3\4 kml", "neither GeoJSON"),
        ("id,wkt\n1,POINT (8 46)\n", "neither GeoJSON"),
        ('{"type": "Topology", "objects": {}, "arcs": []}', "no feature in it has a place|damaged|not GeoJSON"),
    ],
)
def test_other_formats_are_refused(tmp_path, content, line):
    for name in ("a.kml", "a.gpkg", "a.geojson"):
        path = tmp_path / name
        path.write_text(content)
        with raises_text(VectorError, line):
            read_vectors(path)
        with pytest.raises(AoiError):
            read_outlines(path)


@pytest.mark.parametrize(
    "path", ["/vsicurl/http://127.0.0.1:9/a.gpkg", "/vsizip/a.zip/a.shp", "http://127.0.0.1:9/a.kml"]
)
def test_a_virtual_path_is_no_file(path):
    with raises_text(VectorError, r"cannot be read \(No such file"):
        read_vectors(Path(path))


def test_a_shapefile_reads_nothing_but_its_projection_beside_it(tmp_path):
    path = write_layer(tmp_path / "a.shp")
    for suffix in (".shx", ".dbf", ".qix", ".sbn", ".idm"):
        path.with_suffix(suffix).write_bytes(b"damaged")
    assert len(read_vectors(path).shapes) == len(SQUARES)
    header = bytearray(path.read_bytes())
    header[24:28] = struct.pack(">i", 1 << 24)
    path.write_bytes(header)
    with raises_text(VectorError, "cut off, its header states more bytes"):
        read_vectors(path)
