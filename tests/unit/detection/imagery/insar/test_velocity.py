"""Drawn maps of velocities: zones, errors and places from one component, from three, and from points."""

import csv
import json

import numpy as np
import pytest

from detection.imagery.errors import ImageryError, NoValidPixelsError, RadiometryError, SceneError
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.insar.velocity import VelocityRequest, measure_velocity
from detection.imagery.insar.velocity_points import grid_points
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff

GRID = grid_around(11.0, 46.0, 200, 20.0)
ROWS, COLUMNS = np.mgrid[:200, :200]
SLIDE = (COLUMNS - 80) ** 2 + (ROWS - 120) ** 2 < 20**2
AREA_M2 = np.pi * 400.0**2
MIDDLE = (float(v[0]) for v in GRID.to_lonlat(*GRID.to_crs(np.array([80.0]), np.array([120.0]))))
PLACES = MeasuredPlace("G1", Circle(*MIDDLE, 100.0)), MeasuredPlace("far", Circle(12.0, 46.0, 100.0))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(4).normal(size=(3, 200, 200))


def write(path, values, names=()):
    write_geotiff(path, values.astype(np.float32), GRID, nodata=np.nan, descriptions=names)
    return path


def test_a_zone_along_the_line_of_sight(tmp_path, noise):
    values = 2.0 * noise[:1] - 40.0 * SLIDE
    path = write(tmp_path / "los.tif", values)
    asked = VelocityRequest(files=(path,), component="los-towards", factor=1.0, places=PLACES, out_dir=tmp_path / "out")
    found = measure_velocity(asked)
    (zone,) = found.zones
    assert (zone.kind, zone.area_m2) == ("away", pytest.approx(AREA_M2, rel=0.05))
    assert zone.mean_mm_per_year == pytest.approx(-40, abs=0.5)
    assert zone.p95_mm_per_year == pytest.approx(-43.3, abs=0.6)
    assert found.noise_mm_per_year[0] == pytest.approx(2.0, rel=0.1)
    assert (found.sigma_from, "no error is given" in found.warnings[0]) == ("scatter", True)
    assert found.lost_places == {"far": "off the map"}
    assert found.places[0].speed == pytest.approx(-40, abs=1)
    assert found.places[0].speed_sigma == pytest.approx(2, rel=0.1)
    assert len(json.loads((tmp_path / "out" / "velocity.geojson").read_text())["features"]) == 1
    daily = write(tmp_path / "day.tif", values / 365.25)
    per_day = measure_velocity(VelocityRequest(files=(daily,), component="los-away", factor=365.25))
    assert [one.kind for one in per_day.zones] == ["toward"]
    assert per_day.zones[0].mean_mm_per_year == pytest.approx(-40, abs=0.5)


def test_three_components_give_speed_and_way(tmp_path, noise):
    moved = np.array([12.0, 0.0, -9.0])[:, None, None] * SLIDE
    path = write(tmp_path / "enu.tif", noise + moved, ("east", "north", "up"))
    sigma = write(tmp_path / "sigma.tif", np.ones((3, 200, 200)))
    found = measure_velocity(VelocityRequest(files=(path,), factor=1.0, sigma_files=(sigma,), places=PLACES))
    (zone,) = found.zones
    assert (found.component, found.sigma_from, found.warnings) == ("enu", "file", ())
    assert zone.mean_mm_per_year == pytest.approx(15, abs=0.3)
    assert (zone.azimuth_deg, zone.down_deg) == (pytest.approx(90, abs=2), pytest.approx(36.9, abs=2))
    assert found.places[0].speed == pytest.approx(15, abs=0.6)
    assert (found.places[0].speed_sigma, found.places[0].moving_share) == (pytest.approx(1), 1.0)


def test_the_ground_of_a_place_is_told_by_a_high_quantile_and_by_its_share_that_moves(tmp_path, noise):
    """Half of the outline slides: by its bound, by its error, and of how many pixels that is said."""
    values = 2.0 * noise[:1] - 40.0 * SLIDE
    values[:, :20] = np.nan
    path, sigma = write(tmp_path / "los.tif", values), write(tmp_path / "sigma.tif", np.full((1, 200, 200), 2.0))
    rows, columns = np.nonzero(SLIDE)
    top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
    wide = [(left, top), (2 * right - left, top), (2 * right - left, bottom), (left, bottom), (left, top)]
    lon, lat = GRID.to_lonlat(*GRID.to_crs(*np.array(wide, float).T))
    ring = [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]
    place = MeasuredPlace("flank", {"type": "Polygon", "coordinates": [ring]})

    def measure(**more):
        more |= {"component": "los-towards", "factor": 1.0, "sigma_files": (sigma,), "places": (place,)}
        return measure_velocity(VelocityRequest(files=(path,), **more)).places[0]

    (found, faster, slower) = measure(), measure(bounds={"flank": 60.0}), measure(bounds={"flank": 30.0})
    body = np.zeros_like(SLIDE, bool)
    body[top:bottom, left : 2 * right - left] = True
    inside = np.abs(values[0][body])
    known = np.isfinite(inside)
    assert found.pixels == pytest.approx(known.sum(), rel=0.03)
    assert found.p95 == pytest.approx(np.percentile(inside[known], 95), abs=0.3)
    assert found.moving_share == pytest.approx((inside[known] > 6).mean(), abs=0.01)
    assert 0.2 < slower.moving_share <= found.moving_share
    assert faster.moving_share == 0.0


