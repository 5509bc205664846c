"""Which tiles are left out until the end: whole images, or blocks of ground, so that no neighbour gives them away."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from detection.imagery.data.splits import split_folders
from detection.learning.records import LearningError, Window

LEAST_BLOCKS: Final = 8
"""So many blocks that hold landslides are left out, or nothing is said of the network."""
LEAST_SIDE: Final = 3  # tiles along a block of ground: the one in its midst touches no other block
BLOCKS: Final = 50  # of ground, about, where there are too few images
LEFT_OUT: Final = 0.25
DRAWS: Final = 300
METRES: Final = 111_320.0  # of a degree of latitude
TOUCHING: Final = 0.02  # of a tile: tiles that are nearer than that touch
TRIED_SEEDS: Final = 50
ROUNDS: Final = 6  # of dropping what touches and splitting again

Pairs = NDArray[np.int64]
"""2 x n: positions of tiles that touch."""


def find_blocks(windows: Sequence[Window], pairs: Pairs) -> NDArray[np.int64]:
    """Number the blocks of tiles: an image and all that touch it; squares of ground where there are few images.

    Args:
        windows: the tiles.
        pairs: of `list_touching`, of these tiles among themselves.

    >>> far = [Window(f"{k}.tif", 0, 0, 128, (k, 0.0, k + 0.01, 0.01)) for k in range(16)]
    >>> twin = [*far, Window("16.tif", 0, 0, 128, (0.001, 0.0, 0.011, 0.01))]
    >>> find_blocks(twin, list_touching(twin, twin)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0]
    """
    images = {path: number for number, path in enumerate(dict.fromkeys(w.scene for w in windows))}
    image = np.array([images[w.scene] for w in windows])
    joined = coo_array((np.ones(pairs.shape[1]), (image[pairs[0]], image[pairs[1]])), shape=(len(images),) * 2)
    count, groups = connected_components(joined, directed=False)
    own = np.asarray(groups, np.int64)[image]
    if count >= 2 * LEAST_BLOCKS and np.bincount(own).max() <= LEFT_OUT * len(own):
        return np.asarray(own)
    bounds = np.array([w.bounds for w in windows])
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    east = (x - x.min()) * METRES * np.cos(np.radians(y.mean()))
    north = (y - y.min()) * METRES
    tile = float(np.median(bounds[:, 3] - bounds[:, 1])) * METRES
    side = tile * max(LEAST_SIDE, round((len(windows) / BLOCKS) ** 0.5))
    cells = np.floor((np.stack([east, north]) + tile / 2) / side).astype(int)
    return np.asarray(np.unique(cells, axis=1, return_inverse=True)[1]).reshape(-1)


def list_touching(some: Sequence[Window], others: Sequence[Window]) -> Pairs:
    """Pairs of tiles that show the same ground or lie side by side."""
    grown = TOUCHING * np.array([w.bounds[3] - w.bounds[1] for w in some])[:, None] * [-1, -1, 1, 1]
    first = shapely.box(*(np.array([w.bounds for w in some]) + grown).T)
    second = shapely.box(*np.array([w.bounds for w in others]).T)
    return np.asarray(shapely.STRtree(second).query(first, predicate="intersects"), np.int64)


def leave_out(
    blocks: NDArray[np.int64], landslide_px: NDArray[np.int64], seed: int, pairs: Pairs | None = None
) -> NDArray[np.bool_]:
    """Draw the tiles that are left out: a quarter, by whole blocks, with about their share of the landslides.

    More than a quarter where `LEAST_BLOCKS` with landslides take it, and as many remain. Of all draws the one that
    comes nearest, and whose blocks touch the fewest tiles that are learnt from.

    Args:
        blocks: of each tile.
        landslide_px: in each tile.
        seed: of the draws.
        pairs: of tiles that touch; none when None.

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
    wanted = LEAST_BLOCKS if len(holding) >= 2 * LEAST_BLOCKS else 1
    best, chosen = np.inf, np.zeros(len(blocks), bool)
    for draw in range(DRAWS):
        order = np.random.default_rng([seed, draw]).permutation(names)
        inside, held = np.zeros(len(blocks), bool), 0
        for name in order:
            if inside.sum() >= LEFT_OUT * len(blocks) and held >= wanted:
                break
            inside |= blocks == name
            held += name in holding
        lost = find_touched(inside, pairs)
        share = landslide_px[inside].sum() / landslide_px.sum()
        outside = np.unique(blocks[(landslide_px > 0) & ~inside & ~lost])
        missed = abs(share - LEFT_OUT) + abs(inside.mean() - LEFT_OUT) + lost.mean()
        if 0 < share < 1 and len(outside) >= 2 and missed < best:
            best, chosen = missed, inside
    if not chosen.any():
        raise LearningError("no part of the images can be left out with landslides on both sides: outline more")
    return chosen


def find_touched(inside: NDArray[np.bool_], pairs: Pairs | None) -> NDArray[np.bool_]:
    """Tiles that are not inside and touch one that is."""
    touched = np.zeros(len(inside), bool)
    if pairs is not None:
        one, other = pairs
        touched[one[inside[other]]] = True
    return touched & ~inside


def part_train(
    blocks: NDArray[np.int64], landslide_px: NDArray[np.int64], pairs: Pairs, held_share: float, first: int
) -> tuple[int, NDArray[np.bool_]]:
    """The seed by which tiles to learn from are split, and which of them go so that none fitted touches one held.

    Of the seeds whose held part has about its share of the landslides, the one that loses the fewest tiles.

    Args:
        blocks: of each tile.
        landslide_px: in each tile.
        pairs: of tiles that touch.
        held_share: of the tiles.
        first: seed.

    Raises:
        LearningError: no seed has landslides on both sides.
    """
    best, chosen = first, np.ones(len(blocks), bool)
    for seed in range(first, first + TRIED_SEEDS):
        lost = np.zeros(len(blocks), bool)
        for _ in range(ROUNDS):
            kept = np.flatnonzero(~lost)
            if len(np.unique(blocks[kept])) < 2:
                break
            fit, held = (kept[part] for part in split_folders([f"{b}/images/" for b in blocks[kept]], held_share, seed))
            inside = np.zeros(len(blocks), bool)
            inside[held] = True
            touched = find_touched(inside, pairs) & ~lost
            if touched.any():
                lost |= touched
                continue
            share = landslide_px[held].sum() / max(1, landslide_px[kept].sum())
            within = 0.5 * held_share <= share <= 2 * held_share
            if within and landslide_px[fit].any() and lost.sum() < chosen.sum():
                best, chosen = seed, lost
            break
        if not chosen.any():
            break
    if chosen.all():
        raise LearningError("landslides lie in too few images or blocks of ground to choose by: outline more")
    return best, chosen
