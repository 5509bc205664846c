"""Warnings of a result, and cautions of outlines on a single date."""

from collections import Counter

import numpy as np
import pytest
import rasterio

from detection.imagery.data.generate import write_scene
from detection.imagery.footprints.cautions import list_left_out_warnings
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions
from detection.reasons import split_explanation


@pytest.mark.parametrize(("rise_m", "is_advice"), [(0.5, True), (2.0, False)])
def test_outline_on_flat_ground_is_advice(tmp_path, rise_m, is_advice):
    """The elevation model rises by so many metres per pixel of 10 m: 2.9 and 11.3 degrees."""
    write_scene(tmp_path / "scene", 5, size_px=128)
    with rasterio.open(tmp_path / "scene" / "dem.tif", "r+") as dem:
        shape = dem.read(1).shape
        dem.write(np.broadcast_to(rise_m * np.arange(shape[1]), shape).astype(dem.dtypes[0]), 1)
    manifest = (tmp_path / "scene" / "scene.toml").read_text().split("[files]")[0]
    (tmp_path / "scene" / "scene.toml").write_text("complete = true\n" + manifest)
    polygons = detect(DetectionOptions(tmp_path / "scene", "generated"))["polygons"]
    assert polygons
    for polygon in polygons:
        parts = split_explanation(polygon["caution"]) if polygon["caution"] else ()
        assert ("caution.flat" in {part.code for part in parts}) == is_advice


@pytest.mark.parametrize(
    ("left_out", "is_all"),
    [(Counter(small=3), True), (Counter(small=3, hugging=2), False), (Counter(small=3, flat=1), False)],
)
def test_small_outlines_are_all_that_was_found_only_without_others(left_out, is_all):
    result = {"minimum_area_m2": 900.0, "polygons": [], "slope_gate_deg": 5.0}
    first, *_ = list_left_out_warnings(result, left_out, placed=True)
    assert first.startswith("3 outlines left out that are smaller than 900 m²")
    assert ("all that was found" in first) == is_all
