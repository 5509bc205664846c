"""Drawn ground that is taken for landslides and is none: bare soil, gravel bars along rivers, roads, clouds."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.generate import BANDS, REFLECTANCE_SCALE, SCAR, WATER, draw_scene
from detection.imagery.errors import TrainingRecipeError

# Few drawings, used again and again with other light, size and place.
POOL = 48


def draw_negative(seed: int, size_px: int, bands: tuple[str, ...]) -> NDArray[np.float32]:
    """Draw one patch without a landslide, bands x H x W in reflectance.

    To the fields, roads, rivers and clouds of a drawn scene come bodies of bare soil and a river between gravel bars.

    Raises:
        TrainingRecipeError: a band that is not drawn.

    >>> draw_negative(1, 32, ("B4", "B3")).shape
    (2, 32, 32)
    """
    if missing := [name for name in bands if name not in BANDS]:
        raise TrainingRecipeError(f"negative_share: no ground is drawn in {missing[0]}; drawn are {', '.join(BANDS)}")
    rng = np.random.default_rng([seed, 2])
    scene = draw_scene(seed, size_px, scars=0, clouds=rng.random() < 0.4)
    ground = np.stack([scene.bands[name] for name in bands]) / np.float32(REFLECTANCE_SCALE)
    soil, water = (colour[[BANDS.index(name) for name in bands]][:, None, None] for colour in (SCAR, WATER))
    bare = soil * rng.uniform(0.7, 1.6) * (1 + 0.1 * rng.standard_normal((1, size_px, size_px)))
    if rng.random() < 0.6:
        patchy = ndimage.gaussian_filter(rng.standard_normal((size_px, size_px)), rng.uniform(2, 8), mode="wrap")
        ground = np.where(patchy > np.quantile(patchy, rng.uniform(0.85, 0.98)), bare, ground)
    if rng.random() < 0.6:
        away = _distance_to_river(rng, size_px)
        half, bar = rng.uniform(0.7, 3.0), rng.uniform(2.0, 8.0)
        ground = np.where(away < half + bar, bare, ground)
        ground = np.where(away < half, water, ground)
    return np.asarray(ground, np.float32)


def _distance_to_river(rng: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    """Pixels from the middle of a winding line across the patch."""
    rows, columns = np.indices((size_px, size_px), dtype=np.float64)
    along, across = (rows, columns) if rng.random() < 0.5 else (columns, rows)
    bends = rng.uniform(0, 0.15) * size_px * np.sin(along / size_px * rng.uniform(2, 9) + rng.uniform(0, 6))
    return np.asarray(abs(across - rng.uniform(0.1, 0.9) * size_px - bends))
