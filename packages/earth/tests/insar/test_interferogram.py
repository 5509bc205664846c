"""Stacks and maps of velocities: drawn movement comes back within its stated error; measured ones are looked at."""

import csv
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
import shapely
import torch
from shapely.geometry import shape

from detection.imagery.data.metrics import compute_scores, count_confusion
from detection.imagery.errors import ImageryError, ManifestError, NoValidPixelsError, RadiometryError, SceneError
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.weights_file import weights_path
from packages.earth.tests.data.phases import draw_phase_patches
from packages.earth.tests.data.stacks import write_stack
from slopeward_earth.insar.interferogram import find_zones, invert, list_points
from slopeward_earth.insar.outputs import find_coherence_loss, measure_coherence, measure_stack, run_network, wrap
from slopeward_earth.insar.records import StackRequest
from slopeward_earth.insar.stack import read_stack
from slopeward_earth.insar.velocity import VelocityRequest, measure_velocity
from slopeward_earth.insar.velocity_points import grid_points
from tests.fixtures.soak import in_soak

WEIGHTS = "phase/generated-phase"
DATES = [datetime(2025, 1, 3, tzinfo=UTC) + timedelta(days=24 * k) for k in range(9)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    return folder, write_stack(folder, 11, DATES)


def alter(path, change):
    with rasterio.open(path, "r+") as file:
        file.write(change(file.read(1)), 1)


def test_a_drawn_bowl_comes_back_within_its_error(drawn):
    folder, truth = drawn
    stack = read_stack(folder)
    assert (len(stack.pairs), stack.dates) == (21, tuple(DATES))
    movement = invert(stack)
    away = movement.rate_mm_per_year - truth
    away -= np.median(away[np.abs(truth) < 5])
    # the atmosphere of nine dates is in the rate too: errors are a few mm per year
    assert np.sqrt(np.mean(away**2)) < 15
    sigma = np.hypot(movement.error_mm_per_year, movement.noise_mm_per_year)
    assert np.mean(np.abs(away) < 3 * sigma) > 0.97
    zones = find_zones(movement)
    assert (zones[0].kind, zones[0].fastest_mm_per_year) == ("away", pytest.approx(truth.min(), rel=0.2))
    centre = np.unravel_index(np.argmin(truth), truth.shape)
    lon, lat = movement.grid.to_lonlat(*movement.grid.to_crs(np.array([centre[1] + 0.5]), np.array([centre[0] + 0.5])))
    assert shape(zones[0].geometry).contains(shapely.Point(lon[0], lat[0]))
    points = list_points(movement, every=4)
    assert (len(points), len(points[0].values_mm), points[0].values_mm[0]) == (12 * 12, len(DATES), 0.0)


@pytest.mark.soak
def test_still_ground_under_an_atmosphere_is_no_zone(tmp_path):
    write_stack(tmp_path, 12, DATES, size_px=24, rate_mm_per_year=0.0, atmosphere_rad=0.8)
    assert find_zones(invert(read_stack(tmp_path))) == []


@pytest.mark.soak
def test_a_phase_of_exactly_zero_is_a_phase(tmp_path):
    write_stack(tmp_path, 13, DATES[:5])
    file = min(tmp_path.glob("*_unw.tif"))

    def zero(values):
        values[5, 5] = 0.0
        return values

    alter(file, zero)
    stack = read_stack(tmp_path)
    before = invert(stack)
    assert np.isfinite(before.rate_mm_per_year[5, 5])
    # where the coherence is nodata too there was no measurement
    for path in sorted(tmp_path.glob("*.tif")):
        alter(path, lambda values: np.where(np.indices(values.shape)[0] < 6, 0, values).astype(np.float32))
    after = invert(stack)
    assert np.isnan(after.rate_mm_per_year[:6]).all()
    assert np.isfinite(after.rate_mm_per_year[6:]).all()


@pytest.mark.soak
def test_an_unwrapping_error_is_left_out_and_told(tmp_path):
    write_stack(tmp_path, 14, DATES, size_px=24)

    def jump(values):
        values[9:15, 9:15] += 6 * np.pi
        return values

    for file in sorted(tmp_path.glob("*_unw.tif"))[::4]:
        alter(file, jump)
    movement = invert(read_stack(tmp_path))
    assert np.isnan(movement.rate_mm_per_year[9:15, 9:15]).all()
    assert any("contradict" in w for w in movement.warnings)


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize("low", [-np.pi, 0.0])
@pytest.mark.parametrize("fringes", [3, *in_soak(2, 5)])
def test_wrapped_phases_are_no_movement(tmp_path, low, fringes):
    write_stack(tmp_path, 20, DATES, size_px=24)
    ramp = np.linspace(0, 2 * np.pi * fringes, 24)
    for file in tmp_path.glob("*_unw.tif"):
        alter(file, lambda values: (values + ramp).astype(values.dtype))
    invert(read_stack(tmp_path))  # a ramp that is not wrapped is a ramp
    for file in tmp_path.glob("*_unw.tif"):
        alter(file, lambda values: ((values - low) % (2 * np.pi) + low).astype(values.dtype))
    with pytest.raises(RadiometryError, match="they are wrapped"):
        invert(read_stack(tmp_path))


@pytest.mark.soak
def test_pairs_that_contradict_each_other_everywhere_are_said_in_one_line(tmp_path):
    write_stack(tmp_path, 21, DATES, size_px=24)
    for k, file in enumerate(sorted(tmp_path.glob("*_unw.tif"))):
        noise = np.random.default_rng(k).normal(0, 80, (24, 24))
        alter(file, lambda values, noise=noise: (values + noise).astype(values.dtype))
    with pytest.raises(NoValidPixelsError, match="every pixel contradict each other"):
        invert(read_stack(tmp_path))


def test_dates_that_no_pair_ties_are_no_network(tmp_path):
    write_stack(tmp_path, 15, DATES[:3], links=1, size_px=24)
    write_stack(tmp_path / "late", 15, DATES[5:7], links=1, size_px=24)
    text = (tmp_path / "late" / "stack.toml").read_text().split("[[pair]]", 1)[1]
    for file in (tmp_path / "late").glob("*.tif"):
        file.rename(tmp_path / file.name)
    with (tmp_path / "stack.toml").open("a") as manifest:
        manifest.write("[[pair]]" + text)
    with pytest.raises(NoValidPixelsError, match="enough coherent"):
        invert(read_stack(tmp_path))


def test_coherence_that_falls_on_the_newest_pair(tmp_path):
    write_stack(tmp_path, 16, DATES, links=1)

    def lose(values):
        values[10:30, 10:30] = 0.36
        return values

    stack = read_stack(tmp_path)
    grid = read_grid(stack.pairs[0].unwrapped)
    assert find_coherence_loss(stack, grid) == []
    alter(stack.pairs[-1].coherence, lose)
    (zone,) = find_coherence_loss(stack, grid)
    assert zone.area_m2 == pytest.approx(20 * 20 * 1600, rel=0.02)
    assert (zone.was > 0.7, zone.value < 0.4) == (True, True)


def test_coherence_of_places_from_date_to_date(tmp_path):
    """Only pairs of like length compare; a place outside, or half hidden on a date, has no value there."""
    write_stack(tmp_path, 16, DATES, links=2)
    stack = read_stack(tmp_path)
    grid = read_grid(stack.pairs[0].unwrapped)
    short = [p for p in stack.pairs if p.days < 25]
    for number, pair in enumerate(short):
        alter(pair.coherence, lambda values, level=0.5 + 0.05 * number: np.full_like(values, level))

    def hide(values):
        values[:, :] = 0.0  # nodata
        return values

    alter(short[2].coherence, hide)
    lon, lat = grid.to_lonlat(*grid.to_crs(np.array([20.5]), np.array([20.5])))
    places = [
        MeasuredPlace("circle", Circle(float(lon[0]), float(lat[0]), 200.0)),
        MeasuredPlace("far", Circle(float(lon[0]) + 5, float(lat[0]), 200.0)),
    ]
    found = measure_coherence(stack, grid, places)
    assert set(found) == {"circle"}
    expected = [(p.second_at, pytest.approx(0.5 + 0.05 * k, abs=1e-3)) for k, p in enumerate(short) if k != 2]
    assert [(row.at, row.value) for row in found["circle"]] == expected
    assert [row.since for row in found["circle"]] == [p.first_at for k, p in enumerate(short) if k != 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("wavelength_m = 0.0555", ""), "wavelength_m"),
        (lambda t: t + "colour = 3\n", "unknown key 'colour'"),
        (lambda t: t.replace('unwrapped = "', 'unwrapped = "../../', 1), "outside of the folder"),
        (lambda _: "not toml [", "TOML"),
        (lambda t: t.replace('from = "2025-01-03T00:00:00+00:00"', 'from = "2027-01-03"', 1), "not after its first"),
        (lambda t: t.replace("0.0555", "nan"), "nan is no wavelength"),
        (lambda t: t.replace("0.0555", "-0.0555"), "-0.0555 is no wavelength"),
        (lambda _: "wavelength_m = 0.05\npair = [1]\n", "at least one"),
        (lambda t: 'toward_positive = "false"\n' + t.replace("toward_positive", "# "), "without quotes, got 'false'"),
        (lambda t: 'reference = { longitude = "a", latitude = 1, radius_m = 2 }\n' + t, "reference needs"),
        (lambda t: t.replace("2025-01-03T00:00:00+00:00", "0001-01-01T00:00:00+14:00"), "no date or time"),
    ],
)
def test_a_manifest_that_cannot_be_meant(tmp_path, change, said):
    write_stack(tmp_path, 17, DATES[:3], size_px=8)
    manifest = tmp_path / "stack.toml"
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(ManifestError, match=said):
        read_stack(tmp_path)


