"""Digests of the pictures that weights were trained on, to recognise copies of them when weights are scored."""

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values, list_starts
from detection.imagery.errors import ModelError
from detection.whole_file import replacing

# A file contains at most this many digests (800 kB). Of more pictures, the smallest digests are stored, which are a
# random sample.
DIGESTS_MOST: Final = 100_000
SUFFIX: Final = ".seen.npy"


def digest_pictures(patches: Patches) -> NDArray[np.uint64]:
    """Return a digest of eight bytes of each picture. It depends on the values only, not on the file and its name."""
    return np.array([_digest(patch.image) for patch in patches], np.uint64)


def _digest(image: NDArray[Any]) -> int:
    digest = blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(as_values(image), "<f4").tobytes())
    return int.from_bytes(digest.digest(), "big")


def write_digests(weights: Path, patches: Patches, begun_from: Path | None = None) -> None:
    """Store the digests of the training pictures beside weights.

    Args:
        begun_from: weights from which the training started. Their digests are added.
    """
    earlier = None if begun_from is None else read_digests(begun_from)
    digests = digest_pictures(patches)
    if earlier is not None:
        digests = np.concatenate([digests, earlier])
    distinct = np.unique(digests)
    with replacing(weights.with_suffix(SUFFIX)) as partial, partial.open("wb") as file:
        np.save(file, distinct[:DIGESTS_MOST], allow_pickle=False)


def read_digests(weights: Path) -> NDArray[np.uint64] | None:
    """Return the sorted digests beside weights; None if there is no such file.

    Raises:
        ModelError: the file contains no digests.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > 8 * DIGESTS_MOST + 1024:
            raise ValueError("it is too large")
        with path.open("rb") as file:
            digests: NDArray[np.uint64] = np.load(file, allow_pickle=False)
        if digests.dtype != np.uint64 or digests.ndim != 1:
            raise ValueError(f"{digests.dtype} of {digests.ndim} dimensions")
    except (ValueError, EOFError, OSError) as error:
        raise ModelError(f"{path}: no digests of pictures ({error}); remove it to score without them") from None
    return np.unique(digests)


def count_trained_on(weights: Path, patches: Patches, tile_px: int = 0) -> int | None:
    """Return on how many of the pictures weights were trained; None if they have no digests.

    Args:
        tile_px: side of the training tiles. If it is not 0, a picture counts too if a training tile was cut from it.
    """
    digests = read_digests(weights)
    if digests is None:
        return None
    is_trained_on = np.isin(digest_pictures(patches), digests)
    if tile_px:
        for position in np.flatnonzero(~is_trained_on):
            image = patches.read(int(position)).image
            if max(image.shape[1:]) > tile_px:
                rows, columns = (list_starts(length, tile_px) for length in image.shape[1:])
                tiles = [
                    _digest(image[:, row : row + tile_px, column : column + tile_px])
                    for row in rows
                    for column in columns
                ]
                is_trained_on[position] = np.isin(tiles, digests).any()
    return int(is_trained_on.sum())
