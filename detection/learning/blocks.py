"""Which tiles are left out until the end: whole images, or blocks of ground, so that no neighbour gives them away."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.learning.records import LearningError, Window

LEAST_BLOCKS: Final = 8
BLOCKS: Final = 50  # of ground, about, where there are too few images
LEFT_OUT: Final = 0.25
DRAWS: Final = 300
METRES: Final = 111_320.0  # of a degree of latitude
OVERLAP: Final = 0.1  # of the smaller of two tiles: they show one ground


def find_blocks(windows: Sequence[Window]) -> NDArray[np.int64]:
    """Number the blocks of tiles: an image and all that show its ground; squares of ground where there are few images.

    >>> far = [Window(f"{k}.tif", 0, 0, 128, (k, 0.0, k + 0.01, 0.01)) for k in range(9)]
    >>> find_blocks([*far, Window("9.tif", 0, 0, 128, (0.001, 0.0, 0.011, 0.01))]).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    """
    images = {path: number for number, path in enumerate(dict.fromkeys(w.scene for w in windows))}
    own = np.array([images[w.scene] for w in windows])
    for one, other in list_overlaps(windows, windows):
        a, b = own[one], own[other]
        if a != b:
            own[own == max(a, b)] = min(a, b)
    if len(np.unique(own)) >= LEAST_BLOCKS:
        return own
    bounds = np.array([w.bounds for w in windows])
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    east = (x - x.min()) * METRES * np.cos(np.radians(y.mean()))
    north = (y - y.min()) * METRES
    tile = float(np.median(bounds[:, 3] - bounds[:, 1])) * METRES
    side = tile * max(1, round((len(windows) / BLOCKS) ** 0.5))
    cells = np.floor((np.stack([east, north]) + tile / 2) / side).astype(int)
    return np.asarray(np.unique(cells, axis=1, return_inverse=True)[1]).reshape(-1)


def list_overlaps(some: Sequence[Window], others: Sequence[Window]) -> list[tuple[int, int]]:
    """Pairs of tiles that show the same ground in more than a tenth of it."""
    first = np.array([shapely.box(*w.bounds) for w in some], object)
    second = np.array([shapely.box(*w.bounds) for w in others], object)
    found = []
    for one, other in shapely.STRtree(second).query(first).T:
        least = min(first[one].area, second[other].area)
        if first[one].intersection(second[other]).area > OVERLAP * least:
            found.append((int(one), int(other)))
    return found


def leave_out(blocks: NDArray[np.int64], landslide_px: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Draw the tiles that are left out: a quarter, by whole blocks, with about their share of the landslides.

    Raises:
        LearningError: landslides lie in too few blocks to be on both sides.
    """
    names = np.unique(blocks)
    holding = np.unique(blocks[landslide_px > 0])
    if len(names) < 4 or len(holding) < 4:
        raise LearningError(
            f"landslides lie in {len(holding)} of {len(names)} separate images or blocks of ground; four with "
            "landslides are needed, or nothing is left to try the network on: outline more"
        )
    best, chosen = np.inf, np.zeros(len(blocks), bool)
    for draw in range(DRAWS):
        order = np.random.default_rng([seed, draw]).permutation(names)
        inside = np.zeros(len(blocks), bool)
        for name in order:
            if inside.sum() >= LEFT_OUT * len(blocks):
                break
            inside |= blocks == name
        share = landslide_px[inside].sum() / landslide_px.sum()
        outside = np.unique(blocks[(landslide_px > 0) & ~inside])
        missed = abs(share - LEFT_OUT) + abs(inside.mean() - LEFT_OUT)
        if 0 < share < 1 and len(outside) >= 2 and missed < best:
            best, chosen = missed, inside
    if not chosen.any():
        raise LearningError("no part of the images can be left out with landslides on both sides: outline more")
    return chosen
