"""Digests of the pictures that weights were trained on, so that a copy of one elsewhere is known when it is scored."""

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values, list_starts
from detection.imagery.errors import ModelError
from detection.whole_file import replacing

MOST: Final = 100_000  # digests of a file, 800 kB; of more pictures the smallest ones are kept, which is a fair sample
SUFFIX: Final = ".seen.npy"


def digest_pictures(patches: Patches) -> NDArray[np.uint64]:
    """Return eight bytes for the values of each picture, whatever its file and name."""
    return np.array([_digest(patch.image) for patch in patches], np.uint64)


def _digest(image: NDArray[Any]) -> int:
    digest = blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(as_values(image), "<f4").tobytes())
    return int.from_bytes(digest.digest(), "big")


def write_seen(weights: Path, patches: Patches, begun_from: Path | None = None) -> None:
    """Keep the digests of what weights were trained on beside them, and of what those were that they began from."""
    before = None if begun_from is None else read_seen(begun_from)
    seen = digest_pictures(patches)
    every = np.unique(seen if before is None else np.concatenate([seen, before]))
    with replacing(weights.with_suffix(SUFFIX)) as partial, partial.open("wb") as file:
        np.save(file, every[:MOST], allow_pickle=False)


def read_seen(weights: Path) -> NDArray[np.uint64] | None:
    """Return the digests beside weights, rising; None where they keep none.

    Raises:
        ModelError: the file is something else.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > 8 * MOST + 1024:
            raise ValueError("it is too large")
        with path.open("rb") as file:
            seen: NDArray[np.uint64] = np.load(file, allow_pickle=False)
        if seen.dtype != np.uint64 or seen.ndim != 1:
            raise ValueError(f"{seen.dtype} of {seen.ndim} dimensions")
    except (ValueError, EOFError, OSError) as error:
        raise ModelError(f"{path}: no digests of pictures ({error}); remove it to score without them") from None
    return np.unique(seen)


def count_seen(weights: Path, patches: Patches, tile_px: int = 0) -> int | None:
    """Count the pictures that weights were trained on; None where they keep no digests.

    `tile_px`: if not 0, a picture from which a tile of this side was cut counts too.
    """
    if (seen := read_seen(weights)) is None:
        return None
    known = np.isin(digest_pictures(patches), seen)
    if tile_px:
        for position in np.flatnonzero(~known):
            image = patches.read(int(position)).image
            if max(image.shape[1:]) > tile_px:
                rows, columns = (list_starts(length, tile_px) for length in image.shape[1:])
                tiles = [_digest(image[:, r : r + tile_px, c : c + tile_px]) for r in rows for c in columns]
                known[position] = np.isin(tiles, seen).any()
    return int(known.sum())
