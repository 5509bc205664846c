"""Middle lines of what is thin, in a raster that is read tile by tile; memory goes with the lines, not the raster."""

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import FOUR, NODATA, Read

WIDEST_PX: Final = 64  # what is wider is not thin
CORNER_PX: Final = 48  # of what is too wide, its corners lie so far from where it is
HOLE_PX: Final = 6  # holes of fewer pixels are filled: around each there would be a loop
# A tile owns its middle. How far a pixel of the skeleton can see: what is too wide, and then the thinning.
TILE_PX, HALO_PX = 1024, 160
# Neighbours clockwise from north: row, column.
AROUND: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Pixels of middle lines, in the order of their rows, then columns."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    areas_px: NDArray[np.float64]  # how many pixels of the body lie nearest to each
    reaches: NDArray[np.float64]  # how far the rim is, in the unit of the pixel's sides
    steps: NDArray[np.uint8]  # stored there


def _make_tables() -> NDArray[np.bool_]:
    """Which pixels go, by their eight neighbours as bits, in both turns of Guo and Hall 1989."""
    n = [(np.arange(256) >> bit & 1).astype(bool) for bit in range(8)]
    crossings = sum((~n[k] & (n[k + 1] | n[(k + 2) % 8])).astype(int) for k in (0, 2, 4, 6))
    pairs = [sum((n[k % 8] | n[(k + 1) % 8]).astype(int) for k in range(first, first + 8, 2)) for first in (7, 0)]
    least = np.minimum(*pairs)
    turns = (n[4] | n[5] | ~n[7]) & n[6], (n[0] | n[1] | ~n[3]) & n[2]
    return np.stack([(crossings == 1) & (least >= 2) & (least <= 3) & ~turn for turn in turns])


_GOES: Final = _make_tables()


def thin(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a body to lines of one pixel that hang together as it does (Guo and Hall 1989)."""
    padded = np.pad(body, 1)
    flat, width = padded.ravel(), padded.shape[1]
    steps = [row * width + column for row, column in AROUND]
    places, quiet, turn = np.flatnonzero(flat), 0, 0
    while quiet < 2:
        code = np.zeros(len(places), np.int64)
        for bit, step in enumerate(steps):
            code |= flat[places + step].astype(np.int64) << bit
        goes = _GOES[turn][code]
        flat[places[goes]] = False
        places = places[~goes]
        quiet, turn = 0 if goes.any() else quiet + 1, 1 - turn
    return np.asarray(padded[1:-1, 1:-1])


def find_skeleton(
    read: Read, size: tuple[int, int], least: int, sides: tuple[float, float] = (1.0, 1.0), tile_px: int = TILE_PX
) -> Skeleton:
    """Find the middle lines of `step >= least`; the size of the tiles changes nothing.

    Args:
        read: `read(column, row, width, height)` of stored steps, 255 = nodata.
        size: columns and rows of the raster.
        sides: of a pixel, its width and its height.
    """
    width, height = size
    found = [np.empty((0, 5))]
    for top, left in product(range(0, height, tile_px), range(0, width, tile_px)):
        first, start = max(0, left - HALO_PX), max(0, top - HALO_PX)
        right, bottom = min(width, left + tile_px + HALO_PX), min(height, top + tile_px + HALO_PX)
        part = _thin_tile(read(first, start, right - first, bottom - start), least, sides)
        places = part[:, :2] + (start, first)
        own = ((places >= (top, left)) & (places < (top + tile_px, left + tile_px))).all(axis=1)
        found.append(np.hstack([places, part[:, 2:]])[own])
    every = np.concatenate(found)
    rows, columns, areas, reaches, steps = every[np.lexsort((every[:, 1], every[:, 0]))].T
    return Skeleton(rows.astype(np.int64), columns.astype(np.int64), areas, reaches, steps.astype(np.uint8))


def _thin_tile(steps: NDArray[np.uint8], least: int, sides: tuple[float, float]) -> NDArray[np.float64]:
    """Row, column, area, reach and step of each pixel of the skeleton."""
    body = (steps >= least) & (steps != NODATA)
    if not body.any():
        return np.empty((0, 5))
    holes, _ = ndimage.label(~body, structure=FOUR)
    small = np.bincount(holes.ravel()) < HOLE_PX
    small[0] = False
    body |= small[holes] & (steps != NODATA)
    deep = ndimage.distance_transform_edt(body) > WIDEST_PX / 2
    if deep.any():
        body &= ndimage.distance_transform_edt(~deep) > CORNER_PX
    lines = thin(body)
    rows, columns = np.nonzero(lines)
    if not len(rows):
        return np.empty((0, 5))
    reaches = ndimage.distance_transform_edt(body, sampling=sides[::-1])
    nearest = ndimage.distance_transform_edt(~lines, sampling=sides[::-1], return_distances=False, return_indices=True)
    areas = np.zeros(body.shape)
    np.add.at(areas, (nearest[0][body], nearest[1][body]), 1)
    at = rows, columns
    return np.column_stack([rows, columns, areas[at], reaches[at], steps[at]])


def link(skeleton: Skeleton, width: int) -> NDArray[np.int64]:
    """The neighbours of each pixel, n x 8 places, clockwise from north, -1 for none.

    Neighbours at a corner count only where no other pixel lies between them.
    """
    keys = skeleton.rows * (width + 2) + skeleton.columns + 1
    found = np.full((len(keys), 8), -1, np.int64)
    for number, (row, column) in enumerate(AROUND):
        wanted = keys + row * (width + 2) + column
        place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
        found[:, number] = np.where(keys[place] == wanted, place, -1) if len(keys) else -1
    for number in (1, 3, 5, 7):
        between = (found[:, number - 1] >= 0) | (found[:, (number + 1) % 8] >= 0)
        found[between, number] = -1
    return found
