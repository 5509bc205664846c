"""Cautions of outlines on a single date."""

import numpy as np
import pytest
import rasterio

from detection.imagery.data.generate import write_scene
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
