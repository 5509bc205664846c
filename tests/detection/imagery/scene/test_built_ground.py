"""Built ground: outlines in a town are advice, and those in forest are not."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.raster.grid import grid_around
from detection.imagery.scene.built_ground import BuiltGround, describe_built_ground
from detection.imagery.scene.white import measure_brightness
from detection.reasons import Reason, split_explanation

SIZE_PX = 200
FOREST = (340.0, 500.0, 300.0)
DEBRIS = (1400.0, 1100.0, 800.0)
ROOF = (1300.0, 1280.0, 1350.0)


def draw_town_in_forest() -> np.ndarray:
    """Red, green and blue: forest with debris in the west, scattered roofs with bare ground in the east."""
    rng = np.random.default_rng(3)
    values = np.array(FOREST)[:, None, None] * rng.uniform(0.8, 1.2, (SIZE_PX, SIZE_PX))
    roofs = rng.random((SIZE_PX, SIZE_PX)) < 0.2
    roofs[:, :120] = False
    values = np.where(roofs, np.array(ROOF)[:, None, None], values)
    for column in (20, 150):
        values[:, 90:110, column : column + 20] = np.array(DEBRIS)[:, None, None]
    return values


def make_built_ground(values: np.ndarray, pixel_m: float = 10.0) -> BuiltGround:
    valid = np.ones(values.shape[1:], bool)
    light = measure_brightness(values.reshape(3, -1))
    assert light is not None

    def read(column, row, width, height):
        window = slice(row, row + height), slice(column, column + width)
        return values[(slice(None), *window)], valid[window]

    return BuiltGround(read, grid_around(141.9, 42.7, SIZE_PX, pixel_m), light, pixel_m)


def test_outline_in_town_lies_on_built_ground_and_outline_in_forest_does_not():
    built = make_built_ground(draw_town_in_forest())
    outlines = np.array([shapely.box(150, 90, 170, 110), shapely.box(20, 90, 40, 110), shapely.box(300, 0, 310, 9)])
    assert built.contains(outlines).tolist() == [True, False, False]
    assert built.share == pytest.approx(0.48, abs=0.05)
    assert built.area_m2 == pytest.approx(built.share * SIZE_PX**2 * 100)


def test_reach_is_measured_in_metres():
    """Grey ground is 80 pixels away: within 300 m where pixels have 2 m."""
    outline = np.array([shapely.box(20, 90, 40, 110)])
    assert make_built_ground(draw_town_in_forest(), pixel_m=2.0).contains(outline).tolist() == [True]


def test_brightness_and_haze_do_not_change_built_ground():
    outlines = np.array([shapely.box(150, 90, 170, 110), shapely.box(20, 90, 40, 110)])
    hazy = 0.4 * draw_town_in_forest() + np.array([100.0, 300.0, 700.0])[:, None, None]
    assert make_built_ground(hazy).contains(outlines).tolist() == [True, False]


def test_built_ground_is_reported_if_outlines_lie_on_it_or_if_it_is_large():
    town = make_built_ground(draw_town_in_forest())
    (reason,) = describe_built_ground(town, "2026-05-01", 0)
    assert (reason.code, reason.values["outlines"]) == ("change.built", 0)
    forest = make_built_ground(np.repeat(draw_town_in_forest()[:, :, :100], 2, axis=2))
    assert describe_built_ground(forest, "2026-05-01", 0) == []
    assert describe_built_ground(None, "2026-05-01", 0) == []
    assert len(describe_built_ground(forest, "2026-05-01", 2)) == 1


@pytest.mark.one_case_in(2)
@pytest.mark.data
@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize(
    "weights",
    ["landslide4sense", "generated", pytest.param("landslide4sense-standard", marks=pytest.mark.soak)],
)
def test_every_outline_in_a_city_is_advice(measured, tmp_path: Path, weights: str) -> None:
    scene = tmp_path / "city"
    scene.mkdir()
    with rasterio.open(measured("chattogram-s2/north.tif")) as source:
        profile = source.profile
        values = source.read()
    with rasterio.open(scene / "city.tif", "w", **profile) as target:
        target.write(values)
    bands = "\n".join(f'{name} = {{ file = "city.tif", index = {k} }}' for k, name in enumerate(("B4", "B3", "B2"), 1))
    (scene / "scene.toml").write_text(f"acquired_at = 2022-01-01T04:30:00Z\n[bands]\n{bands}\n")
    result = detect(DetectionOptions(scene, weights))
    assert len(result["polygons"]) >= 10
    cautions = [polygon["caution"] for polygon in result["polygons"]]
    assert all(cautions)
    codes = [{part.code for part in split_explanation(caution)} for caution in cautions]
    assert np.mean(["caution.built" in found for found in codes]) > 0.99
    reported = [one for one in result["warnings"] if isinstance(one, Reason) and one.code == "change.built"]
    assert [round(reason.values["share"]) for reason in reported] == [42]
