"""Digests of the pictures that weights were trained on, so that a copy of one elsewhere is known when it is scored."""

from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values
from detection.imagery.errors import ModelError
from detection.whole_file import replacing

MOST: Final = 100_000  # digests of a file, 800 kB; of more pictures the smallest ones are kept, which is a fair sample
SUFFIX: Final = ".seen.npy"


def digest_pictures(patches: Patches) -> NDArray[np.uint64]:
    """Return eight bytes for the values of each picture, whatever its file and name."""
    found = np.empty(len(patches), np.uint64)
    for position, patch in enumerate(patches):
        digest = blake2b(repr(patch.image.shape).encode(), digest_size=8)
        digest.update(np.ascontiguousarray(as_values(patch.image), "<f4").tobytes())
        found[position] = int.from_bytes(digest.digest(), "big")
    return found


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


def count_seen(weights: Path, patches: Patches) -> int | None:
    """Count the pictures that weights were trained on; None where they keep no digests."""
    seen = read_seen(weights)
    return None if seen is None else int(np.isin(digest_pictures(patches), seen).sum())
