"""Spatial blocks: what is left out together, so that no model is scored beside the ground it learned from."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.susceptibility.errors import InventoryError
from detection.susceptibility.sampling import CellSample

FOLDS: Final = 5
BLOCKS: Final = 100  # squares that the area is divided into where nobody says their side


def default_side_m(sample: CellSample) -> float:
    """Side of blocks of which about a hundred cover the area, metres.

    Blocks must be larger than the distance over which landslides and factors resemble themselves; nobody knows that
    distance beforehand, and a side of a tenth of the area is what the literature takes most often.
    """
    return float(np.sqrt(sample.cells * sample.cell_m2 / BLOCKS))


def find_blocks(sample: CellSample, side_m: float) -> NDArray[np.int64]:
    """Return the number of the block of each cell, 0 on; all cells of a landslide are in one block."""
    squares = np.floor(sample.place_m / side_m).astype(np.int64)
    return np.asarray(np.unique(squares, axis=0, return_inverse=True)[1]).ravel()


def deal_folds(sample: CellSample, block: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Deal the blocks into folds with about as many landslides each; returns the fold of each cell.

    Raises:
        InventoryError: landslides lie in fewer blocks than there are folds.
    """
    number = int(block.max()) + 1
    pairs = np.unique(np.stack([block[sample.label == 1], sample.slide[sample.label == 1]], axis=1), axis=0)
    slides = np.bincount(pairs[:, 0], minlength=number)
    others = np.bincount(block[sample.label == 0], minlength=number)
    if np.count_nonzero(slides) < FOLDS:
        raise InventoryError(
            f"landslides lie in {np.count_nonzero(slides)} blocks only, {FOLDS} are needed: smaller --block-m"
        )
    order = np.random.default_rng(seed).permutation(number)
    order = order[np.argsort(-slides[order], kind="stable")]
    dealt, load = np.zeros(number, np.int64), np.zeros((FOLDS, 2), np.int64)
    for one in order:
        fold = min(range(FOLDS), key=lambda k: (load[k, 0] if slides[one] else load[k, 1], load[k, 1], k))
        dealt[one] = fold
        load[fold] += slides[one], others[one]
    if not load.all():
        raise InventoryError("hardly any ground without landslides in one of the parts: smaller --block-m")
    return np.asarray(dealt[block])