@pytest.mark.parametrize(
    ("name", "tags", "said"),
    [
        ("20189999-20190101_unw.tif", {}, "no date or time"),
        ("a.tif", {"FIRST_DATE": "x", "SECOND_DATE": "y"}, "no date or time"),
        ("20180101-20180113_unw.tif", {"WAVELENGTH_METRES": "abc"}, "'abc' is no wavelength"),
        ("20180101-20180113_unw.tif", {}, "wavelength is not stated"),
    ],
)
def test_tags_that_cannot_be_meant(tmp_path, name, tags, said):
    write_geotiff(tmp_path / name, np.zeros((1, 8, 8), np.float32), grid_around(141.95, 42.73, 8, 10.0))
    with rasterio.open(tmp_path / name, "r+") as file:
        file.update_tags(**tags)
    with pytest.raises(ManifestError, match=said):
        read_stack(tmp_path)


@pytest.mark.soak
def test_the_measured_stack_sinks_in_the_east_and_stands_in_the_west(measured, tmp_path):
    """30 interferograms of 13 dates over Mexico City: the lake bed sinks, the western hills do not, nor does a hill."""
    folder = measured("insar-pyrate-cropA")
    found = measure_stack(StackRequest(folder=folder, reference=(-99.175, 19.40, 1500.0), out_dir=tmp_path))
    assert (found.pairs, len(found.dates)) == (30, 13)
    assert found.told_share > 0.85
    assert found.misfit_rad < 0.5
    assert found.noise_mm_per_year < 20
    assert -300 < found.rate_mm_per_year["p1"] < -200
    (zone,) = found.zones
    assert zone.kind == "away"
    sinking = shape(zone.geometry)
    assert sinking.contains(shapely.Point(-99.08, 19.41))
    assert not sinking.contains(shapely.Point(-99.17, 19.41))
    assert not sinking.contains(shapely.Point(-99.0845, 19.4400)), "the hill in the lake bed stands still"
    assert (tmp_path / "rate.png").stat().st_size > 1000
    # four pairs of 12 days; a city stays coherent, and nothing is lost on the newest of them
    dates = ["2018-03-19", "2018-03-31", "2018-04-12", "2018-05-18"]
    assert [f"{row.at:%Y-%m-%d}" for row in zone.coherence] == dates
    assert all(0.6 < row.value < 0.7 for row in zone.coherence)
    assert found.coherence_loss == ()


