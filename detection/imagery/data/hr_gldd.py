"""HR-GLDD (Meena et al. 2023): PlanetScope patches of ten events as six numpy arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches
from detection.imagery.errors import DataError, TrainingRecipeError

BANDS = ("B4", "B3", "B2", "B8")
"""Red, green, blue, near infrared; the second and fourth are sure, whether red or blue comes first is not said."""


def read(folder: Path, part: str) -> Patches:
    """Read `trainX.npy` (N x 128 x 128 x 4) and `trainY.npy` (N x 128 x 128 x 1), memory-mapped.

    `part`: `train`, `validation` (`val`) or `test`.
    """
    short = {"validation": "val"}.get(part, part)
    paths = [folder / f"{short}{letter}.npy" for letter in "XY"]
    for path in paths:
        if not path.is_file():
            raise TrainingRecipeError(f"{path}: the recipe's data are absent; name their folder with --data")
    try:
        images, masks = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
    except ValueError as error:
        raise DataError(f"{folder}: not plain numpy arrays ({error})") from None
    if images.ndim != 4 or images.shape[3] != len(BANDS):
        raise DataError(f"{paths[0]}: shape {images.shape}, expected N x rows x columns x {len(BANDS)}")
    if masks.shape[:3] != images.shape[:3]:
        raise DataError(f"{paths[1]}: shape {masks.shape} does not fit the images' {images.shape}")

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image = np.ascontiguousarray(images[position].transpose(2, 0, 1))
        mask = masks[position].reshape(masks.shape[1:3])
        return (image if image.dtype == np.uint8 else image.astype(np.float32)), (mask > 0.5).astype(np.uint8)

    return Patches(tuple(f"{short}-{number}" for number in range(len(images))), BANDS, load)
