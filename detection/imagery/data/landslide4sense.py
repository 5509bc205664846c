"""Landslide4Sense patches (Ghorbanzadeh et al. 2022): 14 bands in HDF5, or true-colour PNG with a stretch per patch."""

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.files import PART_BYTES, open_files
from detection.imagery.data.patches import Patches
from detection.imagery.errors import DataError, TrainingRecipeError

BANDS = (*(f"B{number}" for number in range(1, 13)), "slope", "dem")
"""Channels of `img`: Sentinel-2 B1 to B12, slope, elevation; divided by a constant per band."""
SLOPE_UNIT_DEG = 20.2923
"""Degrees of one unit of `slope`: in 12 patches its values are whole multiples of 1/20.2923, 75 of them from 0 to 75.
A fit to the slopes that Horn's formula gives for `dem` on even ground agrees (20.5 to 21.3 degrees)."""
COLOURS = ("B4", "B3", "B2")
"""Channels of the PNG form: value = floor(255 * band / greatest value of the three bands in the patch)."""


def read_png(folder: Path, part: str) -> Patches:
    """Read `<part>.zip` or `<part>/`: `images/image_N.png` (RGBA, alpha dropped) and `masks/mask_N.png`; B4, B3, B2.

    The number N is the place of the patch among the original names sorted as text.

    `part`: `train` or `validation`.

    Raises:
        TrainingRecipeError: there are no pairs of image and mask.
    """
    files = open_files(_find_part(folder, part))
    images, masks = files.below("images", suffix=".png"), files.below("masks", suffix=".png")
    pairs = _pair(images, masks, folder)

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = (files.picture(name) for name in pairs[position][1:])
        return image[:3], (mask[0] > 127).astype(np.uint8)

    return Patches(tuple(pair[0] for pair in pairs), COLOURS, load)


def read_hdf5(folder: Path, part: str) -> Patches:
    """Read `img/image_N.h5` (key `img`, rows x columns x 14) and `mask/mask_N.h5` (key `mask`, 0 and 1)."""
    published = {"train": "TrainData", "validation": "ValidData", "test": "TestData"}.get(part, part)
    root = next((folder / name for name in (published, part) if (folder / name).exists()), folder)
    files = open_files(root)
    every = [name for name in files.names if name.lower().endswith(".h5")]
    images = {name.removesuffix(".h5"): name for name in every if "/image_" in f"/{name}"}
    masks = {name.removesuffix(".h5"): name for name in every if "/mask_" in f"/{name}"}
    pairs = _pair(images, masks, root)

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        _, image_name, mask_name = pairs[position]
        image = _read_key(files.read(image_name), "img", image_name)
        if image.ndim != 3 or image.shape[2] != len(BANDS):
            raise DataError(f"{image_name}: `img` of shape {image.shape}, expected rows x columns x {len(BANDS)}")
        mask = _read_key(files.read(mask_name), "mask", mask_name)
        return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32), np.asarray(mask, np.uint8)

    return Patches(tuple(pair[0] for pair in pairs), BANDS, load, slope_unit_deg=SLOPE_UNIT_DEG)


def _find_part(folder: Path, part: str) -> Path:
    archive = folder / f"{part}.zip"
    return archive if archive.is_file() or not (folder / part).is_dir() else folder / part


def _pair(images: dict[str, str], masks: dict[str, str], root: Path) -> list[tuple[str, str, str]]:
    by_key = {_key(name): file for name, file in masks.items()}
    pairs = [
        (PurePosixPath(name).name, file, by_key[_key(name)]) for name, file in images.items() if _key(name) in by_key
    ]
    if not pairs:
        raise TrainingRecipeError(f"{root}: no pair of image and mask of the Landslide4Sense layout")
    return pairs


def _key(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    above = path.parent.parts
    above = above[:-1] if above and above[-1].lower() in {"img", "image", "images", "mask", "masks"} else above
    return *above, path.name.rsplit("_", 1)[-1]


def _read_key(content: bytes, key: str, name: str) -> NDArray[Any]:
    try:
        import h5py
    except ImportError:
        raise TrainingRecipeError("reading HDF5 needs h5py: pip install 'slopeward[imagery]'") from None
    try:
        with h5py.File(io.BytesIO(content)) as source:
            if key not in source:
                raise DataError(f"{name}: no key {key!r}; there are: {', '.join(source) or 'none'}")
            if not isinstance(source[key], h5py.Dataset) or source[key].nbytes > PART_BYTES:
                raise DataError(f"{name}: {key!r} is no array of at most {PART_BYTES >> 20} MiB")
            return np.asarray(source[key])
    except OSError:
        raise DataError(f"{name}: not HDF5") from None
