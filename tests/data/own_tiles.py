"""Synthetic tiles and masks in the layout for a user's own data."""

from pathlib import Path

import numpy as np
from affine import Affine

from detection.imagery.data.generate import draw_patches
from tests.data.surveys.rasters import write_raster

BANDS = ("B4", "B3", "B2")
SIZE = 48


def write_tiles(root: Path, count: int, pixel_m: float | None) -> None:
    """Write tiles of reflectances and masks in the layout for own data, in UTM or without location."""
    for part, seed in (("train", 5), ("validation", 6)):
        images, masks = draw_patches(seed, count, SIZE, BANDS)
        for number in range(count):
            for kind, values in (("images", images[number]), ("masks", masks[number][None])):
                write_tile(root / part / kind / f"tile-{number:02}.tif", values, pixel_m, number)


def write_tile(path: Path, values: np.ndarray, pixel_m: float | None, number: int = 0) -> None:
    place = {}
    if pixel_m is not None:
        left = 600_000 + number * SIZE * pixel_m
        place = {"crs": "EPSG:32632", "transform": Affine(pixel_m, 0, left, 0, -pixel_m, 5_100_000)}
    write_raster(path, values, BANDS, "2024-05-06T00:00:00Z", **place)
