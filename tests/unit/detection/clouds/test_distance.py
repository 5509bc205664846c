"""M3C2 on drawn clouds: known shifts and slides, and whether still ground lies within the level of detection."""

import json
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from detection.clouds.distance import CloudDistanceRequest, compare_clouds
from detection.clouds.header import CloudError, NoPointsError
from detection.imagery.errors import AoiError
from tests.data.surveys.clouds import ORIGIN, draw, write_cloud
from tests.data.surveys.rasters import write_raster

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
