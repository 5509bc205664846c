"""Snow on a measured scene: outlines on it are advice, and those on fresh slides keep their vote."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
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
    marked_m2 = sum(one["area_m2"] for one in polygons if is_white(one))
    (white,) = (one for one in result["warnings"] if isinstance(one, Reason) and one.code == "change.white")
    return marked_m2 / sum(one["area_m2"] for one in polygons), white.values["area"]


def is_white(polygon: Any) -> bool:
    parts = split_explanation(polygon["caution"]) if polygon["caution"] else ()
    return any(isinstance(part, Reason) and part.code == "caution.white" for part in parts)


def test_outlines_on_snow_are_advice_and_those_on_fresh_slides_are_not(measured, tmp_path: Path) -> None:
    folder = measured("hokkaido-2018-s2-scene")
    share, white_km2 = measure_white(folder, "pre", tmp_path / "snow")
    assert share > 0.75
    assert white_km2 == pytest.approx(5.1, abs=0.3), "40 % of the scene has no values, and is not white"
    assert measure_white(folder, "post", tmp_path / "slides")[0] < 0.05
