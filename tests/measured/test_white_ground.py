"""On a measured scene, outlines on snow are advice, and outlines on fresh landslides keep their vote."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely

from detection.imagery.data.landslide4sense import read_png
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.scene.white import COLOURS
from detection.imagery.scene.white_ground import ColourImage, open_white_ground
from detection.reasons import Reason, split_explanation

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("one_torch_thread")]


def measure_white(folder: Path, prefix: str, scene: Path) -> tuple[float, float]:
    """Return the share of the marked area that lies on or beside white ground, and the white area in km²."""
    scene.mkdir()
    for band in ("B2", "B3", "B4"):
        shutil.copy(folder / f"{prefix}_event_{band}.tif", scene / f"{band}.tif")
    bands = "\n".join(f'{band} = "{band}.tif"' for band in ("B2", "B3", "B4"))
    (scene / "scene.toml").write_text(f'acquired_at = "2018-07-01T01:30:00Z"\n[bands]\n{bands}\n')
    result = detect(DetectionOptions(scene_path=scene, weights="landslide4sense-standard"))
    polygons = result["polygons"]
    marked_m2 = sum(polygon["area_m2"] for polygon in polygons if is_white(polygon))
    (white,) = (w for w in result["warnings"] if isinstance(w, Reason) and w.code == "change.white")
    return marked_m2 / sum(polygon["area_m2"] for polygon in polygons), white.values["area"]


def is_white(polygon: Any) -> bool:
    parts = split_explanation(polygon["caution"]) if polygon["caution"] else ()
    return any(isinstance(part, Reason) and part.code == "caution.white" for part in parts)


@pytest.mark.soak
def test_outlines_on_snow_are_advice_and_those_on_fresh_slides_are_not(measured, tmp_path: Path) -> None:
    folder = measured("hokkaido-2018-s2-scene")
    share, white_km2 = measure_white(folder, "pre", tmp_path / "snow")
    assert share > 0.75
    assert white_km2 == pytest.approx(5.1, abs=0.3), "the 40 % of the scene without values is not white"
    assert measure_white(folder, "post", tmp_path / "slides")[0] < 0.05


@pytest.mark.soak
def test_landslides_in_a_mosaic_of_stretched_patches_are_not_taken_for_white_ground(measured) -> None:
    """Each patch was stretched by its own maximum, so pale ground of one patch is as bright as snow in another."""
    patches = read_png(measured("landslide4sense-rgb"), "validation").select_bands(COLOURS)
    side = 10
    pairs = [patches.read(number) for number in range(side * side)]
    rows = [pairs[start : start + side] for start in range(0, len(pairs), side)]
    values = np.concatenate([np.concatenate([pair.image for pair in row], axis=2) for row in rows], axis=1)
    truth = np.concatenate([np.concatenate([pair.mask for pair in row], axis=1) for row in rows], axis=0)
    place = grid_around(141.95, 42.73, 8, 10.0)
    grid = Grid(place.transform, place.crs_wkt, values.shape[2], values.shape[1])

    def read(column: int, row: int, width: int, height: int) -> Any:
        window = np.s_[row : row + height, column : column + width]
        return values[:, *window], np.ones((height, width), bool)

    sample = values.reshape(3, -1)[:, ::7]
    image = ColourImage(COLOURS, 10.0, grid, read, lambda: (sample, 1.0), lambda: 100.0)
    white, reasons = open_white_ground(image, "2018-10-01")
    assert white is not None
    assert reasons == []
    landslides = np.asarray(truth == 1, np.uint8)
    shapes = rasterio.features.shapes(landslides, mask=landslides > 0, connectivity=8)
    outlines = np.array([shapely.geometry.shape(outline) for outline, _ in shapes])
    areas = shapely.area(outlines)
    assert areas.sum() > 50_000
    assert areas[white.find_beside(outlines)].sum() / areas.sum() < 0.085
