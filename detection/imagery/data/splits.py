"""Split patches into a fit part and a held part, and find patches of two sets that show the same ground."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values, resize_bands
from detection.imagery.errors import TrainingRecipeError

# A split without a held part.
ALL = "all"
KINDS = ("seeded", "folders", ALL)
# Side to which patches are shrunk before `find_twins` compares them.
THUMBNAIL_PX = 16
# Least correlation of patches that show the same ground.
TWIN_CORRELATION = 0.99

Parts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the patches of the fit part and of the held part."""


def split_held(total: int, held_share: float, seed: int) -> Parts:
    """Split positions 0..total-1 into (fit, held) by a seeded permutation.

    >>> fit, held = split_held(1100, 0.15, 0)
    >>> len(fit), len(held)
    (935, 165)
    """
    order = np.random.default_rng(seed).permutation(total)
    held_count = round(total * held_share)
    return np.sort(order[held_count:]), np.sort(order[:held_count])


def split_folders(names: Sequence[str], held_share: float, seed: int) -> Parts:
    """Split positions into (fit, held) so that all patches of a folder (`FOLDER/images/NAME`) are in one part.

    Raises:
        TrainingRecipeError: the patches are all in one folder.

    >>> fit, held = split_folders(["a/images/1", "a/images/2", "b/images/3", "b/images/4"], 0.5, 0)
    >>> (held[1] - held[0], len(fit)) == (1, 2)
    True
    """
    folders = np.array([name.rpartition("/images/")[0] for name in names])
    distinct = np.unique(folders)
    if len(distinct) < 2:
        raise TrainingRecipeError('split "folders" needs patches in two folders at least: FOLDER/images/NAME.tif')
    order = np.random.default_rng(seed).permutation(distinct)
    held = np.zeros(len(names), bool)
    for folder in order[:-1]:
        if held.sum() >= max(1, round(len(names) * held_share)):
            break
        held |= folders == folder
    return np.flatnonzero(~held), np.flatnonzero(held)


def split(patches: Patches, kind: str, held_share: float, seed: int) -> Parts:
    """Return the positions of the fit part and the held part.

    Args:
        kind: one of `KINDS`. `seeded` draws the held part at random, `folders` puts whole folders into it, and with
            `all` it is empty.
        held_share: share of the patches in the held part.
        seed: seed of the random draw.

    Raises:
        TrainingRecipeError: the kind is unknown, or `folders` finds one folder only.
    """
    if kind == "seeded":
        return split_held(len(patches), held_share, seed)
    if kind == ALL:
        return np.arange(len(patches)), np.empty(0, np.int64)
    if kind == "folders":
        return split_folders(patches.names, held_share, seed)
    raise TrainingRecipeError(f"unknown split {kind!r}; known: {', '.join(KINDS)}")


def find_twins(first: Patches, second: Patches) -> list[tuple[str, str, float]]:
    """Find patches of two sets that show the same ground, even if one patch is turned or flipped.

    Patches are shrunk to 16 x 16 pixels, standardised and compared by correlation.

    Returns:
        (name in `first`, name in `second`, correlation), the greatest correlation first.
    """
    first_thumbnails = _make_thumbnails(first)
    second_thumbnails = _make_thumbnails(second).reshape(len(second), -1)
    best = np.full((len(first), len(second)), -1.0, np.float32)
    for turned in _list_orientations(first_thumbnails):
        best = np.maximum(best, turned @ second_thumbnails.T)
    twins = [
        (first.names[i], second.names[j], round(float(best[i, j]), 4)) for i, j in np.argwhere(best >= TWIN_CORRELATION)
    ]
    return sorted(twins, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _make_thumbnails(patches: Patches) -> NDArray[np.float32]:
    """Return thumbnails N x bands x 16 x 16. Each has mean 0 in every band, and its values have a norm of 1."""
    thumbnails = np.stack([resize_bands(as_values(patch.image), (THUMBNAIL_PX, THUMBNAIL_PX)) for patch in patches])
    thumbnails = thumbnails - thumbnails.mean(axis=(2, 3), keepdims=True)
    norm = np.sqrt((thumbnails**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.asarray(thumbnails / np.maximum(norm, 1e-9), np.float32)


def _list_orientations(thumbnails: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return thumbnails in all eight orientations, each flattened to N x values."""
    orientations = [np.rot90(thumbnails, turns, (2, 3)) for turns in range(4)]
    orientations += [turned[:, :, :, ::-1] for turned in orientations]
    return [np.ascontiguousarray(turned).reshape(len(thumbnails), -1) for turned in orientations]
