"""The area that the default weights mark hardly depends on the position of the ground relative to the pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.options import DetectionOptions

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("one_torch_thread")]

SIDE_PX = 256
CORNERS = ((250, 350), (310, 450), (370, 550))  # row and column of parts of the scene with many slides
MOST_DIFFERENCE = 0.08  # Largest difference, as a share of the marked area of all parts.
PLACES_PX = np.arange(0, SIDE_PX, 1.03).astype(int)

Pixels = NDArray[np.uint16]
WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "3 px and 5 px later": lambda pixels: pixels[..., 3:, 5:],
    "a rim of 7 px without data": lambda pixels: np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [(7, 7)] * 2),
    "pixels of 103 %": lambda pixels: pixels[..., PLACES_PX[:, None], PLACES_PX],
}


def mark(path: Path, bands: Pixels) -> NDArray[np.bool_]:
    """Return which pixels of an image with bands B4, B3, B2 are marked."""
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "nodata": 0, "crs": "EPSG:32654"}
    transform = Affine(10, 0, 570_000, 0, -10, 4_730_000)
    size = {"width": bands.shape[2], "height": bands.shape[1]}
    with rasterio.open(path, "w", **profile, **size, transform=transform) as target:
        target.write(bands)
        target.descriptions = ("B4", "B3", "B2")
        target.update_tags(ACQUIRED_AT="2018-10-25T01:00:00Z")
    result = detect(DetectionOptions(scene_path=path, weights="landslide4sense-standard", out_dir=path.with_suffix("")))
    with rasterio.open(result["outputs"]["mask"]) as mask:
        return np.asarray(mask.read(1) == 1)


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
def test_marked_area_hardly_depends_on_the_position_of_the_pixels(measured, tmp_path: Path, way: str) -> None:
    folder = measured("hokkaido-2018-s2-scene")
    bands = []
    for name in ("B4", "B3", "B2"):
        with rasterio.open(folder / f"post_event_{name}.tif") as raster:
            bands.append(raster.read(1))
    scene = np.stack(bands)
    expected_px = marked_px = 0
    for number, (row, column) in enumerate(CORNERS):
        part = scene[:, row : row + SIDE_PX, column : column + SIDE_PX]
        expected_px += int(WAYS[way](mark(tmp_path / f"{number}.tif", part)).sum())
        marked_px += int(mark(tmp_path / f"{number}-changed.tif", WAYS[way](part)).sum())
    assert expected_px > 5_000
    assert marked_px == pytest.approx(expected_px, rel=MOST_DIFFERENCE)
