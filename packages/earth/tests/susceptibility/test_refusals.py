"""What cannot teach anything is refused in one line that says what to do; vectors are read as others read them."""

import struct
from dataclasses import replace
from datetime import date

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from detection.imagery.errors import ImageryError, NoValidPixelsError
from detection.imagery.raster.grid import LONLAT
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.vectors import read_vectors
from packages.earth.tests.data.landscape import draw, write_geojson
from slopeward_earth.susceptibility.factors import Distances
from slopeward_earth.susceptibility.mapping import MapRequest, make_map
from slopeward_earth.susceptibility.study import read_study
from slopeward_earth.susceptibility.training import SusceptibilityTrainingRequest, train
from tests.data.described_errors import raises_text

DAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("drawn"), seed=5, size=90)


@pytest.fixture
def study(landscape, tmp_path):
    """A copy of the study whose text a test changes: `change(old, new, ...)`, then training gives its refusal."""
    for name in ("dem.tif", "rock.tif", "river.geojson", "slides.geojson"):
        (tmp_path / name).symlink_to(landscape.study.with_name(name))

    def refuse(*changes, asked=None):
        text = landscape.study.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "study.toml").write_text(text)
        with pytest.raises(ImageryError) as caught:
            files = tmp_path / "study.toml", tmp_path / "m.json"
            train(SusceptibilityTrainingRequest(*files, DAY, ("logistic",), **(asked or {})))
        said = str(caught.value)
        assert "\n" not in said
        assert not (tmp_path / "m.json").exists()
        return said

    return refuse


def slides(tmp_path, landscape, shapes, name="few.geojson"):
    write_geojson(tmp_path / name, shapes, landscape.grid)
    return (("slides.geojson", name),)


@pytest.mark.parametrize("fill", [-1500.0, 0.0])
def test_a_fill_that_nobody_declared_is_no_value(study, landscape, tmp_path, fill):
    rows, columns = np.indices((90, 90))
    rain = (1500 + rows + 3 * np.sin(columns)).astype(np.float32)
    rain[:, :27] = fill
    write_geotiff(tmp_path / "rain.tif", rain[None], landscape.grid)
    said = study(('classes = "rock.tif"', 'file = "rain.tif"'))
    assert f"{fill:g} is in " in said
    assert "declare it as nodata" in said


