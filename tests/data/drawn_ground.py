"""Synthetic images of bare scars on green ground, with outlines as an operator would draw them."""

import itertools
import json
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from scipy import ndimage

from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.components import outline_pixels
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import write_geotiff
from slopeward_lab.learning.labels import read_labels
from slopeward_lab.learning.records import LearningRequest, SceneWindow
from slopeward_lab.learning.scenes import find_scenes

BANDS = ("B4", "B3", "B2")
UTM = "EPSG:32632"


def draw_picture(seed: int, side_px: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (bands, H, W) and the mask of the scar, which is brighter in all bands. A field is darker."""
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.normal(0, 700, (3, side_px, side_px)), (0, 1, 1))
    image = np.array([900, 1200, 700])[:, None, None] + rough
    truth = np.zeros((side_px, side_px), bool)
    x, y = np.meshgrid(np.arange(side_px), np.arange(side_px))
    for scar in (True, False):
        column, row = rng.uniform(0.2 * side_px, 0.8 * side_px, 2)
        inside = (x - column) ** 2 + ((y - row) / 1.6) ** 2 < (0.14 * side_px) ** 2
        image[:, inside] += 500 if scar else -250
        truth |= inside & scar
    return np.clip(image, 1, None).astype(np.uint16), truth


def write_pictures(folder: Path, count: int, side_px: int = 32, bands: tuple[str, ...] = BANDS) -> Path:
    """Write images 1 km apart and `outlines.geojson` in UTM. Return the path of the outlines."""
    folder.mkdir(parents=True, exist_ok=True)
    features = []
    for number in range(count):
        image, truth = draw_picture(number, side_px)
        grid = Grid(Affine(10, 0, 600_000 + 1000 * number, 0, -10, 5_100_000), UTM, side_px, side_px)
        write_geotiff(folder / f"{number:03d}_20240506.tif", image[: len(bands)], grid, descriptions=bands)
        features += [
            {
                "type": "Feature",
                "properties": {},
                "geometry": shapely.geometry.mapping(map_outline(outline, grid.to_crs)),
            }
            for outline in outline_pixels(truth)
        ]
    return write_outlines(folder / "outlines.geojson", features)


def write_outlines(path: Path, features: list) -> Path:
    crs = {"type": "name", "properties": {"name": UTM}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def ask(folder: Path, outlines: Path, out: Path, **more) -> LearningRequest:
    """Return a request for a very short training on scenes and outlines."""
    labels, notes_of_labels = read_labels(outlines)
    settings = {"minutes": 0.01, "tile_px": 32, **more}
    return LearningRequest(find_scenes(folder), tuple(labels), out, "mine", notes=tuple(notes_of_labels), **settings)


def lay_tiles(side: int) -> list[SceneWindow]:
    """Return adjacent tiles of one scene."""
    places = itertools.product(range(side), repeat=2)
    boxes = ((k, j, (k * 0.01, j * 0.01, k * 0.01 + 0.01, j * 0.01 + 0.01)) for k, j in places)
    return [SceneWindow("one.tif", 128 * k, 128 * j, 128, box) for k, j, box in boxes]