def test_points_are_brought_onto_cells(tmp_path, noise):
    path = tmp_path / "points.csv"
    every = (slice(None, None, 3),) * 2
    columns, rows = (axis[every].ravel() + 0.5 for axis in (COLUMNS, ROWS))
    lon, lat = GRID.to_lonlat(*GRID.to_crs(columns, rows))
    velocity = (2 * noise[0] + 30 * SLIDE)[every].ravel()
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Longitude", "Latitude", "mean_velocity", "mean_velocity_std"])
        table.writerows([*zip(lon, lat, velocity, np.full(len(lon), 2.0), strict=True), ["x", "y", "", ""]])
    raster, sigma, warnings = grid_points(path, 80.0, tmp_path)
    assert len(warnings) == 1
    found = measure_velocity(VelocityRequest(files=(raster,), component="up", factor=1.0, sigma_files=(sigma,)))
    assert (found.zones[0].kind, found.zones[0].area_m2) == ("up", pytest.approx(AREA_M2, rel=0.2))
    assert found.zones[0].mean_mm_per_year == pytest.approx(30, abs=2)


def test_rounded_velocities_scatter_by_their_step(tmp_path, noise):
    path = write(tmp_path / "rounded.tif", np.round(noise[:1] + 40 * SLIDE))
    found = measure_velocity(VelocityRequest(files=(path,), component="up", factor=1.0))
    assert found.valid_share == 1.0
    assert "is taken as a velocity" in found.warnings[0]
    assert found.noise_mm_per_year[0] >= 1.0
    framed = write(tmp_path / "framed.tif", np.where(COLUMNS < 60, 0, noise[0] + 20 * SLIDE)[None])
    found = measure_velocity(VelocityRequest(files=(framed,), component="up", factor=1.0))
    assert found.warnings[0] == "0 stands in 30 % of the pixels and is taken as no value"


@pytest.mark.parametrize(
    ("values", "asked", "error", "why"),
    [
        (np.ones((1, 200, 200)), {}, SceneError, "what is a positive velocity"),
        (np.ones((1, 200, 200)), {"component": "enu"}, SceneError, "1 bands; east, north and up"),
        (np.full((1, 200, 200), np.nan), {"component": "up"}, NoValidPixelsError, "no pixel"),
        (np.full((1, 200, 200), 1e12), {"component": "up"}, RadiometryError, "is the unit right"),
        (10.0 * SLIDE[None], {"component": "up"}, RadiometryError, "half of the values or more are equal"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path, values, asked, error, why):
    with pytest.raises(error, match=why) as told:
        measure_velocity(VelocityRequest(files=(write(tmp_path / "a.tif", values),), factor=1.0, **asked))
    assert isinstance(told.value, ImageryError)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", b"lon,lat\n1,2\n", "no column velocity"),
        ("a.csv", b"\xff\xfe\x00", "cannot be read as CSV|no column"),
        ("a.csv", b"lon,lat,vel\n", "no point has"),
        ("a.csv", b"lon,lat,vel\n7,44,1\n15,49,1\n", "take larger cells"),
    ],
)
def test_files_that_hold_no_points(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageryError, match=why):
        grid_points(tmp_path / name, 50.0, tmp_path)


def test_a_component_is_the_band_that_says_so(tmp_path, noise):
    """Three components in any order: up is taken by its name, and what the bands are not is refused."""
    moved = np.array([-40.0, 0.0, 0.0])[:, None, None] * SLIDE
    path = write(tmp_path / "uen.tif", noise + moved, ("up", "east", "north"))
    for component, zones in (("up", 1), ("east", 0)):
        assert len(measure_velocity(VelocityRequest(files=(path,), component=component, factor=1.0)).zones) == zones
    with pytest.raises(SceneError, match="none of them is los-towards"):
        measure_velocity(VelocityRequest(files=(path,), component="los-towards", factor=1.0))
    three = [write(tmp_path / f"{name}.tif", noise[:1], (name,)) for name in ("up", "east", "north")]
    with pytest.raises(SceneError, match="its band is not east"):
        measure_velocity(VelocityRequest(files=tuple(three), factor=1.0))
    measure_velocity(VelocityRequest(files=(*three[1:], three[0]), factor=1.0))
