"""What may change about a patch without changing the truth: turns, flips, light, a blanked side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import as_values


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much patches vary.

    Attributes:
        brightness: range of the factor on a whole patch; (.5, 2) where scenes will be stretched as a whole but the
            patches were stretched one by one.
        shift: greatest shift of one band, in units of the image values.
        blank_share: share of patches of which a half plane is blanked as nodata.
        turns: whether patches are turned and flipped.
    """

    brightness: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.04
    blank_share: float = 0.0
    turns: bool = True


def vary(
    image: NDArray[Any],
    mask: NDArray[np.uint8],
    normalisation: tuple[NDArray[np.float32], NDArray[np.float32]],
    how: Augmentation,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return one varied, normalised patch and its truth; a quarter turn needs a square patch."""
    mean, std = normalisation
    values = as_values(image) * np.float32(_factor(rng, how.brightness))
    values += rng.uniform(-how.shift, how.shift, (len(values), 1, 1)).astype(np.float32)
    values = (values - mean[:, None, None]) / std[:, None, None]
    truth = mask.astype(np.int64)
    if rng.random() < how.blank_share:
        blank = _half_plane(rng, truth.shape)
        values[:, blank] = 0
        truth[blank] = 0
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    if how.turns:
        turns = turns if truth.shape[0] == truth.shape[1] else turns // 2 * 2
        values, truth = np.rot90(values, turns, (1, 2)), np.rot90(truth, turns)
        if flip:
            values, truth = values[:, :, ::-1], truth[:, ::-1]
    return np.ascontiguousarray(values), np.ascontiguousarray(truth)


def _factor(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A factor between two bounds, as often a halving as a doubling where the bounds allow it."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _half_plane(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    angle, rows, columns = rng.uniform(0, 2 * np.pi), *np.indices(shape)
    distance = (columns / shape[1] - 0.5) * np.cos(angle) + (rows / shape[0] - 0.5) * np.sin(angle)
    return np.asarray(distance > rng.uniform(-0.1, 0.4))
