"""Landslide4Sense patches (Ghorbanzadeh et al. 2022): 14 bands in HDF5, or true-colour PNG with a stretch per patch."""

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.files import FILE_BYTES_MOST, open_files
from detection.imagery.data.patches import Patches
from detection.imagery.errors import DataError, TrainingRecipeError

# Channels of `img`: Sentinel-2 B1 to B12, slope and elevation, each divided by a constant.
BANDS = (*(f"B{number}" for number in range(1, 13)), "slope", "dem")
# Degrees of one unit of `slope`. In 12 patches its values are whole multiples of 1/20.2923, 75 of them from 0 to 75.
# The slopes that Horn's formula gives for `dem` on even ground agree (20.5 to 21.3 degrees).
SLOPE_UNIT_DEG = 20.2923
# Channels of the PNG files: value = floor(255 * band / greatest value of the three bands in the patch).
COLOURS = ("B4", "B3", "B2")


def read_png(folder: Path, part: str) -> Patches:
    """Read `<part>.zip` or `<part>/`: `images/image_N.png` (RGBA, alpha dropped) and `masks/mask_N.png`; B4, B3, B2.

    The number N is the position of the patch among the original names, sorted as text.

    `part`: `train` or `validation`.

    Raises:
        TrainingRecipeError: there are no pairs of image and mask.
    """
    files = open_files(_find_part(folder, part))
    images, masks = files.find_in_folders("images", suffix=".png"), files.find_in_folders("masks", suffix=".png")
    pairs = _pair(images, masks, folder)

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = (files.read_picture(name) for name in pairs[position][1:])
        return image[:3], (mask[0] > 127).astype(np.uint8)

    return Patches(tuple(pair[0] for pair in pairs), COLOURS, load)


def read_hdf5(folder: Path, part: str) -> Patches:
    """Read `img/image_N.h5` (key `img`, rows x columns x 14) and `mask/mask_N.h5` (key `mask`, 0 and 1)."""
    published = {"train": "TrainData", "validation": "ValidData", "test": "TestData"}.get(part, part)
    root = next((folder / name for name in (published, part) if (folder / name).exists()), folder)
    files = open_files(root)
    h5_names = [name for name in files.names if name.lower().endswith(".h5")]
    images = {name.removesuffix(".h5"): name for name in h5_names if "/image_" in f"/{name}"}
    masks = {name.removesuffix(".h5"): name for name in h5_names if "/mask_" in f"/{name}"}
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
    masks_by_key = {_find_pair_key(name): file for name, file in masks.items()}
    pairs = []
    for name, image_file in images.items():
        mask_file = masks_by_key.get(_find_pair_key(name))
        if mask_file is not None:
            pairs.append((PurePosixPath(name).name, image_file, mask_file))
    if not pairs:
        raise TrainingRecipeError(f"{root}: no pair of image and mask of the Landslide4Sense layout")
    return pairs


def _find_pair_key(name: str) -> tuple[str, ...]:
    """Return what the names of an image and its mask share: the folder above, and the number."""
    path = PurePosixPath(name)
    folders = path.parent.parts
    if folders and folders[-1].lower() in {"img", "image", "images", "mask", "masks"}:
        folders = folders[:-1]
    return *folders, path.name.rsplit("_", 1)[-1]


def _read_key(content: bytes, key: str, name: str) -> NDArray[Any]:
    try:
        import h5py
    except ImportError:
        raise TrainingRecipeError("reading HDF5 needs h5py: pip install 'slopeward[imagery]'") from None
    try:
        with h5py.File(io.BytesIO(content)) as source:
            if key not in source:
                raise DataError(f"{name}: no key {key!r}; there are: {', '.join(source) or 'none'}")
            if not isinstance(source[key], h5py.Dataset) or source[key].nbytes > FILE_BYTES_MOST:
                raise DataError(f"{name}: {key!r} is no array of at most {FILE_BYTES_MOST >> 20} MiB")
            return np.asarray(source[key])
    except OSError:
        raise DataError(f"{name}: not HDF5") from None
