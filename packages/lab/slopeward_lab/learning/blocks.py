"""Which tiles are left out until the end: whole images, or blocks of ground, so that no neighbour gives them away."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from detection.imagery.data.splits import Parts
from slopeward_lab.learning.records import LearningError, SceneWindow

LEAST_BLOCKS: Final = 8
"""So many blocks that hold landslides are left out, or nothing is said of the network."""
LEAST_SIDE: Final = 3  # tiles along a block of ground: the one in its midst touches no other block
BLOCKS: Final = 50  # of ground, about, where there are too few images
LEFT_OUT: Final = 0.25
DRAWS: Final = 300
METRES: Final = 111_320.0  # of a degree of latitude
TOUCHING: Final = 0.02  # of a tile: tiles that are nearer than that touch

Pairs = NDArray[np.int64]
"""2 x n: positions of tiles that touch."""


def find_blocks(windows: Sequence[SceneWindow], pairs: Pairs) -> NDArray[np.int64]:
    """Number the blocks of tiles: an image and all that touch it; squares of ground where there are few images.

    `pairs`: of `list_touching`, of these tiles among themselves.

    >>> far = [SceneWindow(f"{k}.tif", 0, 0, 128, (k, 0.0, k + 0.01, 0.01)) for k in range(16)]
    >>> twin = [*far, SceneWindow("16.tif", 0, 0, 128, (0.001, 0.0, 0.011, 0.01))]
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


def list_touching(some: Sequence[SceneWindow], others: Sequence[SceneWindow]) -> Pairs:
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
        landslide_px: in each tile.
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


def deal_folds(
    blocks: NDArray[np.int64], landslide_px: NDArray[np.int64], pairs: Pairs, count: int, seed: int
) -> list[Parts]:
    """Deal tiles out to folds by whole blocks: of each fold what is fitted and what is held, with landslides in both.

    No tile that is fitted touches one that is held; in another fold it may be fitted. Of all deals the one that loses
    the fewest tiles so, and whose folds are the most alike in landslides and tiles.

    `count`: of folds; fewer where so few blocks hold landslides.

    Raises:
        LearningError: landslides lie in one block alone, or what does not touch it holds none.
    """
    names, places = np.unique(blocks, return_inverse=True)
    weights = np.stack([np.bincount(places, landslide_px), np.bincount(places).astype(float)], axis=1)
    weights = weights / np.maximum(weights.sum(axis=0), 1)
    count = min(count, int((weights[:, 0] > 0).sum()))
    best, chosen = np.inf, list[Parts]()
    for draw in range(DRAWS if count > 1 else 0):
        if draw == 0 and pairs.size:  # blocks of ground are numbered from west to east: strips have few neighbours
            of_block = np.minimum((weights.sum(axis=1).cumsum() / 2 * count - 1e-9).astype(int), count - 1)
        else:
            of_block, filled = np.zeros(len(names), int), np.zeros((count, 2))
            for block in np.random.default_rng([seed, draw]).permutation(len(names)):
                of_block[block] = (filled + weights[block]).max(axis=1).argmin()
                filled[of_block[block]] += weights[block]
        fold = of_block[places]
        inside = [fold == number for number in range(count)]
        lost = [find_touched(one, pairs) for one in inside]
        folds = [(np.flatnonzero(~a & ~b), np.flatnonzero(a)) for a, b in zip(inside, lost, strict=True)]
        if not all(landslide_px[fit].any() and landslide_px[held].any() for fit, held in folds):
            continue
        shares = np.array([weights[of_block == number].sum(axis=0) for number in range(count)])
        missed = float(np.mean(lost)) * count + float(np.ptp(shares, axis=0).sum()) / 2
        if missed < best:
            best, chosen = missed, folds
    if not chosen:
        raise LearningError("landslides lie in too few images or blocks of ground to choose by: outline more")
    return chosen
