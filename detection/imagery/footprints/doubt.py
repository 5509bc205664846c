"""Find the tiles of a scene that its model is least certain of. Labels of these tiles improve the model most."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.footprints.polygons import STEPS
from detection.imagery.footprints.records import DoubtfulTile
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import read_grid

SIDE_PX: Final = 64
MOST: Final = 20  # tiles of a scene
LEAST: Final = 0.02  # mean doubt from which on a tile is doubtful
VALID_SHARE: Final = 0.5  # a tile with fewer valid pixels is left out


def find_doubtful(prob: Path, threshold: float, classes: int = 1, most: int = MOST) -> tuple[DoubtfulTile, ...]:
    """Return the tiles of a scene with the greatest mean doubt, the most doubtful first, without neighbours.

    The doubt of a pixel is 1 at the threshold and falls linearly to 0 at the probabilities 0 and 1 (margin sampling:
    Lewis and Gale 1994). With several classes the likeliest one counts.

    Args:
        prob: stored probabilities (0 to 200, 255 nodata), one band per class.
        threshold: probability from which a pixel counts as landslide.
        classes: how many bands the file has.
        most: how many tiles are returned at most.
    """
    grid = read_grid(prob)
    doubts = np.zeros((-(-grid.height // SIDE_PX), -(-grid.width // SIDE_PX)))
    starts = np.arange(0, grid.width, SIDE_PX)
    with ExitStack() as stack:
        layers = [stack.enter_context(Layer(prob, grid, k, nodata=NODATA)) for k in range(1, classes + 1)]
        for down in range(doubts.shape[0]):
            top = down * SIDE_PX
            read = [layer.read(0, top, grid.width, min(SIDE_PX, grid.height - top)) for layer in layers]
            likeliest = np.max([values for values, _ in read], axis=0) / STEPS
            doubt, valid = measure_doubt(likeliest, threshold), read[0][1]
            sums = np.add.reduceat(np.where(valid, doubt, 0.0).sum(axis=0, dtype=np.float64), starts)
            counts = np.add.reduceat(valid.sum(axis=0), starts)
            doubts[down] = np.where(counts >= VALID_SHARE * SIDE_PX**2, sums / np.maximum(counts, 1), 0.0)
    tiles = []
    for down, across in _choose_apart(doubts, most):
        columns = np.minimum(np.array([across, across + 1, across + 1, across]) * SIDE_PX, grid.width)
        rows = np.minimum(np.array([down, down, down + 1, down + 1]) * SIDE_PX, grid.height)
        lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
        west, south, east, north = (round(float(k), 7) for k in (lon.min(), lat.min(), lon.max(), lat.max()))
        tiles.append(DoubtfulTile((west, south, east, north), round(float(doubts[down, across]), 4)))
    return tuple(tiles)


def measure_doubt(probability: NDArray[Any], threshold: float) -> NDArray[np.floating]:
    """Return how near each probability is to the threshold, 0 to 1.

    >>> measure_doubt(np.array([0.0, 0.2, 0.4, 0.7, 1.0]), 0.4).round(6).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    low, high = max(threshold, 1e-6), max(1.0 - threshold, 1e-6)
    return np.clip(np.where(probability < threshold, probability / low, (1.0 - probability) / high), 0.0, 1.0)


def _choose_apart(doubts: NDArray[np.float64], most: int) -> list[tuple[int, int]]:
    """Return row and column of the greatest doubts; the neighbours of a chosen tile are left out."""
    remaining = doubts.copy()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < most:
        down, across = divmod(int(remaining.argmax()), remaining.shape[1])
        if remaining[down, across] < LEAST:
            break
        chosen.append((down, across))
        remaining[max(0, down - 1) : down + 2, max(0, across - 1) : across + 2] = 0.0
    return chosen
