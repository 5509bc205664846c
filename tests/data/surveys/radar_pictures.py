"""Pictures of radar under the names of colours, as people export them: a family over looks, units, bands and grain."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from affine import Affine
from scipy import ndimage

from tests.data.surveys.rasters import COLOURS, write_raster


class Radar(NamedTuple):
    """How a picture of radar was made."""

    looks: int
    shared: float
    unit: str
    bits: int
    third: str
    smoothed_px: float
    fields: bool
    by_band: bool


UNITS, THIRDS = ("amplitude", "intensity", "decibels"), ("mean", "ratio", "again")
GRAINS = (0.0, 0.6, 0.8, 1.2)
KINDS = product((1, 2, 4, 8), (0.0, 0.5, 0.8, 0.9, 1.0), UNITS, (8, 16), THIRDS, GRAINS, (False, True), (False, True))
FAMILY = tuple(Radar(*one) for one in KINDS)


def choose(count: int, seed: int = 0) -> list[Radar]:
    """So many of the family, drawn by lot."""
    return [FAMILY[k] for k in np.random.default_rng(seed).choice(len(FAMILY), count, replace=False)]


def draw_radar(how: Radar, side_px: int = 96, seed: int = 7) -> np.ndarray:
    """The three bands in the numbers of their file."""
    rng = np.random.default_rng(seed)
    ground = _draw_ground(rng, side_px, fields=how.fields)
    one, other = (rng.gamma(how.looks, 1 / how.looks, ground.shape) for _ in range(2))
    if how.smoothed_px:
        one, other = (ndimage.gaussian_filter(speckle, how.smoothed_px) for speckle in (one, other))
    vv, vh = one * ground, 0.3 * (how.shared * one + (1 - how.shared) * other) * ground
    third = {"mean": (vv + vh) / 2, "ratio": vv / np.maximum(vh, 1e-6), "again": vv}[how.third]
    bands = np.stack([vv, vh, third])
    if how.unit == "amplitude":
        bands = np.sqrt(bands)
    if how.unit == "decibels":
        bands = 10 * np.log10(np.maximum(bands, 1e-6)) + 40
    if how.by_band or how.bits == 8:
        axes = (1, 2) if how.by_band else None
        low, high = np.percentile(bands, [1, 99], axis=axes, keepdims=True)
        low = low if how.by_band or how.unit == "decibels" else 0.0
        bands = (bands - low) / np.maximum(high - low, 1e-3) * 254 + 1
    else:
        bands = bands * (100 if how.unit == "decibels" else 2000)
    most = 255 if how.bits == 8 else 65_535
    return bands.clip(1, most).astype(np.uint8 if how.bits == 8 else np.uint16)


def _draw_ground(rng: np.random.Generator, side_px: int, *, fields: bool) -> np.ndarray:
    relief = ndimage.gaussian_filter(rng.normal(size=(side_px, side_px)), 8)
    relief /= relief.std()
    if fields:
        places, levels = rng.uniform(0, side_px, (40, 2)), rng.normal(size=40)
        here = np.moveaxis(np.indices(relief.shape), 0, -1)[:, :, None]
        relief = 0.5 * relief + 0.8 * levels[((here - places) ** 2).sum(axis=-1).argmin(axis=-1)]
    return np.exp(0.4 * relief)


def write_picture(path: Path, bands: np.ndarray, pixel_m: float, *, acquired_at: str = "2024-05-06T00:00:00Z") -> Path:
    """Three bands named red, green and blue, with a place and a date and no declared nodata."""
    place = Affine(pixel_m, 0, 500_000, 0, -pixel_m, 4_730_000)
    return write_raster(path, bands, COLOURS, acquired_at, crs="EPSG:32654", transform=place)
