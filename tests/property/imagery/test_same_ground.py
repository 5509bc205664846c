"""The same ground marks the same area wherever it lies on the grid of its picture: by the default weights."""

from pathlib import Path

import numpy as np
import rasterio

from detection.imagery.data.generate import draw_scene
from detection.imagery.footprints.probabilities import TilingPlan
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.inference import Segmenter
from detection.imagery.raster.grid import grid_around
from tests.data.asked_detection import detect
from tests.data.surveys.radar_pictures import write_picture
from tests.data.surveys.rasters import read_values

WEIGHTS = "landslide4sense-standard"
SEEDS, SIDE_PX, PIXEL_M = range(2), 256, 10.0
MOST_APART = 0.08  # of the area of all scenes together
LARGER = np.arange(0, SIDE_PX, 1.03).astype(int)

Pixels = np.ndarray
WAYS = {
    "3, 5 px later": lambda pixels: pixels[..., 3:, 5:],
    "a rim of 7 px": lambda pixels: np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [(7, 7)] * 2),
    "pixels of 103 %, each with the value of the nearest": lambda pixels: pixels[..., LARGER[:, None], LARGER],
}


def draw_ground(seed: int) -> Pixels:
    """Drawn ground with scars, red, green and blue."""
    scene = draw_scene(seed + 40, SIDE_PX, scars=6)
    return np.stack([scene.bands[name] for name in ("B4", "B3", "B2")]).astype(np.uint16)


def mark(path: Path, bands: Pixels) -> Pixels:
    """What is marked of a picture whose nodata is 0."""
    with rasterio.open(write_picture(path, np.ascontiguousarray(bands), PIXEL_M), "r+") as target:
        target.nodata = 0
    detect({"scene_path": str(path), "weights": WEIGHTS, "out_dir": str(path.parent / path.stem)})
    return read_values(path.parent / path.stem / "mask.tif", 1) == 1


def measure(folder: Path) -> dict[str, float]:
    """By how much the marked area of all scenes differs, by the way in which their ground lies."""
    ground = [draw_ground(seed) for seed in SEEDS]
    marked = [mark(folder / f"as-it-lies-{seed}.tif", one) for seed, one in zip(SEEDS, ground, strict=True)]
    assert all(one.sum() > 300 for one in marked)
    apart = {}
    for number, (name, way) in enumerate(WAYS.items()):
        new = sum(int(mark(folder / f"{number}-{s}.tif", way(one)).sum()) for s, one in zip(SEEDS, ground, strict=True))
        apart[name] = new / sum(int(way(one).sum()) for one in marked) - 1
    return apart


def test_the_same_ground_marks_the_same_area(tmp_path):
    found = measure(tmp_path)
    assert max(map(abs, found.values())) < MOST_APART, found


def test_a_small_scene_is_the_mean_of_two_looks_and_a_large_one_is_looked_at_once():
    segmenter = Segmenter(load_model(WEIGHTS))
    rng = np.random.default_rng(4)
    values, valid = rng.normal(size=(3, 70, 52)).astype(np.float32), rng.random((70, 52)) < 0.97
    looks = segmenter._network.stride // 2
    around = [(looks, 0), (looks, 0)]
    moved = segmenter.class_probabilities(np.pad(values, [(0, 0), *around]), np.pad(valid, around))[:, looks:, looks:]
    once = segmenter.class_probabilities(values, valid)
    assert np.abs(once - moved).max() > 0.01
    parts = [(values[:, :33], valid[:33]), (values[:, 33:], valid[33:])]
    for answer in ([segmenter.class_probabilities(values, valid, again=True)], segmenter.stream(parts, again=True)):
        assert np.abs(np.concatenate(list(answer), axis=1) - (once + moved) / 2).max() < 1e-5
    grids = [grid_around(8.0, 46.0, side, PIXEL_M) for side in (1024, 1025)]
    assert [TilingPlan("rows", 2048, 112, 16).looks_again(grid) for grid in grids] == [True, False]
    assert not TilingPlan("hann", 128, 0, 16).looks_again(grids[0])