def test_too_few_elsewhere_everywhere(study, landscape, tmp_path):
    grid = landscape.grid
    left, top = grid.transform.c, grid.transform.f
    few = [shapely.Point(left + 30 * k + 15, top - 30 * k - 15) for k in range(1, 20)]
    assert "19 landslides lie where all factors are known, at least 30" in study(*slides(tmp_path, landscape, few))
    far = [shapely.Point(left - 9000 - k, top) for k in range(40)]
    assert "no landslide of it lies on the grid of the map (EPSG:32633)" in study(*slides(tmp_path, landscape, far))
    side = 20 * grid.width / 8
    whole = [
        shapely.box(left + a * side, top - b * side, left + a * side + side, top - b * side - side)
        for a in range(8)
        for b in range(1, 8)
    ]
    whole += [shapely.box(left + a * side, top - side, left + a * side + side, top) for a in range(8)]
    assert "one class only" in study(*slides(tmp_path, landscape, whole))
    lines = [shapely.LineString([(left, top), (left + 900, top - 900)])]
    assert "holds lines" in study(*slides(tmp_path, landscape, lines))
    heap = [shapely.Point(left + 20 * (k % 8) + 10, top - 20 * (k // 8) - 10) for k in range(48)]
    assert "landslides lie in 1 blocks only, 5 are needed: smaller --block-m" in study(
        *slides(tmp_path, landscape, heap), asked={"block_m": 600.0}
    )


def test_factors_that_teach_nothing_or_lie_elsewhere(study, landscape, tmp_path):
    grid = landscape.grid
    write_geotiff(tmp_path / "flat.tif", np.full((1, 90, 90), 7, np.uint8), grid)
    assert "rock is 7 in the whole sample" in study(('classes = "rock.tif"', 'file = "flat.tif"'))
    assert "fewer than two classes" in study(('classes = "rock.tif"', 'classes = "dem.tif"'))
    write_geotiff(tmp_path / "bare.tif", np.ones((1, 9, 9), np.uint8), replace(grid, crs_wkt=""))
    assert "coordinate reference" in study(('classes = "rock.tif"', 'file = "bare.tif"'))
    away = replace(grid, transform=grid.transform_at(5000, 0))
    write_geotiff(tmp_path / "away.tif", np.arange(8100, dtype=np.float32).reshape(1, 90, 90), away)
    assert "no pixel of the area has a value of every factor" in study(('classes = "rock.tif"', 'file = "away.tif"'))
    moved = ('classes = "rock.tif"', 'file = "away.tif"'), ("[factors]", 'grid = "rock"\n[factors]')
    assert "covers 0.0% of the ground" in study(*moved)
    lone = [shapely.LineString([(grid.transform.c - 90_000, 0), (grid.transform.c - 80_000, 9)])]
    write_geojson(tmp_path / "far.geojson", lone, grid)
    assert "no line within 400 m of the grid" in study(("river.geojson", "far.geojson"))
    assert "2048 are looked" in study(("most_m = 400.0", "most_m = 90000"))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[factors]", "[factors", "not TOML"),
        ("[factors]", "colour = 1\n[factors]", "unknown key 'colour'"),
        ("[factors]", 'grid = "river"\n[factors]', "grid must name a factor that is a raster: slope, aspect, rock"),
        ("[factors]", 'area = "none.geojson"\n[factors]', "none.geojson is not there"),
        ('slope = { dem = "dem.tif" }', 'slope = { dem = "dem.tif", file = "dem.tif" }', "exactly one of"),
        ('slope = { dem = "dem.tif" }', 'rain = { dem = "dem.tif" }', "of an elevation model are made"),
        ('slope = { dem = "dem.tif" }', "slope = 3", "must be a table"),
        ('slope = { dem = "dem.tif" }', 'slope = { dem = "gone.tif" }', "gone.tif is not there"),
        ('slope = { dem = "dem.tif" }', 'slope = { dem = "dem.tif", band = 0 }', "whole number from 1 on"),
        ("most_m = 400.0", "most_m = nan", "must be a number from 1 on"),
        ("from = 2018-09-06", "from = 2019-09-06", "from lies after"),
        ("from = 2018-09-06", 'from = "2018"', "a day without quotes"),
        ("[inventory]", "[stock]", "unknown key 'stock'"),
        ('classes = "rock.tif"', 'file = "river.geojson"', "not a raster"),
        ('file = "slides.geojson"', 'file = "dem.tif"', "neither GeoJSON, GeoPackage, shapefile"),
    ],
)
def test_a_study_file_that_cannot_be_meant_is_one_line(study, landscape, old, new, line):
    assert line in study((old, new))


def test_a_factor_of_after_the_landslides_is_told(landscape, tmp_path):
    text = landscape.study.read_text().replace('classes = "rock.tif"', 'classes = "rock.tif", date = 2018-10-01')
    landscape.study.with_name("later.toml").write_text(text)
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra compare)")
    card = train(
        SusceptibilityTrainingRequest(landscape.study.with_name("later.toml"), tmp_path / "m.json", DAY, ("logistic",))
    )
    assert card["warnings"] == ["rock is of 2018-10-01, landslides happened from 2018-09-06 on: it may show them"]


def test_nodata_stays_the_area_bounds_the_training_and_strange_ground_is_marked(landscape, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra compare)")
    grid, folder = landscape.grid, landscape.study.parent
    with rasterio.open(folder / "rock.tif") as file:
        rock = file.read()
    rock[0, :20] = 0
    write_geotiff(folder / "holes.tif", rock, grid, nodata=0)
    text = landscape.study.read_text().replace("rock.tif", "holes.tif")
    corner = grid.transform.c, grid.transform.f
    part = shapely.box(corner[0], corner[1] - 20 * 90, corner[0] + 20 * 60, corner[1])
    write_geojson(folder / "area.geojson", [part], grid)
    (folder / "holes.toml").write_text('area = "area.geojson"\n' + text)
    card = train(SusceptibilityTrainingRequest(folder / "holes.toml", tmp_path / "m.json", DAY, ("logistic",)))
    assert card["sample"]["area_cells"] == 70 * 60
    assert card["inventory"]["landslides"] == landscape.slides[20:, :60].sum()
    rock[0, 70:] = 9
    write_geotiff(folder / "strange.tif", rock, grid, nodata=0)
    (folder / "strange.toml").write_text(text.replace("holes.tif", "strange.tif"))
    record = make_map(MapRequest(folder / "strange.toml", tmp_path / "m.json", tmp_path / "map", DAY))
    with rasterio.open(tmp_path / "map/susceptibility.tif") as file:
        chance, _, kind, outside = file.read()
    assert (chance[:20] == -1).all()
    assert (kind[:20] == -1).all()
    assert (chance[20:] > 0).all()
    assert (outside[70:] >= 1).all()
    assert record["known_share"] == pytest.approx(70 / 90)
    assert any("outside of what the training saw" in one for one in record["warnings"])
    rock[:] = 0
    write_geotiff(folder / "strange.tif", rock, grid, nodata=0)
    with pytest.raises(NoValidPixelsError, match="no pixel has a value of every factor"):
        make_map(MapRequest(folder / "strange.toml", tmp_path / "m.json", tmp_path / "none", DAY))
    assert not (tmp_path / "none").exists()
    (folder / "strange.toml").write_text(text.replace("aspect =", "elevation ="))
    with pytest.raises(
        ImageryError, match=r"needs these factors in this order: slope \(number\), aspect \(direction\)"
    ):
        make_map(MapRequest(folder / "strange.toml", tmp_path / "m.json", tmp_path / "none", DAY))


def write_layer(path, shapes, **more):
    numbers = [np.arange(len(shapes))]
    pyogrio.raw.write(path, shapely.to_wkb(np.array(shapes)), numbers, ["n"], crs="EPSG:4326", **more)


def test_vectors_are_read_as_others_read_them(tmp_path):
    hole = shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(2, 2), (2, 4), (4, 4), (4, 2)]])
    island = shapely.MultiPolygon(
        [shapely.box(0, 0, 9, 9) - shapely.box(2, 2, 7, 7), shapely.box(4, 4, 6, 6) - shapely.box(4.5, 4.5, 5, 5)]
    )
    several = shapely.MultiPolygon([shapely.box(20, 0, 25, 5), shapely.box(30, 0, 31, 1)])
    areas = [hole, several, island]
    line = shapely.LineString([(0, 0), (5, 5), (9, 1)])
    for kind, shapes in (("MultiPolygon", areas), ("Point", [shapely.Point(1, 2)]), ("LineString", [line])):
        for driver, end in (("GPKG", "gpkg"), ("ESRI Shapefile", "shp"), ("GeoJSON", "geojson")):
            path = tmp_path / f"{kind}.{end}"
            more = {"driver": driver, "geometry_type": kind, "promote_to_multi": kind.startswith("Multi")}
            write_layer(path, shapes, **more)
            found = read_vectors(path)
            assert [a.equals(b) for a, b in zip(found.shapes, shapes, strict=True)] == [True] * len(shapes), path
            assert found.crs.to_epsg() == 4326 or found.crs == LONLAT or "WGS" in found.crs.name


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "neither GeoJSON"),
        (b"{", "not GeoJSON"),
        (b'{"type": "FeatureCollection"}', "not GeoJSON"),
        (b'{"type": "FeatureCollection", "features": []}', "no feature in it has a place"),
        (b'{"type": "Point", "coordinates": [570000, 4700000]}', "beyond longitude and latitude, which its system has"),
        (b'{"type": "Point", "coordinates": ["a", 1]}', "damaged"),
        (b"SQLite format 3\0" + bytes(200), "damaged"),
        (struct.pack(">i", 9994) + bytes(200), "no x.prj beside it"),
        (b'{"type":"Feature","geometry":' * 30_000, "not GeoJSON"),
        (b'{"type": "Point", "coordinates": [8, 46], "crs": {"properties": {"name": "EPSG:0"}}}', "which nobody knows"),
    ],
)
def test_damaged_vectors_are_one_line_of_error(tmp_path, content, line):
    path = tmp_path / "x.shp"
    path.write_bytes(content)
    with raises_text(ImageryError, line):
        read_vectors(path)
    path.with_suffix(".prj").write_text(LONLAT.to_wkt("WKT1_ESRI"))
    if content.startswith(struct.pack(">i", 9994)):
        with pytest.raises(ImageryError, match=r"cut off|damaged"):
            read_vectors(path)


