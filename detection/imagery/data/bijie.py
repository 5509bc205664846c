"""Bijie landslides (Ji et al. 2020): crops of many sizes, with and without a landslide."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.files import open_files
from detection.imagery.data.patches import Patches
from detection.imagery.errors import TrainingRecipeError

# Red, green, blue.
BANDS = ("B4", "B3", "B2")


def read(folder: Path, part: str) -> Patches:
    """Read the original layout or that of copies, at native sizes.

    The original layout is `landslide/image|mask/*.png` and `non-landslide/image/*.png`. It has no parts, and `part` is
    ignored. Crops in `non-landslide` have no mask and show no landslide. The layout of copies is
    `train|val/images|masks/{ls,nls}_NNNN.png`.

    Raises:
        TrainingRecipeError: there are no such images, or an image of a landslide has no mask.
    """
    archives = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    files = open_files(archives[0] if len(archives) == 1 else folder)
    part_folder = {"validation": "val"}.get(part, part)
    images = files.find_in_folders(f"{part_folder}/images", "landslide/image", "non-landslide/image", suffix=".png")
    masks = set(files.find_in_folders(f"{part_folder}/masks", "landslide/mask", suffix=".png").values())
    if not images:
        raise TrainingRecipeError(f"{folder}: no images of the Bijie layout for {part!r}")
    pairs = []
    for image in images.values():
        path = PurePosixPath(image)
        mask = str(path.parent.parent / path.parent.name.replace("image", "mask") / path.name)
        if mask not in masks and "non-landslide" not in path.parts:
            raise TrainingRecipeError(f"{folder}: {image} has no mask {mask}")
        pairs.append((path.stem, image, mask if mask in masks else None))

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        _, image_name, mask_name = pairs[position]
        image = files.read_picture(image_name)[:3]
        if mask_name is None:
            return image, np.zeros(image.shape[1:], np.uint8)
        return image, (files.read_picture(mask_name)[0] > 0).astype(np.uint8)

    return Patches(tuple(pair[0] for pair in pairs), BANDS, load)
