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
TILES_MOST: Final = 20  # how many tiles of a scene are returned at most
DOUBT_LEAST: Final = 0.02  # mean doubt from which a tile is doubtful
VALID_SHARE: Final = 0.5  # a tile with a smaller share of valid pixels is left out


def find_doubtful(prob: Path, threshold: float, classes: int = 1, most: int = TILES_MOST) -> tuple[DoubtfulTile, ...]:
    """Return the tiles of a scene with the greatest mean doubt, the most doubtful first, without neighbours.

    The doubt of a pixel is 1 at the threshold and decreases linearly to 0 at the probabilities 0 and 1 (margin
    sampling: Lewis and Gale 1994). With several classes the highest probability is used.

    Args:
        prob: raster of stored probabilities (steps from 0 to 200, 255 for nodata), one band per class.
        threshold: probability from which a pixel counts as landslide.
        classes: how many bands the file has.
        most: how many tiles are returned at most. Fewer are returned if the others are certain.
    """
    grid = read_grid(prob)
    doubts = np.zeros((-(-grid.height // SIDE_PX), -(-grid.width // SIDE_PX)))
    starts = np.arange(0, grid.width, SIDE_PX)
    with ExitStack() as stack:
        layers = [stack.enter_context(Layer(prob, grid, k, nodata=NODATA)) for k in range(1, classes + 1)]
        for tile_row in range(doubts.shape[0]):
            top = tile_row * SIDE_PX
            read = [layer.read(0, top, grid.width, min(SIDE_PX, grid.height - top)) for layer in layers]
            likeliest = np.max([values for values, _ in read], axis=0) / STEPS
            doubt, valid = measure_doubt(likeliest, threshold), read[0][1]
            sums = np.add.reduceat(np.where(valid, doubt, 0.0).sum(axis=0, dtype=np.float64), starts)
            counts = np.add.reduceat(valid.sum(axis=0), starts)
            doubts[tile_row] = np.where(counts >= VALID_SHARE * SIDE_PX**2, sums / np.maximum(counts, 1), 0.0)
    tiles = []
    for tile_row, tile_column in _choose_apart(doubts, most):
        left, right = tile_column * SIDE_PX, (tile_column + 1) * SIDE_PX
        top, bottom = tile_row * SIDE_PX, (tile_row + 1) * SIDE_PX
        columns = np.minimum(np.array([left, right, right, left]), grid.width)
        rows = np.minimum(np.array([top, top, bottom, bottom]), grid.height)
        lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
        west, south, east, north = (round(float(k), 7) for k in (lon.min(), lat.min(), lon.max(), lat.max()))
        tiles.append(DoubtfulTile((west, south, east, north), round(float(doubts[tile_row, tile_column]), 4)))
    return tuple(tiles)


def measure_doubt(probability: NDArray[Any], threshold: float) -> NDArray[np.floating]:
    """Return the doubt of each pixel, see `find_doubtful`.

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
        tile_row, tile_column = divmod(int(remaining.argmax()), remaining.shape[1])
        if remaining[tile_row, tile_column] < DOUBT_LEAST:
            break
        chosen.append((tile_row, tile_column))
        remaining[max(0, tile_row - 1) : tile_row + 2, max(0, tile_column - 1) : tile_column + 2] = 0.0
    return chosen