def test_directions_in_radians_and_a_layer_that_was_not_meant_are_named(study, landscape, tmp_path):
    rows, columns = np.indices((90, 90))
    write_geotiff(tmp_path / "way.tif", np.arctan2(rows - 45.0, columns - 45.5)[None].astype("float32"), landscape.grid)
    said = study(('aspect = { dem = "dem.tif" }', 'way = { degrees = "way.tif" }'))
    assert "way.tif: directions up to 3.14: radians? Degrees are expected (way)" in said
    for layer, shapes in (
        ("area", [shapely.box(12, 46, 12.1, 46.1)]),
        ("slides", [shapely.box(12, 46, 12.1, 46.1)] * 9),
    ):
        write_layer(tmp_path / "two.gpkg", shapes, layer=layer, driver="GPKG", geometry_type="Polygon")
    said = study(("slides.geojson", "two.gpkg"))
    assert "two.gpkg: of 2 layers area is read, not slides" in said


def test_distances_are_true_within_a_pixel_whatever_the_window(landscape):
    study = read_study(landscape.study)
    river = next(one for one in study.factors if one.name == "river")
    line = shapely.union_all(read_vectors(river.path).to_pixels(landscape.grid))
    reader = Distances(river, landscape.grid)
    whole, known = reader.read(0, 0, 90, 90)
    assert known.all()
    rows, columns = np.indices((90, 90)) + 0.5
    true = np.minimum(400, 20 * shapely.distance(line, shapely.points(columns, rows)))
    assert np.abs(whole - true).max() < 20
    np.testing.assert_array_equal(reader.read(17, 31, 20, 25)[0], whole[31:56, 17:37])