def test_the_shipped_network_marks_drawn_bowls_of_other_seeds(tmp_path):
    model = load_model(WEIGHTS)
    assert weights_path(WEIGHTS).stat().st_size < 10e6
    assert "unvalidated" in model.card["limits"][0]
    assert np.abs(wrap(np.linspace(-50, 50, 999))).max() <= np.pi
    images, masks = draw_phase_patches(424_242, 24, 64)
    threads = torch.get_num_threads()
    found = run_network(model.network, images, model.card["normalisation"], model.card["temperature"])
    assert torch.get_num_threads() == threads
    assert compute_scores(count_confusion(found >= model.card["threshold"], masks > 0))["f1"] > 0.75


@pytest.mark.soak
def test_rates_with_the_network_say_that_it_is_unvalidated(tmp_path):
    write_stack(tmp_path / "stack", 11, DATES[:4], size_px=32)
    found = measure_stack(StackRequest(folder=tmp_path / "stack", out_dir=tmp_path, network=WEIGHTS))
    assert found.to_json()["network"]["validated"] is False
    assert any("unvalidated" in w for w in found.warnings)
    assert (tmp_path / "moving.tif").is_file()


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
    gridded = grid_points(path, 80.0, tmp_path)
    raster, sigma, warnings = gridded.velocity, gridded.sigma, gridded.warnings
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
